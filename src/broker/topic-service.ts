/**
 * TopicService: changes of topics where this broker is alone, one after the other: decided, written to the store, then told to the shards.
 *
 * Thread     main
 * Ordering   create: store, then shards, then the reply. Delete: store (now nobody finds it), then shards
 * Failure    a shard that cannot open a partition leaves it offline with the reason; the topic is made all the same
 */
import type { Clock } from '../base/clock.ts'
import type { BrokerConfig } from '../config/index.ts'
import { checkNotDraining, decideDrain, removeEmptied } from '../coordination/draining.ts'
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
  putTopicState,
  type TopicRecord,
} from '../coordination/topics.ts'
import { MillraceError } from '../model/errors.ts'
import type { TopicId } from '../model/ids.ts'
import { isInternalTopic } from '../model/internal-topics.ts'
import { NOTHING_RECOVERED, type PartitionOpener } from './partition-opener.ts'
import type { PartitionRouter, RoutedTopic } from './partition-router.ts'
import type { TopicAdmin, TopicMade } from './topic-admin.ts'

/** What changes of topics need of the broker. */
export interface TopicServiceContext {
  readonly config: BrokerConfig
  readonly replica: Replica
  readonly store: MetadataStore
  readonly router: PartitionRouter
  readonly opener: PartitionOpener
  readonly clock: Clock
  /** Unique ids of 32 hex digits. */
  readonly newId: () => string
  /** It is there, has more partitions, or is deleted. */
  onTopicChanged(topic: RoutedTopic): void
}

export class TopicService implements TopicAdmin {
  readonly #gateway: TopicServiceContext
  /** Changes run one after the other; a failed one does not stop the next. */
  #last: Promise<unknown> = Promise.resolve()
  /** Told to be empty, as <topic id>/<partition>: they stay so while they drain. */
  readonly #emptied = new Set<string>()

  constructor(gateway: TopicServiceContext) {
    this.#gateway = gateway
  }

  create(wish: CreateTopicWish, validateOnly: boolean, by: 'client' | 'broker' = 'client'): Promise<TopicMade> {
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
      await this.#gateway.opener.open(topic.partitions, topic, NOTHING_RECOVERED)
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
      await Promise.all(topic.partitions.map((partition) => this.#gateway.opener.delete(partition)))
      this.#gateway.router.releaseRefs(topic.partitions)
    })
  }

  addPartitions(name: string, total: number): Promise<void> {
    return this.#inTurn(async () => {
      const topic = this.#find(name)
      checkNotDraining(topic.record)
      decideAddPartitions(topic.record, total, this.#gateway.router.partitionCount)
      const { store, replica } = this.#gateway
      const record = await applyAddPartitions(topic.record, total, { store, replica })
      const { opener, router } = this.#gateway
      await opener.open(router.extend(topic, record), topic, NOTHING_RECOVERED)
      this.#gateway.onTopicChanged(topic)
    })
  }

  drainPartitions(name: string, total: number): Promise<void> {
    return this.#inTurn(async () => {
      const topic = this.#find(name)
      const { store, router } = this.#gateway
      const record = await putTopicState(topic.record, decideDrain(topic.record, total), { store })
      router.updateConfig(topic, record)
      for (const key of this.#emptied) if (key.startsWith(record.topicId)) this.#emptied.delete(key)
    })
  }

  partitionEmptied(topicId: TopicId, partition: number): Promise<number> {
    return this.#inTurn(async () => {
      const { router, store } = this.#gateway
      const topic = router.byId(topicId)
      if (topic === undefined || partition < (topic.record.state.drainFrom ?? Number.POSITIVE_INFINITY)) return 0
      this.#emptied.add(`${topicId}/${partition}`)
      const record = await removeEmptied(topic.record, (one) => this.#emptied.has(`${topicId}/${one}`), { store })
      return record === undefined ? 0 : this.#shrink(topic, record)
    })
  }

  /** What the store does not have any more goes from router and shards. */
  async #shrink(topic: RoutedTopic, record: TopicRecord): Promise<number> {
    const { router, opener } = this.#gateway
    const gone = router.shrink(topic, record)
    router.updateConfig(topic, record)
    for (const { topicId, partition } of gone) this.#emptied.delete(`${topicId}/${partition}`)
    this.#gateway.onTopicChanged(topic)
    await Promise.all(gone.map((proxy) => opener.delete(proxy)))
    router.releaseRefs(gone)
    return gone.length
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
      await Promise.all(topic.partitions.map((partition) => this.#gateway.opener.updateConfig(partition, topic)))
      return config
    })
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

/** Clients change no topic of the broker's own. */
export function refuseInternal(name: string): void {
  if (isInternalTopic(name))
    throw new MillraceError(
      'INVALID_TOPIC_EXCEPTION',
      `${name} belongs to the broker: it can be read, and nothing else`,
    )
}
