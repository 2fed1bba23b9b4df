/**
 * PartitionLog: the ordered segments of one partition replica on disk.
 *
 * Owns        the segment list, the active segment's appender, the sparse indexes, producer state, leader epochs
 * Thread      the partition's shard, one instance per partition; writes to the page cache, never waits for the device or a ring
 * Invariants  L1 segments sorted by baseOffset, ranges do not overlap                      checked in: #checkSegments()
 *             L2 [logStartOffset, syncedEndOffset) survives power loss                     checked in: test/crash
 *             L3 recoveryPoint <= syncedEndOffset <= logEndOffset <= nextOffset            checked in: completeSync()
 *             L4 a failed writeStaged() for want of space leaves log, epochs and producers as before the first stage()
 * Ordering    stage -> write batches -> write leader epoch -> advance logEndOffset -> fdatasync of files, then of their folder
 *             (disk thread) -> advance syncedEndOffset -> checkpoint -> advance recoveryPoint -> remove what is below the start
 * Limits      segmentBytes and segmentMs (roll first), RELATIVE_OFFSET_MAX a segment
 * Failure     ENOSPC: cut back, log unchanged; any other StorageError is fatal: the shard's partitions go offline (R3)
 * Format      format.md, "Segment"
 * Not here    high watermark and in-sync replicas (partition/), validation of batches (record/), who syncs and reads (worker/)
 */
import { assert } from '../base/assert.ts'
import { type Fd, StorageError } from '../io/file-system.ts'
import type { Offset, TopicId } from '../model/ids.ts'
import { partitionFolder } from '../model/ids.ts'
import type { TopicConfig } from '../model/topic-config.ts'
import type { BatchView } from '../record/batch-view.ts'
import { readChecked, writeWholeFile } from './checked-file.ts'
import { SegmentIndexes } from './index-cache.ts'
import {
  encodeLeaderEpochs,
  LEADER_EPOCH_ENTRY_BYTES,
  LEADER_EPOCHS_FILE,
  LEADER_EPOCHS_HEADER_BYTES,
  LeaderEpochCache,
} from './leader-epoch-cache.ts'
import type { LogContext } from './log-context.ts'
import { ProducerState, producerSnapshotName } from './producer-state.ts'
import { RecentBatches } from './recent-batches.ts'
import { checkRecovered, type PartitionCheckpoint, type RecoveredPartition } from './recovered-partition.ts'
import { RELATIVE_OFFSET_MAX, readIndexes, Segment, segmentFileName, writeIndexes } from './segment.ts'
import { SegmentAppender } from './segment-appender.ts'
import { StagedBatches } from './staged-batches.ts'
import { UnsyncedFiles } from './unsynced-files.ts'

export interface PartitionLogOptions {
  readonly topicId: TopicId
  readonly partition: number
  readonly config: TopicConfig
}

/**
 * found         `segment` holds `offset`. A batch begins at `filePosition`: the one with `offset` when `exact`, else one before it.
 *               Whole batches below maxOffset end at `fileEnd` when `endExact`; else they end at or before it
 * at-end        no record below maxOffset is at or past `offset` yet
 * out-of-range  below logStartOffset, or past logEndOffset
 */
export interface Location {
  kind: 'found' | 'at-end' | 'out-of-range'
  segment: Segment
  filePosition: number
  fileEnd: number
  exact: boolean
  endExact: boolean
}

/** Log bytes after which a checkpoint writes a new producer snapshot: what recovery may have to replay. */
const SNAPSHOT_INTERVAL_BYTES = 4 * 1024 * 1024
const HINTS = 8

export class PartitionLog {
  readonly topicId: TopicId
  readonly partition: number
  readonly epochs: LeaderEpochCache
  readonly #context: LogContext
  #config: TopicConfig
  /** Ascending; the last one takes writes unless #isSealed. */
  #segments: Segment[] = []
  /** The last segment takes no more writes: the next batch begins a new one. */
  #isSealed = true
  #appender: SegmentAppender | undefined
  #condemned: Segment[] = []
  #logStartOffset = 0
  #logEndOffset = 0
  #syncedEndOffset = 0
  /** Everything below is durable in segment files; syncedEndOffset may be ahead thanks to the journal. */
  #fileSyncedEndOffset = 0
  #recoveryPoint = 0
  #checkpointedStart = 0
  #syncEnd = -1
  #bytes = 0
  #generation = 0
  #folderExists = false
  readonly #unsynced: UnsyncedFiles
  #staged: StagedBatches | undefined
  #recent: RecentBatches | undefined
  #hintOffsets: Float64Array | undefined
  #hintPositions: Uint32Array | undefined
  #hintNext = 0
  #producers: ProducerState | undefined
  /** Newest snapshot written, -1 = none; what the checkpoint under way relies on; all that may lie in the folder. */
  #snapshotOffset = -1
  #checkpointEnd = -1
  #checkpointSnapshot = -1
  #snapshots: number[] = []
  #bytesSinceSnapshot = 0
  #indexFaults: number[] | undefined

  private constructor(context: LogContext, options: PartitionLogOptions, epochs: LeaderEpochCache) {
    this.#context = context
    this.topicId = options.topicId
    this.partition = options.partition
    this.#config = options.config
    this.epochs = epochs
    this.#unsynced = new UnsyncedFiles(context)
  }

  /** A partition without records: nothing is on disk until the first append. */
  static create(context: LogContext, options: PartitionLogOptions): PartitionLog {
    return new PartitionLog(context, options, new LeaderEpochCache())
  }

  /** What recovery left. Opens no file: descriptors, indexes and producers come when they are needed. */
  static open(
    context: LogContext,
    options: PartitionLogOptions & { readonly recovered: RecoveredPartition },
  ): PartitionLog {
    const { recovered } = options
    assert(recovered.damaged === null, `partition ${options.topicId}-${options.partition}: ${recovered.damaged}`)
    checkRecovered(recovered)
    const log = new PartitionLog(context, options, new LeaderEpochCache(recovered.leaderEpochs))
    log.#adopt(recovered)
    return log
  }

  get logStartOffset(): Offset {
    return this.#logStartOffset as Offset
  }

  /** Offset after the last written record. */
  get logEndOffset(): Offset {
    return this.#logEndOffset as Offset
  }

  /** Offset after the last staged record: what the next batch must begin with. */
  get nextOffset(): Offset {
    return (
      this.#staged === undefined || this.#staged.count === 0 ? this.#logEndOffset : this.#staged.endOffset
    ) as Offset
  }

  get syncedEndOffset(): Offset {
    return this.#syncedEndOffset as Offset
  }

  /** Of the last checkpoint. */
  get recoveryPoint(): Offset {
    return this.#recoveryPoint as Offset
  }

  get config(): TopicConfig {
    return this.#config
  }

  /** Bytes of all segments, condemned ones left out. */
  get bytes(): number {
    return this.#bytes
  }

  get segmentCount(): number {
    return this.#segments.length
  }

  /** Grows when bytes that a reader may have seen are gone: truncation. */
  get generation(): number {
    return this.#generation
  }

  /** Largest timestamp of all segments; -1 = none. */
  get maxTimestampMs(): number {
    let max = -1
    for (const segment of this.#segments) if (segment.maxTimestampMs > max) max = segment.maxTimestampMs
    return max
  }

  get folder(): string {
    return `${this.#context.dataDir}/${partitionFolder(this.topicId, this.partition)}`
  }

  /** Loaded from the newest snapshot when it is first asked for. */
  get producers(): ProducerState {
    this.#producers ??= this.#loadProducers()
    return this.#producers
  }

  updateConfig(config: TopicConfig): void {
    this.#config = config
  }

  // Append

  /**
   * Takes a batch for the next writeStaged(). It is validated and stamped with nextOffset and a leader epoch that is not below
   * the last one. `bytes` are exactly its bytes; they are kept, not copied: they must stay as they are until writeStaged().
   */
  stage(batch: BatchView, bytes: Uint8Array): void {
    this.#staged ??= new StagedBatches()
    const staged = this.#staged
    const nowMs = this.#context.clock.nowMs()
    if (staged.count === 0) this.#beginStaging(staged)
    const baseOffset: number = batch.baseOffset
    const nextOffset: number = batch.nextOffset
    assert(baseOffset === staged.endOffset, 'a staged batch must begin at nextOffset')
    if (batch.producerId >= 0) this.producers.apply(batch, nowMs)
    this.epochs.add(batch.leaderEpoch, baseOffset)
    const mustRoll = staged.segmentBase < 0 || this.#mustRoll(staged, bytes.length, nextOffset, nowMs)
    if (mustRoll) staged.beginSegment(baseOffset, nowMs)
    staged.add(bytes, baseOffset, nextOffset, batch.maxTimestamp)
  }

  /** Forgets what is staged. */
  dropStaged(): void {
    if (this.#staged === undefined || this.#staged.count === 0) return
    this.#staged.clear()
    this.epochs.rollback()
    this.#producers?.rollback()
  }

  /** Writes what is staged and makes it part of the log, or leaves everything as it was and throws. */
  writeStaged(): void {
    const staged = this.#staged
    if (staged === undefined || staged.count === 0) return
    const begun: SegmentAppender[] = []
    try {
      this.#writeRuns(staged, begun)
      this.#writeEpochs()
    } catch (error) {
      this.#undoRuns(begun)
      this.dropStaged()
      throw error
    }
    this.#commitStaged(staged, begun)
  }

  /** Closes the active segment: the next batch begins a new one. */
  roll(): void {
    assert(this.nextOffset === this.#logEndOffset, 'no roll while batches are staged')
    if (this.#isSealed || this.#active === undefined || this.#active.bytes === 0) return
    this.#seal()
    this.#writeSnapshot()
  }

  // Sync and checkpoint

  /**
   * Pushes the descriptors that hold what is not durable yet, in the order to sync them, and returns the end that is durable
   * once they are. Nothing pushed: all is. They stay open until completeSync().
   */
  beginSync(fds: Fd[]): Offset {
    const active = this.#active
    if (this.#appender !== undefined && active !== undefined && active.nextOffset > this.#fileSyncedEndOffset) {
      fds.push(this.#appender.fd)
    }
    this.#unsynced.begin(fds, this.folder)
    this.#syncEnd = this.#logEndOffset
    return this.#syncEnd as Offset
  }

  /** What beginSync() pushed is durable. */
  completeSync(endOffset: number): void {
    assert(endOffset <= this.#syncEnd, `sync up to ${endOffset} was not begun, only up to ${this.#syncEnd}`)
    this.#unsynced.complete()
    const end = Math.min(endOffset, this.#logEndOffset)
    this.#fileSyncedEndOffset = Math.max(this.#fileSyncedEndOffset, end)
    this.completeJournalSync(end)
  }

  /** The shard's journal holds all up to `endOffset` durably; segment files stay to be synced. */
  completeJournalSync(endOffset: number): void {
    assert(endOffset <= this.#logEndOffset, `synced end ${endOffset} is past the log end ${this.#logEndOffset}`)
    if (endOffset > this.#syncedEndOffset) this.#syncedEndOffset = endOffset
  }

  /** True if a checkpoint would have to sync, write or record anything. */
  get isDirty(): boolean {
    return (
      this.#logEndOffset !== this.#recoveryPoint ||
      this.#logStartOffset !== this.#checkpointedStart ||
      this.#condemned.length > 0 ||
      this.#unsynced.isDirty
    )
  }

  /** Writes what a checkpoint relies on, then does as beginSync(). After completeSync(), checkpoint() is true. */
  beginCheckpoint(fds: Fd[]): Offset {
    const active = this.#active
    if (active?.indexes !== undefined && this.#logEndOffset !== this.#recoveryPoint) {
      writeIndexes(this.#context.files, this.folder, active, active.indexes)
    }
    if (this.#snapshotOffset < 0 || this.#bytesSinceSnapshot >= SNAPSHOT_INTERVAL_BYTES) this.#writeSnapshot()
    this.#checkpointSnapshot = this.#snapshotOffset
    this.#checkpointEnd = this.beginSync(fds)
    return this.#checkpointEnd as Offset
  }

  /** This partition's line of the checkpoint, after the sync that beginCheckpoint() began. */
  checkpoint(): PartitionCheckpoint {
    const recoveryPoint = this.#checkpointEnd < 0 ? this.#recoveryPoint : this.#checkpointEnd
    assert(recoveryPoint <= this.#fileSyncedEndOffset, `checkpoint at ${recoveryPoint} before its sync is complete`)
    return {
      topicId: this.topicId,
      partition: this.partition,
      logStartOffset: this.#logStartOffset,
      recoveryPoint,
      producerSnapshotOffset: this.#checkpointSnapshot,
    }
  }

  /** The checkpoint file that holds `line` is durable: what it makes superfluous goes. */
  completeCheckpoint(line: PartitionCheckpoint): void {
    const isIdle = this.#recoveryPoint === this.#logEndOffset
    this.#recoveryPoint = line.recoveryPoint
    this.#checkpointedStart = line.logStartOffset
    for (const offset of this.#snapshots) {
      if (offset < line.producerSnapshotOffset) this.#removeQuietly(`${this.folder}/${producerSnapshotName(offset)}`)
    }
    this.#snapshots = this.#snapshots.filter((offset) => offset >= line.producerSnapshotOffset)
    if (isIdle) this.#relax()
  }

  // Read

  /** Where to read `offset`, and where to stop so that nothing at or past `maxOffset` is read. The answer is reused. */
  locate(offset: number, maxOffset: number): Readonly<Location> {
    if (offset < this.#logStartOffset || offset > this.#logEndOffset) return answer('out-of-range', NO_SEGMENT)
    const end = Math.min(maxOffset, this.#logEndOffset)
    const segment = offset < end ? this.#segmentOf(offset) : undefined
    if (segment === undefined || segment.baseOffset >= end) return answer('at-end', NO_SEGMENT)
    this.#place(segment, Math.max(offset, segment.baseOffset))
    this.#placeEnd(segment, end)
    return location
  }

  /**
   * Where to look for the first record with a timestamp >= `timestampMs`: no batch before that place has one. Step with
   * stepToTime(); if nothing is found up to fileEnd, ask locate() for the next segment's base offset.
   */
  locateTime(timestampMs: number, maxOffset: number): Readonly<Location> {
    const end = Math.min(maxOffset, this.#logEndOffset)
    for (const segment of this.#segments) {
      if (segment.maxTimestampMs < timestampMs || segment.nextOffset <= this.#logStartOffset) continue
      if (segment.baseOffset >= end) break
      const start = this.#indexesOf(segment).times.startOf(timestampMs) + segment.baseOffset
      const offset = Math.max(start, this.#logStartOffset)
      if (offset >= end || offset >= segment.nextOffset) break
      this.#place(segment, offset)
      this.#placeEnd(segment, end)
      return location
    }
    return answer('at-end', NO_SEGMENT)
  }

  /** A reader found that the batch at `filePosition` of the segment that holds `offset` begins with it. */
  remember(offset: number, filePosition: number): void {
    if (this.#hintOffsets === undefined || this.#hintPositions === undefined) {
      this.#hintOffsets = new Float64Array(HINTS).fill(-1)
      this.#hintPositions = new Uint32Array(HINTS)
    }
    this.#hintOffsets[this.#hintNext] = offset
    this.#hintPositions[this.#hintNext] = filePosition
    this.#hintNext = (this.#hintNext + 1) % HINTS
  }

  /** A pinned descriptor to read `segment` with; releaseFd() when the read is done. */
  acquireFd(segment: Segment): Fd {
    return this.#context.openFiles.acquire(this.#pathOf(segment), 'read')
  }

  releaseFd(fd: Fd): void {
    this.#context.openFiles.release(fd)
  }

  /** Gives all descriptors back. Syncs nothing: who wants a clean folder has made a checkpoint before. */
  close(): void {
    this.dropStaged()
    this.#appender?.close()
    this.#appender = undefined
    this.#unsynced.close()
    for (const segment of this.#segments) {
      this.#context.indexes.delete(segment.key)
      this.#context.openFiles.evict(this.#pathOf(segment))
    }
  }

  // Inside

  get #active(): Segment | undefined {
    return this.#isSealed ? undefined : this.#segments[this.#segments.length - 1]
  }

  #pathOf(segment: Segment): string {
    return `${this.folder}/${segmentFileName(segment.baseOffset, '.log')}`
  }

  #adopt(recovered: RecoveredPartition): void {
    for (const facts of recovered.segments) {
      const key = this.#context.segmentKeys.next++
      const segment = new Segment({ baseOffset: facts.baseOffset, key, createdMs: facts.createdMs })
      segment.nextOffset = facts.nextOffset
      segment.bytes = facts.bytes
      segment.maxTimestampMs = facts.maxTimestampMs
      this.#segments.push(segment)
      this.#bytes += facts.bytes
    }
    this.#isSealed = this.#segments.length === 0
    this.#logStartOffset = recovered.logStartOffset
    this.#logEndOffset = recovered.logEndOffset
    this.#syncedEndOffset = recovered.logEndOffset
    this.#fileSyncedEndOffset = recovered.logEndOffset
    this.#recoveryPoint = recovered.recoveryPoint
    this.#checkpointedStart = recovered.logStartOffset
    this.#folderExists = true
    this.#snapshotOffset = recovered.producerSnapshotOffset
    this.#checkpointSnapshot = recovered.producerSnapshotOffset
    if (recovered.producerSnapshotOffset >= 0) this.#snapshots.push(recovered.producerSnapshotOffset)
    else this.#producers = undefined
  }

  #loadProducers(): ProducerState {
    if (this.#snapshotOffset < 0) return new ProducerState()
    const path = `${this.folder}/${producerSnapshotName(this.#snapshotOffset)}`
    const loaded = readChecked(this.#context.files, path, (bytes) => ProducerState.decode(bytes))
    if (loaded.kind === 'present') return loaded.value.state
    throw new StorageError('ECORRUPT', `${path}: ${loaded.kind === 'absent' ? 'it is gone' : loaded.reason}`)
  }

  #beginStaging(staged: StagedBatches): void {
    const active = this.#active
    if (active === undefined) staged.begin(this.#logEndOffset, -1, 0, 0)
    else staged.begin(this.#logEndOffset, active.baseOffset, active.bytes, active.createdMs)
  }

  #mustRoll(staged: StagedBatches, batchBytes: number, nextOffset: number, nowMs: number): boolean {
    if (staged.segmentBytes === 0) return false
    return (
      staged.segmentBytes + batchBytes > this.#config.segmentBytes ||
      nowMs - staged.segmentCreatedMs >= this.#config.segmentMs ||
      nextOffset - 1 - staged.segmentBase > RELATIVE_OFFSET_MAX
    )
  }

  /** Writes each run of batches to its segment; `begun` collects the files that were made for it. */
  #writeRuns(staged: StagedBatches, begun: SegmentAppender[]): void {
    let from = 0
    while (from < staged.count) {
      const to = staged.runEnd(from)
      let appender: SegmentAppender
      if (staged.beginsSegment(from)) {
        appender = this.#beginFile(staged.baseOffset(from))
        begun.push(appender)
      } else {
        appender = this.#openActive()
      }
      appender.write(staged.buffers(from, to), staged.runBytes(from, to), staged.filePosition(from))
      from = to
    }
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
    active.indexes ??= this.#loadActiveIndexes(active)
    this.#appender ??= new SegmentAppender(this.#context, this.#pathOf(active), false)
    return this.#appender
  }

  #undoRuns(begun: readonly SegmentAppender[]): void {
    for (const appender of begun) {
      appender.cutBack(0)
      appender.close()
      this.#context.openFiles.evict(appender.path)
      this.#context.files.remove(appender.path)
    }
    const active = this.#active
    if (this.#appender !== undefined && active !== undefined) this.#appender.cutBack(active.bytes)
  }

  #commitStaged(staged: StagedBatches, begun: readonly SegmentAppender[]): void {
    this.#recent ??= new RecentBatches()
    let files = 0
    for (let index = 0; index < staged.count; index++) {
      const baseOffset = staged.baseOffset(index)
      if (staged.beginsSegment(index)) {
        if (!this.#isSealed) this.#seal()
        this.#beginSegment(baseOffset, staged.createdMs(index), begun[files++]!)
      }
      const segment = this.#segments[this.#segments.length - 1]!
      const batchBytes = staged.batchBytes(index)
      this.#recent.note(baseOffset, segment.bytes)
      segment.note(staged.nextOffset(index), batchBytes, baseOffset, staged.maxTimestampMs(index))
      this.#bytes += batchBytes
      this.#bytesSinceSnapshot += batchBytes
    }
    this.#logEndOffset = staged.endOffset
    staged.clear()
    this.epochs.settle()
    this.#producers?.settle()
    if (files > 0 && this.#segments.length > 1) this.#writeSnapshot()
  }

  #beginSegment(baseOffset: number, createdMs: number, appender: SegmentAppender): void {
    const segment = new Segment({ baseOffset, key: this.#context.segmentKeys.next++, createdMs })
    segment.indexes = new SegmentIndexes()
    this.#segments.push(segment)
    this.#appender = appender
    this.#isSealed = false
  }

  /** The active segment takes no more writes: its indexes are written, its descriptor is kept until it is synced. */
  #seal(): void {
    const active = this.#active
    assert(active !== undefined, 'no active segment to close')
    if (active.indexes !== undefined) {
      writeIndexes(this.#context.files, this.folder, active, active.indexes)
      this.#context.indexes.put(active.key, active.indexes)
      active.indexes = undefined
    }
    if (this.#appender !== undefined) {
      if (active.nextOffset > this.#fileSyncedEndOffset) this.#unsynced.addFile(this.#appender.fd)
      else this.#appender.close()
      this.#appender = undefined
    }
    this.#isSealed = true
  }

  /** Appends the epochs that the staged batches begin to `leader-epochs`. */
  #writeEpochs(): void {
    const count = this.epochs.stagedCount
    if (count === 0) return
    const { files, openFiles } = this.#context
    const fd = openFiles.acquire(`${this.folder}/${LEADER_EPOCHS_FILE}`, 'create')
    const before = files.sizeOf(fd)
    const entries = this.epochs.toEntries()
    const isFresh = before < LEADER_EPOCHS_HEADER_BYTES
    const whole = encodeLeaderEpochs(isFresh ? entries : entries.slice(-count))
    const bytes = isFresh ? whole : whole.subarray(LEADER_EPOCHS_HEADER_BYTES)
    const torn = isFresh ? before : (before - LEADER_EPOCHS_HEADER_BYTES) % LEADER_EPOCH_ENTRY_BYTES
    try {
      const written = files.write(fd, [bytes], before - torn)
      if (written !== bytes.length)
        throw new StorageError('EIO', `${LEADER_EPOCHS_FILE}: short write of ${written} bytes`)
    } catch (error) {
      files.truncate(fd, before - torn)
      openFiles.release(fd)
      throw error
    }
    if (isFresh) this.#unsynced.addEntry()
    this.#unsynced.addFile(fd)
  }

  /** Writes the producer state at the log end; left out when there is none, or no space for it. */
  #writeSnapshot(): void {
    const producers = this.#producers
    if (producers === undefined || (producers.count === 0 && this.#snapshotOffset < 0)) return
    if (this.#snapshotOffset === this.#logEndOffset) return
    const { files, openFiles } = this.#context
    const path = `${this.folder}/${producerSnapshotName(this.#logEndOffset)}`
    try {
      files.close(writeWholeFile(files, path, producers.encode(this.#logEndOffset)))
    } catch (error) {
      if (error instanceof StorageError && error.isSpace) return
      throw error
    }
    this.#unsynced.addEntry()
    this.#unsynced.addFile(openFiles.acquire(path, 'write'))
    this.#snapshotOffset = this.#logEndOffset
    this.#snapshots.push(this.#logEndOffset)
    this.#bytesSinceSnapshot = 0
  }

  /** Nothing was appended between two checkpoints: give back what only an active partition needs. */
  #relax(): void {
    if (this.nextOffset !== this.#logEndOffset || this.#unsynced.isSyncing) return
    const active = this.#active
    if (active !== undefined) active.indexes = undefined
    if (this.#fileSyncedEndOffset === this.#logEndOffset) {
      this.#appender?.close()
      this.#appender = undefined
    }
    this.#recent = undefined
    this.#staged = undefined
    this.#hintOffsets = undefined
    this.#hintPositions = undefined
    this.#hintNext = 0
    if (this.#snapshotOffset === this.#logEndOffset || this.#producers?.count === 0) this.#producers = undefined
  }

  #removeQuietly(path: string): void {
    try {
      this.#context.openFiles.evict(path)
      this.#context.files.remove(path)
    } catch (error) {
      if (!(error instanceof StorageError && error.code === 'ENOENT')) throw error
    }
  }

  /** The first segment that ends past `offset`. */
  #segmentOf(offset: number): Segment | undefined {
    let low = 0
    let high = this.#segments.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#segments[middle]!.nextOffset <= offset) low = middle + 1
      else high = middle
    }
    return this.#segments[low]
  }

  #place(segment: Segment, offset: number): void {
    answer('found', segment)
    location.exact = true
    if (offset === segment.baseOffset) return
    const recent = this.#recent?.filePositionOf(offset) ?? -1
    if (recent >= 0) {
      location.filePosition = recent
      return
    }
    const hint = this.#hintOffsets?.indexOf(offset) ?? -1
    if (hint >= 0) {
      location.filePosition = this.#hintPositions![hint]!
      return
    }
    const { offsets } = this.#indexesOf(segment)
    const entry = offsets.floor(offset - segment.baseOffset)
    location.filePosition = offsets.filePositionAt(entry)
    location.exact = offsets.relativeOffsetAt(entry) === offset - segment.baseOffset
  }

  #placeEnd(segment: Segment, end: number): void {
    location.endExact = true
    location.fileEnd = segment.bytes
    if (segment.nextOffset <= end) return
    const recent = this.#recent?.filePositionOf(end) ?? -1
    if (recent >= 0) {
      location.fileEnd = recent
      return
    }
    const { offsets } = this.#indexesOf(segment)
    const entry = offsets.floor(end - segment.baseOffset)
    if (entry >= 0 && offsets.relativeOffsetAt(entry) === end - segment.baseOffset) {
      location.fileEnd = offsets.filePositionAt(entry)
      return
    }
    if (entry + 1 < offsets.count) location.fileEnd = offsets.filePositionAt(entry + 1)
    location.endExact = false
  }

  #loadActiveIndexes(segment: Segment): SegmentIndexes {
    const cached = this.#context.indexes.get(segment.key)
    if (cached !== undefined) {
      this.#context.indexes.delete(segment.key)
      return cached
    }
    return this.#readIndexes(segment)
  }

  #indexesOf(segment: Segment): SegmentIndexes {
    const held = segment.indexes ?? this.#context.indexes.get(segment.key)
    if (held !== undefined) return held
    const read = this.#readIndexes(segment)
    this.#context.indexes.put(segment.key, read)
    return read
  }

  /** Indexes from their files; empty ones if those are missing or bad: lookups then begin at the segment's start. */
  #readIndexes(segment: Segment): SegmentIndexes {
    const read = readIndexes(this.#context.files, this.folder, segment.baseOffset, segment.bytes)
    if (read.kind === 'present') return read.indexes
    this.#indexFaults ??= []
    if (!this.#indexFaults.includes(segment.baseOffset)) this.#indexFaults.push(segment.baseOffset)
    return new SegmentIndexes()
  }
}

const NO_SEGMENT = new Segment({ baseOffset: -1, key: 0, createdMs: 0 })
const location: Location = {
  kind: 'at-end',
  segment: NO_SEGMENT,
  filePosition: 0,
  fileEnd: 0,
  exact: false,
  endExact: false,
}

function answer(kind: Location['kind'], segment: Segment): Location {
  location.kind = kind
  location.segment = segment
  location.filePosition = 0
  location.fileEnd = 0
  return location
}
