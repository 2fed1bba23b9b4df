/** A fetch that wants all partitions told: each has a line, in the request's order, and what it waits for is the same. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { fetchReplyBytes } from '../../../src/ring/message-codec.ts'
import { makeBatch } from '../../support/log-fixture.ts'
import { batchesOf, type FetchAnswer, ShardFixture } from '../../support/shard-fixture.ts'

const ALL = { allPartitions: true }

function opened(partitions: number, options: ConstructorParameters<typeof ShardFixture>[0] = {}): ShardFixture {
  const shard = new ShardFixture(options)
  shard.open(partitions)
  return shard
}

const refsOf = ({ partitions }: FetchAnswer): number[] => partitions.map(({ ref }) => ref)

describe('a fetch that wants all partitions told', () => {
  test('lines of those that have nothing new stand between the others, with their watermarks', () => {
    const shard = opened(4)
    for (const partitionRef of [1, 1, 3]) shard.produce(makeBatch(), { partitionRef })
    const parts = [
      { ref: 3, offset: 1 },
      { ref: 1, offset: 0 },
      { ref: 9, offset: 0 },
      { ref: 0, offset: 0 },
      { ref: 2, offset: 7 },
    ]
    const answer = shard.fetch(parts, ALL)
    assert.deepEqual(refsOf(answer), [3, 1, 9, 0, 2])
    assert.deepEqual(
      answer.partitions.map(({ error, highWatermark, lastStableOffset, logStartOffset, bytes }) => [
        ...[error, highWatermark, lastStableOffset, logStartOffset],
        batchesOf(bytes).length,
      ]),
      [
        ['NONE', 1, 1, 0, 0],
        ['NONE', 2, 2, 0, 2],
        ['UNKNOWN_TOPIC_OR_PARTITION', -1, -1, -1, 0],
        ['NONE', 0, 0, 0, 0],
        ['OFFSET_OUT_OF_RANGE', 0, 0, 0, 0],
      ],
    )
    assert.deepEqual(refsOf(shard.fetch(parts)), [1, 9, 2], 'others are told what is new')
  })

  test('it waits for bytes or its time as ever, and is answered in whole then', () => {
    const shard = opened(2)
    const parts = [0, 1].map((ref) => ({ ref, offset: 0 }))
    const byData = shard.sendFetch(parts, { ...ALL, waitMs: 500 })
    const byTime = shard.sendFetch(parts, { ...ALL, waitMs: 500, minBytes: 100_000 })
    assert.equal(shard.answer(byData), undefined)
    shard.produce(makeBatch(), { partitionRef: 1 })
    const woken = shard.answer(byData) as FetchAnswer
    assert.deepEqual(refsOf(woken), [0, 1])
    assert.equal(shard.answer(byTime), undefined)
    shard.pass(500)
    assert.deepEqual(refsOf(shard.answer(byTime) as FetchAnswer), [0, 1])
  })

  test('its lines have their room in the frame however much there is to read', () => {
    const shard = opened(200, { channel: { replyRingBytes: 64 * 1024, pageBytes: 4096, pageCount: 4096 } })
    for (let partitionRef = 0; partitionRef < 20; partitionRef++)
      for (let count = 0; count < 10; count++)
        shard.produce(makeBatch({ records: 1, valueBytes: 50_000 }), { partitionRef })
    const parts = Array.from({ length: 180 }, (_, ref) => ({ ref, offset: 0, maxBytes: 1024 * 1024 }))
    assert.ok(fetchReplyBytes(180, 0) <= (64 * 1024 * 3) / 8 / 2)
    const answer = shard.fetch(parts, { ...ALL, maxBytes: 50_000_000 })
    assert.deepEqual(
      refsOf(answer),
      parts.map(({ ref }) => ref),
    )
    assert.ok(answer.partitions[0]!.bytes.length > 400_000)
    assert.ok(
      answer.partitions.every(
        ({ error, highWatermark, ref }) => error === 'NONE' && highWatermark === (ref < 20 ? 10 : 0),
      ),
    )
  })

  test('so many that their lines fill half a frame are told as far as there is news', () => {
    const shard = opened(300, { channel: { replyRingBytes: 64 * 1024 } })
    shard.produce(makeBatch(), { partitionRef: 299 })
    const parts = Array.from({ length: 300 }, (_, ref) => ({ ref, offset: 0 }))
    assert.deepEqual(refsOf(shard.fetch(parts, ALL)), [299])
  })
})
