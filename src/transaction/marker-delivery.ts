/**
 * Markers of decided transactions (X7): one attempt of a transaction at a time, MARKERS_PER_ATTEMPT partitions of it at most, until
 * every partition has its marker.
 *
 * Failure  what an attempt leaves is tried again markerRetryMs later, then twice as long and so on. Progress is not stored: after a restart
 *          all are written anew, and partitions that have theirs say so
 */
import type { TopicId } from '../model/ids.ts'
import { type PartitionSet, partitionSetOf, subtractSets } from '../model/partition-set.ts'
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
  entry.isMarking = true
  timers.start(entry, nowMs + LOST_ATTEMPT_MS)
  return {
    ...{ transactionalId: entry.transactionalId, producerId, producerEpoch, coordinatorEpoch },
    ...{ isCommit: state === State.PREPARE_COMMIT, isClassic },
    partitions: firstOf(entry.unmarked, MARKERS_PER_ATTEMPT),
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
  timers.stop(entry)
  if (entry.unmarked.size === 0) return 'all written'
  if (fault === '' && done.length > 0) {
    entry.failures = 0
    return 'go on'
  }
  const waitMs = Math.min(config.markerRetryMs * 2 ** Math.min(entry.failures, 30), config.markerRetryMsMax)
  entry.failures++
  timers.start(entry, nowMs + waitMs)
  return 'wait'
}

/** Worth a line of the log: the first failure, and then ever fewer. */
export function isTelling(failures: number): boolean {
  return failures > 0 && (failures & (failures - 1)) === 0
}

function firstOf(set: PartitionSet, count: number): TopicPartition[] {
  const list: TopicPartition[] = []
  for (const [topicId, partitions] of set)
    for (const partition of partitions) {
      if (list.length === count) return list
      list.push({ topicId, partition })
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
