/**
 * RatePace: how many events of an even rate are due now. Timers have a millisecond, so events come in small handfuls; late ones
 * are made up for, so that the rate holds and a stall is seen in the latencies of what waited behind it.
 */
const TICK_MS = 1

export class RatePace {
  readonly #perMs: number
  readonly #startedMs: number
  #given = 0

  constructor(eventsPerSecond: number, nowMs = performance.now()) {
    this.#perMs = eventsPerSecond / 1000
    this.#startedMs = nowMs
  }

  /** Events due at `nowMs` that were not given out before, at most `max`. */
  take(nowMs: number, max: number): number {
    const due = Math.min(max, Math.floor((nowMs - this.#startedMs) * this.#perMs) - this.#given)
    this.#given += due
    return due
  }

  /** Waits until at least one event is due; the event loop turns in any case. */
  async due(max: number): Promise<number> {
    await new Promise((resolve) => setImmediate(resolve))
    for (;;) {
      const due = this.take(performance.now(), max)
      if (due > 0) return due
      await new Promise((resolve) => setTimeout(resolve, TICK_MS))
    }
  }
}
