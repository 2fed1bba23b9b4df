/** Fields that several requests of producers share: a transactional id, and the producer id and epoch it stands for. */
import { OFFSET_MAX, PRODUCER_EPOCH_MAX } from '../model/limits.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import type { Fields } from './fields.ts'

/** Longer than a valid id, so that a bad one is answered by its own error. */
export const TRANSACTIONAL_ID_LENGTH_MAX = 4096

/** The last epoch that a producer is given: requests come with no later one. */
export const GIVEN_EPOCH_MAX = PRODUCER_EPOCH_MAX - 1

/** Whose transaction a request is about. */
export interface TransactionalIdentity extends ProducerIdentity {
  readonly transactionalId: string
}

export function writeTransactional(identity: TransactionalIdentity): unknown[] {
  return [identity.transactionalId, identity.producerId, identity.producerEpoch]
}

export function readTransactional(fields: Fields): TransactionalIdentity {
  return {
    transactionalId: fields.text('transactionalId', TRANSACTIONAL_ID_LENGTH_MAX),
    ...readProducerIdentity(fields, GIVEN_EPOCH_MAX),
  }
}

export function readProducerIdentity(fields: Fields, epochMax: number): ProducerIdentity {
  return {
    producerId: fields.integer('producerId', 0, OFFSET_MAX),
    producerEpoch: fields.integer('producerEpoch', 0, epochMax),
  }
}
