/** Pace: so many events a second, evenly: an event that comes early waits, one that comes late is not made up for in a burst. */
import { setTimeout as delay } from 'node:timers/promises'

const BURST_MS = 20

export class Pace {
  readonly #intervalMs: number
  #nextMs = performance.now()

  constructor(eventsPerSecond: number) {
    this.#intervalMs = 1000 / eventsPerSecond
  }

  /** Resolves when the next event is due. Timers are coarse, so up to 20 ms of events pass at once. */
  async next(signal: AbortSignal): Promise<void> {
    const nowMs = performance.now()
    this.#nextMs = Math.max(this.#nextMs + this.#intervalMs, nowMs - BURST_MS)
    const aheadMs = this.#nextMs - nowMs
    if (aheadMs > Math.min(this.#intervalMs, BURST_MS)) await delay(aheadMs, undefined, { signal }).catch(() => {})
  }
}
