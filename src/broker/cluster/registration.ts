/**
 * Registration: this broker's place among those that live: a lease, and what it says of itself under it.
 *
 * Owns        the lease; what is registered
 * Thread      main
 * Invariants  RG1 from the lease's own deadline on the broker is suspended: it may be registered no more, and others may lead
 *             RG2 what is registered is what update() said last, once the store has taken it
 *             RG3 it is not registered again before it knows what was changed while it was not: it might lead what others lead by now
 * Ordering    lease -> registered -> image has caught up -> onState('registered'). Deadline passed: onState('suspended'). Lost: a new lease, registered again
 * Failure     the store cannot be reached: tried again every RETRY_MS. STALE_BROKER_EPOCH: another process has this node id: onOver
 */
import type { Clock } from '../../base/clock.ts'
import { registerBroker } from '../../coordination/cluster-identity.ts'
import type { BrokerState } from '../../coordination/keys.ts'
import type { MetadataStore, StoreLease } from '../../coordination/metadata-store.ts'
import { isMillraceError } from '../../model/errors.ts'
import type { Logger } from '../../telemetry/logger.ts'
import type { Timers } from '../timers.ts'

const RETRY_MS = 500
/** How often the deadline is looked at: a suspension is late by at most so much, which the lease's margin covers. */
const LOOK_MS = 100

export type RegisteredState = Omit<BrokerState, 'leaseId'>

export interface RegistrationOptions {
  readonly store: MetadataStore
  readonly nodeId: number
  readonly leaseTtlMs: number
  readonly clock: Clock
  readonly timers: Timers
  readonly logger: Logger
  /** Resolves once the image holds what was written at `revision`; rejects when it does not in time, or is over. */
  readonly waitFor: (revision: number) => Promise<void>
  readonly onState: (state: 'registered' | 'suspended') => void
  /** It is registered under this lease: what is to live and die with the broker may hang on it. */
  readonly onRegistered: (lease: StoreLease) => void
  readonly onOver: (reason: string) => void
}

export class Registration {
  readonly #options: RegistrationOptions
  #state: RegisteredState | undefined
  #lease: StoreLease | undefined
  #isRegistered = false
  #isSuspended = true
  #isWorking = false
  /** Something has changed since the store was told. */
  #isDue = false
  #isClosed = false
  #stopLooking: () => void = () => {}

  constructor(options: RegistrationOptions) {
    this.#options = options
  }

  get lease(): StoreLease | undefined {
    return this.#lease
  }

  get isRegistered(): boolean {
    return this.#isRegistered && !this.#isSuspended
  }

  /** Registers; resolves when it is, or rejects with what ends this broker. */
  async start(state: RegisteredState): Promise<void> {
    this.#state = state
    this.#stopLooking = this.#options.timers.every(LOOK_MS, () => this.#look())
    this.#isDue = true
    await this.#work(true)
  }

  /** Says something else of this broker from now on. */
  update(change: Partial<RegisteredState>): void {
    if (this.#state === undefined) return
    this.#state = { ...this.#state, ...change }
    this.#isDue = true
    void this.#work(false)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#stopLooking()
    await this.#lease?.revoke().catch(() => {})
  }

  async #work(mustSucceed: boolean): Promise<void> {
    if (this.#isWorking) return
    this.#isWorking = true
    try {
      while (this.#isDue && !this.#isClosed) {
        this.#isDue = false
        try {
          await this.#register()
        } catch (error) {
          if (this.#isOver(error, mustSucceed)) throw error
          if (this.#isClosed) return
          this.#options.logger.warn({ err: error }, 'the broker is not registered: it tries again')
          this.#isDue = true
          await new Promise<void>((resolve) => void this.#options.timers.after(RETRY_MS, resolve))
        }
      }
    } finally {
      this.#isWorking = false
    }
  }

  /** Nothing will mend it; at the start, whoever waits for it is told. */
  #isOver(error: unknown, mustSucceed: boolean): boolean {
    if (!isMillraceError(error) || error.code !== 'STALE_BROKER_EPOCH') return false
    if (mustSucceed) return true
    this.#isClosed = true
    this.#options.onOver(error.message)
    return false
  }

  async #register(): Promise<void> {
    const { store, nodeId, waitFor } = this.#options
    const lease = this.#lease ?? (await this.#newLease())
    const revision = await registerBroker(store, lease, nodeId, this.#state!)
    if (this.#lease !== lease) return
    // Others may have been elected before this registration, and the watch may be behind: acks=leader under an old epoch would be lost.
    if (!this.#isRegistered) await waitFor(revision)
    if (this.#lease !== lease || this.#isClosed) return
    this.#isRegistered = true
    this.#look()
    this.#options.onRegistered(lease)
  }

  async #newLease(): Promise<StoreLease> {
    const { store, leaseTtlMs, logger } = this.#options
    const lease = await store.lease(leaseTtlMs)
    if (this.#isClosed) {
      await lease.revoke()
      throw new Error('the broker stops')
    }
    this.#lease = lease
    lease.onLost(() => {
      if (this.#lease !== lease || this.#isClosed) return
      logger.warn('the lease of this broker is lost: it registers again')
      this.#lease = undefined
      this.#isRegistered = false
      this.#look()
      this.#isDue = true
      void this.#work(false)
    })
    return lease
  }

  #look(): void {
    const { clock, onState } = this.#options
    const isLate = this.#lease === undefined || clock.monotonicMs() >= this.#lease.deadlineMs()
    const isSuspended = isLate || !this.#isRegistered
    if (isSuspended === this.#isSuspended) return
    this.#isSuspended = isSuspended
    onState(isSuspended ? 'suspended' : 'registered')
  }
}
