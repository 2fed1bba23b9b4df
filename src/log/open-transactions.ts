/**
 * OpenTransactions: the transactions of one partition that are open, or ended by a marker that is not below the high watermark yet: what
 * holds the last stable offset back. And which producers may begin one: those that their coordinator has registered.
 *
 * Owns        producer id -> first offset of its open transaction; the ended ones in marker order; the registrations
 * Thread      the partition's shard; recovery has one of its own
 * Invariants  OT1 at most one open transaction a producer; its first offset is that of its first batch
 *             OT2 firstUnstableOffset() is the smallest first offset of all that is open or not decided   checked in: test/unit/log/open-transactions
 *             OT3 rollback() restores what was there at the last settle()
 * Ordering    begin, end while a batch is staged -> settle() when written | rollback(). decideBelow() as the high watermark moves
 * Limits      PARTITION_OPEN_TRANSACTIONS_MAX open ones (ProducerState.decide refuses) and as many registrations, the oldest goes first;
 *             ended ones: as many as there are markers above the high watermark
 * Not here    producers' epochs and sequences (producer-state.ts), the list of aborted ones (aborted-index.ts)
 */
import { PARTITION_OPEN_TRANSACTIONS_MAX } from '../model/limits.ts'
import type { BatchView } from '../record/batch-view.ts'
import { type MarkerType, readMarker } from '../record/control-batch.ts'

/** An open transaction: producer id, offset of its first batch here. */
export type OpenTransaction = readonly [producerId: number, firstOffset: number]

/** What no batch holds back. */
export const ALL_STABLE = Number.POSITIVE_INFINITY

/** What this module asks of a batch that is appended or replayed. */
export interface TransactionBatch {
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseOffset: number
  readonly isControl: boolean
  readonly isTransactional: boolean
}

/** What is in the record of a control batch that ends a transaction. */
export interface MarkerContent {
  readonly type: MarkerType
  readonly coordinatorEpoch: number
}

/** Of a control batch that lies in memory as a whole; undefined for any other batch, and for a control batch of another kind. */
export function markerOf(batch: BatchView): MarkerContent | undefined {
  return batch.isControl && batch.recordsCount > 0 ? readMarker(batch) : undefined
}

/**
 * A transaction that was aborted, as a log keeps it (aborted-index.ts): its batches from firstOffset to its marker at lastOffset are
 * nobody's to read. What a fetch tells of it is model/aborted-transaction.ts.
 */
export interface AbortedEntry {
  readonly producerId: number
  readonly firstOffset: number
  readonly lastOffset: number
  /** The first offset of what was open once it had ended, or the offset after its marker: no later entry begins below. */
  readonly lastStableOffset: number
}

/** One change that is not settled. */
interface Change {
  readonly producerId: number
  /** Of the transaction that was ended; -1 = none was open; undefined = one was begun. */
  readonly endedFirst: number | undefined
  /** Epoch of the registration that the marker took; -1 = none. */
  readonly registeredEpoch: number
}

export class OpenTransactions {
  /** By first offset: they are begun in the order of the log. */
  #open: Map<number, number> | undefined
  /** First offset and marker's offset, two numbers each, in marker order; those before #endedFrom are decided. */
  #ended: number[] = []
  #endedFrom = 0
  #changes: Change[] = []
  #registered: Map<number, number> | undefined
  readonly #registrationsMax: number
  /** Answer of firstUnstableOffset(); NaN = to be found. */
  #firstUnstable = ALL_STABLE

  constructor(options: { readonly registrationsMax?: number } = {}) {
    this.#registrationsMax = options.registrationsMax ?? PARTITION_OPEN_TRANSACTIONS_MAX
  }

  /** Open ones; those that wait for the high watermark left out. */
  get count(): number {
    return this.#open?.size ?? 0
  }

  has(producerId: number): boolean {
    return this.#open?.has(producerId) ?? false
  }

  /** Where the producer's open transaction begins; -1 = it has none. */
  firstOffsetOf(producerId: number): number {
    return this.#open?.get(producerId) ?? -1
  }

  /** The smallest first offset of all that are open; ALL_STABLE when none is. */
  get firstOpenOffset(): number {
    if (this.#open !== undefined) for (const firstOffset of this.#open.values()) return firstOffset
    return ALL_STABLE
  }

  /**
   * First offset of the earliest transaction that is open, or whose marker is not below `highWatermark`; ALL_STABLE when there is none.
   * The last stable offset is the smaller of it and the high watermark.
   */
  firstUnstableOffset(highWatermark: number): number {
    this.decideBelow(highWatermark)
    if (Number.isNaN(this.#firstUnstable)) this.#firstUnstable = this.#findFirst()
    return this.#firstUnstable
  }

  /** As firstUnstableOffset(offset), of a log that ended there or further on, whatever its high watermark. */
  firstUndecidedAt(offset: number): number {
    let first = this.firstOpenOffset
    for (let at = this.#ended.length - 2; at >= this.#endedFrom && this.#ended[at + 1]! >= offset; at -= 2)
      first = Math.min(first, this.#ended[at]!)
    return first
  }

  /** Markers below `highWatermark` have decided their transactions; it never falls. */
  decideBelow(highWatermark: number): void {
    const before = this.#endedFrom
    if (before === this.#ended.length) return
    while (this.#endedFrom < this.#ended.length && this.#ended[this.#endedFrom + 1]! < highWatermark)
      this.#endedFrom += 2
    if (this.#endedFrom === before) return
    this.#firstUnstable = Number.NaN
    if (2 * this.#endedFrom < this.#ended.length) return
    this.#ended = this.#ended.slice(this.#endedFrom)
    this.#endedFrom = 0
  }

  /** Takes in a batch of a producer: it may begin a transaction, or end one; answers the one that it aborts. */
  take(batch: TransactionBatch, marker: MarkerContent | undefined): AbortedEntry | undefined {
    const { producerId, producerEpoch, baseOffset: offset } = batch
    if (!batch.isControl) {
      if (batch.isTransactional) this.begin(producerId, offset)
      return undefined
    }
    if (marker === undefined) return undefined
    const firstOffset = this.end({ producerId, producerEpoch, offset })
    if (firstOffset < 0 || marker.type !== 'ABORT') return undefined
    return { producerId, firstOffset, lastOffset: offset, lastStableOffset: Math.min(this.firstOpenOffset, offset + 1) }
  }

  /** As take(), of a log that is read as it stands: the batch is settled, and what it ends is decided. */
  replay(batch: BatchView, marker: MarkerContent | undefined): AbortedEntry | undefined {
    const aborted = this.take(batch, marker)
    this.settle()
    this.decideBelow(batch.nextOffset)
    return aborted
  }

  /** A transactional batch is being appended; the first one of a transaction begins it. */
  begin(producerId: number, firstOffset: number): void {
    if (this.has(producerId)) return
    this.#open ??= new Map()
    this.#open.set(producerId, firstOffset)
    this.#changes.push({ producerId, endedFirst: undefined, registeredEpoch: -1 })
    this.#firstUnstable = Number.NaN
  }

  /** The marker at `markerOffset` ends what the producer has open; returns where that began, -1 = nothing was open. */
  end(marker: { readonly producerId: number; readonly producerEpoch: number; readonly offset: number }): number {
    const { producerId } = marker
    const endedFirst = this.firstOffsetOf(producerId)
    const registered = this.#registered?.get(producerId) ?? -1
    const registeredEpoch = registered <= marker.producerEpoch ? registered : -1
    if (registeredEpoch >= 0) this.#registered!.delete(producerId)
    if (endedFirst >= 0) {
      this.#open!.delete(producerId)
      this.#ended.push(endedFirst, marker.offset)
      this.#firstUnstable = Number.NaN
    }
    if (endedFirst >= 0 || registeredEpoch >= 0) this.#changes.push({ producerId, endedFirst, registeredEpoch })
    return endedFirst
  }

  /** What was begun and ended is in the log now. */
  settle(): void {
    this.#changes.length = 0
  }

  /** What was begun and ended since the last settle() is not in the log. */
  rollback(): void {
    if (this.#changes.length === 0) return
    let reopened = false
    this.#open ??= new Map()
    for (const { producerId, endedFirst, registeredEpoch } of this.#changes.toReversed()) {
      if (registeredEpoch >= 0) this.register(producerId, registeredEpoch)
      if (endedFirst === undefined) this.#open.delete(producerId)
      else if (endedFirst >= 0) {
        this.#open.set(producerId, endedFirst)
        this.#ended.length -= 2
        reopened = true
      }
    }
    this.#changes.length = 0
    this.#firstUnstable = Number.NaN
    if (reopened) this.#open = new Map([...this.#open].sort(byFirstOffset))
  }

  /**
   * Puts what was open as of `offset` (recovery's, or a snapshot's before a truncation) in the place of all that was known. Markers below
   * it that wait for the high watermark go on waiting; registrations stay.
   */
  restore(open: readonly OpenTransaction[], offset = 0): void {
    this.#open = open.length === 0 ? undefined : new Map([...open].sort(byFirstOffset))
    while (this.#ended.length > this.#endedFrom && this.#ended[this.#ended.length - 1]! >= offset)
      this.#ended.length -= 2
    this.#changes.length = 0
    this.#firstUnstable = Number.NaN
  }

  /** Every open one, by first offset. */
  toEntries(): OpenTransaction[] {
    return [...(this.#open ?? [])]
  }

  /** The partition is idle: gives back what holds nothing. What is open or registered stays. */
  relax(): void {
    if (this.#open?.size === 0) this.#open = undefined
    if (this.#registered?.size === 0) this.#registered = undefined
  }

  // Registrations

  /** The coordinator says that this producer may begin a transaction here; a lower epoch than a registered one is late. */
  register(producerId: number, producerEpoch: number): void {
    this.#registered ??= new Map()
    if ((this.#registered.get(producerId) ?? -1) > producerEpoch) return
    this.#registered.delete(producerId)
    this.#registered.set(producerId, producerEpoch)
    if (this.#registered.size <= this.#registrationsMax) return
    for (const oldest of this.#registered.keys()) {
      this.#registered.delete(oldest)
      return
    }
  }

  isRegistered(producerId: number, producerEpoch: number): boolean {
    return this.#registered?.get(producerId) === producerEpoch
  }

  #findFirst(): number {
    let first = this.firstOpenOffset
    for (let at = this.#endedFrom; at < this.#ended.length; at += 2) first = Math.min(first, this.#ended[at]!)
    return first
  }
}

export function byFirstOffset(left: OpenTransaction, right: OpenTransaction): number {
  return left[1] - right[1]
}
