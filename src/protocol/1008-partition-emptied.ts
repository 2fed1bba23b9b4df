/**
 * partition-emptied (1008): to the controller: a partition that drains is led by the broker that says so, and holds no record any more.
 *
 * Versions  1
 * Rule      it is said again and again until the partition is gone: a controller keeps it in memory only
 * Reply     removed: partitions of the topic that went now; one goes only after all that come after it
 * Failure   NOT_CONTROLLER
 * Access    brokers only
 */
import type { TopicId } from '../model/ids.ts'
import { TOPIC_PARTITIONS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'

export interface PartitionEmptiedRequest {
  readonly topicId: TopicId
  readonly partition: number
}

export interface PartitionEmptiedReply {
  readonly removed: number
}

export const partitionEmptied = makeCodec<PartitionEmptiedRequest, PartitionEmptiedReply>({
  api: Api.PARTITION_EMPTIED,
  name: 'partition-emptied',
  writeRequest: (request) => [request.topicId, request.partition],
  readRequest: (fields) => ({
    topicId: fields.topicId('topicId'),
    partition: fields.integer('partition', 0, TOPIC_PARTITIONS_MAX - 1),
  }),
  writeReply: (reply) => [reply.removed],
  readReply: (fields) => ({ removed: fields.integer('removed', 0, TOPIC_PARTITIONS_MAX) }),
})
