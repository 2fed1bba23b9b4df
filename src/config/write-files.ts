/**
 * Writes what is generated of config/ from schema.ts and profiles.ts: `npm run generate`. With --check (`npm run check`) nothing
 * is written, and a file that is not as it would be written fails.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { CLUSTER_NODES, renderClusterNode } from './cluster-files.ts'
import { renderJsonSchema } from './json-schema.ts'
import { PROFILE_NAMES } from './profiles.ts'
import { renderDefaults, renderProfile } from './render.ts'

const folder = new URL('../../../config/', import.meta.url)
const files: readonly (readonly [string, string])[] = [
  ['millrace.yaml', renderDefaults()],
  ['millrace.schema.json', renderJsonSchema()],
  ...PROFILE_NAMES.map((name) => [`${name}.yaml`, renderProfile(name)] as const),
  ...CLUSTER_NODES.map((nodeId) => [`cluster-3/node-${nodeId}.yaml`, renderClusterNode(nodeId)] as const),
]
const isCheck = process.argv.includes('--check')

for (const [name, text] of files) {
  if (read(name) === text) continue
  if (isCheck) {
    process.stderr.write(`config/${name} is stale: npm run generate writes it\n`)
    process.exitCode = 1
  } else {
    writeFileSync(new URL(name, folder), text)
    process.stdout.write(`wrote config/${name}\n`)
  }
}

function read(name: string): string | undefined {
  try {
    return readFileSync(new URL(name, folder), 'utf8')
  } catch {
    return undefined
  }
}
