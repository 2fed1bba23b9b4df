/**
 * FetchHandler: fetches of one shard, from the read ring to the reply ring, with whatever they wait for between.
 *
 *   parked    too little to read: partition/delayed-fetch, until data, deadline or the gateway's word
 *   cold      blocks are on their way from the disk thread
 *   starved   no page is free: served again, first come first served, when pages come back (looked at each turn)
 *   ready     to be served as soon as the reply ring has room
 *
 * Thread      the shard
 * Ordering    pages are lent before the reply is published; what is not sent is taken back
 * Limits      waitingFetchesMax parked ones: one more is answered at once with what there is; a starved one waits for a page
 *             until its deadline, and STARVED_MS_MAX at least
 * Failure     an unreadable file takes its partition offline and answers KAFKA_STORAGE_ERROR; others go on. At the limit of open
 *             files: OVERLOADED, and the partition stays
 * Reply       a partition is left out when it has neither data nor error and its high watermark is the offset asked for
 */
import type { Clock } from '../base/clock.ts'
import { Fifo } from '../base/fifo.ts'
import { StorageError } from '../io/file-system.ts'
import { type ErrorCode, errorNumberOf } from '../model/errors.ts'
import type { LeaderEpoch, Offset, PartitionRef } from '../model/ids.ts'
import { FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX } from '../model/limits.ts'
import { DelayedFetch, type FetchPart, type WaitingFetch } from '../partition/delayed-fetch.ts'
import { lastStableOffset } from '../partition/high-watermark.ts'
import { checkFetch, readableEnd } from '../partition/partition-fetch.ts'
import {
  FetchFields,
  FetchPartitionFields,
  fetchReplyBytes,
  getFetchPartition,
  readFetch,
} from '../ring/message-codec.ts'
import {
  FETCH_REPLY_PARTITION_ABORTED_AT,
  FETCH_REPLY_PARTITION_BATCH_BYTES_AT,
  FETCH_REPLY_PARTITION_BYTES,
  FETCH_REPLY_PARTITION_COUNT_AT,
  FETCH_REPLY_PARTITION_ERROR_AT,
  FETCH_REPLY_PARTITION_FRAGMENTS_AT,
  FETCH_REPLY_PARTITION_HIGH_WATERMARK_AT,
  FETCH_REPLY_PARTITION_LAST_STABLE_AT,
  FETCH_REPLY_PARTITION_LEADER_EPOCH_AT,
  FETCH_REPLY_PARTITION_LOG_START_AT,
  FETCH_REPLY_PARTITION_REF_AT,
  FETCH_REPLY_PARTITIONS_AT,
  FETCH_REPLY_REQUEST_ID_AT,
  FRAGMENT_BYTES,
  FRAGMENT_FROM_AT,
  FRAGMENT_PAGE_AT,
  FRAGMENT_TO_AT,
  MessageType,
} from '../ring/messages.ts'
import type { RingReader } from '../ring/ring-reader.ts'
import type { CachedPage, PageCache } from './page-cache.ts'
import type { PartitionAgent } from './partition-agent.ts'
import type { PartitionTable } from './partition-table.ts'
import type { ReplyOutbox } from './reply-outbox.ts'
import { FragmentList, type LoadListener, type SegmentReader } from './segment-reader.ts'

const STARVED_MS_MAX = 1_000
/** Fetches served in one turn from the queue of the ready ones. */
const READY_PER_TURN = 64

interface ShardFetchPart extends FetchPart {
  readonly partition: PartitionAgent | undefined
}

interface FetchTask extends WaitingFetch {
  readonly parts: readonly ShardFetchPart[]
  readonly arrivedMs: number
  phase: 'parked' | 'cold' | 'starved' | 'ready'
  /** No more waiting for data: its deadline is over, or the gateway said so. */
  isFinal: boolean
  /** No more waiting for the disk or a page either: the gateway or the clock ended it. With waitMs 0 those are waited for. */
  isOver: boolean
  /** The connection is gone: answer empty. */
  isCancelled: boolean
  readonly loading: Set<CachedPage>
}

/** One partition's line of the reply under construction; reused from reply to reply. */
interface ReplyPart {
  ref: number
  error: number
  partition: PartitionAgent | undefined
  fragments: number
  bytes: number
}

export interface FetchHandlerOptions {
  readonly reads: RingReader
  readonly partitions: PartitionTable
  readonly reader: SegmentReader
  readonly cache: PageCache
  readonly outbox: ReplyOutbox
  readonly clock: Clock
  readonly waitingFetchesMax: number
  /** A file could not be read, or does not hold what it should. */
  readonly onUnreadable: (partition: PartitionAgent, reason: string) => void
}

export class FetchHandler implements LoadListener {
  readonly #options: FetchHandlerOptions
  readonly #delayed: DelayedFetch<FetchTask>
  readonly #fields = new FetchFields()
  readonly #partFields = new FetchPartitionFields()
  readonly #ready = new Fifo<FetchTask>()
  readonly #starved = new Fifo<FetchTask>()
  readonly #becameReady: FetchTask[] = []
  /** Those that are neither parked nor answered, by request. */
  readonly #unparked = new Map<number, FetchTask>()
  readonly #byPage = new Map<CachedPage, Set<FetchTask>>()

  // The reply under construction.
  readonly #fragments = new FragmentList()
  readonly #lines: ReplyPart[] = []
  #lineCount = 0
  #bytes = 0
  #hasError = false
  #isStarved = false
  #task: FetchTask | undefined
  fetchedBytes = 0

  constructor(options: FetchHandlerOptions) {
    this.#options = options
    this.#delayed = new DelayedFetch(options.waitingFetchesMax)
  }

  get waiting(): number {
    return this.#delayed.size + this.#unparked.size
  }

  /** Somebody is about to read, or waits for a page. */
  get wantsPages(): boolean {
    return this.#ready.size > 0 || this.#starved.size > 0
  }

  deadlineMs(nowMs: number): number {
    if (this.#ready.size > 0) return nowMs
    if (this.#starved.size > 0) return nowMs + 1
    return this.#delayed.nextDeadlineMs
  }

  /** Takes the FETCH the reader stands on. */
  onFetch(): void {
    const { reads, partitions, clock } = this.#options
    const fields = this.#fields
    readFetch(reads, fields)
    const parts: ShardFetchPart[] = []
    for (let index = 0; index < fields.partitionCount; index++) {
      getFetchPartition(reads.view, fields.partitionsAt, index, this.#partFields)
      const partition = partitions.get(this.#partFields.partitionRef)
      parts.push({
        partitionRef: this.#partFields.partitionRef as PartitionRef,
        leaderEpoch: this.#partFields.leaderEpoch as LeaderEpoch,
        fetchOffset: this.#partFields.fetchOffset as Offset,
        maxBytes: this.#partFields.maxBytes,
        partition,
        state: partition?.state,
        visibleBytesBefore: 0,
      })
    }
    const nowMs = clock.monotonicMs()
    this.#serve({
      requestId: fields.requestId,
      minBytes: fields.minBytes,
      maxBytes: Math.min(fields.maxBytes, FETCH_BYTES_MAX),
      isolation: fields.isolation,
      parts,
      availableBytes: 0,
      deadlineMs: nowMs + Math.min(fields.waitMs, FETCH_WAIT_MS_MAX),
      heapIndex: -1,
      arrivedMs: nowMs,
      phase: 'ready',
      isFinal: fields.waitMs === 0,
      isOver: false,
      isCancelled: false,
      loading: new Set(),
    })
  }

  /** FETCH_FINISH: answer with what there is. FETCH_CANCEL: answer empty. One that was answered meanwhile is not known here. */
  onEnd(requestId: number, isCancelled: boolean): void {
    const parked = this.#delayed.take(requestId)
    const task = parked ?? this.#unparked.get(requestId)
    if (task === undefined) return
    end(task)
    task.isCancelled ||= isCancelled
    if (parked !== undefined || task.phase === 'cold') this.#makeReady(task)
  }

  /** The high watermark of `partition` moved. */
  onVisible(partition: PartitionAgent): void {
    this.#delayed.takeReady(partition.state.partitionRef, this.#becameReady)
    this.#drainBecameReady(false)
  }

  /** `partition` can no longer be read: those that wait for it are answered. */
  onGone(partition: PartitionAgent): void {
    this.#delayed.takeAllOf(partition.state.partitionRef, this.#becameReady)
    this.#drainBecameReady(true)
  }

  /** Everything that waits is answered with what there is: the shard ends. */
  finishAll(): void {
    for (let task = this.#delayed.takeExpired(Infinity); task !== undefined; task = this.#delayed.takeExpired(Infinity))
      this.#finish(task)
    for (const task of this.#unparked.values()) {
      end(task)
      if (task.phase === 'cold') this.#makeReady(task)
    }
  }

  /** Serves what became ready, as far as the reply ring goes; answers how many were looked at. */
  step(nowMs: number): number {
    let served = 0
    for (let task = this.#delayed.takeExpired(nowMs); task !== undefined; task = this.#delayed.takeExpired(nowMs))
      this.#finish(task)
    const starved = this.#starved.shift()
    if (starved !== undefined) {
      if (nowMs - starved.arrivedMs >= STARVED_MS_MAX && nowMs >= starved.deadlineMs) end(starved)
      this.#makeReady(starved)
    }
    while (served < READY_PER_TURN && this.#options.outbox.isClear) {
      const task = this.#ready.shift()
      if (task === undefined) break
      this.#unparked.delete(task.requestId)
      this.#serve(task)
      // A starved one that starves again is idle work: the loop sleeps until its deadline.
      if (task.phase !== 'starved') served++
      else break
    }
    return served
  }

  onLoading(page: CachedPage): void {
    const task = this.#task!
    task.loading.add(page)
    let waiting = this.#byPage.get(page)
    if (waiting === undefined) this.#byPage.set(page, (waiting = new Set()))
    waiting.add(task)
  }

  /** The disk thread is done with `page`, one way or the other. */
  onLoaded(page: CachedPage): void {
    const waiting = this.#byPage.get(page)
    if (waiting === undefined) return
    this.#byPage.delete(page)
    for (const task of waiting) {
      task.loading.delete(page)
      if (task.loading.size === 0 && task.phase === 'cold') this.#makeReady(task)
    }
  }

  #finish(task: FetchTask): void {
    end(task)
    this.#makeReady(task)
  }

  #drainBecameReady(isFinal: boolean): void {
    for (const task of this.#becameReady) {
      if (isFinal) end(task)
      this.#makeReady(task)
    }
    this.#becameReady.length = 0
  }

  #makeReady(task: FetchTask): void {
    task.phase = 'ready'
    this.#unparked.set(task.requestId, task)
    this.#ready.push(task)
  }

  /** Reads what `task` may have now, and answers it or has it wait for what it lacks. */
  #serve(task: FetchTask): void {
    this.#gather(task)
    const isEnough = this.#bytes >= task.minBytes && this.#bytes > 0
    if (isEnough || this.#hasError || task.isCancelled) {
      this.#reply(task)
      return
    }
    if (task.loading.size > 0 && !task.isOver) {
      this.#wait(task, 'cold')
      return
    }
    if (this.#isStarved && this.#bytes === 0 && !task.isOver) {
      this.#starved.push(task)
      this.#wait(task, 'starved')
      return
    }
    if (task.isFinal) {
      this.#reply(task)
      return
    }
    const availableBytes = this.#bytes
    this.#takeBack()
    this.#forgetLoading(task)
    task.availableBytes = availableBytes
    task.phase = 'parked'
    if (this.#delayed.park(task)) return
    task.isFinal = true
    this.#gather(task)
    this.#reply(task)
  }

  #wait(task: FetchTask, phase: 'cold' | 'starved'): void {
    this.#takeBack()
    if (phase === 'starved') this.#forgetLoading(task)
    task.phase = phase
    this.#unparked.set(task.requestId, task)
  }

  #gather(task: FetchTask): void {
    this.#task = task
    this.#fragments.count = 0
    this.#lineCount = 0
    this.#bytes = 0
    this.#hasError = false
    this.#isStarved = false
    if (task.isCancelled) return
    const frameBytesMax = this.#options.outbox.payloadBytesMax
    for (const part of task.parts) {
      const roomBytes = frameBytesMax - fetchReplyBytes(this.#lineCount + 1, this.#fragments.count)
      if (roomBytes < FRAGMENT_BYTES * 2) break
      this.#gatherPart(task, part, Math.floor(roomBytes / FRAGMENT_BYTES))
    }
  }

  #gatherPart(task: FetchTask, part: ShardFetchPart, fragmentsMax: number): void {
    const { partition } = part
    if (partition === undefined || partition.isClosed) {
      this.#failPart(part, 'UNKNOWN_TOPIC_OR_PARTITION')
      return
    }
    const refusal = checkFetch(partition.state, part)
    if (refusal !== undefined) {
      this.#failPart(part, refusal.error)
      return
    }
    const endOffset = readableEnd(partition.state, task.isolation)
    const pagesBytes = (fragmentsMax - 1) * this.#options.cache.pageBytes
    const limitBytes = Math.min(part.maxBytes, task.maxBytes - this.#bytes, pagesBytes)
    const before = this.#fragments.count
    if (part.fetchOffset < endOffset && (limitBytes > 0 || this.#bytes === 0)) {
      if (!this.#read(part, partition, endOffset, limitBytes)) return
    } else if (part.fetchOffset === partition.state.highWatermark) return
    this.#addLine(
      part,
      0,
      this.#fragments.count - before,
      this.#fragments.count - before > 0 ? this.#options.reader.readBytes : 0,
    )
  }

  /** False when the part is dealt with already: it failed. */
  #read(part: ShardFetchPart, partition: PartitionAgent, endOffset: Offset, limitBytes: number): boolean {
    const { reader, onUnreadable } = this.#options
    try {
      const outcome = reader.read(
        { partition, offset: part.fetchOffset, endOffset, limitBytes, takesFirst: this.#bytes === 0 },
        this.#fragments,
        this,
      )
      if (outcome === 'read') this.#bytes += reader.readBytes
      else if (outcome === 'starved') this.#isStarved = true
      else if (outcome === 'damaged') {
        onUnreadable(partition, `the segment that holds offset ${part.fetchOffset} is damaged`)
        this.#failPart(part, 'KAFKA_STORAGE_ERROR')
        return false
      }
      return true
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      if (error.isOpenLimit) {
        this.#failPart(part, 'OVERLOADED')
        return false
      }
      onUnreadable(partition, `a read failed: ${error.code}: ${error.message}`)
      this.#failPart(part, 'KAFKA_STORAGE_ERROR')
      return false
    }
  }

  #failPart(part: ShardFetchPart, error: ErrorCode): void {
    this.#hasError = true
    this.#addLine(part, errorNumberOf(error), 0, 0)
  }

  #addLine(part: ShardFetchPart, error: number, fragments: number, bytes: number): void {
    let line = this.#lines[this.#lineCount]
    if (line === undefined) {
      line = { ref: 0, error: 0, partition: undefined, fragments: 0, bytes: 0 }
      this.#lines.push(line)
    }
    line.ref = part.partitionRef
    line.error = error
    line.partition = part.partition
    line.fragments = fragments
    line.bytes = bytes
    this.#lineCount++
  }

  #reply(task: FetchTask): void {
    this.#forgetLoading(task)
    this.fetchedBytes += this.#bytes
    const { outbox } = this.#options
    outbox.begin(MessageType.FETCH_REPLY, fetchReplyBytes(this.#lineCount, this.#fragments.count))
    const { view } = outbox
    view.setUint32(outbox.at + FETCH_REPLY_REQUEST_ID_AT, task.requestId, true)
    view.setUint32(outbox.at + FETCH_REPLY_PARTITION_COUNT_AT, this.#lineCount, true)
    let at = outbox.at + FETCH_REPLY_PARTITIONS_AT
    for (let index = 0; index < this.#lineCount; index++) {
      this.#writeLine(view, at, this.#lines[index]!)
      at += FETCH_REPLY_PARTITION_BYTES
    }
    const { numbers, count } = this.#fragments
    for (let index = 0; index < count; index++) {
      view.setUint32(at + FRAGMENT_PAGE_AT, numbers[index * 3]!, true)
      view.setUint32(at + FRAGMENT_FROM_AT, numbers[index * 3 + 1]!, true)
      view.setUint32(at + FRAGMENT_TO_AT, numbers[index * 3 + 2]!, true)
      at += FRAGMENT_BYTES
    }
    outbox.end()
  }

  #writeLine(view: DataView, at: number, line: ReplyPart): void {
    const state = line.partition?.state
    view.setUint32(at + FETCH_REPLY_PARTITION_REF_AT, line.ref, true)
    view.setInt32(at + FETCH_REPLY_PARTITION_ERROR_AT, line.error, true)
    view.setFloat64(at + FETCH_REPLY_PARTITION_HIGH_WATERMARK_AT, state?.highWatermark ?? -1, true)
    view.setFloat64(at + FETCH_REPLY_PARTITION_LAST_STABLE_AT, state === undefined ? -1 : lastStableOffset(state), true)
    view.setFloat64(at + FETCH_REPLY_PARTITION_LOG_START_AT, state?.logStartOffset ?? -1, true)
    view.setUint32(at + FETCH_REPLY_PARTITION_FRAGMENTS_AT, line.fragments, true)
    view.setInt32(at + FETCH_REPLY_PARTITION_LEADER_EPOCH_AT, state?.leaderEpoch ?? -1, true)
    view.setUint32(at + FETCH_REPLY_PARTITION_BATCH_BYTES_AT, line.bytes, true)
    view.setUint32(at + FETCH_REPLY_PARTITION_ABORTED_AT, 0, true)
    line.partition = undefined
  }

  #takeBack(): void {
    const { cache } = this.#options
    for (let index = 0; index < this.#fragments.count; index++) cache.unlend(this.#fragments.pages[index]!)
    this.#fragments.count = 0
  }

  #forgetLoading(task: FetchTask): void {
    for (const page of task.loading) {
      const waiting = this.#byPage.get(page)
      waiting?.delete(task)
      if (waiting?.size === 0) this.#byPage.delete(page)
    }
    task.loading.clear()
  }
}

function end(task: FetchTask): void {
  task.isFinal = true
  task.isOver = true
}
