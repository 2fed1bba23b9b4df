/**
 * TestClock: time that stands still until a test moves it. Broker and clients take their clock and timers from here.
 *
 * Ordering   within advance(): the time moves to the next timer that is due, its task runs, then everything that follows from it is
 *            done (`settle`) before the next. Timers of one instant: the broker's first, then in the order in which they were set
 * Determinism  the same calls give the same times and the same order
 * Limits     up to EXACT_MS_MAX an advance stops at every timer. A longer one stops about STEPS_MAX times: timers of one step run
 *            together, at its end, in order; a period that has passed several times within it is noticed once, as after a computer's sleep
 */
import type { TimeSource } from './time-source.ts'

const EXACT_MS_MAX = 60_000
const STEPS_MAX = 2_000

interface TestTimer {
  atMs: number
  readonly isBroker: boolean
  readonly order: number
  readonly run: () => void
}

export class TestClock implements TimeSource {
  readonly #startMs: number
  readonly #timers = new Set<TestTimer>()
  #elapsedMs = 0
  #order = 0
  #isAdvancing = false

  constructor(startMs: number) {
    this.#startMs = startMs
  }

  nowMs(): number {
    return Math.floor(this.#startMs + this.#elapsedMs)
  }

  monotonicMs(): number {
    return this.#elapsedMs
  }

  every(periodMs: number, task: () => void): () => void {
    const timer = this.#add(periodMs, true, () => {
      timer.atMs = this.#elapsedMs + periodMs
      this.#timers.add(timer)
      task()
    })
    return () => this.#timers.delete(timer)
  }

  after(delayMs: number, task: () => void): () => void {
    const timer = this.#add(delayMs, true, task)
    return () => this.#timers.delete(timer)
  }

  startTimer(delayMs: number, task: () => void): { cancel(): void } {
    const timer = this.#add(delayMs, false, task)
    return { cancel: () => this.#timers.delete(timer) }
  }

  /** Moves the time by `ms`; `settle` does what follows from each step. */
  async advance(ms: number, settle: () => Promise<void>): Promise<void> {
    if (this.#isAdvancing) throw new Error('the clock is being advanced already: await the call before')
    this.#isAdvancing = true
    try {
      const untilMs = this.#elapsedMs + ms
      const stepMs = ms <= EXACT_MS_MAX ? 0 : ms / STEPS_MAX
      await settle()
      for (;;) {
        const next = this.#next()
        if (next === undefined || next.atMs > untilMs) break
        this.#elapsedMs = Math.min(untilMs, Math.max(next.atMs, this.#elapsedMs + stepMs))
        await this.#runDue(settle)
      }
      this.#elapsedMs = untilMs
    } finally {
      this.#isAdvancing = false
    }
  }

  /** How long until the next timer; undefined = there is none. */
  get nextInMs(): number | undefined {
    const next = this.#next()
    return next === undefined ? undefined : Math.max(0, next.atMs - this.#elapsedMs)
  }

  #add(delayMs: number, isBroker: boolean, run: () => void): TestTimer {
    const timer = { atMs: this.#elapsedMs + Math.max(0, delayMs), isBroker, order: this.#order++, run }
    this.#timers.add(timer)
    return timer
  }

  #next(): TestTimer | undefined {
    let next: TestTimer | undefined
    for (const timer of this.#timers) if (next === undefined || isBefore(timer, next)) next = timer
    return next
  }

  /** Those that were due when it was called; what they set anew is for the next step. */
  async #runDue(settle: () => Promise<void>): Promise<void> {
    const due = [...this.#timers].filter((timer) => timer.atMs <= this.#elapsedMs)
    due.sort((left, right) =>
      left.isBroker === right.isBroker ? (isBefore(left, right) ? -1 : 1) : left.isBroker ? -1 : 1,
    )
    for (const timer of due) {
      if (!this.#timers.delete(timer)) continue
      timer.run()
      await settle()
    }
  }
}

function isBefore(left: TestTimer, right: TestTimer): boolean {
  return left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order)
}
