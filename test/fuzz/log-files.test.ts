/**
 * Random bytes and mutations in every kind of file below a data dir: each reader gives a typed answer, the recovery and verify
 * of the whole end in time, and nothing grows.
 *
 * Budget     MILLRACE_BUDGET_MS (default 10 s), MILLRACE_FUZZ_FILES (as many as the budget allows)
 * Reproduce  MILLRACE_SEED=<seed> node --test dist/test/fuzz/log-files.test.js
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import '../../src/base/node/native-crc32c.ts'
import { systemPrng } from '../../src/base/node/system-prng.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import { StorageError } from '../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../src/io/memory-file-system.ts'
import { AbortedIndex } from '../../src/log/aborted-index.ts'
import { decodeCheckpoint } from '../../src/log/checkpoint-file.ts'
import { DataDirError, openDataDir } from '../../src/log/data-dir.ts'
import { recoverDataDir } from '../../src/log/data-dir-recovery.ts'
import { decodeJournalFileHeader, readJournalEntries } from '../../src/log/journal-format.ts'
import { decodeLeaderEpochs } from '../../src/log/leader-epoch-cache.ts'
import { repairDataDir } from '../../src/log/log-repair.ts'
import { verifyDataDir } from '../../src/log/log-verify.ts'
import { OffsetIndex } from '../../src/log/offset-index.ts'
import { ProducerState } from '../../src/log/producer-state.ts'
import { checkRecovered } from '../../src/log/recovered-partition.ts'
import { decodeSyncedEnds } from '../../src/log/synced-ends-file.ts'
import { TimeIndex } from '../../src/log/time-index.ts'
import { DATA_DIR, type Expected, LogWorkload, probeOf } from '../support/log-workload.ts'

const BUDGET_MS = Number(process.env.MILLRACE_BUDGET_MS ?? 10_000)
const FILES_MAX = Number(process.env.MILLRACE_FUZZ_FILES ?? Number.POSITIVE_INFINITY)
const SEED = Number(process.env.MILLRACE_SEED ?? systemPrng().uint32())
/** After this many files the process is warm: its heap has the size that the disks in memory want. */
const WARM_FILES = 1_000
const GROWTH_BYTES_MAX = 64 * 1024 * 1024
const CASE_MS_MAX = 5_000

const DECODERS: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
  checkpoint: decodeCheckpoint,
  synced: decodeSyncedEnds,
  journalHeader: decodeJournalFileHeader,
  journalEntries: (bytes) => readJournalEntries(bytes, { high: 1, low: 2 }),
  epochs: decodeLeaderEpochs,
  offsetIndex: (bytes) => OffsetIndex.decode(bytes),
  timeIndex: (bytes) => TimeIndex.decode(bytes),
  aborted: AbortedIndex.decode,
  producers: (bytes) => ProducerState.decode(bytes),
}

function mutate(bytes: Uint8Array, prng: SeededPrng): Uint8Array {
  const length = prng.below(4) === 0 ? prng.below(bytes.length + 600) : bytes.length
  const mutated = new Uint8Array(length)
  mutated.set(bytes.subarray(0, length))
  if (prng.below(5) === 0) for (let at = 0; at < length; at++) mutated[at] = prng.uint32()
  for (let count = prng.below(6); count > 0 && length > 0; count--) {
    const at = prng.below(length)
    const draw = prng.below(4)
    if (draw === 0) mutated[at] = prng.uint32()
    else if (draw === 1) mutated.fill(prng.below(2) * 255, at, at + prng.below(64))
    else if (draw === 2) mutated.copyWithin(at, prng.below(length), prng.below(length) + prng.below(200))
    else mutated[at]! ^= 1 << prng.below(8)
  }
  return mutated
}

function replace(files: MemoryFileSystem, path: string, bytes: Uint8Array): void {
  const fd = files.open(path, 'create')
  files.truncate(fd, 0)
  if (bytes.length > 0) files.write(fd, [bytes], 0)
  files.close(fd)
}

/** Runs all that a start or `verify` would; everything but the named errors is a failure. */
function exercise(image: MemoryFileSystem, prng: SeededPrng): 'served' | 'damaged' | 'refused' {
  const bootId = prng.below(2) === 0 ? 'boot' : 'boot-2'
  try {
    verifyDataDir(image.clone(), { dataDir: DATA_DIR, probe: probeOf(bootId, 2), readBytes: 4096 })
    if (prng.below(4) === 0) repairDataDir(image, { dataDir: DATA_DIR, nodeId: 1, probe: probeOf(bootId, 3) })
    const dataDir = openDataDir(image, { path: DATA_DIR, nodeId: 1, newClusterId: 'c', probe: probeOf(bootId, 4) })
    const { incarnation } = dataDir.identity
    const { previousRun } = dataDir
    const recovery = recoverDataDir(image, { dataDir: DATA_DIR, incarnation, previousRun, readBytes: 4096 })
    let outcome: 'served' | 'damaged' = 'served'
    for (const { recovered } of recovery.results) {
      if (recovered === null) continue
      if (recovered.damaged === null) checkRecovered(recovered)
      else outcome = 'damaged'
    }
    return outcome
  } catch (error) {
    if (error instanceof DataDirError || error instanceof StorageError) return 'refused'
    throw error
  }
}

test('every kind of file may hold anything', () => {
  const startedMs = performance.now()
  let rssBefore = 0
  const totals = { files: 0, decoded: 0, served: 0, damaged: 0, refused: 0, slowestMs: 0 }
  let seed = SEED
  const goesOn = (): boolean => performance.now() - startedMs < BUDGET_MS && totals.files < FILES_MAX
  while (goesOn()) {
    const prng = new SeededPrng(seed)
    const disk = new MemoryFileSystem()
    const expected = new Map<number, Expected>()
    const workload = new LogWorkload({
      files: disk,
      prng,
      expected,
      partitions: 3,
      leaderEpoch: 1,
      bootId: 'boot',
      pid: 1,
    })
    for (let step = 0; step < 15; step++) workload.step()
    const paths = disk.filePaths()
    for (let index = 0; index < 60 && goesOn(); index++) {
      const image = disk.crash(prng, { kind: 'kill' })
      const path = paths[prng.below(paths.length)]!
      const caseMs = performance.now()
      try {
        const bytes = mutate(image.contentOf(path), prng)
        for (const decode of Object.values(DECODERS)) {
          decode(bytes)
          totals.decoded++
        }
        replace(image, path, bytes)
        totals[exercise(image, prng)]++
      } catch (error) {
        const command = `MILLRACE_SEED=${seed} node --test dist/test/fuzz/log-files.test.js`
        throw new Error(`${command}\n${path}\n${error instanceof Error ? error.stack : String(error)}`)
      }
      totals.files++
      if (totals.files === WARM_FILES) rssBefore = process.memoryUsage().rss
      totals.slowestMs = Math.max(totals.slowestMs, Math.round(performance.now() - caseMs))
    }
    seed = (seed + 1) >>> 0
  }
  const growth = rssBefore === 0 ? 0 : process.memoryUsage().rss - rssBefore
  console.log(
    `fuzzed files: seeds ${SEED}…${seed - 1}, ${JSON.stringify(totals)}, RSS ${rssBefore === 0 ? 'not measured, too few files' : `+${Math.round(growth / 2 ** 20)} MiB`}`,
  )
  assert.ok(totals.slowestMs < CASE_MS_MAX, `a case took ${totals.slowestMs} ms`)
  assert.ok(growth < GROWTH_BYTES_MAX, `RSS grew by ${growth} bytes`)
  assert.ok(totals.files < 200 || (totals.damaged > 0 && totals.served > 0))
})
