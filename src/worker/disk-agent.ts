/**
 * DiskAgent: the shard's second thread: fdatasync and reads that may wait for the device.
 *
 * Owns        nothing: descriptors are the shard's, pages are lent to it for the time of a read
 * Thread      one disk thread a shard; one device call a turn, so that a waiting sync is seen between reads. A piece of several
 *             descriptors, and a long one, is handed to the pool: isWaiting until its callback; reads go on meanwhile, syncs wait
 * Ordering    syncs among themselves and reads among themselves first in, first out. A sync goes before reads, but after each
 *             sync up to READS_AFTER_SYNC waiting reads go first: neither a cold reader delays acknowledgements by more than
 *             those (and by one between two files of a wide sync), nor does a steady stream of commit groups starve cold readers
 * Wake-ups    an answer rings the shard at once, but reads that come out of the system's memory are told several together
 * Failure     told with the system's code; what a failed sync means is the shard's to say (R3)
 * Why         `interval` leaves gigabytes unsynced between two syncs: a read behind one would stand still for as long as it lasts
 * Limits      what waits here is bounded by the shard: its syncs and reads in flight
 */
import type { Agent } from '../agent/agent.ts'
import { utf8Encode } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { Fifo } from '../base/fifo.ts'
import { type Fd, type FileSystem, type ParallelSync, StorageError } from '../io/file-system.ts'
import {
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
import type { DiskSide } from '../ring/shard-channel.ts'

const READS_AFTER_SYNC = 8
/** A read that took no longer was no work for the device, nor will the next be: the shard is woken once for both. */
const CACHED_READ_MS = 0.1
const UNTOLD_READS_MAX = 4
/** Room a reply may need, its error code included. */
const REPLY_BYTES_MAX = 64

interface SyncTask {
  readonly syncId: number
  readonly isLong: boolean
  readonly fds: number[]
}

interface FinishedSync {
  readonly task: SyncTask
  readonly microseconds: number
  readonly failure: { readonly fd: Fd; readonly error: unknown } | undefined
}

interface ReadTask {
  readonly readId: number
  readonly fd: number
  readonly filePosition: number
  readonly page: number
  readonly from: number
  readonly to: number
}

export interface DiskAgentOptions {
  readonly name: string
  readonly side: DiskSide
  readonly files: FileSystem
  readonly clock: Clock
  /** Syncs beside this thread, several descriptors at a time; without it they are synced here, one after the other. */
  readonly parallel?: ParallelSync
  /** Every sync goes there: the thread has other work than this shard's. */
  readonly isThreadShared?: boolean
}

export class DiskAgent implements Agent {
  readonly name: string
  isDone = false
  /** Called when isWaiting ends. */
  onReady: (() => void) | undefined
  readonly #side: DiskSide
  readonly #files: FileSystem
  readonly #clock: Clock
  readonly #syncs = new Fifo<SyncTask>()
  readonly #reads = new Fifo<ReadTask>()
  readonly #parallel: ParallelSync | undefined
  readonly #isThreadShared: boolean
  #readsBeforeSync = 0
  /** Answers that lie in the ring and for which the shard was not rung. */
  #untoldReads = 0
  #isStopping = false
  #isWaiting = false
  /** Its callback came; the answer waits for room in the ring, as every answer does. */
  #finished: FinishedSync | undefined

  constructor(options: DiskAgentOptions) {
    this.name = options.name
    this.#side = options.side
    this.#files = options.files
    this.#clock = options.clock
    this.#parallel = options.parallel
    this.#isThreadShared = options.isThreadShared ?? false
  }

  /** A parallel sync is under way: its callback needs the thread's event loop. */
  get isWaiting(): boolean {
    return this.#isWaiting
  }

  doWork(): number {
    const taken = this.#takeRequests()
    if (!this.#hasReplyRoom()) return taken
    if (this.#finished !== undefined) {
      this.#answerSync(this.#finished)
      this.#finished = undefined
      return taken + 1
    }
    const sync = this.#isWaiting ? undefined : this.#syncs.peek()
    if (sync !== undefined && (this.#readsBeforeSync === 0 || this.#reads.size === 0)) {
      this.#syncs.shift()
      this.#readsBeforeSync = READS_AFTER_SYNC
      this.#sync(sync)
      return taken + 1
    }
    const read = this.#reads.shift()
    if (read !== undefined) {
      if (this.#readsBeforeSync > 0) this.#readsBeforeSync--
      this.#read(read)
      return taken + 1
    }
    if (this.#isStopping && !this.#isWaiting && this.#syncs.size === 0) this.isDone = true
    return taken
  }

  deadlineMs(): number {
    // Only a reply ring without room makes it look again by itself; the shard empties it each turn.
    // What waits behind a parallel sync waits for its callback.
    const waiting = this.#reads.size + (this.#isWaiting ? 0 : this.#syncs.size) + (this.#finished === undefined ? 0 : 1)
    return waiting > 0 ? this.#clock.monotonicMs() + 1 : Number.POSITIVE_INFINITY
  }

  close(): void {
    this.isDone = true
  }

  #takeRequests(): number {
    const { requests } = this.#side
    let taken = 0
    while (requests.next()) {
      taken++
      const { at, view } = requests
      if (requests.type === MessageType.DISK_SYNC) {
        const fds: number[] = []
        const count = view.getUint32(at + DISK_SYNC_COUNT_AT, true)
        for (let index = 0; index < count; index++) fds.push(view.getInt32(at + DISK_SYNC_FDS_AT + index * 4, true))
        const isLong = view.getUint32(at + DISK_SYNC_IS_LONG_AT, true) !== 0
        this.#syncs.push({ syncId: view.getUint32(at + DISK_SYNC_ID_AT, true), isLong, fds })
      } else if (requests.type === MessageType.DISK_READ) {
        this.#reads.push({
          readId: view.getUint32(at + DISK_READ_ID_AT, true),
          fd: view.getInt32(at + DISK_READ_FD_AT, true),
          filePosition: view.getFloat64(at + DISK_READ_POSITION_AT, true),
          page: view.getUint32(at + DISK_READ_PAGE_AT, true),
          from: view.getUint32(at + DISK_READ_FROM_AT, true),
          to: view.getUint32(at + DISK_READ_TO_AT, true),
        })
      } else if (requests.type === MessageType.DISK_STOP) this.#isStopping = true
    }
    if (taken > 0 && requests.release()) this.#side.shardSignal.ring()
    return taken
  }

  #sync(task: SyncTask): void {
    this.#tellHeld()
    const startMs = this.#clock.monotonicMs()
    if (this.#parallel !== undefined && (this.#isThreadShared || task.isLong || task.fds.length > 1)) {
      this.#isWaiting = true
      this.#parallel.begin(task.fds, (failure) => {
        this.#isWaiting = false
        this.#finished = { task, microseconds: this.#microsecondsSince(startMs), failure }
        this.onReady?.()
      })
      return
    }
    for (const fd of task.fds) {
      try {
        this.#files.fdatasync(fd)
      } catch (error) {
        this.#answerSync({ task, microseconds: this.#microsecondsSince(startMs), failure: { fd, error } })
        return
      }
    }
    this.#answerSync({ task, microseconds: this.#microsecondsSince(startMs), failure: undefined })
  }

  #microsecondsSince(startMs: number): number {
    return (this.#clock.monotonicMs() - startMs) * 1000
  }

  #answerSync({ task, microseconds, failure }: FinishedSync): void {
    const text = utf8Encode(failure === undefined ? '' : codeOf(failure.error))
    const { replies } = this.#side
    const at = replies.claim(MessageType.DISK_SYNC_DONE, DISK_SYNC_DONE_CODE_AT + text.length, 'control')
    const { view } = replies
    view.setUint32(at + DISK_SYNC_ID_AT, task.syncId, true)
    view.setInt32(at + DISK_SYNC_DONE_FAILED_FD_AT, failure?.fd ?? -1, true)
    view.setFloat64(at + DISK_SYNC_DONE_MICROSECONDS_AT, microseconds, true)
    view.setUint32(at + DISK_SYNC_DONE_CODE_BYTES_AT, text.length, true)
    replies.bytes.set(text, at + DISK_SYNC_DONE_CODE_AT)
    replies.publish()
    this.#tell()
  }

  #read(task: ReadTask): void {
    const startMs = this.#clock.monotonicMs()
    const target = this.#side.pages.view(task.page, task.from, task.to)
    let bytesRead = 0
    let code = ''
    try {
      while (bytesRead < target.length) {
        const count = this.#files.read(task.fd, target.subarray(bytesRead), task.filePosition + bytesRead)
        if (count === 0) break
        bytesRead += count
      }
    } catch (error) {
      bytesRead = -1
      code = codeOf(error)
    }
    const text = utf8Encode(code)
    const { replies } = this.#side
    const at = replies.claim(MessageType.DISK_READ_DONE, DISK_READ_DONE_CODE_AT + text.length, 'control')
    const { view } = replies
    view.setUint32(at + DISK_READ_ID_AT, task.readId, true)
    view.setInt32(at + DISK_READ_DONE_COUNT_AT, bytesRead, true)
    view.setUint32(at + DISK_READ_DONE_CODE_BYTES_AT, text.length, true)
    replies.bytes.set(text, at + DISK_READ_DONE_CODE_AT)
    replies.publish()
    this.#untoldReads++
    const wasCached = this.#clock.monotonicMs() - startMs <= CACHED_READ_MS
    if (!wasCached || this.#reads.size === 0 || this.#untoldReads >= UNTOLD_READS_MAX) this.#tell()
  }

  /** Without room the shard must take what is there: also what it was not woken for. */
  #hasReplyRoom(): boolean {
    if (this.#side.replies.hasRoom(REPLY_BYTES_MAX, 'control')) return true
    this.#tellHeld()
    return false
  }

  #tellHeld(): void {
    if (this.#untoldReads > 0) this.#tell()
  }

  /** Wakes the shard for what was published. */
  #tell(): void {
    this.#untoldReads = 0
    this.#side.shardSignal.ring()
  }
}

function codeOf(error: unknown): string {
  return error instanceof StorageError ? error.code.slice(0, 24) : 'UNKNOWN'
}
