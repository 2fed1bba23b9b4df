/**
 * end-txn (26): commits or aborts the transaction; decided for good when the reply comes.
 *
 * Versions  1
 * Reply     the producer id and epoch of the next transaction: the epoch is bumped each time (KIP-890)
 * Again     of the same epoch and outcome: the same reply, until the next transaction begins
 * Failure   INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, INVALID_TXN_STATE (the other outcome was decided), CONCURRENT_TRANSACTIONS
 */
import { OFFSET_MAX, PRODUCER_EPOCH_MAX } from '../model/limits.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import { GIVEN_EPOCH_MAX, TRANSACTIONAL_ID_LENGTH_MAX } from './22-init-producer-id.ts'
import { Api, makeCodec } from './api.ts'

export interface EndTxnRequest extends ProducerIdentity {
  readonly transactionalId: string
  readonly isCommit: boolean
}

export type EndTxnReply = ProducerIdentity

export const endTxn = makeCodec<EndTxnRequest, EndTxnReply>({
  api: Api.END_TXN,
  name: 'end-txn',
  writeRequest: (request) => [request.transactionalId, request.producerId, request.producerEpoch, request.isCommit],
  readRequest: (fields) => ({
    transactionalId: fields.text('transactionalId', TRANSACTIONAL_ID_LENGTH_MAX),
    producerId: fields.integer('producerId', 0, OFFSET_MAX),
    producerEpoch: fields.integer('producerEpoch', 0, GIVEN_EPOCH_MAX),
    isCommit: fields.boolean('isCommit'),
  }),
  writeReply: (reply) => [reply.producerId, reply.producerEpoch],
  readReply: (fields) => ({
    producerId: fields.integer('producerId', 0, OFFSET_MAX),
    producerEpoch: fields.integer('producerEpoch', 0, PRODUCER_EPOCH_MAX),
  }),
})
