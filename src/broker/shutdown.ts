/**
 * Shutdown: a broker's orderly end, as a list of named steps. Each has its time; one that fails does not stop the next, but the
 * clean marker is written only when all shards said that everything is on the device.
 *
 *   drain     no new connections; open produces get their replies
 *   shards    SHUTDOWN to each: sync, last checkpoint
 *   close     sockets, doorbell
 *   threads   end by themselves, else are stopped
 *   store     the metadata store is closed
 *   marker    clean, and the lock given back
 */
import type { Logger } from '../telemetry/logger.ts'
import type { Gateway } from './gateway.ts'
import type { Timers } from './timers.ts'
import type { WorkerPool } from './worker-pool.ts'

const DRAIN_MS_MAX = 5_000
const SHARD_MS_MAX = 60_000
const THREADS_MS_MAX = 5_000

export interface ShutdownOptions {
  readonly gateway: Gateway
  readonly workers: Pick<WorkerPool, 'expectExit' | 'close'>
  readonly timers: Timers
  readonly logger: Logger
  readonly closeStore: () => Promise<void>
  /** Writes the marker where `isClean`, gives back the lock in any case. */
  readonly closeDataDir: (isClean: boolean) => Promise<void>
}

export async function shutdown(options: ShutdownOptions): Promise<void> {
  const { gateway, workers, timers, logger } = options
  let isClean = true
  const step = async (name: string, work: () => Promise<unknown>) => {
    try {
      await work()
    } catch (error) {
      isClean = false
      logger.error({ err: error, step: name }, 'a step of the shutdown failed')
    }
  }
  await step('drain', () => gateway.drain(DRAIN_MS_MAX))
  workers.expectExit()
  await step('shards', async () => {
    const failed = await gateway.stopShards(SHARD_MS_MAX)
    if (failed.length > 0) throw new Error(`shards ${failed.join(', ')} did not stop in order`)
  })
  await step('close', () => gateway.close())
  await step('threads', () => workers.close(new Promise((resolve) => timers.after(THREADS_MS_MAX, resolve))))
  await step('store', options.closeStore)
  await step('marker', () => options.closeDataDir(isClean))
}
