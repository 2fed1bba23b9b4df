/**
 * CoordinatorHost: the coordinators of one kind on this shard: one for each partition of an internal topic that somebody has asked.
 *
 * Owns        the coordinators, and the requests that wait for them
 * Thread      the shard
 * Ordering    a request: decided at once, its records join those of this turn -> one batch a coordinator and turn -> written with the
 *             turn's other batches -> when it is durable, the replies and effects. A reply without records waits for the batches before
 *             it: what it tells may come from them
 * Loading     the first request, or load(), has the partition read from its start, one piece a turn; requests wait meanwhile. It begins
 *             when all that is in the log is durable, so that the state that is built is one that stays
 * Transactions what a decision writes in the name of a producer is a batch of its own, of that producer's transaction. The kind asks the
 *             partition before it decides, so that no producer's fault is the coordinator's. A marker takes effect when it is staged,
 *             and is waited for like any batch
 * Succession  a partition that may be led elsewhere coordinates nothing: a committed offset that its successor has moved on from would have
 *             records worked again. Its followers have been silent for a while by then: what is asked before may be told as it was
 * Failure     a batch that was refused: what the coordinator has decided since is not so. It is dropped, everyone who waits is told
 *             COORDINATOR_NOT_AVAILABLE, and the next request loads it anew, or RELOAD_MS where it has work of its own. A log that
 *             cannot be read: the same, with the reason, and not again. To decide may be what finds the partition unreadable: the request
 *             is answered, and so are those behind it
 * Kept        what a kind keeps is its own to bound; it has the answer of a kept request leave as any other does, by release()
 * Limits      WAITING_MAX requests over all coordinators; LOADING_BYTES_MAX of those that wait for one that loads; a decision is at
 *             most one batch
 * Not here    decisions (group/, transaction/), what a kind of coordinator has of its own (group-host.ts, transaction-host.ts)
 */
import type { Clock } from '../base/clock.ts'
import { StorageError } from '../io/file-system.ts'
import { markerOf } from '../log/open-transactions.ts'
import { type ErrorCode, isMillraceError } from '../model/errors.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import type { Refusal } from '../model/refusal.ts'
import type { OwnAppend } from '../partition/delayed-produce.ts'
import { checkLeads } from '../partition/partition-fetch.ts'
import { BatchReader } from '../record/batch-reader.ts'
import { BatchView } from '../record/batch-view.ts'
import type { Codecs } from '../record/compression.ts'
import type { EncodedRecord } from '../record/record-table.ts'
import { BatchScan } from './batch-scan.ts'
import type { ControlReplies } from './control-replies.ts'
import { type Decided, encodeDecisions } from './decision-batches.ts'
import type { MarkerListener } from './marker-writer.ts'
import type { NoticeSender } from './notice-sender.ts'
import type { PageCache } from './page-cache.ts'
import type { PartitionAgent } from './partition-agent.ts'
import type { PartitionTable } from './partition-table.ts'
import type { OwnMarker, ProduceHandler } from './produce-handler.ts'
import type { SegmentReader } from './segment-reader.ts'

export const WAITING_MAX = 100_000
/** Headers of requests that wait for one coordinator to load. */
const LOADING_BYTES_MAX = 4 * 1024 * 1024
/** What could not be written may be so for longer: reading the log again and again does not help it. */
const RELOAD_MS = 1_000
/** The answer to what was not decided before its coordinator went. */
const WENT = ['COORDINATOR_NOT_AVAILABLE', 'its partition went offline'] as const

/** What the host asks of a coordinator. */
export interface Coordinating {
  /** One record of the partition, in the log's order; of a transaction of `producerId`, or -1. */
  replay(
    key: Uint8Array,
    value: Uint8Array | null,
    producerId: number,
  ): { readonly kind: string; readonly reason?: string }
  /** A producer's transaction ends in this partition: as its marker is replayed, and as it is staged. */
  onMarker?(producerId: number, isCommit: boolean): void
  /** The whole partition was replayed. */
  onLoaded(nowMs: number): void
}

export interface CoordinatorBody {
  readonly partitionRef: number
  readonly header: Uint8Array
}

export interface CoordinatorRequest<Body> {
  readonly requestId: number
  readonly body: Body
}

export type CoordinatorReply = { readonly kind: 'reply'; readonly header: Uint8Array } | Refusal

/** What was decided: the state has it already. */
export interface HostedDecision<Effect> {
  readonly records: readonly EncodedRecord[]
  /** Whose transaction the records are part of. */
  readonly transaction?: ProducerIdentity | undefined
  /** To whoever asked; undefined = the kind keeps the request, and gives it back by again(), release() or giveUp(). */
  readonly reply: CoordinatorReply | undefined
  /** What is to be done when the records are durable. */
  readonly effect?: Effect | undefined
  /** Requests that the kind kept, this one perhaps among them, and that have their answers now: as release(). */
  readonly releases?: readonly { readonly requestId: number; readonly reply: CoordinatorReply }[]
}

/** What one kind of coordinator has of its own. */
export interface CoordinatorKind<Coordinator extends Coordinating, Body extends CoordinatorBody, Effect> {
  /** What they coordinate, for texts: 'groups'. */
  readonly subject: string
  /** Why a decision may not fit the largest batch. */
  readonly tooLarge: string
  /** They have work that nobody asks for: one that was dropped is loaded again by itself. */
  readonly reloads: boolean
  make(partition: PartitionAgent): Coordinator
  nextDeadlineMs(coordinator: Coordinator): number
  /** May throw MillraceError: that is the reply. */
  decide(
    hosted: Hosted<Coordinator, Body, Effect>,
    request: CoordinatorRequest<Body>,
    nowMs: number,
  ): HostedDecision<Effect>
  /** A few pieces of what is due, by take(); answers how many. */
  doDue(hosted: Hosted<Coordinator, Body, Effect>, nowMs: number): number
  /** Sends a reply's header to the gateway, in the way in which it expects it. */
  answer(requestId: number, header: Uint8Array): void
  onDurable(hosted: Hosted<Coordinator, Body, Effect>, effect: Effect): void
  /** Nothing of it is so any more; the kind lets go of what it keeps. */
  onDropped(hosted: Hosted<Coordinator, Body, Effect>, error: ErrorCode, text: string): void
}

interface Waiting<Effect> {
  /** 0 = nobody asked. */
  readonly requestId: number
  readonly reply: CoordinatorReply | undefined
  readonly effect: Effect | undefined
}

export interface Hosted<Coordinator, Body, Effect> {
  readonly partition: PartitionAgent
  readonly coordinator: Coordinator
  /** 'unreadable': what is in the log is not what coordinators write; it stays so until the partition is opened anew. */
  state: 'loading' | 'serving' | 'dropped' | 'unreadable'
  fault: string
  scan: BatchScan | undefined
  /** Requests that came while it loads. */
  parked: CoordinatorRequest<Body>[]
  parkedBytes: number
  /** Of this turn: a crash may not leave half of one. */
  decisions: Decided[]
  waiting: Waiting<Effect>[]
  /** Who waits for each of the batches that are not durable yet, oldest first. */
  readonly batches: Waiting<Effect>[][]
}

/** What every host is made of. */
export interface CoordinatorHostOptions {
  readonly partitions: PartitionTable
  readonly produces: ProduceHandler
  readonly replies: ControlReplies
  readonly notices: NoticeSender
  readonly reader: SegmentReader
  readonly cache: PageCache
  readonly codecs: Codecs
  readonly clock: Clock
  /** Another broker may have been elected for it that nobody could tell this one of. */
  readonly mayBeLedElsewhere: (partition: PartitionAgent) => boolean
}

export class CoordinatorHost<Coordinator extends Coordinating, Body extends CoordinatorBody, Effect = never>
  implements MarkerListener
{
  readonly #options: CoordinatorHostOptions
  readonly #kind: CoordinatorKind<Coordinator, Body, Effect>
  readonly #hosted = new Map<number, Hosted<Coordinator, Body, Effect>>()
  readonly #loading = new Set<Hosted<Coordinator, Body, Effect>>()
  /** Those with something to write or to answer at the end of this turn. */
  readonly #touched = new Set<Hosted<Coordinator, Body, Effect>>()
  /** When a dropped one is loaded again. */
  readonly #reloads = new Map<number, number>()
  #waiting = 0

  constructor(options: CoordinatorHostOptions, kind: CoordinatorKind<Coordinator, Body, Effect>) {
    this.#options = options
    this.#kind = kind
  }

  /** Coordinators that serve. */
  *serving(): IterableIterator<Hosted<Coordinator, Body, Effect>> {
    for (const hosted of this.#hosted.values()) if (hosted.state === 'serving') yield hosted
  }

  /** The one of a partition, when it serves. */
  servingAt(partitionRef: number): Hosted<Coordinator, Body, Effect> | undefined {
    const hosted = this.#hosted.get(partitionRef)
    return hosted?.state === 'serving' ? hosted : undefined
  }

  /** When step() has something to do by itself. */
  nextDeadlineMs(): number {
    if (this.#loading.size > 0) return this.#options.clock.monotonicMs() + 1
    let next = Number.POSITIVE_INFINITY
    for (const { coordinator } of this.#hosted.values()) next = Math.min(next, this.#kind.nextDeadlineMs(coordinator))
    if (this.#reloads.size > 0) for (const atMs of this.#reloads.values()) next = Math.min(next, atMs)
    return next
  }

  onRequest(requestId: number, body: Body): void {
    const { replies } = this.#options
    const hosted = this.#find(body.partitionRef)
    if ('error' in hosted) {
      replies.fail(requestId, hosted.error, hosted.text)
      return
    }
    const isFull = hosted.state === 'loading' && hosted.parkedBytes >= LOADING_BYTES_MAX
    if (isFull || this.#waiting >= WAITING_MAX) {
      if (isFull) replies.fail(requestId, 'COORDINATOR_LOAD_IN_PROGRESS', '')
      else replies.fail(requestId, 'OVERLOADED', `${WAITING_MAX} requests of ${this.#kind.subject} wait on this shard`)
      return
    }
    this.#waiting++
    if (hosted.state === 'loading') {
      hosted.parked.push({ requestId, body })
      hosted.parkedBytes += body.header.length
    } else this.#decide(hosted, { requestId, body })
  }

  /** Has a coordinator before anybody asks; undefined = it is there, or on its way. */
  load(partitionRef: number): { readonly error: ErrorCode; readonly text: string } | undefined {
    const hosted = this.#find(partitionRef)
    return 'error' in hosted ? hosted : undefined
  }

  /** Loads a piece of each that loads, and does what is due; flush() must follow. Answers how much was done. */
  step(nowMs: number): number {
    let work = this.#reloads.size > 0 ? this.#reload(nowMs) : 0
    for (const hosted of this.#loading) work += this.#load(hosted) ? 1 : 0
    for (const hosted of this.#hosted.values()) if (hosted.state === 'serving') work += this.#kind.doDue(hosted, nowMs)
    return work
  }

  get hasPending(): boolean {
    return this.#touched.size > 0
  }

  /** Stages what this turn's decisions wrote, before the turn's write. */
  flush(): void {
    for (const hosted of this.#touched) if (hosted.state === 'serving') this.#flushOne(hosted)
    this.#touched.clear()
  }

  /** The partition goes, or is offline: nobody coordinates here any more. */
  forget(partition: PartitionAgent): void {
    this.#reloads.delete(partition.state.partitionRef)
    const hosted = this.#hosted.get(partition.state.partitionRef)
    if (hosted?.partition === partition) this.#drop(hosted, 'NOT_COORDINATOR', '')
  }

  // What a kind asks for

  /** Something was decided that nobody asked for. */
  take(hosted: Hosted<Coordinator, Body, Effect>, records: readonly EncodedRecord[], effect?: Effect): void {
    if (records.length === 0 && effect === undefined) return
    if (records.length > 0) hosted.decisions.push({ records, transaction: undefined })
    if (effect !== undefined) hosted.waiting.push({ requestId: 0, reply: undefined, effect })
    this.#touched.add(hosted)
  }

  /** A request that was kept is decided again. */
  again(hosted: Hosted<Coordinator, Body, Effect>, request: CoordinatorRequest<Body>): void {
    this.#waiting++
    this.#decide(hosted, request)
  }

  /** A request that was kept has its answer, which leaves when all that was decided until now is durable. */
  release(hosted: Hosted<Coordinator, Body, Effect>, requestId: number, reply: CoordinatorReply): void {
    this.#waiting++
    hosted.waiting.push({ requestId, reply, effect: undefined })
    this.#touched.add(hosted)
  }

  /** A request that was kept is refused. */
  giveUp({ requestId }: Pick<CoordinatorRequest<Body>, 'requestId'>, error: ErrorCode, text: string): void {
    this.#options.replies.fail(requestId, error, text)
  }

  // Requests

  #find(
    partitionRef: number,
  ): Hosted<Coordinator, Body, Effect> | { readonly error: ErrorCode; readonly text: string } {
    const partition = this.#options.partitions.get(partitionRef)
    if (partition === undefined || partition.isClosed) return { error: 'NOT_COORDINATOR', text: '' }
    const refusal = checkLeads(partition.state)
    if (refusal?.error === 'NOT_LEADER_OR_FOLLOWER') return { error: 'NOT_COORDINATOR', text: '' }
    // What is written waits for its followers and is refused in time; what is only read would be told as it was.
    if (this.#options.mayBeLedElsewhere(partition))
      return { error: 'NOT_COORDINATOR', text: "the broker's lease may be over, and its followers are silent" }
    if (refusal !== undefined) return { error: 'COORDINATOR_NOT_AVAILABLE', text: refusal.text }
    const hosted = this.#hosted.get(partitionRef) ?? this.#begin(partition)
    return hosted.state === 'unreadable' ? { error: 'COORDINATOR_NOT_AVAILABLE', text: hosted.fault } : hosted
  }

  #decide(hosted: Hosted<Coordinator, Body, Effect>, request: CoordinatorRequest<Body>): void {
    const { requestId } = request
    // A decision before it took the partition offline.
    if (hosted.state !== 'serving') {
      this.#refuse([request], ...WENT)
      return
    }
    let decision: HostedDecision<Effect>
    try {
      decision = this.#kind.decide(hosted, request, this.#options.clock.monotonicMs())
    } catch (error) {
      if (!isMillraceError(error)) throw error
      // The header is none.
      this.#refuse([request], error.code, error.message)
      return
    }
    const { records, transaction, reply, effect, releases } = decision
    // Whoever keeps it bounds what it keeps.
    if (reply === undefined) this.#waiting--
    // This one did: to decide it may have the log read, which may turn out unreadable.
    if (isDropped(hosted)) {
      if (reply !== undefined) this.#refuse([request], ...WENT)
      return
    }
    if (reply === undefined) this.take(hosted, records, effect)
    else {
      if (records.length > 0) hosted.decisions.push({ records, transaction })
      hosted.waiting.push({ requestId, reply, effect })
      this.#touched.add(hosted)
    }
    if (releases !== undefined) for (const each of releases) this.release(hosted, each.requestId, each.reply)
  }

  #flushOne(hosted: Hosted<Coordinator, Body, Effect>): void {
    const batchBytesMax = hosted.partition.state.config.maxMessageBytes
    const batches = encodeDecisions(hosted.decisions, { batchBytesMax, timestampMs: this.#options.clock.nowMs() })
    hosted.decisions = []
    if (batches === undefined) {
      this.#drop(hosted, 'COORDINATOR_NOT_AVAILABLE', this.#kind.tooLarge)
      return
    }
    for (const [index, bytes] of batches.entries()) {
      // One before it was refused at once, and those that wait were told.
      if (hosted.state !== 'serving') return
      // The last batch is durable last.
      this.#append(hosted, bytes, index === batches.length - 1 ? takeWaiting(hosted) : [])
    }
    const last = hosted.batches.at(-1)
    if (last === undefined) this.#settle(hosted, takeWaiting(hosted))
    else for (const waiting of takeWaiting(hosted)) last.push(waiting)
  }

  #append(hosted: Hosted<Coordinator, Body, Effect>, bytes: Uint8Array, waiting: Waiting<Effect>[]): void {
    this.#options.produces.appendOwn(hosted.partition, bytes, this.#awaited(hosted, waiting))
  }

  /** One more batch is on its way: what it is told when that has ended. */
  #awaited(hosted: Hosted<Coordinator, Body, Effect>, waiting: Waiting<Effect>[]): OwnAppend {
    hosted.batches.push(waiting)
    return {
      onDurable: () => {
        if (hosted.state === 'dropped') return
        hosted.batches.shift()
        this.#settle(hosted, waiting)
      },
      onFailed: (error, text) => {
        if (hosted.state === 'dropped') return
        const what = `what was decided for ${this.#kind.subject} could not be stored: ${error} ${text}`
        this.#options.notices.log('warn', `${nameOf(hosted.partition)}: ${what}`)
        this.#drop(hosted, 'COORDINATOR_NOT_AVAILABLE', what)
      },
    }
  }

  /** What was decided before is staged already (flush). A coordinator that still loads reads the marker in the log. */
  onMarkerStaged(partition: PartitionAgent, { producerId, type }: OwnMarker): OwnAppend | undefined {
    const hosted = this.servingAt(partition.state.partitionRef)
    if (hosted?.coordinator.onMarker === undefined) return undefined
    hosted.coordinator.onMarker(producerId, type === 'COMMIT')
    return this.#awaited(hosted, [])
  }

  /** What was decided is so. */
  #settle(hosted: Hosted<Coordinator, Body, Effect>, waiting: readonly Waiting<Effect>[]): void {
    for (const { requestId, reply, effect } of waiting) {
      if (requestId !== 0) this.#waiting--
      if (reply?.kind === 'refused') this.#options.replies.fail(requestId, reply.error, reply.text)
      else if (reply !== undefined) this.#kind.answer(requestId, reply.header)
      if (effect !== undefined) this.#kind.onDurable(hosted, effect)
    }
  }

  #refuse(waiting: readonly { readonly requestId: number }[], error: ErrorCode, text: string): void {
    for (const { requestId } of waiting) {
      if (requestId !== 0) this.#waiting--
      this.#options.replies.fail(requestId, error, text)
    }
  }

  // Coming and going

  #begin(partition: PartitionAgent): Hosted<Coordinator, Body, Effect> {
    const coordinator = this.#kind.make(partition)
    const hosted: Hosted<Coordinator, Body, Effect> = {
      ...{ partition, coordinator, state: 'loading', fault: '', scan: undefined },
      ...{ parked: [], parkedBytes: 0, decisions: [], waiting: [], batches: [] },
    }
    this.#reloads.delete(partition.state.partitionRef)
    this.#hosted.set(partition.state.partitionRef, hosted)
    this.#loading.add(hosted)
    return hosted
  }

  #reload(nowMs: number): number {
    let work = 0
    for (const [partitionRef, atMs] of this.#reloads) {
      if (atMs > nowMs) continue
      this.#reloads.delete(partitionRef)
      this.load(partitionRef)
      work++
    }
    return work
  }

  /** One piece; false while its bytes are on their way. */
  #load(hosted: Hosted<Coordinator, Body, Effect>): boolean {
    const { partition, coordinator } = hosted
    const { state, log } = partition
    // Batches under way may still fail.
    if (state.highWatermark < log.logEndOffset) return false
    const { reader, cache, clock } = this.#options
    hosted.scan ??= new BatchScan({ partition, reader, cache }, state.logStartOffset)
    try {
      const bytes = hosted.scan.step(log.logEndOffset)
      if (bytes === 'waiting') return false
      if (bytes !== 'end') {
        this.#replay(hosted, bytes)
        return true
      }
      coordinator.onLoaded(clock.monotonicMs())
    } catch (error) {
      // Broken invariants, too: they are those of what is in the log, and the shard's other partitions have no part in it.
      this.#giveUpLog(hosted, error instanceof StorageError ? `${error.code}: ${error.message}` : String(error))
      return true
    }
    this.#loading.delete(hosted)
    hosted.state = 'serving'
    hosted.scan = undefined
    const { parked } = hosted
    hosted.parked = []
    hosted.parkedBytes = 0
    for (const request of parked) this.#decide(hosted, request)
    return true
  }

  #giveUpLog(hosted: Hosted<Coordinator, Body, Effect>, fault: string): void {
    const { partitionRef } = hosted.partition.state
    const text = `its ${this.#kind.subject} cannot be read: ${fault}`
    this.#options.notices.log('error', `${nameOf(hosted.partition)}: ${text}`)
    this.#drop(hosted, 'COORDINATOR_NOT_AVAILABLE', fault)
    this.#reloads.delete(partitionRef)
    hosted.state = 'unreadable'
    hosted.fault = text
    this.#hosted.set(partitionRef, hosted)
  }

  #replay({ coordinator, partition }: Hosted<Coordinator, Body, Effect>, bytes: Uint8Array): void {
    const batch = new BatchView()
    const reader = new BatchReader({ codecs: this.#options.codecs })
    for (let at = 0; at < bytes.length; at = batch.end) {
      batch.reset(bytes, at)
      const marker = markerOf(batch)
      if (marker !== undefined) coordinator.onMarker?.(batch.producerId, marker.type === 'COMMIT')
      const producerId = batch.isTransactional ? batch.producerId : -1
      reader.reset(bytes.subarray(at, batch.end), partition.state.logStartOffset)
      while (reader.next()) {
        if (reader.key === null) continue
        const outcome = coordinator.replay(reader.key, reader.value, producerId)
        if (outcome.kind === 'unreadable') throw new StorageError('ECORRUPT', outcome.reason ?? '')
      }
    }
  }

  #drop(hosted: Hosted<Coordinator, Body, Effect>, error: ErrorCode, text: string): void {
    const { partitionRef } = hosted.partition.state
    hosted.state = 'dropped'
    this.#hosted.delete(partitionRef)
    this.#loading.delete(hosted)
    this.#touched.delete(hosted)
    this.#refuse(hosted.parked, error, text)
    this.#refuse(hosted.waiting, error, text)
    for (const waiting of hosted.batches) this.#refuse(waiting, error, text)
    hosted.batches.length = 0
    hosted.parked = []
    hosted.waiting = []
    this.#kind.onDropped(hosted, error, text)
    if (this.#kind.reloads && error !== 'NOT_COORDINATOR')
      this.#reloads.set(partitionRef, this.#options.clock.monotonicMs() + RELOAD_MS)
  }
}

/** As a call: what was compared before the decision is not so after it. */
function isDropped({ state }: { readonly state: Hosted<unknown, unknown, unknown>['state'] }): boolean {
  return state !== 'serving'
}

export function nameOf({ topicId, partition }: PartitionAgent): string {
  return `${topicId}-${partition}`
}

function takeWaiting<Effect>(hosted: Hosted<unknown, unknown, Effect>): Waiting<Effect>[] {
  const { waiting } = hosted
  hosted.waiting = []
  return waiting
}
