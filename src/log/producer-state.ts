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
import type { ErrorCode } from '../model/errors.ts'
import {
  PARTITION_OPEN_TRANSACTIONS_MAX,
  PARTITION_PRODUCERS_MAX,
  PRODUCER_BATCHES_REMEMBERED,
} from '../model/limits.ts'
import { sequenceAfter } from '../record/batch-layout.ts'
import { type AbortedMarks, NOTHING_ABORTED } from './aborted-index.ts'
import {
  type CheckedAnswer,
  type CheckedContent,
  type CheckedFileKind,
  checkedVersionOf,
  decodeChecked,
  newChecked,
  sealChecked,
} from './checked-file.ts'
import {
  type AbortedTransaction,
  byFirstOffset,
  type MarkerContent,
  type OpenTransaction,
  OpenTransactions,
  type TransactionBatch,
} from './open-transactions.ts'

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
  | { readonly kind: 'reject'; readonly code: ErrorCode; readonly text: string }

export type ProducerDecision =
  | { readonly kind: 'append' }
  /** It is in the log already: answer with these, append nothing. */
  | {
      readonly kind: 'duplicate'
      readonly baseOffset: number
      readonly lastOffset: number
      readonly timestampMs: number
    }
  | { readonly kind: 'reject'; readonly code: ErrorCode; readonly text: string }

export interface ProducerDescription {
  readonly producerId: number
  readonly epoch: number
  /** Of the coordinator that wrote its last marker; -1 = none. */
  readonly coordinatorEpoch: number
  /** First offset of its open transaction; -1 = none. */
  readonly transactionFirst: number
  /** Newest last. */
  readonly batches: readonly {
    readonly lastSequence: number
    readonly baseOffset: number
    readonly lastOffset: number
  }[]
}

const APPEND = { kind: 'append' } as const
const WRITTEN: MarkerDecision = { kind: 'written' }

// Meta, after the header of a checked file; version 1 had the first field only:
// |  0 | 8 | endOffset    | i64; the state after every batch below it
// |  8 | 8 | firstAborted | i64; marker of the first transaction that was ever aborted; -1 = none
// | 16 | 8 | lastAborted  | i64; marker of the last one below endOffset; -1 = none
// Entry:
// |  0 |   8 | producerId           | i64
// |  8 |   2 | producerEpoch        | i16
// | 10 |   2 | batchCount           | u16; 0 … 5
// | 12 |   4 | coordinatorEpoch     | i32; of its last marker; -1 = none
// | 16 |   8 | lastAppendMs         | i64; wall time of its last append here, for expiry
// | 24 |   8 | transactionFirst     | i64; first offset of its open transaction; -1 = none
// | 32 | 120 | batches              | 5 of: lastSequence i32, offsetDelta i32, lastOffset i64, timestampMs i64; unused ones are zero
export const SNAPSHOT_END_OFFSET_AT = 0
export const SNAPSHOT_FIRST_ABORTED_AT = SNAPSHOT_END_OFFSET_AT + 8
export const SNAPSHOT_LAST_ABORTED_AT = SNAPSHOT_FIRST_ABORTED_AT + 8
export const SNAPSHOT_META_BYTES = SNAPSHOT_LAST_ABORTED_AT + 8
export const SNAPSHOT_PRODUCER_ID_AT = 0
export const SNAPSHOT_EPOCH_AT = SNAPSHOT_PRODUCER_ID_AT + 8
export const SNAPSHOT_BATCH_COUNT_AT = SNAPSHOT_EPOCH_AT + 2
export const SNAPSHOT_COORDINATOR_EPOCH_AT = SNAPSHOT_BATCH_COUNT_AT + 2
export const SNAPSHOT_LAST_APPEND_AT = SNAPSHOT_COORDINATOR_EPOCH_AT + 4
export const SNAPSHOT_TRANSACTION_FIRST_AT = SNAPSHOT_LAST_APPEND_AT + 8
export const SNAPSHOT_BATCHES_AT = SNAPSHOT_TRANSACTION_FIRST_AT + 8
export const SNAPSHOT_BATCH_LAST_SEQUENCE_AT = 0
export const SNAPSHOT_BATCH_DELTA_AT = SNAPSHOT_BATCH_LAST_SEQUENCE_AT + 4
export const SNAPSHOT_BATCH_LAST_OFFSET_AT = SNAPSHOT_BATCH_DELTA_AT + 4
export const SNAPSHOT_BATCH_TIMESTAMP_AT = SNAPSHOT_BATCH_LAST_OFFSET_AT + 8
export const SNAPSHOT_BATCH_BYTES = SNAPSHOT_BATCH_TIMESTAMP_AT + 8
export const SNAPSHOT_ENTRY_BYTES = SNAPSHOT_BATCHES_AT + PRODUCER_BATCHES_REMEMBERED * SNAPSHOT_BATCH_BYTES
assert(SNAPSHOT_ENTRY_BYTES === 152, 'producer snapshot layout changed: bump its version')

export const PRODUCER_SNAPSHOT_FILE: CheckedFileKind = {
  name: 'producer snapshot',
  magic: 'MRPS',
  version: 2,
  metaBytes: SNAPSHOT_META_BYTES,
  entryBytes: SNAPSHOT_ENTRY_BYTES,
}
/** From before there were transactions: none is open, none was aborted. */
const PRODUCER_SNAPSHOT_FILE_1: CheckedFileKind = {
  ...PRODUCER_SNAPSHOT_FILE,
  version: 1,
  metaBytes: SNAPSHOT_FIRST_ABORTED_AT,
}

/** `producer-state-<offset>.snapshot` */
export function producerSnapshotName(endOffset: number): string {
  return `producer-state-${String(endOffset).padStart(20, '0')}.snapshot`
}

/** Offset of a snapshot's file name; undefined for any other name. */
export function parseProducerSnapshotName(name: string): number | undefined {
  const match = /^producer-state-(\d{20})\.snapshot$/.exec(name)
  if (match === null) return undefined
  const endOffset = Number(match[1])
  return Number.isSafeInteger(endOffset) ? endOffset : undefined
}

/** Numbers a remembered batch takes in ProducerEntry.batches. */
const LAST_SEQUENCE = 0
const DELTA = 1
const LAST_OFFSET = 2
const TIMESTAMP = 3
const STRIDE = 4
const BATCH_NUMBERS_MAX = PRODUCER_BATCHES_REMEMBERED * STRIDE

interface ProducerEntry {
  epoch: number
  coordinatorEpoch: number
  lastAppendMs: number
  /** STRIDE numbers a batch, newest last. */
  batches: number[]
}

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
   * | below                          | -    | fenced             | fenced                                                         |
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
    if (producerEpoch < entry.epoch) return fencedMarker(wish, entry)
    if (wish.coordinatorEpoch < entry.coordinatorEpoch) return fencedCoordinator(wish, entry) // X9
    if (producerEpoch > entry.epoch) return APPEND
    if (this.#transactions.has(producerId)) return isClassic ? APPEND : lateMarker(wish)
    return isClassic && this.#transactions.isRegistered(producerId, producerEpoch) ? APPEND : WRITTEN
  }

  /**
   * Takes in a batch that is being appended; undone by rollback() until settle(). `marker`: markerOf(batch). Answers the transaction that
   * the marker aborts, if it does.
   */
  apply(batch: ProducerBatch, nowMs: number, marker?: MarkerContent): AbortedTransaction | undefined {
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
  replay(batch: ProducerBatch, nowMs: number, marker?: MarkerContent): AbortedTransaction | undefined {
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

  #take(batch: ProducerBatch, nowMs: number, marker: MarkerContent | undefined): AbortedTransaction | undefined {
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

function fenced(batch: ProducerBatch, entry: ProducerEntry): ProducerDecision {
  const text = `producer ${batch.producerId} has epoch ${entry.epoch} here, the batch has ${batch.producerEpoch}`
  return { kind: 'reject', code: 'INVALID_PRODUCER_EPOCH', text }
}

function outOfOrder(batch: ProducerBatch, expected: number): ProducerDecision {
  const text = `producer ${batch.producerId} must go on with sequence ${expected}, the batch begins with ${batch.baseSequence}`
  return { kind: 'reject', code: 'OUT_OF_ORDER_SEQUENCE_NUMBER', text }
}

function outsideTransaction(batch: ProducerBatch): ProducerDecision {
  const text = `producer ${batch.producerId} has a transaction open here, the batch is none of it: end the transaction first`
  return { kind: 'reject', code: 'INVALID_TXN_STATE', text }
}

function notRegistered(batch: ProducerBatch): ProducerDecision {
  const text = `producer ${batch.producerId}, epoch ${batch.producerEpoch}, has no transaction with this partition: add the partition to the transaction, then send the batch again`
  return { kind: 'reject', code: 'INVALID_TXN_STATE', text }
}

/** Its coordinator ends one before it begins the next: the marker is on its way, or the batch is wrong. */
function notEndedYet(batch: ProducerBatch): ProducerDecision {
  const text = `producer ${batch.producerId} has a transaction of an older epoch open here: send the batch again once its marker is written`
  return { kind: 'reject', code: 'CONCURRENT_TRANSACTIONS', text }
}

function tooManyOpen(): ProducerDecision {
  const text = `${PARTITION_OPEN_TRANSACTIONS_MAX} transactions are open in this partition: send the batch again when some have ended`
  return { kind: 'reject', code: 'OVERLOADED', text }
}

function fencedMarker(wish: MarkerWish, entry: ProducerEntry): MarkerDecision {
  const text = `producer ${wish.producerId} has epoch ${entry.epoch} here, the marker has ${wish.producerEpoch}`
  return { kind: 'reject', code: 'INVALID_PRODUCER_EPOCH', text }
}

function lateMarker(wish: MarkerWish): MarkerDecision {
  const text = `producer ${wish.producerId} has begun another transaction with epoch ${wish.producerEpoch}: the marker is of an earlier one`
  return { kind: 'reject', code: 'INVALID_PRODUCER_EPOCH', text }
}

function fencedCoordinator(wish: MarkerWish, entry: ProducerEntry): MarkerDecision {
  const text = `the last marker of producer ${wish.producerId} came from coordinator epoch ${entry.coordinatorEpoch}, this one from ${wish.coordinatorEpoch}`
  return { kind: 'reject', code: 'TRANSACTION_COORDINATOR_FENCED', text }
}

function encodeEntry(view: DataView, at: number, producerId: number, entry: ProducerEntry): void {
  writeSafeInt64(view, at + SNAPSHOT_PRODUCER_ID_AT, producerId)
  view.setInt16(at + SNAPSHOT_EPOCH_AT, entry.epoch)
  view.setUint16(at + SNAPSHOT_BATCH_COUNT_AT, entry.batches.length / STRIDE)
  view.setInt32(at + SNAPSHOT_COORDINATOR_EPOCH_AT, entry.coordinatorEpoch)
  writeSafeInt64(view, at + SNAPSHOT_LAST_APPEND_AT, entry.lastAppendMs)
  let batchAt = at + SNAPSHOT_BATCHES_AT
  for (let index = 0; index < entry.batches.length; index += STRIDE, batchAt += SNAPSHOT_BATCH_BYTES) {
    view.setInt32(batchAt + SNAPSHOT_BATCH_LAST_SEQUENCE_AT, entry.batches[index + LAST_SEQUENCE]!)
    view.setInt32(batchAt + SNAPSHOT_BATCH_DELTA_AT, entry.batches[index + DELTA]!)
    writeSafeInt64(view, batchAt + SNAPSHOT_BATCH_LAST_OFFSET_AT, entry.batches[index + LAST_OFFSET]!)
    writeSafeInt64(view, batchAt + SNAPSHOT_BATCH_TIMESTAMP_AT, entry.batches[index + TIMESTAMP]!)
  }
}

function readMarks({ view, metaAt }: CheckedContent): AbortedMarks {
  return {
    first: readSafeInt64(view, metaAt + SNAPSHOT_FIRST_ABORTED_AT),
    last: readSafeInt64(view, metaAt + SNAPSHOT_LAST_ABORTED_AT),
  }
}

function decodeEntry(view: DataView, at: number): ProducerEntry | undefined {
  const batchCount = view.getUint16(at + SNAPSHOT_BATCH_COUNT_AT)
  if (batchCount > PRODUCER_BATCHES_REMEMBERED || !(readSafeInt64(view, at + SNAPSHOT_PRODUCER_ID_AT) >= 0))
    return undefined
  const batches: number[] = []
  let batchAt = at + SNAPSHOT_BATCHES_AT
  for (let index = 0; index < batchCount; index++, batchAt += SNAPSHOT_BATCH_BYTES) {
    batches.push(
      view.getInt32(batchAt + SNAPSHOT_BATCH_LAST_SEQUENCE_AT),
      view.getInt32(batchAt + SNAPSHOT_BATCH_DELTA_AT),
      readSafeInt64(view, batchAt + SNAPSHOT_BATCH_LAST_OFFSET_AT),
      readSafeInt64(view, batchAt + SNAPSHOT_BATCH_TIMESTAMP_AT),
    )
  }
  return {
    epoch: view.getInt16(at + SNAPSHOT_EPOCH_AT),
    coordinatorEpoch: view.getInt32(at + SNAPSHOT_COORDINATOR_EPOCH_AT),
    lastAppendMs: readSafeInt64(view, at + SNAPSHOT_LAST_APPEND_AT),
    batches,
  }
}
