/** SimulatedProcess: what happens inside one broker process: nothing while it is frozen, nothing any more once it is dead. */
import type { Clock } from '../../../src/base/clock.ts'
import type { Timers } from '../../../src/coordination/timers.ts'
import type { EventQueue } from '../event-simulation/event-queue.ts'

export class SimulatedProcess implements Timers, Clock {
  readonly #queue: EventQueue
  isDead = false
  frozenUntilMs = 0

  constructor(queue: EventQueue) {
    this.#queue = queue
  }

  nowMs(): number {
    return this.#queue.nowMs
  }

  monotonicMs(): number {
    return this.#queue.nowMs
  }

  after(delayMs: number, task: () => void): () => void {
    let isCancelled = false
    this.#queue.after(Math.ceil(delayMs), () => this.deliver(() => void (isCancelled || task())))
    return () => {
      isCancelled = true
    }
  }

  /** Runs it now, or when the process runs again. */
  deliver(task: () => void): void {
    if (this.isDead) return
    const waitMs = this.frozenUntilMs - this.#queue.nowMs
    if (waitMs > 0) this.#queue.after(waitMs, () => this.deliver(task))
    else task()
  }
}
