/**
 * delete-topic (20): removes a topic and its records.
 *
 * Versions  1
 * Failure   UNKNOWN_TOPIC_OR_PARTITION
 */

import { TOPIC_NAME_LENGTH_MAX } from './19-create-topic.ts'
import { Api, makeCodec } from './api.ts'

export interface DeleteTopicRequest {
  readonly name: string
}

export type DeleteTopicReply = Readonly<Record<never, never>>

export const deleteTopic = makeCodec<DeleteTopicRequest, DeleteTopicReply>({
  api: Api.DELETE_TOPIC,
  name: 'delete-topic',
  writeRequest: (request) => [request.name],
  readRequest: (fields) => ({ name: fields.text('name', TOPIC_NAME_LENGTH_MAX) }),
  writeReply: () => [],
  readReply: () => ({}),
})
