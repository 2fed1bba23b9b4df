/**
 * checkBatch: whether the bytes at a place are a record batch that may be appended, or was.
 *
 * Thread      the shard's hot path: no allocation but one view of the hashed bytes per batch; texts are built for faults only
 * Ordering    length -> magic -> size bound -> CRC -> counts -> attributes -> producer -> records:
 *             nothing past the length is believed before the CRC has been checked
 * Limits      BatchLimits
 * Failure     a fault is a value with a row of the error table; nothing is thrown
 * Not here    sequences and epochs of producers (log/producer-state), expected offsets (log/)
 *
 * To step over the batches of a produce body without an iterator:
 *   while (at < end) { const fault = checkBatch(bytes, at, end, limits); if (fault !== undefined) …; at = view.reset(bytes, at).end }
 */
import { VarintCursor } from '../base/varint.ts'
import type { ErrorCode } from '../model/errors.ts'
import { BATCH_RECORDS_MAX } from '../model/limits.ts'
import {
  BATCH_HEADER_BYTES,
  BATCH_PREFIX_BYTES,
  batchBytesAt,
  CODEC_MASK,
  CONTROL_BIT,
  DELETE_HORIZON_BIT,
  KNOWN_ATTRIBUTES,
  LOG_APPEND_TIME_BIT,
  MAGIC,
  RECORDS_AT,
  TRANSACTIONAL_BIT,
} from './batch-layout.ts'
import { BatchView } from './batch-view.ts'
import { CODEC_MAX, NO_CODEC } from './compression.ts'

export interface BatchFault {
  readonly code: ErrorCode
  /** What was wrong, with the values. */
  readonly text: string
}

export interface BatchLimits {
  /** Bytes of a whole batch. */
  readonly batchBytesMax: number
  /**
   * `client`: what a producer may send: no control batch, no broker's bits, as many records as offsets.
   * `log`: what a log may hold besides: markers, append time, batches that compaction has thinned out.
   */
  readonly origin: 'client' | 'log'
}

const view = new BatchView()
const cursor = new VarintCursor(new Uint8Array(0))

/** The fault of the batch that begins at bytes[at] and must end by `end`; undefined when it is sound. */
export function checkBatch(bytes: Uint8Array, at: number, end: number, limits: BatchLimits): BatchFault | undefined {
  const fault = checkFrame(bytes, at, end, limits)
  if (fault !== undefined) return fault
  view.reset(bytes, at)
  const computed = view.computeCrc()
  if (computed !== view.crc)
    return corrupt(`the checksum of the batch is ${hex(computed)}, its header says ${hex(view.crc)}`)
  return (
    checkNumbers(limits) ??
    checkAttributes(limits) ??
    checkProducer(limits) ??
    (view.codec === NO_CODEC ? checkRecords(bytes, at + RECORDS_AT, at + view.sizeInBytes) : undefined)
  )
}

/** Length and magic: all that can be judged before the checksum. */
function checkFrame(bytes: Uint8Array, at: number, end: number, limits: BatchLimits): BatchFault | undefined {
  const left = end - at
  const total = batchBytesAt(bytes, at, end)
  if (total < 0)
    return left < BATCH_PREFIX_BYTES
      ? corrupt(`${left} bytes are left, fewer than the ${BATCH_PREFIX_BYTES} that say how long a batch is`)
      : (checkOldMagic(bytes, at, end) ??
          corrupt(`the batch says it is shorter than its header of ${BATCH_HEADER_BYTES} bytes, or longer than 2 GiB`))
  if (left > 16 && bytes[at + 16] !== MAGIC) {
    const magic = bytes[at + 16]!
    return checkOldMagic(bytes, at, end) ?? corrupt(`the magic of the batch is ${magic}, not ${MAGIC}`)
  }
  if (total > limits.batchBytesMax)
    return {
      code: 'MESSAGE_TOO_LARGE',
      text: `the batch says it has ${total} bytes, the limit is ${limits.batchBytesMax}`,
    }
  if (total > left) return corrupt(`the batch says it has ${total} bytes, ${left} are left`)
  return undefined
}

function checkOldMagic(bytes: Uint8Array, at: number, end: number): BatchFault | undefined {
  const magic = end - at > 16 ? bytes[at + 16]! : MAGIC
  if (magic > 1) return undefined
  return {
    code: 'UNSUPPORTED_FOR_MESSAGE_FORMAT',
    text: `the records are in the old message format ${magic}; only record batches (magic ${MAGIC}) are taken`,
  }
}

function checkNumbers(limits: BatchLimits): BatchFault | undefined {
  const count = view.recordsCount
  const lastOffsetDelta = view.lastOffsetDelta
  const thinned = limits.origin === 'log' && count >= 0 && count <= lastOffsetDelta + 1
  if (lastOffsetDelta < 0 || lastOffsetDelta >= BATCH_RECORDS_MAX)
    return invalid(`the last offset delta of the batch is ${lastOffsetDelta}, not within 0 to ${BATCH_RECORDS_MAX - 1}`)
  if (count !== lastOffsetDelta + 1 && !thinned)
    return invalid(
      `the batch says it has ${count} records, its last offset delta ${lastOffsetDelta} says ${lastOffsetDelta + 1}`,
    )
  if (Number.isNaN(view.baseTimestamp) || Number.isNaN(view.maxTimestamp))
    return { code: 'INVALID_TIMESTAMP', text: 'a timestamp of the batch is beyond 2^53 milliseconds' }
  if (limits.origin === 'log' && !(view.lastOffset >= 0 && Number.isSafeInteger(view.nextOffset)))
    return corrupt('the base offset of the batch is not within 0 to 2^53')
  return undefined
}

function checkAttributes(limits: BatchLimits): BatchFault | undefined {
  const attributes = view.attributes
  if ((attributes & ~KNOWN_ATTRIBUTES) !== 0)
    return invalid(`the attributes of the batch, ${hex(attributes & 0xffff)}, have bits that have no meaning`)
  if ((attributes & CODEC_MASK) > CODEC_MAX)
    return {
      code: 'UNSUPPORTED_COMPRESSION_TYPE',
      text: `the batch names codec ${attributes & CODEC_MASK}, which is none`,
    }
  if (limits.origin === 'log') return undefined
  if ((attributes & CONTROL_BIT) !== 0) return invalid('a client may not send a control batch')
  if ((attributes & DELETE_HORIZON_BIT) !== 0) return invalid('a client may not set a delete horizon')
  if ((attributes & LOG_APPEND_TIME_BIT) !== 0)
    return { code: 'INVALID_TIMESTAMP', text: 'a client may not send a batch that says it has the append time' }
  return undefined
}

function checkProducer(limits: BatchLimits): BatchFault | undefined {
  const producerId = view.producerId
  if (Number.isNaN(producerId) || producerId < -1)
    return invalid(`the producer id of the batch, ${producerId}, is neither -1 nor within 0 to 2^53`)
  if (limits.origin === 'log') return undefined
  // Only the id says whether there is a producer: without one, clients differ in epoch and sequence.
  if (producerId === -1)
    return (view.attributes & TRANSACTIONAL_BIT) === 0 ? undefined : invalid('a transactional batch has no producer id')
  if (view.producerEpoch < 0 || view.baseSequence < 0)
    return invalid(
      `the batch of producer ${producerId} has epoch ${view.producerEpoch} and sequence ${view.baseSequence}; both must be at least 0`,
    )
  return undefined
}

/** Walks the records of an uncompressed batch: lengths must chain to exactly `end`, offsets must rise. */
function checkRecords(bytes: Uint8Array, from: number, end: number): BatchFault | undefined {
  const count = view.recordsCount
  const lastOffsetDelta = view.lastOffsetDelta
  // With as many records as offsets, rising deltas within bounds can only be 0, 1, 2 …
  let expectedMin = 0
  cursor.reset(bytes, from, end)
  for (let index = 0; index < count; index++) {
    const offsetDelta = passRecord(cursor)
    if (!cursor.ok) return invalid(`record ${index} of ${count} is not well formed`)
    if (offsetDelta < expectedMin || offsetDelta > lastOffsetDelta)
      return invalid(`record ${index} of ${count} has offset delta ${offsetDelta}`)
    expectedMin = offsetDelta + 1
  }
  if (cursor.at !== end) return invalid(`${end - cursor.at} bytes follow the last of ${count} records`)
  return undefined
}

/** Passes over one record; answers its offset delta. `cursor.ok` is false when its lengths do not add up. */
function passRecord(cursor: VarintCursor): number {
  const bodyBytes = cursor.varint()
  const bodyEnd = cursor.at + bodyBytes
  if (!cursor.ok || bodyEnd > cursor.end) {
    cursor.skip(-1)
    return 0
  }
  cursor.skip(1)
  cursor.varlong()
  const offsetDelta = cursor.varint()
  const keyBytes = cursor.varint()
  if (keyBytes !== -1) cursor.skip(keyBytes)
  const valueBytes = cursor.varint()
  if (valueBytes !== -1) cursor.skip(valueBytes)
  const headers = cursor.varint()
  if (headers < 0) cursor.skip(-1)
  for (let index = 0; index < headers && cursor.ok; index++) {
    cursor.skip(cursor.varint())
    const headerValueBytes = cursor.varint()
    if (headerValueBytes !== -1) cursor.skip(headerValueBytes)
  }
  if (cursor.at !== bodyEnd) cursor.skip(-1)
  return offsetDelta
}

function corrupt(text: string): BatchFault {
  return { code: 'CORRUPT_MESSAGE', text }
}

function invalid(text: string): BatchFault {
  return { code: 'INVALID_RECORD', text }
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16).padStart(8, '0')}`
}
