/**
 * ProduceReplies: the answers to producers: at once, when the acknowledgement is due, or at the deadline.
 *
 * Owns      the deadlines of all produces that wait on this shard (who waits for which offset: partition/delayed-produce)
 * Thread    the shard
 * Rule      acks=none is never answered; what goes wrong for it becomes a notice
 * Limits    waitingMax produces of clients. The shard takes no more requests while so many wait, its own appends counted; those are never
 *           refused for it: they are in the log, and coordinators rely on being told that. One request brings up to a thousand (markers),
 *           so for one turn they may be so many more
 */
import { EMPTY_BYTES, utf8Encode } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { DeadlineHeap } from '../base/deadline-heap.ts'
import { type ErrorCode, errorNumberOf } from '../model/errors.ts'
import { NO_LEADER_EPOCH } from '../model/ids.ts'
import { ACKS_ALL, ACKS_NONE, type Acks } from '../partition/acks.ts'
import { isDue, type OwnAppend, type WaitingProduce } from '../partition/delayed-produce.ts'
import type { PartitionState } from '../partition/partition-state.ts'
import {
  Durability,
  MessageType,
  PRODUCE_REPLY_APPEND_TIME_AT,
  PRODUCE_REPLY_BASE_OFFSET_AT,
  PRODUCE_REPLY_DURABILITY_AT,
  PRODUCE_REPLY_ERROR_AT,
  PRODUCE_REPLY_LEADER_EPOCH_AT,
  PRODUCE_REPLY_LOG_START_AT,
  PRODUCE_REPLY_PARTITION_REF_AT,
  PRODUCE_REPLY_REQUEST_ID_AT,
  PRODUCE_REPLY_TEXT_AT,
  PRODUCE_REPLY_TEXT_BYTES_AT,
} from '../ring/messages.ts'
import type { NoticeSender } from './notice-sender.ts'
import type { PartitionAgent, ReplicaAppend, StagedProduce } from './partition-agent.ts'
import type { ReplyOutbox } from './reply-outbox.ts'

const TEXT_BYTES_MAX = 512

/** Who is told: a client by its request, or the shard itself. */
interface Asker {
  readonly requestId: number
  readonly own?: OwnAppend | undefined
  readonly replica?: ReplicaAppend | undefined
}

export interface ProduceRefusal extends Asker {
  readonly acks: number
  readonly partitionRef: number
  readonly state: PartitionState | undefined
  readonly error: ErrorCode
  readonly text: string
}

/** What an acknowledgement says. A WaitingProduce is one, a StagedProduce nearly. */
interface Receipt extends Asker {
  readonly acks: number
  readonly baseOffset: number
  readonly logAppendTimeMs: number
}

export class ProduceReplies {
  readonly #outbox: ReplyOutbox
  readonly #notices: NoticeSender
  readonly #clock: Clock
  readonly #deadlines: DeadlineHeap<WaitingProduce>
  readonly #waitingMax: number
  /** Of the shard's own appends. */
  readonly #ownDeadlines = new DeadlineHeap<WaitingProduce>(Number.POSITIVE_INFINITY)

  constructor(options: {
    readonly outbox: ReplyOutbox
    readonly notices: NoticeSender
    readonly clock: Clock
    readonly waitingMax: number
  }) {
    this.#outbox = options.outbox
    this.#notices = options.notices
    this.#clock = options.clock
    this.#deadlines = new DeadlineHeap(options.waitingMax)
    this.#waitingMax = options.waitingMax
  }

  get waiting(): number {
    return this.#deadlines.size + this.#ownDeadlines.size
  }

  /** So many producers wait that another one is better refused. */
  get isFull(): boolean {
    return this.#deadlines.size >= this.#waitingMax
  }

  get nextDeadlineMs(): number {
    return Math.min(this.#deadlines.nextDeadlineMs, this.#ownDeadlines.nextDeadlineMs)
  }

  /** The batches of `staged` are in the log: answers now, or when its acknowledgement is due. */
  settle(partition: PartitionAgent, staged: StagedProduce): void {
    const { state } = partition
    if (state.role === 'offline') {
      const text = state.offlineReason ?? ''
      this.refuse({ ...staged, partitionRef: state.partitionRef, state, error: 'KAFKA_STORAGE_ERROR', text })
      return
    }
    if (staged.replica !== undefined) {
      staged.replica.onWritten()
      return
    }
    if (staged.acks === ACKS_NONE) return
    const acks = staged.acks as Acks
    const { own, nextOffset } = staged
    if (isDue(state, { own, acks, nextOffset })) {
      this.acknowledge(state, staged)
      return
    }
    const waiting: WaitingProduce = {
      requestId: staged.requestId,
      state,
      acks,
      baseOffset: staged.baseOffset,
      nextOffset,
      logAppendTimeMs: staged.logAppendTimeMs,
      own,
      isDone: false,
      deadlineMs: this.#clock.monotonicMs() + staged.timeoutMs,
      heapIndex: -1,
    }
    if (this.#heapOf(waiting).offer(waiting)) partition.produces.add(waiting)
    else this.refuse({ ...staged, partitionRef: state.partitionRef, state, error: 'OVERLOADED', text: '' })
  }

  /** Watermarks of `partition` moved: answers every produce whose acknowledgement is due now. */
  acknowledgeDue(partition: PartitionAgent): number {
    let answered = 0
    const { state, produces } = partition
    for (let due = produces.takeAcknowledged(state); due !== undefined; due = produces.takeAcknowledged(state)) {
      this.#heapOf(due).remove(due)
      this.acknowledge(state, due)
      answered++
    }
    return answered
  }

  /** Answers those whose time is over: their batches are appended and may still become durable. */
  expire(nowMs: number): number {
    return this.#expire(this.#deadlines, nowMs) + this.#expire(this.#ownDeadlines, nowMs)
  }

  #expire(deadlines: DeadlineHeap<WaitingProduce>, nowMs: number): number {
    let expired = 0
    for (let late = deadlines.takeExpired(nowMs); late !== undefined; late = deadlines.takeExpired(nowMs)) {
      late.isDone = true
      const { state } = late
      this.#refuse(late, state, state.partitionRef, 'REQUEST_TIMED_OUT', '')
      expired++
    }
    return expired
  }

  /** The partition stops: everything that waits on it is refused. */
  refuseAll(partition: PartitionAgent, error: ErrorCode, text: string): void {
    const { produces, state } = partition
    for (let next = produces.takeAny(); next !== undefined; next = produces.takeAny()) {
      if (next.isDone) continue
      this.#heapOf(next).remove(next)
      this.#refuse(next, state, state.partitionRef, error, text)
    }
  }

  /** What waits for this replica alone may not be believed any more: another may lead (I13). */
  refuseLeaderAcks(partition: PartitionAgent, text: string): void {
    const { produces, state } = partition
    for (let next = produces.takeForLeader(); next !== undefined; next = produces.takeForLeader()) {
      this.#heapOf(next).remove(next)
      this.#refuse(next, state, state.partitionRef, 'NOT_LEADER_OR_FOLLOWER', text)
    }
  }

  refuse(refusal: ProduceRefusal): void {
    if (refusal.acks !== ACKS_NONE || refusal.requestId !== 0 || refusal.replica !== undefined) {
      this.#refuse(refusal, refusal.state, refusal.partitionRef, refusal.error, refusal.text)
      return
    }
    this.#notices.send({
      kind: 'produce-failed',
      partitionRef: refusal.partitionRef,
      errorNumber: errorNumberOf(refusal.error),
      text: refusal.text,
    })
  }

  acknowledge(state: PartitionState, receipt: Receipt): void {
    if (receipt.own !== undefined) {
      receipt.own.onDurable()
      return
    }
    this.#begin(receipt.requestId, state, state.partitionRef, 0)
    const { view, at } = this.#outbox
    view.setInt32(at + PRODUCE_REPLY_ERROR_AT, 0, true)
    view.setInt32(at + PRODUCE_REPLY_DURABILITY_AT, durabilityOf(state, receipt.acks), true)
    view.setFloat64(at + PRODUCE_REPLY_BASE_OFFSET_AT, receipt.baseOffset, true)
    view.setFloat64(at + PRODUCE_REPLY_APPEND_TIME_AT, receipt.logAppendTimeMs, true)
    this.#outbox.end()
  }

  #heapOf({ own }: WaitingProduce): DeadlineHeap<WaitingProduce> {
    return own === undefined ? this.#deadlines : this.#ownDeadlines
  }

  #refuse(asker: Asker, state: PartitionState | undefined, partitionRef: number, error: ErrorCode, text: string): void {
    const told = asker.own ?? asker.replica
    if (told !== undefined) {
      told.onFailed(error, text)
      return
    }
    const bytes = text === '' ? EMPTY_BYTES : utf8Encode(text).subarray(0, TEXT_BYTES_MAX)
    this.#begin(asker.requestId, state, partitionRef, bytes.length)
    const { view, at } = this.#outbox
    view.setInt32(at + PRODUCE_REPLY_ERROR_AT, errorNumberOf(error), true)
    view.setInt32(at + PRODUCE_REPLY_DURABILITY_AT, Durability.NONE, true)
    view.setFloat64(at + PRODUCE_REPLY_BASE_OFFSET_AT, -1, true)
    view.setFloat64(at + PRODUCE_REPLY_APPEND_TIME_AT, -1, true)
    this.#outbox.bytes.set(bytes, at + PRODUCE_REPLY_TEXT_AT)
    this.#outbox.end()
  }

  #begin(requestId: number, state: PartitionState | undefined, partitionRef: number, textBytes: number): void {
    this.#outbox.begin(MessageType.PRODUCE_REPLY, PRODUCE_REPLY_TEXT_AT + textBytes)
    const { view, at } = this.#outbox
    view.setUint32(at + PRODUCE_REPLY_REQUEST_ID_AT, requestId, true)
    view.setUint32(at + PRODUCE_REPLY_PARTITION_REF_AT, partitionRef, true)
    view.setFloat64(at + PRODUCE_REPLY_LOG_START_AT, state?.logStartOffset ?? -1, true)
    view.setInt32(at + PRODUCE_REPLY_LEADER_EPOCH_AT, state?.leaderEpoch ?? NO_LEADER_EPOCH, true)
    view.setUint32(at + PRODUCE_REPLY_TEXT_BYTES_AT, textBytes, true)
  }
}

/** How durable an acknowledged batch is. */
function durabilityOf(state: PartitionState, acks: number): Durability {
  const isSynced = state.config.fsync === 'group'
  if (acks === ACKS_ALL && (state.replicas?.inSync.length ?? 1) > 1)
    return isSynced ? Durability.REPLICATED : Durability.REPLICATED_WRITTEN
  return isSynced ? Durability.FSYNCED : Durability.WRITTEN
}
