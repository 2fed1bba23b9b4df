/**
 * SimulatedPartition: a partition's leader as far as transactions need one: the real producer state decides; the log is durable a while
 * after it was written, and only then anybody is answered. A crash loses what was not durable, and all registrations.
 */
import type { Prng } from '../../../src/base/prng.ts'
import { type MarkerContent, OpenTransactions } from '../../../src/log/open-transactions.ts'
import { type ProducerBatch, ProducerState } from '../../../src/log/producer-state.ts'
import type { ErrorCode } from '../../../src/model/errors.ts'
import type { EventQueue } from '../event-simulation/event-queue.ts'

export interface LoggedBatch extends ProducerBatch {
  /** The transaction it was sent in; -1 = a marker. */
  readonly transaction: number
  readonly marker: MarkerContent | undefined
}

export interface SentBatch {
  readonly transaction: number
  readonly producerId: number
  readonly producerEpoch: number
  readonly sequence: number
}

export interface SentMarker {
  readonly producerId: number
  readonly producerEpoch: number
  readonly coordinatorEpoch: number
  readonly isCommit: boolean
  readonly isClassic: boolean
}

type Answer = (error: ErrorCode) => void

interface Waiting {
  /** Batches up to here must be durable first. */
  readonly logLength: number
  readonly answer: Answer
}

export class SimulatedPartition {
  readonly partition: number
  readonly log: LoggedBatch[] = []
  transactions = new OpenTransactions()
  isUp = true
  #producers = new ProducerState({ transactions: this.transactions })
  #durableLength = 0
  #waiting: Waiting[] = []
  #isSyncing = false
  #life = 0
  readonly #queue: EventQueue
  readonly #prng: Prng

  constructor(partition: number, queue: EventQueue, prng: Prng) {
    this.partition = partition
    this.#queue = queue
    this.#prng = prng
  }

  get highWatermark(): number {
    return this.#durableLength
  }

  get lastStableOffset(): number {
    return Math.min(this.#durableLength, this.transactions.firstUnstableOffset(this.#durableLength))
  }

  register(producerId: number, producerEpoch: number): boolean {
    if (this.isUp) this.#producers.register(producerId, producerEpoch)
    return this.isUp
  }

  /** `answer` comes when the batch is durable, or never. */
  produce(sent: SentBatch, answer: Answer): void {
    if (!this.isUp) {
      answer('NOT_LEADER_OR_FOLLOWER')
      return
    }
    const batch = { ...sent, ...this.#batch(), baseSequence: sent.sequence, isControl: false, marker: undefined }
    const decision = this.#producers.decide(batch)
    if (decision.kind === 'reject') {
      answer(decision.code)
      return
    }
    if (decision.kind === 'append') this.#append(batch)
    this.#whenDurable(answer)
  }

  writeMarker(wish: SentMarker, answer: Answer): void {
    if (!this.isUp) {
      answer('NOT_LEADER_OR_FOLLOWER')
      return
    }
    const decision = this.#producers.decideMarker(wish)
    if (decision.kind === 'reject') {
      answer(decision.code)
      return
    }
    const { producerId, producerEpoch, coordinatorEpoch, isCommit } = wish
    const marker: MarkerContent = { type: isCommit ? 'COMMIT' : 'ABORT', coordinatorEpoch }
    const batch = {
      producerId,
      producerEpoch,
      ...this.#batch(),
      transaction: -1,
      baseSequence: -1,
      isControl: true,
      marker,
    }
    if (decision.kind === 'append') this.#append(batch)
    // Written before: but was it durable?
    this.#whenDurable(answer)
  }

  crash(): void {
    this.isUp = false
    this.#life++
    this.#isSyncing = false
    this.#waiting = []
    this.log.length = this.#durableLength
  }

  start(): void {
    this.isUp = true
    this.transactions = new OpenTransactions()
    this.#producers = new ProducerState({ transactions: this.transactions })
    for (const batch of this.log) this.#producers.replay(batch, this.#queue.nowMs, batch.marker)
    this.transactions.decideBelow(this.#durableLength)
  }

  #batch(): Pick<ProducerBatch, 'lastOffsetDelta' | 'baseOffset' | 'maxTimestamp' | 'isTransactional'> {
    const { nowMs } = this.#queue
    return { lastOffsetDelta: 0, baseOffset: this.log.length, maxTimestamp: nowMs, isTransactional: true }
  }

  #append(batch: LoggedBatch): void {
    this.#producers.apply(batch, this.#queue.nowMs, batch.marker)
    this.#producers.settle()
    this.log.push(batch)
  }

  #whenDurable(answer: Answer): void {
    if (this.log.length <= this.#durableLength) {
      answer('NONE')
      return
    }
    this.#waiting.push({ logLength: this.log.length, answer })
    this.#sync()
  }

  /** One fsync at a time; what was appended meanwhile waits for the next. */
  #sync(): void {
    if (this.#isSyncing) return
    this.#isSyncing = true
    const end = this.log.length
    const life = this.#life
    this.#queue.after(this.#prng.below(5), () => {
      if (this.#life !== life) return
      this.#isSyncing = false
      this.#durableLength = end
      this.transactions.decideBelow(end)
      while (this.#waiting.length > 0 && this.#waiting[0]!.logLength <= end) this.#waiting.shift()!.answer('NONE')
      if (this.#waiting.length > 0) this.#sync()
    })
  }
}
