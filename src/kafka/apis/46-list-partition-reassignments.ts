/**
 * ListPartitionReassignments (46): the moves that are under way (KIP-455).
 *
 * Versions  0, flexible
 * Request   topics null = all
 * Response  replicas is the whole set, adding and removing are parts of it
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const listPartitionReassignments = new KafkaApi({
  key: KafkaKey.LIST_PARTITION_REASSIGNMENTS,
  name: 'ListPartitionReassignments',
  versions: [0, 0],
  flexibleSince: 0,
  request: struct({
    timeoutMs: int32.or(60000),
    topics: array(struct({ name: string, partitionIndexes: array(int32) })).nullable(),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    errorCode: int16,
    errorMessage: string.nullable().or(null),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: int32,
            replicas: array(int32),
            addingReplicas: array(int32),
            removingReplicas: array(int32),
          }),
        ),
      }),
    ),
  }),
})
