/**
 * EndTxn (26): commits or aborts a transaction.
 *
 * Versions  0–4, flexible from 3. v2 knows PRODUCER_FENCED, v4 TRANSACTION_ABORTABLE. 5 answers with another epoch (KIP-890): it is not told
 */
import { KafkaApi } from '../codec/api.ts'
import { bool, int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const endTxn = new KafkaApi({
  key: KafkaKey.END_TXN,
  name: 'EndTxn',
  versions: [0, 4],
  flexibleSince: 3,
  request: struct({ transactionalId: string, producerId: int64, producerEpoch: int16, committed: bool }),
  response: struct({ throttleTimeMs: int32.or(0), errorCode: int16 }),
})
