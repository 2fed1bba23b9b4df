/**
 * Micro-benchmark behind docs/wake-ups.md: what it costs to wake the other thread, and to bring bytes to it.
 * `node dist/native-free-bench/micro/wake-up.js [--smoke] [--rounds 3000]`; prints a Markdown table. Takes about 5 s.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { createSignals, Doorbell, RingSignal } from '../../src/ring/ring-signal.ts'
import { benchOptions } from '../harness/options.ts'
import { PEER_URL, ringThroughput } from '../harness/ring-throughput.ts'

const options = benchOptions()
const rounds = Math.min(options.number('rounds', 3000, 200), 100_000)
const throughputMs = options.number('milliseconds', 400, 20)

function line(name: string, values: readonly string[]): void {
  console.log(`| ${[name, ...values].join(' | ')} |`)
}

function quantiles(samplesMs: Float64Array): string[] {
  samplesMs.sort()
  return [0.5, 0.99].map((share) => (samplesMs[Math.floor(samplesMs.length * share)]! * 1000).toFixed(1))
}

/** There and back, `rounds` times: `send` starts a round, the given function is called when the answer is there. */
async function roundTrips(
  start: (onAnswer: () => void) => { send(): void; end(): Promise<unknown> },
): Promise<string[]> {
  const samples = new Float64Array(rounds)
  let [round, sentMs] = [-100, 0]
  await new Promise<void>((resolve) => {
    const keepAlive = setInterval(() => undefined, 1000)
    const { send, end } = start(() => {
      if (round >= 0) samples[round] = systemClock.monotonicMs() - sentMs
      if (++round === rounds) {
        clearInterval(keepAlive)
        void end().then(() => resolve())
        return
      }
      sentMs = systemClock.monotonicMs()
      send()
    })
  })
  return quantiles(samples)
}

function signalTrips(spinMicroseconds: number): Promise<string[]> {
  return roundTrips((onAnswer) => {
    const signals = createSignals(2)
    const worker = new Worker(PEER_URL, { workerData: { role: 'signal', signals, spinMicroseconds } })
    const toPeer = new RingSignal(signals, { index: 1 })
    const doorbell = new Doorbell(signals, () => {
      doorbell.arm()
      onAnswer()
    })
    doorbell.arm()
    return { send: () => toPeer.ring(), end: () => worker.terminate() }
  })
}

function portTrips(): Promise<string[]> {
  return roundTrips((onAnswer) => {
    const worker = new Worker(PEER_URL, { workerData: { role: 'port' } })
    worker.on('message', onAnswer)
    return { send: () => worker.postMessage(1), end: () => worker.terminate() }
  })
}

/** Both threads look all the time: the floor, and the price is two whole cores. */
async function spinTrips(): Promise<string[]> {
  const signals = createSignals(2)
  const worker = new Worker(PEER_URL, { workerData: { role: 'spin', signals } })
  const [own, peer] = [new RingSignal(signals), new RingSignal(signals, { index: 1 })]
  await once(worker, 'message')
  const samples = new Float64Array(rounds)
  for (let round = 0; round < rounds; round++) {
    const sequence = own.sequence()
    const sentMs = systemClock.monotonicMs()
    peer.ring()
    while (own.sequence() === sequence);
    samples[round] = systemClock.monotonicMs() - sentMs
  }
  await worker.terminate()
  return quantiles(samples)
}

function rate(frames: number, frameBytes: number, tookMs: number): string[] {
  return [Math.round((frames / tookMs) * 1000).toLocaleString('en'), ((frames * frameBytes) / tookMs / 1000).toFixed(0)]
}

/** From the peer to this thread, which sleeps on the doorbell. */
async function ringRate(frameBytes: number): Promise<string[]> {
  const { frames, milliseconds } = await ringThroughput(frameBytes, throughputMs)
  return rate(frames, frameBytes, milliseconds)
}

/** The same with postMessage: a fresh copy of the payload for each message, its buffer transferred; windows of 64. */
async function portThroughput(frameBytes: number): Promise<string[]> {
  const worker = new Worker(PEER_URL, { workerData: { role: 'posts', frameBytes } })
  let [frames, startMs] = [0, 0]
  const tookMs = await new Promise<number>((resolve) => {
    worker.on('message', () => {
      startMs ||= systemClock.monotonicMs()
      if (++frames % 64 === 0) worker.postMessage(1)
      const elapsedMs = systemClock.monotonicMs() - startMs
      if (elapsedMs > throughputMs) resolve(elapsedMs)
    })
  })
  await worker.terminate()
  return rate(frames, frameBytes, tookMs)
}

line('there and back, both idle between', ['p50 µs', 'p99 µs'])
line('---', ['--:', '--:'])
line('signal there, doorbell back', await signalTrips(0))
line('the same, the worker spins 50 µs before it sleeps', await signalTrips(50))
line('MessagePort both ways', await portTrips())
line('both spin', await spinTrips())
console.log('')
line('worker to main', ['frames/s', 'MB/s'])
line('---', ['--:', '--:'])
for (const frameBytes of [1024, 65_536]) {
  line(`ring and doorbell, ${frameBytes} bytes`, await ringRate(frameBytes))
  line(`postMessage, ${frameBytes} bytes`, await portThroughput(frameBytes))
}
