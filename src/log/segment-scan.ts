/**
 * A walk over the batch headers of a segment file, block by block, and the indexes rebuilt from it. Reads the device:
 * for the pool (index repair, recovery) and for truncation, never for a lookup.
 *
 * Failure  a header that is none ends the walk: the answer says where; storage faults are thrown
 */
import type { Fd, FileSystem } from '../io/file-system.ts'
import { BATCH_HEADER_BYTES, batchBytesAt, MAGIC } from '../record/batch-layout.ts'
import { BatchView } from '../record/batch-view.ts'
import { SegmentIndexes } from './index-cache.ts'
import { Segment, segmentFileName, writeIndexes } from './segment.ts'

const BLOCK_BYTES = 64 * 1024

/**
 * Shows every batch header in [from, to) of the file; `visit` answers false to stop at a batch. Returns where the walk
 * ended: `to` if all was shown. Only the header of `batch` can be read; a control batch is there as a whole.
 */
export function scanBatches(
  files: FileSystem,
  fd: Fd,
  range: { readonly from: number; readonly to: number },
  visit: (batch: BatchView, filePosition: number) => boolean,
): number {
  const block = new Uint8Array(Math.min(BLOCK_BYTES, Math.max(0, range.to - range.from)))
  const batch = new BatchView()
  let blockAt = range.from
  let blockEnd = range.from
  let position = range.from
  while (position + BATCH_HEADER_BYTES <= range.to) {
    if (position + BATCH_HEADER_BYTES > blockEnd) {
      blockAt = position
      blockEnd = position + readBlock(files, fd, block, position)
      if (position + BATCH_HEADER_BYTES > blockEnd) return position
    }
    const batchBytes = batchBytesAt(block, position - blockAt, blockEnd - blockAt)
    if (batchBytes < 0 || position + batchBytes > range.to) return position
    batch.reset(block, position - blockAt)
    if (batch.isControl && position + batchBytes > blockEnd) {
      blockAt = position
      blockEnd = position + readBlock(files, fd, block, position)
      if (position + batchBytes > blockEnd) return position
      batch.reset(block, 0)
    }
    if (batch.magic !== MAGIC || !visit(batch, position)) return position
    position += batchBytes
  }
  return position
}

/** Rebuilds both index files of a segment from the first `logBytes` of its log. Returns whether they could be written. */
export function rebuildIndexes(
  files: FileSystem,
  folder: string,
  facts: { readonly baseOffset: number; readonly logBytes: number; readonly createdMs: number },
): boolean {
  const segment = new Segment({ baseOffset: facts.baseOffset, key: 0, createdMs: facts.createdMs })
  segment.indexes = new SegmentIndexes()
  const fd = files.open(`${folder}/${segmentFileName(facts.baseOffset, '.log')}`, 'read')
  try {
    scanBatches(files, fd, { from: 0, to: facts.logBytes }, (batch) => {
      segment.note({
        baseOffset: batch.baseOffset,
        nextOffset: batch.nextOffset,
        batchBytes: batch.sizeInBytes,
        maxTimestampMs: batch.maxTimestamp,
      })
      return true
    })
  } finally {
    files.close(fd)
  }
  return writeIndexes(files, folder, segment, segment.indexes)
}

function readBlock(files: FileSystem, fd: Fd, block: Uint8Array, position: number): number {
  let filled = 0
  while (filled < block.length) {
    const count = files.read(fd, block.subarray(filled), position + filled)
    if (count === 0) break
    filled += count
  }
  return filled
}
