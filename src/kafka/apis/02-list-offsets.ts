/** ListOffsets (2): v1–10. */
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
