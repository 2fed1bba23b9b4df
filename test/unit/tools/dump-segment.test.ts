import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StorageError } from '../../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { AbortedIndex } from '../../../src/log/aborted-index.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'
import { writeMarker } from '../../../src/record/control-batch.ts'
import { nodeCodecs } from '../../../src/record/node-codecs.ts'
import { type DumpOptions, type DumpSummary, dumpSegment } from '../../../src/tools/dump-segment.ts'

const codecs = nodeCodecs()

interface BatchSpec {
  readonly baseOffset: number
  readonly leaderEpoch?: number
  readonly codec?: number
  readonly values: readonly (string | Uint8Array | null)[]
}

function batchOf({ baseOffset, leaderEpoch = 1, codec = 0, values }: BatchSpec): Uint8Array {
  const writer = new BatchWriter({ codecs })
  for (const value of values) writer.append('key', value, [{ key: 'h', value: null }], 1000)
  const bytes = writer.finish({ codec })
  new BatchView().reset(bytes).stamp(baseOffset, leaderEpoch)
  return bytes.slice()
}

function dump(
  parts: readonly Uint8Array[],
  options: Partial<DumpOptions> & { name?: string } = {},
): { lines: Record<string, unknown>[]; summary: DumpSummary } {
  const files = new MemoryFileSystem()
  const path = `/${options.name ?? '00000000000000000000.log'}`
  const fd = files.open(path, 'create')
  const content = Buffer.concat(parts)
  if (content.length > 0) files.write(fd, [content], 0)
  files.close(fd)
  const lines: Record<string, unknown>[] = []
  const summary = dumpSegment({ files, path, codecs, write: (line) => lines.push(JSON.parse(line)), ...options })
  return { lines, summary }
}

const typesOf = (lines: Record<string, unknown>[]) => lines.map((line) => line.type)
const three = [
  batchOf({ baseOffset: 0, values: ['a', 'b'] }),
  batchOf({ baseOffset: 2, values: ['c'] }),
  batchOf({ baseOffset: 3, values: ['d', 'e'] }),
] as const

test('batches, records and markers, one line each', () => {
  const marker = writeMarker({ type: 'ABORT', producerId: 8, producerEpoch: 1, coordinatorEpoch: 4, timestampMs: 77 })
  new BatchView().reset(marker).stamp(2, 1)
  const packed = batchOf({ baseOffset: 3, codec: 4, values: Array(9).fill('again and again') })
  const { lines, summary } = dump([batchOf({ baseOffset: 0, values: ['text', Uint8Array.of(0xff)] }), marker, packed])
  assert.deepEqual(typesOf(lines).slice(0, 6), ['batch', 'record', 'record', 'batch', 'marker', 'batch'])
  assert.deepEqual(summary, { batches: 3, records: 12, damages: 0, tailBytes: 0 })
  assert.deepEqual(lines[1], {
    type: 'record',
    offset: 0,
    timestampMs: 1000,
    key: 'key',
    value: 'text',
    headers: [{ key: 'h', value: null }],
  })
  assert.deepEqual(lines[2]!.value, { base64: '/w==' })
  assert.deepEqual(lines[4], { type: 'marker', offset: 2, timestampMs: 77, marker: 'ABORT', coordinatorEpoch: 4 })
  assert.equal(lines[5]!.codec, 'zstd')
  assert.equal(lines[5]!.lastOffset, 11)
})

test('damage is told with its place and the next sound batch, and the rest is dumped', () => {
  const damaged = Uint8Array.from(three[1])
  damaged[70]! ^= 1
  const { lines, summary } = dump([three[0], damaged, three[2]])
  assert.deepEqual(typesOf(lines), ['batch', 'record', 'record', 'damage', 'batch', 'record', 'record'])
  const at = three[0].length
  const damage = lines[3]!
  assert.equal(damage.filePosition, at)
  assert.equal(damage.nextBatchAt, at + damaged.length)
  assert.equal(damage.code, 'CORRUPT_MESSAGE')
  assert.match(String(damage.text), /checksum/)
  assert.deepEqual(summary, { batches: 2, records: 4, damages: 1, tailBytes: 0 })
})

test('a destroyed length does not hide what follows', () => {
  const damaged = Uint8Array.from(three[1])
  damaged.fill(0xff, 0, 30)
  const { lines, summary } = dump([three[0], damaged, three[2]])
  assert.equal(lines[3]!.nextBatchAt, three[0].length + damaged.length)
  assert.equal(summary.batches, 2)
})

test('a last batch that is whole and wrong is damage, not a tail', () => {
  const one = batchOf({ baseOffset: 0, values: ['a', 'b'] }).slice()
  one[one.length - 3]! ^= 0x10
  const { summary, lines } = dump([one])
  assert.deepEqual(summary, { batches: 0, records: 0, damages: 1, tailBytes: 0 })
  assert.equal(lines.at(-1)!.type, 'damage')
})

test('a torn tail at any byte is a tail, not damage', () => {
  for (let bytes = 1; bytes < three[2].length; bytes++) {
    const { lines, summary } = dump([three[0], three[1], three[2].subarray(0, bytes)])
    assert.deepEqual(summary, { batches: 2, records: 3, damages: 0, tailBytes: bytes })
    const tail = lines.at(-1)!
    assert.equal(tail.type, 'tail')
    assert.equal(tail.filePosition, three[0].length + three[1].length)
    assert.match(String(tail.text), /bytes/)
  }
})

test('a preallocated end is told apart', () => {
  const { lines } = dump([three[0], new Uint8Array(10_000)])
  assert.match(String(lines.at(-1)!.text), /never written/)
})

test('offsets and epochs must not fall', () => {
  const older = batchOf({ baseOffset: 5, leaderEpoch: 0, values: ['x'] })
  const { lines, summary } = dump([three[0], three[0], three[2], older, batchOf({ baseOffset: 6, values: ['y'] })])
  assert.equal(summary.damages, 2)
  const damages = lines.filter((line) => line.type === 'damage')
  assert.match(String(damages[0]!.text), /base offset 0; 2 or more/)
  assert.match(String(damages[1]!.text), /leader epoch 0, after one with 1/)
})

test('a batch below the offset of the file name is damage', () => {
  const { summary } = dump([three[0], three[2]], { name: '00000000000000000003.log' })
  assert.deepEqual(summary, { batches: 1, records: 2, damages: 1, tailBytes: 0 })
})

test('batchesOnly leaves out the records and counts them', () => {
  const { lines, summary } = dump([...three], { batchesOnly: true })
  assert.deepEqual(typesOf(lines), ['batch', 'batch', 'batch'])
  assert.equal(summary.records, 5)
})

test('a file larger than the window is read to its end', () => {
  const big = 'x'.repeat(900_000)
  const parts = Array.from({ length: 12 }, (_, index) => batchOf({ baseOffset: index, values: [big] }))
  const { summary } = dump(parts, { batchesOnly: true })
  assert.deepEqual(summary, { batches: 12, records: 12, damages: 0, tailBytes: 0 })
})

test('an aborted index: a line for it, one for each entry; a bad one is damage', () => {
  const index = new AbortedIndex()
  index.stableOffset = 9
  index.add({ producerId: 7, firstOffset: 2, lastOffset: 5, lastStableOffset: 6 })
  const image = index.encode({ baseOffset: 0, coveredEnd: 9, coveredBytes: 400 })
  const { lines, summary } = dump([image], { name: '00000000000000000000.txnindex' })
  assert.deepEqual(lines, [
    { type: 'aborted-index', baseOffset: 0, coveredEnd: 9, coveredBytes: 400, stableOffset: 9, count: 1 },
    { type: 'aborted', producerId: 7, firstOffset: 2, lastOffset: 5, lastStableOffset: 6 },
  ])
  assert.equal(summary.damages, 0)
  image[40]! ^= 1
  assert.equal(dump([image], { name: '00000000000000000000.txnindex' }).summary.damages, 1)
})

test('an empty file has nothing, a missing one is an error', () => {
  assert.deepEqual(dump([]).summary, { batches: 0, records: 0, damages: 0, tailBytes: 0 })
  const files = new MemoryFileSystem()
  assert.throws(
    () => dumpSegment({ files, path: '/none.log', codecs, write: () => undefined }),
    (error) => error instanceof StorageError && error.code === 'ENOENT',
  )
})
