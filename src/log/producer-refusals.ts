/** Why a producer's batch, or a coordinator's marker, is not taken: the code, and what whoever reads it can do. */
import type { ErrorCode } from '../model/errors.ts'
import { PARTITION_OPEN_TRANSACTIONS_MAX } from '../model/limits.ts'

export interface ProducerRefusal {
  readonly kind: 'reject'
  readonly code: ErrorCode
  readonly text: string
}

interface Producer {
  readonly producerId: number
  readonly producerEpoch: number
}

interface Marker extends Producer {
  readonly coordinatorEpoch: number
}

export function fenced(batch: Producer, known: { readonly epoch: number }): ProducerRefusal {
  const text = `producer ${batch.producerId} has epoch ${known.epoch} here, the batch has ${batch.producerEpoch}`
  return { kind: 'reject', code: 'INVALID_PRODUCER_EPOCH', text }
}

export function outOfOrder(batch: Producer & { readonly baseSequence: number }, expected: number): ProducerRefusal {
  const text = `producer ${batch.producerId} must go on with sequence ${expected}, the batch begins with ${batch.baseSequence}`
  return { kind: 'reject', code: 'OUT_OF_ORDER_SEQUENCE_NUMBER', text }
}

export function outsideTransaction(batch: Producer): ProducerRefusal {
  const text = `producer ${batch.producerId} has a transaction open here, the batch is none of it: end the transaction first`
  return { kind: 'reject', code: 'INVALID_TXN_STATE', text }
}

export function notRegistered(batch: Producer): ProducerRefusal {
  const text = `producer ${batch.producerId}, epoch ${batch.producerEpoch}, has no transaction with this partition: add the partition to the transaction, then send the batch again`
  return { kind: 'reject', code: 'INVALID_TXN_STATE', text }
}

/** Its coordinator ends one before it begins the next: the marker is on its way, or the batch is wrong. */
export function notEndedYet(batch: Producer): ProducerRefusal {
  const text = `producer ${batch.producerId} has a transaction of an older epoch open here: send the batch again once its marker is written`
  return { kind: 'reject', code: 'CONCURRENT_TRANSACTIONS', text }
}

export function tooManyOpen(): ProducerRefusal {
  const text = `${PARTITION_OPEN_TRANSACTIONS_MAX} transactions are open in this partition: send the batch again when some have ended`
  return { kind: 'reject', code: 'OVERLOADED', text }
}

export function fencedMarker(wish: Producer, known: { readonly epoch: number }): ProducerRefusal {
  const text = `producer ${wish.producerId} has epoch ${known.epoch} here, the marker has ${wish.producerEpoch}`
  return { kind: 'reject', code: 'INVALID_PRODUCER_EPOCH', text }
}

export function lateMarker(wish: Producer): ProducerRefusal {
  const text = `producer ${wish.producerId} has begun another transaction with epoch ${wish.producerEpoch}: the marker is of an earlier one`
  return { kind: 'reject', code: 'INVALID_PRODUCER_EPOCH', text }
}

export function fencedCoordinator(wish: Marker, known: { readonly coordinatorEpoch: number }): ProducerRefusal {
  const text = `the last marker of producer ${wish.producerId} came from coordinator epoch ${known.coordinatorEpoch}, this one from ${wish.coordinatorEpoch}`
  return { kind: 'reject', code: 'TRANSACTION_COORDINATOR_FENCED', text }
}
