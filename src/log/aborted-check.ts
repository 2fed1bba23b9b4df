/**
 * AbortedCheck: compares the aborted indexes of one partition's folder with its batches, which verify shows in order: what the newest
 * checkpointed producer snapshot says must be in a file is there, and each entry is that of a marker.
 *
 * Limits   keeps the open transactions, and the aborted ones of one segment
 */
import type { FileSystem } from '../io/file-system.ts'
import type { BatchView } from '../record/batch-view.ts'
import { AbortedIndex, type AbortedIndexMeta, type AbortedMarks } from './aborted-index.ts'
import { type CheckedAnswer, readChecked } from './checked-file.ts'
import { type AbortedEntry, markerOf, OpenTransactions } from './open-transactions.ts'
import { segmentFileName } from './segment-names.ts'

export interface AbortedCheckOptions {
  readonly folder: string
  /** Of the checkpointed producer snapshot, and what it says; behind it recovery replays. */
  readonly snapshotOffset: number
  readonly marks: AbortedMarks
}

export class AbortedCheck {
  readonly #files: FileSystem
  readonly #options: AbortedCheckOptions
  readonly #transactions = new OpenTransactions()
  #found = new Map<number, AbortedEntry>()
  /** Markers of the segment that abort, whatever was open: the transaction's batches may be gone. */
  #markers = new Set<number>()

  constructor(files: FileSystem, options: AbortedCheckOptions) {
    this.#files = files
    this.#options = options
  }

  /** Tells of a sound batch. */
  see(batch: BatchView): void {
    if (batch.producerId < 0) return
    const marker = markerOf(batch)
    const aborted = this.#transactions.replay(batch, marker)
    if (marker?.type === 'ABORT') this.#markers.add(batch.baseOffset)
    if (aborted !== undefined) this.#found.set(aborted.lastOffset, aborted)
  }

  /** All of the segment was shown; what is wrong with its file, if anything. */
  endSegment(segment: {
    readonly baseOffset: number
    readonly nextOffset: number
    readonly bytes: number
  }): string | undefined {
    const found = this.#found
    const markers = this.#markers
    this.#found = new Map()
    this.#markers = new Set()
    const { folder, snapshotOffset, marks } = this.#options
    const path = `${folder}/${segmentFileName(segment.baseOffset, '.txnindex')}`
    const answer = readChecked(this.#files, path, AbortedIndex.decode)
    if (answer.kind === 'unreadable') return answer.reason
    const isBelow = segment.nextOffset < snapshotOffset
    const isNeeded =
      marks.first >= 0 &&
      (isBelow
        ? segment.nextOffset > marks.first
        : segment.baseOffset < snapshotOffset && marks.last >= segment.baseOffset)
    if (answer.kind === 'absent') return isNeeded ? 'it is missing' : undefined
    return this.#compare(answer, { segment, found, markers, isNeeded, isBelow })
  }

  #compare(
    answer: CheckedAnswer<{ index: AbortedIndex; meta: AbortedIndexMeta }> & { readonly kind: 'present' },
    expected: {
      readonly segment: { readonly baseOffset: number; readonly nextOffset: number; readonly bytes: number }
      readonly found: ReadonlyMap<number, AbortedEntry>
      readonly markers: ReadonlySet<number>
      readonly isNeeded: boolean
      readonly isBelow: boolean
    },
  ): string | undefined {
    const { index, meta } = answer.value
    const { segment, found, markers, isNeeded, isBelow } = expected
    const { snapshotOffset, marks } = this.#options
    if (meta.baseOffset !== segment.baseOffset) return `it is of the segment at ${meta.baseOffset}`
    if (!isNeeded) return undefined
    if (isBelow ? meta.coveredEnd !== segment.nextOffset : meta.coveredEnd <= marks.last)
      return `it covers the offsets below ${meta.coveredEnd} only`
    if (isBelow && meta.coveredBytes !== segment.bytes)
      return `it covers ${meta.coveredBytes} bytes, the log has ${segment.bytes}`
    const byMarker = new Map(index.entries.map((entry) => [entry.lastOffset, entry]))
    for (const { lastOffset, producerId } of index.entries)
      if (lastOffset < snapshotOffset && !markers.has(lastOffset))
        return `it says that producer ${producerId} aborted at offset ${lastOffset}: no marker there does`
    for (const [offset, { producerId, firstOffset }] of found) {
      const entry = byMarker.get(offset)
      const isSame = entry?.producerId === producerId && entry.firstOffset <= firstOffset
      if (offset < snapshotOffset && !isSame)
        return `it does not tell of the transaction that producer ${producerId} aborted at offset ${offset}`
    }
    return undefined
  }
}
