/**
 * add-partitions (37): gives a topic more partitions. Keys hash to other partitions afterwards.
 *
 * Versions  1
 * Failure   UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS when the total is not larger than now
 */

import { TOPIC_NAME_LENGTH_MAX } from './19-create-topic.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'

export interface AddPartitionsRequest {
  readonly name: string
  readonly totalPartitions: number
}

export type AddPartitionsReply = Readonly<Record<never, never>>

export const addPartitions = makeCodec<AddPartitionsRequest, AddPartitionsReply>({
  api: Api.ADD_PARTITIONS,
  name: 'add-partitions',
  writeRequest: (request) => [request.name, request.totalPartitions],
  readRequest: (fields) => ({
    name: fields.text('name', TOPIC_NAME_LENGTH_MAX),
    totalPartitions: fields.integer('totalPartitions', 1, INT32_MAX),
  }),
  writeReply: () => [],
  readReply: () => ({}),
})
