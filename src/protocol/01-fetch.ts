/**
 * fetch (1): reads record batches of partitions, waiting for at least minBytes.
 *
 * Versions  1
 * Body      of the reply: the batches of its parts in turn, part i has parts[i].batchBytes bytes. Batches are whole; the first
 *           may begin before fetchOffset (the reader skips those records)
 * Reply     names only partitions with data, an error or a moved watermark, each by its index in the request
 * Replica   anyReplica: an in-sync follower may answer too, up to the high watermark that it knows (KIP-392); where it cannot, it refuses as any
 *           broker that does not lead, and a fetchOffset past its log end is OFFSET_OUT_OF_RANGE there: the leader knows better. A request
 *           that ends before it asks leaders only
 * Aborted   with read_committed each part has every aborted transaction that overlaps its batches (record/aborted-filter)
 * Limits    FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX, REQUEST_PARTITIONS_MAX; the first batch comes even if it is larger than maxBytes. FETCH_ABORTED_MAX a part:
 *           one with more has fewer batches
 */
import type { AbortedTransaction } from '../model/aborted-transaction.ts'
import type { TopicId } from '../model/ids.ts'
import { FETCH_ABORTED_MAX, FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX, REQUEST_PARTITIONS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX, UINT32_MAX } from './fields.ts'

/** Isolation: all records up to the high watermark, or those of transactions that were committed, up to the last stable offset. */
export const READ_UNCOMMITTED = 0
export const READ_COMMITTED = 1

export interface FetchRequestPart {
  readonly topicId: TopicId
  readonly partition: number
  /** -1 = not checked. */
  readonly leaderEpoch: number
  readonly fetchOffset: number
  readonly maxBytes: number
}

export interface FetchRequest {
  /** 0 = answer at once. */
  readonly waitMs: number
  readonly minBytes: number
  readonly maxBytes: number
  /** 0 read_uncommitted, 1 read_committed. */
  readonly isolation: 0 | 1
  readonly parts: readonly FetchRequestPart[]
  readonly anyReplica?: boolean
}

export interface FetchReplyPart {
  /** Which part of the request this answers. */
  readonly index: number
  readonly errorNumber: number
  readonly errorText: string
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly logStartOffset: number
  readonly leaderEpoch: number
  readonly batchBytes: number
  /** With read_committed: every aborted transaction that overlaps these batches, by first offset. */
  readonly aborted: readonly AbortedTransaction[]
}

export interface FetchReply {
  readonly parts: readonly FetchReplyPart[]
}

export const fetch = makeCodec<FetchRequest, FetchReply>({
  api: Api.FETCH,
  name: 'fetch',
  writeRequest: (request) => [
    request.waitMs,
    request.minBytes,
    request.maxBytes,
    request.isolation,
    request.parts.map((part) => [part.topicId, part.partition, part.leaderEpoch, part.fetchOffset, part.maxBytes]),
    request.anyReplica ?? false,
  ],
  readRequest: (fields) => ({
    waitMs: fields.integer('waitMs', 0, FETCH_WAIT_MS_MAX),
    minBytes: fields.integer('minBytes', 0, FETCH_BYTES_MAX),
    maxBytes: fields.integer('maxBytes', 1, FETCH_BYTES_MAX),
    isolation: fields.integer('isolation', 0, 1) as 0 | 1,
    parts: fields.list('parts', REQUEST_PARTITIONS_MAX, (part) => ({
      topicId: part.topicId('topicId'),
      partition: part.integer('partition', 0, INT32_MAX),
      leaderEpoch: part.integer('leaderEpoch', -1, INT32_MAX),
      fetchOffset: part.offset('fetchOffset'),
      maxBytes: part.integer('maxBytes', 1, FETCH_BYTES_MAX),
    })),
    anyReplica: fields.booleanOr('anyReplica', false),
  }),
  writeReply: (reply) => [
    reply.parts.map((part) => [
      part.index,
      part.errorNumber,
      part.errorText,
      part.highWatermark,
      part.lastStableOffset,
      part.logStartOffset,
      part.leaderEpoch,
      part.batchBytes,
      part.aborted.map(({ producerId, firstOffset }) => [producerId, firstOffset]),
    ]),
  ],
  readReply: (fields) => ({
    parts: fields.list('parts', REQUEST_PARTITIONS_MAX, (part) => ({
      index: part.integer('index', 0, REQUEST_PARTITIONS_MAX - 1),
      errorNumber: part.integer('errorNumber', -INT32_MAX, INT32_MAX),
      errorText: part.text('errorText'),
      highWatermark: part.offset('highWatermark', -1),
      lastStableOffset: part.offset('lastStableOffset', -1),
      logStartOffset: part.offset('logStartOffset', -1),
      leaderEpoch: part.integer('leaderEpoch', -1, INT32_MAX),
      batchBytes: part.integer('batchBytes', 0, UINT32_MAX),
      aborted: part.list('aborted', FETCH_ABORTED_MAX, (entry) => ({
        producerId: entry.offset('producerId'),
        firstOffset: entry.offset('firstOffset'),
      })),
    })),
  }),
})
