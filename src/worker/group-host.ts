/**
 * GroupHost: the coordinators of this shard: one for each partition of the offsets topic that somebody has asked.
 *
 * Owns        the coordinators, their topic directory, and the requests that wait for them
 * Thread      the shard
 * Ordering    a request: decided at once, its records join those of this turn -> one batch a coordinator and turn -> written with the
 *             turn's other batches -> when it is durable, the replies. A reply without records waits for the batches before it:
 *             what it tells may come from them
 * Loading     the first request has the partition read from its start, one piece a turn; requests wait meanwhile. It begins when
 *             all that is in the log is durable, so that the state that is built is one that stays
 * Failure     a batch that was refused: what the coordinator has decided since is not so. It is dropped, everyone who waits is told
 *             COORDINATOR_NOT_AVAILABLE, and the next request loads it anew. A log that cannot be read: the same, with the reason
 * Limits      WAITING_MAX requests over all coordinators; LOADING_BYTES_MAX of those that wait for one that loads; a decision is at
 *             most one batch
 * Not here    decisions (group/), from the wire to requests and back (group-wire.ts)
 */
import type { Clock } from '../base/clock.ts'
import {
  type EncodedRecord,
  GroupCoordinator,
  type GroupCoordinatorOptions,
  type TopicChanges,
  TopicDirectory,
} from '../group/index.ts'
import { StorageError } from '../io/file-system.ts'
import { type ErrorCode, isMillraceError } from '../model/errors.ts'
import type { OwnAppend } from '../partition/delayed-produce.ts'
import { checkLeads } from '../partition/partition-fetch.ts'
import { BatchReader } from '../record/batch-reader.ts'
import { BatchView } from '../record/batch-view.ts'
import { BatchWriter, RECORD_OVERHEAD_BYTES_MAX } from '../record/batch-writer.ts'
import type { Codecs } from '../record/compression.ts'
import type { GroupRequestBody, GroupTopicsBody } from '../ring/control-messages.ts'
import { BatchScan } from './batch-scan.ts'
import type { ControlReplies } from './control-replies.ts'
import { answerGroupRequest, type GroupAnswer } from './group-wire.ts'
import type { NoticeSender } from './notice-sender.ts'
import type { PageCache } from './page-cache.ts'
import type { PartitionAgent } from './partition-agent.ts'
import type { PartitionTable } from './partition-table.ts'
import type { ProduceHandler } from './produce-handler.ts'
import type { SegmentReader } from './segment-reader.ts'

const WAITING_MAX = 100_000
/** Headers of requests that wait for one coordinator to load. */
const LOADING_BYTES_MAX = 4 * 1024 * 1024
/** Decisions share a batch up to this many bytes. */
const BATCH_BYTES = 256 * 1024
/** What is due of one coordinator in one turn: a group each. */
const DUE_PER_TURN = 32

/** A notice must fit a frame of the reply ring, however small that was set. */
const HINTS_PER_NOTICE = 16

const NO_BATCHES: Uint8Array[] = []
const TOO_LARGE = "the group has become larger than the broker's largest batch: it needs fewer members or partitions"

interface GroupRequest {
  readonly requestId: number
  readonly body: GroupRequestBody
}

interface Waiting {
  readonly requestId: number
  readonly reply: GroupAnswer['reply']
}

interface Hosted {
  readonly partition: PartitionAgent
  readonly coordinator: GroupCoordinator
  /** 'unreadable': what is in the log is not what coordinators write; it stays so until the partition is opened anew. */
  state: 'loading' | 'serving' | 'dropped' | 'unreadable'
  fault: string
  scan: BatchScan | undefined
  /** Requests that came while it loads. */
  parked: GroupRequest[]
  parkedBytes: number
  /** Of this turn, by decision: a crash may not leave half of one. */
  decisions: (readonly EncodedRecord[])[]
  replies: Waiting[]
  /** Who waits for each of the batches that are not durable yet, oldest first. */
  readonly batches: Waiting[][]
}

export interface GroupHostOptions {
  readonly partitions: PartitionTable
  readonly produces: ProduceHandler
  readonly replies: ControlReplies
  readonly notices: NoticeSender
  readonly reader: SegmentReader
  readonly cache: PageCache
  readonly codecs: Codecs
  readonly clock: Clock
  /** What coordinators are made of, but for what the host itself has. */
  readonly coordinator: Omit<GroupCoordinatorOptions, 'directory'>
}

export class GroupHost {
  readonly #options: GroupHostOptions
  readonly #directory = new TopicDirectory()
  readonly #hosted = new Map<number, Hosted>()
  readonly #loading = new Set<Hosted>()
  /** Those with something to write or to answer at the end of this turn. */
  readonly #touched = new Set<Hosted>()
  #waiting = 0

  constructor(options: GroupHostOptions) {
    this.#options = options
  }

  /** When step() has something to do by itself. */
  nextDeadlineMs(): number {
    if (this.#loading.size > 0) return this.#options.clock.monotonicMs() + 1
    let next = Number.POSITIVE_INFINITY
    for (const { coordinator } of this.#hosted.values())
      next = Math.min(next, coordinator.nextDeadlineMs, coordinator.nextHintsMs)
    return next
  }

  onRequest(requestId: number, body: GroupRequestBody): void {
    const { replies } = this.#options
    const partition = this.#options.partitions.get(body.partitionRef)
    if (partition === undefined || partition.isClosed) {
      replies.fail(requestId, 'NOT_COORDINATOR', '')
      return
    }
    const refusal = checkLeads(partition.state)
    if (refusal !== undefined) {
      replies.fail(requestId, 'COORDINATOR_NOT_AVAILABLE', refusal.text)
      return
    }
    const hosted = this.#hosted.get(body.partitionRef) ?? this.#begin(partition)
    if (hosted.state === 'unreadable') {
      replies.fail(requestId, 'COORDINATOR_NOT_AVAILABLE', hosted.fault)
      return
    }
    const isFull = hosted.state === 'loading' && hosted.parkedBytes >= LOADING_BYTES_MAX
    if (isFull || this.#waiting >= WAITING_MAX) {
      if (isFull) replies.fail(requestId, 'COORDINATOR_LOAD_IN_PROGRESS', '')
      else replies.fail(requestId, 'OVERLOADED', `${WAITING_MAX} requests of groups wait on this shard`)
      return
    }
    this.#waiting++
    if (hosted.state === 'loading') {
      hosted.parked.push({ requestId, body })
      hosted.parkedBytes += body.header.length
    } else this.#decide(hosted, { requestId, body })
  }

  onTopics(requestId: number, { upserted, removed }: GroupTopicsBody): void {
    for (const topicId of removed) this.#directory.remove(topicId)
    for (const { topicId, name, partitions } of upserted)
      this.#directory.put({ topicId, name, partitionCount: partitions })
    const changes: TopicChanges = { changed: upserted.map(({ topicId }) => topicId), deleted: removed }
    for (const { state, coordinator } of this.#hosted.values())
      if (state === 'serving') coordinator.onTopicsChanged(changes)
    this.#options.replies.answer(requestId, {})
  }

  /** Loads a piece of each that loads, and does what is due; flush() must follow. Answers how much was done. */
  step(nowMs: number): number {
    let work = 0
    for (const hosted of this.#loading) work += this.#load(hosted) ? 1 : 0
    for (const hosted of this.#hosted.values()) if (hosted.state === 'serving') work += this.#doDue(hosted, nowMs)
    return work
  }

  #doDue(hosted: Hosted, nowMs: number): number {
    const { coordinator } = hosted
    let work = this.#sendHints(coordinator, nowMs)
    for (; work < DUE_PER_TURN && coordinator.nextDeadlineMs <= nowMs; work++) {
      const decision = coordinator.onDeadline(nowMs)
      if (decision === undefined) continue
      this.#take(hosted, decision.records)
      const name = `group ${decision.groupId}`
      for (const text of decision.notices) this.#options.notices.log('info', `${name}: ${text}`)
      for (const { memberId, reason } of decision.fenced)
        this.#options.notices.log('info', `${name}: ${memberId} was removed, its ${reason} timeout is over`)
    }
    return work
  }

  /** A hint that is lost is no loss: its member hears of it later. */
  #sendHints(coordinator: GroupCoordinator, nowMs: number): number {
    let groups = 0
    for (; groups < DUE_PER_TURN && coordinator.nextHintsMs <= nowMs; groups++) {
      const members = coordinator.takeHints(nowMs) ?? []
      for (let from = 0; from < members.length; from += HINTS_PER_NOTICE)
        this.#options.notices.send({ kind: 'group-changed', members: members.slice(from, from + HINTS_PER_NOTICE) })
    }
    return groups
  }

  get hasPending(): boolean {
    return this.#touched.size > 0
  }

  /** Stages what this turn's decisions wrote, before the turn's write. */
  flush(): void {
    for (const hosted of this.#touched) if (hosted.state === 'serving') this.#flushOne(hosted)
    this.#touched.clear()
  }

  /** The partition goes, or is offline: nobody coordinates its groups here any more. */
  forget(partition: PartitionAgent): void {
    const hosted = this.#hosted.get(partition.state.partitionRef)
    if (hosted?.partition === partition) this.#drop(hosted, 'NOT_COORDINATOR', '')
  }

  // Requests

  #decide(hosted: Hosted, { requestId, body }: GroupRequest): void {
    const nowMs = this.#options.clock.monotonicMs()
    const answer = this.#answerOf(hosted, requestId, body, nowMs)
    if (answer === undefined) return
    const { records, notices, reply } = answer
    for (const text of notices) this.#options.notices.log('warn', `${nameOf(hosted.partition)}: ${text}`)
    if (records.length > 0) hosted.decisions.push(records)
    hosted.replies.push({ requestId, reply })
    this.#touched.add(hosted)
  }

  /** undefined: the header is none; it was answered. */
  #answerOf(hosted: Hosted, requestId: number, body: GroupRequestBody, nowMs: number): GroupAnswer | undefined {
    try {
      return answerGroupRequest(hosted.coordinator, body, nowMs)
    } catch (error) {
      if (!isMillraceError(error)) throw error
      this.#refuse([{ requestId }], error.code, error.message)
      return undefined
    }
  }

  #take(hosted: Hosted, records: readonly EncodedRecord[]): void {
    if (records.length === 0) return
    hosted.decisions.push(records)
    this.#touched.add(hosted)
  }

  #flushOne(hosted: Hosted): void {
    const batches = this.#encode(hosted)
    hosted.decisions = []
    if (batches === undefined) {
      this.#drop(hosted, 'COORDINATOR_NOT_AVAILABLE', TOO_LARGE)
      return
    }
    for (const [index, bytes] of batches.entries()) {
      // One before it was refused at once, and those that wait were told.
      if (hosted.state !== 'serving') return
      // The last batch is durable last.
      this.#append(hosted, bytes, index === batches.length - 1 ? takeReplies(hosted) : [])
    }
    const last = hosted.batches.at(-1)
    if (last === undefined) this.#answer(takeReplies(hosted))
    else for (const reply of takeReplies(hosted)) last.push(reply)
  }

  #append(hosted: Hosted, bytes: Uint8Array, replies: Waiting[]): void {
    hosted.batches.push(replies)
    const own: OwnAppend = {
      onDurable: () => {
        if (hosted.state === 'dropped') return
        hosted.batches.shift()
        this.#answer(replies)
      },
      onFailed: (error, text) => {
        if (hosted.state === 'dropped') return
        const what = `what was decided for groups could not be stored: ${error} ${text}`
        this.#options.notices.log('warn', `${nameOf(hosted.partition)}: ${what}`)
        this.#drop(hosted, 'COORDINATOR_NOT_AVAILABLE', what)
      },
    }
    this.#options.produces.appendOwn(hosted.partition, bytes, own)
  }

  /**
   * The turn's decisions as batches, each in memory of its own; a decision is in one of them, but for mere removals. Undefined when one
   * does not fit the largest batch.
   */
  #encode(hosted: Hosted): Uint8Array[] | undefined {
    if (hosted.decisions.length === 0) return NO_BATCHES
    const { maxMessageBytes } = hosted.partition.state.config
    const writer = new BatchWriter({ batchBytesMax: maxMessageBytes })
    const nowMs = this.#options.clock.nowMs()
    const batches: Uint8Array[] = []
    const close = (): void => {
      if (writer.recordsCount > 0) batches.push(writer.finish().slice())
      writer.reset()
    }
    for (const decision of hosted.decisions) {
      let bytes = 0
      for (const { key, value } of decision) bytes += key.length + (value?.length ?? 0) + RECORD_OVERHEAD_BYTES_MAX
      if (writer.sizeInBytes + bytes > Math.min(BATCH_BYTES, maxMessageBytes)) close()
      for (const { key, value } of decision) {
        if (writer.append(key, value, null, nowMs)) continue
        if (decision.some((record) => record.value !== null)) return undefined
        close()
        if (!writer.append(key, value, null, nowMs)) return undefined
      }
    }
    close()
    return batches
  }

  #answer(waiting: readonly Waiting[]): void {
    this.#waiting -= waiting.length
    for (const { requestId, reply } of waiting) {
      if (reply.kind === 'refused') this.#options.replies.fail(requestId, reply.error, reply.text)
      else this.#options.replies.relay(requestId, reply.header)
    }
  }

  #refuse(waiting: readonly { readonly requestId: number }[], error: ErrorCode, text: string): void {
    this.#waiting -= waiting.length
    for (const { requestId } of waiting) this.#options.replies.fail(requestId, error, text)
  }

  // Coming and going

  #begin(partition: PartitionAgent): Hosted {
    const coordinator = new GroupCoordinator({ ...this.#options.coordinator, directory: this.#directory })
    const hosted: Hosted = {
      ...{ partition, coordinator, state: 'loading', fault: '', scan: undefined },
      ...{ parked: [], parkedBytes: 0, decisions: [], replies: [], batches: [] },
    }
    this.#hosted.set(partition.state.partitionRef, hosted)
    this.#loading.add(hosted)
    return hosted
  }

  /** One piece; false while its bytes are on their way. */
  #load(hosted: Hosted): boolean {
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
      this.#giveUp(hosted, error instanceof StorageError ? `${error.code}: ${error.message}` : String(error))
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

  #giveUp(hosted: Hosted, fault: string): void {
    this.#options.notices.log('error', `${nameOf(hosted.partition)}: its groups cannot be read: ${fault}`)
    this.#drop(hosted, 'COORDINATOR_NOT_AVAILABLE', fault)
    hosted.state = 'unreadable'
    hosted.fault = `its groups cannot be read: ${fault}`
    this.#hosted.set(hosted.partition.state.partitionRef, hosted)
  }

  #replay({ coordinator, partition }: Hosted, bytes: Uint8Array): void {
    const batch = new BatchView()
    const reader = new BatchReader({ codecs: this.#options.codecs })
    for (let at = 0; at < bytes.length; at = batch.end) {
      batch.reset(bytes, at)
      reader.reset(bytes.subarray(at, batch.end), partition.state.logStartOffset)
      while (reader.next()) {
        if (reader.key === null) continue
        const outcome = coordinator.replay(reader.key, reader.value)
        if (outcome.kind === 'unreadable') throw new StorageError('ECORRUPT', outcome.reason)
      }
    }
  }

  #drop(hosted: Hosted, error: ErrorCode, text: string): void {
    hosted.state = 'dropped'
    this.#hosted.delete(hosted.partition.state.partitionRef)
    this.#loading.delete(hosted)
    this.#touched.delete(hosted)
    this.#refuse(hosted.parked, error, text)
    this.#refuse(hosted.replies, error, text)
    for (const replies of hosted.batches) this.#refuse(replies, error, text)
    hosted.batches.length = 0
    hosted.parked = []
    hosted.replies = []
  }
}

function nameOf({ topicId, partition }: PartitionAgent): string {
  return `${topicId}-${partition}`
}

function takeReplies(hosted: Hosted): Waiting[] {
  const { replies } = hosted
  hosted.replies = []
  return replies
}
