/**
 * Metadata (3): brokers, and topics with their partitions and leaders.
 *
 * Versions  0–13, flexible from 9. v4 may forbid that topics are created, v5 has offline replicas, v7 leader epochs, v8 authorised operations, v10
 *           topic ids, v12 asks by id, v13 has an error of its own
 * Request   topics null = all; in v0 an empty list is all, from v1 on it is none. A topic is created by this request, never by Produce
 * Traps     clients go back to fetching by name where a topic id is zero; name is null only from v12 on, allowAutoTopicCreation is true before v4
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, int16, int32, string, struct, uuid } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const metadata = new KafkaApi({
  key: KafkaKey.METADATA,
  name: 'Metadata',
  versions: [0, 13],
  flexibleSince: 9,
  request: struct({
    topics: array(struct({ topicId: uuid.since(10), name: string.nullable(10) })).nullable(1),
    allowAutoTopicCreation: bool.since(4).or(true),
    includeClusterAuthorizedOperations: bool.since(8).until(10),
    includeTopicAuthorizedOperations: bool.since(8),
  }),
  response: struct({
    throttleTimeMs: int32.since(3).or(0),
    brokers: array(struct({ nodeId: int32, host: string, port: int32, rack: string.nullable().since(1) })),
    clusterId: string.nullable().since(2),
    controllerId: int32.since(1).or(-1),
    topics: array(
      struct({
        errorCode: int16,
        name: string.nullable(12),
        topicId: uuid.since(10),
        isInternal: bool.since(1),
        partitions: array(
          struct({
            errorCode: int16,
            partitionIndex: int32,
            leaderId: int32,
            leaderEpoch: int32.since(7).or(-1),
            replicaNodes: array(int32),
            isrNodes: array(int32),
            offlineReplicas: array(int32).since(5),
          }),
        ),
        topicAuthorizedOperations: int32.since(8).or(-2147483648),
      }),
    ),
    clusterAuthorizedOperations: int32.since(8).until(10).or(-2147483648),
    errorCode: int16.since(13),
  }),
})
