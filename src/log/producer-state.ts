/**
 * ProducerState: what one partition knows of each idempotent producer: epoch, last five batches. Decides, then applies.
 *
 * Owns        producer id -> ProducerEntry; nothing at all until the first producer writes
 * Invariants  P1 applying the log's batches in order gives the state, however often it was decided on (I10)
 *             P2 a producer keeps at most PRODUCER_BATCHES_REMEMBERED batches, newest last
 *             P3 rollback() restores what was there at the last settle(), the order of eviction aside
 * Ordering    decide(batch) -> apply(batch) while staged -> settle() when written | rollback() when the write failed.
 *             decide() sees what is staged: a second batch of the same turn is checked against the first
 * Limits      PARTITION_PRODUCERS_MAX: the producer that wrote least recently goes first (a duplicate of its is then not known);
 *             expire() drops those that were silent for producer.id.expiration.ms
 * Format      format.md "Producer snapshot"
 * Not here    transactions (the rules of transactions): the fields are in the format, the rules come with the coordinator
 */
import { assert } from '../base/assert.ts'
import { readSafeInt64, writeSafeInt64 } from '../base/bytes.ts'
import type { ErrorCode } from '../model/errors.ts'
import { PARTITION_PRODUCERS_MAX, PRODUCER_BATCHES_REMEMBERED } from '../model/limits.ts'
import { sequenceAfter } from '../record/batch-layout.ts'
import { type CheckedAnswer, type CheckedFileKind, decodeChecked, newChecked, sealChecked } from './checked-file.ts'

/** What this module asks of a batch; a BatchView has it. */
export interface ProducerBatch {
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly lastOffsetDelta: number
  readonly baseOffset: number
  readonly maxTimestamp: number
  readonly isControl: boolean
}

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
  /** Newest last. */
  readonly batches: readonly {
    readonly lastSequence: number
    readonly baseOffset: number
    readonly lastOffset: number
  }[]
}

const APPEND: ProducerDecision = { kind: 'append' }

// Meta, after the header of a checked file:
// |  0 | 8 | endOffset | i64; the state after every batch below it
// Entry:
// |  0 |   8 | producerId           | i64
// |  8 |   2 | producerEpoch        | i16
// | 10 |   2 | batchCount           | u16; 0 … 5
// | 12 |   4 | coordinatorEpoch     | i32; -1 = none (transactions, later)
// | 16 |   8 | lastAppendMs         | i64; wall time of its last append here, for expiry
// | 24 |   8 | transactionFirst     | i64; first offset of its open transaction; -1 = none (later)
// | 32 | 120 | batches              | 5 of: lastSequence i32, offsetDelta i32, lastOffset i64, timestampMs i64; unused ones are zero
export const SNAPSHOT_END_OFFSET_AT = 0
export const SNAPSHOT_META_BYTES = SNAPSHOT_END_OFFSET_AT + 8
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
  version: 1,
  metaBytes: SNAPSHOT_META_BYTES,
  entryBytes: SNAPSHOT_ENTRY_BYTES,
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
  /** Numbers dropped from the front of `batches`; undefined = the entry was replaced, not extended. */
  readonly dropped: readonly number[] | undefined
}

export class ProducerState {
  #producers: Map<number, ProducerEntry> | undefined
  #undo: Undo[] = []
  /** The producer at the end of the map's order: most traffic needs no reordering. */
  #newest = -1
  readonly #producersMax: number

  constructor(options: { readonly producersMax?: number } = {}) {
    this.#producersMax = options.producersMax ?? PARTITION_PRODUCERS_MAX
  }

  get count(): number {
    return this.#producers?.size ?? 0
  }

  /** What to do with a client's batch: rules 1 to 5 of docs/invariants.md, in their order. Changes nothing. */
  decide(batch: ProducerBatch): ProducerDecision {
    if (batch.producerId < 0) return APPEND
    const entry = this.#producers?.get(batch.producerId)
    if (entry === undefined) return APPEND // rule 5: new, expired or evicted: any first sequence
    const lastSequence = sequenceAfter(batch.baseSequence, batch.lastOffsetDelta)
    if (batch.producerEpoch === entry.epoch) {
      const known = findBatch(entry, batch, lastSequence) // rule 1
      if (known >= 0) return duplicateOf(entry, known)
    }
    if (batch.producerEpoch < entry.epoch) return fenced(batch, entry) // rule 2
    if (batch.producerEpoch > entry.epoch) return batch.baseSequence === 0 ? APPEND : outOfOrder(batch, 0) // rule 3
    if (entry.batches.length === 0) return APPEND // only a control batch so far: no sequence to follow
    const expected = sequenceAfter(entry.batches[entry.batches.length - STRIDE + LAST_SEQUENCE]!, 1)
    return batch.baseSequence === expected ? APPEND : outOfOrder(batch, expected) // rule 4
  }

  /** Takes in a batch that is being appended; undone by rollback() until settle(). */
  apply(batch: ProducerBatch, nowMs: number): void {
    if (batch.producerId < 0) return
    const entry = this.#producers?.get(batch.producerId)
    const extended = entry !== undefined && entry.epoch === batch.producerEpoch
    const dropped =
      extended && !batch.isControl && entry.batches.length === BATCH_NUMBERS_MAX
        ? entry.batches.slice(0, STRIDE)
        : NOTHING
    this.#undo.push({
      producerId: batch.producerId,
      entry,
      lastAppendMs: entry?.lastAppendMs ?? 0,
      dropped: extended ? (batch.isControl ? CONTROL : dropped) : undefined,
    })
    this.#take(batch, nowMs)
  }

  /** Takes in a batch of the log, as recovery and followers do: no checks, no undo. */
  replay(batch: ProducerBatch, nowMs: number): void {
    if (batch.producerId < 0) return
    this.#take(batch, nowMs)
    this.#evict()
  }

  /** What was applied is in the log now. */
  settle(): void {
    if (this.#undo.length === 0) return
    this.#undo.length = 0
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
        if (undo.dropped !== CONTROL) {
          undo.entry.batches.length -= STRIDE
          undo.entry.batches.unshift(...undo.dropped)
        }
      }
    }
    this.#undo.length = 0
  }

  /** Drops producers that were silent since `beforeMs` (wall time); returns how many. */
  expire(beforeMs: number): number {
    assert(this.#undo.length === 0, 'producers may not expire while batches are staged')
    let dropped = 0
    if (this.#producers === undefined) return 0
    for (const [producerId, entry] of this.#producers) {
      if (entry.lastAppendMs >= beforeMs) continue
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
      list.push({ producerId, epoch: entry.epoch, batches })
    }
    return list.sort((left, right) => left.producerId - right.producerId)
  }

  /** Image of a snapshot file: the state after every batch below `endOffset`. */
  encode(endOffset: number): Uint8Array {
    assert(this.#undo.length === 0, 'no snapshot while batches are staged')
    const content = newChecked(PRODUCER_SNAPSHOT_FILE, this.count)
    writeSafeInt64(content.view, content.metaAt + SNAPSHOT_END_OFFSET_AT, endOffset)
    let at = content.entriesAt
    for (const [producerId, entry] of this.#producers ?? []) {
      encodeEntry(content.view, at, producerId, entry)
      at += SNAPSHOT_ENTRY_BYTES
    }
    return sealChecked(content)
  }

  static decode(
    bytes: Uint8Array,
    options: { readonly producersMax?: number } = {},
  ): CheckedAnswer<{ readonly state: ProducerState; readonly endOffset: number }> {
    const content = decodeChecked(PRODUCER_SNAPSHOT_FILE, bytes)
    if (content.kind === 'unreadable') return content
    const endOffset = readSafeInt64(content.view, content.metaAt + SNAPSHOT_END_OFFSET_AT)
    const state = new ProducerState(options)
    let at = content.entriesAt
    for (let index = 0; index < content.entryCount; index++, at += SNAPSHOT_ENTRY_BYTES) {
      const entry = decodeEntry(content.view, at)
      if (entry === undefined)
        return { kind: 'unreadable', reason: `producer snapshot: entry ${index} is not possible` }
      state.#producers ??= new Map()
      state.#producers.set(readSafeInt64(content.view, at + SNAPSHOT_PRODUCER_ID_AT), entry)
    }
    state.#evict()
    return { kind: 'present', value: { state, endOffset } }
  }

  #take(batch: ProducerBatch, nowMs: number): void {
    this.#producers ??= new Map()
    let entry = this.#producers.get(batch.producerId)
    if (entry === undefined || entry.epoch !== batch.producerEpoch) {
      entry = { epoch: batch.producerEpoch, lastAppendMs: nowMs, batches: [] }
      this.#producers.delete(batch.producerId)
      this.#producers.set(batch.producerId, entry)
    } else if (this.#newest !== batch.producerId) {
      this.#producers.delete(batch.producerId)
      this.#producers.set(batch.producerId, entry)
    }
    this.#newest = batch.producerId
    entry.lastAppendMs = nowMs
    if (batch.isControl) return // a marker has no sequence
    if (entry.batches.length === BATCH_NUMBERS_MAX) entry.batches.splice(0, STRIDE)
    entry.batches.push(
      sequenceAfter(batch.baseSequence, batch.lastOffsetDelta),
      batch.lastOffsetDelta,
      batch.baseOffset + batch.lastOffsetDelta,
      batch.maxTimestamp,
    )
  }

  #evict(): void {
    if (this.#producers === undefined || this.#producers.size <= this.#producersMax) return
    for (const producerId of this.#producers.keys()) {
      this.#producers.delete(producerId)
      if (this.#producers.size <= this.#producersMax) return
    }
  }
}

const NOTHING: readonly number[] = []
/** Stands in Undo.dropped for a control batch: nothing was pushed. */
const CONTROL: readonly number[] = []

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

function encodeEntry(view: DataView, at: number, producerId: number, entry: ProducerEntry): void {
  writeSafeInt64(view, at + SNAPSHOT_PRODUCER_ID_AT, producerId)
  view.setInt16(at + SNAPSHOT_EPOCH_AT, entry.epoch)
  view.setUint16(at + SNAPSHOT_BATCH_COUNT_AT, entry.batches.length / STRIDE)
  view.setInt32(at + SNAPSHOT_COORDINATOR_EPOCH_AT, -1)
  writeSafeInt64(view, at + SNAPSHOT_LAST_APPEND_AT, entry.lastAppendMs)
  writeSafeInt64(view, at + SNAPSHOT_TRANSACTION_FIRST_AT, -1)
  let batchAt = at + SNAPSHOT_BATCHES_AT
  for (let index = 0; index < entry.batches.length; index += STRIDE, batchAt += SNAPSHOT_BATCH_BYTES) {
    view.setInt32(batchAt + SNAPSHOT_BATCH_LAST_SEQUENCE_AT, entry.batches[index + LAST_SEQUENCE]!)
    view.setInt32(batchAt + SNAPSHOT_BATCH_DELTA_AT, entry.batches[index + DELTA]!)
    writeSafeInt64(view, batchAt + SNAPSHOT_BATCH_LAST_OFFSET_AT, entry.batches[index + LAST_OFFSET]!)
    writeSafeInt64(view, batchAt + SNAPSHOT_BATCH_TIMESTAMP_AT, entry.batches[index + TIMESTAMP]!)
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
    lastAppendMs: readSafeInt64(view, at + SNAPSHOT_LAST_APPEND_AT),
    batches,
  }
}
