/**
 * BenchCluster: three brokers and an etcd, each a process of its own, a client, and a view of the store: what the parts of
 * macro/cluster measure. Their options: `--cpu-prof DIR`, `--engine uws|ws`, `--lease-ttl MS` as those of the other benches.
 *
 * Owns     processes, folders, client and view: close() ends and removes all, brokers in order
 * Limits   SETTLED_MS_MAX for everything to be in sync
 */
import '../harness/end-together.ts'
import { nodeTimers } from '../../src/base/node/node-timers.ts'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { startTimer } from '../../src/base/node/system-timers.ts'
import { type Client, connect } from '../../src/client/index.ts'
import type { ClusterImage, ImageChange } from '../../src/coordination/cluster-image.ts'
import { ClusterWatch } from '../../src/coordination/cluster-watch.ts'
import { type EtcdMetadataStore, openEtcdStore } from '../../src/coordination/etcd-metadata-store.ts'
import type { PartitionState } from '../../src/coordination/keys.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../../test/support/broker-process.ts'
import { EtcdCluster } from '../../test/support/etcd-process.ts'
import { until } from '../../test/support/until.ts'
import { benchOptions } from '../harness/options.ts'

export type Profile = 'balanced' | 'throughput' | 'latency'

export const NODES: readonly number[] = [1, 2, 3]
export const LEASE_TTL_MS = 8_000
const SETTLED_MS_MAX = 300_000

export interface BenchTopicOptions {
  readonly partitions: number
  readonly replicas: number
  readonly config?: Readonly<Record<string, string>>
}

export interface ClusterTopic {
  readonly name: string
  readonly partitions: number
}

/** Seconds of CPU by node id. */
export type CpuByNode = ReadonlyMap<number, number>

export class BenchCluster {
  readonly profile: Profile
  readonly client: Client
  readonly #etcd: EtcdCluster
  readonly #brokers: ReadonlyMap<number, BrokerProcess>
  readonly #store: EtcdMetadataStore
  readonly #watch: ClusterWatch
  readonly #listeners: Set<(changes: readonly ImageChange[]) => void>
  #topics = 0

  private constructor(
    parts: Pick<BenchCluster, 'profile' | 'client'>,
    etcd: EtcdCluster,
    brokers: ReadonlyMap<number, BrokerProcess>,
    view: {
      readonly store: EtcdMetadataStore
      readonly watch: ClusterWatch
      readonly listeners: Set<(changes: readonly ImageChange[]) => void>
    },
  ) {
    this.profile = parts.profile
    this.client = parts.client
    this.#etcd = etcd
    this.#brokers = brokers
    this.#store = view.store
    this.#watch = view.watch
    this.#listeners = view.listeners
  }

  /** Resolves when a client has found all three. */
  static async start(etcdProgram: string, profile: Profile): Promise<BenchCluster> {
    const etcd = await EtcdCluster.start({ program: etcdProgram })
    const brokers = new Map<number, BrokerProcess>()
    try {
      await Promise.all(
        NODES.map(async (nodeId) => brokers.set(nodeId, await startBroker(nodeId, etcd.urls[0]!, profile))),
      )
      const view = await openView(etcd.urls)
      await until('three brokers in the store', SETTLED_MS_MAX, () => view.watch.image.brokers.size === NODES.length)
      const client = await connect(NODES.map((nodeId) => brokers.get(nodeId)!.url))
      return new BenchCluster({ profile, client }, etcd, brokers, view)
    } catch (error) {
      await endAll(etcd, brokers)
      throw error
    }
  }

  /** Of all brokers, as connect() takes it. */
  get url(): string {
    return NODES.map((nodeId) => this.broker(nodeId).url).join()
  }

  /** As the store says. */
  get image(): ClusterImage {
    return this.#watch.image
  }

  get controllerNodeId(): number | undefined {
    return this.image.controller?.state.nodeId
  }

  broker(nodeId: number): BrokerProcess {
    return this.#brokers.get(nodeId)!
  }

  partitionsOf(topic: string): readonly PartitionState[] {
    const record = this.image.topicByName(topic)
    if (record === undefined) throw new Error(`the store has no topic '${topic}'`)
    return record.partitions
  }

  /** Told of every change of the store until the answer is called. */
  onChanges(listener: (changes: readonly ImageChange[]) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Runs `body` with a new topic, all its replicas in sync, deleted afterwards whatever happens. */
  async withTopic<T>(options: BenchTopicOptions, body: (topic: ClusterTopic) => Promise<T>): Promise<T> {
    const name = `bench-${++this.#topics}`
    await this.client.admin.topics.create(name, options)
    try {
      await this.settled(name)
      return await body({ name, partitions: options.partitions })
    } finally {
      await this.client.admin.topics.delete(name)
    }
  }

  /** All brokers live, every partition of the topic has a leader and all its replicas in sync. */
  async settled(topic: string): Promise<void> {
    await until(`settled topic ${topic}`, SETTLED_MS_MAX, () => {
      if (this.image.brokers.size < NODES.length) return false
      return (this.image.topicByName(topic)?.partitions ?? []).length > 0 && this.partitionsOf(topic).every(isWhole)
    })
  }

  cpu(): CpuByNode {
    return new Map(NODES.map((nodeId) => [nodeId, this.broker(nodeId).cpuSeconds()]))
  }

  /** What `body` returns, and the CPU seconds of each broker meanwhile. */
  async withCpu<T>(body: () => Promise<T>): Promise<{ readonly value: T; readonly cpu: CpuByNode }> {
    const before = this.cpu()
    const value = await body()
    const cpu = new Map([...this.cpu()].map(([nodeId, seconds]) => [nodeId, seconds - before.get(nodeId)!]))
    return { value, cpu }
  }

  async close(): Promise<void> {
    await this.client.close({ signal: AbortSignal.timeout(10_000) }).catch(() => {})
    await this.#watch.close()
    await this.#store.close()
    await endAll(this.#etcd, this.#brokers)
  }
}

function isWhole({ leader, replicas, inSyncReplicas, adding, removing }: PartitionState): boolean {
  return leader >= 0 && inSyncReplicas.length === replicas.length && adding.length + removing.length === 0
}

function startBroker(nodeId: number, etcdUrl: string, profile: Profile): Promise<BrokerProcess> {
  const options = benchOptions()
  const profileFolder = options.text('cpu-prof', '')
  const nodeArgs = profileFolder === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}/node-${nodeId}`]
  const leaseTtl = `cluster.leaseTtl=${options.number('lease-ttl', LEASE_TTL_MS, LEASE_TTL_MS)}ms`
  const args = [
    ...['--etcd', etcdUrl, '--node-id', String(nodeId), '--shards', '1', '--profile', profile],
    ...['--set', leaseTtl, '--set', `listeners.ws.engine=${options.text('engine', 'auto')}`],
  ]
  const dataDir = makeDataDir()
  process.once('exit', () => removeDataDir(dataDir))
  return BrokerProcess.start({ dataDir, args, nodeArgs })
}

async function openView(urls: readonly string[]): Promise<{
  store: EtcdMetadataStore
  watch: ClusterWatch
  listeners: Set<(changes: readonly ImageChange[]) => void>
}> {
  const timers = { after: nodeTimers.after, startTimer }
  const newId = () => `bench-${process.pid}`
  const store = await openEtcdStore({ urls, clock: systemClock, timers, newId })
  const listeners = new Set<(changes: readonly ImageChange[]) => void>()
  const tell = (changes: readonly ImageChange[]): void => {
    for (const listener of listeners) listener(changes)
  }
  return { store, watch: await ClusterWatch.open(store, tell, { timers }), listeners }
}

async function endAll(etcd: EtcdCluster, brokers: ReadonlyMap<number, BrokerProcess>): Promise<void> {
  await Promise.all([...brokers.values()].map((broker) => broker.stop()))
  await etcd.close()
  for (const { dataDir } of brokers.values()) removeDataDir(dataDir)
}
