/**
 * ClusterWatcher: looks at the store and at the brokers again and again while a cluster runs: what happened, and what may never be.
 *
 * Invariants checked   I2  one run of one broker serves a partition under a leader epoch
 *                      I4  a partition's leader epoch never falls
 *                      a controller epoch belongs to one broker's run
 */
import {
  CONTROLLER_KEY,
  type ControllerState,
  decodePartitionState,
  decodeState,
  NO_LEADER,
  PARTITIONS_PREFIX,
  type PartitionState,
  partitionKey,
} from '../../../src/coordination/keys.ts'
import type { SharedMemoryStore } from '../../../src/coordination/shared-memory-store.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import { givenUpLead } from '../given-up-lead.ts'
import type { ClusterEvent } from './cluster-reach.ts'
import type { SimulatedNode } from './simulated-node.ts'

export interface WatchedCluster {
  readonly nodes: readonly SimulatedNode[]
  readonly store: SharedMemoryStore
  readonly count: (event: ClusterEvent, by?: number) => void
  readonly say: (text: string) => void
  /** A transaction is open on some partition of this topic id and number. */
  readonly isInTransaction: (topicId: string, partition: number) => boolean
}

export class ClusterWatcher {
  readonly #cluster: WatchedCluster
  readonly #states = new Map<string, PartitionState>()
  /** topic id/partition/epoch -> whose. */
  readonly #leads = new Map<string, string>()
  readonly #controllers = new Map<number, string>()
  #revision = -1

  constructor(cluster: WatchedCluster) {
    this.#cluster = cluster
  }

  /** Throws on what may never be. */
  look(): void {
    const { state } = this.#cluster.store
    if (state.revision !== this.#revision) {
      this.#revision = state.revision
      for (const { key, value } of state.list(PARTITIONS_PREFIX).values)
        this.#lookAt(key, decodePartitionState(key, value))
      this.#lookAtController()
    }
    for (const node of this.#cluster.nodes) this.#lookAtNode(node)
  }

  /** Of all partitions there are, by key. */
  states(): PartitionState[] {
    return this.#cluster.store.state
      .list(PARTITIONS_PREFIX)
      .values.map(({ key, value }) => decodePartitionState(key, value))
  }

  stateOf(topicId: TopicId, partition: number): PartitionState {
    const key = partitionKey(topicId, partition)
    const stored = this.#cluster.store.state.get(key)
    if (stored === undefined) throw new Error(`the store has no ${key}`)
    return decodePartitionState(key, stored.value)
  }

  #lookAt(key: string, state: PartitionState): void {
    const { count, say, isInTransaction } = this.#cluster
    const before = this.#states.get(key)
    this.#states.set(key, state)
    if (before === undefined) return
    if (state.leaderEpoch < before.leaderEpoch)
      throw new Error(`${key}: the leader epoch falls from ${before.leaderEpoch} to ${state.leaderEpoch}`)
    const [topicId, partition] = key.slice(PARTITIONS_PREFIX.length).split('/')
    if (state.leaderEpoch > before.leaderEpoch && state.leader !== NO_LEADER) {
      count('leader change')
      if (isInTransaction(topicId!, Number(partition))) count('leader change mid-transaction')
      const place = { topicId: topicId as TopicId, partition: Number(partition) }
      const givenUp = givenUpLead(this.#cluster.store.state, place, before, state)
      if (givenUp !== undefined) count(givenUp)
    }
    if (state.inSyncReplicas.length < before.inSyncReplicas.length) count('in-sync set shrunk')
    if (state.inSyncReplicas.length > before.inSyncReplicas.length) count('in-sync set grown')
    const inSync = state.inSyncReplicas.map(({ nodeId, incarnation }) => `${nodeId}.${incarnation}`).join(' ')
    if (JSON.stringify(before) !== JSON.stringify(state))
      say(
        `store: ${topicId!.slice(0, 4)}-${Number(partition)} leader ${state.leader} epoch ${state.leaderEpoch} in sync ${inSync}`,
      )
  }

  #lookAtController(): void {
    const stored = this.#cluster.store.state.get(CONTROLLER_KEY)
    if (stored === undefined) return
    const { nodeId, incarnation, controllerEpoch } = decodeState<ControllerState>(CONTROLLER_KEY, stored.value)
    const whose = `${nodeId}.${incarnation}`
    const before = this.#controllers.get(controllerEpoch)
    if (before === undefined) {
      if (this.#controllers.size > 0) this.#cluster.count('controller change')
      this.#controllers.set(controllerEpoch, whose)
    } else if (before !== whose) throw new Error(`controller epoch ${controllerEpoch} is ${before}'s and ${whose}'s`)
  }

  #lookAtNode(node: SimulatedNode): void {
    const router = node.isAlive ? node.broker?.gateway?.router : undefined
    if (router === undefined) return
    const whose = `${node.nodeId}, start ${node.starts}`
    for (const { partitions } of router.topics())
      for (const { topicId, partition, leaderEpoch, state } of partitions) {
        if (state !== 'serving') continue
        const key = `${topicId}/${partition}/${leaderEpoch}`
        const before = this.#leads.get(key)
        if (before === undefined) this.#leads.set(key, whose)
        else if (before !== whose) throw new Error(`${key} is led by node ${before} and by node ${whose}`)
      }
  }
}
