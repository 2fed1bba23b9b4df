/**
 * Record batches as a client and a shard see them: encode, check, decode, of 100-byte and 1 KiB records (random keys and values), CRC
 * included. Codecs, text and what a browser has: micro/record-batch.
 *
 *   node dist/native-free-bench/micro/batch.js [--smoke] [--runs 5] [--json]
 */
import '../../src/base/node/native-crc32c.ts'
import { RecordPool, touch } from '../../src/cli/bench/record-pool.ts'
import { BatchReader } from '../../src/record/batch-reader.ts'
import { checkBatch } from '../../src/record/batch-validator.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import { type MicroTask, runMicro } from '../harness/micro.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'

const options = benchOptions()
const BATCH_BYTES = 256 * 1024
const TIMESTAMP_MS = 1_700_000_000_000

function tasksFor(recordBytes: number): MicroTask[] {
  const pool = new RecordPool({ recordBytes })
  const writer = new BatchWriter({ batchBytesMax: BATCH_BYTES })
  const write = (): Uint8Array => {
    writer.reset()
    for (;;) {
      const { key, value } = pool.next()
      if (!writer.append(key, value, null, TIMESTAMP_MS)) return writer.finish()
    }
  }
  const batch = write().slice()
  const operations = writer.recordsCount
  const reader = new BatchReader()
  const limits = { batchBytesMax: BATCH_BYTES, origin: 'client' } as const
  const check = (): void => {
    if (checkBatch(batch, 0, batch.length, limits) !== undefined) throw new Error('the batch is not sound')
  }
  const read = (): void => {
    reader.reset(batch)
    let [records, sum] = [0, 0]
    for (; reader.next(); records++) sum += touch(reader.key!, reader.value!) + reader.offset
    if (records !== operations || sum === 0) throw new Error(`${records} of ${operations} records were read`)
  }
  const common = { operations, bytes: recordBytes }
  return [
    { ...common, name: `encode, ${recordBytes} B records`, run: () => void write() },
    { ...common, name: `check (shard), ${recordBytes} B records`, run: check },
    { ...common, name: `decode, ${recordBytes} B records`, run: read },
  ]
}

await runMicro(new Report('micro/batch', options), options, [...tasksFor(100), ...tasksFor(1024)])
