/** A TransactionCoordinator with its log in memory and time by hand. Answers are short texts, so that a test reads like the rules. */
import assert from 'node:assert/strict'
import { partitionSetOf } from '../../src/model/partition-set.ts'
import { isRefusal } from '../../src/model/refusal.ts'
import type { EncodedRecord } from '../../src/record/record-table.ts'
import {
  type InitProducerRequest,
  type MarkersToWrite,
  newTransactionCounters,
  type PartitionsAdded,
  type ProducerReply,
  State,
  type TransactionConfig,
  TransactionCoordinator,
  type TransactionDecision,
  type TransactionFacts,
  type TransactionProgress,
} from '../../src/transaction/index.ts'
import { topicIdOf } from './group-fixture.ts'

export const FIRST_FRESH_ID = 1_000
const STATE_NAMES = Object.keys(State)

export class TransactionFixture {
  readonly log: EncodedRecord[] = []
  readonly notices: string[] = []
  /** Of the attempts that nobody has answered yet. */
  readonly markers: MarkersToWrite[] = []
  coordinator: TransactionCoordinator
  nowMs = 1_000
  wallStartMs = 1_700_000_000_000
  coordinatorEpoch = 5
  readonly counters = newTransactionCounters()
  #freshIds = FIRST_FRESH_ID
  readonly #config: Partial<TransactionConfig>

  constructor(config: Partial<TransactionConfig> = {}) {
    this.#config = config
    this.coordinator = this.#loaded()
  }

  get facts(): TransactionFacts {
    const entry = this.coordinator.state.entries.get('t')
    assert.ok(entry !== undefined, 'the transactional id is not there')
    return entry.facts
  }

  /** `Ongoing 1000/3` */
  get state(): string {
    const { state, producerId, producerEpoch } = this.facts
    return `${STATE_NAMES[state]} ${producerId}/${producerEpoch}`
  }

  /** `COMMIT 1000/4: 0 1` of the attempt under way. */
  get marking(): string {
    return this.markers.map(showMarkers).join('; ')
  }

  init(more: Partial<InitProducerRequest> = {}): string {
    const request = {
      ...{ transactionalId: 't', producerId: -1, producerEpoch: -1, timeoutMs: 60_000, isClassic: false },
      ...{ freshProducerId: this.#freshIds++, ...more },
    }
    return showReply(this.#take(this.coordinator.initProducer(request, this.nowMs)))
  }

  add(identity: string, ...partitions: number[]): string {
    const set = partitionSetOf([[topicIdOf(1), partitions]])
    const request = { transactionalId: 't', ...identityOf(identity), partitions: set }
    return showReply(this.#take(this.coordinator.addPartitions(request, this.nowMs)))
  }

  /** Adds nothing: are they part of it? */
  knows(identity: string, ...partitions: number[]): string {
    const set = partitionSetOf([[topicIdOf(1), partitions]])
    const request = { transactionalId: 't', ...identityOf(identity), partitions: set, isKnown: true }
    return showReply(this.#take(this.coordinator.addPartitions(request, this.nowMs)))
  }

  /** What a txn-offset-commit asks before its offsets. */
  addForCommit(identity: string, ...partitions: number[]): string {
    const set = partitionSetOf([[topicIdOf(1), partitions]])
    const request = { transactionalId: 't', ...identityOf(identity), partitions: set, isOffsetCommit: true }
    return showReply(this.#take(this.coordinator.addPartitions(request, this.nowMs)))
  }

  commit(identity: string): string {
    return this.#end(identity, true)
  }

  abort(identity: string): string {
    return this.#end(identity, false)
  }

  /** Answers the oldest attempt: every partition of it has its marker, but for `failed`. */
  written(...failed: number[]): TransactionProgress | undefined {
    const attempt = this.markers.shift()
    assert.ok(attempt !== undefined, 'no markers are under way')
    const done = attempt.partitions.filter(({ partition }) => !failed.includes(partition))
    const { transactionalId, producerId, producerEpoch } = attempt
    const fault = failed.length === 0 ? '' : 'the disk is gone'
    const row = { transactionalId, producerId, producerEpoch, done, fault }
    return this.#progress(this.coordinator.onMarkersDone(row, this.nowMs))
  }

  /** Time goes on by so much, deadlines are kept on the way. */
  advance(ms: number): void {
    const untilMs = this.nowMs + ms
    while (this.coordinator.nextDeadlineMs <= untilMs) {
      this.nowMs = Math.max(this.nowMs, this.coordinator.nextDeadlineMs)
      this.#progress(this.coordinator.onDeadline(this.nowMs))
    }
    this.nowMs = untilMs
  }

  /** A new coordinator from the log, `awayMs` later. The monotonic time begins anew. */
  restart(awayMs = 0): void {
    this.wallStartMs += this.nowMs + awayMs - 1_000
    this.nowMs = 1_000
    this.markers.length = 0
    this.coordinatorEpoch++
    this.coordinator = this.#loaded()
  }

  /** Plain data: that of two coordinators of the same log is the same. */
  image(): unknown {
    const entries = [...this.coordinator.state.entries.values()].map(({ transactionalId, facts }) => ({
      ...{ transactionalId, ...facts, partitions: [...facts.partitions] },
    }))
    entries.sort((left, right) => (left.transactionalId < right.transactionalId ? -1 : 1))
    return { entries, counts: [...this.coordinator.state.counts] }
  }

  #end(identity: string, isCommit: boolean): string {
    const request = { transactionalId: 't', ...identityOf(identity), isCommit, freshProducerId: this.#freshIds++ }
    return showReply(this.#take(this.coordinator.end(request, this.nowMs)))
  }

  #take<Reply>({ records, markers, reply }: TransactionDecision<Reply>): TransactionDecision<Reply>['reply'] {
    this.log.push(...records)
    if (markers !== undefined) this.markers.push(markers)
    return reply
  }

  #progress(progress: TransactionProgress | undefined): TransactionProgress | undefined {
    if (progress === undefined) return undefined
    this.log.push(...progress.records)
    this.notices.push(...progress.notices)
    if (progress.markers !== undefined) this.markers.push(progress.markers)
    return progress
  }

  #loaded(): TransactionCoordinator {
    const coordinator = new TransactionCoordinator({
      wallClock: { nowMs: () => this.wallStartMs + this.nowMs },
      ...{ coordinatorEpoch: this.coordinatorEpoch, config: this.#config, counters: this.counters },
    })
    for (const { key, value } of this.log) assert.equal(coordinator.replay(key, value).kind, 'applied')
    coordinator.onLoaded(this.nowMs)
    return coordinator
  }
}

/** `1000/3` */
export function identityOf(text: string): { producerId: number; producerEpoch: number } {
  const [producerId, producerEpoch] = text.split('/').map(Number)
  return { producerId: producerId!, producerEpoch: producerEpoch! }
}

function showReply(reply: TransactionDecision<ProducerReply | PartitionsAdded>['reply']): string {
  if (isRefusal(reply)) return reply.error
  return reply.kind === 'added' ? 'added' : `${reply.producerId}/${reply.producerEpoch}`
}

function showMarkers({ isCommit, producerId, producerEpoch, partitions }: MarkersToWrite): string {
  const numbers = partitions.map(({ partition }) => partition).join(' ')
  return `${isCommit ? 'COMMIT' : 'ABORT'} ${producerId}/${producerEpoch}: ${numbers}`
}
