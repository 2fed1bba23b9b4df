/**
 * CommitJournal: one device flush for a group that touches many partitions.
 *
 * Owns        two preallocated files of one shard and one start, `<incarnation>-<shard>.journal-0` and `-1`: one takes entries,
 *             the other waits for a checkpoint and is then taken again
 * Thread      the shard; its disk thread syncs the descriptors of beginSync()
 * Invariants  J3 sequences have no gaps over both files; the checkpoint names the first one it does not cover
 *             J4 a file is written from its start again only after the checkpoint that covers all of it is durable
 * Ordering    segments written -> add() … -> writeStaged() -> disk thread syncs -> completeSync() -> acknowledge
 *             beginCheckpoint() -> segments synced -> checkpoint file durable -> completeCheckpoint()
 * Limits      full is an answer: the shard syncs the segments instead, which is always right, and checkpoints soon.
 *             Truncations, deletes and log starts may use a reserve at the end
 * Failure     StorageError: fatal for the shard (R3)
 * Format      journal-format.ts
 */
import { assert } from '../base/assert.ts'
import { crc32c } from '../base/crc32c.ts'
import type { Fd, FileSystem } from '../io/file-system.ts'
import type { TopicId } from '../model/ids.ts'
import { writeFully } from './durable-file.ts'
import {
  BATCH_COVERED_BYTES,
  encodeJournalFileHeader,
  JOURNAL_ENTRY_ALIGN,
  JOURNAL_ENTRY_HEADER_BYTES,
  JOURNAL_FILE_HEADER_BYTES,
  JOURNAL_GROUP_ALIGN,
  type JournalEntryFields,
  type JournalKey,
  JournalKind,
  sealJournalEntry,
  writeJournalEntry,
} from './journal-format.ts'
import { journalName } from './state-files.ts'

/** Both files together. */
export const JOURNAL_BYTES_DEFAULT = 64 * 1024 * 1024
export const JOURNAL_BYTES_MIN = 256 * 1024
/** Kept for entries that are no batches. */
const RESERVE_BYTES = 32 * 1024
const HEADERS_FIRST = 64

const PADDING = Array.from({ length: JOURNAL_GROUP_ALIGN }, (_, bytes) => new Uint8Array(bytes))

export interface CommitJournalOptions {
  readonly files: FileSystem
  /** The folder state/ of the data dir. */
  readonly folder: string
  readonly incarnation: number
  readonly shard: number
  /** Both files together. */
  readonly bytes?: number
  /** By chance; see journal-format.ts J1. */
  readonly key: JournalKey
}

/** Batches of one partition that lie one after the other in one segment file. */
export interface JournalBatches {
  readonly topicId: TopicId
  readonly partition: number
  readonly leaderEpoch: number
  readonly segmentBaseOffset: number
  readonly filePosition: number
  readonly baseOffset: number
  readonly nextOffset: number
  readonly syncedEndOffset: number
  /** One whole, stamped batch each; kept until writeStaged(). */
  readonly batches: readonly Uint8Array[]
}

export interface JournalChange {
  readonly topicId: TopicId
  readonly partition: number
  /** truncate: the new log end; log-start: the new start. */
  readonly offset: number
  readonly syncedEndOffset: number
}

interface Half {
  readonly fd: Fd
  /** First sequence that is written to this half since it was taken; Infinity: none yet. */
  end: number
  isSynced: boolean
  /** Holds entries that no durable checkpoint covers. */
  isHeld: boolean
}

export class CommitJournal {
  readonly #files: FileSystem
  readonly #key: JournalKey
  readonly #halfBytes: number
  readonly #halves: readonly [Half, Half]
  #active = 0
  #nextSequence = 0
  #syncedSequence = 0
  #isCheckpointing = false
  // What is staged: headers in one slab, and the buffers of one vectored write in order.
  #headers = new Uint8Array(HEADERS_FIRST * JOURNAL_ENTRY_HEADER_BYTES)
  #headersView = new DataView(this.#headers.buffer)
  #stagedEntries: number[] = []
  #stagedBuffers: Uint8Array[] = []
  #stagedBytes = 0

  private constructor(files: FileSystem, key: JournalKey, halfBytes: number, fds: readonly [Fd, Fd]) {
    this.#files = files
    this.#key = key
    this.#halfBytes = halfBytes
    const half = (fd: Fd): Half => ({ fd, end: JOURNAL_FILE_HEADER_BYTES, isSynced: true, isHeld: false })
    this.#halves = [half(fds[0]), half(fds[1])]
  }

  /** Makes both files, durably, before the shard serves. Throws StorageError, ENOSPC too. */
  static create(options: CommitJournalOptions): CommitJournal {
    const { files, folder, incarnation, shard, key } = options
    const bytes = options.bytes ?? JOURNAL_BYTES_DEFAULT
    assert(bytes >= JOURNAL_BYTES_MIN, `a journal of ${bytes} bytes is smaller than ${JOURNAL_BYTES_MIN}`)
    const halfBytes = Math.floor(bytes / 2 / JOURNAL_GROUP_ALIGN) * JOURNAL_GROUP_ALIGN
    const fds: Fd[] = []
    try {
      for (const half of [0, 1]) {
        const path = `${folder}/${journalName(incarnation, shard, half)}`
        const fd = files.open(path, 'create-new')
        fds.push(fd)
        files.allocate(fd, halfBytes)
        writeFully(files, fd, [encodeJournalFileHeader({ incarnation, shard, half, key, fileBytes: halfBytes })], 0)
        files.fsync(fd)
      }
      files.syncFolder(folder)
    } catch (error) {
      for (const fd of fds) files.close(fd)
      throw error
    }
    return new CommitJournal(files, key, halfBytes, [fds[0]!, fds[1]!])
  }

  /** Stages the batches; false: no room, nothing is staged: sync the segments of this group instead. */
  add(entry: JournalBatches): boolean {
    let payloadBytes = 0
    for (const batch of entry.batches) payloadBytes += batch.length
    if (!this.#fits(payloadBytes, RESERVE_BYTES)) return false
    let payloadCrc = 0
    for (const batch of entry.batches) payloadCrc = crc32c(batch.subarray(0, BATCH_COVERED_BYTES), payloadCrc)
    const { topicId, partition, leaderEpoch, segmentBaseOffset, filePosition } = entry
    const { baseOffset, nextOffset, syncedEndOffset } = entry
    this.#stage(
      {
        kind: JournalKind.BATCHES,
        topicId,
        partition,
        leaderEpoch,
        segmentBaseOffset,
        filePosition,
        baseOffset,
        nextOffset,
        syncedEndOffset,
        payloadBytes,
        payloadCrc,
        key: this.#key,
        sequence: this.#nextSequence + this.#stagedEntries.length,
        syncedSequence: this.#syncedSequence,
      },
      entry.batches,
    )
    return true
  }

  /** The log's suffix from `offset` on is gone: its earlier entries must not come back. False: no room, checkpoint first. */
  addTruncate(change: JournalChange): boolean {
    return this.#addChange(JournalKind.TRUNCATE, change)
  }

  /** The partition is gone: none of its earlier entries may come back. False: no room, checkpoint first. */
  addDelete(change: Omit<JournalChange, 'offset' | 'syncedEndOffset'>): boolean {
    return this.#addChange(JournalKind.DELETE, { ...change, offset: 0, syncedEndOffset: 0 })
  }

  /** Makes an advanced log start durable before the next checkpoint. False: no room, checkpoint first. */
  addLogStart(change: JournalChange): boolean {
    return this.#addChange(JournalKind.LOG_START, change)
  }

  /** Entries that writeStaged() would write. */
  get stagedCount(): number {
    return this.#stagedEntries.length
  }

  /** Writes the staged group with one vectored write. A StorageError is fatal: the sequence would have a gap. */
  writeStaged(): void {
    if (this.#stagedEntries.length === 0) return
    const half = this.#halves[this.#active]!
    const padding = -this.#stagedBytes & (JOURNAL_GROUP_ALIGN - 1)
    if (padding > 0) this.#stagedBuffers.push(PADDING[padding]!)
    const count = this.#stagedEntries.length
    for (let index = 0; index < count; index++) {
      const entryBytes = this.#stagedEntries[index]! + (index === count - 1 ? padding : 0)
      sealJournalEntry(this.#headers, this.#headersView, index * JOURNAL_ENTRY_HEADER_BYTES, entryBytes)
    }
    assert(half.end + this.#stagedBytes + padding <= this.#halfBytes, 'a journal group does not fit its file')
    writeFully(this.#files, half.fd, this.#stagedBuffers, half.end)
    half.end += this.#stagedBytes + padding
    half.isSynced = false
    half.isHeld = true
    this.#nextSequence += count
    this.dropStaged()
  }

  dropStaged(): void {
    this.#stagedEntries.length = 0
    this.#stagedBuffers.length = 0
    this.#stagedBytes = 0
  }

  /** True when something was written that is not synced: the next group's sync must take the journal along. */
  get isDirty(): boolean {
    return !this.#halves[0].isSynced || !this.#halves[1].isSynced
  }

  /** Pushes the descriptors to sync; answers the sequence that is safe once they are. */
  beginSync(fds: Fd[]): number {
    // The older half first: an entry must not outlive one that was written before it.
    for (const half of [this.#halves[1 - this.#active]!, this.#halves[this.#active]!])
      if (!half.isSynced) {
        fds.push(half.fd)
        half.isSynced = true
      }
    return this.#nextSequence
  }

  completeSync(sequence: number): void {
    assert(
      sequence <= this.#nextSequence,
      `journal sequence ${sequence} is said to be synced, next is ${this.#nextSequence}`,
    )
    if (sequence > this.#syncedSequence) this.#syncedSequence = sequence
  }

  /**
   * Turns to the other file; answers the first sequence that the coming checkpoint does not cover, or undefined while
   * the last one is not complete. Every entry so far has its bytes in the segment files already.
   */
  beginCheckpoint(): number | undefined {
    assert(this.#stagedEntries.length === 0, 'a journal checkpoint begins between groups')
    if (this.#isCheckpointing || this.#halves[1 - this.#active]!.isHeld) return undefined
    this.#isCheckpointing = true
    if (this.#halves[this.#active]!.isHeld) {
      this.#active = 1 - this.#active
      const half = this.#halves[this.#active]!
      half.end = JOURNAL_FILE_HEADER_BYTES
    }
    return this.#nextSequence
  }

  /** The checkpoint with that sequence is durable: the other file may be taken again. */
  completeCheckpoint(): void {
    assert(this.#isCheckpointing, 'no journal checkpoint was begun')
    this.#isCheckpointing = false
    this.#halves[1 - this.#active]!.isHeld = false
  }

  /** Bytes of the file that takes entries which are in use: checkpoint when it is half full. */
  get usedBytes(): number {
    return this.#halves[this.#active]!.end - JOURNAL_FILE_HEADER_BYTES
  }

  get capacityBytes(): number {
    return this.#halfBytes - JOURNAL_FILE_HEADER_BYTES
  }

  /** True when the shard should begin a checkpoint. */
  get wantsCheckpoint(): boolean {
    return !this.#isCheckpointing && this.usedBytes * 2 > this.capacityBytes
  }

  close(): void {
    for (const half of this.#halves) this.#files.close(half.fd)
  }

  #addChange(kind: JournalKind, change: JournalChange): boolean {
    if (!this.#fits(0, 0)) return false
    const { topicId, partition, offset, syncedEndOffset } = change
    this.#stage(
      {
        ...{ kind, topicId, partition, leaderEpoch: -1, segmentBaseOffset: 0, filePosition: 0, key: this.#key },
        ...{ baseOffset: offset, nextOffset: offset, syncedEndOffset, payloadBytes: 0, payloadCrc: 0 },
        ...{ sequence: this.#nextSequence + this.#stagedEntries.length, syncedSequence: this.#syncedSequence },
      },
      [],
    )
    return true
  }

  #fits(payloadBytes: number, reserveBytes: number): boolean {
    const entryBytes = alignUp(JOURNAL_ENTRY_HEADER_BYTES + payloadBytes, JOURNAL_ENTRY_ALIGN)
    const end = this.#halves[this.#active]!.end + alignUp(this.#stagedBytes + entryBytes, JOURNAL_GROUP_ALIGN)
    return end <= this.#halfBytes - reserveBytes
  }

  #stage(fields: JournalEntryFields, batches: readonly Uint8Array[]): void {
    const at = this.#stagedEntries.length * JOURNAL_ENTRY_HEADER_BYTES
    if (at === this.#headers.length) this.#growHeaders()
    writeJournalEntry(this.#headers, this.#headersView, at, fields)
    this.#stagedBuffers.push(this.#headers.subarray(at, at + JOURNAL_ENTRY_HEADER_BYTES))
    for (const batch of batches) this.#stagedBuffers.push(batch)
    const bytes = JOURNAL_ENTRY_HEADER_BYTES + fields.payloadBytes
    const padding = -bytes & (JOURNAL_ENTRY_ALIGN - 1)
    if (padding > 0) this.#stagedBuffers.push(PADDING[padding]!)
    this.#stagedEntries.push(bytes + padding)
    this.#stagedBytes += bytes + padding
  }

  #growHeaders(): void {
    const old = this.#headers
    this.#headers = new Uint8Array(old.length * 2)
    this.#headers.set(old)
    this.#headersView = new DataView(this.#headers.buffer)
    // Staged buffers look at the old slab: point them at the new one.
    for (let index = 0; index < this.#stagedBuffers.length; index++) {
      const buffer = this.#stagedBuffers[index]!
      if (buffer.buffer === old.buffer)
        this.#stagedBuffers[index] = this.#headers.subarray(buffer.byteOffset, buffer.byteOffset + buffer.length)
    }
  }
}

function alignUp(bytes: number, align: number): number {
  return Math.ceil(bytes / align) * align
}
