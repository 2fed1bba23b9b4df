/**
 * OffsetForLeaderEpoch (23): where a leader epoch of a partition ended (KIP-320).
 *
 * Versions  2–4, flexible from 4. v3 has a replica id
 * Response  the largest epoch not above the one asked for, and where the next one begins; -1 and -1 where it is not known
 * Traps     librdkafka asks in version 2 alone
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const offsetForLeaderEpoch = new KafkaApi({
  key: KafkaKey.OFFSET_FOR_LEADER_EPOCH,
  name: 'OffsetForLeaderEpoch',
  versions: [2, 4],
  flexibleSince: 4,
  request: struct({
    replicaId: int32.since(3).or(-2),
    topics: array(
      struct({
        topic: string,
        partitions: array(struct({ partition: int32, currentLeaderEpoch: int32.or(-1), leaderEpoch: int32 })),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    topics: array(
      struct({
        topic: string,
        partitions: array(
          struct({ errorCode: int16, partition: int32, leaderEpoch: int32.or(-1), endOffset: int64.or(-1) }),
        ),
      }),
    ),
  }),
})
