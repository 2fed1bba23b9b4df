/**
 * DelayedProduce: appended batches of one partition whose producers wait for their acknowledgement.
 *
 *   acks    fsync     acknowledged when
 *   none    any       never (it does not come here)
 *   leader  group     syncedEndOffset >= nextOffset
 *   leader  interval  logEndOffset >= nextOffset, that is at once
 *   all     any       highWatermark >= nextOffset
 *
 * Ordering    by nextOffset, each kind in its own queue, so a step looks at the heads only
 * Deadlines   in a DeadlineHeap of the shard; one that ends there is marked and skipped here
 */
import type { Timed } from '../base/deadline-heap.ts'
import { Fifo } from '../base/fifo.ts'
import type { ErrorCode } from '../model/errors.ts'
import type { Offset } from '../model/ids.ts'
import { ACKS_ALL, type Acks } from './acks.ts'
import type { PartitionState } from './partition-state.ts'

/** An append of the shard's own (a coordinator's records): told exactly once how it ended. */
export interface OwnAppend {
  /** Its records are as durable as acks=all asks. */
  onDurable(): void
  /** They are not in the log, or nobody knows. */
  onFailed(error: ErrorCode, text: string): void
}

export interface WaitingProduce extends Timed {
  readonly requestId: number
  readonly state: PartitionState
  readonly acks: Acks
  readonly baseOffset: Offset
  readonly nextOffset: Offset
  /** -1 with CreateTime. */
  readonly logAppendTimeMs: number
  readonly own: OwnAppend | undefined
  /** Answered already (timed out): the queue drops it. */
  isDone: boolean
}

/** True when the acknowledgement that `acks` asks for is due. */
export function isAcknowledged(state: PartitionState, acks: Acks, nextOffset: Offset): boolean {
  if (acks === ACKS_ALL) return state.highWatermark >= nextOffset
  return (state.config.fsync === 'group' ? state.syncedEndOffset : state.logEndOffset) >= nextOffset
}

export class DelayedProduce {
  readonly #forLeader = new Fifo<WaitingProduce>()
  readonly #forAll = new Fifo<WaitingProduce>()

  get size(): number {
    return this.#forLeader.size + this.#forAll.size
  }

  add(waiting: WaitingProduce): void {
    const queue = waiting.acks === ACKS_ALL ? this.#forAll : this.#forLeader
    queue.push(waiting)
  }

  /** Takes out and answers the next produce whose acknowledgement is due; undefined when there is none. */
  takeAcknowledged(state: PartitionState): WaitingProduce | undefined {
    return this.#takeFrom(this.#forLeader, state) ?? this.#takeFrom(this.#forAll, state)
  }

  /** Takes out and answers any produce: the partition stops and all are refused. */
  takeAny(): WaitingProduce | undefined {
    this.dropDone()
    return this.#forLeader.shift() ?? this.#forAll.shift()
  }

  /** Forgets those at the heads that were answered elsewhere. */
  dropDone(): void {
    while (this.#forLeader.peek()?.isDone) this.#forLeader.shift()
    while (this.#forAll.peek()?.isDone) this.#forAll.shift()
  }

  #takeFrom(queue: Fifo<WaitingProduce>, state: PartitionState): WaitingProduce | undefined {
    for (;;) {
      const head = queue.peek()
      if (head === undefined) return undefined
      if (!head.isDone && !isAcknowledged(state, head.acks, head.nextOffset)) return undefined
      queue.shift()
      if (!head.isDone) return head
    }
  }
}
