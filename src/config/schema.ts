/**
 * The schema: every key of a broker's configuration, its type, bounds, default and meaning. One table; the YAML file, the
 * environment, the flags, the docs and the checks all come from it.
 *
 * A key's path has dots; in YAML they are nesting, in the environment `__` (MILLRACE_STORAGE__FSYNC).
 */
import { z } from 'zod'
import { FRAME_BYTES_MAX, TOPIC_PARTITIONS_MAX } from '../model/limits.ts'
import { TOPIC_CONFIG_KEYS } from '../model/topic-config.ts'
import { SASL_MECHANISMS } from '../model/users.ts'
import { DURATION_PATTERN, formatDuration, formatSize, parseDuration, parseSize, SIZE_PATTERN } from './units.ts'

const KIB = 1024
const MIB = 1024 * KIB

/** How a key's value is written. */
export type KeyKind = 'text' | 'integer' | 'boolean' | 'duration' | 'size' | 'choice' | 'texts' | 'map'

/** The part of JSON Schema that keys need. */
export type JsonSchema = Readonly<Record<string, unknown>>

export interface ConfigKey {
  readonly kind: KeyKind
  /** From what a file, the environment or a flag says (text, or YAML's own types) to the value. */
  readonly schema: z.ZodType
  /** What an editor checks: JSON Schema of what may stand in a file. The bounds of durations and sizes are left to `schema`. */
  readonly json: JsonSchema
  readonly default: unknown
  readonly help: string
  /** Never printed. */
  readonly isSecret?: boolean
}

function fromText(parse: (text: string) => number | undefined, expected: string, min: number, max: number) {
  return z.union([z.string(), z.number()]).transform((value, context) => {
    const parsed = parse(String(value))
    if (parsed !== undefined && parsed >= min && parsed <= max) return parsed
    context.addIssue({ code: 'custom', message: `${expected}, not '${value}'` })
    return z.NEVER
  })
}

function duration(defaultMs: number, min: number, max: number, help: string): ConfigKey {
  const expected = `a duration from ${formatDuration(min)} to ${formatDuration(max)} such as 50ms, 5s, 14d`
  const schema = fromText(parseDuration, expected, min, max)
  const json = { type: 'string', pattern: DURATION_PATTERN }
  return { kind: 'duration', schema, json, default: defaultMs, help }
}

function size(defaultBytes: number, min: number, max: number, help: string): ConfigKey {
  const expected = `a size from ${formatSize(min)} to ${formatSize(max)} such as 64KiB, 16MiB`
  const schema = fromText(parseSize, expected, min, max)
  const json = {
    anyOf: [
      { type: 'integer', minimum: min, maximum: max },
      { type: 'string', pattern: SIZE_PATTERN },
    ],
  }
  return { kind: 'size', schema, json, default: defaultBytes, help }
}

function powerOfTwo(key: ConfigKey): ConfigKey {
  const schema = key.schema.refine((bytes) => Number.isInteger(Math.log2(bytes as number)), 'a power of two')
  return { ...key, schema }
}

function integer(byDefault: number, min: number, max: number, help: string): ConfigKey {
  const parse = (text: string) => (/^-?\d{1,15}$/.test(text) ? Number(text) : undefined)
  const schema = fromText(parse, `an integer from ${min} to ${max}`, min, max)
  const json = { type: 'integer', minimum: min, maximum: max }
  return { kind: 'integer', schema, json, default: byDefault, help }
}

function boolean(byDefault: boolean, help: string): ConfigKey {
  const schema = z.union([z.boolean(), z.string()]).transform((value, context) => {
    if (value === true || value === 'true') return true
    if (value === false || value === 'false') return false
    context.addIssue({ code: 'custom', message: `true or false, not '${value}'` })
    return z.NEVER
  })
  return { kind: 'boolean', schema, json: { type: 'boolean' }, default: byDefault, help }
}

function choice(byDefault: string, choices: readonly string[], help: string): ConfigKey {
  const expected = `one of ${choices.join(', ')}`
  // YAML 1.1 files say `off` and mean false.
  const schema = z.union([z.string(), z.boolean()]).transform((value, context) => {
    const text = value === false ? 'off' : String(value)
    if (choices.includes(text)) return text
    context.addIssue({ code: 'custom', message: `${expected}, not '${text}'` })
    return z.NEVER
  })
  return { kind: 'choice', schema, json: { enum: choices }, default: byDefault, help }
}

function text(byDefault: string, help: string, shape = /^[\s\S]{1,4096}$/, expected = 'a text'): ConfigKey {
  const schema = z.union([z.string(), z.number(), z.boolean()]).transform((value, context) => {
    const given = value === false ? 'off' : String(value)
    if (shape.test(given)) return given
    context.addIssue({ code: 'custom', message: `${expected}, not '${given}'` })
    return z.NEVER
  })
  const json = { type: ['string', 'number', 'boolean'], pattern: shape.source }
  return { kind: 'text', schema, json, default: byDefault, help }
}

/** Of a URL that its shape lets through: port 99999 is none, and others would fail at it, not this broker. */
function canParse(key: ConfigKey): ConfigKey {
  const isUsable = (url: string): boolean => url === '' || (URL.canParse(url) && !url.includes('#'))
  const schema = key.schema.refine((url) => isUsable(url as string), 'a URL that can be connected to')
  return { ...key, schema }
}

/** A text, or nothing. */
function mayBeEmpty(help: string): ConfigKey {
  return text('', help, /^[\s\S]{0,4096}$/)
}

/** A list of texts; in the environment and in flags separated by commas. */
function texts(help: string, options: { readonly isSecret?: boolean; readonly lengthMin?: number } = {}): ConfigKey {
  const { isSecret = false, lengthMin = 1 } = options
  const schema = z
    .union([z.string(), z.array(z.union([z.string(), z.number()]))])
    .transform((value) => (typeof value === 'string' ? value.split(',') : value.map(String)))
    .transform((list) => list.map((item) => item.trim()).filter((item) => item !== ''))
    .refine((list) => list.every((item) => item.length >= lengthMin), `texts of at least ${lengthMin} characters`)
  const json = { type: ['array', 'string'], items: { type: 'string', minLength: lengthMin } }
  return { kind: 'texts', schema, json, default: [], help, isSecret }
}

/** A list of some of `choices`, each once at most. */
function choices(all: readonly string[], help: string): ConfigKey {
  const { schema, kind } = texts(help)
  const isSome = (list: readonly string[]): boolean =>
    list.every((item) => all.includes(item)) && new Set(list).size === list.length
  const json = { type: ['array', 'string'], items: { enum: all }, uniqueItems: true }
  const checked = schema.refine((list) => isSome(list as string[]), `a list of some of ${all.join(', ')}, each once`)
  return { kind, schema: checked, json, default: [], help }
}

/** Of Kafka's topic keys an editor knows the names; their values are checked by model/topic-config.ts. */
const TOPIC_CONFIG_NAMES = [...Object.keys(TOPIC_CONFIG_KEYS), 'compression.type']
const TOPIC_VALUE: JsonSchema = { type: ['string', 'number', 'boolean'] }

const HOST_PORT = /^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$/

export const CONFIG_KEYS = {
  listen: text(
    '127.0.0.1:7171',
    'WebSocket and HTTP; an address that is not loopback needs auth.tokens or insecure',
    HOST_PORT,
    'HOST:PORT',
  ),
  kafka: text(
    '127.0.0.1:9092',
    'Kafka listener, HOST:PORT or off; an address that is not loopback needs SASL or insecure. Where nobody sets it: off in a cluster, and where the port is in use',
    /^(off|(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5})$/,
    'HOST:PORT or off',
  ),
  nodeId: integer(1, 0, 2 ** 31 - 1, "this broker's number in its cluster"),
  dataDir: text('./data', 'everything durable lies here'),
  etcd: texts(
    'URLs of an etcd cluster, which makes this broker one of a cluster; empty = alone, with the embedded metadata store',
  ),
  'cluster.rack': mayBeEmpty('rack or zone of this broker: replicas of a partition go to different ones; empty = none'),
  'cluster.secret': {
    ...text(
      '',
      'what brokers know each other by, the same on all; empty = the first broker makes one and keeps it in etcd',
      /^(\S{16,256})?$/,
      '16 to 256 characters without spaces, or nothing',
    ),
    isSecret: true,
  },
  'cluster.leaseTtl': duration(
    8_000,
    2_000,
    60_000,
    'a broker that etcd has not heard of for so long is gone; sooner when its port refuses connections',
  ),
  'cluster.replicaLag': duration(
    10_000,
    1_000,
    300_000,
    'a follower that has not been at the log end of its leader for so long leaves the in-sync set',
  ),
  'cluster.fetchWait': duration(
    2_000,
    10,
    10_000,
    'how long a fetch of a follower waits for records; at most a quarter of cluster.replicaLag',
  ),
  'cluster.catchUpRate': size(
    0,
    0,
    1024 * 1024 * MIB,
    'bytes a second that replicas which are not in sync fetch at most, per broker; 0 = no limit',
  ),
  'cluster.etcdUser': mayBeEmpty('user of etcd; empty = no authentication'),
  'cluster.etcdPassword': { ...mayBeEmpty('password of that user'), isSecret: true },
  'cluster.etcdCa': mayBeEmpty(
    'file (PEM) of the authority that signed the certificates of etcd; empty = that of the system',
  ),
  'cluster.etcdCert': mayBeEmpty('file (PEM) of the certificate that this broker shows etcd; empty = none'),
  'cluster.etcdKey': mayBeEmpty('file (PEM) of the key of that certificate'),
  insecure: boolean(false, 'allow an address that is not loopback without authentication'),
  shards: text(
    'auto',
    'threads that own partitions: auto = cores - 1, at least 1',
    /^(auto|[1-9]\d{0,2})$/,
    'auto or a number from 1 to 999',
  ),
  'shard.wait': choice('wait', ['wait', 'spin'], 'what an idle shard does; spin needs more cores than threads'),
  'shard.spin': integer(50, 1, 10_000, 'microseconds that `shard.wait: spin` looks before it sleeps'),
  'storage.fsync': choice(
    'group',
    ['group', 'interval'],
    'group = acknowledged after fdatasync, group-committed; interval = synced every flush.ms',
  ),
  'storage.journalThreshold': integer(1, 0, 10_000, 'a commit group of more partitions goes to the commit journal'),
  'storage.journal': size(64 * MIB, 2 * MIB, 1024 * MIB, 'commit journal of a shard, preallocated at each start'),
  'storage.reserve': size(
    256 * MIB,
    1 * MIB,
    1024 * 1024 * MIB,
    'free bytes of the disk below which produce is refused with DISK_FULL, and reads and deletes go on',
  ),
  'storage.checkpoint': duration(10_000, 1_000, 3_600_000, 'how often recovery points are written'),
  'storage.checkpointBytes': size(
    1024 * MIB,
    16 * MIB,
    1024 * 1024 * MIB,
    'and after how many bytes written per shard: after a crash at most about so much is read again',
  ),
  'storage.scrub': duration(
    7 * 86_400_000,
    60_000,
    365 * 86_400_000,
    'period in which every closed segment is read once in the background and compared with its checksums',
  ),
  'storage.compactionCheck': duration(
    15_000,
    100,
    86_400_000,
    'how often each compacted partition is looked at: whether enough of it is new to compact it again',
  ),
  'storage.compactionMemory': size(
    64 * MIB,
    MIB,
    4096 * MIB,
    'memory for the keys of one compaction: about 2 million keys for 64 MiB; more take several runs',
  ),
  'storage.openFiles': integer(256, 16, 100_000, 'closed segments kept open, per shard'),
  'flush.ms': integer(1_000, 1, 3_600_000, 'period of `storage.fsync: interval`, milliseconds'),
  'topics.autoCreate': boolean(false, 'create a topic when metadata of it is asked for by name'),
  'topics.partitions': integer(6, 1, TOPIC_PARTITIONS_MAX, 'partitions of a topic that names no number'),
  'topics.replicas': integer(0, 0, 32, 'replicas of a topic that names no number, as far as there are brokers; 0 = 3'),
  'topics.config': {
    kind: 'map',
    schema: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String)),
    json: {
      type: 'object',
      properties: Object.fromEntries(TOPIC_CONFIG_NAMES.map((key) => [key, TOPIC_VALUE])),
      additionalProperties: false,
    },
    default: {},
    help: "topic configuration that a topic does not set itself, Kafka's keys: retention.ms, segment.bytes, …",
  } satisfies ConfigKey,
  'groups.offsetsPartitions': integer(
    16,
    1,
    1_000,
    'partitions of __consumer_offsets, which coordinate the groups; takes effect when the first group is made',
  ),
  'groups.offsetsRetention': duration(
    7 * 86_400_000,
    60_000,
    3650 * 86_400_000,
    'committed offsets of a group without members are kept for so long',
  ),
  'groups.initialRebalanceDelay': duration(
    3_000,
    0,
    600_000,
    'a group of Kafka clients that begins waits so long for more members before it assigns; 0 = not at all',
  ),
  'transactions.statePartitions': integer(
    16,
    1,
    1_000,
    'partitions of __transaction_state, which coordinate transactions; takes effect when the first transactional id comes',
  ),
  'transactions.timeoutMax': duration(
    15 * 60_000,
    1_000,
    86_400_000,
    'the longest transaction timeout that a producer may ask for; readers may wait for so long',
  ),
  'transactions.idExpiration': duration(
    7 * 86_400_000,
    60_000,
    3650 * 86_400_000,
    'a transactional id without a transaction is forgotten after so long',
  ),
  'listeners.advertised': canParse(
    text(
      '',
      'the URL that clients are told to connect to, where it is not the one listened at: behind a proxy, out of a container; empty = that one',
      /^(wss?:\/\/[^\s/]+)?$/,
      'a URL such as ws://broker.example:7171, or nothing',
    ),
  ),
  'listeners.ws.engine': choice(
    'auto',
    ['auto', 'uws', 'ws'],
    'auto = uWebSockets.js where it has a native build, else ws',
  ),
  'listeners.ws.idle': duration(120_000, 8_000, 960_000, 'a connection that answers no ping for so long is closed'),
  'listeners.kafka.sasl': choices(
    SASL_MECHANISMS,
    'how Kafka clients say who they are, as users of `millrace user`; empty = with auth.tokens PLAIN, else everybody is let in',
  ),
  'listeners.kafka.advertised': text(
    '',
    'HOST:PORT that Kafka clients are told to connect to, where it is not the one listened at; empty = that one',
    /^((\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5})?$/,
    'HOST:PORT, or nothing',
  ),
  'listeners.kafka.idle': duration(
    600_000,
    1_000,
    86_400_000,
    'a Kafka connection without a request for so long is closed',
  ),
  'auth.tokens': {
    ...texts('who may connect: the tokens, at least 16 characters each; empty = everybody', {
      isSecret: true,
      lengthMin: 16,
    }),
  },
  'auth.origins': texts('Origins of browsers that may connect, such as https://app.example.com; others are refused'),
  'limits.frameBytes': size(
    FRAME_BYTES_MAX,
    64 * KIB,
    FRAME_BYTES_MAX,
    'largest frame; a connection is lent a third more before anything is done with',
  ),
  'limits.connections': integer(20_000, 1, 1_000_000, 'connections at the same time'),
  'limits.receiveBytes': size(
    256 * MIB,
    8 * MIB,
    64 * 1024 * MIB,
    'bytes received that no shard has taken yet; beyond it no credit is lent',
  ),
  'limits.sendBytes': size(
    64 * MIB,
    1 * MIB,
    64 * 1024 * MIB,
    'bytes that clients have not read yet; near it fetches become small and wait until their client has read what it got',
  ),
  'limits.connectionSendBytes': size(
    1 * MIB,
    64 * KIB,
    64 * MIB,
    'bytes a connection may leave unread before its fetches wait',
  ),
  'rings.requestBytes': powerOfTwo(
    size(
      16 * MIB,
      1 * MIB,
      1024 * MIB,
      'request ring of a shard, a power of two; carries batches up to 3/8 of it: in a cluster 16MiB at least',
    ),
  ),
  // A reply is at most 3/8 of it: FETCH_ABORTED_MAX aborted transactions and the pages of one batch must fit.
  'rings.replyBytes': powerOfTwo(size(2 * MIB, 512 * KIB, 256 * MIB, 'reply ring of a shard, a power of two')),
  'pages.bytes': powerOfTwo(size(64 * KIB, 4 * KIB, 1 * MIB, 'a page of the shared pool, a power of two')),
  'pages.poolBytes': size(
    64 * MIB,
    1 * MIB,
    64 * 1024 * MIB,
    'shared pages of a shard: what consumers are served from',
  ),
  'log.level': choice('info', ['trace', 'debug', 'info', 'warn', 'error', 'silent'], 'what is written to stderr'),
} as const satisfies Readonly<Record<string, ConfigKey>>

export type ConfigPath = keyof typeof CONFIG_KEYS
export const CONFIG_PATHS = Object.keys(CONFIG_KEYS) as ConfigPath[]
