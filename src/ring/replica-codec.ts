/**
 * Replica codec: writes and reads the hot messages of replication: REPLICA_APPEND, REPLICA_APPENDED, REPLICA_PROGRESS, REPLICA_SYNCED.
 * Nothing here allocates per message but the text of an error and the rows that are read.
 *
 * Thread      any; stateless
 * Limits      payloads up to the ring's frameBytesMax: replicaAppendBytesMax(), replicaProgressRowsMax(), replicaSyncedRowsMax()
 * Failure     full = -1 or false; lengths that do not add up = InvariantError (both ends are ours)
 * Format      messages.ts
 */
import { assert } from '../base/assert.ts'
import { utf8Decode, utf8Encode } from '../base/bytes.ts'
import {
  MessageType,
  REPLICA_APPEND_BATCH_BYTES_AT,
  REPLICA_APPEND_BATCHES_AT,
  REPLICA_APPEND_DIVERGING_END_AT,
  REPLICA_APPEND_DIVERGING_EPOCH_AT,
  REPLICA_APPEND_HIGH_WATERMARK_AT,
  REPLICA_APPEND_LEADER_EPOCH_AT,
  REPLICA_APPEND_LOG_START_AT,
  REPLICA_APPEND_PARTITION_REF_AT,
  REPLICA_APPEND_REQUEST_ID_AT,
  REPLICA_APPENDED_ERROR_AT,
  REPLICA_APPENDED_HIGH_WATERMARK_AT,
  REPLICA_APPENDED_LAST_EPOCH_AT,
  REPLICA_APPENDED_LOG_END_AT,
  REPLICA_APPENDED_PARTITION_REF_AT,
  REPLICA_APPENDED_REQUEST_ID_AT,
  REPLICA_APPENDED_TEXT_AT,
  REPLICA_APPENDED_TEXT_BYTES_AT,
  REPLICA_PROGRESS_COUNT_AT,
  REPLICA_PROGRESS_ROW_BYTES,
  REPLICA_PROGRESS_ROW_EPOCH_AT,
  REPLICA_PROGRESS_ROW_INCARNATION_AT,
  REPLICA_PROGRESS_ROW_NODE_ID_AT,
  REPLICA_PROGRESS_ROW_REF_AT,
  REPLICA_PROGRESS_ROW_SYNCED_END_AT,
  REPLICA_PROGRESS_ROWS_AT,
  REPLICA_SYNCED_COUNT_AT,
  REPLICA_SYNCED_ROW_BYTES,
  REPLICA_SYNCED_ROW_EPOCH_AT,
  REPLICA_SYNCED_ROW_REF_AT,
  REPLICA_SYNCED_ROW_SYNCED_END_AT,
  REPLICA_SYNCED_ROWS_AT,
} from './messages.ts'
import type { RingReader } from './ring-reader.ts'
import type { RingWriter } from './ring-writer.ts'

/** No divergence: the leader's history holds the follower's. */
export const NO_DIVERGENCE = -1

export class ReplicaAppendFields {
  requestId = 0
  partitionRef = 0
  leaderEpoch = -1
  divergingEpoch = NO_DIVERGENCE
  divergingEndOffset = -1
  highWatermark = 0
  logStartOffset = 0
  batchBytes = 0
  /** Set by readReplicaAppend: where the batches lie in reader.bytes. */
  batchesAt = 0
}

/** Bytes of batches that one REPLICA_APPEND carries. */
export function replicaAppendBytesMax(writer: RingWriter): number {
  return writer.frameBytesMax - REPLICA_APPEND_BATCHES_AT
}

/** Claims a REPLICA_APPEND and fills its fixed part: where the caller puts `batchBytes` of batches; -1 = full. */
export function claimReplicaAppend(writer: RingWriter, fields: Readonly<ReplicaAppendFields>): number {
  const at = writer.claim(MessageType.REPLICA_APPEND, REPLICA_APPEND_BATCHES_AT + fields.batchBytes, 'control')
  if (at < 0) return -1
  const { view } = writer
  view.setUint32(at + REPLICA_APPEND_REQUEST_ID_AT, fields.requestId, true)
  view.setUint32(at + REPLICA_APPEND_PARTITION_REF_AT, fields.partitionRef, true)
  view.setInt32(at + REPLICA_APPEND_LEADER_EPOCH_AT, fields.leaderEpoch, true)
  view.setInt32(at + REPLICA_APPEND_DIVERGING_EPOCH_AT, fields.divergingEpoch, true)
  view.setFloat64(at + REPLICA_APPEND_DIVERGING_END_AT, fields.divergingEndOffset, true)
  view.setFloat64(at + REPLICA_APPEND_HIGH_WATERMARK_AT, fields.highWatermark, true)
  view.setFloat64(at + REPLICA_APPEND_LOG_START_AT, fields.logStartOffset, true)
  view.setUint32(at + REPLICA_APPEND_BATCH_BYTES_AT, fields.batchBytes, true)
  view.setUint32(at + REPLICA_APPEND_BATCH_BYTES_AT + 4, 0, true)
  return at + REPLICA_APPEND_BATCHES_AT
}

/** Reads the REPLICA_APPEND that the reader stands on. */
export function readReplicaAppend(reader: RingReader, fields: ReplicaAppendFields): void {
  const { at, view } = reader
  fields.requestId = view.getUint32(at + REPLICA_APPEND_REQUEST_ID_AT, true)
  fields.partitionRef = view.getUint32(at + REPLICA_APPEND_PARTITION_REF_AT, true)
  fields.leaderEpoch = view.getInt32(at + REPLICA_APPEND_LEADER_EPOCH_AT, true)
  fields.divergingEpoch = view.getInt32(at + REPLICA_APPEND_DIVERGING_EPOCH_AT, true)
  fields.divergingEndOffset = view.getFloat64(at + REPLICA_APPEND_DIVERGING_END_AT, true)
  fields.highWatermark = view.getFloat64(at + REPLICA_APPEND_HIGH_WATERMARK_AT, true)
  fields.logStartOffset = view.getFloat64(at + REPLICA_APPEND_LOG_START_AT, true)
  fields.batchBytes = view.getUint32(at + REPLICA_APPEND_BATCH_BYTES_AT, true)
  fields.batchesAt = at + REPLICA_APPEND_BATCHES_AT
  const isWhole = REPLICA_APPEND_BATCHES_AT + fields.batchBytes <= reader.length
  assert(isWhole, 'REPLICA_APPEND: its batches are longer than its frame')
}

export class ReplicaAppendedFields {
  requestId = 0
  partitionRef = 0
  errorNumber = 0
  lastEpoch = -1
  logEndOffset = -1
  highWatermark = -1
  text = ''
}

/** Payload bytes of a REPLICA_APPENDED with a text of so many. */
export function replicaAppendedBytes(textBytes: number): number {
  return REPLICA_APPENDED_TEXT_AT + textBytes
}

/** Fills a REPLICA_APPENDED of replicaAppendedBytes(text.length) that was claimed at `at`. */
export function fillReplicaAppended(
  { bytes, view, at }: { readonly bytes: Uint8Array; readonly view: DataView; readonly at: number },
  fields: Readonly<Omit<ReplicaAppendedFields, 'text'>>,
  text: Uint8Array,
): void {
  view.setUint32(at + REPLICA_APPENDED_REQUEST_ID_AT, fields.requestId, true)
  view.setUint32(at + REPLICA_APPENDED_PARTITION_REF_AT, fields.partitionRef, true)
  view.setInt32(at + REPLICA_APPENDED_ERROR_AT, fields.errorNumber, true)
  view.setInt32(at + REPLICA_APPENDED_LAST_EPOCH_AT, fields.lastEpoch, true)
  view.setFloat64(at + REPLICA_APPENDED_LOG_END_AT, fields.logEndOffset, true)
  view.setFloat64(at + REPLICA_APPENDED_HIGH_WATERMARK_AT, fields.highWatermark, true)
  view.setUint32(at + REPLICA_APPENDED_TEXT_BYTES_AT, text.length, true)
  bytes.set(text, at + REPLICA_APPENDED_TEXT_AT)
}

/** Claims and fills a REPLICA_APPENDED; the caller publishes. False = full. */
export function writeReplicaAppended(writer: RingWriter, fields: Readonly<ReplicaAppendedFields>): boolean {
  const text = utf8Encode(fields.text).subarray(0, writer.frameBytesMax - REPLICA_APPENDED_TEXT_AT)
  const at = writer.claim(MessageType.REPLICA_APPENDED, replicaAppendedBytes(text.length), 'control')
  if (at < 0) return false
  fillReplicaAppended({ bytes: writer.bytes, view: writer.view, at }, fields, text)
  return true
}

/** Reads the REPLICA_APPENDED that the reader stands on. */
export function readReplicaAppended(reader: RingReader, fields: ReplicaAppendedFields): void {
  const { at, view } = reader
  fields.requestId = view.getUint32(at + REPLICA_APPENDED_REQUEST_ID_AT, true)
  fields.partitionRef = view.getUint32(at + REPLICA_APPENDED_PARTITION_REF_AT, true)
  fields.errorNumber = view.getInt32(at + REPLICA_APPENDED_ERROR_AT, true)
  fields.lastEpoch = view.getInt32(at + REPLICA_APPENDED_LAST_EPOCH_AT, true)
  fields.logEndOffset = view.getFloat64(at + REPLICA_APPENDED_LOG_END_AT, true)
  fields.highWatermark = view.getFloat64(at + REPLICA_APPENDED_HIGH_WATERMARK_AT, true)
  const textBytes = view.getUint32(at + REPLICA_APPENDED_TEXT_BYTES_AT, true)
  assert(REPLICA_APPENDED_TEXT_AT + textBytes <= reader.length, 'REPLICA_APPENDED: its text is longer than its frame')
  const textAt = at + REPLICA_APPENDED_TEXT_AT
  // slice, not subarray: a TextDecoder need not take shared memory.
  fields.text = textBytes === 0 ? '' : utf8Decode(reader.bytes.slice(textAt, textAt + textBytes))
}

/** How far a follower has told that its log is synced. */
export interface ReplicaProgressRow {
  readonly partitionRef: number
  readonly leaderEpoch: number
  readonly nodeId: number
  readonly incarnation: number
  readonly syncedEndOffset: number
}

export function replicaProgressBytes(rows: number): number {
  return REPLICA_PROGRESS_ROWS_AT + rows * REPLICA_PROGRESS_ROW_BYTES
}

/** Rows that one REPLICA_PROGRESS carries. */
export function replicaProgressRowsMax(writer: RingWriter): number {
  return Math.floor((writer.frameBytesMax - REPLICA_PROGRESS_ROWS_AT) / REPLICA_PROGRESS_ROW_BYTES)
}

/** Claims and fills a REPLICA_PROGRESS; the caller publishes. False = full. */
export function writeReplicaProgress(writer: RingWriter, rows: readonly ReplicaProgressRow[]): boolean {
  const at = writer.claim(MessageType.REPLICA_PROGRESS, replicaProgressBytes(rows.length), 'control')
  if (at < 0) return false
  const { view } = writer
  view.setUint32(at + REPLICA_PROGRESS_COUNT_AT, rows.length, true)
  view.setUint32(at + REPLICA_PROGRESS_COUNT_AT + 4, 0, true)
  let rowAt = at + REPLICA_PROGRESS_ROWS_AT
  for (const row of rows) {
    view.setUint32(rowAt + REPLICA_PROGRESS_ROW_REF_AT, row.partitionRef, true)
    view.setInt32(rowAt + REPLICA_PROGRESS_ROW_EPOCH_AT, row.leaderEpoch, true)
    view.setUint32(rowAt + REPLICA_PROGRESS_ROW_NODE_ID_AT, row.nodeId, true)
    view.setUint32(rowAt + REPLICA_PROGRESS_ROW_NODE_ID_AT + 4, 0, true)
    view.setFloat64(rowAt + REPLICA_PROGRESS_ROW_INCARNATION_AT, row.incarnation, true)
    view.setFloat64(rowAt + REPLICA_PROGRESS_ROW_SYNCED_END_AT, row.syncedEndOffset, true)
    rowAt += REPLICA_PROGRESS_ROW_BYTES
  }
  return true
}

/** The rows of the REPLICA_PROGRESS that the reader stands on. */
export function readReplicaProgress(reader: RingReader): ReplicaProgressRow[] {
  const { at, view } = reader
  const count = view.getUint32(at + REPLICA_PROGRESS_COUNT_AT, true)
  assert(replicaProgressBytes(count) <= reader.length, 'REPLICA_PROGRESS: its rows are longer than its frame')
  const rows: ReplicaProgressRow[] = []
  for (let rowAt = at + REPLICA_PROGRESS_ROWS_AT; rows.length < count; rowAt += REPLICA_PROGRESS_ROW_BYTES)
    rows.push({
      partitionRef: view.getUint32(rowAt + REPLICA_PROGRESS_ROW_REF_AT, true),
      leaderEpoch: view.getInt32(rowAt + REPLICA_PROGRESS_ROW_EPOCH_AT, true),
      nodeId: view.getUint32(rowAt + REPLICA_PROGRESS_ROW_NODE_ID_AT, true),
      incarnation: view.getFloat64(rowAt + REPLICA_PROGRESS_ROW_INCARNATION_AT, true),
      syncedEndOffset: view.getFloat64(rowAt + REPLICA_PROGRESS_ROW_SYNCED_END_AT, true),
    })
  return rows
}

/** How far the device has a log that follows under `leaderEpoch`. */
export interface ReplicaSyncedRow {
  readonly partitionRef: number
  readonly leaderEpoch: number
  readonly syncedEndOffset: number
}

export function replicaSyncedBytes(rows: number): number {
  return REPLICA_SYNCED_ROWS_AT + rows * REPLICA_SYNCED_ROW_BYTES
}

/** Rows that one REPLICA_SYNCED carries in a ring whose frames have `payloadBytesMax`. */
export function replicaSyncedRowsMax(payloadBytesMax: number): number {
  return Math.floor((payloadBytesMax - REPLICA_SYNCED_ROWS_AT) / REPLICA_SYNCED_ROW_BYTES)
}

/** Fills a REPLICA_SYNCED of replicaSyncedBytes(rows.length) that was claimed at `at`. */
export function fillReplicaSynced(view: DataView, at: number, rows: readonly ReplicaSyncedRow[]): void {
  view.setUint32(at + REPLICA_SYNCED_COUNT_AT, rows.length, true)
  view.setUint32(at + REPLICA_SYNCED_COUNT_AT + 4, 0, true)
  let rowAt = at + REPLICA_SYNCED_ROWS_AT
  for (const row of rows) {
    view.setUint32(rowAt + REPLICA_SYNCED_ROW_REF_AT, row.partitionRef, true)
    view.setInt32(rowAt + REPLICA_SYNCED_ROW_EPOCH_AT, row.leaderEpoch, true)
    view.setFloat64(rowAt + REPLICA_SYNCED_ROW_SYNCED_END_AT, row.syncedEndOffset, true)
    rowAt += REPLICA_SYNCED_ROW_BYTES
  }
}

/** Claims and fills a REPLICA_SYNCED; the caller publishes. False = full. */
export function writeReplicaSynced(writer: RingWriter, rows: readonly ReplicaSyncedRow[]): boolean {
  const at = writer.claim(MessageType.REPLICA_SYNCED, replicaSyncedBytes(rows.length), 'control')
  if (at < 0) return false
  fillReplicaSynced(writer.view, at, rows)
  return true
}

/** The rows of the REPLICA_SYNCED that the reader stands on. */
export function readReplicaSynced(reader: RingReader): ReplicaSyncedRow[] {
  const { at, view } = reader
  const count = view.getUint32(at + REPLICA_SYNCED_COUNT_AT, true)
  assert(replicaSyncedBytes(count) <= reader.length, 'REPLICA_SYNCED: its rows are longer than its frame')
  const rows: ReplicaSyncedRow[] = []
  for (let rowAt = at + REPLICA_SYNCED_ROWS_AT; rows.length < count; rowAt += REPLICA_SYNCED_ROW_BYTES)
    rows.push({
      partitionRef: view.getUint32(rowAt + REPLICA_SYNCED_ROW_REF_AT, true),
      leaderEpoch: view.getInt32(rowAt + REPLICA_SYNCED_ROW_EPOCH_AT, true),
      syncedEndOffset: view.getFloat64(rowAt + REPLICA_SYNCED_ROW_SYNCED_END_AT, true),
    })
  return rows
}
