/**
 * TopicService: changes of topics, one after the other: decided, written to the store, then told to the shards.
 *
 * Thread     main
 * Ordering   create: store, then shards, then the reply. Delete: store (now nobody finds it), then shards
 * Failure    a shard that cannot open a partition leaves it offline with the reason; the topic is made all the same
 * Limits     OPEN_BATCH partitions in one control message
 */
import type { Clock } from '../base/clock.ts'
import type { BrokerConfig } from '../config/index.ts'
import type { Replica } from '../coordination/keys.ts'
import type { MetadataStore } from '../coordination/metadata-store.ts'
import {
  applyAddPartitions,
  applyAlterConfig,
  applyCreateTopic,
  applyDeleteTopic,
  type CreateTopicWish,
  decideAddPartitions,
  decideAlterConfig,
  decideCreateTopic,
  type TopicRecord,
} from '../coordination/topics.ts'
import { isMillraceError, MillraceError } from '../model/errors.ts'
import type { TopicId } from '../model/ids.ts'
import { isInternalTopic } from '../model/internal-topics.ts'
import {
  ControlOperation,
  type OpenPartition,
  type OpenPartitionsAnswer,
  type OpenPartitionsBody,
  type UpdateConfigBody,
} from '../ring/control-messages.ts'
import type { Logger } from '../telemetry/logger.ts'
import { type PartitionProxy, type PartitionRouter, type RoutedTopic, setOffline } from './partition-router.ts'
import type { ShardLink } from './shard-link.ts'

const OPEN_BATCH = 200

/** What recovery found for a partition; undefined = its folder does not exist. */
export type RecoveredOf = (topicId: TopicId, partition: number) => unknown

/** What changes of topics need of the broker. */
export interface TopicServiceContext {
  readonly config: BrokerConfig
  readonly replica: Replica
  readonly store: MetadataStore
  readonly router: PartitionRouter
  readonly links: readonly ShardLink[]
  readonly clock: Clock
  readonly logger: Logger
  /** Unique ids of 32 hex digits. */
  readonly newId: () => string
  /** It is there, has more partitions, or is deleted. */
  onTopicChanged(topic: RoutedTopic): void
}

export class TopicService {
  readonly #gateway: TopicServiceContext
  /** Changes run one after the other; a failed one does not stop the next. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(gateway: TopicServiceContext) {
    this.#gateway = gateway
  }

  create(
    wish: CreateTopicWish,
    validateOnly: boolean,
    by: 'client' | 'broker' = 'client',
  ): Promise<{ topicId: TopicId; partitions: number; created: boolean }> {
    return this.#inTurn(async () => {
      if (by === 'client') refuseInternal(wish.name)
      const { router, config, store, clock, newId } = this.#gateway
      const decision = decideCreateTopic(wish, {
        existing: router.byName(wish.name)?.record,
        defaults: config.topics,
        brokers: 1,
        partitionsNow: router.partitionCount,
      })
      if (decision.kind === 'exists') return { ...resultOf(decision.topic), created: false }
      if (validateOnly)
        return { topicId: '0'.repeat(32) as TopicId, partitions: decision.plan.partitions, created: false }
      const context = { store, replica: this.#gateway.replica, newId, nowMs: clock.nowMs() }
      const record = await applyCreateTopic(decision.plan, context)
      const topic = router.add(record)
      await this.open(topic.partitions, topic, () => null)
      this.#gateway.onTopicChanged(topic)
      return { ...resultOf(record), created: true }
    })
  }

  delete(name: string): Promise<void> {
    return this.#inTurn(async () => {
      const topic = this.#find(name)
      await applyDeleteTopic(topic.record, this.#gateway.store)
      this.#gateway.router.remove(topic)
      this.#gateway.onTopicChanged(topic)
      await Promise.all(topic.partitions.map((partition) => this.#deletePartition(partition)))
      this.#gateway.router.releaseRefs(topic.partitions)
    })
  }

  addPartitions(name: string, total: number): Promise<void> {
    return this.#inTurn(async () => {
      const topic = this.#find(name)
      decideAddPartitions(topic.record, total, this.#gateway.router.partitionCount)
      const { store, replica } = this.#gateway
      const record = await applyAddPartitions(topic.record, total, { store, replica })
      await this.open(this.#gateway.router.extend(topic, record), topic, () => null)
      this.#gateway.onTopicChanged(topic)
    })
  }

  alterConfig(
    name: string,
    change: { readonly set: Readonly<Record<string, string>>; readonly remove: readonly string[] },
  ): Promise<Readonly<Record<string, string>>> {
    return this.#inTurn(async () => {
      const topic = this.#find(name)
      const config = decideAlterConfig(topic.record, change, this.#gateway.config.topics.config)
      const record = await applyAlterConfig(topic.record, config, this.#gateway.store)
      this.#gateway.router.updateConfig(topic, record)
      await Promise.all(topic.partitions.map((partition) => this.#updateConfig(partition, topic)))
      return config
    })
  }

  /** Opens partitions on their shards, many per message. Those that fail are offline with the reason. */
  async open(partitions: readonly PartitionProxy[], topic: RoutedTopic, recovered: RecoveredOf): Promise<void> {
    const byShard = new Map<number, PartitionProxy[]>()
    for (const partition of partitions) {
      const list = byShard.get(partition.shard)
      if (list === undefined) byShard.set(partition.shard, [partition])
      else list.push(partition)
    }
    const batches: Promise<void>[] = []
    for (const list of byShard.values())
      for (let from = 0; from < list.length; from += OPEN_BATCH)
        batches.push(this.#openBatch(list.slice(from, from + OPEN_BATCH), topic, recovered))
    await Promise.all(batches)
  }

  async #openBatch(partitions: readonly PartitionProxy[], topic: RoutedTopic, recovered: RecoveredOf): Promise<void> {
    const link = this.#gateway.links[partitions[0]!.shard]!
    const body: OpenPartitionsBody = {
      partitions: partitions.map(
        (partition): OpenPartition => ({
          partitionRef: partition.ref,
          topicId: partition.topicId,
          partition: partition.partition,
          leaderEpoch: partition.leaderEpoch,
          config: topic.config,
          recovered: recovered(partition.topicId, partition.partition) ?? null,
          replicas: null,
        }),
      ),
    }
    try {
      const answer = await link.control<OpenPartitionsAnswer>(ControlOperation.OPEN_PARTITIONS, body)
      const failed = new Map(answer.failed.map((entry) => [entry.partitionRef as number, entry.reason]))
      for (const partition of partitions) {
        const reason = failed.get(partition.ref)
        if (reason !== undefined) setOffline(partition, reason)
        else if (partition.state === 'opening') partition.state = 'serving'
      }
    } catch (error) {
      if (!isMillraceError(error)) throw error
      for (const partition of partitions) setOffline(partition, error.message)
    }
  }

  async #deletePartition(partition: PartitionProxy): Promise<void> {
    const link = this.#gateway.links[partition.shard]!
    try {
      await link.control(ControlOperation.DELETE_PARTITION, { partitionRef: partition.ref })
    } catch (error) {
      // Its files are unknown to the next start, which sets them aside.
      setOffline(partition, String(error))
      this.#gateway.logger.warn({ topic: partition.topicName, partition: partition.partition }, String(error))
    }
  }

  async #updateConfig(partition: PartitionProxy, topic: RoutedTopic): Promise<void> {
    if (partition.state === 'offline') return
    const body: UpdateConfigBody = { partitionRef: partition.ref, config: topic.config }
    await this.#gateway.links[partition.shard]!.control(ControlOperation.UPDATE_CONFIG, body)
  }

  #find(name: string): RoutedTopic {
    refuseInternal(name)
    const topic = this.#gateway.router.byName(name)
    if (topic === undefined)
      throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic '${name.slice(0, 249)}'`)
    return topic
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work)
    this.#last = result.catch(() => {})
    return result
  }
}

function resultOf(record: TopicRecord): { topicId: TopicId; partitions: number } {
  return { topicId: record.topicId, partitions: record.state.partitions }
}

function refuseInternal(name: string): void {
  if (isInternalTopic(name))
    throw new MillraceError(
      'INVALID_TOPIC_EXCEPTION',
      `${name} belongs to the broker: it can be read, and nothing else`,
    )
}
