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
  let offsetDeltaMin = 0
  let at = from
  for (let index = 0; index < count; index++) {
    at = passRecord(bytes, at, end)
    if (at < 0) return invalid(`record ${index} of ${count} is not well formed`)
    if (passedOffsetDelta < offsetDeltaMin || passedOffsetDelta > lastOffsetDelta)
      return invalid(`record ${index} of ${count} has offset delta ${passedOffsetDelta}`)
    offsetDeltaMin = passedOffsetDelta + 1
  }
  if (at !== end) return invalid(`${end - at} bytes follow the last of ${count} records`)
  return undefined
}

// What passRecord and varintAt answer beside their result. Module variables, so that nothing is allocated for a record.
let passedOffsetDelta = 0
let afterVarint = 0

/** Smallest record: length, attributes, two deltas, two lengths and a header count of one byte each. */
const RECORD_BYTES_MIN = 7

/** Passes over the record at `at`; answers the index after it, or −1 when its lengths do not add up or reach past `end`. */
function passRecord(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < RECORD_BYTES_MIN) return -1
  const bodyBytes = varintAt(bytes, at, end)
  const bodyEnd = afterVarint + bodyBytes
  if (bodyBytes < RECORD_BYTES_MIN - 1 || bodyEnd > end) return -1
  const afterTimestamp = passVarlong(bytes, afterVarint + 1, bodyEnd)
  passedOffsetDelta = varintAt(bytes, afterTimestamp, bodyEnd)
  const keyBytes = varintAt(bytes, afterVarint, bodyEnd)
  const afterKey = keyBytes >= 0 ? afterVarint + keyBytes : afterVarint
  const valueBytes = varintAt(bytes, afterKey, bodyEnd)
  const afterValue = valueBytes >= 0 ? afterVarint + valueBytes : afterVarint
  const headers = varintAt(bytes, afterValue, bodyEnd)
  if (keyBytes < -1 || valueBytes < -1 || headers < 0) return -1
  const after = headers === 0 ? afterVarint : passHeaders(bytes, afterVarint, bodyEnd, headers)
  return after === bodyEnd ? bodyEnd : -1
}

function passHeaders(bytes: Uint8Array, from: number, end: number, count: number): number {
  let at = from
  for (let index = 0; index < count; index++) {
    const keyBytes = varintAt(bytes, at, end)
    if (keyBytes < 0) return -1
    const valueBytes = varintAt(bytes, afterVarint + keyBytes, end)
    if (valueBytes < -1) return -1
    at = valueBytes >= 0 ? afterVarint + valueBytes : afterVarint
  }
  return at
}

/** What varintAt answers for what is no varint: less than any count or length may be. */
const BAD_VARINT = -0x80000000

/** The varint at `at`, and in afterVarint the index after it; BAD_VARINT, for good, where it is not whole before `end`. */
function varintAt(bytes: Uint8Array, at: number, end: number): number {
  if (at < end) {
    const first = bytes[at]!
    if (first < 0x80) {
      afterVarint = at + 1
      return (first >>> 1) ^ -(first & 1)
    }
    if (at + 1 < end) {
      const second = bytes[at + 1]!
      if (second < 0x80) {
        afterVarint = at + 2
        return (((first & 0x7f) | (second << 7)) >>> 1) ^ -(first & 1)
      }
    }
  }
  return longVarintAt(bytes, at, end)
}

function longVarintAt(bytes: Uint8Array, at: number, end: number): number {
  cursor.reset(bytes, at, Math.max(at, end))
  const value = cursor.varint()
  // From `end` every further read of this record fails as well.
  afterVarint = cursor.ok ? cursor.at : end
  return cursor.ok ? value : BAD_VARINT
}

/** Index after the varlong at `at`; past `end` when it is not whole before that or not a safe integer. */
function passVarlong(bytes: Uint8Array, at: number, end: number): number {
  // Seven groups hold 49 bits: a safe integer whatever they are.
  const safeEnd = Math.min(at + 7, end)
  for (let index = at; index < safeEnd; index++) if (bytes[index]! < 0x80) return index + 1
  cursor.reset(bytes, at, Math.max(at, end))
  cursor.varlong()
  return cursor.ok ? cursor.at : end + 1
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
