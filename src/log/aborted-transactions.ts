/**
 * AbortedTransactions: the aborted transactions of one partition, as its shard has them: noted with their markers, written with rolls and
 * producer snapshots, told to readers with read_committed.
 *
 * Owns        the marks (first and last aborted), what is staged; the indexes lie in the segments that take writes and in the context's cache
 * Thread      the partition's shard; reads a small file when a closed segment's index is not in memory
 * Invariants  AT1 what a durable producer snapshot's marks say is in files that are durable too: those are written, and listed for the
 *                 sync, before it; no room for them: no snapshot
 *             AT2 within() answers every aborted transaction that overlaps the range        checked in: test/unit/log/aborted-transactions
 * Ordering    prepare() -> stage(entry) while its marker is staged -> prepareSeal() before a write that rolls -> settle() when written |
 *             dropStaged() -> seal() with the segment | write() before a snapshot
 * Limits      ABORTED_PER_SEGMENT_MAX a segment; the context's cache
 * Failure     a file that finds no room or no descriptor is written later, and the old one stays; a file that cannot be used: all are made again from the log, in place; it blocks, and it is rare
 */
import {
  ABORTED_PER_SEGMENT_MAX,
  AbortedIndex,
  type AbortedMarks,
  NOTHING_ABORTED,
  readAbortedIndex,
} from './aborted-index.ts'
import { rebuildAborted } from './aborted-rebuild.ts'
import { replaceListed } from './listed-file.ts'
import type { LogContext } from './log-context.ts'
import type { AbortedEntry, OpenTransactions } from './open-transactions.ts'
import { type Segment, segmentFileName } from './segment.ts'
import type { SegmentList } from './segment-list.ts'
import type { UnsyncedFiles } from './unsynced-files.ts'

export interface AbortedAnswer {
  /** By first offset. */
  readonly entries: readonly AbortedEntry[]
  /** The list is whole for what lies below it: the `end` that was asked for, or less when there were too many. */
  readonly endOffset: number
}

export interface AbortedTransactionsOptions {
  readonly segments: SegmentList
  readonly unsynced: UnsyncedFiles
  readonly transactions: OpenTransactions
  /** As recovery left them. */
  readonly marks: AbortedMarks
}

const NONE: AbortedIndex = new AbortedIndex()

export class AbortedTransactions {
  readonly #context: LogContext
  readonly #segments: SegmentList
  readonly #unsynced: UnsyncedFiles
  readonly #transactions: OpenTransactions
  #marks: AbortedMarks
  #staged: AbortedEntry[] = []
  /** Closed segments whose file found no room, or no descriptor. */
  #unwritten: Segment[] = []

  constructor(context: LogContext, options: AbortedTransactionsOptions) {
    this.#context = context
    this.#segments = options.segments
    this.#unsynced = options.unsynced
    this.#transactions = options.transactions
    this.#marks = options.marks
  }

  get marks(): AbortedMarks {
    return this.#marks
  }

  /** Nothing is left to be written. */
  isWritten(active: Segment | undefined): boolean {
    return this.#unwritten.length === 0 && active?.aborted?.isDirty !== true
  }

  /** The segment that takes writes has as many entries as its file may. */
  isFull(active: Segment): boolean {
    return (active.aborted?.count ?? 0) >= ABORTED_PER_SEGMENT_MAX
  }

  /** Before an ABORT marker is staged: its segment's index is read now, if at all; from then on nothing may fail. Throws StorageError. */
  prepare(folder: string, active: Segment | undefined): void {
    if (active !== undefined) active.aborted = this.#ofActive(folder, active)
  }

  /** Before a write that closes `active`: what seal() needs of its file is read while the write may still fail. Throws StorageError. */
  prepareSeal(folder: string, active: Segment): void {
    if (this.#isWanted(active)) active.aborted = this.#ofActive(folder, active)
  }

  stage(entry: AbortedEntry): void {
    this.#staged.push(entry)
  }

  dropStaged(): void {
    this.#staged.length = 0
  }

  /** Markers below `upTo` were written to `segment`. */
  settle(segment: Segment, upTo: number): void {
    let count = 0
    while (count < this.#staged.length && this.#staged[count]!.lastOffset < upTo) {
      const entry = this.#staged[count++]!
      segment.aborted ??= new AbortedIndex()
      segment.aborted.add(entry)
      this.#marks = { first: this.#marks.first < 0 ? entry.lastOffset : this.#marks.first, last: entry.lastOffset }
    }
    if (count > 0) this.#staged.splice(0, count)
  }

  /** The segment takes no more writes: its file is written. After prepareSeal() nothing here fails for want of room or of descriptors. */
  seal(folder: string, segment: Segment): void {
    if (!this.#isWanted(segment)) {
      segment.aborted = undefined
      return
    }
    const index = (segment.aborted ??= this.#ofActive(folder, segment))
    index.stableOffset = Math.min(this.#transactions.firstUndecidedAt(segment.nextOffset), segment.nextOffset)
    index.isDirty = true
    if (this.#writeFile(folder, segment, index)) this.#forget(segment, index)
    else this.#unwritten.push(segment)
  }

  /** Before a producer snapshot: false when there is no room, or no descriptor, for what it relies on. */
  write(folder: string, active: Segment | undefined): boolean {
    while (this.#unwritten.length > 0) {
      const segment = this.#unwritten[0]!
      const index = segment.aborted
      const isThere = this.#segments.find(segment.baseOffset) === segment
      if (isThere && index !== undefined) {
        if (!this.#writeFile(folder, segment, index)) return false
        this.#forget(segment, index)
      }
      this.#unwritten.shift()
    }
    const index = active?.aborted
    return index?.isDirty !== true || this.#writeFile(folder, active!, index)
  }

  /** The partition is idle: what a file can bring back goes. */
  relax(active: Segment | undefined): void {
    if (active?.aborted?.isDirty === false) active.aborted = undefined
  }

  /** See PartitionLog.abortedIn(). */
  within(
    folder: string,
    active: Segment | undefined,
    span: { from: number; end: number; countMax: number },
  ): AbortedAnswer {
    const { from, end } = span
    const { first } = this.#marks
    const found: AbortedEntry[] = []
    if (first < 0 || end <= from) return { entries: found, endOffset: end }
    const all = this.#segments.all
    for (let at = this.#segments.indexOf(Math.max(from, first)); at < all.length; at++) {
      const segment = all[at]!
      const index = segment === active ? this.#ofActive(folder, segment) : this.#ofClosed(folder, segment)
      if (index.collect(from, end, found)) break
      if (segment !== active && index.stableOffset >= end) break
    }
    return cutTo(found, span)
  }

  /** Before a segment is cut at `offset`: what its index says is read while it fits. */
  prepareCut(folder: string, active: Segment | undefined, offset: number): void {
    const segment = this.#segments.find(offset)
    if (segment === undefined || segment.baseOffset >= offset || !this.#isWanted(segment)) return
    segment.aborted = segment === active ? this.#ofActive(folder, segment) : this.#ofClosed(folder, segment)
    this.#context.aborted.delete(segment.key)
  }

  /** The log was cut at `end`; `active`: the segment that takes writes now. */
  truncateTo(end: number, active: Segment | undefined): void {
    this.#unwritten = this.#unwritten.filter((segment) => this.#segments.all.includes(segment) && segment !== active)
    const { first, last } = this.#marks
    if (first >= end) {
      this.#marks = NOTHING_ABORTED
      if (active !== undefined) active.aborted = undefined
      return
    }
    if (active?.aborted !== undefined) {
      active.aborted.truncateTo(end)
      this.#marks = { first, last: active.aborted.lastMarker }
    } else this.#marks = { first, last: Math.min(last, end - 1) }
  }

  /** It ends past the first aborted transaction's marker. */
  #isWanted(segment: Segment): boolean {
    return this.#marks.first >= 0 && segment.nextOffset > this.#marks.first
  }

  #ofActive(folder: string, segment: Segment): AbortedIndex {
    if (segment.aborted !== undefined) return segment.aborted
    const { baseOffset } = segment
    const { last } = this.#marks
    if (last < baseOffset) return new AbortedIndex()
    const answer = readAbortedIndex(this.#context.files, folder, { baseOffset, coveredEnd: last + 1, coveredBytes: -1 })
    segment.aborted = answer.kind === 'present' ? answer.value : this.#rebuild(folder, segment)
    return segment.aborted
  }

  #ofClosed(folder: string, segment: Segment): AbortedIndex {
    if (!this.#isWanted(segment)) return NONE
    const held = segment.aborted ?? this.#context.aborted.get(segment.key)
    if (held !== undefined) return held
    const { baseOffset, nextOffset: coveredEnd, bytes: coveredBytes } = segment
    const answer = readAbortedIndex(this.#context.files, folder, { baseOffset, coveredEnd, coveredBytes })
    if (answer.kind !== 'present') return this.#rebuild(folder, segment)
    this.#context.aborted.put(segment.key, answer.value)
    return answer.value
  }

  /** A file is missing or bad: all of them from the log. Answers that of `wanted`. */
  #rebuild(folder: string, wanted: Segment): AbortedIndex {
    const all = this.#segments.all
    const indexes = rebuildAborted(this.#context.files, folder, all)
    let answer = NONE
    for (const [at, segment] of all.entries()) {
      const index = indexes[at]!
      if (segment === wanted) answer = index
      // What is in memory came from batches that were just written, and is newer than any file.
      if (segment.aborted !== undefined || !this.#isWanted(segment)) continue
      index.isDirty = true
      if (this.#writeFile(folder, segment, index)) this.#context.aborted.put(segment.key, index)
    }
    return answer
  }

  #forget(segment: Segment, index: AbortedIndex): void {
    segment.aborted = undefined
    this.#context.aborted.put(segment.key, index)
  }

  /** False when there is no room, or no descriptor. */
  #writeFile(folder: string, segment: Segment, index: AbortedIndex): boolean {
    const { baseOffset, nextOffset: coveredEnd, bytes: coveredBytes } = segment
    const path = `${folder}/${segmentFileName(baseOffset, '.txnindex')}`
    const bytes = index.encode({ baseOffset, coveredEnd, coveredBytes })
    if (!replaceListed(this.#context, this.#unsynced, path, bytes)) return false
    index.isDirty = false
    return true
  }
}

/** Sorts, and cuts where there are more than `countMax`, though not at or before `from`: the reader must come on. */
export function cutTo(
  found: AbortedEntry[],
  { from, end, countMax }: { readonly from: number; readonly end: number; readonly countMax: number },
): AbortedAnswer {
  found.sort((left, right) => left.firstOffset - right.firstOffset)
  let count = Math.min(found.length, countMax)
  while (count < found.length && found[count]!.firstOffset <= from) count++
  if (count === found.length) return { entries: found, endOffset: end }
  return { entries: found.slice(0, count), endOffset: found[count]!.firstOffset }
}
