/**
 * NodeFileSystem: the storage port on node:fs, synchronous calls only.
 *
 * Owns        nothing but a note of which path a descriptor of this instance came from, for the text of errors
 * Thread      any; a descriptor opened by one instance may be used by another one on another thread
 * Invariants  every write names its position: no O_APPEND, no shared file cursor (R1)
 * Limits      IOV_MAX buffers a system call; longer lists are split
 * Failure     StorageError with the system's code. libuv goes on after a short write and hides an error that follows partial
 *             success: the count it answers is passed on as it is, and may be short. An error in a later part of a split
 *             list is thrown, though the parts before it are written.
 */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmdirSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeSync,
  writevSync,
} from 'node:fs'
import { type Fd, type FileSystem, StorageError } from './file-system.ts'

/** Buffers in one system call: Linux and macOS both say 1024. */
const IOV_MAX = 1024
const ZEROS_BYTES = 1024 * 1024

const OPEN_FLAGS = {
  read: constants.O_RDONLY,
  write: constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT,
  'create-new': constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
} as const

const FILE_MODE = 0o640
const FOLDER_MODE = 0o750

export class NodeFileSystem implements FileSystem {
  readonly #paths = new Map<Fd, string>()

  open(path: string, mode: keyof typeof OPEN_FLAGS): Fd {
    try {
      const fd = openSync(path, OPEN_FLAGS[mode], FILE_MODE)
      this.#paths.set(fd, path)
      return fd
    } catch (error) {
      throw pathError(error, `open for ${mode}`, path)
    }
  }

  close(fd: Fd): void {
    try {
      closeSync(fd)
    } catch (error) {
      throw this.#error(error, 'close', fd)
    } finally {
      this.#paths.delete(fd)
    }
  }

  write(fd: Fd, buffers: readonly Uint8Array[], position: number): number {
    try {
      if (buffers.length === 1) {
        const only = buffers[0]!
        return only.length === 0 ? 0 : writeSync(fd, only, 0, only.length, position)
      }
      if (buffers.length <= IOV_MAX) return buffers.length === 0 ? 0 : writevSync(fd, buffers, position)
      return writeParts(fd, buffers, position)
    } catch (error) {
      throw this.#error(error, 'write', fd)
    }
  }

  read(fd: Fd, target: Uint8Array, position: number): number {
    if (target.length === 0) return 0
    try {
      return readSync(fd, target, 0, target.length, position)
    } catch (error) {
      throw this.#error(error, 'read', fd)
    }
  }

  fdatasync(fd: Fd): void {
    try {
      fdatasyncSync(fd)
    } catch (error) {
      throw this.#error(error, 'fdatasync', fd)
    }
  }

  fsync(fd: Fd): void {
    try {
      fsyncSync(fd)
    } catch (error) {
      throw this.#error(error, 'fsync', fd)
    }
  }

  truncate(fd: Fd, bytes: number): void {
    try {
      ftruncateSync(fd, bytes)
    } catch (error) {
      throw this.#error(error, 'truncate', fd)
    }
  }

  /**
   * Writes zeros from the end of the file on. Node has no fallocate, and it would not do here: the first write into a
   * preallocated but unwritten extent converts the extent, which is metadata that fdatasync must then flush as well.
   */
  allocate(fd: Fd, bytes: number): void {
    try {
      let end = fstatSync(fd).size
      if (end >= bytes) return
      const zeros = new Uint8Array(Math.min(ZEROS_BYTES, bytes - end))
      while (end < bytes) {
        const written = writeSync(fd, zeros, 0, Math.min(zeros.length, bytes - end), end)
        if (written === 0) throw new StorageError('EIO', 'the system wrote 0 bytes without an error')
        end += written
      }
    } catch (error) {
      throw this.#error(error, 'allocate', fd)
    }
  }

  sizeOf(fd: Fd): number {
    try {
      return fstatSync(fd).size
    } catch (error) {
      throw this.#error(error, 'size', fd)
    }
  }

  syncFolder(path: string): void {
    let fd: Fd | undefined
    try {
      fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY)
      fsyncSync(fd)
    } catch (error) {
      throw pathError(error, 'sync of folder', path)
    } finally {
      if (fd !== undefined) closeSync(fd)
    }
  }

  makeFolder(path: string): void {
    try {
      mkdirSync(path, { recursive: true, mode: FOLDER_MODE })
    } catch (error) {
      throw pathError(error, 'make folder', path)
    }
  }

  list(path: string): string[] {
    try {
      return readdirSync(path).sort()
    } catch (error) {
      throw pathError(error, 'list', path)
    }
  }

  stat(path: string): ReturnType<FileSystem['stat']> {
    try {
      const found = statSync(path, { throwIfNoEntry: false })
      if (found === undefined) return { kind: 'absent' }
      if (found.isDirectory()) return { kind: 'folder' }
      return { kind: 'file', bytes: found.size, modifiedMs: Math.floor(found.mtimeMs) }
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOTDIR') return { kind: 'absent' }
      throw pathError(error, 'stat', path)
    }
  }

  rename(from: string, to: string): void {
    try {
      renameSync(from, to)
    } catch (error) {
      throw pathError(error, `rename to ${to} of`, from)
    }
  }

  remove(path: string): void {
    try {
      unlinkSync(path)
    } catch (error) {
      throw pathError(error, 'remove', path)
    }
  }

  removeFolder(path: string): void {
    try {
      rmdirSync(path)
    } catch (error) {
      throw pathError(error, 'remove folder', path)
    }
  }

  freeBytes(path: string): number {
    try {
      const found = statfsSync(path)
      return found.bavail * found.bsize
    } catch (error) {
      throw pathError(error, 'free space of', path)
    }
  }

  #error(error: unknown, action: string, fd: Fd): unknown {
    const path = this.#paths.get(fd)
    return storageError(error, path === undefined ? `${action} fd ${fd}` : `${action} ${path} (fd ${fd})`, path)
  }
}

/** Writes a list longer than IOV_MAX in parts; stops at the first short one. */
function writeParts(fd: Fd, buffers: readonly Uint8Array[], position: number): number {
  let written = 0
  for (let first = 0; first < buffers.length; first += IOV_MAX) {
    const part = buffers.slice(first, first + IOV_MAX)
    let asked = 0
    for (const buffer of part) asked += buffer.length
    const count = writevSync(fd, part, position + written)
    written += count
    if (count < asked) break
  }
  return written
}

function pathError(error: unknown, action: string, path: string): unknown {
  return storageError(error, `${action} ${path}`, path)
}

/** The system's errors become StorageError; a wrong argument (TypeError, RangeError) is a bug and stays what it is. */
function storageError(error: unknown, what: string, path: string | undefined): unknown {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return error
  if (error instanceof TypeError || error instanceof RangeError) return error
  return new StorageError(error.code, `${what} failed: ${error.message}`, { cause: error, path })
}
