/** Replicas of one partition on several shards: what is acknowledged, followed, cut and elected. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { StorageError } from '../../src/io/file-system.ts'
import { runCompaction, type SeededCompactionTask } from '../../src/log/compaction-run.ts'
import { type PlainRecord, readRecords } from '../../src/record/batch-reader.ts'
import { NO_CODECS } from '../../src/record/compression.ts'
import { ControlOperation } from '../../src/ring/control-messages.ts'
import { Durability } from '../../src/ring/messages.ts'
import { SHARD_DEFAULTS } from '../../src/worker/shard-options.ts'
import { keyedBatch, tableOf } from '../support/compaction-fixture.ts'
import { makeBatch } from '../support/log-fixture.ts'
import { ReplicaFixture } from '../support/replica-fixture.ts'
import { batchesOf, type FetchAnswer } from '../support/shard-fixture.ts'

function started(options: ConstructorParameters<typeof ReplicaFixture>[0] = {}): ReplicaFixture {
  const cluster = new ReplicaFixture(options)
  cluster.elect(1)
  cluster.pump()
  return cluster
}

/** Has one node compact what it can, as the pool would. */
function compact(cluster: ReplicaFixture, nodeId: number): void {
  const { shard, files } = cluster.node(nodeId)
  const asked = () => shard.notices.filter((notice) => notice.kind === 'compact')
  for (let round = 0; round < 10 && asked().length === 0; round++) cluster.pass(SHARD_DEFAULTS.compactionCheckMs)
  const notice = asked()[0]
  assert.ok(notice?.kind === 'compact', 'no compaction was asked for')
  const task = notice.task as SeededCompactionTask
  const result = runCompaction(files, task, { codecs: NO_CODECS, seed: task.seed })
  shard.control(ControlOperation.COMPACTED, { partitionRef: 0, result, fault: null })
  for (let round = 0; round < 3; round++) shard.control(ControlOperation.CHECKPOINT, {})
}

function readAll(cluster: ReplicaFixture, nodeId: number): PlainRecord[] {
  const records: PlainRecord[] = []
  for (let offset = 0, round = 0; round < 1_000; round++) {
    const line = (cluster.answer(cluster.shard(nodeId).sendFetch([{ offset }]), nodeId) as FetchAnswer).partitions[0]
    if (line === undefined || line.bytes.length === 0) return records
    records.push(...readRecords(line.bytes, { fromOffset: offset }))
    offset = batchesOf(line.bytes).at(-1)![1]
  }
  return assert.fail('it does not end')
}

function inSyncOf(cluster: ReplicaFixture): number[] {
  return [...cluster.describe().inSync].sort()
}

describe('replication', () => {
  test("followers have the leader's bytes; acks all waits for their sync, and says so", () => {
    const cluster = started()
    const answer = cluster.produce(makeBatch({ records: 3 }))
    assert.deepEqual([answer.error, answer.baseOffset, answer.durability], ['NONE', 0, Durability.REPLICATED])
    cluster.assertEqualLogs()
    for (const nodeId of [1, 2, 3]) {
      const { role, logEndOffset, syncedEndOffset, highWatermark } = cluster.describe(nodeId)
      assert.equal(role, nodeId === 1 ? 'leader' : 'follower')
      assert.deepEqual([logEndOffset, syncedEndOffset, highWatermark], [3, 3, 3])
    }
    assert.deepEqual(
      cluster
        .describe(1)
        .remotes.map(({ nodeId, logEndOffset, syncedEndOffset, lagMs }) => [
          nodeId,
          logEndOffset,
          syncedEndOffset,
          lagMs,
        ]),
      [
        [2, 3, 3, 0],
        [3, 3, 3, 0],
      ],
    )
  })

  test('one in-sync follower is cut off: acks leader goes on, acks all waits until the set is smaller', () => {
    const cluster = started()
    cluster.cut(3)
    assert.equal(cluster.produce(makeBatch(), { acks: 1 }).error, 'NONE')
    const waiting = cluster.sendProduce(makeBatch())
    cluster.pump()
    assert.equal(cluster.shard().peek(waiting), undefined)
    assert.equal(cluster.describe(2).logEndOffset, 2, 'the other has it')
    assert.equal(cluster.describe(1).highWatermark, 0)
    for (let step = 0; step < 16; step++) cluster.pass(1_000)
    assert.equal(cluster.shard().peek(waiting)?.kind, 'produce')
    assert.deepEqual(cluster.wishesOf(1).at(-1), [1, 2])
    assert.deepEqual(inSyncOf(cluster), [1, 2])
    cluster.heal(3)
    cluster.pump()
    assert.deepEqual(inSyncOf(cluster), [1, 2, 3])
    cluster.assertEqualLogs()
  })

  test('a follower whose disk has no room for a write says so, and follows on once there is room', () => {
    const cluster = started()
    const { files } = cluster.node(2)
    const write = files.write.bind(files)
    let refused = 0
    files.write = (fd, buffers, position) => {
      if (refused++ > 0) return write(fd, buffers, position)
      throw new StorageError('ENOSPC', 'no room for one write')
    }
    cluster.sendProduce(makeBatch())
    cluster.pump()
    assert.ok(refused > 0)
    assert.equal(cluster.describe(2).logEndOffset, 0)
    for (let step = 0; step < 4; step++) cluster.pass(1_000)
    assert.equal(cluster.describe(2).logEndOffset, 1)
    cluster.assertEqualLogs()
  })

  test('a consumer reads no further than the high watermark, and nothing from a follower', () => {
    const cluster = started()
    cluster.produce(makeBatch())
    cluster.cut(2)
    cluster.sendProduce(makeBatch())
    cluster.pump()
    const [line] = cluster.shard().fetch([{ offset: 0 }]).partitions
    assert.deepEqual([line?.highWatermark, batchesOf(line!.bytes)], [1, [[0, 1]]])
    assert.equal(cluster.shard(3).fetch([{ offset: 0 }]).partitions[0]?.error, 'NOT_LEADER_OR_FOLLOWER')
    assert.equal(cluster.shard(3).produce(makeBatch()).error, 'NOT_LEADER_OR_FOLLOWER')
  })

  test('fsync: interval: written everywhere is enough', () => {
    const cluster = started({ config: { fsync: 'interval' } })
    const answer = cluster.produce(makeBatch())
    assert.deepEqual([answer.error, answer.durability], ['NONE', Durability.REPLICATED_WRITTEN])
    cluster.assertEqualLogs()
  })

  test('min.insync.replicas: fewer in sync refuses acks all', () => {
    const cluster = started({ config: { minInsyncReplicas: 2 } })
    assert.equal(cluster.produce(makeBatch()).error, 'NONE')
    cluster.cut(2)
    cluster.cut(3)
    cluster.setInSync([1])
    assert.equal(cluster.produce(makeBatch()).error, 'NOT_ENOUGH_REPLICAS')
    assert.equal(cluster.produce(makeBatch(), { acks: 1 }).error, 'NONE')
    assert.equal(cluster.describe().highWatermark, 1, 'it stands')
  })

  test('what is damaged on the way is not appended, and comes again', () => {
    const cluster = started()
    let damaged = 0
    cluster.onCarry = (bytes) => {
      if (bytes.length === 0 || damaged++ > 0) return bytes
      const changed = bytes.slice()
      changed[70]! ^= 1
      return changed
    }
    const waiting = cluster.sendProduce(makeBatch())
    cluster.pump()
    cluster.pump()
    assert.equal(cluster.shard().peek(waiting)?.kind, 'produce')
    assert.match([...cluster.node(2).faults, ...cluster.node(3).faults].join(), /CORRUPT_MESSAGE/)
    cluster.assertEqualLogs()
  })

  test('large logs and small frames: a follower that was away for long catches up', () => {
    const cluster = started({ config: { segmentBytes: 64 * 1024 } })
    cluster.cut(3)
    cluster.setInSync([1, 2])
    for (let count = 0; count < 60; count++) cluster.produce(makeBatch({ records: 5, valueBytes: 2_000 }))
    cluster.heal(3)
    cluster.pump()
    assert.deepEqual(inSyncOf(cluster), [1, 2, 3])
    assert.deepEqual(cluster.describe(3).logEndOffset, 300)
    cluster.assertEqualLogs()
  })
})

describe('leader changes', () => {
  test('the leader goes: what was acknowledged is at the new one, who waits is told, what nobody had goes', () => {
    const cluster = started()
    cluster.produce(makeBatch({ records: 2 }))
    cluster.cut(1)
    const lost = cluster.shard(1).sendProduce(makeBatch({ records: 4 }))
    const lostAcked = cluster.shard(1).produce(makeBatch(), { acks: 1 })
    assert.equal(lostAcked.error, 'NONE', 'it does not know yet')
    const parked = cluster.shard(1).sendFetch([{ offset: 2 }], { waitMs: 60_000 })
    cluster.elect(2, [2, 3])
    cluster.pump()
    assert.equal(cluster.produce(makeBatch({ records: 3 })).baseOffset, 2)
    cluster.heal(1)
    const refused = cluster.shard(1).answer(lost)
    assert.equal(refused?.kind === 'produce' && refused.error, 'NOT_LEADER_OR_FOLLOWER')
    const answered = cluster.shard(1).answer(parked)
    assert.equal(answered?.kind === 'fetch' && answered.partitions[0]?.error, 'NOT_LEADER_OR_FOLLOWER')
    cluster.pump()
    assert.equal(cluster.describe(1).logEndOffset, 5)
    cluster.assertEqualLogs()
    assert.deepEqual(inSyncOf(cluster), [1, 2, 3])
  })

  test('a follower tells nothing of what is synced before its history was compared: it may be about to be cut', () => {
    const cluster = started()
    cluster.produce(makeBatch())
    cluster.cut(1)
    cluster.shard(1).produce(makeBatch({ records: 4 }), { acks: 1 })
    cluster.elect(2, [2, 3])
    cluster.produce(makeBatch({ records: 4 }))
    cluster.heal(1)
    cluster.shard(1).settle()
    const rows = () => cluster.shard(1).synced.filter(({ leaderEpoch }) => leaderEpoch === 2)
    assert.deepEqual(rows(), [])
    cluster.pump()
    assert.equal(rows().at(-1)?.syncedEndOffset, 5)
    cluster.assertEqualLogs()
  })

  test('two quick changes (KIP-279): each replica has a history of its own, and all end as the last leader', () => {
    const cluster = started()
    cluster.produce(makeBatch())
    // Node 1 writes alone under epoch 1, node 2 alone under epoch 2.
    cluster.cut(1)
    cluster.shard(1).produce(makeBatch({ records: 4 }), { acks: 1 })
    cluster.elect(2, [2, 3])
    cluster.cut(2)
    cluster.shard(2).produce(makeBatch({ records: 2 }), { acks: 1 })
    cluster.shard(2).produce(makeBatch({ records: 5 }), { acks: 1 })
    cluster.elect(3, [3])
    cluster.pump()
    cluster.produce(makeBatch({ records: 9 }))
    cluster.heal(1)
    cluster.heal(2)
    cluster.pump()
    for (const nodeId of [1, 2]) assert.equal(cluster.describe(nodeId).logEndOffset, 10)
    cluster.assertEqualLogs()
    // And once more, back to the first.
    cluster.elect(1)
    cluster.pump()
    assert.equal(cluster.produce(makeBatch()).baseOffset, 10)
    cluster.assertEqualLogs()
  })

  test('a follower that knows more to be safe than an unclean leader has is set aside, and begins anew from that leader', () => {
    const cluster = started()
    cluster.cut(3)
    cluster.setInSync([1, 2])
    cluster.produce(makeBatch({ records: 3 }))
    // Its next fetch tells node 2 the high watermark.
    cluster.produce(makeBatch({ records: 2 }))
    assert.equal(cluster.describe(2).highWatermark >= 3, true)
    const before = cluster.logOf(2)
    cluster.crash(1)
    cluster.node(3).isCut = false
    cluster.elect(3, [3])
    cluster.produce(makeBatch({ records: 1 }), { acks: 1 })
    const [offline] = cluster.shard(2).notices.filter((notice) => notice.kind === 'partition-offline')
    assert.ok(offline?.kind === 'partition-offline', 'it goes on asking, and never gets on')
    assert.match(offline.reason, /ends at offset 0: .* \[0, 5\) .* high watermark 5/)
    assert.match(offline.reason, /unclean\.leader\.election\.enable/)
    assert.deepEqual([cluster.describe(2).role, cluster.describe(2).logEndOffset], ['offline', 5], 'nothing is cut')
    const folder = cluster.setAside(2)
    cluster.pump()
    assert.ok(Buffer.from(before).equals(cluster.logOf(2, folder)), 'a copy stays')
    cluster.assertEqualLogs([2])
    assert.equal(cluster.produce(makeBatch({ records: 2 })).error, 'NONE')
    for (let step = 0; step < 4; step++) cluster.pass(1_000)
    assert.deepEqual(inSyncOf(cluster), [2, 3])
    // What its journal holds of the log that was set aside is no part of the new one.
    cluster.crash(2)
    cluster.start(2)
    for (let step = 0; step < 4; step++) cluster.pass(1_000)
    cluster.assertEqualLogs([2])
  })

  test('a new leader answers the latest offset once its high watermark has reached its epoch', () => {
    const cluster = started()
    cluster.produce(makeBatch({ records: 2 }))
    // The third hears of the high watermark no more.
    cluster.cut(1)
    cluster.shard(1).sendProduce(makeBatch())
    cluster.cut(2)
    cluster.elect(3, [2, 3])
    const latest = () =>
      cluster.shard(3).control(ControlOperation.LIST_OFFSETS, { partitionRef: 0, timestampMs: -1, isolation: 0 })
    cluster.pump()
    const before = cluster.describe(3)
    assert.equal(latest().error, before.highWatermark >= 2 ? 'NONE' : 'OFFSET_NOT_AVAILABLE')
    cluster.heal(2)
    cluster.pump()
    assert.equal(latest().error, 'NONE')
  })

  test('a follower with a torn tail starts again: cut by recovery, fetched anew, in sync under its new incarnation', () => {
    for (let seed = 1; seed <= 6; seed++) {
      const cluster = started()
      for (let count = 0; count < 5; count++) cluster.produce(makeBatch({ records: 2 }))
      cluster.sendProduce(makeBatch({ records: 7 }))
      cluster.node(2).shard.disk.doWork = () => 0
      cluster.pump()
      cluster.crash(2, 'power', seed)
      cluster.setInSync([1, 3])
      cluster.pump()
      assert.equal(cluster.describe().highWatermark, 17)
      cluster.start(2)
      cluster.pump()
      assert.deepEqual(inSyncOf(cluster), [1, 2, 3])
      cluster.assertEqualLogs()
    }
  })

  test('a leader that lost its unsynced tail in a power cut comes back as a follower', () => {
    const cluster = started()
    cluster.produce(makeBatch({ records: 2 }))
    cluster.sendProduce(makeBatch({ records: 3 }))
    cluster.cut(1)
    cluster.shard(1).settle()
    cluster.crash(1)
    cluster.elect(2, [2, 3])
    cluster.produce(makeBatch({ records: 4 }))
    cluster.node(1).isCut = false
    cluster.start(1)
    cluster.pump()
    cluster.assertEqualLogs()
    assert.deepEqual(inSyncOf(cluster), [1, 2, 3])
  })

  test('a diverged follower may be cut while the power goes at any step: it is never taken for damaged', () => {
    for (let steps = 0; steps < 40; steps++) {
      const cluster = started()
      cluster.produce(makeBatch({ records: 2 }))
      cluster.cut(1)
      for (let count = 0; count < 3; count++) cluster.shard(1).produce(makeBatch({ records: 4 }), { acks: 1 })
      cluster.shard(1).control(ControlOperation.CHECKPOINT, {})
      cluster.elect(2, [2, 3])
      cluster.produce(makeBatch({ records: 3 }))
      cluster.heal(1)
      const { shard, disk } = cluster.node(1).shard
      const target = cluster.node(1).shard
      const requestId = target.sendReplicaAppend(
        { ...{ partitionRef: 0, leaderEpoch: 2, divergingEpoch: 1, divergingEndOffset: 2 }, highWatermark: 2 },
        new Uint8Array(0),
      )
      for (let step = 0; step < steps; step++) (step % 2 === 0 ? shard : disk).doWork()
      cluster.crash(1, 'power', steps + 1)
      void requestId
      cluster.start(1)
      cluster.pump()
      cluster.assertEqualLogs()
    }
  })
})

describe('the rest of a log', () => {
  test("the log start follows the leader's; one that lies below it begins anew there", () => {
    const cluster = started({ config: { segmentBytes: 2_000 } })
    for (let count = 0; count < 10; count++) cluster.produce(makeBatch({ records: 2, valueBytes: 300 }))
    cluster.cut(3)
    cluster.setInSync([1, 2])
    for (let count = 0; count < 10; count++) cluster.produce(makeBatch({ records: 2, valueBytes: 300 }))
    assert.equal(cluster.shard().control(ControlOperation.TRIM, { partitionRef: 0, beforeOffset: 30 }).error, 'NONE')
    cluster.produce(makeBatch())
    assert.equal(cluster.describe(2).logStartOffset, 30)
    cluster.heal(3)
    cluster.pump()
    assert.deepEqual([cluster.describe(3).logStartOffset, cluster.describe(3).logEndOffset], [30, 41])
    assert.deepEqual(inSyncOf(cluster), [1, 2, 3])
    cluster.produce(makeBatch())
    // It leads as well as any other.
    cluster.elect(3)
    assert.equal(cluster.produce(makeBatch()).baseOffset, 42)
    const [line] = cluster.shard(3).fetch([{ offset: 41 }]).partitions
    assert.deepEqual(batchesOf(line!.bytes), [
      [41, 42],
      [42, 43],
    ])
    cluster.crash(3)
    cluster.elect(1, [1, 2])
    cluster.start(3)
    cluster.pump()
    assert.deepEqual([cluster.describe(3).logStartOffset, cluster.describe(3).logEndOffset], [30, 43])
  })

  for (const rounds of [Number.POSITIVE_INFINITY, ...Array.from({ length: 24 }, (_, count) => count)])
    test(`a log start in the middle of a batch: who begins there holds that batch; power cut after ${rounds} rounds`, () => {
      const cluster = started({ config: { segmentBytes: 2_000 } })
      for (let count = 0; count < 10; count++) cluster.produce(makeBatch({ records: 2, valueBytes: 300 }))
      cluster.cut(3)
      cluster.setInSync([1, 2])
      for (let count = 0; count < 10; count++) cluster.produce(makeBatch({ records: 2, valueBytes: 300 }))
      assert.equal(cluster.shard().control(ControlOperation.TRIM, { partitionRef: 0, beforeOffset: 31 }).error, 'NONE')
      cluster.produce(makeBatch())
      cluster.heal(3)
      if (rounds === Number.POSITIVE_INFINITY) cluster.pump()
      else {
        for (let round = 0; round < rounds; round++) {
          for (const node of cluster.nodes) cluster.carry(node)
          for (const nodeId of [1, 2, 3]) {
            cluster.shard(nodeId).shard.doWork()
            cluster.shard(nodeId).disk.doWork()
          }
        }
        cluster.crash(3, 'power', rounds + 1)
        cluster.start(3)
        cluster.pump()
      }
      assert.deepEqual([cluster.describe(3).logStartOffset, cluster.describe(3).logEndOffset], [31, 41])
      assert.deepEqual(inSyncOf(cluster), [1, 2, 3])
      const own = Buffer.from(cluster.logOf(3))
      assert.ok(own.equals(Buffer.from(cluster.logOf(1)).subarray(-own.length)), "the leader's bytes")
      assert.equal(batchesOf(own)[0]?.[0], 30)
      cluster.elect(3)
      cluster.produce(makeBatch())
      cluster.crash(3)
      cluster.elect(1, [1, 2])
      cluster.start(3)
      cluster.pump()
      assert.deepEqual([cluster.describe(3).logStartOffset, cluster.describe(3).logEndOffset], [31, 42])
    })

  test('a leader that compacts: who was away begins behind, or within a filler, and ends with what every other reader sees', () => {
    const config = {
      ...{ cleanupPolicy: 'compact' as const, minCleanableDirtyRatio: 0.01, segmentBytes: 4_000, retentionMs: -1 },
    }
    for (const seen of [0, 1, 7, 50]) {
      const cluster = started({ config })
      const produce = (round: number) => {
        const records = Array.from({ length: 5 }, (_, key) => ({ key: `k${key}`, value: `${round}`.repeat(20) }))
        return cluster.produce(keyedBatch(records.map((record) => ({ ...record, timestampMs: cluster.clock.ms }))))
      }
      let round = 0
      while (round < seen) produce(round++)
      cluster.cut(3)
      cluster.setInSync([1, 2])
      while (round < 120) produce(round++)
      compact(cluster, 1)
      const { bytes } = cluster.describe(1)
      assert.ok(bytes < 0.5 * cluster.describe(2).bytes, 'the leader has compacted, the follower not')
      cluster.heal(3)
      cluster.pump()
      assert.deepEqual(cluster.describe(3).logEndOffset, 600)
      assert.deepEqual(inSyncOf(cluster), [1, 2, 3])
      produce(round++)
      const wanted = tableOf(readAll(cluster, 1))
      assert.equal(wanted.size, 5)
      for (const nodeId of [2, 3]) {
        cluster.elect(nodeId)
        cluster.pump()
        assert.deepEqual(tableOf(readAll(cluster, nodeId)), wanted)
      }
      // What it took over is a log that recovery believes.
      cluster.crash(3, 'kill')
      cluster.elect(1, [1, 2])
      cluster.start(3, 'process-died')
      cluster.pump()
      assert.equal(cluster.describe(3).logEndOffset, 605)
    }
  })

  test('a retried batch is a duplicate at the new leader', () => {
    const cluster = started()
    const batch = (baseSequence: number) => makeBatch({ records: 2, producerId: 9, producerEpoch: 0, baseSequence })
    for (let sequence = 0; sequence < 12; sequence += 2) cluster.produce(batch(sequence))
    cluster.crash(1)
    cluster.elect(2, [2, 3])
    cluster.pump()
    assert.deepEqual([cluster.produce(batch(10)).baseOffset, cluster.produce(batch(8)).baseOffset], [10, 8])
    assert.equal(cluster.produce(batch(14)).error, 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    assert.equal(cluster.produce(batch(12)).baseOffset, 12)
    assert.equal(cluster.describe().logEndOffset, 14)
  })

  test('while the lease may be over acks leader and none are refused, acks all goes on', () => {
    const cluster = started()
    cluster.cut(2)
    const waiting = cluster.sendProduce(makeBatch())
    cluster.pump()
    const suspend = (isSuspended: boolean) =>
      assert.equal(cluster.shard().control(ControlOperation.SUSPEND_LEADER_ACKS, { isSuspended }).error, 'NONE')
    suspend(true)
    assert.equal(cluster.produce(makeBatch(), { acks: 1 }).error, 'NOT_LEADER_OR_FOLLOWER')
    cluster.heal(2)
    cluster.pump()
    assert.equal(cluster.shard().peek(waiting)?.kind, 'produce')
    assert.equal(cluster.produce(makeBatch()).error, 'NONE')
    suspend(false)
    assert.equal(cluster.produce(makeBatch(), { acks: 1 }).error, 'NONE')
  })

  test('a leader that may have a successor sends readers at its end away, and gives them what it has', () => {
    const cluster = started()
    cluster.produce(makeBatch())
    cluster.produce(makeBatch())
    const suspend = (isSuspended: boolean) =>
      cluster.shard(1).control(ControlOperation.SUSPEND_LEADER_ACKS, { isSuspended })
    const read = (offset: number, waitMs = 0) => cluster.shard(1).sendFetch([{ offset }], { waitMs, minBytes: 1 })
    const errorOf = (requestId: number) =>
      (cluster.shard(1).peek(requestId) as FetchAnswer | undefined)?.partitions[0]?.error
    suspend(true)
    // The store is away, its followers are not: they would have left for another leader.
    const waiting = read(2, 60_000)
    for (let step = 0; step < 10; step++) cluster.pass(1_000)
    assert.equal(errorOf(waiting), undefined)
    assert.equal(cluster.shard(1).fetch([{ offset: 9 }]).partitions[0]?.error, 'OFFSET_OUT_OF_RANGE')
    assert.equal(cluster.produce(makeBatch()).error, 'NONE')
    assert.equal(errorOf(waiting), 'NONE')
    const parked = read(3, 60_000)
    cluster.cut(2)
    for (let step = 0; step < 11; step++) cluster.pass(1_000)
    assert.equal(errorOf(parked), 'NOT_LEADER_OR_FOLLOWER', 'one of those in sync may lead by now')
    assert.equal(cluster.shard(1).fetch([{ offset: 3 }]).partitions[0]?.error, 'NOT_LEADER_OR_FOLLOWER')
    const past = cluster.shard(1).fetch([{ offset: 9 }]).partitions[0]?.error
    assert.equal(past, 'NOT_LEADER_OR_FOLLOWER', 'who asks for it has it from a successor')
    const [line] = cluster.shard(1).fetch([{ offset: 0 }]).partitions
    assert.deepEqual([line?.error, batchesOf(line!.bytes).length], ['NONE', 3], 'what it has is true all the same')
    suspend(false)
    const again = read(3, 60_000)
    cluster.pump()
    assert.equal(errorOf(again), undefined, 'its lease is good: nobody else was elected')
  })

  test('a leader that alone is in sync has no successor, whatever is said of its lease, unless others are eligible', () => {
    for (const [minInsyncReplicas, error] of [
      [1, undefined],
      [2, 'NOT_LEADER_OR_FOLLOWER'],
    ] as const) {
      const cluster = started({ config: { minInsyncReplicas } })
      cluster.cut(2)
      cluster.cut(3)
      cluster.setInSync([1])
      cluster.shard(1).control(ControlOperation.SUSPEND_LEADER_ACKS, { isSuspended: true })
      const waiting = cluster.shard(1).sendFetch([{ offset: 0 }], { waitMs: 60_000, minBytes: 1 })
      for (let step = 0; step < 11; step++) cluster.pass(1_000)
      assert.equal((cluster.shard(1).peek(waiting) as FetchAnswer | undefined)?.partitions[0]?.error, error)
    }
  })

  test('what waits for the leader alone when its lease ends is not acknowledged', () => {
    const cluster = started()
    const { disk } = cluster.node(1).shard
    const doWork = disk.doWork.bind(disk)
    disk.doWork = () => 0
    const waiting = cluster.sendProduce(makeBatch(), { acks: 1 })
    cluster.shard(1).control(ControlOperation.SUSPEND_LEADER_ACKS, { isSuspended: true })
    disk.doWork = doWork
    cluster.pump()
    const answer = cluster.shard(1).answer(waiting)
    assert.equal(answer?.kind === 'produce' && answer.error, 'NOT_LEADER_OR_FOLLOWER')
  })
})
