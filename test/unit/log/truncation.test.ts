/** What a cut leaves must not remember the suffix: indexes in memory, index files, keys of cached pages, closed segments. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import { FaultyFileSystem } from '../../../src/io/faulty-file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { PartitionLog } from '../../../src/log/partition-log.ts'
import { parseProducerSnapshotName, producerSnapshotName } from '../../../src/log/producer-snapshot-file.ts'
import { readIndexes, segmentFileName } from '../../../src/log/segment.ts'
import {
  append,
  checkpoint,
  contextOver,
  DATA_DIR,
  fetchBases,
  makeBatch,
  sync,
  TOPIC,
  topicConfig,
} from '../../support/log-fixture.ts'

function newLog(config = topicConfig()) {
  const files = new MemoryFileSystem()
  files.makeFolder(DATA_DIR)
  files.syncFolder('/')
  const context = contextOver(files)
  return { files, context, log: PartitionLog.create(context, { topicId: TOPIC, partition: 0, config }) }
}

describe('truncation', () => {
  it('indexes forget the suffix: what is written over it is found, from memory and from the index files', () => {
    const { context, log } = newLog()
    for (let index = 0; index < 40; index++) append(log, makeBatch({ valueBytes: 3_000 }))
    checkpoint(context, log)
    assert.equal(log.truncateTo(20), 20)
    for (let index = 0; index < 60; index++) append(log, makeBatch({ records: 2, valueBytes: 1_000 }))
    checkpoint(context, log)
    // From here on the exact places of the tail are gone: the sparse index answers alone.
    assert.equal(log.releaseIdle(), true)
    for (let offset = 0; offset < 140; offset++) {
      const base = offset < 20 ? offset : offset - (offset % 2)
      assert.equal((fetchBases(context, log, offset, 140) as number[])[0], base, `offset ${offset}`)
    }
  })

  it('no producer snapshot past the cut stays in the folder, though the log does not know of it', () => {
    const { files, context, log } = newLog()
    for (let index = 0; index < 4; index++) append(log, makeBatch({ producerId: 1, baseSequence: index }))
    checkpoint(context, log)
    // As a recovery leaves them: older than the one that it wrote itself.
    for (const offset of [1, 3]) files.close(files.open(`${log.folder}/${producerSnapshotName(offset)}`, 'create'))
    log.truncateTo(2)
    const left = files.list(log.folder).filter((name) => parseProducerSnapshotName(name) !== undefined)
    assert.deepEqual(left, [producerSnapshotName(1)])
  })

  it('a segment that a cut left with trimmed records alone goes when it is closed', () => {
    const { files, context, log } = newLog()
    for (let index = 0; index < 4; index++) append(log, makeBatch())
    log.advanceLogStart(2)
    log.truncateTo(2)
    assert.deepEqual([log.segmentCount, log.logStartOffset, log.logEndOffset], [1, 2, 2])
    log.roll()
    append(log, makeBatch())
    checkpoint(context, log)
    const removed = log.removeCondemned()
    assert.deepEqual([log.segmentCount, removed], [1, [`${log.folder}/${segmentFileName(0, '.log')}.deleted`]])
    assert.equal(files.stat(`${log.folder}/${segmentFileName(2, '.log')}`).kind, 'file')
    assert.deepEqual(fetchBases(context, log, 2, 3), [2])
  })

  it('a cut segment has another key, so that no page of it is served any more; an uncut one keeps its', () => {
    const { log } = newLog(topicConfig({ segmentBytes: 1_000 }))
    for (let index = 0; index < 9; index++) append(log, makeBatch({ valueBytes: 200 }))
    const keyOf = (offset: number) => log.locate(offset, log.logEndOffset).segment.key
    const { baseOffset } = log.locate(4, 9).segment
    const before = { first: keyOf(0), cut: keyOf(4) }
    const { generation } = log
    log.truncateTo(baseOffset + 1)
    assert.equal(keyOf(0), before.first)
    assert.notEqual(keyOf(baseOffset), before.cut)
    assert.ok(log.generation > generation)
  })

  it('an index file that covers more than the log has is stale, and is not used', () => {
    const { files, log } = newLog()
    for (let index = 0; index < 40; index++) append(log, makeBatch({ valueBytes: 3_000 }))
    log.roll()
    assert.equal(readIndexes(files, log.folder, 0, log.bytes).kind, 'present')
    assert.equal(readIndexes(files, log.folder, 0, log.bytes + 1).kind, 'present', 'the log has grown since')
    assert.equal(readIndexes(files, log.folder, 0, log.bytes - 1).kind, 'unreadable')
    const faulty = new FaultyFileSystem(files)
    faulty.inject({ on: 'read', path: '.timeindex', effect: { kind: 'fail', code: 'EIO' } })
    assert.equal(
      readIndexes(faulty, log.folder, 0, log.bytes).kind,
      'unreadable',
      'a bad place on the disk is no fault of the shard',
    )
  })
})

describe('roll', () => {
  it('closed segments are synced with the next sync, each whole', () => {
    const { files, context, log } = newLog(topicConfig({ segmentBytes: 400 }))
    for (let index = 0; index < 10; index++) append(log, makeBatch({ valueBytes: 100 }))
    assert.ok(log.segmentCount > 3)
    sync(context, log)
    const cut = files.crash(new SeededPrng(1), { kind: 'power', survival: 'none' })
    let bytes = 0
    for (const name of cut.list(log.folder))
      if (name.endsWith('.log')) bytes += cut.contentOf(`${log.folder}/${name}`).length
    assert.equal(bytes, log.bytes)
    assert.equal(cut.stat(`${log.folder}/${segmentFileName(0, '.log')}`).kind, 'file')
  })
})

describe('a sync under way', () => {
  it('does not cover what was closed or made meanwhile: the next one does', () => {
    const { files, context, log } = newLog(topicConfig({ segmentBytes: 400 }))
    append(log, makeBatch({ valueBytes: 100 }))
    const fds: number[] = []
    const end = log.beginSync(fds)
    for (const fd of fds) context.files.fdatasync(fd)
    // Two rolls: one segment is closed before it was ever synced, names are made.
    for (let index = 0; index < 5; index++) append(log, makeBatch({ valueBytes: 100 }))
    log.completeSync(end)
    assert.deepEqual([log.syncedEndOffset, log.isDirty], [1, true])
    sync(context, log)
    assert.equal(log.syncedEndOffset, 6)
    const cut = files.crash(new SeededPrng(1), { kind: 'power', survival: 'none' })
    const bytes = cut
      .list(log.folder)
      .map((name) => (name.endsWith('.log') ? cut.contentOf(`${log.folder}/${name}`).length : 0))
    assert.equal(
      bytes.reduce((sum, each) => sum + each),
      log.bytes,
    )
  })
})

describe('folders of several partitions', () => {
  it('one sync of the data dir covers those made before it, and none made after', () => {
    const { files, context, log } = newLog()
    const other = PartitionLog.create(context, { topicId: TOPIC, partition: 1, config: topicConfig() })
    append(log, makeBatch())
    const fds: number[] = []
    const end = log.beginSync(fds)
    for (const fd of fds) context.files.fdatasync(fd)
    append(other, makeBatch())
    log.completeSync(end)
    sync(context, other)
    const cut = files.crash(new SeededPrng(1), { kind: 'power', survival: 'none' })
    for (const { folder } of [log, other]) assert.equal(cut.stat(folder).kind, 'folder')
  })
})

describe('trim', () => {
  it('removes what a durable checkpoint knows to be below the start, and nothing that was trimmed since', () => {
    const { context, log } = newLog(topicConfig({ segmentBytes: 400 }))
    for (let index = 0; index < 10; index++) append(log, makeBatch({ valueBytes: 100 }))
    checkpoint(context, log)
    log.advanceLogStart(4)
    assert.deepEqual(log.removeCondemned(), [], 'no checkpoint has the new start')
    const fds: number[] = []
    const end = log.beginCheckpoint(fds)
    for (const fd of fds) context.files.fdatasync(fd)
    log.completeSync(end)
    const line = log.checkpoint()
    log.advanceLogStart(8)
    log.completeCheckpoint(line)
    const removed = log.removeCondemned().map((path) => path.slice(log.folder.length + 1))
    assert.deepEqual(
      removed,
      [0, 2].map((base) => `${segmentFileName(base, '.log')}.deleted`),
    )
    checkpoint(context, log)
    assert.equal(log.removeCondemned().length, 2)
  })
})
