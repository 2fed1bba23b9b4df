/**
 * hello (18): the first frame of every connection: who speaks, the token if it did not come in the upgrade, the first credit.
 *
 * Versions  1
 * Failure   SASL_AUTHENTICATION_FAILED, then the connection is closed
 */
import { OFFSET_MAX, UNAUTHENTICATED_FRAME_BYTES_MAX } from '../model/limits.ts'
import { Api, type ApiVersions, makeCodec } from './api.ts'

const NAME_LENGTH_MAX = 256
const TOKEN_LENGTH_MAX = UNAUTHENTICATED_FRAME_BYTES_MAX / 4

export interface HelloRequest {
  readonly clientName: string
  readonly clientVersion: string
  readonly token: string | null
}

export interface HelloReply {
  readonly serverVersion: string
  readonly clusterId: string
  readonly nodeId: number
  readonly incarnation: number
  /** Bytes of frames after this hello that the client may send before the first `credit` message. */
  readonly creditBytes: number
  readonly frameBytesMax: number
  readonly batchBytesMax: number
  readonly apis: readonly ApiVersions[]
}

export const hello = makeCodec<HelloRequest, HelloReply>({
  api: Api.HELLO,
  name: 'hello',
  writeRequest: (request) => [request.clientName, request.clientVersion, request.token],
  readRequest: (fields) => ({
    clientName: fields.text('clientName', NAME_LENGTH_MAX),
    clientVersion: fields.text('clientVersion', NAME_LENGTH_MAX),
    token: fields.textOrNull('token', TOKEN_LENGTH_MAX),
  }),
  writeReply: (reply) => [
    reply.serverVersion,
    reply.clusterId,
    reply.nodeId,
    reply.incarnation,
    reply.creditBytes,
    reply.frameBytesMax,
    reply.batchBytesMax,
    reply.apis.map((entry) => [entry.api, entry.versionMin, entry.versionMax]),
  ],
  readReply: (fields) => ({
    serverVersion: fields.text('serverVersion', NAME_LENGTH_MAX),
    clusterId: fields.text('clusterId', NAME_LENGTH_MAX),
    nodeId: fields.integer('nodeId', 0, OFFSET_MAX),
    incarnation: fields.integer('incarnation', 0, OFFSET_MAX),
    creditBytes: fields.integer('creditBytes', 1, OFFSET_MAX),
    frameBytesMax: fields.integer('frameBytesMax', 1, OFFSET_MAX),
    batchBytesMax: fields.integer('batchBytesMax', 1, OFFSET_MAX),
    apis: fields.list('apis', 1000, (entry) => ({
      api: entry.integer('api', 0, 0xffff),
      versionMin: entry.integer('versionMin', 0, 255),
      versionMax: entry.integer('versionMax', 0, 255),
    })),
  }),
})
