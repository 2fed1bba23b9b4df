/**
 * AbortedIndex: the aborted transactions whose markers lie in one segment, in marker order: `<base offset>.txnindex`.
 *
 * Rule        of a partition where a transaction was ever aborted, every closed segment that ends past that first marker has its file, be it
 *             without an entry, and so has the active one if a marker with an entry lies in it. AbortedMarks says so durably, so a file
 *             that is missing is noticed, and made again from the log (aborted-rebuild.ts)
 * Invariants  AI1 entries ascend in lastOffset; lastOffset lies in the segment, firstOffset may lie in an earlier one
 * Limits      ABORTED_PER_SEGMENT_MAX: the segment is rolled then
 * Format      format.md, "Aborted index"
 */
import { assert } from '../base/assert.ts'
import { readSafeInt64, writeSafeInt64 } from '../base/bytes.ts'
import { type Fd, type FileSystem, StorageError } from '../io/file-system.ts'
import {
  type CheckedAnswer,
  type CheckedFileKind,
  decodeChecked,
  newChecked,
  readChecked,
  sealChecked,
  writeWholeFile,
} from './checked-file.ts'
import type { AbortedEntry } from './open-transactions.ts'
import { segmentFileName } from './segment-names.ts'

/** Entries after which the active segment is rolled: its file is written whole, and read whole. */
export const ABORTED_PER_SEGMENT_MAX = 65_536

/** What a partition, or a producer snapshot of it, knows of its aborted transactions. */
export interface AbortedMarks {
  /** Marker of the first one ever; -1 = none. */
  readonly first: number
  /** Marker of the newest one, or some offset below the active segment when that has none; -1 = none. */
  readonly last: number
}

export const NOTHING_ABORTED: AbortedMarks = { first: -1, last: -1 }

// Meta:
// |   0 |    8 | baseOffset   | i64; of the segment
// |   8 |    8 | coveredEnd   | i64; every marker of the segment below it was looked at
// |  16 |    8 | coveredBytes | i64; log bytes up to there
// |  24 |    8 | stableOffset | i64; first offset of what was open there, or coveredEnd
export const ABORTED_INDEX_BASE_AT = 0
export const ABORTED_INDEX_END_AT = ABORTED_INDEX_BASE_AT + 8
export const ABORTED_INDEX_COVERED_AT = ABORTED_INDEX_END_AT + 8
export const ABORTED_INDEX_STABLE_AT = ABORTED_INDEX_COVERED_AT + 8
export const ABORTED_INDEX_META_BYTES = ABORTED_INDEX_STABLE_AT + 8
// Entry:
// |   0 |    8 | producerId       | i64
// |   8 |    8 | firstOffset      | i64
// |  16 |    8 | lastOffset       | i64; of the marker
// |  24 |    8 | lastStableOffset | i64; first offset of what was open behind the marker, or the offset after it
export const ABORTED_ENTRY_PRODUCER_ID_AT = 0
export const ABORTED_ENTRY_FIRST_AT = ABORTED_ENTRY_PRODUCER_ID_AT + 8
export const ABORTED_ENTRY_LAST_AT = ABORTED_ENTRY_FIRST_AT + 8
export const ABORTED_ENTRY_STABLE_AT = ABORTED_ENTRY_LAST_AT + 8
export const ABORTED_ENTRY_BYTES = ABORTED_ENTRY_STABLE_AT + 8
assert(ABORTED_INDEX_META_BYTES === 32 && ABORTED_ENTRY_BYTES === 32, 'aborted index layout changed: bump its version')

export const ABORTED_INDEX_FILE: CheckedFileKind = {
  name: 'aborted index',
  magic: 'MRTX',
  version: 1,
  metaBytes: ABORTED_INDEX_META_BYTES,
  entryBytes: ABORTED_ENTRY_BYTES,
}

/** Of an index in memory. */
const MEMORY_BYTES = 100

export interface AbortedIndexMeta {
  readonly baseOffset: number
  readonly coveredEnd: number
  readonly coveredBytes: number
}

export class AbortedIndex {
  #entries: AbortedEntry[] = []
  /** No transaction that ended past the segment began below it; of a segment that takes writes it says nothing. */
  stableOffset = 0
  /** Not in the file yet, or the file has more. */
  isDirty = false

  get entries(): readonly AbortedEntry[] {
    return this.#entries
  }

  get count(): number {
    return this.#entries.length
  }

  get memoryBytes(): number {
    return MEMORY_BYTES + 64 * this.#entries.length
  }

  /** Marker of the newest one; -1 = there is none. */
  get lastMarker(): number {
    return this.#entries[this.#entries.length - 1]?.lastOffset ?? -1
  }

  add(entry: AbortedEntry): void {
    assert(entry.lastOffset > this.lastMarker, 'AI1: aborted transactions are noted in the order of their markers')
    this.#entries.push(entry)
    this.isDirty = true
  }

  /** Takes out those whose marker is at or past `offset`. */
  truncateTo(offset: number): void {
    while (this.lastMarker >= offset) this.#entries.pop()
    this.isDirty = true
  }

  /** Adds to `found` what overlaps [from, end). True: nothing behind the last entry looked at does. */
  collect(from: number, end: number, found: AbortedEntry[]): boolean {
    for (let at = this.#firstAt(from); at < this.#entries.length; at++) {
      const entry = this.#entries[at]!
      if (entry.firstOffset < end) found.push(entry)
      if (entry.lastStableOffset >= end) return true
    }
    return false
  }

  encode(meta: AbortedIndexMeta): Uint8Array {
    const { view, metaAt, entriesAt, ...rest } = newChecked(ABORTED_INDEX_FILE, this.count)
    writeSafeInt64(view, metaAt + ABORTED_INDEX_BASE_AT, meta.baseOffset)
    writeSafeInt64(view, metaAt + ABORTED_INDEX_END_AT, meta.coveredEnd)
    writeSafeInt64(view, metaAt + ABORTED_INDEX_COVERED_AT, meta.coveredBytes)
    writeSafeInt64(view, metaAt + ABORTED_INDEX_STABLE_AT, this.stableOffset)
    let at = entriesAt
    for (const { producerId, firstOffset, lastOffset, lastStableOffset } of this.#entries) {
      writeSafeInt64(view, at + ABORTED_ENTRY_PRODUCER_ID_AT, producerId)
      writeSafeInt64(view, at + ABORTED_ENTRY_FIRST_AT, firstOffset)
      writeSafeInt64(view, at + ABORTED_ENTRY_LAST_AT, lastOffset)
      writeSafeInt64(view, at + ABORTED_ENTRY_STABLE_AT, lastStableOffset)
      at += ABORTED_ENTRY_BYTES
    }
    return sealChecked({ view, metaAt, entriesAt, ...rest })
  }

  static decode(this: void, bytes: Uint8Array): CheckedAnswer<{ index: AbortedIndex; meta: AbortedIndexMeta }> {
    const content = decodeChecked(ABORTED_INDEX_FILE, bytes)
    if (content.kind === 'unreadable') return content
    const { view, metaAt, entryCount } = content
    const meta = {
      baseOffset: readSafeInt64(view, metaAt + ABORTED_INDEX_BASE_AT),
      coveredEnd: readSafeInt64(view, metaAt + ABORTED_INDEX_END_AT),
      coveredBytes: readSafeInt64(view, metaAt + ABORTED_INDEX_COVERED_AT),
    }
    const index = new AbortedIndex()
    index.stableOffset = readSafeInt64(view, metaAt + ABORTED_INDEX_STABLE_AT)
    let at = content.entriesAt
    for (let left = entryCount; left > 0; left--, at += ABORTED_ENTRY_BYTES) {
      const entry = {
        producerId: readSafeInt64(view, at + ABORTED_ENTRY_PRODUCER_ID_AT),
        firstOffset: readSafeInt64(view, at + ABORTED_ENTRY_FIRST_AT),
        lastOffset: readSafeInt64(view, at + ABORTED_ENTRY_LAST_AT),
        lastStableOffset: readSafeInt64(view, at + ABORTED_ENTRY_STABLE_AT),
      }
      if (!(entry.lastOffset > index.lastMarker) || !(entry.firstOffset <= entry.lastOffset))
        return {
          kind: 'unreadable',
          reason: `aborted index: the entry with its marker at ${entry.lastOffset} is not possible`,
        }
      index.#entries.push(entry)
    }
    return { kind: 'present', value: { index, meta } }
  }

  /** The first entry whose marker is at or past `offset`. */
  #firstAt(offset: number): number {
    let low = 0
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#entries[middle]!.lastOffset < offset) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** What a file must be to count. */
export interface AbortedIndexNeed {
  readonly baseOffset: number
  /** It must have looked at what lies below. */
  readonly coveredEnd: number
  /** Size of the log, of a closed segment; -1: the segment may have grown or may have been cut since. */
  readonly coveredBytes: number
}

/** Reads the file of a segment; one that is not what is needed, or lies where the disk cannot be read, counts as unreadable. */
export function readAbortedIndex(
  files: FileSystem,
  folder: string,
  need: AbortedIndexNeed,
): CheckedAnswer<AbortedIndex> {
  const { baseOffset, coveredEnd, coveredBytes } = need
  const answer = readFile(files, `${folder}/${segmentFileName(baseOffset, '.txnindex')}`)
  if (answer.kind !== 'present') return answer
  const { index, meta } = answer.value
  const fits =
    meta.baseOffset === baseOffset &&
    meta.coveredEnd >= coveredEnd &&
    (coveredBytes < 0 || meta.coveredBytes === coveredBytes)
  if (fits) return { kind: 'present', value: index }
  const covered = `[${meta.baseOffset}, ${meta.coveredEnd}), ${meta.coveredBytes} bytes`
  return {
    kind: 'unreadable',
    reason: `aborted index of segment ${baseOffset} covers ${covered}: it is not of this log`,
  }
}

function readFile(files: FileSystem, path: string): ReturnType<typeof AbortedIndex.decode> {
  try {
    return readChecked(files, path, AbortedIndex.decode)
  } catch (error) {
    if (!(error instanceof StorageError) || error.isOpenLimit) throw error
    return { kind: 'unreadable', reason: `aborted index: ${error.code}: ${error.message}` }
  }
}

/** Writes the file of a segment, not synced; the descriptor stays open for whoever syncs it. */
export function writeAbortedIndex(
  files: FileSystem,
  path: string,
  index: AbortedIndex,
  segment: { readonly baseOffset: number; readonly nextOffset: number; readonly bytes: number },
): Fd {
  const meta = { baseOffset: segment.baseOffset, coveredEnd: segment.nextOffset, coveredBytes: segment.bytes }
  return writeWholeFile(files, path, index.encode(meta))
}
