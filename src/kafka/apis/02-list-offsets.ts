/**
 * ListOffsets (2): the offset that belongs to a position or a time of a partition.
 *
 * Versions  1–10, flexible from 6. v2 has the isolation level, v4 leader epochs, v10 a timeout
 * Request   timestamp -1 latest, -2 earliest, -3 the largest timestamp (v7), -4 the earliest on local disk (v8), -5 the latest in tiered storage (v9), else
 *           the first record at or after it
 * Response  latest and earliest have timestamp -1; nothing at or after a time is offset -1 without an error
 * Traps     librdkafka looks for version 1 before it uses it at all
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int8, int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const listOffsets = new KafkaApi({
  key: KafkaKey.LIST_OFFSETS,
  name: 'ListOffsets',
  versions: [1, 10],
  flexibleSince: 6,
  request: struct({
    replicaId: int32,
    isolationLevel: int8.since(2),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({ partitionIndex: int32, currentLeaderEpoch: int32.since(4).or(-1), timestamp: int64 }),
        ),
      }),
    ),
    timeoutMs: int32.since(10),
  }),
  response: struct({
    throttleTimeMs: int32.since(2).or(0),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: int32,
            errorCode: int16,
            timestamp: int64.or(-1),
            offset: int64.or(-1),
            leaderEpoch: int32.since(4).or(-1),
          }),
        ),
      }),
    ),
  }),
})
