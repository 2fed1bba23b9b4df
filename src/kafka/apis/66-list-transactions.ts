/**
 * ListTransactions (66): the transactions that this broker coordinates (KIP-664); clients ask every broker.
 *
 * Versions  0–1, flexible from 0. v1 filters by age; v2, which filters by a pattern of ids, is not served
 * Response  names of states that it did not know, in unknownStateFilters
 */
import { KafkaApi } from '../codec/api.ts'
import { array, int16, int32, int64, string, struct } from '../codec/fields.ts'
import { KafkaKey } from '../keys.ts'

export const listTransactions = new KafkaApi({
  key: KafkaKey.LIST_TRANSACTIONS,
  name: 'ListTransactions',
  versions: [0, 1],
  flexibleSince: 0,
  request: struct({
    stateFilters: array(string),
    producerIdFilters: array(int64),
    durationFilter: int64.since(1).or(-1),
  }),
  response: struct({
    throttleTimeMs: int32.or(0),
    errorCode: int16,
    unknownStateFilters: array(string),
    transactionStates: array(struct({ transactionalId: string, producerId: int64, transactionState: string })),
  }),
})
