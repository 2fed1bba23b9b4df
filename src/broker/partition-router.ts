/**
 * PartitionRouter: topics and partitions as the gateway knows them: by name, by id, by ref; which shard has which.
 *
 * Owns        the table of topics, the partition refs (dense, reused after a delete)
 * Thread      main
 * Invariants  PR1 a topic is in both maps or in none; its partitions have refs as long as it is
 *             PR2 a ref belongs to shard ref mod shards: even over shards, and the same wherever it is computed
 * Not here    the store (coordination/topics.ts), telling the shards (topic-service.ts)
 */
import { leaderEpochOf } from '../coordination/keys.ts'
import type { TopicRecord } from '../coordination/topics.ts'
import type { Incarnation, LeaderEpoch, PartitionRef, ShardIndex, TopicId } from '../model/ids.ts'
import type { TopicConfig } from '../model/topic-config.ts'
import { parseTopicConfig } from '../model/topic-config.ts'

/** A partition as seen from outside its shard. */
export interface PartitionProxy {
  readonly ref: PartitionRef
  readonly shard: ShardIndex
  readonly topicId: TopicId
  readonly topicName: string
  readonly partition: number
  readonly leaderEpoch: LeaderEpoch
  /** 'opening' until the shard has answered; 'offline' for good, with the reason. */
  state: 'opening' | 'serving' | 'offline'
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

export class PartitionRouter {
  readonly #shards: number
  readonly #incarnation: Incarnation
  readonly #defaults: TopicConfig
  readonly #byName = new Map<string, RoutedTopic>()
  readonly #byId = new Map<string, RoutedTopic>()
  readonly #byRef: (PartitionProxy | undefined)[] = []
  readonly #freeRefs: PartitionRef[] = []
  #partitionCount = 0

  constructor(options: { readonly shards: number; readonly incarnation: Incarnation; readonly defaults: TopicConfig }) {
    this.#shards = options.shards
    this.#incarnation = options.incarnation
    this.#defaults = options.defaults
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

  /** Makes a topic known: it is found from now on, its partitions are 'opening'. */
  add(record: TopicRecord): RoutedTopic {
    const topic: RoutedTopic = {
      record,
      config: parseTopicConfig(record.state.config, this.#defaults),
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
      const ref = this.#freeRefs.pop() ?? (this.#byRef.length as PartitionRef)
      const proxy: PartitionProxy = {
        ref,
        shard: (ref % this.#shards) as ShardIndex,
        topicId: record.topicId,
        topicName: record.state.name,
        partition,
        leaderEpoch: leaderEpochOf(record.partitions[partition]!, this.#incarnation),
        state: 'opening',
        reason: null,
      }
      this.#byRef[ref] = proxy
      topic.partitions.push(proxy)
      added.push(proxy)
    }
    this.#partitionCount += added.length
    return added
  }

  updateConfig(topic: RoutedTopic, record: TopicRecord): void {
    topic.record = record
    topic.config = parseTopicConfig(record.state.config, this.#defaults)
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
