/**
 * SessionExtender: the work of a keep-alive: extends the sessions of members whose own heartbeats have stopped coming, until the
 * time that the last of them named. It runs beside the consumers' thread, with a connection of its own.
 *
 * Invariants  E1 it sends session-extend and nothing else: it confirms nothing
 *             E2 nothing is sent for a member whose heartbeats come, nor past its time          checked in: unit test
 * Limits      one request a group and turn; as many members as the client has
 * Failure     asked again with the next turn, after backoff; members that the group does not know are forgotten
 */
import { sessionExtend } from '../../protocol/index.ts'
import { backoffMs } from '../backoff.ts'
import { BrokerConnections } from '../broker-connections.ts'
import { CLIENT_VERSION } from '../client-options.ts'
import type { ClientRuntime, Timer } from '../client-runtime.ts'
import { GroupCoordinator } from './group-coordinator.ts'
import type { KeepAlive, KeepAliveTarget, KeptMember } from './keep-alive.ts'

interface Kept {
  readonly groupId: string
  readonly memberId: string
  readonly everyMs: number
  readonly untilMs: number
  dueMs: number
}

/** A heartbeat is late when so many of its intervals have passed. */
const LATE_INTERVALS = 1.5
const NO_EVENTS = { onConnected() {}, onDisconnected() {}, onConnectFailed() {}, onReconnecting() {} }

export class SessionExtender implements KeepAlive {
  readonly #runtime: ClientRuntime
  readonly #target: KeepAliveTarget
  readonly #members = new Map<string, Kept>()
  readonly #end = new AbortController()
  #connections: BrokerConnections | undefined
  #timer: Timer | undefined
  #isSending = false
  #failures = 0

  constructor(runtime: ClientRuntime, target: KeepAliveTarget) {
    this.#runtime = runtime
    this.#target = target
  }

  heard({ groupId, memberId, everyMs, forMs }: KeptMember): void {
    const nowMs = this.#runtime.clock.monotonicMs()
    const dueMs = nowMs + LATE_INTERVALS * everyMs
    this.#members.set(keyOf(groupId, memberId), { groupId, memberId, everyMs, untilMs: nowMs + forMs, dueMs })
    this.#schedule()
  }

  forget(groupId: string, memberId: string): void {
    this.#members.delete(keyOf(groupId, memberId))
  }

  close(): void {
    this.#members.clear()
    this.#end.abort()
    this.#timer?.cancel()
    this.#connections?.close()
  }

  #schedule(): void {
    if (this.#isSending || this.#end.signal.aborted) return
    this.#timer?.cancel()
    const nowMs = this.#runtime.clock.monotonicMs()
    let dueMs = Number.POSITIVE_INFINITY
    for (const member of this.#members.values()) if (member.untilMs > nowMs) dueMs = Math.min(dueMs, member.dueMs)
    if (dueMs === Number.POSITIVE_INFINITY) return
    const { backoffMsMin: delayMsMin, backoffMsMax: delayMsMax } = this.#target.options
    const delayMs = Math.max(dueMs - nowMs, backoffMs(this.#runtime.prng, this.#failures, { delayMsMin, delayMsMax }))
    this.#timer = this.#runtime.startTimer(Math.max(1, Math.ceil(delayMs)), () => void this.#turn())
  }

  async #turn(): Promise<void> {
    this.#isSending = true
    try {
      for (const [groupId, members] of this.#due()) await this.#extend(groupId, members)
      this.#failures = 0
    } catch {
      this.#failures++
    }
    this.#isSending = false
    this.#schedule()
  }

  #due(): Map<string, Kept[]> {
    const nowMs = this.#runtime.clock.monotonicMs()
    const byGroup = new Map<string, Kept[]>()
    for (const member of this.#members.values())
      if (member.dueMs <= nowMs && nowMs < member.untilMs)
        byGroup.set(member.groupId, [...(byGroup.get(member.groupId) ?? []), member])
    return byGroup
  }

  async #extend(groupId: string, members: readonly Kept[]): Promise<void> {
    const coordinator = new GroupCoordinator(groupId, this.#connect())
    const request = { groupId, memberIds: members.map(({ memberId }) => memberId) }
    const options = { timeoutMs: this.#target.options.requestTimeoutMs, signal: this.#end.signal }
    const { unknownMemberIds } = await coordinator.call(sessionExtend, request, options)
    const nowMs = this.#runtime.clock.monotonicMs()
    for (const member of members) member.dueMs = nowMs + member.everyMs
    for (const memberId of unknownMemberIds) this.forget(groupId, memberId)
  }

  #connect(): BrokerConnections {
    const { urls, options } = this.#target
    const { token, clientName, connectTimeoutMs, requestTimeoutMs, backoffMsMin, backoffMsMax } = options
    const backoff = { delayMsMin: backoffMsMin, delayMsMax: backoffMsMax }
    const common = { clientName, clientVersion: CLIENT_VERSION, token, connectTimeoutMs, requestTimeoutMs, backoff }
    this.#connections ??= new BrokerConnections(this.#runtime, urls, common, NO_EVENTS)
    return this.#connections
  }
}

function keyOf(groupId: string, memberId: string): string {
  return `${memberId} ${groupId}`
}
