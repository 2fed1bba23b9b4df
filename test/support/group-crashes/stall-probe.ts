/**
 * StallProbe: when the machine was late: a timer of this process, and a broker's /livez. Somebody who measures time takes off what it
 * stood still, and knows how late it was altogether: a process that gets no processor does nothing in time.
 *
 * Limits   keeps two numbers a delay, 50 delays a second at most
 */
import { machineMs } from './member-journal.ts'

const TICK_MS = 20
const ASK_MS = 100
/** Timers are so late at any time. */
const LATE_MS = 10
/** It did not only go slowly. */
const STANDSTILL_MS = 200
/** An answer may take so long. */
const ANSWER_MS = 30
const ANSWER_MS_MAX = 60_000

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
  readonly #livez: string
  readonly #stop = new AbortController()
  readonly #tick: NodeJS.Timeout
  readonly #asking: Promise<void>
  /** In the order of their beginnings. */
  readonly #delays: Delay[] = []

  constructor(brokerUrl: string) {
    this.#livez = `${brokerUrl.replace(/^ws/, 'http')}/livez`
    let dueMs = machineMs() + TICK_MS
    this.#tick = setInterval(() => {
      const nowMs = machineMs()
      if (nowMs > dueMs + LATE_MS) this.#note(dueMs, nowMs)
      dueMs = nowMs + TICK_MS
    }, TICK_MS)
    this.#asking = this.#ask()
  }

  /** Of [fromMs, toMs). */
  within(fromMs = Number.NEGATIVE_INFINITY, toMs = Number.POSITIVE_INFINITY): Delays {
    const standstills = this.#delays.filter((delay) => delay.toMs - delay.fromMs >= STANDSTILL_MS)
    return { stoodMs: covered(standstills, fromMs, toMs), lateMs: covered(this.#delays, fromMs, toMs) }
  }

  async close(): Promise<void> {
    clearInterval(this.#tick)
    this.#stop.abort()
    await this.#asking
  }

  #note(fromMs: number, toMs: number): void {
    this.#delays.push({ fromMs, toMs })
    this.#delays.sort((left, right) => left.fromMs - right.fromMs)
  }

  async #ask(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const askedMs = machineMs()
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(ANSWER_MS_MAX)])
      await fetch(this.#livez, { signal })
        .then((answer) => answer.arrayBuffer())
        .catch(() => {})
      const nowMs = machineMs()
      if (nowMs > askedMs + ANSWER_MS) this.#note(askedMs + ANSWER_MS, nowMs)
      await new Promise((resolve) => setTimeout(resolve, ASK_MS))
    }
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
