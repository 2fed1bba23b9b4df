/** Recovery's table, row by row, and what a journal may and may not bring back. */
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import '../../../src/base/node/native-crc32c.ts'
import { utf8Encode } from '../../../src/base/bytes.ts'
import { SeededPrng } from '../../../src/base/prng.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { NOTHING_ABORTED } from '../../../src/log/aborted-index.ts'
import { readChecked, writeWholeFile } from '../../../src/log/checked-file.ts'
import { writeCheckpoint } from '../../../src/log/checkpoint-file.ts'
import { CommitJournal } from '../../../src/log/commit-journal.ts'
import { recoverDataDir } from '../../../src/log/data-dir-recovery.ts'
import { replaceFile } from '../../../src/log/durable-file.ts'
import { verifyDataDir } from '../../../src/log/log-verify.ts'
import { producerSnapshotName } from '../../../src/log/producer-snapshot-file.ts'
import { ProducerState } from '../../../src/log/producer-state.ts'
import { segmentFileName } from '../../../src/log/segment.ts'
import { SyncedEndsFile } from '../../../src/log/synced-ends-file.ts'
import { partitionFolder, type TopicId } from '../../../src/model/ids.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'

const TOPIC = 'c'.repeat(32) as TopicId
const FOLDER = `/d/${partitionFolder(TOPIC, 0)}`
const KEY = { high: 11, low: 22 }

let files: MemoryFileSystem

beforeEach(() => {
  files = new MemoryFileSystem()
  for (const folder of ['/d', '/d/state', '/d/quarantine', FOLDER]) files.makeFolder(folder)
})

/** A batch of two records at `offset`. */
function batchAt(offset: number, fill = offset, leaderEpoch = 1, timestampMs = 1000): Uint8Array {
  const writer = new BatchWriter()
  for (let index = 0; index < 2; index++) writer.append(null, new Uint8Array(100).fill(fill), null, timestampMs)
  const bytes = writer.finish().slice()
  new BatchView().reset(bytes).stamp(offset, leaderEpoch)
  return bytes
}

/** Two records of the producer's transaction at `offset`. */
function transactionalBatchAt(offset: number, producerId = 7): Uint8Array {
  const writer = new BatchWriter()
  for (let index = 0; index < 2; index++) writer.append(null, new Uint8Array(10), null, 1000)
  const bytes = writer.finish({ producerId, producerEpoch: 0, baseSequence: 0, transactional: true }).slice()
  new BatchView().reset(bytes).stamp(offset, 1)
  return bytes
}

const BATCH = batchAt(0).length

function put(base: number, at: number, bytes: Uint8Array): void {
  const fd = files.open(`${FOLDER}/${segmentFileName(base, '.log')}`, 'create')
  files.write(fd, [bytes], at)
  files.close(fd)
}

/** Batches at 0, 2, 4 … below `end`, from the segment's start. */
function fill(base: number, end: number): void {
  for (let offset = base; offset < end; offset += 2) put(base, ((offset - base) / 2) * BATCH, batchAt(offset))
}

function acknowledge(end: number): void {
  const synced = SyncedEndsFile.create({ files, folder: '/d/state', incarnation: 1, shard: 0 })
  synced.add({ topicId: TOPIC, partition: 0, syncedEnd: end })
  synced.write()
}

function acknowledgeAgain(end: number): void {
  files.remove('/d/state/1-0.synced')
  acknowledge(end)
}

function recover(previousRun: 'process-died' | 'machine-died' | 'clean' = 'process-died') {
  writeIfMissing()
  const recovery = recoverDataDir(files, { dataDir: '/d', incarnation: 2, previousRun })
  return { recovery, result: recovery.results[0]!, recovered: recovery.results[0]!.recovered! }
}

/** The recovery before the last run had nothing to say yet. */
function writeIfMissing(): void {
  writeCheckpoint(files, '/d/state', { incarnation: 1, shard: -1, journalSequence: 0, lines: [] })
}

function newJournal(): CommitJournal {
  return CommitJournal.create({ files, folder: '/d/state', incarnation: 1, shard: 0, bytes: 256 * 1024, key: KEY })
}

function journalBatch(
  journal: CommitJournal,
  offset: number,
  more: { fill?: number; syncedEndOffset?: number } = {},
): void {
  const taken = journal.add({
    ...{ topicId: TOPIC, partition: 0, leaderEpoch: 1, segmentBaseOffset: 0, filePosition: (offset / 2) * BATCH },
    ...{ baseOffset: offset, nextOffset: offset + 2, syncedEndOffset: more.syncedEndOffset ?? 0 },
    batches: [batchAt(offset, more.fill ?? offset)],
  })
  assert.ok(taken)
}

test('a torn tail past every bound is cut at the last whole batch', () => {
  fill(0, 6)
  put(0, 3 * BATCH, batchAt(6).subarray(0, 100))
  acknowledge(6)
  const { recovered, result } = recover()
  assert.deepEqual([recovered.damaged, recovered.logEndOffset, result.cutBytes], [null, 6, 100])
  assert.equal(files.contentOf(`${FOLDER}/${segmentFileName(0, '.log')}`).length, 3 * BATCH)
})

test('an end below what was acknowledged is damage, and nothing is touched', () => {
  fill(0, 6)
  put(0, 3 * BATCH, batchAt(6).subarray(0, 100))
  acknowledge(8)
  const { recovered, recovery } = recover('machine-died')
  assert.match(recovered.damaged!, /the log ends at offset 6 .* records up to 8 were acknowledged/)
  assert.equal(files.contentOf(`${FOLDER}/${segmentFileName(0, '.log')}`).length, 3 * BATCH + 100)
  assert.equal(recovery.results.length, 1)
  const again = recoverDataDir(files, { dataDir: '/d', incarnation: 3, previousRun: 'clean' })
  assert.notEqual(again.results[0]!.recovered!.damaged, null, 'the next start judges it the same')
})

test('a batch whose checksum does not fit is never believed: cut past the acknowledged end, damage below it', () => {
  fill(0, 6)
  acknowledge(4)
  // Its header says everything that is right; one bit of its last record does not.
  files.damage(`${FOLDER}/${segmentFileName(0, '.log')}`, 3 * BATCH - 10, new Uint8Array([0xff]))
  const saved = files.clone()
  const { recovered, result } = recover()
  assert.deepEqual([recovered.damaged, recovered.logEndOffset, result.cutBytes], [null, 4, BATCH])
  files = saved
  acknowledgeAgain(6)
  assert.match(
    recover().recovered.damaged!,
    /records up to 6 were acknowledged: the checksum of the batch does not fit/,
  )
})

test('a sound batch in the wrong place is no part of the log: another offset, or an older epoch', () => {
  fill(0, 4)
  put(0, 2 * BATCH, batchAt(6))
  acknowledge(4)
  const saved = files.clone()
  assert.match(recover().recovered.damaged!, /the batch begins at offset 6, not 4/)
  files = saved
  put(0, 2 * BATCH, batchAt(4, 4, 0))
  const { recovered, result } = recover()
  assert.deepEqual([recovered.damaged, recovered.logEndOffset, result.cutBytes], [null, 4, BATCH])
  assert.match(result.notes.join(), /the leader epoch falls from 1 to 0/)
})

test('an epoch changed below the recovery point does not move what the epoch file knows', () => {
  fill(0, 4)
  put(0, 2 * BATCH, batchAt(4, 4, 2))
  put(0, 3 * BATCH, batchAt(6, 6, 2))
  assert.deepEqual(recover('clean').recovered.leaderEpochs, [
    [1, 0],
    [2, 4],
  ])
  // The epoch lies outside the checksum. No producer snapshot and no index: the walk of the next start sees it.
  files.damage(`${FOLDER}/${segmentFileName(0, '.log')}`, BATCH + 15, new Uint8Array([31]))
  const again = recoverDataDir(files, { dataDir: '/d', incarnation: 3, previousRun: 'clean' })
  assert.deepEqual(again.results[0]!.recovered!.leaderEpochs, [
    [1, 0],
    [2, 4],
  ])
})

test('sound batches behind a bad one: damage after a kill, set aside and cut after a power cut', () => {
  fill(0, 10)
  put(0, 2 * BATCH, new Uint8Array(BATCH))
  acknowledge(4)
  const saved = files.clone()
  assert.match(recover('process-died').recovered.damaged!, /sound batches follow at/)
  files = saved
  const { recovered, result } = recover('machine-died')
  assert.deepEqual([recovered.damaged, recovered.logEndOffset, result.cutBytes], [null, 4, 3 * BATCH])
  const copy = `/d/${result.setAside}/${segmentFileName(0, '.log')}.from-${2 * BATCH}`
  assert.equal(files.contentOf(copy).length, 3 * BATCH)
})

test('an offset index that is newer than the time index is believed only as far as that reaches', () => {
  const path = `${FOLDER}/${segmentFileName(0, '.timeindex')}`
  const putBatch = (index: number, timestampMs: number) =>
    put(0, index * BATCH, batchAt(index * 2, index, 1, timestampMs))
  for (let index = 0; index < 100; index++) putBatch(index, 1000)
  recover('clean')
  const older = files.contentOf(path)
  for (let index = 100; index < 400; index++) putBatch(index, index === 150 ? 5000 : 1000)
  recoverDataDir(files, { dataDir: '/d', incarnation: 3, previousRun: 'clean' })
  // A power cut brings the older one back.
  files.remove(path)
  const fd = files.open(path, 'create')
  files.write(fd, [older], 0)
  files.close(fd)
  const { results } = recoverDataDir(files, { dataDir: '/d', incarnation: 4, previousRun: 'machine-died' })
  assert.equal(results[0]!.recovered!.segments[0]!.maxTimestampMs, 5000)
})

test('a checkpoint that only the page cache has is made durable before segments go by it', () => {
  fill(0, 6)
  fill(6, 12)
  writeIfMissing()
  const line = { topicId: TOPIC, partition: 0, recoveryPoint: 12, producerSnapshotOffset: -1 }
  const checkpoint = { incarnation: 1, shard: 0, journalSequence: 0 }
  writeCheckpoint(files, '/d/state', { ...checkpoint, lines: [{ ...line, logStartOffset: 0 }] })
  for (const path of files.filePaths()) {
    const fd = files.open(path, 'write')
    files.fsync(fd)
    files.close(fd)
  }
  for (const folder of ['/', '/d', '/d/state', FOLDER]) files.syncFolder(folder)
  // Retention moved the start; the process is killed after the rename of its checkpoint, before the sync of the folder.
  const killed = files.clone()
  killed.syncFolder = () => {
    throw new Error('killed')
  }
  assert.throws(() => writeCheckpoint(killed, '/d/state', { ...checkpoint, lines: [{ ...line, logStartOffset: 6 }] }))
  for (let seed = 1; seed <= 50; seed++) {
    const started = killed.crash(new SeededPrng(seed), { kind: 'kill' })
    const remove = started.remove.bind(started)
    started.remove = (path) => {
      remove(path)
      throw new Error('power cut')
    }
    const recovery = { dataDir: '/d', incarnation: 2, previousRun: 'process-died' } as const
    assert.throws(() => recoverDataDir(started, recovery), /power cut/)
    const image = started.crash(new SeededPrng(seed), { kind: 'power' })
    const again = recoverDataDir(image, { dataDir: '/d', incarnation: 3, previousRun: 'machine-died' })
    const { damaged, logEndOffset } = again.results[0]!.recovered!
    assert.deepEqual([damaged, logEndOffset], [null, 12], `seed ${seed}`)
  }
})

test('a batch below the recovery point whose last offset changed to one past it is damage, not the end before a torn tail', () => {
  fill(0, 10)
  writeCheckpoint(files, '/d/state', {
    ...{ incarnation: 1, shard: 0, journalSequence: 0 },
    lines: [{ topicId: TOPIC, partition: 0, logStartOffset: 0, recoveryPoint: 10, producerSnapshotOffset: -1 }],
  })
  acknowledge(10)
  // 23: the last offset delta; 1 -> 65
  put(0, 2 * BATCH + 26, Uint8Array.of(65))
  const { recovered } = recover('clean')
  assert.match(recovered.damaged!, /checksum/)
  assert.equal(files.contentOf(`${FOLDER}/${segmentFileName(0, '.log')}`).length, 5 * BATCH)
})

test('a missing segment in the middle is damage when records in it were acknowledged', () => {
  fill(0, 6)
  fill(10, 16)
  acknowledge(12)
  assert.match(
    recover('machine-died').recovered.damaged!,
    /ends at offset 6 .*the segment that holds offset 6 is missing/,
  )
})

test('a missing segment below the recovery point is found though its neighbours have their indexes', () => {
  fill(0, 6)
  fill(6, 10)
  fill(10, 16)
  acknowledge(16)
  assert.equal(recover().recovered.logEndOffset, 16)
  files.remove(`${FOLDER}/${segmentFileName(6, '.log')}`)
  const again = recoverDataDir(files, { dataDir: '/d', incarnation: 3, previousRun: 'clean' })
  assert.match(again.results[0]!.recovered!.damaged!, /ends at offset 6/)
})

test('a log that is trimmed to its end may have an old segment left whose removal was lost', () => {
  fill(0, 6)
  acknowledge(9)
  writeCheckpoint(files, '/d/state', {
    ...{ incarnation: 1, shard: 0, journalSequence: 0 },
    lines: [{ topicId: TOPIC, partition: 0, logStartOffset: 9, recoveryPoint: 9, producerSnapshotOffset: -1 }],
  })
  const { recovered } = recover('machine-died')
  assert.deepEqual(
    [recovered.damaged, recovered.logStartOffset, recovered.logEndOffset, recovered.segments],
    [null, 9, 9, []],
  )
})

test('what a snapshot as of the log start tells of open transactions outlives the last segment, an older one does not', () => {
  const bytes = transactionalBatchAt(0)
  for (const snapshotOffset of [9, 2]) {
    files = new MemoryFileSystem()
    for (const folder of ['/d', '/d/state', '/d/quarantine', FOLDER]) files.makeFolder(folder)
    const producers = new ProducerState()
    producers.replay(new BatchView().reset(bytes), 1000, undefined)
    put(0, 0, bytes)
    const path = `${FOLDER}/${producerSnapshotName(snapshotOffset)}`
    files.close(writeWholeFile(files, path, producers.encode(snapshotOffset, NOTHING_ABORTED)))
    writeCheckpoint(files, '/d/state', {
      ...{ incarnation: 1, shard: 0, journalSequence: 0 },
      lines: [
        { topicId: TOPIC, partition: 0, logStartOffset: 9, recoveryPoint: 9, producerSnapshotOffset: snapshotOffset },
      ],
    })
    const { recovered } = recover('machine-died')
    assert.deepEqual([recovered.damaged, recovered.logEndOffset], [null, 9])
    assert.deepEqual(recovered.openTransactions, snapshotOffset === 9 ? [[7, 0]] : [])
  }
})

test('a producer snapshot past the one that the checkpoint names is of records that were cut: it is not believed', () => {
  put(0, 0, transactionalBatchAt(0))
  put(0, transactionalBatchAt(0).length, batchAt(2))
  const producers = new ProducerState()
  const view = new BatchView()
  producers.replay(view.reset(transactionalBatchAt(0)), 1000, undefined)
  const write = (offset: number, state: ProducerState) =>
    files.close(
      writeWholeFile(files, `${FOLDER}/${producerSnapshotName(offset)}`, state.encode(offset, NOTHING_ABORTED)),
    )
  write(2, producers)
  write(4, new ProducerState())
  writeCheckpoint(files, '/d/state', {
    ...{ incarnation: 1, shard: 0, journalSequence: 0 },
    lines: [{ topicId: TOPIC, partition: 0, logStartOffset: 0, recoveryPoint: 4, producerSnapshotOffset: 2 }],
  })
  const { recovered } = recover()
  assert.deepEqual([recovered.damaged, recovered.logEndOffset, recovered.producerSnapshotOffset], [null, 4, 4])
  const path = `${FOLDER}/${producerSnapshotName(4)}`
  const found = readChecked(files, path, (bytes) => ProducerState.decode(bytes))
  assert.deepEqual(found.kind === 'present' && found.value.state.describe().map(({ producerId }) => producerId), [7])
})

test('a clean start reads next to nothing', () => {
  fill(0, 2000)
  recover()
  const { bytesRead } = files.counters
  const again = recoverDataDir(files, { dataDir: '/d', incarnation: 3, previousRun: 'clean' })
  assert.equal(again.results[0]!.recovered!.logEndOffset, 2000)
  assert.ok(files.counters.bytesRead - bytesRead < 40_000, `${files.counters.bytesRead - bytesRead} bytes read`)
})

test('without its folder a partition is damaged if something was acknowledged, else it is not there', () => {
  files.removeFolder(FOLDER)
  acknowledge(5)
  assert.match(recover().recovered.damaged!, /folder .* is missing/)
})

test('a log that began empty above 0 and has no folder yet comes back empty at its start, and takes batches', () => {
  files.removeFolder(FOLDER)
  for (const folder of ['/', '/d']) files.syncFolder(folder)
  writeCheckpoint(files, '/d/state', {
    ...{ incarnation: 1, shard: 0, journalSequence: 0 },
    lines: [{ topicId: TOPIC, partition: 0, logStartOffset: 50, recoveryPoint: 50, producerSnapshotOffset: -1 }],
  })
  acknowledge(50)
  const { recovered } = recover('machine-died')
  assert.deepEqual(
    [recovered.damaged, recovered.logStartOffset, recovered.logEndOffset, recovered.segments],
    [null, 50, 50, []],
  )
  for (let seed = 0; seed < 20; seed++) {
    const afterPowerCut = files.crash(new SeededPrng(seed), { kind: 'power' })
    assert.equal(afterPowerCut.stat(FOLDER).kind, 'folder', 'an open log syncs its folder, not the one above')
  }
})

test('when the checkpoints are lost nothing but a torn tail is cut', () => {
  fill(0, 10)
  put(0, 2 * BATCH, new Uint8Array(BATCH))
  const recovery = recoverDataDir(files, { dataDir: '/d', incarnation: 9, previousRun: 'machine-died' })
  assert.notEqual(recovery.results[0]!.recovered!.damaged, null)
})

test('a journal brings back what only it holds, folder and all', () => {
  const journal = newJournal()
  for (const offset of [0, 2, 4]) journalBatch(journal, offset)
  journal.writeStaged()
  files.removeFolder(FOLDER)
  acknowledge(6)
  const { recovered, recovery } = recover('machine-died')
  assert.deepEqual([recovered.damaged, recovered.logEndOffset, recovery.journals.entries], [null, 6, 3])
})

test('verify counts what a journal still holds as there, what it has cut or never had as damage', () => {
  const probe = { pid: 9, bootId: 'boot', startOf: () => undefined }
  const verify = () =>
    verifyDataDir(files, { dataDir: '/d', probe }).findings.map(({ kind, fromOffset }) => [kind, fromOffset])
  const identity = { formatVersion: 1, clusterId: 'c', nodeId: 1, incarnation: 1, bootId: 'boot' }
  replaceFile(files, '/d/data-dir.json', [utf8Encode(JSON.stringify(identity))])
  writeIfMissing()
  fill(0, 4)
  acknowledge(8)
  const journal = newJournal()
  for (const offset of [2, 4]) journalBatch(journal, offset)
  journal.writeStaged()
  assert.deepEqual(verify(), [['damage', 4]], 'it holds offsets up to 6')
  journalBatch(journal, 6)
  journal.writeStaged()
  assert.deepEqual(verify(), [['unsettled', 4]])
  assert.ok(journal.addTruncate({ topicId: TOPIC, partition: 0, offset: 6, syncedEndOffset: 0 }))
  journal.writeStaged()
  assert.deepEqual(verify(), [['damage', 4]])
})

test('what a journal brings back is durable before the journal goes, for a partition that is damaged, too', () => {
  files.syncFolder('/')
  fill(0, 2)
  const journal = newJournal()
  for (const offset of [2, 4]) journalBatch(journal, offset)
  journal.writeStaged()
  acknowledge(8)
  assert.match(
    recover('machine-died').recovered.damaged!,
    /the log ends at offset 6 .* records up to 8 were acknowledged/,
  )
  assert.deepEqual(files.list('/d/state'), ['2.recovered'])
  const cut = files.crash(new SeededPrng(1), { kind: 'power', survival: 'none' })
  const kept = cut.contentOf(`${FOLDER}/${segmentFileName(0, '.log')}`).subarray(BATCH)
  assert.deepEqual(kept, new Uint8Array(Buffer.concat([batchAt(2), batchAt(4)])))
})

test('what was truncated does not come back over what was written since', () => {
  const journal = newJournal()
  for (const offset of [0, 2, 4]) journalBatch(journal, offset)
  assert.ok(journal.addTruncate({ topicId: TOPIC, partition: 0, offset: 2, syncedEndOffset: 0 }))
  journal.writeStaged()
  put(0, 0, batchAt(0))
  put(0, BATCH, batchAt(2, 99))
  const { recovered } = recover()
  assert.equal(recovered.logEndOffset, 4)
  const log = files.contentOf(`${FOLDER}/${segmentFileName(0, '.log')}`)
  assert.deepEqual(log.subarray(BATCH), batchAt(2, 99))
})

test('after a truncation that a journal tells of producers come from the newest snapshot before it, which stays', () => {
  put(0, 0, transactionalBatchAt(0))
  put(0, transactionalBatchAt(0).length, batchAt(2))
  put(0, transactionalBatchAt(0).length + BATCH, batchAt(4))
  const view = new BatchView()
  const first = new ProducerState()
  first.replay(view.reset(transactionalBatchAt(0)), 1000, undefined)
  // Only the snapshot knows of producer 8: its records were trimmed.
  const known = new ProducerState()
  known.replay(view.reset(transactionalBatchAt(0)), 1000, undefined)
  known.replay(view.reset(transactionalBatchAt(0, 8)), 1000, undefined)
  const write = (offset: number, state: ProducerState) =>
    files.close(
      writeWholeFile(files, `${FOLDER}/${producerSnapshotName(offset)}`, state.encode(offset, NOTHING_ABORTED)),
    )
  write(2, known)
  write(6, first)
  writeCheckpoint(files, '/d/state', {
    ...{ incarnation: 1, shard: 0, journalSequence: 0 },
    lines: [{ topicId: TOPIC, partition: 0, logStartOffset: 0, recoveryPoint: 6, producerSnapshotOffset: 6 }],
  })
  const journal = newJournal()
  assert.ok(journal.addTruncate({ topicId: TOPIC, partition: 0, offset: 4, syncedEndOffset: 0 }))
  journal.writeStaged()
  const { recovered } = recover()
  const path = `${FOLDER}/${producerSnapshotName(recovered.producerSnapshotOffset)}`
  const found = readChecked(files, path, (bytes) => ProducerState.decode(bytes))
  assert.deepEqual(found.kind === 'present' && found.value.state.describe().map(({ producerId }) => producerId), [7, 8])
  assert.equal(files.stat(`${FOLDER}/${producerSnapshotName(2)}`).kind, 'file', 'until the next recovery')
})

test('a batch that straddles a truncation is written up to it only', () => {
  const journal = newJournal()
  const batches = [batchAt(0), batchAt(2), batchAt(4)]
  const place = { topicId: TOPIC, partition: 0, leaderEpoch: 1, segmentBaseOffset: 0, filePosition: 0 }
  assert.ok(journal.add({ ...place, baseOffset: 0, nextOffset: 6, syncedEndOffset: 0, batches }))
  assert.ok(journal.addTruncate({ topicId: TOPIC, partition: 0, offset: 2, syncedEndOffset: 0 }))
  journal.writeStaged()
  put(0, BATCH, batchAt(2, 99))
  assert.equal(recover().recovered.logEndOffset, 4)
  assert.deepEqual(files.contentOf(`${FOLDER}/${segmentFileName(0, '.log')}`).subarray(BATCH), batchAt(2, 99))
})

test('a deleted partition does not come back', () => {
  const journal = newJournal()
  journalBatch(journal, 0)
  assert.ok(journal.addDelete({ topicId: TOPIC, partition: 0 }))
  journal.writeStaged()
  files.removeFolder(FOLDER)
  acknowledge(2)
  const { recovery } = recover()
  assert.deepEqual(recovery.journals.deleted, [partitionFolder(TOPIC, 0)])
  assert.equal(recovery.results[0]!.recovered, null)
  assert.equal(files.stat(FOLDER).kind, 'absent')
})

test('a log start in the journal survives', () => {
  const journal = newJournal()
  assert.ok(journal.addLogStart({ topicId: TOPIC, partition: 0, offset: 4, syncedEndOffset: 6 }))
  journal.writeStaged()
  fill(0, 6)
  assert.equal(recover().recovered.logStartOffset, 4)
})

test('a gap in the journal: a torn end, unless a later entry says that it was synced', () => {
  for (const wasSynced of [false, true]) {
    files = new MemoryFileSystem()
    for (const folder of ['/d', '/d/state', '/d/quarantine', FOLDER]) files.makeFolder(folder)
    const journal = newJournal()
    for (const offset of [0, 2, 4, 6]) {
      journalBatch(journal, offset)
      journal.writeStaged()
      if (wasSynced) journal.completeSync(journal.beginSync([]))
    }
    // The header of the second entry, each group begins a sector.
    files.damage('/d/state/1-0.journal-0', 512 + 512 + 20, new Uint8Array([0xff]))
    const { recovery, recovered } = recover('machine-died')
    assert.equal(recovery.journals.damagedEntries, wasSynced ? 1 : 0)
    assert.equal(recovery.journals.entries, wasSynced ? 3 : 1)
    assert.equal(recovered.logEndOffset, 2)
    assert.equal(recovered.damaged !== null, wasSynced, String(recovered.damaged))
  }
})

test('an entry whose payload alone is damaged still says what must be there', () => {
  const journal = newJournal()
  for (const offset of [0, 2, 4]) {
    journalBatch(journal, offset)
    journal.writeStaged()
    journal.completeSync(journal.beginSync([]))
  }
  files.damage('/d/state/1-0.journal-0', 512 + 512 + 128 + 80, new Uint8Array([0xff, 0xfe]))
  assert.match(recover('machine-died').recovered.damaged!, /records up to 4 were acknowledged/)
})

test('entries of an older start do not touch what a newer one wrote', () => {
  const journal = newJournal()
  journalBatch(journal, 0)
  journalBatch(journal, 2)
  journal.writeStaged()
  fill(0, 4)
  put(0, BATCH, batchAt(2, 77))
  writeCheckpoint(files, '/d/state', {
    ...{ incarnation: 2, shard: -1, journalSequence: 0 },
    lines: [{ topicId: TOPIC, partition: 0, logStartOffset: 0, recoveryPoint: 4, producerSnapshotOffset: -1 }],
  })
  recoverDataDir(files, { dataDir: '/d', incarnation: 3, previousRun: 'machine-died' })
  assert.deepEqual(files.contentOf(`${FOLDER}/${segmentFileName(0, '.log')}`).subarray(BATCH), batchAt(2, 77))
})

test('a producer of old data is as recent as its last append, not as its records', () => {
  const nowMs = 1_700_000_000_000
  files = new MemoryFileSystem({ clock: { nowMs: () => nowMs } })
  for (const folder of ['/d', '/d/state', '/d/quarantine', FOLDER]) files.makeFolder(folder)
  const writer = new BatchWriter()
  writer.append(null, new Uint8Array(10), null, 1000)
  const bytes = writer.finish({ producerId: 5, producerEpoch: 0, baseSequence: 0 }).slice()
  new BatchView().reset(bytes).stamp(0, 1)
  put(0, 0, bytes)
  const { recovered } = recover()
  assert.equal(recovered.producerSnapshotOffset, 1)
  const path = `${FOLDER}/${producerSnapshotName(1)}`
  const snapshot = readChecked(files, path, (content) => ProducerState.decode(content))
  assert.ok(snapshot.kind === 'present')
  assert.equal(snapshot.value.state.count, 1)
  assert.equal(snapshot.value.state.expire(nowMs - 86_400_000), 0, 'a retry would not be known as a duplicate')
})
