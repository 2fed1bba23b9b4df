/** Transactions on a shard: what holds readers back, what ends it, and who is told what. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { SeededPrng } from '../../src/base/prng.ts'
import { FaultyFileSystem } from '../../src/io/faulty-file-system.ts'
import type { FileSystem } from '../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../src/io/memory-file-system.ts'
import { recoverDataDir } from '../../src/log/data-dir-recovery.ts'
import { type ErrorCode, errorCodeOf } from '../../src/model/errors.ts'
import { partitionFolder } from '../../src/model/ids.ts'
import { BatchReader } from '../../src/record/batch-reader.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import type { DescribePartitionAnswer, MarkerToWrite, ShardStats } from '../../src/ring/control-messages.ts'
import { ControlOperation } from '../../src/ring/control-messages.ts'
import { DATA_DIR, makeBatch, TOPIC } from '../support/log-fixture.ts'
import { batchesOf, type FetchAnswer, type FetchedPartition, ShardFixture } from '../support/shard-fixture.ts'
import { TransactionFixture } from '../support/transaction-log-fixture.ts'

const READ_COMMITTED = 1
const PRODUCER = 7

interface TransactionalBatch {
  readonly producerId?: number
  readonly epoch?: number
  readonly sequence?: number
  readonly records?: number
  readonly valueBytes?: number
}

function transactional(options: TransactionalBatch = {}): Uint8Array {
  const { producerId = PRODUCER, epoch = 0, sequence = 0, records = 1, valueBytes = 10 } = options
  const writer = new BatchWriter({ initialBytes: 256 })
  const value = new Uint8Array(valueBytes).fill(7)
  for (let index = 0; index < records; index++) writer.append(null, value, null, 1000)
  const producer = { producerId, producerEpoch: epoch, baseSequence: sequence }
  return writer.finish({ ...producer, transactional: true }).slice()
}

function register(shard: ShardFixture, producer: { id?: number; epoch?: number } = {}, partitionRefs = [0]): void {
  const body = { producerId: producer.id ?? PRODUCER, producerEpoch: producer.epoch ?? 0, partitionRefs }
  assert.equal(shard.control(ControlOperation.REGISTER_PRODUCERS, body).error, 'NONE')
}

function marker(wanted: Partial<MarkerToWrite> & { readonly isCommit: boolean }): MarkerToWrite {
  return {
    ...{ partitionRef: 0 as MarkerToWrite['partitionRef'], producerId: PRODUCER, producerEpoch: 1 },
    ...{ coordinatorEpoch: 0, isClassic: false },
    ...wanted,
  }
}

function errorsOf(answer: { readonly body: unknown }): ErrorCode[] {
  return (answer.body as { errorNumbers: number[] }).errorNumbers.map(errorCodeOf)
}

function writeMarkers(shard: ShardFixture, ...markers: MarkerToWrite[]): ErrorCode[] {
  return errorsOf(shard.control(ControlOperation.WRITE_MARKERS, { markers }))
}

function describePartition(shard: ShardFixture, partitionRef = 0): DescribePartitionAnswer {
  return shard.control(ControlOperation.DESCRIBE_PARTITION, { partitionRef }).body as DescribePartitionAnswer
}

function fetchCommitted(shard: ShardFixture, offset: number, maxBytes?: number): FetchedPartition | undefined {
  const wish = { offset, ...(maxBytes === undefined ? {} : { maxBytes }) }
  return shard.fetch([wish], { isolation: READ_COMMITTED, waitMs: 0 }).partitions[0]
}

/** Offsets of the records that a client would hand out. */
function delivered(part: FetchedPartition | undefined, fromOffset = 0): number[] {
  if (part === undefined) return []
  const reader = new BatchReader().reset(part.bytes, fromOffset, part.aborted)
  const offsets: number[] = []
  while (reader.next()) offsets.push(reader.offset)
  return offsets
}

/** Begins a transaction with one batch at the end of the log. */
function begin(shard: ShardFixture, options: TransactionalBatch = {}): void {
  const { producerId: id = PRODUCER, epoch = 0 } = options
  register(shard, { id, epoch })
  assert.equal(shard.produce(transactional(options)).error, 'NONE')
}

function restart(files: MemoryFileSystem, seen: FileSystem = files): ShardFixture {
  const { results } = recoverDataDir(files, { dataDir: DATA_DIR, incarnation: 2, previousRun: 'machine-died' })
  const byFolder = new Map(
    results.map((result) => [partitionFolder(result.bounds.topicId, result.bounds.partition), result]),
  )
  const shard = new ShardFixture({ files: seen, shard: { incarnation: 2 } })
  shard.open(1, {}, (partition) => byFolder.get(partitionFolder(TOPIC, partition))?.recovered ?? null)
  return shard
}

describe('what readers with read_committed may read', () => {
  test('ends before the first open transaction; who waits there is woken by the marker', () => {
    const shard = new ShardFixture()
    shard.open()
    shard.produce(makeBatch())
    begin(shard)
    shard.produce(makeBatch())
    const { highWatermark, lastStableOffset } = describePartition(shard)
    assert.deepEqual([highWatermark, lastStableOffset], [3, 1])
    const part = fetchCommitted(shard, 0)!
    assert.deepEqual([batchesOf(part.bytes), part.highWatermark, part.lastStableOffset], [[[0, 1]], 3, 1])
    const all = shard.fetch([{ offset: 0 }]).partitions[0]!
    assert.equal(batchesOf(all.bytes).length, 3, 'read_uncommitted ends at the high watermark')

    const waiting = shard.sendFetch([{ offset: 1 }], { isolation: READ_COMMITTED, waitMs: 60_000 })
    const hungry = shard.sendFetch([{ offset: 1 }], { isolation: READ_COMMITTED, waitMs: 60_000, minBytes: 200 })
    shard.settle()
    shard.produce(makeBatch())
    assert.equal(shard.answer(waiting), undefined, 'records past an open transaction wake nobody')
    assert.deepEqual(writeMarkers(shard, marker({ isCommit: true })), ['NONE'])
    for (const id of [waiting, hungry]) {
      const answer = shard.answer(id) as FetchAnswer | undefined
      assert.equal(answer?.kind, 'fetch', 'the marker wakes it')
      assert.deepEqual(delivered(answer.partitions[0], 1), [1, 2, 3])
    }
    assert.equal(describePartition(shard).lastStableOffset, 5)
  })

  test('minBytes counts what is readable: a marker that frees too little wakes nobody', () => {
    const shard = new ShardFixture()
    shard.open()
    begin(shard)
    const waiting = shard.sendFetch([{ offset: 0 }], { isolation: READ_COMMITTED, waitMs: 60_000, minBytes: 2_000 })
    shard.settle()
    writeMarkers(shard, marker({ isCommit: true }))
    assert.equal(shard.answer(waiting), undefined)
    shard.produce(makeBatch({ valueBytes: 2_000 }))
    assert.deepEqual(delivered((shard.answer(waiting) as FetchAnswer).partitions[0]), [0, 2])
  })

  test('list-offsets with read_committed answers the last stable offset', () => {
    const shard = new ShardFixture()
    shard.open()
    shard.produce(makeBatch())
    begin(shard)
    const latest = (isolation: number): unknown =>
      shard.control(ControlOperation.LIST_OFFSETS, { partitionRef: 0, timestampMs: -1, isolation }).body
    assert.equal((latest(0) as { offset: number }).offset, 2)
    assert.equal((latest(1) as { offset: number }).offset, 1)
    writeMarkers(shard, marker({ isCommit: true }))
    const largest = { partitionRef: 0, timestampMs: -3, isolation: 1 }
    const found = shard.control(ControlOperation.LIST_OFFSETS, largest).body as { offset: number; timestampMs: number }
    assert.deepEqual([found.offset, found.timestampMs], [2, shard.clock.ms], 'a marker has a time, too')
  })

  test('a marker that is not durable yet frees nothing, and is not acknowledged', () => {
    const shard = new ShardFixture()
    shard.open()
    begin(shard)
    const id = shard.sendControl(ControlOperation.WRITE_MARKERS, { markers: [marker({ isCommit: true })] })
    const waiting = shard.sendFetch([{ offset: 0 }], { isolation: READ_COMMITTED, waitMs: 60_000 })
    for (let turn = 0; turn < 3; turn++) shard.shard.doWork() // the disk thread does nothing
    shard.drain()
    assert.deepEqual([shard.peek(id), shard.peek(waiting)], [undefined, undefined])
    assert.equal(errorsOf(shard.answer(id) as never)[0], 'NONE')
    assert.deepEqual(delivered((shard.answer(waiting) as FetchAnswer).partitions[0]), [0])
  })
})

describe('aborted transactions', () => {
  test('are told with every fetch that overlaps them, to read_committed only', () => {
    const shard = new ShardFixture()
    shard.open()
    begin(shard, { records: 2 })
    shard.produce(makeBatch())
    shard.produce(transactional({ sequence: 2 }))
    writeMarkers(shard, marker({ isCommit: false }))
    begin(shard, { epoch: 1 })
    writeMarkers(shard, marker({ isCommit: true, producerEpoch: 2 }))
    const aborted = [{ producerId: PRODUCER, firstOffset: 0 }]
    const part = fetchCommitted(shard, 0)!
    assert.deepEqual(part.aborted, aborted)
    assert.deepEqual(delivered(part), [2, 5], 'what the producer commits later is delivered')
    for (const from of [1, 2, 3, 4]) {
      const middle = fetchCommitted(shard, from)!
      assert.deepEqual(middle.aborted, aborted, `from ${from}`)
      assert.deepEqual(delivered(middle, from), from <= 2 ? [2, 5] : [5])
    }
    assert.deepEqual(fetchCommitted(shard, 5)!.aborted, [], 'it ended before')
    const uncommitted = shard.fetch([{ offset: 0 }]).partitions[0]!
    assert.deepEqual(uncommitted.aborted, [])
    assert.deepEqual(delivered(uncommitted), [0, 1, 2, 3, 5])
    assert.equal((shard.control(ControlOperation.STATS, {}).body as ShardStats).abortedTransactions, 1)
  })

  test('one by one, whatever bytes a fetch may bring', () => {
    const shard = new ShardFixture()
    shard.open()
    const producers = Array.from({ length: 12 }, (_, index) => 100 + index)
    for (const producerId of producers) begin(shard, { producerId })
    for (const producerId of producers) writeMarkers(shard, marker({ producerId, isCommit: producerId % 3 === 0 }))
    const expected = producers.flatMap((producerId, offset) => (producerId % 3 === 0 ? [offset] : []))
    for (const maxBytes of [1, 100, 300, 1_000, 10_000]) {
      const seen: number[] = []
      let rounds = 0
      for (let offset = 0; offset < 24; rounds++) {
        assert.ok(rounds < 30, 'every fetch gets on')
        const part = fetchCommitted(shard, offset, maxBytes)!
        seen.push(...delivered(part, offset))
        offset = batchesOf(part.bytes).at(-1)![1]
      }
      assert.deepEqual(seen, expected, `maxBytes ${maxBytes}`)
    }
  })

  test('more than a frame has room for: less is served, and all are told', () => {
    // Frames of 1,488 bytes: some 80 of them at most, beside the fragments.
    const shard = new ShardFixture({ channel: { replyRingBytes: 4096 } })
    shard.open(2)
    const producers = Array.from({ length: 150 }, (_, index) => 100 + index)
    for (const producerId of producers) {
      begin(shard, { producerId })
      writeMarkers(shard, marker({ producerId, isCommit: producerId % 10 === 0 }))
    }
    const expected = producers.flatMap((producerId, index) => (producerId % 10 === 0 ? [2 * index] : []))
    const seen: number[] = []
    let rounds = 0
    for (let offset = 0; offset < 300; rounds++) {
      assert.ok(rounds < 30, 'every fetch gets on')
      const wish = [
        { ref: 0, offset },
        { ref: 0, offset },
      ]
      const [part, again] = shard.fetch(wish, { isolation: READ_COMMITTED, waitMs: 0 }).partitions
      seen.push(...delivered(part, offset))
      const offsets = delivered(again, offset)
      assert.deepEqual(offsets, delivered(part, offset).slice(0, offsets.length), 'the second part as far as it goes')
      offset = batchesOf(part!.bytes).at(-1)![1]
    }
    assert.ok(rounds > 1)
    assert.deepEqual(seen, expected)
  })
})

describe('a batch with more aborted transactions than a frame has room for beside other lines', () => {
  /** Frames of 1,488 bytes: 70 aborted transactions take 1,120, a line 64. */
  function opened(): ShardFixture {
    const shard = new ShardFixture({ channel: { replyRingBytes: 4096 } })
    shard.open(10)
    const producers = Array.from({ length: 70 }, (_, index) => 100 + index)
    for (const producerId of producers) begin(shard, { producerId })
    shard.produce(makeBatch())
    for (const producerId of producers) writeMarkers(shard, marker({ producerId, isCommit: false }))
    return shard
  }
  const wish = { isolation: READ_COMMITTED, waitMs: 0 }

  test('of partitions that have nothing new, all of which are to be told: it goes alone', () => {
    const parts = [...Array.from({ length: 9 }, (_, index) => ({ ref: index + 1, offset: 0 })), { ref: 0, offset: 70 }]
    const { partitions } = opened().fetch(parts, { ...wish, allPartitions: true })
    assert.deepEqual(
      partitions.map(({ ref, aborted, bytes }) => [ref, aborted.length, bytes.length > 0]),
      [[0, 70, true]],
    )
  })

  test('of errors: they go first', () => {
    const shard = opened()
    const gone = Array.from({ length: 9 }, (_, index) => ({ ref: index + 50, offset: 0 }))
    for (const allPartitions of [false, true]) {
      const { partitions } = shard.fetch([...gone, { ref: 0, offset: 70 }], { ...wish, allPartitions })
      assert.deepEqual(
        partitions.map(({ ref }) => ref),
        gone.map(({ ref }) => ref),
      )
    }
    assert.equal(fetchCommitted(shard, 70)!.aborted.length, 70)
  })
})

describe('aborted transactions behind a compaction', () => {
  test('a filler that more of them begin in than a frame has room for is passed', () => {
    const config = { cleanupPolicy: 'compact', minCleanableDirtyRatio: 0 } as const
    const log = new TransactionFixture({ ...config, segmentBytes: 1 << 20 })
    const producers = Array.from({ length: 70 }, (_, index) => 100 + index)
    for (const producerId of producers) log.append(producerId)
    for (const producerId of producers) log.end(producerId, 'ABORT')
    for (let key = 0; key < 60; key++) log.append(9, [{ key: `k${key}`, value: 'v'.repeat(1000) }], false)
    log.log.roll()
    assert.ok(log.compact())
    const { recovered } = log.restart()
    // Frames of 1,488 bytes: room for the 70 beside one page, and for fewer beside the pages of what follows.
    const shard = new ShardFixture({ files: log.files, channel: { replyRingBytes: 4096, pageBytes: 1024 } })
    shard.open(1, config, () => recovered)
    assert.deepEqual(batchesOf(shard.fetch([{ offset: 0, maxBytes: 61 }]).partitions[0]!.bytes), [[0, 70]])
    // All of it is in pages from here on: a fetch is as long as its frame allows.
    for (let offset = 0; offset < 200; )
      offset = batchesOf(shard.fetch([{ offset }], { waitMs: 0 }).partitions[0]!.bytes).at(-1)![1]
    const seen: number[] = []
    for (let offset = 0; offset < 200; ) {
      const part = fetchCommitted(shard, offset)
      assert.ok(part !== undefined && part.bytes.length > 0, `a fetch at offset ${offset} brings nothing`)
      seen.push(...delivered(part, offset))
      offset = batchesOf(part.bytes).at(-1)![1]
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 60 }, (_, index) => 140 + index),
    )
  })
})

describe('a transaction at a partition', () => {
  test('begins only where its coordinator has registered the producer, with acks all, and in its epoch', () => {
    const shard = new ShardFixture()
    shard.open()
    const refused = shard.produce(transactional())
    assert.deepEqual([refused.error, refused.baseOffset], ['INVALID_TXN_STATE', -1])
    register(shard)
    assert.equal(shard.produce(transactional(), { acks: 1 }).error, 'INVALID_REQUIRED_ACKS')
    assert.equal(shard.produce(transactional()).error, 'NONE')
    assert.equal(shard.produce(transactional()).baseOffset, 0, 'a duplicate')
    const outside = makeBatch({ producerId: PRODUCER, baseSequence: 1 })
    assert.equal(shard.produce(outside).error, 'INVALID_TXN_STATE')
    writeMarkers(shard, marker({ isCommit: true }))
    assert.equal(shard.produce(transactional({ sequence: 1 })).error, 'INVALID_PRODUCER_EPOCH', 'fenced by its marker')
    assert.equal(
      shard.produce(transactional({ epoch: 1 })).error,
      'INVALID_TXN_STATE',
      'the next one is not registered',
    )
    register(shard, { epoch: 1 })
    assert.equal(shard.produce(transactional({ epoch: 1 })).error, 'NONE')
    const stats = shard.control(ControlOperation.STATS, {}).body as ShardStats
    assert.deepEqual([stats.openTransactions, stats.abortedTransactions], [1, 0])
    shard.pass(5_000)
    const later = shard.control(ControlOperation.STATS, {}).body as ShardStats
    assert.equal(later.oldestTransactionMicroseconds, 5_000_000)
  })

  test('markers: written once, each with its own error; several in a turn share a sync', () => {
    const shard = new ShardFixture()
    shard.open(3)
    register(shard, {}, [0, 1, 2])
    for (const partitionRef of [0, 1, 2]) shard.produce(transactional(), { partitionRef })
    const syncs = (): number => (shard.control(ControlOperation.STATS, {}).body as ShardStats).syncs
    const before = syncs()
    const markers = [0, 1, 2, 9].map((ref) =>
      marker({ partitionRef: ref as MarkerToWrite['partitionRef'], isCommit: true }),
    )
    assert.deepEqual(writeMarkers(shard, ...markers), ['NONE', 'NONE', 'NONE', 'UNKNOWN_TOPIC_OR_PARTITION'])
    assert.equal(syncs(), before + 1)
    assert.deepEqual(writeMarkers(shard, markers[0]!), ['NONE'], 'written before')
    assert.equal(describePartition(shard).logEndOffset, 2, 'and not again')
    const late = marker({ isCommit: true, producerEpoch: 0 })
    assert.deepEqual(writeMarkers(shard, late), ['NONE'], 'there is nothing to end')
    assert.equal(describePartition(shard).logEndOffset, 2)
    register(shard, { epoch: 1 })
    shard.produce(transactional({ epoch: 1 }))
    assert.deepEqual(writeMarkers(shard, late), ['INVALID_PRODUCER_EPOCH'], 'what is open now is the next one')
    writeMarkers(shard, marker({ isCommit: true, producerEpoch: 2, coordinatorEpoch: 4 }))
    const fenced = marker({ isCommit: true, producerEpoch: 3, coordinatorEpoch: 3 })
    assert.deepEqual(writeMarkers(shard, fenced), ['TRANSACTION_COORDINATOR_FENCED'])
    assert.deepEqual(writeMarkers(shard), [])
  })

  test('the same marker twice in a turn: both are answered when the one that was written is durable', () => {
    const shard = new ShardFixture()
    shard.open()
    begin(shard)
    const ids = [1, 2].map(() =>
      shard.sendControl(ControlOperation.WRITE_MARKERS, { markers: [marker({ isCommit: true })] }),
    )
    for (let turn = 0; turn < 3; turn++) shard.shard.doWork()
    shard.drain()
    assert.deepEqual(
      ids.map((id) => shard.peek(id)),
      [undefined, undefined],
    )
    for (const id of ids) assert.deepEqual(errorsOf(shard.answer(id) as never), ['NONE'])
    assert.equal(describePartition(shard).logEndOffset, 2)
  })

  test('with fsync: interval a marker is answered when it is synced, by the next group sync and not by flush.ms', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open(1, { fsync: 'interval', flushMs: 60_000 })
    begin(shard)
    shard.pass(60_000)
    const id = shard.sendControl(ControlOperation.WRITE_MARKERS, { markers: [marker({ isCommit: true })] })
    for (let turn = 0; turn < 3; turn++) shard.shard.doWork()
    shard.drain()
    assert.equal(shard.peek(id), undefined, 'it is in the page cache alone')
    assert.deepEqual(errorsOf(shard.answer(id) as never), ['NONE'])
    const after = restart(files.crash(new SeededPrng(1), { kind: 'power', survival: 'none' }))
    const { logEndOffset, lastStableOffset } = describePartition(after)
    assert.deepEqual([logEndOffset, lastStableOffset], [2, 2], 'the coordinator never sends it again')
  })

  test('with fsync: interval a marker that was written before waits for a sync of what the log has, and asks for one', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open(1, { fsync: 'interval', flushMs: 60_000 })
    begin(shard)
    assert.deepEqual(writeMarkers(shard, marker({ isCommit: false })), ['NONE'])
    shard.produce(makeBatch())
    assert.equal(describePartition(shard).syncedEndOffset, 2)
    assert.deepEqual(writeMarkers(shard, marker({ isCommit: false })), ['NONE'])
    assert.equal(describePartition(shard).syncedEndOffset, 3)
    assert.deepEqual(writeMarkers(shard, marker({ isCommit: false })), ['NONE'], 'all is synced')
  })

  test('more markers than produces may wait: none is refused once it is written, and no further request is taken', () => {
    const shard = new ShardFixture({ shard: { waitingProducesMax: 5 } })
    shard.open()
    const markersFrom = (firstId: number) =>
      Array.from({ length: 20 }, (_, index) => marker({ producerId: firstId + index, isCommit: true }))
    const ids = [100, 200, 300].map((firstId) =>
      shard.sendControl(ControlOperation.WRITE_MARKERS, { markers: markersFrom(firstId) }),
    )
    shard.shard.doWork()
    assert.equal(shard.shard.stats().waitingProduces, 20)
    for (const id of ids) assert.deepEqual(errorsOf(shard.answer(id) as never), Array(20).fill('NONE'))
    assert.equal(describePartition(shard).logEndOffset, 60)
    assert.equal(shard.shard.stats().waitingProduces, 0)
  })

  test('a partition that is gone or offline has an error of its own, the others take their markers', () => {
    const files = new FaultyFileSystem(new MemoryFileSystem())
    const shard = new ShardFixture({ files })
    shard.open(3)
    register(shard, {}, [0, 1, 2])
    for (const partitionRef of [0, 1, 2]) shard.produce(transactional(), { partitionRef })
    shard.control(ControlOperation.CLOSE_PARTITION, { partitionRef: 1 })
    files.inject({ on: 'read', path: partitionFolder(TOPIC, 2), effect: { kind: 'fail', code: 'EIO' } })
    assert.equal(shard.fetch([{ ref: 2, offset: 0 }]).partitions[0]!.error, 'KAFKA_STORAGE_ERROR')
    const markers = [0, 1, 2].map((ref) =>
      marker({ partitionRef: ref as MarkerToWrite['partitionRef'], isCommit: false }),
    )
    assert.deepEqual(writeMarkers(shard, ...markers), ['NONE', 'UNKNOWN_TOPIC_OR_PARTITION', 'KAFKA_STORAGE_ERROR'])
    register(shard, { epoch: 1 }, [0, 1, 2])
  })

  test('a marker whose sync fails is not acknowledged', () => {
    const files = new FaultyFileSystem(new MemoryFileSystem())
    const shard = new ShardFixture({ files })
    shard.open()
    begin(shard)
    files.inject({ on: 'fdatasync', effect: { kind: 'fail', code: 'EIO' } })
    assert.deepEqual(writeMarkers(shard, marker({ isCommit: true })), ['KAFKA_STORAGE_ERROR'])
    assert.equal((shard.control(ControlOperation.STATS, {}).body as ShardStats).abortedTransactions, 0)
  })

  test('on a full disk the transaction stays open, and ends although produce is still refused', () => {
    const files = new FaultyFileSystem(new MemoryFileSystem({ capacityBytes: 2 ** 40 }))
    const shard = new ShardFixture({ files })
    shard.open()
    begin(shard)
    files.inject({ on: 'write', path: '.log', times: 1, effect: { kind: 'fail', code: 'ENOSPC' } })
    assert.deepEqual(writeMarkers(shard, marker({ isCommit: false })), ['DISK_FULL'])
    assert.equal(describePartition(shard).lastStableOffset, 0)
    assert.equal(shard.produce(makeBatch()).error, 'DISK_FULL', 'until the probe has looked again')
    assert.deepEqual(writeMarkers(shard, marker({ isCommit: false })), ['NONE'])
    assert.deepEqual(fetchCommitted(shard, 0)!.aborted, [{ producerId: PRODUCER, firstOffset: 0 }])
    assert.equal(describePartition(shard).lastStableOffset, 2)
  })
})

describe('after a restart', () => {
  test('in the middle of a transaction the last stable offset stands where it stood, and the marker ends it', () => {
    const files = new MemoryFileSystem()
    const before = new ShardFixture({ files })
    before.open()
    before.produce(makeBatch())
    begin(before, { records: 2 })
    before.produce(makeBatch())
    const shard = restart(files.crash(new SeededPrng(1)))
    const { highWatermark, lastStableOffset } = describePartition(shard)
    assert.deepEqual([highWatermark, lastStableOffset], [4, 1])
    assert.deepEqual(delivered(fetchCommitted(shard, 0)), [0])
    assert.equal(shard.produce(transactional({ sequence: 2 })).error, 'NONE', 'it is open: no registration is needed')
    assert.deepEqual(writeMarkers(shard, marker({ isCommit: false })), ['NONE'])
    const part = fetchCommitted(shard, 0)!
    assert.deepEqual(part.aborted, [{ producerId: PRODUCER, firstOffset: 1 }])
    assert.deepEqual(delivered(part), [0, 3])
  })

  test('what was aborted before it is told, and a marker that was written is recognised', () => {
    const files = new MemoryFileSystem()
    const before = new ShardFixture({ files })
    before.open()
    begin(before)
    writeMarkers(before, marker({ isCommit: false }))
    before.produce(makeBatch())
    const shard = restart(files.crash(new SeededPrng(1)))
    assert.deepEqual(fetchCommitted(shard, 0)!.aborted, [{ producerId: PRODUCER, firstOffset: 0 }])
    assert.deepEqual(delivered(fetchCommitted(shard, 0)), [2])
    assert.deepEqual(writeMarkers(shard, marker({ isCommit: false })), ['NONE'])
    assert.equal(describePartition(shard).logEndOffset, 3)
    assert.equal(shard.produce(transactional()).error, 'INVALID_PRODUCER_EPOCH')
  })

  test('idle partitions are registered without a look into their files; an epoch that is fenced there is found out later', () => {
    const files = new MemoryFileSystem()
    const before = new ShardFixture({ files })
    before.open()
    begin(before)
    writeMarkers(before, marker({ isCommit: true }))
    assert.equal(before.control(ControlOperation.SHUTDOWN, {}).error, 'NONE')
    const crashed = files.crash(new SeededPrng(1))
    const faulty = new FaultyFileSystem(crashed)
    const shard = restart(crashed, faulty)
    faulty.inject({ on: 'open', times: Number.POSITIVE_INFINITY, effect: { kind: 'fail', code: 'EMFILE' } })
    register(shard, { epoch: 0 })
    register(shard, { id: 8, epoch: 4 })
    assert.equal(faulty.faultCount, 0)
    faulty.heal()
    assert.equal(shard.produce(transactional()).error, 'INVALID_PRODUCER_EPOCH')
    assert.equal(shard.produce(transactional({ epoch: 1 })).error, 'INVALID_TXN_STATE')
    assert.equal(shard.produce(transactional({ producerId: 8, epoch: 4 })).error, 'NONE')
    register(shard, { epoch: 1 })
    assert.equal(shard.produce(transactional({ epoch: 1 })).error, 'NONE')
  })

  test('a marker that finds no descriptor to look up the aborted ones is refused, and written when it comes again', () => {
    const files = new MemoryFileSystem()
    const before = new ShardFixture({ files })
    before.open()
    begin(before)
    writeMarkers(before, marker({ isCommit: false }))
    begin(before, { epoch: 1 })
    assert.equal(before.control(ControlOperation.SHUTDOWN, {}).error, 'NONE')
    const crashed = files.crash(new SeededPrng(1))
    const faulty = new FaultyFileSystem(crashed)
    const shard = restart(crashed, faulty)
    faulty.inject({ on: 'open', path: '.txnindex', effect: { kind: 'fail', code: 'EMFILE' } })
    const second = marker({ isCommit: false, producerEpoch: 2 })
    assert.deepEqual(writeMarkers(shard, second), ['OVERLOADED'])
    assert.equal(describePartition(shard).logEndOffset, 3)
    assert.deepEqual(writeMarkers(shard, second), ['NONE'])
    assert.deepEqual(fetchCommitted(shard, 0)!.aborted.length, 2)
  })
})
