/**
 * AssignedPartition: a partition from the moment it is assigned to this member until it is revoked or lost. When it comes back, it
 * is another one, so nothing of the first can touch the second.
 *
 * States      loading -> active -> stopping -> gone; lost: gone from any of them
 * Invariants  P1 finishedOffset <= position: what may be committed was handed out          checked in: finishedOffset
 *             P2 nothing is handed out unless it is active                                 checked in: isReadable
 * Limits      bufferedBytes: bytes that were received and whose records have not all been handled; the reader stops asking at its share
 */
import type { TopicId } from '../../model/ids.ts'
import type { BatchReader } from '../../record/batch-reader.ts'
import { RecordIterator } from '../fetched-batch.ts'
import { type Cursor, type FetchedBytes, newCursor } from '../fetcher.ts'
import type { ConsumedRecord } from '../record-types.ts'
import { HandledOffsets } from './handled-offsets.ts'

export function partitionKey(topic: string, partition: number): string {
  return `${topic}/${partition}`
}

export class AssignedPartition {
  readonly topic: string
  readonly topicId: TopicId | ''
  readonly partition: number
  state: 'loading' | 'active' | 'stopping' | 'gone' = 'loading'
  cursor: Cursor
  /** Records that run() has handed out. */
  handled = new HandledOffsets()
  /** The record, or the first of the batch, that an iterator has handed out; -1 = none. */
  inHandOffset = -1
  /** By the application. */
  isPaused = false
  /** Waits until its open batch is committed (at-most-once). */
  isHeld = false
  /** Where reading began. */
  startOffset = 0
  /** The next offset to hand out. */
  position = 0
  /** As far as this member knows; -1 = nothing. */
  committedOffset = -1
  bufferedBytes = 0
  /** Handlers at work. */
  running = 0
  /** What was opened last; its records are being handed out. */
  opened: FetchedBytes | undefined
  readonly #records: RecordIterator
  readonly #buffer: FetchedBytes[] = []
  /** Received, in order, and not wholly handled. */
  #unhandled: FetchedBytes[] = []
  /** Where the first of them ends. */
  #releaseAt = Number.POSITIVE_INFINITY
  #onIdle: (() => void)[] = []
  #onBatchClosed: (() => void)[] = []
  readonly #lost = new AbortController()

  constructor(topic: string, topicId: TopicId | '', partition: number, reader: BatchReader) {
    this.topic = topic
    this.topicId = topicId
    this.partition = partition
    this.cursor = newCursor(topic, partition, 0, Number.POSITIVE_INFINITY)
    this.#records = new RecordIterator(reader)
  }

  get key(): string {
    return partitionKey(this.topic, this.partition)
  }

  /** Fires when the partition is lost. */
  get lostSignal(): AbortSignal {
    return this.#lost.signal
  }

  get isReadable(): boolean {
    return this.state === 'active' && !this.isPaused && !this.isHeld
  }

  /** Everything below it has been handled. */
  get finishedOffset(): number {
    if (this.inHandOffset >= 0) return this.inHandOffset
    return this.handled.lowestOpen ?? this.position
  }

  /** Goes on elsewhere: what was received or is being handled counts no more. */
  seek(offset: number): void {
    this.drop()
    this.handled = new HandledOffsets()
    this.inHandOffset = -1
    this.startOffset = offset
    this.position = offset
    this.committedOffset = -1
    this.cursor = newCursor(this.topic, this.partition, offset, Number.POSITIVE_INFINITY)
  }

  received(fetched: FetchedBytes): void {
    this.#buffer.push(fetched)
    if (this.#unhandled.push(fetched) === 1) this.#releaseAt = fetched.nextOffset
    this.bufferedBytes += fetched.bytes.length
  }

  /** Opens what was received next; false = nothing was. */
  open(): boolean {
    const fetched = this.#buffer.shift()
    if (fetched === undefined) return false
    this.opened = fetched
    this.#records.open(fetched)
    return true
  }

  /** The next record of the open batch; undefined at its end, which closes it. May throw CORRUPT_MESSAGE. */
  next(): ConsumedRecord | undefined {
    const record = this.#records.next()
    if (record !== undefined) {
      this.position = record.offset + 1
      return record
    }
    this.closeBatch()
    return undefined
  }

  /** The open batch is behind: the position is after it. */
  closeBatch(): void {
    if (this.opened === undefined) return
    this.position = this.opened.nextOffset
    this.#close()
    this.release()
  }

  /** A record that run() was given has been handled; `handled` is where it was counted when it was handed out. */
  ended(handled: HandledOffsets, offset: number): void {
    handled.end(offset)
    if (handled === this.handled && this.finishedOffset >= this.#releaseAt) this.release()
  }

  /** Lets go of bytes whose records have all been handled. */
  release(): void {
    const { finishedOffset } = this
    let count = 0
    while (count < this.#unhandled.length && this.#unhandled[count]!.nextOffset <= finishedOffset) {
      this.bufferedBytes -= this.#unhandled[count]!.bytes.length
      count++
    }
    if (count > 0) this.#unhandled.splice(0, count)
    this.#releaseAt = this.#unhandled[0]?.nextOffset ?? Number.POSITIVE_INFINITY
  }

  /** Something was received that is not handed out yet. */
  get hasReceived(): boolean {
    return this.opened !== undefined || this.#buffer.length > 0
  }

  /** When no batch is open any more. */
  batchClosed(): Promise<void> {
    if (this.opened === undefined) return Promise.resolve()
    return new Promise((resolve) => this.#onBatchClosed.push(resolve))
  }

  dropUnopened(): void {
    this.#buffer.length = 0
  }

  /** Lets go of what was received and not handed out. */
  drop(): void {
    this.dropUnopened()
    this.#unhandled = []
    this.bufferedBytes = 0
    this.#close()
  }

  #close(): void {
    this.opened = undefined
    for (const listener of this.#onBatchClosed.splice(0)) listener()
  }

  /** A handler begins. */
  enter(): void {
    this.running++
  }

  /** A handler has ended. */
  leave(): void {
    this.running--
    if (this.running > 0 || this.#onIdle.length === 0) return
    for (const listener of this.#onIdle.splice(0)) listener()
  }

  /** When no handler is at work. */
  idle(): Promise<void> {
    if (this.running === 0) return Promise.resolve()
    return new Promise((resolve) => this.#onIdle.push(resolve))
  }

  /** It belongs to somebody else by now. */
  lose(error: Error): void {
    this.state = 'gone'
    this.#lost.abort(error)
  }
}
