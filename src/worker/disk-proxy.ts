/**
 * DiskProxy: the shard's end of the disk thread: what is asked, what is under way, who hears the answer.
 *
 * Thread      the shard
 * Ordering    a sync of many descriptors goes out in pieces of SYNC_FDS_MAX; the listener hears once, after the last or the first
 *             failure
 * Limits      readsInFlightMax: read() answers false beyond it; a read is known by its page, which has one read at a time
 * Failure     a sync's failure is told once and the rest of its pieces is not sent
 */
import { assert } from '../base/assert.ts'
import { utf8Decode } from '../base/bytes.ts'
import { Fifo } from '../base/fifo.ts'
import type { Fd } from '../io/file-system.ts'
import {
  DISK_READ_BYTES,
  DISK_READ_DONE_CODE_AT,
  DISK_READ_DONE_CODE_BYTES_AT,
  DISK_READ_DONE_COUNT_AT,
  DISK_READ_FD_AT,
  DISK_READ_FROM_AT,
  DISK_READ_ID_AT,
  DISK_READ_PAGE_AT,
  DISK_READ_POSITION_AT,
  DISK_READ_TO_AT,
  DISK_SYNC_COUNT_AT,
  DISK_SYNC_DONE_CODE_AT,
  DISK_SYNC_DONE_CODE_BYTES_AT,
  DISK_SYNC_DONE_FAILED_FD_AT,
  DISK_SYNC_DONE_MICROSECONDS_AT,
  DISK_SYNC_FDS_AT,
  DISK_SYNC_ID_AT,
  DISK_SYNC_IS_LONG_AT,
  MessageType,
} from '../ring/messages.ts'
import type { ShardSide } from '../ring/shard-channel.ts'

const SYNC_FDS_MAX = 64

export interface SyncListener {
  onSynced(microseconds: number): void
  onSyncFailed(reason: string): void
}

export interface ReadListener {
  /** `bytesRead` -1 = the device failed with `code`. */
  onRead(page: number, bytesRead: number, code: string): void
}

export interface DiskRead {
  readonly page: number
  readonly fd: Fd
  readonly filePosition: number
  readonly from: number
  readonly to: number
}

export interface SyncOptions {
  /** Acknowledgements wait for a short one; a long one may take its time. */
  readonly isLong: boolean
}

interface SyncTask {
  readonly listener: SyncListener
  readonly isLong: boolean
  /** Pieces not answered yet. */
  pieces: number
  microseconds: number
  hasFailed: boolean
}

interface SyncPiece {
  readonly task: SyncTask
  readonly fds: readonly Fd[]
}

export class DiskProxy {
  readonly #side: ShardSide
  readonly #readListener: ReadListener
  readonly #readsInFlightMax: number
  readonly #unsent = new Fifo<SyncPiece>()
  readonly #syncs = new Map<number, SyncTask>()
  #nextSyncId = 1
  #isDirty = false
  readsInFlight = 0

  constructor(side: ShardSide, readListener: ReadListener, readsInFlightMax: number) {
    this.#side = side
    this.#readListener = readListener
    this.#readsInFlightMax = readsInFlightMax
  }

  get isIdle(): boolean {
    return this.#syncs.size === 0 && this.#unsent.size === 0 && this.readsInFlight === 0
  }

  sync(fds: readonly Fd[], listener: SyncListener, options: SyncOptions): void {
    assert(fds.length > 0, 'a sync of nothing')
    const { isLong } = options
    const task: SyncTask = { listener, isLong, pieces: 0, microseconds: 0, hasFailed: false }
    for (let from = 0; from < fds.length; from += SYNC_FDS_MAX) {
      task.pieces++
      this.#unsent.push({ task, fds: fds.slice(from, from + SYNC_FDS_MAX) })
    }
    this.#sendSyncs()
  }

  get canRead(): boolean {
    return this.readsInFlight < this.#readsInFlightMax && this.#side.diskRequests.hasRoom(DISK_READ_BYTES, 'data')
  }

  /** Starts a read into a page; false = too many are under way. */
  read(read: DiskRead): boolean {
    if (!this.canRead) return false
    const { diskRequests } = this.#side
    const at = diskRequests.claim(MessageType.DISK_READ, DISK_READ_BYTES, 'data')
    if (at === -1) return false
    const { view } = diskRequests
    view.setUint32(at + DISK_READ_ID_AT, read.page, true)
    view.setInt32(at + DISK_READ_FD_AT, read.fd, true)
    view.setFloat64(at + DISK_READ_POSITION_AT, read.filePosition, true)
    view.setUint32(at + DISK_READ_PAGE_AT, read.page, true)
    view.setUint32(at + DISK_READ_FROM_AT, read.from, true)
    view.setUint32(at + DISK_READ_TO_AT, read.to, true)
    this.readsInFlight++
    this.#isDirty = true
    return true
  }

  stop(): void {
    if (this.#side.diskRequests.claim(MessageType.DISK_STOP, 0, 'control') !== -1) this.#isDirty = true
  }

  /** Makes what was asked visible and wakes the disk thread, once. */
  publish(): void {
    this.#sendSyncs()
    if (!this.#isDirty) return
    this.#isDirty = false
    this.#side.diskRequests.publish()
    this.#side.diskSignal.ring()
  }

  /** Hands out the answers that have come. */
  drain(): number {
    const { diskReplies } = this.#side
    let taken = 0
    while (diskReplies.next()) {
      taken++
      if (diskReplies.type === MessageType.DISK_SYNC_DONE) this.#onSyncDone()
      else if (diskReplies.type === MessageType.DISK_READ_DONE) this.#onReadDone()
    }
    if (taken > 0 && diskReplies.release()) this.#side.diskSignal.ring()
    return taken
  }

  #sendSyncs(): void {
    const { diskRequests } = this.#side
    for (let piece = this.#unsent.peek(); piece !== undefined; piece = this.#unsent.peek()) {
      const { fds, task } = piece
      const at = diskRequests.claim(MessageType.DISK_SYNC, DISK_SYNC_FDS_AT + fds.length * 4, 'control')
      if (at === -1) return
      this.#unsent.shift()
      const syncId = this.#nextSyncId
      this.#nextSyncId = (this.#nextSyncId + 1) >>> 0
      this.#syncs.set(syncId, task)
      diskRequests.view.setUint32(at + DISK_SYNC_ID_AT, syncId, true)
      diskRequests.view.setUint32(at + DISK_SYNC_COUNT_AT, fds.length, true)
      diskRequests.view.setUint32(at + DISK_SYNC_IS_LONG_AT, task.isLong ? 1 : 0, true)
      for (let index = 0; index < fds.length; index++)
        diskRequests.view.setInt32(at + DISK_SYNC_FDS_AT + index * 4, fds[index]!, true)
      this.#isDirty = true
    }
  }

  #onSyncDone(): void {
    const { view, at, bytes } = this.#side.diskReplies
    const syncId = view.getUint32(at + DISK_SYNC_ID_AT, true)
    const task = this.#syncs.get(syncId)
    assert(task !== undefined, `an answer to sync ${syncId}, which is not under way`)
    this.#syncs.delete(syncId)
    task.pieces--
    task.microseconds += view.getFloat64(at + DISK_SYNC_DONE_MICROSECONDS_AT, true)
    const failedFd = view.getInt32(at + DISK_SYNC_DONE_FAILED_FD_AT, true)
    if (task.hasFailed) return
    if (failedFd !== -1) {
      task.hasFailed = true
      const codeBytes = view.getUint32(at + DISK_SYNC_DONE_CODE_BYTES_AT, true)
      const code = utf8Decode(bytes.slice(at + DISK_SYNC_DONE_CODE_AT, at + DISK_SYNC_DONE_CODE_AT + codeBytes))
      task.listener.onSyncFailed(`fdatasync of descriptor ${failedFd} failed: ${code}`)
    } else if (task.pieces === 0) task.listener.onSynced(task.microseconds)
  }

  #onReadDone(): void {
    const { view, at, bytes } = this.#side.diskReplies
    this.readsInFlight--
    const codeBytes = view.getUint32(at + DISK_READ_DONE_CODE_BYTES_AT, true)
    const code =
      codeBytes === 0
        ? ''
        : utf8Decode(bytes.slice(at + DISK_READ_DONE_CODE_AT, at + DISK_READ_DONE_CODE_AT + codeBytes))
    this.#readListener.onRead(
      view.getUint32(at + DISK_READ_ID_AT, true),
      view.getInt32(at + DISK_READ_DONE_COUNT_AT, true),
      code,
    )
  }
}
