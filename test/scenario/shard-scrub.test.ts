/** A shard that looks at its cold segments in the background: what rots is found, what is sound is read once a period. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { FaultyFileSystem } from '../../src/io/faulty-file-system.ts'
import { MemoryFileSystem } from '../../src/io/memory-file-system.ts'
import { partitionFolder } from '../../src/model/ids.ts'
import { ControlOperation, type DescribePartitionAnswer, type ShardStats } from '../../src/ring/control-messages.ts'
import { DATA_DIR, makeBatch, TOPIC } from '../support/log-fixture.ts'
import { batchesOf, ShardFixture, type ShardFixtureOptions } from '../support/shard-fixture.ts'

const PERIOD_MS = 3_600_000
const STEP_MS = 500
/** Batches larger than a page of the fixture (16 KiB), of one page, and small ones. */
const VALUE_BYTES = [40_000, 16_000, 100, 5_000, 70_000, 1, 16_384]

function scrubbedShard(options: ShardFixtureOptions = {}, partitions = 3): ShardFixture {
  const shard = new ShardFixture({
    ...options,
    shard: { scrubPeriodMs: PERIOD_MS, statsMs: 10 * PERIOD_MS, ...options.shard },
  })
  shard.open(partitions, { segmentBytes: 100_000, retentionMs: -1 })
  for (let partitionRef = 0; partitionRef < partitions; partitionRef++)
    for (let round = 0; round < 4; round++)
      for (const valueBytes of VALUE_BYTES)
        assert.equal(shard.produce(makeBatch({ records: 2, valueBytes }), { partitionRef }).error, 'NONE')
  return shard
}

function stats(shard: ShardFixture): ShardStats {
  return shard.control(ControlOperation.STATS, {}).body as ShardStats
}

function describePartition(shard: ShardFixture, partitionRef: number): DescribePartitionAnswer {
  return shard.control(ControlOperation.DESCRIBE_PARTITION, { partitionRef }).body as DescribePartitionAnswer
}

function logsOf(files: MemoryFileSystem, partition: number): string[] {
  return files.filePaths().filter((path) => path.startsWith(folderOf(partition)) && path.endsWith('.log'))
}

function folderOf(partition: number): string {
  return `${DATA_DIR}/${partitionFolder(TOPIC, partition)}/`
}

function closedBytes(files: MemoryFileSystem, partitions: number): number {
  let bytes = 0
  for (let partition = 0; partition < partitions; partition++)
    for (const path of logsOf(files, partition).slice(0, -1)) bytes += files.contentOf(path).length
  return bytes
}

function flip(files: MemoryFileSystem, path: string, at: number): void {
  const fd = files.open(path, 'write')
  files.write(fd, [Uint8Array.of(files.contentOf(path)[at]! ^ 8)], at)
  files.close(fd)
}

function passPeriod(shard: ShardFixture, each: (elapsedMs: number) => void = () => {}): void {
  for (let elapsed = 0; elapsed < PERIOD_MS; elapsed += STEP_MS) {
    shard.pass(STEP_MS)
    each(elapsed)
  }
}

function offlineNotices(shard: ShardFixture): unknown[] {
  return shard.notices.filter(({ kind }) => kind === 'partition-offline' || kind === 'shard-failed')
}

describe('scrub', () => {
  test('sound segments: every closed byte is read once a period, spread over it, nothing is found', () => {
    const files = new MemoryFileSystem()
    const shard = scrubbedShard({ files })
    const bytes = closedBytes(files, 3)
    assert.ok(bytes > 1_000_000)
    // An empty shard looks for something to do once a minute.
    shard.pass(60_000)
    let halfway = 0
    let first = 0
    passPeriod(shard, (elapsedMs) => {
      if (elapsedMs === PERIOD_MS - 2 * STEP_MS) first = stats(shard).scrubbedBytes
      if (elapsedMs === PERIOD_MS / 2) halfway = stats(shard).scrubbedBytes
    })
    assert.equal(first, bytes)
    assert.equal(stats(shard).scrubFindings, 0)
    assert.ok(halfway > bytes / 4, `${halfway} of ${bytes} in half a period`)
    passPeriod(shard)
    passPeriod(shard)
    const later = stats(shard).scrubbedBytes
    assert.ok(later > 2.9 * bytes && later <= 3.1 * bytes, `${later / bytes} rounds in three periods`)
    assert.deepEqual(offlineNotices(shard), [])
    assert.ok(stats(shard).pagesInUse <= stats(shard).pages)
  })

  for (const [where, at] of [
    ['the records', 3_000],
    ['the base offset, which no checksum covers,', 5],
    ['the length', 10],
    ['the magic', 16],
    ['the end of a batch of many pages', 139_000],
  ] as const)
    test(`a bit of ${where} that flips at rest takes its partition offline with the reason; the others serve`, () => {
      const files = new MemoryFileSystem()
      const shard = scrubbedShard({ files })
      const closed = logsOf(files, 1).slice(1, -1)
      flip(files, closed.find((path) => files.contentOf(path).length > at)!, at)
      shard.pass(60_000)
      passPeriod(shard)
      const { offline } = describePartition(shard, 1)
      assert.match(offline ?? '', /^segment \d+ is damaged from offset \d+, byte \d+ on: /)
      assert.equal(stats(shard).scrubFindings, 1)
      assert.deepEqual(offlineNotices(shard), [{ kind: 'partition-offline', partitionRef: 1, reason: offline }])
      assert.equal(shard.fetch([{ ref: 1, offset: 0 }]).partitions[0]!.error, 'KAFKA_STORAGE_ERROR')
      for (const partitionRef of [0, 2]) {
        assert.equal(shard.produce(makeBatch(), { partitionRef }).error, 'NONE')
        assert.equal(batchesOf(shard.fetch([{ ref: partitionRef, offset: 0 }]).partitions[0]!.bytes)[0]![0], 0)
      }
    })

  test('a file that became shorter, and a read that fails, are findings', () => {
    const memory = new MemoryFileSystem()
    const files = new FaultyFileSystem(memory)
    const shard = scrubbedShard({ files })
    const short = logsOf(memory, 0)[1]!
    const fd = memory.open(short, 'write')
    memory.truncate(fd, memory.contentOf(short).length - 1)
    memory.close(fd)
    files.inject({ on: 'read', path: folderOf(2), effect: { kind: 'fail', code: 'EIO' } })
    passPeriod(shard)
    assert.match(describePartition(shard, 0).offline ?? '', /the file ends at \d+, not at \d+/)
    assert.match(describePartition(shard, 2).offline ?? '', /a read failed: EIO/)
    assert.equal(describePartition(shard, 1).offline, null)
    assert.equal(stats(shard).scrubFindings, 2)
  })

  test('segments that are trimmed, and a partition that is deleted, during a round are passed over', () => {
    const files = new MemoryFileSystem()
    const shard = scrubbedShard({ files })
    let trims = 0
    passPeriod(shard, (elapsedMs) => {
      if (elapsedMs % (PERIOD_MS / 8) !== 0 || elapsedMs === 0) return
      trims++
      const beforeOffset = trims * 7
      for (const partitionRef of trims < 4 ? [0, 1, 2] : [0, 2])
        assert.equal(shard.control(ControlOperation.TRIM, { partitionRef, beforeOffset }).error, 'NONE')
      if (trims === 3) assert.equal(shard.control(ControlOperation.DELETE_PARTITION, { partitionRef: 1 }).error, 'NONE')
      if (trims === 3) trims++
    })
    passPeriod(shard)
    assert.ok(logsOf(files, 0)[0] !== `${folderOf(0)}${'0'.repeat(20)}.log`, 'the first segment is gone')
    assert.deepEqual(offlineNotices(shard), [])
    assert.equal(stats(shard).scrubFindings, 0)
    assert.ok(stats(shard).scrubbedBytes > 0)
  })

  test('a segment that goes while its piece is being read is no finding, and a delete waits for the read', () => {
    const files = new MemoryFileSystem()
    const shard = scrubbedShard({ files }, 1)
    for (let turns = 0; shard.shard.doWork() > 0 || turns < 2; turns++) shard.disk.doWork()
    // The shard asks for a piece; the disk thread stands still.
    let asked = 0
    for (let elapsed = 0; elapsed < PERIOD_MS && asked === 0; elapsed += STEP_MS) {
      shard.clock.ms += STEP_MS
      for (let turn = 0; turn < 3; turn++) shard.shard.doWork()
      shard.drain()
      asked = shard.disk.doWork() // one request taken and read; its answer is not drained yet
    }
    assert.ok(asked > 0)
    const deleting = shard.sendControl(ControlOperation.DELETE_PARTITION, { partitionRef: 0 })
    shard.settle()
    assert.equal((shard.answer(deleting) as { error: string }).error, 'NONE')
    passPeriod(shard)
    assert.deepEqual(offlineNotices(shard), [])
    assert.equal(stats(shard).pagesInUse, 0)
  })

  test('cold reads go first: while one is under way the scrub asks for nothing, and it does not spin', () => {
    const files = new MemoryFileSystem()
    const shard = scrubbedShard({ files, shard: { residentBytes: 1 } }, 1)
    const before = stats(shard).scrubbedBytes
    shard.clock.ms += PERIOD_MS
    const fetching = shard.sendFetch([{ offset: 0, maxBytes: 16_384 }], { waitMs: 1_000 })
    for (let turn = 0; turn < 50; turn++) {
      shard.shard.doWork()
      shard.clock.ms += STEP_MS / 100
    }
    shard.drain()
    assert.equal(shard.peek(fetching), undefined, 'the fetch waits for the disk thread')
    assert.equal(shard.shard.stats().scrubbedBytes, before)
    assert.ok(shard.shard.deadlineMs() > shard.clock.monotonicMs(), 'the shard may sleep')
    shard.settle()
    assert.ok(shard.peek(fetching) !== undefined)
    passPeriod(shard)
    assert.ok(stats(shard).scrubbedBytes > before)
  })

  test('an idle shard sleeps until the next piece is due', () => {
    const shard = scrubbedShard({ shard: { checkpointMs: 100 * PERIOD_MS, retentionCheckMs: 100 * PERIOD_MS } }, 1)
    let wakeUps = 0
    const untilMs = shard.clock.monotonicMs() + PERIOD_MS
    while (shard.clock.monotonicMs() < untilMs) {
      const waitMs = shard.shard.deadlineMs() - shard.clock.monotonicMs()
      assert.ok(wakeUps++ < 2_000, 'it wakes up again and again')
      shard.pass(Math.max(0, waitMs))
    }
    assert.ok(stats(shard).scrubbedBytes > 300_000, `${stats(shard).scrubbedBytes} bytes in ${wakeUps} wake-ups`)
  })

  test('without a free page the scrub waits and takes none from a reader', () => {
    const files = new MemoryFileSystem()
    const shard = scrubbedShard({ files, channel: { pageCount: 8 } }, 1)
    shard.holdsPages = true
    const held: number[] = []
    // A large batch takes five pages, one of the next segment two, a small one of the third segment after it one.
    for (const offset of [0, 2, 10])
      held.push(...shard.fetch([{ offset, maxBytes: 1 }]).partitions.flatMap(({ pages }) => pages))
    assert.equal(new Set(held).size, 8, 'all pages are lent')
    const before = stats(shard).scrubbedBytes
    passPeriod(shard)
    assert.equal(stats(shard).scrubbedBytes, before)
    for (const page of held) shard.gateway.pages.release(page)
    passPeriod(shard)
    assert.ok(stats(shard).scrubbedBytes > before)
  })
})
