/**
 * From batch header to batch header in bytes of a segment that somebody has read: pure, for the shard's fetch and time
 * lookups, which hold pages, and for recovery, which holds blocks.
 *
 * Rule      a batch is looked at only as far as its header; its checksum was checked at append and recovery
 * Not here  who reads the bytes: the shard's page cache; records inside a batch: record/batch-reader.ts
 */
import { readSafeInt64 } from '../base/bytes.ts'
import {
  BASE_OFFSET_AT,
  BATCH_HEADER_BYTES,
  batchBytesAt,
  LAST_OFFSET_DELTA_AT,
  MAGIC,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
} from '../record/batch-layout.ts'

/**
 * found    the batch at `at` is the first that qualifies; all of its header lies before `end`
 * more     every batch before `at` does not qualify, the one at `at` (may be past `end`) is not known well enough: read on there
 * damaged  what begins at `at` is no batch header
 * `nextOffset` is the offset after the last batch stepped over, -1 when there was none.
 */
export interface BatchStep {
  kind: 'found' | 'more' | 'damaged'
  at: number
  nextOffset: number
}

const step: BatchStep = { kind: 'more', at: 0, nextOffset: -1 }

/** First batch in bytes[from, end) whose last offset is at or past `offset`. The answer is reused by the next step. */
export function stepToOffset(bytes: Uint8Array, from: number, end: number, offset: number): Readonly<BatchStep> {
  return walk(bytes, from, end, (view, at) => {
    return readSafeInt64(view, at + BASE_OFFSET_AT) + view.getInt32(at + LAST_OFFSET_DELTA_AT) >= offset
  })
}

/** First batch in bytes[from, end) with a record at or after `timestampMs`. The answer is reused by the next step. */
export function stepToTime(bytes: Uint8Array, from: number, end: number, timestampMs: number): Readonly<BatchStep> {
  return walk(bytes, from, end, (view, at) => readSafeInt64(view, at + MAX_TIMESTAMP_AT) >= timestampMs)
}

function walk(
  bytes: Uint8Array,
  from: number,
  end: number,
  qualifies: (view: DataView, at: number) => boolean,
): BatchStep {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = from
  step.nextOffset = -1
  while (at + BATCH_HEADER_BYTES <= end) {
    const batchBytes = batchBytesAt(bytes, at, end)
    if (batchBytes < 0 || view.getInt8(at + MAGIC_AT) !== MAGIC) return answer('damaged', at)
    if (qualifies(view, at)) return answer('found', at)
    step.nextOffset = readSafeInt64(view, at + BASE_OFFSET_AT) + view.getInt32(at + LAST_OFFSET_DELTA_AT) + 1
    at += batchBytes
  }
  return answer('more', at)
}

function answer(kind: BatchStep['kind'], at: number): BatchStep {
  step.kind = kind
  step.at = at
  return step
}
