/**
 * What recovery hands to the shard, and what the shard hands to the checkpoint: plain data, safe for msgpack, since it
 * travels pool -> gateway -> shard (OpenPartition.recovered) and shard -> checkpoint file.
 *
 * Rule        recovery has synced all it hands over: [logStartOffset, logEndOffset) is on the device, folder entries included
 * Invariants  segments sorted by baseOffset; segments[n].nextOffset <= segments[n + 1].baseOffset;
 *             logStartOffset <= logEndOffset = the last segment's nextOffset (or logStartOffset when there is none)
 *                                                             checked in: checkRecovered()
 */
import { assert } from '../base/assert.ts'
import type { AbortedMarks } from './aborted-index.ts'
import type { OpenTransaction } from './open-transactions.ts'

/** One segment file that recovery left in the folder. The last of the list is the active one. */
export interface RecoveredSegment {
  readonly baseOffset: number
  /** Offset after its last record; baseOffset when it is empty. */
  readonly nextOffset: number
  /** Size of the file: whole batches only. */
  readonly bytes: number
  /** Largest timestamp of its records, ms; -1 = empty, or none has one. */
  readonly maxTimestampMs: number
  /** When it was begun, wall time: the .index header's createdMs if that is readable, else the file's modification time. */
  readonly createdMs: number
}

/** [leader epoch, its first offset], ascending in both. */
export type LeaderEpochEntry = readonly [epoch: number, startOffset: number]

export interface RecoveredPartition {
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly segments: readonly RecoveredSegment[]
  /** All below it was synced into segment files by the last checkpoint, or by recovery itself. */
  readonly recoveryPoint: number
  readonly leaderEpochs: readonly LeaderEpochEntry[]
  /** `producer-state-<offset>.snapshot` that holds the state at logEndOffset; -1 = no producer is known, there is no file. */
  readonly producerSnapshotOffset: number
  /** Transactions that are open at logEndOffset, by first offset: known without a look into the snapshot. */
  readonly openTransactions: readonly OpenTransaction[]
  /** Which segments have a `.txnindex` (aborted-index.ts). */
  readonly aborted: AbortedMarks
  /** Why the partition may not serve; null = it is sound. PartitionLog.open refuses a damaged one. */
  readonly damaged: string | null
}

/** This partition's line of the checkpoint; true once the shard has synced what beginCheckpoint() listed. */
export interface PartitionCheckpoint {
  readonly topicId: string
  readonly partition: number
  readonly logStartOffset: number
  /** Recovery scans from here. Nothing below is ever scanned again, nor are index entries at or past it believed. */
  readonly recoveryPoint: number
  /** Replay of producers starts at this snapshot (<= recoveryPoint); -1 = no producer was known at recoveryPoint. */
  readonly producerSnapshotOffset: number
}

/** Throws InvariantError unless `recovered` is what the type's rules say. */
export function checkRecovered(recovered: RecoveredPartition): void {
  let nextOffset = 0
  for (const segment of recovered.segments) {
    assert(segment.baseOffset >= nextOffset, `recovered segments overlap at offset ${segment.baseOffset}`)
    assert(segment.nextOffset >= segment.baseOffset, `recovered segment ${segment.baseOffset} ends before it begins`)
    assert(segment.bytes >= 0, `recovered segment ${segment.baseOffset} has ${segment.bytes} bytes`)
    nextOffset = segment.nextOffset
  }
  const { logStartOffset, logEndOffset, recoveryPoint } = recovered
  assert(logStartOffset <= logEndOffset, `recovered log starts at ${logStartOffset}, past its end ${logEndOffset}`)
  assert(
    recovered.segments.length === 0 || logEndOffset === nextOffset,
    `recovered log ends at ${logEndOffset}, its last segment at ${nextOffset}`,
  )
  assert(recoveryPoint <= logEndOffset, `recovery point ${recoveryPoint} is past the log end ${logEndOffset}`)
}
