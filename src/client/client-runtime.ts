/**
 * ClientRuntime: everything the client takes from its surroundings — clock, chance, timers, network. The real ones are
 * made in node-runtime.ts and browser-runtime.ts; a simulator hands in virtual ones and so runs the client in virtual time.
 */
import type { Clock } from '../base/clock.ts'
import type { Prng } from '../base/prng.ts'
import type { Codecs } from '../record/compression.ts'
import type { Transport } from '../transport/transport.ts'

export interface Timer {
  cancel(): void
}

export interface ClientRuntime {
  readonly clock: Clock
  readonly prng: Prng
  readonly transport: Transport
  readonly codecs: Codecs
  /** Runs `task` once, `delayMs` from now. */
  startTimer(delayMs: number, task: () => void): Timer
}
