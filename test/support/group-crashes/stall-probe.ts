/**
 * StallProbe: when the machine stood still: a timer of this process, and a broker's /livez, that were late. What it saw is taken off
 * measurements of time: a process that gets no processor does nothing in time.
 */
import { machineMs } from './member-journal.ts'

const TICK_MS = 20
const ASK_MS = 100
/** Later than this is a stall. */
const LATE_MS = 10
/** An answer may take so long. */
const ANSWER_MS = 30
const ANSWER_MS_MAX = 60_000

interface Stall {
  readonly fromMs: number
  readonly toMs: number
}

export class StallProbe {
  readonly #livez: string
  readonly #stop = new AbortController()
  readonly #tick: NodeJS.Timeout
  readonly #asking: Promise<void>
  /** In the order of their beginnings. */
  readonly #stalls: Stall[] = []

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

  /** How much of [fromMs, toMs) it stood still. */
  stalledMs(fromMs = Number.NEGATIVE_INFINITY, toMs = Number.POSITIVE_INFINITY): number {
    let stalledMs = 0
    let coveredToMs = fromMs
    for (const stall of this.#stalls) {
      const beginMs = Math.max(stall.fromMs, coveredToMs)
      const endMs = Math.min(stall.toMs, toMs)
      if (endMs <= beginMs) continue
      stalledMs += endMs - beginMs
      coveredToMs = endMs
    }
    return stalledMs
  }

  async close(): Promise<void> {
    clearInterval(this.#tick)
    this.#stop.abort()
    await this.#asking
  }

  #note(fromMs: number, toMs: number): void {
    this.#stalls.push({ fromMs, toMs })
    this.#stalls.sort((left, right) => left.fromMs - right.fromMs)
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
