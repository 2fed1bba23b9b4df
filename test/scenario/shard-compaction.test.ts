/** A shard that compacts: it asks, somebody runs the task as the pool does, it swaps; produce, fetch, trim, close and delete meanwhile. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { MemoryFileSystem } from '../../src/io/memory-file-system.ts'
import { runCompaction, type SeededCompactionTask } from '../../src/log/compaction-run.ts'
import { partitionFolder } from '../../src/model/ids.ts'
import type { TopicConfig } from '../../src/model/topic-config.ts'
import { type PlainRecord, readRecords } from '../../src/record/batch-reader.ts'
import { NO_CODECS } from '../../src/record/compression.ts'
import { ControlOperation, type DescribePartitionAnswer, type ShardStats } from '../../src/ring/control-messages.ts'
import { SHARD_DEFAULTS } from '../../src/worker/shard-options.ts'
import { type KeyedRecord, keyedBatch, tableOf } from '../support/compaction-fixture.ts'
import { DATA_DIR, makeBatch, TOPIC, topicConfig } from '../support/log-fixture.ts'
import { ShardFixture } from '../support/shard-fixture.ts'

const FOLDER = `${DATA_DIR}/${partitionFolder(TOPIC, 0)}`
const CONFIG: Partial<TopicConfig> = {
  cleanupPolicy: 'compact',
  minCleanableDirtyRatio: 0.1,
  segmentBytes: 20_000,
  retentionMs: -1,
}
const { checkpointMs, compactionCheckMs } = SHARD_DEFAULTS

class CompactedShard {
  readonly files = new MemoryFileSystem()
  readonly shard: ShardFixture
  readonly #asked: unknown[] = []

  constructor(config: Partial<TopicConfig> = {}) {
    this.shard = new ShardFixture({ files: this.files })
    this.shard.open(1, { ...CONFIG, ...config })
  }

  produce(records: readonly KeyedRecord[]): void {
    const timestampMs = this.shard.clock.ms
    const { error, text } = this.shard.produce(keyedBatch(records.map((each) => ({ ...each, timestampMs }))))
    assert.equal(error, 'NONE', text)
  }

  /** Rounds of values for the same keys. */
  update(rounds: number): void {
    for (let round = 0; round < rounds; round++)
      this.produce(Array.from({ length: 20 }, (_, key) => ({ key: `key-${key}`, value: `${round}`.repeat(50) })))
  }

  /** What the shard has asked for since the last look. */
  get tasks(): SeededCompactionTask[] {
    const all = this.shard.notices.filter((notice) => notice.kind === 'compact')
    const tasks = all.slice(this.#asked.length).map(({ task }) => task as SeededCompactionTask)
    this.#asked.push(...tasks)
    return tasks
  }

  /** Waits until a compaction is asked for. */
  waitForTask(): SeededCompactionTask {
    for (let round = 0; round < 10; round++) {
      this.shard.pass(compactionCheckMs)
      const [task] = this.tasks
      if (task !== undefined) return task
    }
    assert.fail('no compaction was asked for')
  }

  answer(result: unknown, fault: string | null = null): void {
    const answer = this.shard.control(ControlOperation.COMPACTED, { partitionRef: 0, result, fault })
    assert.equal(answer.error, 'NONE')
  }

  run(task: SeededCompactionTask) {
    return runCompaction(this.files, task, { codecs: NO_CODECS, seed: task.seed })
  }

  read(fromOffset = 0): PlainRecord[] {
    const records: PlainRecord[] = []
    let offset = fromOffset
    for (;;) {
      const [partition] = this.shard.fetch([{ offset }]).partitions
      if (partition === undefined || partition.bytes.length === 0) return records
      assert.equal(partition.error, 'NONE')
      const batch = readRecords(partition.bytes, { fromOffset: offset })
      records.push(...batch)
      offset = nextOffsetOf(partition.bytes)
      if (offset >= partition.highWatermark) return records
    }
  }

  get stats(): ShardStats {
    return this.shard.control(ControlOperation.STATS, {}).body as ShardStats
  }

  get description(): DescribePartitionAnswer {
    return this.shard.control(ControlOperation.DESCRIBE_PARTITION, { partitionRef: 0 }).body as DescribePartitionAnswer
  }

  get names(): string[] {
    return this.files.list(FOLDER)
  }
}

function nextOffsetOf(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  let next = 0
  for (let at = 0; at < bytes.length; at += 12 + view.getInt32(at + 8))
    next = Number(view.getBigInt64(at)) + view.getInt32(at + 23) + 1
  return next
}

describe('a shard', () => {
  test('asks for a compaction, swaps what comes back behind a checkpoint, and serves all the while', () => {
    const fixture = new CompactedShard()
    fixture.update(100)
    const before = fixture.read()
    const task = fixture.waitForTask()
    assert.equal(task.folder, FOLDER)
    assert.ok(fixture.description.dirtyRatio === 1, 'nothing was compacted yet')
    const result = fixture.run(task)
    fixture.update(5)
    assert.deepEqual(fixture.read().slice(0, before.length), before, 'the old segments are read until the swap')
    const bytes = fixture.description.bytes
    fixture.answer(result)
    fixture.shard.settle()
    assert.ok(fixture.description.bytes < bytes / 2, `${fixture.description.bytes} of ${bytes} bytes`)
    const after = fixture.read()
    assert.ok(after.length < before.length / 2)
    assert.deepEqual(
      tableOf(after),
      tableOf(Array.from({ length: 20 }, (_, key) => record(`key-${key}`, '4'.repeat(50)))),
    )
    fixture.shard.pass(2 * checkpointMs)
    assert.deepEqual(
      fixture.names.filter((name) => /cleaned|swap|deleted/.test(name)),
      [],
    )
    const { compactions, compactionFailures, compactionReclaimedBytes, offlinePartitions } = fixture.stats
    assert.deepEqual([compactions, compactionFailures, offlinePartitions], [1, 0, 0])
    assert.ok(compactionReclaimedBytes > 0)
  })

  test('a long poll and a reader in the middle go on over the swap', () => {
    const fixture = new CompactedShard()
    fixture.update(60)
    const middle = 600
    const waiting = fixture.shard.sendFetch([{ offset: 1200 }], { waitMs: 1_000_000 })
    const result = fixture.run(fixture.waitForTask())
    assert.equal(fixture.read(middle)[0]?.offset, middle)
    fixture.answer(result)
    fixture.shard.settle()
    const [first] = fixture.read(middle)
    assert.ok(first !== undefined && first.offset >= middle)
    fixture.update(1)
    const answer = fixture.shard.answer(waiting)
    assert.ok(answer?.kind === 'fetch' && readRecords(answer.partitions[0]!.bytes)[0]!.offset === 1200)
  })

  test('records without a key are refused, with the index of the first', () => {
    const fixture = new CompactedShard()
    const keyless = [
      { key: 'a', value: '1' },
      { key: 'b', value: '1' },
      { key: null, value: '1' },
    ]
    const answer = fixture.shard.produce(keyedBatch(keyless))
    assert.deepEqual([answer.error, /record 2 has no key/.test(answer.text)], ['INVALID_RECORD', true], answer.text)
    assert.equal(fixture.description.logEndOffset, 0, 'nothing of the batch was appended')
    assert.equal(fixture.shard.produce(keyedBatch(keyless.slice(0, 2))).error, 'NONE')
  })

  test('the policy may change: what is not compacted any more is left alone, and takes records without a key', () => {
    const fixture = new CompactedShard({ cleanupPolicy: 'delete' })
    assert.equal(fixture.shard.produce(makeBatch()).error, 'NONE')
    fixture.update(50)
    fixture.shard.pass(3 * compactionCheckMs)
    assert.deepEqual(fixture.tasks, [])
    const change = (cleanupPolicy: TopicConfig['cleanupPolicy']) =>
      fixture.shard.control(ControlOperation.UPDATE_CONFIG, {
        partitionRef: 0,
        config: topicConfig({ ...CONFIG, cleanupPolicy }),
      })
    change('compact')
    assert.equal(fixture.shard.produce(makeBatch()).error, 'INVALID_RECORD')
    const task = fixture.waitForTask()
    change('delete')
    fixture.answer(fixture.run(task))
    fixture.shard.settle()
    assert.equal(fixture.shard.produce(makeBatch()).error, 'NONE')
    assert.equal(fixture.description.dirtyRatio, -1)
    assert.equal(fixture.read().filter(({ key }) => key === null).length, 2, 'those without a key stay')
  })

  test('compact,delete: what is old goes as well', () => {
    const fixture = new CompactedShard({ cleanupPolicy: 'compact,delete', retentionMs: 600_000 })
    fixture.update(50)
    fixture.answer(fixture.run(fixture.waitForTask()))
    fixture.shard.settle()
    assert.equal(fixture.description.logStartOffset, 0)
    for (let round = 0; round < 3; round++) fixture.shard.pass(600_000)
    assert.ok(fixture.description.logStartOffset > 0, 'they are older than ten minutes')
  })

  test('a task that fails is told, and asked for again', () => {
    const fixture = new CompactedShard()
    fixture.update(50)
    fixture.waitForTask()
    fixture.answer(null, 'ENOSPC: no space left')
    assert.ok(fixture.shard.notices.some((notice) => notice.kind === 'log' && notice.text.includes('ENOSPC')))
    assert.equal(fixture.stats.compactionFailures, 1)
    fixture.answer(fixture.run(fixture.waitForTask()))
    assert.equal(fixture.stats.compactions, 1)
  })

  test('a partition that is deleted or closed while the pool works', () => {
    for (const operation of [ControlOperation.DELETE_PARTITION, ControlOperation.CLOSE_PARTITION]) {
      const fixture = new CompactedShard()
      fixture.update(50)
      const task = fixture.waitForTask()
      const result = fixture.run(task)
      assert.equal(fixture.shard.control(operation, { partitionRef: 0 }).error, 'NONE')
      fixture.answer(result)
      fixture.shard.pass(2 * checkpointMs)
      assert.equal(fixture.stats.compactions, 0)
      assert.equal(fixture.stats.partitions, 0)
    }
  })

  test('a trim while the pool works', () => {
    const fixture = new CompactedShard()
    fixture.update(60)
    const task = fixture.waitForTask()
    const result = fixture.run(task)
    assert.equal(fixture.shard.control(ControlOperation.TRIM, { partitionRef: 0, beforeOffset: 700 }).error, 'NONE')
    fixture.answer(result)
    fixture.shard.pass(3 * checkpointMs)
    assert.equal(fixture.description.logStartOffset, 700)
    assert.equal(tableOf(fixture.read(700)).size, 20)
  })
})

function record(key: string, value: string): PlainRecord {
  return { offset: 0, timestampMs: 0, key: Buffer.from(key), value: Buffer.from(value), headers: [] }
}
