/**
 * ConsumerGroupDescribe (69): state and members of groups of the consumer protocol (KIP-848).
 *
 * Versions  0–1, flexible from 0. v1 tells which members speak the classic protocol
 * Failure   GROUP_ID_NOT_FOUND for a group that is not there, or that is a classic one
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, int8, int16, int32, string, struct, uuid } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const consumerGroupDescribe = new KafkaApi({
  key: KafkaKey.CONSUMER_GROUP_DESCRIBE,
  name: 'ConsumerGroupDescribe',
  versions: [0, 1],
  flexibleSince: 0,
  request: struct({ groupIds: array(string), includeAuthorizedOperations: bool }),
  response: struct({
    throttleTimeMs: int32.or(0),
    groups: array(
      struct({
        errorCode: int16,
        errorMessage: string.nullable().or(null),
        groupId: string,
        groupState: string,
        groupEpoch: int32,
        assignmentEpoch: int32,
        assignorName: string,
        members: array(
          struct({
            memberId: string,
            instanceId: string.nullable(),
            rackId: string.nullable(),
            memberEpoch: int32,
            clientId: string,
            clientHost: string,
            subscribedTopicNames: array(string),
            subscribedTopicRegex: string.nullable(),
            assignment: struct({
              topicPartitions: array(struct({ topicId: uuid, topicName: string, partitions: array(int32) })),
            }),
            targetAssignment: struct({
              topicPartitions: array(struct({ topicId: uuid, topicName: string, partitions: array(int32) })),
            }),
            memberType: int8.since(1).or(-1),
          }),
        ),
        authorizedOperations: int32.or(-2147483648),
      }),
    ),
  }),
})
