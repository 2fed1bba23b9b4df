/** ListTransactions (66): v0–2. */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const listTransactions = new KafkaApi({
  key: KafkaKey.LIST_TRANSACTIONS,
  name: 'ListTransactions',
  versions: [0, 2],
  flexibleSince: 0,
  request: struct({
    stateFilters: array(string),
    producerIdFilters: array(int64),
    durationFilter: int64.since(1).or(-1),
    transactionalIdPattern: string.nullable().since(2),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    errorCode: int16,
    unknownStateFilters: array(string),
    transactionStates: array(struct({ transactionalId: string, producerId: int64, transactionState: string })),
  }),
})
