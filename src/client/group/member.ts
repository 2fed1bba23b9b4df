/**
 * Member: this process's membership of a group: joins, sends heartbeats, leaves (KIP-848).
 *
 * States      joining -> member -> leaving -> left; member -> lost -> joining: see README.md
 * Thread      the consuming one: it alone confirms that a partition was given up, by a heartbeat that does not name it
 * Invariants  M1 a partition leaves ownedPartitions only when nothing of it is handled any more     checked in: group-session.ts
 *             M2 epoch 0 is sent only when everything has been given up, and the hooks are done
 *             M3 one heartbeat is out at a time
 * Ordering    a reply's epoch is known before its assignment is told
 * Failure     weather: backoff with jitter, as the same member; while the session may have ended meanwhile, isInDoubt: nothing is handed
 *             out until a reply tells. Fenced: onLost, then join anew. Final: onFatal
 */
import { MillraceError } from '../../model/errors.ts'
import { groupHeartbeat, type TopicPartitions } from '../../protocol/index.ts'
import { sleep } from '../abort.ts'
import { asMillraceError } from '../as-millrace-error.ts'
import { type BackoffOptions, backoffMs } from '../backoff.ts'
import type { ClientRuntime, Timer } from '../client-runtime.ts'
import { classOf, type GroupCoordinator } from './group-coordinator.ts'
import type { ResolvedGroupOptions } from './group-options.ts'
import type { KeepAlive } from './keep-alive.ts'

export interface MemberEvents {
  /** What this member reads now. */
  ownedPartitions(): readonly TopicPartitions[]
  /** What it may read. */
  onAssignment(assignment: readonly TopicPartitions[]): void
  /** All of it is gone; it joins anew when the answer has come. */
  onLost(error: MillraceError): Promise<void>
  onFatal(error: MillraceError): void
  /** isInDoubt has changed. */
  onDoubt(): void
  /** The monotonic time at which the handler counts as hung; infinity when none is at work. */
  stalledAtMs(): number
}

export interface MemberParts {
  readonly runtime: ClientRuntime
  readonly coordinator: GroupCoordinator
  readonly backoff: BackoffOptions
  readonly requestTimeoutMs: number
  readonly keepAlive: KeepAlive | undefined
}

export interface Subscription {
  readonly topics: readonly string[]
  readonly pattern: string
}

const MEMBER_ID_BYTES = 16
const JOIN_EPOCH = 0
const LEAVE_EPOCH = -1
const LEAVE_FOR_A_WHILE_EPOCH = -2
/** An earlier life of a static member is waited for so much longer than its session. */
const UNRELEASED_GRACE_MS = 10_000

export class Member {
  readonly memberId: string
  state: 'joining' | 'member' | 'lost' | 'leaving' | 'left' = 'joining'
  epoch = JOIN_EPOCH
  readonly #parts: MemberParts
  readonly #options: ResolvedGroupOptions
  readonly #subscription: Subscription
  readonly #events: MemberEvents
  readonly #end = new AbortController()
  #intervalMs: number
  #failures = 0
  /** Since when an earlier member of this instance id is in the way. */
  #unreleasedSinceMs: number | undefined
  /** Everything is told again: a reply may have been lost. */
  #tellsAll = true
  /** Counts changes of what is owned, and the last that the broker has heard. */
  #ownedVersion = 0
  #heardVersion = -1
  #isDue = false
  #wake: AbortController | undefined
  #lastSentMs = Number.NEGATIVE_INFINITY
  #doubtTimer: Timer | undefined
  #isInDoubt = false
  #onBeat: (() => void)[] = []
  #running: Promise<void> | undefined
  #forgetHints = (): void => {}
  #giveUp: { readonly error: MillraceError; readonly leaves: boolean } | undefined

  constructor(parts: MemberParts, options: ResolvedGroupOptions, subscription: Subscription, events: MemberEvents) {
    this.#parts = parts
    this.#options = options
    this.#subscription = subscription
    this.#events = events
    this.#intervalMs = options.heartbeatIntervalMs
    this.memberId = newMemberId(parts.runtime)
  }

  /** The session may have ended: others may have the partitions. */
  get isInDoubt(): boolean {
    return this.#isInDoubt
  }

  start(): void {
    if (this.#running !== undefined) return
    this.#forgetHints = this.#parts.coordinator.onChanged(this.memberId, () => this.beatNow())
    this.#running = this.#live()
  }

  /** What is owned has changed: it is told at once. */
  confirm(): void {
    this.#ownedVersion++
    this.beatNow()
  }

  beatNow(): void {
    this.#isDue = true
    this.#wake?.abort()
  }

  /** After the next reply of the coordinator to a heartbeat, or the end. */
  nextBeat(): Promise<void> {
    if (this.#end.signal.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onBeat.push(resolve)
      this.beatNow()
    })
  }

  /** An answer to a request that was sent with `epoch` says that the member is none any more. */
  fenced(error: MillraceError, epoch: number): void {
    if (this.state !== 'member' || epoch !== this.epoch) return
    this.#giveUp ??= { error, leaves: false }
    this.#setDoubt(true)
    this.beatNow()
  }

  async #live(): Promise<void> {
    while (!this.#end.signal.aborted) {
      await this.#turn()
      if (this.#end.signal.aborted) break
      await this.#pause()
    }
  }

  async #turn(): Promise<void> {
    this.#isDue = false
    this.#checkStall()
    const giveUp = this.#giveUp
    this.#giveUp = undefined
    if (giveUp !== undefined) {
      await this.#lose(giveUp.error, giveUp.leaves)
      return
    }
    try {
      await this.#beat()
      this.#failures = 0
      this.#unreleasedSinceMs = undefined
    } catch (error) {
      if (!this.#end.signal.aborted) await this.#failed(asMillraceError(error))
    }
  }

  /** A handler that hangs gives its partitions up while its event loop still turns. */
  #checkStall(): void {
    if (this.state !== 'member' || this.#parts.runtime.clock.monotonicMs() < this.#events.stalledAtMs()) return
    const { pollIntervalMsMax } = this.#options
    const why = `a record has been with its handler for more than pollIntervalMsMax (${pollIntervalMsMax} ms): its partitions go to others`
    this.#giveUp ??= { error: new MillraceError('UNKNOWN_MEMBER_ID', why), leaves: true }
  }

  async #beat(): Promise<void> {
    const { clock } = this.#parts.runtime
    const { sessionTimeoutMs } = this.#options
    const epoch = this.epoch
    const ownedVersion = this.#ownedVersion
    const sentMs = clock.monotonicMs()
    // An answer that does not come within the session is of no use.
    const timeoutMs = Math.min(this.#parts.requestTimeoutMs, Math.max(sessionTimeoutMs, 1_000))
    const signal = this.#end.signal
    const reply = await this.#parts.coordinator.call(groupHeartbeat, this.#request(epoch), { timeoutMs, signal })
    if (signal.aborted) return
    this.state = 'member'
    this.epoch = reply.memberEpoch
    this.#tellsAll = false
    this.#heardVersion = ownedVersion
    if (reply.heartbeatIntervalMs > 0) this.#intervalMs = reply.heartbeatIntervalMs
    this.#lastSentMs = sentMs
    this.#sureUntil(sentMs + sessionTimeoutMs)
    this.#tellKeepAlive()
    for (const listener of this.#onBeat.splice(0)) listener()
    if (reply.assignment !== null) this.#events.onAssignment(reply.assignment)
  }

  #request(memberEpoch: number) {
    const { instanceId, rackId, rebalanceTimeoutMs, sessionTimeoutMs, assignor } = this.#options
    const all = this.#tellsAll
    const tellsOwned = all || this.#heardVersion !== this.#ownedVersion
    return {
      groupId: this.#parts.coordinator.groupId,
      memberId: this.memberId,
      memberEpoch,
      instanceId,
      rackId: all ? rackId : null,
      rebalanceTimeoutMs: all ? rebalanceTimeoutMs : -1,
      sessionTimeoutMs: all ? sessionTimeoutMs : -1,
      subscribedTopics: all ? this.#subscription.topics : null,
      subscribedPattern: all ? this.#subscription.pattern : null,
      serverAssignor: all ? assignor : null,
      ownedPartitions: tellsOwned ? this.#events.ownedPartitions() : null,
    }
  }

  #tellKeepAlive(): void {
    const { keepAlive, coordinator, runtime } = this.#parts
    if (keepAlive === undefined) return
    // A handler that begins right after this has pollIntervalMsMax from now.
    const leftMs = Math.min(this.#events.stalledAtMs() - runtime.clock.monotonicMs(), this.#options.pollIntervalMsMax)
    const { groupId, urls } = coordinator
    const { sessionTimeoutMs } = this.#options
    const forMs = Math.max(0, leftMs)
    keepAlive.heard({ groupId, memberId: this.memberId, everyMs: this.#intervalMs, forMs, sessionTimeoutMs, urls })
  }

  /** The broker has heard of the member: until then its session has not ended. */
  #sureUntil(atMs: number): void {
    this.#doubtTimer?.cancel()
    const delayMs = Math.max(0, atMs - this.#parts.runtime.clock.monotonicMs())
    this.#doubtTimer = this.#parts.runtime.startTimer(delayMs, () => this.#setDoubt(true))
    this.#setDoubt(false)
  }

  #setDoubt(isInDoubt: boolean): void {
    if (this.#isInDoubt === isInDoubt) return
    this.#isInDoubt = isInDoubt
    this.#events.onDoubt()
  }

  async #failed(error: MillraceError): Promise<void> {
    this.#tellsAll = true
    const kind = this.#isWaitingForInstance(error) ? 'weather' : classOf(error)
    if (kind === 'fenced' && this.epoch !== JOIN_EPOCH) await this.#lose(error, false)
    else if (kind === 'final') this.#fail(error)
    else this.#failures++
  }

  /** A static member that crashed comes back before its earlier life has timed out. */
  #isWaitingForInstance(error: MillraceError): boolean {
    if (error.code !== 'UNRELEASED_INSTANCE_ID') return false
    const nowMs = this.#parts.runtime.clock.monotonicMs()
    this.#unreleasedSinceMs ??= nowMs
    return nowMs - this.#unreleasedSinceMs < this.#options.sessionTimeoutMs + UNRELEASED_GRACE_MS
  }

  async #lose(error: MillraceError, leaves: boolean): Promise<void> {
    this.state = 'lost'
    this.#forgetKeepAlive()
    this.#doubtTimer?.cancel()
    if (leaves) await this.#sayLeave(this.#parts.requestTimeoutMs).catch(() => {})
    this.epoch = JOIN_EPOCH
    this.#tellsAll = true
    this.#setDoubt(false)
    // Everything is given up, and nothing is handled any more, before the group hears of this member again (M2).
    await this.#events.onLost(error)
    if (this.state !== 'lost') return
    this.state = 'joining'
    this.beatNow()
  }

  #fail(error: MillraceError): void {
    this.state = 'left'
    this.#stop()
    this.#events.onFatal(error)
  }

  async #pause(): Promise<void> {
    const { runtime, backoff } = this.#parts
    const nowMs = runtime.clock.monotonicMs()
    const dueMs = this.#failures > 0 ? nowMs + backoffMs(runtime.prng, this.#failures, backoff) : this.#nextBeatMs()
    // With failures even what is due waits: the broker is not asked faster than the backoff says.
    if (this.#isDue && this.#failures === 0) return
    const delayMs = Math.min(dueMs, this.#events.stalledAtMs()) - nowMs
    this.#wake = new AbortController()
    const wake = this.#failures > 0 ? this.#end.signal : this.#wake.signal
    await sleep(runtime, Math.max(1, Math.ceil(delayMs)), wake).catch(() => {})
    this.#wake = undefined
  }

  #nextBeatMs(): number {
    return this.#lastSentMs + this.#intervalMs
  }

  #stop(): void {
    this.#end.abort()
    this.#wake?.abort()
    this.#doubtTimer?.cancel()
    this.#forgetKeepAlive()
    this.#forgetHints()
    for (const listener of this.#onBeat.splice(0)) listener()
  }

  #forgetKeepAlive(): void {
    this.#parts.keepAlive?.forget(this.#parts.coordinator.groupId, this.memberId)
  }

  /** Ends the heartbeats and tells the group, as well as it can within `timeoutMs`. */
  async leave(timeoutMs: number): Promise<void> {
    if (this.state === 'left') return
    const wasMember = this.epoch > JOIN_EPOCH
    // A join that is out may have been taken: it is better left, too.
    const mayBeKnown = wasMember || this.#running !== undefined
    this.state = 'leaving'
    this.#stop()
    await this.#running
    if (mayBeKnown) await this.#sayLeave(timeoutMs).catch(() => {})
    this.state = 'left'
  }

  async #sayLeave(timeoutMs: number): Promise<void> {
    const stop = new AbortController()
    const timer = this.#parts.runtime.startTimer(timeoutMs, () => stop.abort())
    const isStatic = this.#options.instanceId !== null && this.state === 'leaving'
    const request = { ...this.#request(isStatic ? LEAVE_FOR_A_WHILE_EPOCH : LEAVE_EPOCH), ownedPartitions: [] }
    try {
      await this.#parts.coordinator.call(groupHeartbeat, request, { timeoutMs, signal: stop.signal })
    } finally {
      timer.cancel()
    }
  }
}

function newMemberId(runtime: ClientRuntime): string {
  let text = ''
  while (text.length < 2 * MEMBER_ID_BYTES) text += runtime.prng.uint32().toString(16).padStart(8, '0')
  return text
}
