/** Writes the bounds of what is synced, before what they cover is acknowledged. */
import { StorageError } from '../io/file-system.ts'
import type { SyncedEndsFile } from '../log/synced-ends-file.ts'

/** Without space the old bounds stand: they are lower, and so still true. */
export function writeBounds(syncedEnds: SyncedEndsFile): void {
  try {
    syncedEnds.write()
  } catch (error) {
    if (!(error instanceof StorageError && error.isSpace)) throw error
  }
}
