/**
 * CRC-32C, native and by table (what a browser has).
 *
 *   node dist/native-free-bench/micro/crc32c.js [--smoke] [--runs 5] [--json]
 */
import '../../src/base/node/native-crc32c.ts'
import { crc32c, plainCrc32c } from '../../src/base/crc32c.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import { runMicro } from '../harness/micro.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'

const options = benchOptions()
const prng = new SeededPrng(1)
const OPERATIONS = 100

const tasks = [64, 1024, 64 * 1024].flatMap((bytes) => {
  const data = Uint8Array.from({ length: bytes }, () => prng.below(256))
  if (crc32c(data) !== plainCrc32c(data)) throw new Error('the two makes do not agree')
  const times = (make: typeof crc32c) => (): void => {
    for (let index = 0; index < OPERATIONS; index++) make(data)
  }
  return [
    { name: `crc32c native, ${bytes} B`, operations: OPERATIONS, bytes, run: times(crc32c) },
    { name: `crc32c by table, ${bytes} B`, operations: OPERATIONS, bytes, run: times(plainCrc32c) },
  ]
})
await runMicro(new Report('micro/crc32c', options), options, tasks)
