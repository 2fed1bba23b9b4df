/**
 * The table of requests: number, name, and what a codec is. One file per request holds its codec, all versions in it.
 *
 * A codec is sans-IO: header bytes to typed value and back. decodeRequest and decodeReply take untrusted bytes and throw
 * MillraceError INVALID_REQUEST naming the field; encoders trust their caller.
 */
import { ERRORS, errorCodeOf, MillraceError } from '../model/errors.ts'
import { Fields } from './fields.ts'
import { pack } from './msgpack.ts'

export const Api = {
  PRODUCE: 0,
  FETCH: 1,
  LIST_OFFSETS: 2,
  METADATA: 3,
  OFFSET_COMMIT: 8,
  OFFSET_FETCH: 9,
  FIND_COORDINATOR: 10,
  JOIN_GROUP: 11,
  CLASSIC_HEARTBEAT: 12,
  LEAVE_GROUP: 13,
  SYNC_GROUP: 14,
  DESCRIBE_CLASSIC_GROUPS: 15,
  LIST_GROUPS: 16,
  HELLO: 18,
  CREATE_TOPIC: 19,
  DELETE_TOPIC: 20,
  TRIM: 21,
  INIT_PRODUCER_ID: 22,
  ADD_PARTITIONS_TO_TXN: 24,
  END_TXN: 26,
  WRITE_TXN_MARKERS: 27,
  TXN_OFFSET_COMMIT: 28,
  ADD_PARTITIONS: 37,
  DELETE_GROUPS: 42,
  ALTER_TOPIC_CONFIG: 44,
  ALTER_REPLICAS: 45,
  LIST_MOVES: 46,
  OFFSET_DELETE: 47,
  DESCRIBE_USERS: 50,
  ALTER_USERS: 51,
  DESCRIBE_CLUSTER: 60,
  GROUP_HEARTBEAT: 68,
  GROUP_DESCRIBE: 69,
  CREDIT: 1000,
  SESSION_EXTEND: 1001,
  GROUP_CHANGED: 1002,
  REPLICA_PROGRESS: 1003,
  REPLICA_FETCH: 1004,
  REGISTER_PRODUCERS: 1005,
  SUSPECT_BROKER: 1006,
  PROBE_BROKER: 1007,
  PARTITION_EMPTIED: 1008,
} as const
export type Api = (typeof Api)[keyof typeof Api]

export interface ApiVersions {
  readonly api: number
  readonly versionMin: number
  readonly versionMax: number
}

/** Between the gateway and its shards alone: Kafka's listener asks by them, native clients may not. */
export const SHARD_APIS: ReadonlySet<number> = new Set([
  Api.JOIN_GROUP,
  Api.CLASSIC_HEARTBEAT,
  Api.LEAVE_GROUP,
  Api.SYNC_GROUP,
  Api.DESCRIBE_CLASSIC_GROUPS,
])

/** What hello tells of the requests this end serves. The frame's version covers all of them so far. */
export const SERVED_APIS: readonly ApiVersions[] = Object.values(Api)
  .filter((api) => !SHARD_APIS.has(api))
  .map((api) => ({ api, versionMin: 1, versionMax: 1 }))

export type ReplyResult<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly errorNumber: number; readonly errorText: string }

export interface Codec<Request, Reply> {
  readonly api: Api
  readonly name: string
  encodeRequest(request: Request): Uint8Array
  decodeRequest(header: Uint8Array): Request
  /** The header of a reply without an error. */
  encodeReply(reply: Reply): Uint8Array
  decodeReply(header: Uint8Array): ReplyResult<Reply>
}

export interface CodecOptions<Request, Reply> {
  readonly api: Api
  readonly name: string
  readonly writeRequest: (request: Request) => unknown[]
  readonly readRequest: (fields: Fields) => Request
  readonly writeReply: (reply: Reply) => unknown[]
  readonly readReply: (fields: Fields) => Reply
}

/** Builds a codec from the two pairs of functions that only a request's own file knows. */
export function makeCodec<Request, Reply>(options: CodecOptions<Request, Reply>): Codec<Request, Reply> {
  const replyPath = `${options.name} reply`
  return {
    api: options.api,
    name: options.name,
    encodeRequest: (request) => pack(options.writeRequest(request)),
    decodeRequest: (header) => options.readRequest(Fields.ofHeader(header, options.name)),
    encodeReply: (reply) => pack([0, '', ...options.writeReply(reply)]),
    decodeReply: (header) => {
      const fields = Fields.ofHeader(header, replyPath)
      const errorNumber = fields.integer('errorNumber', -0x8000_0000, 0x7fff_ffff)
      const errorText = fields.text('errorText')
      if (errorNumber !== 0) return { ok: false, errorNumber, errorText }
      return { ok: true, value: options.readReply(fields) }
    },
  }
}

/** The header of a reply that is an error, of any api. */
export function encodeErrorReply(errorNumber: number, errorText: string): Uint8Array {
  return pack([errorNumber, errorText])
}

/** The value of a reply, or its error thrown as MillraceError. */
export function unwrapReply<T>(result: ReplyResult<T>): T {
  if (result.ok) return result.value
  throw errorOf(result.errorNumber, result.errorText)
}

/** MillraceError of a wire error; a number that this end does not know keeps its number in the text. */
export function errorOf(errorNumber: number, errorText: string): MillraceError {
  const code = errorCodeOf(errorNumber)
  if (ERRORS[code].number === errorNumber) return new MillraceError(code, errorText)
  return new MillraceError(code, `error ${errorNumber}${errorText === '' ? '' : `: ${errorText}`}`)
}
