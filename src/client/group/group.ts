/**
 * Group: a member of a consumer group: reads what is assigned to it, and commits how far it has handled it.
 *
 * Owns        a Member (heartbeats), an Assignment (what is owned), a GroupReader (records), an OffsetCommitter (offsets), and one of
 *             the ways to consume: `for await`, batches() or run()
 * Invariants  at-least-once: an offset is committed only when everything below it has been handled; at-most-once: a batch is
 *             committed before its first record is handed out        checked in: test/unit/client/group*.test.ts
 * Ordering    close(): nothing more is handed out -> handlers end -> onRevoked -> commit -> leave
 * Limits      prefetchBytesMax of received bytes; closeTimeoutMs for close()
 * Failure     README.md, "Groups"
 */
import { MillraceError } from '../../model/errors.ts'
import { abortError, whenAborted } from '../abort.ts'
import type { BackoffOptions } from '../backoff.ts'
import { GROUP_EVENTS, type GroupEvents } from '../client-events.ts'
import type { Timer } from '../client-runtime.ts'
import type { Coordinators } from '../coordinators.ts'
import type { DecodeError } from '../decode-error.ts'
import { EventHub, type ListenerError, type ListenOptions } from '../events.ts'
import type { FetcherParts } from '../fetcher.ts'
import { checkedPosition, type Positions } from '../positions.ts'
import type { TransactionalProducerOptions } from '../producer-options.ts'
import type { ProducerRecord } from '../producer-record.ts'
import type { DecodeRecord } from '../record-decoder.ts'
import type { ConsumedBatch, ConsumedRecord, Position } from '../record-types.ts'
import { readableOf } from '../streams.ts'
import { topicName } from '../topic.ts'
import type { CommittingGroup, OffsetsToCommit } from '../transaction/transaction-offsets.ts'
import type { TransactionalProducer } from '../transaction/transactional-producer.ts'
import type { AssignedPartition } from './assigned-partition.ts'
import { Assignment } from './assignment.ts'
import { deadLetterOf } from './dead-letter.ts'
import { GroupCoordinator } from './group-coordinator.ts'
import { GroupIterators } from './group-iterators.ts'
import {
  type GroupOptions,
  type HandlerContext,
  type ResolvedGroupOptions,
  type ResolvedRunOptions,
  type RunOptions,
  resolveGroupOptions,
  resolveRunOptions,
  type TopicPartition,
  transactionalIdOf,
} from './group-options.ts'
import { GroupReader } from './group-reader.ts'
import { GroupRunner, type Handler } from './group-runner.ts'
import { type GroupStats, partitionStats } from './group-stats.ts'
import type { KeepAlive } from './keep-alive.ts'
import { Member, type Subscription } from './member.ts'
import { MemberOffsets } from './member-offsets.ts'
import { goneError, OffsetCommitter } from './offset-committer.ts'
import { StallWatch } from './stall-watch.ts'
import { type TransactionHandler, TransactionRounds } from './transaction-rounds.ts'

/** Stores dead letters: a producer's part of it. */
export interface DeadLetterSink {
  send(record: ProducerRecord): Promise<unknown>
  close(options: { readonly signal: AbortSignal }): Promise<void>
}

export interface GroupParts<Handed> extends FetcherParts {
  readonly transactionalProducer: (options: TransactionalProducerOptions) => TransactionalProducer
  readonly coordinators: Coordinators
  readonly positions: Positions
  readonly keepAlive: KeepAlive | undefined
  readonly decoder: (onDecodeError: (error: DecodeError) => void) => DecodeRecord<Handed>
  readonly onListenerError: (failure: ListenerError) => void
  readonly deadLetterSink: (topic: string) => DeadLetterSink
  readonly backoff: BackoffOptions
}

/** `Handed` is what `for await` and run() give: records as they were stored, or decoded by their topics' serdes. */
export class Group<Handed = ConsumedRecord, Context = HandlerContext>
  implements AsyncIterable<Handed>, CommittingGroup
{
  readonly id: string
  readonly #parts: GroupParts<Handed>
  readonly #options: ResolvedGroupOptions
  readonly #events: EventHub<GroupEvents>
  readonly #decode: DecodeRecord<Handed>
  readonly #member: Member
  readonly #reader: GroupReader
  readonly #committer: OffsetCommitter
  readonly #assignment: Assignment
  readonly #iterators: GroupIterators<Handed>
  readonly #stallWatch: StallWatch
  readonly #signal: AbortSignal | undefined
  /** Of 'exactly-once'. */
  readonly #transactionalId: string | undefined
  #runner: GroupRunner<Handed> | GroupRunner<ConsumedRecord> | undefined
  /** run() with 'exactly-once'. */
  #rounds: TransactionRounds<Handed> | undefined
  #use: 'for await' | 'batches()' | 'run()' | undefined
  #isStarted = false
  #isClosing = false
  #error: unknown
  #closing: Promise<void> | undefined
  #autoCommit: Timer | undefined
  #recordsUndecodable = 0
  #wake: (() => void)[] = []
  #onClosed: (() => void)[] = []
  readonly #hurry = new AbortController()
  #forgetSignal = (): void => {}

  constructor(id: string, subscription: Subscription, parts: GroupParts<Handed>, options: GroupOptions) {
    this.id = id
    this.#parts = parts
    this.#options = resolveGroupOptions(options)
    this.#events = new EventHub(GROUP_EVENTS, parts.onListenerError)
    this.#decode = parts.decoder((error) => {
      this.#recordsUndecodable++
      this.#events.emit('decodeError', { error })
    })
    const { runtime, backoff, requestTimeoutMs } = parts
    const coordinator = new GroupCoordinator(id, parts.coordinators)
    const common = { runtime, coordinator, backoff, requestTimeoutMs }
    const resolved = this.#options
    this.#stallWatch = new StallWatch(runtime.clock, resolved.pollIntervalMsMax, () => this.#progress)
    const memberParts = { ...common, keepAlive: parts.keepAlive }
    this.#member = new Member(memberParts, resolved, subscription, this.#memberEvents())
    if (resolved.semantics === 'exactly-once')
      this.#transactionalId = transactionalIdOf(id, this.#member.memberId, resolved)
    const { metadata, positions } = parts
    const committerParts = { ...common, instanceId: resolved.instanceId, metadata }
    this.#committer = new OffsetCommitter(committerParts, this.#member, {
      onCommitted: (offsets) => this.#events.emit('committed', { offsets }),
      onCommitFailed: (offsets, error) => this.#events.emit('commitFailed', { offsets, error }),
    })
    this.#reader = new GroupReader(parts, resolved, this.#readerEvents())
    const { onAssigned, onRevoked, onLost } = options
    const hooks = { onAssigned, onRevoked, onLost }
    const assignmentParts = { ...committerParts, metadata, positions, options: resolved, hooks }
    const events = this.#assignmentEvents()
    this.#assignment = new Assignment(assignmentParts, this.#member, this.#reader, this.#committer, events)
    this.#iterators = new GroupIterators<Handed>(this.#iterated())
    this.#signal = options.signal
    if (this.#signal?.aborted) this.#abort()
    else this.#forgetSignal = whenAborted(this.#signal, () => this.#abort())
  }

  #memberEvents() {
    return {
      ownedPartitions: () => this.#assignment.owned(),
      onAssignment: (assignment: Parameters<Assignment['moveTo']>[0]) => this.#assignment.moveTo(assignment),
      onLost: (error: MillraceError) => {
        this.#events.emit('fenced', { error })
        return this.#assignment.loseAll(error).catch((fault: unknown) => this.#fail(fault))
      },
      onFatal: (error: MillraceError) => {
        this.#events.emit('fenced', { error })
        // Not waited for: its handlers may not end.
        this.#assignment.loseAll(error).catch((fault: unknown) => this.#fail(fault))
        this.#fail(error)
      },
      onDoubt: () => this.#changed(),
      stalledAtMs: () => this.#stallWatch.stalledAtMs(),
    }
  }

  #readerEvents() {
    return {
      onChange: () => this.#changed(),
      onReset: (topic: string, partition: number, fromOffset: number, toOffset: number) =>
        this.#events.emit('offsetReset', { topic, partition, fromOffset, toOffset }),
      onFault: (error: MillraceError) => this.#fail(error),
      beforeBatch: (partition: AssignedPartition) => {
        if (this.#options.semantics !== 'at-most-once') return undefined
        return this.#committer.commit(partition, partition.opened!.nextOffset)
      },
    }
  }

  #assignmentEvents() {
    const events = this.#events
    return {
      onAssigned: (partitions: readonly TopicPartition[]) => events.emit('assigned', { partitions }),
      onRevoked: (partitions: readonly TopicPartition[]) => events.emit('revoked', { partitions }),
      onLost: (partitions: readonly TopicPartition[], error: MillraceError) => {
        this.#rounds?.lost(error)
        events.emit('lost', { partitions, error })
      },
      settle: (hurry: AbortSignal) => this.#rounds?.settle(hurry),
      onStopping: (partitions: readonly AssignedPartition[]) => this.#runner?.dropWaiting(partitions),
      onOwnedChanged: () => this.#member.confirm(),
      onRebalanced: () => events.emit('rebalanced', { memberEpoch: this.#member.epoch, partitions: this.assignment() }),
      onFatal: (error: unknown) => this.#fail(error),
    }
  }

  #iterated() {
    return {
      reader: this.#reader,
      decode: this.#decode,
      wait: () => this.#wait(),
      fail: (error: unknown) => this.#fail(error),
      close: () => this.close(),
    }
  }

  /** Nothing is handed out: an answer of the coordinator, or the end, comes first. */
  get #isHalted(): boolean {
    return this.#isClosing || this.#member.isInDoubt
  }

  get #progress(): number | undefined {
    return this.#runner === undefined ? this.#iterators.progress : this.#runner.progress
  }

  /** Joins the group; consuming does it by itself. Nothing is waited for: see the event 'assigned'. */
  start(): void {
    this.#checkOpen()
    if (this.#isStarted) return
    this.#isStarted = true
    this.#member.start()
    if (this.#options.isAutoCommit && this.#options.semantics === 'at-least-once') this.#startAutoCommit()
  }

  #startAutoCommit(): void {
    this.#autoCommit = this.#parts.runtime.startTimer(this.#options.autoCommitIntervalMs, () => {
      for (const commit of this.#assignment.commitFinished(this.#assignment.all())) commit.catch(() => {})
      this.#startAutoCommit()
    })
  }

  #claim(use: 'for await' | 'batches()' | 'run()'): void {
    this.#checkOpen()
    if (this.#options.semantics === 'exactly-once' && use !== 'run()') throw notIterated(use)
    if (this.#use !== undefined)
      throw new MillraceError(
        'INVALID_ARGUMENT',
        `the group is consumed by ${this.#use} already: one way, once, for each group(); make another for ${use}`,
      )
    this.#use = use
    this.start()
  }

  #checkOpen(): void {
    if (this.#error !== undefined) throw this.#error
    if (this.#isClosing) throw new MillraceError('CLOSED', 'the group is closed')
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Handed> {
    this.#claim('for await')
    return this.#iterators.records()
  }

  /** The fast path: batches as they came, their records not decoded. A batch is handled when the next one is asked for. */
  batches(): AsyncIterableIterator<ConsumedBatch> {
    this.#claim('batches()')
    return this.#iterators.batches()
  }

  /** A Web Stream of the records; cancelling it closes the group. */
  readable(): ReadableStream<Handed> {
    return readableOf(this)
  }

  /**
   * Handles records until the group is closed. A record counts as handled when its handler has returned, and its promise is
   * fulfilled; what it throws is tried again, and then goes to the dead letter topic. Rejects with what ended the group.
   * With 'exactly-once' the handler's context has a `transaction`: what is sent through it counts once, with the record's offset.
   */
  async run(handler: Handler<Handed, Context>, options: RunOptions = {}): Promise<void> {
    const resolved = resolveRunOptions(options)
    if (this.#options.semantics === 'exactly-once') return this.#runInTransactions(handler, options, resolved)
    const sink = options.deadLetter === undefined ? undefined : this.#deadLetterSink(topicName(options.deadLetter))
    this.#claim('run()')
    const { runtime } = this.#parts
    const parts = {
      ...{ runtime, reader: this.#reader, decode: this.#decode },
      deadLetters: sink?.store,
      isHalted: () => this.#isHalted,
      fail: (error: unknown) => this.#fail(error),
      ...this.#triedEvents(),
    }
    this.#runner = new GroupRunner(parts, handler as Handler<Handed>, resolved)
    this.#runner.pump()
    try {
      while (await this.#wait()) await this.#nextChange()
    } finally {
      await this.close()
      await sink?.close()
    }
  }

  #triedEvents() {
    return {
      onRetry: (record: ConsumedRecord, error: unknown, attempts: number) =>
        this.#events.emit('retried', triedOf(record, error, attempts)),
      onDeadLetter: (record: ConsumedRecord, error: unknown, attempts: number) =>
        this.#events.emit('deadLettered', triedOf(record, error, attempts)),
    }
  }

  async #runInTransactions(
    handler: Handler<Handed, Context>,
    options: RunOptions,
    resolved: ResolvedRunOptions,
  ): Promise<void> {
    this.#claim('run()')
    const { transaction } = this.#options
    const { timeoutMs: transactionTimeoutMs } = transaction
    const transactionalId = this.#transactionalId!
    const topic = options.deadLetter === undefined ? undefined : topicName(options.deadLetter)
    const { runtime } = this.#parts
    const parts = {
      ...{ runtime, reader: this.#reader, decode: this.#decode },
      group: { id: this.id, offsetsToCommit: () => this.#memberOffsets() },
      newProducer: () => this.#parts.transactionalProducer({ transactionalId, transactionTimeoutMs }),
      deadLetter:
        topic === undefined
          ? undefined
          : (record: ConsumedRecord, error: unknown, attempts: number) => ({
              topic,
              letter: deadLetterOf(record, { groupId: this.id, error, attempts }),
            }),
      isHalted: () => this.#isHalted,
      fail: (error: unknown) => this.#fail(error),
      ...this.#triedEvents(),
    }
    const rounds = new TransactionRounds(parts, handler as TransactionHandler<Handed>, resolved, transaction)
    this.#rounds = rounds
    this.#runner = rounds.runner
    rounds.run().catch((error: unknown) => this.#fail(error))
    try {
      while (await this.#wait()) await this.#nextChange()
    } finally {
      await this.close()
    }
  }

  /**
   * For a transaction: the offsets of this member's partitions, each fenced by its membership. See Transaction.commitOffsets(). Throws
   * INVALID_ARGUMENT where the group commits by itself: what the transaction aborts would be committed all the same.
   */
  offsetsToCommit(): OffsetsToCommit {
    const { semantics, isAutoCommit } = this.#options
    if (semantics === 'exactly-once') throw notCommitted('commitOffsets()')
    if (semantics === 'at-most-once' || isAutoCommit) throw commitsItself(semantics)
    return this.#memberOffsets()
  }

  #memberOffsets(): MemberOffsets {
    return new MemberOffsets({
      ...{ groupId: this.id, instanceId: this.#options.instanceId, member: this.#member },
      metadata: this.#parts.metadata,
      find: (topic, partition) => this.#assignment.find(topic, partition),
      onCommitted: (offsets) => this.#events.emit('committed', { offsets }),
    })
  }

  /** The producer is made when it is first needed, once. */
  #deadLetterSink(topic: string) {
    let sink: DeadLetterSink | undefined
    return {
      store: async (record: ConsumedRecord, error: unknown, attempts: number): Promise<void> => {
        sink ??= this.#parts.deadLetterSink(topic)
        await sink.send(deadLetterOf(record, { groupId: this.id, error, attempts }))
      },
      // What is not stored by now has not been handled either: it comes again.
      close: async (): Promise<void> => sink?.close({ signal: this.#hurry.signal }).catch(() => {}),
    }
  }

  /** True when there may be something to hand out; false at the end. Throws what ended the group, after what was received. */
  async #wait(): Promise<boolean> {
    for (;;) {
      if (!this.#isHalted && this.#error === undefined && this.#reader.hasReadable) return true
      if (this.#error !== undefined) {
        await this.close()
        throw this.#error
      }
      if (this.#isClosing) {
        await this.#closing
        return false
      }
      await this.#nextChange()
    }
  }

  #nextChange(): Promise<void> {
    if (this.#isClosing || this.#error !== undefined) return Promise.resolve()
    return new Promise((resolve) => this.#wake.push(resolve))
  }

  #changed(): void {
    this.#iterators.isHalted = this.#isHalted
    this.#runner?.pump()
    for (const wake of this.#wake.splice(0)) wake()
  }

  /**
   * Commits record.offset + 1: everything up to this record has been handled. Without a record: everything that is finished.
   * Resolves when that, or a later offset, is durable. Commits need not be awaited one by one: those of a partition are gathered.
   */
  commit(record?: TopicPartition & { readonly offset: number }): Promise<void> {
    if (this.#options.semantics === 'exactly-once') return Promise.reject(notCommitted('commit()'))
    if (record === undefined) return Promise.all(this.#assignment.commitFinished(this.#assignment.all())).then(() => {})
    const partition = this.#assignment.find(record.topic, record.partition)
    if (partition === undefined || record.offset >= partition.position) return Promise.reject(goneError(record))
    return this.#committer.commit(partition, record.offset + 1)
  }

  /** Partitions that are assigned now. */
  assignment(): TopicPartition[] {
    return this.#assignment.all().map(({ topic, partition }) => ({ topic, partition }))
  }

  /** Hands nothing more out of these partitions (all, when none are named); they stay assigned. */
  pause(partitions?: readonly TopicPartition[]): void {
    this.#setPaused(partitions, true)
  }

  resume(partitions?: readonly TopicPartition[]): void {
    this.#setPaused(partitions, false)
  }

  #setPaused(partitions: readonly TopicPartition[] | undefined, isPaused: boolean): void {
    const chosen = partitions?.map((each) => this.#mine(each)) ?? this.#assignment.all()
    for (const partition of chosen) {
      partition.isPaused = isPaused
      this.#reader.gate(partition)
    }
    this.#changed()
  }

  /**
   * Goes on at another place. Commits follow it, backwards too: the next one of this partition is what is handled from there. With
   * 'exactly-once' the transaction that is under way ends first, and takes nothing more; this does not wait for it, so handlers may seek.
   */
  async seek(target: TopicPartition, position: Position): Promise<void> {
    const { topic } = target
    const checked = checkedPosition('position', position)
    const partition = this.#mine(target)
    const wish = { isolation: this.#options.isolation, signal: partition.lostSignal }
    const [found] = await this.#parts.positions.resolve(topic, [target.partition], checked, wish)
    if (partition.state === 'active' && this.#rounds?.seek(partition, found!.offset) === true) return
    // A commit that is out must not come after the first one of the new place.
    partition.isHeld = true
    await this.#committer.settle([partition])
    partition.isHeld = false
    this.#runner?.dropWaiting([partition])
    if (partition.state === 'loading') partition.seek(found!.offset)
    else if (partition.state === 'active') this.#reader.seek(partition, found!.offset)
    else throw goneError(target)
  }

  #mine(target: TopicPartition): AssignedPartition {
    const partition = this.#assignment.find(target.topic, target.partition)
    if (partition !== undefined) return partition
    throw new MillraceError('INVALID_ARGUMENT', `${target.topic}/${target.partition} is not assigned to this member`)
  }

  stats(): GroupStats {
    return {
      state: this.#isStarted || this.#isClosing ? this.#member.state : 'idle',
      memberId: this.#member.memberId,
      memberEpoch: this.#member.epoch,
      ...partitionStats(this.#assignment.all()),
      recordsConsumed: this.#runner?.count ?? this.#iterators.count,
      batchesReceived: this.#reader.batchesReceived,
      bytesReceived: this.#reader.bytesReceived,
      recordsUndecodable: this.#recordsUndecodable,
    }
  }

  on<Name extends keyof GroupEvents>(
    name: Name,
    listener: (event: GroupEvents[Name]) => unknown,
    options: ListenOptions = {},
  ): () => void {
    return this.#events.on(name, listener, options)
  }

  #abort(): void {
    this.#error ??= abortError(this.#signal!)
    this.#rounds?.stop(this.#error)
    this.#hurry.abort()
    void this.close()
  }

  /** The group ends with `error`: consumers throw it. */
  #fail(error: unknown): void {
    this.#error ??= error
    this.#rounds?.stop(error)
    this.#runner?.stop()
    this.#changed()
    void this.close()
  }

  /** Hands out nothing more, lets handlers end, commits what is finished, leaves. An aborted signal ends the waiting. */
  close(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const { signal } = options
    if (signal?.aborted) this.#hurry.abort()
    const leave = whenAborted(signal, () => this.#hurry.abort())
    this.#closing ??= this.#close()
    return this.#closing.finally(leave)
  }

  async #close(): Promise<void> {
    const { closeTimeoutMs, semantics } = this.#options
    const timer = this.#parts.runtime.startTimer(closeTimeoutMs, () => this.#hurry.abort())
    // run() still handles what is committed already; who has left a `for await` cannot.
    if (semantics === 'at-most-once' && this.#runner !== undefined && this.#error === undefined) {
      const active = this.#assignment.all().filter(({ state }) => state === 'active')
      await this.#assignment.handOutCommitted(active, this.#hurry.signal)
    }
    // The round that is under way is finished: its records are handled, and would be for nothing.
    if (this.#error === undefined && this.#rounds !== undefined) await this.#rounds.settle(this.#hurry.signal)
    this.#isClosing = true
    this.#rounds?.stop(new MillraceError('CLOSED', 'the group is closed'))
    this.#forgetSignal()
    this.#autoCommit?.cancel()
    this.#runner?.stop()
    this.#changed()
    try {
      await this.#assignment.close(this.#hurry.signal)
    } catch (error) {
      this.#error ??= error
    } finally {
      await this.#rounds?.close(this.#hurry.signal)
      timer.cancel()
      this.#runner?.close()
      this.#reader.stop()
      this.#committer.close(new MillraceError('CLOSED', 'the group is closed'))
      await this.#member.leave(LEAVE_MS_MAX)
      this.#changed()
      for (const listener of this.#onClosed.splice(0)) listener()
    }
  }

  /** Runs `listener` once, when the group has closed. */
  onClosed(listener: () => void): void {
    this.#onClosed.push(listener)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function notIterated(use: string): MillraceError {
  return new MillraceError(
    'INVALID_ARGUMENT',
    `${use}: semantics 'exactly-once' is for run(), which handles records in transactions. With ${use} take a group of other ` +
      "semantics with commit 'manual', and in each producer.transaction() call tx.commitOffsets(group, record)",
  )
}

function commitsItself(semantics: string): MillraceError {
  return new MillraceError(
    'INVALID_ARGUMENT',
    `commitOffsets(): this group commits by itself (semantics '${semantics}'${semantics === 'at-most-once' ? '' : ", commit 'auto'"}), ` +
      "whatever becomes of the transaction; make it with commit: 'manual' and semantics 'at-least-once'",
  )
}

function notCommitted(what: string): MillraceError {
  return new MillraceError(
    'INVALID_ARGUMENT',
    `${what}: with semantics 'exactly-once' the transactions of run() commit the offsets`,
  )
}

/** The session's end does the same, later. */
const LEAVE_MS_MAX = 5_000

function triedOf(record: ConsumedRecord, error: unknown, attempts: number) {
  const { topic, partition, offset } = record
  return { topic, partition, offset, error, attempts }
}
