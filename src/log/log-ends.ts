/**
 * LogEnds: how far a log reaches, and how much of it the device has: the offsets of one partition, and what of them a sync or a
 * checkpoint that is under way will have made true.
 *
 * Invariants  L3 recoveryPoint <= syncedEndOffset <= logEndOffset                          checked in: completeJournalSync()
 * Not here    files: PartitionLog lists what is to be synced and says when it is
 */
import { assert } from '../base/assert.ts'
import type { PartitionCheckpoint, RecoveredPartition } from './recovered-partition.ts'

export class LogEnds {
  logStartOffset = 0
  /** Offset after the last written record. */
  logEndOffset = 0
  syncedEndOffset = 0
  /** Everything below is durable in segment files; syncedEndOffset may be ahead thanks to the journal. */
  fileSyncedEndOffset = 0
  /** Of the last checkpoint. */
  recoveryPoint = 0
  /** Producer snapshot of the last checkpoint; -1 = no producer was known. */
  recoverySnapshot = -1
  checkpointedStart = 0
  /** End and producer snapshot of the checkpoint under way. */
  checkpointEnd = 0
  checkpointSnapshot = -1
  /** End that the sync under way makes durable; truncation lowers it. */
  #syncEnd = 0
  /** Times that the active segment's file was cut, and how many of them the sync under way and the last one cover. */
  #cuts = 0
  #cutsListed = 0
  #cutsSynced = 0

  /** Recovery has synced all that it hands over. */
  adopt(recovered: RecoveredPartition): void {
    const { logStartOffset, logEndOffset, recoveryPoint } = recovered
    this.logStartOffset = logStartOffset
    this.checkpointedStart = logStartOffset
    this.logEndOffset = logEndOffset
    this.syncedEndOffset = logEndOffset
    this.fileSyncedEndOffset = logEndOffset
    this.#syncEnd = logEndOffset
    this.recoveryPoint = recoveryPoint
    this.checkpointEnd = recoveryPoint
    this.checkpointSnapshot = recovered.producerSnapshotOffset
    this.recoverySnapshot = recovered.producerSnapshotOffset
  }

  /** A cut of the active segment's file that the device may not have: what was cut would come back with a power cut. */
  get hasUnsyncedCut(): boolean {
    return this.#cuts !== this.#cutsSynced
  }

  /** True if a checkpoint would say nothing new. */
  get isCheckpointed(): boolean {
    return this.logEndOffset === this.recoveryPoint && this.logStartOffset === this.checkpointedStart
  }

  /** A sync lists what it takes; answers the end that it makes durable. */
  beginSync(): number {
    this.#cutsListed = this.#cuts
    this.#syncEnd = this.logEndOffset
    return this.#syncEnd
  }

  completeSync(endOffset: number): void {
    this.#cutsSynced = this.#cutsListed
    const end = Math.min(endOffset, this.#syncEnd)
    if (end > this.fileSyncedEndOffset) this.fileSyncedEndOffset = end
    this.completeJournalSync(end)
  }

  completeJournalSync(endOffset: number): void {
    assert(endOffset <= this.logEndOffset, `synced end ${endOffset} is past the log end ${this.logEndOffset}`)
    if (endOffset > this.syncedEndOffset) this.syncedEndOffset = endOffset
  }

  /** The checkpoint that says so is durable. */
  completeCheckpoint(line: Omit<PartitionCheckpoint, 'topicId' | 'partition'>): void {
    this.recoverySnapshot = line.producerSnapshotOffset
    this.recoveryPoint = Math.min(line.recoveryPoint, this.logEndOffset)
    this.checkpointedStart = line.logStartOffset
  }

  noteCut(): void {
    this.#cuts++
  }

  /**
   * The log was cut below the producer snapshot that the last checkpoint names; `newestOffset` is of those that are left, -1 = none. Then
   * producers are replayed from the log's start, where none was known.
   */
  fallBackTo(newestOffset: number): void {
    if (Math.max(this.checkpointSnapshot, this.recoverySnapshot) <= newestOffset) return
    this.checkpointSnapshot = Math.min(this.checkpointSnapshot, newestOffset)
    this.recoverySnapshot = Math.min(this.recoverySnapshot, newestOffset)
    if (newestOffset >= 0) return
    this.recoveryPoint = Math.min(this.recoveryPoint, this.logStartOffset)
    this.checkpointEnd = Math.min(this.checkpointEnd, this.logStartOffset)
  }

  /** The log begins anew, and empty, at `offset`: below it there is nothing that a device could lack. */
  restartAt(offset: number): void {
    assert(offset > this.logStartOffset, `a log that begins at ${this.logStartOffset} would begin anew at ${offset}`)
    this.logStartOffset = offset
    this.logEndOffset = offset
    this.syncedEndOffset = offset
    this.fileSyncedEndOffset = offset
    this.#syncEnd = offset
    this.recoveryPoint = Math.min(this.recoveryPoint, offset)
    this.checkpointEnd = Math.min(this.checkpointEnd, offset)
  }

  truncateTo(end: number): void {
    this.logEndOffset = end
    this.syncedEndOffset = Math.min(this.syncedEndOffset, end)
    this.fileSyncedEndOffset = Math.min(this.fileSyncedEndOffset, end)
    this.#syncEnd = Math.min(this.#syncEnd, end)
    this.recoveryPoint = Math.min(this.recoveryPoint, end)
    this.checkpointEnd = Math.min(this.checkpointEnd, end)
  }
}
