/**
 * Segment: a range of offsets in one `.log` file: its bounds, and the reading and writing of its index files.
 *
 * Invariants  bytes is the end of the last whole batch; nextOffset is the offset after it; all records have offsets in
 *             [baseOffset, nextOffset) and timestamps <= maxTimestampMs
 * Limits      bytes < 2^32 (index entries are u32), nextOffset - baseOffset <= RELATIVE_OFFSET_MAX
 * Format      format.md "Segment": record batches back to back, no header, no trailer
 * Not here    writing batches: segment-appender.ts; reading them: the shard's page cache
 */
import { type FileSystem, StorageError } from '../io/file-system.ts'
import type { AbortedIndex } from './aborted-index.ts'
import { readChecked, writeWholeFile } from './checked-file.ts'
import { SegmentIndexes } from './index-cache.ts'
import { isShortage } from './listed-file.ts'
import { OffsetIndex } from './offset-index.ts'
import { segmentFileName } from './segment-names.ts'
import { TimeIndex } from './time-index.ts'

export {
  DELETED_SUFFIX,
  parseSegmentFileName,
  SEGMENT_SUFFIXES,
  type SegmentSuffix,
  segmentFileName,
} from './segment-names.ts'

/** Largest offset distance within a segment: index entries and batches hold it as int32. */
export const RELATIVE_OFFSET_MAX = 2 ** 31 - 1
export class Segment {
  readonly baseOffset: number
  /** Names its pages in a page cache; a new one after truncation. */
  key: number
  nextOffset: number
  bytes = 0
  maxTimestampMs = -1
  createdMs: number
  /** Log bytes that the index files cover; 0 = not known, or there are none. */
  indexedBytes = 0
  /** Held by the active segment only; those of closed ones come and go in the IndexCache. */
  indexes: SegmentIndexes | undefined
  /** The aborted transactions whose markers lie in it: as `indexes`; also of a closed one whose file found no room yet. */
  aborted: AbortedIndex | undefined

  constructor(options: { readonly baseOffset: number; readonly key: number; readonly createdMs: number }) {
    this.baseOffset = options.baseOffset
    this.nextOffset = options.baseOffset
    this.key = options.key
    this.createdMs = options.createdMs
  }

  /** Takes in a batch that was written at the end of the file. */
  note(batch: WrittenBatch): void {
    const { baseOffset, nextOffset, maxTimestampMs } = batch
    if (maxTimestampMs > this.maxTimestampMs) this.maxTimestampMs = maxTimestampMs
    if (this.indexes !== undefined) {
      this.indexes.offsets.note(baseOffset - this.baseOffset, this.bytes)
      this.indexes.times.note(this.maxTimestampMs, nextOffset - 1 - this.baseOffset, this.bytes)
    }
    this.bytes += batch.batchBytes
    this.nextOffset = nextOffset
  }
}

export interface WrittenBatch {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly batchBytes: number
  readonly maxTimestampMs: number
}

export type IndexesAnswer =
  | { readonly kind: 'present'; readonly indexes: SegmentIndexes; readonly createdMs: number }
  | { readonly kind: 'absent' }
  | { readonly kind: 'unreadable'; readonly reason: string }

/** Reads both index files of the segment at `baseOffset`, whose log has `logBytes`. A stale one counts as unreadable. */
export function readIndexes(files: FileSystem, folder: string, baseOffset: number, logBytes: number): IndexesAnswer {
  try {
    return readBoth(files, folder, baseOffset, logBytes)
  } catch (error) {
    // A place on the disk that cannot be read costs lookups time, no more. Without descriptors nothing is known of it.
    if (!(error instanceof StorageError) || error.isOpenLimit) throw error
    return { kind: 'unreadable', reason: `indexes of segment ${baseOffset}: ${error.code}: ${error.message}` }
  }
}

function readBoth(files: FileSystem, folder: string, baseOffset: number, logBytes: number): IndexesAnswer {
  const offsets = readChecked(files, `${folder}/${segmentFileName(baseOffset, '.index')}`, OffsetIndex.decode)
  if (offsets.kind !== 'present') return offsets
  const times = readChecked(files, `${folder}/${segmentFileName(baseOffset, '.timeindex')}`, TimeIndex.decode)
  if (times.kind !== 'present') return times
  const covered = Math.max(offsets.value.meta.coveredBytes, times.value.meta.coveredBytes)
  if (offsets.value.meta.baseOffset !== baseOffset || times.value.meta.baseOffset !== baseOffset) {
    return { kind: 'unreadable', reason: `indexes of segment ${baseOffset} are those of another one` }
  }
  if (!(covered <= logBytes)) {
    return {
      kind: 'unreadable',
      reason: `indexes of segment ${baseOffset} cover ${covered} of ${logBytes} bytes: stale`,
    }
  }
  const indexes = new SegmentIndexes(offsets.value.index, times.value.index)
  return { kind: 'present', indexes, createdMs: offsets.value.meta.createdMs }
}

/**
 * Writes both index files, not synced: they can be made again from the log. When there is no space, or no descriptor, they are left
 * out: older ones may be there, which cover less. Returns whether they are as they should be.
 */
export function writeIndexes(files: FileSystem, folder: string, segment: Segment, indexes: SegmentIndexes): boolean {
  const meta = { baseOffset: segment.baseOffset, coveredBytes: segment.bytes }
  const index = indexes.offsets.encode({ ...meta, createdMs: segment.createdMs })
  const times = indexes.times.encode({ ...meta, maxTimestampMs: segment.maxTimestampMs })
  try {
    files.close(writeWholeFile(files, `${folder}/${segmentFileName(segment.baseOffset, '.index')}`, index))
    files.close(writeWholeFile(files, `${folder}/${segmentFileName(segment.baseOffset, '.timeindex')}`, times))
    segment.indexedBytes = segment.bytes
    return true
  } catch (error) {
    if (!isShortage(error)) throw error
    return false
  }
}
