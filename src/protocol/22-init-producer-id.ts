/**
 * init-producer-id (22): a producer id that nobody has had, for idempotent appends; or the id and a new epoch of a transactional id,
 * which fences whoever had it before.
 *
 * Versions  1
 * Request   transactionalId null: an id alone; transactionTimeoutMs is not looked at then
 * Failure   with a transactional id: INVALID_TRANSACTION_TIMEOUT, CONCURRENT_TRANSACTIONS (the one before is being ended: ask again),
 *           COORDINATOR_NOT_AVAILABLE, COORDINATOR_LOAD_IN_PROGRESS
 */
import { OFFSET_MAX, PRODUCER_EPOCH_MAX } from '../model/limits.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'

/** Longer than a valid id, so that a bad one is answered by its own error. */
export const TRANSACTIONAL_ID_LENGTH_MAX = 4096

/** The last epoch that a producer is given: requests come with no later one. */
export const GIVEN_EPOCH_MAX = PRODUCER_EPOCH_MAX - 1

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
  readReply: (fields) => ({
    producerId: fields.integer('producerId', 0, OFFSET_MAX),
    producerEpoch: fields.integer('producerEpoch', 0, PRODUCER_EPOCH_MAX),
  }),
})
