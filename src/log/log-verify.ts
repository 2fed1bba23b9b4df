/**
 * Verify: looks at every byte of a stopped data dir and says what is wrong.
 *
 * Thread      a process of its own (`npm run verify`), or a test; blocks
 * Invariants  nothing is written
 * Failure     StorageError, DataDirError (in use, unreadable identity)
 * Not here    mending it: log-repair.ts
 */
import type { FileSystem } from '../io/file-system.ts'
import { partitionFolder } from '../model/ids.ts'
import { AbortedCheck } from './aborted-check.ts'
import { NOTHING_ABORTED } from './aborted-index.ts'
import { BatchWalk, findBatchAfter } from './batch-walk.ts'
import { readChecked } from './checked-file.ts'
import {
  DataDirError,
  listPartitionFolders,
  lockHolder,
  type ProcessProbe,
  readIdentity,
  STATE_FOLDER,
} from './data-dir.ts'
import { readWholeFile } from './durable-file.ts'
import { SegmentIndexes } from './index-cache.ts'
import { type InspectedJournals, inspectJournals } from './journal-replay.ts'
import { decodeLeaderEpochs, LEADER_EPOCHS_FILE, LeaderEpochCache } from './leader-epoch-cache.ts'
import { OffsetIndex } from './offset-index.ts'
import { parseProducerSnapshotName, producerSnapshotName } from './producer-snapshot-file.ts'
import { ProducerState } from './producer-state.ts'
import {
  boundsByFolder,
  type PartitionBounds,
  planRecovery,
  type RecoveryPlan,
  unknownBounds,
} from './recovery-plan.ts'
import { parseSegmentFileName, segmentFileName } from './segment.ts'
import { type Finding, IndexCheck } from './segment-check.ts'
import { parseSwapFileName, type SwapSpan, swapFileName } from './segment-swap.ts'
import { TimeIndex } from './time-index.ts'

const EPOCHS_BYTES_MAX = 64 * 1024 * 1024

export interface VerifyOptions {
  readonly dataDir: string
  readonly probe: ProcessProbe
  readonly readBytes?: number
  /** Told of bytes that were looked at, for a progress bar. */
  readonly onBytes?: (bytes: number) => void
}

export interface VerifyReport {
  readonly findings: readonly Finding[]
  readonly partitions: number
  readonly segments: number
  readonly batches: number
  readonly bytes: number
}

/** Reads everything, changes nothing. */
export function verifyDataDir(files: FileSystem, options: VerifyOptions): VerifyReport {
  const { dataDir } = options
  const holder = lockHolder(files, dataDir, options.probe)
  if (holder !== undefined)
    throw new DataDirError('LOCKED', `the data dir '${dataDir}' is in use by process ${holder}: stop it first`)
  const identity = readIdentity(files, dataDir)
  if (identity === undefined) throw new DataDirError('NOT_A_DATA_DIR', `'${dataDir}' is no data dir`)
  const plan = planRecovery(files, { dataDir, incarnation: identity.incarnation + 1 })
  const journals = inspectJournals(files, plan)
  const verify = new DataDirVerify(files, plan, { ...options, held: journals.held })
  for (const note of plan.notes) verify.add({ kind: 'state', file: STATE_FOLDER, text: note })
  if (journals.damagedEntries > 0)
    verify.add({
      kind: 'damage',
      file: STATE_FOLDER,
      text: `${journals.damagedEntries} synced journal entries are lost`,
    })
  verify.run()
  return verify.report
}

export interface DataDirVerifyOptions extends Pick<VerifyOptions, 'readBytes' | 'onBytes'> {
  /** What journals that are not replayed yet will bring back. */
  readonly held?: InspectedJournals['held']
}

/** No batch's is less, whatever bits of it have changed. */
const LEAST_EPOCH = -(2 ** 31)

type FindingInput = Pick<Finding, 'kind' | 'file' | 'text'> & Partial<Finding>

/** What is known of a folder while its segments are walked. */
interface FolderContext {
  readonly name: string
  readonly bounds: PartitionBounds
  readonly epochs: LeaderEpochCache | undefined
  readonly aborted: AbortedCheck
}

/** Its parts, for a repair that looks at one partition after the other. */
export class DataDirVerify {
  readonly #files: FileSystem
  readonly #plan: RecoveryPlan
  readonly #walk: BatchWalk
  readonly #onBytes: (bytes: number) => void
  readonly #held: InspectedJournals['held']
  readonly #findings: Finding[] = []
  readonly #counts = { partitions: 0, segments: 0, batches: 0, bytes: 0 }

  constructor(files: FileSystem, plan: RecoveryPlan, options: DataDirVerifyOptions = {}) {
    this.#files = files
    this.#plan = plan
    this.#walk = new BatchWalk(files, options.readBytes)
    this.#onBytes = options.onBytes ?? (() => {})
    this.#held = options.held ?? new Map()
  }

  get report(): VerifyReport {
    return { findings: this.#findings, ...this.#counts }
  }

  add(finding: FindingInput): void {
    this.#findings.push({ filePosition: 0, fromOffset: -1, toOffset: -1, ...finding })
  }

  run(): void {
    const { dataDir, unnamedLogStart } = this.#plan
    const bounds = boundsByFolder(this.#plan)
    const folders = listPartitionFolders(this.#files, dataDir)
    for (const { name, topicId, partition } of folders)
      this.#checkFolder(name, bounds.get(name) ?? unknownBounds(topicId, partition, unnamedLogStart))
    const present = new Set(folders.map((folder) => folder.name))
    for (const [name, wanted] of bounds)
      if (!present.has(name) && wanted.syncedEnd > Math.max(0, wanted.logStartOffset))
        this.#addLost(name, wanted, {
          ...{ fromOffset: Math.max(0, wanted.logStartOffset), toOffset: wanted.syncedEnd },
          text: `is missing, offsets up to ${wanted.syncedEnd} were acknowledged`,
        })
  }

  /** One that has a folder. */
  checkPartition(bounds: PartitionBounds): void {
    this.#checkFolder(partitionFolder(bounds.topicId, bounds.partition), bounds)
  }

  #checkFolder(name: string, bounds: PartitionBounds): void {
    this.#counts.partitions++
    const path = `${this.#plan.dataDir}/${name}`
    const names = this.#files.list(path)
    const bases: number[] = []
    const swaps = new Map<number, SwapSpan>()
    for (const entry of names) {
      const span = parseSwapFileName(entry)
      if (span !== undefined) swaps.set(span.baseOffset, span)
      const parsed = parseSegmentFileName(entry)
      if (parsed?.suffix === '.log') bases.push(parsed.baseOffset)
    }
    // A swap stands for the segments within it, whatever is left of them.
    for (const base of swaps.keys()) if (!bases.includes(base)) bases.push(base)
    bases.sort((left, right) => left - right)
    let expected = Math.max(0, bounds.logStartOffset)
    if (bases[0] !== undefined && (bounds.logStartOffset < 0 || bases[0] <= expected)) expected = bases[0]
    const context = {
      name,
      bounds,
      epochs: this.#readEpochs(name),
      aborted: this.#abortedCheck(name, bounds, swaps.size > 0),
    }
    let swapEnd = 0
    for (const [index, base] of bases.entries()) {
      const nextBase = bases[index + 1] ?? -1
      const swap = swaps.get(base)
      if (swap !== undefined) expected = swapEnd = this.#passSwap(name, swap)
      // It was replaced: by a swap, or by the one before it, which a compaction made of both.
      if (base < swapEnd || (base < expected && nextBase >= 0)) continue
      if (base !== expected)
        this.#addLost(name, bounds, {
          ...{ file: `${name}/${segmentFileName(base, '.log')}`, fromOffset: expected, toOffset: base },
          text: `offsets ${expected} to ${base} have no segment`,
        })
      expected = this.#checkSegment(base, context, nextBase)
    }
    if (expected < bounds.syncedEnd)
      this.#addLost(name, bounds, {
        ...{ fromOffset: expected, toOffset: bounds.syncedEnd },
        text: `the log ends at offset ${expected}, offsets up to ${bounds.syncedEnd} were acknowledged`,
      })
    this.#checkSnapshots(name, names, expected)
  }

  /** The next recovery finishes it; answers where it ends. */
  #passSwap(name: string, swap: SwapSpan): number {
    const { baseOffset: fromOffset, nextOffset: toOffset } = swap
    const text = 'a compaction was interrupted: the next start finishes it'
    this.add({ kind: 'unsettled', file: `${name}/${swapFileName(swap)}`, fromOffset, toOffset, text })
    return toOffset
  }

  /**
   * Damage, or, past every bound, what the next recovery will judge; what a journal holds is not lost, and below the log start nothing is
   * missed: retention's work that a crash interrupted, or a record that nobody may read any more.
   */
  #addLost(
    name: string,
    bounds: PartitionBounds,
    finding: Omit<FindingInput, 'kind' | 'file'> & { file?: string },
  ): void {
    const { fromOffset = 0, toOffset = -1 } = finding
    const bound = Math.max(bounds.syncedEnd, bounds.recoveryPoint)
    const end = toOffset < 0 ? bound : toOffset
    const isTrimmed = end > fromOffset && end <= bounds.logStartOffset
    const isHeld = this.#held.get(name)?.some(({ from, to }) => from <= fromOffset && to >= end) === true
    const rest = isHeld ? '; the journal has them: the next start writes them back' : ''
    const text = `${finding.text}${isTrimmed ? ', below the log start: nothing is lost by it' : rest}`
    const kind = fromOffset < bound && !isHeld && !isTrimmed ? 'damage' : 'unsettled'
    this.add({ ...finding, kind, text, file: finding.file ?? name })
  }

  /** Walks one segment; goes on behind damage. Returns the offset after its last sound batch. `nextBase`: of the next one; -1 = the last. */
  #checkSegment(base: number, context: FolderContext, nextBase: number): number {
    const { name, bounds, epochs, aborted } = context
    const path = `${this.#plan.dataDir}/${name}`
    const file = `${name}/${segmentFileName(base, '.log')}`
    const fd = this.#files.open(`${path}/${segmentFileName(base, '.log')}`, 'read')
    const fileEnd = this.#files.sizeOf(fd)
    let indexes = this.#readIndexes(name, base, fileEnd)
    this.#counts.segments++
    this.#counts.bytes += fileEnd
    const walk = this.#walk
    walk.begin(fd, { offset: base, leaderEpoch: -1, filePosition: 0, fileEnd, offsets: 'exact' })
    try {
      for (;;) {
        // Behind the recovery point recovery reads the epochs from the batches, and below the log's start nobody asks for them:
        // there the file need not know them. Where it does, a batch is held against it alone: its epoch is outside its checksum.
        const isEpochKnown =
          epochs !== undefined && walk.nextOffset >= bounds.logStartOffset && walk.nextOffset < bounds.recoveryPoint
        if (isEpochKnown) walk.leaderEpoch = LEAST_EPOCH
        const step = walk.step('hashed')
        if (step === 'end') break
        if (step === 'batch') {
          this.#counts.batches++
          this.#onBytes(walk.batchBytes)
          indexes?.see(walk.batch, walk.filePosition)
          aborted.see(walk.batch)
          if (isEpochKnown) walk.leaderEpoch = this.#checkEpoch(file, walk, epochs)
          continue
        }
        // What is not readable cannot be held against the index, which may be what lets a start pass by it.
        indexes = undefined
        const { filePosition, nextOffset, fault, leaderEpoch } = walk
        const next = findBatchAfter(this.#files, { fd, filePosition, fileEnd, offset: nextOffset - 1, leaderEpoch })
        const resumeAt = typeof next === 'number' ? next : fileEnd
        const resumeOffset = typeof next === 'number' ? this.#offsetAt(fd, next, nextOffset) : nextBase
        const text = `${fault}; ${resumeAt - filePosition} bytes are not readable`
        this.#addLost(name, bounds, { file, filePosition, fromOffset: nextOffset, toOffset: resumeOffset, text })
        if (typeof next !== 'number') break
        walk.begin(fd, { offset: resumeOffset, leaderEpoch, filePosition: next, fileEnd, offsets: 'exact' })
      }
    } finally {
      this.#files.close(fd)
    }
    const fault = aborted.endSegment({ baseOffset: base, nextOffset: walk.nextOffset, bytes: fileEnd })
    if (fault !== undefined)
      this.add({ kind: 'rebuildable', file: `${name}/${segmentFileName(base, '.txnindex')}`, text: fault })
    if (indexes?.fault !== undefined)
      this.add({ kind: 'rebuildable', file: `${name}/${segmentFileName(base, '.index')}`, text: indexes.fault })
    return walk.nextOffset
  }

  #offsetAt(fd: number, filePosition: number, fallback: number): number {
    const bytes = new Uint8Array(8)
    if (this.#files.read(fd, bytes, filePosition) < 8) return fallback
    return new DataView(bytes.buffer).getInt32(0) * 0x1_0000_0000 + new DataView(bytes.buffer).getUint32(4)
  }

  /** Answers the epoch of the batch, whatever it says itself. */
  #checkEpoch(file: string, walk: BatchWalk, epochs: LeaderEpochCache): number {
    const { baseOffset: fromOffset, leaderEpoch: found } = walk.batch
    const leaderEpoch = epochs.epochAt(fromOffset)
    if (leaderEpoch === found) return found
    const { filePosition, nextOffset: toOffset } = walk
    this.add({
      ...{ kind: 'rebuildable', file, filePosition, fromOffset, toOffset },
      text: `the batch has leader epoch ${found}, ${LEADER_EPOCHS_FILE} says ${leaderEpoch}`,
      ...(leaderEpoch < 0 ? {} : { leaderEpoch }),
    })
    return leaderEpoch < 0 ? found : leaderEpoch
  }

  #readIndexes(name: string, base: number, logBytes: number): IndexCheck | undefined {
    const folder = `${this.#plan.dataDir}/${name}`
    const indexFile = segmentFileName(base, '.index')
    const timeFile = segmentFileName(base, '.timeindex')
    const offsets = readChecked(this.#files, `${folder}/${indexFile}`, OffsetIndex.decode)
    const times = readChecked(this.#files, `${folder}/${timeFile}`, TimeIndex.decode)
    const fault = (file: string, text: string): void => this.add({ kind: 'rebuildable', file: `${name}/${file}`, text })
    if (offsets.kind === 'unreadable') fault(indexFile, offsets.reason)
    if (times.kind === 'unreadable') fault(timeFile, times.reason)
    if (offsets.kind !== 'present') return undefined
    const { meta } = offsets.value
    if (meta.baseOffset !== base) fault(indexFile, `it is of the segment at ${meta.baseOffset}`)
    if (meta.coveredBytes > logBytes) fault(indexFile, `it covers ${meta.coveredBytes} bytes of a log of ${logBytes}`)
    const timeIndex = times.kind === 'present' ? times.value.index : new TimeIndex()
    return meta.baseOffset === base
      ? new IndexCheck(new SegmentIndexes(offsets.value.index, timeIndex), base)
      : undefined
  }

  /** By the producer snapshot that the checkpoint names; without one, or with swaps still to be finished, nothing is relied on. */
  #abortedCheck(name: string, bounds: PartitionBounds, hasSwaps: boolean): AbortedCheck {
    const folder = `${this.#plan.dataDir}/${name}`
    const snapshotOffset = bounds.producerSnapshotOffset
    const path = `${folder}/${producerSnapshotName(snapshotOffset)}`
    const answer =
      snapshotOffset < 0 ? undefined : readChecked(this.#files, path, (bytes) => ProducerState.decode(bytes))
    const marks = answer?.kind === 'present' && !hasSwaps ? answer.value.aborted : NOTHING_ABORTED
    return new AbortedCheck(this.#files, { folder, snapshotOffset, marks })
  }

  #readEpochs(name: string): LeaderEpochCache | undefined {
    const file = `${name}/${LEADER_EPOCHS_FILE}`
    const answer = readWholeFile(this.#files, `${this.#plan.dataDir}/${file}`, EPOCHS_BYTES_MAX)
    if (answer.kind === 'absent') return undefined
    const decoded = answer.kind === 'present' ? decodeLeaderEpochs(answer.bytes) : answer
    if (decoded.kind === 'present') return new LeaderEpochCache(decoded.value.entries)
    if (decoded.kind === 'unreadable') this.add({ kind: 'rebuildable', file, text: decoded.reason })
    return undefined
  }

  #checkSnapshots(name: string, names: readonly string[], logEnd: number): void {
    for (const entry of names) {
      const offset = parseProducerSnapshotName(entry)
      if (offset === undefined) continue
      const path = `${this.#plan.dataDir}/${name}/${entry}`
      const answer = readChecked(this.#files, path, (bytes) => ProducerState.decode(bytes))
      const fault = (text: string): void => this.add({ kind: 'rebuildable', file: `${name}/${entry}`, text })
      if (answer.kind === 'unreadable') fault(answer.reason)
      else if (answer.kind === 'present' && answer.value.endOffset !== offset)
        fault(`it says that it is of offset ${answer.value.endOffset}`)
      else if (offset > logEnd) fault(`it is of offset ${offset}, the log ends at ${logEnd}`)
    }
  }
}
