/**
 * OpenFileCache: descriptors by path. Those in use are pinned (active segments, reads under way); of the others the
 * latest few stay open for the next reader, oldest out first.
 *
 * Owns        the descriptors it opened, until evicted or closed; nobody else closes them
 * Thread      one instance belongs to one thread. A pin protects a descriptor while another thread (the disk thread) uses it
 * Invariants  C1 a pinned descriptor is never closed          checked in: test/unit/log/open-file-cache.test.ts
 *             C2 idle descriptors <= filesOpenMax; pins come on top: a broker of 10,000 partitions pins 10,000 active segments
 * Limits      filesOpenMax
 * Failure     StorageError of the port's open; a failed close of an idle file is thrown to whoever caused the eviction
 */
import { assert } from '../base/assert.ts'
import type { Fd, FileSystem } from '../io/file-system.ts'

type OpenMode = Parameters<FileSystem['open']>[1]

interface Entry {
  readonly fd: Fd
  readonly path: string
  readonly mode: OpenMode
  pins: number
  /** Taken out of the cache while pinned: close at the last unpin. */
  isOrphan: boolean
}

export interface OpenFileCacheOptions {
  /** Descriptors kept open while nothing pins them. */
  readonly filesOpenMax: number
}

export class OpenFileCache {
  readonly #files: FileSystem
  readonly #filesOpenMax: number
  readonly #byPath = new Map<string, Entry>()
  /** The entries without a pin, released longest ago first. */
  readonly #idle = new Set<Entry>()
  /** A partition's folder goes with all its files, often with ten thousand others: no look at everybody's files for each. */
  readonly #byFolder = new Map<string, Set<Entry>>()
  readonly #byFd = new Map<Fd, Entry>()
  #hits = 0
  #misses = 0
  #evictions = 0

  constructor(files: FileSystem, options: OpenFileCacheOptions) {
    assert(options.filesOpenMax >= 1, `filesOpenMax ${options.filesOpenMax} is below 1`)
    this.#files = files
    this.#filesOpenMax = options.filesOpenMax
  }

  /** Descriptors open now, pinned orphans included. */
  get openCount(): number {
    return this.#byFd.size
  }

  get counters(): { readonly hits: number; readonly misses: number; readonly evictions: number } {
    return { hits: this.#hits, misses: this.#misses, evictions: this.#evictions }
  }

  /**
   * The open descriptor of `path`, opened if need be, pinned until release(fd). A descriptor for writing serves a reader;
   * a reader's is replaced when a writer comes.
   */
  acquire(path: string, mode: OpenMode): Fd {
    const held = this.#byPath.get(path)
    if (held !== undefined && serves(held.mode, mode)) {
      this.#hits++
      this.#idle.delete(held)
      held.pins++
      return held.fd
    }
    this.#misses++
    if (held !== undefined) this.#drop(held)
    // Room first: at the process's descriptor limit an open would fail while an idle file could have gone.
    this.#evictIdleDownTo(this.#filesOpenMax - 1)
    const entry: Entry = { fd: this.#files.open(path, mode), path, mode, pins: 1, isOrphan: false }
    this.#byPath.set(path, entry)
    this.#inFolder(path).add(entry)
    this.#byFd.set(entry.fd, entry)
    return entry.fd
  }

  /** Ends one acquire(); the descriptor stays open while there is room among the idle. */
  release(fd: Fd): void {
    const entry = this.#byFd.get(fd)
    assert(entry !== undefined && entry.pins > 0, `release of fd ${fd}, which is not pinned`)
    entry.pins--
    if (entry.pins > 0) return
    if (entry.isOrphan) this.#close(entry)
    else {
      this.#idle.add(entry)
      this.#evictIdleDownTo(this.#filesOpenMax)
    }
  }

  /** Forgets `path`, before it is removed or renamed: closed now, or at its last release. */
  evict(path: string): void {
    const entry = this.#byPath.get(path)
    if (entry !== undefined) this.#drop(entry)
  }

  /** Forgets every file that lies in `folder`. */
  evictFolder(folder: string): void {
    for (const entry of [...(this.#byFolder.get(folder) ?? [])]) this.#drop(entry)
  }

  /** Closes everything; nothing may be pinned. */
  close(): void {
    for (const entry of this.#byFd.values()) assert(entry.pins === 0, `close with ${entry.path} still pinned`)
    for (const entry of [...this.#byFd.values()]) this.#drop(entry)
  }

  #evictIdleDownTo(idleMax: number): void {
    for (const oldest of this.#idle) {
      if (this.#idle.size <= idleMax) return
      this.#evictions++
      this.#drop(oldest)
    }
  }

  #drop(entry: Entry): void {
    this.#byPath.delete(entry.path)
    const siblings = this.#inFolder(entry.path)
    siblings.delete(entry)
    if (siblings.size === 0) this.#byFolder.delete(folderOf(entry.path))
    this.#idle.delete(entry)
    if (entry.pins > 0) entry.isOrphan = true
    else this.#close(entry)
  }

  /** What is open in the folder of `path`. */
  #inFolder(path: string): Set<Entry> {
    const folder = folderOf(path)
    let entries = this.#byFolder.get(folder)
    if (entries === undefined) {
      entries = new Set()
      this.#byFolder.set(folder, entries)
    }
    return entries
  }

  #close(entry: Entry): void {
    this.#byFd.delete(entry.fd)
    this.#files.close(entry.fd)
  }
}

function serves(held: OpenMode, wanted: OpenMode): boolean {
  if (wanted === 'create-new') return false
  return wanted === 'read' || held !== 'read'
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}
