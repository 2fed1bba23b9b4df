/** AddPartitionsToTxn (24): v0–3. */
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
