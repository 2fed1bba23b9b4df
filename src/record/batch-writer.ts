/**
 * BatchWriter: the producer's hot path. Appends records into one buffer that grows and is used again; no object per record.
 *
 * Owns        its buffer; what finish() answers is a view of it, valid until reset()
 * Invariants  W1 [RECORDS_AT, #at) holds #count whole records, whatever append() answered or threw
 *             W2 RECORDS_AT <= #at <= batchBytesMax
 * Ordering    append* -> finish -> (send) -> reset
 * Limits      batchBytesMax of the options (append answers false first), BATCH_RECORDS_MAX
 * Failure     MillraceError INVALID_ARGUMENT for a timestamp that is not a safe integer, INVALID_RECORD for a key, value or header that
 *             is neither text nor bytes; nothing was appended
 * Not here    which partition (partitioner.ts), when a batch is sent (client)
 */
import { assert } from '../base/assert.ts'
import { isBytes, kindOf, writeSafeInt64 } from '../base/bytes.ts'
import { crc32c } from '../base/crc32c.ts'
import { utf8Bytes, utf8Write } from '../base/utf8-write.ts'
import { varintBytes, varlongBytes, writeVarint, writeVarlong } from '../base/varint.ts'
import { MillraceError } from '../model/errors.ts'
import { NO_LEADER_EPOCH, NO_PRODUCER_ID } from '../model/ids.ts'
import { BATCH_BYTES_DEFAULT, BATCH_RECORDS_MAX } from '../model/limits.ts'
import {
  ATTRIBUTES_AT,
  BASE_OFFSET_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  BATCH_LENGTH_AT,
  BATCH_PREFIX_BYTES,
  CRC_AT,
  CRC_FROM,
  LAST_OFFSET_DELTA_AT,
  MAGIC,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  NO_PRODUCER_EPOCH,
  NO_SEQUENCE,
  PARTITION_LEADER_EPOCH_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORDS_AT,
  RECORDS_COUNT_AT,
  TRANSACTIONAL_BIT,
} from './batch-layout.ts'
import { type Codecs, NO_CODEC, NO_CODECS, requireCodec } from './compression.ts'

/** A header to write; text is written as UTF-8. The same key may come more than once, order is kept. */
export interface HeaderInput {
  readonly key: string
  readonly value: Uint8Array | string | null
}

export interface BatchWriterOptions {
  /** Bytes of a whole batch before compression. */
  readonly batchBytesMax?: number
  /** Bytes of the buffer at the start; it doubles as needed. */
  readonly initialBytes?: number
  readonly codecs?: Codecs
}

export interface FinishOptions {
  readonly producerId?: number
  readonly producerEpoch?: number
  /** Sequence of the first record. */
  readonly baseSequence?: number
  readonly transactional?: boolean
  /** Number of the codec (compression.ts); 0 = none. */
  readonly codec?: number
}

/** A record costs at most this many bytes beside its key, value and headers. */
export const RECORD_OVERHEAD_BYTES_MAX = 5 + 1 + 10 + 5 + 5 + 5 + 5

const INITIAL_BYTES_DEFAULT = 16 * 1024

/** Under this many bytes a loop copies faster than TypedArray.set. */
const LOOP_COPY_BYTES_MAX = 12

type Place = 'written' | 'full' | 'not-ascii'

export class BatchWriter {
  readonly batchBytesMax: number
  readonly #codecs: Codecs
  #bytes: Uint8Array
  #data: DataView
  #at = RECORDS_AT
  #count = 0
  #baseTimestamp = 0
  #maxTimestamp = 0
  #finished = false

  constructor(options: BatchWriterOptions = {}) {
    this.batchBytesMax = options.batchBytesMax ?? BATCH_BYTES_DEFAULT
    assert(this.batchBytesMax > RECORDS_AT && this.batchBytesMax < 2 ** 31, 'batchBytesMax is out of range')
    this.#codecs = options.codecs ?? NO_CODECS
    this.#bytes = new Uint8Array(Math.max(options.initialBytes ?? INITIAL_BYTES_DEFAULT, RECORDS_AT))
    this.#data = new DataView(this.#bytes.buffer)
  }

  get recordsCount(): number {
    return this.#count
  }

  /** Bytes of the batch as it is now, before compression. */
  get sizeInBytes(): number {
    return this.#at
  }

  /** Bytes of the buffer. */
  get capacityBytes(): number {
    return this.#bytes.length
  }

  /** Largest timestamp appended, milliseconds; 0 while empty. */
  get maxTimestamp(): number {
    return this.#maxTimestamp
  }

  /** True when a record whose key, value and headers take `bytes` fits for certain. */
  wouldFit(bytes: number): boolean {
    return this.#at + bytes + RECORD_OVERHEAD_BYTES_MAX <= this.batchBytesMax && this.#count < BATCH_RECORDS_MAX
  }

  /**
   * Appends one record; text is written as UTF-8. False when the batch is full: nothing was appended.
   * False on an empty batch means that the record alone is larger than batchBytesMax.
   */
  append(
    key: Uint8Array | string | null,
    value: Uint8Array | string | null,
    headers: readonly HeaderInput[] | null,
    timestampMs: number,
  ): boolean {
    assert(!this.#finished, 'append after finish: reset the writer first')
    if (!Number.isSafeInteger(timestampMs)) refuseTimestamp(timestampMs)
    if (this.#count === BATCH_RECORDS_MAX) return false
    const timestampDelta = this.#count === 0 ? 0 : timestampMs - this.#baseTimestamp
    if (!Number.isSafeInteger(timestampDelta)) refuseTimestamp(timestampMs)

    if (headers !== null) checkHeaders(headers)
    // Most text is ASCII, where the length in bytes is the length of the string: no pass over it is needed to know.
    const keyBytes = asciiBytes(key, 'key')
    const valueBytes = asciiBytes(value, 'value')
    let place = this.#write(key, keyBytes, value, valueBytes, headers, timestampDelta)
    if (place === 'not-ascii')
      place = this.#write(key, exactBytes(key), value, exactBytes(value), headers, timestampDelta)
    if (place === 'full') return false

    if (this.#count === 0) {
      this.#baseTimestamp = timestampMs
      this.#maxTimestamp = timestampMs
    } else if (timestampMs > this.#maxTimestamp) this.#maxTimestamp = timestampMs
    this.#count++
    return true
  }

  /** Writes the record at #at if key and value take the bytes named; −1 stands for null. */
  #write(
    key: Uint8Array | string | null,
    keyBytes: number,
    value: Uint8Array | string | null,
    valueBytes: number,
    headers: readonly HeaderInput[] | null,
    timestampDelta: number,
  ): Place {
    const bodyBytes =
      1 +
      varlongBytes(timestampDelta) +
      varintBytes(this.#count) +
      varintBytes(keyBytes) +
      Math.max(keyBytes, 0) +
      varintBytes(valueBytes) +
      Math.max(valueBytes, 0) +
      (headers === null ? 1 : headersBytes(headers))
    const end = this.#at + varintBytes(bodyBytes) + bodyBytes
    if (end > this.batchBytesMax) return 'full'
    // Text that turns out not to be ASCII takes up to three bytes a character before that shows.
    const spill = (typeof key === 'string' ? 2 * key.length : 0) + (typeof value === 'string' ? 2 * value.length : 0)
    if (end + spill > this.#bytes.length) this.#grow(end + spill)

    const bytes = this.#bytes
    let at = writeVarint(bytes, this.#at, bodyBytes)
    bytes[at++] = 0 // attributes of a record: unused
    at = writeVarlong(bytes, at, timestampDelta)
    at = writeVarint(bytes, at, this.#count)
    at = writeVarint(bytes, at, keyBytes)
    if (key !== null) {
      if (put(bytes, at, key) !== keyBytes) return 'not-ascii'
      at += keyBytes
    }
    at = writeVarint(bytes, at, valueBytes)
    if (value !== null) {
      if (put(bytes, at, value) !== valueBytes) return 'not-ascii'
      at += valueBytes
    }
    if (headers === null) bytes[at++] = 0
    else at = writeHeaders(bytes, at, headers)
    if (at !== end) throw new MillraceError('INVALID_ARGUMENT', 'a key, value or header changed while it was written')
    this.#at = end
    return 'written'
  }

  #grow(bytesMin: number): void {
    const grown = new Uint8Array(Math.max(bytesMin, Math.min(2 * this.#bytes.length, this.batchBytesMax)))
    grown.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = grown
    this.#data = new DataView(grown.buffer)
  }

  /**
   * The whole batch, CRC included: base offset 0, leader epoch −1, ready to send. A view of the writer's buffer, valid until reset().
   * Records that a codec would not make smaller go uncompressed.
   */
  finish(options: FinishOptions = {}): Uint8Array {
    assert(this.#count > 0, 'finish: a batch has at least one record')
    assert(!this.#finished, 'finish: the batch is finished')
    this.#finished = true
    const codec = this.#pack(options.codec ?? NO_CODEC)
    const data = this.#data
    writeSafeInt64(data, BASE_OFFSET_AT, 0)
    data.setInt32(BATCH_LENGTH_AT, this.#at - BATCH_PREFIX_BYTES)
    data.setInt32(PARTITION_LEADER_EPOCH_AT, NO_LEADER_EPOCH)
    data.setInt8(MAGIC_AT, MAGIC)
    data.setInt16(ATTRIBUTES_AT, codec | (options.transactional === true ? TRANSACTIONAL_BIT : 0))
    data.setInt32(LAST_OFFSET_DELTA_AT, this.#count - 1)
    writeSafeInt64(data, BASE_TIMESTAMP_AT, this.#baseTimestamp)
    writeSafeInt64(data, MAX_TIMESTAMP_AT, this.#maxTimestamp)
    writeSafeInt64(data, PRODUCER_ID_AT, options.producerId ?? NO_PRODUCER_ID)
    data.setInt16(PRODUCER_EPOCH_AT, options.producerEpoch ?? NO_PRODUCER_EPOCH)
    data.setInt32(BASE_SEQUENCE_AT, options.baseSequence ?? NO_SEQUENCE)
    data.setInt32(RECORDS_COUNT_AT, this.#count)
    data.setUint32(CRC_AT, crc32c(this.#bytes.subarray(CRC_FROM, this.#at)))
    return this.#bytes.subarray(0, this.#at)
  }

  /** Replaces the records by their packed form where that is smaller; answers the codec that was used. */
  #pack(codec: number): number {
    if (codec === NO_CODEC) return NO_CODEC
    const packed = requireCodec(this.#codecs, codec).compress(this.#bytes.subarray(RECORDS_AT, this.#at))
    if (packed.length >= this.#at - RECORDS_AT) return NO_CODEC
    this.#bytes.set(packed, RECORDS_AT)
    this.#at = RECORDS_AT + packed.length
    return codec
  }

  /** Begins a new batch in the same buffer; what finish() answered is no longer valid. */
  reset(): void {
    this.#at = RECORDS_AT
    this.#count = 0
    this.#baseTimestamp = 0
    this.#maxTimestamp = 0
    this.#finished = false
  }
}

function refuseTimestamp(timestampMs: number): never {
  throw new MillraceError('INVALID_ARGUMENT', `timestampMs ${timestampMs} is not an integer number of milliseconds`)
}

/** Bytes of a part if its text is ASCII; −1 stands for null. What is neither text nor bytes is refused: it would be stored as something else. */
function asciiBytes(part: Uint8Array | string | null, what: string): number {
  if (part === null) return -1
  if (typeof part === 'string' || part instanceof Uint8Array || isBytes(part)) return part.length
  return refusePart(part, what)
}

function refusePart(part: unknown, what: string): never {
  throw new MillraceError('INVALID_RECORD', `${what}: expected text, a Uint8Array or null, not ${kindOf(part)}`)
}

/** Throws INVALID_RECORD unless the headers are a list of keys and values. */
function checkHeaders(headers: readonly HeaderInput[]): void {
  if (!Array.isArray(headers))
    throw new MillraceError('INVALID_RECORD', `headers: expected a list of { key, value }, not ${kindOf(headers)}`)
  for (let index = 0; index < headers.length; index++) {
    const header = headers[index] as Partial<HeaderInput> | null | undefined
    if (typeof header?.key !== 'string')
      throw new MillraceError('INVALID_RECORD', `headers[${index}].key: expected text, not ${kindOf(header?.key)}`)
    const { value } = header
    if (value !== null && typeof value !== 'string' && !isBytes(value)) refusePart(value, `headers[${index}].value`)
  }
}

function exactBytes(part: Uint8Array | string | null): number {
  if (part === null) return -1
  return typeof part === 'string' ? utf8Bytes(part) : part.length
}

/** Writes a key or value; returns its bytes. */
function put(bytes: Uint8Array, at: number, part: Uint8Array | string): number {
  if (typeof part === 'string') return utf8Write(bytes, at, part)
  const length = part.length
  if (length > LOOP_COPY_BYTES_MAX) bytes.set(part, at)
  else for (let index = 0; index < length; index++) bytes[at + index] = part[index]!
  return length
}

/** Bytes of the header count and the headers. */
function headersBytes(headers: readonly HeaderInput[]): number {
  let bytes = varintBytes(headers.length)
  for (let index = 0; index < headers.length; index++) {
    const header = headers[index]!
    const keyBytes = utf8Bytes(header.key)
    const valueBytes = exactBytes(header.value)
    bytes += varintBytes(keyBytes) + keyBytes + varintBytes(valueBytes) + Math.max(valueBytes, 0)
  }
  return bytes
}

function writeHeaders(bytes: Uint8Array, from: number, headers: readonly HeaderInput[]): number {
  let at = writeVarint(bytes, from, headers.length)
  for (let index = 0; index < headers.length; index++) {
    const header = headers[index]!
    at = writeVarint(bytes, at, utf8Bytes(header.key))
    at += utf8Write(bytes, at, header.key)
    at = writeVarint(bytes, at, exactBytes(header.value))
    if (header.value !== null) at += put(bytes, at, header.value)
  }
  return at
}
