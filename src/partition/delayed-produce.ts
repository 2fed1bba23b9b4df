/**
 * DelayedProduce: appended batches of one partition whose producers wait for their acknowledgement.
 *
 *   acks    fsync     acknowledged when
 *   none    any       never (it does not come here)
 *   leader  group     syncedEndOffset >= nextOffset
 *   leader  interval  logEndOffset >= nextOffset, that is at once
 *   all     any       highWatermark >= nextOffset
 *   (own)   any       highWatermark and syncedEndOffset >= nextOffset: of what the shard appends itself, for coordinators
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

/** An append of the shard's own (a coordinator's records, a marker): told exactly once how it ended. */
export interface OwnAppend {
  /**
   * Its records are as durable as acks=all asks, and synced here whatever the topic's fsync says: what a coordinator believes of another
   * log may not be less durable than its own, in which it notes that.
   */
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

/** True when an append of the shard's own up to `nextOffset` is durable. */
export function isDurable(state: PartitionState, nextOffset: Offset): boolean {
  return state.highWatermark >= nextOffset && state.syncedEndOffset >= nextOffset
}

/** True when the acknowledgement that `acks` asks for is due. */
export function isAcknowledged(state: PartitionState, acks: Acks, nextOffset: Offset): boolean {
  if (acks === ACKS_ALL) return state.highWatermark >= nextOffset
  return (state.config.fsync === 'group' ? state.syncedEndOffset : state.logEndOffset) >= nextOffset
}

/** True when whoever waits may be told. */
export function isDue(
  state: PartitionState,
  { own, acks, nextOffset }: { readonly own?: OwnAppend | undefined; readonly acks: Acks; readonly nextOffset: Offset },
): boolean {
  return own === undefined ? isAcknowledged(state, acks, nextOffset) : isDurable(state, nextOffset)
}

export class DelayedProduce {
  readonly #forLeader = new Fifo<WaitingProduce>()
  readonly #forAll = new Fifo<WaitingProduce>()
  readonly #own = new Fifo<WaitingProduce>()

  get size(): number {
    return this.#forLeader.size + this.#forAll.size + this.#own.size
  }

  add(waiting: WaitingProduce): void {
    if (waiting.own !== undefined) this.#own.push(waiting)
    else if (waiting.acks === ACKS_ALL) this.#forAll.push(waiting)
    else this.#forLeader.push(waiting)
  }

  /** Takes out and answers the next produce whose acknowledgement is due; undefined when there is none. */
  takeAcknowledged(state: PartitionState): WaitingProduce | undefined {
    return (
      this.#takeFrom(this.#forLeader, state) ?? this.#takeFrom(this.#forAll, state) ?? this.#takeFrom(this.#own, state)
    )
  }

  /** Takes out and answers any produce: the partition stops and all are refused. */
  takeAny(): WaitingProduce | undefined {
    this.dropDone()
    return this.#forLeader.shift() ?? this.#forAll.shift() ?? this.#own.shift()
  }

  /** Takes out and answers a produce that waits for this replica alone. */
  takeForLeader(): WaitingProduce | undefined {
    while (this.#forLeader.peek()?.isDone) this.#forLeader.shift()
    return this.#forLeader.shift()
  }

  /** Forgets those at the heads that were answered elsewhere. */
  dropDone(): void {
    while (this.#forLeader.peek()?.isDone) this.#forLeader.shift()
    while (this.#forAll.peek()?.isDone) this.#forAll.shift()
    while (this.#own.peek()?.isDone) this.#own.shift()
  }

  #takeFrom(queue: Fifo<WaitingProduce>, state: PartitionState): WaitingProduce | undefined {
    for (;;) {
      const head = queue.peek()
      if (head === undefined) return undefined
      if (!head.isDone && !isDue(state, head)) return undefined
      queue.shift()
      if (!head.isDone) return head
    }
  }
}
