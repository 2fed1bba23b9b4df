/**
 * Rates of record batches: writing, checking and reading 100-byte records in batches of 1 MiB.
 *
 *   node dist/native-free-bench/micro/record-batch.js [--smoke] [--plain]
 *
 * --plain leaves out the native CRC-32C and UTF-8 writer: what a browser has. The best of the rounds is shown: the rest is noise of
 * the machine. Every figure includes the CRC of the batch.
 */
import { availableParallelism, cpus } from 'node:os'
import { utf8Encode } from '../../src/base/bytes.ts'
import { BatchReader } from '../../src/record/batch-reader.ts'
import { type BatchLimits, checkBatch } from '../../src/record/batch-validator.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import { CODEC_NAMES } from '../../src/record/compression.ts'
import { nodeCodecs } from '../../src/record/node-codecs.ts'

const isSmoke = process.argv.includes('--smoke')
if (!process.argv.includes('--plain')) {
  await import('../../src/base/node/native-crc32c.ts')
  await import('../../src/base/node/native-utf8.ts')
}

const ROUNDS = isSmoke ? 1 : 7
const RECORDS = isSmoke ? 20_000 : 500_000
const VARIANTS = 1024
const LIMITS: BatchLimits = { batchBytesMax: 2 * 1024 * 1024, origin: 'client' }

const texts = Array.from({ length: VARIANTS }, (_, index) => `{"sequence":${index},`.padEnd(100, 'payload '))
const values = texts.map(utf8Encode)
const keys = texts.map((_, index) => utf8Encode(`key-${index}`))
const codecs = nodeCodecs()

type Part = readonly [key: Uint8Array | null, value: Uint8Array | string]

/** Fills batches until `records` are written. */
function write(records: number, part: (index: number) => Part, codec = 0): void {
  const writer = new BatchWriter({ codecs })
  for (let index = 0; index < records; index++) {
    const [key, value] = part(index & (VARIANTS - 1))
    const timestampMs = 1_700_000_000_000 + (index >> 6)
    if (writer.append(key, value, null, timestampMs)) continue
    writer.finish({ codec })
    writer.reset()
    writer.append(key, value, null, timestampMs)
  }
}

function rate(name: string, records: number, run: () => unknown): void {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < ROUNDS; round++) {
    const from = process.hrtime.bigint()
    run()
    best = Math.min(best, Number(process.hrtime.bigint() - from) / records)
  }
  console.log(`| ${name.padEnd(40)} | ${best.toFixed(0).padStart(9)} | ${(1000 / best).toFixed(1).padStart(11)} |`)
}

console.log(`node ${process.version}, ${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown cpu'}\n`)
console.log(`| ${'what'.padEnd(40)} | ns/record | M records/s |`)
console.log(`| ${'-'.repeat(40)} | --------: | ----------: |`)

const bytesOnly = values.map((value): [null, Uint8Array] => [null, value])
const keyed = values.map((value, index): [Uint8Array, Uint8Array] => [keys[index]!, value])
const textOnly = texts.map((text): [null, string] => [null, text])
rate('write: bytes', RECORDS, () => write(RECORDS, (index) => bytesOnly[index]!))
rate('write: key and bytes', RECORDS, () => write(RECORDS, (index) => keyed[index]!))
rate('write: text', RECORDS, () => write(RECORDS, (index) => textOnly[index]!))

const writer = new BatchWriter()
const append = (index: number) =>
  writer.append(keys[index]!, values[index]!, null, 1_700_000_000_000 + writer.recordsCount)
while (append(writer.recordsCount & (VARIANTS - 1)));
const batchRecords = writer.recordsCount
const batch = writer.finish()
const reader = new BatchReader({ codecs })
const times = Math.ceil(RECORDS / batchRecords)

rate('check (shard)', times * batchRecords, () => {
  for (let time = 0; time < times; time++)
    if (checkBatch(batch, 0, batch.length, LIMITS) !== undefined) throw new Error('the batch is not sound')
})

function read(body: Uint8Array, touch: (reader: BatchReader) => number): number {
  let sum = 0
  for (let time = 0; time < times; time++) {
    reader.reset(body)
    while (reader.next()) sum += touch(reader)
  }
  return sum
}
rate('read: offsets', times * batchRecords, () => read(batch, (reader) => reader.offset))
rate('read: values', times * batchRecords, () => read(batch, (reader) => reader.value!.length))
rate('read: keys and values', times * batchRecords, () =>
  read(batch, (reader) => reader.value!.length + reader.key!.length),
)

for (let codec = 1; codec < CODEC_NAMES.length; codec++) {
  const name = CODEC_NAMES[codec]
  const records = RECORDS / 10
  rate(`write: bytes, ${name}`, records, () => write(records, (index) => bytesOnly[index]!, codec))
}
