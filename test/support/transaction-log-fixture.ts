/** What tests of transactions in a log share: a log with producers of transactions, the list of all its batches, and what that list says. */
import assert from 'node:assert/strict'
import { FaultyFileSystem } from '../../src/io/faulty-file-system.ts'
import { MemoryFileSystem } from '../../src/io/memory-file-system.ts'
import { decodeCatalogue, encodeCatalogue } from '../../src/log/catalogue-file.ts'
import { runCompaction } from '../../src/log/compaction-run.ts'
import type { LogContext } from '../../src/log/log-context.ts'
import { type PartitionRecovery, recoverPartition } from '../../src/log/log-recovery.ts'
import { type AbortedEntry, OpenTransactions } from '../../src/log/open-transactions.ts'
import { PartitionLog } from '../../src/log/partition-log.ts'
import type { RecoveredPartition } from '../../src/log/recovered-partition.ts'
import { type PartitionBounds, unknownBounds } from '../../src/log/recovery-plan.ts'
import { SyncList } from '../../src/log/sync-list.ts'
import type { TopicConfig } from '../../src/model/topic-config.ts'
import { type PlainRecord, readRecords } from '../../src/record/batch-reader.ts'
import { BatchView } from '../../src/record/batch-view.ts'
import { NO_CODECS } from '../../src/record/compression.ts'
import { type MarkerType, writeMarker } from '../../src/record/control-batch.ts'
import { batchesOf, type KeyedRecord, keyedBatch, SEED, tableOf } from './compaction-fixture.ts'
import { append, checkpoint, contextOver, DATA_DIR, ManualClock, stage, TOPIC, topicConfig } from './log-fixture.ts'

/** One batch as it was written. */
export interface WrittenBatch {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly producerId: number
  readonly marker: MarkerType | undefined
  readonly isTransactional: boolean
  readonly records: readonly KeyedRecord[]
}

/** A transaction as the list of batches tells it. */
export interface ListedTransaction {
  readonly producerId: number
  readonly firstOffset: number
  /** Of its marker; -1 = it is open. */
  readonly markerOffset: number
  readonly isAborted: boolean
}

export function transactionsOf(batches: readonly WrittenBatch[]): ListedTransaction[] {
  const open = new Map<number, number>()
  const list: ListedTransaction[] = []
  for (const { baseOffset, producerId, marker, isTransactional } of batches) {
    const firstOffset = open.get(producerId)
    if (marker === undefined) {
      if (isTransactional && firstOffset === undefined) open.set(producerId, baseOffset)
    } else if (firstOffset !== undefined) {
      open.delete(producerId)
      list.push({ producerId, firstOffset, markerOffset: baseOffset, isAborted: marker === 'ABORT' })
    }
  }
  for (const [producerId, firstOffset] of open)
    list.push({ producerId, firstOffset, markerOffset: -1, isAborted: false })
  return list
}

/** A data batch that a reader of committed records must pass over, by this list. */
export function isAbortedBy(batch: WrittenBatch, aborted: readonly ListedAborted[]): boolean {
  return (
    batch.isTransactional &&
    batch.marker === undefined &&
    aborted.some(
      ({ producerId, firstOffset, lastOffset }) =>
        producerId === batch.producerId && firstOffset <= batch.baseOffset && batch.baseOffset < lastOffset,
    )
  )
}

export type ListedAborted = Pick<AbortedEntry, 'producerId' | 'firstOffset' | 'lastOffset'>

export function abortedOf(batches: readonly WrittenBatch[]): ListedAborted[] {
  return transactionsOf(batches)
    .filter(({ isAborted }) => isAborted)
    .map(({ producerId, firstOffset, markerOffset: lastOffset }) => ({ producerId, firstOffset, lastOffset }))
}

/** What a reader of committed records makes of a log below `end`: the last value of each key. */
export function committedTableOf(context: LogContext, log: PartitionLog, end: number): Map<string, string> {
  const { entries } = log.abortedIn(log.logStartOffset, end, Number.POSITIVE_INFINITY)
  const records: PlainRecord[] = []
  for (const batch of batchesOf(context, log)) {
    const { baseOffset, producerId } = batch
    if (baseOffset >= end || batch.isControl) continue
    const isAborted = entries.some(
      (one) => one.producerId === producerId && one.firstOffset <= baseOffset && baseOffset < one.lastOffset,
    )
    if (batch.isTransactional && isAborted) continue
    records.push(...readRecords(batch.bytes.subarray(batch.at, batch.end), { codecs: NO_CODECS }))
  }
  return tableOf(records)
}

/** The same, by the list of batches. */
export function expectedTableOf(batches: readonly WrittenBatch[], end: number): Map<string, string> {
  const table = new Map<string, string>()
  const aborted = abortedOf(batches)
  for (const batch of batches) {
    if (batch.baseOffset >= end || isAbortedBy(batch, aborted)) continue
    for (const { key, value } of batch.records)
      if (value === null) table.delete(key!)
      else table.set(key!, value)
  }
  return table
}

export class TransactionFixture {
  readonly clock = new ManualClock()
  readonly files = new MemoryFileSystem()
  /** The same, to be broken on demand. */
  readonly faulty = new FaultyFileSystem(this.files)
  readonly config: TopicConfig
  context: LogContext
  log: PartitionLog
  /** All that was ever written and not cut off again. */
  batches: WrittenBatch[] = []
  #bounds: PartitionBounds = unknownBounds(TOPIC, 0, 0)

  constructor(config: Partial<TopicConfig> = {}) {
    this.files.makeFolder(DATA_DIR)
    this.files.syncFolder('/')
    this.config = topicConfig({ segmentBytes: 700, ...config })
    this.context = contextOver(this.faulty, this.clock)
    this.log = PartitionLog.create(this.context, { topicId: TOPIC, partition: 0, config: this.config })
  }

  /** A batch of the producer's transaction; undefined: of none. */
  data(producerId: number, records: readonly KeyedRecord[], isTransactional = true): Uint8Array {
    const known = this.log.producers.describe().find((one) => one.producerId === producerId)
    const baseSequence = (known?.batches.at(-1)?.lastSequence ?? -1) + 1
    const producer = { producerId, producerEpoch: known?.epoch ?? 0, baseSequence, transactional: isTransactional }
    return keyedBatch(records, { producer })
  }

  marker(producerId: number, type: MarkerType, isClassic = false): Uint8Array {
    const known = this.log.producers.describe().find((one) => one.producerId === producerId)
    const producerEpoch = (known?.epoch ?? 0) + (isClassic ? 0 : 1)
    return writeMarker({ producerId, producerEpoch, coordinatorEpoch: 0, type, timestampMs: this.clock.ms })
  }

  note(bytes: Uint8Array, rest: Partial<WrittenBatch> = {}): void {
    const { baseOffset, nextOffset, producerId, isTransactional } = new BatchView().reset(bytes)
    this.batches.push({ baseOffset, nextOffset, producerId, isTransactional, marker: undefined, records: [], ...rest })
  }

  append(
    producerId: number,
    records: readonly KeyedRecord[] = [{ key: 'k', value: 'v' }],
    isTransactional = true,
  ): number {
    const bytes = this.data(producerId, records, isTransactional)
    const offset = append(this.log, bytes)
    this.note(bytes, { records })
    return offset
  }

  end(producerId: number, type: MarkerType, isClassic = false): number {
    const bytes = this.marker(producerId, type, isClassic)
    const offset = append(this.log, bytes)
    this.note(bytes, { marker: type })
    return offset
  }

  /** Stages a batch and a marker, and drops both. */
  dropStaged(producerId: number, type: MarkerType): void {
    stage(this.log, this.data(producerId, [{ key: 'k', value: 'v' }]))
    stage(this.log, this.marker(producerId, type))
    this.log.dropStaged()
  }

  checkpoint(): void {
    const line = checkpoint(this.context, this.log)
    this.#bounds = {
      ...unknownBounds(TOPIC, 0, 0),
      ...line,
      topicId: TOPIC,
      incarnation: 1,
      syncedEnd: line.recoveryPoint,
    }
    for (const path of this.log.removeCondemned()) this.context.files.remove(path)
  }

  truncateTo(offset: number): void {
    const end = this.log.truncateTo(offset)
    this.batches = this.batches.filter(({ nextOffset }) => nextOffset <= end)
    // As the caller of truncateTo() has to: lower bounds first.
    this.checkpoint()
  }

  /**
   * The process dies and another one starts; answers what recovery found. `withoutState`: nothing is known but the folder, so that all of
   * it is replayed.
   */
  restart(options: { readonly withoutState?: boolean } = {}): PartitionRecovery {
    if (options.withoutState === true) this.#bounds = unknownBounds(TOPIC, 0, this.log.logStartOffset)
    this.log.close()
    const syncs = new SyncList()
    const recovery = recoverPartition(this.files, {
      ...{ dataDir: DATA_DIR, incarnation: 2, previousRun: 'process-died', syncs, bounds: this.#bounds },
    })
    syncs.run(this.files)
    this.#reopen(recovery.recovered)
    return recovery
  }

  /** A clean stop, and a start from what it catalogued; false when the log is not clean. */
  stopAndStart(): boolean {
    this.log.writeDerived()
    this.checkpoint()
    const recovered = this.log.describeClean()
    if (recovered === undefined) return false
    this.log.close()
    const read = decodeCatalogue(encodeCatalogue(1, [{ topicId: TOPIC, partition: 0, recovered }]))
    assert.ok(read.kind === 'present')
    assert.deepEqual(read.entries[0]!.recovered, recovered)
    this.#checkLook(recovered)
    this.#reopen(recovered)
    return true
  }

  /** Who looks into the folder finds the same open. */
  #checkLook(clean: RecoveredPartition): void {
    const options = { dataDir: DATA_DIR, incarnation: 2, previousRun: 'process-died', bounds: this.#bounds } as const
    const { recovered } = recoverPartition(this.files.clone(), { ...options, syncs: new SyncList() })
    assert.deepEqual(recovered?.openTransactions, clean.openTransactions)
  }

  #reopen(recovered: RecoveredPartition | null): void {
    const options = { topicId: TOPIC, partition: 0, config: this.config }
    this.context = contextOver(this.faulty, this.clock)
    if (recovered === null) {
      this.log = PartitionLog.create(this.context, options)
      return
    }
    assert.equal(recovered.damaged, null)
    this.log = PartitionLog.open(this.context, { ...options, recovered })
    const { logStartOffset, logEndOffset: recoveryPoint, producerSnapshotOffset } = recovered
    const bounds = unknownBounds(TOPIC, 0, logStartOffset)
    this.#bounds = { ...bounds, incarnation: 2, recoveryPoint, producerSnapshotOffset, syncedEnd: recoveryPoint }
  }

  /** A compaction to its end, as the shard has it; false when none was due. */
  compact(): boolean {
    this.checkpoint()
    const task = this.log.beginCompaction({
      ...{ nowMs: this.clock.ms, stableEnd: this.log.syncedEndOffset, memoryBytesMax: 1 << 20 },
    })
    if (task === undefined) return false
    this.log.endCompaction(runCompaction(this.files, task, { codecs: NO_CODECS, seed: SEED }))
    for (let count = 0; count < 2; count++) this.checkpoint()
    assert.equal(this.log.isCompacting, false)
    return true
  }

  /** What a reader of committed records makes of the log's batches below `end`: the last value of each key. */
  committedTable(end: number): Map<string, string> {
    return committedTableOf(this.context, this.log, end)
  }

  /** The same, by the list. */
  expectedTable(end: number): Map<string, string> {
    return expectedTableOf(this.batches, end)
  }

  /** What the list says is aborted. */
  get aborted(): ListedAborted[] {
    return abortedOf(this.batches)
  }

  /** AT2: of the batches within [from, end), just those of aborted transactions are told of as such. */
  checkAborted(from: number, end: number, countMax = Number.POSITIVE_INFINITY): void {
    const { entries, endOffset } = this.log.abortedIn(from, end, countMax)
    if (end > from)
      assert.ok(endOffset > from && endOffset <= end, `the list ends at ${endOffset} of [${from}, ${end})`)
    const { aborted } = this
    for (const batch of this.batches) {
      if (batch.baseOffset < Math.max(from, this.log.logStartOffset) || batch.baseOffset >= endOffset) continue
      const place = `offset ${batch.baseOffset} of [${from}, ${endOffset})`
      assert.equal(isAbortedBy(batch, entries), isAbortedBy(batch, aborted), place)
    }
    for (const [index, { firstOffset, lastOffset }] of entries.entries()) {
      assert.ok(
        lastOffset >= from && firstOffset < endOffset,
        `[${firstOffset}, ${lastOffset}] in [${from}, ${endOffset})`,
      )
      assert.ok(index === 0 || firstOffset > entries[index - 1]!.firstOffset, 'by first offset')
    }
  }

  /** OT2, and what is open. */
  checkOpen(highWatermark: number): void {
    const undecided = transactionsOf(this.batches).filter(
      ({ markerOffset }) => markerOffset < 0 || markerOffset >= highWatermark,
    )
    const expected = Math.min(Number.POSITIVE_INFINITY, ...undecided.map(({ firstOffset }) => firstOffset))
    assert.equal(this.log.transactions.firstUnstableOffset(highWatermark), expected)
    const open = undecided.filter(({ markerOffset }) => markerOffset < 0)
    const entries = open.map(({ producerId, firstOffset }) => [producerId, firstOffset] as const)
    assert.deepEqual(
      this.log.transactions.toEntries(),
      entries.sort((left, right) => left[1] - right[1]),
    )
    const known = this.log.producers.describe().filter(({ transactionFirst }) => transactionFirst >= 0)
    assert.deepEqual(
      known.map(({ producerId, transactionFirst }) => [producerId, transactionFirst]),
      entries.toSorted((left, right) => left[0] - right[0]),
    )
    assert.ok(this.log.transactions instanceof OpenTransactions)
  }
}
