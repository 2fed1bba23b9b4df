/**
 * TopicAdmin: the port through which handlers have topics changed. Two makes: this broker alone (topic-service.ts), and a cluster, where the
 * controller decides (cluster/cluster-topics.ts).
 *
 * Ordering   what resolves is true for whoever asks this broker next: the topic is found, or is not
 * Failure    rejects with MillraceError: the row that the client gets
 */
import type { CreateTopicWish } from '../coordination/topics.ts'
import type { TopicId } from '../model/ids.ts'

export interface TopicMade {
  readonly topicId: TopicId
  readonly partitions: number
  /** False: it was there already, and that was fine. */
  readonly created: boolean
}

export interface TopicConfigChange {
  readonly set: Readonly<Record<string, string>>
  readonly remove: readonly string[]
}

export interface TopicAdmin {
  /** `by` a broker: internal topics too. */
  create(wish: CreateTopicWish, validateOnly: boolean, by?: 'client' | 'broker'): Promise<TopicMade>
  delete(name: string): Promise<void>
  addPartitions(name: string, total: number): Promise<void>
  /** From partition `total` on no new records are taken, and partitions go when they are empty; as many as there are ends that. */
  drainPartitions(name: string, total: number): Promise<void>
  /** A leader found a partition that drains empty. Answers how many of the topic's went. */
  partitionEmptied(topicId: TopicId, partition: number): Promise<number>
  /** Answers the topic's own keys after the change. */
  alterConfig(name: string, change: TopicConfigChange): Promise<Readonly<Record<string, string>>>
}
