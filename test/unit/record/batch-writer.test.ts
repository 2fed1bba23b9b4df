import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { utf8Decode, utf8Encode } from '../../../src/base/bytes.ts'
import { isMillraceError } from '../../../src/model/errors.ts'
import { readRecords } from '../../../src/record/batch-reader.ts'
import { type BatchLimits, checkBatch } from '../../../src/record/batch-validator.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import { BatchWriter, type HeaderInput, RECORD_OVERHEAD_BYTES_MAX } from '../../../src/record/batch-writer.ts'
import { CODEC_NAMES } from '../../../src/record/compression.ts'
import { nodeCodecs } from '../../../src/record/node-codecs.ts'
import { hasCode } from '../../support/expect.ts'

const LIMITS: BatchLimits = { batchBytesMax: 4 * 1024 * 1024, origin: 'client' }
const codecs = nodeCodecs()

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: 'binary-ascii', maxLength: 300 }),
  // Any code units: lone surrogates are written as U+FFFD.
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 20 }).map((units) => String.fromCharCode(...units)),
)
const bytes = fc.uint8Array({ maxLength: 300 })
const part = fc.oneof(fc.constant(null), fc.constant(''), text, bytes)
const header: fc.Arbitrary<HeaderInput> = fc.record({ key: text, value: part })
const timestamp = fc.oneof(
  fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }),
  fc.integer({ min: -(2 ** 52) + 1, max: 2 ** 52 - 1 }),
)
const record = fc.record({
  key: part,
  value: part,
  headers: fc.oneof(fc.constant(null), fc.array(header, { maxLength: 4 })),
  timestampMs: timestamp,
})

function bytesOf(input: Uint8Array | string | null): Uint8Array | null {
  return typeof input === 'string' ? utf8Encode(input) : input
}

test('what is written is valid and reads back the same, under every codec', () => {
  const writer = new BatchWriter({ initialBytes: 61, codecs })
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 12 }), fc.nat(CODEC_NAMES.length - 1), (records, codec) => {
      writer.reset()
      for (const { key, value, headers, timestampMs } of records)
        assert.equal(writer.append(key, value, headers, timestampMs), true)
      const batch = writer.finish({ codec, producerId: 7, producerEpoch: 3, baseSequence: 0x7fffffff })
      assert.equal(checkBatch(batch, 0, batch.length, LIMITS), undefined)
      const view = new BatchView().reset(batch)
      assert.equal(view.sizeInBytes, batch.length)
      assert.equal(view.recordsCount, records.length)
      assert.equal(view.maxTimestamp, Math.max(...records.map((record) => record.timestampMs)))
      assert.equal(view.lastSequence, records.length === 1 ? 0x7fffffff : records.length - 2)
      const expected = records.map(({ key, value, headers, timestampMs }, index) => ({
        offset: index,
        timestampMs,
        key: bytesOf(key),
        value: bytesOf(value),
        headers: (headers ?? []).map((header) => ({
          key: utf8Decode(utf8Encode(header.key)),
          value: bytesOf(header.value),
        })),
      }))
      assert.deepEqual(readRecords(batch, { codecs }), expected)
    }),
    { numRuns: 300 },
  )
})

test('full is an answer: nothing is appended and the batch stays whole', () => {
  fc.assert(
    fc.property(fc.integer({ min: 100, max: 2000 }), fc.array(part, { minLength: 1, maxLength: 30 }), (max, values) => {
      const writer = new BatchWriter({ batchBytesMax: max, initialBytes: 61 })
      const taken = values.filter((value) => writer.append(null, value, null, 5))
      assert.ok(writer.sizeInBytes <= max)
      assert.equal(writer.recordsCount, taken.length)
      if (taken.length === 0) return
      const batch = writer.finish()
      assert.deepEqual(
        readRecords(batch).map((record) => record.value),
        taken.map(bytesOf),
      )
    }),
  )
})

test('what wouldFit promises is kept', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 120, max: 3000 }),
      fc.uint8Array({ maxLength: 500 }),
      fc.uint8Array(),
      (max, key, value) => {
        const writer = new BatchWriter({ batchBytesMax: max })
        for (let count = 0; count < 200; count++) {
          const promised = writer.wouldFit(key.length + value.length)
          const kept = writer.append(key, value, null, count % 2 === 0 ? 2 ** 50 : 0)
          assert.ok(kept || !promised)
          if (!kept) return
        }
      },
    ),
  )
  const writer = new BatchWriter({ batchBytesMax: 61 + RECORD_OVERHEAD_BYTES_MAX })
  assert.equal(writer.wouldFit(0), true)
  assert.equal(writer.wouldFit(1), false)
})

test('a record larger than a batch is refused on an empty writer, which stays usable', () => {
  const writer = new BatchWriter({ batchBytesMax: 1000 })
  assert.equal(writer.append(null, 'é'.repeat(600), null, 1), false)
  assert.equal(writer.append(null, new Uint8Array(1001), null, 1), false)
  assert.equal(writer.recordsCount, 0)
  assert.equal(writer.append(null, 'small', null, 1), true)
  assert.equal(readRecords(writer.finish()).length, 1)
})

test('a timestamp that is no integer is refused by name, and nothing is appended', () => {
  const writer = new BatchWriter()
  for (const bad of [Number.NaN, 1.5, Number.POSITIVE_INFINITY, 2 ** 53])
    assert.throws(
      () => writer.append(null, 'x', null, bad),
      (error) => isMillraceError(error) && error.code === 'INVALID_ARGUMENT' && error.message.includes(String(bad)),
    )
  assert.equal(writer.recordsCount, 0)
  writer.append(null, 'x', null, Number.MAX_SAFE_INTEGER)
  assert.throws(() => writer.append(null, 'y', null, -1), /timestampMs/)
  assert.equal(writer.recordsCount, 1)
})

test('a codec that does not make records smaller is left out', () => {
  const writer = new BatchWriter({ codecs })
  writer.append(null, 'x', null, 1)
  const batch = writer.finish({ codec: 1 })
  assert.equal(new BatchView().reset(batch).codec, 0)
})

test('a codec nobody gave is named', () => {
  const writer = new BatchWriter()
  writer.append(null, 'x'.repeat(100), null, 1)
  assert.throws(() => writer.finish({ codec: 4 }), /no codec for zstd/)
})

test('append after finish and finish of nothing break an invariant', () => {
  const writer = new BatchWriter()
  assert.throws(() => writer.finish(), /at least one record/)
  writer.append(null, 'x', null, 1)
  writer.finish()
  assert.throws(() => writer.append(null, 'x', null, 1), /reset/)
  writer.reset()
  assert.equal(writer.append(null, 'x', null, 1), true)
})

test('the buffer is used again: no new memory once it has grown', () => {
  const writer = new BatchWriter({ batchBytesMax: 100_000 })
  const fill = () => {
    writer.reset()
    while (writer.append('key', 'value'.repeat(20), null, 1));
    return writer.finish()
  }
  const first = fill()
  assert.equal(fill().buffer, first.buffer)
})

test('what is neither text nor bytes is refused by name, and leaves the batch as it was', () => {
  const writer = new BatchWriter()
  assert.ok(writer.append('k', 'v', null, 1))
  const before = writer.sizeInBytes
  const foreign = runInNewContext('new Uint8Array([1, 2])') as Uint8Array
  const wrong: [part: unknown, text: RegExp][] = [
    [undefined, /not undefined/],
    [42, /not a number/],
    [[1, 2], /not an object \(Array\)/],
    [{ id: 1 }, /not an object \(Object\)/],
    [new Float32Array([1, 300]), /not an object \(Float32Array\)/],
    [new ArrayBuffer(8), /not an object \(ArrayBuffer\)/],
    [new Array(5_000_000), /not an object \(Array\)/],
  ]
  for (const [part, text] of wrong) {
    const given = part as string
    assert.throws(() => writer.append(given, 'v', null, 1), hasCode('INVALID_RECORD', /^key: expected text/))
    assert.throws(() => writer.append(null, given, null, 1), hasCode('INVALID_RECORD', text))
    const header = { key: 'h', value: given }
    assert.throws(() => writer.append(null, 'v', [header], 1), hasCode('INVALID_RECORD', /^headers\[0\]\.value/))
  }
  const noKey = [{ key: 'h', value: null }, { value: 'v' }] as HeaderInput[]
  assert.throws(
    () => writer.append(null, 'v', noKey, 1),
    hasCode('INVALID_RECORD', /^headers\[1\]\.key: expected text/),
  )
  const noList = { h: 'v' } as unknown as HeaderInput[]
  assert.throws(() => writer.append(null, 'v', noList, 1), hasCode('INVALID_RECORD', /^headers: expected a list/))
  assert.equal(writer.sizeInBytes, before)
  assert.ok(writer.append(null, foreign, null, 1), 'bytes of another realm are bytes')
  assert.deepEqual([...readRecords(writer.finish()).at(-1)!.value!], [1, 2])
})
