/**
 * AbortedFilter: which batches of a fetch belong to transactions that were aborted (Kafka's algorithm).
 *
 *   before each batch    every transaction told of that begins at or before its last offset is active
 *   transactional batch  of a producer with an active transaction: passed over
 *   ABORT marker         ends its producer's: what that producer writes later is another transaction
 *
 * Invariants  A1 it is asked of every batch of the fetch, in order, from the first one on: a marker that it does not see ends nothing
 *             A2 the list has every aborted transaction that overlaps the batches, and none that ended before the first of them
 * Happy path  an empty list: one look a batch, nothing is made
 */
import { type AbortedTransaction, NO_ABORTED } from '../model/aborted-transaction.ts'
import type { BatchView } from './batch-view.ts'
import { readMarker } from './control-batch.ts'

export class AbortedFilter {
  /** By first offset. */
  #aborted: readonly AbortedTransaction[] = NO_ABORTED
  #next = 0
  /** Producers with an active transaction. */
  readonly #active = new Set<number>()

  /** Begins with the first batch of a fetch that told of `aborted`. */
  reset(aborted: readonly AbortedTransaction[]): void {
    this.#next = 0
    if (this.#active.size > 0) this.#active.clear()
    // Sorted as a rule: nothing is copied then.
    this.#aborted = isSorted(aborted)
      ? aborted
      : [...aborted].sort((left, right) => left.firstOffset - right.firstOffset)
  }

  /** Whether the records of `batch` are to be delivered, as far as aborted transactions go. */
  accept(batch: BatchView): boolean {
    if (this.#aborted.length === 0) return true
    this.#activateTo(batch.lastOffset)
    if (this.#active.size === 0 || !batch.isTransactional) return true
    if (!batch.isControl) return !this.#active.has(batch.producerId)
    if (readMarker(batch)?.type === 'ABORT') this.#active.delete(batch.producerId)
    return true
  }

  #activateTo(lastOffset: number): void {
    const aborted = this.#aborted
    while (this.#next < aborted.length && aborted[this.#next]!.firstOffset <= lastOffset)
      this.#active.add(aborted[this.#next++]!.producerId)
  }
}

function isSorted(aborted: readonly AbortedTransaction[]): boolean {
  for (let index = 1; index < aborted.length; index++)
    if (aborted[index]!.firstOffset < aborted[index - 1]!.firstOffset) return false
  return true
}
