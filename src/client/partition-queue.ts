/**
 * PartitionQueue: one partition's batches on their way: filled, sealed, in flight, sent again. Decides what may be sent and
 * what a reply means; sans-IO.
 *
 * Invariants  Q1 batches are sent, and sent again, in the order in which their first record was appended
 *             Q2 at most IN_FLIGHT_MAX batches are in flight; one, until the broker has acknowledged a batch of this producer
 *                epoch: a partition without state for a producer accepts any first sequence (Kafka's rule), so a second
 *                batch could overtake a first one that was refused. Counted from the oldest without an answer: a request carries
 *                batches of many partitions, so answers of one partition come in any order, and what the oldest was followed by
 *                must not push it out of what the partition remembers, else its retry is refused although it is stored
 *                Another leader epoch is as a new producer epoch: with acks of the leader alone the new one may not know this producer
 *             Q3 sequences of one producer epoch have no gap among batches that can still be stored
 * Sequences   A batch keeps its sequence until it is acknowledged, so a retry is recognised. When a batch is given up, its
 *             sequence leaves a gap, and the partition begins a new producer epoch at sequence 0 as soon as nothing is in
 *             flight: the higher epoch fences whatever copies of older batches are still under way. Only this producer
 *             has the producer id, so it may raise the epoch by itself (as Kafka's Java client does). Not in a transaction: its epoch
 *             is the coordinator's, a batch that is given up closes the queue, and the next transaction begins a new one
 * Failure     OUT_OF_ORDER_SEQUENCE_NUMBER (or a fenced epoch) for the oldest batch means that the broker lost its state, or
 *             a batch before it was given up. Is the batch's own fate known (never in doubt, or behind one that was given up and
 *             is known not to be what the broker has lost), it goes again under a new epoch; else it is failed loudly, since it may be
 *             stored, and what is in doubt behind it is failed so too
 * Not here    when to ask for metadata, which connection, timers: produce-sender.ts
 */
import { assert } from '../base/assert.ts'
import { ERRORS, type ErrorCode, MillraceError } from '../model/errors.ts'
import { sequenceAfter } from '../record/batch-layout.ts'
import type { ProducerBatch } from './producer-batch.ts'

/** Batches of one producer whose sequence a partition remembers (Kafka's number): more in flight could not be recognised. */
export const IN_FLIGHT_MAX = 5
export const PRODUCER_EPOCH_MAX = 0x7fff
const NO_PRODUCER = -1

export interface PartitionQueueOptions {
  /** Stamp producer id, epoch and sequence. */
  readonly idempotent: boolean
  /** Its epochs are the coordinator's: it begins none by itself. */
  readonly isTransactional: boolean
  /** How often a batch is sent again at most. */
  readonly retriesMax: number
  readonly inFlightMax: number
  /** How long a batch that is not full waits for more records; 0 = only while another is in flight. */
  readonly lingerMs: number
}

/** What a reply, or the lack of one, said of a batch. */
export interface BatchFault {
  readonly code: ErrorCode
  readonly error: MillraceError
  /** It may be stored all the same. */
  readonly inDoubt: boolean
  /** What stood in the way is being mended: it goes again although the error is not retriable. */
  readonly isMending?: boolean
}

/** Errors after which the batch may be in the log although it was not acknowledged. */
const IN_DOUBT_CODES: readonly ErrorCode[] = [
  'NETWORK_EXCEPTION',
  'REQUEST_TIMED_OUT',
  'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
  'KAFKA_STORAGE_ERROR',
  'UNKNOWN_SERVER_ERROR',
]
const STATE_LOST_CODES: readonly ErrorCode[] = [
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'INVALID_PRODUCER_EPOCH',
  'UNKNOWN_PRODUCER_ID',
]

/** The fault that an error code means for a batch that was sent. */
export function faultOf(error: MillraceError): BatchFault {
  return { code: error.code, error, inDoubt: IN_DOUBT_CODES.includes(error.code) }
}

export class PartitionQueue {
  readonly topic: string
  readonly partition: number
  readonly #options: PartitionQueueOptions
  /** The batch that takes records now. */
  open: ProducerBatch | undefined
  /** Sealed, not in flight; oldest first. */
  readonly #waiting: ProducerBatch[] = []
  /** In flight, oldest first. */
  readonly #inFlight: ProducerBatch[] = []
  #ordinal = 0
  #producerId = NO_PRODUCER
  #exhaustedId = NO_PRODUCER
  #producerEpoch = 0
  #nextSequence = 0
  /** The broker has acknowledged a batch of this producer epoch. */
  #established = false
  /** A batch was given up after it got its sequence: a new epoch is due. */
  #gap = false
  /** The gap is a batch that the broker did not know any more: it explains nothing of those behind it. */
  #isGapInDoubt = false
  /** A batch came back and waits to be sent again: nothing overtakes it. */
  #recovering = false
  #failures = 0
  #notBeforeMs = Number.NEGATIVE_INFINITY
  #isClosed = false

  constructor(topic: string, partition: number, options: PartitionQueueOptions) {
    this.topic = topic
    this.partition = partition
    this.#options = options
  }

  get isIdle(): boolean {
    return this.open === undefined && this.#waiting.length === 0 && this.#inFlight.length === 0
  }

  /** Nothing of it is sent any more, nor again. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  get inFlightCount(): number {
    return this.#inFlight.length
  }

  /** The batches in flight, oldest first. */
  inFlight(): readonly ProducerBatch[] {
    return this.#inFlight
  }

  /** The next batch cannot be stamped before this queue is given a producer id. */
  get needsProducerId(): boolean {
    return this.#options.idempotent && this.#producerId === NO_PRODUCER
  }

  /** Attempts in a row that failed. */
  get failures(): number {
    return this.#failures
  }

  get notBeforeMs(): number {
    return this.#notBeforeMs
  }

  /** Sends nothing before `notBeforeMs`. */
  delayUntil(notBeforeMs: number): void {
    this.#notBeforeMs = notBeforeMs
  }

  /** The epochs of this producer id are used up here. */
  isExhausted(producerId: number): boolean {
    return producerId === this.#exhaustedId
  }

  /** The transaction's identity; sequences of a new epoch begin with 0. */
  joinEpoch(producerId: number, producerEpoch: number): void {
    if (this.#producerId === producerId && this.#producerEpoch === producerEpoch) return
    assert(this.#inFlight.length === 0, 'an epoch of a transaction begins with nothing in flight')
    this.useProducerId(producerId, producerEpoch)
  }

  useProducerId(producerId: number, producerEpoch: number): void {
    this.#producerId = producerId
    this.#producerEpoch = producerEpoch
    this.#nextSequence = 0
    this.#established = false
  }

  /** The topic is another one now (deleted and made again): its log knows nothing of this producer. */
  topicReplaced(): void {
    this.#established = false
  }

  /** The partition has another leader, or the same under another epoch: it may know less of this producer than the one before. */
  leaderChanged(): void {
    this.#established = false
  }

  /** Makes `batch` the one that takes records. */
  begin(batch: ProducerBatch): void {
    assert(this.open === undefined, 'one batch at a time takes records')
    batch.ordinal = this.#ordinal++
    this.open = batch
  }

  /** Closes the batch that takes records; it can be sent from now on. */
  seal(): void {
    if (this.open === undefined) return
    this.#waiting.push(this.open)
    this.open = undefined
  }

  /** Monotonic time at which take() may have something that it has not now; infinity = only after a reply or an append. */
  dueAtMs(): number {
    if (this.#isWindowFull()) return Number.POSITIVE_INFINITY
    if (this.#waiting.length > 0) return this.#notBeforeMs
    if (this.open === undefined) return Number.POSITIVE_INFINITY
    if (this.#options.lingerMs === 0 && this.#inFlight.length > 0) return Number.POSITIVE_INFINITY
    return Math.max(this.#notBeforeMs, this.open.createdMs + this.#options.lingerMs)
  }

  /** Monotonic time at which the next batch is given up: of those in flight, that whoever waits for it is told so. */
  deadlineMs(): number {
    const laterMs = this.#waiting[0]?.deadlineMs ?? this.open?.deadlineMs ?? Number.POSITIVE_INFINITY
    for (let index = 0; index < this.#inFlight.length; index++)
      if (!this.#inFlight[index]!.released) return Math.min(this.#inFlight[index]!.deadlineMs, laterMs)
    return laterMs
  }

  /**
   * A batch in flight that is past its deadline and not released yet. It stays in flight, since its reply still says how the
   * sequences go on; that reply comes too late for whoever waited.
   */
  overdue(nowMs: number): ProducerBatch | undefined {
    for (let index = 0; index < this.#inFlight.length; index++) {
      const batch = this.#inFlight[index]!
      if (!batch.released && nowMs >= batch.deadlineMs) return batch
    }
    return undefined
  }

  /** Bytes of the batch that take() would answer, before compression. */
  nextBytes(): number {
    return (this.#waiting[0] ?? this.open)?.bufferedBytes ?? 0
  }

  /** Whether take() would answer a batch; `drain` = do not linger. */
  canTake(nowMs: number, drain: boolean): boolean {
    if (this.#isClosed) return false
    if (this.#gap) this.#closeGap()
    if (nowMs < this.#notBeforeMs || this.#isWindowFull()) return false
    if (this.#waiting.length > 0) return true
    if (this.open === undefined) return false
    if (drain) return true
    if (this.#options.lingerMs === 0) return this.#inFlight.length === 0
    return nowMs >= this.open.createdMs + this.#options.lingerMs
  }

  #isWindowFull(): boolean {
    const max = this.#inFlightMax()
    if (this.#inFlight.length >= max) return true
    const oldest = this.#inFlight[0]
    const next = this.#waiting[0] ?? this.open
    return oldest !== undefined && next !== undefined && next.ordinal - oldest.ordinal >= max
  }

  #inFlightMax(): number {
    if (this.#recovering || this.#gap) return 1
    if (this.#options.idempotent && !this.#established) return 1
    return this.#options.inFlightMax
  }

  /** The next batch, stamped and counted as in flight. Ask canTake() and needsProducerId first. */
  take(nowMs: number, drain: boolean): ProducerBatch {
    assert(this.canTake(nowMs, drain) && !this.needsProducerId, 'take: nothing may be sent now')
    if (this.#waiting.length === 0) this.seal()
    const batch = this.#waiting.shift()!
    this.#recovering = this.#waiting.length > 0 && this.#waiting[0]!.attempts > 0
    if (this.#options.idempotent && batch.baseSequence < 0) {
      batch.assign(this.#producerId, this.#producerEpoch, this.#nextSequence)
      this.#nextSequence = sequenceAfter(this.#nextSequence, batch.recordsCount)
    }
    batch.attempts++
    this.#inFlight.push(batch)
    return batch
  }

  /** A gap closes when the oldest batch's fate is known: with it, those of all that follow. */
  #closeGap(): void {
    if (this.#inFlight.length > 0 || this.#waiting[0]?.inDoubt) return
    this.#beginEpoch()
  }

  #beginEpoch(): void {
    assert(this.#inFlight.length === 0, 'a new epoch begins with nothing in flight')
    this.#gap = false
    this.#isGapInDoubt = false
    this.#established = false
    this.#nextSequence = 0
    if (this.#producerEpoch < PRODUCER_EPOCH_MAX) this.#producerEpoch++
    else {
      this.#exhaustedId = this.#producerId
      this.#producerId = NO_PRODUCER
    }
    for (const batch of this.#waiting) batch.unassign()
  }

  /** The broker has the batch. */
  succeeded(batch: ProducerBatch): void {
    this.#leave(batch)
    this.#established = true
    this.#failures = 0
    batch.inDoubt = false
  }

  /**
   * The batch came back. Answers what becomes of it: 'again' = it is queued to be sent again, 'failed' = it is out;
   * the caller tells whoever waits for it.
   */
  returned(batch: ProducerBatch, fault: BatchFault, nowMs: number): 'again' | 'failed' {
    this.#leave(batch)
    if (this.#isClosed) return 'failed'
    if (this.#options.idempotent && STATE_LOST_CODES.includes(fault.code)) return this.#outOfOrder(batch, fault)
    const wasInDoubt = batch.inDoubt
    // An error reply of a recognised sequence settles nothing that an earlier attempt left open, except by success.
    batch.inDoubt = wasInDoubt || fault.inDoubt
    batch.lastError = fault.error
    const isSpent = nowMs >= batch.deadlineMs || batch.attempts > this.#options.retriesMax
    const mayMend = ERRORS[fault.code].retriable || fault.isMending === true
    if (!mayMend || isSpent) return this.#giveUp(batch)
    // Those that were in flight behind it fail with it: one failure, not five.
    if (!this.#recovering) this.#failures++
    this.#requeue(batch)
    return 'again'
  }

  #outOfOrder(batch: ProducerBatch, fault: BatchFault): 'again' | 'failed' {
    const older = this.#inFlight.find((each) => each.ordinal < batch.ordinal)
    if (older !== undefined || this.#waiting.some((each) => each.ordinal < batch.ordinal)) {
      // An older batch is still on its way or comes again: this one was refused for it, and goes after it.
      this.#requeue(batch)
      return 'again'
    }
    if (this.#options.isTransactional) {
      batch.lastError = fault.error
      return this.#giveUp(batch)
    }
    const explained = !batch.inDoubt || (this.#gap && !this.#isGapInDoubt)
    if (!explained || batch.epochRestarts >= EPOCH_RESTARTS_MAX) {
      this.#isGapInDoubt ||= !explained
      batch.lastError = new MillraceError(
        'OUT_OF_ORDER_SEQUENCE_NUMBER',
        `${this.topic}/${this.partition}: the broker no longer knows what this producer sent last; the batch may or may not be stored`,
      )
      return this.#giveUp(batch)
    }
    batch.inDoubt = false
    batch.epochRestarts++
    this.#gap = true
    this.#requeue(batch)
    return 'again'
  }

  /** Takes out a batch that has waited past its deadline, the oldest first. */
  takeExpired(nowMs: number): ProducerBatch | undefined {
    if (this.open !== undefined && nowMs >= this.open.deadlineMs) this.seal()
    const batch = this.#waiting[0]
    if (batch === undefined || nowMs < batch.deadlineMs) return undefined
    this.#waiting.shift()
    this.#giveUp(batch)
    this.#recovering = this.#waiting.length > 0 && this.#waiting[0]!.attempts > 0
    return batch
  }

  /** Takes out everything that is not in flight. */
  abandon(): ProducerBatch[] {
    this.seal()
    const batches = this.#waiting.splice(0)
    for (const batch of batches) this.#giveUp(batch)
    return batches
  }

  /** The partition takes no records any more: takes out what is not in flight and may go elsewhere, the oldest first. */
  takeElsewhere(): ProducerBatch[] {
    this.seal()
    const batches = this.#waiting.filter(({ mayGoElsewhere }) => mayGoElsewhere)
    if (batches.length === 0) return batches
    this.#waiting.splice(0, Number.POSITIVE_INFINITY, ...this.#waiting.filter((batch) => !batch.mayGoElsewhere))
    for (const batch of batches) this.#giveUp(batch)
    this.#recovering = this.#waiting.length > 0 && this.#waiting[0]!.attempts > 0
    return batches
  }

  /** For good: answers what was not sent; what is in flight fails when it comes back. */
  close(): ProducerBatch[] {
    this.#isClosed = true
    return this.abandon()
  }

  #giveUp(batch: ProducerBatch): 'failed' {
    // Of a transaction nothing goes on after a gap: it is aborted.
    if (this.#options.idempotent && batch.baseSequence >= 0) {
      if (this.#options.isTransactional) this.#isClosed = true
      else this.#gap = true
    }
    return 'failed'
  }

  #requeue(batch: ProducerBatch): void {
    let at = 0
    while (at < this.#waiting.length && this.#waiting[at]!.ordinal < batch.ordinal) at++
    this.#waiting.splice(at, 0, batch)
    this.#recovering = true
  }

  #leave(batch: ProducerBatch): void {
    const at = this.#inFlight.indexOf(batch)
    assert(at >= 0, 'only a batch in flight comes back')
    this.#inFlight.splice(at, 1)
  }
}

/** A batch that is out of order again at the start of a fresh epoch is not helped by another one. */
const EPOCH_RESTARTS_MAX = 3
