/**
 * DurableFiles: the port through which the embedded metadata store keeps its files: one folder, whole-file replace and
 * append. Asynchronous, because it is used on the main thread; metadata is written rarely.
 *
 * Makes       node-durable-files (real), memory-durable-files in tests (forgets what was not synced)
 * Failure     rejects with an Error that has the system's `code`; after a failed append the file is not used again until open() has cut
 *             it. ENOSPC and EDQUOT of append() mean that the write found no room; a sync that failed has another code, whatever its cause
 */

export interface DurableFile {
  /** Writes at `position` and makes it durable (fdatasync) before it resolves. */
  append(position: number, bytes: Uint8Array): Promise<void>
  close(): Promise<void>
}

export interface DurableFiles {
  /** Names in the folder, which is made when it is missing. */
  list(): Promise<string[]>
  read(name: string): Promise<Uint8Array>
  /** Opens an existing file, cut to `bytes`: its name and all that read() gave of it are durable then, whoever wrote it. */
  open(name: string, bytes: number): Promise<DurableFile>
  /** Makes a file of this content appear whole and durable: temporary name, fsync, rename, fsync of the folder. */
  writeWhole(name: string, bytes: Uint8Array): Promise<void>
  remove(name: string): Promise<void>
}
