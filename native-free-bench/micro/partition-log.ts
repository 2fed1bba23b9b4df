/**
 * What PartitionLog itself costs: stage and write per batch, locate, and memory of an idle partition.
 *
 *   node --expose-gc dist/native-free-bench/micro/partition-log.js [--smoke]
 *
 * "log alone" writes to a file system that only counts; "with write" writes to a real file (page cache, no sync), beside the bare
 * writev of the same buffers in the same run. The best of the rounds is shown.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/base/node/system-clock.ts'
import type { FileSystem } from '../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../src/io/memory-file-system.ts'
import { NodeFileSystem } from '../../src/io/node-file-system.ts'
import { NOTHING_ABORTED } from '../../src/log/aborted-index.ts'
import { createLogContext } from '../../src/log/log-context.ts'
import { PartitionLog } from '../../src/log/partition-log.ts'
import type { TopicId } from '../../src/model/ids.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../src/model/topic-config.ts'
import { BatchView } from '../../src/record/batch-view.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'

const isSmoke = process.argv.includes('--smoke')
const ROUNDS = isSmoke ? 1 : 7
const BYTES_PER_ROUND = (isSmoke ? 1 : 64) * 1024 * 1024
const ROUND_BATCHES_MAX = 20_000
const RECORD_OVERHEAD_BYTES = 73
const TOPIC = '0123456789abcdef0123456789abcdef' as TopicId
const BASE_SEQUENCE_AT = 53
const SMALL_FILE_BYTES = 512

const dataDir = mkdtempSync(join(tmpdir(), 'millrace-bench-'))
let partition = 0

/** Accepts writes of batches and keeps nothing of them; the small files are kept. */
function countingFiles(): FileSystem {
  const files = new MemoryFileSystem()
  files.makeFolder(dataDir)
  const { write } = files
  files.write = (fd, buffers, position) => {
    let bytes = 0
    for (const buffer of buffers) bytes += buffer.length
    return bytes < SMALL_FILE_BYTES ? write.call(files, fd, buffers, position) : bytes
  }
  return files
}

function makeBatch(bytes: number, isIdempotent: boolean): Uint8Array {
  const writer = new BatchWriter()
  writer.append(null, new Uint8Array(bytes - RECORD_OVERHEAD_BYTES), null, systemClock.nowMs())
  return writer.finish(isIdempotent ? { producerId: 7, producerEpoch: 0, baseSequence: 0 } : {}).slice()
}

interface Load {
  readonly name: string
  readonly bytes: number
  readonly batchesPerWrite: number
  readonly isIdempotent?: boolean
}

/** Best nanoseconds a batch over the rounds. */
function best(batches: number, round: () => void): number {
  let least = Number.POSITIVE_INFINITY
  for (let index = 0; index < ROUNDS; index++) {
    const from = process.hrtime.bigint()
    round()
    least = Math.min(least, Number(process.hrtime.bigint() - from) / batches)
  }
  return least
}

function appendCost(files: FileSystem, load: Load): number {
  const context = createLogContext({ files, clock: systemClock, dataDir })
  const config = { ...TOPIC_CONFIG_DEFAULTS, segmentBytes: 128 * 1024 * 1024 }
  const log = PartitionLog.create(context, { topicId: TOPIC, partition: partition++, config })
  const batch = makeBatch(load.bytes, load.isIdempotent === true)
  const fields = new DataView(batch.buffer)
  const view = new BatchView()
  const groups = groupsOf(load)
  let sequence = 0
  const cost = best(groups * load.batchesPerWrite, () => {
    for (let group = 0; group < groups; group++) {
      for (let index = 0; index < load.batchesPerWrite; index++) {
        view.reset(batch).stamp(log.nextOffset, 1)
        if (load.isIdempotent === true) {
          fields.setInt32(BASE_SEQUENCE_AT, sequence++)
          if (log.producers.decide(view).kind !== 'append') throw new Error('the batch was refused')
        }
        log.stage(view, batch)
      }
      log.writeStaged()
    }
  })
  if (log.logEndOffset !== groups * load.batchesPerWrite * ROUNDS) throw new Error('not all batches are in the log')
  log.close()
  return cost
}

function bareWriteCost(files: FileSystem, load: Load): number {
  const buffers = Array.from({ length: load.batchesPerWrite }, () => makeBatch(load.bytes, false))
  const fd = files.open(`${dataDir}/bare-${partition++}`, 'create-new')
  let position = 0
  const cost = best(groupsOf(load) * load.batchesPerWrite, () => {
    for (let group = 0; group < groupsOf(load); group++) position += files.write(fd, buffers, position)
  })
  files.close(fd)
  return cost
}

function groupsOf(load: Load): number {
  const groups = Math.min(ROUND_BATCHES_MAX, BYTES_PER_ROUND / load.bytes) / load.batchesPerWrite
  return Math.max(1, Math.floor(groups))
}

function locateCosts(): void {
  const context = createLogContext({ files: countingFiles(), clock: systemClock, dataDir })
  const log = PartitionLog.create(context, { topicId: TOPIC, partition: 0, config: TOPIC_CONFIG_DEFAULTS })
  const batch = makeBatch(1024, false)
  const view = new BatchView()
  for (let index = 0; index < 50_000; index++) {
    view.reset(batch).stamp(log.nextOffset, 1)
    log.stage(view, batch)
    if (index % 100 === 99) log.writeStaged()
  }
  const end = log.logEndOffset
  const times = isSmoke ? 10_000 : 500_000
  const measure = (name: string, offsetOf: (index: number) => number) => {
    const cost = best(times, () => {
      for (let index = 0; index < times; index++) {
        if (log.locate(offsetOf(index), end).kind !== 'found') throw new Error('not found')
      }
    })
    console.log(`locate, ${name}: ${cost.toFixed(0)} ns`)
  }
  measure('a batch of the tail', (index) => end - 1 - (index & 1023))
  measure('by the index', (index) => (index * 7919) % 30_000)
}

function idleMemory(segments: number): void {
  if (globalThis.gc === undefined) return
  const heldBytes = () => {
    globalThis.gc!()
    const usage = process.memoryUsage()
    return usage.heapUsed + usage.arrayBuffers
  }
  const count = isSmoke ? 100 : 10_000
  const context = createLogContext({ files: new MemoryFileSystem(), clock: systemClock, dataDir })
  const before = heldBytes()
  const logs: PartitionLog[] = []
  for (let index = 0; index < count; index++) {
    const facts = Array.from({ length: segments }, (_, segment) => ({
      baseOffset: segment * 100_000,
      nextOffset: (segment + 1) * 100_000,
      bytes: 1e8,
      maxTimestampMs: 1.7e12,
      createdMs: 1.7e12,
    }))
    const end = segments * 100_000
    const recovered = {
      logStartOffset: 0,
      logEndOffset: end,
      segments: facts,
      recoveryPoint: end,
      leaderEpochs: [[0, 0] as const, [1, 5000] as const],
      producerSnapshotOffset: end,
      openTransactions: [],
      aborted: NOTHING_ABORTED,
      damaged: null,
    }
    logs.push(
      PartitionLog.open(context, { topicId: TOPIC, partition: index, config: TOPIC_CONFIG_DEFAULTS, recovered }),
    )
  }
  console.log(`idle partition, ${segments} segments: ${((heldBytes() - before) / logs.length).toFixed(0)} bytes`)
}

const LOADS: readonly Load[] = [
  { name: '64 KiB, 1 a write', bytes: 64 * 1024, batchesPerWrite: 1 },
  { name: '64 KiB, 16 a write', bytes: 64 * 1024, batchesPerWrite: 16 },
  { name: '1 KiB, 1 a write', bytes: 1024, batchesPerWrite: 1 },
  { name: '1 KiB, 64 a write', bytes: 1024, batchesPerWrite: 64 },
  { name: '1 KiB, 64 a write, idempotent', bytes: 1024, batchesPerWrite: 64, isIdempotent: true },
]

try {
  idleMemory(1)
  idleMemory(10)
  console.log('\n| batches                        | log alone, ns a batch | with write | bare writev |')
  console.log('| ------------------------------ | --------------------: | ---------: | ----------: |')
  for (const load of LOADS) {
    const alone = appendCost(countingFiles(), load).toFixed(0)
    const real = appendCost(new NodeFileSystem(), load).toFixed(0)
    const bare = bareWriteCost(new NodeFileSystem(), load).toFixed(0)
    console.log(`| ${load.name.padEnd(30)} | ${alone.padStart(21)} | ${real.padStart(10)} | ${bare.padStart(11)} |`)
  }
  console.log('')
  locateCosts()
} finally {
  rmSync(dataDir, { recursive: true, force: true })
}
