/**
 * FileSystem: the port to durable storage. Synchronous: it is called on threads that may block (shard loop for cached
 * writes, disk thread for fdatasync and cold reads, pool for recovery), never on the main thread's hot path.
 *
 * Makes       node-file-system (real), memory-file-system (clones itself as after a power cut), faulty-file-system (wrapper)
 * Descriptors are process-wide numbers: a shard opens, its disk thread syncs.
 * Failure     throws StorageError with the system's code (ENOSPC, EIO, ENOENT, …) and the path or descriptor.
 *             Writes answer the count the system reports: it may be short; the caller compares it on every write
 *             (libuv loops on short writes and hides an error that follows partial success). After a write that throws,
 *             the bytes of its range are undefined: cut back before going on.
 * Contract    test/contract/file-system.contract.ts, run on every make
 */

/** A file descriptor. */
export type Fd = number

export interface FileSystem {
  /**
   * Opens `path`. `read`: must exist. `write`: read and write, must exist. `create`: read and write, made if missing,
   * never truncated. `create-new`: read and write, must not exist (EEXIST). A folder can be opened with `read`, and
   * fdatasync or fsync of that descriptor does what syncFolder does: so the disk thread can sync folders too.
   */
  open(path: string, mode: 'read' | 'write' | 'create' | 'create-new'): Fd
  close(fd: Fd): void
  /** Writes all buffers, one after the other, at `position`; returns the bytes written, which may be fewer than given. */
  write(fd: Fd, buffers: readonly Uint8Array[], position: number): number
  /** Reads up to `target.length` bytes at `position`; returns the count, 0 at the end of the file. */
  read(fd: Fd, target: Uint8Array, position: number): number
  /** Makes the file's bytes and size durable. An error here is final: never sync again and believe it. */
  fdatasync(fd: Fd): void
  /** Makes bytes and all metadata durable. */
  fsync(fd: Fd): void
  /** Cuts or extends (with zeros) the file to `bytes`. */
  truncate(fd: Fd, bytes: number): void
  /**
   * Makes the file at least `bytes` long with blocks that are allocated and written, so that after one fsync an
   * overwrite in [0, bytes) needs no metadata. Bytes already there stay. Where sparse will do, use truncate.
   */
  allocate(fd: Fd, bytes: number): void
  /** Size in bytes of an open file. */
  sizeOf(fd: Fd): number
  /** Makes the entries of a folder durable: after create, rename, remove. */
  syncFolder(path: string): void
  /** Makes the folder and its parents. Its entry is durable only after syncFolder(parent). */
  makeFolder(path: string): void
  /** Names in a folder, sorted; throws ENOENT when there is none. */
  list(path: string): string[]
  /** What `path` is, and a file's size in bytes. */
  stat(path: string): { kind: 'absent' } | { kind: 'file'; bytes: number; modifiedMs: number } | { kind: 'folder' }
  /** Replaces `to` atomically. */
  rename(from: string, to: string): void
  remove(path: string): void
  /** Removes an empty folder. */
  removeFolder(path: string): void
  /** Bytes free to this process on the file system that holds `path`. */
  freeBytes(path: string): number
}

/**
 * Syncs many descriptors several at a time: concurrent flushes share the file system's transactions, so that many small files
 * cost a fraction of one after the other. Each is synced as fdatasync() would.
 */
export interface ParallelSync {
  /** Calls `done` on this thread, later, when nothing of it is under way any more; with the first failure, if there was one. */
  begin(fds: readonly Fd[], done: (failure: SyncFailure | undefined) => void): void
}

export interface SyncFailure {
  readonly fd: Fd
  readonly error: StorageError
}

/** A storage fault with the system's code. */
export class StorageError extends Error {
  override readonly name = 'StorageError'
  /** ENOSPC, EDQUOT, EIO, ENOENT, EEXIST, … */
  readonly code: string
  /** The file or folder, where the make knows it. */
  readonly path: string | undefined

  constructor(code: string, message: string, options?: { cause?: unknown; path?: string | undefined }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.path = options?.path
  }

  /** The process or the system has as many files open as it may: the file was not touched, and it may be opened later. */
  get isOpenLimit(): boolean {
    return this.code === 'EMFILE' || this.code === 'ENFILE'
  }

  /** No space left: the write may be tried again later, after the file was cut back. */
  get isSpace(): boolean {
    return this.code === 'ENOSPC' || this.code === 'EDQUOT'
  }
}
