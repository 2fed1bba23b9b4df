/**
 * AlterPartitionReassignments (45): moves replicas (KIP-455).
 *
 * Versions  0–1, flexible from 0. v1 may forbid that their number changes
 * Request   replicas null ends the move that is under way
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, int16, int32, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const alterPartitionReassignments = new KafkaApi({
  key: KafkaKey.ALTER_PARTITION_REASSIGNMENTS,
  name: 'AlterPartitionReassignments',
  versions: [0, 1],
  flexibleSince: 0,
  request: struct({
    timeoutMs: int32.or(60000),
    allowReplicationFactorChange: bool.since(1).or(true),
    topics: array(
      struct({ name: string, partitions: array(struct({ partitionIndex: int32, replicas: array(int32).nullable() })) }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    allowReplicationFactorChange: bool.since(1).or(true),
    errorCode: int16,
    errorMessage: string.nullable().or(null),
    responses: array(
      struct({
        name: string,
        partitions: array(
          struct({ partitionIndex: int32, errorCode: int16, errorMessage: string.nullable().or(null) }),
        ),
      }),
    ),
  }),
})
