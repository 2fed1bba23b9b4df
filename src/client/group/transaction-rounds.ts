/**
 * TransactionRounds: run() of an exactly-once group: records are handled in transactions, one after the other; what their handlers send and
 * how far they are handled is committed as one thing.
 *
 * Round       begin -> take records, handle them -> (enough, long enough, nothing there, or held) every one taken is handled -> offsets, commit
 *             a handler that fails -> nothing more begins, those at work end -> abort -> positions go back -> (backoff) -> the next round
 * Invariants  R1 what a round commits is a prefix: every record taken has been handled     checked in: #check()
 *             R2 after an abort a partition goes on where the round found it               checked in: #rewind()
 *             R3 a partition is let go only when no round is under way                     checked in: settle()
 *             R4 a round has one place of a partition: a seek() comes after it             checked in: seek()
 *             R5 what may have been committed is not handled again                         checked in: #finish()
 * Limits      recordsMax records and ms a round; the broker's timeout for a transaction: a round that takes longer is aborted
 * Failure     a record that fails: again in the next round, until its attempts are used up; then its dead letter is part of a round, or
 *             run() rejects. What cannot be committed for other reasons: weather for ever, else retry.attempts rounds. A commit whose
 *             outcome is not known: no round begins until it is; where it cannot be learned, run() rejects. Partitions that were
 *             lost: the round is aborted, and nothing of it goes back
 */
import type { MillraceError } from '../../model/errors.ts'
import { abortable, sleep } from '../abort.ts'
import { asMillraceError } from '../as-millrace-error.ts'
import { backoffMs } from '../backoff.ts'
import type { ClientRuntime } from '../client-runtime.ts'
import type { ProducerRecord } from '../producer-record.ts'
import { promiseOf } from '../promise-of.ts'
import type { DecodeRecord } from '../record-decoder.ts'
import type { ConsumedRecord } from '../record-types.ts'
import type { Transaction } from '../transaction/transaction.ts'
import type { CommittingGroup } from '../transaction/transaction-offsets.ts'
import type { TransactionalProducer } from '../transaction/transactional-producer.ts'
import type { AssignedPartition } from './assigned-partition.ts'
import { classOf } from './group-coordinator.ts'
import type { ResolvedRunOptions, ResolvedTransactionOptions } from './group-options.ts'
import type { GroupReader } from './group-reader.ts'
import { GroupRunner } from './group-runner.ts'
import type { HandledOffsets } from './handled-offsets.ts'
import { HandlerTransaction, type RefusalListener, type TransactionContext } from './handler-transaction.ts'

export interface RoundsParts<Handed> {
  readonly runtime: ClientRuntime
  readonly reader: GroupReader
  readonly decode: DecodeRecord<Handed>
  readonly group: CommittingGroup
  readonly newProducer: () => TransactionalProducer
  /** The dead letter of a record, and its topic; undefined = there is none. */
  readonly deadLetter: DeadLetterMaker | undefined
  readonly isHalted: () => boolean
  readonly fail: (error: unknown) => void
  readonly onRetry: (record: ConsumedRecord, error: unknown, attempts: number) => void
  readonly onDeadLetter: (record: ConsumedRecord, error: unknown, attempts: number) => void
}

export type DeadLetterMaker = (
  record: ConsumedRecord,
  error: unknown,
  attempts: number,
) => { readonly topic: string; readonly letter: ProducerRecord }

export type TransactionHandler<Handed> = (record: Handed, context: TransactionContext) => unknown

/** Where a round found a partition. */
interface Found {
  readonly window: HandledOffsets
  readonly offset: number
  readonly committedOffset: number
}

interface Failure {
  readonly error: unknown
  /** Whose handler failed; undefined = the round could not be committed. */
  readonly record: ConsumedRecord | undefined
  /** Its partitions were lost. */
  readonly isLost: boolean
  /** It may be committed, and nobody says so. */
  readonly isUnknown?: boolean
}

interface FailedRecord {
  readonly record: ConsumedRecord
  readonly error: unknown
  readonly attempts: number
}

interface Round {
  readonly transaction: Transaction
  /** A record's handler has sent what is refused by itself, whether it waits for it or not. */
  readonly onRefused: RefusalListener
  readonly found: Map<AssignedPartition, Found>
  readonly buried: FailedRecord[]
  recordsTaken: number
  isTaking: boolean
  failure: Failure | undefined
  readonly end: () => void
}

export class TransactionRounds<Handed> {
  readonly #parts: RoundsParts<Handed>
  readonly #handler: TransactionHandler<Handed>
  readonly #options: ResolvedRunOptions
  readonly #limits: ResolvedTransactionOptions
  readonly runner: GroupRunner<ConsumedRecord>
  readonly #end = new AbortController()
  /** Records that have failed, by topic, partition and offset, until a round with them is committed. */
  readonly #failures = new Map<string, FailedRecord>()
  /** Where partitions go on after the round that is under way. */
  readonly #seeks = new Map<AssignedPartition, number>()
  #producer: TransactionalProducer | undefined
  #round: Round | undefined
  /** From begin to the end of the abort or commit. */
  #underway: Promise<Failure | undefined> | undefined
  #roundsFailed = 0
  #holds = 0
  #isStopped = false
  #wake: (() => void)[] = []

  constructor(
    parts: RoundsParts<Handed>,
    handler: TransactionHandler<Handed>,
    options: ResolvedRunOptions,
    limits: ResolvedTransactionOptions,
  ) {
    this.#parts = parts
    this.#handler = handler
    this.#options = options
    this.#limits = limits
    const { runtime, reader, isHalted, fail } = parts
    const runnerParts = {
      ...{ runtime, reader, isHalted, fail },
      decode: (record: ConsumedRecord) => record,
      deadLetters: undefined,
      onRetry: () => {},
      onDeadLetter: () => {},
      mayTake: () => this.#mayTake,
      onTaken: (partition: AssignedPartition, offset: number) => this.#taken(partition, offset),
      onPumped: () => this.#pumped(),
    }
    // Retries are rounds; a handler of the runner's sees no failure.
    this.runner = new GroupRunner(runnerParts, (record) => this.#handle(record), { ...options, attempts: 1 })
  }

  /** Begins; resolves when it was stopped and no round is under way. What ends it otherwise is told by parts.fail. */
  async run(): Promise<void> {
    while (!this.#isStopped) {
      if (!this.#mayBegin) {
        await new Promise<void>((resolve) => this.#wake.push(resolve))
        continue
      }
      this.#underway = this.#oneRound()
      const failure = await this.#underway
      this.#underway = undefined
      if (failure === undefined) this.#roundsFailed = 0
      else if (!(await this.#recover(failure))) return
    }
  }

  get #mayBegin(): boolean {
    return this.#holds === 0 && !this.#parts.isHalted() && this.#parts.reader.hasReadable
  }

  get #mayTake(): boolean {
    const round = this.#round
    return round?.isTaking === true && round.recordsTaken < this.#limits.recordsMax && round.transaction.isOpen
  }

  /** Before the first record of a partition in this round is counted as handed out. */
  #taken(partition: AssignedPartition, offset: number): void {
    const round = this.#round!
    round.recordsTaken++
    if (round.found.has(partition)) return
    const { handled: window, committedOffset } = partition
    round.found.set(partition, { window, offset, committedOffset })
  }

  /** Answers what it failed of; undefined = it is committed. */
  async #oneRound(): Promise<Failure | undefined> {
    let transaction: Transaction
    try {
      this.#producer ??= this.#parts.newProducer()
      transaction = await this.#producer.begin({ signal: this.#end.signal })
    } catch (error) {
      return { error, record: undefined, isLost: false }
    }
    let end = (): void => {}
    const ended = new Promise<void>((resolve) => {
      end = resolve
    })
    const onRefused: RefusalListener = (record, error, attempts) => {
      const fault = asMillraceError(error)
      if (fault.code !== 'DELIVERY_TIMED_OUT' && classOf(fault) === 'final')
        this.#failed(round, record, error, attempts, true)
    }
    const counts = { recordsTaken: 0, isTaking: this.#holds === 0 && !this.#isStopped, failure: undefined }
    const round: Round = { transaction, onRefused, found: new Map(), buried: [], ...counts, end }
    this.#round = round
    const timer = this.#parts.runtime.startTimer(this.#limits.ms, () => this.#stopTaking())
    this.runner.pump()
    await ended
    timer.cancel()
    await this.#finish(round)
    this.#round = undefined
    this.#moveSought()
    return round.failure
  }

  async #finish(round: Round): Promise<void> {
    const { transaction, found } = round
    if (round.failure === undefined)
      try {
        for (const [{ topic, partition, handled, finishedOffset }, { window, offset }] of found)
          if (handled === window && finishedOffset > offset)
            transaction.commitOffsets(this.#parts.group, { topic, partition, offset: finishedOffset - 1 })
        await transaction.commit()
      } catch (error) {
        round.failure ??= { error, record: undefined, isLost: false }
        if (transaction.isInDoubt) await this.#learn(round)
      }
    if (transaction.isCommitted) {
      round.failure = undefined // what came while it was being committed came too late
      for (const { record, error, attempts } of round.buried) this.#parts.onDeadLetter(record, error, attempts)
      this.#forgetFailures()
      return
    }
    // What commit() has aborted says so; who fenced the producer is told by the next begin().
    await transaction.abort().catch(() => {})
    if (round.failure?.isUnknown !== true) this.#rewind(round)
  }

  /** Asks until the coordinator has told what became of the commit, in any weather. */
  async #learn(round: Round): Promise<void> {
    const { runtime } = this.#parts
    const { transaction } = round
    for (let failures = 1; transaction.isInDoubt; failures++) {
      try {
        await this.#producer!.ready({ signal: this.#end.signal })
      } catch (cause) {
        const error = asMillraceError(cause)
        // Only the coordinator's clock fences a name that nobody else has, and only what it aborts.
        const isAborted = error.code === 'PRODUCER_FENCED' && this.#limits.isOwnId
        if (isAborted || this.#isStopped || classOf(error) === 'final') {
          round.failure = { error, record: undefined, isLost: false, isUnknown: !isAborted }
          return
        }
        await sleep(runtime, backoffMs(runtime.prng, failures, this.#options.backoff), this.#end.signal).catch(() => {})
      }
    }
  }

  /**
   * Goes on at `offset` when the round that is under way has ended; it takes nothing more. False: none is. Not waited for, since the
   * handlers that the round waits for may ask for it.
   */
  seek(partition: AssignedPartition, offset: number): boolean {
    if (this.#round === undefined) return false
    this.#seeks.set(partition, offset)
    this.#stopTaking()
    return true
  }

  #moveSought(): void {
    for (const [partition, offset] of this.#seeks)
      if (partition.state === 'active') this.#parts.reader.seek(partition, offset)
    this.#seeks.clear()
  }

  /** Partitions that are still read go on where the round found them. */
  #rewind({ found }: Round): void {
    for (const [partition, { window, offset, committedOffset }] of found) {
      if (partition.state !== 'active' || partition.handled !== window) continue
      this.#parts.reader.seek(partition, offset)
      partition.committedOffset = committedOffset
    }
  }

  /** Of what is handled by now, or not read here any more. */
  #forgetFailures(): void {
    const { partitions } = this.#parts.reader
    for (const [key, { record }] of this.#failures) {
      const { topic, partition: number, offset } = record
      const read = partitions.find(({ topic: name, partition }) => name === topic && partition === number)
      if (read === undefined || read.finishedOffset > offset) this.#failures.delete(key)
    }
  }

  #stopTaking(): void {
    if (this.#round === undefined) return
    this.#round.isTaking = false
    this.#check()
  }

  #pumped(): void {
    this.#check()
    for (const wake of this.#wake.splice(0)) wake()
  }

  /** The round ends when every record it has taken is handled, and there are enough, or no more. */
  #check(): void {
    const round = this.#round
    if (round === undefined || !this.runner.isIdle) return
    if (this.#mayTake && !this.#parts.isHalted() && this.#parts.reader.hasReadable) return
    round.isTaking = false
    round.end()
  }

  /** Never throws or rejects: what fails is the round's. */
  #handle(record: ConsumedRecord): unknown {
    const round = this.#round!
    if (round.failure !== undefined) return undefined
    let handed: Handed | undefined
    const before = this.#failures.size === 0 ? undefined : this.#failures.get(keyOf(record))
    try {
      handed = this.#parts.decode(record)
    } catch (error) {
      if (this.#parts.deadLetter !== undefined) return this.#bury(round, { record, error, attempts: 1 })
      this.#failed(round, record, error, this.#options.attempts)
      return undefined
    }
    if (handed === undefined) return undefined
    const attempts = before?.attempts ?? 0
    if (attempts >= this.#options.attempts) return this.#bury(round, { record, error: before!.error, attempts })
    const transaction = new HandlerTransaction(round.transaction, round.onRefused, record, attempts + 1)
    const context = { attempt: attempts + 1, signal: round.transaction.signal, transaction }
    try {
      const pending = promiseOf(this.#handler(handed, context))
      return pending?.catch((error: unknown) => this.#failed(round, record, error, attempts + 1))
    } catch (error) {
      this.#failed(round, record, error, attempts + 1)
      return undefined
    }
  }

  #bury(round: Round, buried: FailedRecord): Promise<unknown> {
    const { record, error, attempts } = buried
    const { topic, letter } = this.#parts.deadLetter!(record, error, attempts)
    round.buried.push(buried)
    return round.transaction.send(topic, letter).catch(() => {}) // told by commit()
  }

  #failed(
    round: Round,
    record: ConsumedRecord,
    error: unknown,
    attempts: number,
    // Else another record's send has failed before: this one's handler only met the consequence.
    isOwn = round.transaction.isOpen || error === round.transaction.signal.reason,
  ): void {
    if (round.failure !== undefined) return
    const { transaction } = round
    if (isOwn) this.#failures.set(keyOf(record), { record, error, attempts })
    const cause = isOwn ? error : transaction.signal.reason
    this.#doom(round, { error: cause, record: isOwn ? record : undefined, isLost: false })
  }

  /** It can only be aborted: what has not begun does not begin, handlers at work are told. */
  #doom(round: Round, failure: Failure): void {
    round.failure = failure
    round.isTaking = false
    round.transaction.fail(asMillraceError(failure.error))
    this.runner.dropWaiting([...round.found.keys()])
    // At once, since handlers may take long to notice: readers of what they sent wait for the end.
    void round.transaction.abort().catch(() => {}) // told by #finish(), or by the next begin()
  }

  /** Their partitions are others' by now. */
  lost(error: MillraceError): void {
    const round = this.#round
    if (round === undefined || round.failure !== undefined) return
    this.#doom(round, { error, record: undefined, isLost: true })
    this.#check()
  }

  /**
   * Ends the round that is under way, as it would end by itself; where `hurry` fires first it is aborted. No other one begins until
   * the answer is called.
   */
  async settle(hurry: AbortSignal): Promise<() => void> {
    this.#holds++
    this.#stopTaking()
    if (this.#underway !== undefined) await abortable(this.#underway, hurry).catch(() => {})
    if (hurry.aborted) this.lost(asMillraceError(hurry.reason))
    let isHeld = true
    return () => {
      if (isHeld) this.#holds--
      isHeld = false
      this.#pumped()
    }
  }

  /** False: it was the end. */
  async #recover({ error, record, isLost, isUnknown }: Failure): Promise<boolean> {
    if (this.#isStopped) return false
    if (isLost) return true
    if (isUnknown) return this.#giveUp(error)
    const { runtime, onRetry, deadLetter } = this.#parts
    const { attempts: attemptsMax, backoff } = this.#options
    let failures = ++this.#roundsFailed
    if (record !== undefined) {
      const { attempts } = this.#failures.get(keyOf(record))!
      if (attempts >= attemptsMax && deadLetter === undefined) return this.#giveUp(error)
      if (attempts < attemptsMax) onRetry(record, error, attempts)
      failures = attempts
    } else if (this.#endsIt(asMillraceError(error), failures)) return this.#giveUp(error)
    await sleep(runtime, backoffMs(runtime.prng, failures, backoff), this.#end.signal).catch(() => {})
    return true
  }

  #endsIt(error: MillraceError, failures: number): boolean {
    if (error.code === 'PRODUCER_FENCED') {
      // A name that nobody else has is fenced by its transaction's timeout alone.
      if (!this.#limits.isOwnId) return true
      this.#producer?.abort()
      this.#producer = undefined
    } else if (error.code === 'DELIVERY_TIMED_OUT' || classOf(error) !== 'final') return false
    return failures >= this.#options.attempts
  }

  #giveUp(error: unknown): false {
    this.#parts.fail(error)
    return false
  }

  /** No round begins any more; the one under way is aborted. */
  stop(error: unknown): void {
    this.#isStopped = true
    this.lost(asMillraceError(error))
    this.#end.abort()
    for (const wake of this.#wake.splice(0)) wake()
  }

  /** After stop(): waits for the abort. */
  async close(hurry: AbortSignal): Promise<void> {
    if (this.#underway !== undefined) await abortable(this.#underway, hurry).catch(() => {})
    await this.#producer?.close({ signal: hurry }).catch(() => {})
    this.runner.close()
  }
}

function keyOf({ topic, partition, offset }: ConsumedRecord): string {
  return `${topic}/${partition}/${offset}`
}
