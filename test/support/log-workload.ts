/**
 * A shard's storage without the shard: partitions, journal, synced ends and checkpoints driven as the worker drives them,
 * on any FileSystem, step by step, with a record of what was written and what was acknowledged.
 *
 * Invariants  the expectation is a step ahead of the disk: `written` grows before the write, `acked` after the sync
 */
import { hexOf } from '../../src/base/bytes.ts'
import type { Prng } from '../../src/base/prng.ts'
import type { Fd, FileSystem } from '../../src/io/file-system.ts'
import { writeCheckpoint } from '../../src/log/checkpoint-file.ts'
import { CommitJournal } from '../../src/log/commit-journal.ts'
import { type DataDir, openDataDir, type ProcessProbe, STATE_FOLDER } from '../../src/log/data-dir.ts'
import { type DataDirRecovery, recoverDataDir } from '../../src/log/data-dir-recovery.ts'
import { createLogContext, type LogContext } from '../../src/log/log-context.ts'
import { PartitionLog } from '../../src/log/partition-log.ts'
import { SyncedEndsFile } from '../../src/log/synced-ends-file.ts'
import { partitionFolder, type TopicId } from '../../src/model/ids.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../src/model/topic-config.ts'
import { BatchView } from '../../src/record/batch-view.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import { writeMarker } from '../../src/record/control-batch.ts'

export const DATA_DIR = '/data'
export const TOPIC = 'a'.repeat(32) as TopicId

export interface WrittenBatch {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly bytes: Uint8Array
}

/** What must be found again. */
export interface Expected {
  readonly partition: number
  readonly written: WrittenBatch[]
  acked: number
  /** Highest log start that any run asked for, and that which a durable checkpoint holds. */
  logStart: number
}

export interface WorkloadOptions {
  readonly files: FileSystem
  readonly prng: Prng
  readonly expected: Map<number, Expected>
  readonly partitions: number
  readonly bootId: string
  /** Of this start: the process of the one before it is gone. */
  readonly pid: number
  readonly leaderEpoch: number
  readonly segmentBytes?: number
  readonly journalBytes?: number
}

export function probeOf(bootId: string, pid: number): ProcessProbe {
  return { pid, bootId, startOf: (asked) => (asked === pid ? `${bootId}-${pid}` : undefined) }
}

const WIDE = 3
/** Producers from here on write transactions, the others do not. */
const FIRST_TRANSACTIONAL_ID = 3

interface ProducerFields {
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly transactional?: boolean
  /** Where its next sequence is counted. */
  readonly key?: string
}

export class LogWorkload {
  readonly dataDir: DataDir
  readonly recovery: DataDirRecovery
  readonly logs = new Map<number, PartitionLog>()
  readonly #options: WorkloadOptions
  readonly #context: LogContext
  readonly #journal: CommitJournal
  readonly #synced: SyncedEndsFile
  readonly #slots = new Map<number, number>()
  readonly #sequences = new Map<string, number>()
  #nowMs = 1_000_000
  #checkpoints = 0
  readonly counts = { groups: 0, wide: 0, checkpoints: 0, rolls: 0, trims: 0, markers: 0 }

  constructor(options: WorkloadOptions) {
    this.#options = options
    const { files, bootId, prng } = options
    this.dataDir = openDataDir(files, {
      path: DATA_DIR,
      nodeId: 1,
      newClusterId: 'c',
      probe: probeOf(bootId, options.pid),
    })
    const { incarnation } = this.dataDir.identity
    const { previousRun } = this.dataDir
    this.recovery = recoverDataDir(files, { dataDir: DATA_DIR, incarnation, previousRun, readBytes: 4096 })
    const clock = { nowMs: () => this.#nowMs, monotonicMs: () => this.#nowMs }
    this.#context = createLogContext({ files, clock, dataDir: DATA_DIR })
    const folder = `${DATA_DIR}/${STATE_FOLDER}`
    const bytes = options.journalBytes ?? 256 * 1024
    const key = { high: prng.uint32(), low: prng.uint32() }
    this.#journal = CommitJournal.create({ files, folder, incarnation, shard: 0, bytes, key })
    this.#synced = SyncedEndsFile.create({ files, folder, incarnation, shard: 0 })
    for (let partition = 0; partition < options.partitions; partition++) this.#open(partition)
  }

  #open(partition: number): void {
    const config = { ...TOPIC_CONFIG_DEFAULTS, segmentBytes: this.#options.segmentBytes ?? 6000 }
    const folder = partitionFolder(TOPIC, partition)
    const recovered = this.recovery.results.find((result) => result.folder === folder)?.recovered ?? null
    const base = { topicId: TOPIC, partition, config }
    const log =
      recovered === null
        ? PartitionLog.create(this.#context, base)
        : PartitionLog.open(this.#context, { ...base, recovered })
    this.logs.set(partition, log)
    this.#slots.set(partition, this.#synced.add({ topicId: TOPIC, partition, syncedEnd: log.syncedEndOffset }))
  }

  expectedOf(partition: number): Expected {
    let expected = this.#options.expected.get(partition)
    if (expected === undefined) {
      expected = { partition, written: [], acked: 0, logStart: 0 }
      this.#options.expected.set(partition, expected)
    }
    return expected
  }

  /** One random step: appends mostly. */
  step(): void {
    const { prng } = this.#options
    this.#nowMs += prng.below(50)
    const draw = prng.below(100)
    if (draw < 70) this.#pipelinedGroups()
    else if (draw < 80) this.#roll()
    else if (draw < 88) this.#trim()
    else this.checkpoint()
    if (this.#journal.wantsCheckpoint) this.checkpoint()
  }

  /** Group n+1 is written while group n syncs. */
  #pipelinedGroups(): void {
    const first = this.#writeGroup()
    const second = this.#options.prng.below(2) === 0 ? this.#writeGroup() : undefined
    first()
    second?.()
  }

  /** Writes a group; the answer syncs it, then acknowledges. */
  #writeGroup(): () => void {
    const { prng, partitions } = this.#options
    const touched = new Set<number>()
    const width = prng.below(3) === 0 ? partitions : 1 + prng.below(2)
    for (let index = 0; index < width; index++) touched.add(width === partitions ? index : prng.below(partitions))
    const spans = [...touched].map((partition) => this.#append(partition))
    this.counts.groups++
    const isWide = touched.size >= WIDE && this.#journalGroup(spans)
    if (isWide) this.counts.wide++
    const fds: Fd[] = []
    const ends = new Map<number, number>()
    let sequence = -1
    for (const { partition } of spans) {
      // A partition whose sync is under way waits for the next one.
      if (isWide) ends.set(partition, this.logs.get(partition)!.logEndOffset)
    }
    if (isWide) sequence = this.#journal.beginSync(fds)
    return () => {
      if (!isWide) for (const { partition } of spans) ends.set(partition, this.logs.get(partition)!.beginSync(fds))
      for (const fd of fds) this.#options.files.fdatasync(fd)
      if (isWide) this.#journal.completeSync(sequence)
      for (const [partition, end] of ends) {
        const log = this.logs.get(partition)!
        if (isWide) log.completeJournalSync(end)
        else log.completeSync(end)
      }
      this.#acknowledge(ends)
    }
  }

  #acknowledge(ends: ReadonlyMap<number, number>): void {
    for (const partition of ends.keys())
      this.#synced.set(this.#slots.get(partition)!, this.logs.get(partition)!.syncedEndOffset)
    this.#synced.write()
    for (const partition of ends.keys())
      this.expectedOf(partition).acked = Math.max(
        this.expectedOf(partition).acked,
        this.logs.get(partition)!.syncedEndOffset,
      )
  }

  #append(partition: number): { partition: number; batches: Uint8Array[]; baseOffset: number } {
    const { prng } = this.#options
    const log = this.logs.get(partition)!
    const baseOffset: number = log.nextOffset
    const batches: Uint8Array[] = []
    for (let count = 1 + prng.below(3); count > 0; count--) {
      const bytes = this.#makeBatch(partition, log.nextOffset)
      const batch = new BatchView().reset(bytes)
      this.expectedOf(partition).written.push({ baseOffset: log.nextOffset, nextOffset: batch.nextOffset, bytes })
      log.stage(batch, bytes)
      batches.push(bytes)
    }
    log.writeStaged()
    return { partition, batches, baseOffset }
  }

  #makeBatch(partition: number, baseOffset: number): Uint8Array {
    const { prng, leaderEpoch } = this.#options
    const producerId = prng.below(6) - 1
    const isTransactional = producerId >= FIRST_TRANSACTIONAL_ID
    const bytes = isTransactional
      ? this.#makeTransactional(partition, producerId)
      : this.#makeData(this.#nextOf(partition, producerId))
    new BatchView().reset(bytes).stamp(baseOffset, leaderEpoch)
    return bytes
  }

  /** A batch of the producer's transaction, or the marker that ends it; mostly with a new epoch, as ours have it. */
  #makeTransactional(partition: number, producerId: number): Uint8Array {
    const { prng } = this.#options
    const { producers, transactions } = this.logs.get(partition)!
    const known = producers.describe().find((one) => one.producerId === producerId)
    const epoch = known?.epoch ?? 0
    if (!transactions.has(producerId) || prng.below(3) > 0) {
      const baseSequence = (known?.batches.at(-1)?.lastSequence ?? -1) + 1
      return this.#makeData({ producerId, producerEpoch: epoch, baseSequence, transactional: true })
    }
    const isClassic = prng.below(4) === 0
    this.counts.markers++
    return writeMarker({
      ...{ producerId, producerEpoch: isClassic ? epoch : epoch + 1, coordinatorEpoch: 0, timestampMs: this.#nowMs },
      type: prng.below(2) === 0 ? 'ABORT' : 'COMMIT',
    })
  }

  #nextOf(partition: number, producerId: number): ProducerFields {
    const key = `${partition}-${producerId}`
    const baseSequence = this.#sequences.get(key) ?? 0
    return producerId < 0 ? {} : { producerId, producerEpoch: this.#options.leaderEpoch, baseSequence, key }
  }

  #makeData({ key, ...producer }: ProducerFields): Uint8Array {
    const { prng } = this.#options
    const writer = new BatchWriter()
    const records = 1 + prng.below(4)
    for (let index = 0; index < records; index++) {
      const value = new Uint8Array(prng.below(prng.below(8) === 0 ? 1500 : 120))
      for (let at = 0; at < value.length; at++) value[at] = prng.uint32()
      writer.append(null, value, null, this.#nowMs)
    }
    if (key !== undefined) this.#sequences.set(key, producer.baseSequence! + records)
    return writer.finish(producer).slice()
  }

  /** False when the journal is full: the group syncs its segments then. */
  #journalGroup(spans: readonly { partition: number; batches: Uint8Array[]; baseOffset: number }[]): boolean {
    for (const { partition, batches } of spans) {
      const log = this.logs.get(partition)!
      for (const bytes of batches) {
        const batch = new BatchView().reset(bytes)
        const location = log.locate(batch.baseOffset, log.logEndOffset)
        const taken = this.#journal.add({
          ...{ topicId: TOPIC, partition, leaderEpoch: batch.leaderEpoch, batches: [bytes] },
          ...{ segmentBaseOffset: location.segment.baseOffset, filePosition: location.filePosition },
          ...{ baseOffset: batch.baseOffset, nextOffset: batch.nextOffset, syncedEndOffset: log.syncedEndOffset },
        })
        if (!taken || !location.exact) {
          this.#journal.dropStaged()
          return false
        }
      }
    }
    this.#journal.writeStaged()
    return true
  }

  #roll(): void {
    this.logs.get(this.#options.prng.below(this.#options.partitions))!.roll()
    this.counts.rolls++
  }

  #trim(): void {
    const partition = this.#options.prng.below(this.#options.partitions)
    const log = this.logs.get(partition)!
    const span = log.syncedEndOffset - log.logStartOffset
    if (span <= 0) return
    const start = log.logStartOffset + this.#options.prng.below(span + 1)
    const expected = this.expectedOf(partition)
    expected.logStart = Math.max(expected.logStart, start)
    log.advanceLogStart(start)
    this.counts.trims++
  }

  checkpoint(): void {
    const { files } = this.#options
    const sequence = this.#journal.beginCheckpoint()
    if (sequence === undefined) return
    const fds: Fd[] = []
    const ends = [...this.logs.values()].map((log) => ({ log, end: log.beginCheckpoint(fds) }))
    for (const fd of fds) files.fdatasync(fd)
    for (const { log, end } of ends) log.completeSync(end)
    const lines = ends.map(({ log }) => log.checkpoint())
    const { incarnation } = this.dataDir.identity
    writeCheckpoint(files, `${DATA_DIR}/${STATE_FOLDER}`, { incarnation, shard: 0, journalSequence: sequence, lines })
    this.#journal.completeCheckpoint()
    for (const [index, { log }] of ends.entries()) {
      log.completeCheckpoint(lines[index]!)
      for (const path of log.removeCondemned()) files.remove(path)
    }
    this.#checkpoints++
    this.counts.checkpoints = this.#checkpoints
  }
}

/** Entries of a producer snapshot image in an order of their own, for comparing. */
export function snapshotEntries(image: Uint8Array, headerBytes: number, entryBytes: number): string[] {
  const entries: string[] = []
  for (let at = headerBytes; at < image.length; at += entryBytes)
    entries.push(hexOf(image.subarray(at, at + entryBytes)))
  return entries.sort()
}
