/** A shard and its disk: groups, journal, checkpoints, a disk that fails or is full, and what the next start finds. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { SeededPrng } from '../../src/base/prng.ts'
import { FaultyFileSystem } from '../../src/io/faulty-file-system.ts'
import { MemoryFileSystem } from '../../src/io/memory-file-system.ts'
import { recoverDataDir } from '../../src/log/data-dir-recovery.ts'
import { segmentFileName } from '../../src/log/segment.ts'
import { partitionFolder } from '../../src/model/ids.ts'
import { ControlOperation, type DescribePartitionAnswer, type ShardStats } from '../../src/ring/control-messages.ts'
import { DATA_DIR, makeBatch, TOPIC, topicConfig } from '../support/log-fixture.ts'
import { batchesOf, type FetchAnswer, ShardFixture } from '../support/shard-fixture.ts'

const ALL_PARTITIONS = 100

/** The fixture of the next start, on what `files` hold. */
function restart(files: MemoryFileSystem, previousRun: 'clean' | 'machine-died', count: number): ShardFixture {
  const { results } = recoverDataDir(files, { dataDir: DATA_DIR, incarnation: 2, previousRun })
  const byFolder = new Map(
    results.map((result) => [partitionFolder(result.bounds.topicId, result.bounds.partition), result]),
  )
  const shard = new ShardFixture({ files, shard: { incarnation: 2 } })
  const opened = shard.open(
    count,
    {},
    (partition) => byFolder.get(partitionFolder(TOPIC, partition))?.recovered ?? null,
  )
  assert.deepEqual((opened as { body: unknown }).body, { failed: [] })
  return shard
}

function describePartition(shard: ShardFixture, partitionRef = 0): DescribePartitionAnswer {
  return shard.control(ControlOperation.DESCRIBE_PARTITION, { partitionRef }).body as DescribePartitionAnswer
}

describe('durability', () => {
  test('a wide group goes through the journal: few syncs, and a power cut loses nothing acknowledged', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open(ALL_PARTITIONS)
    const ids = Array.from({ length: ALL_PARTITIONS }, (_, partitionRef) =>
      shard.sendProduce(makeBatch({ records: 2, timestampMs: partitionRef }), { partitionRef }),
    )
    shard.settle()
    for (const id of ids) assert.equal((shard.answer(id) as { error: string }).error, 'NONE')
    const stats = shard.control(ControlOperation.STATS, {}).body as ShardStats
    assert.ok(stats.syncs <= 2, `${stats.syncs} syncs for one wide group`)
    assert.ok(stats.journalBytes > 0)
    const after = restart(files.crash(new SeededPrng(7)), 'machine-died', ALL_PARTITIONS)
    for (let ref = 0; ref < ALL_PARTITIONS; ref++) {
      const [part] = after.fetch([{ ref, offset: 0 }]).partitions
      assert.deepEqual(batchesOf(part!.bytes), [[0, 2]])
    }
  })

  test('where nothing was recovered and segments lie, nothing new is begun: what is there stays, and is named', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open(1)
    shard.sendProduce(makeBatch({ records: 2, timestampMs: 1 }), { partitionRef: 0 })
    shard.settle()
    const after = new ShardFixture({ files, shard: { incarnation: 2 } })
    const opened = after.open(1) as { body: { failed: { reason: string }[] } }
    assert.match(opened.body.failed[0]!.reason, /holds 0+\.log of an earlier replica, and was not recovered/)
    const answer = after.sendProduce(makeBatch({ records: 1, timestampMs: 2 }), { partitionRef: 0 })
    after.settle()
    assert.notEqual((after.answer(answer) as { error: string }).error, 'NONE')
    const { results } = recoverDataDir(files, { dataDir: DATA_DIR, incarnation: 3, previousRun: 'machine-died' })
    assert.equal((results[0]!.recovered as { logEndOffset: number }).logEndOffset, 2)
  })

  test('a narrow group after a wide one is durable too, whichever way each went', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const files = new MemoryFileSystem()
      const shard = new ShardFixture({ files })
      const prng = new SeededPrng(seed)
      shard.open(12)
      const acknowledged = new Array<number>(12).fill(0)
      const open = new Map<number, number>()
      for (let round = 0; round < 60; round++) {
        for (let count = prng.below(8); count > 0; count--) {
          const ref = prng.below(12)
          open.set(shard.sendProduce(makeBatch(), { partitionRef: ref }), ref)
        }
        if (prng.below(20) === 0) shard.sendControl(ControlOperation.CHECKPOINT, {})
        // Each at its own pace: groups are written while others sync.
        for (let turn = prng.below(8); turn > 0; turn--) (prng.below(2) === 0 ? shard.shard : shard.disk).doWork()
        shard.drain()
        for (const [id, ref] of open) {
          const answer = shard.peek(id)
          if (answer?.kind !== 'produce') continue
          assert.equal(answer.error, 'NONE')
          acknowledged[ref] = Math.max(acknowledged[ref]!, answer.baseOffset + 1)
          open.delete(id)
        }
      }
      const after = restart(files.crash(prng), 'machine-died', 12)
      for (let ref = 0; ref < 12; ref++)
        assert.ok(describePartition(after, ref).logEndOffset >= acknowledged[ref]!, `seed ${seed}, partition ${ref}`)
    }
  })

  test('a topic that changes from interval to group: what is acknowledged then needs what was not synced before', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open(12, { fsync: 'interval', flushMs: 60_000 })
    const produceToAll = () =>
      Array.from({ length: 12 }, (_, partitionRef) => shard.sendProduce(makeBatch(), { partitionRef }))
    produceToAll()
    shard.settle()
    for (let partitionRef = 0; partitionRef < 12; partitionRef++)
      shard.control(ControlOperation.UPDATE_CONFIG, { partitionRef, config: topicConfig({ fsync: 'group' }) })
    for (const id of produceToAll()) assert.equal((shard.answer(id) as { error: string }).error, 'NONE')
    const after = restart(files.crash(new SeededPrng(1), { kind: 'power', survival: 'none' }), 'machine-died', 12)
    for (let ref = 0; ref < 12; ref++) assert.equal(describePartition(after, ref).logEndOffset, 2)
  })

  test('a topic that changes from group to interval: what the journal does not have is not said to be synced', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open(12)
    const narrow = shard.sendProduce(makeBatch(), { partitionRef: 11 })
    for (let turn = 0; turn < 3; turn++) shard.shard.doWork()
    const wide = Array.from({ length: 11 }, (_, partitionRef) => shard.sendProduce(makeBatch(), { partitionRef }))
    shard.shard.doWork()
    const config = topicConfig({ fsync: 'interval', flushMs: 60_000 })
    shard.sendControl(ControlOperation.UPDATE_CONFIG, { partitionRef: 0, config })
    const unsynced = shard.sendProduce(makeBatch())
    for (const id of [narrow, ...wide, unsynced]) assert.equal((shard.answer(id) as { error: string }).error, 'NONE')
    assert.equal(describePartition(shard).syncedEndOffset, 1)
    const after = restart(files.crash(new SeededPrng(1), { kind: 'power', survival: 'none' }), 'machine-died', 12)
    assert.equal(describePartition(after).logEndOffset, 1)
  })

  test('a power cut before the first checkpoint: unsynced batches that came out of order are cut, not called damage', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    const batchBytes = makeBatch().length
    shard.open(1)
    assert.equal(shard.produce(makeBatch()).error, 'NONE')
    const config = topicConfig({ fsync: 'interval', flushMs: 60_000 })
    shard.control(ControlOperation.UPDATE_CONFIG, { partitionRef: 0, config })
    for (let count = 0; count < 3; count++) shard.produce(makeBatch())
    assert.equal(describePartition(shard).syncedEndOffset, 1)
    // All reached the device but the first of those that were not synced.
    const after = files.crash(new SeededPrng(1), { kind: 'kill' })
    const [log] = after.filePaths().filter((path) => path.endsWith('.log'))
    after.damage(log!, batchBytes, new Uint8Array(batchBytes))
    const restarted = restart(after, 'machine-died', 1)
    assert.equal(describePartition(restarted).logEndOffset, 1)
    assert.equal(restarted.produce(makeBatch()).baseOffset, 1)
    assert.equal(after.filePaths().filter((path) => path.includes('/quarantine/')).length, 1, 'a copy is kept')
  })

  test('a partition that went offline keeps what only the journal holds of it', () => {
    const files = new MemoryFileSystem()
    const faulty = new FaultyFileSystem(files)
    const shard = new ShardFixture({ files: faulty })
    shard.open(12)
    const ids = Array.from({ length: 12 }, (_, partitionRef) => shard.sendProduce(makeBatch(), { partitionRef }))
    for (const id of ids) assert.equal((shard.answer(id) as { error: string }).error, 'NONE')
    faulty.inject({ on: 'read', path: '.log', effect: { kind: 'fail', code: 'EIO' } })
    assert.equal(shard.fetch([{ ref: 5, offset: 0 }]).partitions[0]!.error, 'KAFKA_STORAGE_ERROR')
    assert.ok(shard.notices.some(({ kind }) => kind === 'partition-offline'))
    assert.equal(shard.control(ControlOperation.CHECKPOINT, {}).error, 'NONE')
    const after = restart(files.crash(new SeededPrng(1), { kind: 'power', survival: 'none' }), 'machine-died', 12)
    for (let ref = 0; ref < 12; ref++) assert.equal(describePartition(after, ref).logEndOffset, 1)
  })

  test('a failed fdatasync ends the shard: no acknowledgement, reads and writes refused, never synced again', () => {
    const files = new FaultyFileSystem(new MemoryFileSystem())
    const shard = new ShardFixture({ files })
    shard.open(2)
    assert.equal(shard.produce(makeBatch()).error, 'NONE')
    files.inject({ on: 'fdatasync', effect: { kind: 'fail', code: 'EIO' } })
    const failed = shard.produce(makeBatch())
    assert.equal(failed.error, 'KAFKA_STORAGE_ERROR')
    assert.match(failed.text, /EIO/)
    assert.equal(shard.produce(makeBatch(), { partitionRef: 1 }).error, 'KAFKA_STORAGE_ERROR', 'the whole shard')
    assert.equal(shard.fetch([{ offset: 0 }]).partitions[0]!.error, 'KAFKA_STORAGE_ERROR')
    assert.ok(shard.notices.some((notice) => notice.kind === 'shard-failed' && notice.storage))
    const { syncs } = shard.control(ControlOperation.STATS, {}).body as ShardStats
    shard.pass(60_000)
    assert.equal((shard.control(ControlOperation.STATS, {}).body as ShardStats).syncs, syncs)
    assert.ok(shard.shard.deadlineMs() > shard.clock.monotonicMs(), 'a failed shard sleeps')
  })

  test('a failed write ends the shard', () => {
    const files = new FaultyFileSystem(new MemoryFileSystem())
    const shard = new ShardFixture({ files })
    shard.open()
    shard.produce(makeBatch())
    files.inject({ on: 'write', path: '.log', effect: { kind: 'fail', code: 'EIO' } })
    assert.equal(shard.produce(makeBatch()).error, 'KAFKA_STORAGE_ERROR')
    assert.ok(shard.notices.some((notice) => notice.kind === 'shard-failed'))
  })

  test('a write that fails in the middle of a turn: every produce of the turn is refused, the stop says that it is not clean', () => {
    const files = new FaultyFileSystem(new MemoryFileSystem())
    const shard = new ShardFixture({ files })
    shard.open(3, { fsync: 'interval' })
    for (const partitionRef of [0, 1, 2]) shard.produce(makeBatch(), { partitionRef })
    files.inject({ on: 'write', path: `${TOPIC}-1`, effect: { kind: 'fail', code: 'EIO' } })
    const ids = [0, 1, 2].map((partitionRef) => shard.sendProduce(makeBatch(), { partitionRef, acks: 1 }))
    shard.settle()
    assert.deepEqual(
      ids.map((id) => (shard.answer(id) as { error: string }).error),
      ['KAFKA_STORAGE_ERROR', 'KAFKA_STORAGE_ERROR', 'KAFKA_STORAGE_ERROR'],
    )
    assert.equal(shard.control(ControlOperation.SHUTDOWN, {}).error, 'KAFKA_STORAGE_ERROR')
    assert.ok(shard.shard.isDone)
  })

  test('produce after the last checkpoint is refused, not lost', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open()
    shard.produce(makeBatch())
    const stop = shard.sendControl(ControlOperation.SHUTDOWN, {})
    const late: number[] = []
    for (let turn = 0; turn < 10 && !shard.shard.isDone; turn++) {
      late.push(shard.sendProduce(makeBatch()))
      shard.agents.turn()
      shard.drain()
    }
    shard.settle()
    assert.equal((shard.answer(stop) as { error: string }).error, 'NONE')
    const taken = late.filter((id) => (shard.peek(id) as { error: string } | undefined)?.error === 'NONE').length
    const after = restart(files.crash(new SeededPrng(4)), 'clean', 1)
    assert.equal(describePartition(after).logEndOffset, 1 + taken)
  })

  test('an idle shard writes no checkpoints', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open()
    shard.produce(makeBatch({ timestampMs: shard.clock.ms }))
    shard.pass(10_000)
    const { syncs } = shard.control(ControlOperation.STATS, {}).body as ShardStats
    for (let round = 0; round < 5; round++) shard.pass(10_000)
    assert.equal((shard.control(ControlOperation.STATS, {}).body as ShardStats).syncs, syncs)
  })

  test('a full disk refuses produce, not fetch, and takes produce again by itself', () => {
    const files = new FaultyFileSystem(new MemoryFileSystem({ capacityBytes: 2 ** 40 }))
    const shard = new ShardFixture({ files })
    shard.open()
    shard.produce(makeBatch())
    files.inject({ on: 'write', path: '.log', effect: { kind: 'fail', code: 'ENOSPC' } })
    assert.equal(shard.produce(makeBatch()).error, 'DISK_FULL')
    assert.equal(shard.produce(makeBatch()).error, 'DISK_FULL', 'until the probe has looked again')
    assert.deepEqual(batchesOf(shard.fetch([{ offset: 0 }]).partitions[0]!.bytes), [[0, 1]])
    shard.pass(1_000)
    assert.equal(shard.produce(makeBatch()).baseOffset, 1)
    assert.deepEqual(
      shard.notices
        .filter((notice) => notice.kind === 'disk-low')
        .map((notice) => notice.kind === 'disk-low' && notice.low),
      [true, false],
    )
  })

  test('a checkpoint that finds no space in the middle is given up, and what it had begun to sync can be synced again', () => {
    const files = new FaultyFileSystem(new MemoryFileSystem({ capacityBytes: 2 ** 40 }))
    const shard = new ShardFixture({ files })
    shard.open(3)
    for (let partitionRef = 0; partitionRef < 3; partitionRef++) shard.produce(makeBatch(), { partitionRef })
    files.inject({
      ...{ on: 'write', path: `${partitionFolder(TOPIC, 1)}/leader-epochs` },
      effect: { kind: 'fail', code: 'ENOSPC' },
    })
    shard.pass(10_000)
    assert.ok(shard.notices.some((notice) => notice.kind === 'log' && /given up/.test(notice.text)))
    for (let partitionRef = 0; partitionRef < 3; partitionRef++)
      assert.equal(shard.produce(makeBatch(), { partitionRef }).baseOffset, 1)
    assert.equal(shard.control(ControlOperation.CHECKPOINT, {}).error, 'NONE')
  })

  test('low space is seen before the disk is full', () => {
    const shard = new ShardFixture({
      files: new MemoryFileSystem({ capacityBytes: 3 * 1024 * 1024 }),
      shard: { spaceLowBytes: 1024 * 1024, spaceProbeBytes: 64 * 1024, journalBytes: 0 },
    })
    shard.open(1, { maxMessageBytes: 200_000 })
    let taken = 0
    while (shard.produce(makeBatch({ valueBytes: 100_000 })).error === 'NONE' && taken < 100) taken++
    assert.ok(taken >= 15 && taken <= 25, `${taken} batches were taken`)
  })

  test('a clean stop and a start: offsets, producers and epochs go on', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open(2)
    shard.produce(makeBatch({ records: 3, producerId: 9, baseSequence: 0 }))
    const parked = shard.sendFetch([{ ref: 1, offset: 0 }], { waitMs: 10_000 })
    const stopped = shard.control(ControlOperation.SHUTDOWN, {})
    assert.equal(stopped.error, 'NONE')
    assert.ok(shard.answer(parked), 'who waits is answered')
    assert.ok(shard.shard.isDone && shard.disk.isDone)
    const after = restart(files.crash(new SeededPrng(3)), 'clean', 2)
    assert.equal(after.produce(makeBatch({ records: 3, producerId: 9, baseSequence: 0 })).baseOffset, 0, 'a duplicate')
    assert.equal(after.produce(makeBatch({ producerId: 9, baseSequence: 3 })).baseOffset, 3)
  })

  test('a log whose last epoch is newer than its leader is offline, the other partitions of the shard serve', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open(2)
    for (const partitionRef of [0, 1]) assert.equal(shard.produce(makeBatch(), { partitionRef }).error, 'NONE')
    // Killed before a checkpoint, so that the walk believes the batch; its epoch lies outside the checksum.
    files.damage(`${DATA_DIR}/${partitionFolder(TOPIC, 1)}/${segmentFileName(0, '.log')}`, 15, new Uint8Array([31]))
    const { results } = recoverDataDir(files, { dataDir: DATA_DIR, incarnation: 2, previousRun: 'process-died' })
    const after = new ShardFixture({ files, shard: { incarnation: 2 } })
    const recovered = new Map(results.map((result) => [result.bounds.partition, result.recovered]))
    const { body } = after.control(ControlOperation.OPEN_PARTITIONS, {
      partitions: [0, 1].map((partition) => ({
        ...{ partitionRef: partition, topicId: TOPIC, partition, leaderEpoch: 4, config: topicConfig({}) },
        recovered: recovered.get(partition) ?? null,
        replicas: null,
      })),
    })
    const reason = 'from offset 0 on its batches have leader epoch 31, its leader has 4'
    assert.deepEqual(body, { failed: [{ partitionRef: 1, reason }] })
    assert.equal(after.produce(makeBatch(), { partitionRef: 1 }).error, 'KAFKA_STORAGE_ERROR')
    assert.equal(after.produce(makeBatch(), { partitionRef: 0 }).baseOffset, 1)
  })
})

describe('control', () => {
  test('trim, and what is below it is gone', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open(1, { segmentBytes: 65_536 })
    for (let count = 0; count < 20; count++) shard.produce(makeBatch({ records: 2, valueBytes: 8_000 }))
    const before = describePartition(shard)
    assert.ok(before.segments > 3)
    assert.deepEqual(shard.control(ControlOperation.TRIM, { partitionRef: 0, beforeOffset: 31 }).body, {
      logStartOffset: 31,
    })
    assert.equal(shard.fetch([{ offset: 30 }]).partitions[0]!.error, 'OFFSET_OUT_OF_RANGE')
    assert.deepEqual(batchesOf(shard.fetch([{ offset: 31 }]).partitions[0]!.bytes)[0], [30, 32])
    assert.ok(describePartition(shard).segments < before.segments)
    assert.equal(files.filePaths().filter((path) => path.endsWith('.deleted')).length, 0)
    assert.equal(
      shard.control(ControlOperation.TRIM, { partitionRef: 0, beforeOffset: 41 }).error,
      'OFFSET_OUT_OF_RANGE',
    )
    const after = restart(files.crash(new SeededPrng(5)), 'machine-died', 1)
    assert.equal(describePartition(after).logStartOffset, 31)
  })

  test('offsets by time', () => {
    const shard = new ShardFixture()
    shard.open()
    for (let count = 0; count < 50; count++)
      shard.produce(makeBatch({ records: 3, timestampMs: [count * 30, count * 30 + 10, count * 30 + 20] }))
    const find = (timestampMs: number) =>
      (
        shard.control(ControlOperation.LIST_OFFSETS, { partitionRef: 0, timestampMs, isolation: 0 }).body as {
          offset: number
        }
      ).offset
    assert.deepEqual([-1, -2, -3, 0, 5, 10, 740, 1490, 1491].map(find), [150, 0, 149, 0, 1, 1, 74, 149, -1])
  })

  test('delete removes every file and frees the handle', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open()
    shard.produce(makeBatch())
    const parked = shard.sendFetch([{ offset: 1 }], { waitMs: 10_000 })
    assert.equal(shard.control(ControlOperation.DELETE_PARTITION, { partitionRef: 0 }).error, 'NONE')
    assert.equal((shard.answer(parked) as FetchAnswer).partitions[0]!.error, 'UNKNOWN_TOPIC_OR_PARTITION')
    shard.settle()
    assert.deepEqual(
      files.filePaths().filter((path) => path.includes(TOPIC)),
      [],
    )
    assert.equal(shard.produce(makeBatch()).error, 'UNKNOWN_TOPIC_OR_PARTITION')
    shard.open()
    assert.equal(shard.produce(makeBatch()).baseOffset, 0)
  })

  test('close hands a checkpointed folder back', () => {
    const shard = new ShardFixture()
    shard.open()
    shard.produce(makeBatch())
    assert.equal(shard.control(ControlOperation.CLOSE_PARTITION, { partitionRef: 0 }).error, 'NONE')
    assert.equal(shard.produce(makeBatch()).error, 'UNKNOWN_TOPIC_OR_PARTITION')
  })

  test('retention deletes whole segments', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open(1, { segmentBytes: 65_536, retentionBytes: 100_000 })
    for (let count = 0; count < 20; count++) shard.produce(makeBatch({ valueBytes: 16_000 }))
    shard.pass(31_000)
    shard.pass(11_000)
    const { bytes, logStartOffset } = describePartition(shard)
    assert.ok(bytes < 200_000 && logStartOffset > 0, `${bytes} bytes from ${logStartOffset}`)
    assert.equal(files.filePaths().filter((path) => path.endsWith('.log')).length, describePartition(shard).segments)
  })
})

describe('bounds', () => {
  test('cold bytes come by the disk thread, and equal what was written', () => {
    const shard = new ShardFixture({ shard: { residentBytes: 64 * 1024 }, channel: { pageCount: 64 } })
    shard.open(1, { segmentBytes: 262_144, maxMessageBytes: 300_000 })
    for (let count = 0; count < 100; count++) shard.produce(makeBatch({ valueBytes: count === 50 ? 250_000 : 20_000 }))
    let offset = 0
    while (offset < 100) {
      const batches = batchesOf(shard.fetch([{ offset }], { maxBytes: 100_000 }).partitions[0]!.bytes)
      assert.equal(batches[0]![0], offset)
      offset = batches.at(-1)![1]
    }
  })

  test('without a free page a fetch waits, and is served when pages come back', () => {
    const shard = new ShardFixture({ channel: { pageCount: 16 } })
    shard.open(1, { maxMessageBytes: 100_000 })
    for (let count = 0; count < 40; count++) shard.produce(makeBatch({ valueBytes: 15_000 }))
    shard.holdsPages = true
    const held: number[] = []
    let offset = 0
    for (;;) {
      const id = shard.sendFetch([{ offset }], { waitMs: 60_000, maxBytes: 50_000 })
      const answer = shard.answer(id)
      if (answer === undefined) {
        for (const page of held) shard.gateway.pages.release(page)
        shard.pass(2)
        const served = shard.answer(id)
        assert.ok(served?.kind === 'fetch' && served.partitions[0]!.bytes.length > 0)
        return
      }
      assert.ok(answer.kind === 'fetch')
      held.push(...answer.partitions[0]!.pages)
      offset = batchesOf(answer.partitions[0]!.bytes).at(-1)![1]
      assert.ok(offset < 40, 'the pages never ran out')
    }
  })

  test('a fetch that waits for nothing is answered though no page comes back', () => {
    const shard = new ShardFixture({ channel: { pageCount: 16 } })
    shard.open(1, { maxMessageBytes: 100_000 })
    for (let count = 0; count < 40; count++) shard.produce(makeBatch({ valueBytes: 15_000 }))
    shard.holdsPages = true
    let offset = 0
    for (;;) {
      const id = shard.sendFetch([{ offset }], { waitMs: 0, maxBytes: 50_000 })
      const answer = shard.answer(id)
      if (answer === undefined) {
        shard.pass(1_000)
        assert.equal(shard.peek(id)?.kind, 'fetch')
        return
      }
      assert.ok(answer.kind === 'fetch')
      offset = batchesOf(answer.partitions[0]!.bytes).at(-1)![1]
      assert.ok(offset < 40, 'the pages never ran out')
    }
  })

  test('a gateway that does not read: answers wait, requests are not taken, nothing is lost', () => {
    const shard = new ShardFixture({ channel: { replyRingBytes: 4096 } })
    shard.open()
    const ids = Array.from({ length: 200 }, () => shard.sendProduce(makeBatch()))
    for (let turn = 0; turn < 200; turn++) shard.agents.turn()
    ids.push(shard.sendProduce(makeBatch()))
    for (let turn = 0; turn < 200; turn++) shard.agents.turn()
    assert.ok(shard.gateway.requests.usedBytes() > 0, 'the last request lies where it is')
    shard.settle()
    assert.deepEqual(
      ids.map((id) => (shard.answer(id) as { baseOffset: number }).baseOffset),
      ids.map((_, index) => index),
    )
  })
})
