/**
 * UnsyncedFiles: what of one partition, besides the active segment, the device may not have yet: closed segments,
 * small files that a checkpoint relies on, and the entries of folders.
 *
 * Owns        pinned descriptors of those, from dirty to synced
 * Invariants  U1 what got dirty after begin() is still dirty after complete(): counts are compared, not flags
 *             U2 a folder's entry counts as durable only after a sync that began after the file was made
 *             U3 the data dir is synced once for all folders made before: a partition whose sync begins meanwhile, with it
 *                or later, relies on it only if it is in the same list of descriptors, or is complete
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
  /** Its folder was the so-many-th made in the data dir; 0 = it is durable there. */
  #parentEntry = 0
  /** Folders made when this partition listed the data dir; -1 = it did not. */
  #parentListedMade = -1
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
    this.#parentEntry = ++this.#context.dataDirEntries.made
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
    this.#listParent(fds)
  }

  /** All that begin() pushed is durable. */
  complete(): void {
    if (!this.#isSyncing) return
    this.#isSyncing = false
    for (let index = 0; index < this.#listedFds; index++) this.#context.openFiles.release(this.#fds[index]!)
    this.#fds.splice(0, this.#listedFds)
    if (this.#changesListed !== this.#changesSynced) this.#parentEntry = 0
    this.#changesSynced = this.#changesListed
    this.#completeParent()
    this.#closeFolders()
  }

  /** Gives every descriptor back; what was dirty stays so for whoever recovers. */
  close(): void {
    for (const fd of this.#fds) this.#context.openFiles.release(fd)
    this.#fds.length = 0
    this.#dropParent()
    this.#closeFolders()
    this.#isSyncing = false
  }

  #listParent(fds: Fd[]): void {
    const entries = this.#context.dataDirEntries
    if (this.#parentEntry <= entries.synced) return
    // Nothing is made between two partitions of one list: what the list has says all.
    if (entries.listedFd !== -1 && fds.includes(entries.listedFd)) return
    this.#parentListedMade = entries.made
    entries.listedFd = this.#listFolder(fds, this.#context.dataDir)
  }

  #completeParent(): void {
    const entries = this.#context.dataDirEntries
    if (this.#parentListedMade > entries.synced) entries.synced = this.#parentListedMade
    this.#dropParent()
  }

  #dropParent(): void {
    if (this.#parentListedMade === -1) return
    this.#parentListedMade = -1
    this.#context.dataDirEntries.listedFd = -1
  }

  #listFolder(fds: Fd[], path: string): Fd {
    const fd = this.#context.files.open(path, 'read')
    this.#folderFds.push(fd)
    fds.push(fd)
    return fd
  }

  #closeFolders(): void {
    for (const fd of this.#folderFds) this.#context.files.close(fd)
    this.#folderFds.length = 0
  }
}
