/**
 * Power cuts and kills at every operation of a recorded workload: what was acknowledged is there, what is there was written,
 * producers and epochs are those of a replay, and a second recovery finds the same.
 *
 * Budget     MILLRACE_BUDGET_MS (default 20 s), MILLRACE_CRASH_IMAGES (no default: as many as the budget allows)
 * Reproduce  MILLRACE_SEED=<seed> node --test dist/test/crash/power-cut.test.js
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import '../../src/base/node/native-crc32c.ts'
import { systemPrng } from '../../src/base/node/system-prng.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import type { FileSystem } from '../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../src/io/memory-file-system.ts'
import { openDataDir } from '../../src/log/data-dir.ts'
import { recoverDataDir } from '../../src/log/data-dir-recovery.ts'
import { LeaderEpochCache } from '../../src/log/leader-epoch-cache.ts'
import { createLogContext } from '../../src/log/log-context.ts'
import { type AbortedEntry, markerOf } from '../../src/log/open-transactions.ts'
import { PartitionLog } from '../../src/log/partition-log.ts'
import {
  PRODUCER_SNAPSHOT_FILE,
  producerSnapshotName,
  SNAPSHOT_ENTRY_BYTES,
} from '../../src/log/producer-snapshot-file.ts'
import { ProducerState } from '../../src/log/producer-state.ts'
import type { RecoveredPartition } from '../../src/log/recovered-partition.ts'
import { segmentFileName } from '../../src/log/segment.ts'
import { partitionFolder } from '../../src/model/ids.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../src/model/topic-config.ts'
import { BatchView } from '../../src/record/batch-view.ts'
import { hooked } from '../support/hooked-files.ts'
import { DATA_DIR, type Expected, LogWorkload, probeOf, snapshotEntries, TOPIC } from '../support/log-workload.ts'

const BUDGET_MS = Number(process.env.MILLRACE_BUDGET_MS ?? 20_000)
const IMAGES_MAX = Number(process.env.MILLRACE_CRASH_IMAGES ?? Number.POSITIVE_INFINITY)
const SEED = Number(process.env.MILLRACE_SEED ?? systemPrng().uint32())
const PARTITIONS = 4
/** Each start is another process: the one before it is gone. */
let pid = 1000

class Stop extends Error {}

interface Totals {
  images: number
  crashesInRecovery: number
  cutTails: number
  setAside: number
  replayedEntries: number
  openTransactions: number
  abortedTransactions: number
}

function recover(files: FileSystem, bootId: string): ReturnType<typeof recoverDataDir> & { incarnation: number } {
  const dataDir = openDataDir(files, { path: DATA_DIR, nodeId: 1, newClusterId: 'c', probe: probeOf(bootId, ++pid) })
  const { incarnation } = dataDir.identity
  const recovery = recoverDataDir(files, {
    ...{ dataDir: DATA_DIR, incarnation, previousRun: dataDir.previousRun, readBytes: 4096 },
  })
  return { ...recovery, incarnation }
}

function check(disk: MemoryFileSystem, bootId: string, expected: ReadonlyMap<number, Expected>, totals: Totals): void {
  const recovery = recover(disk, bootId)
  totals.replayedEntries += recovery.journals.entries
  for (const [partition, wanted] of expected) {
    const folder = partitionFolder(TOPIC, partition)
    const result = recovery.results.find((candidate) => candidate.folder === folder)
    const recovered = result?.recovered ?? null
    if (recovered === null) {
      assert.equal(wanted.acked, 0, `partition ${partition} is gone, ${wanted.acked} records were acknowledged`)
      continue
    }
    assert.equal(recovered.damaged, null, `partition ${partition}: ${JSON.stringify(result)}`)
    if (result!.cutBytes > 0) totals.cutTails++
    if (result!.setAside !== null) totals.setAside++
    assert.ok(recovered.logEndOffset >= wanted.acked, `end ${recovered.logEndOffset}, acknowledged ${wanted.acked}`)
    assert.ok(recovered.logStartOffset <= wanted.logStart, `start ${recovered.logStartOffset} > ${wanted.logStart}`)
    checkContent(disk, folder, recovered, wanted)
    checkState(disk, folder, recovered, wanted, totals)
  }
}

function checkContent(disk: MemoryFileSystem, folder: string, recovered: RecoveredPartition, wanted: Expected): void {
  const byBase = new Map(wanted.written.map((batch) => [batch.baseOffset, batch]))
  for (const segment of recovered.segments) {
    const bytes = disk.contentOf(`${DATA_DIR}/${folder}/${segmentFileName(segment.baseOffset, '.log')}`)
    assert.equal(bytes.length, segment.bytes, 'the file is as long as recovery says')
    let offset = segment.baseOffset
    let at = 0
    while (at < bytes.length) {
      const batch = byBase.get(offset)
      assert.ok(batch !== undefined, `nothing was written at offset ${offset}`)
      assert.equal(Buffer.compare(bytes.subarray(at, at + batch.bytes.length), batch.bytes), 0, `offset ${offset}`)
      at += batch.bytes.length
      offset = batch.nextOffset
    }
    assert.equal(offset, segment.nextOffset)
  }
}

/** I14: producers and epochs are those of a replay of what is there (what went below the log start has left its trace). */
function checkState(
  disk: MemoryFileSystem,
  folder: string,
  recovered: RecoveredPartition,
  wanted: Expected,
  totals: Totals,
): void {
  const producers = new ProducerState()
  const aborted: AbortedEntry[] = []
  const epochs = new LeaderEpochCache()
  const view = new BatchView()
  for (const batch of wanted.written) {
    if (batch.baseOffset >= recovered.logEndOffset) break
    view.reset(batch.bytes)
    const ended = producers.replay(view, view.maxTimestamp, markerOf(view))
    if (ended !== undefined) aborted.push(ended)
    epochs.add(view.leaderEpoch, batch.baseOffset)
  }
  const epochsNow = new Map(recovered.leaderEpochs)
  for (const [epoch, startOffset] of epochs.toEntries())
    if (startOffset >= recovered.logStartOffset)
      assert.equal(epochsNow.get(epoch), startOffset, `start of epoch ${epoch}`)
  assert.deepEqual(recovered.openTransactions, producers.transactions.toEntries(), 'open transactions')
  checkAborted(disk, recovered, wanted, aborted)
  totals.openTransactions += recovered.openTransactions.length
  totals.abortedTransactions += aborted.length
  const headerBytes = 16 + PRODUCER_SNAPSHOT_FILE.metaBytes
  const wantedEntries = snapshotEntries(producers.encode(recovered.logEndOffset), headerBytes, SNAPSHOT_ENTRY_BYTES)
  if (recovered.producerSnapshotOffset < 0) {
    assert.deepEqual(wantedEntries, [], 'no snapshot, but producers')
    return
  }
  assert.equal(recovered.producerSnapshotOffset, recovered.logEndOffset)
  const found = disk.contentOf(`${DATA_DIR}/${folder}/${producerSnapshotName(recovered.logEndOffset)}`)
  assert.deepEqual(snapshotEntries(found, headerBytes, SNAPSHOT_ENTRY_BYTES), wantedEntries)
}

/** I8: of what is there, just the batches of aborted transactions are told of as such, for the whole log and for a part. */
function checkAborted(
  disk: MemoryFileSystem,
  recovered: RecoveredPartition,
  wanted: Expected,
  aborted: readonly AbortedEntry[],
): void {
  const clock = { nowMs: () => 0, monotonicMs: () => 0 }
  const context = createLogContext({ files: disk, clock, dataDir: DATA_DIR })
  const { partition } = wanted
  const log = PartitionLog.open(context, { topicId: TOPIC, partition, config: TOPIC_CONFIG_DEFAULTS, recovered })
  const { logStartOffset, logEndOffset } = log
  const middle = Math.floor((logStartOffset + logEndOffset) / 2)
  const isOf = (list: readonly AbortedEntry[], batch: BatchView) =>
    !batch.isControl &&
    batch.isTransactional &&
    list.some(
      (one) =>
        one.producerId === batch.producerId && one.firstOffset <= batch.baseOffset && batch.baseOffset < one.lastOffset,
    )
  for (const [from, end] of [
    [logStartOffset, logEndOffset],
    [logStartOffset, middle],
    [middle, logEndOffset],
  ] as const) {
    const { entries } = log.abortedIn(from, end, Number.POSITIVE_INFINITY)
    for (const { baseOffset, bytes } of wanted.written) {
      if (baseOffset < from || baseOffset >= end) continue
      const batch = new BatchView().reset(bytes)
      assert.equal(isOf(entries, batch), isOf(aborted, batch), `aborted at offset ${baseOffset} of [${from}, ${end})`)
    }
  }
  log.close()
}

/** One crash image, sometimes a second crash in the middle of its recovery, then the checks, twice. */
function crashAndCheck(
  disk: MemoryFileSystem,
  expected: ReadonlyMap<number, Expected>,
  prng: SeededPrng,
  totals: Totals,
): void {
  const isKill = prng.below(4) === 0
  let image = disk.crash(prng, { kind: isKill ? 'kill' : 'power' })
  let boot = isKill ? 'boot-0' : 'boot-1'
  if (prng.below(3) === 0) {
    let left = prng.below(60)
    try {
      recover(
        hooked(image, () => {
          if (left-- === 0) throw new Stop()
        }),
        boot,
      )
    } catch (error) {
      if (!(error instanceof Stop)) throw error
      totals.crashesInRecovery++
    }
    const again = prng.below(2) === 0
    image = image.crash(prng, { kind: again ? 'power' : 'kill' })
    if (again) boot = 'boot-2'
  }
  totals.images++
  check(image, boot, expected, totals)
  if (prng.below(4) === 0) check(image.crash(prng, { kind: 'power' }), 'boot-3', expected, totals)
}

test('nothing acknowledged is lost, whatever operation the power goes at', () => {
  const startedMs = performance.now()
  const totals: Totals = {
    images: 0,
    crashesInRecovery: 0,
    cutTails: 0,
    setAside: 0,
    replayedEntries: 0,
    ...{ openTransactions: 0, abortedTransactions: 0 },
  }
  let seed = SEED
  let runs = 0
  while (performance.now() - startedMs < BUDGET_MS && totals.images < IMAGES_MAX) {
    const prng = new SeededPrng(seed)
    try {
      runOnce(prng, totals, () => performance.now() - startedMs < BUDGET_MS && totals.images < IMAGES_MAX)
    } catch (error) {
      const command = `MILLRACE_SEED=${seed} node --test dist/test/crash/power-cut.test.js`
      throw new Error(`${command}\n${error instanceof Error ? error.stack : String(error)}`)
    }
    runs++
    seed = (seed + 1) >>> 0
  }
  const seconds = (performance.now() - startedMs) / 1000
  console.log(
    `power cuts: seeds ${SEED}…${seed - 1}, ${runs} runs, ${JSON.stringify(totals)}, ${Math.round(totals.images / seconds)} images/s`,
  )
  if (totals.images > 2000)
    for (const [what, count] of Object.entries(totals)) assert.ok(count > 0, `${what} was never reached`)
})

/** One life of a data dir: some starts, each with steps; a crash image after every few operations. */
function runOnce(prng: SeededPrng, totals: Totals, goesOn: () => boolean): void {
  const disk = new MemoryFileSystem()
  const expected = new Map<number, Expected>()
  const everyMax = 1 + prng.below(12)
  let untilCrash = 1
  const files = hooked(disk, () => {
    if (--untilCrash > 0 || !goesOn()) return
    untilCrash = 1 + prng.below(everyMax)
    crashAndCheck(disk, expected, prng, totals)
  })
  for (let start = 0; start < 2 && goesOn(); start++) {
    const workload = new LogWorkload({
      ...{ files, prng, expected, partitions: PARTITIONS, leaderEpoch: start + 1, bootId: 'boot-0', pid: ++pid },
    })
    for (let step = 0; step < 25 && goesOn(); step++) workload.step()
  }
}
