/**
 * Filler batches: a batch without records and without a producer, in the place of batches that compaction took out.
 *
 * Why         offsets stay without a gap from batch to batch, so a lost batch or segment still shows; and a leader epoch begins where it
 *             began. Readers pass over it as over any batch that holds nothing for them
 */
import { assert } from '../base/assert.ts'
import { writeSafeInt64 } from '../base/bytes.ts'
import { crc32c } from '../base/crc32c.ts'
import { BATCH_RECORDS_MAX } from '../model/limits.ts'
import {
  BASE_OFFSET_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  BATCH_HEADER_BYTES,
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
} from './batch-layout.ts'
import type { BatchView } from './batch-view.ts'

/** Offsets that one filler may stand for. */
export const FILLER_OFFSETS_MAX = BATCH_RECORDS_MAX

/** True for a batch that writeFiller() made, or one that is as good as one. */
export function isFiller(batch: BatchView): boolean {
  return batch.recordsCount === 0 && batch.producerId < 0 && !batch.isControl
}

/** The filler of [baseOffset, nextOffset) under `leaderEpoch`. */
export function writeFiller(span: {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly leaderEpoch: number
}): Uint8Array {
  const offsets = span.nextOffset - span.baseOffset
  assert(offsets > 0 && offsets <= FILLER_OFFSETS_MAX, `a filler of ${offsets} offsets`)
  const bytes = new Uint8Array(BATCH_HEADER_BYTES)
  const data = new DataView(bytes.buffer)
  writeSafeInt64(data, BASE_OFFSET_AT, span.baseOffset)
  data.setInt32(BATCH_LENGTH_AT, BATCH_HEADER_BYTES - BATCH_PREFIX_BYTES)
  data.setInt32(PARTITION_LEADER_EPOCH_AT, span.leaderEpoch)
  data.setInt8(MAGIC_AT, MAGIC)
  data.setInt32(LAST_OFFSET_DELTA_AT, offsets - 1)
  writeSafeInt64(data, BASE_TIMESTAMP_AT, -1)
  writeSafeInt64(data, MAX_TIMESTAMP_AT, -1)
  writeSafeInt64(data, PRODUCER_ID_AT, -1)
  data.setInt16(PRODUCER_EPOCH_AT, NO_PRODUCER_EPOCH)
  data.setInt32(BASE_SEQUENCE_AT, NO_SEQUENCE)
  data.setUint32(CRC_AT, crc32c(bytes.subarray(CRC_FROM)))
  return bytes
}
