/** What recovery, verify and a clean stop make of a log that was compacted, or was about to be. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { writeCheckpoint } from '../../../src/log/checkpoint-file.ts'
import { CommitJournal } from '../../../src/log/commit-journal.ts'
import { openDataDir, STATE_FOLDER } from '../../../src/log/data-dir.ts'
import { recoverDataDir } from '../../../src/log/data-dir-recovery.ts'
import type { LogContext } from '../../../src/log/log-context.ts'
import { verifyDataDir } from '../../../src/log/log-verify.ts'
import { PartitionLog } from '../../../src/log/partition-log.ts'
import { segmentFileName } from '../../../src/log/segment.ts'
import { parseSwapFileName, swapFileName } from '../../../src/log/segment-swap.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import { compact, keyedBatch, readAll, rewrite, tableOf } from '../../support/compaction-fixture.ts'
import { append, checkpoint, contextOver, DATA_DIR, TOPIC, topicConfig } from '../../support/log-fixture.ts'
import { probeOf } from '../../support/log-workload.ts'

const CONFIG = topicConfig({ cleanupPolicy: 'compact', minCleanableDirtyRatio: 0, segmentBytes: 300 })
const BASE = { topicId: TOPIC, partition: 0, config: CONFIG }
const EXPECTED = new Map([['a', '9'.repeat(60)]])

let pid = 9000

/** One start's data dir with a log of ten updates of one key. */
class Fixture {
  readonly files = new MemoryFileSystem()
  readonly context: LogContext = contextOver(this.files)
  readonly log: PartitionLog
  readonly #incarnation: number

  constructor() {
    const dataDir = openDataDir(this.files, this.#start())
    this.#incarnation = dataDir.identity.incarnation
    const { previousRun } = dataDir
    recoverDataDir(this.files, { dataDir: DATA_DIR, incarnation: this.#incarnation, previousRun })
    this.log = PartitionLog.create(this.context, BASE)
    for (let index = 0; index < 10; index++) append(this.log, keyedBatch([{ key: 'a', value: `${index}`.repeat(60) }]))
    this.log.roll()
  }

  #start() {
    return { path: DATA_DIR, nodeId: 1, newClusterId: 'c', probe: probeOf('boot', ++pid) }
  }

  checkpoint(): void {
    const line = checkpoint(this.context, this.log)
    const lines = [{ ...line, syncedEndOffset: this.log.syncedEndOffset }]
    const incarnation = this.#incarnation
    writeCheckpoint(this.files, `${DATA_DIR}/${STATE_FOLDER}`, { incarnation, shard: 0, journalSequence: 0, lines })
  }

  settle(): void {
    this.checkpoint()
    for (const path of this.log.removeCondemned()) this.files.remove(path)
  }

  /** The next start, as after a kill. */
  recover() {
    const { identity, previousRun } = openDataDir(this.files, this.#start())
    const { incarnation } = identity
    const { results } = recoverDataDir(this.files, { dataDir: DATA_DIR, incarnation, previousRun })
    const [result] = results
    const recovered = result!.recovered!
    assert.equal(recovered.damaged, null)
    const context = contextOver(this.files)
    const log = PartitionLog.open(context, { ...BASE, recovered })
    return { log, records: readAll(context, log), notes: result!.notes }
  }

  get names(): string[] {
    return this.files.list(this.log.folder)
  }

  findings(): string[] {
    const { findings } = verifyDataDir(this.files, { dataDir: DATA_DIR, probe: probeOf('boot', ++pid) })
    return findings.map(({ kind, text }) => `${kind}: ${text}`)
  }
}

test('a compacted log is recovered as it is, and verify finds nothing', () => {
  const fixture = new Fixture()
  fixture.checkpoint()
  compact(fixture.context, fixture.log)
  fixture.checkpoint()
  assert.deepEqual(fixture.findings(), [])
  const { records, log } = fixture.recover()
  assert.deepEqual([records.length, log.logEndOffset], [1, 10])
  assert.deepEqual(tableOf(records), EXPECTED)
})

test('the journal is not replayed over what was compacted since', () => {
  const fixture = new Fixture()
  const bytes = keyedBatch([{ key: 'a', value: '0'.repeat(60) }])
  new BatchView().reset(bytes).stamp(0, 0)
  const journal = CommitJournal.create({
    ...{ files: fixture.files, folder: `${DATA_DIR}/${STATE_FOLDER}`, incarnation: 1, shard: 0 },
    ...{ bytes: 256 * 1024, key: { high: 1, low: 2 } },
  })
  journal.add({
    ...{ topicId: TOPIC as TopicId, partition: 0, leaderEpoch: 0, batches: [bytes], segmentBaseOffset: 0 },
    ...{ filePosition: 0, baseOffset: 0, nextOffset: 1, syncedEndOffset: 0 },
  })
  journal.writeStaged()
  const fds: number[] = []
  const sequence = journal.beginSync(fds)
  for (const fd of fds) fixture.files.fdatasync(fd)
  journal.completeSync(sequence)
  fixture.checkpoint()
  compact(fixture.context, fixture.log)
  const path = `${fixture.log.folder}/${segmentFileName(0, '.log')}`
  const before = fixture.files.contentOf(path)
  const { records } = fixture.recover()
  assert.deepEqual(fixture.files.contentOf(path), before)
  assert.deepEqual(tableOf(records), EXPECTED)
})

test('a swap that was begun is finished, whichever of the old segments are left; verify says so', () => {
  for (const left of ['all', 'some', 'none']) {
    const fixture = new Fixture()
    fixture.checkpoint()
    fixture.log.endCompaction(rewrite(fixture.context, fixture.log))
    const swaps = fixture.names.filter((name) => name.endsWith('.swap'))
    assert.ok(swaps.length > 0)
    const logs = fixture.names.filter((name) => name.endsWith('.log'))
    const gone = left === 'all' ? [] : left === 'some' ? logs.slice(1, 3) : logs
    for (const name of gone) fixture.files.remove(`${fixture.log.folder}/${name}`)
    assert.ok(
      fixture.findings().every((text) => text.startsWith('unsettled: a compaction was interrupted')),
      left,
    )
    const { records, notes } = fixture.recover()
    assert.ok(notes.some((note) => note.includes('finished the swap')))
    assert.deepEqual(tableOf(records), EXPECTED, left)
    assert.equal(records.length, 1)
    assert.ok(!fixture.names.some((name) => /swap|cleaned/.test(name)))
  }
})

test('a swap that is not sound is not believed while the old segments are whole', () => {
  const fixture = new Fixture()
  fixture.checkpoint()
  fixture.log.endCompaction(rewrite(fixture.context, fixture.log))
  const name = fixture.names.find((each) => each.endsWith('.swap'))!
  const fd = fixture.files.open(`${fixture.log.folder}/${name}`, 'write')
  fixture.files.write(fd, [Uint8Array.of(1, 2, 3)], 70)
  fixture.files.close(fd)
  const { records, notes } = fixture.recover()
  assert.ok(notes.some((note) => note.includes('is not sound')))
  assert.deepEqual(tableOf(records), EXPECTED)
  assert.ok(!fixture.names.some((each) => /swap|cleaned/.test(each)))
})

test('what a run has written and nobody wants is removed', () => {
  const fixture = new Fixture()
  fixture.checkpoint()
  assert.ok(rewrite(fixture.context, fixture.log)!.segments.length > 0)
  assert.ok(fixture.names.some((name) => name.endsWith('.cleaned')))
  const { records } = fixture.recover()
  assert.equal(records.length, 10)
  assert.ok(!fixture.names.some((name) => name.endsWith('.cleaned')))
})

test('a partition with a compaction under way is not in the catalogue of a clean stop', () => {
  const fixture = new Fixture()
  fixture.settle()
  const result = rewrite(fixture.context, fixture.log)
  assert.equal(fixture.log.describeClean(), undefined)
  fixture.log.endCompaction(result)
  fixture.settle()
  assert.equal(fixture.log.describeClean(), undefined, 'its swap is not durable yet')
  fixture.settle()
  assert.equal(fixture.log.describeClean()?.segments.length, fixture.log.segmentCount)
})

test('the name of a swap is read as it is written', () => {
  const span = { baseOffset: 5, nextOffset: 9 }
  assert.equal(swapFileName(span), '00000000000000000005-00000000000000000009.swap')
  assert.deepEqual(parseSwapFileName(swapFileName(span)), span)
  assert.equal(parseSwapFileName('00000000000000000009-00000000000000000009.swap'), undefined)
  assert.equal(parseSwapFileName('00000000000000000009.log'), undefined)
})
