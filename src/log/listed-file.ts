/**
 * Small files that a shard writes whole and that go to the device with its partition's next sync: indexes of aborted transactions,
 * producer snapshots, the cleaner's checkpoint.
 *
 * Thread      the partition's shard; it does not wait for the device
 * Ordering    temporary name -> write -> rename -> listed for the sync: file, then folder. A shard may not wait for the fsync that R4 has
 *             before the rename. So a power cut before the sync is complete leaves the old file, or the new one, or (where the file system
 *             has the name reach the device before the bytes) one whose checksum does not fit; never a name that lacks its file because
 *             the write was cut short. Each of these files can be made again from the log or be done without: the last case costs time, no record
 * Failure     no room, or no descriptor left: false, the old file is as it was; any other StorageError is thrown
 */
import { StorageError } from '../io/file-system.ts'
import { writeWholeFile } from './checked-file.ts'
import { removeIfPresent, TEMPORARY_SUFFIX } from './durable-file.ts'
import type { LogContext } from './log-context.ts'
import type { UnsyncedFiles } from './unsynced-files.ts'

export function replaceListed(context: LogContext, unsynced: UnsyncedFiles, path: string, bytes: Uint8Array): boolean {
  const { files, openFiles } = context
  const temporary = path + TEMPORARY_SUFFIX
  try {
    files.close(writeWholeFile(files, temporary, bytes))
    // The old file's descriptor would be taken for the new one's.
    openFiles.evict(path)
    unsynced.addEntry()
    files.rename(temporary, path)
    unsynced.addFile(openFiles.acquire(path, 'write'))
    return true
  } catch (error) {
    if (!isShortage(error)) throw error
    removeIfPresent(files, temporary)
    return false
  }
}

/** Nothing is wrong with the device: there is no room, or no descriptor, and what can be made again is written later. */
export function isShortage(error: unknown): error is StorageError {
  return error instanceof StorageError && (error.isSpace || error.isOpenLimit)
}
