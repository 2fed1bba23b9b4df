/** The worker's side of wake-up.ts. Ends by being terminated. */
import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { RingSignal } from '../../src/ring/ring-signal.ts'
import { RingWriter } from '../../src/ring/ring-writer.ts'

interface PeerData {
  readonly role: 'signal' | 'port' | 'spin' | 'ring' | 'posts'
  readonly signals: SharedArrayBuffer
  readonly ring: SharedArrayBuffer
  readonly frameBytes: number
  readonly spinMicroseconds: number
}
const { role, signals, ring, frameBytes, spinMicroseconds } = workerData as PeerData
const port = parentPort!

if (role === 'signal') answerSignals()
else if (role === 'port') {
  port.on('message', () => port.postMessage(1))
  port.postMessage(1)
} else if (role === 'spin') spin()
else if (role === 'ring') fillRing()
else post()

function answerSignals(): void {
  const own = new RingSignal(signals, { index: 1, spinMicroseconds, clock: systemClock })
  const main = new RingSignal(signals)
  let sequence = own.sequence()
  main.ring()
  for (;;) {
    own.wait(sequence, Number.POSITIVE_INFINITY)
    sequence = own.sequence()
    main.ring()
  }
}

function spin(): void {
  const [own, main] = [new RingSignal(signals, { index: 1 }), new RingSignal(signals)]
  let sequence = own.sequence()
  port.postMessage(1)
  for (;;) {
    while (own.sequence() === sequence);
    sequence = own.sequence()
    main.ring()
  }
}

function fillRing(): void {
  const [own, main] = [new RingSignal(signals, { index: 1 }), new RingSignal(signals)]
  const writer = new RingWriter(ring)
  const payload = new Uint8Array(frameBytes).fill(7)
  for (let frame = 1; ; frame++) {
    const sequence = own.sequence()
    const at = writer.claim(1, frameBytes, 'data')
    if (at >= 0) writer.bytes.set(payload, at)
    if (at < 0 || frame % 16 === 0) {
      writer.publish()
      main.ring()
    }
    if (at < 0) own.wait(sequence, Number.POSITIVE_INFINITY)
  }
}

function post(): void {
  const payload = new Uint8Array(frameBytes).fill(7)
  const window = () => {
    for (let frame = 0; frame < 64; frame++) {
      const copy = payload.slice()
      port.postMessage(copy, [copy.buffer as ArrayBuffer])
    }
  }
  port.on('message', window)
  window()
  window()
}
