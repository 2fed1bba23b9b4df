/**
 * config/millrace.schema.json: the table of keys as JSON Schema, for editors: names, kinds, choices, meanings. A file that it
 * refuses a broker refuses too; what it cannot say (bounds of durations, powers of two, keys that must fit each other) is
 * checked by resolveConfig alone.
 *
 * A key may be nested (`storage:` and below it `fsync:`) or written with its dots (`storage.fsync:`).
 */
import { PROFILE_NAMES } from './profiles.ts'
import { formatValue } from './render.ts'
import { CONFIG_KEYS, CONFIG_PATHS, type ConfigKey, type JsonSchema } from './schema.ts'

interface SchemaFolder {
  readonly type: 'object'
  readonly properties: Record<string, SchemaFolder | JsonSchema>
  readonly additionalProperties: false
}

const newFolder = (): SchemaFolder => ({ type: 'object', properties: {}, additionalProperties: false })

export function configJsonSchema(): JsonSchema {
  const root = newFolder()
  root.properties.profile = {
    enum: PROFILE_NAMES,
    default: 'balanced',
    description: 'tunes speed, never safety',
  }
  for (const path of CONFIG_PATHS) {
    const key: ConfigKey = CONFIG_KEYS[path]
    const parts = path.split('.')
    let folder = root
    for (const part of parts.slice(0, -1)) {
      folder.properties[part] ??= newFolder()
      folder = folder.properties[part] as SchemaFolder
    }
    const isWritten = key.kind === 'duration' || key.kind === 'size'
    const byDefault = isWritten ? formatValue(path, key.default) : key.default
    const leaf = { ...key.json, default: byDefault, description: key.help }
    folder.properties[parts.at(-1)!] = leaf
    if (parts.length > 1) root.properties[path] = leaf
  }
  return { $schema: 'http://json-schema.org/draft-07/schema#', title: 'Configuration of a Millrace broker', ...root }
}

export function renderJsonSchema(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`
}
