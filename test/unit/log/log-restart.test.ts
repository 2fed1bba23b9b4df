/** A log that begins anew past its start, and one that is cut below what its checkpoint names. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { PartitionLog } from '../../../src/log/partition-log.ts'
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

const OPTIONS = { topicId: TOPIC, partition: 0, config: topicConfig() }

function newLog() {
  const files = new MemoryFileSystem()
  files.makeFolder(DATA_DIR)
  const context = contextOver(files)
  const log = PartitionLog.create(context, OPTIONS)
  const segments = () => files.list(log.folder).filter((name) => name.endsWith('.log'))
  return { context, log, segments }
}

function produced(sequence: number): Uint8Array {
  return makeBatch({ producerId: 7, baseSequence: sequence })
}

test('it goes on empty from there: nothing of what it had is left, trimmed or not', () => {
  for (const trimmedTo of [0, 1, 3]) {
    const { context, log, segments } = newLog()
    for (let sequence = 0; sequence < 3; sequence++) append(log, produced(sequence), 1)
    sync(context, log)
    log.advanceLogStart(trimmedTo)
    log.restartAt(10)
    assert.deepEqual([log.logStartOffset, log.logEndOffset, log.syncedEndOffset, log.bytes], [10, 10, 10, 0])
    assert.deepEqual([log.epochs.latestEpoch, log.producers.count], [-1, 0])
    assert.equal(append(log, produced(5), 4), 10)
    sync(context, log)
    assert.deepEqual(fetchBases(context, log, 10, 11), [10])
    const line = checkpoint(context, log)
    assert.deepEqual([line.logStartOffset, line.recoveryPoint], [10, 11])
    log.removeCondemned()
    assert.deepEqual(segments(), ['00000000000000000010.log'])
  }
})

test('it may begin anew within what it had, and before it ever had anything', () => {
  const { context, log } = newLog()
  log.restartAt(4)
  assert.equal(append(log, makeBatch({ records: 5 }), 1), 4)
  sync(context, log)
  log.restartAt(6)
  assert.deepEqual([log.logStartOffset, log.logEndOffset], [6, 6])
  assert.equal(append(log, makeBatch(), 2), 6)
  assert.throws(() => log.restartAt(6), /would begin anew/)
})

test('cut below the producer snapshot that the checkpoint names: the next one names one that is left', () => {
  const { context, log } = newLog()
  for (let sequence = 0; sequence < 3; sequence++) append(log, produced(sequence), 1)
  assert.equal(checkpoint(context, log).producerSnapshotOffset, 3)
  for (let sequence = 3; sequence < 6; sequence++) append(log, produced(sequence), 1)
  log.roll()
  assert.equal(checkpoint(context, log).producerSnapshotOffset, 6)
  log.truncateTo(5)
  sync(context, log)
  // As of a log that has nothing to sync: no checkpoint was begun for it since.
  const { recoveryPoint, producerSnapshotOffset } = log.checkpoint()
  assert.ok(recoveryPoint <= 5)
  assert.ok(producerSnapshotOffset <= recoveryPoint, `a snapshot as of ${producerSnapshotOffset}`)
})
