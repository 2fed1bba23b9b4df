/**
 * The layout of a commit journal: file header, entry header, and the walk that finds what is valid.
 *
 * Format      format.md §journal, JOURNAL_FORMAT_VERSION; big-endian
 * Invariants  J1 an entry counts only with the key of its file: stale entries of a recycled file have lower sequences, those of
 *                another start another key, and bytes that a client chose can look like an entry but do not know the key
 *             J2 the header's checksum covers the header, payloadCrc the first 21 bytes of each batch, and those hold the
 *                batch's own CRC-32C over the rest: every byte is covered, none is hashed twice on the hot path
 * Not here    writing (commit-journal.ts), what entries mean for partitions (journal-replay.ts)
 */
import { assert } from '../base/assert.ts'
import { readSafeInt64, writeSafeInt64 } from '../base/bytes.ts'
import { crc32c } from '../base/crc32c.ts'
import type { TopicId } from '../model/ids.ts'
import { batchBytesAt, CRC_AT, CRC_FROM } from '../record/batch-layout.ts'
import { readTopicId, TOPIC_ID_BYTES, writeTopicId } from './topic-id-codec.ts'

export const JOURNAL_FORMAT_VERSION = 1

// File header, one sector, so that it is never torn.
// |  at | size | field       |
// |   0 |    4 | magic       | 'MRJF'
// |   4 |    4 | version     | u32
// |   8 |    8 | incarnation | i64
// |  16 |    4 | shard       | u32
// |  20 |    4 | half        | u32; 0 or 1
// |  24 |    4 | keyHigh     | u32; chosen by chance at each start, told to nobody
// |  28 |    4 | keyLow      | u32
// |  32 |    8 | fileBytes   | i64
// |  40 |    4 | crc         | u32; CRC-32C of [0, 40)
export const JOURNAL_FILE_MAGIC_AT = 0
export const JOURNAL_FILE_VERSION_AT = JOURNAL_FILE_MAGIC_AT + 4
export const JOURNAL_FILE_INCARNATION_AT = JOURNAL_FILE_VERSION_AT + 4
export const JOURNAL_FILE_SHARD_AT = JOURNAL_FILE_INCARNATION_AT + 8
export const JOURNAL_FILE_HALF_AT = JOURNAL_FILE_SHARD_AT + 4
export const JOURNAL_FILE_KEY_HIGH_AT = JOURNAL_FILE_HALF_AT + 4
export const JOURNAL_FILE_KEY_LOW_AT = JOURNAL_FILE_KEY_HIGH_AT + 4
export const JOURNAL_FILE_BYTES_AT = JOURNAL_FILE_KEY_LOW_AT + 4
export const JOURNAL_FILE_CRC_AT = JOURNAL_FILE_BYTES_AT + 8
export const JOURNAL_FILE_HEADER_BYTES = 512
assert(JOURNAL_FILE_CRC_AT === 40, 'journal file header changed: bump JOURNAL_FORMAT_VERSION')

// Entry header; the payload follows, then zeros up to entryBytes.
// |  at | size | field             |
// |   0 |    4 | magic             | 'MRJE'
// |   4 |    4 | headerCrc         | u32; CRC-32C of [8, 128)
// |   8 |    4 | kind              | u32; JournalKind
// |  12 |    4 | entryBytes        | u32; from here to the next entry: a multiple of 64, of a group's last one up to a sector
// |  16 |    8 | sequence          | i64; from 0 at each start, without gaps over both files of the shard
// |  24 |    8 | syncedSequence    | i64; entries below were synced when this one was written
// |  32 |    4 | keyHigh           | u32
// |  36 |    4 | keyLow            | u32
// |  40 |    4 | payloadBytes      | u32
// |  44 |    4 | payloadCrc        | u32; of the first 21 bytes of each batch, chained
// |  48 |   16 | topicId           |
// |  64 |    4 | partition         | u32
// |  68 |    4 | leaderEpoch       | i32; of the newest batch
// |  72 |    8 | segmentBaseOffset | i64; the segment file
// |  80 |    8 | filePosition      | i64; where the payload lies in it
// |  88 |    8 | baseOffset        | i64; batches: of the first; truncate: the new end; log-start: the new start
// |  96 |    8 | nextOffset        | i64; batches: after the last record
// | 104 |    8 | syncedEndOffset   | i64; of the partition, when this entry was written: a lower bound of what was acknowledged
// | 112 |   16 | (zero)            |
export const JOURNAL_ENTRY_MAGIC_AT = 0
export const JOURNAL_ENTRY_HEADER_CRC_AT = JOURNAL_ENTRY_MAGIC_AT + 4
export const JOURNAL_ENTRY_KIND_AT = JOURNAL_ENTRY_HEADER_CRC_AT + 4
export const JOURNAL_ENTRY_LENGTH_AT = JOURNAL_ENTRY_KIND_AT + 4
export const JOURNAL_ENTRY_SEQUENCE_AT = JOURNAL_ENTRY_LENGTH_AT + 4
export const JOURNAL_ENTRY_SYNCED_SEQUENCE_AT = JOURNAL_ENTRY_SEQUENCE_AT + 8
export const JOURNAL_ENTRY_KEY_HIGH_AT = JOURNAL_ENTRY_SYNCED_SEQUENCE_AT + 8
export const JOURNAL_ENTRY_KEY_LOW_AT = JOURNAL_ENTRY_KEY_HIGH_AT + 4
export const JOURNAL_ENTRY_PAYLOAD_BYTES_AT = JOURNAL_ENTRY_KEY_LOW_AT + 4
export const JOURNAL_ENTRY_PAYLOAD_CRC_AT = JOURNAL_ENTRY_PAYLOAD_BYTES_AT + 4
export const JOURNAL_ENTRY_TOPIC_ID_AT = JOURNAL_ENTRY_PAYLOAD_CRC_AT + 4
export const JOURNAL_ENTRY_PARTITION_AT = JOURNAL_ENTRY_TOPIC_ID_AT + TOPIC_ID_BYTES
export const JOURNAL_ENTRY_LEADER_EPOCH_AT = JOURNAL_ENTRY_PARTITION_AT + 4
export const JOURNAL_ENTRY_SEGMENT_BASE_AT = JOURNAL_ENTRY_LEADER_EPOCH_AT + 4
export const JOURNAL_ENTRY_FILE_POSITION_AT = JOURNAL_ENTRY_SEGMENT_BASE_AT + 8
export const JOURNAL_ENTRY_BASE_OFFSET_AT = JOURNAL_ENTRY_FILE_POSITION_AT + 8
export const JOURNAL_ENTRY_NEXT_OFFSET_AT = JOURNAL_ENTRY_BASE_OFFSET_AT + 8
export const JOURNAL_ENTRY_SYNCED_END_AT = JOURNAL_ENTRY_NEXT_OFFSET_AT + 8
export const JOURNAL_ENTRY_RESERVED_AT = JOURNAL_ENTRY_SYNCED_END_AT + 8
export const JOURNAL_ENTRY_HEADER_BYTES = JOURNAL_ENTRY_RESERVED_AT + 16
assert(JOURNAL_ENTRY_HEADER_BYTES === 128, 'journal entry header changed: bump JOURNAL_FORMAT_VERSION')

/** Entries begin at multiples of this. */
export const JOURNAL_ENTRY_ALIGN = 64
/** Groups begin at multiples of this: a sector never holds bytes of a synced group and of one that is being written. */
export const JOURNAL_GROUP_ALIGN = 512
/** First bytes of a batch that payloadCrc covers: up to and with the batch's own CRC. */
export const BATCH_COVERED_BYTES = CRC_AT + 4

const FILE_MAGIC = 0x4d524a46
const ENTRY_MAGIC = 0x4d524a45

export const JournalKind = { BATCHES: 1, TRUNCATE: 2, DELETE: 3, LOG_START: 4 } as const
export type JournalKind = (typeof JournalKind)[keyof typeof JournalKind]

export interface JournalKey {
  readonly high: number
  readonly low: number
}

export interface JournalFileHeader {
  readonly incarnation: number
  readonly shard: number
  readonly half: number
  readonly key: JournalKey
  readonly fileBytes: number
}

/** An entry as read. */
export interface JournalEntry {
  readonly kind: JournalKind
  readonly sequence: number
  readonly syncedSequence: number
  readonly topicId: TopicId
  readonly partition: number
  readonly leaderEpoch: number
  readonly segmentBaseOffset: number
  readonly filePosition: number
  readonly baseOffset: number
  readonly nextOffset: number
  readonly syncedEndOffset: number
  /** Where the payload lies in the journal file. */
  readonly payloadAt: number
  readonly payloadBytes: number
  /** False: the header is sound, the payload is not. */
  readonly payloadIsSound: boolean
}

export function encodeJournalFileHeader(header: JournalFileHeader): Uint8Array {
  const bytes = new Uint8Array(JOURNAL_FILE_HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(JOURNAL_FILE_MAGIC_AT, FILE_MAGIC)
  view.setUint32(JOURNAL_FILE_VERSION_AT, JOURNAL_FORMAT_VERSION)
  writeSafeInt64(view, JOURNAL_FILE_INCARNATION_AT, header.incarnation)
  view.setUint32(JOURNAL_FILE_SHARD_AT, header.shard)
  view.setUint32(JOURNAL_FILE_HALF_AT, header.half)
  view.setUint32(JOURNAL_FILE_KEY_HIGH_AT, header.key.high)
  view.setUint32(JOURNAL_FILE_KEY_LOW_AT, header.key.low)
  writeSafeInt64(view, JOURNAL_FILE_BYTES_AT, header.fileBytes)
  view.setUint32(JOURNAL_FILE_CRC_AT, crc32c(bytes.subarray(0, JOURNAL_FILE_CRC_AT)))
  return bytes
}

/** A text says why the header cannot be used. */
export function decodeJournalFileHeader(bytes: Uint8Array): JournalFileHeader | string {
  if (bytes.length < JOURNAL_FILE_CRC_AT + 4) return `${bytes.length} bytes are fewer than its header`
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (view.getUint32(JOURNAL_FILE_MAGIC_AT) !== FILE_MAGIC) return 'it does not begin with MRJF'
  if (view.getUint32(JOURNAL_FILE_CRC_AT) !== crc32c(bytes.subarray(0, JOURNAL_FILE_CRC_AT)))
    return 'the checksum of its header does not fit'
  const version = view.getUint32(JOURNAL_FILE_VERSION_AT)
  if (version !== JOURNAL_FORMAT_VERSION) return `format version ${version}, not ${JOURNAL_FORMAT_VERSION}`
  return {
    incarnation: readSafeInt64(view, JOURNAL_FILE_INCARNATION_AT),
    shard: view.getUint32(JOURNAL_FILE_SHARD_AT),
    half: view.getUint32(JOURNAL_FILE_HALF_AT),
    key: { high: view.getUint32(JOURNAL_FILE_KEY_HIGH_AT), low: view.getUint32(JOURNAL_FILE_KEY_LOW_AT) },
    fileBytes: readSafeInt64(view, JOURNAL_FILE_BYTES_AT),
  }
}

/** What the writer says of an entry; entryBytes and headerCrc are put in by sealJournalEntry. */
export interface JournalEntryFields {
  readonly kind: JournalKind
  readonly sequence: number
  readonly syncedSequence: number
  readonly key: JournalKey
  readonly topicId: TopicId
  readonly partition: number
  readonly leaderEpoch: number
  readonly segmentBaseOffset: number
  readonly filePosition: number
  readonly baseOffset: number
  readonly nextOffset: number
  readonly syncedEndOffset: number
  readonly payloadBytes: number
  readonly payloadCrc: number
}

export function writeJournalEntry(bytes: Uint8Array, view: DataView, at: number, entry: JournalEntryFields): void {
  view.setUint32(at + JOURNAL_ENTRY_MAGIC_AT, ENTRY_MAGIC)
  view.setUint32(at + JOURNAL_ENTRY_KIND_AT, entry.kind)
  writeSafeInt64(view, at + JOURNAL_ENTRY_SEQUENCE_AT, entry.sequence)
  writeSafeInt64(view, at + JOURNAL_ENTRY_SYNCED_SEQUENCE_AT, entry.syncedSequence)
  view.setUint32(at + JOURNAL_ENTRY_KEY_HIGH_AT, entry.key.high)
  view.setUint32(at + JOURNAL_ENTRY_KEY_LOW_AT, entry.key.low)
  view.setUint32(at + JOURNAL_ENTRY_PAYLOAD_BYTES_AT, entry.payloadBytes)
  view.setUint32(at + JOURNAL_ENTRY_PAYLOAD_CRC_AT, entry.payloadCrc)
  writeTopicId(bytes, at + JOURNAL_ENTRY_TOPIC_ID_AT, entry.topicId)
  view.setUint32(at + JOURNAL_ENTRY_PARTITION_AT, entry.partition)
  view.setInt32(at + JOURNAL_ENTRY_LEADER_EPOCH_AT, entry.leaderEpoch)
  writeSafeInt64(view, at + JOURNAL_ENTRY_SEGMENT_BASE_AT, entry.segmentBaseOffset)
  writeSafeInt64(view, at + JOURNAL_ENTRY_FILE_POSITION_AT, entry.filePosition)
  writeSafeInt64(view, at + JOURNAL_ENTRY_BASE_OFFSET_AT, entry.baseOffset)
  writeSafeInt64(view, at + JOURNAL_ENTRY_NEXT_OFFSET_AT, entry.nextOffset)
  writeSafeInt64(view, at + JOURNAL_ENTRY_SYNCED_END_AT, entry.syncedEndOffset)
  bytes.fill(0, at + JOURNAL_ENTRY_RESERVED_AT, at + JOURNAL_ENTRY_HEADER_BYTES)
}

/** Puts the distance to the next entry and the checksum in: the last step before the write. */
export function sealJournalEntry(bytes: Uint8Array, view: DataView, at: number, entryBytes: number): void {
  view.setUint32(at + JOURNAL_ENTRY_LENGTH_AT, entryBytes)
  view.setUint32(
    at + JOURNAL_ENTRY_HEADER_CRC_AT,
    crc32c(bytes.subarray(at + JOURNAL_ENTRY_KIND_AT, at + JOURNAL_ENTRY_HEADER_BYTES)),
  )
}

/** Continues the checksum over a payload's batches by one of them. */
export function coverBatch(crc: number, batch: Uint8Array): number {
  return crc32c(batch.subarray(0, BATCH_COVERED_BYTES), crc)
}

/**
 * Every valid entry of a journal file, in the order of the file. After an invalid place it goes on at the next multiple of
 * JOURNAL_ENTRY_ALIGN, so that what lies behind damage is found too.
 */
export function readJournalEntries(bytes: Uint8Array, key: JournalKey): JournalEntry[] {
  const entries: JournalEntry[] = []
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let at = JOURNAL_FILE_HEADER_BYTES
  const last = bytes.length - JOURNAL_ENTRY_HEADER_BYTES
  while (at <= last) {
    if (view.getUint32(at) !== ENTRY_MAGIC) {
      at += JOURNAL_ENTRY_ALIGN
      continue
    }
    const entry = readJournalEntry(bytes, view, at, key)
    if (entry === undefined) at += JOURNAL_ENTRY_ALIGN
    else {
      entries.push(entry)
      // Behind a damaged payload the length is still sound: its checksum is the header's.
      at += view.getUint32(at + JOURNAL_ENTRY_LENGTH_AT)
    }
  }
  return entries
}

function readJournalEntry(bytes: Uint8Array, view: DataView, at: number, key: JournalKey): JournalEntry | undefined {
  if (
    view.getUint32(at + JOURNAL_ENTRY_KEY_HIGH_AT) !== key.high ||
    view.getUint32(at + JOURNAL_ENTRY_KEY_LOW_AT) !== key.low
  )
    return undefined
  const crc = crc32c(bytes.subarray(at + JOURNAL_ENTRY_KIND_AT, at + JOURNAL_ENTRY_HEADER_BYTES))
  if (view.getUint32(at + JOURNAL_ENTRY_HEADER_CRC_AT) !== crc) return undefined
  const kind = view.getUint32(at + JOURNAL_ENTRY_KIND_AT)
  const entryBytes = view.getUint32(at + JOURNAL_ENTRY_LENGTH_AT)
  const payloadBytes = view.getUint32(at + JOURNAL_ENTRY_PAYLOAD_BYTES_AT)
  if (kind < JournalKind.BATCHES || kind > JournalKind.LOG_START) return undefined
  if (entryBytes % JOURNAL_ENTRY_ALIGN !== 0 || entryBytes < JOURNAL_ENTRY_HEADER_BYTES + payloadBytes) return undefined
  const payloadAt = at + JOURNAL_ENTRY_HEADER_BYTES
  const filePosition = readSafeInt64(view, at + JOURNAL_ENTRY_FILE_POSITION_AT)
  const segmentBaseOffset = readSafeInt64(view, at + JOURNAL_ENTRY_SEGMENT_BASE_AT)
  if (!(filePosition >= 0 && filePosition + payloadBytes < 2 ** 32 && segmentBaseOffset >= 0)) return undefined
  return {
    kind: kind as JournalKind,
    sequence: readSafeInt64(view, at + JOURNAL_ENTRY_SEQUENCE_AT),
    syncedSequence: readSafeInt64(view, at + JOURNAL_ENTRY_SYNCED_SEQUENCE_AT),
    topicId: readTopicId(bytes, at + JOURNAL_ENTRY_TOPIC_ID_AT),
    partition: view.getUint32(at + JOURNAL_ENTRY_PARTITION_AT),
    leaderEpoch: view.getInt32(at + JOURNAL_ENTRY_LEADER_EPOCH_AT),
    segmentBaseOffset,
    filePosition,
    baseOffset: readSafeInt64(view, at + JOURNAL_ENTRY_BASE_OFFSET_AT),
    nextOffset: readSafeInt64(view, at + JOURNAL_ENTRY_NEXT_OFFSET_AT),
    syncedEndOffset: readSafeInt64(view, at + JOURNAL_ENTRY_SYNCED_END_AT),
    payloadAt,
    payloadBytes,
    payloadIsSound: payloadIsSound(bytes, payloadAt, payloadBytes, view.getUint32(at + JOURNAL_ENTRY_PAYLOAD_CRC_AT)),
  }
}

function payloadIsSound(bytes: Uint8Array, from: number, payloadBytes: number, expectedCrc: number): boolean {
  const end = from + payloadBytes
  if (end > bytes.length) return false
  let crc = 0
  let at = from
  while (at < end) {
    const batchBytes = batchBytesAt(bytes, at, end)
    if (batchBytes < 0 || at + batchBytes > end) return false
    crc = coverBatch(crc, bytes.subarray(at, at + batchBytes))
    if (!batchCrcFits(bytes, at, batchBytes)) return false
    at += batchBytes
  }
  return crc === expectedCrc
}

function batchCrcFits(bytes: Uint8Array, at: number, batchBytes: number): boolean {
  const stored =
    ((bytes[at + CRC_AT]! << 24) |
      (bytes[at + CRC_AT + 1]! << 16) |
      (bytes[at + CRC_AT + 2]! << 8) |
      bytes[at + CRC_AT + 3]!) >>>
    0
  return crc32c(bytes.subarray(at + CRC_FROM, at + batchBytes)) === stored
}
