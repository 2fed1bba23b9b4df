/**
 * InitProducerId (22): an id and epoch for an idempotent or transactional producer.
 *
 * Versions  0–5, flexible from 2. v3 may name the id and epoch that the producer has, v4 knows PRODUCER_FENCED, v5 TRANSACTION_ABORTABLE
 * Request   without a transactional id all else is ignored
 * Traps     some clients send (0, 0) where (-1, -1) is meant; librdkafka has no idempotent producer where version 0 is not told
 */
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
