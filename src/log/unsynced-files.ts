/**
 * UnsyncedFiles: what of one partition, besides the active segment, the device may not have yet: closed segments,
 * small files that a checkpoint relies on, and the entries of folders.
 *
 * Owns        pinned descriptors of those, from dirty to synced
 * Invariants  U1 what got dirty after begin() is still dirty after complete(): counts are compared, not flags
 *             U2 a folder's entry counts as durable only after a sync that began after the file was made
 * Not here    who syncs: the disk thread
 */
import { assert } from '../base/assert.ts'
import type { Fd } from '../io/file-system.ts'
import type { LogContext } from './log-context.ts'

export class UnsyncedFiles {
  readonly #context: LogContext
  #fds: Fd[] = []
  #listedFds = 0
  #folderFds: Fd[] = []
  #changes = 0
  #changesListed = 0
  #changesSynced = 0
  #parentIsDirty = false
  #isSyncing = false

  constructor(context: LogContext) {
    this.#context = context
  }

  get isDirty(): boolean {
    return this.#fds.length > 0 || this.#changes !== this.#changesSynced
  }

  get isSyncing(): boolean {
    return this.#isSyncing
  }

  /** A pinned descriptor of the OpenFileCache whose file has to be synced; it is released once it is. */
  addFile(fd: Fd): void {
    this.#fds.push(fd)
  }

  /** An entry of the partition's folder was made. */
  addEntry(): void {
    this.#changes++
  }

  /** The folder itself was made: its entry in the data dir has to be synced too. */
  addFolder(): void {
    this.#changes++
    this.#parentIsDirty = true
  }

  /** Pushes what has to be synced: files first, then the folders that name them. */
  begin(fds: Fd[], folder: string): void {
    assert(!this.#isSyncing, 'a sync of this partition is under way already')
    this.#isSyncing = true
    this.#listedFds = this.#fds.length
    for (const fd of this.#fds) fds.push(fd)
    this.#changesListed = this.#changes
    if (this.#changes === this.#changesSynced) return
    this.#listFolder(fds, folder)
    if (this.#parentIsDirty) this.#listFolder(fds, this.#context.dataDir)
  }

  /** All that begin() pushed is durable. */
  complete(): void {
    if (!this.#isSyncing) return
    this.#isSyncing = false
    for (let index = 0; index < this.#listedFds; index++) this.#context.openFiles.release(this.#fds[index]!)
    this.#fds.splice(0, this.#listedFds)
    if (this.#changesListed !== this.#changesSynced) this.#parentIsDirty = false
    this.#changesSynced = this.#changesListed
    this.#closeFolders()
  }

  /** Gives every descriptor back; what was dirty stays so for whoever recovers. */
  close(): void {
    for (const fd of this.#fds) this.#context.openFiles.release(fd)
    this.#fds.length = 0
    this.#closeFolders()
    this.#isSyncing = false
  }

  #listFolder(fds: Fd[], path: string): void {
    const fd = this.#context.files.open(path, 'read')
    this.#folderFds.push(fd)
    fds.push(fd)
  }

  #closeFolders(): void {
    for (const fd of this.#folderFds) this.#context.files.close(fd)
    this.#folderFds.length = 0
  }
}
