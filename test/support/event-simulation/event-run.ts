/**
 * EventRun: what a seed's run has whatever it simulates: its chance, its virtual time, its journal and its outcome.
 *
 * Determinism   all chance is the seed's; `traceHash` of two runs of one seed is the same
 */
import { SeededPrng } from '../../../src/base/prng.ts'
import type { SeedOutcome } from '../seed-loop.ts'
import { EventQueue } from './event-queue.ts'

const LOG_LINES_MAX = 400

export class EventRun {
  readonly prng: SeededPrng
  readonly queue = new EventQueue()
  readonly #seed: number
  readonly #reach = new Map<string, number>()
  readonly #log: string[] = []
  #events = 0
  #traceHash = 0

  constructor(seed: number) {
    this.#seed = seed
    this.prng = new SeededPrng(seed)
  }

  /** Runs `body`; what it throws is what was wrong. */
  toEnd(body: () => void): SeedOutcome {
    try {
      body()
    } catch (error) {
      return this.#outcome(textOf(error))
    }
    return this.#outcome(undefined)
  }

  /** The same for parts that wait for promises; nothing but simulated events may resolve them. */
  async toEndLater(body: () => Promise<void>): Promise<SeedOutcome> {
    try {
      await body()
    } catch (error) {
      return this.#outcome(textOf(error))
    }
    return this.#outcome(undefined)
  }

  #outcome(failure: string | undefined): SeedOutcome {
    return {
      ...{ seed: this.#seed, failure, virtualMs: this.queue.nowMs, events: this.#events },
      ...{ traceHash: this.#traceHash, log: this.#log, reach: this.#reach },
    }
  }

  /** Lets everything happen that is due before `untilMs`; `check` after each event. */
  passTo(untilMs: number, check: (nowMs: number) => void): void {
    while (this.queue.step(untilMs)) {
      this.#events++
      this.trace(this.queue.nowMs)
      check(this.queue.nowMs)
    }
  }

  /** The same; after each event all goes on that waits for promises only. */
  async passToLater(untilMs: number, check: (nowMs: number) => void): Promise<void> {
    while (this.queue.step(untilMs)) {
      await new Promise((resolve) => setImmediate(resolve))
      this.#events++
      this.trace(this.queue.nowMs)
      check(this.queue.nowMs)
    }
  }

  /** Something came about: counted, and a line of the log. */
  note(what: string, who = ''): void {
    this.count(what)
    this.#log.push(`${this.queue.nowMs} ${what}${who === '' ? '' : ` ${who}`}`)
    if (this.#log.length > LOG_LINES_MAX) this.#log.shift()
  }

  count(what: string): void {
    this.#reach.set(what, (this.#reach.get(what) ?? 0) + 1)
  }

  trace(value: number): void {
    this.#traceHash = (Math.imul(this.#traceHash ^ value, 0x01000193) ^ (value >>> 7)) | 0
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
