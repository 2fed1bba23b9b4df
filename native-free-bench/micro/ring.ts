/**
 * The shared-memory ring: a frame claimed, filled, published, read and released in one thread (what the code costs), and from
 * another thread to this one (what the machine makes of it). The price of waking up: micro/wake-up.
 *
 *   node dist/native-free-bench/micro/ring.js [--smoke] [--runs 5] [--json]
 */
import { createRing } from '../../src/ring/ring-layout.ts'
import { RingReader } from '../../src/ring/ring-reader.ts'
import { RingWriter } from '../../src/ring/ring-writer.ts'
import { runMicro } from '../harness/micro.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'
import { ringThroughput } from '../harness/ring-throughput.ts'

const options = benchOptions()
const report = new Report('micro/ring', options)
const OPERATIONS = 16
const MIB = 2 ** 20

const tasks = [64, 1024, 64 * 1024].map((bytes) => {
  const memory = createRing({ capacityBytes: 4 * MIB })
  const [writer, reader] = [new RingWriter(memory), new RingReader(memory)]
  const payload = new Uint8Array(bytes).fill(7)
  const run = (): void => {
    for (let index = 0; index < OPERATIONS; index++) {
      const at = writer.claim(1, bytes, 'data')
      if (at < 0) throw new Error('the ring is full')
      writer.write(at, payload)
    }
    writer.publish()
    let frames = 0
    while (reader.next()) frames++
    reader.release()
    if (frames !== OPERATIONS) throw new Error(`${frames} frames came`)
  }
  return { name: `write and read in one thread, ${bytes} B`, operations: OPERATIONS, bytes, run }
})
await runMicro(report, options, tasks)

const milliseconds = options.number('milliseconds', 500, 20)
for (const bytes of [1024, 64 * 1024]) {
  const rates: number[] = []
  for (let run = 0; run < options.number('runs', 5, 1); run++) {
    const { frames, milliseconds: tookMs } = await ringThroughput(bytes, milliseconds)
    if (frames === 0) throw new Error('no frame came')
    rates.push((frames * bytes) / MIB / (tookMs / 1000))
  }
  report.figure(`from another thread, ${bytes} B`, rates, { unit: 'MiB/s', better: 'higher', digits: 0 })
}
