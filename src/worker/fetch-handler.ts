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
 * Replicas    read up to the log end; what their fetch tells is noted when it comes (onReplicaFetch), and they wait apart from consumers, for
 *             what is appended
 * Limits      waitingFetchesMax parked ones: one more is answered at once with what there is; a starved one waits for a page
 *             until its deadline, and STARVED_MS_MAX at least
 * Not here    what a reply is made of (fetch-draft.ts)
 */
import type { Clock } from '../base/clock.ts'
import { Fifo } from '../base/fifo.ts'
import type { LeaderEpoch, Offset, PartitionRef } from '../model/ids.ts'
import { FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX } from '../model/limits.ts'
import type { ReplicaIdentity } from '../model/replica.ts'
import { DelayedFetch, type WaitingFetch } from '../partition/delayed-fetch.ts'
import { READ_AS_REPLICA } from '../partition/partition-fetch.ts'
import { FetchFields, FetchPartitionFields, getFetchPartition, readFetch } from '../ring/message-codec.ts'
import type { RingReader } from '../ring/ring-reader.ts'
import { type DraftPart, FetchDraft, type FetchDraftOptions } from './fetch-draft.ts'
import type { CachedPage } from './page-cache.ts'
import type { PartitionAgent } from './partition-agent.ts'
import type { PartitionTable } from './partition-table.ts'
import type { LoadListener } from './segment-reader.ts'

const STARVED_MS_MAX = 1_000
/** Fetches served in one turn from the queue of the ready ones. */
const READY_PER_TURN = 64

interface FetchTask extends WaitingFetch {
  readonly parts: readonly DraftPart[]
  readonly arrivedMs: number
  /** Who follows; undefined = a consumer. */
  readonly replica: ReplicaIdentity | undefined
  readonly anyReplica: boolean
  readonly allPartitions: boolean
  phase: 'parked' | 'cold' | 'starved' | 'ready'
  /** No more waiting for data: its deadline is over, or the gateway said so. */
  isFinal: boolean
  /** No more waiting for the disk or a page either: the gateway or the clock ended it. With waitMs 0 those are waited for. */
  isOver: boolean
  /** The connection is gone: answer empty. */
  isCancelled: boolean
  readonly loading: Set<CachedPage>
}

export interface FetchHandlerOptions extends FetchDraftOptions {
  readonly reads: RingReader
  readonly partitions: PartitionTable
  readonly clock: Clock
  readonly waitingFetchesMax: number
  /** A replica asks for `part`, and nothing was looked at yet. */
  readonly onReplicaFetch: (part: DraftPart, replica: ReplicaIdentity) => void
}

export class FetchHandler implements LoadListener {
  readonly #options: FetchHandlerOptions
  readonly #delayed: DelayedFetch<FetchTask>
  /** Those of replicas: they are few, and woken by every append. */
  readonly #delayedReplicas: DelayedFetch<FetchTask>
  readonly #fields = new FetchFields()
  readonly #partFields = new FetchPartitionFields()
  readonly #ready = new Fifo<FetchTask>()
  readonly #starved = new Fifo<FetchTask>()
  readonly #becameReady: FetchTask[] = []
  /** Those that are neither parked nor answered, by request. */
  readonly #unparked = new Map<number, FetchTask>()
  readonly #byPage = new Map<CachedPage, Set<FetchTask>>()

  /** The reply under construction, and whose it is. */
  readonly #draft: FetchDraft
  #task: FetchTask | undefined
  fetchedBytes = 0

  constructor(options: FetchHandlerOptions) {
    this.#options = options
    this.#delayed = new DelayedFetch(options.waitingFetchesMax)
    this.#delayedReplicas = new DelayedFetch(options.waitingFetchesMax)
    this.#draft = new FetchDraft(options)
  }

  get waiting(): number {
    return this.#delayed.size + this.#delayedReplicas.size + this.#unparked.size
  }

  /** Somebody is about to read, or waits for a page. */
  get wantsPages(): boolean {
    return this.#ready.size > 0 || this.#starved.size > 0
  }

  deadlineMs(nowMs: number): number {
    if (this.#ready.size > 0) return nowMs
    if (this.#starved.size > 0) return nowMs + 1
    return Math.min(this.#delayed.nextDeadlineMs, this.#delayedReplicas.nextDeadlineMs)
  }

  /** Takes the FETCH the reader stands on. */
  onFetch(): void {
    const { reads, partitions, clock } = this.#options
    const fields = this.#fields
    readFetch(reads, fields)
    const parts: DraftPart[] = []
    for (let index = 0; index < fields.partitionCount; index++) {
      getFetchPartition(reads.view, fields.partitionsAt, index, this.#partFields)
      const partition = partitions.get(this.#partFields.partitionRef)
      parts.push({
        partitionRef: this.#partFields.partitionRef as PartitionRef,
        leaderEpoch: this.#partFields.leaderEpoch as LeaderEpoch,
        fetchOffset: this.#partFields.fetchOffset as Offset,
        maxBytes: this.#partFields.maxBytes,
        lastEpoch: this.#partFields.lastEpoch,
        partition,
        state: partition?.state,
        readableEndBefore: 0 as Offset,
        visibleBytesBefore: 0,
      })
    }
    const nowMs = clock.monotonicMs()
    const replica = replicaOf(fields)
    if (replica !== undefined) for (const part of parts) this.#options.onReplicaFetch(part, replica)
    this.#serve({
      requestId: fields.requestId,
      minBytes: fields.minBytes,
      maxBytes: Math.min(fields.maxBytes, FETCH_BYTES_MAX),
      isolation: replica === undefined ? fields.isolation : READ_AS_REPLICA,
      replica,
      anyReplica: fields.anyReplica,
      allPartitions: fields.allPartitions && replica === undefined,
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
    const parked = this.#delayed.take(requestId) ?? this.#delayedReplicas.take(requestId)
    const task = parked ?? this.#unparked.get(requestId)
    if (task === undefined) return
    end(task)
    task.isCancelled ||= isCancelled
    if (parked !== undefined || task.phase === 'cold') this.#makeReady(task)
  }

  /** The high watermark of `partition` moved. */
  onVisible(partition: PartitionAgent): void {
    this.#delayed.takeReady(partition.state.partitionRef, this.#becameReady)
    this.#delayedReplicas.takeReady(partition.state.partitionRef, this.#becameReady)
    this.#drainBecameReady(false)
  }

  /** `partition` was written to: its replicas may read that, nobody else. */
  onAppended(partition: PartitionAgent): void {
    this.#delayedReplicas.takeReady(partition.state.partitionRef, this.#becameReady)
    this.#drainBecameReady(false)
  }

  /** Another replica may lead `partition` by now: consumers that wait for more of it are answered. */
  onDoubted(partition: PartitionAgent): void {
    this.#delayed.takeAllOf(partition.state.partitionRef, this.#becameReady)
    this.#drainBecameReady(true)
  }

  /** `partition` can no longer be read: those that wait for it are answered. */
  onGone(partition: PartitionAgent): void {
    this.#delayed.takeAllOf(partition.state.partitionRef, this.#becameReady)
    this.#delayedReplicas.takeAllOf(partition.state.partitionRef, this.#becameReady)
    this.#drainBecameReady(true)
  }

  /** Everything that waits is answered with what there is: the shard ends. */
  finishAll(): void {
    this.#finishExpired(Number.POSITIVE_INFINITY)
    for (const task of this.#unparked.values()) {
      end(task)
      if (task.phase === 'cold') this.#makeReady(task)
    }
  }

  /** Serves what became ready, as far as the reply ring goes; answers how many were looked at. */
  step(nowMs: number): number {
    let served = 0
    this.#finishExpired(nowMs)
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

  #finishExpired(nowMs: number): void {
    for (const delayed of [this.#delayed, this.#delayedReplicas])
      for (let task = delayed.takeExpired(nowMs); task !== undefined; task = delayed.takeExpired(nowMs))
        this.#finish(task)
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
    const draft = this.#draft
    this.#gather(task)
    const isEnough = draft.bytes >= task.minBytes && draft.bytes > 0
    if (isEnough || draft.hasError || draft.hasNews || task.isCancelled) {
      this.#reply(task)
      return
    }
    if (task.loading.size > 0 && !task.isOver) {
      this.#wait(task, 'cold')
      return
    }
    if (draft.isStarved && draft.bytes === 0 && !task.isOver) {
      this.#starved.push(task)
      this.#wait(task, 'starved')
      return
    }
    if (task.isFinal) {
      this.#reply(task)
      return
    }
    task.availableBytes = draft.bytes
    draft.takeBack()
    this.#forgetLoading(task)
    task.phase = 'parked'
    if ((task.replica === undefined ? this.#delayed : this.#delayedReplicas).park(task)) return
    task.isFinal = true
    this.#gather(task)
    this.#reply(task)
  }

  #wait(task: FetchTask, phase: 'cold' | 'starved'): void {
    this.#draft.takeBack()
    if (phase === 'starved') this.#forgetLoading(task)
    task.phase = phase
    this.#unparked.set(task.requestId, task)
  }

  #gather(task: FetchTask): void {
    this.#task = task
    if (task.isCancelled) this.#draft.clear()
    else this.#draft.gather(task, this)
  }

  #reply(task: FetchTask): void {
    this.#forgetLoading(task)
    this.fetchedBytes += this.#draft.bytes
    this.#draft.send(task.requestId)
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

function replicaOf({ replicaNodeId, replicaIncarnation }: FetchFields): ReplicaIdentity | undefined {
  return replicaNodeId < 0 ? undefined : { nodeId: replicaNodeId, incarnation: replicaIncarnation }
}

function end(task: FetchTask): void {
  task.isFinal = true
  task.isOver = true
}
