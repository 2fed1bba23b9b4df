/** OffsetCommit (8): v2–9. */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const offsetCommit = new KafkaApi({
  key: KafkaKey.OFFSET_COMMIT,
  name: 'OffsetCommit',
  versions: [2, 9],
  flexibleSince: 8,
  request: struct({
    groupId: string,
    generationIdOrMemberEpoch: int32.or(-1),
    memberId: string,
    groupInstanceId: string.nullable().since(7),
    retentionTimeMs: int64.until(4).or(-1),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: int32,
            committedOffset: int64,
            committedLeaderEpoch: int32.since(6).or(-1),
            committedMetadata: string.nullable(),
          }),
        ),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32.since(3).or(0),
    topics: array(struct({ name: string, partitions: array(struct({ partitionIndex: int32, errorCode: int16 })) })),
  }),
})
