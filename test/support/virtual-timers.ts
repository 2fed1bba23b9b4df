/** Timers and clock stepped by hand: time passes only when a test says so. */
import type { Clock } from '../../src/base/clock.ts'
import type { Timers } from '../../src/coordination/timers.ts'
import { EventQueue } from './event-simulation/event-queue.ts'

export class VirtualTime implements Timers, Clock {
  readonly queue = new EventQueue()

  nowMs(): number {
    return this.queue.nowMs
  }

  monotonicMs(): number {
    return this.queue.nowMs
  }

  after(delayMs: number, task: () => void): () => void {
    let isCancelled = false
    this.queue.after(Math.ceil(delayMs), () => {
      if (!isCancelled) task()
    })
    return () => {
      isCancelled = true
    }
  }

  /** Lets `durationMs` pass; promises that a step resolved go on before the next one. */
  async pass(durationMs: number): Promise<void> {
    const untilMs = this.queue.nowMs + durationMs
    await settled()
    while (this.queue.step(untilMs)) await settled()
    await settled()
  }
}

/** Lets everything go on that waits for promises only. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
