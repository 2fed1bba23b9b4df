/** InitProducerId (22): v0–5. */
import { KafkaApi } from '../codec/api.ts'
import { int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const initProducerId = new KafkaApi({
  key: KafkaKey.INIT_PRODUCER_ID,
  name: 'InitProducerId',
  versions: [0, 5],
  flexibleSince: 2,
  request: struct({
    transactionalId: string.nullable(),
    transactionTimeoutMs: int32,
    producerId: int64.since(3).or(-1),
    producerEpoch: int16.since(3).or(-1),
  }),
  response: struct({ throttleTimeMs: int32.or(0), errorCode: int16, producerId: int64.or(-1), producerEpoch: int16 }),
})
