/**
 * PartitionAgent: one partition on the shard that owns it: its state, its log, and who waits for it.
 *
 * Owns      everything of one partition but its cached pages' memory
 * Thread    the shard
 * Closing   waits until no sync and no read of it is under way (isBusy): the disk thread holds its descriptors
 */
import type { Timed } from '../base/deadline-heap.ts'
import type { PartitionLog } from '../log/partition-log.ts'
import type { ErrorCode } from '../model/errors.ts'
import type { Offset, TopicId } from '../model/ids.ts'
import { DelayedProduce, type OwnAppend } from '../partition/delayed-produce.ts'
import type { PartitionState } from '../partition/partition-state.ts'
import { type CachedFile, newCachedFile, type PageCache } from './page-cache.ts'
import { newResidentMarks } from './resident-window.ts'

/** A produce whose batches are staged, or were appended before: answered when the turn's write is done. */
export interface StagedProduce {
  readonly requestId: number
  readonly acks: number
  readonly timeoutMs: number
  readonly baseOffset: Offset
  readonly nextOffset: Offset
  readonly logAppendTimeMs: number
  /** Of the shard's own appends: it is told instead of a client. */
  readonly own?: OwnAppend
  /** Of a follower's: it is told when the turn's write is done, and nobody else. */
  readonly replica?: ReplicaAppend
}

/** What came from a leader, for a partition that follows: told exactly once how the turn's write ended. */
export interface ReplicaAppend {
  onWritten(): void
  onFailed(error: ErrorCode, text: string): void
}

/** The period of fsync: interval, in the shard's heap while bytes wait to be synced. */
export interface FlushTimer extends Timed {
  readonly partition: PartitionAgent
}

export interface PartitionAgentOptions {
  readonly topicId: TopicId
  readonly partition: number
  readonly state: PartitionState
  readonly log: PartitionLog
}

export class PartitionAgent {
  readonly topicId: TopicId
  readonly partition: number
  readonly state: PartitionState
  readonly log: PartitionLog
  readonly produces = new DelayedProduce()
  readonly resident = newResidentMarks()
  readonly flushTimer: FlushTimer = { partition: this, deadlineMs: 0, heapIndex: -1 }
  readonly #files = new Map<unknown, CachedFile>()

  /** This turn's produces, and the bytes and records they staged. */
  readonly staged: StagedProduce[] = []
  stagedBytes = 0
  stagedBaseOffset = -1
  stagedRecords = 0
  /** Among this turn's is one of the shard's own: its sync is waited for also with fsync: interval. */
  hasStagedOwn = false
  /** The batches themselves, in the ring until the turn's write is done: the journal takes them too. */
  readonly stagedBatches: Uint8Array[] = []
  isTouched = false

  isSyncing = false
  /** Its slot of the synced-ends file. */
  syncedSlot = -1
  readsInFlight = 0
  isClosed = false
  /** It is being closed: what is in its log is the last that it takes. */
  isEnding = false
  /** Its log is about to be cut: nothing is appended meanwhile. */
  isCutting = false
  /** What state/ says under its name is of a log that was set aside: it takes nothing until a checkpoint has named it. */
  isUnnamed = false
  /** It was damaged when it was opened: nothing in its log object is true, no checkpoint names it. */
  isDamaged = false

  constructor(options: PartitionAgentOptions) {
    this.topicId = options.topicId
    this.partition = options.partition
    this.state = options.state
    this.log = options.log
  }

  get isBusy(): boolean {
    return this.isSyncing || this.readsInFlight > 0 || this.isTouched
  }

  /** It was written to under fsync: interval, and no sync that has begun since covers that. */
  get hasUnsyncedInterval(): boolean {
    return this.flushTimer.heapIndex !== -1
  }

  /** The cache's entry for the segment that `key` names; keys change when bytes may have. */
  fileOf(key: unknown): CachedFile {
    let file = this.#files.get(key)
    if (file === undefined) this.#files.set(key, (file = newCachedFile()))
    return file
  }

  /** Forgets segments none of whose pages are cached any more. */
  pruneFiles(): void {
    for (const [key, file] of this.#files) if (file.blocks.size === 0) this.#files.delete(key)
  }

  /** Forgets all pages: the partition goes, or its log was cut. */
  dropFiles(cache: PageCache): void {
    for (const file of this.#files.values()) cache.dropFile(file)
    this.#files.clear()
  }
}
