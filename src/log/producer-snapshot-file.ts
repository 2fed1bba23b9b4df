/**
 * The file of a producer snapshot: its name, its layout, and how one entry is written and read.
 *
 * Format   format.md "Producer snapshot", sections 7 to 9
 */
import { assert } from '../base/assert.ts'
import { readSafeInt64, writeSafeInt64 } from '../base/bytes.ts'
import { PRODUCER_BATCHES_REMEMBERED } from '../model/limits.ts'
import type { AbortedMarks } from './aborted-index.ts'
import type { CheckedContent, CheckedFileKind } from './checked-file.ts'

// Meta, after the header of a checked file; version 1 had the first field only:
// |  0 | 8 | endOffset    | i64; the state after every batch below it
// |  8 | 8 | firstAborted | i64; marker of the first transaction that was ever aborted; -1 = none
// | 16 | 8 | lastAborted  | i64; marker of the last one below endOffset; -1 = none
// Entry:
// |  0 |   8 | producerId           | i64
// |  8 |   2 | producerEpoch        | i16
// | 10 |   2 | batchCount           | u16; 0 … 5
// | 12 |   4 | coordinatorEpoch     | i32; of its last marker; -1 = none
// | 16 |   8 | lastAppendMs         | i64; wall time of its last append here, for expiry
// | 24 |   8 | transactionFirst     | i64; first offset of its open transaction; -1 = none
// | 32 | 120 | batches              | 5 of: lastSequence i32, offsetDelta i32, lastOffset i64, timestampMs i64; unused ones are zero
export const SNAPSHOT_END_OFFSET_AT = 0
export const SNAPSHOT_FIRST_ABORTED_AT = SNAPSHOT_END_OFFSET_AT + 8
export const SNAPSHOT_LAST_ABORTED_AT = SNAPSHOT_FIRST_ABORTED_AT + 8
export const SNAPSHOT_META_BYTES = SNAPSHOT_LAST_ABORTED_AT + 8
export const SNAPSHOT_PRODUCER_ID_AT = 0
export const SNAPSHOT_EPOCH_AT = SNAPSHOT_PRODUCER_ID_AT + 8
export const SNAPSHOT_BATCH_COUNT_AT = SNAPSHOT_EPOCH_AT + 2
export const SNAPSHOT_COORDINATOR_EPOCH_AT = SNAPSHOT_BATCH_COUNT_AT + 2
export const SNAPSHOT_LAST_APPEND_AT = SNAPSHOT_COORDINATOR_EPOCH_AT + 4
export const SNAPSHOT_TRANSACTION_FIRST_AT = SNAPSHOT_LAST_APPEND_AT + 8
export const SNAPSHOT_BATCHES_AT = SNAPSHOT_TRANSACTION_FIRST_AT + 8
export const SNAPSHOT_BATCH_LAST_SEQUENCE_AT = 0
export const SNAPSHOT_BATCH_DELTA_AT = SNAPSHOT_BATCH_LAST_SEQUENCE_AT + 4
export const SNAPSHOT_BATCH_LAST_OFFSET_AT = SNAPSHOT_BATCH_DELTA_AT + 4
export const SNAPSHOT_BATCH_TIMESTAMP_AT = SNAPSHOT_BATCH_LAST_OFFSET_AT + 8
export const SNAPSHOT_BATCH_BYTES = SNAPSHOT_BATCH_TIMESTAMP_AT + 8
export const SNAPSHOT_ENTRY_BYTES = SNAPSHOT_BATCHES_AT + PRODUCER_BATCHES_REMEMBERED * SNAPSHOT_BATCH_BYTES
assert(SNAPSHOT_ENTRY_BYTES === 152, 'producer snapshot layout changed: bump its version')

export const PRODUCER_SNAPSHOT_FILE: CheckedFileKind = {
  name: 'producer snapshot',
  magic: 'MRPS',
  version: 2,
  metaBytes: SNAPSHOT_META_BYTES,
  entryBytes: SNAPSHOT_ENTRY_BYTES,
}
/** From before there were transactions: none is open, none was aborted. */
export const PRODUCER_SNAPSHOT_FILE_1: CheckedFileKind = {
  ...PRODUCER_SNAPSHOT_FILE,
  version: 1,
  metaBytes: SNAPSHOT_FIRST_ABORTED_AT,
}

/** `producer-state-<offset>.snapshot` */
export function producerSnapshotName(endOffset: number): string {
  return `producer-state-${String(endOffset).padStart(20, '0')}.snapshot`
}

/** Offset of a snapshot's file name; undefined for any other name. */
export function parseProducerSnapshotName(name: string): number | undefined {
  const match = /^producer-state-(\d{20})\.snapshot$/.exec(name)
  if (match === null) return undefined
  const endOffset = Number(match[1])
  return Number.isSafeInteger(endOffset) ? endOffset : undefined
}

/** Numbers a remembered batch takes in ProducerEntry.batches. */
export const LAST_SEQUENCE = 0
export const DELTA = 1
export const LAST_OFFSET = 2
export const TIMESTAMP = 3
export const STRIDE = 4
export const BATCH_NUMBERS_MAX = PRODUCER_BATCHES_REMEMBERED * STRIDE

export interface ProducerEntry {
  epoch: number
  coordinatorEpoch: number
  lastAppendMs: number
  /** STRIDE numbers a batch, newest last. */
  batches: number[]
}

export function encodeEntry(view: DataView, at: number, producerId: number, entry: ProducerEntry): void {
  writeSafeInt64(view, at + SNAPSHOT_PRODUCER_ID_AT, producerId)
  view.setInt16(at + SNAPSHOT_EPOCH_AT, entry.epoch)
  view.setUint16(at + SNAPSHOT_BATCH_COUNT_AT, entry.batches.length / STRIDE)
  view.setInt32(at + SNAPSHOT_COORDINATOR_EPOCH_AT, entry.coordinatorEpoch)
  writeSafeInt64(view, at + SNAPSHOT_LAST_APPEND_AT, entry.lastAppendMs)
  let batchAt = at + SNAPSHOT_BATCHES_AT
  for (let index = 0; index < entry.batches.length; index += STRIDE, batchAt += SNAPSHOT_BATCH_BYTES) {
    view.setInt32(batchAt + SNAPSHOT_BATCH_LAST_SEQUENCE_AT, entry.batches[index + LAST_SEQUENCE]!)
    view.setInt32(batchAt + SNAPSHOT_BATCH_DELTA_AT, entry.batches[index + DELTA]!)
    writeSafeInt64(view, batchAt + SNAPSHOT_BATCH_LAST_OFFSET_AT, entry.batches[index + LAST_OFFSET]!)
    writeSafeInt64(view, batchAt + SNAPSHOT_BATCH_TIMESTAMP_AT, entry.batches[index + TIMESTAMP]!)
  }
}

export function readMarks({ view, metaAt }: CheckedContent): AbortedMarks {
  return {
    first: readSafeInt64(view, metaAt + SNAPSHOT_FIRST_ABORTED_AT),
    last: readSafeInt64(view, metaAt + SNAPSHOT_LAST_ABORTED_AT),
  }
}

export function decodeEntry(view: DataView, at: number): ProducerEntry | undefined {
  const batchCount = view.getUint16(at + SNAPSHOT_BATCH_COUNT_AT)
  if (batchCount > PRODUCER_BATCHES_REMEMBERED || !(readSafeInt64(view, at + SNAPSHOT_PRODUCER_ID_AT) >= 0))
    return undefined
  const batches: number[] = []
  let batchAt = at + SNAPSHOT_BATCHES_AT
  for (let index = 0; index < batchCount; index++, batchAt += SNAPSHOT_BATCH_BYTES) {
    batches.push(
      view.getInt32(batchAt + SNAPSHOT_BATCH_LAST_SEQUENCE_AT),
      view.getInt32(batchAt + SNAPSHOT_BATCH_DELTA_AT),
      readSafeInt64(view, batchAt + SNAPSHOT_BATCH_LAST_OFFSET_AT),
      readSafeInt64(view, batchAt + SNAPSHOT_BATCH_TIMESTAMP_AT),
    )
  }
  return {
    epoch: view.getInt16(at + SNAPSHOT_EPOCH_AT),
    coordinatorEpoch: view.getInt32(at + SNAPSHOT_COORDINATOR_EPOCH_AT),
    lastAppendMs: readSafeInt64(view, at + SNAPSHOT_LAST_APPEND_AT),
    batches,
  }
}
