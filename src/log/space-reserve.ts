/**
 * SpaceReserve: a file of zeros that is given up where a start finds the disk full (R8): lock, identity, metadata and
 * recovery write a few small files before anything can be read again, and whoever filled the disk left no room for them.
 *
 * Thread      the pool, at start and stop only
 * Ordering    given up before the lock is taken, unless a living process holds it; made again at the end of a recovery or a stop
 *             that found room
 * Failure     never: without a reserve a start on a full disk says ENOSPC
 * Not here    refusing produce before the disk is full (worker/space-probe.ts)
 */
import { type FileSystem, StorageError } from '../io/file-system.ts'
import { removeIfPresent } from './durable-file.ts'

export const RESERVE_FILE = 'reserve'
export const RESERVE_BYTES = 4 * 1024 * 1024
/** Made only where so much is free: a reserve must not be what fills the disk. */
const FREE_BYTES_MIN = 4 * RESERVE_BYTES

/** Gives the reserve up if less than its size is free. */
export function giveUpReserve(files: FileSystem, dataDir: string): void {
  if (files.stat(`${dataDir}/${RESERVE_FILE}`).kind !== 'file' || files.freeBytes(dataDir) >= RESERVE_BYTES) return
  removeIfPresent(files, `${dataDir}/${RESERVE_FILE}`)
}

/** Makes the reserve if it is not there and there is room. */
export function keepReserve(files: FileSystem, dataDir: string): void {
  const path = `${dataDir}/${RESERVE_FILE}`
  const found = files.stat(path)
  if ((found.kind === 'file' && found.bytes >= RESERVE_BYTES) || files.freeBytes(dataDir) < FREE_BYTES_MIN) return
  try {
    const fd = files.open(path, 'create')
    try {
      files.allocate(fd, RESERVE_BYTES)
      files.fsync(fd)
    } finally {
      files.close(fd)
    }
  } catch (error) {
    if (!(error instanceof StorageError)) throw error
    if (error.isSpace) removeIfPresent(files, path)
    else throw error
  }
}
