/**
 * Fetcher: keeps a consumer's buffer filled: one long-polling fetch to each broker, over all partitions that are read from it.
 *
 * Source      the partition's leader; with a rackId an in-sync replica in that rack, if the leader is elsewhere. One that does not serve, for
 *             whatever reason, is left alone for REPLICA_PAUSE_MS, and the leader is asked at once: it alone knows what is out of range
 * Ordering    reply -> positions -> the next fetch leaves -> the records are handed out: the broker works while the caller does
 * Invariants  F1 a partition's position moves by records received, by the stated policy, and by nothing else: no error moves it
 *             F2 a partition is in at most one fetch at a time, so its records arrive once and in order
 * Limits      prefetchBytesMax of received bytes that nobody has taken, checked before each fetch; one fetch may exceed it by
 *             its own size
 * Failure     lost connections and moved leaders: asked again, for ever, with backoff; a position past the end: who leads is looked up, and whoever does
 *             is believed; what cannot mend: onFault
 */
import type { AbortedTransaction } from '../model/aborted-transaction.ts'
import { ERRORS, errorCodeOf, MillraceError } from '../model/errors.ts'
import {
  type FetchReply,
  type FetchReplyPart,
  type FetchRequestPart,
  fetch,
  READ_COMMITTED,
} from '../protocol/index.ts'
import { BATCH_HEADER_BYTES, batchBytesAt } from '../record/batch-layout.ts'
import { BatchView } from '../record/batch-view.ts'
import type { Connection, Reply } from '../transport/connection.ts'
import { sleep } from './abort.ts'
import { asMillraceError } from './as-millrace-error.ts'
import { type BackoffOptions, backoffMs } from './backoff.ts'
import { type BrokerConnections, PATIENCE_MS } from './broker-connections.ts'
import type { ClientRuntime } from './client-runtime.ts'
import type { ResolvedConsumerOptions } from './consumer-options.ts'
import { mayHaveMoved, mayMove } from './leader-changes.ts'
import type { MetadataCache } from './metadata-cache.ts'

/** One partition as a consumer reads it. */
export interface Cursor {
  readonly topic: string
  readonly partition: number
  /** The next offset to ask for; what is before it has been received. */
  fetchOffset: number
  /** Stop before it; infinity = never. */
  readonly endOffset: number
  highWatermark: number
  failures: number
  notBeforeMs: number
  /** Until then it is read from its leader, wherever that is. */
  leaderOnlyUntilMs: number
  /** The leader said that it ends before `fetchOffset`, and was not asked again yet. */
  isPastEnd: boolean
  /** The fetch that is out went to a follower. */
  isAtFollower: boolean
  isOut: boolean
  /** Not asked for now; what is on its way still comes. */
  isPaused: boolean
  /** Taken out: what is on its way is dropped. */
  isRemoved: boolean
}

/** A cursor that has asked for nothing yet. */
export function newCursor(topic: string, partition: number, fetchOffset: number, endOffset: number): Cursor {
  const never = Number.NEGATIVE_INFINITY
  const none = {
    highWatermark: -1,
    failures: 0,
    notBeforeMs: never,
    leaderOnlyUntilMs: never,
    isPastEnd: false,
    isAtFollower: false,
  }
  return { topic, partition, fetchOffset, endOffset, ...none, isOut: false, isPaused: false, isRemoved: false }
}

/** Received bytes of one partition, at least one whole batch. */
export interface FetchedBytes {
  readonly cursor: Cursor
  readonly fromOffset: number
  readonly nextOffset: number
  readonly highWatermark: number
  readonly bytes: Uint8Array
  /** Transactions whose batches in `bytes` are passed over, beginning with the first of them. */
  readonly aborted: readonly AbortedTransaction[]
}

export interface FetcherEvents {
  onBytes(fetched: FetchedBytes): void
  /** The policy for offsets that are out of range moved a partition. */
  onReset(cursor: Cursor, fromOffset: number): void
  /** Nothing more will come: what stands in the way cannot mend. */
  onFault(error: MillraceError): void
  /** Every partition has reached its end. */
  onDone(): void
}

export interface FetcherParts {
  readonly runtime: ClientRuntime
  readonly connections: BrokerConnections
  readonly metadata: MetadataCache
  readonly backoff: BackoffOptions
  readonly requestTimeoutMs: number
}

export interface FetcherOptions extends Omit<ResolvedConsumerOptions, 'from' | 'to' | 'partitions' | 'onDecodeError'> {
  /**
   * Fetches to one leader at a time. With 1 a partition that is added waits for the long poll under way; with 2 it does not.
   */
  readonly fetchesPerLeaderMax: number
  /** Partitions come and go: to have none is not the end. */
  readonly isOpenEnded: boolean
}

/** A topic that the broker does not know for so many attempts is gone, not late. */
const UNKNOWN_TOPIC_FAILURES_MAX = 8
/** A follower that did not serve a partition is not asked again for so long. */
const REPLICA_PAUSE_MS = 30_000
/** With a rackId: how often metadata is asked for anew, as replicas come and go in the rack. */
const LOOK_AROUND_MS = 60_000

export class Fetcher {
  readonly #parts: FetcherParts
  readonly #options: FetcherOptions
  #cursors: Cursor[]
  readonly #events: FetcherEvents
  /** By broker: fetches under way, or that wait for a connection. */
  readonly #busy = new Map<number, number>()
  readonly #stop = new AbortController()
  readonly #view = new BatchView()
  /** Received, and not handed out yet. */
  readonly #arrived: FetchedBytes[] = []
  /** A reply is being read: a fault of one part waits for the others. */
  #isAnswering = false
  #heldFault: MillraceError | undefined
  #turn = 0
  #bufferedBytes = 0
  #wakeAtMs = Number.POSITIVE_INFINITY
  #lookedAroundMs: number
  #isDone = false

  constructor(parts: FetcherParts, options: FetcherOptions, cursors: readonly Cursor[], events: FetcherEvents) {
    this.#parts = parts
    this.#options = options
    this.#cursors = [...cursors]
    this.#events = events
    this.#lookedAroundMs = parts.runtime.clock.monotonicMs()
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes
  }

  start(): void {
    this.#advance()
  }

  /** Reads more partitions, from now on. */
  add(cursors: readonly Cursor[]): void {
    this.#cursors.push(...cursors)
    this.#startFetches()
  }

  /** Stops reading a partition: nothing of it is handed out any more. */
  remove(cursor: Cursor): void {
    cursor.isRemoved = true
    this.#cursors = this.#cursors.filter((each) => each !== cursor)
  }

  /** A cursor is paused no longer. */
  resume(): void {
    this.#startFetches()
  }

  stop(): void {
    this.#isDone = true
    this.#stop.abort()
  }

  /** The consumer has taken bytes out of its buffer. */
  taken(bytes: number): void {
    const wasFull = this.#bufferedBytes >= this.#options.prefetchBytesMax
    this.#bufferedBytes -= bytes
    if (wasFull && this.#bufferedBytes < this.#options.prefetchBytesMax) this.#advance()
  }

  #advance(): void {
    this.#startFetches()
    this.#checkDone()
  }

  #checkDone(): void {
    if (
      this.#isDone ||
      this.#options.isOpenEnded ||
      this.#cursors.some((cursor) => cursor.fetchOffset < cursor.endOffset)
    )
      return
    this.#isDone = true
    this.#events.onDone()
  }

  /** Starts a fetch to every broker that has partitions to read and none under way. */
  #startFetches(): void {
    if (this.#isDone) return
    if (this.#bufferedBytes >= this.#options.prefetchBytesMax) return
    const nowMs = this.#parts.runtime.clock.monotonicMs()
    this.#lookAround(nowMs)
    const bySource = new Map<number, Cursor[]>()
    let laterMs = Number.POSITIVE_INFINITY
    const gone = new Set<Cursor>()
    // Partitions take turns at the head of the request: a broker fills its answer from there.
    const count = this.#cursors.length
    if (count === 0) return
    this.#turn = (this.#turn + 1) % count
    for (let step = 0; step < count; step++) {
      const cursor = this.#cursors[(this.#turn + step) % count]!
      if (cursor.isOut || cursor.isPaused || cursor.fetchOffset >= cursor.endOffset) continue
      if (cursor.notBeforeMs > nowMs) {
        laterMs = Math.min(laterMs, cursor.notBeforeMs)
        continue
      }
      const source = this.#sourceOf(cursor, nowMs)
      if (source < 0 && this.#isGone(cursor)) gone.add(cursor)
      else if (source < 0) {
        this.#postpone(cursor, new MillraceError('LEADER_NOT_AVAILABLE'))
        laterMs = Math.min(laterMs, cursor.notBeforeMs)
      } else if ((this.#busy.get(source) ?? 0) < this.#options.fetchesPerLeaderMax) {
        const list = bySource.get(source)
        if (list === undefined) bySource.set(source, [cursor])
        else list.push(cursor)
      }
    }
    if (gone.size > 0) this.#cursors = this.#cursors.filter((cursor) => !gone.has(cursor))
    for (const [source, cursors] of bySource) this.#begin(source, cursors)
    this.#wakeAt(laterMs, nowMs)
  }

  /**
   * It drained, and is gone: nothing of it is left to be fetched. What has arrived is handed out. A member of a group may hear of a partition
   * before this client's metadata does, and hears of its end from the coordinator.
   */
  #isGone({ topic, partition }: Cursor): boolean {
    if (this.#options.isOpenEnded) return false
    const info = this.#parts.metadata.peek(topic)
    return info !== undefined && partition >= info.partitions.length
  }

  /** Whom to ask: see the head of this file; -1 = nobody now. */
  #sourceOf(cursor: Cursor, nowMs: number): number {
    const { metadata } = this.#parts
    const info = metadata.peek(cursor.topic)?.partitions[cursor.partition]
    if (info === undefined || info.offline !== null) return -1
    const { rackId } = this.#options
    const { leaderNodeId, inSync } = info
    if (rackId === null || leaderNodeId < 0 || cursor.leaderOnlyUntilMs > nowMs) return leaderNodeId
    if (metadata.rackOf(leaderNodeId) === rackId) return leaderNodeId
    const near = inSync.filter((nodeId) => metadata.rackOf(nodeId) === rackId)
    return near[cursor.partition % near.length] ?? leaderNodeId
  }

  /** Followers come into the rack and into sync, and nobody says so. */
  #lookAround(nowMs: number): void {
    if (this.#options.rackId === null || nowMs - this.#lookedAroundMs < LOOK_AROUND_MS) return
    this.#lookedAroundMs = nowMs
    for (const topic of new Set(this.#cursors.map((cursor) => cursor.topic)))
      this.#parts.metadata.refresh(topic).catch(() => {})
  }

  #wakeAt(atMs: number, nowMs: number): void {
    if (atMs >= this.#wakeAtMs || atMs === Number.POSITIVE_INFINITY) return
    this.#wakeAtMs = atMs
    sleep(this.#parts.runtime, Math.max(1, Math.ceil(atMs - nowMs)), this.#stop.signal).then(
      () => {
        this.#wakeAtMs = Number.POSITIVE_INFINITY
        this.#advance()
      },
      () => {},
    )
  }

  #begin(source: number, cursors: readonly Cursor[]): void {
    this.#busy.set(source, (this.#busy.get(source) ?? 0) + 1)
    for (const cursor of cursors) {
      cursor.isOut = true
      cursor.isAtFollower = this.#options.rackId !== null && this.#isFollower(cursor, source)
    }
    const end = (): void => {
      this.#busy.set(source, this.#busy.get(source)! - 1)
      for (const cursor of cursors) cursor.isOut = false
      this.#startFetches()
      this.#handOut()
      this.#checkDone()
    }
    this.#fetch(source, cursors).then(end, (error: unknown) => {
      const fault = asMillraceError(error)
      for (const cursor of cursors) {
        if (cursor.isAtFollower) this.#leaveFollower(cursor)
        else if (fault.retriable) this.#postpone(cursor, fault)
        else this.#fault(fault)
      }
      end()
    })
  }

  /** What has come goes to the consumer, also before a fault is told. */
  #handOut(): void {
    for (const fetched of this.#arrived.splice(0)) if (!fetched.cursor.isRemoved) this.#events.onBytes(fetched)
  }

  async #fetch(source: number, cursors: readonly Cursor[]): Promise<void> {
    const { connections, metadata, requestTimeoutMs, runtime } = this.#parts
    const connection: Connection =
      connections.openTo(source) ??
      (await connections.node(source, { signal: this.#stop.signal, patienceMs: PATIENCE_MS }))
    if (this.#isDone) return
    const asked: Cursor[] = []
    const nowMs = runtime.clock.monotonicMs()
    const parts: FetchRequestPart[] = []
    for (const cursor of cursors) {
      const topic = metadata.peek(cursor.topic)
      const info = topic?.partitions[cursor.partition]
      if (topic === undefined || info === undefined || this.#sourceOf(cursor, nowMs) !== source) continue
      cursor.isAtFollower = info.leaderNodeId !== source
      const { partition, fetchOffset } = cursor
      const maxBytes = this.#options.partitionBytesMax
      parts.push({ topicId: topic.topicId, partition, leaderEpoch: info.leaderEpoch, fetchOffset, maxBytes })
      asked.push(cursor)
    }
    if (parts.length === 0) return
    const { waitMs, minBytes, fetchBytesMax, isolation, rackId } = this.#options
    const request = { waitMs, minBytes, maxBytes: fetchBytesMax, isolation, parts, anyReplica: rackId !== null }
    const reply = await connection.call(fetch, request, { timeoutMs: waitMs + requestTimeoutMs })
    if (this.#isDone) return
    this.#isAnswering = true
    try {
      this.#takeReply(connection, reply, asked)
    } finally {
      this.#isAnswering = false
    }
    if (this.#heldFault !== undefined) this.#fault(this.#heldFault)
  }

  #takeReply(connection: Connection, reply: Reply<FetchReply>, asked: readonly Cursor[]): void {
    let at = 0
    for (const part of reply.value.parts) {
      const cursor = asked[part.index]
      const end = at + part.batchBytes
      if (cursor === undefined || end > reply.body.length)
        throw new MillraceError('NETWORK_EXCEPTION', `${connection.url}: a fetch reply does not fit its request`)
      if (!cursor.isRemoved) this.#answered(cursor, part, reply.body.subarray(at, end))
      at = end
    }
  }

  #answered(cursor: Cursor, part: FetchReplyPart, bytes: Uint8Array): void {
    const code = errorCodeOf(part.errorNumber)
    if (code !== 'NONE' && cursor.isAtFollower) {
      this.#leaveFollower(cursor)
      return
    }
    if (code === 'OFFSET_OUT_OF_RANGE') {
      this.#outOfRange(cursor, part)
      return
    }
    if (code !== 'NONE') {
      const text = part.errorText === '' ? ERRORS[code].text : part.errorText
      const error = new MillraceError(code, `${cursor.topic}/${cursor.partition}: ${text}`)
      if (error.retriable) this.#postpone(cursor, error)
      else this.#fault(error)
      return
    }
    cursor.failures = 0
    cursor.isPastEnd = false
    if (part.highWatermark >= 0) cursor.highWatermark = part.highWatermark
    if (bytes.length === 0) return
    const fromOffset = cursor.fetchOffset
    const nextOffset = this.#nextOffset(bytes, cursor)
    if (nextOffset <= fromOffset) return
    cursor.fetchOffset = nextOffset
    this.#bufferedBytes += bytes.length
    const { aborted } = part
    this.#arrived.push({ cursor, fromOffset, nextOffset, highWatermark: cursor.highWatermark, bytes, aborted })
  }

  /** Offset after the last whole batch; the fetch offset when there is none. */
  #nextOffset(bytes: Uint8Array, cursor: Cursor): number {
    let nextOffset = cursor.fetchOffset
    let at = 0
    while (bytes.length - at >= BATCH_HEADER_BYTES) {
      const total = batchBytesAt(bytes, at, bytes.length)
      if (total < 0 || total > bytes.length - at) break
      nextOffset = this.#view.reset(bytes, at).nextOffset
      at += total
    }
    if (at === 0 || !Number.isSafeInteger(nextOffset))
      this.#fault(
        new MillraceError(
          'CORRUPT_MESSAGE',
          `${cursor.topic}/${cursor.partition}: the answer at offset ${cursor.fetchOffset} is not a record batch`,
        ),
      )
    return nextOffset
  }

  #outOfRange(cursor: Cursor, part: FetchReplyPart): void {
    const { leaderEpoch = -1 } = this.#parts.metadata.peek(cursor.topic)?.partitions[cursor.partition] ?? {}
    if (part.leaderEpoch >= 0 && part.leaderEpoch < leaderEpoch) {
      // From a leader of the past: its ends say nothing of where the partition ends now.
      this.#postpone(cursor, new MillraceError('FENCED_LEADER_EPOCH', `${cursor.topic}/${cursor.partition}`))
      return
    }
    if (cursor.fetchOffset > part.highWatermark && !cursor.isPastEnd) {
      // What was read is not gone: another one may lead, and this one not know it yet. Whoever leads then is believed.
      cursor.isPastEnd = true
      this.#askWhoLeads(cursor)
      return
    }
    cursor.isPastEnd = false
    const policy = this.#options.onOutOfRange
    const start = part.logStartOffset
    const end = this.#options.isolation === READ_COMMITTED ? part.lastStableOffset : part.highWatermark
    const target = policy === 'earliest' ? start : end
    if (policy === 'fail' || target < 0 || target === cursor.fetchOffset) {
      this.#fault(
        new MillraceError(
          'OFFSET_OUT_OF_RANGE',
          `${cursor.topic}/${cursor.partition}: offset ${cursor.fetchOffset} is not within [${start}, ${end}]; ` +
            `begin elsewhere, or set onOutOfRange to 'earliest' or 'latest'`,
        ),
      )
      return
    }
    const fromOffset = cursor.fetchOffset
    cursor.fetchOffset = target
    this.#events.onReset(cursor, fromOffset)
  }

  /** It is fetched again when that is known, or cannot be learned now. */
  #askWhoLeads(cursor: Cursor): void {
    cursor.notBeforeMs = Number.POSITIVE_INFINITY
    this.#parts.metadata
      .refresh(cursor.topic)
      .catch(() => {})
      .then(() => {
        cursor.notBeforeMs = Number.NEGATIVE_INFINITY
        this.#advance()
      })
  }

  #isFollower({ topic, partition }: Cursor, nodeId: number): boolean {
    return this.#parts.metadata.peek(topic)?.partitions[partition]?.leaderNodeId !== nodeId
  }

  /** The leader is asked instead, at once; who is in sync may have changed. */
  #leaveFollower(cursor: Cursor): void {
    cursor.leaderOnlyUntilMs = this.#parts.runtime.clock.monotonicMs() + REPLICA_PAUSE_MS
    cursor.isAtFollower = false
    this.#parts.metadata.refresh(cursor.topic).catch(() => {})
  }

  /** The partition is asked for again later; its position stays. */
  #postpone(cursor: Cursor, error: MillraceError): void {
    if (cursor.isRemoved) return
    const { runtime, backoff, metadata } = this.#parts
    cursor.failures++
    cursor.notBeforeMs = runtime.clock.monotonicMs() + backoffMs(runtime.prng, cursor.failures, backoff)
    const unknown = error.code === 'UNKNOWN_TOPIC_OR_PARTITION' || error.code === 'UNKNOWN_TOPIC_ID'
    if (unknown && cursor.failures > UNKNOWN_TOPIC_FAILURES_MAX) {
      this.#fault(error)
      return
    }
    // Nobody answers where the leader was: it may be elsewhere, or another one may lead.
    if (!mayHaveMoved(error) && !mayMove(error)) return
    metadata.refresh(cursor.topic).catch((cause: unknown) => {
      const fault = asMillraceError(cause)
      if (fault.code === 'UNKNOWN_TOPIC_OR_PARTITION' && cursor.failures > UNKNOWN_TOPIC_FAILURES_MAX)
        this.#fault(fault)
    })
  }

  #fault(error: MillraceError): void {
    if (this.#isAnswering) this.#heldFault ??= error
    if (this.#isAnswering || this.#isDone) return
    this.stop()
    this.#handOut()
    this.#events.onFault(error)
  }
}
