/**
 * ChaosCluster: three brokers and three members of etcd, real processes, each on a host of its own in one Network.
 *
 *   hosts 1 2 3 brokers (node ids 1 2 3), 11 12 13 etcd, `client` this process
 *
 * Owns      network, processes, the folder and what is mounted in it; close() ends and removes all, after a failure too
 * Limits    SETTLED_MS_MAX for everything to be in sync again when all is healed
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { nodeTimers } from '../../../src/base/node/node-timers.ts'
import { systemClock } from '../../../src/base/node/system-clock.ts'
import { startTimer } from '../../../src/base/node/system-timers.ts'
import { ClusterImage } from '../../../src/coordination/cluster-image.ts'
import { type EtcdMetadataStore, openEtcdStore } from '../../../src/coordination/etcd-metadata-store.ts'
import { type PartitionState, ROOT_PREFIX } from '../../../src/coordination/keys.ts'
import type { TopicRecord } from '../../../src/coordination/topics.ts'
import { BrokerProcess, makeDataDir } from '../broker-process.ts'
import { buildClockShim, type ClockShim } from '../clock-shim/clock-shim.ts'
import { buildFsyncShim, type FsyncShim } from '../fsync-shim/fsync-shim.ts'
import { makeSmallDisk, type SmallDisk } from '../small-disk.ts'
import { sleep, until } from '../until.ts'
import { EtcdHosts } from './etcd-hosts.ts'
import { addressOf, Network } from './network.ts'

export const BROKERS: readonly number[] = [1, 2, 3]
const ETCD_HOSTS = [11, 12, 13]
const PORT = 7171
const KAFKA_PORT = 9092
const SETTLED_MS_MAX = 120_000
const STORE_TIMEOUT_MS = 3_000
const SMALL_DISK_BYTES = 512 * 1024 * 1024

export interface ChaosClusterOptions {
  readonly etcdProgram: string
  readonly leaseTtlMs: number
  /** This broker's data lies on a file system of its own, small and in memory. */
  readonly smallDiskOf?: number
  /** This broker's syncs fail while its trigger exists. */
  readonly fsyncFaultOf?: number
  readonly isClockMoved?: boolean
}

/** A tool that a fault needs is not there: for a visible skip. */
export class ToolMissing extends Error {
  override readonly name = 'ToolMissing'
}

export class ChaosCluster {
  readonly network = new Network()
  readonly etcd: EtcdHosts
  readonly leaseTtlMs: number
  readonly #folder = makeDataDir()
  readonly #brokers = new Map<number, BrokerProcess>()
  readonly clock: ClockShim | undefined
  readonly fsync: FsyncShim | undefined
  readonly smallDisk: SmallDisk | undefined
  readonly #options: ChaosClusterOptions
  #store: EtcdMetadataStore | undefined

  constructor(options: ChaosClusterOptions) {
    this.#options = options
    this.leaseTtlMs = options.leaseTtlMs
    this.etcd = new EtcdHosts(this.network, {
      ...{ program: options.etcdProgram, folder: this.#folder, hosts: ETCD_HOSTS },
    })
    for (const nodeId of BROKERS) this.network.add(nodeId)
    if (options.isClockMoved === true) this.clock = needed(buildClockShim())
    if (options.fsyncFaultOf !== undefined) this.fsync = needed(buildFsyncShim())
    if (options.smallDiskOf !== undefined) this.smallDisk = needed(makeSmallDisk(SMALL_DISK_BYTES))
  }

  get folder(): string {
    return this.#folder
  }

  /** Exists: the syncs of the broker `fsyncFaultOf` fail. */
  get fsyncTrigger(): string {
    return join(this.#folder, 'fsync-fails')
  }

  get urls(): string[] {
    return BROKERS.map((nodeId) => this.urlOf(nodeId))
  }

  /** Where Kafka clients come in. */
  get kafkaBrokers(): string[] {
    return BROKERS.map((nodeId) => `${addressOf(nodeId)}:${KAFKA_PORT}`)
  }

  urlOf(nodeId: number): string {
    return `ws://${addressOf(nodeId)}:${PORT}`
  }

  broker(nodeId: number): BrokerProcess {
    return this.#brokers.get(nodeId)!
  }

  dataDirOf(nodeId: number): string {
    if (nodeId === this.#options.smallDiskOf && this.smallDisk?.kind === 'ready')
      return join(this.smallDisk.path, 'data')
    return join(this.#folder, `broker-${nodeId}`)
  }

  async start(): Promise<void> {
    await this.etcd.start()
    await Promise.all(
      BROKERS.map(async (nodeId) => {
        const broker = await BrokerProcess.start({
          ...{ dataDir: this.dataDirOf(nodeId), args: this.#argsOf(nodeId), env: this.#envOf(nodeId) },
          ...{ listen: { host: addressOf(nodeId), port: PORT }, launcher: this.network.launcherOf(nodeId) },
        })
        this.#brokers.set(nodeId, broker)
      }),
    )
    const timers = { after: nodeTimers.after, startTimer }
    const newId = () => `chaos-${process.pid}-${Math.random()}`
    const requestTimeoutMs = STORE_TIMEOUT_MS
    this.#store = await openEtcdStore({ urls: this.etcd.urls, clock: systemClock, timers, newId, requestTimeoutMs })
  }

  #argsOf(nodeId: number): string[] {
    return [
      ...['--kafka', `${addressOf(nodeId)}:${KAFKA_PORT}`],
      ...['--etcd', this.etcd.urls.join(','), '--node-id', String(nodeId), '--insecure', '--shards', '1'],
      ...['--set', `cluster.leaseTtl=${this.leaseTtlMs}ms`, '--set', 'storage.journal=16MiB'],
    ]
  }

  #envOf(nodeId: number): Record<string, string> {
    const clock = this.clock?.kind === 'ready' ? this.clock.envFor(`broker-${nodeId}`) : {}
    if (this.fsync?.kind !== 'ready' || nodeId !== this.#options.fsyncFaultOf) return clock
    const fsync = this.fsync.envFor({ path: this.dataDirOf(nodeId), trigger: this.fsyncTrigger })
    return { ...clock, ...fsync, LD_PRELOAD: [clock.LD_PRELOAD ?? '', fsync.LD_PRELOAD ?? ''].join(':') }
  }

  /** What the store says now; rejects while etcd does not answer. */
  async image(): Promise<ClusterImage> {
    const { revision, values } = await this.#store!.list(ROOT_PREFIX)
    return ClusterImage.of(revision, values)
  }

  async topic(name: string): Promise<TopicRecord> {
    const topic = (await this.image()).topicByName(name)
    if (topic === undefined) throw new Error(`the store has no topic '${name}'`)
    return topic
  }

  async leaderOf(name: string, partition: number): Promise<number> {
    return until(`leader of ${name}/${partition}`, SETTLED_MS_MAX, async () => {
      const leader = (await this.topic(name)).partitions[partition]!.leader
      return leader > 0 && leader
    })
  }

  /** Every partition of every topic has a leader and all its replicas in sync; answers how long that took. */
  async settle(): Promise<number> {
    const startedMs = performance.now()
    let unsettled: string[] = []
    try {
      await until('settled cluster', SETTLED_MS_MAX, async () => {
        unsettled = await this.#unsettled().catch((error: unknown) => [String(error)])
        if (unsettled.length > 0) await sleep(200)
        return unsettled.length === 0
      })
    } catch (error) {
      throw new Error(`${String(error)}: ${unsettled.join('; ').slice(0, 2_000)}`)
    }
    return performance.now() - startedMs
  }

  async #unsettled(): Promise<string[]> {
    const image = await this.image()
    const missing = BROKERS.filter((nodeId) => !image.brokers.has(nodeId)).map((nodeId) => `broker ${nodeId} is gone`)
    const behind = [...image.topics.values()].flatMap((topic) =>
      topic.partitions.flatMap((state, partition) => {
        const isBehind = state.leader < 0 || state.inSyncReplicas.length < state.replicas.length
        return isBehind ? [`${topic.state.name}/${partition}: ${JSON.stringify(briefOf(state))}`] : []
      }),
    )
    return [...missing, ...behind]
  }

  async close(): Promise<void> {
    for (const broker of this.#brokers.values()) {
      broker.resume()
      await broker.kill()
    }
    await this.#store?.close()
    await this.etcd.close()
    if (this.clock?.kind === 'ready') this.clock.dispose()
    if (this.fsync?.kind === 'ready') this.fsync.dispose()
    if (this.smallDisk?.kind === 'ready') this.smallDisk.dispose()
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  }
}

function briefOf({ leader, leaderEpoch, inSyncReplicas, eligibleLeaders }: PartitionState): object {
  return { leader, leaderEpoch, inSyncReplicas, eligibleLeaders }
}

function needed<Tool extends { readonly kind: string }>(tool: Tool): Tool {
  if (tool.kind !== 'ready') throw new ToolMissing('reason' in tool ? String(tool.reason) : 'missing')
  return tool
}
