/**
 * Markers of decided transactions (X7): one attempt of a transaction at a time, MARKERS_PER_ATTEMPT partitions of it at most, until
 * every partition has its marker.
 *
 * Order    round about: an attempt begins behind the partitions that those before it have left, so that the ones that cannot take a marker
 *          keep it from nobody. A round ends when each partition without one was attempted
 * Failure  what a round leaves is tried again markerRetryMs later, then twice as long and so on. Progress is not stored: after a restart
 *          all are written anew, and partitions that have theirs say so
 */
import type { TopicId } from '../model/ids.ts'
import { countPartitions, type PartitionSet, partitionSetOf, subtractSets } from '../model/partition-set.ts'
import type { MarkersDone, MarkersToWrite, TopicPartition } from './requests.ts'
import type { TransactionContext } from './transaction-context.ts'
import { State, type TransactionEntry } from './transaction-state.ts'

export const MARKERS_PER_ATTEMPT = 1_000
/** An attempt that nobody answers for so long is one that was lost. */
const LOST_ATTEMPT_MS = 60_000

/** The next attempt. The transaction is Prepare*, and has partitions without a marker. */
export function beginMarking(
  { coordinatorEpoch, timers }: TransactionContext,
  entry: TransactionEntry,
  nowMs: number,
): MarkersToWrite {
  const { state, producerId, producerEpoch, isClassic } = entry.facts
  // An attempt of the last of them that was lost.
  if (entry.attempted >= countPartitions(entry.unmarked)) entry.attempted = 0
  if (entry.attempted === 0) entry.fault = ''
  const partitions = someOf(entry.unmarked, entry.attempted, MARKERS_PER_ATTEMPT)
  entry.isMarking = true
  entry.attempted += partitions.length
  timers.start(entry, nowMs + LOST_ATTEMPT_MS)
  return {
    ...{ transactionalId: entry.transactionalId, producerId, producerEpoch, coordinatorEpoch },
    ...{ isCommit: state === State.PREPARE_COMMIT, isClassic },
    partitions,
  }
}

/** Takes note of an attempt's end: all are written, or what is to be done next. */
export function endMarking(
  { config, timers }: TransactionContext,
  entry: TransactionEntry,
  { done, fault }: MarkersDone,
  nowMs: number,
): 'all written' | 'go on' | 'wait' {
  entry.isMarking = false
  entry.unmarked = subtractSets(entry.unmarked, setOf(done))
  // A late answer of an attempt that seemed lost may take some of an earlier round.
  entry.attempted = Math.max(0, entry.attempted - done.length)
  if (entry.fault === '') entry.fault = fault
  timers.stop(entry)
  const left = countPartitions(entry.unmarked)
  if (left === 0) return 'all written'
  if (entry.attempted < left) return 'go on'
  entry.attempted = 0
  const waitMs = Math.min(config.markerRetryMs * 2 ** Math.min(entry.failures, 30), config.markerRetryMsMax)
  entry.failures++
  timers.start(entry, nowMs + waitMs)
  return 'wait'
}

/** Worth a line of the log: the first failure, and then ever fewer. */
export function isTelling(failures: number): boolean {
  return failures > 0 && (failures & (failures - 1)) === 0
}

/** Up to `count` of the set, those from `from` on in its order. */
export function someOf(set: PartitionSet, from: number, count: number): TopicPartition[] {
  const list: TopicPartition[] = []
  let skip = from
  for (const [topicId, partitions] of set) {
    const end = Math.min(partitions.length, skip + count - list.length)
    for (let index = skip; index < end; index++) list.push({ topicId, partition: partitions[index]! })
    skip = Math.max(0, skip - partitions.length)
  }
  return list
}

export function setOf(list: readonly TopicPartition[]): PartitionSet {
  const lists = new Map<TopicId, number[]>()
  for (const { topicId, partition } of list) {
    const partitions = lists.get(topicId)
    if (partitions === undefined) lists.set(topicId, [partition])
    else partitions.push(partition)
  }
  return partitionSetOf(lists)
}
