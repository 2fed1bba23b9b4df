import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode } from '../../../src/base/bytes.ts'
import { crc32c } from '../../../src/base/crc32c.ts'
import { isMillraceError, MillraceError } from '../../../src/model/errors.ts'
import { CRC_AT, CRC_FROM, RECORDS_AT } from '../../../src/record/batch-layout.ts'
import { BatchReader, readRecords } from '../../../src/record/batch-reader.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'
import { writeMarker } from '../../../src/record/control-batch.ts'
import { nodeCodecs } from '../../../src/record/node-codecs.ts'

const codecs = nodeCodecs()

interface BatchSpec {
  readonly baseOffset: number
  readonly count: number
  readonly codec?: number
}

function batchOf({ baseOffset, count, codec = 0 }: BatchSpec): Uint8Array {
  const writer = new BatchWriter({ codecs })
  for (let index = 0; index < count; index++)
    writer.append(`k${baseOffset + index}`, `value of ${baseOffset + index}, again and again`, null, 1000 + index)
  const bytes = writer.finish({ codec })
  new BatchView().reset(bytes).stamp(baseOffset, 1)
  return bytes.slice()
}

function markerAt(baseOffset: number): Uint8Array {
  const bytes = writeMarker({ type: 'COMMIT', producerId: 1, producerEpoch: 0, coordinatorEpoch: 0, timestampMs: 1 })
  new BatchView().reset(bytes).stamp(baseOffset, 1)
  return bytes
}

function bodyOf(...batches: Uint8Array[]): Uint8Array {
  const body = new Uint8Array(batches.reduce((sum, batch) => sum + batch.length, 0))
  let at = 0
  for (const batch of batches) {
    body.set(batch, at)
    at += batch.length
  }
  return body
}

function offsetsOf(reader: BatchReader): number[] {
  const offsets: number[] = []
  while (reader.next()) {
    assert.equal(utf8Decode(reader.key!), `k${reader.offset}`)
    assert.equal(reader.nextOffset, reader.offset + 1)
    offsets.push(reader.offset)
  }
  return offsets
}

test('batches in turn, packed and plain, from the middle of the first', () => {
  const body = bodyOf(
    batchOf({ baseOffset: 10, count: 5 }),
    batchOf({ baseOffset: 15, count: 9, codec: 4 }),
    batchOf({ baseOffset: 24, count: 2 }),
  )
  const reader = new BatchReader({ codecs })
  assert.deepEqual(offsetsOf(reader.reset(body, 13)), [13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25])
  assert.equal(reader.isCut, false)
  assert.equal(reader.nextOffset, 26)
  assert.deepEqual(offsetsOf(reader.reset(body, 22)), [22, 23, 24, 25])
  assert.deepEqual(offsetsOf(reader.reset(body, 26)), [])
  assert.equal(reader.nextOffset, 26)
})

test('a last batch that was cut at any byte is left for the next fetch', () => {
  const first = batchOf({ baseOffset: 0, count: 2 })
  const body = bodyOf(first, batchOf({ baseOffset: 2, count: 2 }))
  const reader = new BatchReader()
  for (let end = first.length; end < body.length; end++) {
    assert.deepEqual(offsetsOf(reader.reset(body.subarray(0, end))), [0, 1])
    assert.equal(reader.isCut, end > first.length)
    assert.equal(reader.nextOffset, 2)
  }
})

test('control batches are passed over, and the next fetch goes on behind them', () => {
  const reader = new BatchReader()
  reader.reset(
    bodyOf(batchOf({ baseOffset: 0, count: 1 }), markerAt(1), batchOf({ baseOffset: 2, count: 1 }), markerAt(3)),
  )
  assert.deepEqual(offsetsOf(reader), [0, 2])
  assert.equal(reader.nextOffset, 4)
})

test('a batch that compaction has thinned out keeps its last offset', () => {
  const bytes = batchOf({ baseOffset: 100, count: 3 })
  const data = new DataView(bytes.buffer)
  data.setInt32(23, 9)
  data.setUint32(CRC_AT, crc32c(bytes.subarray(CRC_FROM)))
  const reader = new BatchReader().reset(bytes)
  assert.deepEqual(offsetsOf(reader), [100, 101, 102])
  assert.equal(reader.nextOffset, 110)
})

test('damage is CORRUPT_MESSAGE that says where, after what came before it; it stands', () => {
  const first = batchOf({ baseOffset: 0, count: 2 })
  const body = bodyOf(first, batchOf({ baseOffset: 2, count: 2 }), batchOf({ baseOffset: 4, count: 2 }))
  body[first.length + 80]! ^= 1
  const reader = new BatchReader().reset(body)
  assert.deepEqual([reader.next(), reader.next()], [true, true])
  for (let again = 0; again < 3; again++)
    assert.throws(
      () => reader.next(),
      (error) => {
        assert.ok(isMillraceError(error))
        assert.equal(error.code, 'CORRUPT_MESSAGE')
        assert.match(error.message, new RegExp(`byte ${first.length} \\(base offset 2\\).*checksum`))
        return true
      },
    )
  assert.equal(reader.nextOffset, 2)
})

test('a batch that begins before the one before it ended is damage', () => {
  const reader = new BatchReader().reset(
    bodyOf(batchOf({ baseOffset: 4, count: 2 }), batchOf({ baseOffset: 5, count: 2 })),
  )
  assert.deepEqual([reader.next(), reader.next()], [true, true])
  assert.throws(() => reader.next(), /begins before offset 6/)
})

test('a record that is not well formed is found without the checksum too', () => {
  const body = batchOf({ baseOffset: 7, count: 2 })
  body[RECORDS_AT] = 0x7f
  const reader = new BatchReader({ checkCrc: false }).reset(body)
  for (let again = 0; again < 2; again++)
    assert.throws(
      () => reader.next(),
      (error) => isMillraceError(error) && error.code === 'CORRUPT_MESSAGE' && /base offset 7/.test(error.message),
    )
  assert.equal(reader.nextOffset, 0)
})

test('the checksum can be left out', () => {
  const body = batchOf({ baseOffset: 0, count: 1 })
  body[CRC_AT]! ^= 1
  assert.throws(() => readRecords(body), /checksum/)
  assert.equal(readRecords(body, { checkCrc: false }).length, 1)
})

test('a codec that nobody gave is named, and the batch is not stepped over', () => {
  const body = bodyOf(batchOf({ baseOffset: 0, count: 9, codec: 3 }), batchOf({ baseOffset: 9, count: 1 }))
  const reader = new BatchReader().reset(body)
  for (let again = 0; again < 2; again++)
    assert.throws(
      () => reader.next(),
      (error) => isMillraceError(error) && error.code === 'UNSUPPORTED_COMPRESSION_TYPE' && /lz4/.test(error.message),
    )
})

test('an unpacked batch beyond the bound is refused', () => {
  const body = batchOf({ baseOffset: 0, count: 50, codec: 4 })
  assert.throws(
    () => readRecords(body, { codecs, unpackedBytesMax: 500 }),
    (error) => error instanceof MillraceError && error.code === 'RECORD_LIST_TOO_LARGE',
  )
})

test('keys and values are plain views, also of packed records and of shared memory', () => {
  for (const codec of [0, 1, 2, 3, 4]) {
    const batch = batchOf({ baseOffset: 0, count: 9, codec })
    const body = new Uint8Array(new SharedArrayBuffer(batch.length))
    body.set(batch)
    const records = readRecords(body, { codecs })
    assert.equal(records.length, 9)
    assert.equal(Object.getPrototypeOf(records[0]!.value), Uint8Array.prototype)
    if (codec === 0) assert.equal(records[0]!.value!.buffer, body.buffer)
  }
})

test('payloadBytes counts key and value', () => {
  const writer = new BatchWriter()
  writer.append(null, null, null, 1)
  writer.append('ab', null, null, 1)
  writer.append('ab', 'cde', null, 1)
  const reader = new BatchReader().reset(writer.finish())
  const sizes: number[] = []
  while (reader.next()) sizes.push(reader.payloadBytes)
  assert.deepEqual(sizes, [0, 2, 5])
})
