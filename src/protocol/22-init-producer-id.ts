/**
 * init-producer-id (22): a producer id that nobody has had, for idempotent appends.
 *
 * Versions  1
 * Failure   NOT_AVAILABLE_YET with a transactional id, as long as there are no transactions
 */
import { OFFSET_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'

const TRANSACTIONAL_ID_LENGTH_MAX = 4096

export interface InitProducerIdRequest {
  readonly transactionalId: string | null
}

export interface InitProducerIdReply {
  readonly producerId: number
  readonly producerEpoch: number
}

export const initProducerId = makeCodec<InitProducerIdRequest, InitProducerIdReply>({
  api: Api.INIT_PRODUCER_ID,
  name: 'init-producer-id',
  writeRequest: (request) => [request.transactionalId],
  readRequest: (fields) => ({ transactionalId: fields.textOrNull('transactionalId', TRANSACTIONAL_ID_LENGTH_MAX) }),
  writeReply: (reply) => [reply.producerId, reply.producerEpoch],
  readReply: (fields) => ({
    producerId: fields.integer('producerId', 0, OFFSET_MAX),
    producerEpoch: fields.integer('producerEpoch', 0, 0x7fff),
  }),
})
