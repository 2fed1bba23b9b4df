/** TxnOffsetCommit (28): v0–4. */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const txnOffsetCommit = new KafkaApi({
  key: KafkaKey.TXN_OFFSET_COMMIT,
  name: 'TxnOffsetCommit',
  versions: [0, 4],
  flexibleSince: 3,
  request: struct({
    transactionalId: string,
    groupId: string,
    producerId: int64,
    producerEpoch: int16,
    generationIdOrMemberEpoch: int32.since(3).or(-1),
    memberId: string.since(3),
    groupInstanceId: string.nullable().since(3),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: int32,
            committedOffset: int64,
            committedLeaderEpoch: int32.since(2).or(-1),
            committedMetadata: string.nullable(),
          }),
        ),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    topics: array(struct({ name: string, partitions: array(struct({ partitionIndex: int32, errorCode: int16 })) })),
  }),
})
