/**
 * Prototype (c): does fdatasync of many files get faster when several threads call it? 32 files with a fresh 4 KiB append
 * each, synced by one thread after the other file, or shared out among 2, 4 and 8 threads.
 *
 * Run: node dist/native-free-bench/micro/durability-parallel-sync.js [--dir <folder>] [--smoke]
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { inBenchFolder, isSmoke, overRounds, percentile, printTable } from '../harness/durability-common.ts'

const FILES = 32
const APPEND_BYTES = 4096
const THREADS = [1, 2, 4, 8]
const ROUNDS = isSmoke ? 1 : 5
const GROUPS = isSmoke ? 3 : 40

// Shared words: number of the group to sync, how many threads sync it (0: stop), how many are done; then the descriptors.
const GROUP = 0
const ACTIVE = 1
const DONE = 2
const FDS = 16

interface Assignment {
  words: Int32Array
  index: number
}

function syncThread({ words, index }: Assignment): void {
  for (let group = 0; ; group++) {
    Atomics.wait(words, GROUP, group)
    const active = Atomics.load(words, ACTIVE)
    if (active === 0) return
    if (index < active) for (let file = index; file < FILES; file += active) fdatasyncSync(words[FDS + file]!)
    Atomics.add(words, DONE, 1)
    Atomics.notify(words, DONE)
  }
}

function nextGroup(words: Int32Array, active: number): void {
  Atomics.store(words, DONE, 0)
  Atomics.store(words, ACTIVE, active)
  Atomics.add(words, GROUP, 1)
  Atomics.notify(words, GROUP)
  if (active === 0) return
  for (let done = 0; done < Math.max(...THREADS); done = Atomics.load(words, DONE))
    Atomics.wait(words, DONE, done, 1000)
}

async function run(folder: string): Promise<void> {
  const words = new Int32Array(new SharedArrayBuffer(4 * (FDS + FILES)))
  const fds = Array.from({ length: FILES }, (_, file) => openSync(join(folder, `file-${file}`), 'w+'))
  words.set(fds, FDS)
  const workers = Array.from(
    { length: Math.max(...THREADS) },
    (_, index) => new Worker(new URL(import.meta.url), { workerData: { words, index } satisfies Assignment }),
  )
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('online', resolve))))
  const append = Buffer.alloc(APPEND_BYTES, 1)
  const p50s = new Map<number, number[]>(THREADS.map((threads) => [threads, []]))
  let end = 0
  for (let round = 0; round < ROUNDS; round++)
    for (const threads of THREADS) {
      const samples: number[] = []
      for (let group = 0; group < GROUPS; group++) {
        for (const fd of fds) writeSync(fd, append, 0, APPEND_BYTES, end)
        end += APPEND_BYTES
        const startMs = performance.now()
        nextGroup(words, threads)
        samples.push(performance.now() - startMs)
      }
      p50s.get(threads)!.push(percentile(samples, 0.5))
    }
  nextGroup(words, 0)
  for (const fd of fds) closeSync(fd)
  printTable(
    ['threads', `${FILES} files synced, p50 ms`],
    THREADS.map((threads) => [String(threads), overRounds(p50s.get(threads)!)]),
  )
}

if (isMainThread) await inBenchFolder(run)
else syncThread(workerData as Assignment)
