/**
 * The aborted transactions of a whole log, from its batches: for when a file that should tell of them is missing or damaged. A walk over
 * all headers from the log's start: where a transaction began before that, it counts from its first batch that is still there.
 *
 * Thread   recovery's pool; the shard too, should a file have gone bad since: it is rare, and nothing may be read before
 */
import type { FileSystem } from '../io/file-system.ts'
import { AbortedIndex } from './aborted-index.ts'
import { markerOf, OpenTransactions } from './open-transactions.ts'
import { segmentFileName } from './segment-names.ts'
import { scanBatches } from './segment-scan.ts'

export interface RebuiltSegment {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly bytes: number
}

/** One index for each segment, in their order. */
export function rebuildAborted(files: FileSystem, folder: string, segments: readonly RebuiltSegment[]): AbortedIndex[] {
  const transactions = new OpenTransactions()
  return segments.map(({ baseOffset, nextOffset, bytes }) => {
    const index = new AbortedIndex()
    const fd = files.open(`${folder}/${segmentFileName(baseOffset, '.log')}`, 'read')
    try {
      scanBatches(files, fd, { from: 0, to: bytes }, (batch) => {
        if (batch.producerId < 0) return true
        const aborted = transactions.replay(batch, markerOf(batch))
        if (aborted !== undefined) index.add(aborted)
        return true
      })
    } finally {
      files.close(fd)
    }
    index.stableOffset = Math.min(transactions.firstOpenOffset, nextOffset)
    return index
  })
}
