/**
 * Golden record batches: annotated hex that must be read, and where no codec is involved written, to the byte.
 * Nothing writes these files: a change that breaks one breaks the data of users.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { bytesOfHex, hexOf, utf8Decode, utf8Encode } from '../../src/base/bytes.ts'
import { readRecords } from '../../src/record/batch-reader.ts'
import { type BatchLimits, checkBatch } from '../../src/record/batch-validator.ts'
import { BatchView } from '../../src/record/batch-view.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import { codecNameOf } from '../../src/record/compression.ts'
import { readMarker, writeMarker } from '../../src/record/control-batch.ts'
import { nodeCodecs } from '../../src/record/node-codecs.ts'

const LIMITS: BatchLimits = { batchBytesMax: 1024 * 1024, origin: 'client' }

/** Bytes of an annotated file: everything after a # is comment. Tests run from dist/; the files stay in test/. */
function golden(name: string): Uint8Array {
  const text = readFileSync(new URL(`../../../test/golden/record-batch/${name}.hex`, import.meta.url), 'utf8')
  return bytesOfHex(text.replaceAll(/#.*/g, '').replaceAll(/\s/g, ''))
}

test('data: read and written to the byte', () => {
  const bytes = golden('data')
  assert.equal(checkBatch(bytes, 0, bytes.length, LIMITS), undefined)
  assert.deepEqual(readRecords(bytes), [
    {
      offset: 0,
      timestampMs: 1000,
      key: utf8Encode('k'),
      value: utf8Encode('v'),
      headers: [{ key: 'h', value: utf8Encode('x') }],
    },
    { offset: 1, timestampMs: 1005, key: null, value: utf8Encode('second'), headers: [] },
  ])
  const writer = new BatchWriter()
  writer.append(utf8Encode('k'), 'v', [{ key: 'h', value: 'x' }], 1000)
  writer.append(null, utf8Encode('second'), null, 1005)
  const written = writer.finish()
  new BatchView().reset(written).stamp(0, 0)
  assert.equal(hexOf(written), hexOf(bytes))
})

for (const type of ['COMMIT', 'ABORT'] as const) {
  test(`${type} marker: read and written to the byte, for a log only, never delivered`, () => {
    const bytes = golden(`${type.toLowerCase()}-marker`)
    const marker = { type, producerId: 42, producerEpoch: 1, coordinatorEpoch: 5, timestampMs: 2000 }
    const view = new BatchView().reset(bytes)
    assert.equal(view.isControl, true)
    assert.equal(view.isTransactional, true)
    assert.equal(view.baseOffset, 7)
    assert.equal(view.leaderEpoch, 3)
    assert.deepEqual(readMarker(view), marker)
    assert.equal(checkBatch(bytes, 0, bytes.length, { ...LIMITS, origin: 'log' }), undefined)
    assert.equal(checkBatch(bytes, 0, bytes.length, LIMITS)?.code, 'INVALID_RECORD')
    assert.deepEqual(readRecords(bytes), [])
    const written = writeMarker(marker)
    new BatchView().reset(written).stamp(7, 3)
    assert.equal(hexOf(written), hexOf(bytes))
  })
}

const PACKED = [
  ['gzip', 'gzip'],
  ['snappy', 'snappy'],
  ['snappy-bare-block', 'snappy'],
  ['lz4', 'lz4'],
  ['lz4-checksums', 'lz4'],
  ['zstd', 'zstd'],
  ['zstd-content-size', 'zstd'],
] as const

for (const [name, codec] of PACKED) {
  test(`${name}: unpacked to the same 20 records`, () => {
    const bytes = golden(name)
    const view = new BatchView().reset(bytes)
    assert.equal(codecNameOf(view.codec), codec)
    assert.equal(view.producerId, 9)
    assert.equal(view.producerEpoch, 2)
    assert.equal(view.baseSequence, 40)
    assert.equal(view.lastSequence, 59)
    assert.equal(checkBatch(bytes, 0, bytes.length, LIMITS), undefined)
    const records = readRecords(bytes, { codecs: nodeCodecs() })
    assert.equal(records.length, 20)
    for (const [index, record] of records.entries()) {
      assert.equal(record.offset, 500 + index)
      assert.equal(record.timestampMs, 1_700_000_000_000 + index)
      assert.equal(utf8Decode(record.key!), `key-${index % 3}`)
      assert.equal(utf8Decode(record.value!), 'the same value again and again')
      assert.deepEqual(record.headers, index === 0 ? [{ key: 'trace', value: utf8Encode('é') }] : [])
    }
  })
}
