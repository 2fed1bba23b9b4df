/**
 * Flipped bits, zeroed blocks and cut files, in every kind of file of a data dir whose process was killed: nothing
 * acknowledged is ever cut or changed without a word, whatever can be rebuilt is, and verify finds every damaged segment.
 *
 * Budget     MILLRACE_BUDGET_MS (default 10 s), MILLRACE_CORRUPTIONS (as many as the budget allows)
 * Reproduce  MILLRACE_SEED=<seed> node --test dist/test/crash/corruption.test.js
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import '../../src/base/node/native-crc32c.ts'
import { systemPrng } from '../../src/base/node/system-prng.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import { MemoryFileSystem } from '../../src/io/memory-file-system.ts'
import { closeDataDirCleanly, openDataDir } from '../../src/log/data-dir.ts'
import { recoverDataDir } from '../../src/log/data-dir-recovery.ts'
import { repairDataDir } from '../../src/log/log-repair.ts'
import { verifyDataDir } from '../../src/log/log-verify.ts'
import { Scrubber, type ScrubSegment } from '../../src/log/scrub.ts'
import { parseSegmentFileName } from '../../src/log/segment.ts'
import { partitionFolder } from '../../src/model/ids.ts'
import { batchBytesAt } from '../../src/record/batch-layout.ts'
import { BatchView } from '../../src/record/batch-view.ts'
import { DATA_DIR, type Expected, LogWorkload, probeOf, TOPIC } from '../support/log-workload.ts'

const BUDGET_MS = Number(process.env.MILLRACE_BUDGET_MS ?? 10_000)
const CASES_MAX = Number(process.env.MILLRACE_CORRUPTIONS ?? Number.POSITIVE_INFINITY)
const SEED = Number(process.env.MILLRACE_SEED ?? systemPrng().uint32())
const EPOCH_AT = 12

interface Damage {
  readonly path: string
  readonly how: string
  /** False when the bytes are what they were: zeros over zeros. */
  readonly changed: boolean
}

function killedDisk(prng: SeededPrng): { disk: MemoryFileSystem; expected: Map<number, Expected> } {
  const files = new MemoryFileSystem()
  const expected = new Map<number, Expected>()
  const workload = new LogWorkload({ files, prng, expected, partitions: 3, leaderEpoch: 1, bootId: 'boot', pid: 1 })
  for (let step = 0; step < 30; step++) workload.step()
  return { disk: files.crash(prng, { kind: 'kill' }), expected }
}

function damageOne(disk: MemoryFileSystem, prng: SeededPrng): Damage {
  const paths = disk.filePaths().filter((path) => disk.contentOf(path).length > 0 && !/lock|data-dir.json/.test(path))
  // Half of the time a segment: the other kinds are many small files.
  const logs = paths.filter((path) => path.endsWith('.log'))
  const pool = prng.below(2) === 0 && logs.length > 0 ? logs : paths
  const path = pool[prng.below(pool.length)]!
  const before = disk.contentOf(path)
  const at = prng.below(before.length)
  const draw = prng.below(4)
  if (draw === 0) {
    const fd = disk.open(path, 'write')
    disk.truncate(fd, at)
    disk.close(fd)
    return { path, how: `cut to ${at} of ${before.length}`, changed: true }
  }
  const bytes = draw === 1 ? new Uint8Array(Math.min(512, before.length - at)) : before.slice(at, at + 1)
  if (draw !== 1) bytes[0]! ^= 1 << prng.below(8)
  disk.damage(path, at, bytes)
  // The epoch lies outside the checksum: behind the recovery point nothing can tell that it changed.
  const isEpoch = draw !== 1 && path.endsWith('.log') && isEpochByte(before, at)
  const changed = Buffer.compare(before, disk.contentOf(path)) !== 0 && !isEpoch
  return { path, how: draw === 1 ? `zeros at ${at}` : `a bit at ${at}`, changed }
}

/** Where the batch begins that holds byte `at` of a segment. */
function batchOf(segment: Uint8Array, at: number): number {
  let batchAt = 0
  for (;;) {
    const total = batchBytesAt(segment, batchAt, segment.length)
    if (total < 0 || at < batchAt + total) return batchAt
    batchAt += total
  }
}

/** Whether byte `at` of a segment belongs to a batch's leader epoch. */
function isEpochByte(segment: Uint8Array, at: number): boolean {
  const epochAt = batchOf(segment, at) + EPOCH_AT
  return at >= epochAt && at < epochAt + 4
}

function baseOffsetAt(segment: Uint8Array, at: number): number {
  return Number(new DataView(segment.buffer, segment.byteOffset).getBigInt64(batchOf(segment, at)))
}

function nextOffsetAt(segment: Uint8Array, at: number): number {
  return new BatchView().reset(segment, batchOf(segment, at)).nextOffset
}

function folderOf(path: string): string {
  return path.slice(DATA_DIR.length + 1, path.lastIndexOf('/'))
}

function logsOf(disk: MemoryFileSystem): Map<string, Uint8Array> {
  return new Map(
    disk
      .filePaths()
      .filter((path) => path.endsWith('.log'))
      .map((path) => [path, disk.contentOf(path)]),
  )
}

/** Bytes of a partition as written, epochs left out: they lie outside the checksum, verify compares them with leader-epochs. */
function withoutEpochs(batches: readonly Uint8Array[]): Buffer {
  const copy = Buffer.concat(batches)
  let at = 0
  for (const batch of batches) {
    copy.fill(0, at + EPOCH_AT, at + EPOCH_AT + 4)
    at += batch.length
  }
  return copy
}

test('corruption is never taken for a torn tail, and always found by verify', () => {
  const startedMs = performance.now()
  const totals = { cases: 0, damagedPartitions: 0, foundByVerify: 0, repaired: 0 }
  let seed = SEED
  while (performance.now() - startedMs < BUDGET_MS && totals.cases < CASES_MAX) {
    const prng = new SeededPrng(seed)
    const { disk, expected } = killedDisk(prng)
    const sound = verifyDataDir(disk, { dataDir: DATA_DIR, probe: probeOf('boot', 2), readBytes: 4096 })
    assert.deepEqual(
      sound.findings.filter(({ file }) => file.endsWith('.txnindex')),
      [],
      `aborted indexes, seed ${seed}`,
    )
    for (let index = 0; index < 12 && totals.cases < CASES_MAX; index++) {
      const image = disk.clone()
      let damage: Damage | undefined
      try {
        damage = damageOne(image, prng)
        runCase(image, damage, { expected, totals })
      } catch (error) {
        const command = `MILLRACE_SEED=${seed} node --test dist/test/crash/corruption.test.js`
        throw new Error(
          `${command}\n${JSON.stringify(damage)}\n${error instanceof Error ? error.stack : String(error)}`,
        )
      }
    }
    seed = (seed + 1) >>> 0
  }
  console.log(`corruptions: seeds ${SEED}…${seed - 1}, ${JSON.stringify(totals)}`)
})

function runCase(
  image: MemoryFileSystem,
  damage: Damage,
  into: {
    readonly expected: ReadonlyMap<number, Expected>
    readonly totals: { cases: number; damagedPartitions: number; foundByVerify: number; repaired: number }
  },
): void {
  const { expected, totals } = into
  totals.cases++
  const verified = verifyDataDir(image, { dataDir: DATA_DIR, probe: probeOf('boot', 2), readBytes: 4096 })
  if (damage.changed && damage.path.endsWith('.log')) {
    assert.ok(verified.findings.length > 0, 'verify found nothing')
    totals.foundByVerify++
  }
  if (damage.changed && damage.path.endsWith('.txnindex'))
    assert.ok(
      verified.findings.some(({ file }) => damage.path.endsWith(file)),
      'verify found nothing in an aborted index',
    )
  const before = logsOf(image)
  const dataDir = openDataDir(image, { path: DATA_DIR, nodeId: 1, newClusterId: 'c', probe: probeOf('boot', 3) })
  assert.equal(dataDir.previousRun, 'process-died')
  const { incarnation } = dataDir.identity
  const { previousRun } = dataDir
  const recovery = recoverDataDir(image, { dataDir: DATA_DIR, incarnation, previousRun, readBytes: 4096 })
  for (const [partition, wanted] of expected) {
    const folder = partitionFolder(TOPIC, partition)
    const recovered = recovery.results.find((result) => result.folder === folder)?.recovered
    if (recovered === null || recovered === undefined) {
      assert.equal(wanted.acked, 0)
      continue
    }
    if (recovered.damaged !== null) {
      totals.damagedPartitions++
      // The journal may have written bytes back; nothing may be cut or removed.
      for (const [path, bytes] of before)
        if (path.includes(folder)) assert.ok(image.contentOf(path).length >= bytes.length, `${path} was cut`)
      continue
    }
    assert.ok(recovered.logEndOffset >= wanted.acked, `end ${recovered.logEndOffset}, acknowledged ${wanted.acked}`)
    if (damage.path.includes(folder) && damage.path.endsWith('.log')) continue
    checkWhole(image, folder, recovered.segments, wanted)
  }
  if (recovery.results.some((result) => result.recovered !== null && result.recovered.damaged !== null)) {
    repairDataDir(image, { dataDir: DATA_DIR, nodeId: 1, probe: probeOf('boot', 4), readBytes: 4096 })
    const after = verifyDataDir(image, { dataDir: DATA_DIR, probe: probeOf('boot', 5), readBytes: 4096 })
    assert.deepEqual(after.findings, [], 'sound after repair')
    totals.repaired++
  }
}

function checkWhole(
  image: MemoryFileSystem,
  folder: string,
  segments: readonly { readonly baseOffset: number; readonly nextOffset: number }[],
  wanted: Expected,
): void {
  for (const segment of segments) {
    const batches = wanted.written.filter(
      (batch) => batch.baseOffset >= segment.baseOffset && batch.baseOffset < segment.nextOffset,
    )
    const name = String(segment.baseOffset).padStart(20, '0')
    const found = image.contentOf(`${DATA_DIR}/${folder}/${name}.log`)
    const lengths = batches.map((batch) => batch.bytes.length)
    let at = 0
    const parts = lengths.map((length) => found.subarray(at, (at += length)))
    assert.equal(Buffer.compare(withoutEpochs(parts), withoutEpochs(batches.map((batch) => batch.bytes))), 0, name)
  }
}

test('repair mends what lies below the recovery point, where no start looks: nothing goes without a copy and a word', () => {
  const startedMs = performance.now()
  const totals = { cases: 0, epochs: 0, hidden: 0, visible: 0, trimmed: 0 }
  let seed = SEED
  while (performance.now() - startedMs < BUDGET_MS / 3 && totals.cases < CASES_MAX) {
    const prng = new SeededPrng(seed)
    const { disk } = killedDisk(prng)
    try {
      const logStarts = settle(disk)
      for (let index = 0; index < 8; index++) runHidden(disk, { logStarts, prng, totals })
    } catch (error) {
      const command = `MILLRACE_SEED=${seed} node --test dist/test/crash/corruption.test.js`
      throw new Error(`${command}\n${error instanceof Error ? error.stack : String(error)}`)
    }
    seed = (seed + 1) >>> 0
  }
  console.log(`repaired corruptions below the recovery point: seeds ${SEED}…${seed - 1}, ${JSON.stringify(totals)}`)
  assert.ok(totals.cases < 60 || (totals.epochs > 0 && totals.hidden > 0), JSON.stringify(totals))
})

/** A start and a stop in order: all that there is lies below the recovery points then. Answers the log starts by folder. */
function settle(disk: MemoryFileSystem): ReadonlyMap<string, number> {
  const dataDir = openDataDir(disk, { path: DATA_DIR, nodeId: 1, newClusterId: 'c', probe: probeOf('boot', 3) })
  const { incarnation } = dataDir.identity
  const { results } = recoverDataDir(disk, { dataDir: DATA_DIR, incarnation, previousRun: dataDir.previousRun })
  closeDataDirCleanly(disk, dataDir)
  return new Map(results.map(({ folder, recovered }) => [folder, recovered?.logStartOffset ?? 0]))
}

function runHidden(
  sound: MemoryFileSystem,
  run: {
    readonly logStarts: ReadonlyMap<string, number>
    readonly prng: SeededPrng
    readonly totals: { cases: number; epochs: number; hidden: number; visible: number; trimmed: number }
  },
): void {
  const { logStarts, prng, totals } = run
  const before = logsOf(sound)
  const paths = [...before.keys()].filter((path) => before.get(path)!.length > 0)
  if (paths.length === 0) return
  const path = paths[prng.below(paths.length)]!
  const bytes = before.get(path)!
  const drawn = prng.below(bytes.length)
  const at = prng.below(5) === 0 ? batchOf(bytes, drawn) + EPOCH_AT + (drawn % 4) : drawn
  const logStart = logStarts.get(folderOf(path))!
  const nextOffset = nextOffsetAt(bytes, at)
  // The batch that the log start lies in may be readable or not: a start looks at it or does not.
  if (baseOffsetAt(bytes, at) < logStart && nextOffset > logStart) return
  const image = sound.clone()
  image.damage(path, at, Uint8Array.of(bytes[at]! ^ (1 << prng.below(8))))
  const damaged = logsOf(image)
  totals.cases++
  const start = startOn(image.clone())
  if (start.damaged.length > 0) totals.visible++
  const alone = repaired(image.clone(), {})
  if (nextOffset <= logStart) {
    // A start that walks there, for the segment holds the log start too, does not go on behind it.
    if (start.damaged.length > 0) return
    totals.trimmed++
    assert.deepEqual(alone.report.repaired, [], 'below the log start nothing is lost')
    assert.deepEqual(repaired(image.clone(), { isLossAccepted: true }).report.repaired, [], 'and nothing is cut for it')
    assert.deepEqual(
      alone.findings.filter(({ kind }) => kind === 'damage'),
      [],
    )
    return
  }
  const accepted = repaired(image.clone(), { isLossAccepted: true })
  const inCluster = image.clone()
  const opened = openDataDir(inCluster, {
    ...{ path: DATA_DIR, nodeId: 1, newClusterId: 'c', newDirectoryId: 'd', probe: probeOf('boot', 4) },
  })
  closeDataDirCleanly(inCluster, opened)
  const cutReplica = repaired(inCluster.clone(), { isLossAccepted: true })
  const replica = repaired(inCluster, {})
  if (isEpochByte(bytes, at)) {
    totals.epochs++
    for (const { disk, report, findings } of [alone, accepted, replica]) {
      assert.deepEqual(report.repaired, [])
      assert.deepEqual(findings, [])
      assert.deepEqual(logsOf(disk), before, 'the epoch is what it was')
    }
    return
  }
  totals.hidden++
  if (start.damaged.length === 0) {
    assert.deepEqual(alone.report.repaired, [], 'a log that serves is not cut')
    assert.deepEqual(logsOf(alone.disk), damaged)
    assert.ok(alone.findings.some(({ kind }) => kind === 'damage'))
  }
  assert.deepEqual(accepted.findings, [])
  assert.notEqual(startOn(cutReplica.disk).previousRun, 'clean', 'others may have more than a replica that was cut')
  assert.equal(replica.findings.length > 0, true, 'what is left of a replica never passes for whole')
  for (const { disk, report } of [accepted, replica]) {
    assert.equal(report.repaired.length, 1)
    const { folder, setAside, isRefetched } = report.repaired[0]!
    assert.ok(path.includes(folder))
    assert.equal(isRefetched, disk === replica.disk)
    for (const [name, whole] of damaged) assert.deepEqual(withCopy(disk, name, setAside), Buffer.from(whole), name)
  }
  assert.deepEqual(logsOf(replica.disk), damaged, 'a replica is not cut: it is set aside whole')
  for (let starts = 0; starts < 2; starts++) {
    const { previousRun, damaged: found } = startOn(replica.disk)
    assert.equal(previousRun, 'clean')
    assert.deepEqual(found, [replica.report.repaired[0]!.folder], 'every start finds it until it is set aside')
  }
}

function repaired(disk: MemoryFileSystem, options: { readonly isLossAccepted?: boolean }) {
  const report = repairDataDir(disk, { dataDir: DATA_DIR, nodeId: 1, probe: probeOf('boot', 5), ...options })
  const { findings } = verifyDataDir(disk, { dataDir: DATA_DIR, probe: probeOf('boot', 6), readBytes: 4096 })
  return { disk, report, findings }
}

/** A start and a stop in order; answers how the run before had ended and the folders that were found damaged. */
function startOn(disk: MemoryFileSystem): { readonly previousRun: string; readonly damaged: readonly string[] } {
  const dataDir = openDataDir(disk, { path: DATA_DIR, nodeId: 1, newClusterId: 'c', probe: probeOf('boot', 7) })
  const { incarnation } = dataDir.identity
  const { previousRun } = dataDir
  const { results } = recoverDataDir(disk, { dataDir: DATA_DIR, incarnation, previousRun })
  closeDataDirCleanly(disk, dataDir)
  const damaged = results.filter(({ recovered }) => recovered !== null && recovered.damaged !== null)
  return { previousRun, damaged: damaged.map(({ folder }) => folder) }
}

/** What is left of a segment and what was set aside of it. */
function withCopy(disk: MemoryFileSystem, path: string, setAside: string | null): Buffer {
  const left = disk.filePaths().includes(path) ? disk.contentOf(path) : new Uint8Array(0)
  const name = path.slice(path.lastIndexOf('/') + 1)
  const isOfFolder = setAside?.startsWith(`quarantine/${folderOf(path)}.`) === true
  const copy = disk.filePaths().find((each) => isOfFolder && each.startsWith(`${DATA_DIR}/${setAside}/${name}`))
  return Buffer.concat([left, copy === undefined ? new Uint8Array(0) : disk.contentOf(copy)])
}

test('a repair does not make an end in order of one that was not', () => {
  const { disk } = killedDisk(new SeededPrng(11))
  repairDataDir(disk, { dataDir: DATA_DIR, nodeId: 1, probe: probeOf('boot', 3) })
  assert.equal(startOn(disk).previousRun, 'process-died')
})

test('the scrubber finds a flipped bit in a closed segment within one round, in bounded reads', () => {
  const { disk } = killedDisk(new SeededPrng(7))
  const logs = disk.filePaths().filter((path) => path.endsWith('.log'))
  const segments: (ScrubSegment & { path: string })[] = []
  for (const [index, path] of logs.entries()) {
    const folder = path.slice(0, path.lastIndexOf('/'))
    const next = logs[index + 1]
    if (next === undefined || !next.startsWith(folder)) continue
    const base = (name: string): number => parseSegmentFileName(name.slice(name.lastIndexOf('/') + 1))!.baseOffset
    const bytes = disk.contentOf(path).length
    segments.push({ key: index, baseOffset: base(path), nextOffset: base(next), bytes, path })
  }
  assert.ok(segments.length > 3)
  const scrub = (victim: number): { found: number[]; reads: number } => {
    const scrubber = new Scrubber({ segments: () => segments, pieceBytes: 1024, periodMs: 1000 })
    const found: number[] = []
    let reads = 0
    let nowMs = 0
    for (; scrubber.counts.segments < segments.length; nowMs += 5) {
      const read = scrubber.nextRead(nowMs)
      if (read === undefined) continue
      reads++
      const path = (read.segment as ScrubSegment & { path: string }).path
      const bytes = disk.contentOf(path).slice(read.filePosition, read.filePosition + read.bytes)
      const flipAt = 100 - read.filePosition
      if (
        segments.indexOf(read.segment as (typeof segments)[number]) === victim &&
        flipAt >= 0 &&
        flipAt < bytes.length
      )
        bytes[flipAt]! ^= 4
      const finding = scrubber.onRead(bytes, nowMs)
      if (finding !== undefined) found.push(finding.segment.key)
    }
    return { found, reads }
  }
  assert.deepEqual(scrub(-1).found, [])
  for (let victim = 0; victim < segments.length; victim++)
    assert.deepEqual(scrub(victim).found, [segments[victim]!.key], `segment ${victim}`)
})
