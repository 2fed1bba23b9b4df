/**
 * The head of a record batch as far as the door looks: not a record is parsed on the main thread, and not a byte re-encoded.
 *
 * Source  record/batch-layout.ts; magic is at the same place in the two older formats, so that they can be told apart
 */
import { readSafeInt64 } from '../base/bytes.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import {
  ATTRIBUTES_AT,
  BASE_OFFSET_AT,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_AT,
  BATCH_PREFIX_BYTES,
  CODEC_MASK,
  MAGIC_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  TRANSACTIONAL_BIT,
} from '../record/batch-layout.ts'

export interface BatchHead {
  /** NaN: none that fits. */
  readonly baseOffset: number
  /** Of the whole batch. */
  readonly bytes: number
  readonly magic: number
  readonly codec: number
  readonly isTransactional: boolean
}

/** Of the first batch; undefined where the bytes are too few for any. */
export function peekBatch(batch: Uint8Array): BatchHead | undefined {
  if (batch.length < MAGIC_AT + 1) return undefined
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength)
  const magic = view.getInt8(MAGIC_AT)
  if (magic === 2 && batch.length < BATCH_HEADER_BYTES) return undefined
  const attributes = magic === 2 ? view.getInt16(ATTRIBUTES_AT) : 0
  return {
    baseOffset: readSafeInt64(view, BASE_OFFSET_AT),
    bytes: BATCH_PREFIX_BYTES + view.getInt32(BATCH_LENGTH_AT),
    magic,
    codec: attributes & CODEC_MASK,
    isTransactional: (attributes & TRANSACTIONAL_BIT) !== 0,
  }
}

/** Of the first batch, which is one of magic 2. */
export function producerOf(batch: Uint8Array): ProducerIdentity {
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength)
  return { producerId: readSafeInt64(view, PRODUCER_ID_AT), producerEpoch: view.getInt16(PRODUCER_EPOCH_AT) }
}

/** Whether one of the whole batches that lie in `fragments`, one after the other, is compressed by `codec`. */
export function hasCodec(fragments: readonly Uint8Array[], codec: number): boolean {
  const head = new Uint8Array(BATCH_HEADER_BYTES)
  let total = 0
  for (const fragment of fragments) total += fragment.length
  for (let at = 0; at + BATCH_HEADER_BYTES <= total; ) {
    copyOut(fragments, at, head)
    const batch = peekBatch(head)
    if (batch === undefined || batch.bytes < BATCH_HEADER_BYTES) return false
    if (batch.codec === codec) return true
    at += batch.bytes
  }
  return false
}

/** Fills `target` from byte `from` of what the fragments are together. */
function copyOut(fragments: readonly Uint8Array[], from: number, target: Uint8Array): void {
  let start = 0
  let filled = 0
  for (const fragment of fragments) {
    const at = Math.max(0, from + filled - start)
    if (at < fragment.length) {
      const piece = fragment.subarray(at, at + target.length - filled)
      target.set(piece, filled)
      filled += piece.length
    }
    start += fragment.length
    if (filled === target.length) return
  }
}
