/** TimeSource: the clock and the timers of a whole in-process broker and its clients, from one hand: the system's, or a test's. */
import type { Clock } from '../base/clock.ts'
import { nodeTimers } from '../base/node/node-timers.ts'
import { systemClock } from '../base/node/system-clock.ts'
import { startTimer } from '../base/node/system-timers.ts'
import type { Timers } from '../broker/timers.ts'

export interface TimeSource extends Clock, Pick<Timers, 'every' | 'after'> {
  /** Like `after`, for a client: somebody waits for it, so it keeps the process alive. */
  startTimer(delayMs: number, task: () => void): { cancel(): void }
}

export const systemTime: TimeSource = {
  ...systemClock,
  ...{ every: nodeTimers.every, after: nodeTimers.after, startTimer },
}

/** The timers of one broker of several that share a time: those of a broker that died never fire. */
export class TimerScope implements Timers {
  readonly #time: TimeSource
  readonly #soon: (task: () => void) => void
  readonly #cancels = new Set<() => void>()
  #isClosed = false

  constructor(time: TimeSource, soon: (task: () => void) => void) {
    this.#time = time
    this.#soon = soon
  }

  every(periodMs: number, task: () => void): () => void {
    return this.#keep(this.#time.every(periodMs, task))
  }

  after(delayMs: number, task: () => void): () => void {
    const cancel = this.#keep(
      this.#time.after(delayMs, () => {
        this.#cancels.delete(cancel)
        task()
      }),
    )
    return cancel
  }

  soon(task: () => void): void {
    this.#soon(() => {
      if (!this.#isClosed) task()
    })
  }

  close(): void {
    this.#isClosed = true
    for (const cancel of this.#cancels) cancel()
    this.#cancels.clear()
  }

  #keep(cancelTimer: () => void): () => void {
    if (this.#isClosed) cancelTimer()
    const cancel = () => {
      this.#cancels.delete(cancel)
      cancelTimer()
    }
    this.#cancels.add(cancel)
    return cancel
  }
}
