/**
 * InternalTopic: a topic of the broker's own whose partitions coordinate ids: made when the first one comes, and which partition an id
 * belongs to.
 *
 * Thread     main
 * Failure    a partition that does not serve: COORDINATOR_NOT_AVAILABLE with the reason, for its ids only; the same while too few brokers are
 *            there to make the topic, or the store does not answer
 */
import { NO_LEADER } from '../coordination/keys.ts'
import type { CreateTopicWish } from '../coordination/topics.ts'
import { type ErrorCode, isMillraceError, MillraceError } from '../model/errors.ts'
import { coordinatorPartitionOf } from '../model/internal-topics.ts'
import { BATCH_BYTES_MAX } from '../model/limits.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { PartitionProxy, PartitionRouter, RoutedTopic } from './partition-router.ts'
import type { TopicAdmin } from './topic-admin.ts'

export interface InternalTopicOptions {
  readonly name: string
  readonly partitions: number
  readonly router: PartitionRouter
  /** Asked when it is needed: the service may be made later. */
  readonly topicService: () => Pick<TopicAdmin, 'create'>
  readonly logger: Pick<Logger, 'warn'>
}

/** Small segments: what compaction has not yet seen is read at each start. */
const COORDINATOR_TOPIC_CONFIG: Readonly<Record<string, string>> = {
  'cleanup.policy': 'compact',
  'millrace.fsync': 'group',
  // A decision must not be cut in two, and its shard appends it itself: the largest batch there is, whatever the broker's default.
  'max.message.bytes': String(BATCH_BYTES_MAX),
  'segment.bytes': String(16 * 1024 * 1024),
  'retention.ms': '-1',
}

/** Too few brokers are there to make it, or the store or who controls cannot be reached: that passes. */
const PASSING_CODES: readonly ErrorCode[] = ['INVALID_REPLICATION_FACTOR', 'BROKER_NOT_AVAILABLE']

export class InternalTopic {
  readonly #options: InternalTopicOptions
  #creating: Promise<RoutedTopic> | undefined
  /** Why it could not be made, as was told last: clients ask again and again. */
  #toldWhy = ''

  constructor(options: InternalTopicOptions) {
    this.#options = options
  }

  /** Its partitions, when it is there. */
  get partitions(): readonly PartitionProxy[] {
    return this.#options.router.byName(this.#options.name)?.partitions ?? []
  }

  /** The partition that coordinates `id`, if it serves now. */
  servingCoordinatorOf(id: string): PartitionProxy | undefined {
    const partition = this.#known(id)
    return partition?.state === 'serving' ? partition : undefined
  }

  /** The same; makes the topic first when it is not there. It serves, or this rejects. */
  async coordinatorOf(id: string): Promise<PartitionProxy> {
    const partition = await this.partitionOf(id)
    checkServes(partition)
    return partition
  }

  /** The partition that `id` belongs to, wherever it is led and whether it serves or not; makes the topic first when it is not there. */
  async partitionOf(id: string): Promise<PartitionProxy> {
    return this.#known(id) ?? partitionFor(id, await this.#createOnce())
  }

  /** While the topic is made its partitions are known already, but do not serve. */
  #known(id: string): PartitionProxy | undefined {
    const topic = this.#creating === undefined ? this.#options.router.byName(this.#options.name) : undefined
    return topic === undefined ? undefined : partitionFor(id, topic)
  }

  #createOnce(): Promise<RoutedTopic> {
    this.#creating ??= this.#create().finally(() => {
      this.#creating = undefined
    })
    return this.#creating
  }

  async #create(): Promise<RoutedTopic> {
    const { name, partitions, router, topicService } = this.#options
    const wish: CreateTopicWish = {
      ...{ name, partitions, replicas: -1, ifNotExists: true },
      config: COORDINATOR_TOPIC_CONFIG,
    }
    await topicService()
      .create(wish, false, 'broker')
      .catch((error: unknown) => this.#throwUnavailable(error))
    const topic = router.byName(name)
    // It is made, or was there; this broker's image has not come so far, or it is deleted again.
    if (topic === undefined) throw new MillraceError('COORDINATOR_NOT_AVAILABLE', `${name} is not known here yet`)
    return topic
  }

  #throwUnavailable(error: unknown): never {
    if (!isMillraceError(error) || !PASSING_CODES.includes(error.code)) throw error
    const { name, logger } = this.#options
    if (error.message !== this.#toldWhy) logger.warn({ topic: name }, `${name} cannot be made yet: ${error.message}`)
    this.#toldWhy = error.message
    throw new MillraceError('COORDINATOR_NOT_AVAILABLE', error.message, { cause: error })
  }
}

function partitionFor(id: string, { partitions }: RoutedTopic): PartitionProxy {
  return partitions[coordinatorPartitionOf(id, partitions.length)]!
}

/** Another broker leads it and answers for its ids. */
export function isLedElsewhere({ state, leaderNodeId }: PartitionProxy): boolean {
  return (state === 'following' || state === 'elsewhere') && leaderNodeId !== NO_LEADER
}

/** Throws MillraceError for a coordinator's partition that does not serve here. */
export function checkServes(proxy: PartitionProxy): void {
  const { state, reason, partition, topicName, leaderNodeId } = proxy
  if (state === 'serving') return
  const name = `partition ${partition} of ${topicName}`
  if (isLedElsewhere(proxy)) throw new MillraceError('NOT_COORDINATOR', `${name} is led by broker ${leaderNodeId}`)
  const hasNoLeader = state === 'following' || state === 'elsewhere'
  const text = hasNoLeader ? `${name} has no leader now` : `${name} is ${state}: ${reason ?? ''}`
  throw new MillraceError('COORDINATOR_NOT_AVAILABLE', text)
}
