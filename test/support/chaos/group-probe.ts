/**
 * GroupProbe: a group of two members that reads a topic and commits all the time: when its commits were acknowledged, and whether any is lost.
 *
 * Owns      its client and members
 * Failure   what a member throws is kept in `faults`
 */
import { type Client, connect, type Group } from '../../../src/client/index.ts'
import { coordinatorPartitionOf, OFFSETS_TOPIC } from '../../../src/model/internal-topics.ts'
import { until } from '../until.ts'
import type { ChaosCluster } from './chaos-cluster.ts'

const GROUP = 'probe'
const MEMBERS = 2
const COMMIT_MS = 100
const COMMIT_MS_MAX = 120_000

export class GroupProbe {
  readonly #cluster: ChaosCluster
  readonly #client: Client
  readonly #groups: Group[] = []
  readonly #runs: Promise<void>[] = []
  /** The highest offset whose commit was acknowledged, by partition. */
  readonly #committed = new Map<number, number>()
  #commitMs = Number.NEGATIVE_INFINITY
  readonly faults: string[] = []

  private constructor(cluster: ChaosCluster, client: Client) {
    this.#cluster = cluster
    this.#client = client
  }

  static async start(cluster: ChaosCluster, topic: string): Promise<GroupProbe> {
    const probe = new GroupProbe(cluster, await connect(cluster.urls))
    for (let count = 0; count < MEMBERS; count++) probe.#join(topic)
    await probe.commitAfter(performance.now())
    return probe
  }

  /** The broker that coordinates the group, as the store says; 0 or less while nobody does. */
  async coordinator(): Promise<number> {
    const { partitions } = await this.#cluster.topic(OFFSETS_TOPIC)
    return partitions[coordinatorPartitionOf(GROUP, partitions.length)]!.leader
  }

  /** When the first commit was acknowledged after that time. */
  commitAfter(afterMs: number): Promise<number> {
    return until('commit', COMMIT_MS_MAX, () => this.#commitMs > afterMs && this.#commitMs)
  }

  /** Throws when the group does not know an offset any more whose commit was acknowledged. */
  async checkOffsets(): Promise<void> {
    const before = new Map(this.#committed)
    const { offsets } = await this.#client.admin.groups.describe(GROUP)
    for (const [partition, offset] of before) {
      const found = offsets.find((row) => row.partition === partition)?.offset
      if (found === undefined || found < offset)
        throw new Error(`partition ${partition}: ${offset} was committed, the group is at ${found}`)
    }
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#groups.map((group) => group.close()))
    await Promise.all(this.#runs)
    await this.#client.close({ signal: AbortSignal.timeout(5_000) }).catch(() => {})
  }

  #join(topic: string): void {
    const group = this.#client.group(GROUP, topic, { from: 'end', autoCommitIntervalMs: COMMIT_MS })
    group.on('committed', ({ offsets }) => {
      this.#commitMs = performance.now()
      for (const { partition, offset } of offsets)
        this.#committed.set(partition, Math.max(offset, this.#committed.get(partition) ?? 0))
    })
    this.#groups.push(group)
    this.#runs.push(
      group
        .run(() => {})
        .catch((error: unknown) => {
          this.faults.push(`a member of the probed group: ${String(error)}`)
        }),
    )
  }
}
