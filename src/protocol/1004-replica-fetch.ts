/**
 * replica-fetch (1004): a follower reads the leader's log, up to its log end. What it asks for says what it has.
 *
 * Versions  1
 * Body      of the reply: the batches of its parts in turn, as in fetch
 * Reply     names only partitions with data, an error, a divergence or a moved watermark, each by its index in the request
 * Diverging the follower's last batch is not where the leader's history has its epoch: divergingEpoch and divergingEndOffset say
 *           where that epoch, or the largest one below it, ended (KIP-279); no data then. -1: it is not
 * Access    brokers only
 * Limits    as fetch
 */
import type { TopicId } from '../model/ids.ts'
import { FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX, OFFSET_MAX, REQUEST_PARTITIONS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX, UINT32_MAX } from './fields.ts'

export interface ReplicaFetchRequestPart {
  readonly topicId: TopicId
  readonly partition: number
  readonly leaderEpoch: number
  /** Its log end. */
  readonly fetchOffset: number
  /** Of the batch before it; -1 = it has none. */
  readonly lastEpoch: number
  readonly maxBytes: number
}

export interface ReplicaFetchRequest {
  readonly nodeId: number
  readonly incarnation: number
  readonly waitMs: number
  readonly minBytes: number
  readonly maxBytes: number
  readonly parts: readonly ReplicaFetchRequestPart[]
}

export interface ReplicaFetchReplyPart {
  /** Which part of the request this answers. */
  readonly index: number
  readonly errorNumber: number
  readonly errorText: string
  readonly leaderEpoch: number
  readonly highWatermark: number
  readonly logStartOffset: number
  readonly divergingEpoch: number
  readonly divergingEndOffset: number
  readonly batchBytes: number
}

export interface ReplicaFetchReply {
  readonly parts: readonly ReplicaFetchReplyPart[]
}

export const replicaFetch = makeCodec<ReplicaFetchRequest, ReplicaFetchReply>({
  api: Api.REPLICA_FETCH,
  name: 'replica-fetch',
  writeRequest: (request) => [
    request.nodeId,
    request.incarnation,
    request.waitMs,
    request.minBytes,
    request.maxBytes,
    request.parts.map((part) => [
      part.topicId,
      part.partition,
      part.leaderEpoch,
      part.fetchOffset,
      part.lastEpoch,
      part.maxBytes,
    ]),
  ],
  readRequest: (fields) => ({
    nodeId: fields.integer('nodeId', 0, OFFSET_MAX),
    incarnation: fields.integer('incarnation', 0, OFFSET_MAX),
    waitMs: fields.integer('waitMs', 0, FETCH_WAIT_MS_MAX),
    minBytes: fields.integer('minBytes', 0, FETCH_BYTES_MAX),
    maxBytes: fields.integer('maxBytes', 1, FETCH_BYTES_MAX),
    parts: fields.list('parts', REQUEST_PARTITIONS_MAX, (part) => ({
      topicId: part.topicId('topicId'),
      partition: part.integer('partition', 0, INT32_MAX),
      leaderEpoch: part.integer('leaderEpoch', 0, INT32_MAX),
      fetchOffset: part.offset('fetchOffset'),
      lastEpoch: part.integer('lastEpoch', -1, INT32_MAX),
      maxBytes: part.integer('maxBytes', 1, FETCH_BYTES_MAX),
    })),
  }),
  writeReply: (reply) => [
    reply.parts.map((part) => [
      part.index,
      part.errorNumber,
      part.errorText,
      part.leaderEpoch,
      part.highWatermark,
      part.logStartOffset,
      part.divergingEpoch,
      part.divergingEndOffset,
      part.batchBytes,
    ]),
  ],
  readReply: (fields) => ({
    parts: fields.list('parts', REQUEST_PARTITIONS_MAX, (part) => ({
      index: part.integer('index', 0, REQUEST_PARTITIONS_MAX - 1),
      errorNumber: part.integer('errorNumber', -INT32_MAX, INT32_MAX),
      errorText: part.text('errorText'),
      leaderEpoch: part.integer('leaderEpoch', -1, INT32_MAX),
      highWatermark: part.offset('highWatermark', -1),
      logStartOffset: part.offset('logStartOffset', -1),
      divergingEpoch: part.integer('divergingEpoch', -1, INT32_MAX),
      divergingEndOffset: part.offset('divergingEndOffset', -1),
      batchBytes: part.integer('batchBytes', 0, UINT32_MAX),
    })),
  }),
})
