/**
 * OffsetFetch (9): the committed offsets of groups.
 *
 * Versions  1–9, flexible from 6. v2 may ask for all topics (null), v5 has leader epochs, v7 can wait for transactions, v8 asks for several groups
 *           at once, v9 tells the member (KIP-848)
 * Response  no committed offset is offset -1 and text '', without an error
 * Traps     v1 has no error for the group: it is repeated for each partition. Old Java consumers do not try again after COORDINATOR_NOT_AVAILABLE. A classic
 *           member may name itself with epoch -1 in v9
 */
import { KafkaApi } from '../codec/api.ts'
import { array, bool, int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const offsetFetch = new KafkaApi({
  key: KafkaKey.OFFSET_FETCH,
  name: 'OffsetFetch',
  versions: [1, 9],
  flexibleSince: 6,
  request: struct({
    groupId: string.until(7),
    topics: array(struct({ name: string, partitionIndexes: array(int32) }))
      .nullable(2)
      .until(7),
    groups: array(
      struct({
        groupId: string,
        memberId: string.nullable().since(9),
        memberEpoch: int32.since(9).or(-1),
        topics: array(struct({ name: string, partitionIndexes: array(int32) })).nullable(),
      }),
    ).since(8),
    requireStable: bool.since(7),
  }),
  response: struct({
    throttleTimeMs: int32.since(3).or(0),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: int32,
            committedOffset: int64,
            committedLeaderEpoch: int32.since(5).or(-1),
            metadata: string.nullable(),
            errorCode: int16,
          }),
        ),
      }),
    ).until(7),
    errorCode: int16.since(2).until(7),
    groups: array(
      struct({
        groupId: string,
        topics: array(
          struct({
            name: string,
            partitions: array(
              struct({
                partitionIndex: int32,
                committedOffset: int64,
                committedLeaderEpoch: int32.or(-1),
                metadata: string.nullable(),
                errorCode: int16,
              }),
            ),
          }),
        ),
        errorCode: int16,
      }),
    ).since(8),
  }),
})
