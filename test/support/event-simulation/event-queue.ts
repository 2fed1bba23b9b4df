/** EventQueue: virtual time. Events of one time run in the order in which they were made. */
import { DeadlineHeap, type Timed } from '../../../src/base/deadline-heap.ts'

interface SimulatedEvent extends Timed {
  readonly run: () => void
}

export class EventQueue {
  // Ties are broken by the sequence number in the fraction: 2^-20 ms apart.
  readonly #heap = new DeadlineHeap<SimulatedEvent>(1_000_000)
  #sequence = 0
  #nowMs = 0

  get nowMs(): number {
    return this.#nowMs
  }

  /** Runs `run` after `delayMs`, a whole number. */
  after(delayMs: number, run: () => void): void {
    const deadlineMs = this.#nowMs + delayMs + (this.#sequence++ % 2 ** 20) / 2 ** 20
    this.#heap.offer({ deadlineMs, heapIndex: -1, run })
  }

  /** Runs the next event; false = there is none before `untilMs`, which is the time then. */
  step(untilMs: number): boolean {
    const event = this.#heap.takeExpired(untilMs)
    if (event === undefined) {
      this.#nowMs = untilMs
      return false
    }
    this.#nowMs = Math.max(this.#nowMs, Math.floor(event.deadlineMs))
    event.run()
    return true
  }
}
