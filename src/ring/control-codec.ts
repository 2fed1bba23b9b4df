/**
 * Control codec: writes and reads the cold messages: CONTROL, CONTROL_REPLY, NOTICE. Their bodies are msgpack.
 *
 * Thread      any; holds no state of its own beyond msgpackr's buffers
 * Invariants  CC1 nothing decoded refers to the ring: bodies are copied out first, so a value outlives release()
 * Limits      a body must fit the ring: controlBodyBytesMax(writer), noticeBodyBytesMax(writer); callers split or shorten
 * Failure     full = false, try again later with the same encoded body; a body that is not msgpack = InvariantError
 * Not here    the types of the bodies (control-messages.ts), the hot messages (message-codec.ts)
 */
import { Packr, Unpackr } from 'msgpackr/pack'
import { InvariantError } from '../base/assert.ts'
import type { ControlOperation, Notice } from './control-messages.ts'
import {
  CONTROL_BODY_AT,
  CONTROL_BODY_BYTES_AT,
  CONTROL_OPERATION_AT,
  CONTROL_REQUEST_ID_AT,
  MessageType,
  NOTICE_BODY_AT,
  NOTICE_BODY_BYTES_AT,
} from './messages.ts'
import type { RingReader } from './ring-reader.ts'
import type { RingWriter } from './ring-writer.ts'

// Records off: a record's structure is known only to the end that defined it. Offsets stay numbers: they are safe integers.
const options = { useRecords: false, int64AsType: 'number', encodeUndefinedAsNil: true } as const
const packr = new Packr(options)
const unpackr = new Unpackr(options)

/** A body as msgpack, in memory of its own. Encode once, then write until it is not full. */
export function encodeControlBody(value: unknown): Uint8Array {
  return packr.pack(value)
}

/** A value that was encoded apart from its message. Throws InvariantError: both ends are ours. */
export function decodeControlBody(bytes: Uint8Array): unknown {
  try {
    return unpackr.unpack(bytes)
  } catch (error) {
    throw new InvariantError(`a body within a control message is not msgpack (${String(error)})`)
  }
}

export function controlBodyBytesMax(writer: RingWriter): number {
  return writer.frameBytesMax - CONTROL_BODY_AT
}

export function noticeBodyBytesMax(writer: RingWriter): number {
  return writer.frameBytesMax - NOTICE_BODY_AT
}

export interface ControlFields {
  readonly requestId: number
  readonly operation: ControlOperation
  /** From encodeControlBody. */
  readonly body: Uint8Array
}

/** Claims and fills a CONTROL frame; the caller publishes. False = full. */
export function writeControl(writer: RingWriter, fields: ControlFields): boolean {
  return writeBody(writer, MessageType.CONTROL, fields.requestId, fields.operation, fields.body)
}

export interface Control {
  readonly requestId: number
  readonly operation: number
  readonly body: unknown
}

/** The CONTROL frame that the reader stands on. */
export function readControl(reader: RingReader): Control {
  expectType(reader, MessageType.CONTROL)
  return {
    requestId: reader.view.getUint32(reader.at + CONTROL_REQUEST_ID_AT, true),
    operation: reader.view.getInt32(reader.at + CONTROL_OPERATION_AT, true),
    body: readBody(reader, CONTROL_BODY_BYTES_AT, CONTROL_BODY_AT),
  }
}

export interface ControlReplyFields {
  readonly requestId: number
  /** A number of model/errors; NONE = 0. */
  readonly errorNumber: number
  /** From encodeControlBody: the answer, or on an error its text. */
  readonly body: Uint8Array
}

/** Claims and fills a CONTROL_REPLY frame; the caller publishes. False = full. */
export function writeControlReply(writer: RingWriter, fields: ControlReplyFields): boolean {
  return writeBody(writer, MessageType.CONTROL_REPLY, fields.requestId, fields.errorNumber, fields.body)
}

export interface ControlReply {
  readonly requestId: number
  readonly errorNumber: number
  readonly body: unknown
}

/** The CONTROL_REPLY frame that the reader stands on. */
export function readControlReply(reader: RingReader): ControlReply {
  expectType(reader, MessageType.CONTROL_REPLY)
  return {
    requestId: reader.view.getUint32(reader.at + CONTROL_REQUEST_ID_AT, true),
    errorNumber: reader.view.getInt32(reader.at + CONTROL_OPERATION_AT, true),
    body: readBody(reader, CONTROL_BODY_BYTES_AT, CONTROL_BODY_AT),
  }
}

/** Claims and fills a NOTICE frame; the caller publishes. False = full: a notice may be kept or dropped, as its kind allows. */
export function writeNotice(writer: RingWriter, notice: Notice): boolean {
  const body = encodeControlBody(notice)
  const at = writer.claim(MessageType.NOTICE, NOTICE_BODY_AT + body.length, 'control')
  if (at < 0) return false
  writer.view.setUint32(at + NOTICE_BODY_BYTES_AT, body.length, true)
  writer.bytes.set(body, at + NOTICE_BODY_AT)
  return true
}

/** The NOTICE frame that the reader stands on. Of an unknown kind when the shard is of another make: look at `kind` first. */
export function readNotice(reader: RingReader): Notice {
  expectType(reader, MessageType.NOTICE)
  return readBody(reader, NOTICE_BODY_BYTES_AT, NOTICE_BODY_AT) as Notice
}

function writeBody(writer: RingWriter, type: number, requestId: number, second: number, body: Uint8Array): boolean {
  const at = writer.claim(type, CONTROL_BODY_AT + body.length, 'control')
  if (at < 0) return false
  writer.view.setUint32(at + CONTROL_REQUEST_ID_AT, requestId, true)
  writer.view.setInt32(at + CONTROL_OPERATION_AT, second, true)
  writer.view.setUint32(at + CONTROL_BODY_BYTES_AT, body.length, true)
  writer.bytes.set(body, at + CONTROL_BODY_AT)
  return true
}

function readBody(reader: RingReader, bytesAt: number, bodyAt: number): unknown {
  const bodyBytes = reader.view.getUint32(reader.at + bytesAt, true)
  if (bodyAt + bodyBytes > reader.length)
    throw new InvariantError(`frame of type ${reader.type}: body of ${bodyBytes} bytes in ${reader.length}`)
  // slice, not subarray: a copy in ordinary memory, which the value may keep.
  const body = reader.bytes.slice(reader.at + bodyAt, reader.at + bodyAt + bodyBytes)
  try {
    return unpackr.unpack(body)
  } catch (error) {
    throw new InvariantError(`frame of type ${reader.type}: its body is not msgpack (${String(error)})`)
  }
}

function expectType(reader: RingReader, type: number): void {
  if (reader.type !== type) throw new InvariantError(`frame of type ${reader.type} read as one of type ${type}`)
}
