/** The order of a shard's turn, where a mistake loses records without a trace: ring space, duplicates, clocks, damage. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import { FaultyFileSystem } from '../../../src/io/faulty-file-system.ts'
import type { FileSystem } from '../../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { readCheckpoint } from '../../../src/log/checkpoint-file.ts'
import { recoverDataDir } from '../../../src/log/data-dir-recovery.ts'
import { readSyncedEnds } from '../../../src/log/synced-ends-file.ts'
import { partitionFolder } from '../../../src/model/ids.ts'
import { ControlOperation } from '../../../src/ring/control-messages.ts'
import { SHARD_DEFAULTS } from '../../../src/worker/shard-options.ts'
import { DATA_DIR, makeBatch, TOPIC } from '../../support/log-fixture.ts'
import { batchesOf, type ProduceAnswer, ShardFixture } from '../../support/shard-fixture.ts'

const CHECKPOINT = `${DATA_DIR}/state/1-0.checkpoint`
const HOUR_MS = 3_600_000

/** Calls `before` ahead of every write to a segment. */
function watchingWrites(files: MemoryFileSystem, before: () => void): FileSystem {
  const logs = new Set<number>()
  return new Proxy(files, {
    get(target, name) {
      const member = Reflect.get(target, name, target) as unknown
      if (typeof member !== 'function') return member
      return (...args: unknown[]) => {
        if (name === 'write' && logs.has(args[0] as number)) before()
        const result = member.apply(target, args) as unknown
        if (name === 'open' && String(args[0]).endsWith('.log')) logs.add(result as number)
        return result
      }
    },
  }) as FileSystem
}

/** Turns of the shard alone: the disk thread is busy elsewhere. */
function turnsWithoutDisk(shard: ShardFixture): void {
  for (let turn = 0; turn < 5; turn++) shard.shard.doWork()
  shard.drain()
}

describe('shard agent', () => {
  test('the ring keeps the bytes of a produce until they are in the file', () => {
    let shard: ShardFixture | undefined
    let writes = 0
    const batch = makeBatch({ valueBytes: 5_000 })
    const files = watchingWrites(new MemoryFileSystem(), () => {
      writes++
      const usedBytes = shard!.gateway.requests.usedBytes()
      assert.ok(usedBytes >= 3 * batch.length, `${usedBytes} bytes of the ring are in use during the write`)
    })
    shard = new ShardFixture({ files })
    shard.open()
    for (let count = 0; count < 3; count++) shard.sendProduce(batch)
    shard.settle()
    assert.equal(writes, 1, 'one vectored write a turn')
    assert.equal(shard.gateway.requests.usedBytes(), 0)
    const [part] = shard.fetch([{ offset: 0 }]).partitions
    assert.equal(batchesOf(part!.bytes).length, 3)
  })

  test('a fetch is answered before the appends that came before it are written', () => {
    let shard: ShardFixture | undefined
    let fetchId = 0
    let writes = 0
    const files = watchingWrites(new MemoryFileSystem(), () => {
      if (fetchId === 0) return
      writes++
      shard!.drain()
      assert.equal(shard!.peek(fetchId)?.kind, 'fetch', 'it waits neither in a ring nor for the end of the turn')
    })
    shard = new ShardFixture({ files, shard: { drainBytesMax: 16_000 } })
    shard.open()
    shard.produce(makeBatch({ valueBytes: 100 }))
    for (let count = 0; count < 10; count++) shard.sendProduce(makeBatch({ valueBytes: 10_000 }))
    fetchId = shard.sendFetch([{ offset: 0 }])
    shard.settle()
    assert.ok(writes > 1)
  })

  test('a duplicate is not answered before its first sending is synced', () => {
    const shard = new ShardFixture()
    shard.open()
    const first = shard.sendProduce(makeBatch({ records: 2, producerId: 9, baseSequence: 0 }))
    turnsWithoutDisk(shard)
    for (const acks of [-1, 1]) {
      const again = shard.sendProduce(makeBatch({ records: 2, producerId: 9, baseSequence: 0 }), { acks })
      turnsWithoutDisk(shard)
      assert.equal(shard.peek(first), undefined)
      assert.equal(shard.peek(again), undefined, `acks ${acks}: nothing is synced yet`)
    }
    shard.settle()
    for (const id of [first, first + 1, first + 2]) {
      const { error, baseOffset } = shard.answer(id) as ProduceAnswer
      assert.deepEqual([error, baseOffset], ['NONE', 0])
    }
  })

  test('a group that is written while another syncs is not acknowledged, nor seen, with it', () => {
    const shard = new ShardFixture()
    shard.open()
    const first = shard.sendProduce(makeBatch())
    turnsWithoutDisk(shard)
    const second = shard.sendProduce(makeBatch())
    turnsWithoutDisk(shard)
    shard.disk.doWork()
    const seen = shard.sendFetch([{ offset: 0 }])
    turnsWithoutDisk(shard)
    assert.equal((shard.peek(first) as ProduceAnswer | undefined)?.error, 'NONE')
    assert.equal(shard.peek(second), undefined)
    const fetched = shard.peek(seen)
    assert.ok(fetched?.kind === 'fetch')
    assert.equal(fetched.partitions[0]!.highWatermark, 1)
    assert.deepEqual(batchesOf(fetched.partitions[0]!.bytes), [[0, 1]])
    assert.equal((shard.answer(second) as ProduceAnswer).baseOffset, 1)
  })

  test('the lower bound of what was acknowledged is written after the sync and before the answer', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open(20)
    const synced = () => {
      const answer = readSyncedEnds(files, `${DATA_DIR}/state/1-0.synced`)
      assert.ok(answer.kind === 'present')
      return answer.ends.reduce((sum, { syncedEnd }) => sum + syncedEnd, 0)
    }
    for (const [count, before] of [
      [1, 0],
      [20, 1],
    ] as const) {
      const ids = Array.from({ length: count }, (_, partitionRef) => shard.sendProduce(makeBatch(), { partitionRef }))
      turnsWithoutDisk(shard)
      assert.equal(synced(), before, 'a bound that is not true yet makes sound partitions look damaged')
      for (let turn = 0; turn < 100 && ids.some((id) => shard.peek(id) === undefined); turn++) {
        shard.agents.turn()
        shard.drain()
      }
      for (const id of ids) assert.equal((shard.peek(id) as ProduceAnswer).error, 'NONE')
      assert.equal(synced(), before + count, 'answered: the bound says so')
    }
  })

  test('the wall clock may jump: no deadline moves', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open(2)
    const parked = shard.sendFetch([{ ref: 1, offset: 0 }], { waitMs: 900 })
    shard.settle()
    const late = shard.sendProduce(makeBatch(), { timeoutMs: 700 })
    turnsWithoutDisk(shard)
    for (const jumpMs of [HOUR_MS, -2 * HOUR_MS]) {
      shard.clock.jump(jumpMs)
      turnsWithoutDisk(shard)
      assert.equal(shard.peek(late), undefined, 'the produce has 700 ms')
      assert.equal(shard.peek(parked), undefined, 'the fetch has 900 ms')
    }
    shard.clock.ms += 700
    turnsWithoutDisk(shard)
    assert.equal((shard.peek(late) as ProduceAnswer | undefined)?.error, 'REQUEST_TIMED_OUT')
    shard.pass(200)
    assert.ok(shard.peek(parked) !== undefined)
    assert.equal(files.stat(CHECKPOINT).kind, 'absent')
    shard.pass(SHARD_DEFAULTS.checkpointMs)
    assert.equal(files.stat(CHECKPOINT).kind, 'file')
  })

  test('a trim is answered when no crash can undo it', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open()
    shard.produce(makeBatch({ records: 8 }))
    const id = shard.sendControl(ControlOperation.TRIM, { partitionRef: 0, beforeOffset: 5 })
    for (let turn = 0; turn < 100 && shard.peek(id) === undefined; turn++) {
      shard.agents.turn()
      shard.drain()
    }
    assert.ok(shard.peek(id) !== undefined)
    const cut = files.crash(new SeededPrng(1), { kind: 'power', survival: 'none' })
    const answer = readCheckpoint(cut, CHECKPOINT)
    assert.deepEqual(answer.kind === 'present' && answer.checkpoint.lines.map((line) => line.logStartOffset), [5])
  })

  test('a deleted partition does not come back from the journal', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open(20)
    for (let partitionRef = 0; partitionRef < 20; partitionRef++) shard.sendProduce(makeBatch(), { partitionRef })
    shard.settle()
    assert.equal(shard.control(ControlOperation.DELETE_PARTITION, { partitionRef: 7 }).error, 'NONE')
    shard.settle()
    const after = files.crash(new SeededPrng(1), { kind: 'kill' })
    const recovery = recoverDataDir(after, { dataDir: DATA_DIR, incarnation: 2, previousRun: 'process-died' })
    assert.ok(recovery.journals.entries > 0, 'the group went through the journal')
    const ends = new Map(
      recovery.results.map(({ bounds, recovered }) => [bounds.partition, recovered?.logEndOffset ?? 0]),
    )
    assert.deepEqual([ends.get(6), ends.get(7) ?? 0, ends.get(8)], [1, 0, 1])
    assert.equal(after.stat(`${DATA_DIR}/${partitionFolder(TOPIC, 7)}`).kind, 'absent')
  })

  test('a produce behind a delete that waits for the disk is refused, and the shard lives', () => {
    const shard = new ShardFixture()
    shard.open(2)
    const before = shard.sendProduce(makeBatch())
    shard.shard.doWork()
    const deleting = shard.sendControl(ControlOperation.DELETE_PARTITION, { partitionRef: 0 })
    turnsWithoutDisk(shard)
    assert.equal(shard.peek(deleting), undefined, 'its sync is under way')
    const behind = shard.sendProduce(makeBatch())
    turnsWithoutDisk(shard)
    assert.equal((shard.peek(behind) as ProduceAnswer | undefined)?.error, 'UNKNOWN_TOPIC_OR_PARTITION')
    shard.settle()
    assert.ok(shard.peek(before) !== undefined && shard.peek(deleting) !== undefined)
    assert.equal(shard.produce(makeBatch(), { partitionRef: 1 }).error, 'NONE')
  })

  test('a producer snapshot that cannot be read takes its partition offline, no other one, and not before it is needed', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    shard.open(2, { retentionMs: -1 })
    for (const partitionRef of [0, 1]) shard.produce(makeBatch({ producerId: 9, baseSequence: 0 }), { partitionRef })
    shard.pass(SHARD_DEFAULTS.checkpointMs)
    shard.pass(SHARD_DEFAULTS.checkpointMs)
    const folder = `${DATA_DIR}/${partitionFolder(TOPIC, 0)}`
    const path = files.filePaths().find((name) => name.startsWith(`${folder}/producer-state-`))
    assert.ok(path !== undefined)
    const fd = files.open(path, 'write')
    files.write(fd, [new Uint8Array([0xff])], 40)
    files.close(fd)
    shard.pass(SHARD_DEFAULTS.retentionCheckMs)
    assert.deepEqual(batchesOf(shard.fetch([{ offset: 0 }]).partitions[0]!.bytes), [[0, 1]])
    assert.equal(shard.produce(makeBatch({ producerId: 9, baseSequence: 1 })).error, 'KAFKA_STORAGE_ERROR')
    assert.deepEqual(
      shard.notices.filter(({ kind }) => kind.endsWith('offline') || kind === 'shard-failed').map(({ kind }) => kind),
      ['partition-offline'],
    )
    assert.equal(shard.produce(makeBatch({ producerId: 9, baseSequence: 1 }), { partitionRef: 1 }).baseOffset, 1)
  })

  test('at the limit of open files produce and fetch are refused, and served when there is room again', () => {
    const files = new FaultyFileSystem(new MemoryFileSystem())
    const shard = new ShardFixture({ files })
    shard.open(2)
    shard.produce(makeBatch())
    assert.equal(shard.control(ControlOperation.SHUTDOWN, {}).error, 'NONE')
    const { results } = recoverDataDir(files, { dataDir: DATA_DIR, incarnation: 2, previousRun: 'clean' })
    const after = new ShardFixture({ files, shard: { incarnation: 2 } })
    after.open(2, {}, (partition) => (partition === 0 ? results[0]!.recovered : null))
    const opensFail = () => files.inject({ on: 'open', path: '.log', effect: { kind: 'fail', code: 'EMFILE' } })
    opensFail()
    assert.equal(after.fetch([{ offset: 0 }]).partitions[0]!.error, 'OVERLOADED')
    assert.deepEqual(batchesOf(after.fetch([{ offset: 0 }]).partitions[0]!.bytes), [[0, 1]])
    opensFail()
    assert.equal(after.produce(makeBatch(), { partitionRef: 1 }).error, 'OVERLOADED')
    assert.equal(after.produce(makeBatch(), { partitionRef: 1 }).baseOffset, 0)
    assert.deepEqual(
      after.notices.filter(({ kind }) => kind !== 'stats' && kind !== 'log'),
      [],
    )
  })

  test('a damaged partition serves nothing, says why, writes nothing, and no checkpoint names it', () => {
    const files = new MemoryFileSystem()
    const shard = new ShardFixture({ files })
    const damaged = 'at position 7: the checksum of the batch does not fit'
    const facts = { logStartOffset: 0, logEndOffset: 0, recoveryPoint: 0, segments: [], leaderEpochs: [] }
    const opened = shard.open(2, {}, (partition) =>
      partition === 0 ? { ...facts, producerSnapshotOffset: -1, damaged } : null,
    )
    assert.deepEqual((opened as { body: unknown }).body, { failed: [{ partitionRef: 0, reason: damaged }] })
    const before = files.filePaths()
    const refused = shard.produce(makeBatch())
    assert.equal(refused.error, 'KAFKA_STORAGE_ERROR')
    assert.match(refused.text, /the checksum of the batch does not fit/)
    assert.equal(shard.fetch([{ offset: 0 }]).partitions[0]!.error, 'KAFKA_STORAGE_ERROR')
    assert.equal(
      shard.control(ControlOperation.TRIM, { partitionRef: 0, beforeOffset: 0 }).error,
      'KAFKA_STORAGE_ERROR',
    )
    assert.deepEqual(files.filePaths(), before)
    assert.equal(shard.produce(makeBatch(), { partitionRef: 1 }).error, 'NONE')
    assert.equal(shard.control(ControlOperation.CHECKPOINT, {}).error, 'NONE')
    const answer = readCheckpoint(files, CHECKPOINT)
    assert.ok(answer.kind === 'present')
    assert.deepEqual(
      answer.checkpoint.lines.map(({ partition }) => partition),
      [1],
    )
  })
})
