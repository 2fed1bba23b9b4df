/**
 * BatchReader: the consumer's hot path. A cursor over the records of a fetch body, batch after batch.
 *
 * Owns        nothing of the body: keys and values are views of it (or of the unpacked records), made when asked for
 * Invariants  D1 the offsets of delivered records rise and are at least `fromOffset`
 *             D2 control batches are passed over, never delivered
 *             D3 `nextOffset` is where the next fetch goes on, also past batches that held nothing to deliver
 *             D4 batches of the aborted transactions that reset() was told of are passed over (aborted-filter.ts)
 * Limits      unpackedBytesMax for a compressed batch
 * Failure     MillraceError from next(): CORRUPT_MESSAGE with what and where, UNSUPPORTED_COMPRESSION_TYPE, RECORD_LIST_TOO_LARGE;
 *             every record before the damage has been delivered then, and further calls throw the same. A last batch that was cut short is no fault: `isCut`.
 */
import { utf8Decode } from '../base/bytes.ts'
import { VarintCursor } from '../base/varint.ts'
import { type AbortedTransaction, NO_ABORTED } from '../model/aborted-transaction.ts'
import { MillraceError } from '../model/errors.ts'
import { UNPACKED_BYTES_MAX } from '../model/limits.ts'
import { AbortedFilter } from './aborted-filter.ts'
import { BATCH_HEADER_BYTES, batchBytesAt, LOG_APPEND_TIME_BIT, MAGIC, MAGIC_AT, RECORDS_AT } from './batch-layout.ts'
import { BatchView } from './batch-view.ts'
import { type Codecs, NO_CODEC, NO_CODECS, requireCodec } from './compression.ts'

export interface RecordHeader {
  readonly key: string
  readonly value: Uint8Array | null
}

export interface BatchReaderOptions {
  readonly codecs?: Codecs
  /** Check each batch's CRC-32C; on unless said otherwise. */
  readonly checkCrc?: boolean
  /** Bytes of the records of one batch once unpacked. */
  readonly unpackedBytesMax?: number
}

const NO_HEADERS: readonly RecordHeader[] = []

export class BatchReader {
  readonly #codecs: Codecs
  readonly #checkCrc: boolean
  readonly #unpackedBytesMax: number
  readonly #batch = new BatchView()
  readonly #aborted = new AbortedFilter()
  readonly #cursor = new VarintCursor(new Uint8Array(0))
  readonly #headerCursor = new VarintCursor(new Uint8Array(0))

  // The body and where the next batch of it begins.
  #body = new Uint8Array(0) as Uint8Array
  #bodyAt = 0
  #fromOffset = 0
  #isCut = false
  #fault: MillraceError | undefined
  #nextOffset = 0
  /** Where the batch before ended: offsets rise from batch to batch. */
  #baseOffsetMin = 0

  // The batch that is open.
  #left = 0
  #baseOffset = 0
  #batchNextOffset = 0
  #lastDelta = -1
  #lastOffsetDelta = 0
  #baseTimestamp = 0
  #maxTimestamp = 0
  #isAppendTime = false
  #records = new Uint8Array(0) as Uint8Array

  // The record that is current.
  #offset = -1
  #timestampMs = 0
  #keyAt = 0
  #keyBytes = -1
  #valueAt = 0
  #valueBytes = -1
  #headersAt = 0
  #headersEnd = 0
  #headersCount = 0

  constructor(options: BatchReaderOptions = {}) {
    this.#codecs = options.codecs ?? NO_CODECS
    this.#checkCrc = options.checkCrc ?? true
    this.#unpackedBytesMax = options.unpackedBytesMax ?? UNPACKED_BYTES_MAX
  }

  /**
   * Begins to read `body`, batches one after the other; records below `fromOffset` are passed over, and those of `aborted`
   * transactions. What is told of those is good for the whole body, from its first batch.
   */
  reset(body: Uint8Array, fromOffset = 0, aborted: readonly AbortedTransaction[] = NO_ABORTED): this {
    this.#aborted.reset(aborted)
    this.#body = body
    this.#bodyAt = 0
    this.#fromOffset = fromOffset
    this.#nextOffset = fromOffset
    this.#isCut = false
    this.#fault = undefined
    this.#baseOffsetMin = 0
    this.#batchNextOffset = fromOffset
    this.#left = 0
    this.#offset = -1
    return this
  }

  /** Offset of the current record. */
  get offset(): number {
    return this.#offset
  }

  /** Milliseconds: the producer's time, or the append time where the topic says so. */
  get timestampMs(): number {
    return this.#timestampMs
  }

  get key(): Uint8Array | null {
    return this.#keyBytes < 0 ? null : this.#records.subarray(this.#keyAt, this.#keyAt + this.#keyBytes)
  }

  get value(): Uint8Array | null {
    return this.#valueBytes < 0 ? null : this.#records.subarray(this.#valueAt, this.#valueAt + this.#valueBytes)
  }

  /** Bytes of key and value together. */
  get payloadBytes(): number {
    return Math.max(this.#keyBytes, 0) + Math.max(this.#valueBytes, 0)
  }

  /** Headers of the current record, decoded at each call. */
  get headers(): readonly RecordHeader[] {
    if (this.#headersCount === 0) return NO_HEADERS
    const cursor = this.#headerCursor
    cursor.reset(this.#records, this.#headersAt, this.#headersEnd)
    const headers: RecordHeader[] = []
    for (let index = 0; index < this.#headersCount; index++) {
      const key = utf8Decode(this.#part(cursor, cursor.varint()) ?? this.#records.subarray(0, 0))
      headers.push({ key, value: this.#part(cursor, cursor.varint()) })
    }
    return headers
  }

  /** Where the next fetch goes on: after the current record, or after the last whole batch once next() has answered false. */
  get nextOffset(): number {
    return this.#nextOffset
  }

  /** The body ended within a batch: fetch again from nextOffset. */
  get isCut(): boolean {
    return this.#isCut
  }

  /** Goes to the next record; false at the end of the last whole batch. */
  next(): boolean {
    for (;;) {
      while (this.#left === 0) {
        if (this.#fault !== undefined) throw this.#fault
        if (this.#batchNextOffset > this.#nextOffset) this.#nextOffset = this.#batchNextOffset
        if (!this.#openBatch()) return false
      }
      this.#readRecord()
      if (this.#offset >= this.#fromOffset) {
        this.#nextOffset = this.#offset + 1
        return true
      }
    }
  }

  /** Opens the batch at #bodyAt, which may have nothing to deliver; false where the body ends. */
  #openBatch(): boolean {
    const at = this.#bodyAt
    const end = this.#body.length
    if (at === end) return false
    const total = batchBytesAt(this.#body, at, end)
    if (total > end - at || end - at < BATCH_HEADER_BYTES) {
      this.#isCut = true
      this.#bodyAt = end
      return false
    }
    if (total < 0) this.#corrupt('its length is shorter than a batch header')
    const batch = this.#batch.reset(this.#body, at)
    this.#checkHeader(batch)
    this.#bodyAt = at + total
    this.#batchNextOffset = batch.nextOffset
    this.#baseOffsetMin = batch.nextOffset
    const isAborted = !this.#aborted.accept(batch)
    if (isAborted || batch.isControl || batch.lastOffset < this.#fromOffset) return true
    try {
      this.#openRecords(batch, at, total)
    } catch (error) {
      // The codec's own fault; it stands, so that a second next() does not step over the batch.
      this.#fault = error instanceof MillraceError ? error : undefined
      throw error
    }
    return true
  }

  #checkHeader(batch: BatchView): void {
    if (batch.magic !== MAGIC) this.#corrupt(`its magic is ${this.#body[this.#bodyAt + MAGIC_AT]}, not ${MAGIC}`)
    if (this.#checkCrc && batch.computeCrc() !== batch.crc) this.#corrupt('its checksum does not match')
    const isOrdered = batch.lastOffsetDelta >= 0 && batch.baseOffset >= 0 && Number.isSafeInteger(batch.nextOffset)
    if (!isOrdered) this.#corrupt(`its offsets ${batch.baseOffset} to ${batch.lastOffset} are not in order`)
    if (batch.baseOffset < this.#baseOffsetMin)
      this.#corrupt(`it begins before offset ${this.#baseOffsetMin}, where the batch before it ended`)
    if (batch.recordsCount < 0 || batch.recordsCount > batch.lastOffsetDelta + 1)
      this.#corrupt(`it says it has ${batch.recordsCount} records in ${batch.lastOffsetDelta + 1} offsets`)
    if (Number.isNaN(batch.baseTimestamp) || Number.isNaN(batch.maxTimestamp))
      this.#corrupt('a timestamp is beyond 2^53 milliseconds')
  }

  #openRecords(batch: BatchView, at: number, total: number): void {
    if (batch.codec === NO_CODEC) {
      this.#records = this.#body
      this.#cursor.reset(this.#body, at + RECORDS_AT, at + total)
    } else {
      const packed = this.#body.subarray(at + RECORDS_AT, at + total)
      this.#records = requireCodec(this.#codecs, batch.codec).decompress(packed, this.#unpackedBytesMax)
      this.#cursor.reset(this.#records, 0, this.#records.length)
    }
    this.#left = batch.recordsCount
    this.#baseOffset = batch.baseOffset
    this.#lastOffsetDelta = batch.lastOffsetDelta
    this.#lastDelta = -1
    this.#baseTimestamp = batch.baseTimestamp
    this.#maxTimestamp = batch.maxTimestamp
    this.#isAppendTime = (batch.attributes & LOG_APPEND_TIME_BIT) !== 0
  }

  #readRecord(): void {
    const cursor = this.#cursor
    const bodyBytes = cursor.varint()
    const end = cursor.at + bodyBytes
    if (!cursor.ok || bodyBytes < 0 || end > cursor.end) this.#corruptRecord()
    cursor.skip(1)
    const timestampDelta = cursor.varlong()
    const offsetDelta = cursor.varint()
    this.#keyBytes = cursor.varint()
    this.#keyAt = cursor.at
    if (this.#keyBytes !== -1) cursor.skip(this.#keyBytes)
    this.#valueBytes = cursor.varint()
    this.#valueAt = cursor.at
    if (this.#valueBytes !== -1) cursor.skip(this.#valueBytes)
    this.#headersCount = cursor.varint()
    this.#headersAt = cursor.at
    this.#headersEnd = end
    if (this.#headersCount !== 0) this.#passHeaders(cursor)
    if (!cursor.ok || cursor.at !== end) this.#corruptRecord()
    if (offsetDelta <= this.#lastDelta || offsetDelta > this.#lastOffsetDelta) this.#corruptRecord()
    this.#lastDelta = offsetDelta
    this.#offset = this.#baseOffset + offsetDelta
    this.#timestampMs = this.#isAppendTime ? this.#maxTimestamp : this.#baseTimestamp + timestampDelta
    this.#left--
    if (this.#left === 0 && cursor.at !== cursor.end) this.#corruptRecord()
  }

  #passHeaders(cursor: VarintCursor): void {
    if (this.#headersCount < 0) cursor.skip(-1)
    for (let index = 0; index < this.#headersCount && cursor.ok; index++) {
      cursor.skip(cursor.varint())
      const valueBytes = cursor.varint()
      if (valueBytes !== -1) cursor.skip(valueBytes)
    }
  }

  #part(cursor: VarintCursor, bytes: number): Uint8Array | null {
    if (bytes < 0) return null
    const from = cursor.at
    cursor.skip(bytes)
    return this.#records.subarray(from, from + bytes)
  }

  #corruptRecord(): never {
    this.#left = 0
    this.#fail(
      `the record after offset ${this.#baseOffset + this.#lastDelta} of the batch at base offset ${this.#baseOffset} is not well formed`,
    )
  }

  #corrupt(what: string): never {
    const at = this.#bodyAt
    const baseOffset = this.#batch.reset(this.#body, at).baseOffset
    this.#fail(`the batch at byte ${at} (base offset ${baseOffset}) is damaged: ${what}`)
  }

  #fail(text: string): never {
    this.#fault = new MillraceError('CORRUPT_MESSAGE', text)
    throw this.#fault
  }
}

/** A record as a plain object; key, value and header values are views of the bytes given. */
export interface PlainRecord {
  readonly offset: number
  readonly timestampMs: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly RecordHeader[]
}

/** All records of `body` from `fromOffset` on, the easy way. Throws as BatchReader.next does. */
export function readRecords(
  body: Uint8Array,
  options: BatchReaderOptions & { fromOffset?: number } = {},
): PlainRecord[] {
  const reader = new BatchReader(options).reset(body, options.fromOffset ?? 0)
  const records: PlainRecord[] = []
  while (reader.next())
    records.push({
      offset: reader.offset,
      timestampMs: reader.timestampMs,
      key: reader.key,
      value: reader.value,
      headers: reader.headers,
    })
  return records
}
