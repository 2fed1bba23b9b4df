import assert from 'node:assert/strict'
import { test } from 'node:test'
import { joinBytes } from '../../../src/base/bytes.ts'
import { hasCodec, peekBatch, producerOf } from '../../../src/kafka/batch-header.ts'
import {
  ATTRIBUTES_AT,
  BASE_OFFSET_AT,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_AT,
  BATCH_PREFIX_BYTES,
  MAGIC_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
} from '../../../src/record/batch-layout.ts'

const ZSTD = 4

function batchOf(options: { bytes?: number; attributes?: number; magic?: number; baseOffset?: bigint }): Uint8Array {
  const { bytes = 70, attributes = 0, magic = 2, baseOffset = 0n } = options
  const batch = new Uint8Array(bytes).fill(0xee)
  const view = new DataView(batch.buffer)
  view.setBigInt64(BASE_OFFSET_AT, baseOffset)
  view.setInt32(BATCH_LENGTH_AT, bytes - BATCH_PREFIX_BYTES)
  view.setInt8(MAGIC_AT, magic)
  view.setInt16(ATTRIBUTES_AT, attributes)
  return batch
}

test('the head of a batch', () => {
  assert.deepEqual(peekBatch(batchOf({ bytes: 100, attributes: 0x10 | ZSTD, baseOffset: 5n })), {
    ...{ baseOffset: 5, bytes: 100, magic: 2, codec: ZSTD, isTransactional: true },
  })
  assert.deepEqual(peekBatch(batchOf({})), {
    ...{ baseOffset: 0, bytes: 70, magic: 2, codec: 0, isTransactional: false },
  })
  // Only the first is looked at, wherever it lies.
  const within = joinBytes([new Uint8Array(9), batchOf({ attributes: 3 }), batchOf({ attributes: 1 })]).subarray(9)
  assert.equal(peekBatch(within)?.codec, 3)
  assert.ok(Number.isNaN(peekBatch(batchOf({ baseOffset: 2n ** 60n }))?.baseOffset))
})

test('whose a batch is', () => {
  const batch = batchOf({})
  const view = new DataView(batch.buffer)
  view.setBigInt64(PRODUCER_ID_AT, 2n ** 40n + 3n)
  view.setInt16(PRODUCER_EPOCH_AT, 7)
  assert.deepEqual(producerOf(batch), { producerId: 2 ** 40 + 3, producerEpoch: 7 })
  const within = joinBytes([new Uint8Array(5), batch]).subarray(5)
  assert.deepEqual(producerOf(within), { producerId: 2 ** 40 + 3, producerEpoch: 7 })
})

test('old formats are told by their magic, with no attributes of a batch', () => {
  for (const magic of [0, 1])
    assert.deepEqual(peekBatch(batchOf({ bytes: 30, magic, attributes: 0xffff })), {
      ...{ baseOffset: 0, bytes: 30, magic, codec: 0, isTransactional: false },
    })
})

test('too few bytes are no batch', () => {
  const batch = batchOf({})
  for (let length = 0; length < BATCH_HEADER_BYTES; length++)
    assert.equal(peekBatch(batch.subarray(0, length)), undefined)
  assert.equal(peekBatch(batch.subarray(0, BATCH_HEADER_BYTES))?.bytes, 70)
})

test('a codec is found in any of several batches, in fragments cut anywhere', () => {
  const batches = [batchOf({ bytes: 61 }), batchOf({ bytes: 90, attributes: 1 }), batchOf({ attributes: ZSTD })]
  const whole = joinBytes(batches)
  for (let first = 0; first <= whole.length; first++)
    for (const second of [first, Math.min(first + 3, whole.length), whole.length]) {
      const fragments = [whole.subarray(0, first), whole.subarray(first, second), whole.subarray(second)]
      assert.equal(hasCodec(fragments, ZSTD), true, `cut at ${first} and ${second}`)
      assert.equal(hasCodec(fragments, 1), true)
      assert.equal(hasCodec(fragments, 0), true)
      assert.equal(hasCodec(fragments, 2), false, `cut at ${first} and ${second}`)
    }
  assert.equal(
    hasCodec(
      [...whole].map((byte) => Uint8Array.of(byte)),
      ZSTD,
    ),
    true,
  )
})

test('what is no batch has no codec, and does not go round for ever', () => {
  assert.equal(hasCodec([], ZSTD), false)
  assert.equal(hasCodec([new Uint8Array(500)], 0), false)
  const negative = batchOf({})
  new DataView(negative.buffer).setInt32(BATCH_LENGTH_AT, -500)
  assert.equal(hasCodec([negative], ZSTD), false)
  // The last one is cut off: it is not looked at past its head.
  assert.equal(hasCodec([batchOf({ attributes: 1 }), batchOf({ attributes: ZSTD }).subarray(0, 40)], ZSTD), false)
})
