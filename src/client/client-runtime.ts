/**
 * ClientRuntime: everything the client takes from its surroundings — clock, chance, timers, network. The real ones are
 * made in node-runtime.ts and browser-runtime.ts; a simulator hands in virtual ones and so runs the client in virtual time.
 */
import type { Clock } from '../base/clock.ts'
import type { Prng } from '../base/prng.ts'
import type { Codecs } from '../record/compression.ts'
import type { Transport } from '../transport/transport.ts'
import type { KeepAlive, KeepAliveTarget } from './group/keep-alive.ts'

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
  /** Says that members of groups are alive while this thread is blocked; left out where nothing can. */
  readonly startKeepAlive?: (target: KeepAliveTarget) => KeepAlive
}
