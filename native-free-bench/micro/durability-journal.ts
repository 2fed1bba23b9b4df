/**
 * Prototype (b): one commit group = an append to each of N partitions, made durable. Three ways:
 *   segments    write and fdatasync every segment
 *   journal     write every segment (cached) and one entry list to a preallocated, recycled journal; fdatasync the journal
 *   growing     the same with a journal that grows instead of being overwritten
 * The journal ways owe a checkpoint (every segment synced once): timed at the end and spread over the groups.
 * First table: 4 KiB a partition, by number of partitions. Second: larger appends, because the journal writes bytes twice.
 *
 * Run: node dist/native-free-bench/micro/durability-journal.js [--dir <folder>] [--smoke]
 */
import { closeSync, fdatasyncSync, fsyncSync, ftruncateSync, openSync, writeSync, writevSync } from 'node:fs'
import { join } from 'node:path'
import { inBenchFolder, isSmoke, overRounds, percentile, printTable } from '../harness/durability-common.ts'

const SMALL_APPEND_BYTES = 4096
const LARGE_APPENDS_BYTES = isSmoke ? [65536] : [16384, 65536, 262144, 1048576]
const LARGE_PARTITIONS = isSmoke ? [2] : [1, 2, 4, 8]
const ENTRY_HEADER_BYTES = 64
const JOURNAL_BYTES = 64 * 1024 * 1024
const PARTITIONS = isSmoke ? [1, 4] : [1, 2, 3, 4, 10, 32, 100, 1000]
const ROUNDS = isSmoke ? 1 : 5
const CELL_MS = isSmoke ? 30 : 120
const GROUPS_MIN = 3
const GROUPS_MAX = 2000
const BUFFERS_MAX = 1024

type Way = 'segments' | 'journal' | 'growing'
const WAYS: readonly Way[] = ['segments', 'journal', 'growing']

interface Cell {
  p50Ms: number
  p99Ms: number
  groups: number
  checkpointMsPerGroup: number
  /** Whole time over groups, the checkpoint included. */
  totalMsPerGroup: number
}

class Bench {
  #append = Buffer.alloc(SMALL_APPEND_BYTES, 1)
  readonly #header = Buffer.alloc(ENTRY_HEADER_BYTES, 2)
  readonly #segments: number[] = []
  readonly #ends: number[] = []
  readonly #preallocated: number
  readonly #growing: number
  #journalAt = 0
  #growingAt = 0

  constructor(folder: string) {
    for (let index = 0; index < Math.max(...PARTITIONS); index++) {
      this.#segments.push(openSync(join(folder, `segment-${index}`), 'w+'))
      this.#ends.push(0)
    }
    this.#preallocated = openSync(join(folder, 'journal'), 'w+')
    const zeros = Buffer.alloc(1024 * 1024)
    for (let at = 0; at < JOURNAL_BYTES; at += zeros.length) writeSync(this.#preallocated, zeros, 0, zeros.length, at)
    fsyncSync(this.#preallocated)
    this.#growing = openSync(join(folder, 'growing'), 'w+')
  }

  cell(way: Way, partitions: number, appendBytes: number): Cell {
    this.#reset()
    this.#append = Buffer.alloc(appendBytes, 1)
    const samples: number[] = []
    const startMs = performance.now()
    while (samples.length < GROUPS_MIN || (samples.length < GROUPS_MAX && performance.now() - startMs < CELL_MS)) {
      const groupMs = performance.now()
      this.#commit(way, partitions)
      samples.push(performance.now() - groupMs)
    }
    const checkpointMs = performance.now()
    if (way !== 'segments') for (let index = 0; index < partitions; index++) fdatasyncSync(this.#segments[index]!)
    const endMs = performance.now()
    return {
      p50Ms: percentile(samples, 0.5),
      p99Ms: percentile(samples, 0.99),
      groups: samples.length,
      checkpointMsPerGroup: (endMs - checkpointMs) / samples.length,
      totalMsPerGroup: (endMs - startMs) / samples.length,
    }
  }

  close(): void {
    for (const fd of [...this.#segments, this.#preallocated, this.#growing]) closeSync(fd)
  }

  #commit(way: Way, partitions: number): void {
    for (let index = 0; index < partitions; index++)
      this.#ends[index]! += writeSync(this.#segments[index]!, this.#append, 0, this.#append.length, this.#ends[index]!)
    if (way === 'segments') for (let index = 0; index < partitions; index++) fdatasyncSync(this.#segments[index]!)
    else this.#commitToJournal(way, partitions)
  }

  #commitToJournal(way: Way, partitions: number): void {
    const groupBytes = partitions * (ENTRY_HEADER_BYTES + this.#append.length)
    if (this.#journalAt + groupBytes > JOURNAL_BYTES) this.#journalAt = 0
    const fd = way === 'journal' ? this.#preallocated : this.#growing
    let at = way === 'journal' ? this.#journalAt : this.#growingAt
    const buffers: Buffer[] = []
    for (let index = 0; index < partitions; index++) buffers.push(this.#header, this.#append)
    for (let first = 0; first < buffers.length; first += BUFFERS_MAX)
      at += writevSync(fd, buffers.slice(first, first + BUFFERS_MAX), at)
    if (way === 'journal') this.#journalAt = at
    else this.#growingAt = at
    fdatasyncSync(fd)
  }

  /** Every cell starts with empty, clean segments: the one before leaves it no work. */
  #reset(): void {
    for (const [index, fd] of this.#segments.entries()) {
      if (this.#ends[index] === 0) continue
      ftruncateSync(fd, 0)
      this.#ends[index] = 0
    }
    ftruncateSync(this.#growing, 0)
    this.#growingAt = 0
    this.#journalAt = 0
    fsyncSync(this.#growing)
  }
}

function measure(bench: Bench, ways: readonly Way[], partitions: readonly number[], appendBytes: number) {
  const cells = new Map<string, Cell[]>()
  for (let round = 0; round < ROUNDS; round++)
    for (const count of partitions)
      for (const way of ways) {
        const key = `${way} ${count}`
        cells.set(key, [...(cells.get(key) ?? []), bench.cell(way, count, appendBytes)])
      }
  return (way: Way, count: number): Cell[] => cells.get(`${way} ${count}`)!
}

function smallAppends(bench: Bench): void {
  const cellsOf = measure(bench, WAYS, PARTITIONS, SMALL_APPEND_BYTES)
  const rows = PARTITIONS.flatMap((partitions) =>
    WAYS.map((way) => {
      const cells = cellsOf(way, partitions)
      return [
        String(partitions),
        way,
        overRounds(cells.map((cell) => cell.p50Ms)),
        overRounds(cells.map((cell) => cell.p99Ms)),
        way === 'segments' ? '–' : overRounds(cells.map((cell) => cell.checkpointMsPerGroup)),
        String(Math.min(...cells.map((cell) => cell.groups))),
      ]
    }),
  )
  printTable(['partitions', 'way', 'group p50 ms', 'p99 ms', 'checkpoint ms/group', 'groups ≥'], rows)
}

function largeAppends(bench: Bench): void {
  const rows = LARGE_APPENDS_BYTES.flatMap((appendBytes) => {
    const cellsOf = measure(bench, ['segments', 'journal'], LARGE_PARTITIONS, appendBytes)
    return LARGE_PARTITIONS.map((partitions) => [
      String(appendBytes / 1024),
      String(partitions),
      ...(['segments', 'journal'] as const).flatMap((way) => [
        overRounds(cellsOf(way, partitions).map((cell) => cell.p50Ms)),
        overRounds(cellsOf(way, partitions).map((cell) => cell.totalMsPerGroup)),
      ]),
    ])
  })
  printTable(['KiB each', 'partitions', 'segments p50', 'total/group', 'journal p50', 'total/group'], rows)
}

await inBenchFolder((folder) => {
  const bench = new Bench(folder)
  smallAppends(bench)
  largeAppends(bench)
  bench.close()
})
