/**
 * KeptLease: a lease that this process keeps alive, and whose end it knows by its own clock before the store could let it expire.
 *
 * Invariants  KL1 deadlineMs <= when the last keep-alive that was answered was SENT + ttl - margin: a store counts from when it arrived
 *             (and etcd starts anew when its leader changes), so it never lets the lease expire earlier
 *             KL2 lost once and for all: a keep-alive that succeeds after the deadline does not bring the lease back
 * Ordering    the time is taken -> sent -> answered -> the deadline moves to sent + ttl - margin; the next one ttl / 3 after the time
 * Limits      the margin is LEASE_MARGIN of the ttl: so much may the rates of two clocks differ. A machine that sleeps stops its clock:
 *             epochs make that safe, not leases
 * Failure     a keep-alive that fails is tried again until the deadline, then the lease is lost
 */
import type { StoreLease } from './metadata-store.ts'

/** Of the ttl. */
export const LEASE_MARGIN = 0.05
const KEEP_ALIVES_PER_TTL = 3
const RETRIES_PER_TTL = 20

export interface KeptLeaseOptions {
  readonly leaseId: string
  readonly ttlMs: number
  /** When the grant was sent. */
  readonly sentMs: number
  /** Monotonic. */
  readonly nowMs: () => number
  readonly after: (delayMs: number, task: () => void) => () => void
  /** Answers false when the store says that there is no such lease; rejects when it is not known. Ends within `timeoutMs`. */
  readonly keepAlive: (timeoutMs: number) => Promise<boolean>
  readonly revoke: () => Promise<void>
  /** It is lost or revoked. */
  readonly onEnd: () => void
}

export class KeptLease implements StoreLease {
  readonly leaseId: string
  readonly #options: KeptLeaseOptions
  readonly #listeners: (() => void)[] = []
  #deadlineMs = Number.NEGATIVE_INFINITY
  #state: 'held' | 'lost' | 'ended' = 'held'
  #cancelNext: () => void = () => {}
  #cancelDeadline: () => void = () => {}

  constructor(options: KeptLeaseOptions) {
    this.#options = options
    this.leaseId = options.leaseId
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
    this.#end('ended')
    await this.#options.revoke()
  }

  /** The holder hears of it; the store does not. */
  lose(): void {
    if (this.#state !== 'held') return
    this.#end('lost')
    for (const listener of this.#listeners) listener()
  }

  /** The holder is no more: nothing is kept alive, nobody hears of it. */
  abandon(): void {
    if (this.#state === 'held') this.#end('ended')
  }

  #end(state: 'lost' | 'ended'): void {
    this.#state = state
    this.#cancelNext()
    this.#cancelDeadline()
    this.#options.onEnd()
  }

  /** A request sent at `sentMs` was answered: the store holds the lease until sentMs + ttl at least. */
  #answered(sentMs: number): void {
    const { ttlMs, after, nowMs } = this.#options
    this.#deadlineMs = Math.max(this.#deadlineMs, sentMs + ttlMs * (1 - LEASE_MARGIN))
    this.#cancelDeadline()
    this.#cancelDeadline = after(Math.max(0, this.#deadlineMs - nowMs()), () => this.#checkDeadline())
    const nextMs = sentMs + ttlMs / KEEP_ALIVES_PER_TTL - nowMs()
    this.#cancelNext = after(Math.max(0, nextMs), () => void this.#keepAlive())
  }

  #checkDeadline(): void {
    const { nowMs, after } = this.#options
    const leftMs = this.#deadlineMs - nowMs()
    if (leftMs <= 0) this.lose()
    // Else the timer was early.
    else this.#cancelDeadline = after(leftMs, () => this.#checkDeadline())
  }

  async #keepAlive(): Promise<void> {
    const { nowMs, after, ttlMs, keepAlive } = this.#options
    const sentMs = nowMs()
    // After a pause of the process this may come before the timer of the deadline.
    if (sentMs >= this.#deadlineMs) {
      this.lose()
      return
    }
    try {
      const isKept = await keepAlive(ttlMs / KEEP_ALIVES_PER_TTL)
      if (this.#state !== 'held') return
      if (!isKept || nowMs() >= this.#deadlineMs) this.lose()
      else this.#answered(sentMs)
    } catch {
      // What was wrong is for the deadline to say.
      if (this.#state === 'held') this.#cancelNext = after(ttlMs / RETRIES_PER_TTL, () => void this.#keepAlive())
    }
  }
}
