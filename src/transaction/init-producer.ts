/**
 * init-producer-id with a transactional id (X4): a new epoch, and whoever had it before is fenced.
 *
 * | state           | somebody new                     | the producer itself (current)     | the same again (previous) | anybody else    |
 * | --------------- | -------------------------------- | --------------------------------- | ------------------------- | --------------- |
 * | (not there)     | fresh id, epoch 0                | fresh id, epoch 0                 | fresh id, epoch 0         | fresh id        |
 * | Empty, Complete | next epoch                       | next epoch, remembered            | the current one           | PRODUCER_FENCED |
 * | Ongoing         | aborted, CONCURRENT_TRANSACTIONS | aborted, CONCURRENT, remembered   | PRODUCER_FENCED           | PRODUCER_FENCED |
 * | Prepare         | CONCURRENT_TRANSACTIONS          | CONCURRENT_TRANSACTIONS           | CONCURRENT_TRANSACTIONS   | PRODUCER_FENCED |
 *
 * Rule  the epoch with which init-producer-id aborts is given to nobody: the request comes again and gets the next one. Only the producer
 *       itself, when it asks again, is told that epoch: it asked for it (KIP-360). But for PRODUCER_EPOCH_MAX: then it gets a fresh id
 */
import { utf8Bytes } from '../base/utf8-write.ts'
import { COORDINATOR_TRANSACTIONAL_IDS_MAX, TRANSACTIONAL_ID_BYTES_MAX } from '../model/limits.ts'
import { NO_PARTITIONS } from '../model/partition-set.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import { isRefusal, type Refusal, refuse } from '../model/refusal.ts'
import { abortOngoing } from './end-transaction.ts'
import { concurrent, currentOf, isCurrent, isPrevious, isUsedUp, NOBODY, nextIdentity } from './producer-epochs.ts'
import { type InitProducerRequest, type ProducerReply, refusedDecision, type TransactionDecision } from './requests.ts'
import { change, NO_RECORDS, type TransactionContext } from './transaction-context.ts'
import { isPreparing, State, type TransactionEntry } from './transaction-state.ts'

export function decideInitProducer(
  context: TransactionContext,
  request: InitProducerRequest,
  nowMs: number,
): TransactionDecision<ProducerReply> {
  const refusal = checkRequest(context, request)
  if (refusal !== undefined) return refusedDecision(refusal)
  const entry = context.state.entries.get(request.transactionalId)
  if (entry === undefined) return begin(context, request)
  const { facts } = entry
  const isNew = request.producerId === -1
  const isOwn = !isNew && isCurrent(facts, request)
  const isAgain = !isNew && !isOwn && isPrevious(facts, request)
  if (!isNew && !isOwn && !isAgain) return refusedDecision(fencedInit(entry, request))
  if (isPreparing(facts)) return refusedDecision(concurrent(entry))
  if (facts.state === State.ONGOING) {
    if (isAgain) return refusedDecision(fencedInit(entry, request))
    const { records, markers } = abortOngoing(context, entry, isOwn ? request : NOBODY, nowMs)
    return { records, markers, reply: concurrent(entry) }
  }
  if (isAgain && !isUsedUp(facts))
    return { records: NO_RECORDS, markers: undefined, reply: { kind: 'producer', ...currentOf(facts) } }
  const next = nextIdentity(facts, request.freshProducerId)
  return isRefusal(next) ? refusedDecision(next) : give(context, request, next, isNew ? NOBODY : request)
}

function checkRequest({ state, config }: TransactionContext, request: InitProducerRequest): Refusal | undefined {
  const { transactionalId, timeoutMs } = request
  const bytes = utf8Bytes(transactionalId)
  if (bytes === 0 || bytes > TRANSACTIONAL_ID_BYTES_MAX)
    return refuse('INVALID_REQUEST', `a transactional id has 1 to ${TRANSACTIONAL_ID_BYTES_MAX} bytes, not ${bytes}`)
  if (timeoutMs <= 0 || timeoutMs > config.timeoutMsMax)
    return refuse(
      'INVALID_TRANSACTION_TIMEOUT',
      `the transaction timeout is ${timeoutMs} ms; transactions.timeoutMax allows 1 to ${config.timeoutMsMax}`,
    )
  if (!state.entries.has(transactionalId) && state.entries.size >= COORDINATOR_TRANSACTIONAL_IDS_MAX)
    return refuse(
      'POLICY_VIOLATION',
      `the coordinator has ${COORDINATOR_TRANSACTIONAL_IDS_MAX} transactional ids, the most allowed: those out of use go after transactions.idExpiration`,
    )
  return undefined
}

function begin(context: TransactionContext, request: InitProducerRequest): TransactionDecision<ProducerReply> {
  const { freshProducerId } = request
  if (freshProducerId === -1)
    return refusedDecision(refuse('COORDINATOR_NOT_AVAILABLE', 'a fresh producer id is needed'))
  return give(context, request, { producerId: freshProducerId, producerEpoch: 0 }, NOBODY)
}

function give(
  context: TransactionContext,
  { transactionalId, timeoutMs, isClassic }: InitProducerRequest,
  { producerId, producerEpoch }: ProducerIdentity,
  previous: ProducerIdentity,
): TransactionDecision<ProducerReply> {
  const records = change(context, transactionalId, {
    ...{ state: State.EMPTY, isClassic, producerId, producerEpoch, timeoutMs },
    ...{ previousProducerId: previous.producerId, previousEpoch: previous.producerEpoch, nextProducerId: -1 },
    ...{ startMs: -1, partitions: NO_PARTITIONS },
  })
  return { records, markers: undefined, reply: { kind: 'producer', producerId, producerEpoch } }
}

function fencedInit({ transactionalId, facts }: TransactionEntry, { producerEpoch }: ProducerIdentity): Refusal {
  const current = currentOf(facts)
  const text = `'${transactionalId}' has epoch ${current.producerEpoch}, the request comes from epoch ${producerEpoch}`
  return refuse('PRODUCER_FENCED', text)
}
