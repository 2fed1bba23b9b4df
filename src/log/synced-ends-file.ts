/**
 * SyncedEndsFile: a lower bound of what was acknowledged, per partition, so that recovery can tell a torn tail from damage.
 *
 * Owns        `<incarnation>-<shard>.synced` of one shard and one start
 * Thread      the shard; never waits for the device: buffered writes, not synced (a checkpoint or an idle disk thread may)
 * Invariants  Y1 a slot's end never names an offset that was not synced           the caller: after completeSync, before the acks
 *             Y2 a slot lies within one sector, so a power cut leaves an old or a new one, never a mixture
 * Ordering    group synced -> set() … -> write() -> acknowledge
 * Failure     a slot that cannot be read is ignored: there is no bound then, never a wrong one
 * Format      format.md §synced ends, SYNCED_ENDS_FORMAT_VERSION; big-endian
 */
import { assert } from '../base/assert.ts'
import { readSafeInt64, writeSafeInt64 } from '../base/bytes.ts'
import { crc32c } from '../base/crc32c.ts'
import type { Fd, FileSystem } from '../io/file-system.ts'
import type { TopicId } from '../model/ids.ts'
import { readWholeFile, writeFully } from './durable-file.ts'
import { syncedEndsName } from './state-files.ts'
import { readTopicId, TOPIC_ID_BYTES, writeTopicId } from './topic-id-codec.ts'

export const SYNCED_ENDS_FORMAT_VERSION = 1

// Header, one sector:
// |  at | size | field       |
// |   0 |    4 | magic       | 'MRSE'
// |   4 |    4 | version     | u32
// |   8 |    8 | incarnation | i64
// |  16 |    4 | shard       | u32
// |  20 |    4 | crc         | u32; CRC-32C of [0, 20)
export const SYNCED_ENDS_MAGIC_AT = 0
export const SYNCED_ENDS_VERSION_AT = SYNCED_ENDS_MAGIC_AT + 4
export const SYNCED_ENDS_INCARNATION_AT = SYNCED_ENDS_VERSION_AT + 4
export const SYNCED_ENDS_SHARD_AT = SYNCED_ENDS_INCARNATION_AT + 8
export const SYNCED_ENDS_HEADER_CRC_AT = SYNCED_ENDS_SHARD_AT + 4
export const SYNCED_ENDS_HEADER_BYTES = 512

// Slot:
// |   0 |   16 | topicId   |
// |  16 |    4 | partition | u32; all ones: the slot is free
// |  20 |    8 | syncedEnd | i64
// |  28 |    4 | crc       | u32; CRC-32C of [0, 28)
export const SYNCED_ENDS_SLOT_TOPIC_ID_AT = 0
export const SYNCED_ENDS_SLOT_PARTITION_AT = SYNCED_ENDS_SLOT_TOPIC_ID_AT + TOPIC_ID_BYTES
export const SYNCED_ENDS_SLOT_END_AT = SYNCED_ENDS_SLOT_PARTITION_AT + 4
export const SYNCED_ENDS_SLOT_CRC_AT = SYNCED_ENDS_SLOT_END_AT + 8
export const SYNCED_ENDS_SLOT_BYTES = SYNCED_ENDS_SLOT_CRC_AT + 4
assert(
  SYNCED_ENDS_SLOT_BYTES === 32,
  'synced ends slot changed: bump SYNCED_ENDS_FORMAT_VERSION; it must divide a sector',
)

const MAGIC = 0x4d525345
const FREE = 0xffff_ffff
const SLOTS_FIRST = 128
/** Dirty slots nearer to each other than this go into one write. */
const JOIN_SLOTS = 128
const FILE_BYTES_MAX = 64 * 1024 * 1024

export interface SyncedEnd {
  readonly topicId: TopicId
  readonly partition: number
  readonly syncedEnd: number
}

export class SyncedEndsFile {
  readonly #files: FileSystem
  readonly fd: Fd
  #bytes = new Uint8Array(SLOTS_FIRST * SYNCED_ENDS_SLOT_BYTES)
  #view = new DataView(this.#bytes.buffer)
  #count = 0
  #free: number[] = []
  #dirty: number[] = []
  #isDirty = new Uint8Array(SLOTS_FIRST)

  private constructor(files: FileSystem, fd: Fd) {
    this.#files = files
    this.fd = fd
  }

  /** Makes the file, durably. */
  static create(options: {
    readonly files: FileSystem
    readonly folder: string
    readonly incarnation: number
    readonly shard: number
  }): SyncedEndsFile {
    const { files, folder, incarnation, shard } = options
    const fd = files.open(`${folder}/${syncedEndsName(incarnation, shard)}`, 'create-new')
    try {
      writeFully(files, fd, [encodeHeader(incarnation, shard)], 0)
      files.fsync(fd)
      files.syncFolder(folder)
    } catch (error) {
      files.close(fd)
      throw error
    }
    return new SyncedEndsFile(files, fd)
  }

  /** A slot for the partition; its end is written by the next write(). */
  add(end: SyncedEnd): number {
    const slot = this.#free.pop() ?? this.#count++
    if (slot >= this.#isDirty.length) this.#grow()
    const at = slot * SYNCED_ENDS_SLOT_BYTES
    writeTopicId(this.#bytes, at, end.topicId)
    this.#view.setUint32(at + SYNCED_ENDS_SLOT_PARTITION_AT, end.partition)
    this.set(slot, end.syncedEnd)
    return slot
  }

  /** `syncedEnd` of the slot's partition is synced. It may fall: a truncation. */
  set(slot: number, syncedEnd: number): void {
    writeSafeInt64(this.#view, slot * SYNCED_ENDS_SLOT_BYTES + SYNCED_ENDS_SLOT_END_AT, syncedEnd)
    this.#seal(slot)
  }

  /** The partition is gone. */
  remove(slot: number): void {
    this.#view.setUint32(slot * SYNCED_ENDS_SLOT_BYTES + SYNCED_ENDS_SLOT_PARTITION_AT, FREE)
    this.#seal(slot)
    this.#free.push(slot)
  }

  /** Writes what changed: one write, or a few when the changed slots lie far apart. Nothing is synced. */
  write(): void {
    const dirty = this.#dirty
    if (dirty.length === 0) return
    if (dirty.length > 1) dirty.sort(ascending)
    let first = dirty[0]!
    let last = first
    for (let index = 1; index <= dirty.length; index++) {
      const slot = dirty[index]
      if (slot !== undefined && slot - last <= JOIN_SLOTS) {
        last = slot
        continue
      }
      const bytes = this.#bytes.subarray(first * SYNCED_ENDS_SLOT_BYTES, (last + 1) * SYNCED_ENDS_SLOT_BYTES)
      writeFully(this.#files, this.fd, [bytes], SYNCED_ENDS_HEADER_BYTES + first * SYNCED_ENDS_SLOT_BYTES)
      if (slot === undefined) break
      first = slot
      last = slot
    }
    for (const slot of dirty) this.#isDirty[slot] = 0
    dirty.length = 0
  }

  close(): void {
    this.#files.close(this.fd)
  }

  #seal(slot: number): void {
    const at = slot * SYNCED_ENDS_SLOT_BYTES
    this.#view.setUint32(at + SYNCED_ENDS_SLOT_CRC_AT, crc32c(this.#bytes.subarray(at, at + SYNCED_ENDS_SLOT_CRC_AT)))
    if (this.#isDirty[slot] === 1) return
    this.#isDirty[slot] = 1
    this.#dirty.push(slot)
  }

  #grow(): void {
    const bytes = new Uint8Array(this.#bytes.length * 2)
    bytes.set(this.#bytes)
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer)
    const isDirty = new Uint8Array(this.#isDirty.length * 2)
    isDirty.set(this.#isDirty)
    this.#isDirty = isDirty
  }
}

function ascending(left: number, right: number): number {
  return left - right
}

function encodeHeader(incarnation: number, shard: number): Uint8Array {
  const bytes = new Uint8Array(SYNCED_ENDS_HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, MAGIC)
  view.setUint32(SYNCED_ENDS_VERSION_AT, SYNCED_ENDS_FORMAT_VERSION)
  writeSafeInt64(view, SYNCED_ENDS_INCARNATION_AT, incarnation)
  view.setUint32(SYNCED_ENDS_SHARD_AT, shard)
  view.setUint32(SYNCED_ENDS_HEADER_CRC_AT, crc32c(bytes.subarray(0, SYNCED_ENDS_HEADER_CRC_AT)))
  return bytes
}

export type SyncedEndsAnswer =
  | { readonly kind: 'absent' }
  | { readonly kind: 'present'; readonly ends: readonly SyncedEnd[]; readonly unreadableSlots: number }
  | { readonly kind: 'unreadable'; readonly reason: string }

/** The bounds that a file holds. Slots that cannot be read are counted, and give none. */
export function readSyncedEnds(files: FileSystem, path: string): SyncedEndsAnswer {
  const file = readWholeFile(files, path, FILE_BYTES_MAX)
  if (file.kind !== 'present') return file
  return decodeSyncedEnds(file.bytes)
}

export function decodeSyncedEnds(bytes: Uint8Array): SyncedEndsAnswer {
  const unreadable = (reason: string): SyncedEndsAnswer => ({ kind: 'unreadable', reason })
  if (bytes.length < SYNCED_ENDS_HEADER_BYTES) return unreadable(`${bytes.length} bytes are fewer than its header`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (view.getUint32(0) !== MAGIC) return unreadable('it does not begin with MRSE')
  if (view.getUint32(SYNCED_ENDS_HEADER_CRC_AT) !== crc32c(bytes.subarray(0, SYNCED_ENDS_HEADER_CRC_AT)))
    return unreadable('the checksum of its header does not fit')
  const version = view.getUint32(SYNCED_ENDS_VERSION_AT)
  if (version !== SYNCED_ENDS_FORMAT_VERSION)
    return unreadable(`format version ${version}, not ${SYNCED_ENDS_FORMAT_VERSION}`)
  const ends: SyncedEnd[] = []
  let unreadableSlots = 0
  for (let at = SYNCED_ENDS_HEADER_BYTES; at + SYNCED_ENDS_SLOT_BYTES <= bytes.length; at += SYNCED_ENDS_SLOT_BYTES) {
    const slot = bytes.subarray(at, at + SYNCED_ENDS_SLOT_CRC_AT)
    if (view.getUint32(at + SYNCED_ENDS_SLOT_CRC_AT) !== crc32c(slot)) {
      if (slot.some((byte) => byte !== 0)) unreadableSlots++
      continue
    }
    const partition = view.getUint32(at + SYNCED_ENDS_SLOT_PARTITION_AT)
    const syncedEnd = readSafeInt64(view, at + SYNCED_ENDS_SLOT_END_AT)
    if (partition === FREE) continue
    if (Number.isNaN(syncedEnd) || syncedEnd < 0) unreadableSlots++
    else ends.push({ topicId: readTopicId(bytes, at), partition, syncedEnd })
  }
  return { kind: 'present', ends, unreadableSlots }
}
