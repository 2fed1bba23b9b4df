/** How much of its time this thread's event loop was not waiting for events: what main-thread utilisation is made from. */
import { performance } from 'node:perf_hooks'

/** Microseconds since the thread started; two readings and the time between them make a share. */
export function mainBusyMicroseconds(): number {
  return Math.round(performance.eventLoopUtilization().active * 1000)
}
