/**
 * list-offsets (2): the offset that belongs to a position or time of a partition.
 *
 * Versions  1
 * Request   timestampMs: -1 latest (high watermark, or last stable offset with read_committed), -2 earliest,
 *           -3 the record of the largest timestamp, else the first record at or after it
 * Reply     one part per part of the request, in its order; offset -1 when no record is at or after the time
 */
import type { TopicId } from '../model/ids.ts'
import { OFFSET_MAX, REQUEST_PARTITIONS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'

export const LATEST = -1
export const EARLIEST = -2
export const LARGEST_TIMESTAMP = -3

export interface ListOffsetsRequestPart {
  readonly topicId: TopicId
  readonly partition: number
  readonly leaderEpoch: number
  readonly timestampMs: number
}

export interface ListOffsetsRequest {
  readonly isolation: 0 | 1
  readonly parts: readonly ListOffsetsRequestPart[]
}

export interface ListOffsetsReplyPart {
  readonly errorNumber: number
  readonly errorText: string
  readonly offset: number
  readonly timestampMs: number
  readonly leaderEpoch: number
}

export interface ListOffsetsReply {
  readonly parts: readonly ListOffsetsReplyPart[]
}

export const listOffsets = makeCodec<ListOffsetsRequest, ListOffsetsReply>({
  api: Api.LIST_OFFSETS,
  name: 'list-offsets',
  writeRequest: (request) => [
    request.isolation,
    request.parts.map((part) => [part.topicId, part.partition, part.leaderEpoch, part.timestampMs]),
  ],
  readRequest: (fields) => ({
    isolation: fields.integer('isolation', 0, 1) as 0 | 1,
    parts: fields.list('parts', REQUEST_PARTITIONS_MAX, (part) => ({
      topicId: part.topicId('topicId'),
      partition: part.integer('partition', 0, INT32_MAX),
      leaderEpoch: part.integer('leaderEpoch', -1, INT32_MAX),
      timestampMs: part.integer('timestampMs', LARGEST_TIMESTAMP, OFFSET_MAX),
    })),
  }),
  writeReply: (reply) => [
    reply.parts.map((part) => [part.errorNumber, part.errorText, part.offset, part.timestampMs, part.leaderEpoch]),
  ],
  readReply: (fields) => ({
    parts: fields.list('parts', REQUEST_PARTITIONS_MAX, (part) => ({
      errorNumber: part.integer('errorNumber', -INT32_MAX, INT32_MAX),
      errorText: part.text('errorText'),
      offset: part.offset('offset', -1),
      timestampMs: part.integer('timestampMs', -OFFSET_MAX, OFFSET_MAX),
      leaderEpoch: part.integer('leaderEpoch', -1, INT32_MAX),
    })),
  }),
})
