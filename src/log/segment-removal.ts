/**
 * How a segment's files leave the folder while the shard runs: the log by a rename, so that unlinking it, which takes time for a big
 * file, is somebody else's and readers that hold its descriptor go on; the small files at once.
 *
 * Failure  a crash in between: recovery knows the suffix, and what a checkpoint or a swap says may go
 */
import type { LogContext } from './log-context.ts'
import { removeIfThere } from './producer-snapshots.ts'
import { DELETED_SUFFIX, SEGMENT_SUFFIXES, type Segment, segmentFileName } from './segment.ts'

/** No descriptor or index of the segment is kept; pinned ones close at their release. */
export function forgetSegment(context: LogContext, folder: string, segment: Segment): void {
  context.indexes.delete(segment.key)
  context.aborted.delete(segment.key)
  context.openFiles.evict(`${folder}/${segmentFileName(segment.baseOffset, '.log')}`)
}

export function removeIndexFiles(context: LogContext, folder: string, segment: Segment): void {
  for (const suffix of SEGMENT_SUFFIXES) {
    if (suffix !== '.log') removeIfThere(context, `${folder}/${segmentFileName(segment.baseOffset, suffix)}`)
  }
}

/** Renames the log aside; returns its new path, to be removed. */
export function setSegmentAside(context: LogContext, folder: string, segment: Segment): string {
  const path = `${folder}/${segmentFileName(segment.baseOffset, '.log')}`
  forgetSegment(context, folder, segment)
  removeIndexFiles(context, folder, segment)
  context.files.rename(path, path + DELETED_SUFFIX)
  return path + DELETED_SUFFIX
}
