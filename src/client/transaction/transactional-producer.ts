/**
 * TransactionalProducer: one transactional id: one transaction after the other, each with its own epoch, over as many topics as are
 * written to.
 *
 * Owns        the identity (producer id, epoch), a Producer per topic, the TransactionPartitions they ask before a batch leaves
 * States      new -> (init) ready -> open -> ready ...; an end whose outcome is not known: unsettled -> ready; fenced: for good
 * Invariants  Y1 at most one transaction at a time                                    checked in: transaction-turns.ts
 *             Y2 an epoch is of one transaction: the coordinator's answer to the end names the next one      checked in: end()
 *             Y3 after an unknown outcome nothing begins before the coordinator has told it               checked in: #settle()
 * Limits      TOPICS_MAX topics in a transaction, TOPICS_KEPT kept between transactions; bufferBytesMax for each;
 *             deliveryTimeoutMs for every wait of the producer's own
 * Failure     fenced (another producer took the id over, or a transaction was open for too long): PRODUCER_FENCED from then on; make a
 *             new producer, which fences in its turn. It is not done by itself: of two producers with one id the older must stop
 */
import { MillraceError } from '../../model/errors.ts'
import type { ProducerIdentity } from '../../protocol/index.ts'
import { abortable } from '../abort.ts'
import { asMillraceError } from '../as-millrace-error.ts'
import { TRANSACTIONAL_PRODUCER_EVENTS, type TransactionalProducerEvents } from '../client-events.ts'
import type { Coordinators } from '../coordinators.ts'
import { EventHub, type ListenOptions } from '../events.ts'
import { PRODUCER_EPOCH_MAX } from '../partition-queue.ts'
import { Producer, type ProducerParts, type ProducerStats, type SendOptions } from '../producer.ts'
import {
  type ProducerOptions,
  type ResolvedProducerOptions,
  resolveProducerOptions,
  type TransactionalProducerOptions,
} from '../producer-options.ts'
import { promiseOf } from '../promise-of.ts'
import { asGiven, type EncodeRecord, recordEncoder } from '../record-encoder.ts'
import type { Bytes } from '../serde.ts'
import { type AnyTypedTopic, serdesOf, type TopicLike, topicName } from '../topic.ts'
import { type TopicSink, Transaction, type TransactionOwner } from './transaction.ts'
import { type Doubt, TransactionCoordinator } from './transaction-coordinator.ts'
import type { OffsetsToCommit } from './transaction-offsets.ts'
import { TransactionPartitions } from './transaction-partitions.ts'
import { TransactionTurns, type TurnKind } from './transaction-turns.ts'

export interface TransactionalProducerStats extends ProducerStats {
  readonly transactionsCommitted: number
  readonly transactionsAborted: number
}

export interface TransactionalProducerParts<Key, Value>
  extends Omit<ProducerParts<Key, Value>, 'transaction' | 'events'> {
  readonly coordinators: Coordinators
}

interface Unsettled<Key, Value> {
  readonly producer: ProducerIdentity
  readonly transaction: Transaction<Key, Value>
}

const TOPICS_MAX = 1_000
const TOPICS_KEPT = 100
const FENCED_CODES = ['PRODUCER_FENCED', 'INVALID_PRODUCER_EPOCH', 'INVALID_PRODUCER_ID_MAPPING']

export class TransactionalProducer<Key = Bytes, Value = Bytes> {
  /** Where tx.send(record) goes; undefined = every record names its topic. */
  readonly topic: string | undefined
  readonly transactionalId: string
  readonly #parts: TransactionalProducerParts<Key, Value>
  readonly #given: ProducerOptions
  readonly #options: ResolvedProducerOptions
  readonly #events: EventHub<TransactionalProducerEvents>
  readonly #coordinator: TransactionCoordinator
  readonly #partitions: TransactionPartitions
  readonly #producers = new Map<string, Producer>()
  readonly #own: TopicSink | undefined
  /** By what names the topic: looked up for each record. */
  readonly #sinks = new Map<TopicLike, TopicSink>()
  readonly #stopping = new AbortController()
  readonly #owner: TransactionOwner
  #identity: ProducerIdentity | undefined
  /** The transaction whose end has no known outcome, and who it was of. */
  #unsettled: Unsettled<Key, Value> | undefined
  #fenced: MillraceError | undefined
  readonly #turns = new TransactionTurns()
  #current: Transaction<Key, Value> | undefined
  /** transaction() ends it; else whoever called begin(). */
  #isOfCall = false
  #isClosed = false
  #closing: Promise<void> | undefined
  readonly #onClosed: (() => void)[] = []
  #committed = 0
  #aborted = 0
  /** Of producers that were let go. */
  #past: ProducerStats | undefined

  constructor(
    topic: string | undefined,
    parts: TransactionalProducerParts<Key, Value>,
    options: TransactionalProducerOptions,
  ) {
    this.topic = topic
    this.#parts = parts
    this.#options = resolveProducerOptions(options)
    this.transactionalId = options.transactionalId
    this.#owner = this.#ownerOf()
    this.#events = new EventHub(TRANSACTIONAL_PRODUCER_EVENTS, parts.onListenerError)
    const { onStored, onFailed, ...given } = options
    this.#given = given
    if (onStored !== undefined) this.on('batchStored', onStored)
    if (onFailed !== undefined) this.on('batchFailed', onFailed)
    const { requestTimeoutMs } = this.#options
    this.#coordinator = new TransactionCoordinator(this.transactionalId, { ...parts, requestTimeoutMs })
    this.#partitions = new TransactionPartitions(
      (producer, partitions, signal) => this.#coordinator.add(producer, partitions, this.#patience(signal)),
      {
        onAdded: () => {
          for (const producer of this.#producers.values()) producer.wake()
        },
        onFailed: (cause) => {
          const error = this.#known(cause)
          this.#current?.fail(error)
          return error
        },
      },
    )
    if (topic !== undefined)
      this.#own = { encode: parts.encode as EncodeRecord<unknown, unknown>, producer: this.#producerOf(topic) }
  }

  #patience(signal: AbortSignal | undefined): { deadlineMs: number; signal: AbortSignal | undefined } {
    return { deadlineMs: this.#parts.runtime.clock.monotonicMs() + this.#options.deliveryTimeoutMs, signal }
  }

  /**
   * Runs `work` in a transaction and answers what it answers: committed when its promise is fulfilled, aborted when it throws or
   * rejects, which transaction() then rejects with. Calls wait for each other. Rejects as Transaction.commit() does; PRODUCER_FENCED, CLOSED.
   */
  async transaction<T>(
    work: (transaction: Transaction<Key, Value>) => T | PromiseLike<T>,
    options: SendOptions = {},
  ): Promise<T> {
    const { signal } = options
    await this.#take('transaction', signal)
    const transaction = await this.#begin(signal, true)
    let answer: T
    try {
      const given = work(transaction)
      answer = (await (promiseOf(given) ?? given)) as T
    } catch (error) {
      // Where the work has ended it by itself there is nothing to abort. Whoever has given up does not wait for it.
      await abortable(transaction[Symbol.asyncDispose](), signal).catch((fault: unknown) => {
        if (!signal?.aborted) explain(error, fault)
      })
      throw error
    }
    if (transaction.isAborted) await abortable(transaction[Symbol.asyncDispose](), signal)
    else await transaction.commit(options)
    return answer
  }

  /**
   * Begins a transaction, which is its caller's to end: `await using tx = await producer.begin()` aborts what is not committed.
   * Rejects with INVALID_TXN_STATE while another one is open (transaction() waits instead; a ready() is waited for here, too),
   * PRODUCER_FENCED, CLOSED.
   */
  async begin(options: SendOptions = {}): Promise<Transaction<Key, Value>> {
    this.#checkUsable()
    while (this.#turns.holder === 'brief') await abortable(this.#turns.released(), options.signal)
    if (this.#turns.holder !== undefined)
      throw new MillraceError(
        'INVALID_TXN_STATE',
        `begin(): a transaction of '${this.transactionalId}' is open; end it first, or use transaction(), which waits`,
      )
    await this.#take('transaction', options.signal)
    return this.#begin(options.signal, false)
  }

  async #begin(signal: AbortSignal | undefined, isOfCall: boolean): Promise<Transaction<Key, Value>> {
    try {
      await this.#prepare(signal)
      if (this.#isClosed) throw closedError()
    } catch (error) {
      this.#turns.release()
      throw error
    }
    this.#partitions.begin(this.#identity!)
    this.#isOfCall = isOfCall
    this.#current = new Transaction(this.#owner)
    return this.#current
  }

  /**
   * Resolves when the transactional id is this producer's, which fences those before it, the outcome of the transaction before is
   * known (its isCommitted), and its topic is.
   */
  async ready(options: SendOptions = {}): Promise<void> {
    await this.#take('brief', options.signal)
    try {
      await this.#prepare(options.signal)
    } finally {
      this.#turns.release()
    }
    await this.#own?.producer.ready(options)
  }

  /** Takes the one place for a transaction. */
  async #take(kind: TurnKind, signal: AbortSignal | undefined): Promise<void> {
    this.#checkUsable()
    await this.#turns.take(kind, signal)
    try {
      this.#checkUsable() // it may have been fenced meanwhile
    } catch (error) {
      this.#turns.release()
      throw error
    }
  }

  #checkUsable(): void {
    if (this.#isClosed) throw closedError()
    if (this.#fenced !== undefined) throw this.#fenced
  }

  /** Has an identity that no transaction has used. */
  async #prepare(signal: AbortSignal | undefined): Promise<void> {
    if (this.#unsettled === undefined && this.#identity !== undefined) return
    const stop = signal === undefined ? this.#stopping.signal : AbortSignal.any([signal, this.#stopping.signal])
    try {
      if (this.#unsettled !== undefined) await this.#settle(this.#unsettled, stop)
      if (this.#identity === undefined)
        this.#identity = await this.#coordinator.init(this.#options.transactionTimeoutMs, this.#patience(stop))
    } catch (cause) {
      if (this.#stopping.signal.aborted) throw closedError()
      throw this.#known(asMillraceError(cause))
    }
  }

  /**
   * Learns what became of a transaction whose end was not answered. It is asked to abort: that succeeds, or says that it was committed,
   * or that somebody else has the transactional id. Not by init-producer-id, which would fence that somebody.
   */
  async #settle({ producer, transaction }: Unsettled<Key, Value>, signal: AbortSignal): Promise<void> {
    const patience = this.#patience(signal)
    let isCommitted = false
    const next = await this.#coordinator.end(producer, false, patience).catch((error: unknown) => {
      if (asMillraceError(error).code !== 'INVALID_TXN_STATE') throw error
      isCommitted = true
      return this.#coordinator.end(producer, true, patience)
    })
    this.#unsettled = undefined
    this.#use(next)
    transaction.settled(isCommitted)
    this.#tellOutcome(isCommitted ? 'committed' : 'aborted', undefined)
  }

  #use(next: ProducerIdentity): void {
    // Epochs that are used up: a fresh id comes with init-producer-id.
    this.#identity = next.producerEpoch >= PRODUCER_EPOCH_MAX - 1 ? undefined : next
  }

  /** The broker's error as it is told; one that says that the producer is fenced is for good. */
  #known(error: MillraceError, isInDoubt = false): MillraceError {
    if (!FENCED_CODES.includes(error.code)) return error
    const doubt = isInDoubt ? '; its transaction may or may not be committed' : ''
    this.#fenced ??= new MillraceError(
      'PRODUCER_FENCED',
      `transactional id '${this.transactionalId}': another producer took it over, or a transaction was open for longer than ` +
        `transactionTimeoutMs (${this.#options.transactionTimeoutMs} ms)${doubt}. This producer is of no more use; a new one takes the id over`,
      { cause: error },
    )
    return this.#fenced
  }

  #ownerOf(): TransactionOwner {
    return {
      transactionalId: this.transactionalId,
      sinkOf: (topic) => this.#sinkOf(topic),
      drain: () => this.#each((producer) => producer.drain()),
      flush: () => {
        for (const producer of this.#producers.values()) producer.flush()
      },
      abandon: (error) => {
        for (const producer of this.#producers.values()) producer.abandon(error)
      },
      commitOffsets: (offsets, signal) => this.#commitOffsets(offsets, signal),
      end: (isCommit, signal, doubt) => this.#end(isCommit, signal, doubt),
      over: (outcome, error) => this.#over(outcome, error),
    }
  }

  #sinkOf(topic: TopicLike | undefined): TopicSink {
    if (topic === undefined) {
      if (this.#own !== undefined) return this.#own
      throw new MillraceError(
        'INVALID_ARGUMENT',
        'this producer has no topic of its own: name one, send(topic, record)',
      )
    }
    let sink = this.#sinks.get(topic)
    if (sink === undefined) {
      const encode = serdesOf(topic) === undefined ? asGiven : recordEncoder(topic as AnyTypedTopic)
      sink = { encode: encode as EncodeRecord<unknown, unknown>, producer: this.#producerOf(topicName(topic)) }
      if (this.#sinks.size >= TOPICS_MAX) this.#sinks.clear() // topic() called for each record
      this.#sinks.set(topic, sink)
    }
    return sink
  }

  #producerOf(name: string): Producer {
    let producer = this.#producers.get(name)
    if (producer === undefined) {
      if (this.#producers.size >= TOPICS_MAX)
        throw new MillraceError('INVALID_ARGUMENT', `a transaction may write to ${TOPICS_MAX} topics`)
      const { encode: _, ...parts } = this.#parts
      const shared = { transaction: this.#partitions, events: this.#events }
      producer = new Producer(name, { ...parts, encode: asGiven, ...shared }, this.#given)
      this.#producers.set(name, producer)
    }
    return producer
  }

  async #each(work: (producer: Producer) => Promise<void>): Promise<void> {
    await Promise.all([...this.#producers.values()].map(work))
  }

  async #commitOffsets(offsets: OffsetsToCommit, signal: AbortSignal): Promise<void> {
    const patience = this.#patience(signal)
    const producer = this.#identity!
    this.#partitions.asks()
    for (;;) {
      try {
        await this.#coordinator.commitOffsets(producer, offsets, patience)
        return
      } catch (error) {
        if (!(await offsets.refused(asMillraceError(error), signal))) throw error
      }
    }
  }

  async #end(isCommit: boolean, signal: AbortSignal | undefined, doubt: Doubt): Promise<void> {
    this.#partitions.end()
    if (!this.#partitions.hasAsked) return
    const producer = this.#identity!
    const transaction = this.#current!
    this.#identity = undefined
    try {
      this.#use(await this.#coordinator.end(producer, isCommit, this.#patience(signal), doubt))
    } catch (cause) {
      const error = this.#known(asMillraceError(cause), isCommit && doubt.isInDoubt)
      if (this.#fenced === undefined) this.#unsettled = { producer, transaction }
      if (!isCommit || error === this.#fenced) throw error
      const fate = doubt.isInDoubt ? 'it may or may not be committed' : 'it is not committed'
      throw new MillraceError(error.code, `the transaction of '${this.transactionalId}': ${fate} (${error.message})`, {
        cause: error,
      })
    }
  }

  #over(outcome: 'committed' | 'aborted' | 'unknown', error: MillraceError | undefined): void {
    this.#current = undefined
    this.#tellOutcome(outcome, error)
    this.#letGo()
    this.#turns.release()
  }

  #tellOutcome(outcome: 'committed' | 'aborted' | 'unknown', error: MillraceError | undefined): void {
    const { transactionalId } = this
    if (outcome === 'committed') {
      this.#committed++
      this.#events.emit('transactionCommitted', { transactionalId })
      return
    }
    if (outcome === 'aborted') this.#aborted++
    this.#events.emit('transactionAborted', { transactionalId, isCertain: outcome === 'aborted', error })
  }

  /** Nothing is on its way in any of them. */
  #letGo(): void {
    if (this.#producers.size <= TOPICS_KEPT) return
    this.#sinks.clear()
    for (const [name, producer] of this.#producers) {
      if (this.#producers.size <= TOPICS_KEPT) return
      if (producer === this.#own?.producer) continue
      this.#past = sumOf(this.#past, producer.stats())
      this.#producers.delete(name)
      producer.abort()
    }
  }

  /** Records go through a transaction: INVALID_TXN_STATE, always. */
  send(_record?: unknown): Promise<never> {
    return Promise.reject(this.#outside('send()'))
  }

  /** As send(). */
  sendMany(_records?: unknown): Promise<never> {
    return Promise.reject(this.#outside('sendMany()'))
  }

  /** As send(). */
  enqueue(_record?: unknown): never {
    throw this.#outside('enqueue()')
  }

  /** As send(). */
  writable(): never {
    throw this.#outside('writable()')
  }

  #outside(what: string): MillraceError {
    return new MillraceError(
      'INVALID_TXN_STATE',
      `${what}: a producer with a transactionalId ('${this.transactionalId}') sends in transactions only: ` +
        'producer.transaction(async (tx) => { tx.send(record) }); for records outside of them make a producer without one',
    )
  }

  /** Runs `listener` at every such event, of whichever topic; the answer stops that. */
  on<Name extends keyof TransactionalProducerEvents>(
    name: Name,
    listener: (event: TransactionalProducerEvents[Name]) => unknown,
    options: ListenOptions = {},
  ): () => void {
    return this.#events.on(name, listener, options)
  }

  /** Runs `listener` once, when the producer has closed. */
  onClosed(listener: () => void): void {
    this.#onClosed.push(listener)
  }

  /** Of all topics together. */
  stats(): TransactionalProducerStats {
    let sum = this.#past
    for (const producer of this.#producers.values()) sum = sumOf(sum, producer.stats())
    return { ...(sum ?? NOTHING_YET), transactionsCommitted: this.#committed, transactionsAborted: this.#aborted }
  }

  /**
   * Waits for the transaction() that runs, aborts one that begin() made; those that wait for their turn, or for the coordinator to
   * begin, are refused with CLOSED. Closing twice is one close.
   */
  async close(options: SendOptions = {}): Promise<void> {
    if (this.#isClosed && this.#closing === undefined) return // abort() has ended it
    this.#closing ??= this.#close()
    try {
      await abortable(this.#closing, options.signal)
    } finally {
      this.#stop()
    }
  }

  async #close(): Promise<void> {
    this.#isClosed = true
    this.#turns.refuse(closedError())
    // Whoever has the place only prepares: there is nothing to save.
    if (this.#current === undefined) this.#stop()
    else if (!this.#isOfCall) await this.#current[Symbol.asyncDispose]()
    await this.#turns.free()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Ends at once. A transaction that is open is aborted by the coordinator when its timeout is over, or the id is taken over. */
  abort(): void {
    this.#isClosed = true
    this.#turns.refuse(closedError())
    this.#stop()
  }

  #stop(): void {
    if (this.#stopping.signal.aborted) return
    this.#stopping.abort()
    this.#current?.fail(closedError())
    for (const producer of this.#producers.values()) producer.abort()
    for (const listener of this.#onClosed.splice(0)) listener()
  }
}

const NOTHING_YET: ProducerStats = {
  recordsEnqueued: 0,
  recordsStored: 0,
  recordsFailed: 0,
  batchesStored: 0,
  batchesFailed: 0,
  batchesRetried: 0,
  bytesStored: 0,
  bufferedBytes: 0,
  waitingSends: 0,
}

function closedError(): MillraceError {
  return new MillraceError('CLOSED', 'the producer is closed')
}

/** Where nothing else explains the program's error, what went wrong in aborting does. */
function explain(error: unknown, fault: unknown): void {
  if (error instanceof Error && error.cause === undefined && Object.isExtensible(error)) error.cause = fault
}

function sumOf(left: ProducerStats | undefined, right: ProducerStats): ProducerStats {
  if (left === undefined) return right
  const sum = { ...left } as Record<keyof ProducerStats, number>
  for (const name of Object.keys(sum) as (keyof ProducerStats)[]) sum[name] += right[name]
  return sum
}
