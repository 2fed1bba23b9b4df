/**
 * SegmentCheck: compares one segment's batches with each other and with its index files, batch after batch: a state machine
 * that is shown bytes by whoever read them, so that verify (which reads) and the scrubber (which may not) share it.
 *
 * Invariants  every batch from the segment's first to its last byte was looked at, or lies in a reported range
 * Limits      keeps the indexes of one segment, nothing per batch
 */
import type { BatchView } from '../record/batch-view.ts'
import type { SegmentIndexes } from './index-cache.ts'

export type FindingKind =
  /** Records are lost: their bytes are not what was written. */
  | 'damage'
  /** Bytes behind the last checkpoint that recovery will judge: a torn tail, perhaps. */
  | 'unsettled'
  /** Made again from the log: indexes, snapshots, leader epochs. */
  | 'rebuildable'
  /** A file of state/ that cannot be used: recovery reads more without it. */
  | 'state'

/** One thing that is wrong. Ranges are half-open. */
export interface Finding {
  readonly kind: FindingKind
  /** Below the data dir. */
  readonly file: string
  readonly filePosition: number
  /** Offsets that are concerned; -1 = none, or not known. */
  readonly fromOffset: number
  readonly toOffset: number
  readonly text: string
  /** Of a batch that names another one: what it should be. */
  readonly leaderEpoch?: number
}

/** Compares indexes with batches that are shown in order. */
export class IndexCheck {
  readonly #indexes: SegmentIndexes
  readonly #baseOffset: number
  #entry = 0
  /** First entry that no batch fitted. */
  fault: string | undefined

  constructor(indexes: SegmentIndexes, baseOffset: number) {
    this.#indexes = indexes
    this.#baseOffset = baseOffset
  }

  /** Tells of a sound batch. */
  see(batch: BatchView, filePosition: number): void {
    const { offsets } = this.#indexes
    if (this.fault !== undefined || this.#entry >= offsets.count) return
    const position = offsets.filePositionAt(this.#entry)
    if (filePosition < position) return
    const offset = this.#baseOffset + offsets.relativeOffsetAt(this.#entry)
    if (filePosition === position && batch.baseOffset === offset) this.#entry++
    else this.fault = `entry ${this.#entry} says that offset ${offset} begins at ${position}: no batch does`
  }
}
