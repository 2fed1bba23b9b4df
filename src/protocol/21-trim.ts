/**
 * trim (21): advances the log start of a partition: records before it are gone for readers, their segments for the disk.
 *
 * Versions  1
 * Failure   OFFSET_OUT_OF_RANGE past the high watermark
 */
import type { TopicId } from '../model/ids.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'

export interface TrimRequest {
  readonly topicId: TopicId
  readonly partition: number
  /** The new log start; -1 = the high watermark. */
  readonly beforeOffset: number
}

export interface TrimReply {
  readonly logStartOffset: number
}

export const trim = makeCodec<TrimRequest, TrimReply>({
  api: Api.TRIM,
  name: 'trim',
  writeRequest: (request) => [request.topicId, request.partition, request.beforeOffset],
  readRequest: (fields) => ({
    topicId: fields.topicId('topicId'),
    partition: fields.integer('partition', 0, INT32_MAX),
    beforeOffset: fields.offset('beforeOffset', -1),
  }),
  writeReply: (reply) => [reply.logStartOffset],
  readReply: (fields) => ({ logStartOffset: fields.offset('logStartOffset') }),
})
