/**
 * Group lag: how far a group is behind, in records and in seconds, per partition it has committed.
 *
 * Thread   main; one question a partition to its shard
 * Seconds  now less the time of the first record that is not committed: 0 where there is none. It grows while nobody reads, also
 *          when nothing new comes
 * Limits   GROUP_OFFSETS_MAX partitions of a group, AT_ONCE of them asked for at a time
 */
import type { Clock } from '../base/clock.ts'
import { isMillraceError } from '../model/errors.ts'
import { allPages, offsetFetch } from '../protocol/index.ts'
import {
  ControlOperation,
  type DescribePartitionAnswer,
  type ListOffsetsAnswer,
  type OffsetTimeBody,
} from '../ring/control-messages.ts'
import type { Caller } from './caller.ts'
import type { GroupService } from './group-service.ts'
import type { PartitionRouter } from './partition-router.ts'
import type { ShardLink } from './shard-link.ts'

/** Partitions asked for at once: a scrape is not worth a burst on every shard. */
const AT_ONCE = 64

export interface PartitionLag {
  readonly topic: string
  readonly partition: number
  readonly committedOffset: number
  readonly metadata: string
  readonly commitTimestampMs: number
  /** null where the partition does not answer. */
  readonly highWatermark: number | null
  readonly lag: number | null
  readonly lagSeconds: number | null
}

export interface GroupLagContext {
  readonly groups: GroupService
  readonly router: PartitionRouter
  readonly links: readonly ShardLink[]
  readonly clock: Clock
}

/** Rejects with MillraceError when the coordinator cannot say what is committed. */
export async function groupLag(gateway: GroupLagContext, groupId: string, caller: Caller): Promise<PartitionLag[]> {
  const request = { groupId, memberId: '', memberEpoch: -1, requireStable: false, topics: null }
  const pages = await allPages((cursor) => gateway.groups.ask(groupId, offsetFetch, { ...request, cursor }, caller))
  const committed = pages
    .flatMap(({ topics }) => topics)
    .flatMap(({ topic, partitions }) => partitions.map((part) => ({ topic, ...part })))
  const lags: PartitionLag[] = []
  for (let at = 0; at < committed.length; at += AT_ONCE)
    lags.push(...(await Promise.all(committed.slice(at, at + AT_ONCE).map((part) => lagOf(gateway, part)))))
  return lags
}

async function lagOf(
  gateway: GroupLagContext,
  part: {
    readonly topic: string
    readonly partition: number
    readonly offset: number
    readonly metadata: string
    readonly commitTimestampMs: number
  },
): Promise<PartitionLag> {
  const { topic, partition, offset, metadata, commitTimestampMs } = part
  const known = { topic, partition, committedOffset: offset, metadata, commitTimestampMs }
  const proxy = gateway.router.byName(topic)?.partitions[partition]
  if (proxy?.state !== 'serving') return { ...known, highWatermark: null, lag: null, lagSeconds: null }
  const link = gateway.links[proxy.shard]!
  try {
    const body = { partitionRef: proxy.ref }
    const ends = await link.control<DescribePartitionAnswer>(ControlOperation.DESCRIBE_PARTITION, body)
    const { highWatermark, logStartOffset } = ends
    // What retention has taken nobody can handle any more.
    const lag = Math.max(0, highWatermark - Math.max(offset, logStartOffset))
    if (lag === 0) return { ...known, highWatermark, lag, lagSeconds: 0 }
    const first: OffsetTimeBody = { partitionRef: proxy.ref, offset }
    const { timestampMs } = await link.control<ListOffsetsAnswer>(ControlOperation.OFFSET_TIME, first)
    const lagSeconds = timestampMs < 0 ? 0 : Math.max(0, (gateway.clock.nowMs() - timestampMs) / 1000)
    return { ...known, highWatermark, lag, lagSeconds }
  } catch (error) {
    if (!isMillraceError(error)) throw error
    return { ...known, highWatermark: null, lag: null, lagSeconds: null }
  }
}
