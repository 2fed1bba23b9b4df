import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytesOfHex, hexOf, utf8Decode, utf8Encode } from '../../../src/base/bytes.ts'
import { BatchReader, readRecords } from '../../../src/record/batch-reader.ts'
import { checkBatch } from '../../../src/record/batch-validator.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'

const DATA =
  '00000000000000000000004b0000000002923fd7d100000000000100000000000003e800000000000003edffffffffffffffffffffffffffff0000000218000000026b0276020268027818000a02010c7365636f6e6400'

test('BatchWriter writes the bytes other clients decode', () => {
  const writer = new BatchWriter()
  assert.equal(writer.append('k', utf8Encode('v'), [{ key: 'h', value: 'x' }], 1000), true)
  assert.equal(writer.append(null, 'second', null, 1005), true)
  const bytes = writer.finish()
  new BatchView().reset(bytes).stamp(0, 0)
  assert.equal(hexOf(bytes), DATA)
})

test('BatchReader reads the vector', () => {
  const records = readRecords(bytesOfHex(DATA))
  assert.equal(records.length, 2)
  assert.deepEqual(
    records.map((record) => [
      record.offset,
      record.timestampMs,
      record.key && utf8Decode(record.key),
      utf8Decode(record.value!),
    ]),
    [
      [0, 1000, 'k', 'v'],
      [1, 1005, null, 'second'],
    ],
  )
  assert.deepEqual(records[0]!.headers, [{ key: 'h', value: utf8Encode('x') }])
  assert.deepEqual(records[1]!.headers, [])
})

test('checkBatch takes the vector and nextOffset is kept', () => {
  const bytes = bytesOfHex(DATA)
  assert.equal(checkBatch(bytes, 0, bytes.length, { batchBytesMax: 1000, origin: 'client' }), undefined)
  const reader = new BatchReader().reset(bytes, 1)
  assert.equal(reader.next(), true)
  assert.equal(reader.offset, 1)
  assert.equal(reader.next(), false)
  assert.equal(reader.nextOffset, 2)
})
