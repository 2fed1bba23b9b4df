/**
 * offset-delete (47): forgets committed offsets of partitions.
 *
 * Versions  1
 * Reply     topics and partitions in the request's order. GROUP_SUBSCRIBED_TO_TOPIC where a member subscribes to the topic;
 *           an offset that is not there is no error
 * Failure   of the whole: INVALID_GROUP_ID, GROUP_ID_NOT_FOUND
 * Limits    REQUEST_PARTITIONS_MAX
 */
import { Api, makeCodec } from './api.ts'
import {
  GROUP_TEXT_LENGTH_MAX,
  readTopicPartitions,
  readTopicResults,
  type TopicPartitions,
  type TopicResults,
  writeTopicPartitions,
  writeTopicResults,
} from './group-fields.ts'

export interface OffsetDeleteRequest {
  readonly groupId: string
  readonly topics: readonly TopicPartitions[]
}

export interface OffsetDeleteReply {
  readonly topics: readonly TopicResults[]
}

export const offsetDelete = makeCodec<OffsetDeleteRequest, OffsetDeleteReply>({
  api: Api.OFFSET_DELETE,
  name: 'offset-delete',
  writeRequest: (request) => [request.groupId, writeTopicPartitions(request.topics)],
  readRequest: (fields) => ({
    groupId: fields.text('groupId', GROUP_TEXT_LENGTH_MAX),
    topics: readTopicPartitions(fields, 'topics'),
  }),
  writeReply: (reply) => [writeTopicResults(reply.topics)],
  readReply: (fields) => ({ topics: readTopicResults(fields, 'topics') }),
})
