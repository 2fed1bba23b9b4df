/**
 * TransactionHost: the coordinators of transactions on this shard: one for each partition of the transaction topic.
 *
 * Owns        requests that wait for the end of a transaction, markers on their way out; the coordinators are CoordinatorHost's, and so
 *             is when what is written and answered
 * Thread      the shard
 * Ordering    Prepare is durable -> notice 'write-markers' -> MARKERS_DONE -> Complete, and what waits for it is decided again
 * Failure     a coordinator that was dropped is loaded again by itself: its transactions have timeouts, and those decided want markers
 * Limits      DUE_PER_TURN; parked-requests.ts, marker-notices.ts
 * Not here    decisions (transaction/), from the wire to requests and back (transaction-wire.ts), writing markers (main, and the shards
 *             of the partitions)
 */
import type { ErrorCode } from '../model/errors.ts'
import type { PartitionRef } from '../model/ids.ts'
import type { MarkersDoneBody, ShardStats, TransactionRequestBody } from '../ring/control-messages.ts'
import {
  type MarkersToWrite,
  newTransactionCounters,
  State,
  type TransactionConfig,
  TransactionCoordinator,
  type TransactionProgress,
} from '../transaction/index.ts'
import {
  CoordinatorHost,
  type CoordinatorHostOptions,
  type CoordinatorKind,
  type CoordinatorRequest,
  type Hosted,
  type HostedDecision,
  nameOf,
} from './coordinator-host.ts'
import { MarkerNotices } from './marker-notices.ts'
import { ParkedRequests } from './parked-requests.ts'
import type { PartitionAgent } from './partition-agent.ts'
import { answerTransactionRequest } from './transaction-wire.ts'

/** What is due of one coordinator in one turn: a transaction each. */
const DUE_PER_TURN = 64

export interface TransactionHostOptions extends CoordinatorHostOptions {
  readonly config: Partial<TransactionConfig>
}

type HostedTransactions = Hosted<TransactionCoordinator, TransactionRequestBody, MarkersToWrite>

type TransactionStats = Pick<
  ShardStats,
  | 'transactionalIds'
  | 'coordinatedOpen'
  | 'coordinatedEnding'
  | 'coordinatedCommits'
  | 'coordinatedAborts'
  | 'transactionTimeouts'
>

export class TransactionHost
  implements CoordinatorKind<TransactionCoordinator, TransactionRequestBody, MarkersToWrite>
{
  readonly subject = 'transactions'
  readonly tooLarge = "the transaction has become larger than the broker's largest batch: it needs fewer partitions"
  readonly reloads = true
  readonly host: CoordinatorHost<TransactionCoordinator, TransactionRequestBody, MarkersToWrite>
  readonly #options: TransactionHostOptions
  readonly #parked = new ParkedRequests<HostedTransactions, TransactionRequestBody>()
  readonly #markers: MarkerNotices
  readonly #counters = newTransactionCounters()

  constructor(options: TransactionHostOptions) {
    this.#options = options
    this.#markers = new MarkerNotices(options.notices)
    this.host = new CoordinatorHost(options, this)
  }

  onLoad(requestId: number, partitionRef: PartitionRef): void {
    const refusal = this.host.load(partitionRef)
    if (refusal === undefined) this.#options.replies.answer(requestId, {})
    else this.#options.replies.fail(requestId, refusal.error, refusal.text)
  }

  onMarkersDone(requestId: number, { partitionRef, rows }: MarkersDoneBody): void {
    const hosted = this.host.servingAt(partitionRef)
    const nowMs = this.#options.clock.monotonicMs()
    if (hosted !== undefined)
      for (const row of rows) this.#progress(hosted, hosted.coordinator.onMarkersDone(row, nowMs))
    this.#options.replies.answer(requestId, {})
  }

  /** Besides that of the host: what wants to be done by itself. */
  nextDeadlineOfAllMs(): number {
    const nextMs = Math.min(this.host.nextDeadlineMs(), this.#parked.nextDeadlineMs)
    // The outbox had no room.
    return this.#markers.isEmpty ? nextMs : Math.min(nextMs, this.#options.clock.monotonicMs() + 1)
  }

  /** The host's step, and what waited too long; flush() of the host must follow. */
  step(nowMs: number): number {
    let work = this.host.step(nowMs)
    for (
      let request = this.#parked.takeExpired(nowMs);
      request !== undefined;
      request = this.#parked.takeExpired(nowMs)
    ) {
      this.host.giveUp(request, 'CONCURRENT_TRANSACTIONS', 'markers of the transaction before are still being written')
      work++
    }
    return work
  }

  /** At the end of a turn. Answers how many notices left. */
  sendMarkers(): number {
    return this.#markers.send()
  }

  stats(): TransactionStats {
    let [transactionalIds, coordinatedOpen, coordinatedEnding] = [0, 0, 0]
    for (const { coordinator } of this.host.serving()) {
      const { entries, counts } = coordinator.state
      transactionalIds += entries.size
      coordinatedOpen += counts[State.ONGOING]!
      coordinatedEnding += counts[State.PREPARE_COMMIT]! + counts[State.PREPARE_ABORT]!
    }
    const { committed, aborted, timeouts } = this.#counters
    return {
      ...{ transactionalIds, coordinatedOpen, coordinatedEnding },
      ...{ coordinatedCommits: committed, coordinatedAborts: aborted, transactionTimeouts: timeouts },
    }
  }

  // CoordinatorKind

  make({ state }: PartitionAgent): TransactionCoordinator {
    const { clock, config } = this.#options
    return new TransactionCoordinator({
      ...{ wallClock: clock, coordinatorEpoch: state.leaderEpoch, config, counters: this.#counters },
    })
  }

  nextDeadlineMs(coordinator: TransactionCoordinator): number {
    return coordinator.nextDeadlineMs
  }

  decide(
    hosted: HostedTransactions,
    request: CoordinatorRequest<TransactionRequestBody>,
    nowMs: number,
  ): HostedDecision<MarkersToWrite> {
    const answer = answerTransactionRequest(hosted.coordinator, request.body, nowMs)
    const { transactionalId, records, markers: effect, reply } = answer
    const isEnding = reply.kind === 'refused' && reply.error === 'CONCURRENT_TRANSACTIONS'
    const isKept = isEnding && this.#parked.offer(hosted, transactionalId, request, nowMs)
    return { records, effect, reply: isKept ? undefined : reply }
  }

  doDue(hosted: HostedTransactions, nowMs: number): number {
    let work = 0
    for (; work < DUE_PER_TURN && hosted.coordinator.nextDeadlineMs <= nowMs; work++)
      this.#progress(hosted, hosted.coordinator.onDeadline(nowMs))
    return work
  }

  answer(requestId: number, header: Uint8Array): void {
    this.#options.replies.answer(requestId, header)
  }

  onDurable({ partition }: HostedTransactions, markers: MarkersToWrite): void {
    this.#markers.add(partition.state.partitionRef, markers)
  }

  onDropped(hosted: HostedTransactions, error: ErrorCode, text: string): void {
    this.#markers.forget(hosted.partition.state.partitionRef)
    for (const request of this.#parked.takeAll(hosted)) this.host.giveUp(request, error, text)
  }

  #progress(hosted: HostedTransactions, progress: TransactionProgress | undefined): void {
    if (progress === undefined) return
    const { transactionalId, records, markers, isComplete, notices } = progress
    this.host.take(hosted, records, markers)
    for (const text of notices)
      this.#options.notices.log('info', `${nameOf(hosted.partition)}: transactional id '${transactionalId}': ${text}`)
    if (!isComplete) return
    for (const request of this.#parked.take(hosted, transactionalId)) this.host.again(hosted, request)
  }
}
