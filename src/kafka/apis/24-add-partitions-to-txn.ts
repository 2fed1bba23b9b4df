/**
 * AddPartitionsToTxn (24): partitions that a transaction will write to.
 *
 * Versions  0–3, flexible from 3. 4 and 5 are a broker's, for many transactions at once: a client that is offered them may use them
 * Response  all or none: where one is refused the others are OPERATION_NOT_ATTEMPTED
 * Traps     before v2 a fenced producer is told INVALID_PRODUCER_EPOCH; librdkafka sends version 0 alone
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const addPartitionsToTxn = new KafkaApi({
  key: KafkaKey.ADD_PARTITIONS_TO_TXN,
  name: 'AddPartitionsToTxn',
  versions: [0, 3],
  flexibleSince: 3,
  request: struct({
    v3AndBelowTransactionalId: string,
    v3AndBelowProducerId: int64,
    v3AndBelowProducerEpoch: int16,
    v3AndBelowTopics: array(struct({ name: string, partitions: array(int32) })),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    resultsByTopicV3AndBelow: array(
      struct({ name: string, resultsByPartition: array(struct({ partitionIndex: int32, partitionErrorCode: int16 })) }),
    ),
  }),
})
