/**
 * FolderReplay: reads one partition's folder as the log it is, up to the first place that is not sound, and rebuilds what
 * follows from the batches: indexes, largest timestamps, leader epochs, producer state. Decides nothing (log-recovery.ts does).
 *
 * Owns        the segments as found, one walk, the state rebuilt so far
 * Invariants  F1 run() changes nothing on disk; cut() and settle() do, and only those
 *             F2 below the recovery point batches are skimmed, or not read at all; from there on each is hashed
 * Limits      one segment open at a time; memory is one read buffer, the indexes of one segment, one partition's producers
 */
import { bytesEqual } from '../base/bytes.ts'
import type { Fd, FileSystem } from '../io/file-system.ts'
import type { BatchView } from '../record/batch-view.ts'
import { NOTHING_ABORTED } from './aborted-index.ts'
import { BatchWalk, type WalkStep } from './batch-walk.ts'
import { readChecked, readWholeFile as readSmallFile, writeWholeFile } from './checked-file.ts'
import { readFully, replaceFile, TEMPORARY_SUFFIX, writeFully } from './durable-file.ts'
import { FolderAborted } from './folder-aborted.ts'
import { SegmentIndexes } from './index-cache.ts'
import { decodeLeaderEpochs, encodeLeaderEpochs, LEADER_EPOCHS_FILE, LeaderEpochCache } from './leader-epoch-cache.ts'
import { INDEX_INTERVAL_BYTES, OffsetIndex } from './offset-index.ts'
import { markerOf } from './open-transactions.ts'
import { parseProducerSnapshotName, producerSnapshotName } from './producer-snapshot-file.ts'
import { ProducerState } from './producer-state.ts'
import type { PartitionBounds } from './recovery-plan.ts'
import {
  DELETED_SUFFIX,
  parseSegmentFileName,
  SEGMENT_SUFFIXES,
  Segment,
  segmentFileName,
  writeIndexes,
} from './segment.ts'
import { CLEANED_SUFFIX } from './segment-swap.ts'
import type { SyncList } from './sync-list.ts'
import { TimeIndex } from './time-index.ts'

const INDEX_SUFFIXES = ['.index', '.timeindex'] as const
const REWRITE_BYTES = 64 * 1024
/** What nobody needs any more, or not yet. */
const LEFTOVER_SUFFIXES = [DELETED_SUFFIX, TEMPORARY_SUFFIX, CLEANED_SUFFIX]

export interface FolderReplayOptions {
  readonly path: string
  readonly bounds: PartitionBounds
  readonly readBytes?: number | undefined
  /** Takes what settle() leaves to be synced. */
  readonly syncs: SyncList
}

export class FolderReplay {
  readonly notes: string[] = []
  /** Sound segments so far; the last one may be cut. */
  readonly segments: Segment[] = []
  /** Segments past the fault, by base offset, as they lie there. */
  readonly later: { readonly baseOffset: number; readonly bytes: number }[] = []
  readonly path: string
  epochs = new LeaderEpochCache()
  producers = new ProducerState()
  readonly aborted: FolderAborted
  snapshotOffset = -1
  logStartOffset = 0
  nextOffset = 0
  scannedBytes = 0
  /** Why the log ends at nextOffset although there are more bytes; null: it just ends. */
  fault: string | null = null
  /** A fault below the recovery point, where nothing may be wrong. */
  lowerFault: string | null = null
  readonly #files: FileSystem
  readonly #bounds: PartitionBounds
  readonly #walk: BatchWalk
  readonly #syncs: SyncList
  readonly #snapshots: number[] = []
  readonly #leftovers: string[] = []
  readonly #indexNames = new Set<string>()
  /** Segments whose indexes were rebuilt and must be written. */
  readonly #indexed: { readonly segment: Segment; readonly indexes: SegmentIndexes; readonly coveredBytes: number }[] =
    []
  readonly #dropped: number[] = []
  /** Size of the file of the last segment in `segments`, before any cut. */
  #lastFileBytes = 0
  #epochsAreWhole = true
  /** The first batch that no sync is known to have reached. */
  #unsyncedFrom: { readonly baseOffset: number; readonly filePosition: number } | undefined
  /** Walk from here at the latest; producers are replayed from there. */
  #replayFrom = 0
  #hasNewNames = false
  #producersFrom = 0
  /** When the segment under the walk was last written to: no batch of it came later. */
  #modifiedMs = 0

  constructor(files: FileSystem, options: FolderReplayOptions) {
    this.#files = files
    this.path = options.path
    this.#bounds = options.bounds
    this.#syncs = options.syncs
    this.#walk = new BatchWalk(files, options.readBytes)
    this.aborted = new FolderAborted(files, options.path)
  }

  run(): void {
    this.#replay()
    // All that is left lies below the durable log start: retention removed what follows, and its other removals were lost.
    if (this.fault !== null || this.nextOffset >= this.logStartOffset || this.#bounds.logStartOffset < 0) return
    for (const segment of this.segments) this.#dropped.push(segment.baseOffset)
    this.segments.length = 0
    this.#indexed.length = 0
    this.#lastFileBytes = 0
    this.nextOffset = this.logStartOffset
    // A snapshot as of the log start tells what is open. After an older one markers may be gone with what was removed.
    if (this.snapshotOffset < this.logStartOffset) this.producers.transactions.restore([])
    this.aborted.clear()
  }

  #replay(): void {
    const found = this.#list()
    this.#loadEpochs()
    const first = this.#dropBelowStart(found)
    const recoveryPoint = this.#bounds.recoveryPoint
    this.logStartOffset = Math.max(0, this.#bounds.logStartOffset)
    this.nextOffset = first[0] === undefined ? this.logStartOffset : first[0].baseOffset
    this.#loadProducers(recoveryPoint, this.nextOffset)
    if (first[0] === undefined) return
    if (first[0].baseOffset > this.logStartOffset && this.#bounds.logStartOffset >= 0) {
      this.nextOffset = this.logStartOffset
      this.#stop(first, `the segment that holds offset ${this.logStartOffset} is missing`)
      return
    }
    if (this.#bounds.logStartOffset < 0) this.logStartOffset = first[0].baseOffset
    for (let index = 0; index < first.length; index++) {
      const entry = first[index]!
      const end = first[index + 1]?.baseOffset
      if (this.#isReplaced(first, index)) {
        this.#dropped.push(entry.baseOffset)
        continue
      }
      if (entry.baseOffset !== this.nextOffset && index > 0) {
        this.#stop(first.slice(index), `the segment that holds offset ${this.nextOffset} is missing`)
        return
      }
      const isBelow = end !== undefined && end <= Math.min(recoveryPoint, this.#replayFrom)
      const sound = isBelow ? this.#adoptClosed(entry, end) : this.#replaySegment(entry, recoveryPoint)
      this.aborted.endSegment(this.segments[this.segments.length - 1]!, this.producers.transactions.firstOpenOffset)
      if (!sound) {
        this.later.push(...first.slice(index + 1))
        return
      }
    }
  }

  /**
   * A compacted segment in front of it holds its offsets, all of them: the power went before the folder told that it is gone. The last
   * segment never was compacted.
   */
  #isReplaced(entries: readonly { readonly baseOffset: number }[], index: number): boolean {
    const next = entries[index + 1]
    return index > 0 && next !== undefined && next.baseOffset <= this.nextOffset
  }

  /** Where the log ends, for people. */
  describePlace(): string {
    const last = this.segments[this.segments.length - 1]
    return last === undefined
      ? 'before its first segment'
      : `at position ${last.bytes} of ${segmentFileName(last.baseOffset, '.log')}`
  }

  /** Bytes behind nextOffset, later segments included. */
  suffixBytes(): number {
    const last = this.segments[this.segments.length - 1]
    let bytes = last === undefined ? 0 : this.#lastFileBytes - last.bytes
    for (const segment of this.later) bytes += segment.bytes
    return bytes
  }

  get lastFileBytes(): number {
    return this.#lastFileBytes
  }

  /** Removes what follows nextOffset: the rest of the last segment and the later ones. Returns the bytes cut. */
  cut(): number {
    const bytes = this.suffixBytes()
    // From the back: a crash in between leaves a log that ends earlier, never one with a hole.
    for (const segment of this.later.toReversed()) this.#removeSegment(segment.baseOffset)
    const last = this.segments[this.segments.length - 1]
    if (last !== undefined && this.#lastFileBytes > last.bytes) {
      const fd = this.#files.open(this.#pathOf(last.baseOffset), 'write')
      try {
        this.#files.truncate(fd, last.bytes)
        this.#files.fsync(fd)
      } finally {
        this.#files.close(fd)
      }
      this.#lastFileBytes = last.bytes
    }
    return bytes
  }

  /** Writes what was rebuilt and lists what is to be synced; does nothing to a folder that a checkpoint covers whole. */
  settle(): void {
    this.#rewriteUnsynced()
    for (const baseOffset of this.#dropped) this.#removeSegment(baseOffset)
    for (const name of this.#leftovers) this.#removeQuietly(name)
    const isPastCheckpoint = this.nextOffset > this.#bounds.recoveryPoint
    for (const { segment, indexes, coveredBytes } of this.#indexed) {
      if (isPastCheckpoint) this.#syncFile(segmentFileName(segment.baseOffset, '.log'))
      // Indexes are not synced: a torn one is rebuilt. One that covers the whole log already says all.
      if (coveredBytes !== segment.bytes) this.#settleIndexes(segment, indexes)
    }
    for (const name of this.aborted.settle(this.segments, this.notes)) {
      this.#syncFile(name)
      this.#hasNewNames = true
    }
    this.#settleEpochs(isPastCheckpoint)
    this.#settleProducers(isPastCheckpoint)
    if (isPastCheckpoint || this.#hasNewNames) this.#syncs.addFolder(this.path)
  }

  /**
   * Writes again what no sync is known to have reached. Where one has failed, the system shows the bytes and counts them as written
   * although the device never got them: another sync would succeed and bring nothing there (R3).
   */
  #rewriteUnsynced(): void {
    const from = this.#unsyncedFrom
    if (from === undefined || this.nextOffset <= this.#bounds.recoveryPoint) return
    const buffer = new Uint8Array(REWRITE_BYTES)
    for (const { baseOffset, bytes } of this.segments) {
      if (baseOffset < from.baseOffset) continue
      const fd = this.#files.open(this.#pathOf(baseOffset), 'write')
      try {
        let at = baseOffset === from.baseOffset ? from.filePosition : 0
        while (at < bytes) {
          const piece = buffer.subarray(0, Math.min(buffer.length, bytes - at))
          const count = readFully(this.#files, fd, piece, at)
          if (count === 0) break
          writeFully(this.#files, fd, [piece.subarray(0, count)], at)
          at += count
        }
      } finally {
        this.#files.close(fd)
      }
    }
  }

  // -- what lies in the folder

  #list(): { baseOffset: number; bytes: number }[] {
    const found: { baseOffset: number; bytes: number }[] = []
    for (const name of this.#files.list(this.path)) {
      const parsed = parseSegmentFileName(name)
      const snapshot = parseProducerSnapshotName(name)
      if (parsed?.suffix === '.log') {
        const stat = this.#files.stat(`${this.path}/${name}`)
        if (stat.kind === 'file') found.push({ baseOffset: parsed.baseOffset, bytes: stat.bytes })
      } else if (parsed !== undefined) this.#indexNames.add(name)
      else if (snapshot !== undefined) this.#snapshots.push(snapshot)
      else if (LEFTOVER_SUFFIXES.some((suffix) => name.endsWith(suffix))) this.#leftovers.push(name)
    }
    return found.sort((left, right) => left.baseOffset - right.baseOffset)
  }

  /** Leaves out segments that lie wholly below the durable log start: retention's work that a crash interrupted. */
  #dropBelowStart(found: { baseOffset: number; bytes: number }[]): { baseOffset: number; bytes: number }[] {
    const start = this.#bounds.logStartOffset
    let dropped = 0
    while (dropped + 1 < found.length && found[dropped + 1]!.baseOffset <= start)
      this.#dropped.push(found[dropped++]!.baseOffset)
    return found.slice(dropped)
  }

  #loadEpochs(): void {
    const bytes = readSmallFile(this.#files, `${this.path}/${LEADER_EPOCHS_FILE}`)
    if (bytes === undefined) {
      this.#epochsAreWhole = this.#bounds.recoveryPoint === 0
      return
    }
    const decoded = decodeLeaderEpochs(bytes)
    if (decoded.kind === 'present') {
      this.epochs = new LeaderEpochCache(decoded.value.entries)
      this.epochs.truncateTo(this.#bounds.recoveryPoint)
      return
    }
    this.#epochsAreWhole = false
    if (decoded.kind === 'unreadable') this.notes.push(`${decoded.reason}: rebuilt from the log`)
  }

  /**
   * The snapshot that the checkpoint names, or the newest one before it that can be read, or before the recovery point when no checkpoint
   * is left; replay goes from there, or from the log's start when there is none.
   */
  #loadProducers(recoveryPoint: number, firstOffset: number): void {
    // A file that says nothing of the log's start cannot be whole, however sound it is.
    const startOffset = Math.max(firstOffset, this.logStartOffset)
    if (recoveryPoint > startOffset && this.epochs.epochAt(startOffset) < 0) this.#epochsAreWhole = false
    this.#replayFrom = this.#epochsAreWhole ? recoveryPoint : firstOffset
    // The checkpoint says that there was no producer at the recovery point.
    this.#producersFrom = recoveryPoint
    this.aborted.begin(recoveryPoint, NOTHING_ABORTED)
    const named = this.#bounds.incarnation > 0 ? this.#bounds.producerSnapshotOffset : recoveryPoint
    if (named < 0) return
    // Not one past it, although the log reaches there: it may be of records that were cut since.
    const newest = Math.min(named, recoveryPoint)
    const usable = this.#snapshots.filter((offset) => offset <= newest).sort((left, right) => right - left)
    for (const offset of usable) {
      const name = producerSnapshotName(offset)
      const answer = readChecked(this.#files, `${this.path}/${name}`, (bytes) => ProducerState.decode(bytes))
      if (answer.kind === 'present' && answer.value.endOffset === offset) {
        this.producers = answer.value.state
        this.snapshotOffset = offset
        this.#replayFrom = Math.min(this.#replayFrom, offset)
        this.#producersFrom = offset
        this.aborted.begin(offset, answer.value.aborted)
        // What lay between is gone, markers too: all that was open has ended, or goes on with its next batch.
        if (offset < firstOffset) this.producers.transactions.restore([])
        return
      }
      this.notes.push(
        `${name} cannot be used: ${answer.kind === 'unreadable' ? answer.reason : 'it is of another offset'}`,
      )
    }
    this.#replayFrom = firstOffset
    this.#producersFrom = firstOffset
    this.aborted.begin(firstOffset, NOTHING_ABORTED)
  }

  // -- segments

  /** A closed segment below everything that is replayed: its indexes say what there is to say. */
  #adoptClosed(entry: { baseOffset: number; bytes: number }, end: number): boolean {
    const opened = this.#openIndexes(entry)
    const { segment, coveredBytes } = opened
    if (opened.indexes === undefined || coveredBytes !== entry.bytes)
      return this.#replaySegment(entry, this.#bounds.recoveryPoint)
    // From the last index entry to the file's end: does it end where the next segment begins?
    const start = this.#startOf(entry, opened, end)
    const fd = this.#files.open(this.#pathOf(entry.baseOffset), 'read')
    let step: WalkStep = 'batch'
    try {
      this.#walk.begin(fd, { ...start, leaderEpoch: -1, fileEnd: entry.bytes, offsets: 'exact' })
      while (step === 'batch') step = this.#walk.step('skimmed')
    } finally {
      this.#files.close(fd)
    }
    // Not what its indexes say, or one that replaces those behind it, past where producers are replayed from: read all of it.
    if (step !== 'end' || this.#walk.nextOffset > end) return this.#replaySegment(entry, this.#bounds.recoveryPoint)
    segment.nextOffset = this.#walk.nextOffset
    segment.bytes = this.#walk.filePosition
    this.segments.push(segment)
    this.#lastFileBytes = entry.bytes
    this.nextOffset = segment.nextOffset
    return true
  }

  #openIndexes(entry: { baseOffset: number; bytes: number }): {
    segment: Segment
    indexes: SegmentIndexes | undefined
    coveredBytes: number
    modifiedMs: number
  } {
    const { baseOffset } = entry
    const offsets = readChecked(
      this.#files,
      `${this.path}/${segmentFileName(baseOffset, '.index')}`,
      OffsetIndex.decode,
    )
    const times = readChecked(
      this.#files,
      `${this.path}/${segmentFileName(baseOffset, '.timeindex')}`,
      TimeIndex.decode,
    )
    const stat = this.#files.stat(this.#pathOf(baseOffset))
    const modifiedMs = stat.kind === 'file' ? Math.floor(stat.modifiedMs) : 0
    const isUsable =
      offsets.kind === 'present' &&
      times.kind === 'present' &&
      offsets.value.meta.baseOffset === baseOffset &&
      times.value.meta.baseOffset === baseOffset
    for (const answer of [offsets, times])
      if (answer.kind === 'unreadable') this.notes.push(`segment ${baseOffset}: ${answer.reason}: rebuilt from the log`)
    const createdMs = offsets.kind === 'present' ? offsets.value.meta.createdMs : modifiedMs
    const segment = new Segment({ baseOffset, key: 0, createdMs })
    if (!isUsable) return { segment, indexes: undefined, coveredBytes: 0, modifiedMs }
    segment.maxTimestampMs = times.value.meta.maxTimestampMs
    const coveredBytes = Math.min(offsets.value.meta.coveredBytes, times.value.meta.coveredBytes)
    return { segment, indexes: new SegmentIndexes(offsets.value.index, times.value.index), coveredBytes, modifiedMs }
  }

  /** Walks a segment from where its indexes may be believed; false at a fault. */
  #replaySegment(entry: { baseOffset: number; bytes: number }, recoveryPoint: number): boolean {
    const opened = this.#openIndexes(entry)
    const start = this.#startOf(entry, opened, Math.min(recoveryPoint, this.#replayFrom))
    const { segment } = opened
    this.#modifiedMs = opened.modifiedMs
    segment.indexes = start.indexes
    if (start.filePosition === 0) segment.maxTimestampMs = -1
    segment.bytes = start.filePosition
    segment.nextOffset = start.offset
    this.segments.push(segment)
    this.#indexed.push({
      segment,
      indexes: start.indexes,
      coveredBytes: start.filePosition === 0 ? -1 : opened.coveredBytes,
    })
    this.#lastFileBytes = entry.bytes
    this.nextOffset = start.offset
    const fd = this.#files.open(this.#pathOf(entry.baseOffset), 'read')
    try {
      const leaderEpoch = this.#epochsAreWhole ? this.epochs.epochAt(start.offset) : this.epochs.latestEpoch
      this.#walk.begin(fd, { ...start, leaderEpoch, fileEnd: entry.bytes, offsets: 'exact' })
      const sound = this.#walkSegment(segment, recoveryPoint)
      if (sound || start.filePosition === 0 || segment.bytes > start.filePosition) return sound
      // Not one batch where the index sent us: look without it.
      this.notes.push(`segment ${entry.baseOffset}: its index does not fit: rebuilt from the log`)
      return this.#replayWithoutIndex(fd, entry, segment)
    } finally {
      this.#files.close(fd)
      segment.indexes = undefined
    }
  }

  #replayWithoutIndex(fd: Fd, entry: { baseOffset: number; bytes: number }, segment: Segment): boolean {
    const indexes = new SegmentIndexes()
    this.#indexed[this.#indexed.length - 1] = { segment, indexes, coveredBytes: -1 }
    segment.indexes = indexes
    segment.bytes = 0
    segment.nextOffset = entry.baseOffset
    segment.maxTimestampMs = -1
    this.nextOffset = entry.baseOffset
    this.fault = null
    this.lowerFault = null
    const start = { filePosition: 0, offset: entry.baseOffset, leaderEpoch: -1 }
    this.#walk.begin(fd, { ...start, fileEnd: entry.bytes, offsets: 'exact' })
    return this.#walkSegment(segment, this.#bounds.recoveryPoint)
  }

  #walkSegment(segment: Segment, recoveryPoint: number): boolean {
    const walk = this.#walk
    const { batch } = walk
    for (;;) {
      const expected = walk.nextOffset
      const isHashed = expected >= recoveryPoint
      const readBefore = walk.bytesRead
      const step = walk.step(isHashed ? 'hashed' : 'skimmed')
      this.scannedBytes += walk.bytesRead - readBefore
      if (step === 'end') return true
      if (step === 'fault') return this.#stopInSegment(walk.fault, expected < recoveryPoint)
      // A header that changed on the disk may send the walk past the recovery point, where a fault counts as a torn tail.
      if (!isHashed && walk.nextOffset > recoveryPoint && batch.computeCrc() !== batch.crc)
        return this.#stopInSegment('the checksum of the batch does not fit', true)
      const { nextOffset, batchBytes } = walk
      segment.note({ baseOffset: batch.baseOffset, nextOffset, batchBytes, maxTimestampMs: batch.maxTimestamp })
      this.nextOffset = walk.nextOffset
      if (walk.nextOffset > this.#bounds.syncedEnd)
        this.#unsyncedFrom ??= { baseOffset: segment.baseOffset, filePosition: segment.bytes - batchBytes }
      // Before the newest start that the file knows it knows better: a batch's epoch lies outside its checksum.
      if (batch.leaderEpoch > this.epochs.latestEpoch && batch.baseOffset >= this.epochs.latestStartOffset)
        this.epochs.add(batch.leaderEpoch, batch.baseOffset)
      // Not the records' own time: a producer of old data would be forgotten at once, and its retries become duplicates.
      if (batch.baseOffset >= this.#producersFrom) this.#replayProducer(segment, batch)
    }
  }

  #replayProducer(segment: Segment, batch: BatchView): void {
    const aborted = this.producers.replay(batch, Math.max(batch.maxTimestamp, this.#modifiedMs), markerOf(batch))
    if (aborted !== undefined) this.aborted.note(segment.baseOffset, aborted)
  }

  #stopInSegment(fault: string, isBelow: boolean): boolean {
    this.fault = fault
    if (isBelow) this.lowerFault = `below the recovery point, ${this.describePlace()}: ${fault}`
    return false
  }

  #stop(later: readonly { baseOffset: number; bytes: number }[], fault: string): void {
    this.fault = fault
    this.later.push(...later)
  }

  /**
   * The nearest place at or below `offset` where a batch is known to begin, and the indexes cut back to what is believed. Not past
   * what both files cover: after a power cut one may be newer than the other, and what lies between is in no largest timestamp.
   */
  #startOf(
    entry: { baseOffset: number; bytes: number },
    opened: { indexes: SegmentIndexes | undefined; coveredBytes: number },
    offset: number,
  ): { filePosition: number; offset: number; indexes: SegmentIndexes } {
    const fresh = { filePosition: 0, offset: entry.baseOffset, indexes: new SegmentIndexes() }
    const { indexes } = opened
    if (indexes === undefined || offset <= entry.baseOffset) return fresh
    let floor = indexes.offsets.floor(offset - entry.baseOffset)
    while (floor >= 0 && indexes.offsets.filePositionAt(floor) > opened.coveredBytes) floor--
    if (floor < 0) return fresh
    const relative = indexes.offsets.relativeOffsetAt(floor)
    const filePosition = indexes.offsets.filePositionAt(floor)
    indexes.offsets.truncateTo(filePosition)
    indexes.times.truncateTo(relative, filePosition)
    return { filePosition, offset: entry.baseOffset + relative, indexes }
  }

  // -- writing

  /** A last segment without one entry has no index files; older ones of a longer log must not outlive its cut. */
  #settleIndexes(segment: Segment, indexes: SegmentIndexes): void {
    const isLast = segment === this.segments[this.segments.length - 1]
    if (!isLast || segment.bytes > INDEX_INTERVAL_BYTES) {
      writeIndexes(this.#files, this.path, segment, indexes)
      return
    }
    for (const suffix of INDEX_SUFFIXES) {
      const name = segmentFileName(segment.baseOffset, suffix)
      if (this.#indexNames.has(name)) this.#removeQuietly(name)
    }
  }

  #settleEpochs(isPastCheckpoint: boolean): void {
    this.epochs.truncateTo(this.nextOffset)
    const wanted = encodeLeaderEpochs(this.epochs.toEntries())
    const path = `${this.path}/${LEADER_EPOCHS_FILE}`
    const found = readSmallFile(this.#files, path)
    if (this.epochs.count === 0 && found === undefined) return
    if (found === undefined && this.#bounds.recoveryPoint === 0) {
      // As long as no checkpoint has a recovery point, whatever is in the file is rebuilt: it may appear torn.
      this.#files.close(writeWholeFile(this.#files, path, wanted))
      this.#syncFile(LEADER_EPOCHS_FILE)
      this.#hasNewNames = true
    } else if (found === undefined || !bytesEqual(found, wanted)) replaceFile(this.#files, path, [wanted])
    else if (isPastCheckpoint) this.#syncFile(LEADER_EPOCHS_FILE)
  }

  #settleProducers(isPastCheckpoint: boolean): void {
    const end = this.nextOffset
    const { marks } = this.aborted
    // What producers were loaded from: a crash before the recovery's checkpoint is durable loads it again.
    const needed = Math.min(this.#bounds.producerSnapshotOffset, this.snapshotOffset)
    if (this.producers.count === 0 && marks.first < 0) this.snapshotOffset = -1
    else if (this.snapshotOffset !== end) {
      const name = producerSnapshotName(end)
      this.#files.close(writeWholeFile(this.#files, `${this.path}/${name}`, this.producers.encode(end, marks)))
      this.#syncFile(name)
      this.snapshotOffset = end
      this.#hasNewNames = true
    } else if (isPastCheckpoint) this.#syncFile(producerSnapshotName(end))
    // Those past the end belong to a future that is gone.
    for (const offset of this.#snapshots)
      if (offset > end || offset < needed || (offset === end && this.snapshotOffset < 0))
        this.#removeQuietly(producerSnapshotName(offset))
  }

  #syncFile(name: string): void {
    this.#syncs.addFile(`${this.path}/${name}`)
  }

  #pathOf(baseOffset: number): string {
    return `${this.path}/${segmentFileName(baseOffset, '.log')}`
  }

  #removeSegment(baseOffset: number): void {
    for (const suffix of SEGMENT_SUFFIXES) this.#removeQuietly(segmentFileName(baseOffset, suffix))
  }

  #removeQuietly(name: string): void {
    if (this.#files.stat(`${this.path}/${name}`).kind !== 'file') return
    this.#files.remove(`${this.path}/${name}`)
    this.#hasNewNames = true
  }
}
