/**
 * Consumer: reads partitions without a group: replay, tail, or a stretch between two positions.
 *
 * Invariants  R1 records of one partition come in the order of their offsets, each once          checked in: test/scenario
 *             R2 a position moves by what was handed out, or passed over by onDecodeError        checked in: #nextOf(),
 *                'skip', and by nothing else                                                     test/unit/client/typed-topics.test.ts
 *             R3 one call at a time opens, takes or waits; calls that come meanwhile follow it,  checked in: #nextFetched(),
 *                and all iterators go on where the others are                                    test/unit/client/consumer.test.ts
 * Limits      prefetchBytesMax bytes (and one fetch) wait here for the handler; what was handed out is let go of
 * Failure     what cannot mend is thrown by the iterator after all records received before it; positions() then tells where to go on
 * Hot path    batches() with a batch's reader(): nothing is made per record. `for await` over records makes a record object
 *             and a promise each.
 */
import { assert } from '../base/assert.ts'
import { Fifo } from '../base/fifo.ts'
import { MillraceError } from '../model/errors.ts'
import { BatchReader } from '../record/batch-reader.ts'
import { abortable, abortError, whenAborted } from './abort.ts'
import { CONSUMER_EVENTS, type ConsumerEvents } from './client-events.ts'
import { type ConsumerOptions, type ResolvedConsumerOptions, resolveConsumerOptions } from './consumer-options.ts'
import type { DecodeError } from './decode-error.ts'
import { EventHub, type ListenerError, type ListenOptions } from './events.ts'
import { FetchedBatch, RecordIterator } from './fetched-batch.ts'
import { type Cursor, type FetchedBytes, Fetcher, type FetcherParts, newCursor } from './fetcher.ts'
import { checkedPartitions } from './metadata-cache.ts'
import type { Positions } from './positions.ts'
import type { DecodeRecord } from './record-decoder.ts'
import type { ConsumedBatch, ConsumedRecord } from './record-types.ts'
import { readableOf } from './streams.ts'
import { Turns } from './turns.ts'

export interface ConsumerParts<Handed> extends FetcherParts {
  readonly positions: Positions
  /** Makes what records are handed out as; is told of what cannot be decoded by `onDecodeError`. */
  readonly decoder: (onDecodeError: (error: DecodeError) => void) => DecodeRecord<Handed>
  readonly onListenerError: (failure: ListenerError) => void
}

export interface ConsumerPosition {
  readonly topic: string
  readonly partition: number
  /** The next record to be handed out. */
  readonly offset: number
  readonly highWatermark: number
}

export interface ConsumerStats {
  /** By the iterator; batches() are not looked into. */
  readonly recordsConsumed: number
  readonly batchesConsumed: number
  readonly bytesConsumed: number
  readonly bufferedBytes: number
  /** Records that could not be decoded, whatever became of them. */
  readonly recordsUndecodable: number
}

/** `Handed` is what `for await` gives: records as they were stored, or decoded by their topics' serdes. */
export class Consumer<Handed = ConsumedRecord> implements AsyncIterable<Handed> {
  readonly #parts: ConsumerParts<Handed>
  readonly #events: EventHub<ConsumerEvents>
  readonly #decode: DecodeRecord<Handed>
  readonly #options: ResolvedConsumerOptions
  readonly #topics: readonly string[]
  readonly #signal: AbortSignal | undefined
  readonly #reader: BatchReader
  /** The records of the bytes that were taken last, for all iterators. */
  readonly #records: RecordIterator
  readonly #buffer = new Fifo<FetchedBytes>()
  readonly #turns = new Turns()
  #cursors: Cursor[] = []
  /** By cursor: the next offset to hand out. */
  readonly #positions = new Map<Cursor, number>()
  #fetcher: Fetcher | undefined
  #starting: Promise<void> | undefined
  #error: MillraceError | undefined
  #isEnded = false
  #isClosed = false
  #wake: (() => void) | undefined
  #recordsConsumed = 0
  #batchesConsumed = 0
  #bytesConsumed = 0
  #recordsUndecodable = 0
  #onClosed: (() => void)[] = []
  #forgetSignal = (): void => {}

  constructor(topics: readonly string[], parts: ConsumerParts<Handed>, options: ConsumerOptions) {
    this.#topics = topics
    this.#parts = parts
    this.#events = new EventHub(CONSUMER_EVENTS, parts.onListenerError)
    this.#decode = parts.decoder((error) => {
      this.#recordsUndecodable++
      this.#events.emit('decodeError', { error })
    })
    this.#options = resolveConsumerOptions(options)
    this.#signal = options.signal
    this.#reader = this.#newReader()
    this.#records = new RecordIterator(this.#newReader())
    if (this.#signal?.aborted) this.#abort()
    else this.#forgetSignal = whenAborted(this.#signal, () => this.#abort())
  }

  #newReader(): BatchReader {
    return new BatchReader({ codecs: this.#parts.runtime.codecs, checkCrc: this.#options.checkCrc })
  }

  /**
   * Finds where to begin and to end, and starts to fetch; iterating does it by itself. After it the positions stand, so records
   * stored from now on are seen by a consumer that begins at 'end'.
   */
  start(): Promise<void> {
    this.#starting ??= this.#start().catch((error: MillraceError) => {
      this.#error ??= error
      this.#shut()
      throw this.#error
    })
    return this.#starting
  }

  async #start(): Promise<void> {
    if (this.#isClosed) throw this.#error ?? closedError()
    const { metadata, positions } = this.#parts
    const { from, to, isolation } = this.#options
    const signal = this.#signal
    const cursors: Cursor[] = []
    for (const topic of this.#topics) {
      const partitions = checkedPartitions(await abortable(metadata.get(topic), signal), this.#options.partitions)
      // The end first: with from 'start' to 'end' of an empty stretch nothing may slip between the two. It is the high watermark,
      // also where that is past what may be read now: the transactions below it are waited for.
      const ends = to === undefined ? undefined : await positions.resolve(topic, partitions, to, { signal })
      const starts = await positions.resolve(topic, partitions, from, { isolation, signal })
      starts.forEach(({ partition, offset }, index) => {
        const endOffset = ends === undefined ? Number.POSITIVE_INFINITY : ends[index]!.offset
        cursors.push(newCursor(topic, partition, offset, endOffset))
      })
    }
    if (this.#isClosed) throw this.#error ?? closedError()
    this.#cursors = cursors
    for (const cursor of cursors) this.#positions.set(cursor, cursor.fetchOffset)
    this.#fetcher = new Fetcher(
      this.#parts,
      { ...this.#options, fetchesPerLeaderMax: 1, isOpenEnded: false },
      cursors,
      {
        onBytes: (fetched) => {
          this.#buffer.push(fetched)
          this.#notify()
        },
        onReset: ({ topic, partition, fetchOffset }, fromOffset) =>
          this.#events.emit('offsetReset', { topic, partition, fromOffset, toOffset: fetchOffset }),
        onFault: (error) => {
          this.#error ??= error
          this.#notify()
        },
        onDone: () => {
          this.#isEnded = true
          this.#notify()
        },
      },
    )
    this.#fetcher.start()
  }

  /** Where each partition stands. */
  positions(): ConsumerPosition[] {
    return this.#cursors.map((cursor) => ({
      topic: cursor.topic,
      partition: cursor.partition,
      offset: this.#positions.get(cursor)!,
      highWatermark: cursor.highWatermark,
    }))
  }

  stats(): ConsumerStats {
    return {
      recordsConsumed: this.#recordsConsumed,
      batchesConsumed: this.#batchesConsumed,
      bytesConsumed: this.#bytesConsumed,
      bufferedBytes: this.#fetcher?.bufferedBytes ?? 0,
      recordsUndecodable: this.#recordsUndecodable,
    }
  }

  /** Runs `listener` at every such event; the answer stops that. What it throws is told as the client's listenerError. */
  on<Name extends keyof ConsumerEvents>(
    name: Name,
    listener: (event: ConsumerEvents[Name]) => unknown,
    options: ListenOptions = {},
  ): () => void {
    return this.#events.on(name, listener, options)
  }

  /** A Web Stream of the records; it reads one when it is asked for one, and cancelling it closes the consumer. */
  readable(): ReadableStream<Handed> {
    return readableOf(this)
  }

  /**
   * The fast path: batches as they came, their records not decoded. The position moves when a batch is handed out. Read a consumer
   * in one way: a batch that is taken while a record iterator is within another one leaves positions() between the two.
   */
  batches(): AsyncIterableIterator<ConsumedBatch> {
    const take = async (): Promise<IteratorResult<ConsumedBatch>> => {
      const fetched = await this.#nextFetched()
      if (fetched === undefined) return { done: true, value: undefined }
      this.#positions.set(fetched.cursor, Math.min(fetched.nextOffset, fetched.cursor.endOffset))
      return { done: false, value: new FetchedBatch(fetched, this.#reader) }
    }
    return this.#iteratorOf(() => this.#turns.take(take))
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Handed> {
    const records = this.#records
    const advance = async (): Promise<IteratorResult<Handed>> => {
      try {
        for (;;) {
          const record = this.#nextOf(records)
          if (record !== undefined) return { done: false, value: record }
          const fetched = await this.#nextFetched()
          if (fetched === undefined) return { done: true, value: undefined }
          records.open(fetched)
        }
      } catch (error) {
        throw this.#damaged(error)
      }
    }
    // Records of an open batch need no wait: a settled promise each, and no async frame.
    return this.#iteratorOf(() => {
      if (!this.#turns.isFree) return this.#turns.take(advance)
      try {
        const record = this.#nextOf(records)
        if (record !== undefined) return Promise.resolve({ done: false as const, value: record })
      } catch (error) {
        return Promise.reject(this.#damaged(error))
      }
      return this.#turns.take(advance)
    })
  }

  #iteratorOf<Item>(next: () => Promise<IteratorResult<Item>>): AsyncIterableIterator<Item> {
    return {
      next,
      return: async () => {
        await this.close()
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  /** Bytes that cannot be read: nothing after them is handed out, so nothing more is fetched. */
  #damaged(error: unknown): unknown {
    this.#error ??= error as MillraceError
    if (!this.#isClosed) this.#shut()
    return error
  }

  #nextOf(cursor: RecordIterator): Handed | undefined {
    if (this.#isClosed) return undefined
    for (;;) {
      const record = cursor.next()
      if (record === undefined) {
        if (cursor.source !== undefined) this.#positions.set(cursor.source, cursor.nextOffset)
        return undefined
      }
      const handed = this.#decode(record) // before the position moves: what it throws stays in front of it
      this.#positions.set(cursor.source!, record.offset + 1)
      if (handed === undefined) continue
      this.#recordsConsumed++
      return handed
    }
  }

  /** The next received bytes; undefined at the end. Throws the fault, after everything received before it was taken. */
  async #nextFetched(): Promise<FetchedBytes | undefined> {
    if (this.#fetcher === undefined && !this.#isClosed) await this.start()
    for (;;) {
      if (this.#isClosed) {
        if (this.#error !== undefined) throw this.#error
        return undefined
      }
      const fetched = this.#take()
      if (fetched !== undefined) return fetched
      if (this.#error !== undefined) {
        const error = this.#error
        await this.close()
        throw error
      }
      if (this.#isEnded) {
        await this.close()
        return undefined
      }
      await new Promise<void>((resolve) => {
        assert(this.#wake === undefined, 'one call at a time waits for records')
        this.#wake = resolve
      })
    }
  }

  #take(): FetchedBytes | undefined {
    const fetched = this.#buffer.shift()
    if (fetched === undefined) return undefined
    this.#batchesConsumed++
    this.#bytesConsumed += fetched.bytes.length
    this.#fetcher!.taken(fetched.bytes.length)
    return fetched
  }

  #notify(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  #abort(): void {
    this.#error ??= abortError(this.#signal!)
    this.#shut()
  }

  #shut(): void {
    this.#isClosed = true
    this.#fetcher?.stop()
    this.#buffer.clear()
    this.#records.end()
    this.#forgetSignal()
    this.#notify()
    for (const listener of this.#onClosed.splice(0)) listener()
  }

  /** Runs `listener` once, when the consumer has closed. */
  onClosed(listener: () => void): void {
    this.#onClosed.push(listener)
  }

  /** Stops fetching and lets go of what was received. */
  async close(): Promise<void> {
    if (!this.#isClosed) this.#shut()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function closedError(): MillraceError {
  return new MillraceError('CLOSED', 'the consumer is closed')
}
