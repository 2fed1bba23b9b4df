import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sequenceAfter, sequenceDistance } from '../../../src/record/batch-layout.ts'
import { readRecords } from '../../../src/record/batch-reader.ts'
import { checkBatch } from '../../../src/record/batch-validator.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'

function batchOf(count: number): Uint8Array {
  const writer = new BatchWriter()
  for (let index = 0; index < count; index++) writer.append(`k${index}`, `v${index}`, null, 1000 + index)
  return writer.finish({ producerId: 5, producerEpoch: 1, baseSequence: 10, transactional: true })
}

/** Two batches in shared memory, not at its beginning: as in a request ring. */
function inSharedMemory(): Uint8Array {
  const [first, second] = [batchOf(3), batchOf(2)]
  const bytes = new Uint8Array(
    new SharedArrayBuffer(first.length + second.length + 24),
    8,
    first.length + second.length + 8,
  )
  bytes.set(first, 8)
  bytes.set(second, 8 + first.length)
  return bytes
}

test('one view steps over the batches of a ring', () => {
  const bytes = inSharedMemory()
  const view = new BatchView()
  const counts: number[] = []
  for (let at = 8; at < bytes.length; at = view.reset(bytes, at).end) {
    assert.equal(checkBatch(bytes, at, bytes.length, { batchBytesMax: 10_000, origin: 'client' }), undefined)
    counts.push(view.reset(bytes, at).recordsCount)
  }
  assert.deepEqual(counts, [3, 2])
})

test('stamp changes the offsets and leaves the checksum true', () => {
  const bytes = inSharedMemory()
  const view = new BatchView().reset(bytes, 8)
  const crc = view.crc
  view.stamp(Number.MAX_SAFE_INTEGER - 3, 77)
  assert.equal(view.baseOffset, Number.MAX_SAFE_INTEGER - 3)
  assert.equal(view.lastOffset, Number.MAX_SAFE_INTEGER - 1)
  assert.equal(view.nextOffset, Number.MAX_SAFE_INTEGER)
  assert.equal(view.leaderEpoch, 77)
  assert.equal(view.crc, crc)
  assert.equal(view.computeCrc(), crc)
})

test('stampLogAppendTime gives every record the time and hashes again', () => {
  const bytes = batchOf(3)
  const view = new BatchView().reset(bytes)
  assert.equal(view.timestampType, 'CreateTime')
  view.stampLogAppendTime(999_999)
  assert.equal(view.timestampType, 'LogAppendTime')
  assert.equal(view.isTransactional, true)
  assert.equal(view.maxTimestamp, 999_999)
  assert.equal(view.computeCrc(), view.crc)
  assert.deepEqual(
    readRecords(bytes).map((record) => record.timestampMs),
    [999_999, 999_999, 999_999],
  )
})

test('stampProducer gives the batch to another epoch and hashes again', () => {
  const bytes = batchOf(3)
  const view = new BatchView().reset(bytes)
  view.stampProducer({ producerId: 2 ** 40, producerEpoch: 9, baseSequence: 0 })
  assert.deepEqual([view.producerId, view.producerEpoch, view.baseSequence, view.lastSequence], [2 ** 40, 9, 0, 2])
  assert.equal(view.computeCrc(), view.crc)
})

test('a 64-bit field beyond the safe integers reads as NaN', () => {
  const bytes = batchOf(1)
  bytes[0] = 0x7f
  assert.ok(Number.isNaN(new BatchView().reset(bytes).baseOffset))
})

test('sequences wrap from 2^31 - 1 to 0', () => {
  assert.equal(sequenceAfter(0x7fffffff, 1), 0)
  assert.equal(sequenceAfter(0x7ffffffe, 3), 1)
  assert.equal(sequenceAfter(5, 0), 5)
  assert.equal(sequenceDistance(0x7fffffff, 0), 1)
  assert.equal(sequenceDistance(3, 10), 7)
})
