/**
 * TimeIndex: sparse map of the largest timestamp so far -> offset, of one segment.
 *
 * Invariants  an entry (T, o) says: no record at or before offset o has a timestamp above T. Entries ascend in both columns;
 *             each is true for itself, so any subset is a valid index
 * Limits      TIME_INDEX_ENTRIES_MAX entries (48 KiB); full: every other goes, the interval doubles, as in OffsetIndex
 * Format      format.md "Time index"
 */
import { assert } from '../base/assert.ts'
import { readSafeInt64, writeSafeInt64 } from '../base/bytes.ts'
import { type CheckedAnswer, type CheckedFileKind, decodeChecked, newChecked, sealChecked } from './checked-file.ts'
import { INDEX_INTERVAL_BYTES } from './offset-index.ts'

export const TIME_INDEX_ENTRIES_MAX = 4096
const ENTRIES_FIRST = 16

// Meta, after the header of a checked file:
// |  at | size | field        |
// |   0 |    8 | baseOffset   | i64; of the segment
// |   8 |    8 | coveredBytes | i64; as in the offset index
// |  16 |    8 | maxTimestampMs | i64; of the covered bytes; -1 = none
// Entry:
// |   0 |    8 | timestampMs    | i64
// |   8 |    4 | relativeOffset | u32; a last offset of a batch - baseOffset
export const TIME_INDEX_BASE_AT = 0
export const TIME_INDEX_COVERED_AT = TIME_INDEX_BASE_AT + 8
export const TIME_INDEX_MAX_AT = TIME_INDEX_COVERED_AT + 8
export const TIME_INDEX_META_BYTES = TIME_INDEX_MAX_AT + 8
export const TIME_ENTRY_TIMESTAMP_AT = 0
export const TIME_ENTRY_RELATIVE_AT = TIME_ENTRY_TIMESTAMP_AT + 8
export const TIME_ENTRY_BYTES = TIME_ENTRY_RELATIVE_AT + 4

export const TIME_INDEX_FILE: CheckedFileKind = {
  name: 'time index',
  magic: 'MRTI',
  version: 1,
  metaBytes: TIME_INDEX_META_BYTES,
  entryBytes: TIME_ENTRY_BYTES,
}
assert(TIME_ENTRY_BYTES === 12 && TIME_INDEX_META_BYTES === 24, 'time index layout changed: bump its version')

export interface TimeIndexMeta {
  readonly baseOffset: number
  readonly coveredBytes: number
  readonly maxTimestampMs: number
}

export class TimeIndex {
  #timestamps = new Float64Array(0)
  #relativeOffsets = new Uint32Array(0)
  #count = 0
  #intervalBytes = INDEX_INTERVAL_BYTES
  #lastPosition = 0

  get count(): number {
    return this.#count
  }

  get memoryBytes(): number {
    return this.#timestamps.byteLength + this.#relativeOffsets.byteLength
  }

  /** Relative offset of the last entry, -1 = none; lastTimestampMs is the largest timestamp up to it. */
  get lastOffset(): number {
    return this.#count === 0 ? -1 : this.#relativeOffsets[this.#count - 1]!
  }

  get lastTimestampMs(): number {
    return this.#count === 0 ? -1 : this.#timestamps[this.#count - 1]!
  }

  /** Tells of every batch in turn: the largest timestamp up to its end, its last offset, where it begins. */
  note(maxTimestampMs: number, lastRelativeOffset: number, filePosition: number): void {
    if (filePosition - this.#lastPosition < this.#intervalBytes) return
    this.#lastPosition = filePosition
    this.#add(maxTimestampMs, lastRelativeOffset)
  }

  /** Relative offset before which no record has a timestamp >= `timestampMs`: start looking there. */
  startOf(timestampMs: number): number {
    let low = 0
    let high = this.#count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#timestamps[middle]! < timestampMs) low = middle + 1
      else high = middle
    }
    return low === 0 ? 0 : this.#relativeOffsets[low - 1]! + 1
  }

  /** Forgets entries at or past a relative offset; `filePosition` is the new end of the segment. */
  truncateTo(relativeOffset: number, filePosition: number): void {
    while (this.#count > 0 && this.#relativeOffsets[this.#count - 1]! >= relativeOffset) this.#count--
    this.#lastPosition = Math.min(this.#lastPosition, filePosition)
  }

  encode(meta: TimeIndexMeta): Uint8Array {
    const content = newChecked(TIME_INDEX_FILE, this.#count)
    writeSafeInt64(content.view, content.metaAt + TIME_INDEX_BASE_AT, meta.baseOffset)
    writeSafeInt64(content.view, content.metaAt + TIME_INDEX_COVERED_AT, meta.coveredBytes)
    writeSafeInt64(content.view, content.metaAt + TIME_INDEX_MAX_AT, meta.maxTimestampMs)
    let at = content.entriesAt
    for (let entry = 0; entry < this.#count; entry++, at += TIME_ENTRY_BYTES) {
      writeSafeInt64(content.view, at + TIME_ENTRY_TIMESTAMP_AT, this.#timestamps[entry]!)
      content.view.setUint32(at + TIME_ENTRY_RELATIVE_AT, this.#relativeOffsets[entry]!)
    }
    return sealChecked(content)
  }

  static decode(bytes: Uint8Array): CheckedAnswer<{ readonly index: TimeIndex; readonly meta: TimeIndexMeta }> {
    const content = decodeChecked(TIME_INDEX_FILE, bytes)
    if (content.kind === 'unreadable') return content
    if (content.entryCount > TIME_INDEX_ENTRIES_MAX) {
      return { kind: 'unreadable', reason: `time index: ${content.entryCount} entries are more than it may have` }
    }
    const meta = {
      baseOffset: readSafeInt64(content.view, content.metaAt + TIME_INDEX_BASE_AT),
      coveredBytes: readSafeInt64(content.view, content.metaAt + TIME_INDEX_COVERED_AT),
      maxTimestampMs: readSafeInt64(content.view, content.metaAt + TIME_INDEX_MAX_AT),
    }
    const index = new TimeIndex()
    let at = content.entriesAt
    for (let entry = 0; entry < content.entryCount; entry++, at += TIME_ENTRY_BYTES) {
      const timestampMs = readSafeInt64(content.view, at + TIME_ENTRY_TIMESTAMP_AT)
      const relativeOffset = content.view.getUint32(at + TIME_ENTRY_RELATIVE_AT)
      const last = index.#count - 1
      const ascends =
        last < 0 || (timestampMs > index.#timestamps[last]! && relativeOffset > index.#relativeOffsets[last]!)
      if (!ascends || Number.isNaN(timestampMs)) {
        return { kind: 'unreadable', reason: `time index: entry ${entry} is out of order` }
      }
      index.#add(timestampMs, relativeOffset)
    }
    index.#lastPosition = meta.coveredBytes
    return { kind: 'present', value: { index, meta } }
  }

  #add(timestampMs: number, relativeOffset: number): void {
    if (this.#count > 0 && this.#timestamps[this.#count - 1]! >= timestampMs) {
      // The same maximum holds for longer: the entry says more when it names the later offset.
      this.#relativeOffsets[this.#count - 1] = relativeOffset
      return
    }
    if (this.#count === TIME_INDEX_ENTRIES_MAX) this.#thin()
    if (this.#count === this.#timestamps.length) this.#grow()
    this.#timestamps[this.#count] = timestampMs
    this.#relativeOffsets[this.#count] = relativeOffset
    this.#count++
  }

  #thin(): void {
    const kept = this.#count >>> 1
    for (let entry = 0; entry < kept; entry++) {
      this.#timestamps[entry] = this.#timestamps[entry * 2 + 1]!
      this.#relativeOffsets[entry] = this.#relativeOffsets[entry * 2 + 1]!
    }
    this.#count = kept
    this.#intervalBytes *= 2
  }

  #grow(): void {
    const length = Math.max(ENTRIES_FIRST, Math.min(TIME_INDEX_ENTRIES_MAX, this.#timestamps.length * 2))
    const timestamps = new Float64Array(length)
    timestamps.set(this.#timestamps)
    const relativeOffsets = new Uint32Array(length)
    relativeOffsets.set(this.#relativeOffsets)
    this.#timestamps = timestamps
    this.#relativeOffsets = relativeOffsets
  }
}
