/**
 * ConsumerGroupHeartbeat (68): joining, reading and leaving a group of the consumer protocol (KIP-848), all by this one request.
 *
 * Versions  0–1, flexible from 0. In v0 the broker gives the member its id, in v1 it brings one; v1 may subscribe by a pattern
 * Request   memberEpoch 0 joins, -1 leaves, -2 leaves for a while (static members); null fields are unchanged since the last one
 * Response  assignment null is unchanged; a nullable struct, with a byte of its own before it
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, string, struct, uuid } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const consumerGroupHeartbeat = new KafkaApi({
  key: KafkaKey.CONSUMER_GROUP_HEARTBEAT,
  name: 'ConsumerGroupHeartbeat',
  versions: [0, 1],
  flexibleSince: 0,
  request: struct({
    groupId: string,
    memberId: string,
    memberEpoch: int32,
    instanceId: string.nullable(),
    rackId: string.nullable(),
    rebalanceTimeoutMs: int32.or(-1),
    subscribedTopicNames: array(string).nullable(),
    subscribedTopicRegex: string.nullable().since(1),
    serverAssignor: string.nullable(),
    topicPartitions: array(struct({ topicId: uuid, partitions: array(int32) })).nullable(),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    errorCode: int16,
    errorMessage: string.nullable().or(null),
    memberId: string.nullable(),
    memberEpoch: int32,
    heartbeatIntervalMs: int32,
    assignment: struct({ topicPartitions: array(struct({ topicId: uuid, partitions: array(int32) })) }).nullable(),
  }),
})
