/**
 * Topic configuration as Kafka's tools know it: they read all keys of a topic, change some, and write all of them back. So the keys that
 * this broker has no use for are told with the one value that is true of it, and taken with that value and no other.
 *
 * Source  Kafka's topic configuration reference; ours is model/topic-config.ts
 */
import { MillraceError } from '../model/errors.ts'
import { TOPIC_CONFIG_KEYS, type TopicConfig } from '../model/topic-config.ts'

const LONG_MAX = '9223372036854775807'

export const FIXED_TOPIC_CONFIGS: Readonly<Record<string, string>> = {
  'compression.type': 'producer',
  'file.delete.delay.ms': '0',
  'flush.messages': LONG_MAX,
  'follower.replication.throttled.replicas': '',
  'index.interval.bytes': '4096',
  'leader.replication.throttled.replicas': '',
  'message.downconversion.enable': 'true',
  'message.timestamp.before.max.ms': LONG_MAX,
  'message.timestamp.difference.max.ms': LONG_MAX,
  preallocate: 'false',
  'segment.index.bytes': '10485760',
  'segment.jitter.ms': '0',
}

/** KIP-412's numbers. */
const ConfigType = { BOOLEAN: 1, STRING: 2, INT: 3, SHORT: 4, LONG: 5, DOUBLE: 6, LIST: 7 } as const

const LISTS: ReadonlySet<string> = new Set([
  'cleanup.policy',
  'leader.replication.throttled.replicas',
  'follower.replication.throttled.replicas',
])
const DOUBLES: ReadonlySet<string> = new Set(['min.cleanable.dirty.ratio'])
const INTS: ReadonlySet<string> = new Set([
  ...['segment.bytes', 'max.message.bytes', 'min.insync.replicas', 'index.interval.bytes', 'segment.index.bytes'],
])

/** The value as Kafka's tools write it: a bound that is none is theirs. */
export function configText(value: TopicConfig[keyof TopicConfig]): string {
  return value === Number.MAX_SAFE_INTEGER ? LONG_MAX : String(value)
}

export function configTypeOf(key: string, text: string): number {
  if (LISTS.has(key)) return ConfigType.LIST
  if (DOUBLES.has(key)) return ConfigType.DOUBLE
  if (text === 'true' || text === 'false') return ConfigType.BOOLEAN
  if (INTS.has(key)) return ConfigType.INT
  return /^-?\d+$/.test(text) ? ConfigType.LONG : ConfigType.STRING
}

export function isFixedConfig(key: string): boolean {
  return Object.hasOwn(FIXED_TOPIC_CONFIGS, key)
}

export function isListConfig(key: string): boolean {
  return LISTS.has(key)
}

/** Keys in the order of Kafka's tools, which sort them. */
export const TOPIC_CONFIG_NAMES: readonly string[] = [
  ...Object.keys(TOPIC_CONFIG_KEYS),
  ...Object.keys(FIXED_TOPIC_CONFIGS),
].sort()

/** What of a wish is this broker's to keep: fixed keys go. Throws INVALID_CONFIG for a fixed key's other value. */
export function ownConfigOf(wish: Readonly<Record<string, string>>): Record<string, string> {
  const own: Record<string, string> = {}
  for (const [key, text] of Object.entries(wish)) {
    const fixed = Object.hasOwn(FIXED_TOPIC_CONFIGS, key) ? FIXED_TOPIC_CONFIGS[key] : undefined
    // Kafka's "never", which nobody means of a topic that syncs at intervals: it keeps the broker's.
    if (key === 'flush.ms' && text === LONG_MAX) continue
    if (fixed === undefined) own[key] = text
    else if (fixed !== text) throw new MillraceError('INVALID_CONFIG', `${key} is '${fixed}' here, and not '${text}'`)
  }
  return own
}
