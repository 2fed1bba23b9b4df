/** ManualTimers: the gateway's timers and a clock that stand until a test moves them. */
import type { Clock } from '../../src/base/clock.ts'
import type { Timers } from '../../src/broker/timers.ts'

interface Timer {
  atMs: number
  readonly periodMs: number
  readonly task: () => void
}

export class ManualTimers implements Timers {
  #nowMs = 0
  readonly #timers = new Set<Timer>()
  #soon: (() => void)[] = []

  readonly clock: Clock = { nowMs: () => this.#nowMs, monotonicMs: () => this.#nowMs }

  every(periodMs: number, task: () => void): () => void {
    return this.#add({ atMs: this.#nowMs + periodMs, periodMs, task })
  }

  after(delayMs: number, task: () => void): () => void {
    return this.#add({ atMs: this.#nowMs + delayMs, periodMs: 0, task })
  }

  soon(task: () => void): void {
    this.#soon.push(task)
  }

  /** Runs what soon() was given, and what that gives. */
  runSoon(): void {
    for (let rounds = 0; this.#soon.length > 0; rounds++) {
      if (rounds > 1_000) throw new Error('tasks make tasks without end')
      const tasks = this.#soon
      this.#soon = []
      for (const task of tasks) task()
    }
  }

  advance(ms: number): void {
    const untilMs = this.#nowMs + ms
    for (;;) {
      const next = [...this.#timers].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined) break
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      if (next.periodMs > 0) next.atMs += next.periodMs
      else this.#timers.delete(next)
      next.task()
      this.runSoon()
    }
    this.#nowMs = untilMs
  }

  #add(timer: Timer): () => void {
    this.#timers.add(timer)
    return () => void this.#timers.delete(timer)
  }
}
