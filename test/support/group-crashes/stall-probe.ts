/**
 * StallProbe: when the machine was late, as a thread saw it that has nothing else to do: a timer, and a broker's /livez. Somebody who
 * measures time takes off what it stood still, and knows how late it was altogether: a process that gets no processor does nothing
 * in time.
 *
 * Limits   keeps two numbers a delay, 50 delays a second at most
 */
import { Worker } from 'node:worker_threads'

/** It did not only go slowly. */
const STANDSTILL_MS = 200

interface Delay {
  readonly fromMs: number
  readonly toMs: number
}

export interface Delays {
  /** Within delays of STANDSTILL_MS or more. */
  readonly stoodMs: number
  /** Within any. */
  readonly lateMs: number
}

export class StallProbe {
  readonly #thread: Worker
  /** In the order of their beginnings. */
  readonly #delays: Delay[] = []

  constructor(brokerUrl: string) {
    const workerData = `${brokerUrl.replace(/^ws/, 'http')}/livez`
    this.#thread = new Worker(new URL('./stall-thread.js', import.meta.url), { workerData })
    this.#thread.on('message', (delay: Delay) => {
      this.#delays.push(delay)
      this.#delays.sort((left, right) => left.fromMs - right.fromMs)
    })
  }

  /** Of [fromMs, toMs). */
  within(fromMs = Number.NEGATIVE_INFINITY, toMs = Number.POSITIVE_INFINITY): Delays {
    const standstills = this.#delays.filter((delay) => delay.toMs - delay.fromMs >= STANDSTILL_MS)
    return { stoodMs: covered(standstills, fromMs, toMs), lateMs: covered(this.#delays, fromMs, toMs) }
  }

  async close(): Promise<void> {
    await this.#thread.terminate()
  }
}

/** How much of [fromMs, toMs) they cover together. */
function covered(delays: readonly Delay[], fromMs: number, toMs: number): number {
  let coveredMs = 0
  let coveredToMs = fromMs
  for (const delay of delays) {
    const beginMs = Math.max(delay.fromMs, coveredToMs)
    const endMs = Math.min(delay.toMs, toMs)
    if (endMs <= beginMs) continue
    coveredMs += endMs - beginMs
    coveredToMs = endMs
  }
  return coveredMs
}
