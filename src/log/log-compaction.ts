/**
 * LogCompaction: the compactions of one partition, as its shard sees them: what the pool is to rewrite, and the swap of what it wrote.
 *
 *   idle       nothing is under way
 *   rewriting  the pool writes <base>.log.cleaned; appends, reads, trims and truncations go on
 *   renamed    the new segments are .swap: they stand for the old ones from the next sync of the folder on
 *   swapped    the list has the new segments, under their own names; the folder is to be synced once more
 *
 * Owns        the phase, the clean end and its file
 * Thread      the partition's shard; a step renames some files, and never waits for the device
 * Invariants  LC1 one run at a time, and none before the swap of the last one is durable
 *             LC2 a segment that was cut, trimmed away or begun since the run began is not swapped: the run's work on it is dropped
 *             LC3 the clean end moves only when every segment of a run was swapped
 * Ordering    .cleaned synced (pool) -> .swap -> a checkpoint's sync of the folder -> old segments aside, .swap in place -> clean end
 *             -> the next checkpoint's sync
 * Failure     a run that failed is dropped; a storage fault of a rename is fatal, as for any other (R3)
 * Not here    when (compaction.ts), the rewriting (compaction-run.ts), unlinking what was set aside (the shard)
 */
import type { TopicConfig } from '../model/topic-config.ts'
import { ABORTED_PER_SEGMENT_MAX } from './aborted-index.ts'
import { numbersOf } from './aborted-lookup.ts'
import type { AbortedTransactions } from './aborted-transactions.ts'
import { CLEANER_CHECKPOINT_FILE, encodeCleanerCheckpoint, readCleanEnd } from './cleaner-checkpoint.ts'
import { type CompactionDecision, decideCompaction } from './compaction.ts'
import type { CompactedSegment, CompactionResult, CompactionTask } from './compaction-run.ts'
import { replaceListed } from './listed-file.ts'
import type { LogContext } from './log-context.ts'
import { removeIfThere } from './producer-snapshots.ts'
import { Segment } from './segment.ts'
import type { SegmentList } from './segment-list.ts'
import { setSegmentAside } from './segment-removal.ts'
import { removeCleaned, removeSwap, renameIntoPlace, renameToSwap } from './segment-swap.ts'
import type { UnsyncedFiles } from './unsynced-files.ts'

/** Aborted transactions that a run is told of, at most: some MiB; a run with more ends before them. */
const ABORTED_COUNT_MAX = 4 * ABORTED_PER_SEGMENT_MAX

type Phase = 'idle' | 'rewriting' | 'renamed' | 'swapped'

export interface CompactionState {
  readonly folder: string
  readonly lastIsActive: boolean
  /** Nothing at or past it may be rewritten: what is below is checkpointed, visible and decided. */
  readonly endOffset: number
  readonly nowMs: number
  readonly config: TopicConfig
  readonly aborted: AbortedTransactions
  readonly active: Segment | undefined
}

export class LogCompaction {
  readonly #context: LogContext
  readonly #segments: SegmentList
  readonly #unsynced: UnsyncedFiles
  #phase: Phase = 'idle'
  /** The phase when the checkpoint under way listed what it syncs. */
  #listedPhase: Phase = 'idle'
  #mayFinish = false
  /** −1 = its file was not read yet. */
  #cleanEnd = -1
  /** Segments with this key or a later one were made since the run began. */
  #keyLimit = 0
  /** The log was cut since: what the run says of its end is not true any more. */
  #wasCut = false
  #renamed: readonly CompactedSegment[] = []
  #nextCleanEnd = -1

  constructor(context: LogContext, segments: SegmentList, unsynced: UnsyncedFiles) {
    this.#context = context
    this.#segments = segments
    this.#unsynced = unsynced
  }

  /** Nothing in the folder is anybody's but the log's. */
  get isIdle(): boolean {
    return this.#phase === 'idle'
  }

  decide(state: CompactionState): CompactionDecision {
    const { folder, lastIsActive, endOffset, nowMs, config } = state
    return decideCompaction({
      ...{ segments: this.#segments.all, lastIsActive, endOffset, nowMs, config },
      cleanEnd: this.#readCleanEnd(folder),
    })
  }

  /** What the pool is to do now, if anything; finish() must follow. */
  begin(state: CompactionState, memoryBytesMax: number): CompactionTask | undefined {
    if (this.#phase !== 'idle') return undefined
    const { folder, nowMs, config } = state
    const decision = this.decide(state)
    if (!decision.isDue) return undefined
    const { fromOffset } = decision
    const span = { from: fromOffset, end: decision.toOffset, countMax: ABORTED_COUNT_MAX }
    const aborted = state.aborted.within(folder, state.active, span)
    const toOffset = this.#endBefore(aborted.endOffset, decision)
    if (toOffset <= fromOffset) return undefined
    this.#phase = 'rewriting'
    this.#keyLimit = this.#context.segmentKeys.next
    this.#wasCut = false
    return {
      ...{ folder, fromOffset, toOffset, cleanEnd: this.#cleanEnd, nowMs, memoryBytesMax },
      firstAborted: state.aborted.marks.first,
      aborted: numbersOf(aborted.entries),
      ...{ segmentBytes: config.segmentBytes, deleteRetentionMs: config.deleteRetentionMs },
    }
  }

  /** The last segment's end at or before `offset`, should that be less than what was decided. */
  #endBefore(offset: number, decision: CompactionDecision): number {
    if (offset >= decision.toOffset) return decision.toOffset
    let end = decision.fromOffset
    for (const { nextOffset } of this.#segments.within(decision.fromOffset, decision.toOffset))
      if (nextOffset <= offset) end = nextOffset
    return end
  }

  /** The pool is done, or has failed (undefined): what it wrote is given the name that counts. True: ask for a checkpoint. */
  finish(folder: string, result: CompactionResult | undefined): boolean {
    if (this.#phase !== 'rewriting') return false
    this.#phase = 'idle'
    if (result === undefined) return false
    const { files } = this.#context
    const wanted = result.segments.filter((segment) => this.#oldOf(segment) !== undefined)
    for (const segment of result.segments)
      if (!wanted.includes(segment)) removeCleaned(files, folder, segment.baseOffset)
    const isWhole = wanted.length === result.segments.length && !this.#wasCut
    this.#nextCleanEnd = isWhole ? result.cleanEnd : -1
    this.#renamed = wanted
    for (const segment of wanted) renameToSwap(files, folder, segment)
    if (wanted.length === 0) {
      this.#advanceCleanEnd(folder)
      return false
    }
    this.#unsynced.addEntry()
    this.#phase = 'renamed'
    return true
  }

  /** A checkpoint lists what it syncs. */
  onCheckpointBegun(): void {
    this.#listedPhase = this.#phase
  }

  /** That checkpoint is durable. */
  onCheckpointed(): void {
    if (this.#listedPhase === 'renamed' && this.#phase === 'renamed') this.#mayFinish = true
    if (this.#listedPhase === 'swapped' && this.#phase === 'swapped') this.#phase = 'idle'
    this.#listedPhase = 'idle'
  }

  /** Puts durable swaps in place; returns the paths of the old logs, to be removed, and from where on places in files are as before. */
  swap(folder: string): { readonly paths: string[]; readonly changedEnd: number } {
    const paths: string[] = []
    let changedEnd = -1
    if (!this.#mayFinish) return { paths, changedEnd }
    this.#mayFinish = false
    for (const compacted of this.#renamed) {
      const old = this.#oldOf(compacted)
      if (old === undefined) {
        this.#nextCleanEnd = -1
        removeSwap(this.#context.files, folder, compacted)
        continue
      }
      // From the back: a crash in between leaves the first one, whose name the new one takes.
      for (const segment of old.toReversed()) paths.push(setSegmentAside(this.#context, folder, segment))
      renameIntoPlace(this.#context.files, folder, compacted)
      this.#segments.replace(old, this.#segmentOf(compacted, old))
      changedEnd = compacted.nextOffset
    }
    this.#renamed = []
    this.#unsynced.addEntry()
    this.#phase = 'swapped'
    this.#advanceCleanEnd(folder)
    return { paths, changedEnd }
  }

  /** The log was cut at `end`: a swap that is not in place yet would bring back what went. */
  onTruncated(folder: string, end: number): void {
    this.#wasCut = true
    if (this.#phase === 'renamed') {
      for (const compacted of this.#renamed) removeSwap(this.#context.files, folder, compacted)
      this.#renamed = []
      this.#mayFinish = false
      this.#phase = 'swapped'
    }
    if (this.#readCleanEnd(folder) <= end) return
    this.#nextCleanEnd = end
    this.#advanceCleanEnd(folder)
  }

  /** The segments that a new one stands for; undefined when they are not what they were when the run began. */
  #oldOf(compacted: CompactedSegment): Segment[] | undefined {
    const { baseOffset, nextOffset } = compacted
    const old = this.#segments.within(baseOffset, nextOffset)
    const isSame =
      old[0]?.baseOffset === baseOffset &&
      old[old.length - 1]!.nextOffset === nextOffset &&
      old.every((segment) => segment.key < this.#keyLimit)
    return isSame ? old : undefined
  }

  #segmentOf(compacted: CompactedSegment, old: readonly Segment[]): Segment {
    const { baseOffset, nextOffset, bytes, maxTimestampMs } = compacted
    const createdMs = old.reduce((latest, segment) => Math.max(latest, segment.createdMs), 0)
    const segment = new Segment({ baseOffset, key: this.#context.segmentKeys.next++, createdMs })
    segment.nextOffset = nextOffset
    segment.bytes = bytes
    segment.maxTimestampMs = maxTimestampMs
    segment.indexedBytes = bytes
    return segment
  }

  #readCleanEnd(folder: string): number {
    if (this.#cleanEnd < 0) this.#cleanEnd = readCleanEnd(this.#context.files, folder)
    return this.#cleanEnd
  }

  #advanceCleanEnd(folder: string): void {
    if (this.#nextCleanEnd < 0) return
    this.#cleanEnd = this.#nextCleanEnd
    this.#nextCleanEnd = -1
    const path = `${folder}/${CLEANER_CHECKPOINT_FILE}`
    // An old one may be ahead of the truth, after a truncation: better none.
    if (!replaceListed(this.#context, this.#unsynced, path, encodeCleanerCheckpoint(this.#cleanEnd)))
      removeIfThere(this.#context, path)
  }
}
