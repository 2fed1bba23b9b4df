/**
 * Transaction: records for any topics and the offsets of groups, committed as one thing or not at all.
 *
 * States      open -> committing -> committed | aborted | unknown; open -> aborting -> aborted | unknown;
 *             unknown -> committed | aborted, when the producer has learned it
 * Invariants  X1 commit() is asked for only when every record of it is stored and every offset is pending   checked in: #allStored()
 *             X2 one send, enqueue or offset that failed: it is aborted, whatever the program asks for      checked in: fail()
 * Limits      bufferBytesMax for each topic; open for transactionTimeoutMs, then the coordinator aborts it and fences the producer
 * Failure     commit() rejects with what failed, and has aborted; 'it may or may not be committed' where the coordinator's answer did
 *             not come in time: producer.ready() learns it, and isCommitted and isInDoubt tell
 */
import { MillraceError } from '../../model/errors.ts'
import { abortError, whenAborted } from '../abort.ts'
import { asMillraceError } from '../as-millrace-error.ts'
import type { Producer, Receipt, SendOptions } from '../producer.ts'
import { notRecord, type ProducerRecord } from '../producer-record.ts'
import type { EncodeRecord } from '../record-encoder.ts'
import type { Bytes } from '../serde.ts'
import type { AnyTypedTopic, TopicLike, TypedTopic } from '../topic.ts'
import type { Doubt } from './transaction-coordinator.ts'
import {
  type CommittingGroup,
  type HandledRecord,
  type OffsetsToCommit,
  OffsetsWithoutMember,
} from './transaction-offsets.ts'

/** What is sent to a topic: by its types where it has some. */
export type RecordFor<Topic extends TopicLike> = Topic extends AnyTypedTopic
  ? Topic extends TypedTopic<infer KeyIn, unknown, infer ValueIn, unknown>
    ? ProducerRecord<KeyIn, ValueIn>
    : never
  : ProducerRecord

/** Where the records of one topic go. */
export interface TopicSink {
  readonly encode: EncodeRecord<unknown, unknown>
  readonly producer: Producer
}

/** The transactional producer, as far as its transaction needs it. */
export interface TransactionOwner {
  readonly transactionalId: string
  /** Without a topic: the producer's own. */
  sinkOf(topic?: TopicLike): TopicSink
  /** Resolves when everything that was sent has been stored or has failed. */
  drain(): Promise<void>
  flush(): void
  /** What was sent and is not stored is given up. */
  abandon(error: MillraceError): void
  commitOffsets(offsets: OffsetsToCommit, signal: AbortSignal): Promise<void>
  /** Tells the coordinator, if it knows of the transaction, and takes the next identity. */
  end(isCommit: boolean, signal: AbortSignal | undefined, doubt: Doubt): Promise<void>
  /** The transaction is over: the next one may begin. */
  over(outcome: 'committed' | 'aborted' | 'unknown', error: MillraceError | undefined): void
}

type State = 'open' | 'committing' | 'aborting' | 'committed' | 'aborted' | 'unknown'

const SAID: Readonly<Record<State, string>> = {
  open: 'is open',
  committing: 'is being committed',
  aborting: 'is being aborted',
  committed: 'has been committed',
  aborted: 'has been aborted',
  unknown: 'has ended',
}

export class Transaction<Key = Bytes, Value = Bytes> {
  readonly #owner: TransactionOwner
  readonly #offsets = new Map<string | CommittingGroup, OffsetsToCommit>()
  readonly #failing = new AbortController()
  #state: State = 'open'
  #failure: MillraceError | undefined
  #refused: unknown
  #ending: Promise<void> | undefined
  #isInDoubt = false
  /** Calls of send() that have no outcome yet, those included that never get into a batch. */
  #sendsOpen = 0
  #onSendsEnded: (() => void) | undefined

  constructor(owner: TransactionOwner) {
    this.#owner = owner
  }

  get transactionalId(): string {
    return this.#owner.transactionalId
  }

  /** Records may be sent: it has not ended, and nothing of it has failed. */
  get isOpen(): boolean {
    return this.#state === 'open' && this.#failure === undefined
  }

  /** It is aborted, or is being so; or nobody knows. */
  get isAborted(): boolean {
    return this.#state === 'aborting' || this.#state === 'aborted' || this.#state === 'unknown'
  }

  get isCommitted(): boolean {
    return this.#state === 'committed'
  }

  /** The commit was asked for, and nobody knows what became of it: producer.ready(), and the next transaction, learn it. */
  get isInDoubt(): boolean {
    return this.#state === 'unknown' && this.#isInDoubt
  }

  /** The error of the one record that doomed it, where one did: it was refused by itself, not with its batch. */
  get refused(): unknown {
    return this.#refused
  }

  /** Fires when it can only be aborted: something of it has failed, or it was aborted. */
  get signal(): AbortSignal {
    return this.#failing.signal
  }

  /**
   * Sends a record, to the producer's own topic or another one; commit() waits for it, so it need not be awaited. Resolves when it
   * is stored, which readers with read_committed see once the transaction is committed. A failure dooms the transaction.
   * Rejects with INVALID_TXN_STATE after the end, and as producer.send() does.
   */
  send(record: ProducerRecord<Key, Value>, options?: SendOptions): Promise<Receipt>
  send<Topic extends TopicLike>(topic: Topic, record: RecordFor<Topic>, options?: SendOptions): Promise<Receipt>
  send(...given: readonly unknown[]): Promise<Receipt> {
    const receipt = this.#send(given)
    this.#sendsOpen++
    receipt.then(this.#sendEnded, this.#sendFailed)
    return receipt
  }

  readonly #sendEnded = (): void => {
    this.#sendsOpen--
    if (this.#sendsOpen === 0) this.#onSendsEnded?.()
  }

  readonly #sendFailed = (error: unknown): void => {
    this.#recordFailed(error)
    this.#sendEnded()
  }

  /** Where a batch has failed, that has doomed the transaction before its records hear of it. */
  #recordFailed(error: unknown): void {
    if (this.#failure === undefined) this.#refused = error
    this.fail(asMillraceError(error))
  }

  #send(given: readonly unknown[]): Promise<Receipt> {
    try {
      this.#checkOpen('send()')
      const isOwn = !isTopic(given[0])
      const sink = this.#owner.sinkOf(isOwn ? undefined : (given[0] as TopicLike))
      const [record, options] = (isOwn ? given : given.slice(1)) as [ProducerRecord, SendOptions | undefined]
      return sink.producer.send(encoded(sink, record), options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * The fast path: as producer.enqueue(), no promise a record. False: there is no room, or the topic is not known yet; wait for
   * ready(). What becomes of the record, commit() tells.
   */
  enqueue(record: ProducerRecord<Key, Value>): boolean
  enqueue<Topic extends TopicLike>(topic: Topic, record: RecordFor<Topic>): boolean
  enqueue(first: unknown, second?: unknown): boolean {
    this.#checkOpen('enqueue()')
    try {
      const isOwn = second === undefined
      const sink = this.#owner.sinkOf(isOwn ? undefined : (first as TopicLike))
      return sink.producer.enqueue(encoded(sink, isOwn ? first : second))
    } catch (error) {
      this.#recordFailed(error)
      throw error
    }
  }

  /** Resolves when enqueue() has room again. Throws why the topic cannot be written to. */
  async ready(topic?: TopicLike, options: SendOptions = {}): Promise<void> {
    await this.#owner.sinkOf(topic).producer.ready(options)
  }

  /** Sends at once what lingers. */
  flush(): void {
    this.#owner.flush()
  }

  /**
   * Commits, as part of the transaction, that these records, and those before them in their partitions, are handled: offset + 1, as
   * group.commit(record) does. A group that is a member here fences by its membership; of a group id alone nobody may be a
   * member. Sent by commit(), the last of each partition only; what is committed already stays, as commits of a group do not fall.
   * Throws STALE_MEMBER_EPOCH where a partition is assigned to others by now, or was since the record was read, which dooms the
   * transaction: they handle it again. The group must not commit by itself: INVALID_ARGUMENT unless it has commit 'manual'.
   */
  commitOffsets(group: CommittingGroup | string, handled: HandledRecord | readonly HandledRecord[]): void {
    this.#checkOpen('commitOffsets()')
    try {
      let offsets = this.#offsets.get(group)
      if (offsets === undefined) {
        offsets = offsetsOf(group)
        this.#offsets.set(group, offsets)
      }
      const records = Array.isArray(handled) ? (handled as readonly HandledRecord[]) : [handled as HandledRecord]
      for (const record of records) offsets.add(record)
    } catch (error) {
      this.fail(asMillraceError(error))
      throw error
    }
  }

  /** It can only be aborted; what is under way of it is given up. The first failure is the one that commit() tells. */
  fail(error: MillraceError): void {
    if (this.#failure !== undefined || (this.#state !== 'open' && this.#state !== 'committing')) return
    this.#failure = error
    this.#failing.abort(error)
    this.#owner.abandon(doomed(error))
  }

  /**
   * Commits: waits until everything is stored, then has the coordinator decide. Rejects with what failed, and has aborted then; with
   * PRODUCER_FENCED when another producer took the transactional id over or the transaction was open for too long; with
   * REQUEST_TIMED_OUT and 'it may or may not be committed' when no answer came within deliveryTimeoutMs. Committing twice is one commit.
   */
  commit(options: SendOptions = {}): Promise<void> {
    if (this.#state === 'committing' || this.#state === 'committed') return this.#ending!
    if (this.#state !== 'open') return Promise.reject(this.#ended('commit()'))
    this.#state = 'committing'
    this.#ending = this.#commit(options.signal)
    return this.#ending
  }

  async #commit(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) this.fail(abortError(signal))
    const leave = whenAborted(signal, () => this.fail(abortError(signal!)))
    try {
      await this.#allStored()
    } catch (error) {
      await this.#giveUp(asMillraceError(error))
    } finally {
      leave()
    }
    await this.#decide(true, signal)
  }

  /** Records and offsets go side by side. */
  async #allStored(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    const offsets = [...this.#offsets.values()]
      .filter(({ isEmpty }) => !isEmpty)
      .map((each) => this.#owner.commitOffsets(each, this.signal))
    await Promise.all([this.#owner.drain(), this.#sendsEnded(), ...offsets])
    if (this.#failure !== undefined) throw this.#failure
  }

  /** When every send() has its outcome: those that never got into a batch are told by nobody else. */
  #sendsEnded(): Promise<void> | undefined {
    if (this.#sendsOpen === 0) return undefined
    return new Promise<void>((resolve) => {
      this.#onSendsEnded = resolve
    })
  }

  /** Aborts, and rejects with what made that needful. */
  async #giveUp(error: MillraceError): Promise<never> {
    this.#failure ??= error
    if (!this.#failing.signal.aborted) this.#failing.abort(error)
    await this.#abort(undefined).catch((fault: unknown) => {
      // Being fenced explains the failure, not the other way round.
      if (asMillraceError(fault).code === 'PRODUCER_FENCED') throw fault
    })
    throw new MillraceError(error.code, `the transaction is aborted: ${error.message}`, { cause: error })
  }

  /** Gives it up: nothing of it is ever read with read_committed. Aborting twice is one abort; after a commit INVALID_TXN_STATE. */
  abort(options: SendOptions = {}): Promise<void> {
    if (this.#state === 'aborting' || this.#state === 'aborted') return this.#ending!
    if (this.#state !== 'open') return Promise.reject(this.#ended('abort()'))
    this.#ending = this.#abort(options.signal)
    this.#ending.catch(() => {}) // also told by the next transaction, where that cannot begin
    return this.#ending
  }

  async #abort(signal: AbortSignal | undefined): Promise<void> {
    this.#state = 'aborting'
    const error = this.#failure ?? new MillraceError('ABORTED', 'the transaction is aborted')
    if (!this.#failing.signal.aborted) this.#failing.abort(error)
    this.#owner.abandon(error)
    await this.#decide(false, signal)
  }

  async #decide(isCommit: boolean, signal: AbortSignal | undefined): Promise<void> {
    const doubt: Doubt = { isInDoubt: false }
    try {
      await this.#owner.end(isCommit, signal, doubt)
    } catch (cause) {
      const error = asMillraceError(cause)
      this.#state = 'unknown'
      this.#isInDoubt = isCommit && doubt.isInDoubt
      this.#owner.over('unknown', error)
      throw error
    }
    this.#decided(isCommit)
    this.#owner.over(isCommit ? 'committed' : 'aborted', this.#failure)
  }

  #decided(isCommitted: boolean): void {
    this.#state = isCommitted ? 'committed' : 'aborted'
    if (isCommitted) for (const offsets of this.#offsets.values()) offsets.committed()
  }

  /** For its producer, which has learned what became of it after all. */
  settled(isCommitted: boolean): void {
    if (this.#state === 'unknown') this.#decided(isCommitted)
  }

  /** `await using`: a transaction that was not committed is aborted. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'open') await this.abort()
    else await this.#ending?.catch(() => {})
  }

  #checkOpen(what: string): void {
    if (this.#state !== 'open') throw this.#ended(what)
    if (this.#failure !== undefined) throw doomed(this.#failure)
  }

  #ended(what: string): MillraceError {
    const { transactionalId } = this.#owner
    return new MillraceError(
      'INVALID_TXN_STATE',
      `${what}: this transaction of '${transactionalId}' ${SAID[this.#state]}; begin another one`,
    )
  }
}

function doomed(cause: MillraceError): MillraceError {
  return new MillraceError(cause.code, `the transaction can only be aborted: ${cause.message}`, { cause })
}

/** Throws INVALID_RECORD. */
function encoded(sink: TopicSink, given: unknown): ProducerRecord {
  if (typeof given !== 'object' || given === null) throw notRecord(given)
  return sink.encode(given as ProducerRecord<unknown, unknown>)
}

function isTopic(given: unknown): given is TopicLike {
  return (
    typeof given === 'string' || (typeof given === 'object' && given !== null && 'name' in given && !('value' in given))
  )
}

function offsetsOf(group: CommittingGroup | string): OffsetsToCommit {
  if (typeof group === 'string') return new OffsetsWithoutMember(group)
  if (typeof group?.offsetsToCommit === 'function') return group.offsetsToCommit()
  throw new MillraceError('INVALID_ARGUMENT', 'commitOffsets(): expected a group of this client, or the id of a group')
}
