/**
 * Prototype (a): who calls fdatasync? Appends 1 MiB chunks in a loop that must also serve a 64 KiB cached read every
 * millisecond, once with fdatasync inline and once on a helper thread, one sync in flight, unsynced bytes bounded.
 *
 * Appends come as fast as they can, and again at a fixed rate, so that latencies compare at equal throughput.
 * Read latency is counted from when the read was due, not from when the loop got to it.
 * Run: node dist/native-free-bench/micro/durability-disk-thread.js [--dir <folder>] [--smoke]
 */
import { closeSync, fdatasyncSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { inBenchFolder, isSmoke, overRounds, percentile, printTable } from '../harness/durability-common.ts'

const CHUNK_BYTES = 1024 * 1024
const READ_BYTES = 64 * 1024
const READ_EVERY_MS = 1
const UNSYNCED_BYTES_MAX = 8 * CHUNK_BYTES
const RATES_MIB_PER_SECOND = [Number.POSITIVE_INFINITY, 300]
const ROUND_MS = isSmoke ? 100 : 1200
const ROUNDS = isSmoke ? 1 : 7

// Words shared with the helper: how many syncs were asked for, how many are done, which descriptor (-1: stop).
const ASKED = 0
const DONE = 1
const FD = 2

interface Round {
  mibPerSecond: number
  readP50Ms: number
  readP99Ms: number
  syncP50Ms: number
}

/** Serves the reads that are due; they go to the last megabytes written, which lie in the page cache. */
class DueReads {
  readonly latenciesMs: number[] = []
  readonly #page = Buffer.alloc(READ_BYTES)
  #dueMs = performance.now() + READ_EVERY_MS

  get nextDueMs(): number {
    return this.#dueMs
  }

  serve(fd: number, end: number): void {
    while (performance.now() >= this.#dueMs) {
      readSync(fd, this.#page, 0, READ_BYTES, Math.max(0, end - CHUNK_BYTES))
      this.latenciesMs.push(performance.now() - this.#dueMs)
      this.#dueMs += READ_EVERY_MS
    }
  }
}

function roundOf(bytes: number, elapsedMs: number, reads: DueReads, syncsMs: number[]): Round {
  return {
    mibPerSecond: (bytes / 1048576 / elapsedMs) * 1000,
    readP50Ms: percentile(reads.latenciesMs, 0.5),
    readP99Ms: percentile(reads.latenciesMs, 0.99),
    syncP50Ms: percentile(syncsMs, 0.5),
  }
}

/** When the chunk that starts at `end` is due. */
function chunkDueMs(startMs: number, end: number, mibPerSecond: number): number {
  return startMs + (end / 1048576 / mibPerSecond) * 1000
}

function inlineRound(fd: number, words: Int32Array, mibPerSecond: number): Round {
  const chunk = Buffer.alloc(CHUNK_BYTES, 1)
  const startMs = performance.now()
  const reads = new DueReads()
  const syncsMs: number[] = []
  let end = 0
  while (performance.now() - startMs < ROUND_MS) {
    const dueMs = chunkDueMs(startMs, end, mibPerSecond)
    if (performance.now() >= dueMs) {
      end += writeSync(fd, chunk, 0, CHUNK_BYTES, end)
      const syncMs = performance.now()
      fdatasyncSync(fd)
      syncsMs.push(performance.now() - syncMs)
    } else sleepUntil(words, Math.min(dueMs, reads.nextDueMs))
    reads.serve(fd, end)
  }
  return roundOf(end, performance.now() - startMs, reads, syncsMs)
}

function sleepUntil(words: Int32Array, timeMs: number): void {
  const waitMs = timeMs - performance.now()
  // Wakes when a sync is done, too: the value waited on is that of "one outstanding".
  if (waitMs > 0) Atomics.wait(words, DONE, Atomics.load(words, ASKED) - 1, waitMs)
}

function helperRound(fd: number, words: Int32Array, mibPerSecond: number): Round {
  const chunk = Buffer.alloc(CHUNK_BYTES, 1)
  const startMs = performance.now()
  const reads = new DueReads()
  const syncsMs: number[] = []
  let end = 0
  let syncedEnd = 0
  let syncingEnd = 0
  let askedMs = 0
  const pollSync = (): void => {
    const isIdle = Atomics.load(words, DONE) === Atomics.load(words, ASKED)
    if (isIdle && syncingEnd > syncedEnd) {
      syncedEnd = syncingEnd
      syncsMs.push(performance.now() - askedMs)
    }
    if (!isIdle || end === syncedEnd) return
    syncingEnd = end
    askedMs = performance.now()
    Atomics.store(words, FD, fd)
    Atomics.add(words, ASKED, 1)
    Atomics.notify(words, ASKED)
  }
  while (performance.now() - startMs < ROUND_MS) {
    const dueMs = chunkDueMs(startMs, end, mibPerSecond)
    const hasRoom = end - syncedEnd < UNSYNCED_BYTES_MAX
    if (hasRoom && performance.now() >= dueMs) end += writeSync(fd, chunk, 0, CHUNK_BYTES, end)
    else sleepUntil(words, hasRoom ? Math.min(dueMs, reads.nextDueMs) : reads.nextDueMs)
    pollSync()
    reads.serve(fd, end)
  }
  while (Atomics.load(words, DONE) !== Atomics.load(words, ASKED))
    Atomics.wait(words, DONE, Atomics.load(words, ASKED) - 1, 100)
  return roundOf(syncingEnd, performance.now() - startMs, reads, syncsMs)
}

function helperThread(words: Int32Array): void {
  for (;;) {
    Atomics.wait(words, ASKED, Atomics.load(words, DONE))
    const fd = Atomics.load(words, FD)
    if (fd < 0) return
    fdatasyncSync(fd)
    Atomics.add(words, DONE, 1)
    Atomics.notify(words, DONE)
  }
}

async function run(folder: string): Promise<void> {
  const words = new Int32Array(new SharedArrayBuffer(64))
  const helper = new Worker(new URL(import.meta.url), { workerData: words })
  await new Promise((resolve) => helper.once('online', resolve))
  const rows: string[][] = []
  for (const rate of RATES_MIB_PER_SECOND) {
    const rounds = { inline: [] as Round[], helper: [] as Round[] }
    for (let round = 0; round < ROUNDS; round++)
      for (const kind of ['inline', 'helper'] as const) {
        const path = join(folder, `${kind}-${rate}-${round}`)
        const fd = openSync(path, 'w+')
        rounds[kind].push((kind === 'inline' ? inlineRound : helperRound)(fd, words, rate))
        closeSync(fd)
        unlinkSync(path)
      }
    for (const kind of ['inline', 'helper'] as const) {
      const column = (name: keyof Round, digits = 2): string =>
        overRounds(
          rounds[kind].map((round) => round[name]),
          digits,
        )
      const load = Number.isFinite(rate) ? `${rate} MiB/s` : 'as fast as can be'
      rows.push([load, kind, column('mibPerSecond', 0), column('readP50Ms'), column('readP99Ms'), column('syncP50Ms')])
    }
  }
  Atomics.store(words, FD, -1)
  Atomics.add(words, ASKED, 1)
  Atomics.notify(words, ASKED)
  printTable(['appends', 'fdatasync', 'synced MiB/s', '64 KiB read p50 ms', 'p99 ms', 'sync p50 ms'], rows)
}

if (isMainThread) await inBenchFolder(run)
else helperThread(workerData as Int32Array)
