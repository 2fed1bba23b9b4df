/** A shard over real rings: what goes in comes out, and who waits for what. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ControlOperation } from '../../src/ring/control-messages.ts'
import { Durability, MessageType } from '../../src/ring/messages.ts'
import { makeBatch } from '../support/log-fixture.ts'
import { batchesOf, type FetchAnswer, ShardFixture } from '../support/shard-fixture.ts'

describe('produce and fetch', () => {
  test('a batch comes back as it was sent, stamped with its offset and epoch', () => {
    const shard = new ShardFixture()
    shard.open()
    const batch = makeBatch({ records: 3 })
    const produced = shard.produce(batch)
    assert.deepEqual([produced.error, produced.baseOffset, produced.durability], ['NONE', 0, Durability.FSYNCED])
    assert.equal(shard.produce(makeBatch({ records: 2 })).baseOffset, 3)
    const fetched = shard.fetch([{ offset: 0 }])
    assert.equal(fetched.partitions.length, 1)
    const [part] = fetched.partitions
    assert.deepEqual(batchesOf(part!.bytes), [
      [0, 3],
      [3, 5],
    ])
    assert.equal(part!.highWatermark, 5)
    assert.deepEqual(part!.bytes.subarray(21, batch.length), batch.subarray(21))
  })

  test('a fetch from the middle of a batch begins with that batch, and ends on a batch boundary within maxBytes', () => {
    const shard = new ShardFixture()
    shard.open()
    const batch = makeBatch({ records: 4, valueBytes: 100 })
    for (let count = 0; count < 10; count++) shard.produce(batch.slice())
    const [part] = shard.fetch([{ offset: 6 }], { maxBytes: batch.length * 3 + 10 }).partitions
    assert.deepEqual(batchesOf(part!.bytes), [
      [4, 8],
      [8, 12],
      [12, 16],
    ])
    const [first] = shard.fetch([{ offset: 6 }], { maxBytes: 1 }).partitions
    assert.deepEqual(batchesOf(first!.bytes), [[4, 8]], 'the first batch is sent even if it is larger')
  })

  test('a batch larger than many pages is sent whole', () => {
    const shard = new ShardFixture()
    shard.open(1, { maxMessageBytes: 1024 * 1024 })
    shard.produce(makeBatch({ records: 1, valueBytes: 5_000 }))
    shard.produce(makeBatch({ records: 1, valueBytes: 300_000 }))
    shard.produce(makeBatch({ records: 1, valueBytes: 5_000 }))
    const [part] = shard.fetch([{ offset: 1 }], { maxBytes: 1000 }).partitions
    assert.deepEqual(batchesOf(part!.bytes), [[1, 2]])
  })

  test('several partitions of one request share its bytes', () => {
    const shard = new ShardFixture()
    shard.open(3)
    const batch = makeBatch({ records: 1, valueBytes: 1000 })
    for (const partitionRef of [0, 1, 2]) shard.produce(batch.slice(), { partitionRef })
    const parts = [0, 1, 2].map((ref) => ({ ref, offset: 0 }))
    assert.deepEqual(
      shard.fetch(parts).partitions.map((part) => part.ref),
      [0, 1, 2],
    )
    const tight = shard.fetch(parts, { maxBytes: batch.length * 2 }).partitions
    assert.deepEqual(
      tight.filter((part) => part.bytes.length > 0).map((part) => part.ref),
      [0, 1],
    )
  })

  test('nobody reads past the high watermark', () => {
    const shard = new ShardFixture()
    shard.open()
    shard.produce(makeBatch())
    const id = shard.sendProduce(makeBatch())
    shard.shard.doWork()
    const fetchId = shard.sendFetch([{ offset: 0 }])
    shard.shard.doWork()
    shard.drain()
    const answer = shard.answer(fetchId)
    assert.ok(answer?.kind === 'fetch')
    assert.deepEqual(batchesOf(answer.partitions[0]!.bytes), [[0, 1]], 'written, not synced: not to be seen')
    assert.ok(shard.answer(id))
  })

  test('acks: none is not answered; leader waits for the sync with group, not with interval', () => {
    const group = new ShardFixture()
    group.open()
    group.sendProduce(makeBatch(), { acks: 0 })
    group.settle()
    const leader = group.sendProduce(makeBatch(), { acks: 1 })
    group.shard.doWork()
    assert.equal(group.drain(), 0, 'written, and not yet synced')
    const answer = group.answer(leader)
    assert.ok(answer?.kind === 'produce' && answer.baseOffset === 1 && answer.durability === Durability.FSYNCED)

    const interval = new ShardFixture()
    interval.open(1, { fsync: 'interval', flushMs: 1000 })
    const id = interval.sendProduce(makeBatch(), { acks: 1 })
    interval.shard.doWork()
    interval.drain()
    const written = interval.answer(id)
    assert.ok(written?.kind === 'produce' && written.durability === Durability.WRITTEN)
    const before = interval.control(ControlOperation.DESCRIBE_PARTITION, { partitionRef: 0 }).body as {
      syncedEndOffset: number
    }
    assert.equal(before.syncedEndOffset, 0)
    interval.pass(1000)
    const after = interval.control(ControlOperation.DESCRIBE_PARTITION, { partitionRef: 0 }).body as {
      syncedEndOffset: number
    }
    assert.equal(after.syncedEndOffset, 1)
  })

  test('what is refused says why', () => {
    const shard = new ShardFixture()
    shard.open()
    assert.equal(shard.produce(makeBatch(), { partitionRef: 9 }).error, 'UNKNOWN_TOPIC_OR_PARTITION')
    assert.equal(shard.produce(makeBatch(), { leaderEpoch: 2 }).error, 'FENCED_LEADER_EPOCH')
    assert.equal(shard.produce(makeBatch(), { leaderEpoch: 4 }).error, 'UNKNOWN_LEADER_EPOCH')
    assert.equal(shard.produce(makeBatch(), { acks: 7 }).error, 'INVALID_REQUIRED_ACKS')
    const damaged = makeBatch()
    damaged[70]! ^= 1
    const corrupt = shard.produce(damaged)
    assert.equal(corrupt.error, 'CORRUPT_MESSAGE')
    assert.match(corrupt.text, /checksum/)
    assert.equal(shard.fetch([{ offset: 5 }]).partitions[0]!.error, 'OFFSET_OUT_OF_RANGE')
    assert.equal(shard.fetch([{ offset: 0, leaderEpoch: 1 }]).partitions[0]!.error, 'FENCED_LEADER_EPOCH')
    shard.sendProduce(damaged, { acks: 0 })
    shard.settle()
    assert.ok(shard.notices.some((notice) => notice.kind === 'produce-failed'))
  })

  test('a duplicate is answered with its first offset, a gap in the sequence is refused', () => {
    const shard = new ShardFixture()
    shard.open()
    const batch = (baseSequence: number) => makeBatch({ records: 2, producerId: 5, baseSequence })
    const ids = [shard.sendProduce(batch(0)), shard.sendProduce(batch(2)), shard.sendProduce(batch(0))]
    shard.settle()
    assert.deepEqual(
      ids.map((id) => (shard.answer(id) as { baseOffset: number }).baseOffset),
      [0, 2, 0],
      'in one turn',
    )
    assert.equal(shard.produce(batch(2)).baseOffset, 2, 'in a later turn')
    assert.equal(shard.produce(batch(6)).error, 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    assert.equal(shard.produce(batch(4)).baseOffset, 4)
  })

  test('LogAppendTime is the time of the append, and the checksum fits it', () => {
    const shard = new ShardFixture()
    shard.open(1, { timestampType: 'LogAppendTime' })
    const produced = shard.produce(makeBatch({ timestampMs: 5 }))
    assert.equal(produced.logAppendTimeMs, shard.clock.ms)
    assert.deepEqual(batchesOf(shard.fetch([{ offset: 0 }]).partitions[0]!.bytes), [[0, 1]])
  })
})

describe('long polls', () => {
  test('a fetch waits for minBytes, for its time, or for the word of the gateway', () => {
    const shard = new ShardFixture()
    shard.open(3)
    const batch = makeBatch({ valueBytes: 100 })
    const byData = shard.sendFetch(
      [
        { ref: 0, offset: 0 },
        { ref: 1, offset: 0 },
      ],
      { waitMs: 500, minBytes: batch.length + 1 },
    )
    const byTime = shard.sendFetch([{ ref: 2, offset: 0 }], { waitMs: 300 })
    const byFinish = shard.sendFetch([{ ref: 0, offset: 0 }], { waitMs: 500, minBytes: 100_000 })
    const byCancel = shard.sendFetch([{ ref: 0, offset: 0 }], { waitMs: 500, minBytes: 100_000 })
    shard.produce(batch.slice(), { partitionRef: 0 })
    assert.equal(shard.answer(byData), undefined, 'one batch is less than minBytes')
    shard.produce(batch.slice(), { partitionRef: 1 })
    const both = shard.answer(byData)
    assert.ok(both?.kind === 'fetch')
    assert.deepEqual(
      both.partitions.map((part) => batchesOf(part.bytes)),
      [[[0, 1]], [[0, 1]]],
    )
    shard.pass(299)
    assert.equal(shard.answer(byTime), undefined)
    shard.pass(1)
    assert.ok(shard.answer(byTime))
    shard.sendEnd(MessageType.FETCH_FINISH, byFinish)
    const finished = shard.answer(byFinish)
    assert.ok(finished?.kind === 'fetch' && finished.partitions[0]!.bytes.length === batch.length)
    shard.sendEnd(MessageType.FETCH_CANCEL, byCancel)
    const cancelled = shard.answer(byCancel)
    assert.ok(cancelled?.kind === 'fetch' && cancelled.partitions.length === 0)
    shard.sendEnd(MessageType.FETCH_CANCEL, byCancel)
    shard.settle()
  })

  test('a hundred readers at the tail share the page', () => {
    const shard = new ShardFixture()
    shard.open()
    const ids = Array.from({ length: 100 }, () => shard.sendFetch([{ offset: 0 }], { waitMs: 500 }))
    shard.holdsPages = true
    shard.produce(makeBatch())
    const pages = new Set(ids.flatMap((id) => (shard.answer(id) as FetchAnswer).partitions[0]!.pages))
    assert.equal(pages.size, 1)
  })
})
