/**
 * PartitionLog: the ordered segments of one partition replica on disk.
 *
 * Owns        the segment list, the active segment's appender, the sparse indexes, producer state, leader epochs
 * Thread      the partition's shard, one instance per partition; writes to the page cache, never waits for the device or a ring
 * Invariants  L1 segments sorted by baseOffset, ranges do not overlap                      checked in: SegmentList.add()
 *             L2 [logStartOffset, syncedEndOffset) survives power loss                     checked in: test/crash
 *             L3 recoveryPoint <= syncedEndOffset <= logEndOffset <= nextOffset            checked in: LogEnds
 *             L4 a failed writeStaged() for want of space or of descriptors leaves log, epochs and producers as before the first stage();
 *                once the batches are in their files nothing fails for want of either: what can be made again is written later
 * Ordering    stage -> write batches -> advance logEndOffset -> fdatasync of files, then of their folder
 *             (disk thread) -> advance syncedEndOffset -> checkpoint -> advance recoveryPoint -> remove what is below the start
 * Limits      segmentBytes and segmentMs (roll first), RELATIVE_OFFSET_MAX a segment
 * Failure     ENOSPC, EMFILE: cut back, log unchanged; any other StorageError is fatal: the shard's partitions go offline (R3)
 * Format      format.md, "Segment"
 * Not here    high watermark and in-sync replicas (partition/), validation of batches (record/), who syncs and reads (worker/)
 */
import { assert } from '../base/assert.ts'
import type { Fd } from '../io/file-system.ts'
import { type Offset, partitionFolder, type TopicId } from '../model/ids.ts'
import type { TopicConfig } from '../model/topic-config.ts'
import type { BatchView } from '../record/batch-view.ts'
import { NOTHING_ABORTED } from './aborted-index.ts'
import { type AbortedAnswer, AbortedTransactions } from './aborted-transactions.ts'
import { isCompacted } from './compaction.ts'
import type { CompactionResult, CompactionTask } from './compaction-run.ts'
import { SegmentIndexes } from './index-cache.ts'
import { LeaderEpochCache } from './leader-epoch-cache.ts'
import { appendLeaderEpochs, dropLeaderEpochs } from './leader-epochs-file.ts'
import { isShortage } from './listed-file.ts'
import { type CompactionState, LogCompaction } from './log-compaction.ts'
import type { LogContext } from './log-context.ts'
import { LogEnds } from './log-ends.ts'
import { type Location, LogLocator, locationOf } from './log-locator.ts'
import { findCut, replayProducers } from './log-truncation.ts'
import { INDEX_INTERVAL_BYTES } from './offset-index.ts'
import { markerOf, OpenTransactions } from './open-transactions.ts'
import { ProducerSnapshots, removeIfThere } from './producer-snapshots.ts'
import { ProducerState } from './producer-state.ts'
import { checkRecovered, type PartitionCheckpoint, type RecoveredPartition } from './recovered-partition.ts'
import { decideRetention, type RetentionDecision } from './retention.ts'
import {
  DELETED_SUFFIX,
  RELATIVE_OFFSET_MAX,
  Segment,
  type SegmentSuffix,
  segmentFileName,
  writeIndexes,
} from './segment.ts'
import { SegmentAppender } from './segment-appender.ts'
import { SegmentList } from './segment-list.ts'
import { forgetSegment, removeIndexFiles, setSegmentAside } from './segment-removal.ts'
import { StagedBatches } from './staged-batches.ts'
import { UnsyncedFiles } from './unsynced-files.ts'

export type { Location } from './log-locator.ts'

/** Log bytes after which a checkpoint writes the active segment's indexes again: what recovery walks by headers to make them. */
const INDEXES_DUE_BYTES = 8 * 1024 * 1024

export interface PartitionLogOptions {
  readonly topicId: TopicId
  readonly partition: number
  readonly config: TopicConfig
}

export class PartitionLog {
  readonly topicId: TopicId
  readonly partition: number
  readonly epochs: LeaderEpochCache
  /** What is open, or not decided yet; the log alone changes it. */
  readonly transactions = new OpenTransactions()
  readonly #context: LogContext
  #config: TopicConfig
  readonly #segments = new SegmentList()
  readonly #locator: LogLocator
  readonly #snapshots: ProducerSnapshots
  readonly #unsynced: UnsyncedFiles
  readonly #compaction: LogCompaction
  readonly #aborted: AbortedTransactions
  #staged: StagedBatches | undefined
  /** The last segment takes no more writes: the next batch begins a new one. */
  #isSealed = true
  #appender: SegmentAppender | undefined
  #folderExists = false
  readonly #ends = new LogEnds()
  /** The last epoch in the file leader-epochs; -1 = none. */
  #fileEpoch = -1
  #generation = 0

  private constructor(context: LogContext, options: PartitionLogOptions, recovered: RecoveredPartition | undefined) {
    this.#context = context
    this.topicId = options.topicId
    this.partition = options.partition
    this.#config = options.config
    this.epochs = new LeaderEpochCache(recovered?.leaderEpochs)
    this.#locator = new LogLocator(context, this.#segments)
    this.#snapshots = new ProducerSnapshots(context, {
      newestOffset: recovered?.producerSnapshotOffset ?? -1,
      transactions: this.transactions,
    })
    this.#unsynced = new UnsyncedFiles(context)
    this.#compaction = new LogCompaction(context, this.#segments, this.#unsynced)
    this.#aborted = new AbortedTransactions(context, {
      ...{ segments: this.#segments, unsynced: this.#unsynced, transactions: this.transactions },
      marks: recovered?.aborted ?? NOTHING_ABORTED,
    })
    if (recovered !== undefined) this.#adopt(recovered)
  }

  /** A partition without records: nothing is on disk until the first append. */
  static create(context: LogContext, options: PartitionLogOptions): PartitionLog {
    return new PartitionLog(context, options, undefined)
  }

  /** What recovery left. Opens no file: descriptors, indexes and producers come when they are needed. */
  static open(
    context: LogContext,
    options: PartitionLogOptions & { readonly recovered: RecoveredPartition },
  ): PartitionLog {
    const { recovered } = options
    assert(recovered.damaged === null, `partition ${options.topicId}-${options.partition}: ${recovered.damaged}`)
    checkRecovered(recovered)
    return new PartitionLog(context, options, recovered)
  }

  get logStartOffset(): Offset {
    return this.#ends.logStartOffset as Offset
  }

  /** Offset after the last written record. */
  get logEndOffset(): Offset {
    return this.#ends.logEndOffset as Offset
  }

  /** Offset after the last staged record: what the next batch must begin with. */
  get nextOffset(): Offset {
    return (this.#hasStaged ? this.#staged!.endOffset : this.#ends.logEndOffset) as Offset
  }

  get syncedEndOffset(): Offset {
    return this.#ends.syncedEndOffset as Offset
  }

  /** Of the last checkpoint. */
  get recoveryPoint(): Offset {
    return this.#ends.recoveryPoint as Offset
  }

  get config(): TopicConfig {
    return this.#config
  }

  /** Bytes of all segments, condemned ones left out. */
  get bytes(): number {
    return this.#segments.bytes
  }

  get segmentCount(): number {
    return this.#segments.count
  }

  /** Grows when bytes that a reader may have seen are gone: truncation. */
  get generation(): number {
    return this.#generation
  }

  /** Largest timestamp of all segments; -1 = none. locateTime() of it finds the record that ListOffsets -3 asks for. */
  get maxTimestampMs(): number {
    return this.#segments.maxTimestampMs
  }

  get folder(): string {
    return `${this.#context.dataDir}/${partitionFolder(this.topicId, this.partition)}`
  }

  /** Loaded from the newest snapshot when it is first asked for. StorageError ECORRUPT: take this partition offline. */
  get producers(): ProducerState {
    return this.#snapshots.loaded ?? this.#snapshots.load(this.folder)
  }

  /**
   * The coordinator of the producer's transaction knows of this partition. Reads no file: of an idle partition the epoch is noted as it
   * is, and one that is fenced there is found out by the first batch.
   */
  registerProducer(producerId: number, producerEpoch: number): void {
    const { loaded } = this.#snapshots
    if (loaded === undefined) this.transactions.register(producerId, producerEpoch)
    else loaded.register(producerId, producerEpoch)
  }

  /** Drops producers that were silent since `beforeMs`; those of an idle partition are not even loaded. Returns how many. */
  expireProducers(beforeMs: number): number {
    return this.#hasStaged ? 0 : (this.#snapshots.loaded?.expire(beforeMs) ?? 0)
  }

  /** No segment is there, nor staged, nor one on its way out, whose name a new one might take. */
  get isEmpty(): boolean {
    return this.#segments.count === 0 && this.#segments.condemned.length === 0 && !this.#hasStaged
  }

  updateConfig(config: TopicConfig): void {
    this.#config = config
  }

  // Append

  /**
   * Takes a batch for the next writeStaged(). It is validated and stamped with nextOffset and a leader epoch that is not below
   * the last one. The first one of an empty log may be the batch that the log start lies in, as after a trim. `bytes` are exactly its bytes; they are kept, not copied: they must stay as they are until writeStaged(). Throws
   * StorageError, and nothing has changed, where an ABORT marker finds the segment's index unreadable.
   */
  stage(batch: BatchView, bytes: Uint8Array): void {
    const staged = (this.#staged ??= new StagedBatches())
    const nowMs = this.#context.clock.nowMs()
    const baseOffset: number = batch.baseOffset
    const nextOffset: number = batch.nextOffset
    if (staged.count === 0) this.#beginStaging(staged, batch)
    assert(baseOffset === staged.endOffset, 'a staged batch must begin at nextOffset')
    if (batch.producerId >= 0) {
      const marker = markerOf(batch)
      if (marker?.type === 'ABORT') this.#aborted.prepare(this.folder, this.#active)
      const aborted = this.producers.apply(batch, nowMs, marker)
      if (aborted !== undefined) this.#aborted.stage(aborted)
    }
    this.epochs.add(batch.leaderEpoch, Math.max(baseOffset, this.#ends.logStartOffset))
    if (this.#mustRoll(staged, bytes.length, nextOffset, nowMs)) staged.beginSegment(baseOffset, nowMs)
    staged.add(bytes, baseOffset, nextOffset, batch.maxTimestamp)
  }

  /** Forgets what is staged. */
  dropStaged(): void {
    if (!this.#hasStaged) return
    this.#staged!.clear()
    this.epochs.rollback()
    this.#snapshots.loaded?.rollback()
    this.#aborted.dropStaged()
  }

  /** Writes what is staged and makes it part of the log, or leaves everything as it was and throws. */
  writeStaged(): void {
    if (!this.#hasStaged) return
    const staged = this.#staged!
    const begun: SegmentAppender[] = []
    try {
      this.#writeRuns(staged, begun)
    } catch (error) {
      this.#undoRuns(begun)
      this.dropStaged()
      throw error
    }
    this.#commitStaged(staged, begun)
  }

  /** Closes the active segment: the next batch begins a new one. Throws StorageError isOpenLimit, and nothing has changed. */
  roll(): void {
    assert(!this.#hasStaged, 'no roll while batches are staged')
    const active = this.#active
    if (active === undefined || active.bytes === 0) return
    this.#prepareSeal()
    this.#seal(active)
    this.#writeSnapshot()
  }

  /** As roll(), where that may be put off: false when there is no descriptor for it now. */
  #tryRoll(): boolean {
    try {
      this.roll()
      return true
    } catch (error) {
      if (!isShortage(error)) throw error
      return false
    }
  }

  // Sync and checkpoint

  /**
   * Pushes the descriptors that hold what is not durable yet, files before the folders that name them, and returns the end
   * that is durable once they are synced. Nothing pushed: all is. They stay open until completeSync().
   */
  beginSync(fds: Fd[]): Offset {
    if (this.#appender !== undefined && this.#activeIsUnsynced) fds.push(this.#appender.fd)
    this.#unsynced.begin(fds, this.folder)
    return this.#ends.beginSync() as Offset
  }

  /** What beginSync() pushed is durable. */
  completeSync(endOffset: number): void {
    this.#unsynced.complete()
    this.#ends.completeSync(endOffset)
  }

  /**
   * The shard's journal holds all up to `endOffset` durably; segment files stay to be synced. An end taken before a truncation
   * must not be passed after it.
   */
  completeJournalSync(endOffset: number): void {
    this.#ends.completeJournalSync(endOffset)
  }

  /** True if a checkpoint would have to sync, write or record anything. */
  get isDirty(): boolean {
    return (
      !this.#ends.isCheckpointed ||
      this.#segments.condemned.length > 0 ||
      this.#ends.hasUnsyncedCut ||
      this.#unsynced.isDirty
    )
  }

  /** Writes what a checkpoint relies on, then does as beginSync(). After completeSync(), checkpoint() is true. */
  beginCheckpoint(fds: Fd[]): Offset {
    this.#writeActiveIndexes(INDEXES_DUE_BYTES)
    if (this.epochs.latestEpoch > this.#fileEpoch) {
      const { epochs } = this
      appendLeaderEpochs(this.#context, this.folder, {
        ...{ epochs, fileEpoch: this.#fileEpoch, unsynced: this.#unsynced },
      })
      this.#fileEpoch = epochs.latestEpoch
    }
    if (this.#snapshots.isDue) this.#writeSnapshot()
    this.#ends.checkpointSnapshot = this.#snapshots.newestOffset
    this.#compaction.onCheckpointBegun()
    this.#ends.checkpointEnd = this.beginSync(fds)
    return this.#ends.checkpointEnd as Offset
  }

  /** Before the last checkpoint of a clean stop: what the next start would make again from the log is written as of its end. */
  writeDerived(): void {
    if (!this.#folderExists) return
    this.#writeSnapshot()
    this.#writeActiveIndexes(1)
  }

  /** This partition's line of the checkpoint, after the sync that beginCheckpoint() began. */
  checkpoint(): PartitionCheckpoint {
    const end = this.#ends.checkpointEnd
    assert(end <= this.#ends.fileSyncedEndOffset, `checkpoint at ${end} before its sync is complete`)
    // Producers are known and no snapshot found room: theirs is replayed from where none was known, so the point stays there.
    const lacksSnapshot = this.#ends.checkpointSnapshot < 0 && this.#hasProducers
    const recoveryPoint = lacksSnapshot ? Math.min(this.#ends.recoveryPoint, end) : end
    return {
      topicId: this.topicId,
      partition: this.partition,
      logStartOffset: this.#ends.logStartOffset,
      recoveryPoint,
      producerSnapshotOffset: this.#ends.checkpointSnapshot,
    }
  }

  /** No producer was known, or the snapshot that the checkpoint names tells of all: there was room for it. */
  get #snapshotIsCurrent(): boolean {
    const { checkpointSnapshot, logEndOffset } = this.#ends
    return checkpointSnapshot === logEndOffset || (checkpointSnapshot < 0 && !this.#hasProducers)
  }

  get #hasProducers(): boolean {
    return (this.#snapshots.loaded?.count ?? 0) > 0 || this.#aborted.marks.first >= 0
  }

  /** What the next start would find, after a clean stop's sync; undefined when it must look for itself. */
  describeClean(): RecoveredPartition | undefined {
    const isClean =
      this.#folderExists &&
      this.#ends.checkpointEnd === this.#ends.logEndOffset &&
      this.#segments.condemned.length === 0 &&
      this.#compaction.isIdle &&
      !this.#hasStaged &&
      this.#aborted.isWritten(this.#active) &&
      this.#snapshotIsCurrent &&
      !this.#unsynced.isDirty
    if (!isClean) return undefined
    return {
      logStartOffset: this.#ends.logStartOffset,
      logEndOffset: this.#ends.logEndOffset,
      recoveryPoint: this.#ends.logEndOffset,
      segments: this.#segments.all.map(({ baseOffset, nextOffset, bytes, maxTimestampMs, createdMs }) => ({
        ...{ baseOffset, nextOffset, bytes, maxTimestampMs, createdMs },
      })),
      leaderEpochs: this.epochs.toEntries(),
      producerSnapshotOffset: this.#ends.checkpointSnapshot,
      openTransactions: this.transactions.toEntries(),
      aborted: this.#aborted.marks,
      damaged: null,
    }
  }

  /** The checkpoint file that holds `line` is durable: what it makes superfluous goes. */
  completeCheckpoint(line: PartitionCheckpoint): void {
    this.#ends.completeCheckpoint(line)
    this.#compaction.onCheckpointed()
    this.#snapshots.removeBefore(this.folder, line.producerSnapshotOffset)
  }

  /**
   * Nothing was appended since the last checkpoint: gives back what only an active partition needs (descriptor, indexes, places
   * of batches). The shard asks the partitions that a checkpoint found clean. Returns whether it is idle.
   */
  releaseIdle(): boolean {
    const isIdle =
      this.#ends.recoveryPoint === this.#ends.logEndOffset &&
      !this.#ends.hasUnsyncedCut &&
      !this.#hasStaged &&
      !this.#unsynced.isSyncing
    if (!isIdle) return false
    this.#writeActiveIndexes(1)
    const active = this.#active
    if (active !== undefined) active.indexes = undefined
    this.#aborted.relax(active)
    this.#appender?.close()
    this.#appender = undefined
    this.#staged = undefined
    this.#locator.relax()
    this.#snapshots.relax(this.#ends.logEndOffset)
    this.transactions.relax()
    return true
  }

  // Read

  /** Where to read `offset`, and where to stop so that nothing at or past `maxOffset` is read. The answer is reused. */
  locate(offset: number, maxOffset: number): Readonly<Location> {
    if (offset < this.#ends.logStartOffset || offset > this.#ends.logEndOffset) return locationOf('out-of-range')
    return this.#locator.locate(this.folder, offset, Math.min(maxOffset, this.#ends.logEndOffset))
  }

  /**
   * Where to look for the first record with a timestamp >= `timestampMs`: no batch before that place has one. Step with
   * stepToTime() up to fileEnd; if there is none (the batch was trimmed, or is past maxOffset) ask again with
   * `fromOffset` = segment.nextOffset. The answer is reused.
   */
  locateTime(
    timestampMs: number,
    maxOffset: number,
    fromOffset: number = this.#ends.logStartOffset,
  ): Readonly<Location> {
    const start = Math.max(fromOffset, this.#ends.logStartOffset)
    return this.#locator.locateTime(this.folder, timestampMs, start, Math.min(maxOffset, this.#ends.logEndOffset))
  }

  /** A reader found that a batch begins with `offset` at `filePosition` of the segment that holds it. */
  remember(offset: number, filePosition: number): void {
    this.#locator.remember(offset, filePosition)
  }

  /**
   * The aborted transactions that overlap [from, end): those with lastOffset >= from and firstOffset < end, by first offset. More than
   * `countMax`: the answer's endOffset is lower than `end`, and the list is whole up to there; it is always past `from`, by a batch or more,
   * whatever that takes (PARTITION_OPEN_TRANSACTIONS_MAX at most). `end` may not be past the last stable offset.
   */
  abortedIn(from: number, end: number, countMax: number): AbortedAnswer {
    return this.#aborted.within(this.folder, this.#active, { from, end, countMax })
  }

  /** Segments that take no more writes, in order; those that are condemned left out. */
  closedSegments(): readonly Segment[] {
    return this.#isSealed ? this.#segments.all : this.#segments.all.slice(0, -1)
  }

  /** The closed segment that begins with `baseOffset`, if its bytes are still those that `key` named. */
  closedSegment(baseOffset: number, key: number): Segment | undefined {
    const segment = this.#segments.find(baseOffset)
    return segment?.key === key && segment !== this.#active ? segment : undefined
  }

  /** A pinned descriptor to read `segment` with; releaseFd() when the read is done. */
  acquireFd(segment: Segment): Fd {
    return this.#context.openFiles.acquire(this.#pathOf(segment, '.log'), 'read')
  }

  releaseFd(fd: Fd): void {
    this.#context.openFiles.release(fd)
  }

  /** Segments whose indexes were missing or bad, each told once: have the pool run rebuildIndexes(), then indexRebuilt(). */
  takeIndexFaults(): { readonly baseOffset: number; readonly logBytes: number; readonly createdMs: number }[] {
    const faults = []
    for (const baseOffset of this.#locator.takeIndexFaults()) {
      const segment = this.#segments.find(baseOffset)
      if (segment?.baseOffset !== baseOffset) continue
      faults.push({ baseOffset, logBytes: segment.bytes, createdMs: segment.createdMs })
    }
    return faults
  }

  /** The index files of a closed segment were rebuilt: the next lookup reads them. */
  indexRebuilt(baseOffset: number): void {
    const segment = this.#segments.find(baseOffset)
    if (segment?.baseOffset === baseOffset && segment.indexes === undefined) this.#context.indexes.delete(segment.key)
  }

  // Removal

  /** The log begins at `offset` from now on. Segments below it are condemned: their files stay until removeCondemned(). */
  advanceLogStart(offset: number): void {
    assert(!this.#hasStaged, 'no trim while batches are staged')
    assert(
      offset <= this.#ends.logEndOffset,
      `log start ${offset} would be past the log end ${this.#ends.logEndOffset}`,
    )
    if (offset <= this.#ends.logStartOffset) return
    if (offset === this.#ends.logEndOffset) this.roll()
    this.#ends.logStartOffset = offset
    this.#segments.condemnBefore(offset)
    this.epochs.advanceStart(offset)
  }

  /** Decides by retention.ts what goes and condemns it. */
  applyRetention(options: { readonly nowMs: number; readonly highWatermark: number }): RetentionDecision {
    const decision = decideRetention({
      segments: this.#segments.all,
      lastIsActive: !this.#isSealed,
      logStartOffset: this.#ends.logStartOffset,
      stableEnd: Math.min(options.highWatermark, this.transactions.firstUnstableOffset(options.highWatermark)),
      nowMs: options.nowMs,
      config: this.#config,
    })
    if (decision.segments === 0) return decision
    if (decision.rollActive && !this.#tryRoll()) return { ...decision, segments: 0 }
    this.advanceLogStart(decision.newStartOffset)
    return decision
  }

  /**
   * Takes condemned segments that lie below the checkpointed log start out of the folder, and those whose compaction is durable: the
   * .log is renamed, the small files go. Returns the renamed paths; removing one takes time for a big file, so that is the caller's (the pool's). After a crash
   * recovery finishes either step: it knows the suffix, and that what is below the checkpointed start may go.
   */
  removeCondemned(): string[] {
    const paths: string[] = []
    for (const segment of this.#segments.takeCondemned(this.#ends.checkpointedStart))
      paths.push(setSegmentAside(this.#context, this.folder, segment))
    const swapped = this.#compaction.swap(this.folder)
    if (swapped.changedEnd >= 0) this.#locator.forgetBefore(swapped.changedEnd)
    return [...paths, ...swapped.paths]
  }

  // Compaction (log-compaction.ts)

  /** Share of the closed bytes below `stableEnd` that were never compacted. */
  dirtyRatio(options: { readonly nowMs: number; readonly stableEnd: number }): number {
    return this.#compaction.decide(this.#compactionState(options)).dirtyRatio
  }

  /** What the pool is to rewrite, if it is time for it; endCompaction() must follow. Nothing at or past `stableEnd` is looked at. */
  beginCompaction(options: {
    readonly nowMs: number
    readonly stableEnd: number
    readonly memoryBytesMax: number
  }): CompactionTask | undefined {
    if (!this.#folderExists || !isCompacted(this.#config)) return undefined
    if (!this.#hasStaged && this.#compaction.decide(this.#compactionState(options)).rollActive) this.#tryRoll()
    return this.#compaction.begin(this.#compactionState(options), options.memoryBytesMax)
  }

  /** The pool has rewritten what beginCompaction() answered, or has failed. True: the swap waits for a checkpoint, and two make it final. */
  endCompaction(result: CompactionResult | undefined): boolean {
    return this.#compaction.finish(this.folder, result)
  }

  /** A compaction is under way: its files lie in the folder. */
  get isCompacting(): boolean {
    return !this.#compaction.isIdle
  }

  #compactionState(options: { readonly nowMs: number; readonly stableEnd: number }): CompactionState {
    const { folder, transactions } = this
    const undecided = transactions.firstUnstableOffset(options.stableEnd)
    // Producers are replayed from the snapshot on: no marker behind it may go.
    const snapshot = this.#ends.recoverySnapshot < 0 ? this.#ends.recoveryPoint : this.#ends.recoverySnapshot
    const endOffset = Math.min(options.stableEnd, undecided, this.#ends.recoveryPoint, snapshot)
    return {
      ...{ folder, lastIsActive: !this.#isSealed, endOffset, nowMs: options.nowMs, config: this.#config },
      ...{ aborted: this.#aborted, active: this.#active },
    }
  }

  /**
   * Cuts the suffix from the batch that holds `offset` on; returns the new log end. For a follower that diverged: reads headers
   * from the file, so it may wait for the device. A cut below the checkpointed recovery point or synced end would look like
   * damage after a crash: the caller first makes lower ones durable, and a new checkpoint before the next acknowledgement.
   */
  truncateTo(offset: number): Offset {
    assert(!this.#hasStaged, 'no truncation while batches are staged')
    assert(
      offset >= this.#ends.logStartOffset,
      `truncation to ${offset}, below the log start ${this.#ends.logStartOffset}`,
    )
    if (offset >= this.#ends.logEndOffset) return this.#ends.logEndOffset as Offset
    this.#generation++
    this.#aborted.prepareCut(this.folder, this.#active, offset)
    // What goes must not come back after a power cut: the next sync takes the folder along.
    this.#unsynced.addEntry()
    while (this.#segments.last !== undefined && this.#segments.last.baseOffset >= offset) this.#dropLastSegment()
    const last = this.#segments.last
    let end = last === undefined || last.nextOffset <= offset ? offset : this.#cutSegment(last, offset)
    if (end < this.#ends.logStartOffset) {
      // The batch that is cut holds the log start: what is left lies below it, so the log goes on empty from its start.
      while (this.#segments.last !== undefined) this.#dropLastSegment()
      end = this.#ends.logStartOffset
    }
    this.#ends.truncateTo(end)
    this.#locator.truncateTo(end)
    this.#compaction.onTruncated(this.folder, end)
    this.#truncateEpochs(end)
    this.#aborted.truncateTo(end, this.#active)
    this.#rebuildProducers(end)
    this.#ends.fallBackTo(this.#snapshots.newestOffset)
    return end as Offset
  }

  /**
   * The log goes on empty from `offset`, past its start: a follower of whose leader's log nothing is left that it has. Producers are
   * forgotten with their batches. The caller first makes the new start durable, or a crash would find records missing.
   */
  restartAt(offset: number): void {
    assert(!this.#hasStaged, 'no restart while batches are staged')
    this.#generation++
    if (this.#folderExists) {
      this.#unsynced.addEntry()
      while (this.#segments.last !== undefined) this.#dropLastSegment()
      this.#compaction.onTruncated(this.folder, 0)
    }
    this.#ends.restartAt(offset)
    this.#locator.truncateTo(0)
    this.#truncateEpochs(0)
    this.#aborted.truncateTo(0, undefined)
    this.transactions.restore([])
    this.#snapshots.replace(this.folder, new ProducerState({ transactions: this.transactions }), -1)
    this.#ends.fallBackTo(-1)
  }

  /** Gives all descriptors back. Syncs nothing: who wants a clean folder has made a checkpoint before. */
  close(): void {
    this.dropStaged()
    this.#appender?.close()
    this.#appender = undefined
    this.#unsynced.close()
    for (const segment of this.#segments.all) forgetSegment(this.#context, this.folder, segment)
  }

  /** The partition is deleted: closes it and renames its folder; returns the new path, for the pool to remove, or undefined. */
  deleteFiles(): string | undefined {
    this.close()
    if (!this.#folderExists) return undefined
    const { folder } = this
    this.#context.openFiles.evictFolder(folder)
    this.#context.files.rename(folder, folder + DELETED_SUFFIX)
    this.#folderExists = false
    return folder + DELETED_SUFFIX
  }

  // Inside

  get #hasStaged(): boolean {
    return this.#staged !== undefined && this.#staged.count > 0
  }

  /** Bytes, or a cut, that the device may not have: what was cut would come back with a power cut. */
  get #activeIsUnsynced(): boolean {
    return this.#ends.hasUnsyncedCut || this.#active!.nextOffset > this.#ends.fileSyncedEndOffset
  }

  get #active(): Segment | undefined {
    return this.#isSealed ? undefined : this.#segments.last
  }

  #pathOf(segment: Segment, suffix: SegmentSuffix): string {
    return `${this.folder}/${segmentFileName(segment.baseOffset, suffix)}`
  }

  #adopt(recovered: RecoveredPartition): void {
    for (const facts of recovered.segments) {
      const key = this.#context.segmentKeys.next++
      const segment = new Segment({ baseOffset: facts.baseOffset, key, createdMs: facts.createdMs })
      segment.nextOffset = facts.nextOffset
      segment.bytes = facts.bytes
      segment.maxTimestampMs = facts.maxTimestampMs
      this.#segments.add(segment)
    }
    this.#isSealed = this.#segments.count === 0
    this.#folderExists = true
    this.#fileEpoch = this.epochs.latestEpoch
    this.epochs.advanceStart(recovered.logStartOffset)
    this.#ends.adopt(recovered)
    this.transactions.restore(recovered.openTransactions)
  }

  #beginStaging(staged: StagedBatches, { baseOffset, nextOffset }: BatchView): void {
    const active = this.#active
    const { logEndOffset } = this.#ends
    const holdsStart = this.isEmpty && baseOffset < logEndOffset && nextOffset > logEndOffset
    if (active === undefined) staged.begin(holdsStart ? baseOffset : logEndOffset, -1, 0, 0)
    else staged.begin(this.#ends.logEndOffset, active.baseOffset, active.bytes, active.createdMs)
  }

  #mustRoll(staged: StagedBatches, batchBytes: number, nextOffset: number, nowMs: number): boolean {
    if (staged.segmentBase < 0) return true
    if (staged.segmentBytes === 0) return false
    return (
      staged.segmentBytes + batchBytes > this.#config.segmentBytes ||
      this.#isFullOfAborted(staged.segmentBase) ||
      nowMs - staged.segmentCreatedMs >= this.#config.segmentMs ||
      nextOffset - 1 - staged.segmentBase > RELATIVE_OFFSET_MAX
    )
  }

  #isFullOfAborted(segmentBase: number): boolean {
    const active = this.#active
    return active?.baseOffset === segmentBase && this.#aborted.isFull(active)
  }

  /** Writes each run of batches to its segment; `begun` collects the files that were made for it. */
  #writeRuns(staged: StagedBatches, begun: SegmentAppender[]): void {
    let from = 0
    while (from < staged.count) {
      const to = staged.runEnd(from)
      let appender: SegmentAppender
      if (staged.beginsSegment(from)) {
        if (begun.length === 0) this.#prepareSeal()
        appender = this.#beginFile(staged.baseOffset(from))
        begun.push(appender)
      } else {
        appender = this.#openActive()
      }
      appender.write(staged.buffers(from, to), staged.runBytes(from, to), staged.filePosition(from))
      from = to
    }
  }

  /** The active segment is about to be closed: from its batches' write on nothing may fail. */
  #prepareSeal(): void {
    const active = this.#active
    if (active !== undefined) this.#aborted.prepareSeal(this.folder, active)
  }

  #beginFile(baseOffset: number): SegmentAppender {
    if (!this.#folderExists) {
      this.#context.files.makeFolder(this.folder)
      this.#folderExists = true
      this.#unsynced.addFolder()
    }
    const appender = new SegmentAppender(this.#context, `${this.folder}/${segmentFileName(baseOffset, '.log')}`, true)
    this.#unsynced.addEntry()
    return appender
  }

  #openActive(): SegmentAppender {
    const active = this.#active
    assert(active !== undefined, 'no active segment to write to')
    this.#locator.activate(this.folder, active)
    this.#appender ??= new SegmentAppender(this.#context, this.#pathOf(active, '.log'), false)
    return this.#appender
  }

  #undoRuns(begun: readonly SegmentAppender[]): void {
    for (const appender of begun) {
      appender.cutBack(0)
      appender.close()
      removeIfThere(this.#context, appender.path)
    }
    const active = this.#active
    if (this.#appender !== undefined && active !== undefined) this.#appender.cutBack(active.bytes)
  }

  #commitStaged(staged: StagedBatches, begun: readonly SegmentAppender[]): void {
    let files = 0
    let segment = this.#active
    let bytes = 0
    for (let index = 0; index < staged.count; index++) {
      const baseOffset = staged.baseOffset(index)
      if (segment === undefined || staged.beginsSegment(index)) {
        if (segment !== undefined) {
          this.#aborted.settle(segment, baseOffset)
          this.#seal(segment)
        }
        segment = this.#beginSegment(baseOffset, staged.createdMs(index), begun[files++]!)
      }
      this.#locator.note(baseOffset, segment.bytes)
      segment.note({
        baseOffset,
        nextOffset: staged.nextOffset(index),
        batchBytes: staged.batchBytes(index),
        maxTimestampMs: staged.maxTimestampMs(index),
      })
      this.#segments.addBytes(staged.batchBytes(index))
      bytes += staged.batchBytes(index)
    }
    if (segment !== undefined) this.#aborted.settle(segment, staged.endOffset)
    this.#ends.logEndOffset = staged.endOffset
    staged.clear()
    this.epochs.settle()
    this.#snapshots.loaded?.settle()
    this.#snapshots.addBytes(bytes)
    if (files > 0 && this.#segments.count > 1) this.#writeSnapshot()
  }

  /** The producers, and the aborted transactions that their snapshot says are in files. */
  #writeSnapshot(): void {
    const { logEndOffset } = this.#ends
    if (this.#snapshots.newestOffset === logEndOffset || !this.#aborted.write(this.folder, this.#active)) return
    this.#snapshots.write(this.folder, logEndOffset, { unsynced: this.#unsynced, aborted: this.#aborted.marks })
  }

  #beginSegment(baseOffset: number, createdMs: number, appender: SegmentAppender): Segment {
    const segment = new Segment({ baseOffset, key: this.#context.segmentKeys.next++, createdMs })
    segment.indexes = new SegmentIndexes()
    this.#segments.add(segment)
    this.#appender = appender
    this.#isSealed = false
    return segment
  }

  /**
   * Index files are never synced and can be made again, so they follow the log at a distance; the first entry comes after
   * INDEX_INTERVAL_BYTES, until then there is no file.
   */
  #writeActiveIndexes(dueBytes: number): void {
    const active = this.#active
    if (active?.indexes === undefined || active.bytes <= INDEX_INTERVAL_BYTES) return
    if (active.bytes - active.indexedBytes >= dueBytes)
      writeIndexes(this.#context.files, this.folder, active, active.indexes)
  }

  /**
   * The active segment takes no more writes: its indexes are written, its descriptor is kept until it is synced. It is condemned if all of
   * it was trimmed, as only the active segment may outlive that (after a cut back to the log start).
   */
  #seal(active: Segment): void {
    if (active.indexes !== undefined) {
      writeIndexes(this.#context.files, this.folder, active, active.indexes)
      this.#context.indexes.put(active.key, active.indexes)
      active.indexes = undefined
    }
    this.#aborted.seal(this.folder, active)
    if (this.#appender !== undefined) {
      if (this.#activeIsUnsynced) this.#unsynced.addFile(this.#appender.fd)
      else this.#appender.close()
      this.#appender = undefined
    }
    this.#isSealed = true
    this.#segments.condemnBefore(this.#ends.logStartOffset)
  }

  #dropLastSegment(): void {
    const segment = this.#segments.dropLast()
    if (!this.#isSealed) {
      this.#appender?.close()
      this.#appender = undefined
      this.#isSealed = true
    }
    forgetSegment(this.#context, this.folder, segment)
    removeIndexFiles(this.#context, this.folder, segment)
    this.#context.files.remove(this.#pathOf(segment, '.log'))
  }

  /** Cuts a segment before the batch that holds `offset`; it takes writes again. Returns where it ends now. */
  #cutSegment(segment: Segment, offset: number): number {
    const indexes = this.#locator.activate(this.folder, segment)
    const fd = this.acquireFd(segment)
    const cut = findCut(this.#context.files, fd, { segment, indexes, offset })
    this.releaseFd(fd)
    this.#segments.addBytes(cut.filePosition - segment.bytes)
    segment.bytes = cut.filePosition
    segment.nextOffset = cut.nextOffset
    segment.maxTimestampMs = cut.maxTimestampMs
    segment.key = this.#context.segmentKeys.next++
    this.#isSealed = false
    // Older ones would tell of what is cut.
    if (!writeIndexes(this.#context.files, this.folder, segment, indexes))
      for (const suffix of ['.index', '.timeindex'] as const)
        removeIfThere(this.#context, this.#pathOf(segment, suffix))
    this.#openActive().cutBack(cut.filePosition)
    this.#ends.noteCut()
    return cut.nextOffset
  }

  #truncateEpochs(end: number): void {
    const inFile = this.epochs.toEntries().filter(([epoch, start]) => start >= end && epoch <= this.#fileEpoch)
    this.epochs.truncateTo(end)
    this.#fileEpoch = Math.min(this.#fileEpoch, this.epochs.latestEpoch)
    dropLeaderEpochs(this.#context, this.folder, inFile.length, this.#unsynced)
  }

  /** Producer state as of `end`: the newest snapshot before it, and the headers from there on. */
  #rebuildProducers(end: number): void {
    const snapshot = this.#snapshots.readAt(this.folder, end)
    const { transactions } = this
    const state = snapshot?.state ?? new ProducerState({ transactions })
    const fromOffset = snapshot?.endOffset ?? 0
    // Markers between the snapshot and the first segment are gone: what was open there has ended, or goes on with its next batch.
    const isWhole = snapshot !== undefined && fromOffset >= (this.#segments.all[0]?.baseOffset ?? end)
    transactions.restore(isWhole ? snapshot.open : [], fromOffset)
    const nowMs = this.#context.clock.nowMs()
    for (const segment of this.#segments.all) {
      if (segment.nextOffset <= fromOffset) continue
      const fd = this.acquireFd(segment)
      const { offsets } = this.#locator.indexesOf(this.folder, segment)
      const from = offsets.filePositionAt(offsets.floor(fromOffset - segment.baseOffset))
      replayProducers(this.#context.files, fd, { state, from, to: segment.bytes, fromOffset, nowMs })
      this.releaseFd(fd)
    }
    this.#snapshots.replace(this.folder, state, end)
  }
}
