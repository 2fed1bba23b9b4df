/**
 * PartitionRouter: topics and partitions as the gateway knows them: by name, by id, by ref; which shard has which; who leads.
 *
 * Owns        the table of topics, the refs of partitions that have a replica here (dense, reused when it has gone)
 * Thread      main
 * Invariants  PR1 a topic is in both maps or in none; its partitions' replicas have refs as long as they are here
 *             PR2 a ref belongs to shard ref mod shards: even over shards, and the same wherever it is computed
 *             PR3 a partition with a replica here has a ref and is 'opening', 'serving', 'following' or 'offline'; any other is 'elsewhere'
 * Not here    the store (coordination/topics.ts), telling the shards (partition-opener.ts)
 */
import { assert } from '../base/assert.ts'
import { leaderEpochOf, NO_LEADER, type PartitionState } from '../coordination/keys.ts'
import type { TopicRecord } from '../coordination/topics.ts'
import { type ErrorCode, isMillraceError, type MillraceError } from '../model/errors.ts'
import type { Incarnation, LeaderEpoch, PartitionRef, ShardIndex, TopicId } from '../model/ids.ts'
import type { TopicConfig } from '../model/topic-config.ts'
import { parseTopicConfig } from '../model/topic-config.ts'

/** Of a partition that has no replica here. */
const NO_REF = -1 as PartitionRef
const NO_SHARD = -1 as ShardIndex

/** A partition as seen from outside its shard. */
export interface PartitionProxy {
  ref: PartitionRef
  shard: ShardIndex
  readonly topicId: TopicId
  readonly topicName: string
  readonly partition: number
  /** As of what the store says: NO_LEADER = nobody now. */
  leaderNodeId: number
  leaderEpoch: LeaderEpoch
  replicas: readonly number[]
  inSync: readonly number[]
  /** 'opening' until the shard has answered; 'serving' = it leads; 'offline' for good, with the reason. */
  state: 'opening' | 'serving' | 'following' | 'offline' | 'elsewhere'
  reason: string | null
}

export interface RoutedTopic {
  record: TopicRecord
  /** The topic's own keys over the broker's defaults. */
  config: TopicConfig
  readonly partitions: PartitionProxy[]
  /** Being deleted: no longer to be found by name or id. */
  isDeleted: boolean
}

export interface PartitionRouterOptions {
  readonly shards: number
  readonly nodeId: number
  readonly incarnation: Incarnation
  /** Alone, a start of the broker is a new epoch of all it leads, without a write: leaderEpochOf. */
  readonly isAlone: boolean
  readonly defaults: TopicConfig
  /** This release cannot read what a topic is configured to: it keeps what it had. */
  readonly onUnreadable?: (topic: RoutedTopic, error: MillraceError) => void
}

export class PartitionRouter {
  readonly #options: PartitionRouterOptions
  readonly #byName = new Map<string, RoutedTopic>()
  readonly #byId = new Map<string, RoutedTopic>()
  readonly #byRef: (PartitionProxy | undefined)[] = []
  readonly #freeRefs: PartitionRef[] = []
  #partitionCount = 0

  constructor(options: PartitionRouterOptions) {
    this.#options = options
  }

  get partitionCount(): number {
    return this.#partitionCount
  }

  get topicCount(): number {
    return this.#byName.size
  }

  topics(): IterableIterator<RoutedTopic> {
    return this.#byName.values()
  }

  byName(name: string): RoutedTopic | undefined {
    return this.#byName.get(name)
  }

  byId(topicId: string): RoutedTopic | undefined {
    return this.#byId.get(topicId)
  }

  byRef(ref: number): PartitionProxy | undefined {
    return this.#byRef[ref]
  }

  partition(topicId: string, partition: number): PartitionProxy | undefined {
    return this.#byId.get(topicId)?.partitions[partition]
  }

  /**
   * Makes a topic known: it is found from now on, its partitions are 'opening'. Throws INVALID_CONFIG, and knows it no more than before,
   * where this release cannot read how it is configured.
   */
  add(record: TopicRecord): RoutedTopic {
    const topic: RoutedTopic = {
      record,
      config: parseTopicConfig(record.state.config, this.#options.defaults),
      partitions: [],
      isDeleted: false,
    }
    this.extend(topic, record)
    this.#byName.set(record.state.name, topic)
    this.#byId.set(record.topicId, topic)
    return topic
  }

  /** Makes partitions known that `record` has and `topic` has not; answers them. */
  extend(topic: RoutedTopic, record: TopicRecord): PartitionProxy[] {
    topic.record = record
    const added: PartitionProxy[] = []
    for (let partition = topic.partitions.length; partition < record.partitions.length; partition++) {
      const proxy: PartitionProxy = {
        ...{ ref: NO_REF, shard: NO_SHARD, topicId: record.topicId, topicName: record.state.name, partition },
        ...this.#leadershipOf(record.partitions[partition]!),
        ...{ state: 'elsewhere', reason: null },
      }
      if (proxy.replicas.includes(this.#options.nodeId)) this.host(proxy)
      topic.partitions.push(proxy)
      added.push(proxy)
    }
    this.#partitionCount += added.length
    return added
  }

  /** What the store says of its leader and replicas has changed. */
  updatePartition(proxy: PartitionProxy, state: PartitionState): void {
    Object.assign(proxy, this.#leadershipOf(state))
  }

  /** Takes out partitions that `record` has no more; answers them: their refs stay taken until unhost(). */
  shrink(topic: RoutedTopic, record: TopicRecord): PartitionProxy[] {
    const gone = topic.partitions.splice(Math.min(topic.partitions.length, record.state.partitions))
    this.#partitionCount -= gone.length
    return gone
  }

  /** A replica comes here: it is 'opening' under a ref. */
  host(proxy: PartitionProxy): void {
    assert(proxy.state === 'elsewhere', 'a partition has one replica on a broker')
    const ref = this.#freeRefs.pop() ?? (this.#byRef.length as PartitionRef)
    this.#byRef[ref] = proxy
    proxy.ref = ref
    proxy.shard = (ref % this.#options.shards) as ShardIndex
    proxy.state = 'opening'
    proxy.reason = null
  }

  /** Its replica here has gone, and its shard has forgotten it: see releaseRefs(). */
  unhost(proxy: PartitionProxy): void {
    this.releaseRefs([proxy])
    proxy.ref = NO_REF
    proxy.shard = NO_SHARD
    proxy.state = 'elsewhere'
    proxy.reason = null
  }

  #leadershipOf(state: PartitionState): Pick<PartitionProxy, 'leaderNodeId' | 'leaderEpoch' | 'replicas' | 'inSync'> {
    const { isAlone, incarnation } = this.#options
    return {
      leaderNodeId: state.leader,
      leaderEpoch: isAlone ? leaderEpochOf(state, incarnation) : state.leaderEpoch,
      replicas: state.replicas,
      inSync: state.inSyncReplicas.map(({ nodeId }) => nodeId),
    }
  }

  updateConfig(topic: RoutedTopic, record: TopicRecord): void {
    topic.record = record
    try {
      topic.config = parseTopicConfig(record.state.config, this.#options.defaults)
    } catch (error) {
      if (!isMillraceError(error)) throw error
      this.#options.onUnreadable?.(topic, error)
    }
  }

  /** Takes a topic out of sight; its refs stay taken until releaseRefs(). */
  remove(topic: RoutedTopic): void {
    topic.isDeleted = true
    this.#byName.delete(topic.record.state.name)
    this.#byId.delete(topic.record.topicId)
    this.#partitionCount -= topic.partitions.length
  }

  /** The shards have forgotten them: the refs may be given to others. Not those of offline ones, which a shard may still know. */
  releaseRefs(partitions: readonly PartitionProxy[]): void {
    for (const proxy of partitions) {
      if (this.#byRef[proxy.ref] !== proxy) continue
      this.#byRef[proxy.ref] = undefined
      if (proxy.state !== 'offline') this.#freeRefs.push(proxy.ref)
    }
  }

  /** Takes a shard's partitions offline. */
  failShard(shard: ShardIndex, reason: string): void {
    for (const proxy of this.#byRef) if (proxy?.shard === shard) setOffline(proxy, reason)
  }

  offlineCount(): number {
    let count = 0
    for (const proxy of this.#byRef) if (proxy?.state === 'offline') count++
    return count
  }

  countsOf(shard: ShardIndex): { partitions: number; offline: number } {
    let partitions = 0
    let offline = 0
    for (const proxy of this.#byRef) {
      if (proxy?.shard !== shard) continue
      partitions++
      if (proxy.state === 'offline') offline++
    }
    return { partitions, offline }
  }
}

export function setOffline(proxy: PartitionProxy, reason: string): void {
  proxy.state = 'offline'
  proxy.reason ??= reason
}

/** Why this broker does not serve what only a leader may; undefined = it does, or is about to. */
export function leadRefusal(proxy: PartitionProxy): { readonly code: ErrorCode; readonly text: string } | undefined {
  const { state, reason, leaderNodeId } = proxy
  if (state === 'serving' || state === 'opening') return undefined
  if (state === 'offline') return { code: 'KAFKA_STORAGE_ERROR', text: reason ?? '' }
  if (leaderNodeId === NO_LEADER)
    return { code: 'LEADER_NOT_AVAILABLE', text: 'none of its in-sync replicas lives: it waits for one' }
  return { code: 'NOT_LEADER_OR_FOLLOWER', text: `broker ${leaderNodeId} leads` }
}
