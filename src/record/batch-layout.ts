/**
 * The layout of a record batch, version 2 (Kafka magic 2), big-endian, and the arithmetic of sequences.
 *
 * |  at | size | field                | notes                                                              |
 * | --: | ---: | -------------------- | ------------------------------------------------------------------ |
 * |   0 |    8 | baseOffset           | i64; the leader stamps it; outside the CRC                         |
 * |   8 |    4 | batchLength          | i32; bytes after this field                                        |
 * |  12 |    4 | partitionLeaderEpoch | i32; the leader stamps it; outside the CRC                         |
 * |  16 |    1 | magic                | i8; 2. At the same place in the old formats 0 and 1                |
 * |  17 |    4 | crc                  | u32; CRC-32C of [21, end)                                          |
 * |  21 |    2 | attributes           | i16; bits below                                                    |
 * |  23 |    4 | lastOffsetDelta      | i32; last offset − base offset; survives compaction                |
 * |  27 |    8 | baseTimestamp        | i64 ms; of the first record                                        |
 * |  35 |    8 | maxTimestamp         | i64 ms; largest of the records, or the append time                 |
 * |  43 |    8 | producerId           | i64; −1 none                                                       |
 * |  51 |    2 | producerEpoch        | i16                                                                |
 * |  53 |    4 | baseSequence         | i32; −1 none                                                       |
 * |  57 |    4 | recordsCount         | i32                                                                |
 * |  61 |      | records              | compressed: all records together as one blob                       |
 *
 * Format      format.md, compared with these constants by test/unit/record/format.test.ts
 */
import { assert } from '../base/assert.ts'

export const BASE_OFFSET_AT = 0
export const BATCH_LENGTH_AT = BASE_OFFSET_AT + 8
export const PARTITION_LEADER_EPOCH_AT = BATCH_LENGTH_AT + 4
export const MAGIC_AT = PARTITION_LEADER_EPOCH_AT + 4
export const CRC_AT = MAGIC_AT + 1
export const ATTRIBUTES_AT = CRC_AT + 4
export const LAST_OFFSET_DELTA_AT = ATTRIBUTES_AT + 2
export const BASE_TIMESTAMP_AT = LAST_OFFSET_DELTA_AT + 4
export const MAX_TIMESTAMP_AT = BASE_TIMESTAMP_AT + 8
export const PRODUCER_ID_AT = MAX_TIMESTAMP_AT + 8
export const PRODUCER_EPOCH_AT = PRODUCER_ID_AT + 8
export const BASE_SEQUENCE_AT = PRODUCER_EPOCH_AT + 2
export const RECORDS_COUNT_AT = BASE_SEQUENCE_AT + 4
export const RECORDS_AT = RECORDS_COUNT_AT + 4

/** Bytes before the first byte that batchLength counts. */
export const BATCH_PREFIX_BYTES = BATCH_LENGTH_AT + 4
/** Bytes of a batch without records: what batchLength must at least say, plus the prefix. */
export const BATCH_HEADER_BYTES = RECORDS_AT
/** First byte that the CRC covers. */
export const CRC_FROM = ATTRIBUTES_AT

assert(BATCH_HEADER_BYTES === 61, 'record batch header layout changed: it is fixed by the format')
assert(MAGIC_AT === 16, 'magic must lie at byte 16, as in the old formats')

export const MAGIC = 2

// Attributes, i16. Bits 7 to 15 are zero.
/** Bits 0–2: the codec's number. */
export const CODEC_MASK = 0x07
/** Bit 3: timestamps are the append time (maxTimestamp holds for every record), else the producer's. */
export const LOG_APPEND_TIME_BIT = 0x08
/** Bit 4: part of a transaction. */
export const TRANSACTIONAL_BIT = 0x10
/** Bit 5: one control record (a transaction marker), never delivered. */
export const CONTROL_BIT = 0x20
/** Bit 6: baseTimestamp is the delete horizon; the compactor's alone. */
export const DELETE_HORIZON_BIT = 0x40
export const KNOWN_ATTRIBUTES = CODEC_MASK | LOG_APPEND_TIME_BIT | TRANSACTIONAL_BIT | CONTROL_BIT | DELETE_HORIZON_BIT

export const NO_PRODUCER_EPOCH = -1
export const NO_SEQUENCE = -1

const SEQUENCE_MASK = 0x7fffffff

/** The sequence `count` records after `sequence`; after 2^31 − 1 comes 0. */
export function sequenceAfter(sequence: number, count: number): number {
  return (sequence + count) & SEQUENCE_MASK
}

/** How many records `from` lies before `to`, in [0, 2^31). */
export function sequenceDistance(from: number, to: number): number {
  return (to - from) & SEQUENCE_MASK
}

/**
 * Bytes of the batch that begins at `at`, as its header says, or −1 when fewer than 12 bytes are left before `end`
 * or the length is not one a batch can have. It may reach past `end`: a batch that was cut short.
 */
export function batchBytesAt(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < BATCH_PREFIX_BYTES) return -1
  const lengthAt = at + BATCH_LENGTH_AT
  const batchLength =
    (bytes[lengthAt]! << 24) | (bytes[lengthAt + 1]! << 16) | (bytes[lengthAt + 2]! << 8) | bytes[lengthAt + 3]!
  const total = BATCH_PREFIX_BYTES + batchLength
  return total < BATCH_HEADER_BYTES ? -1 : total
}
