/** Writes config/*.yaml from the schema: run after a change of schema.ts or profiles.ts. */
import { writeFileSync } from 'node:fs'
import { PROFILE_NAMES } from './profiles.ts'
import { renderDefaults, renderProfile } from './render.ts'

const folder = new URL('../../../config/', import.meta.url)
writeFileSync(new URL('millrace.yaml', folder), renderDefaults())
for (const name of PROFILE_NAMES) writeFileSync(new URL(`${name}.yaml`, folder), renderProfile(name))
