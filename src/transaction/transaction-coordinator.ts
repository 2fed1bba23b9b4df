/**
 * TransactionCoordinator: the transactional ids of one partition of the transaction topic.
 *
 * Owns        TransactionState and its timers
 * Thread      the shard that owns the partition; sans-IO: it is given requests and the monotonic time, it answers what to append, to
 *             reply, and which markers to have written
 * Life        new -> replay() of the whole partition -> onLoaded() -> decisions
 * Ordering    decide (the state has changed) -> append the records as one batch -> durable -> reply, and markers on their way. Decisions
 *             that follow build on the changed state, so replies leave in the order of the decisions
 * Failure     an append that fails: the state is ahead of the log. The shell drops this object, answers all that wait with
 *             COORDINATOR_NOT_AVAILABLE, and starts a new one by replay, at once: open transactions have timeouts
 * Limits      COORDINATOR_TRANSACTIONAL_IDS_MAX, TRANSACTION_PARTITIONS_MAX; one transaction per onDeadline() call
 * Not here    authorisation, waiting for the end of a transaction, appending, writing markers (the shell)
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { Refusal } from '../model/refusal.ts'
import type { TransactionPage, TransactionQuery, TransactionsPage } from '../model/transaction-query.ts'
import { decideAddPartitions } from './add-partitions.ts'
import { abortOngoing, complete, decideEnd } from './end-transaction.ts'
import { decideInitProducer } from './init-producer.ts'
import { beginMarking, endMarking, isTelling } from './marker-delivery.ts'
import { NOBODY } from './producer-epochs.ts'
import type {
  AddPartitionsRequest,
  EndTransactionRequest,
  InitProducerRequest,
  MarkersDone,
  PartitionsAdded,
  ProducerReply,
  TransactionDecision,
  TransactionProgress,
} from './requests.ts'
import { DEFAULT_TRANSACTION_CONFIG, type TransactionConfig } from './transaction-config.ts'
import {
  change,
  NO_RECORDS,
  newTransactionCounters,
  type TransactionContext,
  type TransactionCounters,
} from './transaction-context.ts'
import { answerQuery } from './transaction-queries.ts'
import { decodeTransaction } from './transaction-records.ts'
import {
  applyTransaction,
  isPreparing,
  newTransactionState,
  State,
  type TransactionEntry,
  type TransactionState,
} from './transaction-state.ts'
import { TransactionTimers } from './transaction-timers.ts'

/** Transactional ids that one onDeadline() call looks at for those to forget. */
const SWEEP_IDS_MAX = 1_000

export interface TransactionCoordinatorOptions {
  readonly wallClock: Pick<Clock, 'nowMs'>
  /** Leader epoch of the coordinator's partition. */
  readonly coordinatorEpoch: number
  readonly config?: Partial<TransactionConfig>
  /** Shared by the coordinators of a shard. */
  readonly counters?: TransactionCounters
}

export type TransactionReplay =
  | { readonly kind: 'applied' }
  /** Of a later version's kind: stepped over. */
  | { readonly kind: 'unknown'; readonly number: number }
  /** The coordinator must not serve. */
  | { readonly kind: 'unreadable'; readonly reason: string }

const APPLIED: TransactionReplay = { kind: 'applied' }

export class TransactionCoordinator {
  readonly #context: TransactionContext
  #sweep: Iterator<TransactionEntry> | undefined
  #nextSweepMs = Number.POSITIVE_INFINITY

  constructor({ wallClock, coordinatorEpoch, config, counters }: TransactionCoordinatorOptions) {
    this.#context = {
      state: newTransactionState(),
      timers: new TransactionTimers(),
      config: { ...DEFAULT_TRANSACTION_CONFIG, ...config },
      ...{ wallClock, coordinatorEpoch, counters: counters ?? newTransactionCounters() },
    }
  }

  /** Plain data, for metrics and tests; nobody but the coordinator changes it. */
  get state(): TransactionState {
    return this.#context.state
  }

  get isLoaded(): boolean {
    return this.#context.state.isLive
  }

  /** One record of the partition, in the log's order. */
  replay(key: Uint8Array, value: Uint8Array | null): TransactionReplay {
    assert(!this.isLoaded, 'a coordinator that serves replays nothing')
    const decoded = decodeTransaction(key, value)
    if (decoded.kind !== 'record') return decoded
    applyTransaction(this.#context.state, decoded.record)
    return APPLIED
  }

  /** The whole partition was replayed: timeouts go on with what is left of them, decided transactions get their markers. */
  onLoaded(nowMs: number): void {
    const { state, timers, wallClock, config } = this.#context
    assert(!state.isLive, 'a replay ends once')
    const wallMs = wallClock.nowMs()
    for (const entry of state.entries.values()) {
      const { facts } = entry
      if (isPreparing(facts)) timers.start(entry, nowMs)
      if (facts.state !== State.ONGOING) continue
      const leftMs = facts.startMs + facts.timeoutMs - wallMs
      timers.start(entry, nowMs + Math.max(0, Math.min(leftMs, facts.timeoutMs)))
    }
    state.isLive = true
    this.#nextSweepMs = nowMs + config.idSweepMs
  }

  initProducer(request: InitProducerRequest, nowMs: number): TransactionDecision<ProducerReply> {
    this.#checkLoaded()
    return decideInitProducer(this.#context, request, nowMs)
  }

  addPartitions(request: AddPartitionsRequest, nowMs: number): TransactionDecision<PartitionsAdded> {
    this.#checkLoaded()
    return decideAddPartitions(this.#context, request, nowMs)
  }

  end(request: EndTransactionRequest, nowMs: number): TransactionDecision<ProducerReply> {
    this.#checkLoaded()
    return decideEnd(this.#context, request, nowMs)
  }

  /** What is known of some transactional ids; decides nothing. */
  query(query: TransactionQuery): TransactionsPage | TransactionPage | Refusal {
    this.#checkLoaded()
    return answerQuery(this.#context, query)
  }

  /** An attempt to write markers is over; undefined when it is none of today's. */
  onMarkersDone(attempt: MarkersDone, nowMs: number): TransactionProgress | undefined {
    this.#checkLoaded()
    const { transactionalId, producerId, producerEpoch } = attempt
    const entry = this.#context.state.entries.get(transactionalId)
    // isMarking: two answers, of an attempt that seemed lost and of the next, would start two attempts.
    if (entry === undefined || !isPreparing(entry.facts) || !entry.isMarking) return undefined
    if (producerId !== entry.facts.producerId || producerEpoch !== entry.facts.producerEpoch) return undefined
    const next = endMarking(this.#context, entry, attempt, nowMs)
    if (next === 'all written')
      return { ...progressOf(entry), records: complete(this.#context, entry), isComplete: true }
    if (next === 'go on') return { ...progressOf(entry), markers: beginMarking(this.#context, entry, nowMs) }
    if (!isTelling(entry.failures)) return undefined
    const notice = `markers could not be written (attempt ${entry.failures}), they are tried again: ${entry.fault}`
    return { ...progressOf(entry), notices: [notice] }
  }

  /** Monotonic time at which onDeadline() wants to be called; -Infinity = now, Infinity = never. */
  get nextDeadlineMs(): number {
    if (!this.isLoaded) return Number.POSITIVE_INFINITY
    if (this.#sweep !== undefined) return Number.NEGATIVE_INFINITY
    return Math.min(this.#context.timers.nextDeadlineMs, this.#nextSweepMs)
  }

  /**
   * Does one piece of what is due; undefined when nothing came of it. To be called again while nextDeadlineMs is not in the future, a
   * few times a turn.
   */
  onDeadline(nowMs: number): TransactionProgress | undefined {
    if (!this.isLoaded) return undefined
    const entry = this.#context.timers.takeExpired(nowMs)
    if (entry !== undefined) return this.#onTimer(entry, nowMs)
    if (this.#nextSweepMs <= nowMs) {
      this.#nextSweepMs = nowMs + this.#context.config.idSweepMs
      this.#sweep = this.#context.state.entries.values()
    }
    return this.#sweep === undefined ? undefined : this.#sweepSome(this.#sweep)
  }

  #onTimer(entry: TransactionEntry, nowMs: number): TransactionProgress {
    if (isPreparing(entry.facts)) return { ...progressOf(entry), markers: beginMarking(this.#context, entry, nowMs) }
    this.#context.counters.timeouts++
    const { timeoutMs, producerEpoch } = entry.facts
    const notice = `the transaction of epoch ${producerEpoch} is aborted: it was open longer than ${timeoutMs} ms`
    return { ...progressOf(entry), ...abortOngoing(this.#context, entry, NOBODY, nowMs), notices: [notice] }
  }

  /** Up to the first id that is to be forgotten. */
  #sweepSome(sweep: Iterator<TransactionEntry>): TransactionProgress | undefined {
    const untilMs = this.#context.wallClock.nowMs() - this.#context.config.idExpirationMs
    for (let looked = 0; looked < SWEEP_IDS_MAX; looked++) {
      const next = sweep.next()
      if (next.done === true) {
        this.#sweep = undefined
        return undefined
      }
      const { facts, transactionalId } = next.value
      if (facts.state === State.ONGOING || isPreparing(facts) || facts.updateMs > untilMs) continue
      return { ...progressOf(next.value), records: change(this.#context, transactionalId, null) }
    }
    return undefined
  }

  #checkLoaded(): void {
    assert(this.isLoaded, 'the coordinator is asked before its partition was replayed')
  }
}

function progressOf({ transactionalId }: TransactionEntry): TransactionProgress {
  return { transactionalId, records: NO_RECORDS, markers: undefined, isComplete: false, notices: [] }
}
