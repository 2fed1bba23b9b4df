/**
 * OffsetCommitter: commits offsets of many partitions, as many in a request as there are, without waiting for the one before.
 *
 * Invariants  C1 a partition's committed offset never falls: at most one of its commits is out at a time, and what is
 *                queued behind it is larger                                                   checked in: commit()
 *             C2 a promise resolves when its offset, or a later one of its partition, is durable
 * Coalescing  commits of a partition that wait are one: the largest. So many commits cost as many requests as there are round trips
 * Limits      REQUESTS_OUT_MAX requests out, PARTITIONS_PER_REQUEST_MAX partitions in one; one queued commit a partition
 * Failure     weather: again, for ever, with backoff, until the partition is gone or the group closes; stale epochs: again with the
 *             newest; fenced: the partition's commits fail, and the member is told; what else the broker says fails the commit
 */
import { errorCodeOf, errorNumberOf, MillraceError } from '../../model/errors.ts'
import { errorOf, offsetCommit } from '../../protocol/index.ts'
import { sleep } from '../abort.ts'
import { asMillraceError } from '../as-millrace-error.ts'
import { type BackoffOptions, backoffMs } from '../backoff.ts'
import type { ClientRuntime } from '../client-runtime.ts'
import { type CommitPosition, commitTopics } from '../commit-topics.ts'
import type { MetadataCache } from '../metadata-cache.ts'
import type { AssignedPartition } from './assigned-partition.ts'
import { classOf, type GroupCoordinator } from './group-coordinator.ts'
import type { TopicPartition } from './group-options.ts'

export interface CommittedPosition extends TopicPartition {
  /** The next offset to read. */
  readonly offset: number
}

export interface CommitterEvents {
  onCommitted(offsets: readonly CommittedPosition[]): void
  onCommitFailed(offsets: readonly CommittedPosition[], error: MillraceError): void
}

/** The member, as far as commits need it. */
export interface CommittingMember {
  readonly memberId: string
  readonly epoch: number
  nextBeat(): Promise<void>
  fenced(error: MillraceError, epoch: number): void
}

export interface CommitterParts {
  readonly runtime: ClientRuntime
  readonly coordinator: GroupCoordinator
  readonly backoff: BackoffOptions
  readonly requestTimeoutMs: number
  readonly instanceId: string | null
  readonly metadata: Pick<MetadataCache, 'leaderEpochOf'>
}

/** Waits for one commit; many callers may share it. */
interface Waiting {
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: MillraceError) => void
}

interface Slot {
  readonly partition: AssignedPartition
  queuedOffset: number
  queued: Waiting[]
  sentOffset: number
  sent: Waiting[]
}

const NONE = -1
const REQUESTS_OUT_MAX = 8
const PARTITIONS_PER_REQUEST_MAX = 1_000
const DONE = Promise.resolve()
/** A commit whose epoch is stale so often in a row belongs to a member that the broker does not move on with. */
export const STALE_MAX = 10

export class OffsetCommitter {
  readonly #parts: CommitterParts
  readonly #member: CommittingMember
  readonly #events: CommitterEvents
  readonly #slots = new Map<AssignedPartition, Slot>()
  readonly #end = new AbortController()
  #requestsOut = 0
  #isScheduled = false
  #failures = 0
  #isBackingOff = false
  #staleCount = 0

  constructor(parts: CommitterParts, member: CommittingMember, events: CommitterEvents) {
    this.#parts = parts
    this.#member = member
    this.#events = events
  }

  /** Resolves when `offset`, or a later one of the partition, is durable. */
  commit(partition: AssignedPartition, offset: number): Promise<void> {
    if (partition.state === 'gone') return Promise.reject(goneError(partition))
    if (offset <= partition.committedOffset) return DONE
    let slot = this.#slots.get(partition)
    if (slot === undefined) {
      slot = { partition, queuedOffset: NONE, queued: [], sentOffset: NONE, sent: [] }
      this.#slots.set(partition, slot)
    }
    if (offset <= slot.sentOffset) return slot.sent.at(-1)!.promise
    slot.queuedOffset = Math.max(slot.queuedOffset, offset)
    if (slot.queued.length === 0) slot.queued.push(newWaiting())
    this.#schedule()
    return slot.queued.at(-1)!.promise
  }

  /** When nothing of these partitions is queued or out; never rejects. */
  async settle(partitions: readonly AssignedPartition[]): Promise<void> {
    for (const partition of partitions) {
      for (;;) {
        const slot = this.#slots.get(partition)
        const waiting = slot?.queued.at(-1) ?? slot?.sent.at(-1)
        if (waiting === undefined) break
        await waiting.promise.catch(() => {})
      }
    }
  }

  /** The partitions are gone: their commits fail. */
  drop(partitions: readonly AssignedPartition[], error: MillraceError): void {
    for (const partition of partitions) {
      const slot = this.#slots.get(partition)
      if (slot !== undefined) this.#failSlot(slot, error)
    }
  }

  close(error: MillraceError): void {
    this.#end.abort()
    this.drop([...this.#slots.keys()], error)
  }

  /** What is committed in one turn of the event loop leaves together. */
  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    queueMicrotask(() => {
      this.#isScheduled = false
      this.#send()
    })
  }

  #send(): void {
    if (this.#isBackingOff || this.#end.signal.aborted) return
    while (this.#requestsOut < REQUESTS_OUT_MAX) {
      const slots: Slot[] = []
      for (const slot of this.#slots.values()) {
        if (slot.queued.length === 0 || slot.sent.length > 0) continue
        slots.push(slot)
        if (slots.length === PARTITIONS_PER_REQUEST_MAX) break
      }
      if (slots.length === 0) return
      void this.#request(slots)
    }
  }

  async #request(slots: readonly Slot[]): Promise<void> {
    for (const slot of slots) {
      slot.sent = slot.queued
      slot.sentOffset = slot.queuedOffset
      slot.queued = []
      slot.queuedOffset = NONE
    }
    const { coordinator, instanceId, metadata, requestTimeoutMs } = this.#parts
    const { memberId, epoch } = this.#member
    this.#requestsOut++
    try {
      const topics = commitTopics(slots.map((slot) => positionOf(slot, metadata)))
      const request = { groupId: coordinator.groupId, memberId, memberEpoch: epoch, instanceId, topics }
      const options = { timeoutMs: requestTimeoutMs, signal: this.#end.signal }
      const reply = await coordinator.call(offsetCommit, request, options)
      this.#staleCount = 0
      if (this.#answered(slots, topicResults(reply.topics))) this.#failures = 0
      else await this.#backOff()
    } catch (error) {
      if (!this.#end.signal.aborted) await this.#failed(slots, asMillraceError(error), epoch)
    } finally {
      this.#requestsOut--
      this.#send()
    }
  }

  /** False when a partition is to be tried again, later. */
  #answered(slots: readonly Slot[], results: ReadonlyMap<string, { errorNumber: number; errorText: string }>): boolean {
    const committed: CommittedPosition[] = []
    let weather = false
    for (const slot of slots) {
      if (slot.sent.length === 0) continue // Dropped while it was out.
      const { partition, sentOffset } = slot
      const result = results.get(partition.key)
      const errorNumber = result?.errorNumber ?? errorNumberOf('UNKNOWN_SERVER_ERROR')
      if (errorCodeOf(errorNumber) === 'NONE') {
        committed.push({ topic: partition.topic, partition: partition.partition, offset: sentOffset })
        partition.committedOffset = Math.max(partition.committedOffset, sentOffset)
        for (const waiting of slot.sent) waiting.resolve()
        this.#clearSent(slot)
        continue
      }
      const error = errorOf(errorNumber, `${partition.key}: ${result?.errorText || errorCodeOf(errorNumber)}`)
      // A topic that is gone does not come back within a commit's patience.
      const isGone = error.code === 'UNKNOWN_TOPIC_OR_PARTITION' || error.code === 'UNKNOWN_TOPIC_ID'
      if (classOf(error) === 'weather' && !isGone) {
        requeue(slot)
        weather = true
      } else this.#failSlot(slot, error)
    }
    if (committed.length > 0) this.#events.onCommitted(committed)
    return !weather
  }

  async #failed(slots: readonly Slot[], error: MillraceError, epoch: number): Promise<void> {
    const kind = classOf(error)
    if (kind === 'stale' && ++this.#staleCount <= STALE_MAX) {
      if (epoch === this.#member.epoch) await this.#member.nextBeat()
      for (const slot of slots) requeue(slot)
      return
    }
    if (kind === 'weather') {
      for (const slot of slots) requeue(slot)
      await this.#backOff()
      return
    }
    for (const slot of slots) this.#failSlot(slot, error)
    if (kind !== 'final') this.#member.fenced(error, epoch)
  }

  /** Nothing is sent meanwhile; the attempt after it decides whether the weather has changed. */
  async #backOff(): Promise<void> {
    const { runtime, backoff } = this.#parts
    this.#failures++
    this.#isBackingOff = true
    await sleep(runtime, backoffMs(runtime.prng, this.#failures, backoff), this.#end.signal).catch(() => {})
    this.#isBackingOff = false
  }

  #failSlot(slot: Slot, error: MillraceError): void {
    const { topic, partition } = slot.partition
    const offset = Math.max(slot.queuedOffset, slot.sentOffset)
    const waiting = [...slot.sent, ...slot.queued]
    this.#slots.delete(slot.partition)
    slot.sent = []
    slot.queued = []
    for (const each of waiting) each.reject(error)
    if (waiting.length > 0) this.#events.onCommitFailed([{ topic, partition, offset }], error)
  }

  #clearSent(slot: Slot): void {
    slot.sent = []
    slot.sentOffset = NONE
    if (slot.queued.length === 0) this.#slots.delete(slot.partition)
  }
}

function positionOf(
  { partition: assigned, sentOffset: offset }: Slot,
  metadata: CommitterParts['metadata'],
): CommitPosition {
  const { topic, topicId, partition } = assigned
  return { topic, topicId, partition, offset, leaderEpoch: metadata.leaderEpochOf(assigned) }
}

/** What was sent and not taken goes in front of what waits: one commit, with the larger offset. */
function requeue(slot: Slot): void {
  if (slot.sent.length === 0) return
  slot.queued = [...slot.sent, ...slot.queued]
  slot.queuedOffset = Math.max(slot.queuedOffset, slot.sentOffset)
  slot.sent = []
  slot.sentOffset = NONE
}

function newWaiting(): Waiting {
  let [resolve, reject]: [() => void, (error: MillraceError) => void] = [() => {}, () => {}]
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  promise.catch(() => {}) // A commit that nobody waits for fails as an event.
  return { promise, resolve, reject }
}

function topicResults(
  topics: readonly {
    topic: string
    partitions: readonly { partition: number; errorNumber: number; errorText: string }[]
  }[],
): Map<string, { errorNumber: number; errorText: string }> {
  const results = new Map<string, { errorNumber: number; errorText: string }>()
  for (const { topic, partitions } of topics)
    for (const each of partitions) results.set(`${topic}/${each.partition}`, each)
  return results
}

export function goneError(partition: { readonly topic: string; readonly partition: number }): MillraceError {
  return new MillraceError(
    'STALE_MEMBER_EPOCH',
    `${partition.topic}/${partition.partition} is not assigned to this member any more: what it handled of it, another member handles again`,
  )
}
