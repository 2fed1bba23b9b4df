/**
 * The file `leader-epochs` of a partition: appended to when an epoch begins, cut when the log is truncated.
 *
 * Ordering    entries are written by the checkpoint whose recovery point comes to lie past them, and synced with it: what lies
 *             behind the recovery point is rebuilt from the batches' headers, so an append makes no file and holds no descriptor
 * Failure     a failed append is cut off again, and the error thrown
 */
import { writeFully } from './durable-file.ts'
import {
  encodeLeaderEpochs,
  LEADER_EPOCH_ENTRY_BYTES,
  LEADER_EPOCHS_FILE,
  LEADER_EPOCHS_HEADER_BYTES,
  type LeaderEpochCache,
} from './leader-epoch-cache.ts'
import type { LogContext } from './log-context.ts'
import type { UnsyncedFiles } from './unsynced-files.ts'

/** Appends the entries of epochs after `fileEpoch`, the last one in the file. */
export function appendLeaderEpochs(
  context: LogContext,
  folder: string,
  options: { readonly epochs: LeaderEpochCache; readonly fileEpoch: number; readonly unsynced: UnsyncedFiles },
): void {
  const { epochs, fileEpoch, unsynced } = options
  const entries = epochs.toEntries()
  const missing = entries.filter(([epoch]) => epoch > fileEpoch)
  if (missing.length === 0) return
  const { files, openFiles } = context
  const path = `${folder}/${LEADER_EPOCHS_FILE}`
  const fd = openFiles.acquire(path, 'create')
  const size = files.sizeOf(fd)
  const isNew = size < LEADER_EPOCHS_HEADER_BYTES
  const end = isNew ? 0 : size - ((size - LEADER_EPOCHS_HEADER_BYTES) % LEADER_EPOCH_ENTRY_BYTES)
  const bytes = isNew ? encodeLeaderEpochs(entries) : encodeLeaderEpochs(missing).subarray(LEADER_EPOCHS_HEADER_BYTES)
  try {
    writeFully(files, fd, [bytes], end)
  } catch (error) {
    files.truncate(fd, end)
    openFiles.release(fd)
    throw error
  }
  if (isNew) unsynced.addEntry()
  unsynced.addFile(fd)
}

/** Cuts the last `count` entries off. */
export function dropLeaderEpochs(context: LogContext, folder: string, count: number, unsynced: UnsyncedFiles): void {
  if (count === 0) return
  const { files, openFiles } = context
  const fd = openFiles.acquire(`${folder}/${LEADER_EPOCHS_FILE}`, 'create')
  const end = files.sizeOf(fd) - count * LEADER_EPOCH_ENTRY_BYTES
  files.truncate(fd, Math.max(0, end))
  unsynced.addFile(fd)
}
