/**
 * LocalBroker: a whole broker put together in one thread: the gateway, its shards and their disk agents over real rings, the embedded
 * metadata store, recovery. Who steps the agents, and on what clock, disk and network, is handed in: createBroker() gives it the
 * caller's event loop, the simulator (test/support/simulation) a virtual one.
 *
 * Ordering  start: data dir (lock, incarnation) -> metadata store -> recovery -> agents -> partitions opened. stop: broker/shutdown.ts
 * Failure   whatever fails within start() closes what was opened before, and rejects with what was wrong. An agent that ends by an
 *           error is a failed shard, as a thread that ends is
 */
import type { Agent } from '../agent/agent.ts'
import type { Clock } from '../base/clock.ts'
import type { Prng } from '../base/prng.ts'
import type { ClusterOptions } from '../broker/cluster/cluster-agent.ts'
import { type Bell, Gateway } from '../broker/gateway.ts'
import type { WebSocketEngine } from '../broker/listeners/web-socket-engine.ts'
import type { RecoveredOf } from '../broker/partition-opener.ts'
import { shutdown } from '../broker/shutdown.ts'
import type { KnownPartition, OpenedDataDir, StorageTasks } from '../broker/storage-tasks.ts'
import type { Timers } from '../broker/timers.ts'
import type { BrokerConfig } from '../config/index.ts'
import { beginIncarnation, type ClusterIdentity } from '../coordination/cluster-identity.ts'
import type { DurableFiles } from '../coordination/durable-files.ts'
import { EmbeddedMetadataStore } from '../coordination/embedded-metadata-store.ts'
import type { MetadataStore } from '../coordination/metadata-store.ts'
import { loadTopics } from '../coordination/topics.ts'
import type { CompilePattern } from '../group/index.ts'
import type { FileSystem, ParallelSync } from '../io/file-system.ts'
import { partitionFolder } from '../model/ids.ts'
import type { Codecs } from '../record/compression.ts'
import { createSignals, type RingSignal } from '../ring/ring-signal.ts'
import { createShardChannel, openDiskSide, openShardSide, type ShardChannel } from '../ring/shard-channel.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { MetricsPort } from '../telemetry/metrics.ts'
import { DiskAgent } from '../worker/disk-agent.ts'
import { ShardAgent } from '../worker/shard-agent.ts'
import { SHARD_DEFAULTS, type ShardOptions } from '../worker/shard-options.ts'
import { type ClusterJoin, joinCluster } from './cluster-join.ts'
import { type ChannelSizes, partitionsOf } from './shard-setup.ts'

/** Steps agents, as threads would. */
export interface AgentHost {
  /** Answers how to wake the agent where nothing rings its signal. */
  addAgent(agent: Agent, signal: RingSignal, onEnded: (error: unknown) => void): () => void
  makeBell(memory: SharedArrayBuffer, onRing: () => void): Bell
}

export interface LocalBrokerOptions {
  readonly version: string
  readonly config: BrokerConfig
  /** Path in `files`. */
  readonly dataDir: string
  readonly shards: number
  readonly files: FileSystem
  readonly storage: StorageTasks
  /** Of the embedded metadata store. */
  readonly durableFiles: DurableFiles
  readonly engine: WebSocketEngine
  readonly host: AgentHost
  readonly clock: Clock
  readonly prng: Prng
  readonly timers: Timers
  readonly logger: Logger
  readonly metrics: MetricsPort
  /** Unique ids of 32 hex digits. */
  readonly newId: () => string
  readonly channel: ChannelSizes
  readonly shard: Partial<ShardOptions>
  readonly codecs?: Codecs
  /** Topic patterns of consumer groups; without it they are refused. */
  readonly compilePattern?: CompilePattern
  /** Syncs beside the thread; without it a sync holds it. */
  readonly parallel?: ParallelSync
  /** One of several brokers, on a metadata store that they share. Left out: alone, with the embedded store. */
  readonly cluster?: ClusterJoin
  /** Its partitions are open: connections may come, those of other brokers before start() resolves. */
  readonly onServing?: (gateway: Gateway) => void
  /** Called between the steps of start(): what it throws ends it. For a broker that may die meanwhile. */
  readonly checkAlive?: () => void
}

interface Assembly {
  readonly identity: ClusterIdentity
  readonly store: MetadataStore
  /** Of the data dir. */
  readonly incarnation: number
  readonly cluster?: ClusterOptions
}

export class LocalBroker {
  readonly #options: LocalBrokerOptions
  /** By shard: both of its agents have ended. */
  readonly #ends: Promise<void>[] = []
  #gateway: Gateway | undefined
  #stop: (() => Promise<void>) | undefined

  constructor(options: LocalBrokerOptions) {
    this.#options = options
  }

  /** Undefined before start() has made it. */
  get gateway(): Gateway | undefined {
    return this.#gateway
  }

  /** Resolves when every partition is open; it does not listen by itself. */
  async start(): Promise<Gateway> {
    const undo: (() => Promise<unknown>)[] = []
    try {
      const { cluster } = this.#options
      return cluster === undefined ? await this.#startAlone(undo) : await this.#startInCluster(cluster, undo)
    } catch (error) {
      for (const step of undo.reverse()) await step().catch(nothing)
      throw error
    }
  }

  async #startAlone(undo: (() => Promise<unknown>)[]): Promise<Gateway> {
    const { storage, durableFiles, config, newId, clock, checkAlive = nothing } = this.#options
    const { nodeId } = config
    const dataDir = await storage.open({ path: this.#options.dataDir, nodeId, newClusterId: newId() })
    undo.push(() => storage.close(dataDir, false))
    const store = await EmbeddedMetadataStore.open(durableFiles, clock)
    undo.push(() => store.close())
    checkAlive()
    const { clusterId, incarnation } = dataDir
    const identity = await beginIncarnation(store, { nodeId, newId: () => clusterId, atLeast: incarnation })
    const topics = await loadTopics(store)
    checkAlive()
    const recoveredOf = await this.#recover(dataDir, partitionsOf(topics))
    const gateway = this.#assemble({ identity, store, incarnation })
    undo.push(() => gateway.close())
    await gateway.openTopics(topics, recoveredOf)
    checkAlive()
    this.#options.onServing?.(gateway)
    this.#stop = this.#stopOf(gateway, dataDir, () => store.close())
    return gateway
  }

  async #startInCluster(cluster: ClusterJoin, undo: (() => Promise<unknown>)[]): Promise<Gateway> {
    const { storage, config, newId, timers, logger, dataDir: path, checkAlive = nothing } = this.#options
    const { store } = cluster
    undo.push(() => store.close())
    const context = { storage, path, config, timers, newId, logger }
    const { dataDir, identity, known, options } = await joinCluster(cluster, context, (opened) =>
      undo.push(() => storage.close(opened, false)),
    )
    checkAlive()
    const recoveredOf = await this.#recover(dataDir, known)
    const gateway = this.#assemble({ identity, store, incarnation: dataDir.incarnation, cluster: options })
    undo.push(() => gateway.close())
    await gateway.openCluster(recoveredOf)
    checkAlive()
    this.#options.onServing?.(gateway)
    await gateway.register()
    checkAlive()
    this.#stop = this.#stopOf(gateway, dataDir, () => store.close())
    return gateway
  }

  async #recover(dataDir: OpenedDataDir, known: readonly KnownPartition[]): Promise<RecoveredOf> {
    const { storage, logger, checkAlive = nothing } = this.#options
    const { recovered, notes } = await storage.recover(dataDir, known)
    checkAlive()
    for (const note of notes) logger.warn(note)
    return (topicId, partition) => recovered.get(partitionFolder(topicId, partition))
  }

  #stopOf(gateway: Gateway, dataDir: OpenedDataDir, closeStore: () => Promise<void>): () => Promise<void> {
    const { storage, timers, logger } = this.#options
    return () =>
      shutdown({
        ...{ gateway, timers, logger, closeStore },
        workers: { expectExit: nothing, close: (timeout) => this.#agentsEnded(timeout) },
        closeDataDir: (isClean) => storage.close(dataDir, isClean),
      })
  }

  /** Stops in order; the data dir is clean afterwards when every shard ended well. */
  stop(): Promise<void> {
    if (this.#stop === undefined) throw new Error('a broker that does not serve cannot stop in order')
    return this.#stop()
  }

  #assemble({ identity, store, incarnation, cluster }: Assembly): Gateway {
    const { version, config, engine, clock, timers, logger, metrics, newId, host, shards, channel } = this.#options
    const doorbell = createSignals()
    const channels = Array.from({ length: shards }, () => createShardChannel({ ...channel, doorbell }))
    const gateway = new Gateway({
      ...{ version, config, identity, store, channels, doorbell, engine, clock, timers, logger, metrics, newId },
      makeBell: (memory, onRing) => host.makeBell(memory, onRing),
      compact: (task) => this.#options.storage.compact(task),
      ...(cluster === undefined ? {} : { cluster }),
    })
    this.#gateway = gateway
    for (const [shard, each] of channels.entries()) this.#addShard(shard, each, { gateway, incarnation })
    return gateway
  }

  #addShard(shard: number, channel: ShardChannel, of: { gateway: Gateway; incarnation: number }): void {
    const { files, clock, prng, dataDir, codecs, parallel, newId, compilePattern } = this.#options
    const side = openShardSide(channel)
    const diskSide = openDiskSide(channel)
    const options = { ...SHARD_DEFAULTS, ...this.#options.shard, shard, incarnation: of.incarnation, dataDir }
    const agent = new ShardAgent({
      ...{ options, side, files, clock, prng },
      ...(codecs === undefined ? {} : { codecs }),
      groups: { newMemberId: newId, ...(compilePattern === undefined ? {} : { compilePattern }) },
    })
    const disk = new DiskAgent({
      ...{ name: `disk ${shard}`, side: diskSide, files, clock },
      ...(parallel === undefined ? {} : { parallel, isThreadShared: true }),
    })
    let left = 2
    const hasEnded = new Promise<void>((resolve) => {
      const onEnded = (name: string, error: unknown) => {
        if (error !== undefined) of.gateway.onShardFailed(shard, `${name} ended: ${textOf(error)}`, false)
        if (--left === 0) resolve()
      }
      const { host } = this.#options
      host.addAgent(agent, side.signal, (error) => onEnded(agent.name, error))
      disk.onReady = host.addAgent(disk, diskSide.signal, (error) => onEnded(disk.name, error))
    })
    this.#ends.push(hasEnded)
  }

  /** A failed shard was not asked to end. */
  async #agentsEnded(timeout: Promise<void>): Promise<void> {
    const serving = this.#ends.filter((_, shard) => this.#gateway?.links[shard]?.state !== 'failed')
    await Promise.race([Promise.all(serving), timeout])
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function nothing(): void {}
