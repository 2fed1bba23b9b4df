/**
 * FolderAborted: recovery's part of the aborted transactions: what the files say as of the producer snapshot, what the batches behind it
 * add, and all of it from the batches where a file is missing or bad.
 *
 * Rule        the snapshot at offset S says which files must be whole (AbortedMarks): those of segments that end before S tell all of
 *             them; that of the segment with S in it, or at its end, tells what lies below S; markers from S on are replayed
 * Failure     a file that does not fit: every index is made again from the log's start, and a note says so
 */
import { bytesEqual } from '../base/bytes.ts'
import type { FileSystem } from '../io/file-system.ts'
import {
  AbortedIndex,
  type AbortedIndexNeed,
  type AbortedMarks,
  NOTHING_ABORTED,
  readAbortedIndex,
} from './aborted-index.ts'
import { rebuildAborted } from './aborted-rebuild.ts'
import { readWholeFile, writeWholeFile } from './checked-file.ts'
import { TEMPORARY_SUFFIX } from './durable-file.ts'
import type { AbortedEntry } from './open-transactions.ts'
import { type Segment, segmentFileName } from './segment.ts'

export class FolderAborted {
  readonly #files: FileSystem
  readonly #path: string
  #marks: AbortedMarks = NOTHING_ABORTED
  /** As the snapshot has it, and its offset. */
  #snapshotLast = -1
  #replayedFrom = 0
  /** Of segments that end at or past the snapshot, by base offset. */
  readonly #replayed = new Map<number, AbortedEntry[]>()
  readonly #stableOffsets = new Map<number, number>()

  constructor(files: FileSystem, path: string) {
    this.#files = files
    this.#path = path
  }

  get marks(): AbortedMarks {
    return this.#marks
  }

  /** Batches are replayed from `offset` on; a snapshot there says `marks`. */
  begin(offset: number, marks: AbortedMarks): void {
    this.#replayedFrom = offset
    this.#snapshotLast = marks.last
    this.#marks = marks
  }

  /** The log is empty. */
  clear(): void {
    this.#marks = NOTHING_ABORTED
  }

  /** A marker of the segment at `baseOffset` was replayed. */
  note(baseOffset: number, entry: AbortedEntry): void {
    const first = this.#marks.first < 0 ? entry.lastOffset : this.#marks.first
    this.#marks = { first, last: entry.lastOffset }
    const entries = this.#replayed.get(baseOffset)
    if (entries === undefined) this.#replayed.set(baseOffset, [entry])
    else entries.push(entry)
  }

  /** All of a segment was looked at; `firstOpenOffset` of what is open there. */
  endSegment(segment: Segment, firstOpenOffset: number): void {
    this.#stableOffsets.set(segment.baseOffset, Math.min(firstOpenOffset, segment.nextOffset))
  }

  /** Writes what is not as it should be; answers the names of files that are to be synced. */
  settle(segments: readonly Segment[], notes: string[]): string[] {
    if (this.#marks.first < 0) return []
    const indexes = this.#collect(segments, notes) ?? rebuildAborted(this.#files, this.#path, segments)
    const names: string[] = []
    for (const [at, segment] of segments.entries()) {
      const index = indexes[at]
      if (index !== undefined && this.#isWanted(segment, at === segments.length - 1)) {
        this.#write(segment, index)
        names.push(segmentFileName(segment.baseOffset, '.txnindex'))
      }
    }
    return names
  }

  #isWanted(segment: Segment, isLast: boolean): boolean {
    if (segment.nextOffset <= this.#marks.first) return false
    return !isLast || this.#marks.last >= segment.baseOffset
  }

  /** One for each segment whose file may have to be written; undefined as a whole: a file that must be there is not, or is bad. */
  #collect(segments: readonly Segment[], notes: string[]): (AbortedIndex | undefined)[] | undefined {
    const indexes: (AbortedIndex | undefined)[] = []
    for (const segment of segments) {
      const need = this.#needOf(segment)
      let index = new AbortedIndex()
      if (need !== undefined) {
        const answer = readAbortedIndex(this.#files, this.#path, need)
        if (answer.kind !== 'present') {
          const why = answer.kind === 'absent' ? 'it is missing' : answer.reason
          notes.push(`aborted transactions of segment ${segment.baseOffset}: ${why}: rebuilt from the log`)
          return undefined
        }
        index = answer.value
      }
      if (segment.nextOffset < this.#replayedFrom) {
        indexes.push(undefined)
        continue
      }
      index.truncateTo(this.#replayedFrom)
      for (const entry of this.#replayed.get(segment.baseOffset) ?? []) index.add(entry)
      index.stableOffset = this.#stableOffsets.get(segment.baseOffset) ?? segment.nextOffset
      indexes.push(index)
    }
    return indexes
  }

  /** What the snapshot relies on; undefined: on no file of this segment. */
  #needOf(segment: Segment): AbortedIndexNeed | undefined {
    const { baseOffset, nextOffset, bytes } = segment
    const isBelow = nextOffset < this.#replayedFrom
    if (isBelow && nextOffset > this.#marks.first) return { baseOffset, coveredEnd: nextOffset, coveredBytes: bytes }
    const isWithin = !isBelow && baseOffset < this.#replayedFrom && this.#snapshotLast >= baseOffset
    return isWithin ? { baseOffset, coveredEnd: this.#snapshotLast + 1, coveredBytes: -1 } : undefined
  }

  #write(segment: Segment, index: AbortedIndex): void {
    const path = `${this.#path}/${segmentFileName(segment.baseOffset, '.txnindex')}`
    const { baseOffset, nextOffset: coveredEnd, bytes: coveredBytes } = segment
    const wanted = index.encode({ baseOffset, coveredEnd, coveredBytes })
    const found = readWholeFile(this.#files, path)
    if (found !== undefined && bytesEqual(found, wanted)) return
    // Not in place: a crash in the middle would cost the next recovery a walk over the whole log. The sync is the list's (sync-list.ts).
    this.#files.close(writeWholeFile(this.#files, path + TEMPORARY_SUFFIX, wanted))
    this.#files.rename(path + TEMPORARY_SUFFIX, path)
  }
}
