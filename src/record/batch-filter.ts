/**
 * BatchFilter: a record batch without some of its records, as compaction leaves it: what stays keeps its offset, time, key,
 * value and headers byte for byte, and the batch keeps its base offset, last offset delta, producer, codec and kind of time.
 *
 * Owns        one output buffer, used again: what filter() and the functions below answer is valid until the next call
 * Invariants  BF1 a record that is kept has the offset and timestamp it had        checked in: test/unit/record/batch-filter.test.ts
 *             BF2 the last sequence of the batch is what it was: it follows from baseSequence and lastOffsetDelta
 * Limits      unpackedBytesMax for a compressed batch
 * Failure     MillraceError as from BatchReader: CORRUPT_MESSAGE, UNSUPPORTED_COMPRESSION_TYPE, RECORD_LIST_TOO_LARGE
 * Not here    which records go (log/segment-rewriter.ts)
 */
import { writeSafeInt64 } from '../base/bytes.ts'
import { crc32c } from '../base/crc32c.ts'
import { VarintCursor, varlongBytes, writeVarint, writeVarlong } from '../base/varint.ts'
import { MillraceError } from '../model/errors.ts'
import { UNPACKED_BYTES_MAX } from '../model/limits.ts'
import {
  ATTRIBUTES_AT,
  BASE_TIMESTAMP_AT,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_AT,
  BATCH_PREFIX_BYTES,
  CODEC_MASK,
  CRC_AT,
  CRC_FROM,
  DELETE_HORIZON_BIT,
  LOG_APPEND_TIME_BIT,
  MAX_TIMESTAMP_AT,
  RECORDS_AT,
  RECORDS_COUNT_AT,
} from './batch-layout.ts'
import type { BatchView } from './batch-view.ts'
import { type Codecs, NO_CODEC, requireCodec } from './compression.ts'

/** One record as a filter sees it: fields of one object, filled anew for each. */
export interface FilteredRecord {
  offset: number
  /** The key is bytes[keyAt, keyAt + keyBytes); keyBytes −1 = it has none. */
  bytes: Uint8Array
  keyAt: number
  keyBytes: number
  /** A tombstone: its value is null. */
  isTombstone: boolean
}

export interface FilterOptions {
  readonly keeps: (record: Readonly<FilteredRecord>) => boolean
  /** Set as the delete horizon of a batch that keeps a tombstone and has none yet, ms; −1 = not yet. */
  readonly deleteHorizonMs: number
}

/** unchanged: nothing goes. emptied: nothing stays. filtered: `bytes` is the new batch. */
export type FilterOutcome = 'unchanged' | 'emptied' | 'filtered'

const FIRST_BYTES = 64 * 1024
const EMPTY_TIMESTAMP = -1

/** When its tombstones may go, ms; −1 = nobody has said so yet. */
export function deleteHorizonMs(batch: BatchView): number {
  return (batch.attributes & DELETE_HORIZON_BIT) === 0 ? -1 : batch.baseTimestamp
}

export class BatchFilter {
  readonly #codecs: Codecs
  readonly #unpackedBytesMax: number
  readonly #cursor = new VarintCursor(new Uint8Array(0))
  readonly #record: FilteredRecord = {
    offset: 0,
    bytes: new Uint8Array(0),
    keyAt: 0,
    keyBytes: -1,
    isTombstone: false,
  }
  #out = new Uint8Array(FIRST_BYTES)
  #outBytes = 0
  // Of the record last passed.
  #recordAt = 0
  #recordEnd = 0
  #timestampDelta = 0
  // Of the batch: records kept, as [at, end) pairs.
  #kept: number[] = []
  #maxTimestampDelta = 0
  #hasTombstone = false

  constructor(options: { readonly codecs: Codecs; readonly unpackedBytesMax?: number }) {
    this.#codecs = options.codecs
    this.#unpackedBytesMax = options.unpackedBytesMax ?? UNPACKED_BYTES_MAX
  }

  /** The new batch after 'filtered'. */
  get bytes(): Uint8Array {
    return this.#out.subarray(0, this.#outBytes)
  }

  /** Shows every record of the batch; `visit` answers false to stop. Control batches have none to show. */
  visit(batch: BatchView, visit: (record: Readonly<FilteredRecord>) => boolean): void {
    if (batch.isControl) return
    this.#open(batch)
    for (let left = batch.recordsCount; left > 0; left--) {
      this.#pass(batch)
      if (!visit(this.#record)) return
    }
  }

  /** Leaves out the records that `keeps` denies. A control batch is never touched. */
  filter(batch: BatchView, options: FilterOptions): FilterOutcome {
    if (batch.isControl) return 'unchanged'
    const records = this.#open(batch)
    const count = batch.recordsCount
    this.#kept.length = 0
    this.#maxTimestampDelta = Number.NEGATIVE_INFINITY
    this.#hasTombstone = false
    for (let left = count; left > 0; left--) {
      this.#pass(batch)
      if (!options.keeps(this.#record)) continue
      this.#kept.push(this.#recordAt, this.#recordEnd)
      this.#maxTimestampDelta = Math.max(this.#maxTimestampDelta, this.#timestampDelta)
      this.#hasTombstone ||= this.#record.isTombstone
    }
    const keptCount = this.#kept.length / 2
    if (keptCount === 0) return count === 0 ? 'unchanged' : 'emptied'
    const needsHorizon = options.deleteHorizonMs >= 0 && this.#hasTombstone && deleteHorizonMs(batch) < 0
    if (keptCount === count && !needsHorizon) return 'unchanged'
    this.#write(batch, records, needsHorizon ? options.deleteHorizonMs : -1)
    return 'filtered'
  }

  /** The batch without records: offsets, epoch and producer stay, so that the last sequence of a producer is not forgotten. */
  empty(batch: BatchView): Uint8Array {
    this.#begin(batch)
    const data = this.#header()
    data.setInt16(ATTRIBUTES_AT, batch.attributes & ~(CODEC_MASK | DELETE_HORIZON_BIT | LOG_APPEND_TIME_BIT))
    // Nothing has a time here: no lookup by time may stop at it.
    writeSafeInt64(data, BASE_TIMESTAMP_AT, EMPTY_TIMESTAMP)
    writeSafeInt64(data, MAX_TIMESTAMP_AT, EMPTY_TIMESTAMP)
    return this.#seal(0)
  }

  #open(batch: BatchView): Uint8Array {
    const { bytes, at, end } = batch
    let records = bytes
    if (batch.codec === NO_CODEC) this.#cursor.reset(bytes, at + RECORDS_AT, end)
    else {
      const packed = bytes.subarray(at + RECORDS_AT, end)
      records = requireCodec(this.#codecs, batch.codec).decompress(packed, this.#unpackedBytesMax)
      this.#cursor.reset(records, 0, records.length)
    }
    this.#record.bytes = records
    return records
  }

  #pass(batch: BatchView): void {
    const cursor = this.#cursor
    const record = this.#record
    this.#recordAt = cursor.at
    const bodyBytes = cursor.varint()
    this.#recordEnd = cursor.at + bodyBytes
    cursor.skip(1)
    this.#timestampDelta = cursor.varlong()
    record.offset = batch.baseOffset + cursor.varint()
    record.keyBytes = cursor.varint()
    record.keyAt = cursor.at
    if (record.keyBytes > 0) cursor.skip(record.keyBytes)
    record.isTombstone = cursor.varint() === -1
    if (!cursor.ok || bodyBytes < 0 || cursor.at > this.#recordEnd || this.#recordEnd > cursor.end)
      throw new MillraceError(
        'CORRUPT_MESSAGE',
        `a record of the batch at base offset ${batch.baseOffset} is not well formed`,
      )
    cursor.at = this.#recordEnd
  }

  #write(batch: BatchView, records: Uint8Array, newHorizonMs: number): void {
    this.#begin(batch)
    const baseTimestamp = newHorizonMs < 0 ? batch.baseTimestamp : newHorizonMs
    const shift = batch.baseTimestamp - baseTimestamp
    for (let index = 0; index < this.#kept.length; index += 2)
      this.#copy(records, this.#kept[index]!, this.#kept[index + 1]!, shift)
    this.#pack(batch.codec)
    const data = this.#header()
    const horizonBit = newHorizonMs < 0 ? 0 : DELETE_HORIZON_BIT
    data.setInt16(ATTRIBUTES_AT, batch.attributes | horizonBit)
    writeSafeInt64(data, BASE_TIMESTAMP_AT, baseTimestamp)
    // With append time it is the time of every record.
    if (batch.timestampType === 'CreateTime')
      writeSafeInt64(data, MAX_TIMESTAMP_AT, batch.baseTimestamp + this.#maxTimestampDelta)
    this.#seal(this.#kept.length / 2)
  }

  /** A record as it is, its time told from another base. */
  #copy(records: Uint8Array, at: number, end: number, shift: number): void {
    if (shift === 0) {
      this.#reserve(end - at)
      this.#out.set(records.subarray(at, end), this.#outBytes)
      this.#outBytes += end - at
      return
    }
    const cursor = this.#cursor
    cursor.reset(records, at, end)
    cursor.varint()
    const attributes = records[cursor.at]!
    cursor.skip(1)
    const timestampDelta = cursor.varlong() + shift
    const rest = records.subarray(cursor.at, end)
    const bodyBytes = 1 + varlongBytes(timestampDelta) + rest.length
    this.#reserve(bodyBytes + 5)
    let to = writeVarint(this.#out, this.#outBytes, bodyBytes)
    this.#out[to++] = attributes
    to = writeVarlong(this.#out, to, timestampDelta)
    this.#out.set(rest, to)
    this.#outBytes = to + rest.length
  }

  #pack(codec: number): void {
    if (codec === NO_CODEC) return
    const packed = requireCodec(this.#codecs, codec).compress(this.#out.subarray(RECORDS_AT, this.#outBytes))
    this.#outBytes = RECORDS_AT
    this.#reserve(packed.length)
    this.#out.set(packed, RECORDS_AT)
    this.#outBytes = RECORDS_AT + packed.length
  }

  /** The header of `batch`; records follow. */
  #begin(batch: BatchView): void {
    this.#out.set(batch.bytes.subarray(batch.at, batch.at + BATCH_HEADER_BYTES))
    this.#outBytes = BATCH_HEADER_BYTES
  }

  #header(): DataView {
    return new DataView(this.#out.buffer)
  }

  #seal(recordsCount: number): Uint8Array {
    const data = this.#header()
    data.setInt32(BATCH_LENGTH_AT, this.#outBytes - BATCH_PREFIX_BYTES)
    data.setInt32(RECORDS_COUNT_AT, recordsCount)
    data.setUint32(CRC_AT, crc32c(this.#out.subarray(CRC_FROM, this.#outBytes)))
    return this.bytes
  }

  #reserve(bytes: number): void {
    if (this.#outBytes + bytes <= this.#out.length) return
    const grown = new Uint8Array(Math.max(this.#outBytes + bytes, 2 * this.#out.length))
    grown.set(this.#out.subarray(0, this.#outBytes))
    this.#out = grown
  }
}
