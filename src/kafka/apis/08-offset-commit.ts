/**
 * OffsetCommit (8): keeps offsets of a group's partitions, with a text of the client's.
 *
 * Versions  2–9, flexible from 8. v5 has no retention time any more, v6 has leader epochs, v7 static members, v9 is what members of the consumer
 *           protocol use (KIP-848), with their epoch for the generation
 * Request   generation -1 without a member commits for a group that has none
 * Traps     the text comes back by OffsetFetch as it was. Before v9 clients do not know GROUP_ID_NOT_FOUND and STALE_MEMBER_EPOCH here
 */
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
