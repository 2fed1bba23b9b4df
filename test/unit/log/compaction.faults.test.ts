/** A run that fails at any operation leaves the log and its folder as they were, and the next one does the work. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FaultyFileSystem, type OperationKind } from '../../../src/io/faulty-file-system.ts'
import { StorageError } from '../../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { PartitionLog } from '../../../src/log/partition-log.ts'
import { segmentFileName } from '../../../src/log/segment.ts'
import { CLEANED_SUFFIX } from '../../../src/log/segment-swap.ts'
import { compact, keyedBatch, readAll, rewrite, settle, tableOf } from '../../support/compaction-fixture.ts'
import { append, contextOver, TOPIC, topicConfig } from '../../support/log-fixture.ts'

const OPERATIONS: readonly OperationKind[] = [
  'open',
  'write',
  'read',
  'fsync',
  'truncate',
  'syncFolder',
  'list',
  'stat',
]
const EXPECTED = new Map([
  ['a', '11'.repeat(150)],
  ['b', '11'.repeat(150)],
])

function fixture() {
  const memory = new MemoryFileSystem()
  const files = new FaultyFileSystem(memory)
  const context = contextOver(files)
  const config = topicConfig({ cleanupPolicy: 'compact', minCleanableDirtyRatio: 0, segmentBytes: 1500 })
  const log = PartitionLog.create(context, { topicId: TOPIC, partition: 0, config })
  for (let index = 0; index < 12; index++)
    append(log, keyedBatch(['a', 'b'].map((key) => ({ key, value: `${index}`.repeat(150) }))))
  log.roll()
  settle(context, log)
  return { memory, files, context, log }
}

for (const on of OPERATIONS)
  test(`${on} fails`, () => {
    const { memory, files, context, log } = fixture()
    let failures = 0
    for (let skip = 0; skip < 200; skip++) {
      const before = memory.list(log.folder)
      // An index that cannot be read is done without.
      const path = on === 'read' ? '.log' : ''
      files.inject({ on, path, skip, effect: { kind: 'fail', code: on === 'write' ? 'ENOSPC' : 'EIO' } })
      const fault = faultOf(() => rewrite(context, log))
      files.heal()
      log.endCompaction(undefined)
      if (fault === undefined) break
      failures++
      assert.ok(fault instanceof StorageError)
      assert.deepEqual(memory.list(log.folder), before, `${on} number ${skip}`)
    }
    assert.ok(failures > 0, `${on} was reached`)
    assert.notEqual(compact(context, log), undefined)
    const records = readAll(context, log)
    assert.deepEqual(tableOf(records), EXPECTED)
    assert.equal(records.length, 2)
  })

test('a segment that is not what was written is not rewritten', () => {
  const { files, context, log } = fixture()
  files.flipBitAtRest(`${log.folder}/${segmentFileName(0, '.log')}`, 100, 3)
  const fault = faultOf(() => rewrite(context, log))
  assert.ok(fault instanceof StorageError && fault.code === 'ECORRUPT', String(fault))
  assert.match(fault.message, /00000000000000000000\.log at byte 0: the checksum/)
  assert.ok(!files.list(log.folder).some((name) => name.endsWith(CLEANED_SUFFIX)))
})

function faultOf(run: () => unknown): unknown {
  try {
    run()
    return undefined
  } catch (error) {
    return error
  }
}
