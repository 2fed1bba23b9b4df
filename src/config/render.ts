/** Configuration as text: the default file, and what `config show` prints. */
import type { BrokerConfig, ConfigEntry } from './config.ts'
import { PROFILES, type ProfileName } from './profiles.ts'
import { CONFIG_KEYS, CONFIG_PATHS, type ConfigKey, type ConfigPath } from './schema.ts'
import { formatDuration, formatSize } from './units.ts'

/** A value as it is written in YAML. */
export function formatValue(path: ConfigPath, value: unknown): string {
  const key: ConfigKey = CONFIG_KEYS[path]
  if (key.isSecret === true && Array.isArray(value) && value.length > 0) return `[${value.map(() => '***').join(', ')}]`
  if (key.kind === 'duration') return formatDuration(value as number)
  if (key.kind === 'size') return formatSize(value as number)
  if (Array.isArray(value)) return `[${value.map((item) => JSON.stringify(item)).join(', ')}]`
  if (typeof value === 'object' && value !== null)
    return `{${Object.entries(value)
      .map(([name, item]) => `${JSON.stringify(name)}: ${JSON.stringify(item)}`)
      .join(', ')}}`
  return String(value)
}

/** config/millrace.yaml: every key with its meaning and default. A test compares it with the file. */
export function renderDefaults(): string {
  const head = [
    '# Every key of a Millrace broker with its default.',
    '# Overridden by the environment (MILLRACE_STORAGE__FSYNC=interval) and by flags (--set storage.fsync=interval).',
    '# Durations: 50ms 5s 10m 14d. Sizes: 64KiB 16MiB 1GiB.',
    '',
    '# balanced, throughput or latency: tunes speed, never safety',
    'profile: balanced',
  ]
  return `${[...head, ...renderKeys((path) => CONFIG_KEYS[path].default)].join('\n')}\n`
}

function renderKeys(valueAt: (path: ConfigPath) => unknown): string[] {
  const lines: string[] = []
  let open: string[] = []
  for (const path of CONFIG_PATHS) {
    const parts = path.split('.')
    const folders = parts.slice(0, -1)
    let common = 0
    while (common < folders.length && folders[common] === open[common]) common++
    if (common === 0 && folders.join() !== open.join()) lines.push('')
    for (let depth = common; depth < folders.length; depth++) lines.push(`${'  '.repeat(depth)}${folders[depth]}:`)
    open = folders
    const indent = '  '.repeat(folders.length)
    lines.push(`${indent}# ${CONFIG_KEYS[path].help}`, `${indent}${parts.at(-1)}: ${formatValue(path, valueAt(path))}`)
  }
  return lines
}

/** config/<profile>.yaml */
export function renderProfile(name: ProfileName): string {
  const lines = Object.entries(PROFILES[name]).map(([path, value]) => `${path}: ${value}`)
  return `${[`# The profile ${name}: what it sets instead of the defaults of millrace.yaml.`, `profile: ${name}`, ...lines].join('\n')}\n`
}

/** Lines of `config show --effective`: key, value, where it came from. Secrets are hidden. */
export function describeConfig(config: BrokerConfig): { path: string; value: string; source: string }[] {
  return config.entries.map((entry: ConfigEntry) => ({
    path: entry.path,
    value: formatValue(entry.path, entry.value),
    source: entry.source,
  }))
}
