/** Configuration as text: config/*.yaml, and what `config show` prints. */
import type { BrokerConfig, ConfigEntry } from './config.ts'
import { PROFILES, type ProfileName } from './profiles.ts'
import { CONFIG_KEYS, CONFIG_PATHS, type ConfigKey, type ConfigPath } from './schema.ts'
import { formatDuration, formatSize } from './units.ts'

/** A value as it is written in YAML. */
export function formatValue(path: ConfigPath, value: unknown): string {
  const key: ConfigKey = CONFIG_KEYS[path]
  if (isHidden(key, value)) return Array.isArray(value) ? `[${value.map(() => '***').join(', ')}]` : '"***"'
  if (key.kind === 'duration') return formatDuration(value as number)
  if (key.kind === 'size') return formatSize(value as number)
  if (Array.isArray(value)) return `[${value.map((item) => JSON.stringify(item)).join(', ')}]`
  if (typeof value === 'object' && value !== null)
    return `{${Object.entries(value)
      .map(([name, item]) => `${JSON.stringify(name)}: ${JSON.stringify(item)}`)
      .join(', ')}}`
  if (typeof value === 'string') return yamlText(value)
  return String(value)
}

/** A secret that is set. */
function isHidden(key: ConfigKey, value: unknown): value is string | unknown[] {
  return key.isSecret === true && (Array.isArray(value) || typeof value === 'string') && value.length > 0
}

/** A text as YAML takes it for one: quoted where it would be something else. */
function yamlText(text: string): string {
  return /^[\w./][\w./:@-]*$/.test(text) && !text.endsWith(':') ? text : JSON.stringify(text)
}

/** For editors with a YAML language server: names, values and meanings while typing. */
const SCHEMA_HINT = '# yaml-language-server: $schema=./millrace.schema.json'

/** config/millrace.yaml: every key with its meaning and default. A test compares it with the file. */
export function renderDefaults(): string {
  const head = [
    SCHEMA_HINT,
    '# Every key of a Millrace broker with its default.',
    '# Overridden by the environment (MILLRACE_STORAGE__FSYNC=interval) and by flags (--set storage.fsync=interval).',
    '# Durations: 50ms 5s 10m 14d. Sizes: 64KiB 16MiB 1GiB.',
    '',
    '# balanced, throughput or latency: tunes speed, never safety',
    'profile: balanced',
  ]
  const keys = CONFIG_PATHS.map((path) => {
    return { path, comment: CONFIG_KEYS[path].help, text: formatValue(path, CONFIG_KEYS[path].default) }
  })
  return `${[...head, ...nested(keys)].join('\n')}\n`
}

/** config/<profile>.yaml: what the profile sets, with the reason. */
export function renderProfile(name: ProfileName): string {
  const { purpose, sets } = PROFILES[name]
  const head = [
    SCHEMA_HINT,
    `# The profile ${name}: ${purpose}.`,
    '# `profile` alone does it; what follows is what it sets, to be copied and changed.',
    `profile: ${name}`,
  ]
  const keys = CONFIG_PATHS.flatMap((path) => {
    const setting = sets[path]
    if (setting === undefined) return []
    const comment = `${setting.why} (default ${formatValue(path, CONFIG_KEYS[path].default)})`
    return [{ path, comment, text: String(setting.value) }]
  })
  return `${[...head, ...nested(keys)].join('\n')}\n`
}

/** `config show`: a file that makes the same configuration. Secrets are left out. */
export function renderConfig(config: BrokerConfig): string {
  const keys = config.entries.map(({ path, value }) => {
    const key: ConfigKey = CONFIG_KEYS[path]
    return isHidden(key, value)
      ? { path, comment: 'not shown: it is secret', text: Array.isArray(value) ? '[]' : '""' }
      : { path, comment: undefined, text: formatValue(path, value) }
  })
  return `${[`profile: ${config.profile}`, ...nested(keys)].join('\n')}\n`
}

interface RenderedKey {
  readonly path: ConfigPath
  readonly comment: string | undefined
  readonly text: string
}

/** Dotted paths as YAML: a line a key, its folders above it, an empty line between folders. */
function nested(keys: readonly RenderedKey[]): string[] {
  const lines: string[] = []
  let open: string[] = []
  for (const { path, comment, text } of keys) {
    const parts = path.split('.')
    const folders = parts.slice(0, -1)
    let common = 0
    while (common < folders.length && folders[common] === open[common]) common++
    if (common === 0 && folders.join() !== open.join()) lines.push('')
    for (let depth = common; depth < folders.length; depth++) lines.push(`${'  '.repeat(depth)}${folders[depth]}:`)
    open = folders
    const indent = '  '.repeat(folders.length)
    if (comment !== undefined) lines.push(`${indent}# ${comment}`)
    lines.push(`${indent}${parts.at(-1)}: ${text}`)
  }
  return lines
}

/** Lines of `config show --effective`: key, value, where it came from. Secrets are hidden. */
export function describeConfig(config: BrokerConfig): { path: string; value: string; source: string }[] {
  const profile = { path: 'profile', value: config.profile, source: config.profileSource }
  const entries = config.entries.map((entry: ConfigEntry) => ({
    path: entry.path,
    value: formatValue(entry.path, entry.value),
    source: entry.source,
  }))
  return [profile, ...entries]
}
