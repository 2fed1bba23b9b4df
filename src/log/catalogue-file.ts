/**
 * Catalogue: what a clean stop knows of every log of a shard, so that the next start need not look into 10,000 folders.
 *
 * Thread      the shard writes it with its last checkpoint; the next start's recovery reads it, once
 * Invariants  B1 an entry is true when the clean marker is written: nothing is appended after the last checkpoint
 *             B2 it counts only after a clean stop of the incarnation in its name, entry for entry where the checkpoint's line and
 *                the size of the last segment say the same (adoptCatalogued); else the folder is looked into
 * Ordering    segments synced -> checkpoint and catalogue written, synced, renamed -> folder synced -> clean marker
 * Failure     an unreadable one is told, and every folder is looked into: slower, never wrong
 * Format      format.md, "Catalogue", CATALOGUE_FORMAT_VERSION; big-endian
 */
import { assert } from '../base/assert.ts'
import { readSafeInt64, writeSafeInt64 } from '../base/bytes.ts'
import { crc32c } from '../base/crc32c.ts'
import type { FileSystem } from '../io/file-system.ts'
import type { TopicId } from '../model/ids.ts'
import { type AbortedMarks, NOTHING_ABORTED } from './aborted-index.ts'
import { readWholeFile } from './durable-file.ts'
import type { OpenTransaction } from './open-transactions.ts'
import type { LeaderEpochEntry, RecoveredPartition, RecoveredSegment } from './recovered-partition.ts'
import { readTopicId, TOPIC_ID_BYTES, writeTopicId } from './topic-id-codec.ts'

export const CATALOGUE_FORMAT_VERSION = 2

// Header:
// |  at | size | field          |
// |   0 |    4 | magic          | 'MRCT'
// |   4 |    4 | version        | u32
// |   8 |    4 | crc            | u32; CRC-32C of [12, end)
// |  12 |    4 | partitionCount | u32
// |  16 |    8 | incarnation    | i64
export const CATALOGUE_MAGIC_AT = 0
export const CATALOGUE_VERSION_AT = CATALOGUE_MAGIC_AT + 4
export const CATALOGUE_CRC_AT = CATALOGUE_VERSION_AT + 4
export const CATALOGUE_PARTITION_COUNT_AT = CATALOGUE_CRC_AT + 4
export const CATALOGUE_INCARNATION_AT = CATALOGUE_PARTITION_COUNT_AT + 4
export const CATALOGUE_HEADER_BYTES = CATALOGUE_INCARNATION_AT + 8
assert(CATALOGUE_HEADER_BYTES === 24, 'catalogue header changed: bump CATALOGUE_FORMAT_VERSION')

// Partition, followed by its segments, its leader epochs and its open transactions:
// |   0 |   16 | topicId                |
// |  16 |    4 | partition              | u32
// |  20 |    4 | segmentCount           | u32
// |  24 |    8 | epochCount             | i64
// |  32 |    8 | logStartOffset         | i64
// |  40 |    8 | logEndOffset           | i64; also the recovery point
// |  48 |    8 | producerSnapshotOffset | i64; -1 none
// |  56 |    8 | firstAborted           | i64; -1 none
// |  64 |    8 | lastAborted            | i64; -1 none
// |  72 |    8 | openCount              | i64; transactions
export const CATALOGUE_TOPIC_ID_AT = 0
export const CATALOGUE_PARTITION_AT = CATALOGUE_TOPIC_ID_AT + TOPIC_ID_BYTES
export const CATALOGUE_SEGMENT_COUNT_AT = CATALOGUE_PARTITION_AT + 4
export const CATALOGUE_EPOCH_COUNT_AT = CATALOGUE_SEGMENT_COUNT_AT + 4
export const CATALOGUE_LOG_START_AT = CATALOGUE_EPOCH_COUNT_AT + 8
export const CATALOGUE_LOG_END_AT = CATALOGUE_LOG_START_AT + 8
export const CATALOGUE_SNAPSHOT_AT = CATALOGUE_LOG_END_AT + 8
export const CATALOGUE_FIRST_ABORTED_AT = CATALOGUE_SNAPSHOT_AT + 8
export const CATALOGUE_LAST_ABORTED_AT = CATALOGUE_FIRST_ABORTED_AT + 8
export const CATALOGUE_OPEN_COUNT_AT = CATALOGUE_LAST_ABORTED_AT + 8
export const CATALOGUE_PARTITION_BYTES = CATALOGUE_OPEN_COUNT_AT + 8
assert(CATALOGUE_PARTITION_BYTES === 80, 'catalogue partition changed: bump CATALOGUE_FORMAT_VERSION')

// Segment:
// |   0 |    8 | baseOffset     | i64
// |   8 |    8 | nextOffset     | i64
// |  16 |    8 | bytes          | i64
// |  24 |    8 | maxTimestampMs | i64; -1 none
// |  32 |    8 | createdMs      | i64
export const CATALOGUE_SEGMENT_BASE_AT = 0
export const CATALOGUE_SEGMENT_NEXT_AT = CATALOGUE_SEGMENT_BASE_AT + 8
export const CATALOGUE_SEGMENT_LENGTH_AT = CATALOGUE_SEGMENT_NEXT_AT + 8
export const CATALOGUE_SEGMENT_TIMESTAMP_AT = CATALOGUE_SEGMENT_LENGTH_AT + 8
export const CATALOGUE_SEGMENT_CREATED_AT = CATALOGUE_SEGMENT_TIMESTAMP_AT + 8
export const CATALOGUE_SEGMENT_BYTES = CATALOGUE_SEGMENT_CREATED_AT + 8
assert(CATALOGUE_SEGMENT_BYTES === 40, 'catalogue segment changed: bump CATALOGUE_FORMAT_VERSION')

// Leader epoch:
// |   0 |    8 | epoch       | i64
// |   8 |    8 | startOffset | i64
export const CATALOGUE_EPOCH_AT = 0
export const CATALOGUE_EPOCH_START_AT = CATALOGUE_EPOCH_AT + 8
export const CATALOGUE_EPOCH_BYTES = CATALOGUE_EPOCH_START_AT + 8
assert(CATALOGUE_EPOCH_BYTES === 16, 'catalogue epoch changed: bump CATALOGUE_FORMAT_VERSION')

// Open transaction:
// |   0 |    8 | producerId  | i64
// |   8 |    8 | firstOffset | i64
export const CATALOGUE_OPEN_PRODUCER_ID_AT = 0
export const CATALOGUE_OPEN_FIRST_AT = CATALOGUE_OPEN_PRODUCER_ID_AT + 8
export const CATALOGUE_OPEN_BYTES = CATALOGUE_OPEN_FIRST_AT + 8
assert(CATALOGUE_OPEN_BYTES === 16, 'catalogue open transaction changed: bump CATALOGUE_FORMAT_VERSION')

const MAGIC = 0x4d524354
const FILE_BYTES_MAX = 512 * 1024 * 1024

export interface CatalogueEntry {
  readonly topicId: TopicId
  readonly partition: number
  /** As recovery would find it. */
  readonly recovered: RecoveredPartition
}

export function encodeCatalogue(incarnation: number, entries: readonly CatalogueEntry[]): Uint8Array {
  let length = CATALOGUE_HEADER_BYTES
  for (const { recovered } of entries)
    length += entryBytes(recovered.segments.length, recovered.leaderEpochs.length, recovered.openTransactions.length)
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  view.setUint32(CATALOGUE_MAGIC_AT, MAGIC)
  view.setUint32(CATALOGUE_VERSION_AT, CATALOGUE_FORMAT_VERSION)
  view.setUint32(CATALOGUE_PARTITION_COUNT_AT, entries.length)
  writeSafeInt64(view, CATALOGUE_INCARNATION_AT, incarnation)
  let at = CATALOGUE_HEADER_BYTES
  for (const entry of entries) at = writeEntry(bytes, view, at, entry)
  view.setUint32(CATALOGUE_CRC_AT, crc32c(bytes.subarray(CATALOGUE_PARTITION_COUNT_AT)))
  return bytes
}

function entryBytes(segments: number, epochs: number, open: number): number {
  const listed = segments * CATALOGUE_SEGMENT_BYTES + epochs * CATALOGUE_EPOCH_BYTES + open * CATALOGUE_OPEN_BYTES
  return CATALOGUE_PARTITION_BYTES + listed
}

function writeEntry(bytes: Uint8Array, view: DataView, start: number, entry: CatalogueEntry): number {
  const { segments, leaderEpochs, logStartOffset, logEndOffset, producerSnapshotOffset } = entry.recovered
  const { openTransactions, aborted } = entry.recovered
  writeTopicId(bytes, start, entry.topicId)
  view.setUint32(start + CATALOGUE_PARTITION_AT, entry.partition)
  view.setUint32(start + CATALOGUE_SEGMENT_COUNT_AT, segments.length)
  writeSafeInt64(view, start + CATALOGUE_EPOCH_COUNT_AT, leaderEpochs.length)
  writeSafeInt64(view, start + CATALOGUE_LOG_START_AT, logStartOffset)
  writeSafeInt64(view, start + CATALOGUE_LOG_END_AT, logEndOffset)
  writeSafeInt64(view, start + CATALOGUE_SNAPSHOT_AT, producerSnapshotOffset)
  writeSafeInt64(view, start + CATALOGUE_FIRST_ABORTED_AT, aborted.first)
  writeSafeInt64(view, start + CATALOGUE_LAST_ABORTED_AT, aborted.last)
  writeSafeInt64(view, start + CATALOGUE_OPEN_COUNT_AT, openTransactions.length)
  let at = start + CATALOGUE_PARTITION_BYTES
  for (const segment of segments) {
    writeSafeInt64(view, at + CATALOGUE_SEGMENT_BASE_AT, segment.baseOffset)
    writeSafeInt64(view, at + CATALOGUE_SEGMENT_NEXT_AT, segment.nextOffset)
    writeSafeInt64(view, at + CATALOGUE_SEGMENT_LENGTH_AT, segment.bytes)
    writeSafeInt64(view, at + CATALOGUE_SEGMENT_TIMESTAMP_AT, segment.maxTimestampMs)
    writeSafeInt64(view, at + CATALOGUE_SEGMENT_CREATED_AT, segment.createdMs)
    at += CATALOGUE_SEGMENT_BYTES
  }
  for (const [epoch, startOffset] of leaderEpochs) {
    writeSafeInt64(view, at + CATALOGUE_EPOCH_AT, epoch)
    writeSafeInt64(view, at + CATALOGUE_EPOCH_START_AT, startOffset)
    at += CATALOGUE_EPOCH_BYTES
  }
  for (const [producerId, firstOffset] of openTransactions) {
    writeSafeInt64(view, at + CATALOGUE_OPEN_PRODUCER_ID_AT, producerId)
    writeSafeInt64(view, at + CATALOGUE_OPEN_FIRST_AT, firstOffset)
    at += CATALOGUE_OPEN_BYTES
  }
  return at
}

export type CatalogueAnswer =
  | { readonly kind: 'absent' }
  | { readonly kind: 'present'; readonly incarnation: number; readonly entries: readonly CatalogueEntry[] }
  | { readonly kind: 'unreadable'; readonly reason: string }

export function decodeCatalogue(bytes: Uint8Array): CatalogueAnswer {
  const unreadable = (reason: string): CatalogueAnswer => ({ kind: 'unreadable', reason })
  if (bytes.length < CATALOGUE_HEADER_BYTES) return unreadable(`${bytes.length} bytes are fewer than its header`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (view.getUint32(CATALOGUE_MAGIC_AT) !== MAGIC) return unreadable('it does not begin with MRCT')
  if (view.getUint32(CATALOGUE_CRC_AT) !== crc32c(bytes.subarray(CATALOGUE_PARTITION_COUNT_AT)))
    return unreadable('its checksum does not fit')
  const version = view.getUint32(CATALOGUE_VERSION_AT)
  if (version !== CATALOGUE_FORMAT_VERSION)
    return unreadable(`format version ${version}, not ${CATALOGUE_FORMAT_VERSION}`)
  const count = view.getUint32(CATALOGUE_PARTITION_COUNT_AT)
  const entries: CatalogueEntry[] = []
  let at = CATALOGUE_HEADER_BYTES
  for (let index = 0; index < count; index++) {
    const end = endOfEntry(view, at)
    if (!(end <= bytes.length)) return unreadable(`it ends within entry ${index} of ${count}`)
    entries.push(readEntry(bytes, view, at))
    at = end
  }
  if (at !== bytes.length) return unreadable(`${bytes.length - at} bytes follow its ${count} entries`)
  return { kind: 'present', incarnation: readSafeInt64(view, CATALOGUE_INCARNATION_AT), entries }
}

/** NaN or past the end for counts that cannot be. */
function endOfEntry(view: DataView, at: number): number {
  if (at + CATALOGUE_PARTITION_BYTES > view.byteLength) return Number.NaN
  const epochs = readSafeInt64(view, at + CATALOGUE_EPOCH_COUNT_AT)
  const open = readSafeInt64(view, at + CATALOGUE_OPEN_COUNT_AT)
  if (!(epochs >= 0 && open >= 0)) return Number.NaN
  return at + entryBytes(view.getUint32(at + CATALOGUE_SEGMENT_COUNT_AT), epochs, open)
}

function readEntry(bytes: Uint8Array, view: DataView, start: number): CatalogueEntry {
  const segments: RecoveredSegment[] = []
  const leaderEpochs: LeaderEpochEntry[] = []
  const openTransactions: OpenTransaction[] = []
  let at = start + CATALOGUE_PARTITION_BYTES
  for (let left = view.getUint32(start + CATALOGUE_SEGMENT_COUNT_AT); left > 0; left--) {
    segments.push({
      baseOffset: readSafeInt64(view, at + CATALOGUE_SEGMENT_BASE_AT),
      nextOffset: readSafeInt64(view, at + CATALOGUE_SEGMENT_NEXT_AT),
      bytes: readSafeInt64(view, at + CATALOGUE_SEGMENT_LENGTH_AT),
      maxTimestampMs: readSafeInt64(view, at + CATALOGUE_SEGMENT_TIMESTAMP_AT),
      createdMs: readSafeInt64(view, at + CATALOGUE_SEGMENT_CREATED_AT),
    })
    at += CATALOGUE_SEGMENT_BYTES
  }
  for (let left = readSafeInt64(view, start + CATALOGUE_EPOCH_COUNT_AT); left > 0; left--) {
    const epoch = readSafeInt64(view, at + CATALOGUE_EPOCH_AT)
    leaderEpochs.push([epoch, readSafeInt64(view, at + CATALOGUE_EPOCH_START_AT)])
    at += CATALOGUE_EPOCH_BYTES
  }
  for (let left = readSafeInt64(view, start + CATALOGUE_OPEN_COUNT_AT); left > 0; left--) {
    const producerId = readSafeInt64(view, at + CATALOGUE_OPEN_PRODUCER_ID_AT)
    openTransactions.push([producerId, readSafeInt64(view, at + CATALOGUE_OPEN_FIRST_AT)])
    at += CATALOGUE_OPEN_BYTES
  }
  const logEndOffset = readSafeInt64(view, start + CATALOGUE_LOG_END_AT)
  return {
    topicId: readTopicId(bytes, start),
    partition: view.getUint32(start + CATALOGUE_PARTITION_AT),
    recovered: {
      ...{ segments, leaderEpochs, logEndOffset, recoveryPoint: logEndOffset, damaged: null },
      logStartOffset: readSafeInt64(view, start + CATALOGUE_LOG_START_AT),
      producerSnapshotOffset: readSafeInt64(view, start + CATALOGUE_SNAPSHOT_AT),
      openTransactions,
      aborted: readAborted(view, start),
    },
  }
}

/** Most partitions have none, and one object for all of them is enough. */
function readAborted(view: DataView, start: number): AbortedMarks {
  const first = readSafeInt64(view, start + CATALOGUE_FIRST_ABORTED_AT)
  return first < 0 ? NOTHING_ABORTED : { first, last: readSafeInt64(view, start + CATALOGUE_LAST_ABORTED_AT) }
}

export function readCatalogue(files: FileSystem, path: string): CatalogueAnswer {
  const file = readWholeFile(files, path, FILE_BYTES_MAX)
  return file.kind === 'present' ? decodeCatalogue(file.bytes) : file
}
