/**
 * init-producer-id (22): a producer id that nobody has had, for idempotent appends; or the id and a new epoch of a transactional id,
 * which fences whoever had it before.
 *
 * Versions  1
 * Request   transactionalId null: an id alone; transactionTimeoutMs is not looked at then
 * Failure   with a transactional id: INVALID_TRANSACTION_TIMEOUT, CONCURRENT_TRANSACTIONS (the one before is being ended: ask again),
 *           COORDINATOR_NOT_AVAILABLE, COORDINATOR_LOAD_IN_PROGRESS
 */
import { PRODUCER_EPOCH_MAX } from '../model/limits.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'
import { readProducerIdentity, TRANSACTIONAL_ID_LENGTH_MAX } from './producer-fields.ts'

export interface InitProducerIdRequest {
  readonly transactionalId: string | null
  /** How long a transaction may be open before the coordinator aborts it. */
  readonly transactionTimeoutMs: number
}

export type { ProducerIdentity }

export type InitProducerIdReply = ProducerIdentity

export const initProducerId = makeCodec<InitProducerIdRequest, InitProducerIdReply>({
  api: Api.INIT_PRODUCER_ID,
  name: 'init-producer-id',
  writeRequest: (request) => [request.transactionalId, request.transactionTimeoutMs],
  readRequest: (fields) => ({
    transactionalId: fields.textOrNull('transactionalId', TRANSACTIONAL_ID_LENGTH_MAX),
    transactionTimeoutMs: fields.integer('transactionTimeoutMs', 0, INT32_MAX),
  }),
  writeReply: (reply) => [reply.producerId, reply.producerEpoch],
  readReply: (fields) => readProducerIdentity(fields, PRODUCER_EPOCH_MAX),
})
