/** The journal's two halves around a checkpoint, by what a power cut leaves of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import type { Fd } from '../../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { CommitJournal } from '../../../src/log/commit-journal.ts'
import { readJournalEntries } from '../../../src/log/journal-format.ts'
import { makeBatch, TOPIC } from '../../support/log-fixture.ts'

const KEY = { high: 1, low: 2 }

function newJournal(): { files: MemoryFileSystem; journal: CommitJournal; write: () => void } {
  const files = new MemoryFileSystem()
  files.makeFolder('/state')
  files.syncFolder('/')
  const journal = CommitJournal.create({
    ...{ files, folder: '/state', incarnation: 1, shard: 0, bytes: 256 * 1024, key: KEY },
  })
  let offset = 0
  const write = () => {
    const taken = journal.add({
      ...{ topicId: TOPIC, partition: 0, leaderEpoch: 0, segmentBaseOffset: 0, filePosition: offset * 100 },
      ...{ baseOffset: offset, nextOffset: ++offset, syncedEndOffset: 0, batches: [makeBatch()] },
    })
    assert.ok(taken)
    journal.writeStaged()
  }
  return { files, journal, write }
}

/** Sequences that survive when nothing does but what was synced. */
function sequencesAfterPowerCut(files: MemoryFileSystem): number[] {
  const cut = files.crash(new SeededPrng(1), { kind: 'power', survival: 'none' })
  return [0, 1]
    .flatMap((half) => readJournalEntries(cut.contentOf(`/state/1-0.journal-${half}`), KEY))
    .map(({ sequence }) => sequence)
    .sort()
}

test('a group that was written before the turn to the other half is synced with the next one, older half first', () => {
  const { files, journal, write } = newJournal()
  write()
  assert.equal(journal.beginCheckpoint(), 1)
  write()
  const fds: Fd[] = []
  const sequence = journal.beginSync(fds)
  assert.deepEqual([sequence, fds.length], [2, 2])
  files.fdatasync(fds[0]!)
  assert.deepEqual(sequencesAfterPowerCut(files), [0], 'an entry does not outlive one that was written before it')
  files.fdatasync(fds[1]!)
  assert.deepEqual(sequencesAfterPowerCut(files), [0, 1])
})

test('a half that no durable checkpoint covers is not taken again', () => {
  const { files, journal, write } = newJournal()
  write()
  assert.equal(journal.beginCheckpoint(), 1)
  write()
  assert.equal(journal.beginCheckpoint(), undefined, 'the first is not complete')
  journal.completeCheckpoint()
  assert.equal(journal.beginCheckpoint(), 2)
  write()
  const fds: Fd[] = []
  journal.beginSync(fds)
  for (const fd of fds) files.fdatasync(fd)
  // Sequence 0 was covered, its half taken again; 1 waits for the checkpoint under way.
  assert.deepEqual(sequencesAfterPowerCut(files), [1, 2])
})
