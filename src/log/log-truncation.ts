/**
 * What truncation reads: where exactly a segment is to be cut, and the producer state of what is left. Reads headers from files, so
 * it may wait for the device: a follower that diverged does, a lookup never.
 */
import type { Fd, FileSystem } from '../io/file-system.ts'
import type { SegmentIndexes } from './index-cache.ts'
import { markerOf } from './open-transactions.ts'
import type { ProducerState } from './producer-state.ts'
import type { Segment } from './segment.ts'
import { scanBatches } from './segment-scan.ts'

export interface SegmentCut {
  /** Where the batch that holds the offset begins: the segment's new size. */
  readonly filePosition: number
  readonly nextOffset: number
  readonly maxTimestampMs: number
}

/** Finds the cut before the batch that holds `offset`, which lies in the segment, and takes what is past it out of the indexes. */
export function findCut(
  files: FileSystem,
  fd: Fd,
  options: { readonly segment: Segment; readonly indexes: SegmentIndexes; readonly offset: number },
): SegmentCut {
  const { segment, indexes, offset } = options
  const { offsets, times } = indexes
  times.truncateTo(offset - segment.baseOffset, offsets.filePositionAt(offsets.floor(offset - segment.baseOffset)))
  // Up to there the time index knows the largest timestamp; the headers from there to the cut tell the rest.
  const from = offsets.filePositionAt(offsets.floor(times.lastOffset))
  let nextOffset = segment.baseOffset
  let maxTimestampMs = times.lastTimestampMs
  const filePosition = scanBatches(files, fd, { from, to: segment.bytes }, (batch) => {
    nextOffset = batch.baseOffset
    if (batch.nextOffset > offset) return false
    nextOffset = batch.nextOffset
    if (batch.maxTimestamp > maxTimestampMs) maxTimestampMs = batch.maxTimestamp
    return true
  })
  offsets.truncateTo(filePosition)
  return { filePosition, nextOffset, maxTimestampMs }
}

/** Replays the batches of a segment from `fromOffset` on; the walk begins at `from`, where a batch begins at or before it. */
export function replayProducers(
  files: FileSystem,
  fd: Fd,
  options: {
    readonly state: ProducerState
    readonly from: number
    readonly to: number
    readonly fromOffset: number
    readonly nowMs: number
  },
): void {
  const { state, fromOffset, nowMs } = options
  scanBatches(files, fd, options, (batch) => {
    if (batch.baseOffset >= fromOffset) state.replay(batch, nowMs, markerOf(batch))
    return true
  })
}
