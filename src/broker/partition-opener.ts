/**
 * PartitionOpener: tells shards which partitions they have: opened, altered, deleted. What of topics was decided comes here to be done.
 *
 * Thread      main
 * Failure     a shard that cannot open a partition leaves it offline with the reason; the others of its topic serve. One that has no
 *             room for the message is told again after RETRY_MS
 * Limits      OPEN_BATCH partitions in one control message
 */
import { isMillraceError } from '../model/errors.ts'
import type { TopicId } from '../model/ids.ts'
import type { ReplicaRole } from '../model/replica.ts'
import {
  ControlOperation,
  type OpenPartition,
  type OpenPartitionsAnswer,
  type OpenPartitionsBody,
  type UpdateConfigBody,
} from '../ring/control-messages.ts'
import type { Logger } from '../telemetry/logger.ts'
import { type PartitionProxy, type RoutedTopic, setOffline } from './partition-router.ts'
import type { ShardLink } from './shard-link.ts'
import type { Timers } from './timers.ts'

const OPEN_BATCH = 200
const RETRY_MS = 200

/** What recovery found for a partition; undefined = its folder does not exist. */
export type RecoveredOf = (topicId: TopicId, partition: number) => unknown

/** Of a replica in a cluster; undefined = it is not to be opened any more. */
export type RoleOf = (partition: PartitionProxy) => ReplicaRole | undefined

export const NOTHING_RECOVERED: RecoveredOf = () => null
/** Its folder was set aside in this run. */
export const SET_ASIDE: RecoveredOf = () => 'set-aside'

export class PartitionOpener {
  readonly #links: readonly ShardLink[]
  readonly #logger: Logger
  readonly #timers: Timers

  constructor(links: readonly ShardLink[], logger: Logger, timers: Timers) {
    this.#links = links
    this.#logger = logger
    this.#timers = timers
  }

  /**
   * Opens partitions on their shards, many per message. Those that fail are offline with the reason; the others serve, or, with a role,
   * are 'opening' still: that is told them next.
   */
  async open(
    partitions: readonly PartitionProxy[],
    topic: RoutedTopic,
    recovered: RecoveredOf,
    roleOf?: RoleOf,
  ): Promise<void> {
    const byShard = new Map<number, PartitionProxy[]>()
    for (const partition of partitions) {
      const list = byShard.get(partition.shard)
      if (list === undefined) byShard.set(partition.shard, [partition])
      else list.push(partition)
    }
    const batches: Promise<void>[] = []
    for (const list of byShard.values())
      for (let from = 0; from < list.length; from += OPEN_BATCH)
        batches.push(this.#openBatch(list.slice(from, from + OPEN_BATCH), topic, recovered, roleOf))
    await Promise.all(batches)
  }

  /** Its files go; one that could not be deleted is offline. */
  async delete(partition: PartitionProxy): Promise<void> {
    const link = this.#links[partition.shard]!
    try {
      await link.control(ControlOperation.DELETE_PARTITION, { partitionRef: partition.ref })
    } catch (error) {
      // Its files are unknown to the next start, which sets them aside.
      setOffline(partition, String(error))
      this.#logger.warn({ topic: partition.topicName, partition: partition.partition }, String(error))
    }
  }

  async updateConfig(partition: PartitionProxy, topic: RoutedTopic): Promise<void> {
    if (partition.state === 'offline' || partition.state === 'elsewhere') return
    const body: UpdateConfigBody = { partitionRef: partition.ref, config: topic.config }
    await this.#links[partition.shard]!.control(ControlOperation.UPDATE_CONFIG, body)
  }

  async #openBatch(
    partitions: readonly PartitionProxy[],
    topic: RoutedTopic,
    recovered: RecoveredOf,
    roleOf: RoleOf | undefined,
  ): Promise<void> {
    const link = this.#links[partitions[0]!.shard]!
    const body: OpenPartitionsBody = {
      partitions: partitions.map(
        (partition): OpenPartition => ({
          partitionRef: partition.ref,
          topicId: partition.topicId,
          partition: partition.partition,
          leaderEpoch: partition.leaderEpoch,
          config: topic.config,
          recovered: recovered(partition.topicId, partition.partition) ?? null,
          replicas: roleOf?.(partition) ?? null,
        }),
      ),
    }
    try {
      const answer = await link.control<OpenPartitionsAnswer>(ControlOperation.OPEN_PARTITIONS, body)
      const failed = new Map(answer.failed.map((entry) => [entry.partitionRef as number, entry.reason]))
      for (const partition of partitions) {
        const reason = failed.get(partition.ref)
        if (reason !== undefined) setOffline(partition, reason)
        else if (partition.state === 'opening' && roleOf === undefined) partition.state = 'serving'
      }
    } catch (error) {
      if (!isMillraceError(error)) throw error
      if (error.code === 'OVERLOADED') {
        await this.#openLater(partitions, topic, recovered, roleOf)
        return
      }
      for (const partition of partitions) setOffline(partition, error.message)
    }
  }

  /** No room in the shard's ring says nothing against the partitions: as offline ones they would be taken for damaged. */
  async #openLater(
    partitions: readonly PartitionProxy[],
    topic: RoutedTopic,
    recovered: RecoveredOf,
    roleOf: RoleOf | undefined,
  ): Promise<void> {
    await new Promise<void>((resolve) => void this.#timers.after(RETRY_MS, resolve))
    const isWanted = (partition: PartitionProxy): boolean =>
      partition.state === 'opening' && !topic.isDeleted && (roleOf === undefined || roleOf(partition) !== undefined)
    const wanted = partitions.filter(isWanted)
    if (wanted.length > 0) await this.#openBatch(wanted, topic, recovered, roleOf)
  }
}
