/** Clock, chance and timers of a browser. */
import type { Clock } from '../clock.ts'
import { SeededPrng } from '../prng.ts'

export const browserClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
}

/** A generator whose seed nobody chose. */
export function browserPrng(): SeededPrng {
  const words = crypto.getRandomValues(new Uint32Array(2))
  return new SeededPrng((words[0]! & 0x1fffff) * 0x1_0000_0000 + words[1]!)
}

/** Runs `task` once, `delayMs` from now. */
export function startTimer(delayMs: number, task: () => void): { cancel(): void } {
  const timer = setTimeout(task, delayMs)
  return { cancel: () => clearTimeout(timer) }
}
