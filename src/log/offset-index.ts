/**
 * OffsetIndex: sparse map offset -> file position of one segment.
 *
 * Owns        two growing arrays; nothing until the first entry
 * Invariants  entries ascend in both columns; each is true for itself (a batch with this base offset begins at this
 *             position), so any subset of them is a valid index: that is what thinning and truncation use
 * Limits      OFFSET_INDEX_ENTRIES_MAX entries (64 KiB): when full, every other entry goes and the interval doubles. A full
 *             1 GiB segment ends with one entry per 128 to 256 KiB, a partition of 10 MiB costs 5 KiB
 * Format      format.md "Offset index"
 * Not here    batches of the tail, whose places are known exactly: recent-batches.ts
 */
import { assert } from '../base/assert.ts'
import { readSafeInt64, writeSafeInt64 } from '../base/bytes.ts'
import { type CheckedAnswer, type CheckedFileKind, decodeChecked, newChecked, sealChecked } from './checked-file.ts'

/** Log bytes between two entries of a young segment: a quarter of a page, and 0.05 % of the log in memory. */
export const INDEX_INTERVAL_BYTES = 16 * 1024
export const OFFSET_INDEX_ENTRIES_MAX = 8192
const ENTRIES_FIRST = 16

// Meta, after the header of a checked file:
// |  at | size | field        |
// |   0 |    8 | baseOffset   | i64; of the segment
// |   8 |    8 | coveredBytes | i64; log bytes that were looked at: a log shorter than this was cut, the index is stale
// |  16 |    8 | createdMs    | i64; when the segment was begun, wall time
// Entry:
// |   0 |    4 | relativeOffset | u32; base offset of a batch - baseOffset
// |   4 |    4 | filePosition   | u32; where that batch begins
export const OFFSET_INDEX_BASE_AT = 0
export const OFFSET_INDEX_COVERED_AT = OFFSET_INDEX_BASE_AT + 8
export const OFFSET_INDEX_CREATED_AT = OFFSET_INDEX_COVERED_AT + 8
export const OFFSET_INDEX_META_BYTES = OFFSET_INDEX_CREATED_AT + 8
export const OFFSET_ENTRY_RELATIVE_AT = 0
export const OFFSET_ENTRY_POSITION_AT = OFFSET_ENTRY_RELATIVE_AT + 4
export const OFFSET_ENTRY_BYTES = OFFSET_ENTRY_POSITION_AT + 4

export const OFFSET_INDEX_FILE: CheckedFileKind = {
  name: 'offset index',
  magic: 'MROI',
  version: 1,
  metaBytes: OFFSET_INDEX_META_BYTES,
  entryBytes: OFFSET_ENTRY_BYTES,
}
assert(OFFSET_ENTRY_BYTES === 8 && OFFSET_INDEX_META_BYTES === 24, 'offset index layout changed: bump its version')

const NONE = new Uint32Array(0)

export interface OffsetIndexMeta {
  readonly baseOffset: number
  readonly coveredBytes: number
  readonly createdMs: number
}

export class OffsetIndex {
  #relativeOffsets = NONE
  #filePositions = NONE
  #count = 0
  #intervalBytes = INDEX_INTERVAL_BYTES

  get count(): number {
    return this.#count
  }

  get memoryBytes(): number {
    return this.#relativeOffsets.byteLength + this.#filePositions.byteLength
  }

  /** Tells of every batch in turn; keeps one per interval. Position 0 needs no entry. */
  note(relativeOffset: number, filePosition: number): void {
    const last = this.#count === 0 ? 0 : this.#filePositions[this.#count - 1]!
    if (filePosition - last >= this.#intervalBytes) this.#add(relativeOffset, filePosition)
  }

  /** Number of the last entry with relativeOffset <= the given one; -1 = the segment's start is nearer. */
  floor(relativeOffset: number): number {
    let low = 0
    let high = this.#count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#relativeOffsets[middle]! <= relativeOffset) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  relativeOffsetAt(entry: number): number {
    return entry < 0 ? 0 : this.#relativeOffsets[entry]!
  }

  filePositionAt(entry: number): number {
    return entry < 0 ? 0 : this.#filePositions[entry]!
  }

  /** Forgets entries of batches that begin at or past `filePosition`. */
  truncateTo(filePosition: number): void {
    while (this.#count > 0 && this.#filePositions[this.#count - 1]! >= filePosition) this.#count--
  }

  encode(meta: OffsetIndexMeta): Uint8Array {
    const content = newChecked(OFFSET_INDEX_FILE, this.#count)
    writeSafeInt64(content.view, content.metaAt + OFFSET_INDEX_BASE_AT, meta.baseOffset)
    writeSafeInt64(content.view, content.metaAt + OFFSET_INDEX_COVERED_AT, meta.coveredBytes)
    writeSafeInt64(content.view, content.metaAt + OFFSET_INDEX_CREATED_AT, meta.createdMs)
    let at = content.entriesAt
    for (let entry = 0; entry < this.#count; entry++, at += OFFSET_ENTRY_BYTES) {
      content.view.setUint32(at + OFFSET_ENTRY_RELATIVE_AT, this.#relativeOffsets[entry]!)
      content.view.setUint32(at + OFFSET_ENTRY_POSITION_AT, this.#filePositions[entry]!)
    }
    return sealChecked(content)
  }

  static decode(bytes: Uint8Array): CheckedAnswer<{ readonly index: OffsetIndex; readonly meta: OffsetIndexMeta }> {
    const content = decodeChecked(OFFSET_INDEX_FILE, bytes)
    if (content.kind === 'unreadable') return content
    const meta = {
      baseOffset: readSafeInt64(content.view, content.metaAt + OFFSET_INDEX_BASE_AT),
      coveredBytes: readSafeInt64(content.view, content.metaAt + OFFSET_INDEX_COVERED_AT),
      createdMs: readSafeInt64(content.view, content.metaAt + OFFSET_INDEX_CREATED_AT),
    }
    if (content.entryCount > OFFSET_INDEX_ENTRIES_MAX) {
      return { kind: 'unreadable', reason: `offset index: ${content.entryCount} entries are more than it may have` }
    }
    const index = new OffsetIndex()
    let at = content.entriesAt
    let last = -1
    for (let entry = 0; entry < content.entryCount; entry++, at += OFFSET_ENTRY_BYTES) {
      const filePosition = content.view.getUint32(at + OFFSET_ENTRY_POSITION_AT)
      if (filePosition <= last || filePosition >= meta.coveredBytes) {
        return { kind: 'unreadable', reason: `offset index: entry ${entry} is out of order` }
      }
      index.#add(content.view.getUint32(at + OFFSET_ENTRY_RELATIVE_AT), filePosition)
      last = filePosition
    }
    return { kind: 'present', value: { index, meta } }
  }

  #add(relativeOffset: number, filePosition: number): void {
    if (this.#count === OFFSET_INDEX_ENTRIES_MAX) {
      this.#thin()
      if (filePosition - this.#filePositions[this.#count - 1]! < this.#intervalBytes) return
    }
    if (this.#count === this.#relativeOffsets.length) this.#grow()
    this.#relativeOffsets[this.#count] = relativeOffset
    this.#filePositions[this.#count] = filePosition
    this.#count++
  }

  #thin(): void {
    const kept = this.#count >>> 1
    for (let entry = 0; entry < kept; entry++) {
      this.#relativeOffsets[entry] = this.#relativeOffsets[entry * 2 + 1]!
      this.#filePositions[entry] = this.#filePositions[entry * 2 + 1]!
    }
    this.#count = kept
    this.#intervalBytes *= 2
  }

  #grow(): void {
    const length = Math.max(ENTRIES_FIRST, Math.min(OFFSET_INDEX_ENTRIES_MAX, this.#relativeOffsets.length * 2))
    const relativeOffsets = new Uint32Array(length)
    relativeOffsets.set(this.#relativeOffsets)
    const filePositions = new Uint32Array(length)
    filePositions.set(this.#filePositions)
    this.#relativeOffsets = relativeOffsets
    this.#filePositions = filePositions
  }
}
