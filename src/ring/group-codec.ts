/**
 * Group codec: the CONTROL messages that relay requests of groups, and their replies: as bytes, without msgpack in between.
 *
 * Thread      any
 * Invariants  GC1 nothing that was read refers to the ring: the header is copied out
 * Limits      groupBodyBytes() of a request must fit the ring: controlBodyBytesMax(writer)
 * Failure     full = false; lengths that do not add up = InvariantError (both ends are ours)
 * Format      messages.ts
 */
import { Buffer } from 'node:buffer'
import { assert } from '../base/assert.ts'
import { utf8Decode } from '../base/bytes.ts'
import { ControlOperation, type GroupRequestBody } from './control-messages.ts'
import {
  CONTROL_BODY_AT,
  CONTROL_BODY_BYTES_AT,
  CONTROL_OPERATION_AT,
  CONTROL_REQUEST_ID_AT,
  GROUP_API_AT,
  GROUP_CLIENT_HOST_BYTES_AT,
  GROUP_CLIENT_ID_BYTES_AT,
  GROUP_CONNECTION_ID_AT,
  GROUP_HEADER_AT,
  GROUP_HEADER_BYTES_AT,
  GROUP_IS_STEADY_AT,
  GROUP_PARTITION_REF_AT,
  MessageType,
} from './messages.ts'
import type { RingReader } from './ring-reader.ts'
import type { RingWriter } from './ring-writer.ts'

/** A request of groups, and who asks: its texts as UTF-8, encoded once a connection. */
export interface GroupFields {
  readonly partitionRef: number
  readonly api: number
  readonly header: Uint8Array
  readonly clientId: Uint8Array
  readonly clientHost: Uint8Array
  /** Where hints for its members go; 0 = nowhere. */
  readonly connectionId: number
  /** A heartbeat that says nothing new: many of the same will follow. */
  readonly isSteady: boolean
}

export function groupBodyBytes({ header, clientId, clientHost }: GroupFields): number {
  return GROUP_HEADER_AT + header.length + clientId.length + clientHost.length
}

/** Claims and fills the CONTROL frame of a GROUP_REQUEST; the caller publishes. False = full. */
export function writeGroupRequest(writer: RingWriter, requestId: number, fields: GroupFields): boolean {
  const { header, clientId, clientHost } = fields
  const bodyBytes = groupBodyBytes(fields)
  const at = writer.claim(MessageType.CONTROL, CONTROL_BODY_AT + bodyBytes, 'control')
  if (at < 0) return false
  const { view } = writer
  view.setUint32(at + CONTROL_REQUEST_ID_AT, requestId, true)
  view.setInt32(at + CONTROL_OPERATION_AT, ControlOperation.GROUP_REQUEST, true)
  view.setUint32(at + CONTROL_BODY_BYTES_AT, bodyBytes, true)
  const body = at + CONTROL_BODY_AT
  view.setUint32(body + GROUP_PARTITION_REF_AT, fields.partitionRef, true)
  view.setUint32(body + GROUP_API_AT, fields.api, true)
  view.setUint32(body + GROUP_HEADER_BYTES_AT, header.length, true)
  view.setUint32(body + GROUP_CLIENT_ID_BYTES_AT, clientId.length, true)
  view.setUint32(body + GROUP_CLIENT_HOST_BYTES_AT, clientHost.length, true)
  view.setUint32(body + GROUP_CONNECTION_ID_AT, fields.connectionId, true)
  view.setUint32(body + GROUP_IS_STEADY_AT, fields.isSteady ? 1 : 0, true)
  const headerAt = body + GROUP_HEADER_AT
  writer.write(headerAt, header)
  writer.write(headerAt + header.length, clientId)
  writer.write(headerAt + header.length + clientId.length, clientHost)
  return true
}

/** The request id of the CONTROL or CONTROL_REPLY frame that the reader stands on. */
export function controlRequestId(reader: RingReader): number {
  return reader.view.getUint32(reader.at + CONTROL_REQUEST_ID_AT, true)
}

/** Bodies that are kept: those of the heartbeats that a shard's members send again and again. */
const KEPT_MAX = 16_384
const KEPT_BYTES_MAX = 512

/**
 * Reads GROUP_REQUESTs. A member's heartbeats are the same bytes as long as it has nothing new to say: the body that was read from them
 * the first time is answered again, the same object, so that its reader may keep with it what it made of it.
 *
 * Thread      one; the shard
 * Limits      KEPT_MAX bodies of up to KEPT_BYTES_MAX bytes; beyond it all are forgotten, and read anew as they come
 */
export class GroupRequestReader {
  readonly #reader: RingReader
  readonly #buffer: Buffer
  readonly #kept = new Map<string, GroupRequestBody>()

  constructor(reader: RingReader) {
    this.#reader = reader
    const { buffer, byteOffset, byteLength } = reader.bytes
    this.#buffer = Buffer.from(buffer, byteOffset, byteLength)
  }

  /** The GROUP_REQUEST that the reader stands on. */
  read(): GroupRequestBody {
    const { view, at } = this.#reader
    const from = at + CONTROL_BODY_AT
    const bodyBytes = view.getUint32(at + CONTROL_BODY_BYTES_AT, true)
    const isSteady = view.getUint32(from + GROUP_IS_STEADY_AT, true) === 1
    if (!isSteady || bodyBytes > KEPT_BYTES_MAX) return this.#decode(from)
    const key = this.#buffer.toString('latin1', from, from + bodyBytes)
    let body = this.#kept.get(key)
    if (body === undefined) {
      body = this.#decode(from)
      if (this.#kept.size >= KEPT_MAX) this.#kept.clear()
      this.#kept.set(key, body)
    }
    return body
  }

  #decode(from: number): GroupRequestBody {
    const { view, bytes, at, length } = this.#reader
    const headerAt = from + GROUP_HEADER_AT
    const clientIdAt = headerAt + view.getUint32(from + GROUP_HEADER_BYTES_AT, true)
    const clientHostAt = clientIdAt + view.getUint32(from + GROUP_CLIENT_ID_BYTES_AT, true)
    const end = clientHostAt + view.getUint32(from + GROUP_CLIENT_HOST_BYTES_AT, true)
    assert(end <= at + length, 'GROUP_REQUEST: its parts are longer than its frame')
    // slice, not subarray: copies in ordinary memory, which whoever decodes them may keep.
    return {
      partitionRef: view.getUint32(from + GROUP_PARTITION_REF_AT, true),
      api: view.getUint32(from + GROUP_API_AT, true),
      header: bytes.slice(headerAt, clientIdAt),
      clientId: utf8Decode(bytes.slice(clientIdAt, clientHostAt)),
      clientHost: utf8Decode(bytes.slice(clientHostAt, end)),
      connectionId: view.getUint32(from + GROUP_CONNECTION_ID_AT, true),
      decoded: undefined,
    }
  }
}

/** The error of the CONTROL_REPLY that the reader stands on; 0 = none. */
export function controlErrorNumber(reader: RingReader): number {
  return reader.view.getInt32(reader.at + CONTROL_OPERATION_AT, true)
}

/** The body of a reply without an error to a GROUP_REQUEST: a view of the ring, valid until its release. */
export function groupReplyHeader(reader: RingReader): Uint8Array {
  const bodyBytes = reader.view.getUint32(reader.at + CONTROL_BODY_BYTES_AT, true)
  assert(CONTROL_BODY_AT + bodyBytes <= reader.length, 'CONTROL_REPLY: its body is longer than its frame')
  const from = reader.at + CONTROL_BODY_AT
  return reader.bytes.subarray(from, from + bodyBytes)
}
