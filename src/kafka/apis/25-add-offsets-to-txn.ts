/**
 * AddOffsetsToTxn (25): a transaction will commit offsets of this group.
 *
 * Versions  0–4, flexible from 3. v2 knows PRODUCER_FENCED, v4 TRANSACTION_ABORTABLE
 * Traps     librdkafka sends version 0 alone
 */
import { KafkaApi } from '../codec/api.ts'
import { int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const addOffsetsToTxn = new KafkaApi({
  key: KafkaKey.ADD_OFFSETS_TO_TXN,
  name: 'AddOffsetsToTxn',
  versions: [0, 4],
  flexibleSince: 3,
  request: struct({ transactionalId: string, producerId: int64, producerEpoch: int16, groupId: string }),
  response: struct({ throttleTimeMs: int32.or(0), errorCode: int16 }),
})
