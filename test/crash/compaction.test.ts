/**
 * Power cuts and kills at every operation of compactions and their swaps: nothing acknowledged is lost, nothing that was superseded or
 * deleted comes back, what is read was written, and a log goes on to be compacted afterwards.
 *
 * Budget     MILLRACE_BUDGET_MS (default 15 s)
 * Reproduce  MILLRACE_SEED=<seed> node --test dist/test/crash/compaction.test.js
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import '../../src/base/node/native-crc32c.ts'
import { systemPrng } from '../../src/base/node/system-prng.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import type { FileSystem } from '../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../src/io/memory-file-system.ts'
import { writeCheckpoint } from '../../src/log/checkpoint-file.ts'
import { openDataDir, STATE_FOLDER } from '../../src/log/data-dir.ts'
import { recoverDataDir } from '../../src/log/data-dir-recovery.ts'
import { createLogContext, type LogContext } from '../../src/log/log-context.ts'
import { PartitionLog } from '../../src/log/partition-log.ts'
import type { TopicConfig } from '../../src/model/topic-config.ts'
import type { PlainRecord } from '../../src/record/batch-reader.ts'
import { BatchView } from '../../src/record/batch-view.ts'
import { type MarkerType, writeMarker } from '../../src/record/control-batch.ts'
import { keyedBatch, readAll, rewrite, textOf } from '../support/compaction-fixture.ts'
import { hooked } from '../support/hooked-files.ts'
import { DATA_DIR, ManualClock, stage, sync, TOPIC, topicConfig } from '../support/log-fixture.ts'
import { probeOf } from '../support/log-workload.ts'
import {
  committedTableOf,
  expectedTableOf,
  transactionsOf,
  type WrittenBatch,
} from '../support/transaction-log-fixture.ts'

const BUDGET_MS = Number(process.env.MILLRACE_BUDGET_MS ?? 15_000)
const SEED = Number(process.env.MILLRACE_SEED ?? systemPrng().uint32())
const KEYS = 7
const CONFIG: TopicConfig = topicConfig({
  ...{ cleanupPolicy: 'compact', minCleanableDirtyRatio: 0, segmentBytes: 700, deleteRetentionMs: 40 },
})

let pid = 5000

class Stop extends Error {}

interface Expected {
  /** What was written, by offset. */
  readonly written: (PlainRecord | undefined)[]
  /** The same, batch by batch, markers too. */
  batches: WrittenBatch[]
  acked: number
}

interface Totals {
  images: number
  swapsFound: number
  crashesInRecovery: number
  swaps: number
  tombstonesGone: number
}

/** One start of a broker with one log, on a disk where crashes may be tried at any operation. */
class Run {
  readonly log: PartitionLog
  readonly context: LogContext
  readonly notes: string[]
  readonly #files: FileSystem
  readonly #incarnation: number

  constructor(files: FileSystem, options: { readonly bootId: string; readonly clock: ManualClock }) {
    this.#files = files
    const { bootId, clock } = options
    const dataDir = openDataDir(files, { path: DATA_DIR, nodeId: 1, newClusterId: 'c', probe: probeOf(bootId, ++pid) })
    const { incarnation } = dataDir.identity
    this.#incarnation = incarnation
    const { previousRun } = dataDir
    const recovery = recoverDataDir(files, { dataDir: DATA_DIR, incarnation, previousRun, readBytes: 4096 })
    const [result] = recovery.results
    this.notes = [...(result?.notes ?? [])]
    const recovered = result?.recovered ?? null
    assert.equal(recovered?.damaged ?? null, null, JSON.stringify(result))
    this.context = createLogContext({ files, clock, dataDir: DATA_DIR })
    const base = { topicId: TOPIC, partition: 0, config: CONFIG }
    this.log =
      recovered === null
        ? PartitionLog.create(this.context, base)
        : PartitionLog.open(this.context, { ...base, recovered })
  }

  write(prng: SeededPrng, expected: Expected): void {
    for (let batches = 1 + prng.below(4); batches > 0; batches--) {
      const records = Array.from({ length: 1 + prng.below(3) }, () => ({
        key: `key-${prng.below(KEYS)}`,
        value: prng.below(4) === 0 ? null : `${prng.uint32()}`.repeat(1 + prng.below(6)),
        timestampMs: this.context.clock.nowMs(),
      }))
      const producerId = prng.below(3)
      if (this.log.transactions.has(producerId) && prng.below(2) === 0) {
        this.#end(producerId, prng.below(2) === 0 ? 'ABORT' : 'COMMIT', expected)
        continue
      }
      const bytes = keyedBatch(records, producerId === 0 ? {} : { producer: this.#producer(producerId) })
      const baseOffset = stage(this.log, bytes, this.#incarnation)
      expected.written.length = baseOffset
      const { nextOffset, isTransactional } = new BatchView().reset(bytes)
      expected.batches.push({ baseOffset, nextOffset, producerId, isTransactional, marker: undefined, records })
      for (const [index, { key, value, timestampMs }] of records.entries())
        expected.written.push({
          ...{ offset: baseOffset + index, timestampMs, headers: [] },
          key: Buffer.from(key),
          value: value === null ? null : Buffer.from(value),
        })
      this.log.writeStaged()
    }
    sync(this.context, this.log)
    expected.acked = this.log.syncedEndOffset
    if (prng.below(3) === 0) this.log.roll()
  }

  #producer(producerId: number) {
    const known = this.log.producers.describe().find((one) => one.producerId === producerId)
    const baseSequence = (known?.batches.at(-1)?.lastSequence ?? -1) + 1
    return { producerId, producerEpoch: known?.epoch ?? 0, baseSequence, transactional: true }
  }

  #end(producerId: number, marker: MarkerType, expected: Expected): void {
    const producerEpoch = this.#producer(producerId).producerEpoch + 1
    const timestampMs = this.context.clock.nowMs()
    const bytes = writeMarker({ producerId, producerEpoch, coordinatorEpoch: 0, type: marker, timestampMs })
    const baseOffset = stage(this.log, bytes, this.#incarnation)
    expected.written.length = baseOffset
    expected.written.push(undefined)
    const rest = { producerId, isTransactional: true, marker, records: [] }
    expected.batches.push({ baseOffset, nextOffset: baseOffset + 1, ...rest })
    this.log.writeStaged()
  }

  /** As the shard has it: sync, file, folder, then what it makes superfluous goes. */
  checkpoint(): void {
    const fds: number[] = []
    const end = this.log.beginCheckpoint(fds)
    for (const fd of fds) this.#files.fdatasync(fd)
    this.log.completeSync(end)
    const line = this.log.checkpoint()
    const lines = [{ ...line, syncedEndOffset: this.log.syncedEndOffset }]
    const incarnation = this.#incarnation
    writeCheckpoint(this.#files, `${DATA_DIR}/${STATE_FOLDER}`, { incarnation, shard: 0, journalSequence: 0, lines })
    this.log.completeCheckpoint(line)
    for (const path of this.log.removeCondemned()) this.#files.remove(path)
  }

  compact(totals: Totals, between: () => void): void {
    const result = rewrite(this.context, this.log)
    if (result === undefined) return
    between()
    this.log.endCompaction(result)
    totals.swaps += result.segments.length
    between()
    this.checkpoint()
    between()
    this.checkpoint()
  }
}

function check(
  disk: MemoryFileSystem,
  expected: Expected,
  options: { bootId: string; clock: ManualClock },
  totals: Totals,
): void {
  const run = new Run(disk, options)
  if (run.notes.some((note) => note.includes('finished the swap'))) totals.swapsFound++
  checkLog(run, expected)
  // It goes on: compacted once more, it says the same.
  run.log.roll()
  run.checkpoint()
  run.compact(totals, () => {})
  checkLog(run, expected)
}

function checkLog({ log, context }: Run, expected: Expected): void {
  assert.ok(log.logEndOffset >= expected.acked, `end ${log.logEndOffset}, acknowledged ${expected.acked}`)
  const records = readAll(context, log)
  for (const { offset, key, value, timestampMs } of records) {
    const written = expected.written[offset]
    if (written === undefined) continue // a marker
    const seen = [textOf(key), textOf(value), timestampMs]
    assert.deepEqual(seen, [textOf(written.key), textOf(written.value), written.timestampMs], `offset ${offset}`)
  }
  const batches = expected.batches.filter(({ nextOffset }) => nextOffset <= log.logEndOffset)
  const open = transactionsOf(batches).filter(({ markerOffset }) => markerOffset < 0)
  assert.deepEqual(
    log.transactions.toEntries(),
    open.map((one) => [one.producerId, one.firstOffset]).sort((left, right) => left[1]! - right[1]!),
  )
  const end = Math.min(log.logEndOffset, log.transactions.firstOpenOffset)
  assert.deepEqual(committedTableOf(context, log, end), expectedTableOf(batches, end))
}

function crashAndCheck(
  disk: MemoryFileSystem,
  expected: Expected,
  clock: ManualClock,
  prng: SeededPrng,
  totals: Totals,
): void {
  const isKill = prng.below(3) === 0
  let bootId = isKill ? 'boot-0' : 'boot-1'
  let image = disk.crash(prng, { kind: isKill ? 'kill' : 'power' })
  if (prng.below(3) === 0) {
    let left = prng.below(40)
    try {
      new Run(
        hooked(image, () => {
          if (left-- === 0) throw new Stop()
        }),
        { bootId, clock },
      )
    } catch (error) {
      if (!(error instanceof Stop)) throw error
      totals.crashesInRecovery++
    }
    const isPower = prng.below(2) === 0
    image = image.crash(prng, { kind: isPower ? 'power' : 'kill' })
    if (isPower) bootId = 'boot-2'
  }
  totals.images++
  check(image, expected, { bootId, clock }, totals)
}

test('a crash at any operation of a compaction loses nothing and brings nothing back', () => {
  const startedMs = performance.now()
  const totals: Totals = { images: 0, swapsFound: 0, crashesInRecovery: 0, swaps: 0, tombstonesGone: 0 }
  const goesOn = () => performance.now() - startedMs < BUDGET_MS
  let seed = SEED
  while (goesOn()) {
    const prng = new SeededPrng(seed)
    try {
      runOnce(prng, totals, goesOn)
    } catch (error) {
      const command = `MILLRACE_SEED=${seed} node --test dist/test/crash/compaction.test.js`
      throw new Error(`${command}\n${error instanceof Error ? error.stack : String(error)}`)
    }
    seed = (seed + 1) >>> 0
  }
  console.log(`compaction crashes: seeds ${SEED}…${seed - 1}, ${JSON.stringify(totals)}`)
  if (totals.images > 2000)
    for (const [what, count] of Object.entries(totals)) assert.ok(count > 0, `${what} was never reached`)
})

function runOnce(prng: SeededPrng, totals: Totals, goesOn: () => boolean): void {
  const disk = new MemoryFileSystem()
  const clock = new ManualClock()
  const expected: Expected = { written: [], batches: [], acked: 0 }
  const everyMax = 1 + prng.below(10)
  let untilCrash = Number.POSITIVE_INFINITY
  const files = hooked(disk, () => {
    if (--untilCrash > 0 || !goesOn()) return
    untilCrash = 1 + prng.below(everyMax)
    crashAndCheck(disk, expected, clock, prng, totals)
  })
  const run = new Run(files, { bootId: 'boot-0', clock })
  untilCrash = 1
  for (let round = 0; round < 12 && goesOn(); round++) {
    clock.ms += prng.below(60)
    for (let writes = 1 + prng.below(4); writes > 0; writes--) run.write(prng, expected)
    run.checkpoint()
    run.compact(totals, () => {
      if (prng.below(2) === 0) run.write(prng, expected)
    })
    checkLog(run, expected)
    const kept = readAll(run.context, run.log).filter(({ value }) => value === null).length
    if (expected.written.filter((record) => record?.value === null).length > kept) totals.tombstonesGone++
  }
}
