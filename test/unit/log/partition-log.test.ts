import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { PartitionLog } from '../../../src/log/partition-log.ts'
import {
  append,
  checkpoint,
  contextOver,
  DATA_DIR,
  fetchBases,
  makeBatch,
  stage,
  sync,
  TOPIC,
  topicConfig,
} from '../../support/log-fixture.ts'

function newLog(config = topicConfig()) {
  const files = new MemoryFileSystem()
  files.makeFolder(DATA_DIR)
  files.syncFolder('/')
  const context = contextOver(files)
  return { files, context, log: PartitionLog.create(context, { topicId: TOPIC, partition: 3, config }) }
}

describe('PartitionLog: append', () => {
  it('has nothing on disk before the first append', () => {
    const { files, log } = newLog()
    assert.deepEqual(files.list(DATA_DIR), [])
    assert.equal(log.nextOffset, 0)
    assert.equal(log.locate(0, 0).kind, 'at-end')
  })

  it('stages several batches, writes them at once, and finds each', () => {
    const { context, log } = newLog()
    stage(log, makeBatch({ records: 2 }))
    stage(log, makeBatch({ records: 3 }))
    assert.equal(log.logEndOffset, 0)
    assert.equal(log.nextOffset, 5)
    log.writeStaged()
    assert.equal(log.logEndOffset, 5)
    assert.deepEqual(fetchBases(context, log, 0, 5), [0, 2])
    assert.deepEqual(fetchBases(context, log, 3, 5), [2])
    assert.deepEqual(fetchBases(context, log, 0, 2), [0])
    assert.deepEqual(fetchBases(context, log, 5, 5), 'at-end')
    assert.deepEqual(fetchBases(context, log, 6, 6), 'out-of-range')
  })

  it('lists the segment, the folder and the data dir for the first sync, then the segment only; leader-epochs at a checkpoint', () => {
    const { context, log } = newLog()
    append(log, makeBatch())
    const fds: number[] = []
    const end = log.beginSync(fds)
    assert.equal(fds.length, 3)
    append(log, makeBatch())
    for (const fd of fds) context.files.fdatasync(fd)
    log.completeSync(end)
    assert.equal(log.syncedEndOffset, 1)
    const next: number[] = []
    assert.equal(log.beginSync(next), 2)
    assert.equal(next.length, 1)
    log.completeSync(2)
    assert.equal(log.syncedEndOffset, 2)
    const none: number[] = []
    log.beginSync(none)
    assert.deepEqual(none, [])
    log.completeSync(2)
    const atCheckpoint: number[] = []
    log.completeSync(log.beginCheckpoint(atCheckpoint))
    assert.equal(atCheckpoint.length, 2, 'leader-epochs and the folder that names it')
  })

  it('rolls by size and keeps the closed segment until it is synced', () => {
    const { files, context, log } = newLog(topicConfig({ segmentBytes: 400 }))
    for (let index = 0; index < 10; index++) append(log, makeBatch({ valueBytes: 100 }))
    assert.equal(log.segmentCount, 5)
    for (let offset = 0; offset < 10; offset++)
      assert.deepEqual((fetchBases(context, log, offset, 10) as number[])[0], offset)
    sync(context, log)
    const line = checkpoint(context, log)
    assert.equal(line.recoveryPoint, 10)
    assert.ok(files.list(log.folder).includes('00000000000000000008.log'))
    log.close()
  })
})
