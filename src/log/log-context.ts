/** LogContext: what the logs of one shard share. Made once a shard, by its composition root. */
import type { Clock } from '../base/clock.ts'
import type { Fd, FileSystem } from '../io/file-system.ts'
import type { AbortedIndex } from './aborted-index.ts'
import { IndexCache } from './index-cache.ts'
import { OpenFileCache } from './open-file-cache.ts'

export interface LogContext {
  readonly files: FileSystem
  readonly clock: Clock
  readonly dataDir: string
  /** Active segments are pinned in it, others come and go. */
  readonly openFiles: OpenFileCache
  readonly indexes: IndexCache
  /** Aborted transactions of closed segments. */
  readonly aborted: IndexCache<AbortedIndex>
  /** Keys of segments, unique in the shard: a page cache names pages by them. */
  readonly segmentKeys: { next: number }
  /** Folders made in the data dir, and how many of them its last sync made durable; the descriptor that a sync has listed. */
  readonly dataDirEntries: { made: number; synced: number; listedFd: Fd }
}

export interface LogContextOptions {
  readonly files: FileSystem
  readonly clock: Clock
  readonly dataDir: string
  /** Descriptors kept when nothing pins them. */
  readonly filesOpenMax?: number
  /** Memory for indexes of closed segments. */
  readonly indexBytesMax?: number
}

const FILES_OPEN_MAX = 1000
const INDEX_BYTES_MAX = 16 * 1024 * 1024
/** Two segments' worth at their fullest. */
const ABORTED_BYTES_MAX = 8 * 1024 * 1024

export function createLogContext(options: LogContextOptions): LogContext {
  return {
    files: options.files,
    clock: options.clock,
    dataDir: options.dataDir,
    openFiles: new OpenFileCache(options.files, { filesOpenMax: options.filesOpenMax ?? FILES_OPEN_MAX }),
    indexes: new IndexCache({ bytesMax: options.indexBytesMax ?? INDEX_BYTES_MAX }),
    aborted: new IndexCache({ bytesMax: ABORTED_BYTES_MAX }),
    segmentKeys: { next: 1 },
    dataDirEntries: { made: 0, synced: 0, listedFd: -1 },
  }
}
