/**
 * ProducerState: what one partition knows of each producer: epoch, last five batches, its transaction. Decides, then applies.
 *
 * Owns        producer id -> ProducerEntry; nothing at all until the first producer writes. What is open lies in OpenTransactions, which
 *             outlives this state: an idle partition forgets its producers, not what its readers may see
 * Invariants  P1 applying the log's batches in order gives the state, however often it was decided on (I10)
 *             P2 a producer keeps at most PRODUCER_BATCHES_REMEMBERED batches, newest last
 *             P3 rollback() restores what was there at the last settle(), the order of eviction aside
 *             P4 an entry without batches was made by a marker, or by batches without a sequence: its epoch's first one with a sequence
 *                begins with 0
 *             P5 a producer with an open transaction is neither evicted nor expired
 * Ordering    decide(batch) -> apply(batch) while staged -> settle() when written | rollback() when the write failed.
 *             decide() sees what is staged: a second batch of the same turn is checked against the first
 * Limits      PARTITION_PRODUCERS_MAX: the producer that wrote least recently goes first (a duplicate of its is then not known);
 *             expire() drops those that were silent for producer.id.expiration.ms
 * Format      format.md "Producer snapshot"
 * Not here    when a transaction is begun and ended (transaction/), who says register() and appends markers (worker/)
 */
import { assert } from '../base/assert.ts'
import { readSafeInt64, writeSafeInt64 } from '../base/bytes.ts'
import { smallestAfter } from '../base/smallest-after.ts'
import { PARTITION_OPEN_TRANSACTIONS_MAX, PARTITION_PRODUCERS_MAX } from '../model/limits.ts'
import { sequenceAfter } from '../record/batch-layout.ts'
import { type AbortedMarks, NOTHING_ABORTED } from './aborted-index.ts'
import { type CheckedAnswer, checkedVersionOf, decodeChecked, newChecked, sealChecked } from './checked-file.ts'
import {
  type AbortedEntry,
  byFirstOffset,
  type MarkerContent,
  type OpenTransaction,
  OpenTransactions,
  type TransactionBatch,
} from './open-transactions.ts'
import {
  fenced,
  fencedCoordinator,
  fencedMarker,
  lateMarker,
  notEndedYet,
  notRegistered,
  outOfOrder,
  outsideTransaction,
  type ProducerRefusal,
  tooManyOpen,
} from './producer-refusals.ts'
import {
  BATCH_NUMBERS_MAX,
  DELTA,
  decodeEntry,
  encodeEntry,
  LAST_OFFSET,
  LAST_SEQUENCE,
  PRODUCER_SNAPSHOT_FILE,
  PRODUCER_SNAPSHOT_FILE_1,
  type ProducerEntry,
  readMarks,
  SNAPSHOT_END_OFFSET_AT,
  SNAPSHOT_ENTRY_BYTES,
  SNAPSHOT_FIRST_ABORTED_AT,
  SNAPSHOT_LAST_ABORTED_AT,
  SNAPSHOT_PRODUCER_ID_AT,
  SNAPSHOT_TRANSACTION_FIRST_AT,
  STRIDE,
  TIMESTAMP,
} from './producer-snapshot-file.ts'

/** What this module asks of a batch; a BatchView has it. */
export interface ProducerBatch extends TransactionBatch {
  readonly baseSequence: number
  readonly lastOffsetDelta: number
  readonly maxTimestamp: number
}

/** A marker that a coordinator asks for. */
export interface MarkerWish {
  readonly producerId: number
  readonly producerEpoch: number
  readonly coordinatorEpoch: number
  /** The producer keeps its epoch from one transaction to the next (X8). */
  readonly isClassic: boolean
}

export type MarkerDecision =
  | { readonly kind: 'append' }
  /** It is in the log already: done. */
  | { readonly kind: 'written' }
  | ProducerRefusal

export type ProducerDecision =
  | { readonly kind: 'append' }
  /** It is in the log already: answer with these, append nothing. */
  | {
      readonly kind: 'duplicate'
      readonly baseOffset: number
      readonly lastOffset: number
      readonly timestampMs: number
    }
  | ProducerRefusal

interface KnownProducer {
  readonly producerId: number
  readonly epoch: number
  /** Of the coordinator that wrote its last marker; -1 = none. */
  readonly coordinatorEpoch: number
  /** First offset of its open transaction; -1 = none. */
  readonly transactionFirst: number
}

export interface ProducerLine extends KnownProducer {
  /** -1 = nothing in this epoch has one. */
  readonly lastSequence: number
  /** Of its last batch that has a sequence; else when it was heard of last. */
  readonly lastTimestampMs: number
}

export interface ProducerDescription extends KnownProducer {
  /** Newest last. */
  readonly batches: readonly {
    readonly lastSequence: number
    readonly baseOffset: number
    readonly lastOffset: number
  }[]
}

const APPEND = { kind: 'append' } as const
const WRITTEN: MarkerDecision = { kind: 'written' }

/** Undo of one apply(): the entry as it was; the batch that fell out of its memory, if one did. */
interface Undo {
  readonly producerId: number
  /** The object in the map before; undefined = there was none. */
  readonly entry: ProducerEntry | undefined
  readonly lastAppendMs: number
  readonly coordinatorEpoch: number
  /** Numbers dropped from the front of `batches`; undefined = the entry was replaced, not extended. */
  readonly dropped: readonly number[] | undefined
}

/** What a snapshot file says. */
export interface ProducerSnapshot {
  readonly state: ProducerState
  readonly endOffset: number
  readonly open: readonly OpenTransaction[]
  readonly aborted: AbortedMarks
}

export interface ProducerStateOptions {
  readonly producersMax?: number
  readonly transactions?: OpenTransactions
}

export class ProducerState {
  #producers: Map<number, ProducerEntry> | undefined
  #undo: Undo[] = []
  /** The producer at the end of the map's order: most traffic needs no reordering. */
  #newest = -1
  readonly #producersMax: number
  readonly #transactions: OpenTransactions

  /** `transactions`: of the partition; a state that stands alone has its own. */
  constructor(options: ProducerStateOptions = {}) {
    this.#producersMax = options.producersMax ?? PARTITION_PRODUCERS_MAX
    this.#transactions = options.transactions ?? new OpenTransactions()
  }

  get count(): number {
    return this.#producers?.size ?? 0
  }

  get transactions(): OpenTransactions {
    return this.#transactions
  }

  /** What to do with a client's batch: rules 1 to 7 of docs/invariants.md, in their order. Changes nothing. */
  decide(batch: ProducerBatch): ProducerDecision {
    if (batch.producerId < 0) return APPEND
    const decision = this.#decideSequence(batch)
    return decision.kind === 'append' ? this.#decideTransaction(batch) : decision
  }

  #decideSequence(batch: ProducerBatch): ProducerDecision {
    const entry = this.#producers?.get(batch.producerId)
    if (entry === undefined) return APPEND // rule 5: new, expired or evicted: any first sequence
    if (!hasSequence(batch)) return batch.producerEpoch < entry.epoch ? fenced(batch, entry) : APPEND
    const lastSequence = sequenceAfter(batch.baseSequence, batch.lastOffsetDelta)
    if (batch.producerEpoch === entry.epoch) {
      const known = findBatch(entry, batch, lastSequence) // rule 1
      if (known >= 0) return duplicateOf(entry, known)
    }
    if (batch.producerEpoch < entry.epoch) return fenced(batch, entry) // rule 2
    if (batch.producerEpoch > entry.epoch) return batch.baseSequence === 0 ? APPEND : outOfOrder(batch, 0) // rule 3
    const last = entry.batches.length - STRIDE
    const expected = last < 0 ? 0 : sequenceAfter(entry.batches[last + LAST_SEQUENCE]!, 1) // P4
    return batch.baseSequence === expected ? APPEND : outOfOrder(batch, expected) // rule 4
  }

  #decideTransaction(batch: ProducerBatch): ProducerDecision {
    const transactions = this.#transactions
    const isOpen = transactions.has(batch.producerId)
    if (!batch.isTransactional) return isOpen ? outsideTransaction(batch) : APPEND // rule 6
    if (isOpen) {
      const entry = this.#producers?.get(batch.producerId)
      return entry?.epoch === batch.producerEpoch ? APPEND : notEndedYet(batch)
    }
    if (!transactions.isRegistered(batch.producerId, batch.producerEpoch)) return notRegistered(batch) // rule 7
    return transactions.count < PARTITION_OPEN_TRANSACTIONS_MAX ? APPEND : tooManyOpen()
  }

  /**
   * The coordinator says that the producer may begin a transaction here. In memory only, and bounded: where it is not known any more the
   * batch is refused (rule 7) and the client adds the partition again. An epoch below the partition's is late: ignored.
   */
  register(producerId: number, producerEpoch: number): void {
    const entry = this.#producers?.get(producerId)
    if (entry !== undefined && producerEpoch < entry.epoch) return
    this.#transactions.register(producerId, producerEpoch)
  }

  /**
   * What to do with a coordinator's marker. Changes nothing.
   *
   * | epoch, against the partition's | open | classic            | else                                                           |
   * | ------------------------------ | ---- | ------------------ | -------------------------------------------------------------- |
   * | below                          | yes  | fenced             | fenced                                                         |
   * | below                          | no   | written before     | written before: there is nothing to end, and nothing can begin |
   * | equal                          | yes  | append             | fenced: a late one of an earlier transaction (X1)              |
   * | equal                          | no   | append where it is | written before                                                 |
   * |                                |      | registered, else   |                                                                |
   * |                                |      | written before     |                                                                |
   * | above, or the producer is new  | -    | append             | append: the old epoch is fenced here though nothing was written |
   */
  decideMarker(wish: MarkerWish): MarkerDecision {
    const { producerId, producerEpoch, isClassic } = wish
    const entry = this.#producers?.get(producerId)
    if (entry === undefined) return APPEND
    const isBelow = producerEpoch < entry.epoch
    if (isBelow && this.#transactions.has(producerId)) return fencedMarker(wish, entry)
    if (wish.coordinatorEpoch < entry.coordinatorEpoch) return fencedCoordinator(wish, entry) // X9
    // Not only a marker may have raised the epoch: any batch of that producer id does. A coordinator that were refused would ask for ever.
    if (isBelow) return WRITTEN
    if (producerEpoch > entry.epoch) return APPEND
    if (this.#transactions.has(producerId)) return isClassic ? APPEND : lateMarker(wish)
    return isClassic && this.#transactions.isRegistered(producerId, producerEpoch) ? APPEND : WRITTEN
  }

  /**
   * Takes in a batch that is being appended; undone by rollback() until settle(). `marker`: markerOf(batch). Answers the transaction that
   * the marker aborts, if it does.
   */
  apply(batch: ProducerBatch, nowMs: number, marker?: MarkerContent): AbortedEntry | undefined {
    if (batch.producerId < 0) return undefined
    const entry = this.#producers?.get(batch.producerId)
    const extended = entry !== undefined && entry.epoch === batch.producerEpoch
    const dropped =
      extended && hasSequence(batch) && entry.batches.length === BATCH_NUMBERS_MAX
        ? entry.batches.slice(0, STRIDE)
        : NOTHING
    this.#undo.push({
      producerId: batch.producerId,
      entry,
      lastAppendMs: entry?.lastAppendMs ?? 0,
      coordinatorEpoch: entry?.coordinatorEpoch ?? -1,
      dropped: extended ? (hasSequence(batch) ? dropped : UNSEQUENCED) : undefined,
    })
    return this.#take(batch, nowMs, marker)
  }

  /** Takes in a batch of the log, as recovery and followers do: no checks, no undo. Answers as apply() does. */
  replay(batch: ProducerBatch, nowMs: number, marker?: MarkerContent): AbortedEntry | undefined {
    if (batch.producerId < 0) return undefined
    const aborted = this.#take(batch, nowMs, marker)
    this.#transactions.settle()
    this.#evict()
    return aborted
  }

  /** What was applied is in the log now. */
  settle(): void {
    if (this.#undo.length === 0) return
    this.#undo.length = 0
    this.#transactions.settle()
    this.#evict()
  }

  /** What was applied since the last settle() is not in the log. */
  rollback(): void {
    for (let index = this.#undo.length - 1; index >= 0; index--) {
      const undo = this.#undo[index]!
      if (undo.entry === undefined) {
        this.#producers!.delete(undo.producerId)
        this.#newest = -1
      } else if (undo.dropped === undefined) {
        this.#producers!.set(undo.producerId, undo.entry)
      } else {
        undo.entry.lastAppendMs = undo.lastAppendMs
        undo.entry.coordinatorEpoch = undo.coordinatorEpoch
        if (undo.dropped !== UNSEQUENCED) {
          undo.entry.batches.length -= STRIDE
          undo.entry.batches.unshift(...undo.dropped)
        }
      }
    }
    this.#undo.length = 0
    this.#transactions.rollback()
  }

  /** Drops producers that were silent since `beforeMs` (wall time) and have no transaction open; returns how many. */
  expire(beforeMs: number): number {
    assert(this.#undo.length === 0, 'producers may not expire while batches are staged')
    let dropped = 0
    if (this.#producers === undefined) return 0
    for (const [producerId, entry] of this.#producers) {
      if (entry.lastAppendMs >= beforeMs || this.#transactions.has(producerId)) continue
      this.#producers.delete(producerId)
      dropped++
    }
    this.#newest = -1
    if (this.#producers.size === 0) this.#producers = undefined
    return dropped
  }

  /** The producers behind `after` by producer id, `countMax` of them at most: what they wrote last. */
  page(after: number, countMax: number): ProducerLine[] {
    const producers = this.#producers ?? NO_PRODUCERS
    return smallestAfter(producers.keys(), { after, countMax }).map((producerId) => {
      const { epoch, coordinatorEpoch, lastAppendMs, batches } = producers.get(producerId)!
      const last = batches.length - STRIDE
      return {
        ...{ producerId, epoch, coordinatorEpoch, transactionFirst: this.#transactions.firstOffsetOf(producerId) },
        lastSequence: last < 0 ? -1 : batches[last + LAST_SEQUENCE]!,
        lastTimestampMs: last < 0 ? lastAppendMs : batches[last + TIMESTAMP]!,
      }
    })
  }

  /** Every producer with its epoch and batches, by producer id: for tests, dumps and the admin API. */
  describe(): ProducerDescription[] {
    const list: ProducerDescription[] = []
    for (const [producerId, entry] of this.#producers ?? []) {
      const batches = []
      for (let at = 0; at < entry.batches.length; at += STRIDE) {
        const lastOffset = entry.batches[at + LAST_OFFSET]!
        const baseOffset = lastOffset - entry.batches[at + DELTA]!
        batches.push({ lastSequence: entry.batches[at + LAST_SEQUENCE]!, baseOffset, lastOffset })
      }
      const { epoch, coordinatorEpoch } = entry
      const transactionFirst = this.#transactions.firstOffsetOf(producerId)
      list.push({ producerId, epoch, coordinatorEpoch, transactionFirst, batches })
    }
    return list.sort((left, right) => left.producerId - right.producerId)
  }

  /** Image of a snapshot file: the state after every batch below `endOffset`. */
  encode(endOffset: number, aborted: AbortedMarks = NOTHING_ABORTED): Uint8Array {
    assert(this.#undo.length === 0, 'no snapshot while batches are staged')
    const content = newChecked(PRODUCER_SNAPSHOT_FILE, this.count)
    writeSafeInt64(content.view, content.metaAt + SNAPSHOT_END_OFFSET_AT, endOffset)
    writeSafeInt64(content.view, content.metaAt + SNAPSHOT_FIRST_ABORTED_AT, aborted.first)
    writeSafeInt64(content.view, content.metaAt + SNAPSHOT_LAST_ABORTED_AT, aborted.last)
    let at = content.entriesAt
    for (const [producerId, entry] of this.#producers ?? []) {
      encodeEntry(content.view, at, producerId, entry)
      writeSafeInt64(content.view, at + SNAPSHOT_TRANSACTION_FIRST_AT, this.#transactions.firstOffsetOf(producerId))
      at += SNAPSHOT_ENTRY_BYTES
    }
    return sealChecked(content)
  }

  /** `open`: as of endOffset. A partition's `transactions` that are handed in are left as they are; a state's own are these. */
  static decode(bytes: Uint8Array, options: ProducerStateOptions = {}): CheckedAnswer<ProducerSnapshot> {
    const isFirstVersion = checkedVersionOf(bytes) === PRODUCER_SNAPSHOT_FILE_1.version
    const content = decodeChecked(isFirstVersion ? PRODUCER_SNAPSHOT_FILE_1 : PRODUCER_SNAPSHOT_FILE, bytes)
    if (content.kind === 'unreadable') return content
    const endOffset = readSafeInt64(content.view, content.metaAt + SNAPSHOT_END_OFFSET_AT)
    const state = new ProducerState(options)
    const open: OpenTransaction[] = []
    let at = content.entriesAt
    for (let index = 0; index < content.entryCount; index++, at += SNAPSHOT_ENTRY_BYTES) {
      const entry = decodeEntry(content.view, at)
      if (entry === undefined)
        return { kind: 'unreadable', reason: `producer snapshot: entry ${index} is not possible` }
      state.#producers ??= new Map()
      const producerId = readSafeInt64(content.view, at + SNAPSHOT_PRODUCER_ID_AT)
      state.#producers.set(producerId, entry)
      const firstOffset = readSafeInt64(content.view, at + SNAPSHOT_TRANSACTION_FIRST_AT)
      if (firstOffset >= 0) open.push([producerId, firstOffset])
    }
    open.sort(byFirstOffset)
    if (options.transactions === undefined) state.#transactions.restore(open)
    state.#evict()
    return {
      kind: 'present',
      value: { state, endOffset, open, aborted: isFirstVersion ? NOTHING_ABORTED : readMarks(content) },
    }
  }

  #take(batch: ProducerBatch, nowMs: number, marker: MarkerContent | undefined): AbortedEntry | undefined {
    this.#producers ??= new Map()
    let entry = this.#producers.get(batch.producerId)
    if (entry === undefined || entry.epoch !== batch.producerEpoch) {
      const coordinatorEpoch = entry?.coordinatorEpoch ?? -1
      entry = { epoch: batch.producerEpoch, coordinatorEpoch, lastAppendMs: nowMs, batches: [] }
      this.#producers.delete(batch.producerId)
      this.#producers.set(batch.producerId, entry)
    } else if (this.#newest !== batch.producerId) {
      this.#producers.delete(batch.producerId)
      this.#producers.set(batch.producerId, entry)
    }
    this.#newest = batch.producerId
    entry.lastAppendMs = nowMs
    if (marker !== undefined) entry.coordinatorEpoch = marker.coordinatorEpoch
    const aborted = this.#transactions.take(batch, marker)
    if (!hasSequence(batch)) return aborted
    if (entry.batches.length === BATCH_NUMBERS_MAX) entry.batches.splice(0, STRIDE)
    entry.batches.push(
      sequenceAfter(batch.baseSequence, batch.lastOffsetDelta),
      batch.lastOffsetDelta,
      batch.baseOffset + batch.lastOffsetDelta,
      batch.maxTimestamp,
    )
    return undefined
  }

  #evict(): void {
    const producers = this.#producers
    if (producers === undefined || producers.size <= this.#producersMax) return
    let passed = 0
    for (const [producerId, entry] of producers) {
      producers.delete(producerId)
      // One with an open transaction counts as new, so that it is not met again each time.
      if (this.#transactions.has(producerId)) {
        producers.set(producerId, entry)
        this.#newest = producerId
        if (++passed > this.#transactions.count) return
      }
      if (producers.size <= this.#producersMax) return
    }
  }
}

const NOTHING: readonly number[] = []
const NO_PRODUCERS: ReadonlyMap<number, ProducerEntry> = new Map()
/** Stands in Undo.dropped for a batch without a sequence: nothing was pushed. */
const UNSEQUENCED: readonly number[] = []

/** Markers have none, nor what a coordinator writes in a producer's name (a transaction's offsets); clients' batches always do. */
function hasSequence(batch: ProducerBatch): boolean {
  return !batch.isControl && batch.baseSequence >= 0
}

function findBatch(entry: ProducerEntry, batch: ProducerBatch, lastSequence: number): number {
  for (let at = entry.batches.length - STRIDE; at >= 0; at -= STRIDE) {
    if (entry.batches[at + LAST_SEQUENCE] === lastSequence && entry.batches[at + DELTA] === batch.lastOffsetDelta)
      return at
  }
  return -1
}

function duplicateOf(entry: ProducerEntry, at: number): ProducerDecision {
  const lastOffset = entry.batches[at + LAST_OFFSET]!
  return {
    kind: 'duplicate',
    baseOffset: lastOffset - entry.batches[at + DELTA]!,
    lastOffset,
    timestampMs: entry.batches[at + TIMESTAMP]!,
  }
}
