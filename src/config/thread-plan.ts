/**
 * thread-plan: how many shards a machine's cores are good for, and whether their threads may spin before they sleep.
 *
 * Rule  threads: one for the sockets, two a shard (its loop, its disk thread, which mostly waits for the device).
 *       A thread that spins keeps a core: with as many threads as cores it would keep the very thread from running that it
 *       waits for. So spinning is done only where a core is left over, and `shards: auto` leaves one when spinning is asked for
 */
import type { BrokerConfig } from './config.ts'

export interface ThreadPlan {
  readonly shards: number
  /** 0 = threads sleep at once. */
  readonly spinMicroseconds: number
  /** Spinning was asked for and the machine is too small for it. */
  readonly isSpinRefused: boolean
}

export function planThreads(config: Pick<BrokerConfig, 'shards' | 'shard'>, cores: number): ThreadPlan {
  const { spinMicroseconds } = config.shard
  const auto = spinMicroseconds > 0 ? Math.floor((cores - 2) / 2) : cores - 1
  const shards = config.shards === 'auto' ? Math.max(1, auto) : config.shards
  const maySpin = 1 + 2 * shards < cores
  return {
    shards,
    spinMicroseconds: maySpin ? spinMicroseconds : 0,
    isSpinRefused: spinMicroseconds > 0 && !maySpin,
  }
}
