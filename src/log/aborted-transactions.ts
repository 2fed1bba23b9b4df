/**
 * AbortedTransactions: the aborted transactions of one partition, for readers with read_committed.
 *
 * Owns        the entries, in marker order; those whose marker is staged
 * Ordering    stage(entry) while its marker is staged -> settle() when written | dropStaged()
 */
import type { AbortedTransaction } from './producer-state.ts'

export interface AbortedAnswer {
  /** By first offset. */
  readonly entries: readonly AbortedTransaction[]
  /** The list is whole for what lies below it: the `end` that was asked for, or less when there were too many. */
  readonly endOffset: number
}

export class AbortedTransactions {
  #entries: AbortedTransaction[] = []
  #staged: AbortedTransaction[] = []

  stage(entry: AbortedTransaction): void {
    this.#staged.push(entry)
  }

  settle(): void {
    if (this.#staged.length === 0) return
    this.#entries.push(...this.#staged)
    this.#staged.length = 0
  }

  dropStaged(): void {
    this.#staged.length = 0
  }

  within(from: number, end: number, countMax: number): AbortedAnswer {
    const found: AbortedTransaction[] = []
    for (const entry of this.#entries) {
      if (entry.lastOffset >= from && entry.firstOffset < end) found.push(entry)
      if (entry.lastStableOffset >= end) break
    }
    return cutTo(found, from, end, countMax)
  }
}

/** Sorts, and cuts where there are more than `countMax`, though not at or before `from`: the reader must come on. */
export function cutTo(found: AbortedTransaction[], from: number, end: number, countMax: number): AbortedAnswer {
  found.sort((left, right) => left.firstOffset - right.firstOffset)
  let count = Math.min(found.length, countMax)
  while (count < found.length && found[count]!.firstOffset <= from) count++
  if (count === found.length) return { entries: found, endOffset: end }
  return { entries: found.slice(0, count), endOffset: found[count]!.firstOffset }
}
