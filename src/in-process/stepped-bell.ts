/** SteppedBell: the gateway's doorbell where nothing sleeps: it is looked at in turn with the agents, and calls when it was rung. */
import type { Bell } from '../broker/gateway.ts'
import { RingSignal } from '../ring/ring-signal.ts'

export class SteppedBell implements Bell {
  readonly name = 'gateway'
  readonly #signal: RingSignal
  readonly #onRing: () => void
  #seen: number
  #isArmed = false

  constructor(memory: SharedArrayBuffer, onRing: () => void) {
    this.#signal = new RingSignal(memory)
    this.#onRing = onRing
    this.#seen = this.#signal.sequence()
  }

  arm(): void {
    this.#isArmed = true
  }

  close(): void {
    this.#isArmed = false
  }

  step(): number {
    const sequence = this.#signal.sequence()
    if (!this.#isArmed || sequence === this.#seen) return 0
    this.#isArmed = false
    // Before the look: a ring from here on is found by the next step.
    this.#seen = sequence
    this.#onRing()
    return 1
  }

  deadlineMs(): number {
    return Number.POSITIVE_INFINITY
  }
}
