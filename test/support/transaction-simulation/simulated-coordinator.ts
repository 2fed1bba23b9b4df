/**
 * SimulatedCoordinator: the shell of a TransactionCoordinator and the gateway beside it: decisions are appended, durable a while later,
 * and only then answered; partitions are registered then; markers go to the partitions and their fate comes back. A crash loses what was
 * not durable and all that is under way; the next coordinator replays what is left.
 */
import assert from 'node:assert/strict'
import type { Prng } from '../../../src/base/prng.ts'
import type { ErrorCode } from '../../../src/model/errors.ts'
import { PRODUCER_EPOCH_MAX } from '../../../src/model/limits.ts'
import { NO_PARTITIONS } from '../../../src/model/partition-set.ts'
import { isRefusal } from '../../../src/model/refusal.ts'
import type { EncodedRecord } from '../../../src/record/record-table.ts'
import {
  decodeTransaction,
  type EndTransactionRequest,
  encodeTransaction,
  type InitProducerRequest,
  type MarkersToWrite,
  newTransactionCounters,
  type ProducerIdentity,
  type ProducerReply,
  State,
  setOf,
  TransactionCoordinator,
  type TransactionDecision,
  type TransactionFacts,
  type TransactionProgress,
} from '../../../src/transaction/index.ts'
import type { EventQueue } from '../event-simulation/event-queue.ts'
import { compacted, topicIdOf } from '../group-fixture.ts'
import type { Network } from './network.ts'
import type { SimulatedPartition } from './simulated-partition.ts'

const WALL_START_MS = 1_700_000_000_000
const DEADLINES_PER_TURN_MAX = 8
const PARKED_MS = 1_000
const TOPIC = topicIdOf(1)

/** A reply, or why there is none. */
export type Told = ProducerIdentity | ErrorCode

interface Waiting {
  /** Records up to here must be durable first. */
  readonly logLength: number
  readonly run: () => void
}

interface Parked {
  readonly transactionalId: string
  readonly untilMs: number
  readonly again: () => void
  readonly giveUp: () => void
}

export class SimulatedCoordinator {
  readonly log: EncodedRecord[] = []
  /** Called with each record as it becomes durable. */
  onDurable: (transactionalId: string, facts: TransactionFacts | null) => void = () => {}
  onEvent: (what: string) => void = () => {}
  #coordinator: TransactionCoordinator | undefined
  #epoch = 0
  #waiting: Waiting[] = []
  #parked: Parked[] = []
  #durableLength = 0
  #isSyncing = false
  #turn = 0
  #freshIds = 1_000
  readonly #counters = newTransactionCounters()
  readonly #queue: EventQueue
  readonly #prng: Prng
  readonly #network: Network
  readonly #partitions: readonly SimulatedPartition[]

  constructor(queue: EventQueue, prng: Prng, network: Network, partitions: readonly SimulatedPartition[]) {
    this.#queue = queue
    this.#prng = prng
    this.#network = network
    this.#partitions = partitions
    if (prng.below(3) === 0) this.#age()
    this.start()
  }

  /** Undefined while it is down. */
  get coordinator(): TransactionCoordinator | undefined {
    return this.#coordinator
  }

  start(): void {
    if (this.#prng.below(2) === 0) this.#compact()
    const coordinator = new TransactionCoordinator({
      wallClock: { nowMs: () => WALL_START_MS + this.#queue.nowMs },
      coordinatorEpoch: ++this.#epoch,
      counters: this.#counters,
    })
    for (const { key, value } of this.log) assert.equal(coordinator.replay(key, value).kind, 'applied')
    coordinator.onLoaded(this.#queue.nowMs)
    this.#coordinator = coordinator
    this.#scheduleTurn()
  }

  crash(): void {
    this.#coordinator = undefined
    this.#waiting = []
    this.#parked = []
    this.#isSyncing = false
    this.log.length = this.#durableLength
  }

  init(request: Omit<InitProducerRequest, 'freshProducerId'>, answer: (told: Told) => void): void {
    this.#ask(
      request.transactionalId,
      (coordinator, nowMs) => coordinator.initProducer({ ...request, freshProducerId: this.#freshIds++ }, nowMs),
      (reply) => answer(toldOf(reply)),
    )
  }

  end(request: Omit<EndTransactionRequest, 'freshProducerId'>, answer: (told: Told) => void): void {
    this.#ask(
      request.transactionalId,
      (coordinator, nowMs) => coordinator.end({ ...request, freshProducerId: this.#freshIds++ }, nowMs),
      (reply) => answer(toldOf(reply)),
    )
  }

  /** NONE when the partitions are in the transaction and know it. */
  add(
    request: ProducerIdentity & { readonly transactionalId: string; readonly partitions: readonly number[] },
    answer: (error: ErrorCode) => void,
  ): void {
    const { transactionalId, producerId, producerEpoch } = request
    const partitions = setOf(request.partitions.map((partition) => ({ topicId: TOPIC, partition })))
    this.#ask(
      transactionalId,
      (coordinator, nowMs) =>
        coordinator.addPartitions({ transactionalId, producerId, producerEpoch, partitions }, nowMs),
      (reply) => {
        if (isRefusal(reply)) answer(reply.error)
        else this.#register(request, answer)
      },
    )
  }

  /** The rings of one broker: in order, none lost; later than what overtakes it by another way. */
  #register(
    { producerId, producerEpoch, partitions }: ProducerIdentity & { readonly partitions: readonly number[] },
    answer: (error: ErrorCode) => void,
  ): void {
    let left = partitions.length
    let error: ErrorCode = 'NONE'
    for (const partition of partitions)
      this.#queue.after(this.#prng.below(20), () => {
        if (!this.#partitions[partition]!.register(producerId, producerEpoch)) error = 'NOT_LEADER_OR_FOLLOWER'
        if (--left === 0) answer(error)
      })
  }

  #ask<Reply extends object>(
    transactionalId: string,
    decide: (coordinator: TransactionCoordinator, nowMs: number) => TransactionDecision<Reply>,
    answer: (reply: TransactionDecision<Reply>['reply']) => void,
    untilMs = this.#queue.nowMs + PARKED_MS,
  ): void {
    const coordinator = this.#coordinator
    if (coordinator === undefined) return
    const { records, markers, reply } = decide(coordinator, this.#queue.nowMs)
    const isParked = isRefusal(reply) && reply.error === 'CONCURRENT_TRANSACTIONS' && this.#queue.nowMs < untilMs
    if (isParked) {
      const again = () => this.#ask(transactionalId, decide, answer, untilMs)
      this.#parked.push({ transactionalId, untilMs, again, giveUp: () => answer(reply) })
    }
    this.#append(records, markers, isParked ? undefined : () => answer(reply))
    this.#scheduleTurn()
  }

  #append(records: readonly EncodedRecord[], markers: MarkersToWrite | undefined, answer?: () => void): void {
    this.log.push(...records)
    this.#waiting.push({
      logLength: this.log.length,
      run: () => {
        answer?.()
        if (markers !== undefined) this.#mark(markers)
      },
    })
    this.#sync()
  }

  #mark(markers: MarkersToWrite): void {
    const { partitions, transactionalId, producerId, producerEpoch } = markers
    const errors: ErrorCode[] = []
    for (const { partition } of partitions)
      this.#network.send(() =>
        this.#partitions[partition]!.writeMarker(markers, (error) => {
          errors[partition] = error
        }),
      )
    // Whoever has not answered by then, or has lost it, has failed.
    this.#queue.after(20 + this.#prng.below(300), () => {
      const done = partitions.filter(({ partition }) => errors[partition] === 'NONE')
      const fault = done.length === partitions.length ? '' : 'a partition did not answer'
      if (fault !== '') this.onEvent('markers failed')
      const row = { transactionalId, producerId, producerEpoch, done, fault }
      const progress = this.#coordinator?.onMarkersDone(row, this.#queue.nowMs)
      this.#progress(progress)
    })
  }

  #progress(progress: TransactionProgress | undefined): void {
    if (progress !== undefined) {
      this.#append(progress.records, progress.markers)
      if (progress.isComplete) this.#wake(({ transactionalId }) => transactionalId === progress.transactionalId)
    }
    this.#scheduleTurn()
  }

  #wake(which: (parked: Parked) => boolean): void {
    const parked = this.#parked
    this.#parked = []
    for (const one of parked) {
      if (!which(one)) this.#parked.push(one)
      else if (this.#queue.nowMs < one.untilMs) one.again()
      else one.giveUp()
    }
  }

  /** One fsync at a time; what was appended meanwhile waits for the next. */
  #sync(): void {
    if (this.#isSyncing) return
    this.#isSyncing = true
    const end = this.log.length
    const coordinator = this.#coordinator
    this.#queue.after(this.#prng.below(4), () => {
      if (this.#coordinator !== coordinator || coordinator === undefined) return
      this.#isSyncing = false
      while (this.#durableLength < end) this.#durable(this.log[this.#durableLength++]!)
      while (this.#waiting.length > 0 && this.#waiting[0]!.logLength <= end) this.#waiting.shift()!.run()
      if (this.#waiting.length > 0 || this.#durableLength < this.log.length) this.#sync()
    })
  }

  #durable({ key, value }: EncodedRecord): void {
    const decoded = decodeTransaction(key, value)
    assert.ok(decoded.kind === 'record')
    this.onDurable(decoded.record.transactionalId, decoded.record.value)
  }

  /** Calls onDeadline() when it is due, and gives up what was parked too long. */
  #scheduleTurn(): void {
    const coordinator = this.#coordinator
    if (coordinator === undefined) return
    const parkedMs = this.#parked.reduce((first, { untilMs }) => Math.min(first, untilMs), Number.POSITIVE_INFINITY)
    const deadlineMs = Math.min(coordinator.nextDeadlineMs, parkedMs)
    if (deadlineMs === Number.POSITIVE_INFINITY) return
    const turn = ++this.#turn
    this.#queue.after(Math.max(0, Math.ceil(deadlineMs - this.#queue.nowMs)), () => {
      if (this.#coordinator !== coordinator || turn !== this.#turn) return
      const { timeouts } = this.#counters
      for (let done = 0; done < DEADLINES_PER_TURN_MAX && coordinator.nextDeadlineMs <= this.#queue.nowMs; done++)
        this.#progress(coordinator.onDeadline(this.#queue.nowMs))
      if (this.#counters.timeouts > timeouts) this.onEvent('timeout')
      this.#wake(({ untilMs }) => untilMs <= this.#queue.nowMs)
      this.#scheduleTurn()
    })
  }

  /** The ids have had nearly all epochs there are. */
  #age(): void {
    for (const transactionalId of ['orders', 'clicks', 'views']) {
      const facts: TransactionFacts = {
        ...{ state: State.EMPTY, isClassic: false, producerId: this.#freshIds++, timeoutMs: 1_000 },
        ...{ producerEpoch: PRODUCER_EPOCH_MAX - 1 - this.#prng.below(20), previousProducerId: -1, previousEpoch: -1 },
        ...{ nextProducerId: -1, startMs: -1, updateMs: WALL_START_MS, partitions: NO_PARTITIONS },
      }
      this.log.push(encodeTransaction({ transactionalId, value: facts }))
    }
    this.#durableLength = this.log.length
  }

  #compact(): void {
    const left = compacted(this.log, this.#prng.below(2) === 0)
    this.log.splice(0, this.log.length, ...left)
    this.#durableLength = left.length
  }
}

function toldOf(reply: TransactionDecision<ProducerReply>['reply']): Told {
  return isRefusal(reply) ? reply.error : { producerId: reply.producerId, producerEpoch: reply.producerEpoch }
}
