/**
 * Assignment: what this member owns, brought step by step to what it may own. Only partitions that move stop: the others are read
 * and handled on while it works.
 *
 * Invariants  A1 a partition is let go only when no handler of it is at work, onRevoked is done, and what is finished is committed;
 *                 only then does owned() lack it                                                   checked in: #revoke()
 *             A2 one step at a time, always towards the newest target
 *             A3 a partition that was lost comes back only after its handlers have ended           checked in: loseAll()
 * Ordering    revoke, confirm, then assign; of a new partition: committed offset or `from`, onAssigned, then records
 * Limits      requestTimeoutMs for a leader as new as whoever committed an offset knew one
 * Failure     losing everything ends a step at once; a hook that throws ends the group
 */
import { MillraceError } from '../../model/errors.ts'
import type { TopicPartitions } from '../../protocol/index.ts'
import { abortable, sleep } from '../abort.ts'
import { asMillraceError } from '../as-millrace-error.ts'
import { backoffMs } from '../backoff.ts'
import type { MetadataCache } from '../metadata-cache.ts'
import type { Positions } from '../positions.ts'
import { AssignedPartition, partitionKey } from './assigned-partition.ts'
import { type CommittedOffset, classOf } from './group-coordinator.ts'
import type { PartitionsHook, ResolvedGroupOptions, TopicPartition } from './group-options.ts'
import type { GroupReader } from './group-reader.ts'
import type { CommitterParts, CommittingMember, OffsetCommitter } from './offset-committer.ts'
import { goneError } from './offset-committer.ts'

export interface Hooks {
  readonly onAssigned: PartitionsHook | undefined
  readonly onRevoked: PartitionsHook | undefined
  readonly onLost: PartitionsHook | undefined
}

export interface AssignmentParts extends CommitterParts {
  readonly metadata: MetadataCache
  readonly positions: Positions
  readonly options: ResolvedGroupOptions
  readonly hooks: Hooks
}

export interface AssignmentEvents {
  onAssigned(partitions: readonly TopicPartition[]): void
  onRevoked(partitions: readonly TopicPartition[]): void
  onLost(partitions: readonly TopicPartition[], error: MillraceError): void
  /** Before partitions go in order: ends the transaction that may hold them. What the answer holds back goes on when it is called. */
  settle(hurry: AbortSignal): Promise<() => void> | undefined
  /** They are on their way out: what waits to be handled is not begun any more. */
  onStopping(partitions: readonly AssignedPartition[]): void
  /** What is owned has changed: the broker is to hear of it. */
  onOwnedChanged(): void
  onRebalanced(): void
  onFatal(error: unknown): void
}

interface Wanted {
  readonly topic: string
  readonly topicId: TopicPartitions['topicId']
  readonly partition: number
}

export class Assignment {
  readonly #parts: AssignmentParts
  readonly #member: CommittingMember
  readonly #reader: GroupReader
  readonly #committer: OffsetCommitter
  readonly #events: AssignmentEvents
  readonly #owned = new Map<string, AssignedPartition>()
  #target: ReadonlyMap<string, Wanted> = new Map()
  #working: Promise<void> | undefined
  /** Fires when everything is lost, or the group closes. */
  #era = new AbortController()
  #isClosed = false

  constructor(
    parts: AssignmentParts,
    member: CommittingMember,
    reader: GroupReader,
    committer: OffsetCommitter,
    events: AssignmentEvents,
  ) {
    this.#parts = parts
    this.#member = member
    this.#reader = reader
    this.#committer = committer
    this.#events = events
  }

  /** As heartbeats name it. */
  owned(): TopicPartitions[] {
    const topics = new Map<string, { topic: string; topicId: TopicPartitions['topicId']; partitions: number[] }>()
    for (const { topic, topicId, partition } of this.#owned.values()) {
      const entry = topics.get(topicId || topic) ?? { topic, topicId, partitions: [] }
      entry.partitions.push(partition)
      topics.set(topicId || topic, entry)
    }
    return [...topics.values()]
  }

  all(): AssignedPartition[] {
    return [...this.#owned.values()]
  }

  find(topic: string, partition: number): AssignedPartition | undefined {
    return this.#owned.get(partitionKey(topic, partition))
  }

  /** The coordinator's newest word. */
  moveTo(assignment: readonly TopicPartitions[]): void {
    const target = new Map<string, Wanted>()
    // A topic without a name was deleted: there is nothing to read.
    for (const { topic, topicId, partitions } of assignment)
      if (topic !== '')
        for (const partition of partitions) target.set(partitionKey(topic, partition), { topic, topicId, partition })
    this.#target = target
    this.#work()
  }

  #work(): void {
    if (this.#working !== undefined || this.#isClosed) return
    this.#working = this.#reconcile()
      .catch((error: unknown) => {
        if (!this.#isClosed) this.#events.onFatal(error)
      })
      .finally(() => {
        this.#working = undefined
      })
  }

  async #reconcile(): Promise<void> {
    let hasMoved = false
    while (!this.#isClosed) {
      const revoked = this.all().filter((partition) => !this.#isWanted(partition))
      const added = [...this.#target].filter(([key]) => !this.#owned.has(key)).map(([, wanted]) => wanted)
      if (revoked.length === 0 && added.length === 0) break
      hasMoved = true
      if (revoked.length > 0) await this.#revoke(revoked, this.#era.signal)
      else await this.#assign(added)
    }
    if (hasMoved && !this.#isClosed) this.#events.onRebalanced()
  }

  #isWanted(partition: AssignedPartition): boolean {
    const wanted = this.#target.get(partition.key)
    // A topic of the same name that was made anew is another one.
    return wanted !== undefined && wanted.topicId === partition.topicId
  }

  /** Lets partitions go; `hurry` ends the waiting for handlers: then nothing that is not finished is committed. */
  async #revoke(revoked: readonly AssignedPartition[], hurry: AbortSignal): Promise<void> {
    const { hooks, options } = this.#parts
    const partitions = this.#withoutUnseen(revoked)
    if (partitions.length === 0) return
    if (options.semantics === 'at-most-once' && !this.#isClosed) await this.handOutCommitted(partitions, hurry)
    const settling = this.#events.settle(hurry)
    const goOn = settling === undefined ? undefined : await settling
    for (const partition of partitions) if (partition.state !== 'gone') partition.state = 'stopping'
    this.#reader.remove(partitions)
    goOn?.()
    this.#events.onStopping(partitions)
    await orAborted(Promise.all(partitions.map((partition) => partition.idle())), hurry)
    const mine = partitions.filter((partition) => partition.state === 'stopping')
    if (mine.length === 0) return
    await orAborted(Promise.resolve(hooks.onRevoked?.(namesOf(mine))), this.#era.signal)
    if (options.isAutoCommit && options.semantics === 'at-least-once') this.commitFinished(mine)
    await orAborted(this.#committer.settle(mine), this.#era.signal)
    const released = mine.filter((partition) => partition.state === 'stopping')
    for (const partition of released) {
      partition.state = 'gone'
      this.#owned.delete(partition.key)
    }
    this.#committer.drop(released, goneError(released[0] ?? mine[0]!))
    if (released.length === 0) return
    this.#events.onOwnedChanged()
    this.#events.onRevoked(namesOf(released))
  }

  /** Those that were not handed out yet go without a word. */
  #withoutUnseen(revoked: readonly AssignedPartition[]): AssignedPartition[] {
    const unseen = revoked.filter((partition) => partition.state === 'loading')
    for (const partition of unseen) {
      partition.state = 'gone'
      this.#owned.delete(partition.key)
    }
    this.#committer.drop(unseen, goneError(revoked[0]!))
    if (unseen.length > 0) this.#events.onOwnedChanged()
    return revoked.filter((partition) => !unseen.includes(partition))
  }

  /** What is committed already is handed out before its partition goes: else it would be lost for nothing. */
  async handOutCommitted(partitions: readonly AssignedPartition[], hurry: AbortSignal): Promise<void> {
    for (const partition of partitions) this.#reader.finishBatchOf(partition)
    await orAborted(Promise.all(partitions.map((partition) => partition.batchClosed())), hurry)
  }

  async #assign(wanted: readonly Wanted[]): Promise<void> {
    const { hooks } = this.#parts
    const era = this.#era.signal
    const partitions = wanted.map(
      ({ topic, topicId, partition }) =>
        new AssignedPartition(topic, topicId, partition, this.#reader.newBatchReader()),
    )
    for (const partition of partitions) this.#owned.set(partition.key, partition)
    this.#events.onOwnedChanged()
    try {
      await this.#load(partitions, era)
      const loaded = partitions.filter((partition) => partition.state === 'loading' && this.#isWanted(partition))
      if (loaded.length === 0) return
      await orAborted(Promise.resolve(hooks.onAssigned?.(namesOf(loaded))), era)
      const active = loaded.filter((partition) => partition.state === 'loading')
      for (const partition of active) partition.state = 'active'
      if (active.length === 0) return
      this.#events.onAssigned(namesOf(active))
      this.#reader.add(active)
    } catch (error) {
      if (!era.aborted) throw error
    }
  }

  /** Finds where to begin; tries again through any weather while the partitions are wanted. */
  async #load(partitions: readonly AssignedPartition[], era: AbortSignal): Promise<void> {
    const { runtime, backoff, requestTimeoutMs } = this.#parts
    // One that nobody tells of by then: the partition is read from whom there is, and waits there for what that one lacks.
    const leadersUntilMs = runtime.clock.monotonicMs() + requestTimeoutMs
    for (let failures = 1; ; failures++) {
      const wanted = partitions.filter((partition) => partition.state === 'loading' && this.#isWanted(partition))
      if (wanted.length === 0) return
      const epoch = this.#member.epoch
      try {
        await this.#loadOnce(wanted, epoch, era, leadersUntilMs)
        return
      } catch (cause) {
        const error = asMillraceError(cause)
        if (era.aborted) throw error
        const kind = classOf(error)
        if (kind === 'final') throw error
        if (kind === 'fenced') this.#member.fenced(error, epoch)
        else if (kind === 'stale') await orAborted(this.#member.nextBeat(), era)
        await sleep(runtime, backoffMs(runtime.prng, failures, backoff), era)
      }
    }
  }

  async #loadOnce(
    partitions: readonly AssignedPartition[],
    memberEpoch: number,
    era: AbortSignal,
    leadersUntilMs: number,
  ): Promise<void> {
    const { coordinator, metadata, requestTimeoutMs, runtime } = this.#parts
    for (const topic of new Set(partitions.map((partition) => partition.topic))) {
      const { topicId } = partitions.find((partition) => partition.topic === topic)!
      const known = metadata.peek(topic)
      if (known !== undefined && topicId !== '' && known.topicId !== topicId) metadata.forget(topic)
      await abortable(metadata.get(topic), era)
    }
    const asked = byTopic(partitions)
    const member = { memberId: this.#member.memberId, memberEpoch }
    const committed = await coordinator.committed(member, asked, { timeoutMs: requestTimeoutMs, signal: era })
    if (runtime.clock.monotonicMs() < leadersUntilMs) await this.#awaitLeaders(committed, era)
    const offsets = new Map(committed.map(({ topic, partition, offset }) => [partitionKey(topic, partition), offset]))
    const without: AssignedPartition[] = []
    for (const partition of partitions) {
      const offset = offsets.get(partition.key) ?? -1
      if (offset < 0) without.push(partition)
      else {
        partition.seek(offset)
        partition.committedOffset = offset
      }
    }
    await this.#beginWithout(without, era)
  }

  /**
   * Who committed knew of newer leaders than this client, perhaps: one that was deposed has not what was read of its successor, and would call the
   * position out of range. Throws what has it tried again. Offsets of another topic of the name say nothing of leaders of this one.
   */
  async #awaitLeaders(committed: readonly CommittedOffset[], era: AbortSignal): Promise<void> {
    const { metadata } = this.#parts
    const isKnown = (offset: CommittedOffset): boolean => {
      const { topic, topicId, partition, leaderEpoch } = offset
      const assignedId = this.find(topic, partition)?.topicId || metadata.peek(topic)?.topicId
      return topicId !== assignedId || metadata.leaderEpochOf(offset) >= leaderEpoch
    }
    const stale = new Set(committed.filter((each) => !isKnown(each)).map(({ topic }) => topic))
    await abortable(Promise.all([...stale].map((topic) => metadata.refresh(topic))), era)
    const unknown = committed.find((each) => !isKnown(each))
    if (unknown === undefined) return
    const { topic, partition, leaderEpoch } = unknown
    throw new MillraceError(
      'UNKNOWN_LEADER_EPOCH',
      `${topic}/${partition}: nobody tells of leader epoch ${leaderEpoch} yet`,
    )
  }

  /**
   * Where nothing is committed. What is not the start moves on with time, so it is committed before a record is handed out: else
   * the next owner would begin later, and what was handed out here and not handled would be lost.
   */
  async #beginWithout(partitions: readonly AssignedPartition[], era: AbortSignal): Promise<void> {
    const { positions, options } = this.#parts
    for (const { topic, partitions: numbers } of byTopic(partitions)) {
      const { from, isolation } = options
      const found = await positions.resolve(topic, numbers, from, { isolation, signal: era })
      for (const { partition: number, offset } of found) {
        const partition = this.find(topic, number)!
        partition.seek(offset)
        if (options.from !== 'start') await abortable(this.#committer.commit(partition, offset), era)
      }
    }
  }

  /** Queues a commit of what is finished, where that is more than is committed. */
  commitFinished(partitions: readonly AssignedPartition[]): Promise<void>[] {
    return partitions
      .filter(
        ({ finishedOffset, startOffset, committedOffset }) => finishedOffset > Math.max(startOffset, committedOffset),
      )
      .map((partition) => this.#committer.commit(partition, partition.finishedOffset))
  }

  /** The broker has taken everything away. Answers when nothing of it is being handled any more, or the group closes. */
  async loseAll(error: MillraceError): Promise<void> {
    const partitions = this.all()
    this.#owned.clear()
    this.#target = new Map()
    for (const partition of partitions) partition.lose(error)
    this.#era.abort(error)
    if (!this.#isClosed) this.#era = new AbortController()
    this.#reader.remove(partitions)
    this.#events.onStopping(partitions)
    this.#committer.drop(partitions, error)
    const era = this.#era.signal
    if (partitions.length > 0) {
      this.#events.onLost(namesOf(partitions), error)
      await orAborted(Promise.resolve(this.#parts.hooks.onLost?.(namesOf(partitions))), era)
    }
    await orAborted(Promise.all(partitions.map((partition) => partition.idle())), era)
    await orAborted(this.#working ?? Promise.resolve(), era)
  }

  /** Lets everything go, as a revocation does; `hurry` ends the waiting. */
  async close(hurry: AbortSignal): Promise<void> {
    this.#isClosed = true
    const working = this.#working ?? Promise.resolve()
    // A step that waits for handlers ends when they do; one that looks for positions is of no use any more.
    if (this.all().some((partition) => partition.state === 'loading')) this.#era.abort()
    await orAborted(working, hurry)
    this.#era.abort()
    await working
    this.#era = new AbortController()
    const onHurry = (): void => this.#era.abort()
    if (hurry.aborted) onHurry()
    else hurry.addEventListener('abort', onHurry, { once: true })
    if (this.#owned.size > 0) await this.#revoke(this.all(), hurry)
    hurry.removeEventListener('abort', onHurry)
    this.#owned.clear()
  }
}

/** `promise`, or the signal, whichever comes first; throws only what `promise` does before it. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return abortable(promise, signal).catch((error: unknown) => {
    if (signal.aborted) return undefined
    throw error
  })
}

function namesOf(partitions: readonly AssignedPartition[]): TopicPartition[] {
  return partitions.map(({ topic, partition }) => ({ topic, partition }))
}

function byTopic(partitions: readonly AssignedPartition[]): TopicPartitions[] {
  const topics = new Map<string, { topic: string; topicId: TopicPartitions['topicId']; partitions: number[] }>()
  for (const { topic, topicId, partition } of partitions) {
    const entry = topics.get(topic) ?? { topic, topicId, partitions: [] }
    entry.partitions.push(partition)
    topics.set(topic, entry)
  }
  return [...topics.values()]
}
