/**
 * FetchCall: a fetch of a consumer or of a follower, over the shards that have its partitions; one reply made of their pages.
 *
 * Thread    main
 * Plan      one shard: it gets the request as it is. Several: maxBytes is split into grants, every sub-fetch waits for minBytes 1,
 *           and when what has come satisfies the request the others are told to finish now
 * Pages     a reply's fragments are views of shared pages; each is given back when the engine has copied or written it
 * Room      a fetch reaches the shards only when its connection has room; a reply that finds none is dropped, its pages given
 *           back, and read again when the client has caught up
 * Limits    while clients leave much unread (the pool is pressed), grants shrink to SMALL_GRANT_BYTES. FETCH_REPLY_ABORTED_MAX: parts
 *           whose aborted transactions would make the header too large are left out, and come with a later fetch; with allPartitions they
 *           are rows without batches
 * Errors    a partition's own error is its part's; the others are served
 */
import { NO_ABORTED } from '../../model/aborted-transaction.ts'
import { type ErrorCode, errorNumberOf } from '../../model/errors.ts'
import { FETCH_REPLY_ABORTED_MAX, REQUEST_PARTITIONS_MAX } from '../../model/limits.ts'
import type { ReplicaIdentity } from '../../model/replica.ts'
import type { FetchReplyPart } from '../../protocol/index.ts'
import { fetchReplyAbortedAt, readAborted } from '../../ring/message-codec.ts'
import {
  ABORTED_BYTES,
  FETCH_REPLY_PARTITION_ABORTED_AT,
  FETCH_REPLY_PARTITION_BATCH_BYTES_AT,
  FETCH_REPLY_PARTITION_BYTES,
  FETCH_REPLY_PARTITION_COUNT_AT,
  FETCH_REPLY_PARTITION_DIVERGING_END_AT,
  FETCH_REPLY_PARTITION_DIVERGING_EPOCH_AT,
  FETCH_REPLY_PARTITION_ERROR_AT,
  FETCH_REPLY_PARTITION_FRAGMENTS_AT,
  FETCH_REPLY_PARTITION_HIGH_WATERMARK_AT,
  FETCH_REPLY_PARTITION_LAST_STABLE_AT,
  FETCH_REPLY_PARTITION_LEADER_EPOCH_AT,
  FETCH_REPLY_PARTITION_LOG_START_AT,
  FETCH_REPLY_PARTITION_REF_AT,
  FETCH_REPLY_PARTITIONS_AT,
  FRAGMENT_BYTES,
  FRAGMENT_FROM_AT,
  FRAGMENT_PAGE_AT,
  FRAGMENT_TO_AT,
} from '../../ring/messages.ts'
import type { RingReader } from '../../ring/ring-reader.ts'
import type { Connection, Outgoing } from '../connection.ts'
import { leadRefusal } from '../partition-router.ts'
import type { FetchWaiter, ShardLink, SubFetchPart } from '../shard-link.ts'
import type { HandlerContext } from './handler-context.ts'

const SMALL_GRANT_BYTES = 64 * 1024

/** What is asked for, whoever asks. */
export interface FetchPlan {
  /** Of the metrics. */
  readonly name: string
  readonly waitMs: number
  readonly minBytes: number
  readonly maxBytes: number
  readonly isolation: number
  readonly parts: readonly FetchPlanPart[]
  /** Who follows; undefined = a consumer. */
  readonly replica: ReplicaIdentity | undefined
  /** Of a consumer: this broker may answer for partitions that it follows. */
  readonly anyReplica: boolean
  /** Of a consumer: a row for each partition, also for those that have nothing new. */
  readonly allPartitions?: boolean
  /** The whole reply: fragments of it are the rows' views. */
  encode(rows: readonly FetchedRow[]): Uint8Array[]
}

export interface FetchPlanPart {
  readonly topicId: string
  readonly partition: number
  readonly leaderEpoch: number
  readonly fetchOffset: number
  readonly maxBytes: number
  /** Of a replica: the epoch of the last batch it has; -1 = none. */
  readonly lastEpoch?: number
}

/** A row of the reply. */
export interface FetchedPart extends FetchReplyPart {
  /** -1 = the follower's history is the leader's. */
  readonly divergingEpoch: number
  readonly divergingEndOffset: number
}

/** A part of the reply, and where its batches lie: in shared pages, until the reply has left. */
export interface FetchedRow {
  readonly part: FetchedPart
  readonly views: readonly Uint8Array[]
}

export interface FetchCallOptions {
  readonly gateway: HandlerContext
  readonly connection: FetchConnection
  readonly plan: FetchPlan
  /** How the reply leaves, where it is not by the connection's outbox as it is. */
  readonly send?: (outgoing: Outgoing) => void
}

/** Whom the records go to, as far as a fetch knows it. */
export type FetchConnection = Pick<
  Connection,
  'fetches' | 'openRequests' | 'hasRoom' | 'isClosed' | 'hold' | 'sendOutgoing'
>

/** What goes to one shard. */
interface Share {
  readonly link: ShardLink
  readonly parts: SubFetchPart[]
  /** Index in the request of each part. */
  readonly indexes: number[]
  /** 0 = answered. */
  requestId: number
}

export class FetchCall implements FetchWaiter {
  readonly #call: FetchCallOptions
  readonly #startedMs: number
  #shares: Share[] = []
  #unanswered = 0
  #replies: FetchedRow[] = []
  /** Page references held: link and page in turn. */
  #pages: { readonly link: ShardLink; readonly page: number }[] = []
  #bytes = 0
  #abortedCount = 0
  #isFinishing = false
  #isCancelled = false

  constructor(call: FetchCallOptions) {
    this.#call = call
    this.#startedMs = call.gateway.clock.monotonicMs()
  }

  /** When the connection has room, now or later. */
  begin(): void {
    const { connection } = this.#call
    connection.openRequests++
    if (connection.hasRoom) this.start()
    else connection.hold(this)
  }

  /** Whoever asked wants the answer now, with what there is. */
  finish(): void {
    this.#finishOthers()
  }

  /** Also called again after a dropped reply, with the time that is left. */
  start(): void {
    const { gateway, connection, plan } = this.#call
    if (connection.isClosed) return
    this.#plan()
    connection.fetches.add(this)
    const maxBytes = gateway.pool.isSendPressed ? Math.min(plan.maxBytes, SMALL_GRANT_BYTES) : plan.maxBytes
    const shareCount = this.#shares.length
    const elapsedMs = gateway.clock.monotonicMs() - this.#startedMs
    // With an answer in hand (an error) nobody waits.
    const waitMs = this.#replies.length > 0 ? 0 : Math.max(0, Math.ceil(plan.waitMs - elapsedMs))
    const shares = this.#shares
    for (let tag = 0; tag < shareCount; tag++) {
      const share = shares[tag]!
      const answer = share.link.fetch(
        {
          waitMs,
          minBytes: shareCount === 1 ? plan.minBytes : Math.min(1, plan.minBytes),
          maxBytes: Math.max(1, Math.floor(maxBytes / shareCount)),
          isolation: plan.isolation,
          parts: share.parts,
          replica: plan.replica,
          anyReplica: plan.anyReplica,
          allPartitions: plan.allPartitions ?? false,
        },
        this,
        tag,
      )
      if (answer === 'full') this.#failShare(tag, 'OVERLOADED', `shard ${share.link.shard} has no room`)
      else if (answer === 'failed') this.#failShare(tag, 'KAFKA_STORAGE_ERROR', share.link.reason ?? '')
      else share.requestId = answer
    }
    this.#finishIfDone()
  }

  #plan(): void {
    const { gateway, plan } = this.#call
    const byShard = new Map<number, Share>()
    this.#shares = []
    this.#replies = []
    for (let index = 0; index < plan.parts.length; index++) {
      const part = plan.parts[index]!
      const topic = gateway.router.byId(part.topicId)
      const partition = topic?.partitions[part.partition]
      if (partition === undefined) {
        this.#fail(index, topic === undefined ? 'UNKNOWN_TOPIC_ID' : 'UNKNOWN_TOPIC_OR_PARTITION', '')
        continue
      }
      const refusal = plan.anyReplica && gateway.mayReadAsFollower(partition) ? undefined : leadRefusal(partition)
      if (refusal !== undefined) {
        this.#fail(index, refusal.code, refusal.text)
        continue
      }
      let share = byShard.get(partition.shard)
      // What a message to a shard carries is bounded: a request of more is several.
      if (share === undefined || share.parts.length >= REQUEST_PARTITIONS_MAX) {
        share = { link: gateway.links[partition.shard]!, parts: [], indexes: [], requestId: 0 }
        byShard.set(partition.shard, share)
        this.#shares.push(share)
      }
      share.indexes.push(index)
      share.parts.push({
        partitionRef: partition.ref,
        leaderEpoch: part.leaderEpoch,
        fetchOffset: part.fetchOffset,
        maxBytes: part.maxBytes,
        lastEpoch: part.lastEpoch ?? -1,
      })
    }
    this.#unanswered = this.#shares.length
    this.#bytes = 0
    this.#abortedCount = 0
    this.#isFinishing = false
  }

  onFetched(link: ShardLink, tag: number, reader: RingReader): void {
    const share = this.#shares[tag]!
    share.requestId = 0
    this.#unanswered--
    this.#read(link, share, reader)
    if (this.#isCancelled) this.#releasePages()
    else if (this.#unanswered > 0 && !this.#isFinishing && this.#isSatisfied()) this.#finishOthers()
    this.#finishIfDone()
  }

  onFetchFailed(_link: ShardLink, tag: number, code: ErrorCode, text: string): void {
    this.#failShare(tag, code, text)
    this.#finishIfDone()
  }

  /** The connection is gone. */
  cancel(): void {
    this.#isCancelled = true
    this.#releasePages()
    for (const share of this.#shares) if (share.requestId !== 0) share.link.cancel(share.requestId)
  }

  #isSatisfied(): boolean {
    const isNews = ({ part }: FetchedRow): boolean => part.errorNumber !== 0 || part.divergingEpoch !== -1
    return this.#bytes >= this.#call.plan.minBytes || this.#replies.some(isNews)
  }

  #finishOthers(): void {
    this.#isFinishing = true
    for (const share of this.#shares) if (share.requestId !== 0) share.link.finish(share.requestId)
  }

  #read(link: ShardLink, share: Share, reader: RingReader): void {
    const { view, at } = reader
    const partitionCount = view.getUint32(at + FETCH_REPLY_PARTITION_COUNT_AT, true)
    let partAt = at + FETCH_REPLY_PARTITIONS_AT
    let fragmentAt = partAt + partitionCount * FETCH_REPLY_PARTITION_BYTES
    let abortedAt = -1
    let next = 0
    for (let count = 0; count < partitionCount; count++, partAt += FETCH_REPLY_PARTITION_BYTES) {
      const ref = view.getUint32(partAt + FETCH_REPLY_PARTITION_REF_AT, true)
      // Replies come in the order of the request: one look each, as a rule.
      let looked = 0
      while (share.parts[next % share.parts.length]!.partitionRef !== ref && looked++ < share.parts.length) next++
      const index = share.indexes[next++ % share.parts.length]!
      const views: Uint8Array[] = []
      const fragmentCount = view.getUint32(partAt + FETCH_REPLY_PARTITION_FRAGMENTS_AT, true)
      for (let fragment = 0; fragment < fragmentCount; fragment++, fragmentAt += FRAGMENT_BYTES) {
        const page = view.getUint32(fragmentAt + FRAGMENT_PAGE_AT, true)
        const from = view.getUint32(fragmentAt + FRAGMENT_FROM_AT, true)
        const to = view.getUint32(fragmentAt + FRAGMENT_TO_AT, true)
        views.push(link.side.pages.view(page, from, to))
        this.#pages.push({ link, page })
      }
      const batchBytes = view.getUint32(partAt + FETCH_REPLY_PARTITION_BATCH_BYTES_AT, true)
      this.#bytes += batchBytes
      const abortedCount = view.getUint32(partAt + FETCH_REPLY_PARTITION_ABORTED_AT, true)
      if (abortedCount > 0 && abortedAt < 0) abortedAt = fetchReplyAbortedAt(view, at)
      const aborted = readAborted(view, abortedAt, abortedCount)
      abortedAt += abortedCount * ABORTED_BYTES
      this.#abortedCount += abortedCount
      this.#replies.push({
        part: {
          index,
          errorNumber: view.getInt32(partAt + FETCH_REPLY_PARTITION_ERROR_AT, true),
          errorText: '',
          highWatermark: view.getFloat64(partAt + FETCH_REPLY_PARTITION_HIGH_WATERMARK_AT, true),
          lastStableOffset: view.getFloat64(partAt + FETCH_REPLY_PARTITION_LAST_STABLE_AT, true),
          logStartOffset: view.getFloat64(partAt + FETCH_REPLY_PARTITION_LOG_START_AT, true),
          leaderEpoch: view.getInt32(partAt + FETCH_REPLY_PARTITION_LEADER_EPOCH_AT, true),
          batchBytes,
          aborted,
          divergingEpoch: view.getInt32(partAt + FETCH_REPLY_PARTITION_DIVERGING_EPOCH_AT, true),
          divergingEndOffset: view.getFloat64(partAt + FETCH_REPLY_PARTITION_DIVERGING_END_AT, true),
        },
        views,
      })
    }
  }

  #fail(index: number, code: ErrorCode, text: string): void {
    const part: FetchedPart = {
      index,
      errorNumber: errorNumberOf(code),
      errorText: text,
      highWatermark: -1,
      lastStableOffset: -1,
      logStartOffset: -1,
      leaderEpoch: -1,
      batchBytes: 0,
      aborted: NO_ABORTED,
      ...{ divergingEpoch: -1, divergingEndOffset: -1 },
    }
    this.#replies.push({ part, views: [] })
  }

  #failShare(tag: number, code: ErrorCode, text: string): void {
    const share = this.#shares[tag]!
    share.requestId = 0
    this.#unanswered--
    if (code !== 'NONE') for (const index of share.indexes) this.#fail(index, code, text)
  }

  #releasePages(): void {
    const pages = this.#pages
    this.#pages = []
    // A failed shard's channel is dropped with all its pages.
    for (const { link, page } of pages) if (link.state !== 'failed') link.side.pages.release(page)
  }

  #finishIfDone(): void {
    if (this.#unanswered > 0) return
    const { gateway, connection, plan } = this.#call
    if (!connection.fetches.delete(this) || this.#isCancelled || connection.isClosed) return
    this.#replies.sort((left, right) => left.part.index - right.part.index)
    if (this.#abortedCount > FETCH_REPLY_ABORTED_MAX) this.#fitHeader()
    const send = this.#call.send ?? ((outgoing: Outgoing) => connection.sendOutgoing(outgoing))
    send({
      fragments: plan.encode(this.#replies),
      onDone: () => {
        this.#releasePages()
        this.#over()
      },
      ...(this.#pages.length === 0 ? {} : { onNoRoom: () => this.#readAgainLater() }),
    })
    gateway.metrics.observeFetchedBytes(this.#bytes)
  }

  /** Leaves out the batches whose aborted transactions find no room in the header; their pages are given back with the others. */
  #fitHeader(): void {
    const { allPartitions = false } = this.#call.plan
    let room = FETCH_REPLY_ABORTED_MAX
    this.#replies = this.#replies.flatMap((row) => {
      const { part } = row
      if (part.aborted.length <= room) {
        room -= part.aborted.length
        return [row]
      }
      this.#bytes -= part.batchBytes
      return allPartitions ? [{ part: { ...part, batchBytes: 0, aborted: NO_ABORTED }, views: [] }] : []
    })
  }

  #readAgainLater(): void {
    this.#releasePages()
    this.#call.connection.hold(this)
  }

  #over(): void {
    const { gateway, connection, plan } = this.#call
    connection.openRequests--
    gateway.metrics.observeRequest(plan.name, gateway.clock.monotonicMs() - this.#startedMs)
  }
}
