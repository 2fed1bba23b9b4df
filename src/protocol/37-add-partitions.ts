/**
 * add-partitions (37): gives a topic more partitions, or takes the last ones away by draining. Keys hash to other partitions afterwards.
 *
 * Versions  1
 * Request   drain (missing: false): the total is smaller than now. Partitions from it on take no new records, stay readable, and go, the
 *           last one first, when retention has emptied them. With the total that the topic has, draining ends
 * Failure   UNKNOWN_TOPIC_OR_PARTITION; INVALID_PARTITIONS when the total is not larger than now (with drain: larger), or the topic drains
 */

import { TOPIC_NAME_LENGTH_MAX } from './19-create-topic.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'

export interface AddPartitionsRequest {
  readonly name: string
  readonly totalPartitions: number
  readonly drain: boolean
}

export type AddPartitionsReply = Readonly<Record<never, never>>

export const addPartitions = makeCodec<AddPartitionsRequest, AddPartitionsReply>({
  api: Api.ADD_PARTITIONS,
  name: 'add-partitions',
  writeRequest: (request) => [request.name, request.totalPartitions, request.drain],
  readRequest: (fields) => ({
    name: fields.text('name', TOPIC_NAME_LENGTH_MAX),
    totalPartitions: fields.integer('totalPartitions', 1, INT32_MAX),
    drain: fields.booleanOr('drain', false),
  }),
  writeReply: () => [],
  readReply: () => ({}),
})
