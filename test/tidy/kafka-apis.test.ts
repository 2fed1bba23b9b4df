/** Files of src/kafka/apis say what they are: their number and name, and in their header the versions that the schema has. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KAFKA_APIS } from '../../src/kafka/apis/index.ts'
import { sourceFiles } from '../support/repository.ts'

const kebab = (name: string): string => name.replaceAll(/(?!^)[A-Z]/g, '-$&').toLowerCase()

test('a file for each request, named by it, with its versions in the header', () => {
  const files = sourceFiles('src').filter(({ path }) => /^src\/kafka\/apis\/\d/.test(path))
  assert.equal(files.length, KAFKA_APIS.length)
  const faults: string[] = []
  for (const { key, name, versionMin, versionMax, flexibleSince } of KAFKA_APIS) {
    const path = `src/kafka/apis/${String(key).padStart(2, '0')}-${kebab(name)}.ts`
    const text = files.find((file) => file.path === path)?.text ?? ''
    const range = versionMin === versionMax ? `${versionMin}` : `${versionMin}–${versionMax}`
    const flexible =
      flexibleSince === Infinity ? 'not flexible|none is flexible' : `flexible from ${flexibleSince}|flexible$`
    if (!text.startsWith(`/**\n * ${name} (${key}): `)) faults.push(`${path}: its header does not begin with its name`)
    const [versions = ''] = /^ \* Versions .*$/m.exec(text) ?? []
    if (!new RegExp(`^ \\* Versions +${range},`).test(versions)) faults.push(`${path}: versions ${range}`)
    if (!new RegExp(flexible).test(versions)) faults.push(`${path}: ${flexible}`)
  }
  assert.deepEqual(faults, [])
})
