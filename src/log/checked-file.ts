/**
 * Small files that are read and written whole, with a checksum: the indexes and the producer snapshots.
 *
 * Rule      each can be made again from the log, so none is trusted: a reader has three answers, absent, present, unreadable
 * Failure   a torn or stale file is "unreadable, because"; storage faults other than "does not exist" are thrown
 * Format    format.md "Checked files"; version and entry size are the kind's
 */
import { assert } from '../base/assert.ts'
import { crc32c } from '../base/crc32c.ts'
import { type Fd, type FileSystem, StorageError } from '../io/file-system.ts'
import { writeFully } from './durable-file.ts'

// Header, big-endian, then `metaBytes` of the kind, then entries.
// |  at | size | field      |
// |   0 |    4 | magic      | ASCII
// |   4 |    2 | version    | u16
// |   6 |    2 | entryBytes | u16
// |   8 |    4 | entryCount | u32
// |  12 |    4 | crc        | u32; CRC-32C of [0, 12) and of all from 16 on
export const CHECKED_MAGIC_AT = 0
export const CHECKED_VERSION_AT = CHECKED_MAGIC_AT + 4
export const CHECKED_ENTRY_BYTES_AT = CHECKED_VERSION_AT + 2
export const CHECKED_ENTRY_COUNT_AT = CHECKED_ENTRY_BYTES_AT + 2
export const CHECKED_CRC_AT = CHECKED_ENTRY_COUNT_AT + 4
export const CHECKED_HEADER_BYTES = CHECKED_CRC_AT + 4
assert(CHECKED_HEADER_BYTES === 16, 'checked file header changed: bump the version of every kind')

/** Larger than any file of these kinds may be: a snapshot of PARTITION_PRODUCERS_MAX producers takes 15 MB. */
const FILE_BYTES_MAX = 64 * 1024 * 1024

export interface CheckedFileKind {
  readonly name: string
  /** Four ASCII characters. */
  readonly magic: string
  readonly version: number
  readonly metaBytes: number
  /** Every entry has this size. */
  readonly entryBytes: number
}

export interface CheckedContent {
  readonly kind: 'present'
  /** The whole file. */
  readonly view: DataView
  readonly metaAt: number
  readonly entriesAt: number
  readonly entryCount: number
}

export type CheckedAnswer<T> =
  | { readonly kind: 'absent' }
  | { readonly kind: 'present'; readonly value: T }
  | { readonly kind: 'unreadable'; readonly reason: string }

/** A file image with room for meta and `entryCount` entries; fill it, then sealChecked(). */
export function newChecked(kind: CheckedFileKind, entryCount: number): CheckedContent {
  const view = new DataView(new ArrayBuffer(CHECKED_HEADER_BYTES + kind.metaBytes + entryCount * kind.entryBytes))
  for (let index = 0; index < 4; index++) view.setUint8(CHECKED_MAGIC_AT + index, kind.magic.charCodeAt(index))
  view.setUint16(CHECKED_VERSION_AT, kind.version)
  view.setUint16(CHECKED_ENTRY_BYTES_AT, kind.entryBytes)
  view.setUint32(CHECKED_ENTRY_COUNT_AT, entryCount)
  return contentOf(kind, view, entryCount)
}

/** Puts the checksum in; returns the bytes of the file. */
export function sealChecked(content: CheckedContent): Uint8Array {
  const bytes = new Uint8Array(content.view.buffer)
  content.view.setUint32(CHECKED_CRC_AT, checksum(bytes))
  return bytes
}

/** The version that a file says it has; -1 = it is too short to say. */
export function checkedVersionOf(bytes: Uint8Array): number {
  if (bytes.length < CHECKED_HEADER_BYTES) return -1
  return (bytes[CHECKED_VERSION_AT]! << 8) | bytes[CHECKED_VERSION_AT + 1]!
}

export function decodeChecked(
  kind: CheckedFileKind,
  bytes: Uint8Array,
): CheckedContent | { readonly kind: 'unreadable'; readonly reason: string } {
  if (bytes.length < CHECKED_HEADER_BYTES + kind.metaBytes) {
    return { kind: 'unreadable', reason: `${kind.name}: ${bytes.length} bytes are fewer than its header` }
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let magic = ''
  for (let index = 0; index < 4; index++) magic += String.fromCharCode(view.getUint8(CHECKED_MAGIC_AT + index))
  if (magic !== kind.magic) return { kind: 'unreadable', reason: `${kind.name}: it does not begin with ${kind.magic}` }
  const version = view.getUint16(CHECKED_VERSION_AT)
  const entryBytes = view.getUint16(CHECKED_ENTRY_BYTES_AT)
  const entryCount = view.getUint32(CHECKED_ENTRY_COUNT_AT)
  if (version !== kind.version) {
    return { kind: 'unreadable', reason: `${kind.name}: format version ${version}, not ${kind.version}` }
  }
  const expected = CHECKED_HEADER_BYTES + kind.metaBytes + entryCount * kind.entryBytes
  if (entryBytes !== kind.entryBytes || bytes.length !== expected) {
    return {
      kind: 'unreadable',
      reason: `${kind.name}: ${bytes.length} bytes, its header says ${entryCount} entries of ${entryBytes}`,
    }
  }
  if (view.getUint32(CHECKED_CRC_AT) !== checksum(bytes)) {
    return { kind: 'unreadable', reason: `${kind.name}: its checksum does not fit` }
  }
  return contentOf(kind, view, entryCount)
}

/** Reads the bytes of a whole small file; undefined when there is none. */
export function readWholeFile(files: FileSystem, path: string): Uint8Array | undefined {
  let fd: Fd
  try {
    fd = files.open(path, 'read')
  } catch (error) {
    if (error instanceof StorageError && error.code === 'ENOENT') return undefined
    throw error
  }
  try {
    const bytes = new Uint8Array(Math.min(files.sizeOf(fd), FILE_BYTES_MAX))
    let filled = 0
    while (filled < bytes.length) {
      const count = files.read(fd, bytes.subarray(filled), filled)
      if (count === 0) break
      filled += count
    }
    return bytes.subarray(0, filled)
  } finally {
    files.close(fd)
  }
}

/** Reads and checks a file; `decode` may still find fault with what it says. */
export function readChecked<T>(
  files: FileSystem,
  path: string,
  decode: (bytes: Uint8Array) => CheckedAnswer<T>,
): CheckedAnswer<T> {
  const bytes = readWholeFile(files, path)
  return bytes === undefined ? { kind: 'absent' } : decode(bytes)
}

/** Writes `bytes` as the whole content of `path`, not synced; the descriptor stays open for whoever syncs it. */
export function writeWholeFile(files: FileSystem, path: string, bytes: Uint8Array): Fd {
  const fd = files.open(path, 'create')
  try {
    files.truncate(fd, 0)
    writeFully(files, fd, [bytes], 0)
    return fd
  } catch (error) {
    files.close(fd)
    throw error
  }
}

function contentOf(kind: CheckedFileKind, view: DataView, entryCount: number): CheckedContent {
  const entriesAt = CHECKED_HEADER_BYTES + kind.metaBytes
  return { kind: 'present', view, metaAt: CHECKED_HEADER_BYTES, entriesAt, entryCount }
}

function checksum(bytes: Uint8Array): number {
  return crc32c(bytes.subarray(CHECKED_HEADER_BYTES), crc32c(bytes.subarray(0, CHECKED_CRC_AT)))
}
