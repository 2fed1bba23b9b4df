/**
 * The composition root of a broker process: puts the real clock, files, threads and sockets together.
 *
 * Ordering  data dir (lock, incarnation) -> metadata store -> recovery in the pool -> shard threads -> partitions opened -> listen
 * Failure   whatever fails on the way closes what was opened before, and rejects with what was wrong
 */
import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { formatHostPort } from './base/host-port.ts'
import './base/node/native-crc32c.ts'
import { nodeTimers, waitingTimers } from './base/node/node-timers.ts'
import { systemClock } from './base/node/system-clock.ts'
import { startTimer } from './base/node/system-timers.ts'
import type { ClusterOptions } from './broker/cluster/cluster-agent.ts'
import { Gateway } from './broker/gateway.ts'
import { chooseEngine } from './broker/listeners/choose-engine.ts'
import { TcpEngine } from './broker/listeners/tcp-engine.ts'
import type { WebSocketEngine } from './broker/listeners/web-socket-engine.ts'
import type { RecoveredOf } from './broker/partition-opener.ts'
import { PoolStorageTasks } from './broker/pool-storage-tasks.ts'
import { shutdown } from './broker/shutdown.ts'
import type { KnownPartition, OpenedDataDir, StorageTasks } from './broker/storage-tasks.ts'
import { WorkerPool } from './broker/worker-pool.ts'
import { throwIfAborted } from './client/abort.ts'
import { type BrokerConfig, planThreads, type ThreadPlan } from './config/index.ts'
import { beginIncarnation, type ClusterIdentity } from './coordination/cluster-identity.ts'
import { EmbeddedMetadataStore } from './coordination/embedded-metadata-store.ts'
import type { MetadataStore } from './coordination/metadata-store.ts'
import { NodeDurableFiles } from './coordination/node-durable-files.ts'
import { loadTopics, type TopicRecord } from './coordination/topics.ts'
import { joinCluster } from './in-process/cluster-join.ts'
import { openClusterStore } from './in-process/cluster-store.ts'
import { channelSizesOf, partitionsOf, shardOptionsOf } from './in-process/shard-setup.ts'
import { partitionFolder } from './model/ids.ts'
import { VERSION } from './model/version.ts'
import { createSignals } from './ring/ring-signal.ts'
import { createShardChannel } from './ring/shard-channel.ts'
import { createLogger, type Logger } from './telemetry/logger.ts'
import { Metrics } from './telemetry/metrics.ts'
import { nodeTransport } from './transport/node-transport.ts'

export interface StartBrokerOptions {
  /** From resolveConfig(). */
  readonly config: BrokerConfig
  /** How clients come in; default: what the configuration names, listening. One that is given is not asked to listen. */
  readonly engine?: WebSocketEngine
  /** Default: JSON lines on stderr, from the configured level on. */
  readonly logger?: Logger
  /** In a cluster: another process has this node id, and this one has ended. */
  readonly onOver?: (reason: string) => void
  /** Gives the start up at its next step: what was begun is undone, then ABORTED. */
  readonly signal?: AbortSignal
}

export interface RunningBroker {
  /** ws://HOST:PORT as bound; '' where nothing listens. */
  readonly url: string
  readonly port: number
  readonly config: BrokerConfig
  readonly version: string
  readonly shards: number
  readonly engine: WebSocketEngine['name']
  readonly readyMs: number
  readonly gateway: Gateway
  /** Why Kafka clients cannot come in though nobody said that they should not; undefined: they can, or shall not. */
  readonly kafkaFault: string | undefined
  /** Stops in order: see broker/shutdown.ts. The same promise each time. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const newId = (): string => randomBytes(16).toString('hex')

/** What must be known before shards run. */
interface Begun {
  readonly dataDir: OpenedDataDir
  readonly store: MetadataStore
  readonly identity: ClusterIdentity
  /** Replicas that lie here. */
  readonly known: readonly KnownPartition[]
  /** Of a broker alone. */
  readonly topics: readonly TopicRecord[]
  readonly cluster?: ClusterOptions
}

interface BeginContext {
  readonly config: BrokerConfig
  readonly storage: StorageTasks
  readonly undo: (() => Promise<unknown>)[]
  readonly onOver: (reason: string) => void
  readonly logger: Logger
}

/** Starts a broker; resolves when it is ready. */
export async function startBroker(options: StartBrokerOptions): Promise<RunningBroker> {
  const startedMs = systemClock.monotonicMs()
  const { config } = options
  const logger = options.logger ?? createLogger(config.logLevel)
  const storage: StorageTasks = new PoolStorageTasks(new URL('../workers/storage-task.js', import.meta.url))
  const undo: (() => Promise<unknown>)[] = [() => storage.destroy()]
  let end: () => Promise<void> = async () => {}
  const onOver = (reason: string): void => {
    logger.error({ reason }, 'this broker ends')
    void end().finally(() => options.onOver?.(reason))
  }
  try {
    throwIfAborted(options.signal)
    const context = { config, storage, undo, onOver, logger }
    const isAlone = config.cluster.etcdUrls.length === 0
    const { dataDir, store, identity, known, topics, cluster } = await (isAlone ? beginAlone : beginInCluster)(context)
    throwIfAborted(options.signal)
    const { recovered, notes } = await storage.recover(dataDir, known)
    for (const note of notes) logger.warn(note)
    throwIfAborted(options.signal)
    const engine = options.engine ?? (await chooseEngine(config.engine, nodeTimers))
    const threads = planThreads(config, availableParallelism())
    const { shards } = threads
    if (threads.isSpinRefused) logger.warn(`shard.wait: spin needs more than ${1 + 2 * shards} cores; the shards sleep`)
    const doorbell = createSignals()
    const channels = Array.from({ length: shards }, () => createShardChannel({ ...channelSizesOf(config), doorbell }))
    const gateway = new Gateway({
      ...{ version: VERSION, config, identity, store, channels, doorbell, engine },

      ...{ clock: systemClock, timers: nodeTimers, logger, metrics: new Metrics(), newId },
      compact: (task) => storage.compact(task),
      ...(cluster === undefined ? {} : { cluster }),
    })
    const { path, incarnation } = dataDir
    const workers = startWorkers({ config, channels, threads, gateway, dataDir: path, incarnation })
    undo.push(
      () => gateway.close(),
      () => workers.close(Promise.resolve()),
    )
    const recoveredOf: RecoveredOf = (topicId, partition) => recovered.get(partitionFolder(topicId, partition))
    if (isAlone) await gateway.openTopics(topics, recoveredOf)
    else await gateway.openCluster(recoveredOf)
    const port = options.engine === undefined ? await gateway.listen() : 0
    const kafkaFault = await listenForKafka(gateway, config, logger)
    if (!isAlone) await gateway.register()
    throwIfAborted(options.signal)
    let closing: Promise<void> | undefined
    const close = (): Promise<void> => {
      closing ??= shutdown({
        ...{ gateway, workers, timers: nodeTimers, logger, closeStore: () => store.close() },
        closeDataDir: async (isClean) => {
          await storage.close(dataDir, isClean)
          await storage.destroy()
        },
      })
      return closing
    }
    end = close
    const readyMs = Math.round(systemClock.monotonicMs() - startedMs)
    return {
      ...{
        url: gateway.url,
        port,
        config,
        version: gateway.version,
        shards,
        engine: engine.name,
        readyMs,
        gateway,
        kafkaFault,
      },
      close,
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    for (const step of undo.reverse()) await step().catch(() => {})
    throw error
  }
}

/**
 * Where the owner named an address it is that or nothing. The default one may be another Kafka's: no reason for a broker not to start.
 * Answers why it does not listen.
 */
async function listenForKafka(gateway: Gateway, config: BrokerConfig, logger: Logger): Promise<string | undefined> {
  const { listen } = config.kafka
  if (listen === undefined) return undefined
  try {
    await gateway.listenKafka(new TcpEngine(nodeTimers), listen)
    return undefined
  } catch (error) {
    const isDefault = config.entries.find(({ path }) => path === 'kafka')?.source === 'default'
    const { code } = error as NodeJS.ErrnoException
    if (!isDefault || code === undefined) throw error
    const address = formatHostPort(listen)
    const fault = code === 'EADDRINUSE' ? `${address} is in use` : `${address}: ${code}`
    logger.info(
      { kafka: fault },
      'Kafka clients cannot come in: --kafka HOST:PORT names another address, --kafka off none',
    )
    return fault
  }
}

async function beginAlone({ config, storage, undo }: BeginContext): Promise<Begun> {
  const path = resolve(config.dataDir)
  const { nodeId } = config
  const dataDir = await storage.open({ path, nodeId, newClusterId: newId() })
  undo.push(() => storage.close(dataDir, false))
  const store = await EmbeddedMetadataStore.open(new NodeDurableFiles(join(path, 'metadata')), systemClock)
  undo.push(() => store.close())
  const { clusterId, incarnation } = dataDir
  const identity = await beginIncarnation(store, { nodeId, newId: () => clusterId, atLeast: incarnation })
  const topics = await loadTopics(store)
  return { dataDir, store, identity, topics, known: partitionsOf(topics) }
}

async function beginInCluster({ config, storage, undo, onOver, logger }: BeginContext): Promise<Begun> {
  const store = await openClusterStore(config.cluster, {
    clock: systemClock,
    timers: { ...nodeTimers, startTimer },
    newId,
  })
  undo.push(() => store.close())
  const context = { storage, path: resolve(config.dataDir), config, timers: waitingTimers, newId, logger }
  const joined = await joinCluster({ store, transport: nodeTransport, onOver }, context, (opened) =>
    undo.push(() => storage.close(opened, false)),
  )
  const { dataDir, identity, known, options: cluster } = joined
  return { dataDir, store, identity, known, topics: [], cluster }
}

/** What a person wants to see of a broker that has started, a line each. */
export function describeStart(broker: RunningBroker): string[] {
  const { config, shards, engine, url, version, readyMs, gateway } = broker
  const http = url.replace(/^ws/, 'http')
  const fsync =
    config.storage.fsync === 'group'
      ? 'group (acknowledged after fdatasync)'
      : `interval (synced every ${config.topics.config.flushMs} ms; a power cut may lose what was acknowledged since)`
  return [
    `Millrace ${version} on Node ${process.versions.node}`,
    `  shards      ${shards}`,
    `  engine      ${engine === 'uws' ? 'uws (uWebSockets.js, native)' : 'ws'}`,
    `  profile     ${config.profile}`,
    `  durability  ${fsync}`,
    `  data        ${resolve(config.dataDir)}`,
    ...(config.cluster.etcdUrls.length === 0
      ? []
      : [
          `  cluster     node ${config.nodeId} of ${gateway.identity.clusterId}, etcd at ${config.cluster.etcdUrls.join(', ')}`,
        ]),
    `  WebSocket   ${url}`,
    ...describeKafka(broker),
    `  HTTP        ${http}/readyz  ${http}/metrics  ${http}/api/v1/cluster`,
    ...(config.auth.tokens.length === 0 && config.isInsecure ? ['  warning     --insecure: anybody may connect'] : []),
    `ready in ${readyMs} ms`,
  ]
}

function describeKafka({ gateway, kafkaFault }: RunningBroker): string[] {
  if (kafkaFault !== undefined) return [`  Kafka       off: ${kafkaFault} (--kafka HOST:PORT)`]
  const address = gateway.kafka?.address
  return address === undefined ? [] : [`  Kafka       ${formatHostPort(address)}`]
}

interface WorkerContext {
  readonly config: BrokerConfig
  readonly channels: readonly ReturnType<typeof createShardChannel>[]
  readonly threads: ThreadPlan
  readonly gateway: Gateway
  readonly dataDir: string
  readonly incarnation: number
}

function startWorkers(context: WorkerContext): WorkerPool {
  const { config, channels, threads, gateway, dataDir, incarnation } = context
  return new WorkerPool({
    shards: channels.length,
    shardEntry: new URL('../workers/shard-worker.js', import.meta.url),
    diskEntry: new URL('../workers/disk-worker.js', import.meta.url),
    workerDataOf: (shard) => ({
      channel: channels[shard],
      options: {
        ...{ shard, incarnation, dataDir },
        ...shardOptionsOf(config),
      },
      spinMicroseconds: threads.spinMicroseconds,
      openFilesMax: config.storage.openFilesMax,
    }),
    onFailed: (shard, reason) => gateway.onShardFailed(shard, reason, false),
  })
}
