/**
 * Producer: records of one topic on their way to its partitions: routed, batched, bounded in memory, delivered in order.
 *
 * Owns        a PartitionQueue per partition, a pool of batch buffers, the callers that wait
 * Invariants  B1 bufferedBytes <= bufferBytesMax + one batch                              checked in: #hasRoom()
 *             B2 every record ends exactly once: delivered or failed                      checked in: test/unit/client/producer.test.ts
 * Ordering    records of one partition are stored in the order of enqueue() and send(); a send() that waits for room is in
 *             front of every later one
 * Limits      bufferBytesMax; enqueue() answers false beyond it, send() waits: WAITING_SENDS_MAX calls, each until its deadline
 * Failure     per record by send()'s promise; for enqueue() by onFailed, or thrown by drain() and close(), also where onFailed throws.
 *             A topic that was not found is looked for again by the next send(), ready() or enqueue()
 * Hot path    enqueue() makes no promise, closure or object
 */
import { BurstClock } from '../base/burst-clock.ts'
import { MillraceError } from '../model/errors.ts'
import type { HelloReply } from '../protocol/index.ts'
import { BatchReader } from '../record/batch-reader.ts'
import { BatchWriter, type HeaderInput } from '../record/batch-writer.ts'
import { abortable, abortError, sleep } from './abort.ts'
import { asMillraceError } from './as-millrace-error.ts'
import { type BackoffOptions, backoffMs } from './backoff.ts'
import { type BatchLimits, batchLimits, recordTooLarge } from './batch-limits.ts'
import type { BrokerConnections } from './broker-connections.ts'
import { PRODUCER_EVENTS, type ProducerEvents } from './client-events.ts'
import type { ClientRuntime } from './client-runtime.ts'
import { EventHub, type ListenerError, type ListenOptions } from './events.ts'
import { type MetadataCache, openPartitions, type TopicInfo } from './metadata-cache.ts'
import { PartitionQueue } from './partition-queue.ts'
import { type BatchOutcomes, ProduceSender, type StoredPart, type TransactionGate } from './produce-sender.ts'
import { type DeliveredRecord, ProducerBatch, type RecordWaiter } from './producer-batch.ts'
import {
  type FailedBatch,
  type ProducerOptions,
  type ResolvedProducerOptions,
  resolveProducerOptions,
} from './producer-options.ts'
import { notRecord, type ProducerRecord } from './producer-record.ts'
import { promiseOf } from './promise-of.ts'
import type { EncodeRecord } from './record-encoder.ts'
import { RecordRouter } from './record-router.ts'
import type { Requests } from './requests.ts'
import type { Bytes } from './serde.ts'
import { writableOf } from './streams.ts'
import { WaitingSends } from './waiting-sends.ts'

/** What the broker said of a stored record; offset -1 with acks none. */
export type Receipt = DeliveredRecord

export interface ProducerStats {
  readonly recordsEnqueued: number
  readonly recordsStored: number
  readonly recordsFailed: number
  readonly batchesStored: number
  readonly batchesFailed: number
  readonly batchesRetried: number
  readonly bytesStored: number
  readonly bufferedBytes: number
  /** Calls of send() that wait for room, or for the topic to be known. */
  readonly waitingSends: number
}

export interface SendOptions {
  /** Gives the waiting up; the record may be delivered all the same once it is in a batch. */
  readonly signal?: AbortSignal
}

export interface ProducerParts<Key, Value> {
  /** What is written for a record; no promise, and for plain topics the record itself. */
  readonly encode: EncodeRecord<Key, Value>
  readonly onListenerError: (failure: ListenerError) => void
  readonly runtime: ClientRuntime
  readonly connections: BrokerConnections
  readonly metadata: MetadataCache
  readonly requests: Requests
  readonly backoff: BackoffOptions
  /** Of a transactional producer, which tells of all its topics' producers in one place. */
  readonly transaction?: TransactionGate
  readonly events?: EventHub<ProducerEvents>
}

/** What a receipt says, by the number that the broker answers. */
const DURABILITIES: readonly Pick<DeliveredRecord, 'durability' | 'fsync'>[] = [
  { durability: 'none' },
  { durability: 'written' },
  { durability: 'fsynced' },
  { durability: 'replicated', fsync: 'group' },
  { durability: 'replicated', fsync: 'interval' },
]
/** Of the buffer's bound: ready() resolves below it, so that producers do not wake for every batch. */
const READY_PART = 0.75
/**
 * Buffers kept for the next batches while records flow are as many as those need: memory that is made anew for each batch is zeroed,
 * faulted in, and collected again. When nothing is on its way, so many are kept.
 */
const SPARE_WRITERS_IDLE = 16
/** With so many calls of send() waiting, sendMany() takes no more records. */
const SEND_MANY_WAITING_MAX = 1_000

export class Producer<Key = Bytes, Value = Bytes> {
  readonly topic: string
  readonly #encode: EncodeRecord<Key, Value>
  readonly #events: EventHub<ProducerEvents>
  readonly #runtime: ClientRuntime
  readonly #burstClock: BurstClock
  readonly #metadata: MetadataCache
  readonly #connections: BrokerConnections
  readonly #options: ResolvedProducerOptions
  /** onFailed was given: nothing is left for drain() to throw. */
  readonly #isToldOfFailures: boolean
  readonly #router: RecordRouter
  readonly #sender: ProduceSender
  readonly #transaction: TransactionGate | undefined
  readonly #queues: PartitionQueue[] = []
  readonly #spareWriters: BatchWriter[] = []
  /** Of the spare writers' buffers. */
  #spareBytes = 0
  readonly #backoff: BackoffOptions
  readonly #stopping = new AbortController()
  /** Under way until the topic is known, or finding it has failed. */
  #loading: Promise<void> | undefined
  #loadFailures = 0
  #info: TopicInfo | undefined
  /** The broker that was asked when the topic became known. */
  #broker: HelloReply | undefined
  #limits: BatchLimits | undefined
  /** Why the topic is not known; until it is looked for again. */
  #loadError: MillraceError | undefined
  #closed = false
  #bufferedBytes = 0
  /** Batches that are neither stored nor failed. */
  #batchesAlive = 0
  readonly #waitingSends: WaitingSends<ProducerRecord<Key, Value>>
  #onClosed: (() => void)[] = []
  #onReady: (() => void)[] = []
  #onDrained: (() => void)[] = []
  #firstFailure: MillraceError | undefined
  /** Of the record that #append() took last. */
  #appendedTimestampMs = 0
  #recordsEnqueued = 0
  #recordsStored = 0
  #recordsFailed = 0
  #batchesStored = 0
  #batchesFailed = 0
  #batchesRetried = 0
  #bytesStored = 0

  constructor(topic: string, parts: ProducerParts<Key, Value>, options: ProducerOptions) {
    this.topic = topic
    this.#encode = parts.encode
    this.#events = parts.events ?? new EventHub(PRODUCER_EVENTS, parts.onListenerError)
    this.#transaction = parts.transaction
    this.#runtime = parts.runtime
    this.#burstClock = new BurstClock(parts.runtime.clock)
    this.#metadata = parts.metadata
    this.#connections = parts.connections
    this.#options = resolveProducerOptions(options)
    this.#isToldOfFailures = options.onFailed !== undefined || parts.transaction !== undefined
    if (options.onStored !== undefined) this.on('batchStored', options.onStored)
    const { onFailed } = options
    if (onFailed !== undefined) this.on('batchFailed', (batch) => this.#callOnFailed(onFailed, batch))
    this.#backoff = parts.backoff
    this.#waitingSends = new WaitingSends(parts.runtime, {
      deliveryTimeoutMs: this.#options.deliveryTimeoutMs,
      obstacle: () => this.#obstacle(),
      onExpired: () => this.#wake(),
    })
    this.#router = new RecordRouter(parts.runtime.prng, this.#options.partitioner)
    const { acks, idempotent, requestBytesMax, requestTimeoutMs } = this.#options
    const senderOptions = { topic, acks, idempotent, requestBytesMax, requestTimeoutMs, backoff: parts.backoff }
    this.#sender = new ProduceSender(parts, senderOptions, this.#outcomes())
    this.#load()
  }

  /** Looks for the topic, unless that is under way: for the first time, and again by whatever needs it after a failure. */
  #load(): Promise<void> {
    if (this.#loading !== undefined) return this.#loading
    const loading = this.#find().then(
      () => {
        this.#loading = undefined
        this.#admitWaiting()
      },
      (error: unknown) => {
        this.#loading = undefined
        throw this.#loadFailed(asMillraceError(error))
      },
    )
    loading.catch(() => {}) // told by ready(), send() and enqueue()
    this.#loading = loading
    return loading
  }

  async #find(): Promise<void> {
    if (this.#closed) throw closedError()
    const info = await this.#metadata.get(this.topic)
    const deadlineMs = this.#runtime.clock.monotonicMs() + this.#options.requestTimeoutMs
    this.#broker = (await this.#connections.any({ deadlineMs, signal: this.#stopping.signal })).broker
    this.#useInfo(info)
  }

  /** What may mend is tried again as long as a send() waits for it; anything else, that there is no such topic included, is told. */
  #loadFailed(error: MillraceError): MillraceError {
    this.#loadError = error
    this.#loadFailures++
    if (!error.retriable || error.code === 'UNKNOWN_TOPIC_OR_PARTITION') this.#waitingSends.failAll(error)
    if (this.#waitingSends.size > 0) {
      const delayMs = backoffMs(this.#runtime.prng, this.#loadFailures, this.#backoff)
      sleep(this.#runtime, delayMs, this.#stopping.signal).then(
        () => {
          if (this.#waitingSends.size > 0) this.#load()
        },
        () => {},
      )
    }
    this.#wake()
    return error
  }

  /** Why a send() waits. */
  #obstacle(): MillraceError {
    if (this.#info === undefined)
      return this.#loadError ?? new MillraceError('LEADER_NOT_AVAILABLE', `the topic '${this.topic}' is not known yet`)
    const { bufferBytesMax } = this.#options
    return new MillraceError('BUFFER_FULL', `no room among the ${bufferBytesMax} bytes of bufferBytesMax`)
  }

  /** A batch that is larger than what the other end takes would fail with all its records, however small each of them. */
  #useInfo(info: TopicInfo): void {
    const limits = batchLimits(this.#options.batchBytesMax, this.#broker!, info.config)
    if (limits.batchBytesMax !== this.#limits?.batchBytesMax) {
      this.#spareWriters.length = 0
      this.#spareBytes = 0
    }
    this.#limits = limits
    this.#info = info
  }

  /**
   * Puts a record on its way. False when there is no room, or the topic is not known yet: nothing was taken; wait for ready(), which
   * looks for the topic again where that has failed.
   * Throws INVALID_RECORD, MESSAGE_TOO_LARGE, INVALID_ARGUMENT, CLOSED, or why the topic cannot be written to.
   */
  enqueue(record: ProducerRecord<Key, Value>): boolean {
    if (this.#closed) throw closedError()
    if (this.#info === undefined) return this.#isNotKnown()
    if (this.#waitingSends.size > 0) return false
    if (this.#bufferedBytes >= this.#options.bufferBytesMax) return false
    this.#append(record)
    return true
  }

  /** Throws why the topic cannot be written to, once; the next call finds it looked for again. */
  #isNotKnown(): false {
    const error = this.#loadError
    if (error === undefined || this.#loading !== undefined) return false
    this.#loadError = undefined
    this.#load()
    if (error.retriable && error.code !== 'UNKNOWN_TOPIC_OR_PARTITION') return false
    throw error
  }

  /** Resolves when enqueue() has room again. Throws why the topic cannot be written to. */
  async ready(options: SendOptions = {}): Promise<void> {
    const { signal } = options
    while (!this.#closed) {
      if (this.#info === undefined) await abortable(this.#load(), signal)
      else if (this.#hasRoom()) return
      else await abortable(new Promise<void>((resolve) => this.#onReady.push(resolve)), signal)
    }
  }

  /** Sends one record; resolves when it is as durable as `acks` asks for. Waits for room first. */
  send(record: ProducerRecord<Key, Value>, options: SendOptions = {}): Promise<Receipt> {
    const { signal } = options
    if (signal?.aborted) return Promise.reject(abortError(signal))
    if (this.#closed) return Promise.reject(closedError())
    const mustWait = this.#info === undefined || this.#waitingSends.size > 0
    if (mustWait || this.#bufferedBytes >= this.#options.bufferBytesMax) return this.#sendLater(record, signal)
    const promise = new Promise<Receipt>((resolve, reject) => this.#appendAwaited(record, resolve, reject))
    return abortable(promise, signal)
  }

  #sendLater(record: ProducerRecord<Key, Value>, signal: AbortSignal | undefined): Promise<Receipt> {
    const receipt = this.#waitingSends.add(record, signal)
    if (this.#info === undefined) this.#load()
    return receipt
  }

  /**
   * Sends records in order; resolves when all are stored. Takes them from `records` as there is room. Throws the first failure, after
   * all that were taken have ended.
   */
  async sendMany(records: Iterable<ProducerRecord<Key, Value>>, options: SendOptions = {}): Promise<Receipt[]> {
    const receipts: Promise<Receipt>[] = []
    try {
      for (const record of records) {
        if (this.#waitingSends.size >= SEND_MANY_WAITING_MAX) await this.ready(options)
        const receipt = this.send(record, options)
        receipt.catch(() => {}) // told below
        receipts.push(receipt)
      }
    } catch (error) {
      receipts.push(Promise.reject(error))
    }
    const results = await Promise.allSettled(receipts)
    return results.map((result) => {
      if (result.status === 'rejected') throw result.reason
      return result.value
    })
  }

  /** Sends at once what lingers. */
  flush(): void {
    for (const queue of this.#queues) queue.seal()
    this.#sender.schedule()
  }

  /**
   * Resolves when everything enqueued or sent before has been stored or has failed. Throws the first failure since the last
   * drain that nobody was told of (enqueue() without onFailed).
   */
  async drain(options: SendOptions = {}): Promise<void> {
    this.#sender.draining = true
    try {
      while (this.#batchesAlive > 0 || this.#waitingSends.size > 0)
        await abortable(new Promise<void>((resolve) => this.#onDrained.push(resolve)), options.signal)
    } finally {
      this.#sender.draining = false
    }
    const failure = this.takeFailure()
    if (failure !== undefined) throw failure
  }

  /** The failure that drain() would throw now; it counts as told. */
  takeFailure(): MillraceError | undefined {
    const failure = this.#firstFailure
    this.#firstFailure = undefined
    return failure
  }

  /** Of a producer with a transactionalId, which this one does not have: INVALID_TXN_STATE. */
  transaction(_work: (...parts: never[]) => unknown): Promise<never> {
    return Promise.reject(
      new MillraceError(
        'INVALID_TXN_STATE',
        "transaction(): this producer has no transactionalId; make it with one: mq.producer(topic, { transactionalId: 'a-name' })",
      ),
    )
  }

  /** A Web Stream into this producer: writes wait for room, closing it drains, the producer stays open. */
  writable(): WritableStream<ProducerRecord<Key, Value>> {
    return writableOf(this)
  }

  /** Runs `listener` at every such event; the answer stops that. What it throws is told as the client's listenerError. */
  on<Name extends keyof ProducerEvents>(
    name: Name,
    listener: (event: ProducerEvents[Name]) => unknown,
    options: ListenOptions = {},
  ): () => void {
    return this.#events.on(name, listener, options)
  }

  /** Runs `listener` once, when the producer has closed. */
  onClosed(listener: () => void): void {
    this.#onClosed.push(listener)
  }

  stats(): ProducerStats {
    return {
      recordsEnqueued: this.#recordsEnqueued,
      recordsStored: this.#recordsStored,
      recordsFailed: this.#recordsFailed,
      batchesStored: this.#batchesStored,
      batchesFailed: this.#batchesFailed,
      batchesRetried: this.#batchesRetried,
      bytesStored: this.#bytesStored,
      bufferedBytes: this.#bufferedBytes,
      waitingSends: this.#waitingSends.size,
    }
  }

  /** Drains, then takes no more records. */
  async close(options: SendOptions = {}): Promise<void> {
    if (this.#closed) return
    try {
      await this.drain(options)
    } finally {
      this.abort()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Takes no more records and gives up those not sent; those in flight end as CLOSED, and may be stored. */
  abort(): void {
    if (this.#closed) return
    this.#closed = true
    this.#sender.stop()
    const error = closedError()
    this.#stopping.abort()
    this.abandon(error)
    this.#spareWriters.length = 0
    this.#spareBytes = 0
    this.#wake()
    for (const listener of this.#onClosed.splice(0)) listener()
  }

  /** Gives up, with `error`, all that is not stored; what is in flight may be. The producer goes on with new queues. */
  abandon(error: MillraceError): void {
    this.#waitingSends.failAll(error)
    for (const queue of this.#queues.splice(0))
      for (const batch of [...queue.close(), ...queue.inFlight()])
        if (this.#release(batch)) this.#lose(batch, queue, error)
    this.#wake()
  }

  /** What was held back may leave now. */
  wake(): void {
    this.#sender.schedule()
  }

  #hasRoom(): boolean {
    return this.#waitingSends.size === 0 && this.#bufferedBytes < this.#options.bufferBytesMax * READY_PART
  }

  /** Appends to the open batch of the record's partition; answers that batch. */
  #append(given: ProducerRecord<Key, Value>): ProducerBatch {
    if (typeof given !== 'object' || given === null) throw notRecord(given)
    const record = this.#encode(given)
    const timestampMs = record.timestampMs ?? this.#burstClock.nowMs()
    this.#appendedTimestampMs = timestampMs
    const key = record.key ?? null
    const batch = this.#place(record.partition, key, record.value, record.headers ?? null, timestampMs)
    if (record.partition !== undefined) batch.namesPartition = true
    return batch
  }

  #place(
    named: number | undefined,
    key: Bytes | null,
    value: Bytes | null,
    headers: readonly HeaderInput[] | null,
    timestampMs: number,
  ): ProducerBatch {
    const info = this.#topicInfo()
    const partition = this.#router.route(named, key, info.partitions, openPartitions(info))
    const queue = this.#queues[partition] ?? this.#queueOf(partition)
    const open = queue.open
    if (open !== undefined) {
      const before = open.writer.sizeInBytes
      if (open.writer.append(key, value, headers, timestampMs)) {
        this.#bufferedBytes += open.writer.sizeInBytes - before
        this.#recordsEnqueued++
        return open
      }
    }
    return this.#appendToNew(queue, key, value, headers, timestampMs)
  }

  /**
   * The records of a batch whose partition drains go where they are routed now, with whoever waits for them. One that can go nowhere
   * fails alone.
   */
  #goElsewhere(batch: ProducerBatch, queue: PartitionQueue): void {
    this.#router.batchClosed(queue.partition)
    if (!this.#release(batch)) return
    const records = new BatchReader({ codecs: this.#runtime.codecs, checkCrc: false })
    try {
      records.reset(batch.bytes())
    } catch (error) {
      this.#lose(batch, queue, asMillraceError(error)) // a codec that is missing or fails
      return
    }
    this.#recordsEnqueued -= batch.recordsCount
    const waiters = new Map(batch.waiters?.map((waiter) => [waiter.index, waiter]))
    for (let index = 0; records.next(); index++) {
      const { key, value, headers, timestampMs } = records
      const waiter = waiters.get(index)
      try {
        const next = this.#place(undefined, key, value, headers, timestampMs)
        next.deadlineMs = Math.min(next.deadlineMs, batch.deadlineMs)
        if (waiter !== undefined) (next.waiters ??= []).push({ ...waiter, index: next.recordsCount - 1 })
      } catch (error) {
        this.#loseOne(queue, waiter, asMillraceError(error))
      }
    }
    this.#wake()
  }

  #loseOne(queue: PartitionQueue, waiter: RecordWaiter | undefined, error: MillraceError): void {
    this.#recordsEnqueued++
    this.#recordsFailed++
    waiter?.reject(error)
    if (waiter === undefined && !this.#isToldOfFailures) this.#firstFailure ??= error
    this.#events.emit('batchFailed', { topic: this.topic, partition: queue.partition, recordsCount: 1, error })
  }

  #appendToNew(
    queue: PartitionQueue,
    key: Bytes | null,
    value: Bytes | null,
    headers: readonly HeaderInput[] | null,
    timestampMs: number,
  ): ProducerBatch {
    const { batchBytesMax, recordBytesMax } = this.#limits!
    const common = this.#takeSpare() ?? this.#newWriter(batchBytesMax)
    let fits = false
    try {
      fits = common.append(key, value, headers, timestampMs)
    } finally {
      if (!fits) this.#keepSpare(common)
    }
    const writer = fits ? common : this.#newWriter(recordBytesMax)
    if (!fits && !writer.append(key, value, headers, timestampMs))
      throw recordTooLarge(this.topic, [key, value], headers, this.#limits!)
    if (queue.open !== undefined) this.#sealOpen(queue)
    const batch = this.#newBatch(writer)
    queue.begin(batch)
    if (!fits) this.#sealOpen(queue) // nothing joins a record that is a batch of its own
    this.#batchesAlive++
    this.#bufferedBytes += batch.bufferedBytes
    this.#recordsEnqueued++
    this.#sender.wake(queue)
    return batch
  }

  #sealOpen(queue: PartitionQueue): void {
    queue.seal()
    this.#router.batchClosed(queue.partition)
  }

  #appendAwaited(
    record: ProducerRecord<Key, Value>,
    resolve: (receipt: Receipt) => void,
    reject: (error: MillraceError) => void,
    deadlineMs = Number.POSITIVE_INFINITY,
  ): void {
    try {
      const batch = this.#append(record)
      if (deadlineMs < batch.deadlineMs) {
        batch.deadlineMs = deadlineMs
        this.#sender.schedule()
      }
      const index = batch.recordsCount - 1
      const timestampMs = this.#appendedTimestampMs
      batch.waiters ??= []
      batch.waiters.push({ index, timestampMs, resolve, reject })
    } catch (error) {
      reject(error as MillraceError)
    }
  }

  #topicInfo(): TopicInfo {
    // The cache may know more by now: partitions that were added.
    const info = this.#metadata.peek(this.topic)
    if (info !== undefined && info !== this.#info) this.#useInfo(info)
    return this.#info!
  }

  #queueOf(partition: number): PartitionQueue {
    for (let index = this.#queues.length; index <= partition; index++)
      this.#queues.push(new PartitionQueue(this.topic, index, this.#options))
    return this.#queues[partition]!
  }

  #newWriter(batchBytesMax: number): BatchWriter {
    return new BatchWriter({ batchBytesMax, codecs: this.#runtime.codecs })
  }

  #newBatch(writer: BatchWriter): ProducerBatch {
    const { deliveryTimeoutMs, codec, isTransactional } = this.#options
    const createdMs = this.#runtime.clock.monotonicMs()
    return new ProducerBatch(writer, { createdMs, deadlineMs: createdMs + deliveryTimeoutMs, codec, isTransactional })
  }

  #outcomes(): BatchOutcomes {
    return {
      onStored: (batch, queue, part) => this.#stored(batch, queue, part),
      onFailed: (batch, queue, error) => this.#failed(batch, queue, error),
      onDrained: (batch, queue) => this.#goElsewhere(batch, queue),
      onTaken: (queue) => {
        if (queue.open === undefined) this.#router.batchClosed(queue.partition)
      },
      onRetried: (batch, queue, error) => {
        this.#batchesRetried++
        const { recordsCount, attempts } = batch
        if (this.#events.has('batchRetried'))
          this.#events.emit('batchRetried', {
            topic: this.topic,
            partition: queue.partition,
            recordsCount,
            attempts,
            error,
          })
      },
    }
  }

  #stored(batch: ProducerBatch, queue: PartitionQueue, part: StoredPart): void {
    if (!this.#release(batch)) return
    const { recordsCount } = batch
    const reached = DURABILITIES[part.durability] ?? DURABILITIES[0]!
    this.#recordsStored += recordsCount
    this.#batchesStored++
    const { topic } = this
    const { partition } = queue
    for (const waiter of batch.waiters ?? [])
      waiter.resolve({
        topic,
        partition,
        offset: part.baseOffset < 0 ? -1 : part.baseOffset + waiter.index,
        timestampMs: part.logAppendTimeMs >= 0 ? part.logAppendTimeMs : waiter.timestampMs,
        ...reached,
      })
    if (this.#events.has('batchStored'))
      this.#events.emit('batchStored', { topic, partition, baseOffset: part.baseOffset, recordsCount, ...reached })
    this.#recycle(batch)
    this.#admitWaiting()
  }

  #failed(batch: ProducerBatch, queue: PartitionQueue, cause: MillraceError): void {
    if (!this.#release(batch)) return
    this.#lose(batch, queue, this.#transaction === undefined ? cause : this.#transaction.failed(cause))
  }

  /** Tells everybody of it, but for the transaction. */
  #lose(batch: ProducerBatch, queue: PartitionQueue, error: MillraceError): void {
    const { recordsCount } = batch
    this.#recordsFailed += recordsCount
    this.#batchesFailed++
    const waiters = batch.waiters ?? []
    for (const waiter of waiters) waiter.reject(error)
    if (!this.#isToldOfFailures && waiters.length < recordsCount) this.#firstFailure ??= error
    this.#events.emit('batchFailed', { topic: this.topic, partition: queue.partition, recordsCount, error })
    // Its buffer is not used again: a connection that is being dropped may still hold it.
    this.#trimSpares()
    this.#admitWaiting()
  }

  /** An onFailed that fails has told nobody: drain() does then. */
  #callOnFailed(onFailed: (batch: FailedBatch) => unknown, batch: FailedBatch): unknown {
    const untold = (cause: unknown): never => {
      this.#firstFailure ??= batch.error
      throw cause
    }
    try {
      return promiseOf(onFailed(batch))?.catch(untold)
    } catch (cause) {
      return untold(cause)
    }
  }

  /** Takes the batch out of the accounts; false when it was out already. */
  #release(batch: ProducerBatch): boolean {
    if (batch.released) return false
    batch.released = true
    this.#bufferedBytes -= batch.countedBytes()
    this.#batchesAlive--
    return true
  }

  #recycle(batch: ProducerBatch): void {
    this.#bytesStored += batch.bufferedBytes
    const isCommon = batch.writer.batchBytesMax === this.#limits?.batchBytesMax
    if (isCommon && batch.attempts === 1) this.#keepSpare(batch.writer)
    this.#trimSpares()
  }

  #trimSpares(): void {
    if (this.#batchesAlive > 0) return
    while (this.#spareWriters.length > SPARE_WRITERS_IDLE) this.#spareBytes -= this.#spareWriters.pop()!.capacityBytes
  }

  #takeSpare(): BatchWriter | undefined {
    const writer = this.#spareWriters.pop()
    if (writer === undefined) return undefined
    this.#spareBytes -= writer.capacityBytes
    writer.reset()
    return writer
  }

  #keepSpare(writer: BatchWriter): void {
    if (this.#spareBytes + writer.capacityBytes > this.#options.bufferBytesMax) return
    this.#spareWriters.push(writer)
    this.#spareBytes += writer.capacityBytes
  }

  #admitWaiting(): void {
    while (this.#waitingSends.size > 0 && this.#bufferedBytes < this.#options.bufferBytesMax) {
      const { record, resolve, reject, deadlineMs, abandoned } = this.#waitingSends.shift()!
      if (!abandoned) this.#appendAwaited(record, resolve, reject, deadlineMs)
    }
    this.#wake()
  }

  #wake(): void {
    if (this.#onReady.length > 0 && (this.#closed || this.#hasRoom()))
      for (const wake of this.#onReady.splice(0)) wake()
    if (this.#batchesAlive === 0 && this.#waitingSends.size === 0) for (const wake of this.#onDrained.splice(0)) wake()
  }
}

function closedError(): MillraceError {
  return new MillraceError('CLOSED', 'the producer is closed')
}
