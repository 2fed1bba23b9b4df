/**
 * StoreLog: what the embedded store's file says, bytes to transactions and back. Pure.
 *
 * A file is a sequence of frames; the first is a snapshot, each other a group of transactions that were made durable together.
 *
 * Big-endian.
 * | at | size      | field     |
 * |  0 |         4 | magic     | 'MRS1'
 * |  4 |         4 | bodyBytes | u32
 * |  8 |         4 | checksum  | CRC-32C of the body
 * | 12 | bodyBytes | body      | JSON: { snapshot } or { transactions }, values in base64
 *
 * Invariants  SL1 a frame is written only after the one before it was synced: a crash leaves at most one frame that is not whole,
 *             the last. Anything wrong before the last frame is damage, and nothing is cut
 */
import { assert } from '../base/assert.ts'
import { utf8DecodeStrict, utf8Encode } from '../base/bytes.ts'
import { crc32c } from '../base/crc32c.ts'

const MAGIC = 0x4d525331
const MAGIC_AT = 0
const BODY_BYTES_AT = MAGIC_AT + 4
const CHECKSUM_AT = BODY_BYTES_AT + 4
export const STORE_FRAME_HEADER_BYTES = CHECKSUM_AT + 4
assert(STORE_FRAME_HEADER_BYTES === 12, 'the store frame changed: use another magic')

/** [key, value in base64, modRevision, version] */
export type StoredRow = readonly [key: string, value: string, modRevision: number, version: number]
/** A put has a value in base64, a delete null. */
export type OperationRow = readonly [key: string, value: string | null]

export type StoreFrame =
  | { readonly snapshot: { readonly revision: number; readonly rows: readonly StoredRow[] } }
  | { readonly transactions: readonly (readonly OperationRow[])[] }

export function encodeStoreFrame(frame: StoreFrame): Uint8Array {
  const body = utf8Encode(JSON.stringify(frame))
  const bytes = new Uint8Array(STORE_FRAME_HEADER_BYTES + body.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(MAGIC_AT, MAGIC)
  view.setUint32(BODY_BYTES_AT, body.length)
  view.setUint32(CHECKSUM_AT, crc32c(body))
  bytes.set(body, STORE_FRAME_HEADER_BYTES)
  return bytes
}

export type StoreLogContent =
  /** `bytes`: where the last whole frame ends; what follows is the torn tail of a crash. */
  | { readonly kind: 'readable'; readonly frames: readonly StoreFrame[]; readonly bytes: number }
  | { readonly kind: 'damaged'; readonly at: number; readonly reason: string }

export function readStoreLog(bytes: Uint8Array): StoreLogContent {
  const frames: StoreFrame[] = []
  let at = 0
  while (at < bytes.length) {
    const end = frameEnd(bytes, at)
    if (end === undefined) {
      // A frame that follows was written after this one was synced: then this is no torn tail.
      if (hasFrameAfter(bytes, at + 1))
        return { kind: 'damaged', at, reason: 'a frame that fails its checksum, with good frames after it' }
      if (frames.length === 0) return { kind: 'damaged', at, reason: 'the snapshot at the beginning is not whole' }
      break
    }
    const text = utf8DecodeStrict(bytes.subarray(at + STORE_FRAME_HEADER_BYTES, end))
    frames.push(JSON.parse(text ?? '') as StoreFrame)
    at = end
  }
  if (frames.length === 0 || !('snapshot' in frames[0]!))
    return { kind: 'damaged', at: 0, reason: 'it does not begin with a snapshot' }
  return { kind: 'readable', frames, bytes: at }
}

/** Where the frame at `at` ends, or undefined when it is not a whole and sound one. */
function frameEnd(bytes: Uint8Array, at: number): number | undefined {
  if (at + STORE_FRAME_HEADER_BYTES > bytes.length) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset + at)
  if (view.getUint32(MAGIC_AT) !== MAGIC) return undefined
  const end = at + STORE_FRAME_HEADER_BYTES + view.getUint32(BODY_BYTES_AT)
  if (end > bytes.length) return undefined
  const isSound = crc32c(bytes.subarray(at + STORE_FRAME_HEADER_BYTES, end)) === view.getUint32(CHECKSUM_AT)
  return isSound ? end : undefined
}

function hasFrameAfter(bytes: Uint8Array, from: number): boolean {
  const first = MAGIC >>> 24
  for (let at = bytes.indexOf(first, from); at !== -1; at = bytes.indexOf(first, at + 1))
    if (frameEnd(bytes, at) !== undefined) return true
  return false
}
