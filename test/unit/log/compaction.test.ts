/** Compaction of one log: which records stay, what a batch is afterwards, tombstones, the bound of memory, merged segments. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { readCleanEnd } from '../../../src/log/cleaner-checkpoint.ts'
import { KEY_OFFSET_BYTES } from '../../../src/log/key-offsets.ts'
import { PartitionLog } from '../../../src/log/partition-log.ts'
import type { TopicConfig } from '../../../src/model/topic-config.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import { writeMarker } from '../../../src/record/control-batch.ts'
import { nodeCodecs } from '../../../src/record/node-codecs.ts'
import {
  type CompactOptions,
  compact,
  type KeyedBatchOptions,
  type KeyedRecord,
  keyedBatch,
  readAll,
  rewrite,
  settle,
  tableOf,
  textOf,
} from '../../support/compaction-fixture.ts'
import { append, contextOver, ManualClock, readSegment, TOPIC, topicConfig } from '../../support/log-fixture.ts'

const CODECS = nodeCodecs()
const GZIP = 1

class Fixture {
  readonly clock = new ManualClock()
  readonly files = new MemoryFileSystem()
  readonly context = contextOver(this.files, this.clock)
  readonly log: PartitionLog

  constructor(config: Partial<TopicConfig> = {}) {
    this.log = PartitionLog.create(this.context, {
      ...{ topicId: TOPIC, partition: 0 },
      config: topicConfig({ cleanupPolicy: 'compact', minCleanableDirtyRatio: 0, segmentBytes: 1 << 20, ...config }),
    })
  }

  append(
    records: readonly (readonly [key: string | null, value: string | null])[],
    options?: KeyedBatchOptions,
  ): number {
    const keyed: KeyedRecord[] = records.map(([key, value]) => ({ key, value, timestampMs: this.clock.ms }))
    return append(this.log, keyedBatch(keyed, options))
  }

  /** Closes the segment; what it holds may be compacted. */
  close(): void {
    this.log.roll()
    settle(this.context, this.log)
  }

  compact(options: CompactOptions = {}) {
    return compact(this.context, this.log, { codecs: CODECS, ...options })
  }

  /** `offset key=value` of every record. */
  get lines(): string[] {
    return readAll(this.context, this.log, CODECS).map(
      ({ offset, key, value }) => `${offset} ${textOf(key)}=${textOf(value)}`,
    )
  }

  /** Every batch of the closed segments, as it lies there. */
  get batches(): BatchView[] {
    const views: BatchView[] = []
    for (const segment of this.log.closedSegments()) {
      const bytes = readSegment(this.context, this.log, segment, 0, segment.bytes)
      for (let at = 0; at < bytes.length; ) {
        const view = new BatchView().reset(bytes, at)
        views.push(view)
        at = view.end
      }
    }
    return views
  }
}

test('of each key the record with the highest offset stays, where it was', () => {
  const fixture = new Fixture()
  fixture.append([
    ['a', '1'],
    ['b', '1'],
    ['a', '2'],
  ])
  fixture.append([['c', '1']])
  fixture.close()
  fixture.append([
    ['b', '2'],
    ['d', '1'],
  ])
  fixture.close()
  const result = fixture.compact()
  assert.deepEqual(fixture.lines, ['2 a=2', '3 c=1', '4 b=2', '5 d=1'])
  assert.equal(result?.cleanEnd, 6)
  assert.equal(result?.keys, 4)
  assert.equal(readCleanEnd(fixture.files, fixture.log.folder), 6)
  assert.equal(fixture.log.segmentCount, 1, 'neighbours are one segment now')
  assert.deepEqual(
    fixture.batches.map((batch) => [batch.baseOffset, batch.lastOffsetDelta, batch.recordsCount]),
    [
      [0, 2, 1],
      [3, 0, 1],
      [4, 1, 2],
    ],
  )
  for (const batch of fixture.batches) assert.equal(batch.computeCrc(), batch.crc)
})

test('the active segment is left alone', () => {
  const fixture = new Fixture()
  fixture.append([['a', '1']])
  fixture.close()
  fixture.append([['a', '2']])
  fixture.append([['a', '3']])
  settle(fixture.context, fixture.log)
  fixture.compact()
  assert.deepEqual(fixture.lines, ['0 a=1', '1 a=2', '2 a=3'])
})

test('what is not checkpointed, or not visible yet, is left alone', () => {
  const fixture = new Fixture()
  fixture.append([['a', '1']])
  fixture.append([['a', '2']])
  fixture.log.roll()
  assert.equal(fixture.compact(), undefined, 'not synced')
  settle(fixture.context, fixture.log)
  const options = { nowMs: fixture.clock.ms, stableEnd: 1, memoryBytesMax: 1 << 20 }
  assert.equal(fixture.log.beginCompaction(options), undefined, 'the segment ends past what is visible')
  assert.notEqual(fixture.compact(), undefined)
})

test('batches that are gone leave fillers: offsets have no gap, an epoch begins where it began', () => {
  const fixture = new Fixture()
  for (let index = 0; index < 6; index++)
    append(fixture.log, keyedBatch([{ key: 'a', value: `${index}` }]), index < 3 ? 1 : 2)
  fixture.close()
  fixture.compact()
  assert.deepEqual(fixture.lines, ['5 a=5'])
  assert.deepEqual(
    fixture.batches.map((batch) => [batch.baseOffset, batch.lastOffsetDelta, batch.recordsCount, batch.leaderEpoch]),
    [
      [0, 2, 0, 1],
      [3, 1, 0, 2],
      [5, 0, 1, 2],
    ],
  )
  assert.deepEqual(fixture.log.epochs.toEntries(), [
    [1, 0],
    [2, 3],
  ])
})

test('fillers of one run and the next become one', () => {
  const fixture = new Fixture()
  for (let round = 0; round < 4; round++) {
    for (let index = 0; index < 3; index++) fixture.append([['a', `${round}${index}`]])
    fixture.close()
    fixture.compact()
  }
  assert.deepEqual(
    fixture.batches.map((batch) => [batch.baseOffset, batch.lastOffsetDelta, batch.recordsCount]),
    [
      [0, 10, 0],
      [11, 0, 1],
    ],
  )
})

test('the last batch of a producer stays, empty: its sequence is not forgotten', () => {
  const fixture = new Fixture()
  const producer = { producerId: 7, producerEpoch: 3, baseSequence: 0 }
  fixture.append(
    [
      ['a', '1'],
      ['b', '1'],
    ],
    { producer },
  )
  fixture.append(
    [
      ['a', '2'],
      ['b', '2'],
    ],
    { producer: { ...producer, baseSequence: 2 } },
  )
  fixture.append([
    ['a', '3'],
    ['b', '3'],
  ])
  fixture.close()
  fixture.compact()
  const kept = fixture.batches.filter((batch) => batch.producerId === 7)
  assert.deepEqual(
    kept.map((batch) => [
      batch.baseOffset,
      batch.recordsCount,
      batch.producerEpoch,
      batch.baseSequence,
      batch.lastSequence,
    ]),
    [[2, 0, 3, 2, 3]],
  )
  fixture.append([['a', '4']], { producer: { ...producer, baseSequence: 4 } })
  fixture.append([['a', '5']])
  fixture.close()
  fixture.compact()
  assert.deepEqual(
    fixture.batches.filter((batch) => batch.producerId === 7).map((batch) => batch.baseOffset),
    [6],
    'the one before it goes once it has written again',
  )
})

test('a control batch stays as it is', () => {
  const fixture = new Fixture()
  const marker = { type: 'COMMIT', producerId: 9, producerEpoch: 0, coordinatorEpoch: 4, timestampMs: 5 } as const
  fixture.append([['a', '1']])
  append(fixture.log, writeMarker(marker))
  fixture.append([['a', '2']])
  fixture.close()
  const [, before] = fixture.batches
  const bytes = before!.bytes.slice(before!.at, before!.end)
  fixture.compact()
  const after = fixture.batches.find((batch) => batch.isControl)!
  assert.deepEqual(after.bytes.slice(after.at, after.end), bytes)
})

test('records without a key, from before the topic was compacted, stay', () => {
  const fixture = new Fixture()
  fixture.append([
    [null, '1'],
    ['a', '1'],
    [null, '2'],
  ])
  fixture.append([['a', '2']])
  fixture.close()
  fixture.compact()
  assert.deepEqual(fixture.lines, ['0 null=1', '2 null=2', '3 a=2'])
})

test('a tombstone stays for delete.retention.ms after it was first compacted past, then goes', () => {
  const fixture = new Fixture({ deleteRetentionMs: 1000 })
  fixture.append([
    ['a', '1'],
    ['b', '1'],
  ])
  fixture.append([['a', null]])
  fixture.close()
  fixture.clock.ms += 10_000
  fixture.compact()
  assert.deepEqual(fixture.lines, ['1 b=1', '2 a=null'], 'its time begins now, however old it is')
  fixture.clock.ms += 999
  fixture.append([['c', '1']])
  fixture.close()
  fixture.compact()
  assert.deepEqual(fixture.lines, ['1 b=1', '2 a=null', '3 c=1'])
  fixture.clock.ms += 1
  fixture.append([['c', '2']])
  fixture.close()
  fixture.compact()
  assert.deepEqual(fixture.lines, ['1 b=1', '4 c=2'])
})

test('a tombstone keeps its timestamp though its batch has a delete horizon', () => {
  const fixture = new Fixture({ deleteRetentionMs: 1000 })
  const writtenMs = fixture.clock.ms
  fixture.append([
    ['a', null],
    ['b', '1'],
  ])
  fixture.close()
  fixture.clock.ms += 123_456
  fixture.compact()
  const times = readAll(fixture.context, fixture.log).map(({ timestampMs }) => timestampMs)
  assert.deepEqual(times, [writtenMs, writtenMs])
  assert.equal(fixture.batches[0]!.baseTimestamp, fixture.clock.ms + 1000)
  assert.equal(fixture.batches[0]!.maxTimestamp, writtenMs)
})

test('a tombstone outlives a run whose swap was not finished', () => {
  const fixture = new Fixture({ deleteRetentionMs: 0 })
  fixture.append([['a', '1']])
  fixture.append([['a', null]])
  fixture.close()
  const result = rewrite(fixture.context, fixture.log)!
  for (const { baseOffset } of result.segments) assert.equal(baseOffset, 0)
  fixture.log.endCompaction(undefined)
  fixture.clock.ms += 10
  fixture.compact()
  assert.deepEqual(fixture.lines, ['1 a=null'], 'nothing was removed by the run before')
})

test('a tombstone waits for all that it stands for to be gone for good, in whatever order segments reach the device', () => {
  const fixture = new Fixture({ deleteRetentionMs: 0, segmentBytes: 300 })
  fixture.append([
    ['a', '1'],
    ['b', 'x'.repeat(100)],
  ])
  fixture.append([['b', 'y'.repeat(200)]])
  fixture.close()
  fixture.append([
    ['a', null],
    ['c', 'x'.repeat(200)],
  ])
  fixture.close()
  for (let round = 0; round < 2; round++) {
    const result = rewrite(fixture.context, fixture.log)!
    const [first, ...others] = result.segments
    assert.equal(first?.baseOffset, 0)
    // Of each run only later segments' swaps reached the device.
    fixture.log.endCompaction({ ...result, cleanEnd: 0, segments: others })
    for (let count = 0; count < 2; count++) settle(fixture.context, fixture.log)
    fixture.clock.ms += 10
  }
  assert.equal(tableOf(readAll(fixture.context, fixture.log)).has('a'), false)
})

test('compressed batches are opened, and keep their codec', () => {
  const fixture = new Fixture()
  const many = (value: string) => Array.from({ length: 50 }, (_, index) => [`key-${index}`, value.repeat(40)] as const)
  fixture.append(many('x'), { codec: GZIP, codecs: CODECS })
  fixture.append(many('y').slice(0, 49), { codec: GZIP, codecs: CODECS })
  fixture.close()
  fixture.compact()
  assert.equal(fixture.lines.length, 50)
  assert.deepEqual(
    fixture.batches.map((batch) => [batch.codec, batch.recordsCount]),
    [
      [GZIP, 1],
      [GZIP, 49],
    ],
  )
})

test('keys that do not fit the table are left for the next run', () => {
  const fixture = new Fixture()
  const round = (value: string) => Array.from({ length: 30 }, (_, index) => [`key-${index}`, value] as const)
  fixture.append(round('1'))
  fixture.append(round('2'))
  fixture.append(round('3'))
  fixture.close()
  // 16 slots: 12 keys.
  const memoryBytesMax = 16 * KEY_OFFSET_BYTES
  const ends: (number | undefined)[] = []
  for (let run = 0; run < 12; run++) ends.push(fixture.compact({ memoryBytesMax })?.cleanEnd)
  assert.deepEqual(ends.slice(0, 8), [12, 24, 36, 48, 60, 72, 84, 90])
  assert.equal(ends[8], undefined, 'all is clean')
  assert.deepEqual(tableOf(readAll(fixture.context, fixture.log)), new Map(round('3')))
  assert.equal(fixture.lines.length, 30)
})

test('nothing is due below the dirty ratio, unless a record has waited for max.compaction.lag.ms', () => {
  const fixture = new Fixture({ minCleanableDirtyRatio: 0.5, maxCompactionLagMs: 60_000 })
  fixture.append(Array.from({ length: 100 }, (_, index) => [`key-${index}`, '1'] as const))
  fixture.close()
  assert.equal(fixture.compact()?.keys, 100)
  fixture.append([['key-0', '2']])
  fixture.close()
  assert.equal(fixture.compact(), undefined)
  fixture.append([['key-0', '3']])
  settle(fixture.context, fixture.log)
  fixture.clock.ms += 60_001
  assert.equal(fixture.compact()?.cleanEnd, 102, 'the active segment is rolled and comes along')
  assert.ok(fixture.lines.includes('101 key-0=3') && !fixture.lines.includes('100 key-0=2'))
})

test('records younger than min.compaction.lag.ms are left alone', () => {
  const fixture = new Fixture({ minCompactionLagMs: 1000 })
  fixture.append([['a', '1']])
  fixture.append([['a', '2']])
  fixture.close()
  assert.equal(fixture.compact(), undefined)
  fixture.clock.ms += 1000
  assert.notEqual(fixture.compact(), undefined)
  assert.deepEqual(fixture.lines, ['1 a=2'])
})

test('a segment that was trimmed away meanwhile is not swapped in', () => {
  const fixture = new Fixture({ segmentBytes: 200 })
  for (let index = 0; index < 8; index++) fixture.append([['a', `${index}`.repeat(90)]])
  fixture.close()
  const result = rewrite(fixture.context, fixture.log)!
  fixture.log.advanceLogStart(3)
  fixture.log.endCompaction(result)
  settle(fixture.context, fixture.log)
  settle(fixture.context, fixture.log)
  assert.ok(fixture.log.logStartOffset === 3 && fixture.log.segmentCount > 0)
  assert.equal(readCleanEnd(fixture.files, fixture.log.folder), 0, 'the run was not whole')
  assert.deepEqual(tableOf(readAll(fixture.context, fixture.log)), new Map([['a', '7'.repeat(90)]]))
  assert.deepEqual(
    fixture.files.list(fixture.log.folder).filter((name) => /cleaned|swap|deleted/.test(name)),
    [],
  )
})

test('a log that was cut meanwhile does not get back what went', () => {
  for (const phase of ['rewriting', 'renamed']) {
    const fixture = new Fixture({ segmentBytes: 200 })
    for (let index = 0; index < 8; index++) fixture.append([['a', `${index}`.repeat(90)]])
    fixture.close()
    const result = rewrite(fixture.context, fixture.log)!
    if (phase === 'rewriting') fixture.log.truncateTo(5)
    fixture.log.endCompaction(result)
    if (phase === 'renamed') fixture.log.truncateTo(5)
    for (let round = 0; round < 3; round++) settle(fixture.context, fixture.log)
    assert.equal(fixture.log.logEndOffset, 5)
    assert.equal(tableOf(readAll(fixture.context, fixture.log)).get('a'), '4'.repeat(90), phase)
    assert.ok(readCleanEnd(fixture.files, fixture.log.folder) <= 5)
  }
})

test('a reader that holds a place in an old segment reads on', () => {
  const fixture = new Fixture()
  fixture.append([
    ['a', '1'],
    ['b', '1'],
  ])
  fixture.append([['a', '2']])
  fixture.close()
  const [segment] = fixture.log.closedSegments()
  const fd = fixture.log.acquireFd(segment!)
  const before = new Uint8Array(segment!.bytes)
  fixture.files.read(fd, before, 0)
  fixture.compact()
  const after = new Uint8Array(segment!.bytes)
  assert.equal(fixture.files.read(fd, after, 0), segment!.bytes)
  assert.deepEqual(after, before)
  fixture.log.releaseFd(fd)
  assert.equal(fixture.log.closedSegment(segment!.baseOffset, segment!.key), undefined, 'its key names nothing now')
})
