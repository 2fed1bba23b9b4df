/**
 * FakeCluster: several fake brokers over the same logs, groups and transactions, as if every write were replicated at once: leaders
 * and coordinators move, brokers die, pause, refuse, or fall behind in what they know. What a cluster does by itself (elections, leases)
 * a test does by hand, in the order it wants.
 */
import type * as wire from '../../src/protocol/index.ts'
import {
  FakeBroker,
  type FakeBrokerOptions,
  type FakeMembership,
  type FakeTopic,
  type FakeView,
} from './fake-broker.ts'
import { FakeCoordinator } from './fake-coordinator.ts'
import { FakeTransactions } from './fake-transactions.ts'

export interface FakeClusterOptions extends Omit<FakeBrokerOptions, 'nodeId' | 'membership' | 'topics'> {
  /** Default 3: node ids 1, 2, 3. */
  readonly brokers?: number
  readonly topics?: Readonly<Record<string, number>>
  /** Of node 1, 2, …: where it stands. Default: nowhere. */
  readonly racks?: readonly string[]
}

export class FakeCluster {
  readonly brokers: FakeBroker[] = []
  readonly topics = new Map<string, FakeTopic>()
  readonly groups = new FakeCoordinator(this.topics)
  readonly transactions = new FakeTransactions({
    find: (topicId, partition) =>
      [...this.topics.values()].find((topic) => topic.topicId === topicId)?.partitions[partition],
    groups: this.groups,
    newProducerId: () => this.#producerId++,
    onChange: () => this.wake(),
  })
  readonly #leaders = new Map<string, number>()
  readonly #coordinators = new Map<string, number>()
  readonly #dead = new Set<number>()
  #racks: readonly string[] = []
  #producerId = 1000
  #topicNumber = 0

  static async start({
    brokers = 3,
    topics = {},
    racks = [],
    ...options
  }: FakeClusterOptions = {}): Promise<FakeCluster> {
    const cluster = new FakeCluster()
    cluster.#racks = racks
    const membership: FakeMembership = {
      ...{ topics: cluster.topics, groups: cluster.groups, transactions: cluster.transactions },
      truth: cluster.#truth(),
      newTopicNumber: () => ++cluster.#topicNumber,
    }
    for (let nodeId = 1; nodeId <= brokers; nodeId++)
      cluster.brokers.push(await FakeBroker.start({ ...options, nodeId, membership }))
    for (const [name, partitions] of Object.entries(topics)) cluster.broker(1).createTopic(name, partitions)
    return cluster
  }

  get urls(): string[] {
    return this.brokers.map(({ url }) => url)
  }

  broker(nodeId: number): FakeBroker {
    return this.brokers[nodeId - 1]!
  }

  /** Where nothing was moved: partition n at the n-th broker, in turn. */
  leaderOf(topic: string, partition: number): number {
    return this.#leaders.get(`${topic}/${partition}`) ?? (partition % this.brokers.length) + 1
  }

  /** Where nothing was moved: the first. */
  coordinatorOf(kind: wire.CoordinatorKind, id: string): number {
    return this.#coordinators.get(`${kind}/${id}`) ?? 1
  }

  /** A new leader under a new epoch: the old one refuses from now on. */
  moveLeader(topic: string, partition: number, nodeId: number): void {
    this.#leaders.set(`${topic}/${partition}`, nodeId)
    this.topics.get(topic)!.partitions[partition]!.leaderEpoch++
    this.wake()
  }

  moveCoordinator(kind: wire.CoordinatorKind, id: string, nodeId: number): void {
    this.#coordinators.set(`${kind}/${id}`, nodeId)
  }

  /** Breaks its connections, and nobody listens there any more; what it led goes to others when the test moves it. */
  async kill(nodeId: number): Promise<void> {
    this.#dead.add(nodeId)
    await this.broker(nodeId).stop()
  }

  async revive(nodeId: number): Promise<void> {
    this.#dead.delete(nodeId)
    await this.broker(nodeId).listen()
  }

  /** From now on the broker tells what is so now, whatever happens. */
  freeze(nodeId: number): void {
    const leaders = new Map<string, { nodeId: number; leaderEpoch: number }>()
    for (const { name, partitions } of this.topics.values())
      for (const [partition, { leaderEpoch }] of partitions.entries())
        leaders.set(`${name}/${partition}`, { nodeId: this.leaderOf(name, partition), leaderEpoch })
    const coordinators = new Map(this.#coordinators)
    this.broker(nodeId).view = {
      brokers: this.#truth().brokers,
      leaderOf: (topic, partition) => leaders.get(`${topic}/${partition}`)!,
      coordinatorOf: (kind, id) => coordinators.get(`${kind}/${id}`) ?? 1,
    }
  }

  /** It tells the truth again. */
  thaw(nodeId: number): void {
    this.broker(nodeId).view = this.#truth()
  }

  wake(): void {
    for (const broker of this.brokers) broker.wake()
  }

  /** How often the brokers were asked for something, all together. */
  count(api: number): number {
    return this.brokers.reduce((sum, { counts }) => sum + (counts.get(api) ?? 0), 0)
  }

  async stop(): Promise<void> {
    await Promise.all(this.brokers.map((broker) => broker.stop()))
  }

  #truth(): FakeView {
    const cluster = this
    return {
      get brokers() {
        return cluster.brokers
          .filter(({ nodeId }) => !cluster.#dead.has(nodeId))
          .map(({ nodeId, url }) => ({ nodeId, url, rack: cluster.#racks[nodeId - 1] ?? null }))
      },
      leaderOf: (topic, partition) => {
        const { leaderEpoch } = cluster.topics.get(topic)!.partitions[partition]!
        return { nodeId: cluster.leaderOf(topic, partition), leaderEpoch }
      },
      coordinatorOf: (kind, id) => cluster.coordinatorOf(kind, id),
    }
  }
}

/** Runs `body` with a cluster that is stopped afterwards. */
export async function withFakeCluster(
  options: FakeClusterOptions,
  body: (cluster: FakeCluster) => Promise<void>,
): Promise<void> {
  const cluster = await FakeCluster.start(options)
  try {
    await body(cluster)
  } finally {
    await cluster.stop()
  }
}
