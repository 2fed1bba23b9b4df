/** The checkpointer by itself: when a checkpoint is begun, and that each ends. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FaultyFileSystem } from '../../../src/io/faulty-file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import type { CommitJournal } from '../../../src/log/commit-journal.ts'
import type { SyncedEndsFile } from '../../../src/log/synced-ends-file.ts'
import { Checkpointer } from '../../../src/worker/checkpointer.ts'
import { PartitionTable } from '../../../src/worker/partition-table.ts'

/** A journal that deletes and trims have filled: no log is dirty. */
class FullJournal {
  wantsCheckpoint = true
  completed = 0
  beginCheckpoint(): number {
    this.wantsCheckpoint = false
    return 7
  }
  completeCheckpoint(): void {
    this.completed++
  }
}

test('a journal that is half full is emptied by a checkpoint, also when no log has anything new', () => {
  const files = new MemoryFileSystem()
  files.makeFolder('/state')
  const journal = new FullJournal()
  let checkpoints = 0
  const checkpointer = new Checkpointer({
    ...{ files, clock: { nowMs: () => 0, monotonicMs: () => 0 }, stateFolder: '/state', incarnation: 1, shard: 0 },
    ...{ partitions: new PartitionTable(), journal: journal as unknown as CommitJournal },
    ...{
      syncedEnds: { write: () => {} } as unknown as SyncedEndsFile,
      checkpointMs: 10_000,
      checkpointBytes: 1 << 30,
    },
    onSynced: () => {},
    onCheckpointed: () => checkpoints++,
    onGivenUp: (reason) => assert.fail(reason),
  })
  let steps = 0
  for (; checkpointer.hasWork(0); steps++) {
    assert.ok(steps < 10, 'the checkpoint does not end')
    checkpointer.begin([])
    checkpointer.complete()
  }
  assert.deepEqual([journal.completed, checkpoints], [1, 1])
  assert.equal(files.filePaths().length, 1)
})

test('who waited for a checkpoint that found no room hears of the next one, though nothing is new by then', () => {
  const files = new MemoryFileSystem()
  files.makeFolder('/state')
  const faulty = new FaultyFileSystem(files)
  faulty.inject({ on: 'write', path: '.checkpoint', effect: { kind: 'fail', code: 'ENOSPC' } })
  let nowMs = 0
  let givenUp = 0
  let told = 0
  const checkpointer = new Checkpointer({
    ...{ files: faulty, clock: { nowMs: () => 0, monotonicMs: () => nowMs }, stateFolder: '/state', incarnation: 1 },
    ...{ shard: 0, partitions: new PartitionTable(), journal: undefined },
    ...{
      syncedEnds: { write: () => {} } as unknown as SyncedEndsFile,
      checkpointMs: 10_000,
      checkpointBytes: 1 << 30,
    },
    onSynced: () => {},
    onCheckpointed: () => {},
    onGivenUp: () => givenUp++,
  })
  const run = (): void => {
    for (let steps = 0; checkpointer.hasWork(nowMs); steps++) {
      assert.ok(steps < 10, 'the checkpoint does not end')
      checkpointer.begin([])
      checkpointer.complete()
    }
  }
  checkpointer.ask(() => told++)
  run()
  assert.deepEqual([givenUp, told], [1, 0])
  nowMs += 10_000
  run()
  assert.deepEqual([givenUp, told], [1, 1])
})
