/** SimulatedProcess: what happens inside one broker process: nothing while it is frozen, nothing any more once it is dead. */
import type { Clock } from '../../../src/base/clock.ts'
import type { Timers } from '../../../src/coordination/timers.ts'
import type { EventQueue } from '../event-simulation/event-queue.ts'

export class SimulatedProcess implements Timers, Clock {
  readonly #queue: EventQueue
  readonly #backlog: (() => void)[] = []
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
    if (this.#backlog.length === 0 && this.frozenUntilMs <= this.#queue.nowMs) {
      task()
      return
    }
    this.#backlog.push(task)
    if (this.#backlog.length === 1) this.#thaw()
  }

  /** What came while it was frozen happens then, in its order. */
  #thaw(): void {
    const waitMs = this.frozenUntilMs - this.#queue.nowMs
    if (waitMs > 0) {
      this.#queue.after(waitMs, () => this.#thaw())
      return
    }
    const task = this.#backlog.shift()
    if (task === undefined || this.isDead) return
    // One at a time: promises of one go on before the next, as in a real turn.
    this.#queue.after(0, () => this.#thaw())
    task()
  }
}
