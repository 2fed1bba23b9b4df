/**
 * GroupReader: the records of the partitions that are assigned now: fetched, bounded, and handed out in turn.
 *
 * Invariants  G1 nothing of a partition is handed out that is paused, held, on its way out or gone      checked in: #open()
 *             G2 a partition's records come in the order of their offsets
 * Limits      each partition may hold prefetchBytesMax / partitions of received bytes whose records are not all handled (at least
 *             SHARE_BYTES_MIN), and one fetch: a partition that stands still does not keep the others from being fetched
 * Failure     what cannot mend is told by onFault once; what was received before it is still handed out
 */
import type { MillraceError } from '../../model/errors.ts'
import { BatchReader } from '../../record/batch-reader.ts'
import { asMillraceError } from '../as-millrace-error.ts'
import { type Cursor, Fetcher, type FetcherParts } from '../fetcher.ts'
import type { ConsumedRecord } from '../record-types.ts'
import type { AssignedPartition } from './assigned-partition.ts'
import type { ResolvedGroupOptions } from './group-options.ts'

export interface ReaderEvents {
  /** Something may be readable, or readable no more. */
  onChange(): void
  onReset(topic: string, partition: number, fromOffset: number, toOffset: number): void
  onFault(error: MillraceError): void
  /** Before the first record of a batch is handed out; a promise holds the partition until it is settled. */
  beforeBatch(partition: AssignedPartition): Promise<void> | undefined
}

export interface PulledRecord {
  readonly partition: AssignedPartition
  readonly record: ConsumedRecord
}

const SHARE_BYTES_MIN = 64 * 1024
/** A partition that is assigned is asked for at once, beside the long poll of the others. */
const FETCHES_PER_LEADER_MAX = 2

export class GroupReader {
  readonly #parts: FetcherParts
  readonly #options: ResolvedGroupOptions
  readonly #events: ReaderEvents
  readonly #fetcher: Fetcher
  readonly #byCursor = new Map<Cursor, AssignedPartition>()
  #partitions: readonly AssignedPartition[] = []
  #turn = 0
  #shareBytes: number
  #bytesReceived = 0
  #batchesReceived = 0

  constructor(parts: FetcherParts, options: ResolvedGroupOptions, events: ReaderEvents) {
    this.#parts = parts
    this.#options = options
    this.#events = events
    this.#shareBytes = options.prefetchBytesMax
    // The bound is each partition's own: the fetcher has none.
    const fetcherOptions = {
      ...options,
      prefetchBytesMax: Number.POSITIVE_INFINITY,
      fetchesPerLeaderMax: FETCHES_PER_LEADER_MAX,
      isOpenEnded: true,
    }
    this.#fetcher = new Fetcher(parts, fetcherOptions, [], {
      onBytes: (fetched) => {
        const partition = this.#byCursor.get(fetched.cursor)
        if (partition === undefined || partition.cursor !== fetched.cursor) return
        this.#batchesReceived++
        this.#bytesReceived += fetched.bytes.length
        partition.received(fetched)
        this.gate(partition)
        events.onChange()
      },
      onReset: (cursor, fromOffset) => {
        const partition = this.#byCursor.get(cursor)
        if (partition === undefined) return
        // What was received before the gap is still handed out; what comes after it begins at the new place.
        events.onReset(partition.topic, partition.partition, fromOffset, cursor.fetchOffset)
      },
      onFault: (error) => events.onFault(error),
      onDone: () => {},
    })
  }

  newBatchReader(): BatchReader {
    return new BatchReader({ codecs: this.#parts.runtime.codecs, checkCrc: this.#options.checkCrc })
  }

  get partitions(): readonly AssignedPartition[] {
    return this.#partitions
  }

  get bytesReceived(): number {
    return this.#bytesReceived
  }

  get batchesReceived(): number {
    return this.#batchesReceived
  }

  /** Begins to read partitions that have their positions. */
  add(partitions: readonly AssignedPartition[]): void {
    this.#setPartitions([...this.#partitions, ...partitions])
    for (const partition of partitions) this.#byCursor.set(partition.cursor, partition)
    this.#fetcher.add(partitions.map(({ cursor }) => cursor))
  }

  /** Stops reading; what was received is dropped. */
  remove(partitions: readonly AssignedPartition[]): void {
    const gone = new Set(partitions)
    for (const partition of partitions) {
      this.#fetcher.remove(partition.cursor)
      this.#byCursor.delete(partition.cursor)
      partition.drop()
    }
    this.#setPartitions(this.#partitions.filter((each) => !gone.has(each)))
    this.#events.onChange()
  }

  /** Goes on at another offset. */
  seek(partition: AssignedPartition, offset: number): void {
    this.#fetcher.remove(partition.cursor)
    this.#byCursor.delete(partition.cursor)
    partition.seek(offset)
    this.#byCursor.set(partition.cursor, partition)
    this.gate(partition)
    this.#fetcher.add([partition.cursor])
    this.#events.onChange()
  }

  #setPartitions(partitions: readonly AssignedPartition[]): void {
    this.#partitions = partitions
    const share = Math.floor(this.#options.prefetchBytesMax / Math.max(1, partitions.length))
    this.#shareBytes = Math.max(Math.min(share, this.#options.prefetchBytesMax), SHARE_BYTES_MIN)
    for (const partition of partitions) this.gate(partition)
  }

  /** Asks for more of a partition, or not, by what it holds. */
  gate(partition: AssignedPartition): void {
    const { cursor } = partition
    const isPaused = partition.isPaused || partition.bufferedBytes >= this.#shareBytes
    const resumes = cursor.isPaused && !isPaused
    cursor.isPaused = isPaused
    if (resumes) this.#fetcher.resume()
  }

  /** The next record of the first partition, in turn, that has one and that `accepts`; the turn goes on after a batch. */
  pull(accepts: (partition: AssignedPartition) => boolean): PulledRecord | undefined {
    const { length } = this.#partitions
    let idle = 0
    while (idle < length) {
      const partition = this.#partitions[this.#turn % length]!
      if (accepts(partition) && this.#open(partition)) {
        const record = partition.next()
        if (record !== undefined) return { partition, record }
        // Its batch is at its end: the others come first, then it is asked again.
        this.gate(partition)
        idle = 0
      } else idle++
      this.#turn = (this.#turn + 1) % length
    }
    return undefined
  }

  /** The next record of `partition`'s open batch, without looking at others. */
  next(partition: AssignedPartition): ConsumedRecord | undefined {
    if (!partition.isReadable || partition.opened === undefined) return undefined
    const record = partition.next()
    // Its batch is at its end: it may be asked for more, and nobody else looks at it again before something comes.
    if (record === undefined) this.gate(partition)
    return record
  }

  /** The next partition, in turn, with a whole batch to hand out: its `opened`. */
  pullBatch(): AssignedPartition | undefined {
    const { length } = this.#partitions
    for (let step = 0; step < length; step++) {
      this.#turn = (this.#turn + 1) % length
      const partition = this.#partitions[this.#turn]!
      if (this.#open(partition)) return partition
    }
    return undefined
  }

  /** Whether pull() may answer something. */
  get hasReadable(): boolean {
    return this.#partitions.some((partition) => partition.isReadable && partition.hasReceived)
  }

  /** Asks for nothing more of a partition, and drops what is not opened: the open batch may still be handed out. */
  finishBatchOf(partition: AssignedPartition): void {
    this.#fetcher.remove(partition.cursor)
    this.#byCursor.delete(partition.cursor)
    partition.dropUnopened()
    this.#events.onChange()
  }

  /** Whether the partition has a batch open whose records may be handed out; opens the next one where there is none. */
  #open(partition: AssignedPartition): boolean {
    if (!partition.isReadable) return false
    if (partition.opened !== undefined) return true
    if (!partition.open()) return false
    const held = this.#events.beforeBatch(partition)
    if (held === undefined) return true
    partition.isHeld = true
    const release = (): void => {
      partition.isHeld = false
      this.#events.onChange()
    }
    held.then(release, (error: unknown) => {
      if (partition.state !== 'gone') this.#events.onFault(asMillraceError(error))
    })
    return false
  }

  stop(): void {
    this.#fetcher.stop()
  }
}
