/**
 * BatchWalk: steps over the batches of one segment file, reading it in large pieces, and says at each one whether it is
 * what the log must hold there (R5). Recovery, verify and the tests use it; the shard's hot path does not.
 *
 * Owns        one read buffer, which grows to the largest batch and no further
 * Thread      the pool, or whoever recovers; blocks in reads
 * Limits      BATCH_BYTES_MAX and some slack a batch: a longer length is not sane
 * Failure     a fault is a value with the reason; StorageError of a read is thrown
 */
import type { Fd, FileSystem } from '../io/file-system.ts'
import { BATCH_BYTES_MAX, BATCH_RECORDS_MAX, OFFSET_MAX } from '../model/limits.ts'
import { BATCH_HEADER_BYTES, batchBytesAt, MAGIC, MAGIC_AT } from '../record/batch-layout.ts'
import { BatchView } from '../record/batch-view.ts'
import { readFully } from './durable-file.ts'

export const READ_BYTES_DEFAULT = 1024 * 1024
/** A producer's batch may be BATCH_BYTES_MAX; nothing the broker adds makes it this much longer. */
export const WALK_BATCH_BYTES_MAX = BATCH_BYTES_MAX + 4096

export interface WalkOptions {
  /** Base offset of the first batch. */
  readonly offset: number
  /** Epoch below which no batch may fall. */
  readonly leaderEpoch: number
  /** Where to begin and end in the file. */
  readonly filePosition: number
  readonly fileEnd: number
  /** `exact`: each batch begins where the last one ended. `rising`: offsets may be missing, as other brokers' compaction leaves them. */
  readonly offsets: 'exact' | 'rising'
}

export type WalkStep = 'batch' | 'end' | 'fault'

export class BatchWalk {
  /** The batch of the last step that answered 'batch'. */
  readonly batch = new BatchView()
  /** Where that batch begins in the file, and its bytes; after 'end' or 'fault': where the next one would begin. */
  filePosition = 0
  batchBytes = 0
  /** Base offset that the next batch must have. */
  nextOffset = 0
  leaderEpoch = -1
  /** Why the last step answered 'fault'. */
  fault = ''
  bytesRead = 0
  readonly #files: FileSystem
  #fd: Fd = -1
  readonly #readBytes: number
  #buffer = new Uint8Array(0)
  #bufferAt = 0
  #bufferEnd = 0
  #next = 0
  #fileEnd = 0
  #offsets: WalkOptions['offsets'] = 'exact'

  constructor(files: FileSystem, readBytes = READ_BYTES_DEFAULT) {
    this.#files = files
    this.#readBytes = Math.max(readBytes, BATCH_HEADER_BYTES)
  }

  begin(fd: Fd, options: WalkOptions): void {
    // Most partitions of many are small: they do not pay for a large buffer.
    const wanted = Math.min(this.#readBytes, options.fileEnd - options.filePosition)
    if (this.#buffer.length < wanted) this.#buffer = new Uint8Array(wanted)
    this.#fd = fd
    this.#bufferAt = options.filePosition
    this.#bufferEnd = options.filePosition
    this.#next = options.filePosition
    this.#fileEnd = options.fileEnd
    this.#offsets = options.offsets
    this.filePosition = options.filePosition
    this.batchBytes = 0
    this.nextOffset = options.offset
    this.leaderEpoch = options.leaderEpoch
    this.fault = ''
  }

  /** The bytes of the current batch, until the next step. */
  get bytes(): Uint8Array {
    return this.batch.bytes.subarray(this.batch.at, this.batch.at + this.batchBytes)
  }

  /** Steps to the next batch. `hashed`: checks its CRC; `skimmed`: believes what was checked before. */
  step(mode: 'hashed' | 'skimmed'): WalkStep {
    const at = this.#next
    this.filePosition = at
    this.batchBytes = 0
    const left = this.#fileEnd - at
    if (left === 0) return 'end'
    if (left < BATCH_HEADER_BYTES) return this.#fail(`${left} bytes are left, fewer than the header of a batch`)
    if (!this.#need(at, BATCH_HEADER_BYTES)) return this.#fail('the file ends before its size says so')
    const index = at - this.#bufferAt
    const batchBytes = batchBytesAt(this.#buffer, index, this.#bufferEnd - this.#bufferAt)
    if (batchBytes < 0 || batchBytes > WALK_BATCH_BYTES_MAX) return this.#fail('the length of the batch is not sane')
    if (this.#buffer[index + MAGIC_AT] !== MAGIC)
      return this.#fail(`the magic of the batch is ${this.#buffer[index + MAGIC_AT]}, not ${MAGIC}`)
    if (batchBytes > left) return this.#fail(`the batch says it has ${batchBytes} bytes, ${left} are left`)
    if (!this.#need(at, batchBytes)) return this.#fail('the file ends before its size says so')
    return this.#check(this.batch.reset(this.#buffer, at - this.#bufferAt), batchBytes, mode)
  }

  #check(batch: BatchView, batchBytes: number, mode: 'hashed' | 'skimmed'): WalkStep {
    if (mode === 'hashed' && batch.computeCrc() !== batch.crc)
      return this.#fail('the checksum of the batch does not fit')
    const baseOffset: number = batch.baseOffset
    const isExpected = baseOffset === this.nextOffset || (this.#offsets === 'rising' && baseOffset > this.nextOffset)
    if (!isExpected) return this.#fail(`the batch begins at offset ${baseOffset}, not ${this.nextOffset}`)
    if (batch.leaderEpoch < this.leaderEpoch)
      return this.#fail(`the leader epoch falls from ${this.leaderEpoch} to ${batch.leaderEpoch}`)
    const delta = batch.lastOffsetDelta
    if (delta < 0 || delta >= BATCH_RECORDS_MAX || !(baseOffset + delta < OFFSET_MAX))
      return this.#fail(`the last offset delta of the batch is ${delta}`)
    this.batchBytes = batchBytes
    this.nextOffset = baseOffset + delta + 1
    this.leaderEpoch = batch.leaderEpoch
    this.#next += batchBytes
    return 'batch'
  }

  #fail(why: string): WalkStep {
    this.fault = why
    return 'fault'
  }

  /** Makes sure that [at, at + count) is in the buffer. */
  #need(at: number, count: number): boolean {
    if (at + count <= this.#bufferEnd) return true
    let target = this.#buffer
    if (count > target.length) target = new Uint8Array(Math.min(2 ** Math.ceil(Math.log2(count)), WALK_BATCH_BYTES_MAX))
    const kept = this.#bufferEnd - at
    if (kept > 0) target.set(this.#buffer.subarray(at - this.#bufferAt, this.#bufferEnd - this.#bufferAt))
    this.#buffer = target
    this.#bufferAt = at
    const want = Math.min(target.length, this.#fileEnd - at) - kept
    const read = readFully(this.#files, this.#fd, target.subarray(kept, kept + want), at + kept)
    this.bytesRead += read
    this.#bufferEnd = at + kept + read
    return at + count <= this.#bufferEnd
  }
}

/** What findBatchAfter() looks for. */
export interface AfterOptions {
  readonly fd: Fd
  readonly filePosition: number
  readonly fileEnd: number
  /** Only a batch that begins past this offset counts … */
  readonly offset: number
  readonly leaderEpoch: number
}

const AFTER_PIECE_BYTES = 1024 * 1024
/** Bytes hashed in vain, or looked at, after which the search ends with 'unknown'. */
const AFTER_HASHED_BYTES_MAX = 512 * 1024 * 1024
const AFTER_BYTES_MAX = 1024 * 1024 * 1024
/** No batch of lost ones can have moved the offset further than this many a byte (records compress well, but not this well). */
const OFFSETS_A_BYTE_MAX = 64

/**
 * Looks byte by byte for a sound batch behind a place that is not one: is what follows garbage, or the log going on?
 * A hit must have a fitting CRC, an offset that the gap can explain and an epoch that does not fall.
 */
export function findBatchAfter(files: FileSystem, options: AfterOptions): number | 'none' | 'unknown' {
  const { fd, fileEnd } = options
  const batch = new BatchView()
  let buffer = new Uint8Array(AFTER_PIECE_BYTES + BATCH_HEADER_BYTES)
  let hashed = 0
  let position = options.filePosition
  const limit = Math.min(fileEnd, position + AFTER_BYTES_MAX)
  while (position + BATCH_HEADER_BYTES <= limit) {
    const count = readFully(files, fd, buffer.subarray(0, Math.min(buffer.length, fileEnd - position)), position)
    if (count < BATCH_HEADER_BYTES) break
    for (let at = 0; at + BATCH_HEADER_BYTES <= count; at++) {
      if (buffer[at + MAGIC_AT] !== MAGIC) continue
      const bytes = plausibleBytes(batch.reset(buffer, at), position + at, options)
      if (bytes < 0) continue
      hashed += bytes
      if (hashed > AFTER_HASHED_BYTES_MAX) return 'unknown'
      if (crcFitsInFile(files, fd, position + at, bytes)) return position + at
    }
    position += count - BATCH_HEADER_BYTES + 1
    if (count < buffer.length) break
    buffer = buffer.length < AFTER_PIECE_BYTES ? new Uint8Array(AFTER_PIECE_BYTES) : buffer
  }
  return limit < fileEnd ? 'unknown' : 'none'
}

/** Length of a batch that could be the log going on, or -1. */
function plausibleBytes(batch: BatchView, filePosition: number, options: AfterOptions): number {
  const bytes = batchBytesAt(batch.bytes, batch.at, batch.bytes.length)
  if (bytes < 0 || bytes > WALK_BATCH_BYTES_MAX || filePosition + bytes > options.fileEnd) return -1
  const baseOffset: number = batch.baseOffset
  const gapBytes = filePosition - options.filePosition
  const isBeyond = baseOffset > options.offset && baseOffset - options.offset <= 4096 + gapBytes * OFFSETS_A_BYTE_MAX
  return isBeyond && batch.leaderEpoch >= options.leaderEpoch ? bytes : -1
}

function crcFitsInFile(files: FileSystem, fd: Fd, position: number, bytes: number): boolean {
  const whole = new Uint8Array(bytes)
  if (readFully(files, fd, whole, position) < bytes) return false
  const batch = new BatchView().reset(whole)
  return batch.computeCrc() === batch.crc
}
