/**
 * The configuration of an in-process broker: the keys of config/millrace.yaml, by their dotted paths.
 *
 * Why       the schema's parsers cost more to load than all the rest of a broker in memory. One that is told nothing begins with the
 *           table below, which is what they would make of the defaults; a test compares the two
 * Differs   from `millrace start`: a door that is opened takes any free port, and nothing is logged unless asked for
 */
import type { BrokerConfig, ConfigPath } from '../config/index.ts'
import { MillraceError } from '../model/errors.ts'
import { FRAME_BYTES_MAX } from '../model/limits.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../model/topic-config.ts'

/** What is said by an option of createBroker() instead. */
type OptionPath = 'dataDir' | 'shards' | 'listen' | 'kafka'

/** Values as in the YAML file: `'64MiB'`, `'5s'`, `true`. */
export type InProcessConfig = Readonly<
  Partial<Record<Exclude<ConfigPath, OptionPath> | 'profile' | `topics.config.${string}`, unknown>>
>

const OPTION_OF: Readonly<Record<OptionPath, string>> = {
  dataDir: "the option storage: { dir: '…' }",
  shards: 'the option shards',
  listen: "listen({ listen: 'HOST:PORT' })",
  kafka: "listen({ kafka: 'HOST:PORT' })",
}

/** Set before what the caller says. */
export const IN_PROCESS_SETTINGS = { listen: '127.0.0.1:0', kafka: 'off', 'log.level': 'silent' } as const

const KIB = 1024
const MIB = 1024 * KIB
const DAY_MS = 86_400_000

/** resolveConfig() of IN_PROCESS_SETTINGS alone, but for `entries`. */
export const IN_PROCESS_DEFAULTS: BrokerConfig = {
  profile: 'balanced',
  profileSource: 'default',
  listen: { host: '127.0.0.1', port: 0 },
  kafka: { listen: undefined, advertised: undefined, sasl: [], idleMs: 600_000 },
  nodeId: 1,
  dataDir: './data',
  isInsecure: false,
  shards: 'auto',
  shard: { spinMicroseconds: 0 },
  storage: {
    fsync: 'group',
    journalThresholdPartitions: 1,
    journalBytes: 64 * MIB,
    reserveBytes: 256 * MIB,
    checkpointMs: 10_000,
    checkpointBytes: 1024 * MIB,
    scrubPeriodMs: 7 * DAY_MS,
    compactionCheckMs: 15_000,
    compactionMemoryBytes: 64 * MIB,
    openFilesMax: 256,
  },
  topics: { autoCreate: false, partitions: 6, replicas: 3, config: TOPIC_CONFIG_DEFAULTS },
  groups: { offsetsPartitions: 16, offsetsRetentionMs: 7 * DAY_MS, initialRebalanceDelayMs: 3_000 },
  cluster: {
    ...{ etcdUrls: [], etcdUser: '', etcdPassword: '', etcdCa: '', etcdCert: '', etcdKey: '' },
    ...{ rack: null, secret: '', leaseTtlMs: 8_000, replicaLagMs: 10_000, fetchWaitMs: 2_000, catchUpBytes: 0 },
  },
  advertisedUrl: '',
  transactions: { statePartitions: 16, timeoutMsMax: 900_000, idExpirationMs: 7 * DAY_MS },
  engine: 'auto',
  idleSeconds: 120,
  auth: { tokens: [], origins: [] },
  limits: {
    frameBytes: FRAME_BYTES_MAX,
    connections: 20_000,
    receiveBytes: 256 * MIB,
    sendBytes: 64 * MIB,
    connectionSendBytes: MIB,
  },
  rings: { requestBytes: 16 * MIB, replyBytes: 2 * MIB },
  pages: { bytes: 64 * KIB, poolBytes: 64 * MIB },
  logLevel: 'silent',
  entries: [],
}

/** The whole configuration. Rejects with ConfigError, which names each fault. */
export async function inProcessConfig(settings: InProcessConfig = {}): Promise<BrokerConfig> {
  for (const [path, option] of Object.entries(OPTION_OF))
    if (Object.hasOwn(settings, path))
      throw new MillraceError('INVALID_CONFIG', `config: '${path}' is given by ${option}`)
  return Object.keys(settings).length === 0 ? IN_PROCESS_DEFAULTS : resolved(settings)
}

/** The same, with addresses for doors; refused where they are not safe. */
export async function doorConfig(
  settings: InProcessConfig,
  doors: { readonly listen?: string | undefined; readonly kafka?: string | undefined },
): Promise<BrokerConfig> {
  const given = Object.entries(doors).filter(([, address]) => address !== undefined)
  return resolved({ ...settings, ...Object.fromEntries(given) })
}

async function resolved(settings: Readonly<Record<string, unknown>>): Promise<BrokerConfig> {
  const { resolveConfig } = await import('../config/index.ts')
  const { profile, ...flags } = { ...IN_PROCESS_SETTINGS, ...settings } as Readonly<Record<string, unknown>>
  return resolveConfig({
    profile: profile === undefined ? undefined : String(profile),
    flags: Object.entries(flags).map(([path, value]) => ({ path, value, source: `config: ${path}` })),
  })
}
