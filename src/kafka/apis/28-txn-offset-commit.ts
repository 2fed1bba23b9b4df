/**
 * TxnOffsetCommit (28): offsets of a group that are committed with a transaction; asked of the group's coordinator.
 *
 * Versions  0–4, flexible from 3. v2 has leader epochs, v3 the member and its generation (KIP-447), v4 TRANSACTION_ABORTABLE
 * Request   generation -1, member '' and no instance id ask for no check of the member
 * Traps     a fenced producer is told INVALID_PRODUCER_EPOCH in every version
 */
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
