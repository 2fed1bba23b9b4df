/**
 * HandledOffsets: which records of a partition have been handed out and not been handled yet; they may end in any order.
 *
 * Invariants  H1 everything handed out below lowestOpen has ended: that is what may be committed     checked in: unit test
 *             H2 lowestOpen never falls
 * Limits      as many offsets as the caller hands out at a time
 * Hot path    nothing is made where records end in the order in which they were handed out
 */
import { InvariantError } from '../../base/assert.ts'

const COMPACT_AT = 1024

export class HandledOffsets {
  /** Rising; those before the head have ended. */
  readonly #offsets: number[] = []
  #head = 0
  /** Ended before an earlier one has. */
  readonly #ended = new Set<number>()

  /** Records that are open, and those that wait for an earlier one. */
  get size(): number {
    return this.#offsets.length - this.#head
  }

  /** The first record that has not ended; undefined = all have. */
  get lowestOpen(): number | undefined {
    return this.#offsets[this.#head]
  }

  /** A record is handed out; offsets rise. */
  begin(offset: number): void {
    const { length } = this.#offsets
    if (length > 0 && offset <= this.#offsets[length - 1]!)
      throw new InvariantError(`offset ${offset} is handed out after a later one`)
    this.#offsets.push(offset)
  }

  /** The record has been handled, or is in the dead letters. */
  end(offset: number): void {
    if (offset !== this.#offsets[this.#head]) {
      this.#ended.add(offset)
      return
    }
    do this.#head++
    while (this.#head < this.#offsets.length && this.#ended.delete(this.#offsets[this.#head]!))
    if (this.#head === this.#offsets.length) this.#clear()
    else if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#offsets.length) {
      this.#offsets.splice(0, this.#head)
      this.#head = 0
    }
  }

  #clear(): void {
    this.#offsets.length = 0
    this.#head = 0
  }
}
