/**
 * The end of a transaction: by its producer (end-txn), by its timeout, by init-producer-id (X1 to X4, X6, X8).
 *
 * | end-txn in state      | of the current epoch                                      | of the previous epoch (X2)                   |
 * | --------------------- | --------------------------------------------------------- | -------------------------------------------- |
 * | Ongoing               | decided: Prepare, the next epoch                          | PRODUCER_FENCED                              |
 * | Prepare of it         | CONCURRENT_TRANSACTIONS                                   | the same answer again                        |
 * | Prepare of the other  | CONCURRENT_TRANSACTIONS (classic: INVALID_TXN_STATE)      | INVALID_TXN_STATE                            |
 * | Complete of it        | commit: as it is, abort: the next epoch (classic: again)  | the same answer again                        |
 * | Complete of the other | the same (classic: INVALID_TXN_STATE)                     | INVALID_TXN_STATE                            |
 * | Empty                 | the same (classic: INVALID_TXN_STATE)                     | PRODUCER_FENCED                              |
 *
 * Why an abort without a transaction bumps the epoch: the producer may have given up an add-partitions that is still on its way. It
 * would begin the next transaction, earlier than its producer does, and have it timed out
 */
import { NO_PARTITIONS } from '../model/partition-set.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import { isRefusal, type Refusal, refuse } from '../model/refusal.ts'
import type { EncodedRecord } from '../record/record-table.ts'
import { beginMarking } from './marker-delivery.ts'
import { concurrent, currentOf, fence, isPrevious, isUsedUp, NOBODY, nextIdentity } from './producer-epochs.ts'
import {
  type EndTransactionRequest,
  type MarkersToWrite,
  type ProducerReply,
  refusedDecision,
  type TransactionDecision,
} from './requests.ts'
import { change, NO_RECORDS, type TransactionContext } from './transaction-context.ts'
import { isPreparing, outcomeOf, State, type TransactionEntry, type TransactionFacts } from './transaction-state.ts'

export function decideEnd(
  context: TransactionContext,
  request: EndTransactionRequest,
  nowMs: number,
): TransactionDecision<ProducerReply> {
  const entry = context.state.entries.get(request.transactionalId)
  if (entry !== undefined && isPrevious(entry.facts, request) && !isUsedUp(entry.facts)) {
    const outcome = outcomeOf(entry.facts)
    if (outcome !== undefined) return again(entry, request, outcome)
  }
  const fenced = fence(entry, request)
  if (fenced !== undefined || entry === undefined) return refusedDecision(fenced!)
  const { facts } = entry
  if (facts.state === State.ONGOING)
    return facts.isClassic ? endClassic(context, entry, request, nowMs) : endNative(context, entry, request, nowMs)
  if (facts.isClassic) return endedClassic(entry, request)
  if (isPreparing(facts)) return refusedDecision(concurrent(entry))
  return request.isCommit ? answer(facts) : abortNothing(context, entry, request)
}

/** Aborts an open transaction in somebody else's name: its producer is fenced. `previous`: who may hear of the new epoch. */
export function abortOngoing(
  context: TransactionContext,
  entry: TransactionEntry,
  previous: ProducerIdentity,
  nowMs: number,
): { readonly records: readonly EncodedRecord[]; readonly markers: MarkersToWrite | undefined } {
  const { producerId, producerEpoch } = entry.facts
  // No producer is given the last epoch, so there is one more. A log may have such a transaction all the same, of a broker that took it
  // from who guessed the epoch: its markers have that epoch, and end what is open as those of a classic producer do.
  const isLast = isUsedUp(entry.facts)
  const marker = { producerId, producerEpoch: isLast ? producerEpoch : producerEpoch + 1 }
  const end = { isCommit: false, marker, previous, nextProducerId: -1, isClassic: isLast || entry.facts.isClassic }
  return prepare(context, entry, end, nowMs)
}

function endNative(
  context: TransactionContext,
  entry: TransactionEntry,
  { isCommit, freshProducerId }: EndTransactionRequest,
  nowMs: number,
): TransactionDecision<ProducerReply> {
  const { producerId, producerEpoch } = entry.facts
  const next = nextIdentity(entry.facts, freshProducerId)
  if (isRefusal(next)) return refusedDecision(next)
  const end = {
    ...{ isCommit, marker: { producerId, producerEpoch: producerEpoch + 1 }, previous: { producerId, producerEpoch } },
    nextProducerId: next.producerId === producerId ? -1 : next.producerId,
    isClassic: false,
  }
  return { ...prepare(context, entry, end, nowMs), reply: { kind: 'producer', ...next } }
}

/** X8: the epoch stays, and the markers have it. */
function endClassic(
  context: TransactionContext,
  entry: TransactionEntry,
  { isCommit, producerId, producerEpoch }: EndTransactionRequest,
  nowMs: number,
): TransactionDecision<ProducerReply> {
  const end = { isCommit, marker: { producerId, producerEpoch }, previous: NOBODY, nextProducerId: -1, isClassic: true }
  return { ...prepare(context, entry, end, nowMs), reply: { kind: 'producer', producerId, producerEpoch } }
}

function endedClassic(
  entry: TransactionEntry,
  { isCommit }: EndTransactionRequest,
): TransactionDecision<ProducerReply> {
  const outcome = outcomeOf(entry.facts)
  if (outcome === undefined) return refusedDecision(refuse('INVALID_TXN_STATE', 'no transaction has begun'))
  if ((outcome === 'commit') !== isCommit) return refusedDecision(otherOutcome(outcome))
  return isPreparing(entry.facts) ? refusedDecision(concurrent(entry)) : answer(entry.facts)
}

interface End {
  readonly isCommit: boolean
  readonly marker: ProducerIdentity
  readonly previous: ProducerIdentity
  readonly nextProducerId: number
  readonly isClassic: boolean
}

function prepare(
  context: TransactionContext,
  entry: TransactionEntry,
  { isCommit, marker, previous, nextProducerId, isClassic }: End,
  nowMs: number,
): { readonly records: readonly EncodedRecord[]; readonly markers: MarkersToWrite | undefined } {
  const records = change(context, entry.transactionalId, {
    ...entry.facts,
    ...marker,
    state: isCommit ? State.PREPARE_COMMIT : State.PREPARE_ABORT,
    ...{ previousProducerId: previous.producerId, previousEpoch: previous.producerEpoch, nextProducerId, isClassic },
  })
  context.timers.stop(entry)
  if (isCommit) context.counters.committed++
  else context.counters.aborted++
  return { records, markers: beginMarking(context, entry, nowMs) }
}

/** Every marker is written. */
export function complete(context: TransactionContext, entry: TransactionEntry): EncodedRecord[] {
  const { facts } = entry
  return change(context, entry.transactionalId, {
    ...facts,
    ...currentOf(facts),
    state: facts.state === State.PREPARE_COMMIT ? State.COMPLETE_COMMIT : State.COMPLETE_ABORT,
    ...{ nextProducerId: -1, startMs: -1, partitions: NO_PARTITIONS },
  })
}

function abortNothing(
  context: TransactionContext,
  { transactionalId, facts }: TransactionEntry,
  { freshProducerId }: EndTransactionRequest,
): TransactionDecision<ProducerReply> {
  const next = nextIdentity(facts, freshProducerId)
  if (isRefusal(next)) return refusedDecision(next)
  const records = change(context, transactionalId, {
    ...facts,
    ...next,
    state: State.COMPLETE_ABORT,
    ...{ previousProducerId: facts.producerId, previousEpoch: facts.producerEpoch },
  })
  return { records, markers: undefined, reply: { kind: 'producer', ...next } }
}

function again(
  { facts }: TransactionEntry,
  { isCommit }: EndTransactionRequest,
  outcome: 'commit' | 'abort',
): TransactionDecision<ProducerReply> {
  return (outcome === 'commit') === isCommit ? answer(facts) : refusedDecision(otherOutcome(outcome))
}

function answer(facts: TransactionFacts): TransactionDecision<ProducerReply> {
  return { records: NO_RECORDS, markers: undefined, reply: { kind: 'producer', ...currentOf(facts) } }
}

function otherOutcome(outcome: 'commit' | 'abort'): Refusal {
  const text = outcome === 'commit' ? 'the transaction was committed' : 'the transaction was aborted'
  return refuse('INVALID_TXN_STATE', text)
}
