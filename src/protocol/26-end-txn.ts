/**
 * end-txn (26): commits or aborts the transaction; decided for good when the reply comes.
 *
 * Versions  1
 * Reply     the producer id and epoch of the next transaction: the epoch is bumped each time (KIP-890)
 * Again     of the same epoch and outcome: the same reply, until the next transaction begins
 * Failure   INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, INVALID_TXN_STATE (the other outcome was decided), CONCURRENT_TRANSACTIONS
 */
import { PRODUCER_EPOCH_MAX } from '../model/limits.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import { Api, makeCodec } from './api.ts'
import {
  readProducerIdentity,
  readTransactional,
  type TransactionalIdentity,
  writeTransactional,
} from './producer-fields.ts'

export interface EndTxnRequest extends TransactionalIdentity {
  readonly isCommit: boolean
}

export type EndTxnReply = ProducerIdentity

export const endTxn = makeCodec<EndTxnRequest, EndTxnReply>({
  api: Api.END_TXN,
  name: 'end-txn',
  writeRequest: (request) => [...writeTransactional(request), request.isCommit],
  readRequest: (fields) => ({
    ...readTransactional(fields),
    isCommit: fields.boolean('isCommit'),
  }),
  writeReply: (reply) => [reply.producerId, reply.producerEpoch],
  readReply: (fields) => readProducerIdentity(fields, PRODUCER_EPOCH_MAX),
})
