/**
 * Small files written whole and read whole: the one place that knows how a file is replaced so that a crash at any step
 * leaves the old one or the new one (R4), and how a write's count is checked (R1).
 *
 * Ordering   temporary name -> write -> fsync -> rename -> fsync the folder
 * Failure    StorageError; a temporary file that a crash left behind is overwritten by the next writer of the same name
 */
import type { Fd, FileSystem } from '../io/file-system.ts'
import { StorageError } from '../io/file-system.ts'

/** Suffix of files that are not in place yet: nobody reads them, recovery removes them. */
export const TEMPORARY_SUFFIX = '.tmp'

/** Folder part of a path made with `/`. */
export function folderOf(path: string): string {
  const slash = path.lastIndexOf('/')
  if (slash === -1) return '.'
  return slash === 0 ? '/' : path.slice(0, slash)
}

/**
 * Writes all bytes of `buffers` at `position`. A short count hides the error that cut the write, so the rest is written
 * once more to learn it; a write that makes no progress throws EIO.
 */
export function writeFully(files: FileSystem, fd: Fd, buffers: readonly Uint8Array[], position: number): void {
  let left = 0
  for (const buffer of buffers) left += buffer.length
  let rest = buffers
  let at = position
  while (left > 0) {
    const written = files.write(fd, rest, at)
    if (written === left) return
    if (!(written > 0 && written < left))
      throw new StorageError('EIO', `write of ${left} bytes at ${at} of descriptor ${fd} answered ${written}`)
    left -= written
    at += written
    rest = dropBytes(rest, written)
  }
}

function dropBytes(buffers: readonly Uint8Array[], count: number): Uint8Array[] {
  const rest: Uint8Array[] = []
  let skip = count
  for (const buffer of buffers) {
    if (skip >= buffer.length) skip -= buffer.length
    else {
      rest.push(skip === 0 ? buffer : buffer.subarray(skip))
      skip = 0
    }
  }
  return rest
}

/** Reads until `target` is full or the file ends; returns the count. */
export function readFully(files: FileSystem, fd: Fd, target: Uint8Array, position: number): number {
  let count = 0
  while (count < target.length) {
    const read = files.read(fd, count === 0 ? target : target.subarray(count), position + count)
    if (read <= 0) break
    count += read
  }
  return count
}

/** Replaces `path` by a file of these bytes, durably. */
export function replaceFile(files: FileSystem, path: string, buffers: readonly Uint8Array[]): void {
  const temporary = path + TEMPORARY_SUFFIX
  const fd = files.open(temporary, 'create')
  try {
    files.truncate(fd, 0)
    writeFully(files, fd, buffers, 0)
    files.fsync(fd)
  } finally {
    files.close(fd)
  }
  files.rename(temporary, path)
  files.syncFolder(folderOf(path))
}

export type WholeFile =
  | { readonly kind: 'absent' }
  | { readonly kind: 'present'; readonly bytes: Uint8Array }
  | { readonly kind: 'unreadable'; readonly reason: string }

/** The bytes of a small file; one larger than `bytesMax` is unreadable, not an allocation. */
export function readWholeFile(files: FileSystem, path: string, bytesMax: number): WholeFile {
  const stat = files.stat(path)
  if (stat.kind === 'absent') return { kind: 'absent' }
  if (stat.kind === 'folder') return { kind: 'unreadable', reason: 'is a folder' }
  if (stat.bytes > bytesMax)
    return { kind: 'unreadable', reason: `holds ${stat.bytes} bytes, more than the ${bytesMax} it may have` }
  const fd = files.open(path, 'read')
  try {
    const bytes = new Uint8Array(stat.bytes)
    const count = readFully(files, fd, bytes, 0)
    return { kind: 'present', bytes: bytes.subarray(0, count) }
  } catch (error) {
    if (error instanceof StorageError) return { kind: 'unreadable', reason: `${error.code}: ${error.message}` }
    throw error
  } finally {
    files.close(fd)
  }
}

/** Removes a file if it is there; the folder is not synced. */
export function removeIfPresent(files: FileSystem, path: string): boolean {
  if (files.stat(path).kind !== 'file') return false
  files.remove(path)
  return true
}
