/** Frames from another thread to this one through a ring; this thread sleeps on the doorbell. The payload is copied in once. */
import { Worker } from 'node:worker_threads'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { createRing } from '../../src/ring/ring-layout.ts'
import { RingReader } from '../../src/ring/ring-reader.ts'
import { createSignals, Doorbell, RingSignal } from '../../src/ring/ring-signal.ts'

export const PEER_URL = new URL('./wake-up-peer.js', import.meta.url)

export interface Throughput {
  readonly frames: number
  readonly milliseconds: number
}

export async function ringThroughput(frameBytes: number, milliseconds: number): Promise<Throughput> {
  const [ring, signals] = [createRing({ capacityBytes: 4 * 1024 * 1024 }), createSignals(2)]
  const worker = new Worker(PEER_URL, { workerData: { role: 'ring', ring, signals, frameBytes } })
  const reader = new RingReader(ring)
  const toPeer = new RingSignal(signals, { index: 1 })
  let [frames, startMs] = [0, 0]
  const keepAlive = setInterval(() => undefined, 1000)
  const tookMs = await new Promise<number>((resolve) => {
    const doorbell = new Doorbell(signals, () => {
      startMs ||= systemClock.monotonicMs()
      while (reader.next()) frames++
      if (reader.release()) toPeer.ring()
      const elapsedMs = systemClock.monotonicMs() - startMs
      if (elapsedMs > milliseconds) resolve(elapsedMs)
      else doorbell.arm()
    })
    doorbell.arm()
  })
  clearInterval(keepAlive)
  await worker.terminate()
  return { frames, milliseconds: tookMs }
}
