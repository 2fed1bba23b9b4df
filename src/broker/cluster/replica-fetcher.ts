/**
 * ReplicaFetcher: what this broker follows at one leader broker: one request after the other for all of it, and what comes handed to the
 * shards.
 *
 * Owns        the partitions that are followed there, and how far each has come
 * Thread      main
 * Invariants  RF1 one request under way, and a second one only to end the first's wait: partitions came that it does not ask for
 *             RF2 a partition is asked for from the log end and last epoch that its shard told last; not while an append of it is under way
 *             RF3 an offline partition is not asked for: whoever asks at the leader's log end counts as in sync
 *             RF4 what a leader answered reaches a shard only while the partition is followed under the epoch that was asked for
 * Ordering    request -> reply -> appends to the shards -> their answers -> next request. The answer to an append means written; synced ends go to
 *             the leader beside it (progress()), in messages that nobody answers: all of them again over a connection that is another
 *             one or was in trouble, and those that the leader may not have heard every TELL_AGAIN_MS
 * Limits      REQUEST_PARTITIONS_MAX a request, those that waited longest first: who has got data goes behind the others, for a reply ends
 *             where it is full; BYTES_MAX a reply, PARTITION_BYTES_MAX of one partition and no more than its shard's
 *             ring takes; replicas that are not in sync wait for the throttle
 * Failure     a connection that fails is tried again after RETRY_MS; a partition that fails waits PARTITION_RETRY_MS and is asked for
 *             again: a new leader or epoch comes by the cluster image, never from here
 */
import type { Clock } from '../../base/clock.ts'
import { type ErrorCode, errorCodeOf, isMillraceError } from '../../model/errors.ts'
import { REQUEST_PARTITIONS_MAX } from '../../model/limits.ts'
import type { ReplicaIdentity } from '../../model/replica.ts'
import {
  type ReplicaFetchReply,
  type ReplicaFetchReplyPart,
  type ReplicaProgressRow,
  replicaFetch,
  replicaProgress,
} from '../../protocol/index.ts'
import type { ReplicaAppendedFields, ReplicaSyncedRow } from '../../ring/replica-codec.ts'
import type { Logger } from '../../telemetry/logger.ts'
import type { Connection } from '../../transport/connection.ts'
import type { PartitionProxy } from '../partition-router.ts'
import type { ReplicaAppendWaiter, ShardLink } from '../shard-link.ts'
import type { Timers } from '../timers.ts'
import type { CatchUpThrottle } from './catch-up-throttle.ts'
import type { Peers } from './peers.ts'

const MIB = 1024 * 1024
const BYTES_MAX = 8 * MIB
const PARTITION_BYTES_MAX = 1 * MIB
const RETRY_MS = 100
const PARTITION_RETRY_MS = 250
/** A batch does not become smaller; another leader may make others, or this broker is given larger rings. */
const TOO_LARGE_RETRY_MS = 10_000
const REPLY_SLACK_MS = 5_000
/** A message that was lost is missed for so long. */
const TELL_AGAIN_MS = 2_000
const EXPECTED_CODES: readonly ErrorCode[] = [
  ...(['NOT_LEADER_OR_FOLLOWER', 'FENCED_LEADER_EPOCH', 'UNKNOWN_LEADER_EPOCH'] as const),
  ...(['REPLICA_NOT_AVAILABLE', 'UNKNOWN_TOPIC_OR_PARTITION'] as const),
]

/** How far a replica is, as its shard told when it began to follow. */
export interface ReplicaPosition {
  readonly logEndOffset: number
  readonly lastEpoch: number
}

interface Followed {
  readonly proxy: PartitionProxy
  readonly leaderEpoch: number
  fetchOffset: number
  lastEpoch: number
  /** What its shard was told last: an append that says nothing new is not sent. */
  highWatermark: number
  logStartOffset: number
  isAppending: boolean
  /** Of the request that asks for it; 0 = none. */
  requestId: number
  notBeforeMs: number
  /** What its shard synced last, as the leader was told; -1 = nothing under this epoch. */
  syncedEndOffset: number
  /** The leader had nothing new to say of it and answered all the same, as it does until it has heard a synced end. */
  isUnheard: boolean
}

/** Of a request: an answer is about the offset that was asked for. */
interface Asked {
  readonly followed: Followed
  readonly fetchOffset: number
}

export interface ReplicaFetcherOptions {
  readonly leaderNodeId: number
  readonly self: ReplicaIdentity
  readonly peers: Pick<Peers, 'call' | 'openTo'>
  readonly links: readonly ShardLink[]
  readonly clock: Clock
  readonly timers: Timers
  readonly logger: Logger
  readonly waitMs: number
  /** Of all fetchers of this broker. */
  readonly throttle: CatchUpThrottle
}

export class ReplicaFetcher implements ReplicaAppendWaiter {
  readonly #options: ReplicaFetcherOptions
  readonly #followed = new Map<number, Followed>()
  /** Requests without a reply. */
  #underWay = 0
  #requestId = 0
  #appending = 0
  #isScheduled = false
  #notBeforeMs = Number.NEGATIVE_INFINITY
  #cancelTimer: () => void = () => {}
  /** Over which the leader was told all synced ends; undefined = what it was told last may be lost. */
  #toldOver: Connection | undefined
  #tellAgainMs = Number.NEGATIVE_INFINITY
  #isClosed = false

  constructor(options: ReplicaFetcherOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#followed.size
  }

  /** Follows a partition from here on, under the epoch that its proxy has. */
  follow(proxy: PartitionProxy, { logEndOffset, lastEpoch }: ReplicaPosition): void {
    this.#followed.set(proxy.ref, {
      ...{ proxy, leaderEpoch: proxy.leaderEpoch, fetchOffset: logEndOffset, lastEpoch },
      ...{ highWatermark: -1, logStartOffset: -1, isAppending: false, requestId: 0 },
      ...{ notBeforeMs: Number.NEGATIVE_INFINITY, syncedEndOffset: -1, isUnheard: false },
    })
    this.#schedule()
  }

  unfollow(ref: number): void {
    this.#followed.delete(ref)
  }

  /** A shard has synced what it follows: the leader is told now if it can be reached, else once it can. */
  progress(rows: readonly ReplicaSyncedRow[]): void {
    const synced: Followed[] = []
    for (const { partitionRef, leaderEpoch, syncedEndOffset } of rows) {
      const followed = this.#followed.get(partitionRef)
      if (followed?.leaderEpoch !== leaderEpoch) continue
      followed.syncedEndOffset = syncedEndOffset
      synced.push(followed)
    }
    this.#tell(synced, this.#connection())
  }

  /** After a reply, so that there is a connection: what it was told before may have been lost with another one, or at the leader's. */
  #tellAgain(): void {
    const connection = this.#connection()
    const nowMs = this.#options.clock.monotonicMs()
    const isAll = connection !== this.#toldOver
    if (connection === undefined || (!isAll && nowMs < this.#tellAgainMs)) return
    this.#tellAgainMs = nowMs + TELL_AGAIN_MS
    this.#toldOver = connection
    const untold: Followed[] = []
    for (const followed of this.#followed.values()) {
      // To be heard at the leader's log end counts as being in sync (RF3).
      const isThere = followed.syncedEndOffset >= 0 && followed.proxy.state !== 'offline'
      if (isThere && (isAll || !this.#isHeard(followed))) untold.push(followed)
      followed.isUnheard = false
    }
    this.#tell(untold, connection)
  }

  /** The leader's watermark would not be there without it, nor would it be in sync. */
  #isHeard(followed: Followed): boolean {
    const { highWatermark, syncedEndOffset, isUnheard } = followed
    return !isUnheard && highWatermark >= syncedEndOffset && this.#isInSync(followed)
  }

  #connection(): Connection | undefined {
    const { peers, leaderNodeId } = this.#options
    return peers.openTo(leaderNodeId)
  }

  #tell(synced: readonly Followed[], connection: Connection | undefined): void {
    if (connection === undefined) return
    const { self } = this.#options
    const rows = synced.map(({ proxy, leaderEpoch, syncedEndOffset }): ReplicaProgressRow => {
      const { topicId, partition } = proxy
      return { topicId, partition, leaderEpoch, syncedEndOffset }
    })
    for (let from = 0; from < rows.length; from += REQUEST_PARTITIONS_MAX) {
      const header = replicaProgress.encode({ ...self, rows: rows.slice(from, from + REQUEST_PARTITIONS_MAX) })
      connection.sendOneWay(replicaProgress.api, header, [], () => {})
    }
  }

  /** The leader's broker can be reached again, perhaps. */
  wake(): void {
    this.#notBeforeMs = Number.NEGATIVE_INFINITY
    this.#schedule()
  }

  close(): void {
    this.#isClosed = true
    this.#cancelTimer()
    this.#followed.clear()
  }

  /** Several changes of one turn make one request. */
  #schedule(): void {
    if (this.#isScheduled || this.#isClosed) return
    this.#isScheduled = true
    this.#options.timers.soon(() => {
      this.#isScheduled = false
      this.#step()
    })
  }

  #step(): void {
    if (this.#isClosed || this.#appending > 0 || this.#underWay > 1) return
    const nowMs = this.#options.clock.monotonicMs()
    if (nowMs < this.#notBeforeMs) {
      this.#wakeAt(this.#notBeforeMs, nowMs)
      return
    }
    const parts = this.#due(nowMs)
    // What is under way asks for all there is: its reply comes first.
    if (parts.length === 0 || (this.#underWay > 0 && !parts.some(({ requestId }) => requestId === 0))) return
    this.#request(parts)
  }

  /** Who can be asked for now; sets the timer for the first who cannot yet. */
  #due(nowMs: number): Followed[] {
    const due: Followed[] = []
    const throttledMs = nowMs + this.#options.throttle.delayMs(nowMs)
    let nextMs = Number.POSITIVE_INFINITY
    for (const followed of this.#followed.values()) {
      if (followed.isAppending) continue
      if (followed.proxy.state === 'offline') followed.notBeforeMs = nowMs + PARTITION_RETRY_MS
      const fromMs = this.#isInSync(followed) ? followed.notBeforeMs : Math.max(throttledMs, followed.notBeforeMs)
      if (fromMs > nowMs) nextMs = Math.min(nextMs, fromMs)
      else due.push(followed)
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.#wakeAt(nextMs, nowMs)
    return due.length <= REQUEST_PARTITIONS_MAX ? due : this.#someOf(due)
  }

  #isInSync({ proxy }: Followed): boolean {
    return proxy.inSync.includes(this.#options.self.nodeId)
  }

  /** More than a request has room for: they take turns. */
  #someOf(due: readonly Followed[]): Followed[] {
    const some = due.slice(0, REQUEST_PARTITIONS_MAX)
    for (const followed of some) this.#moveBack(followed)
    return some
  }

  #moveBack(followed: Followed): void {
    this.#followed.delete(followed.proxy.ref)
    this.#followed.set(followed.proxy.ref, followed)
  }

  #request(due: readonly Followed[]): void {
    const { peers, leaderNodeId, self, waitMs } = this.#options
    const requestId = ++this.#requestId
    for (const followed of due) followed.requestId = requestId
    const parts = due.map((followed): Asked => ({ followed, fetchOffset: followed.fetchOffset }))
    const request = {
      ...{ nodeId: self.nodeId, incarnation: self.incarnation, waitMs, minBytes: 1, maxBytes: BYTES_MAX },
      parts: due.map(({ proxy, leaderEpoch, fetchOffset, lastEpoch }) => ({
        ...{ topicId: proxy.topicId, partition: proxy.partition, leaderEpoch, fetchOffset, lastEpoch },
        maxBytes: Math.min(PARTITION_BYTES_MAX, this.#linkOf(proxy).replicaAppendBytesMax),
      })),
    }
    this.#underWay++
    peers
      .call(leaderNodeId, replicaFetch, request, { timeoutMs: waitMs + REPLY_SLACK_MS })
      .finally(() => this.#ended(parts, requestId))
      .then(({ value, body }) => this.#onReply(parts, value, body))
      .catch((error: unknown) => this.#onFailed(error))
  }

  #linkOf({ shard }: PartitionProxy): ShardLink {
    return this.#options.links[shard]!
  }

  #onReply(parts: readonly Asked[], reply: ReplicaFetchReply, body: Uint8Array): void {
    let at = 0
    for (const row of reply.parts) {
      const batches = body.subarray(at, at + row.batchBytes)
      at += row.batchBytes
      const asked = parts[row.index]
      if (asked !== undefined && this.#isCurrent(asked)) this.#takeSafely(asked.followed, row, batches)
    }
    this.#tellAgain()
    this.#schedule()
  }

  /** What is wrong with one partition is not to keep the others from what came for them, nor to end the process. */
  #takeSafely(followed: Followed, row: ReplicaFetchReplyPart, batches: Uint8Array): void {
    try {
      this.#take(followed, row, batches)
    } catch (error) {
      const { topicName: topic, partition } = followed.proxy
      this.#options.logger.error({ err: error, topic, partition }, 'what a leader sent could not be handed on')
      this.#postpone(followed)
    }
  }

  #onFailed(error: unknown): void {
    const { clock, logger, leaderNodeId } = this.#options
    this.#notBeforeMs = clock.monotonicMs() + RETRY_MS
    this.#toldOver = undefined
    if (!isMillraceError(error)) logger.error({ err: error, leader: leaderNodeId }, 'a fetch of a follower failed')
    else logger.debug({ leader: leaderNodeId }, `the leader's broker cannot be read: ${error.message}`)
    this.#schedule()
  }

  #ended(parts: readonly Asked[], requestId: number): void {
    this.#underWay--
    for (const { followed } of parts) if (followed.requestId === requestId) followed.requestId = 0
  }

  #isCurrent({ followed, fetchOffset }: Asked): boolean {
    const isFollowed = this.#followed.get(followed.proxy.ref) === followed
    return isFollowed && !followed.isAppending && followed.fetchOffset === fetchOffset
  }

  #take(followed: Followed, row: ReplicaFetchReplyPart, batches: Uint8Array): void {
    if (row.errorNumber !== 0 && errorCodeOf(row.errorNumber) !== 'OFFSET_OUT_OF_RANGE') {
      this.#postpone(followed)
      return
    }
    if (!this.#fits(followed, batches)) {
      this.#postpone(followed, TOO_LARGE_RETRY_MS)
      return
    }
    const isNews =
      batches.length > 0 ||
      row.errorNumber !== 0 ||
      row.divergingEpoch >= 0 ||
      row.highWatermark > followed.highWatermark ||
      row.logStartOffset > followed.logStartOffset
    if (!isNews) {
      followed.isUnheard = true
      return
    }
    const link = this.#linkOf(followed.proxy)
    const { highWatermark, logStartOffset, divergingEpoch, divergingEndOffset } = row
    const { leaderEpoch, proxy } = followed
    const append = {
      partitionRef: proxy.ref,
      leaderEpoch,
      divergingEpoch,
      divergingEndOffset,
      highWatermark,
      logStartOffset,
    }
    const answer = link.replicaAppend(append, batches.length === 0 ? [] : [batches], this, proxy.ref)
    if (answer === 'full' || answer === 'failed') {
      this.#postpone(followed)
      return
    }
    const { throttle, clock } = this.#options
    if (!this.#isInSync(followed)) throttle.spend(batches.length, clock.monotonicMs())
    if (batches.length > 0) this.#moveBack(followed)
    followed.isAppending = true
    // A cut takes no high watermark: the next answer, though it may tell the same, is what the shard verifies its log by.
    const isCut = divergingEpoch >= 0 || logStartOffset > followed.fetchOffset
    followed.highWatermark = isCut ? -1 : highWatermark
    followed.logStartOffset = logStartOffset
    this.#appending++
  }

  /** No more was asked for, but a leader sends one batch whatever its size. */
  #fits({ proxy }: Followed, batches: Uint8Array): boolean {
    const bytesMax = this.#linkOf(proxy).replicaAppendBytesMax
    if (batches.length <= bytesMax) return true
    const { topicName: topic, partition } = proxy
    const text = `a batch of the leader's is too large: ${batches.length} bytes, a request to a shard has at most ${bytesMax} (rings.requestBytes)`
    this.#options.logger.error({ topic, partition }, text)
    return false
  }

  onReplicaAppended(ref: number, fields: Readonly<ReplicaAppendedFields>): void {
    this.#appending--
    const followed = this.#followed.get(ref)
    if (followed?.isAppending) {
      followed.isAppending = false
      if (fields.errorNumber === 0) {
        followed.fetchOffset = fields.logEndOffset
        followed.lastEpoch = fields.lastEpoch
        // It was cut: its shard tells where it has synced what is left.
        if (fields.logEndOffset < followed.syncedEndOffset) followed.syncedEndOffset = -1
      } else this.#onRefused(followed, fields)
    }
    this.#schedule()
  }

  /** The shard knows better by now, or cannot: what it is told next comes with another epoch, or after a while. */
  #onRefused(
    followed: Followed,
    { errorNumber, text, logEndOffset, lastEpoch }: Readonly<ReplicaAppendedFields>,
  ): void {
    const { topicName: topic, partition } = followed.proxy
    const code = errorCodeOf(errorNumber)
    // It leads by now, or follows under another epoch: what was on its way is nobody's fault.
    const level = EXPECTED_CODES.includes(code) ? 'debug' : 'warn'
    this.#options.logger[level]({ topic, partition }, `a replica did not take what its leader sent: ${code} ${text}`)
    if (logEndOffset >= 0) {
      followed.fetchOffset = logEndOffset
      followed.lastEpoch = lastEpoch
    }
    followed.highWatermark = -1
    this.#postpone(followed)
  }

  #postpone(followed: Followed, delayMs: number = PARTITION_RETRY_MS): void {
    followed.notBeforeMs = this.#options.clock.monotonicMs() + delayMs
  }

  #wakeAt(atMs: number, nowMs: number): void {
    this.#cancelTimer()
    this.#cancelTimer = this.#options.timers.after(Math.max(1, Math.ceil(atMs - nowMs)), () => this.#schedule())
  }
}
