/**
 * SessionExtender: the work of a keep-alive: extends the sessions of members whose own heartbeats have stopped coming, until the
 * time that the last of them named. It runs beside the consumers' thread, with a connection of its own.
 *
 * Invariants  E1 it sends session-extend and nothing else: it confirms nothing
 *             E2 nothing is sent for a member whose heartbeats come, nor past its time          checked in: unit test
 *             E3 groups do not wait for each other: one whose coordinator fails or says nothing holds up itself alone
 *             E4 no wait outlasts a session: connecting, an answer and a backoff may each take a quarter of the shortest, so that what
 *                was lost is sent again, on a new connection, while its session still lives      checked in: unit test
 * Limits      one request of a group under way; as many members as the client has
 * Failure     asked again after backoff, a group at a time; members that the group does not know are forgotten. A connection that
 *             owes an answer for too long is given up, with what else is under way on it: that is sent again, too
 */
import { sessionExtend } from '../../protocol/index.ts'
import { backoffMs } from '../backoff.ts'
import { BrokerConnections } from '../broker-connections.ts'
import { CLIENT_VERSION } from '../client-options.ts'
import type { ClientRuntime, Timer } from '../client-runtime.ts'
import { Coordinators } from '../coordinators.ts'
import { GroupCoordinator } from './group-coordinator.ts'
import type { KeepAlive, KeepAliveTarget, KeptMember } from './keep-alive.ts'

interface Kept {
  readonly memberId: string
  readonly everyMs: number
  readonly untilMs: number
  dueMs: number
}

interface KeptGroup {
  readonly groupId: string
  readonly members: Map<string, Kept>
  isSending: boolean
  failures: number
  /** Its backoff: nothing is sent before. */
  notBeforeMs: number
}

/** A heartbeat is late when so many of its intervals have passed. */
const LATE_INTERVALS = 1.5
/** A heartbeat is missed, a request lost, a connection made, a request answered: three waits and what came before fit a session. */
const PATIENCE_OF_SESSION = 1 / 4
/** Of sessions so short that a busy machine could not connect in a quarter of them. */
const PATIENCE_MS_MIN = 500
const NO_EVENTS = { onConnected() {}, onDisconnected() {}, onConnectFailed() {}, onReconnecting() {} }

export class SessionExtender implements KeepAlive {
  readonly #runtime: ClientRuntime
  readonly #target: KeepAliveTarget
  readonly #groups = new Map<string, KeptGroup>()
  #connections: BrokerConnections | undefined
  /** Of these connections: when they go, so does what was found through them. */
  #coordinators: Coordinators | undefined
  #urls: readonly string[]
  /** The longest of each wait: see E4. */
  #patienceMs = Number.POSITIVE_INFINITY
  #timer: Timer | undefined
  #isClosed = false

  constructor(runtime: ClientRuntime, target: KeepAliveTarget) {
    this.#runtime = runtime
    this.#target = target
    this.#urls = target.urls
  }

  heard({ groupId, memberId, everyMs, forMs, sessionTimeoutMs, urls }: KeptMember): void {
    this.#urls = [...new Set([...this.#target.urls, ...urls])]
    this.#connections?.addUrls(urls)
    this.#bePatientFor(Math.max(PATIENCE_MS_MIN, sessionTimeoutMs * PATIENCE_OF_SESSION))
    const nowMs = this.#runtime.clock.monotonicMs()
    const dueMs = nowMs + LATE_INTERVALS * everyMs
    this.#group(groupId).members.set(memberId, { memberId, everyMs, untilMs: nowMs + forMs, dueMs })
    this.#schedule()
  }

  /** The first that has a shorter session changes what connections are made with. */
  #bePatientFor(ms: number): void {
    if (ms >= this.#patienceMs) return
    this.#patienceMs = ms
    this.#connections?.close() // what is under way is sent again
    this.#connections = undefined
    this.#coordinators = undefined
  }

  #group(groupId: string): KeptGroup {
    let group = this.#groups.get(groupId)
    if (group === undefined) {
      group = { groupId, members: new Map(), isSending: false, failures: 0, notBeforeMs: Number.NEGATIVE_INFINITY }
      this.#groups.set(groupId, group)
    }
    return group
  }

  forget(groupId: string, memberId: string): void {
    const group = this.#groups.get(groupId)
    if (group === undefined) return
    group.members.delete(memberId)
    this.#dropIfEmpty(group)
  }

  /** What it has under way is remembered: it must not be sent twice at a time. */
  #dropIfEmpty(group: KeptGroup): void {
    if (group.members.size === 0 && !group.isSending) this.#groups.delete(group.groupId)
  }

  close(): void {
    this.#isClosed = true
    this.#groups.clear()
    this.#timer?.cancel()
    this.#connections?.close() // ends what is under way
  }

  #schedule(): void {
    if (this.#isClosed) return
    this.#timer?.cancel()
    const nowMs = this.#runtime.clock.monotonicMs()
    let dueMs = Number.POSITIVE_INFINITY
    for (const group of this.#groups.values()) dueMs = Math.min(dueMs, groupDueMs(group, nowMs))
    if (dueMs === Number.POSITIVE_INFINITY) return
    this.#timer = this.#runtime.startTimer(Math.max(1, Math.ceil(dueMs - nowMs)), () => this.#turn())
  }

  #turn(): void {
    const nowMs = this.#runtime.clock.monotonicMs()
    for (const group of this.#groups.values()) if (groupDueMs(group, nowMs) <= nowMs) void this.#extend(group, nowMs)
    this.#schedule()
  }

  async #extend(group: KeptGroup, nowMs: number): Promise<void> {
    const { clock, prng } = this.#runtime
    const { backoff } = this.#waits()
    group.isSending = true
    try {
      await this.#send(
        group,
        [...group.members.values()].filter((member) => member.dueMs <= nowMs && nowMs < member.untilMs),
      )
      group.failures = 0
    } catch {
      group.failures++
      group.notBeforeMs = clock.monotonicMs() + backoffMs(prng, group.failures, backoff)
    }
    group.isSending = false
    this.#dropIfEmpty(group)
    this.#schedule()
  }

  async #send({ groupId }: KeptGroup, members: readonly Kept[]): Promise<void> {
    const coordinator = new GroupCoordinator(groupId, this.#connect())
    const request = { groupId, memberIds: members.map(({ memberId }) => memberId) }
    const { requestTimeoutMs: timeoutMs } = this.#waits()
    const { unknownMemberIds } = await coordinator.call(sessionExtend, request, {
      timeoutMs,
      // Perhaps it is this connection that loses them, and the session has no time for another try to find out.
      onLate: 'end-connection',
    })
    const nowMs = this.#runtime.clock.monotonicMs()
    for (const member of members) member.dueMs = nowMs + member.everyMs
    for (const memberId of unknownMemberIds) this.forget(groupId, memberId)
  }

  #connect(): Coordinators {
    const { options } = this.#target
    const { token, clientName } = options
    const common = { clientName, clientVersion: CLIENT_VERSION, token, ...this.#waits() }
    this.#connections ??= new BrokerConnections(this.#runtime, this.#urls, common, NO_EVENTS)
    this.#coordinators ??= new Coordinators(this.#connections)
    return this.#coordinators
  }

  /** The client's own, none longer than a session allows. */
  #waits() {
    const { connectTimeoutMs, requestTimeoutMs, silenceMsMax, backoffMsMin, backoffMsMax } = this.#target.options
    const most = this.#patienceMs
    return {
      connectTimeoutMs: Math.min(connectTimeoutMs, most),
      requestTimeoutMs: Math.min(requestTimeoutMs, most),
      silenceMsMax: Math.min(silenceMsMax, most),
      backoff: { delayMsMin: Math.min(backoffMsMin, most), delayMsMax: Math.min(backoffMsMax, most) },
    }
  }
}

/** When a request of the group is due; infinity while one is under way, and where nobody is to be kept. */
function groupDueMs(group: KeptGroup, nowMs: number): number {
  let dueMs = Number.POSITIVE_INFINITY
  if (group.isSending) return dueMs
  for (const member of group.members.values()) if (member.untilMs > nowMs) dueMs = Math.min(dueMs, member.dueMs)
  return Math.max(dueMs, group.notBeforeMs)
}
