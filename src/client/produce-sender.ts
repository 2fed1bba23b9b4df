/**
 * ProduceSender: carries a producer's batches to the brokers that lead their partitions, and the answers back.
 *
 * Ordering    one pump at a time; a request takes at most one batch of each partition, partitions take turns
 * Invariants  S1 the batches of a partition that are in flight are with one leader under one epoch: nothing goes to the next one before
 *                all are answered, or their connection has ended                                         checked in: #isOnItsWay()
 *             S2 a partition whose leader may have moved waits for metadata; the others do not
 * Limits      requestBytesMax a request, REQUESTS_MAX requests without an answer a connection, and the broker's credit: while
 *             it is used up, batches keep filling instead of being queued as frames
 * Failure     per batch, decided by its PartitionQueue; here: when to ask for metadata, when to try again. A produce without a reply in time
 *             ends its connection: sent again alone, it would come behind batches of its partitions that are still under way
 */
import { ERRORS, type ErrorCode, errorCodeOf, MillraceError } from '../model/errors.ts'
import type { TopicId } from '../model/ids.ts'
import {
  initProducerId,
  type ProduceReplyPart,
  type ProduceRequestPart,
  type ProducerIdentity,
  produce,
} from '../protocol/index.ts'
import type { Connection } from '../transport/connection.ts'
import { asMillraceError } from './as-millrace-error.ts'
import { type BackoffOptions, backoffMs } from './backoff.ts'
import { type BrokerConnections, PATIENCE_MS } from './broker-connections.ts'
import type { ClientRuntime, Timer } from './client-runtime.ts'
import { mayHaveMoved, mayMove } from './leader-changes.ts'
import { type MetadataCache, openPartitions, type TopicInfo } from './metadata-cache.ts'
import { type BatchFault, faultOf, type PartitionQueue } from './partition-queue.ts'
import type { ProducerBatch } from './producer-batch.ts'
import type { Requests } from './requests.ts'
import { deliveryTimedOut } from './waiting-sends.ts'

const REQUESTS_MAX = 64
/** Prologue, header and a part's fields, generously. */
const REQUEST_OVERHEAD_BYTES = 256
const PART_OVERHEAD_BYTES = 64
/** Metadata older than this is asked for again while records flow: partitions may have been added. */
const METADATA_AGE_MS_MAX = 300_000
/** The same with acks none: nobody says that the leader has moved. */
const METADATA_AGE_UNTOLD_MS_MAX = 10_000
/** Who asks for metadata again and again waits up to so long in between, and begins anew after having had no need to for a while. */
const REFRESH_PAUSE_MS_MAX = 500
const REFRESH_CALM_MS = 5_000
/** A topic that the broker does not know for so long is gone, not late. */
const UNKNOWN_TOPIC_MS_MAX = 3_000

export interface ProduceSenderOptions {
  readonly topic: string
  readonly acks: -1 | 0 | 1
  readonly idempotent: boolean
  readonly requestBytesMax: number
  readonly requestTimeoutMs: number
  readonly backoff: BackoffOptions
}

/** What stands between batches and their partitions in a transaction. */
export interface TransactionGate {
  /** Whose the partition's next batch is; undefined = it may not leave yet, wake() tells when. */
  admit(topicId: TopicId, partition: number): ProducerIdentity | undefined
  /** The partition does not know of the transaction: true = it is told again, and the batch may go after that. */
  addAgain(topicId: TopicId, partition: number): boolean
  /** A batch was given up: the transaction can only be aborted. Answers the error as it is told. */
  failed(error: MillraceError): MillraceError
}

/** What the sender tells its producer of every batch. */
export interface BatchOutcomes {
  onStored(batch: ProducerBatch, queue: PartitionQueue, part: StoredPart): void
  onFailed(batch: ProducerBatch, queue: PartitionQueue, error: MillraceError): void
  onTaken(queue: PartitionQueue): void
  onRetried(batch: ProducerBatch, queue: PartitionQueue, error: MillraceError): void
  /** Its partition takes no records any more: they go to others. */
  onDrained(batch: ProducerBatch, queue: PartitionQueue): void
}

export interface StoredPart {
  readonly baseOffset: number
  readonly logAppendTimeMs: number
  readonly durability: number
}

export interface ProduceSenderParts {
  readonly runtime: ClientRuntime
  readonly connections: BrokerConnections
  readonly metadata: MetadataCache
  readonly requests: Requests
  readonly transaction?: TransactionGate | undefined
}

interface Parcel {
  readonly queue: PartitionQueue
  readonly batch: ProducerBatch
}

/** The partition drains: where records go instead is in the topic's metadata. */
const DRAINS: ErrorCode = 'POLICY_VIOLATION'
/** After these, what is known of the topic may be old. */
const STALE_CODES: readonly ErrorCode[] = ['UNKNOWN_TOPIC_ID', 'UNKNOWN_TOPIC_OR_PARTITION', DRAINS]

const NOT_STORED_YET: StoredPart = { baseOffset: -1, logAppendTimeMs: -1, durability: 0 }

export class ProduceSender {
  readonly #runtime: ClientRuntime
  readonly #connections: BrokerConnections
  readonly #metadata: MetadataCache
  readonly #requests: Requests
  readonly #options: ProduceSenderOptions
  readonly #outcomes: BatchOutcomes
  readonly #transaction: TransactionGate | undefined
  /** Queues that have something to send or in flight; their order is whose turn it is. */
  readonly #active = new Set<PartitionQueue>()
  readonly #requestsOut = new WeakMap<Connection, number>()
  readonly #connecting = new Set<number>()
  /** Connections whose credit wakes the pump, and how that ends. */
  readonly #watched = new Map<Connection, () => void>()
  #topicId: TopicId | undefined
  /** As of which drained partitions were left. */
  #topic: TopicInfo | undefined
  #metadataAtMs = 0
  #unknownSinceMs = -1
  #refreshing = false
  /** The topic may be another one: nothing is sent before metadata is asked. */
  #isStale = false
  /** Their leaders may have moved: nothing of these is sent before metadata is asked. */
  readonly #stale = new Set<PartitionQueue>()
  /** URLs of leaders that did not get their followers' word in time, since metadata was asked last. */
  readonly #doubted = new Set<string>()
  /** Where a queue's batches went last. */
  readonly #places = new WeakMap<PartitionQueue, { readonly connection: Connection; readonly leaderEpoch: number }>()
  #refreshes = 0
  #refreshedMs = Number.NEGATIVE_INFINITY
  #initialising = false
  #producer: { readonly id: number; readonly epoch: number } | undefined
  #pumpQueued = false
  #timer: Timer | undefined
  #timerAtMs = Number.POSITIVE_INFINITY
  #draining = false
  #stopped = false

  constructor(parts: ProduceSenderParts, options: ProduceSenderOptions, outcomes: BatchOutcomes) {
    this.#runtime = parts.runtime
    this.#connections = parts.connections
    this.#metadata = parts.metadata
    this.#requests = parts.requests
    this.#options = options
    this.#outcomes = outcomes
    this.#transaction = parts.transaction
    this.#metadataAtMs = parts.runtime.clock.monotonicMs()
  }

  /** The queue has news: a record, or a batch that is full. */
  wake(queue: PartitionQueue): void {
    this.#active.add(queue)
    this.schedule()
  }

  /** Pumps at the end of this turn of the event loop's current task. */
  schedule(): void {
    if (this.#pumpQueued || this.#stopped) return
    this.#pumpQueued = true
    queueMicrotask(this.#runPump)
  }

  readonly #runPump = (): void => {
    this.#pumpQueued = false
    this.#pump()
  }

  /** While draining nothing lingers. */
  set draining(on: boolean) {
    this.#draining = on
    if (on) this.schedule()
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    // A connection outlives its producers, and must not hold them.
    for (const off of this.#watched.values()) off()
    this.#watched.clear()
  }

  #pump(): void {
    if (this.#stopped) return
    const nowMs = this.#runtime.clock.monotonicMs()
    this.#expire(nowMs)
    const topic = this.#metadata.peek(this.#options.topic)
    if (topic === undefined || this.#isStale) {
      // Only for records that wait: a producer without any leaves a broker that is gone alone.
      if (this.#active.size > 0) this.#refresh()
    } else {
      this.#noticeTopicId(topic)
      this.#leaveDrained(topic)
      const ageMsMax = this.#options.acks === 0 ? METADATA_AGE_UNTOLD_MS_MAX : METADATA_AGE_MS_MAX
      if (nowMs - this.#metadataAtMs > ageMsMax) this.#refresh()
      while (this.#sendOne(topic, nowMs)) {}
    }
    this.#armTimer()
  }

  /** What waits for partitions that drain, or are gone, goes to others, in its order, before anything newer is sent there. */
  #leaveDrained(topic: TopicInfo): void {
    const open = openPartitions(topic)
    if (topic === this.#topic && open === topic.partitions.length) return
    this.#topic = topic
    for (const queue of [...this.#active])
      if (queue.partition >= open) for (const batch of queue.takeElsewhere()) this.#outcomes.onDrained(batch, queue)
  }

  /** Builds and sends one request; false when there is nothing that may leave now. */
  #sendOne(topic: TopicInfo, nowMs: number): boolean {
    let connection: Connection | undefined
    let requestBytes = REQUEST_OVERHEAD_BYTES
    const parcels: Parcel[] = []
    for (const queue of this.#active) {
      if (!queue.canTake(nowMs, this.#draining)) {
        if (queue.isIdle) this.#active.delete(queue)
        continue
      }
      if (this.#transaction !== undefined) {
        if (!this.#isAdmitted(this.#transaction, topic, queue)) continue
      } else if (queue.needsProducerId && !this.#giveProducerId(queue)) continue
      const leader = this.#leaderConnection(topic, queue)
      if (leader === undefined || (connection !== undefined && leader !== connection)) continue
      if (this.#isOnItsWay(topic, queue, leader)) continue
      const bytesNeeded = requestBytes + PART_OVERHEAD_BYTES + queue.nextBytes()
      if (parcels.length > 0 && bytesNeeded > this.#options.requestBytesMax) break
      if (!this.#hasRoom(leader, bytesNeeded)) continue
      connection = leader
      parcels.push({ queue, batch: queue.take(nowMs, this.#draining) })
      this.#outcomes.onTaken(queue)
      requestBytes = bytesNeeded
    }
    if (connection === undefined) return false
    for (const { queue } of parcels) {
      // Behind the others: partitions take turns.
      this.#active.delete(queue)
      this.#active.add(queue)
    }
    this.#send(connection, topic, parcels)
    return true
  }

  /** In a transaction: its identity, once the partition was added. */
  #isAdmitted(transaction: TransactionGate, topic: TopicInfo, queue: PartitionQueue): boolean {
    const producer = transaction.admit(topic.topicId, queue.partition)
    if (producer === undefined) return false
    queue.joinEpoch(producer.producerId, producer.producerEpoch)
    return true
  }

  /** Batches are in flight to another leader, or under another epoch; once there are none, the next ones go where `leader` is. */
  #isOnItsWay(topic: TopicInfo, queue: PartitionQueue, connection: Connection): boolean {
    const { leaderEpoch } = topic.partitions[queue.partition]!
    const place = this.#places.get(queue)
    if (place?.connection === connection && place.leaderEpoch === leaderEpoch) return false
    if (queue.inFlightCount > 0) return true
    if (place !== undefined && place.leaderEpoch !== leaderEpoch) queue.leaderChanged()
    this.#places.set(queue, { connection, leaderEpoch })
    return false
  }

  #hasRoom(connection: Connection, bytes: number): boolean {
    return connection.hasCredit(bytes) && (this.#requestsOut.get(connection) ?? 0) < REQUESTS_MAX
  }

  #send(connection: Connection, topic: TopicInfo, parcels: readonly Parcel[]): void {
    const parts: ProduceRequestPart[] = []
    const body: Uint8Array[] = []
    const sent: Parcel[] = []
    for (const parcel of parcels) {
      const { queue, batch } = parcel
      let bytes: Uint8Array
      try {
        bytes = batch.bytes()
      } catch (error) {
        this.#returned(parcel, asMillraceError(error)) // a codec that is missing or fails
        continue
      }
      const { leaderEpoch } = topic.partitions[queue.partition]!
      parts.push({ topicId: topic.topicId, partition: queue.partition, leaderEpoch, batchBytes: bytes.length })
      body.push(bytes)
      sent.push(parcel)
    }
    if (sent.length === 0) return
    this.#requestsOut.set(connection, (this.#requestsOut.get(connection) ?? 0) + 1)
    const { acks, requestTimeoutMs: timeoutMs } = this.#options
    const request = { acks, timeoutMs, parts }
    if (acks === 0) {
      connection.sendOneWay(produce.api, produce.encodeRequest(request), body, () => this.#sentOneWay(connection, sent))
      return
    }
    const call = { body, timeoutMs: timeoutMs + REPLY_GRACE_MS, onLate: 'end-connection' } as const
    connection.call(produce, request, call).then(
      (reply) => this.#replied(connection, sent, reply.value.parts),
      (error: unknown) => this.#lost(connection, sent, asMillraceError(error)),
    )
  }

  #sentOneWay(connection: Connection, parcels: readonly Parcel[]): void {
    this.#requestDone(connection)
    for (const { queue, batch } of parcels) {
      queue.succeeded(batch)
      this.#outcomes.onStored(batch, queue, NOT_STORED_YET)
    }
    this.schedule()
  }

  #replied(connection: Connection, parcels: readonly Parcel[], parts: readonly ProduceReplyPart[]): void {
    this.#requestDone(connection)
    if (parts.length !== parcels.length)
      connection.fail(new MillraceError('NETWORK_EXCEPTION', 'a produce reply has the wrong number of parts'))
    for (let index = 0; index < parcels.length; index++) {
      const parcel = parcels[index]!
      const part = parts[index]
      if (part === undefined)
        this.#returned(parcel, new MillraceError('NETWORK_EXCEPTION', 'the reply lacks this part'))
      else this.#answered(parcel, part)
    }
    this.schedule()
  }

  #answered(parcel: Parcel, part: ProduceReplyPart): void {
    const code = errorCodeOf(part.errorNumber)
    if (code === 'NONE' || code === 'DUPLICATE_SEQUENCE_NUMBER') {
      parcel.queue.succeeded(parcel.batch)
      this.#outcomes.onStored(parcel.batch, parcel.queue, part)
      return
    }
    const where = `${this.#options.topic}/${parcel.queue.partition}`
    const text = part.errorText === '' ? ERRORS[code].text : part.errorText
    const advice = code === 'MESSAGE_TOO_LARGE' ? '; raise max.message.bytes of the topic, or send less' : ''
    this.#returned(parcel, new MillraceError(code, `${where}: ${text}${advice}`))
  }

  #lost(connection: Connection, parcels: readonly Parcel[], error: MillraceError): void {
    this.#requestDone(connection)
    for (const parcel of parcels) this.#returned(parcel, error)
    this.schedule()
  }

  #requestDone(connection: Connection): void {
    this.#requestsOut.set(connection, Math.max(0, (this.#requestsOut.get(connection) ?? 0) - 1))
  }

  #returned(parcel: Parcel, error: MillraceError): void {
    const { queue, batch } = parcel
    const nowMs = this.#runtime.clock.monotonicMs()
    if (STALE_CODES.includes(error.code)) this.#isStale = true
    else if (mayHaveMoved(error)) this.#stale.add(queue)
    else if (error.code === 'REQUEST_TIMED_OUT') this.#doubt(queue)
    else if (mayMove(error)) this.#refresh()
    if (queue.returned(batch, this.#faultOf(error, parcel), nowMs) === 'failed') {
      this.#outcomes.onFailed(
        batch,
        queue,
        nowMs >= batch.deadlineMs ? timedOut(batch, error) : (batch.lastError ?? error),
      )
      return
    }
    this.#outcomes.onRetried(batch, queue, error)
    queue.delayUntil(nowMs + backoffMs(this.#runtime.prng, queue.failures, this.#options.backoff))
    this.#active.add(queue)
  }

  /**
   * A leader whose followers do not come any more cannot tell why: it may be cut off from the metadata store, and another one lead.
   * Then it does not know that either: others are asked.
   */
  #doubt(queue: PartitionQueue): void {
    const place = this.#places.get(queue)
    if (place !== undefined) this.#doubted.add(place.connection.url)
    this.#stale.add(queue)
  }

  #faultOf(error: MillraceError, { queue, batch }: Parcel): BatchFault {
    const fault = faultOf(error)
    if (error.code === DRAINS) return { ...fault, isMending: batch.mayGoElsewhere }
    // A late answer to what was given up says nothing of the transaction that is open by now.
    if (error.code !== 'INVALID_TXN_STATE' || this.#topicId === undefined || queue.isClosed) return fault
    return { ...fault, isMending: this.#transaction?.addAgain(this.#topicId, queue.partition) === true }
  }

  #expire(nowMs: number): void {
    for (const queue of this.#active) {
      for (let batch = queue.takeExpired(nowMs); batch !== undefined; batch = queue.takeExpired(nowMs))
        this.#outcomes.onFailed(batch, queue, timedOut(batch, batch.lastError ?? this.#obstacle))
      // onFailed() releases it, so that the next one is answered.
      for (let batch = queue.overdue(nowMs); batch !== undefined; batch = queue.overdue(nowMs))
        this.#outcomes.onFailed(batch, queue, deliveryTimedOut(IN_DOUBT, batch.lastError ?? NO_REPLY))
    }
  }

  /** Why nothing could be sent, for the text of a batch that was never sent. */
  #obstacle: MillraceError | undefined

  #noticeTopicId(topic: TopicInfo): void {
    this.#unknownSinceMs = -1
    if (this.#topicId !== undefined && this.#topicId !== topic.topicId)
      for (const queue of this.#active) queue.topicReplaced()
    this.#topicId = topic.topicId
  }

  #leaderConnection(topic: TopicInfo, queue: PartitionQueue): Connection | undefined {
    const info = topic.partitions[queue.partition]
    if (this.#stale.has(queue)) {
      this.#refresh()
      return undefined
    }
    if (info === undefined || info.leaderNodeId < 0 || info.offline !== null) {
      this.#obstacle = new MillraceError(
        'LEADER_NOT_AVAILABLE',
        `${topic.name}/${queue.partition}: ${info?.offline ?? ERRORS.LEADER_NOT_AVAILABLE.text}`,
      )
      this.#refresh()
      return undefined
    }
    const open = this.#connections.openTo(info.leaderNodeId)
    if (open === undefined) this.#connect(info.leaderNodeId)
    else if (!this.#watched.has(open)) this.#watch(open)
    return open
  }

  #watch(connection: Connection): void {
    for (const ended of this.#watched.keys()) if (!ended.isOpen) this.#watched.delete(ended)
    this.#watched.set(
      connection,
      connection.onCredit(() => this.schedule()),
    )
  }

  #connect(nodeId: number): void {
    if (this.#connecting.has(nodeId)) return
    this.#connecting.add(nodeId)
    this.#connections
      .node(nodeId, { patienceMs: PATIENCE_MS })
      .then(({ broker, url }) => {
        // Where no URL of the leader is known anybody answers, and at once: looking again without a pause would let nothing else run.
        if (broker.nodeId !== nodeId)
          throw new MillraceError(
            'CONNECTION_FAILED',
            `${url} leads to broker ${broker.nodeId}; where ${nodeId} is nobody says`,
          )
      })
      .catch((error: unknown) => {
        this.#obstacle = asMillraceError(error)
        this.#refresh() // another broker may lead by now
        return this.#pause() // the connections' own backoff paces attempts; this one paces a broker that refuses at once
      })
      .finally(() => {
        this.#connecting.delete(nodeId)
        this.schedule()
      })
  }

  #pause(delayMs = this.#options.backoff.delayMsMin): Promise<void> {
    return new Promise((resolve) => {
      this.#runtime.startTimer(delayMs, resolve)
    })
  }

  #refreshPauseMs(): number {
    const { delayMsMin, delayMsMax } = this.#options.backoff
    const delays = { delayMsMin, delayMsMax: Math.max(delayMsMin, Math.min(delayMsMax, REFRESH_PAUSE_MS_MAX)) }
    return backoffMs(this.#runtime.prng, this.#refreshes, delays)
  }

  /** Asks for metadata; one request at a time, paced. */
  #refresh(): void {
    if (this.#refreshing || this.#stopped) return
    this.#refreshing = true
    const nowMs = this.#runtime.clock.monotonicMs()
    this.#refreshes = nowMs - this.#refreshedMs > REFRESH_CALM_MS ? 1 : this.#refreshes + 1
    this.#refreshedMs = nowMs
    // What is found to have moved while this is asked is newer than the answer.
    const stale = [...this.#stale]
    const doubted = [...this.#doubted]
    this.#doubted.clear()
    this.#metadata
      .refresh(this.#options.topic, doubted)
      .then(
        () => {
          this.#metadataAtMs = this.#runtime.clock.monotonicMs()
          this.#isStale = false
          for (const queue of stale) this.#stale.delete(queue)
          this.schedule()
        },
        (error: unknown) => this.#refreshFailed(asMillraceError(error)),
      )
      .then(() => this.#pause(this.#refreshPauseMs()))
      .finally(() => {
        this.#refreshing = false
        this.schedule()
      })
  }

  #refreshFailed(error: MillraceError): void {
    this.#obstacle = error
    if (error.code !== 'UNKNOWN_TOPIC_OR_PARTITION') return
    const nowMs = this.#runtime.clock.monotonicMs()
    if (this.#unknownSinceMs < 0) this.#unknownSinceMs = nowMs
    if (nowMs - this.#unknownSinceMs < UNKNOWN_TOPIC_MS_MAX) return
    for (const queue of this.#active) for (const batch of queue.abandon()) this.#outcomes.onFailed(batch, queue, error)
  }

  #giveProducerId(queue: PartitionQueue): boolean {
    // An id whose epochs are used up is no longer offered: see the queue.
    if (this.#producer !== undefined && !queue.isExhausted(this.#producer.id)) {
      queue.useProducerId(this.#producer.id, this.#producer.epoch)
      return true
    }
    this.#initialise()
    return false
  }

  #initialise(): void {
    if (this.#initialising || this.#stopped) return
    this.#initialising = true
    this.#requests
      .ask(initProducerId, { transactionalId: null, transactionTimeoutMs: 0 })
      .then(
        (reply) => {
          this.#producer = { id: reply.producerId, epoch: reply.producerEpoch }
        },
        (error: unknown) => {
          this.#obstacle = asMillraceError(error)
          return this.#pause()
        },
      )
      .finally(() => {
        this.#initialising = false
        this.schedule()
      })
  }

  /** Wakes the pump when the earliest linger, backoff or deadline is due. */
  #armTimer(): void {
    let dueMs = Number.POSITIVE_INFINITY
    for (const queue of this.#active) dueMs = Math.min(dueMs, queue.dueAtMs(), queue.deadlineMs())
    const nowMs = this.#runtime.clock.monotonicMs()
    // What is due already waits for a connection, credit or metadata, which wake the pump themselves; this is the net.
    const delayMs = dueMs > nowMs ? Math.ceil(dueMs - nowMs) : NET_MS
    const isNeeded = dueMs < Number.POSITIVE_INFINITY
    // One that comes too early sets itself anew: cheaper than a new timer for every batch.
    if (isNeeded && this.#timer !== undefined && this.#timerAtMs <= nowMs + delayMs) return
    this.#timer?.cancel()
    this.#timer = undefined
    if (!isNeeded) return
    this.#timerAtMs = nowMs + delayMs
    this.#timer = this.#runtime.startTimer(delayMs, () => {
      this.#timer = undefined
      this.#pump()
    })
  }
}

/** The broker answers a produce within its timeout; the reply has this much longer to arrive. */
const REPLY_GRACE_MS = 5_000
const NET_MS = 250

const IN_DOUBT = 'it may or may not be stored'
const NO_REPLY = new MillraceError('REQUEST_TIMED_OUT', 'it was sent, and no reply has come')

function timedOut(batch: ProducerBatch, cause: MillraceError | undefined): MillraceError {
  return deliveryTimedOut(batch.inDoubt ? IN_DOUBT : 'it is not stored', cause)
}
