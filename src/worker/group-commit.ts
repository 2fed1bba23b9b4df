/**
 * GroupCommit: fsync: group. What was written since the last sync began becomes durable together, and is acknowledged together. Topics
 * with fsync: interval take part when somebody waits for their sync all the same: a transaction's markers.
 *
 *   the group touches                                  synced
 *   at most journalThresholdPartitions partitions      their segments
 *   more, with small writes                            the shard's journal, which has a copy of what was written
 *   more, with large writes, or the journal is full    their segments: copying much costs more than flushing many files
 *   one that has bytes of fsync: interval unsynced     its segment: the journal would not have those, and later ones need them
 *
 * Thread      the shard
 * Ordering    segment written -> journal written (wide) -> fdatasync (disk thread) -> synced end written -> high watermark
 *             -> acknowledged. Group n+1 is appended while group n syncs
 * Invariants  G1 a member is in exactly one of #direct and #journaled; a direct one's segment sync covers its journaled bytes too
 *             G2 a journaled one is synced up to what the journal has of it: it may have turned to fsync: interval and gone on
 * Failure     of a sync: the scheduler's. The journal's write: fatal (R3)
 */
import type { Fd } from '../io/file-system.ts'
import type { CommitJournal } from '../log/commit-journal.ts'
import type { SyncedEndsFile } from '../log/synced-ends-file.ts'
import type { Offset } from '../model/ids.ts'
import { advanceSyncedEnd } from '../partition/partition-state.ts'
import type { PartitionAgent } from './partition-agent.ts'
import type { SyncJob } from './sync-scheduler.ts'
import { writeBounds } from './synced-bounds.ts'

/** A partition's share of a turn beyond which it is not copied to the journal. */
const JOURNALED_BYTES_MAX = 256 * 1024

export interface GroupCommitOptions {
  readonly journal: CommitJournal | undefined
  readonly syncedEnds: SyncedEndsFile
  readonly journalThresholdPartitions: number
  /** The synced end moved: the high watermark, answers and waiting fetches follow. */
  readonly onSynced: (partition: PartitionAgent) => void
}

interface Member {
  readonly partition: PartitionAgent
  readonly endOffset: Offset
  readonly appendedBytes: number
  readonly isJournaled: boolean
}

export class GroupCommit implements SyncJob {
  readonly #options: GroupCommitOptions
  readonly #direct = new Set<PartitionAgent>()
  readonly #journaled = new Map<PartitionAgent, Member>()
  #members: Member[] = []
  #journalSequence = -1
  /** Told when what was written to the journal and the synced ends before is durable; those of the sync under way. */
  #barriers: (() => void)[] = []
  #barriersUnderWay: (() => void)[] = []
  /** The last group was wide: expect the next to be, so that its first partitions go to the journal as well. */
  #wasWide = false

  constructor(options: GroupCommitOptions) {
    this.#options = options
  }

  /** A turn's writes of partitions whose sync is waited for. A StorageError of the journal is the shard's end. */
  onWritten(partitions: readonly PartitionAgent[]): void {
    const { journal, journalThresholdPartitions } = this.#options
    const width = this.#direct.size + this.#journaled.size + partitions.length
    const isWide = journal !== undefined && (this.#wasWide || width > journalThresholdPartitions)
    for (const partition of partitions) {
      if (this.#direct.has(partition)) continue
      if (isWide && this.#addToJournal(partition, journal))
        this.#journaled.set(partition, newMember(partition, partition.state.logEndOffset, true))
      else this.join(partition)
    }
    if (journal !== undefined && journal.stagedCount > 0) journal.writeStaged()
  }

  /** Nothing was written now, and what was before is waited for: the next sync has its segment. */
  join(partition: PartitionAgent): void {
    this.#journaled.delete(partition)
    this.#direct.add(partition)
  }

  /** `partition` ends: what of it was not synced is not this group's business any more. */
  forget(partition: PartitionAgent): void {
    this.#direct.delete(partition)
    this.#journaled.delete(partition)
  }

  /** Calls `done` when what the journal and the file of synced ends hold now is durable. */
  afterSync(done: () => void): void {
    this.#barriers.push(done)
  }

  hasWork(): boolean {
    return this.#direct.size > 0 || this.#journaled.size > 0 || this.#barriers.length > 0
  }

  begin(fds: Fd[]): void {
    const { journal, journalThresholdPartitions } = this.#options
    for (const partition of this.#direct) this.#members.push(newMember(partition, partition.log.beginSync(fds), false))
    for (const member of this.#journaled.values()) this.#members.push(member)
    for (const { partition } of this.#members) partition.isSyncing = true
    if (journal?.isDirty) this.#journalSequence = journal.beginSync(fds)
    if (this.#barriers.length > 0) fds.push(this.#options.syncedEnds.fd)
    this.#barriersUnderWay = this.#barriers
    this.#barriers = []
    this.#wasWide = this.#members.length > journalThresholdPartitions
    this.#direct.clear()
    this.#journaled.clear()
  }

  complete(): void {
    const members = this.#members
    this.#members = []
    if (this.#journalSequence !== -1) this.#options.journal!.completeSync(this.#journalSequence)
    this.#journalSequence = -1
    for (const { partition, endOffset, appendedBytes, isJournaled } of members) {
      partition.isSyncing = false
      if (isJournaled) partition.log.completeJournalSync(endOffset)
      else partition.log.completeSync(endOffset)
      advanceSyncedEnd(partition.state, endOffset, appendedBytes)
      this.#options.syncedEnds.set(partition.syncedSlot, endOffset)
    }
    writeBounds(this.#options.syncedEnds)
    for (const { partition } of members) this.#options.onSynced(partition)
    for (const done of this.#barriersUnderWay.splice(0)) done()
  }

  /** False when it is too much, does not fit, lies in two segments, or follows bytes that neither segment nor journal holds. */
  #addToJournal(partition: PartitionAgent, journal: CommitJournal): boolean {
    const { log, state, stagedBytes, stagedBatches } = partition
    if (stagedBytes > JOURNALED_BYTES_MAX || partition.hasUnsyncedInterval) return false
    const baseOffset = partition.stagedBaseOffset
    const place = log.locate(baseOffset, log.logEndOffset)
    const isOneRun = place.exact && place.endExact && place.fileEnd - place.filePosition === stagedBytes
    if (place.kind !== 'found' || !isOneRun) return false
    return journal.add({
      topicId: partition.topicId,
      partition: partition.partition,
      leaderEpoch: state.leaderEpoch,
      segmentBaseOffset: place.segment.baseOffset,
      filePosition: place.filePosition,
      baseOffset,
      nextOffset: log.logEndOffset,
      syncedEndOffset: log.syncedEndOffset,
      batches: stagedBatches,
    })
  }
}

function newMember(partition: PartitionAgent, endOffset: Offset, isJournaled: boolean): Member {
  return { partition, endOffset, appendedBytes: partition.state.appendedBytes, isJournaled }
}
