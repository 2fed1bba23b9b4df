/**
 * AbortedLookup: the aborted transactions of a range, as a compaction asks for them: is this batch of one, which one does this marker end,
 * what is open at this place.
 */
import type { BatchView } from '../record/batch-view.ts'
import type { AbortedEntry } from './open-transactions.ts'

const NUMBERS = 4

/** As plain numbers, for the way to the pool. */
export function numbersOf(entries: readonly AbortedEntry[]): number[] {
  const numbers: number[] = []
  for (const { producerId, firstOffset, lastOffset, lastStableOffset } of entries)
    numbers.push(producerId, firstOffset, lastOffset, lastStableOffset)
  return numbers
}

export class AbortedLookup {
  /** By producer id, and there by first offset. */
  readonly #byProducer = new Map<number, AbortedEntry[]>()
  readonly #byMarker = new Map<number, AbortedEntry>()
  readonly #all: AbortedEntry[] = []

  constructor(numbers: readonly number[]) {
    for (let at = 0; at < numbers.length; at += NUMBERS) {
      const entry = {
        producerId: numbers[at]!,
        firstOffset: numbers[at + 1]!,
        lastOffset: numbers[at + 2]!,
        lastStableOffset: numbers[at + 3]!,
      }
      this.#all.push(entry)
      this.#byMarker.set(entry.lastOffset, entry)
      const own = this.#byProducer.get(entry.producerId)
      if (own === undefined) this.#byProducer.set(entry.producerId, [entry])
      else own.push(entry)
    }
  }

  /** A data batch of one of them. */
  has(batch: BatchView): boolean {
    if (!batch.isTransactional || batch.isControl) return false
    const own = this.#byProducer.get(batch.producerId)
    if (own === undefined) return false
    const baseOffset: number = batch.baseOffset
    let low = 0
    let high = own.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (own[middle]!.firstOffset <= baseOffset) low = middle + 1
      else high = middle
    }
    return low > 0 && own[low - 1]!.lastOffset > baseOffset
  }

  /** The one that the marker at `offset` ends; undefined: it ends none, or one that was committed. */
  endedBy(offset: number): AbortedEntry | undefined {
    return this.#byMarker.get(offset)
  }

  /** No aborted transaction that ends at or past `offset` begins below the answer. */
  stableOffsetAt(offset: number): number {
    let first = offset
    for (const { firstOffset, lastOffset } of this.#all)
      if (lastOffset >= offset && firstOffset < first) first = firstOffset
    return first
  }
}
