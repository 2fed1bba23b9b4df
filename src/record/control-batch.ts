/**
 * Control batches: the markers that end a transaction in a partition. One record, uncompressed, never delivered.
 *
 * | part  | layout                                                            |
 * | ----- | ----------------------------------------------------------------- |
 * | key   | i16 version 0, i16 type: 0 ABORT, 1 COMMIT; others are unknown    |
 * | value | i16 version 0, i32 coordinator epoch                              |
 */
import { writeSafeInt64 } from '../base/bytes.ts'
import { crc32c } from '../base/crc32c.ts'
import { VarintCursor, writeVarint } from '../base/varint.ts'
import {
  ATTRIBUTES_AT,
  BASE_OFFSET_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  BATCH_LENGTH_AT,
  BATCH_PREFIX_BYTES,
  CONTROL_BIT,
  CRC_AT,
  CRC_FROM,
  LAST_OFFSET_DELTA_AT,
  MAGIC,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  NO_SEQUENCE,
  PARTITION_LEADER_EPOCH_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORDS_AT,
  RECORDS_COUNT_AT,
  TRANSACTIONAL_BIT,
} from './batch-layout.ts'
import type { BatchView } from './batch-view.ts'

export type MarkerType = 'ABORT' | 'COMMIT'

const ABORT = 0
const COMMIT = 1
const KEY_BYTES = 4
const VALUE_BYTES = 6
/** attributes, timestamp delta, offset delta, key length, key, value length, value, header count: one byte each but for key and value. */
const RECORD_BODY_BYTES = 6 + KEY_BYTES + VALUE_BYTES
const MARKER_BYTES = RECORDS_AT + 1 + RECORD_BODY_BYTES

export interface Marker {
  readonly type: MarkerType
  readonly producerId: number
  readonly producerEpoch: number
  readonly coordinatorEpoch: number
  readonly timestampMs: number
}

/** The control batch of a marker, CRC included; the leader stamps base offset and epoch as in any batch. */
export function writeMarker(marker: Marker): Uint8Array {
  const bytes = new Uint8Array(MARKER_BYTES)
  const data = new DataView(bytes.buffer)
  writeSafeInt64(data, BASE_OFFSET_AT, 0)
  data.setInt32(BATCH_LENGTH_AT, MARKER_BYTES - BATCH_PREFIX_BYTES)
  data.setInt32(PARTITION_LEADER_EPOCH_AT, -1)
  data.setInt8(MAGIC_AT, MAGIC)
  data.setInt16(ATTRIBUTES_AT, TRANSACTIONAL_BIT | CONTROL_BIT)
  data.setInt32(LAST_OFFSET_DELTA_AT, 0)
  writeSafeInt64(data, BASE_TIMESTAMP_AT, marker.timestampMs)
  writeSafeInt64(data, MAX_TIMESTAMP_AT, marker.timestampMs)
  writeSafeInt64(data, PRODUCER_ID_AT, marker.producerId)
  data.setInt16(PRODUCER_EPOCH_AT, marker.producerEpoch)
  data.setInt32(BASE_SEQUENCE_AT, NO_SEQUENCE)
  data.setInt32(RECORDS_COUNT_AT, 1)
  // Attributes, both deltas, both versions and the header count are zero: the array is.
  const keyLengthAt = writeVarint(bytes, RECORDS_AT, RECORD_BODY_BYTES) + 3
  const keyAt = writeVarint(bytes, keyLengthAt, KEY_BYTES)
  data.setInt16(keyAt + 2, marker.type === 'COMMIT' ? COMMIT : ABORT)
  const valueAt = writeVarint(bytes, keyAt + KEY_BYTES, VALUE_BYTES)
  data.setInt32(valueAt + 2, marker.coordinatorEpoch)
  data.setUint32(CRC_AT, crc32c(bytes.subarray(CRC_FROM)))
  return bytes
}

/** The marker in a control batch that checkBatch has accepted; undefined for a type that is not a transaction's. */
export function readMarker(batch: BatchView): Marker | undefined {
  const { bytes, end } = batch
  const cursor = new VarintCursor(bytes, batch.at + RECORDS_AT, end)
  cursor.varint()
  cursor.skip(1)
  cursor.varlong()
  cursor.varint()
  const keyBytes = cursor.varint()
  const keyAt = cursor.at
  cursor.skip(keyBytes)
  const valueBytes = cursor.varint()
  const valueAt = cursor.at
  cursor.skip(valueBytes)
  if (!cursor.ok || keyBytes < KEY_BYTES || valueBytes < VALUE_BYTES) return undefined
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const type = data.getInt16(keyAt + 2)
  if (type !== ABORT && type !== COMMIT) return undefined
  return {
    type: type === COMMIT ? 'COMMIT' : 'ABORT',
    producerId: batch.producerId,
    producerEpoch: batch.producerEpoch,
    coordinatorEpoch: data.getInt32(valueAt + 2),
    timestampMs: batch.baseTimestamp,
  }
}
