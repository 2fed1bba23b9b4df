/**
 * DescribeTopicPartitions (75): topics with their partitions, a page at a time (KIP-966).
 *
 * Versions  0, flexible
 * Request   cursor: where the page begins; null = at the first topic
 * Response  nextCursor null = the last page; eligible leader replicas are null where there is no such list
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, int16, int32, string, struct, uuid } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const describeTopicPartitions = new KafkaApi({
  key: KafkaKey.DESCRIBE_TOPIC_PARTITIONS,
  name: 'DescribeTopicPartitions',
  versions: [0, 0],
  flexibleSince: 0,
  request: struct({
    topics: array(struct({ name: string })),
    responsePartitionLimit: int32.or(2000),
    cursor: struct({ topicName: string, partitionIndex: int32 }).nullable(),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    topics: array(
      struct({
        errorCode: int16,
        name: string.nullable(),
        topicId: uuid,
        isInternal: bool,
        partitions: array(
          struct({
            errorCode: int16,
            partitionIndex: int32,
            leaderId: int32,
            leaderEpoch: int32.or(-1),
            replicaNodes: array(int32),
            isrNodes: array(int32),
            eligibleLeaderReplicas: array(int32).nullable(),
            lastKnownElr: array(int32).nullable(),
            offlineReplicas: array(int32),
          }),
        ),
        topicAuthorizedOperations: int32.or(-2147483648),
      }),
    ),
    nextCursor: struct({ topicName: string, partitionIndex: int32 }).nullable(),
  }),
})
