/**
 * ClientRuntime: everything the client takes from its surroundings — clock, chance, timers, network. The real ones are
 * made in node-runtime.ts and browser-runtime.ts; a simulator hands in virtual ones and so runs the client in virtual time.
 */
import type { Prng } from '../base/prng.ts'
import type { Codecs } from '../record/compression.ts'
import type { ConnectionRuntime, Timer } from '../transport/connection.ts'
import type { KeepAlive, KeepAliveTarget } from './group/keep-alive.ts'

export type { Timer }

export interface ClientRuntime extends ConnectionRuntime {
  readonly prng: Prng
  readonly codecs: Codecs
  /** Says that members of groups are alive while this thread is blocked; left out where nothing can. */
  readonly startKeepAlive?: (target: KeepAliveTarget) => KeepAlive
}
