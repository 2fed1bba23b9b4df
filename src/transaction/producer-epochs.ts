/**
 * Which producer id and epoch a transactional id has, who is fenced, and what comes next (README, X1, X2, X4, X5).
 *
 * Rule  an epoch is given to a producer only below PRODUCER_EPOCH_MAX: there is always one more to fence it with. Where the next would be
 *       the last, a fresh producer id with epoch 0 is given instead
 */
import { PRODUCER_EPOCH_MAX } from '../model/limits.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import { type Refusal, refuse } from '../model/refusal.ts'
import type { TransactionEntry, TransactionFacts } from './transaction-state.ts'

/** No producer. */
export const NOBODY: ProducerIdentity = { producerId: -1, producerEpoch: -1 }

/** What the producer is to use from now on. */
export function currentOf({ producerId, producerEpoch, nextProducerId }: TransactionFacts): ProducerIdentity {
  return nextProducerId === -1 ? { producerId, producerEpoch } : { producerId: nextProducerId, producerEpoch: 0 }
}

/** It has the epoch that nobody is given: who comes with it guessed it, and a transaction of it could not be ended by another. */
export function isUsedUp(facts: TransactionFacts): boolean {
  return currentOf(facts).producerEpoch >= PRODUCER_EPOCH_MAX
}

export function isCurrent(facts: TransactionFacts, identity: ProducerIdentity): boolean {
  if (isUsedUp(facts)) return false
  const current = currentOf(facts)
  return identity.producerId === current.producerId && identity.producerEpoch === current.producerEpoch
}

/** It asked itself for what made its epoch an old one: it may hear the answer again. */
export function isPrevious(facts: TransactionFacts, { producerId, producerEpoch }: ProducerIdentity): boolean {
  return producerId === facts.previousProducerId && producerEpoch === facts.previousEpoch
}

/** The epoch after `identity`'s, or a fresh id; a refusal when one is needed and did not come with the request. */
export function nextIdentity(identity: ProducerIdentity, freshProducerId: number): ProducerIdentity | Refusal {
  const { producerId, producerEpoch } = identity
  if (producerEpoch + 1 < PRODUCER_EPOCH_MAX) return { producerId, producerEpoch: producerEpoch + 1 }
  if (freshProducerId === -1)
    return refuse('COORDINATOR_NOT_AVAILABLE', `the epochs of producer ${producerId} are used up: a fresh id is needed`)
  return { producerId: freshProducerId, producerEpoch: 0 }
}

/** Why `identity` may not act for the transactional id; undefined when it may. */
export function fence(entry: TransactionEntry | undefined, identity: ProducerIdentity): Refusal | undefined {
  if (entry === undefined)
    return refuse('INVALID_PRODUCER_ID_MAPPING', 'the transactional id is not known: call init-producer-id')
  const { facts, transactionalId } = entry
  if (isCurrent(facts, identity)) return undefined
  const { producerId, producerEpoch } = currentOf(facts)
  if (identity.producerId !== producerId && !isPrevious(facts, identity))
    return refuse(
      'INVALID_PRODUCER_ID_MAPPING',
      `the producer id of '${transactionalId}' is ${producerId}, not ${identity.producerId}`,
    )
  return refuse(
    'PRODUCER_FENCED',
    `'${transactionalId}' has epoch ${producerEpoch} of producer ${producerId}, the request epoch ${identity.producerEpoch}`,
  )
}

/** It is decided and its markers are on their way: nothing can begin before they are written. */
export function concurrent({ transactionalId }: TransactionEntry): Refusal {
  return refuse('CONCURRENT_TRANSACTIONS', `the transaction of '${transactionalId}' is being ended`)
}
