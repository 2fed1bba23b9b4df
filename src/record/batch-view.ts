/**
 * BatchView: the header fields of one record batch, read and stamped where it lies.
 *
 * Owns        nothing: it looks at the caller's bytes, which may be shared memory. One view is reset() from batch to batch
 *             without allocating while the batches lie in one buffer.
 * Invariants  at least BATCH_HEADER_BYTES lie at `at`; the caller has checked that (checkBatch, batchBytesAt)
 * Failure     none: a 64-bit field beyond the safe integers reads as NaN, which checkBatch refuses
 * Not here    what makes a batch valid: batch-validator.ts
 */
import { readSafeInt64, writeSafeInt64 } from '../base/bytes.ts'
import { crc32c } from '../base/crc32c.ts'
import type { LeaderEpoch, Offset } from '../model/ids.ts'
import {
  ATTRIBUTES_AT,
  BASE_OFFSET_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  BATCH_LENGTH_AT,
  BATCH_PREFIX_BYTES,
  CODEC_MASK,
  CONTROL_BIT,
  CRC_AT,
  CRC_FROM,
  LAST_OFFSET_DELTA_AT,
  LOG_APPEND_TIME_BIT,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  PARTITION_LEADER_EPOCH_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORDS_AT,
  RECORDS_COUNT_AT,
  sequenceAfter,
  TRANSACTIONAL_BIT,
} from './batch-layout.ts'

const NOTHING = new Uint8Array(RECORDS_AT)

export class BatchView {
  #bytes: Uint8Array = NOTHING
  #data: DataView<ArrayBufferLike> = new DataView(NOTHING.buffer)
  #from = 0
  #at = 0

  /** Looks at the batch that begins at bytes[at]. */
  reset(bytes: Uint8Array, at = 0): this {
    if (bytes.buffer !== this.#data.buffer) this.#data = new DataView(bytes.buffer)
    this.#bytes = bytes
    this.#at = at
    this.#from = bytes.byteOffset + at
    return this
  }

  /** The array the batch lies in. */
  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** Index of the batch's first byte in `bytes`. */
  get at(): number {
    return this.#at
  }

  /** Index after the batch's last byte in `bytes`: where the next one begins. */
  get end(): number {
    return this.#at + this.sizeInBytes
  }

  get baseOffset(): Offset {
    return readSafeInt64(this.#data, this.#from + BASE_OFFSET_AT) as Offset
  }

  /** Bytes of the whole batch, header included. */
  get sizeInBytes(): number {
    return BATCH_PREFIX_BYTES + this.#data.getInt32(this.#from + BATCH_LENGTH_AT)
  }

  get leaderEpoch(): LeaderEpoch {
    return this.#data.getInt32(this.#from + PARTITION_LEADER_EPOCH_AT) as LeaderEpoch
  }

  get magic(): number {
    return this.#data.getInt8(this.#from + MAGIC_AT)
  }

  /** The CRC-32C that the batch says it has. */
  get crc(): number {
    return this.#data.getUint32(this.#from + CRC_AT)
  }

  get attributes(): number {
    return this.#data.getInt16(this.#from + ATTRIBUTES_AT)
  }

  /** Number of the codec: compression.ts has the names. */
  get codec(): number {
    return this.attributes & CODEC_MASK
  }

  get isTransactional(): boolean {
    return (this.attributes & TRANSACTIONAL_BIT) !== 0
  }

  get isControl(): boolean {
    return (this.attributes & CONTROL_BIT) !== 0
  }

  get timestampType(): 'CreateTime' | 'LogAppendTime' {
    return (this.attributes & LOG_APPEND_TIME_BIT) === 0 ? 'CreateTime' : 'LogAppendTime'
  }

  get lastOffsetDelta(): number {
    return this.#data.getInt32(this.#from + LAST_OFFSET_DELTA_AT)
  }

  get lastOffset(): Offset {
    return (this.baseOffset + this.lastOffsetDelta) as Offset
  }

  get nextOffset(): Offset {
    return (this.baseOffset + this.lastOffsetDelta + 1) as Offset
  }

  /** Milliseconds. */
  get baseTimestamp(): number {
    return readSafeInt64(this.#data, this.#from + BASE_TIMESTAMP_AT)
  }

  /** Milliseconds. */
  get maxTimestamp(): number {
    return readSafeInt64(this.#data, this.#from + MAX_TIMESTAMP_AT)
  }

  get producerId(): number {
    return readSafeInt64(this.#data, this.#from + PRODUCER_ID_AT)
  }

  get producerEpoch(): number {
    return this.#data.getInt16(this.#from + PRODUCER_EPOCH_AT)
  }

  get baseSequence(): number {
    return this.#data.getInt32(this.#from + BASE_SEQUENCE_AT)
  }

  /** Sequence of the last record; −1 when the batch has none. */
  get lastSequence(): number {
    const first = this.baseSequence
    return first < 0 ? first : sequenceAfter(first, this.lastOffsetDelta)
  }

  get recordsCount(): number {
    return this.#data.getInt32(this.#from + RECORDS_COUNT_AT)
  }

  /** CRC-32C of the bytes as they are now. */
  computeCrc(): number {
    return crc32c(this.#bytes.subarray(this.#at + CRC_FROM, this.end))
  }

  /** The leader's stamp; both fields lie outside the CRC. */
  stamp(baseOffset: Offset | number, leaderEpoch: LeaderEpoch | number): void {
    writeSafeInt64(this.#data, this.#from + BASE_OFFSET_AT, baseOffset)
    this.#data.setInt32(this.#from + PARTITION_LEADER_EPOCH_AT, leaderEpoch)
  }

  /** Gives the batch to another incarnation of its producer (a new epoch, another sequence) and hashes again. */
  stampProducer(producer: { producerId: number; producerEpoch: number; baseSequence: number }): void {
    writeSafeInt64(this.#data, this.#from + PRODUCER_ID_AT, producer.producerId)
    this.#data.setInt16(this.#from + PRODUCER_EPOCH_AT, producer.producerEpoch)
    this.#data.setInt32(this.#from + BASE_SEQUENCE_AT, producer.baseSequence)
    this.#data.setUint32(this.#from + CRC_AT, this.computeCrc())
  }

  /** Makes `timestampMs` the time of every record (message.timestamp.type = LogAppendTime) and hashes again. */
  stampLogAppendTime(timestampMs: number): void {
    this.#data.setInt16(this.#from + ATTRIBUTES_AT, this.attributes | LOG_APPEND_TIME_BIT)
    writeSafeInt64(this.#data, this.#from + MAX_TIMESTAMP_AT, timestampMs)
    this.#data.setUint32(this.#from + CRC_AT, this.computeCrc())
  }
}
