/**
 * StallWatch: how long a handler has been at the same thing, seen from outside: no clock is read per record.
 *
 * Accuracy  a handler counts from when it was first seen at its record, so it is seen as hung up to one look (a heartbeat's
 *           interval) later than it is, never earlier
 */
import type { Clock } from '../../base/clock.ts'

export class StallWatch {
  readonly #clock: Clock
  readonly #maxMs: number
  /** What changes when the handler goes on; undefined = it has nothing. */
  readonly #progress: () => number | undefined
  #seen: number | undefined
  #sinceMs = 0

  constructor(clock: Clock, maxMs: number, progress: () => number | undefined) {
    this.#clock = clock
    this.#maxMs = maxMs
    this.#progress = progress
  }

  /** The monotonic time at which it counts as hung; infinity when nothing is at work. */
  stalledAtMs(): number {
    const progress = this.#progress()
    if (progress !== this.#seen) {
      this.#seen = progress
      this.#sinceMs = this.#clock.monotonicMs()
    }
    return progress === undefined ? Number.POSITIVE_INFINITY : this.#sinceMs + this.#maxMs
  }
}
