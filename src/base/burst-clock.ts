/**
 * BurstClock: the wall time for many looks in a row, such as the timestamps of records that are sent in a loop: the real clock is
 * looked at once for up to LOOKS_MAX of them, and anew in every job (microtask).
 *
 * Limits      what it answers is as old as the work between two looks: the records of one loop, at most LOOKS_MAX of them
 */
import type { Clock } from './clock.ts'

const LOOKS_MAX = 256

export class BurstClock {
  readonly #clock: Clock
  #nowMs = 0
  #looksLeft = 0
  #isExpiring = false
  readonly #expire = (): void => {
    this.#isExpiring = false
    this.#looksLeft = 0
  }

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Milliseconds since the epoch, integer. */
  nowMs(): number {
    if (this.#looksLeft > 0) this.#looksLeft--
    else this.#look()
    return this.#nowMs
  }

  #look(): void {
    this.#nowMs = this.#clock.nowMs()
    this.#looksLeft = LOOKS_MAX - 1
    if (this.#isExpiring) return
    this.#isExpiring = true
    queueMicrotask(this.#expire)
  }
}
