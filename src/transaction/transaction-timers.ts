/**
 * TransactionTimers: when open transactions time out and markers are tried again, earliest first. Given the monotonic time.
 *
 * Limits  one timer per transactional id: a transaction that is decided has no timeout any more
 */
import { assert } from '../base/assert.ts'
import { DeadlineHeap } from '../base/deadline-heap.ts'
import { COORDINATOR_TRANSACTIONAL_IDS_MAX } from '../model/limits.ts'
import type { TransactionEntry, TransactionTimer } from './transaction-state.ts'

export class TransactionTimers {
  readonly #heap = new DeadlineHeap<TransactionTimer>(COORDINATOR_TRANSACTIONAL_IDS_MAX)

  get nextDeadlineMs(): number {
    return this.#heap.nextDeadlineMs
  }

  start(entry: TransactionEntry, deadlineMs: number): void {
    this.stop(entry)
    const timer: TransactionTimer = { entry, deadlineMs, heapIndex: -1 }
    entry.timer = timer
    assert(this.#heap.offer(timer), 'more timers than transactional ids')
  }

  stop(entry: TransactionEntry): void {
    if (entry.timer !== undefined) this.#heap.remove(entry.timer)
    entry.timer = undefined
  }

  /** Takes out an entry whose time is over; undefined when there is none. */
  takeExpired(nowMs: number): TransactionEntry | undefined {
    const timer = this.#heap.takeExpired(nowMs)
    if (timer === undefined) return undefined
    timer.entry.timer = undefined
    return timer.entry
  }
}
