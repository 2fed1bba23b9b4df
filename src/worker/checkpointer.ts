/**
 * Checkpointer: bounds what recovery must read. Every checkpointMs, or after checkpointBytes, or when the journal is half full.
 *
 *   step        synced by the disk thread
 *   partitions  indexes, snapshots and segments of the dirty ones, a few at a time
 *   file        the checkpoint under its temporary name; the last one of a clean stop with the catalogue
 *   folder      state/, after the rename
 *   done        the journal's older half is free again, condemned segments go, who asked is told
 *
 * Thread      the shard; each step writes to the page cache only
 * Invariants  K1 the file names every partition of the shard; each line is true before the file is durable
 *             K2 journal entries before the sequence that the file names have their bytes in segments synced by this checkpoint
 * Failure     no space: the checkpoint is given up and tried again later; anything else is fatal (R3)
 */
import type { Clock } from '../base/clock.ts'
import { type Fd, type FileSystem, StorageError } from '../io/file-system.ts'
import { type CatalogueEntry, encodeCatalogue } from '../log/catalogue-file.ts'
import { encodeCheckpoint } from '../log/checkpoint-file.ts'
import type { CommitJournal } from '../log/commit-journal.ts'
import { TEMPORARY_SUFFIX, writeFully } from '../log/durable-file.ts'
import type { PartitionCheckpoint } from '../log/recovered-partition.ts'
import { catalogueName, checkpointName } from '../log/state-files.ts'
import type { SyncedEndsFile } from '../log/synced-ends-file.ts'
import type { Offset } from '../model/ids.ts'
import { advanceSyncedEnd } from '../partition/partition-state.ts'
import type { PartitionAgent } from './partition-agent.ts'
import type { PartitionTable } from './partition-table.ts'
import type { SyncJob } from './sync-scheduler.ts'
import { writeBounds } from './synced-bounds.ts'

/** About as many files as one message to the disk thread holds: they are synced several at a time. */
const PARTITIONS_PER_STEP = 16

type Phase = 'idle' | 'partitions' | 'file' | 'folder'

export interface CheckpointerOptions {
  readonly files: FileSystem
  readonly clock: Clock
  /** The folder state/ of the data dir. */
  readonly stateFolder: string
  readonly incarnation: number
  readonly shard: number
  readonly partitions: PartitionTable
  readonly journal: CommitJournal | undefined
  readonly syncedEnds: SyncedEndsFile
  readonly checkpointMs: number
  readonly checkpointBytes: number
  readonly onSynced: (partition: PartitionAgent) => void
  readonly onCheckpointed: (partitions: readonly PartitionAgent[]) => void
  readonly onGivenUp: (reason: string) => void
}

interface Member {
  readonly partition: PartitionAgent
  readonly endOffset: Offset
  readonly appendedBytes: number
}

export class Checkpointer implements SyncJob {
  readonly #options: CheckpointerOptions
  #phase: Phase = 'idle'
  #nextMs: number
  #bytesSince = 0
  #isAsked = false
  #isLastAsked = false
  #isLast = false
  #holds = 0
  #waiting: (() => void)[] = []
  #nextWaiting: (() => void)[] = []
  #dirty: PartitionAgent[] = []
  #members: Member[] = []
  /** Why this checkpoint is given up as soon as the sync under way is over. */
  #spaceError: StorageError | undefined
  #journalSequence = 0
  #hasJournalTurn = false
  #lines: { readonly partition: PartitionAgent; readonly line: PartitionCheckpoint }[] = []
  /** Files under their temporary names, while they are synced. */
  #fds: Fd[] = []

  constructor(options: CheckpointerOptions) {
    this.#options = options
    this.#nextMs = options.clock.monotonicMs() + options.checkpointMs
  }

  get nextDeadlineMs(): number {
    return this.#phase === 'idle' && this.#holds === 0 ? this.#nextMs : Number.POSITIVE_INFINITY
  }

  onWritten(bytes: number): void {
    this.#bytesSince += bytes
  }

  /** The next checkpoint is the last: nothing is appended any more, and what it finds is written down for the next start. */
  askLast(done: () => void): void {
    this.#isLastAsked = true
    this.ask(done)
  }

  /** A whole checkpoint from now on; `done` is called when it is durable. */
  ask(done?: () => void): void {
    this.#isAsked = true
    if (done !== undefined) this.#nextWaiting.push(done)
  }

  /** Begins none until release(). False: one is under way. */
  hold(): boolean {
    if (this.#phase !== 'idle') return false
    this.#holds++
    return true
  }

  release(): void {
    this.#holds--
  }

  hasWork(nowMs: number): boolean {
    if (this.#phase !== 'idle') return true
    if (this.#holds > 0) return false
    const { journal, checkpointBytes } = this.#options
    return (
      this.#isAsked || nowMs >= this.#nextMs || this.#bytesSince >= checkpointBytes || journal?.wantsCheckpoint === true
    )
  }

  begin(fds: Fd[]): void {
    try {
      if (this.#phase === 'idle' && !this.#start()) return
      if (this.#phase === 'partitions') this.#beginPartitions(fds)
      else if (this.#phase === 'file') this.#beginFile(fds)
      else this.#beginFolder(fds)
    } catch (error) {
      if (!(error instanceof StorageError && error.isSpace)) throw error
      // Logs whose sync was begun wait for its end: complete() gives up after it.
      if (this.#phase === 'partitions') this.#spaceError = error
      else {
        fds.length = 0
        this.#giveUp(error)
      }
    }
  }

  complete(): void {
    if (this.#phase === 'partitions') this.#completePartitions()
    else if (this.#phase === 'file') this.#completeFile()
    else if (this.#phase === 'folder') this.#completeFolder()
  }

  /** `partition` ends: no line for it any more. */
  forget(partition: PartitionAgent): void {
    this.#dirty = this.#dirty.filter((other) => other !== partition)
    this.#lines = this.#lines.filter((entry) => entry.partition !== partition)
  }

  /** False when there is nothing that a checkpoint would say anew, and nobody asks for one. */
  #start(): boolean {
    const { partitions, journal, onCheckpointed } = this.#options
    const isLast = this.#isLastAsked
    // Those that went offline too (K2): what the journal holds of them was acknowledged.
    const dirty = [...partitions].filter(({ isDamaged, log }) => !isDamaged && (isLast || log.isDirty))
    // Deletes and trims fill a journal without making a log dirty: only a checkpoint makes room in it.
    const isAsked = this.#isAsked || this.#nextWaiting.length > 0 // also by those who waited for one that was given up
    const isNews = dirty.length > 0 || isAsked || this.#bytesSince > 0 || journal?.wantsCheckpoint === true
    if (!isNews) {
      this.#end()
      onCheckpointed([...partitions])
      return false
    }
    this.#isAsked = false
    this.#isLast = isLast
    this.#waiting = this.#nextWaiting
    this.#nextWaiting = []
    this.#bytesSince = 0
    // From here on entries go to the other half: everything before is in the segments that are synced next.
    const sequence = this.#hasJournalTurn ? undefined : journal?.beginCheckpoint()
    if (sequence !== undefined) {
      this.#hasJournalTurn = true
      this.#journalSequence = sequence
    }
    this.#dirty = dirty
    this.#phase = 'partitions'
    return true
  }

  #beginPartitions(fds: Fd[]): void {
    while (this.#members.length < PARTITIONS_PER_STEP) {
      const partition = this.#dirty.pop()
      if (partition === undefined) break
      if (this.#isLast && partition.state.role !== 'offline') partition.log.writeDerived()
      const endOffset = partition.log.beginCheckpoint(fds)
      partition.isSyncing = true
      this.#members.push({ partition, endOffset, appendedBytes: partition.state.appendedBytes })
    }
  }

  #completePartitions(): void {
    const { syncedEnds, onSynced } = this.#options
    const members = this.#members
    this.#members = []
    for (const { partition, endOffset, appendedBytes } of members) {
      partition.isSyncing = false
      partition.log.completeSync(endOffset)
      if (endOffset <= partition.state.syncedEndOffset) continue
      advanceSyncedEnd(partition.state, endOffset, appendedBytes)
      syncedEnds.set(partition.syncedSlot, endOffset)
    }
    writeBounds(syncedEnds)
    for (const { partition } of members) onSynced(partition)
    if (this.#spaceError !== undefined) this.#giveUp(this.#spaceError)
    else if (this.#dirty.length === 0) this.#phase = 'file'
  }

  #beginFile(fds: Fd[]): void {
    const { incarnation, shard, partitions } = this.#options
    this.#lines = []
    for (const partition of partitions)
      if (!partition.isDamaged) this.#lines.push({ partition, line: partition.log.checkpoint() })
    const lines = this.#lines.map(({ partition, line }) => ({
      ...line,
      syncedEndOffset: Math.max(line.recoveryPoint, partition.log.syncedEndOffset),
    }))
    const bytes = encodeCheckpoint({ incarnation, shard, journalSequence: this.#journalSequence, lines })
    this.#writeFile(this.#path(), bytes)
    if (this.#isLast) this.#writeFile(this.#cataloguePath(), this.#encodeCatalogue())
    fds.push(...this.#fds)
  }

  /** Partitions about which anything is not as the checkpoint says are left out: the next start looks into their folders. */
  #encodeCatalogue(): Uint8Array {
    const entries: CatalogueEntry[] = []
    for (const { partition } of this.#lines) {
      const recovered = partition.state.role === 'offline' ? undefined : partition.log.describeClean()
      if (recovered !== undefined)
        entries.push({ topicId: partition.topicId, partition: partition.partition, recovered })
    }
    return encodeCatalogue(this.#options.incarnation, entries)
  }

  #writeFile(path: string, bytes: Uint8Array): void {
    const { files } = this.#options
    const fd = files.open(path + TEMPORARY_SUFFIX, 'create')
    this.#fds.push(fd)
    files.truncate(fd, 0)
    writeFully(files, fd, [bytes], 0)
  }

  #completeFile(): void {
    const { files } = this.#options
    this.#closeFiles()
    files.rename(this.#path() + TEMPORARY_SUFFIX, this.#path())
    if (this.#isLast) files.rename(this.#cataloguePath() + TEMPORARY_SUFFIX, this.#cataloguePath())
    this.#phase = 'folder'
  }

  #beginFolder(fds: Fd[]): void {
    this.#fds.push(this.#options.files.open(this.#options.stateFolder, 'read'))
    fds.push(...this.#fds)
  }

  #completeFolder(): void {
    const { journal, onCheckpointed } = this.#options
    this.#closeFiles()
    if (this.#hasJournalTurn) journal!.completeCheckpoint()
    this.#hasJournalTurn = false
    const lines = this.#lines
    this.#lines = []
    for (const { partition, line } of lines) partition.log.completeCheckpoint(line)
    this.#end()
    onCheckpointed(lines.map(({ partition }) => partition))
    for (const done of this.#waiting.splice(0)) done()
  }

  #giveUp(error: StorageError): void {
    this.#closeFiles()
    this.#spaceError = undefined
    this.#dirty = []
    // The journal's turn stays begun: its older half is held until a checkpoint succeeds.
    this.#nextWaiting.push(...this.#waiting.splice(0))
    this.#isAsked = false
    this.#end()
    this.#options.onGivenUp(`${error.code}: ${error.message}`)
  }

  #end(): void {
    this.#phase = 'idle'
    this.#nextMs = this.#options.clock.monotonicMs() + this.#options.checkpointMs
  }

  #closeFiles(): void {
    for (const fd of this.#fds.splice(0)) this.#options.files.close(fd)
  }

  #cataloguePath(): string {
    const { stateFolder, incarnation, shard } = this.#options
    return `${stateFolder}/${catalogueName(incarnation, shard)}`
  }

  #path(): string {
    const { stateFolder, incarnation, shard } = this.#options
    return `${stateFolder}/${checkpointName(incarnation, shard)}`
  }
}
