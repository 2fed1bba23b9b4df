/** The files of state/: what is written is what is read, and nothing else is taken for it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import '../../../src/base/node/native-crc32c.ts'
import { SeededPrng } from '../../../src/base/prng.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import {
  decodeCheckpoint,
  encodeCheckpoint,
  readCheckpoint,
  writeCheckpoint,
} from '../../../src/log/checkpoint-file.ts'
import { CommitJournal } from '../../../src/log/commit-journal.ts'
import { JournalKind, readJournalEntries } from '../../../src/log/journal-format.ts'
import { parseStateFileName } from '../../../src/log/state-files.ts'
import { readSyncedEnds, SYNCED_ENDS_SLOT_BYTES, SyncedEndsFile } from '../../../src/log/synced-ends-file.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'

const KEY = { high: 0x12345678, low: 0x9abcdef0 }

function topicOf(number: number): TopicId {
  return number.toString(16).padStart(32, '0') as TopicId
}

function batchOf(baseOffset: number, valueBytes: number): Uint8Array {
  const writer = new BatchWriter()
  writer.append(null, new Uint8Array(valueBytes).fill(baseOffset & 0xff), null, 1000 + baseOffset)
  const bytes = writer.finish().slice()
  new BatchView().reset(bytes).stamp(baseOffset, 3)
  return bytes
}

function newDisk(): MemoryFileSystem {
  const files = new MemoryFileSystem()
  files.makeFolder('/state')
  files.syncFolder('/')
  return files
}

test('a checkpoint of 10,000 lines is read as it was written', () => {
  const files = newDisk()
  const lines = Array.from({ length: 10_000 }, (_, index) => ({
    topicId: topicOf(index),
    partition: index,
    logStartOffset: index,
    recoveryPoint: 2 ** 40 + index,
    producerSnapshotOffset: index % 2 === 0 ? -1 : index,
    syncedEndOffset: 2 ** 41,
    damaged: index === 5,
  }))
  writeCheckpoint(files, '/state', { incarnation: 7, shard: 2, journalSequence: 2 ** 35, lines })
  const answer = readCheckpoint(files, '/state/7-2.checkpoint')
  assert.deepEqual(answer, {
    kind: 'present',
    checkpoint: { incarnation: 7, shard: 2, journalSequence: 2 ** 35, lines },
  })
})

test('no changed byte and no cut of a checkpoint is believed', () => {
  const line = { topicId: topicOf(1), partition: 1, logStartOffset: 0, recoveryPoint: 5, producerSnapshotOffset: -1 }
  const good = encodeCheckpoint({ incarnation: 1, shard: 0, journalSequence: 0, lines: [line] })
  for (let at = 0; at < good.length; at++) {
    const bad = good.slice()
    bad[at]! ^= 0x10
    assert.equal(decodeCheckpoint(bad).kind, 'unreadable', `byte ${at}`)
    assert.equal(decodeCheckpoint(good.subarray(0, at)).kind, 'unreadable', `cut at ${at}`)
  }
})

test('synced ends: dirty slots are written, freed ones are reused, torn ones are ignored', () => {
  const files = newDisk()
  const file = SyncedEndsFile.create({ files, folder: '/state', incarnation: 3, shard: 0 })
  const slots = Array.from({ length: 1000 }, (_, partition) =>
    file.add({ topicId: topicOf(9), partition, syncedEnd: partition }),
  )
  file.write()
  file.set(slots[5]!, 777)
  file.set(slots[999]!, 2 ** 50)
  file.remove(slots[6]!)
  const writesBefore = files.counters.writes
  file.write()
  assert.equal(files.counters.writes - writesBefore, 2, 'two distant ranges, two writes')
  file.write()
  assert.equal(files.counters.writes - writesBefore, 2, 'nothing dirty, no write')
  const answer = readSyncedEnds(files, '/state/3-0.synced')
  assert.equal(answer.kind, 'present')
  if (answer.kind !== 'present') return
  assert.equal(answer.ends.length, 999)
  assert.equal(answer.ends.find((end) => end.partition === 5)?.syncedEnd, 777)
  assert.equal(answer.ends.find((end) => end.partition === 999)?.syncedEnd, 2 ** 50)
  assert.equal(
    answer.ends.some((end) => end.partition === 6),
    false,
  )
  assert.equal(file.add({ topicId: topicOf(9), partition: 6, syncedEnd: 1 }), slots[6])
  files.damage('/state/3-0.synced', 512 + 10 * SYNCED_ENDS_SLOT_BYTES + 21, new Uint8Array([0x55]))
  const damaged = readSyncedEnds(files, '/state/3-0.synced')
  assert.ok(damaged.kind === 'present' && damaged.unreadableSlots === 1)
  assert.ok(damaged.kind === 'present' && !damaged.ends.some((end) => end.partition === 10))
})

test('a journal gives back its entries, over many groups and both halves', () => {
  const files = newDisk()
  const journal = CommitJournal.create({
    ...{ files, folder: '/state', incarnation: 4, shard: 1, bytes: 256 * 1024, key: KEY },
  })
  const prng = new SeededPrng(1)
  const written = new Map<number, Uint8Array>()
  let offset = 0
  let sequence = 0
  let covered = 0
  let checkpoints = 0
  for (let group = 0; group < 300; group++) {
    const count = 1 + prng.below(90)
    let staged = 0
    for (let index = 0; index < count; index++) {
      const batch = batchOf(offset, prng.below(300))
      const entry = {
        topicId: topicOf(index),
        partition: index,
        leaderEpoch: 3,
        segmentBaseOffset: 0,
        filePosition: offset,
      }
      if (!journal.add({ ...entry, baseOffset: offset, nextOffset: offset + 1, syncedEndOffset: 0, batches: [batch] }))
        break
      written.set(sequence + staged, batch)
      staged++
      offset++
    }
    journal.writeStaged()
    sequence += staged
    journal.completeSync(journal.beginSync([]))
    if (journal.wantsCheckpoint) {
      covered = journal.beginCheckpoint()!
      assert.equal(covered, sequence)
      assert.equal(journal.beginCheckpoint(), undefined, 'one at a time')
      journal.completeCheckpoint()
      checkpoints++
    }
  }
  assert.ok(checkpoints > 5)
  const found = new Map<number, Uint8Array>()
  for (const half of [0, 1]) {
    const bytes = files.contentOf(`/state/4-1.journal-${half}`)
    for (const entry of readJournalEntries(bytes, KEY)) {
      assert.equal(entry.kind, JournalKind.BATCHES)
      assert.ok(entry.payloadIsSound)
      found.set(entry.sequence, bytes.subarray(entry.payloadAt, entry.payloadAt + entry.payloadBytes))
    }
    assert.deepEqual(readJournalEntries(bytes, { ...KEY, low: 1 }), [], 'not without the key')
  }
  assert.ok(sequence > covered)
  for (let wanted = covered; wanted < sequence; wanted++) assert.deepEqual(found.get(wanted), written.get(wanted))
})

test('a full journal says so, keeps a reserve for changes, and an entry is all or nothing', () => {
  const files = newDisk()
  const journal = CommitJournal.create({
    ...{ files, folder: '/state', incarnation: 4, shard: 1, bytes: 256 * 1024, key: KEY },
  })
  const batch = batchOf(0, 10_000)
  const entry = {
    topicId: topicOf(1),
    partition: 1,
    leaderEpoch: 3,
    segmentBaseOffset: 0,
    filePosition: 0,
    baseOffset: 0,
  }
  let taken = 0
  while (journal.add({ ...entry, nextOffset: 1, syncedEndOffset: 0, batches: [batch] })) taken++
  assert.equal(journal.stagedCount, taken)
  journal.writeStaged()
  assert.equal(journal.addTruncate({ topicId: topicOf(1), partition: 1, offset: 0, syncedEndOffset: 0 }), true)
  journal.writeStaged()
  const entries = readJournalEntries(files.contentOf('/state/4-1.journal-0'), KEY)
  assert.equal(entries.length, taken + 1)
  assert.equal(entries.at(-1)!.kind, JournalKind.TRUNCATE)
})

test('names of state files', () => {
  assert.deepEqual(parseStateFileName('12-3.journal-1'), {
    ...{ name: '12-3.journal-1', kind: 'journal', incarnation: 12, shard: 3, half: 1 },
  })
  assert.equal(parseStateFileName('12.recovered')?.kind, 'recovered')
  for (const name of ['12-3.journal-2', '0-1.synced', '12-3.checkpoint.tmp', 'x', '12-03.synced', ''])
    assert.equal(parseStateFileName(name), undefined, name)
})
