/** ConsumerGroupHeartbeat (68): v0–1. */
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
