/**
 * produce (0): appends record batches to partitions.
 *
 * Versions  1
 * Body      the parts' batches in turn, part i has parts[i].batchBytes bytes, one or more whole RecordBatch v2
 * Reply     one part per part of the request, in its order; acks=none (0) gets no reply at all
 * Limits    REQUEST_PARTITIONS_MAX parts, PRODUCE_TIMEOUT_MS_MAX
 * Ordering  parts of one connection to one partition are appended in the order sent
 */

import { MillraceError } from '../model/errors.ts'
import type { TopicId } from '../model/ids.ts'
import { FRAME_BYTES_MAX, OFFSET_MAX, PRODUCE_TIMEOUT_MS_MAX, REQUEST_PARTITIONS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'

export interface ProduceRequestPart {
  readonly topicId: TopicId
  readonly partition: number
  /** -1 = not checked. */
  readonly leaderEpoch: number
  readonly batchBytes: number
}

export interface ProduceRequest {
  /** 0 none, 1 leader, -1 all. */
  readonly acks: -1 | 0 | 1
  readonly timeoutMs: number
  readonly parts: readonly ProduceRequestPart[]
}

export interface ProduceReplyPart {
  readonly errorNumber: number
  readonly errorText: string
  /** Offset of the first record; -1 on error. */
  readonly baseOffset: number
  /** -1 with CreateTime. */
  readonly logAppendTimeMs: number
  readonly logStartOffset: number
  /** 0 none, 1 written, 2 fsynced, 3 replicated and fsynced by each replica, 4 replicated and written by each. */
  readonly durability: number
  readonly leaderEpoch: number
}

export interface ProduceReply {
  readonly parts: readonly ProduceReplyPart[]
}

export const produce = makeCodec<ProduceRequest, ProduceReply>({
  api: Api.PRODUCE,
  name: 'produce',
  writeRequest: (request) => [
    request.acks,
    request.timeoutMs,
    request.parts.map((part) => [part.topicId, part.partition, part.leaderEpoch, part.batchBytes]),
  ],
  readRequest: (fields) => {
    const acks = fields.integer('acks', -128, 127)
    if (acks !== -1 && acks !== 0 && acks !== 1)
      throw new MillraceError('INVALID_REQUIRED_ACKS', `produce.acks: -1, 0 or 1, not ${acks}`)
    return {
      acks,
      timeoutMs: fields.integer('timeoutMs', 0, PRODUCE_TIMEOUT_MS_MAX),
      parts: fields.list('parts', REQUEST_PARTITIONS_MAX, (part) => ({
        topicId: part.topicId('topicId'),
        partition: part.integer('partition', 0, INT32_MAX),
        leaderEpoch: part.integer('leaderEpoch', -1, INT32_MAX),
        batchBytes: part.integer('batchBytes', 1, FRAME_BYTES_MAX),
      })),
    }
  },
  writeReply: (reply) => [
    reply.parts.map((part) => [
      part.errorNumber,
      part.errorText,
      part.baseOffset,
      part.logAppendTimeMs,
      part.logStartOffset,
      part.durability,
      part.leaderEpoch,
    ]),
  ],
  readReply: (fields) => ({
    parts: fields.list('parts', REQUEST_PARTITIONS_MAX, (part) => ({
      errorNumber: part.integer('errorNumber', -INT32_MAX, INT32_MAX),
      errorText: part.text('errorText'),
      baseOffset: part.offset('baseOffset', -1),
      logAppendTimeMs: part.integer('logAppendTimeMs', -1, OFFSET_MAX),
      logStartOffset: part.offset('logStartOffset', -1),
      durability: part.integer('durability', 0, 4),
      leaderEpoch: part.integer('leaderEpoch', -1, INT32_MAX),
    })),
  }),
})
