/**
 * Frame: one request, reply or one-way message of `millrace.v1`; exactly one binary WebSocket message.
 *
 * Big-endian.
 * | at | size        | field         |
 * |  0 |           1 | version       |
 * |  1 |           1 | flags         | bit 0: reply
 * |  2 |           2 | api           | api.ts
 * |  4 |           4 | correlationId | u32
 * |  8 |           4 | headerBytes   | u32
 * | 12 | headerBytes | header        | msgpack
 * |    |        rest | body          | raw record batches, or nothing
 *
 * Failure  decodeFrame answers a fault, with the correlation id where there is one, so that it can be answered
 * Limits   FRAME_HEADER_BYTES_MAX; the frame's own size is the transport's to bound
 */
import { assert } from '../base/assert.ts'
import type { ErrorCode } from '../model/errors.ts'
import { FRAME_HEADER_BYTES_MAX } from '../model/limits.ts'

export const PROTOCOL_VERSION = 1
export const SUBPROTOCOL = 'millrace.v1'

const VERSION_AT = 0
const FLAGS_AT = VERSION_AT + 1
const API_AT = FLAGS_AT + 1
const CORRELATION_ID_AT = API_AT + 2
const HEADER_BYTES_AT = CORRELATION_ID_AT + 4
export const PROLOGUE_BYTES = HEADER_BYTES_AT + 4
assert(PROLOGUE_BYTES === 12, 'the frame prologue changed: bump PROTOCOL_VERSION')

export const FLAG_REPLY = 1

export interface FramePrologue {
  readonly api: number
  readonly isReply: boolean
  readonly correlationId: number
}

/** `header` and `body` are views of the given bytes: copy what must outlive them. */
export interface Frame extends FramePrologue {
  readonly header: Uint8Array
  readonly body: Uint8Array
}

export type DecodedFrame =
  | { readonly kind: 'frame'; readonly frame: Frame }
  /** Answer `code` under the correlation id; `api` is what the frame says, not checked. */
  | {
      readonly kind: 'fault'
      readonly code: ErrorCode
      readonly text: string
      readonly api: number
      readonly correlationId: number
    }
  /** Shorter than a prologue: nothing to answer to. Close the connection. */
  | { readonly kind: 'garbage'; readonly text: string }

export function decodeFrame(bytes: Uint8Array): DecodedFrame {
  if (bytes.length < PROLOGUE_BYTES)
    return { kind: 'garbage', text: `a frame has at least ${PROLOGUE_BYTES} bytes, not ${bytes.length}` }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const api = view.getUint16(API_AT)
  const correlationId = view.getUint32(CORRELATION_ID_AT)
  const fault = (code: ErrorCode, text: string): DecodedFrame => ({ kind: 'fault', code, text, api, correlationId })
  const version = bytes[VERSION_AT]!
  if (version !== PROTOCOL_VERSION)
    return fault('UNSUPPORTED_VERSION', `frame version ${version}; this end speaks ${PROTOCOL_VERSION}`)
  const flags = bytes[FLAGS_AT]!
  if ((flags & ~FLAG_REPLY) !== 0) return fault('INVALID_REQUEST', `frame flags 0x${flags.toString(16)} are not known`)
  const headerBytes = view.getUint32(HEADER_BYTES_AT)
  if (headerBytes > FRAME_HEADER_BYTES_MAX)
    return fault('INVALID_REQUEST', `header of ${headerBytes} bytes; at most ${FRAME_HEADER_BYTES_MAX} are allowed`)
  if (headerBytes > bytes.length - PROLOGUE_BYTES)
    return fault(
      'INVALID_REQUEST',
      `header of ${headerBytes} bytes in a frame that has ${bytes.length - PROLOGUE_BYTES} left`,
    )
  const bodyAt = PROLOGUE_BYTES + headerBytes
  const header = bytes.subarray(PROLOGUE_BYTES, bodyAt)
  const body = bytes.subarray(bodyAt)
  return { kind: 'frame', frame: { api, isReply: (flags & FLAG_REPLY) !== 0, correlationId, header, body } }
}

/** Writes the prologue at `at`; returns the index after it. */
export function writePrologue(target: Uint8Array, at: number, prologue: FramePrologue, headerBytes: number): number {
  const view = new DataView(target.buffer, target.byteOffset + at, PROLOGUE_BYTES)
  view.setUint8(VERSION_AT, PROTOCOL_VERSION)
  view.setUint8(FLAGS_AT, prologue.isReply ? FLAG_REPLY : 0)
  view.setUint16(API_AT, prologue.api)
  view.setUint32(CORRELATION_ID_AT, prologue.correlationId)
  view.setUint32(HEADER_BYTES_AT, headerBytes)
  return at + PROLOGUE_BYTES
}

/** A whole frame in fresh memory; the parts of `body` are copied in, one after the other. */
export function encodeFrame(prologue: FramePrologue, header: Uint8Array, body: readonly Uint8Array[] = []): Uint8Array {
  let bytes = PROLOGUE_BYTES + header.length
  for (const part of body) bytes += part.length
  const frame = new Uint8Array(bytes)
  let at = writePrologue(frame, 0, prologue, header.length)
  frame.set(header, at)
  at += header.length
  for (const part of body) {
    frame.set(part, at)
    at += part.length
  }
  return frame
}
