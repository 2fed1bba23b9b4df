/**
 * KeepAlive: the port behind which something says that members are alive while their event loop is blocked. It extends
 * sessions (session-extend) and confirms nothing. In Node it is a thread with a connection of its own; browsers have none.
 *
 * Why a deadline is told ahead: a blocked loop tells nothing. So each heartbeat says until when its member may be kept: past that the
 * handler counts as hung, the session ends, and the broker fences what the handler commits later.
 */
import type { ResolvedClientOptions } from '../client-options.ts'

export interface KeptMember {
  readonly groupId: string
  readonly memberId: string
  /** The member's own heartbeats come this often; nothing is sent for it while they do. */
  readonly everyMs: number
  /** From now: how long it may be kept at most. */
  readonly forMs: number
  /** Bounds how long one extension may be waited for. */
  readonly sessionTimeoutMs: number
  /** Where brokers may be by now. */
  readonly urls: readonly string[]
}

export interface KeepAlive {
  /** A heartbeat of this member leaves. */
  heard(member: KeptMember): void
  /** The member has left, or is fenced. */
  forget(groupId: string, memberId: string): void
  close(): void
}

/** What a keep-alive needs to make a connection like the client's. */
export interface KeepAliveTarget {
  readonly urls: readonly string[]
  readonly options: Omit<ResolvedClientOptions, 'connectWaitMs'>
}
