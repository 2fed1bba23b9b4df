/**
 * NodeParallelSync: fdatasync in libuv's pool, WIDTH at a time.
 *
 * Why         ext4 (as others) commits a transaction for each file that grew; flushes that wait at the same time share one.
 *             Files of 300 new partitions: one after the other 1.4 to 2.4 s, four at a time 0.1 s (docs/durability-prototypes.md)
 * Thread      any that runs its event loop between begin() and done
 * Limits      WIDTH under way: libuv's pool has four threads for the whole process, and the metadata store syncs there as well
 * Failure     after a first failure nothing more is begun; `done` waits for what is under way, because the descriptors are in use
 */
import { fdatasync } from 'node:fs'
import { type Fd, type FileSystem, type ParallelSync, StorageError, type SyncFailure } from './file-system.ts'

const WIDTH = 4
/** Descriptors of one list open at the same time. */
const OPEN_MAX = 256

export class NodeParallelSync implements ParallelSync {
  begin(fds: readonly Fd[], done: (failure: SyncFailure | undefined) => void): void {
    let next = 0
    let underWay = 0
    let failure: SyncFailure | undefined
    const advance = (): void => {
      while (underWay < WIDTH && next < fds.length && failure === undefined) {
        const fd = fds[next++]!
        underWay++
        fdatasync(fd, (error) => {
          underWay--
          if (error !== null) failure ??= { fd, error: storageError(fd, error) }
          advance()
        })
      }
      if (underWay === 0) done(failure)
    }
    advance()
  }
}

function storageError(fd: Fd, cause: NodeJS.ErrnoException): StorageError {
  return new StorageError(cause.code ?? 'UNKNOWN', `fdatasync fd ${fd} failed: ${cause.message}`, { cause })
}

/** Syncs and closes all that `list` opens. Throws the first failure; then nothing of the list may be relied on. */
export async function syncAll(
  files: FileSystem,
  list: { open(files: FileSystem, max: number): Iterable<Fd> },
): Promise<void> {
  const parallel = new NodeParallelSync()
  for (;;) {
    const fds: Fd[] = []
    try {
      for (const fd of list.open(files, OPEN_MAX)) fds.push(fd)
      if (fds.length === 0) return
      const failure = await new Promise<SyncFailure | undefined>((done) => parallel.begin(fds, done))
      if (failure !== undefined) throw failure.error
    } finally {
      for (const fd of fds) files.close(fd)
    }
  }
}
