/**
 * LogLocator: from an offset or a time to a place in a segment file, without a look at the log.
 *
 * Owns        exact places of the tail's batches, a few places readers came by, and which index files were found wanting
 * Invariants  I14 a place is that of the batch that a linear scan would find, or of one before it in the same segment
 *             checked in: test/unit/log/partition-log.model.test.ts
 * Failure     an index that is missing or bad is an empty one: places then begin at the segment's start, and the segment is on
 *             the list of takeIndexFaults() for the pool to rebuild (segment-scan.ts)
 */

import { SegmentIndexes } from './index-cache.ts'
import type { LogContext } from './log-context.ts'
import { INDEX_INTERVAL_BYTES } from './offset-index.ts'
import { RecentBatches } from './recent-batches.ts'
import { readIndexes, Segment } from './segment.ts'
import type { SegmentList } from './segment-list.ts'

/**
 * found         `segment` holds `offset`. A batch begins at `filePosition`: the one with `offset` when `exact`, else one before it.
 *               Whole batches below maxOffset end at `fileEnd` when `endExact`; else they end at or before it
 * at-end        no record below maxOffset is at or past `offset` yet
 * out-of-range  below logStartOffset, or past logEndOffset
 */
export interface Location {
  kind: 'found' | 'at-end' | 'out-of-range'
  segment: Segment
  filePosition: number
  fileEnd: number
  exact: boolean
  endExact: boolean
}

const HINTS = 8

export class LogLocator {
  readonly #context: LogContext
  readonly #segments: SegmentList
  #recent: RecentBatches | undefined
  #hintOffsets: Float64Array | undefined
  #hintPositions: Uint32Array | undefined
  #hintNext = 0
  #indexFaults: Set<number> | undefined

  constructor(context: LogContext, segments: SegmentList) {
    this.#context = context
    this.#segments = segments
  }

  /** A batch was written. */
  note(baseOffset: number, filePosition: number): void {
    this.#recent ??= new RecentBatches()
    this.#recent.note(baseOffset, filePosition)
  }

  /** A reader found that a batch begins with `offset` at `filePosition` of the segment that holds it. */
  remember(offset: number, filePosition: number): void {
    if (this.#hintOffsets === undefined || this.#hintPositions === undefined) {
      this.#hintOffsets = new Float64Array(HINTS).fill(-1)
      this.#hintPositions = new Uint32Array(HINTS)
    }
    this.#hintOffsets[this.#hintNext] = offset
    this.#hintPositions[this.#hintNext] = filePosition
    this.#hintNext = (this.#hintNext + 1) % HINTS
  }

  /** Forgets the places of batches at or past `offset`. */
  truncateTo(offset: number): void {
    this.#recent?.truncateTo(offset)
    this.#forgetHints()
  }

  /** Forgets the places of batches before `offset`: they lie elsewhere now. */
  forgetBefore(offset: number): void {
    this.#recent?.forgetBefore(offset)
    this.#forgetHints()
  }

  /** Gives back what only a partition in use needs. */
  relax(): void {
    this.#recent = undefined
    this.#forgetHints()
  }

  #forgetHints(): void {
    this.#hintOffsets = undefined
    this.#hintPositions = undefined
    this.#hintNext = 0
  }

  locate(folder: string, offset: number, endOffset: number): Readonly<Location> {
    const segment = offset < endOffset ? this.#segments.find(offset) : undefined
    if (segment === undefined || segment.baseOffset >= endOffset) return locationOf('at-end')
    this.#place(folder, segment, Math.max(offset, segment.baseOffset))
    this.#placeEnd(folder, segment, endOffset)
    return location
  }

  locateTime(folder: string, timestampMs: number, startOffset: number, endOffset: number): Readonly<Location> {
    for (const segment of this.#segments.all) {
      if (segment.baseOffset >= endOffset) break
      if (segment.maxTimestampMs < timestampMs || segment.nextOffset <= startOffset) continue
      const first = this.indexesOf(folder, segment).times.startOf(timestampMs) + segment.baseOffset
      const offset = Math.max(first, startOffset)
      // Its largest timestamp lies below startOffset or past the end: the next segment may still have one.
      if (offset >= segment.nextOffset || offset >= endOffset) continue
      this.#place(folder, segment, offset)
      this.#placeEnd(folder, segment, endOffset)
      return location
    }
    return locationOf('at-end')
  }

  /** Base offsets of segments whose indexes were missing or bad, each told once. */
  takeIndexFaults(): number[] {
    const faults = [...(this.#indexFaults ?? [])]
    this.#indexFaults = undefined
    return faults
  }

  /** The active segment keeps its indexes itself: they come from cache or file, and leave the cache. */
  activate(folder: string, segment: Segment): SegmentIndexes {
    segment.indexes ??= this.indexesOf(folder, segment)
    this.#context.indexes.delete(segment.key)
    return segment.indexes
  }

  indexesOf(folder: string, segment: Segment): SegmentIndexes {
    const held = segment.indexes ?? this.#context.indexes.get(segment.key)
    if (held !== undefined) return held
    // Not one entry yet: there need not be a file.
    if (segment.bytes <= INDEX_INTERVAL_BYTES) return new SegmentIndexes()
    const read = readIndexes(this.#context.files, folder, segment.baseOffset, segment.bytes)
    const indexes = read.kind === 'present' ? read.indexes : new SegmentIndexes()
    if (read.kind !== 'present') {
      this.#indexFaults ??= new Set()
      this.#indexFaults.add(segment.baseOffset)
    }
    this.#context.indexes.put(segment.key, indexes)
    return indexes
  }

  #place(folder: string, segment: Segment, offset: number): void {
    locationOf('found', segment)
    location.exact = true
    if (offset === segment.baseOffset) return
    const recent = this.#recent?.filePositionOf(offset) ?? -1
    if (recent >= 0) {
      location.filePosition = recent
      return
    }
    const hint = this.#hintOffsets?.indexOf(offset) ?? -1
    if (hint >= 0) {
      location.filePosition = this.#hintPositions![hint]!
      return
    }
    const { offsets } = this.indexesOf(folder, segment)
    const entry = offsets.floor(offset - segment.baseOffset)
    location.filePosition = offsets.filePositionAt(entry)
    location.exact = offsets.relativeOffsetAt(entry) === offset - segment.baseOffset
  }

  #placeEnd(folder: string, segment: Segment, endOffset: number): void {
    location.endExact = true
    location.fileEnd = segment.bytes
    if (segment.nextOffset <= endOffset) return
    const recent = this.#recent?.filePositionOf(endOffset) ?? -1
    if (recent >= 0) {
      location.fileEnd = recent
      return
    }
    const { offsets } = this.indexesOf(folder, segment)
    const entry = offsets.floor(endOffset - segment.baseOffset)
    if (entry >= 0 && offsets.relativeOffsetAt(entry) === endOffset - segment.baseOffset) {
      location.fileEnd = offsets.filePositionAt(entry)
      return
    }
    if (entry + 1 < offsets.count) location.fileEnd = offsets.filePositionAt(entry + 1)
    location.endExact = false
  }
}

const NO_SEGMENT = new Segment({ baseOffset: -1, key: 0, createdMs: 0 })

/** The one answer, used again by each call. */
const location: Location = {
  kind: 'at-end',
  segment: NO_SEGMENT,
  filePosition: 0,
  fileEnd: 0,
  exact: false,
  endExact: false,
}

export function locationOf(kind: Location['kind'], segment: Segment = NO_SEGMENT): Readonly<Location> {
  location.kind = kind
  location.segment = segment
  location.filePosition = 0
  location.fileEnd = 0
  location.exact = false
  location.endExact = false
  return location
}
