/**
 * ProducerSnapshots: the producer state of one partition and its snapshot files.
 *
 * Owns        the ProducerState, loaded from the newest snapshot when it is first asked for: an idle partition has none in memory
 * Ordering    write at roll and checkpoint -> synced with the next sync -> the checkpoint names it -> older ones go
 * Limits      one snapshot per SNAPSHOT_INTERVAL_BYTES of log, besides rolls
 * Failure     a snapshot that recovery vouched for and that cannot be read: StorageError ECORRUPT, this partition's alone.
 *             No space, or no descriptor, for a new one: left out, recovery replays from an older one
 */
import { StorageError } from '../io/file-system.ts'
import type { AbortedMarks } from './aborted-index.ts'
import { readChecked } from './checked-file.ts'
import { isShortage, replaceListed } from './listed-file.ts'
import type { LogContext } from './log-context.ts'
import type { OpenTransactions } from './open-transactions.ts'
import { parseProducerSnapshotName, producerSnapshotName } from './producer-snapshot-file.ts'
import { type ProducerSnapshot, ProducerState } from './producer-state.ts'
import type { UnsyncedFiles } from './unsynced-files.ts'

/** Log bytes after which a checkpoint writes a new snapshot: what recovery may have to replay. */
export const SNAPSHOT_INTERVAL_BYTES = 4 * 1024 * 1024

export class ProducerSnapshots {
  readonly #context: LogContext
  readonly #transactions: OpenTransactions
  #state: ProducerState | undefined
  /** End offsets of the snapshots in the folder, ascending. */
  #offsets: number[]
  #bytesSince = 0

  /** `newestOffset`: of the snapshot that recovery left, -1 = there is none and no producer is known. */
  constructor(
    context: LogContext,
    options: { readonly newestOffset: number; readonly transactions: OpenTransactions },
  ) {
    const { newestOffset } = options
    this.#context = context
    this.#transactions = options.transactions
    this.#offsets = newestOffset < 0 ? [] : [newestOffset]
  }

  /** Of the newest snapshot; -1 = none. */
  get newestOffset(): number {
    return this.#offsets[this.#offsets.length - 1] ?? -1
  }

  /** In memory now, or undefined. */
  get loaded(): ProducerState | undefined {
    return this.#state
  }

  load(folder: string): ProducerState {
    this.#state ??= this.#read(folder)
    return this.#state
  }

  /** So many bytes were appended. */
  addBytes(bytes: number): void {
    this.#bytesSince += bytes
  }

  get isDue(): boolean {
    return this.newestOffset < 0 || this.#bytesSince >= SNAPSHOT_INTERVAL_BYTES
  }

  /** Writes the state as of `endOffset`, unless there is nothing to tell, or it is written already. */
  write(
    folder: string,
    endOffset: number,
    rest: { readonly unsynced: UnsyncedFiles; readonly aborted: AbortedMarks },
  ): void {
    if (this.newestOffset === endOffset) return
    const { unsynced, aborted } = rest
    const isNeeded = this.newestOffset >= 0 || aborted.first >= 0
    // Not in memory: nobody wrote with a producer id since the newest snapshot, which then still tells all.
    const state = isNeeded ? this.#loadNow(folder) : this.#state
    if (state === undefined || (state.count === 0 && !isNeeded)) return
    const path = `${folder}/${producerSnapshotName(endOffset)}`
    if (!replaceListed(this.#context, unsynced, path, state.encode(endOffset, aborted))) {
      removeIfThere(this.#context, path)
      return
    }
    this.#offsets.push(endOffset)
    this.#bytesSince = 0
  }

  /** The checkpoint that replays from `offset` is durable. */
  removeBefore(folder: string, offset: number): void {
    while (this.#offsets.length > 1 && this.#offsets[0]! < offset) {
      removeIfThere(this.#context, `${folder}/${producerSnapshotName(this.#offsets.shift()!)}`)
    }
  }

  /**
   * Puts a state rebuilt up to `endOffset` in place; snapshots past it go, those too that recovery left behind: once the log has grown over
   * such a one, it would be taken for the state of records that it never saw.
   */
  replace(folder: string, state: ProducerState, endOffset: number): void {
    const { files } = this.#context
    this.#offsets = this.#offsets.filter((offset) => offset <= endOffset)
    for (const name of files.stat(folder).kind === 'folder' ? files.list(folder) : []) {
      const offset = parseProducerSnapshotName(name)
      if (offset !== undefined && offset > endOffset) removeIfThere(this.#context, `${folder}/${name}`)
    }
    this.#state = state
    this.#bytesSince = SNAPSHOT_INTERVAL_BYTES
  }

  /** The newest snapshot at or before `offset` that can be read. */
  readAt(folder: string, offset: number): ProducerSnapshot | undefined {
    const transactions = this.#transactions
    for (const endOffset of this.#offsets.toReversed()) {
      if (endOffset > offset) continue
      const path = `${folder}/${producerSnapshotName(endOffset)}`
      const read = readChecked(this.#context.files, path, (bytes) => ProducerState.decode(bytes, { transactions }))
      if (read.kind === 'present') return read.value
    }
    return undefined
  }

  /** Forgets the state if a snapshot as of `endOffset` can bring it back. */
  relax(endOffset: number): void {
    if (this.newestOffset === endOffset || (this.newestOffset < 0 && this.#state?.count === 0)) this.#state = undefined
  }

  /** Undefined when there is no descriptor to read it with. */
  #loadNow(folder: string): ProducerState | undefined {
    try {
      return this.load(folder)
    } catch (error) {
      if (!isShortage(error)) throw error
      return undefined
    }
  }

  #read(folder: string): ProducerState {
    const transactions = this.#transactions
    if (this.newestOffset < 0) return new ProducerState({ transactions })
    const path = `${folder}/${producerSnapshotName(this.newestOffset)}`
    const read = readChecked(this.#context.files, path, (bytes) => ProducerState.decode(bytes, { transactions }))
    if (read.kind === 'present') return read.value.state
    throw new StorageError('ECORRUPT', `${path}: ${read.kind === 'absent' ? 'it is gone' : read.reason}`)
  }
}

/** Removes a file; that it is gone already is fine. */
export function removeIfThere(context: LogContext, path: string): void {
  context.openFiles.evict(path)
  try {
    context.files.remove(path)
  } catch (error) {
    if (!(error instanceof StorageError && error.code === 'ENOENT')) throw error
  }
}
