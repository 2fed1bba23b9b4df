/**
 * EtcdLease: a lease that this process keeps alive, and whose end it knows by its own clock before etcd could let it expire.
 *
 * Invariants  EL1 deadlineMs <= when the last keep-alive that was answered was SENT + ttl - margin: etcd counts from when it arrived,
 *             and starts anew when its leader changes, so it never lets the lease expire earlier
 *             EL2 lost once and for all: a keep-alive that succeeds after the deadline does not bring the lease back
 * Ordering    sent (the time is taken) -> answered -> the deadline moves to sent + ttl - margin -> next after ttl / 3
 * Limits      the margin is LEASE_MARGIN of the ttl: clocks may run at rates that differ by that. A machine that sleeps stops the clock:
 *             epochs make that safe, not leases
 * Failure     a keep-alive that fails is tried at the next member at once and again until the deadline, then the lease is lost.
 *             Not etcd3's own lease: it says `lost` after twice the ttl
 */
import { faultOf } from './etcd-faults.ts'
import type { EtcdMembers } from './etcd-members.ts'
import type { StoreLease } from './metadata-store.ts'
import type { StoreTimers } from './store-timers.ts'

/** Of the ttl. */
export const LEASE_MARGIN = 0.05
const KEEP_ALIVES_PER_TTL = 3
const RETRIES_PER_TTL = 20

export interface EtcdLeaseOptions {
  readonly members: EtcdMembers
  readonly timers: StoreTimers
  readonly leaseId: string
  readonly ttlMs: number
  /** When the grant was sent. */
  readonly sentMs: number
  /** It is lost or revoked. */
  readonly onEnd: () => void
}

export class EtcdLease implements StoreLease {
  readonly leaseId: string
  readonly #options: EtcdLeaseOptions
  readonly #listeners: (() => void)[] = []
  #deadlineMs: number
  #state: 'held' | 'lost' | 'revoked' = 'held'
  #cancelNext: () => void = () => {}
  #cancelDeadline: () => void = () => {}

  constructor(options: EtcdLeaseOptions) {
    this.#options = options
    this.leaseId = options.leaseId
    this.#deadlineMs = Number.NEGATIVE_INFINITY
    this.#answered(options.sentMs)
  }

  deadlineMs(): number {
    return this.#state === 'held' ? this.#deadlineMs : Number.NEGATIVE_INFINITY
  }

  onLost(listener: () => void): void {
    if (this.#state === 'lost') listener()
    else this.#listeners.push(listener)
  }

  async revoke(): Promise<void> {
    if (this.#state !== 'held') return
    this.#end('revoked')
    await revokeEtcdLease(this.#options.members, this.leaseId)
  }

  /** The holder hears of it; etcd does not. */
  lose(): void {
    if (this.#state !== 'held') return
    this.#end('lost')
    for (const listener of this.#listeners) listener()
  }

  #end(state: 'lost' | 'revoked'): void {
    this.#state = state
    this.#cancelNext()
    this.#cancelDeadline()
    this.#options.onEnd()
  }

  /** A request sent at `sentMs` was answered: etcd holds the lease until sentMs + ttl at least. */
  #answered(sentMs: number): void {
    const { ttlMs, timers, members } = this.#options
    this.#deadlineMs = Math.max(this.#deadlineMs, sentMs + ttlMs * (1 - LEASE_MARGIN))
    this.#cancelDeadline()
    this.#cancelDeadline = timers.after(Math.max(0, this.#deadlineMs - members.nowMs()), () => this.#checkDeadline())
    const nextMs = sentMs + ttlMs / KEEP_ALIVES_PER_TTL - members.nowMs()
    this.#cancelNext = timers.after(Math.max(0, nextMs), () => void this.#keepAlive())
  }

  #checkDeadline(): void {
    const { members, timers } = this.#options
    const leftMs = this.#deadlineMs - members.nowMs()
    if (leftMs <= 0) this.lose()
    // Else the timer was early.
    else this.#cancelDeadline = timers.after(leftMs, () => this.#checkDeadline())
  }

  async #keepAlive(): Promise<void> {
    const { members, timers, ttlMs } = this.#options
    const client = members.current()
    const sentMs = members.nowMs()
    const timeoutMs = Math.min(members.attemptMsMax, ttlMs / KEEP_ALIVES_PER_TTL)
    try {
      const seconds = await client.keepAlive(this.leaseId, timeoutMs)
      if (this.#state !== 'held') return
      if (seconds <= 0 || members.nowMs() >= this.#deadlineMs) this.lose()
      else this.#answered(sentMs)
    } catch (error) {
      if (this.#state !== 'held' || members.isClosed) return
      const fault = faultOf(error)
      if (fault.kind === 'lease-gone') {
        this.lose()
        return
      }
      members.leave(client, fault.reason)
      this.#cancelNext = timers.after(ttlMs / RETRIES_PER_TTL, () => void this.#keepAlive())
    }
  }
}

export async function revokeEtcdLease(members: EtcdMembers, leaseId: string): Promise<void> {
  await members.run(async (client, timeoutMs) => {
    try {
      await client.revokeLease(leaseId, timeoutMs)
    } catch (error) {
      // It has ended already: perhaps by the try before this one.
      if (faultOf(error).kind !== 'lease-gone') throw error
    }
  })
}
