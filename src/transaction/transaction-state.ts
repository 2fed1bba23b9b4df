/**
 * TransactionState: the transactional ids of one partition of the transaction topic, as plain data.
 *
 * Thread      the shard; pure
 * Durable     TransactionFacts: they change by applyTransaction() only, when a decision makes a record and when the log is replayed
 * Invariants  T1 the epoch of a producer id never falls                             checked in: applyTransaction()
 *             T2 states follow one another as REACHED_FROM says                     checked in: applyTransaction(), once it is live
 *             T3 partitions are there in Ongoing and Prepare*, and nowhere else     checked in: applyTransaction()
 *             T4 a decided transaction keeps its outcome and its partitions until it is complete (README, X2)
 *                                                                                   checked in: applyTransaction(), once it is live
 */
import { assert } from '../base/assert.ts'
import type { Timed } from '../base/deadline-heap.ts'
import { PRODUCER_EPOCH_MAX } from '../model/limits.ts'
import { NO_PARTITIONS, type PartitionSet, setsEqual } from '../model/partition-set.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'

/** Kafka's numbers; they are stored. */
export const State = {
  EMPTY: 0,
  ONGOING: 1,
  PREPARE_COMMIT: 2,
  PREPARE_ABORT: 3,
  COMPLETE_COMMIT: 4,
  COMPLETE_ABORT: 5,
} as const
export type State = (typeof State)[keyof typeof State]

const STATE_COUNT = 6

export function isTransactionState(number: number): number is State {
  return number >= 0 && number < STATE_COUNT
}

/** state -> those that may come right before it; -1 = the id was not there. */
const REACHED_FROM: Readonly<Record<State, readonly number[]>> = {
  [State.EMPTY]: [-1, State.EMPTY, State.COMPLETE_COMMIT, State.COMPLETE_ABORT],
  [State.ONGOING]: [State.EMPTY, State.ONGOING, State.COMPLETE_COMMIT, State.COMPLETE_ABORT],
  [State.PREPARE_COMMIT]: [State.ONGOING],
  [State.PREPARE_ABORT]: [State.ONGOING],
  [State.COMPLETE_COMMIT]: [State.PREPARE_COMMIT],
  // From the others: an abort without a transaction.
  [State.COMPLETE_ABORT]: [State.PREPARE_ABORT, State.EMPTY, State.COMPLETE_COMMIT, State.COMPLETE_ABORT],
}

/** What is stored of a transactional id: format.md. */
export interface TransactionFacts extends ProducerIdentity {
  readonly state: State
  readonly isClassic: boolean
  readonly previousProducerId: number
  readonly previousEpoch: number
  readonly nextProducerId: number
  readonly timeoutMs: number
  readonly startMs: number
  readonly updateMs: number
  readonly partitions: PartitionSet
}

/** A null value is a tombstone: the id is forgotten. */
export interface TransactionRecord {
  readonly transactionalId: string
  readonly value: TransactionFacts | null
}

/** When its transaction is aborted, or its markers are tried again. */
export interface TransactionTimer extends Timed {
  readonly entry: TransactionEntry
}

export interface TransactionEntry {
  readonly transactionalId: string
  facts: TransactionFacts
  // Not durable:
  timer: TransactionTimer | undefined
  /** Prepare*: partitions without a marker, as far as it is known. */
  unmarked: PartitionSet
  /** Markers are on their way. */
  isMarking: boolean
  /** How many of `unmarked` this round has attempted and left: the next attempt begins behind them. */
  attempted: number
  /** Why the first that this round left failed. */
  fault: string
  /** Rounds in a row that left some without. */
  failures: number
}

export interface TransactionState {
  readonly entries: Map<string, TransactionEntry>
  /** Entries by state. */
  readonly counts: number[]
  isLive: boolean
}

export function newTransactionState(): TransactionState {
  return { entries: new Map(), counts: new Array<number>(STATE_COUNT).fill(0), isLive: false }
}

/** What a record does to the state. It decides nothing. */
export function applyTransaction(state: TransactionState, { transactionalId, value }: TransactionRecord): void {
  const { entries, counts } = state
  const entry = entries.get(transactionalId)
  if (entry !== undefined) counts[entry.facts.state]!--
  if (value === null) {
    entries.delete(transactionalId)
    return
  }
  counts[value.state]!++
  checkStep(transactionalId, entry?.facts, value, state.isLive)
  const unmarked = isPreparing(value) ? value.partitions : NO_PARTITIONS
  if (entry === undefined)
    entries.set(transactionalId, {
      ...{ transactionalId, facts: value, timer: undefined },
      ...{ unmarked, isMarking: false, attempted: 0, fault: '', failures: 0 },
    })
  else {
    entry.facts = value
    entry.unmarked = unmarked
    entry.isMarking = false
    entry.attempted = 0
    entry.fault = ''
    entry.failures = 0
  }
}

/** A replay of a compacted log may have left records out: only what holds all the same is checked then. */
function checkStep(id: string, before: TransactionFacts | undefined, after: TransactionFacts, isLive: boolean): void {
  const hasPartitions = after.state === State.ONGOING || isPreparing(after)
  assert(after.partitions.size > 0 === hasPartitions, `T3: '${id}' has partitions or none in state ${after.state}`)
  assert(
    after.producerEpoch >= 0 && after.producerEpoch <= PRODUCER_EPOCH_MAX,
    `epoch ${after.producerEpoch} of '${id}'`,
  )
  if (before?.producerId === after.producerId)
    assert(after.producerEpoch >= before.producerEpoch, `T1: the epoch of '${id}' falls`)
  if (!isLive) return
  const from = before?.state ?? -1
  assert(REACHED_FROM[after.state].includes(from), `T2: '${id}' goes from state ${from} to ${after.state}`)
  if (before === undefined || !isPreparing(after)) return
  assert(setsEqual(before.partitions, after.partitions), `T4: '${id}' loses or gains partitions when it is decided`)
}

export function isPreparing({ state }: TransactionFacts): boolean {
  return state === State.PREPARE_COMMIT || state === State.PREPARE_ABORT
}

/** Whether the transaction that was ended last was committed; undefined in Empty and Ongoing. */
export function outcomeOf({ state }: TransactionFacts): 'commit' | 'abort' | undefined {
  if (state === State.PREPARE_COMMIT || state === State.COMPLETE_COMMIT) return 'commit'
  return state === State.PREPARE_ABORT || state === State.COMPLETE_ABORT ? 'abort' : undefined
}
