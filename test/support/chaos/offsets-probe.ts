/**
 * OffsetsProbe: asks a coordinator that the cluster has given up for a committed offset, over a connection from before, after its successor
 * has taken another one. Whoever would be told the old one works records again that are done.
 */
import { isMillraceError } from '../../../src/model/errors.ts'
import { coordinatorPartitionOf, OFFSETS_TOPIC } from '../../../src/model/internal-topics.ts'
import * as protocol from '../../../src/protocol/index.ts'
import { BareClient } from '../gateway-fixture.ts'
import { until } from '../until.ts'
import type { ChaosCluster } from './chaos-cluster.ts'

export type OldCoordinatorAnswer =
  | { readonly kind: 'refused'; readonly error: string }
  | { readonly kind: 'told'; readonly offset: number; readonly isOld: boolean }

const COMMIT_MS_MAX = 20_000
const [BEFORE, SINCE] = [1, 2]

export class OffsetsProbe {
  readonly #cluster: ChaosCluster
  readonly #client: BareClient
  readonly #nodeId: number
  readonly #groupId: string
  readonly #topic: string

  private constructor(
    cluster: ChaosCluster,
    client: BareClient,
    at: { nodeId: number; groupId: string; topic: string },
  ) {
    this.#cluster = cluster
    this.#client = client
    this.#nodeId = at.nodeId
    this.#groupId = at.groupId
    this.#topic = at.topic
  }

  /** Of a group that this broker coordinates now; undefined where it coordinates none. */
  static async open(cluster: ChaosCluster, nodeId: number, topic: string): Promise<OffsetsProbe | undefined> {
    const { partitions } = await cluster.topic(OFFSETS_TOPIC)
    if (partitions.every(({ leader }) => leader !== nodeId)) return undefined
    let number = 0
    const isCoordinatedHere = (): boolean =>
      partitions[coordinatorPartitionOf(`offsets-probe-${number}`, partitions.length)]!.leader === nodeId
    while (!isCoordinatedHere()) number++
    const client = await BareClient.hello(cluster.urlOf(nodeId))
    const probe = new OffsetsProbe(cluster, client, { nodeId, groupId: `offsets-probe-${number}`, topic })
    await probe.#commit(client, BEFORE)
    return probe
  }

  /** Once another broker coordinates the group and has taken a commit. */
  async ask(): Promise<OldCoordinatorAnswer> {
    const successor = await until('another coordinator', COMMIT_MS_MAX, () => this.#commitElsewhere())
    successor.socket.terminate()
    try {
      const { topics } = await this.#client.call(protocol.offsetFetch, {
        ...{ groupId: this.#groupId, memberId: '', memberEpoch: -1, requireStable: false, cursor: '' },
        topics: [{ topicId: '', topic: this.#topic, partitions: [0] }],
      })
      const { offset } = topics[0]!.partitions[0]!
      return { kind: 'told', offset, isOld: offset !== SINCE }
    } catch (error) {
      if (!isMillraceError(error)) throw error
      return { kind: 'refused', error: error.code }
    }
  }

  close(): void {
    this.#client.socket.terminate()
  }

  async #commitElsewhere(): Promise<BareClient | undefined> {
    const { partitions } = await this.#cluster.topic(OFFSETS_TOPIC)
    const { leader } = partitions[coordinatorPartitionOf(this.#groupId, partitions.length)]!
    if (leader <= 0 || leader === this.#nodeId) return undefined
    const client = await BareClient.hello(this.#cluster.urlOf(leader))
    try {
      await this.#commit(client, SINCE)
      return client
    } catch {
      client.socket.terminate()
      return undefined
    }
  }

  async #commit(client: BareClient, offset: number): Promise<void> {
    const { topics } = await client.call(protocol.offsetCommit, {
      ...{ groupId: this.#groupId, memberId: '', memberEpoch: -1, instanceId: null },
      topics: [
        { topicId: '', topic: this.#topic, partitions: [{ partition: 0, offset, leaderEpoch: -1, metadata: '' }] },
      ],
    })
    const { errorNumber } = topics[0]!.partitions[0]!
    if (errorNumber !== 0) throw new Error(`a commit of the probe was refused: ${errorNumber}`)
  }
}
