/**
 * Config: from flags, environment, file and profile to one checked set of values that knows where each came from.
 *
 * Precedence  flag > environment (MILLRACE_A__B) > file > profile > default
 * Failure     ConfigError with every fault found, each naming key, source (file and line) and the nearest known key
 * Not here    reading files (cli/, main.ts): this module is given texts
 */

import { isMap, isPair, isScalar, LineCounter, parseDocument, type YAMLMap } from 'yaml'
import { type HostPort, hostPortOf, isWildcard } from '../base/host-port.ts'
import { nearest } from '../base/nearest.ts'
import { MillraceError } from '../model/errors.ts'
import { BATCH_BYTES_MAX } from '../model/limits.ts'
import { parseTopicConfig, TOPIC_CONFIG_DEFAULTS, type TopicConfig } from '../model/topic-config.ts'
import type { SaslMechanism } from '../model/users.ts'
import { PROFILE_NAMES, PROFILES, type ProfileName } from './profiles.ts'
import { CONFIG_KEYS, CONFIG_PATHS, type ConfigPath } from './schema.ts'

export type ConfigSource = 'default' | `profile ${string}` | `${string}:${number}` | `env ${string}` | `flag ${string}`

export interface ConfigEntry {
  readonly path: ConfigPath
  readonly value: unknown
  readonly source: ConfigSource
}

/** The values, typed by hand: what the rest of the broker reads. */
export interface BrokerConfig {
  readonly profile: ProfileName
  readonly profileSource: ConfigSource
  readonly listen: HostPort
  readonly kafka: {
    /** Undefined: off. */
    readonly listen: HostPort | undefined
    /** What clients are told to connect to; undefined: where it listens. */
    readonly advertised: HostPort | undefined
    /** The mechanisms in force: not empty = nobody is served who has not said who they are. */
    readonly sasl: readonly SaslMechanism[]
    readonly idleMs: number
  }
  readonly nodeId: number
  readonly dataDir: string
  readonly isInsecure: boolean
  /** 'auto' or a number. */
  readonly shards: 'auto' | number
  readonly shard: { readonly spinMicroseconds: number }
  readonly storage: {
    readonly fsync: 'group' | 'interval'
    readonly journalThresholdPartitions: number
    readonly journalBytes: number
    readonly reserveBytes: number
    readonly checkpointMs: number
    readonly checkpointBytes: number
    readonly scrubPeriodMs: number
    readonly compactionCheckMs: number
    readonly compactionMemoryBytes: number
    readonly openFilesMax: number
  }
  readonly topics: {
    readonly autoCreate: boolean
    readonly partitions: number
    /** As far as there are brokers. */
    readonly replicas: number
    /** What a topic has that sets nothing itself. */
    readonly config: TopicConfig
  }
  readonly groups: {
    readonly offsetsPartitions: number
    readonly offsetsRetentionMs: number
    readonly initialRebalanceDelayMs: number
  }
  readonly cluster: {
    /** Of etcd; empty = alone. */
    readonly etcdUrls: readonly string[]
    readonly etcdUser: string
    readonly etcdPassword: string
    /** Files, '' = none. */
    readonly etcdCa: string
    readonly etcdCert: string
    readonly etcdKey: string
    readonly rack: string | null
    /** '' = the one in the metadata store. */
    readonly secret: string
    readonly leaseTtlMs: number
    readonly replicaLagMs: number
    readonly fetchWaitMs: number
    /** A second; 0 = no limit. */
    readonly catchUpBytes: number
  }
  /** What clients are told to connect to; '' = where it listens. */
  readonly advertisedUrl: string
  readonly transactions: {
    readonly statePartitions: number
    readonly timeoutMsMax: number
    readonly idExpirationMs: number
  }
  readonly engine: 'auto' | 'uws' | 'ws'
  readonly idleSeconds: number
  readonly auth: { readonly tokens: readonly string[]; readonly origins: readonly string[] }
  readonly limits: {
    readonly frameBytes: number
    readonly connections: number
    readonly receiveBytes: number
    readonly sendBytes: number
    readonly connectionSendBytes: number
  }
  readonly rings: { readonly requestBytes: number; readonly replyBytes: number }
  readonly pages: { readonly bytes: number; readonly poolBytes: number }
  readonly logLevel: string
  /** Every key with where it came from, in the order of the schema. */
  readonly entries: readonly ConfigEntry[]
}

export interface ConfigInput {
  readonly profile?: string | undefined
  readonly file?: { readonly name: string; readonly text: string } | undefined
  readonly env?: Readonly<Record<string, string | undefined>>
  /** From flags: path to text; `source` is what the user typed. */
  readonly flags?: readonly { readonly path: string; readonly value: unknown; readonly source: string }[]
}

/** All that was wrong, a line each. */
export class ConfigError extends MillraceError {
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super('INVALID_CONFIG', faults.join('\n'))
    this.faults = faults
  }
}

const REPLICAS_DEFAULT = 3

interface RawValue {
  readonly value: unknown
  readonly source: ConfigSource
}

export function resolveConfig(input: ConfigInput = {}): BrokerConfig {
  const faults: string[] = []
  const file = input.file === undefined ? new Map<string, RawValue>() : valuesOfFile(input.file, faults)
  const env = valuesOfEnv(input.env ?? {})
  const flags = new Map<string, RawValue>()
  for (const { path, value, source } of input.flags ?? []) flags.set(path, { value, source: `flag ${source}` })
  if (input.profile !== undefined) flags.set('profile', { value: input.profile, source: 'flag --profile' })
  const layers = [file, env, flags]
  const profile = profileOf(layers, faults)
  const raw = new Map<string, RawValue>()
  for (const [path, { value }] of Object.entries(PROFILES[profile.name].sets))
    raw.set(path, { value, source: `profile ${profile.name}` })
  for (const layer of layers) for (const [path, value] of layer) raw.set(path, value)
  const entries = checkedEntries(raw, faults)
  if (faults.length > 0) throw new ConfigError(faults.sort(byLine))
  const config = toBrokerConfig(profile, entries)
  const unsafe = findUnsafe(config)
  if (unsafe.length > 0) throw new ConfigError(unsafe)
  return config
}

/** Faults of a file in the order of its lines; others stay where they are. */
function byLine(left: string, right: string): number {
  const lineOf = (fault: string): number => Number(/^[^\s:]+:(\d+): /.exec(fault)?.[1] ?? 0)
  return lineOf(left) - lineOf(right)
}

/** Takes `profile` out of the layers, the last of which wins: it decides what lies below all of them. */
function profileOf(
  layers: readonly Map<string, RawValue>[],
  faults: string[],
): { readonly name: ProfileName; readonly source: ConfigSource } {
  let given: RawValue = { value: 'balanced', source: 'default' }
  for (const layer of layers) {
    given = layer.get('profile') ?? given
    layer.delete('profile')
  }
  const name = PROFILE_NAMES.find((known) => known === given.value)
  if (name === undefined)
    faults.push(faultAt(given.source, 'profile', `expected one of ${PROFILE_NAMES.join(', ')}, not '${given.value}'`))
  return { name: name ?? 'balanced', source: given.source }
}

/** `--set a.b: expected …`, `millrace.yaml:3: a.b: expected …`: where, which key, what; a source that ends with the key says both. */
function faultAt(source: ConfigSource, path: string, text: string): string {
  if (source === 'default') return `${path}: ${text}`
  const where = source.replace(/^(flag|env) /, '')
  return where.endsWith(` ${path}`) || where === `--${path}` ? `${where}: ${text}` : `${where}: ${path}: ${text}`
}

const TOPIC_CONFIG_PREFIX = 'topics.config.'

/** Each key of topics.config, checked where it was given, becomes a part of the one entry that is the map. */
function foldTopicConfig(raw: Map<string, RawValue>, faults: string[]): void {
  for (const [path, { value, source }] of [...raw]) {
    if (!path.startsWith(TOPIC_CONFIG_PREFIX)) continue
    raw.delete(path)
    const key = path.slice(TOPIC_CONFIG_PREFIX.length)
    try {
      parseTopicConfig({ [key]: String(value) })
    } catch (error) {
      faults.push(faultAt(source, path, (error as Error).message.replace(`${key}: `, '')))
      continue
    }
    const map = raw.get('topics.config')?.value
    const before = typeof map === 'object' && map !== null ? map : {}
    raw.set('topics.config', { value: { ...before, [key]: value }, source })
  }
}

function checkedEntries(raw: Map<string, RawValue>, faults: string[]): ConfigEntry[] {
  foldTopicConfig(raw, faults)
  for (const [path, { source }] of raw) {
    if (Object.hasOwn(CONFIG_KEYS, path)) continue
    const known = nearestKey(path)
    const near = known !== undefined && source.startsWith('env ') ? envNameOf(known) : known
    const hint = near === undefined ? 'millrace config show prints all keys' : `did you mean '${near}'?`
    faults.push(`${source.replace(/^(flag|env) /, '')}: unknown key '${path}'; ${hint}`)
  }
  return CONFIG_PATHS.map((path): ConfigEntry => {
    const key = CONFIG_KEYS[path]
    const given = raw.get(path)
    if (given === undefined) return { path, value: key.default, source: 'default' }
    const result = key.schema.safeParse(given.value)
    if (result.success) return { path, value: result.data, source: given.source }
    const custom = result.error.issues.find((issue) => issue.code === 'custom')
    const expected = custom?.message ?? `a value of kind ${key.kind}`
    faults.push(faultAt(given.source, path, `expected ${expected}`))
    return { path, value: key.default, source: 'default' }
  })
}

/** The key that was meant: the nearest by spelling, or the one that ends as the name given does (`fsync`: `storage.fsync`). */
function nearestKey(path: string): string | undefined {
  const paths = [...CONFIG_PATHS, 'profile']
  return nearest(path, paths) ?? paths.find((known) => known.endsWith(`.${path.split('.').at(-1)}`))
}

const ENV_PREFIX = 'MILLRACE_'

/** MILLRACE_STORAGE__FSYNC -> storage.fsync; only names with `__` are configuration, one word begins with it (MILLRACE__LISTEN). */
function valuesOfEnv(env: Readonly<Record<string, string | undefined>>): Map<string, RawValue> {
  const byEnvName = new Map(CONFIG_PATHS.map((path) => [envNameOf(path), path as string]))
  const values = new Map<string, RawValue>()
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || !name.startsWith(ENV_PREFIX) || !name.includes('__')) continue
    const spelled = name.slice(ENV_PREFIX.length).replace(/^__?/, '').replaceAll('__', '.').toLowerCase()
    values.set(byEnvName.get(name) ?? spelled, { value, source: `env ${name}` })
  }
  return values
}

/** How a key is called in the environment. */
export function envNameOf(path: string): string {
  const words = path.split('.').map((part) => part.replace(/([A-Z])/g, '_$1').toUpperCase())
  return words.length === 1 ? `${ENV_PREFIX}_${words[0]}` : `${ENV_PREFIX}${words.join('__')}`
}

function valuesOfFile(file: { readonly name: string; readonly text: string }, faults: string[]): Map<string, RawValue> {
  const lines = new LineCounter()
  const document = parseDocument(file.text, { lineCounter: lines, uniqueKeys: true })
  const values = new Map<string, RawValue>()
  // What follows a broken line is often only its echo: one fault a line.
  const broken = new Map<number, string>()
  for (const error of document.errors) {
    const { line } = lines.linePos(error.pos[0])
    const text = error.message.split('\n')[0]!.replace(/ at line \d+, column \d+:?$/, '')
    if (!broken.has(line)) broken.set(line, `${file.name}:${line}: not YAML: ${text}`)
  }
  faults.push(...broken.values())
  if (document.errors.length > 0 || document.contents === null) return values
  if (!isMap(document.contents)) {
    faults.push(`${file.name}:1: expected keys and values, such as 'listen: 127.0.0.1:7171'`)
    return values
  }
  const lineOf = (node: unknown): number => {
    const range = (node as { range?: [number, number, number] | null }).range
    return range ? lines.linePos(range[0]).line : 1
  }
  flatten(document.contents, '', (path, node, value) => {
    if (values.has(path)) faults.push(`${file.name}:${lineOf(node)}: the key '${path}' comes twice`)
    values.set(path, { value, source: `${file.name}:${lineOf(node)}` })
  })
  return values
}

function flatten(map: YAMLMap, prefix: string, add: (path: string, node: unknown, value: unknown) => void): void {
  for (const pair of map.items) {
    if (!isPair(pair)) continue
    const path = prefix + String(isScalar(pair.key) ? pair.key.value : pair.key)
    // The keys of a map are flattened too, so that each knows its line.
    const isLeaf = Object.hasOwn(CONFIG_KEYS, path) && CONFIG_KEYS[path as ConfigPath].kind !== 'map'
    if (isMap(pair.value) && !isLeaf && pair.value.items.length > 0) flatten(pair.value as YAMLMap, `${path}.`, add)
    else if (isScalar(pair.value)) add(path, pair.key, pair.value.value ?? undefined)
    else add(path, pair.key, pair.value === null ? undefined : (pair.value as { toJSON(): unknown }).toJSON())
  }
}

function toBrokerConfig(
  profile: { readonly name: ProfileName; readonly source: ConfigSource },
  entries: readonly ConfigEntry[],
): BrokerConfig {
  const values = new Map(entries.map((entry) => [entry.path, entry.value]))
  const value = <T>(path: ConfigPath): T => values.get(path) as T
  // Others of a cluster tell their clients of it: an address that nobody named, this machine's alone, would lead them astray.
  const isNamed = entries.find(({ path }) => path === 'kafka')?.source !== 'default'
  const isClustered = value<readonly string[]>('etcd').length > 0
  const kafka = isClustered && !isNamed ? 'off' : value<string>('kafka')
  const shards = value<string>('shards')
  const fsync = value<'group' | 'interval'>('storage.fsync')
  return {
    profile: profile.name,
    profileSource: profile.source,
    listen: hostPortOf(value('listen')),
    kafka: {
      listen: kafka === 'off' ? undefined : hostPortOf(kafka),
      advertised:
        value('listeners.kafka.advertised') === '' ? undefined : hostPortOf(value('listeners.kafka.advertised')),
      sasl: saslOf(value('listeners.kafka.sasl'), value('auth.tokens')),
      idleMs: value('listeners.kafka.idle'),
    },
    nodeId: value('nodeId'),
    dataDir: value('dataDir'),
    isInsecure: value('insecure'),
    shards: shards === 'auto' ? 'auto' : Number(shards),
    shard: { spinMicroseconds: value('shard.wait') === 'spin' ? value('shard.spin') : 0 },
    storage: {
      fsync,
      journalThresholdPartitions: value('storage.journalThreshold'),
      journalBytes: value('storage.journal'),
      reserveBytes: value('storage.reserve'),
      checkpointMs: value('storage.checkpoint'),
      checkpointBytes: value('storage.checkpointBytes'),
      scrubPeriodMs: value('storage.scrub'),
      compactionCheckMs: value('storage.compactionCheck'),
      compactionMemoryBytes: value('storage.compactionMemory'),
      openFilesMax: value('storage.openFiles'),
    },
    groups: {
      offsetsPartitions: value('groups.offsetsPartitions'),
      offsetsRetentionMs: value('groups.offsetsRetention'),
      initialRebalanceDelayMs: value('groups.initialRebalanceDelay'),
    },
    transactions: {
      statePartitions: value('transactions.statePartitions'),
      timeoutMsMax: value('transactions.timeoutMax'),
      idExpirationMs: value('transactions.idExpiration'),
    },
    topics: {
      autoCreate: value('topics.autoCreate'),
      partitions: value('topics.partitions'),
      replicas: value<number>('topics.replicas') || REPLICAS_DEFAULT,
      config: parseTopicConfig(value('topics.config'), {
        ...TOPIC_CONFIG_DEFAULTS,
        fsync,
        flushMs: value('flush.ms'),
      }),
    },
    cluster: {
      etcdUrls: value('etcd'),
      etcdUser: value('cluster.etcdUser'),
      etcdPassword: value('cluster.etcdPassword'),
      etcdCa: value('cluster.etcdCa'),
      etcdCert: value('cluster.etcdCert'),
      etcdKey: value('cluster.etcdKey'),
      rack: value<string>('cluster.rack') || null,
      secret: value('cluster.secret'),
      leaseTtlMs: value('cluster.leaseTtl'),
      replicaLagMs: value('cluster.replicaLag'),
      fetchWaitMs: value('cluster.fetchWait'),
      catchUpBytes: value('cluster.catchUpRate'),
    },
    advertisedUrl: value('listeners.advertised'),
    engine: value('listeners.ws.engine'),
    idleSeconds: Math.round(value<number>('listeners.ws.idle') / 1000),
    auth: { tokens: value('auth.tokens'), origins: value('auth.origins') },
    limits: {
      frameBytes: value('limits.frameBytes'),
      connections: value('limits.connections'),
      receiveBytes: value('limits.receiveBytes'),
      sendBytes: value('limits.sendBytes'),
      connectionSendBytes: value('limits.connectionSendBytes'),
    },
    rings: { requestBytes: value('rings.requestBytes'), replyBytes: value('rings.replyBytes') },
    pages: { bytes: value('pages.bytes'), poolBytes: value('pages.poolBytes') },
    logLevel: value('log.level'),
    entries,
  }
}

/** With tokens there is a mechanism that carries them, unless it is said which there are. */
function saslOf(mechanisms: readonly SaslMechanism[], tokens: readonly string[]): readonly SaslMechanism[] {
  return mechanisms.length === 0 && tokens.length > 0 ? ['PLAIN'] : mechanisms
}

/** Fail closed: what must not start, with the way out. */
function findUnsafe(config: BrokerConfig): string[] {
  const faults: string[] = []
  const entryOf = (path: ConfigPath): ConfigEntry => config.entries.find((entry) => entry.path === path)!
  const add = (path: ConfigPath, text: string): void => {
    faults.push(faultAt(entryOf(path).source, path, text))
  }
  const { listen, kafka, auth, isInsecure } = config
  const addresses = { listen, kafka: kafka.listen, 'listeners.kafka.advertised': kafka.advertised } as const
  for (const [path, { port } = { port: 0 }] of Object.entries(addresses) as [ConfigPath, HostPort | undefined][])
    if (port > 65_535) add(path, `the port is 0 to 65535, not ${port}`)
  if (!isLoopback(listen.host) && auth.tokens.length === 0 && !isInsecure)
    add('listen', `${listen.host} can be reached by others: set auth.tokens, or say --insecure if you mean it`)
  if (kafka.listen !== undefined && !isLoopback(kafka.listen.host) && kafka.sasl.length === 0 && !isInsecure) {
    const wayOut = 'set listeners.kafka.sasl or auth.tokens, or say --insecure if you mean it'
    add('kafka', `${kafka.listen.host} can be reached by others: ${wayOut}`)
  }
  const told = kafka.advertised ?? kafka.listen
  if (config.cluster.etcdUrls.length > 0 && told !== undefined && isWildcard(told.host))
    add('kafka', `${told.host} is no address that clients can be told: name one with listeners.kafka.advertised`)
  findTooSmall(config, add)
  findUnsafeCluster(config.cluster, add)
  return faults
}

/**
 * What must hold a batch in one piece. Alone, a broker takes no larger ones than its rings carry. In a cluster a follower has to take what
 * another broker took, whose rings may be larger, and after a failover has to give it out: it would stand still at it for ever.
 */
function findTooSmall(
  { cluster, topics, rings, pages }: BrokerConfig,
  add: (path: ConfigPath, text: string) => void,
): void {
  const isClustered = cluster.etcdUrls.length > 0
  const bytes = isClustered ? BATCH_BYTES_MAX : topics.config.maxMessageBytes
  const why = isClustered ? 'max.message.bytes of any topic may be that large in a cluster' : 'max.message.bytes'
  const text = `too small for batches of ${bytes} bytes: ${why}`
  if (bytes > batchBytesOfRing(rings.requestBytes)) add('rings.requestBytes', text)
  // Its first and its last page hold a part of it.
  if (bytes > pages.poolBytes - 2 * pages.bytes) add('pages.poolBytes', text)
}

/** The largest batch that a request ring is sure to carry: src/ring has the exact number, and a test compares. */
export function batchBytesOfRing(requestBytes: number): number {
  return requestBytes * (3 / 8) - 64
}

/** What must be said together, or otherwise. */
function findUnsafeCluster(
  { etcdUrls, etcdUser, etcdPassword, etcdCert, etcdKey }: BrokerConfig['cluster'],
  add: (path: ConfigPath, text: string) => void,
): void {
  for (const url of etcdUrls)
    if (!/^https?:\/\/(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}$/.test(url))
      add('etcd', `expected URLs such as http://127.0.0.1:2379, not '${url}'`)
  if ((etcdUser === '') !== (etcdPassword === '')) add('cluster.etcdUser', 'user and password go together')
  if ((etcdCert === '') !== (etcdKey === '')) add('cluster.etcdCert', 'certificate and key go together')
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host)
}
