/**
 * TopicConfig: what a topic's owner may set, parsed from Kafka's dotted keys. Data, no behaviour: `log` and `partition`
 * read it, `config` and the admin handlers make it. Defaults in one table below.
 */
import { nearest } from '../base/nearest.ts'
import { MillraceError } from './errors.ts'
import { BATCH_BYTES_DEFAULT, BATCH_BYTES_MAX } from './limits.ts'

export type FsyncPolicy = 'group' | 'interval'

export interface TopicConfig {
  /** Milliseconds a closed segment is kept after its newest record; -1 = for ever. */
  readonly retentionMs: number
  /** Bytes a partition may hold before its oldest segments go; -1 = no bound. */
  readonly retentionBytes: number
  /** Bytes after which the active segment is rolled. */
  readonly segmentBytes: number
  /** Milliseconds after which a non-empty active segment is rolled. */
  readonly segmentMs: number
  /** A record batch as stored, bytes. */
  readonly maxMessageBytes: number
  readonly minInsyncReplicas: number
  readonly cleanupPolicy: 'delete' | 'compact' | 'compact,delete'
  readonly timestampType: 'CreateTime' | 'LogAppendTime'
  /** CreateTime: milliseconds by which a batch may be ahead of the broker's clock. */
  readonly timestampAfterMaxMs: number
  /** Overrides the broker's storage.fsync. */
  readonly fsync: FsyncPolicy
  /** Period of `interval`, milliseconds. */
  readonly flushMs: number
  /** Compacted topics: milliseconds a tombstone is kept after it was first compacted past. */
  readonly deleteRetentionMs: number
  /** Compacted topics: share of the closed bytes that must be new before the log is compacted again. */
  readonly minCleanableDirtyRatio: number
  /** Compacted topics: milliseconds a record is certainly kept. */
  readonly minCompactionLagMs: number
  /** Compacted topics: milliseconds after which a record that is superseded goes, whatever the ratio. */
  readonly maxCompactionLagMs: number
  readonly uncleanLeaderElection: boolean
}

const DAY_MS = 86_400_000
const SAFE = Number.MAX_SAFE_INTEGER

interface ConfigKey {
  readonly field: keyof TopicConfig
  readonly parse: (text: string) => string | number | boolean | undefined
  readonly expected: string
}

/** Where only SAFE bounds it, what is larger means no bound, as clients write it for Kafka: 2^63 − 1. */
function integer(min: number, max: number): (text: string) => number | undefined {
  return (text) => {
    if (!/^-?\d{1,19}$/.test(text)) return undefined
    const value = max === SAFE ? Math.min(Number(text), SAFE) : Number(text)
    return value >= min && value <= max ? value : undefined
  }
}

function oneOf(...choices: string[]): (text: string) => string | undefined {
  return (text) => (choices.includes(text) ? text : undefined)
}

/** Every key a topic may set, with its parser. `compression.type` stands apart: only `producer` is served. */
export const TOPIC_CONFIG_KEYS: Readonly<Record<string, ConfigKey>> = {
  'retention.ms': { field: 'retentionMs', parse: integer(-1, SAFE), expected: 'milliseconds, or -1 for ever' },
  'retention.bytes': { field: 'retentionBytes', parse: integer(-1, SAFE), expected: 'bytes, or -1 for no bound' },
  'segment.bytes': {
    field: 'segmentBytes',
    parse: integer(64 * 1024, 2 ** 31 - 1),
    expected: 'bytes, 65536 to 2147483647',
  },
  'segment.ms': { field: 'segmentMs', parse: integer(1, SAFE), expected: 'milliseconds, at least 1' },
  'max.message.bytes': {
    field: 'maxMessageBytes',
    parse: integer(1024, BATCH_BYTES_MAX),
    expected: `bytes, 1024 to ${BATCH_BYTES_MAX}`,
  },
  'min.insync.replicas': { field: 'minInsyncReplicas', parse: integer(1, 32), expected: '1 to 32' },
  'cleanup.policy': {
    field: 'cleanupPolicy',
    parse: (text) => oneOf('delete', 'compact', 'compact,delete')(text === 'delete,compact' ? 'compact,delete' : text),
    expected: 'delete, compact or compact,delete',
  },
  'message.timestamp.type': {
    field: 'timestampType',
    parse: oneOf('CreateTime', 'LogAppendTime'),
    expected: 'CreateTime or LogAppendTime',
  },
  'message.timestamp.after.max.ms': {
    field: 'timestampAfterMaxMs',
    parse: integer(0, SAFE),
    expected: 'milliseconds',
  },
  'millrace.fsync': { field: 'fsync', parse: oneOf('group', 'interval'), expected: 'group or interval' },
  'flush.ms': { field: 'flushMs', parse: integer(1, 3_600_000), expected: 'milliseconds, 1 to 3600000' },
  'delete.retention.ms': { field: 'deleteRetentionMs', parse: integer(0, SAFE), expected: 'milliseconds' },
  'min.cleanable.dirty.ratio': {
    field: 'minCleanableDirtyRatio',
    parse: (text) => (/^(0(\.\d{1,9})?|1(\.0{1,9})?)$/.test(text) ? Number(text) : undefined),
    expected: 'a number from 0 to 1',
  },
  'min.compaction.lag.ms': { field: 'minCompactionLagMs', parse: integer(0, SAFE), expected: 'milliseconds' },
  'max.compaction.lag.ms': {
    field: 'maxCompactionLagMs',
    parse: integer(1, SAFE),
    expected: 'milliseconds, at least 1',
  },
  'unclean.leader.election.enable': {
    field: 'uncleanLeaderElection',
    parse: (text) => (text === 'true' ? true : text === 'false' ? false : undefined),
    expected: 'true or false',
  },
}

export const TOPIC_CONFIG_DEFAULTS: TopicConfig = {
  retentionMs: 14 * DAY_MS,
  retentionBytes: -1,
  segmentBytes: 1024 * 1024 * 1024,
  segmentMs: 7 * DAY_MS,
  maxMessageBytes: BATCH_BYTES_DEFAULT,
  minInsyncReplicas: 1,
  cleanupPolicy: 'delete',
  timestampType: 'CreateTime',
  timestampAfterMaxMs: SAFE,
  fsync: 'group',
  flushMs: 1000,
  deleteRetentionMs: DAY_MS,
  minCleanableDirtyRatio: 0.5,
  minCompactionLagMs: 0,
  maxCompactionLagMs: SAFE,
  uncleanLeaderElection: false,
}

/**
 * Topic configuration from dotted keys and texts, over `defaults` (the broker's).
 * Throws MillraceError INVALID_CONFIG naming the key and what it expects.
 */
export function parseTopicConfig(
  entries: Readonly<Record<string, string>>,
  defaults: TopicConfig = TOPIC_CONFIG_DEFAULTS,
): TopicConfig {
  const config: Record<string, string | number | boolean> = { ...defaults }
  for (const [key, text] of Object.entries(entries)) {
    if (key === 'compression.type') {
      if (text !== 'producer')
        throw new MillraceError('INVALID_CONFIG', `compression.type: only 'producer' is served, not '${text}'`)
      continue
    }
    const known = Object.hasOwn(TOPIC_CONFIG_KEYS, key) ? TOPIC_CONFIG_KEYS[key] : undefined
    if (known === undefined)
      throw new MillraceError('INVALID_CONFIG', `unknown topic configuration '${key}'${hintAt(key)}`)
    const value = known.parse(text)
    if (value === undefined) throw new MillraceError('INVALID_CONFIG', `${key}: '${text}' is not ${known.expected}`)
    config[known.field] = value
  }
  const parsed = config as unknown as TopicConfig
  if (parsed.minCompactionLagMs > parsed.maxCompactionLagMs)
    throw new MillraceError(
      'INVALID_CONFIG',
      `min.compaction.lag.ms ${parsed.minCompactionLagMs} is more than max.compaction.lag.ms ${parsed.maxCompactionLagMs}`,
    )
  return parsed
}

function hintAt(key: string): string {
  const near = nearest(key, [...Object.keys(TOPIC_CONFIG_KEYS), 'compression.type'])
  return near === undefined ? '' : `; did you mean '${near}'?`
}
