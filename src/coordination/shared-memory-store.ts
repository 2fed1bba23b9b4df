/**
 * SharedMemoryStore: one store in memory with several clients, as etcd is to the brokers of a cluster: each client has a connection that a
 * test can cut in several ways, and leases that end when nobody keeps them alive. For tests and the simulator.
 *
 * Owns        the state, and the end of every lease
 * Invariants  SM1 no chance, no time of its own: the same calls under the same clock give the same results
 *             SM2 a client is told only what reaches it: nothing while it is cut off, and then all of it, or onResync
 * Ordering    what one client sends arrives in order, what it is told too, latencyMs after it was sent each way; without a latency in
 *             the next microtask
 * Failure     as of the port; which one, the test says by cut()
 */
import type { Clock } from '../base/clock.ts'
import { MillraceError } from '../model/errors.ts'
import { KeptLease } from './kept-lease.ts'
import {
  type MetadataStore,
  type StoreCondition,
  type StoredValue,
  type StoreEvent,
  type StoreLease,
  type StoreOperation,
  StoreOutcomeUnknownError,
  type StoreResult,
  type StoreWatch,
} from './metadata-store.ts'
import { checkTransaction, checkTtl } from './store-bounds.ts'
import { StoreState } from './store-state.ts'
import type { StoreTimers } from './store-timers.ts'

/**
 * What becomes of a client's requests, and what its transactions reject with:
 *
 * | fault           | request          | reply | transaction         |
 * | --------------- | ---------------- | ----- | ------------------- |
 * | `refused`       | not sent         |       | BROKER_NOT_AVAILABLE |
 * | `requests-lost` | lost on its way  |       | unknown, not applied |
 * | `replies-lost`  | done             | lost  | unknown, applied     |
 * | `held`          | on its way until deliverHeld() or dropHeld() | lost | unknown, and applied later, perhaps |
 *
 * Everything else is BROKER_NOT_AVAILABLE. Watches hear nothing meanwhile; keep-alives arrive under `replies-lost` only, and the holder
 * does not know.
 */
export type StoreFault = 'refused' | 'requests-lost' | 'replies-lost' | 'held'

export type SharedStoreTime = Clock & Pick<StoreTimers, 'after'>

export interface SharedMemoryStoreOptions {
  /** Each way; 0 = the next microtask. */
  readonly latencyMs?: number
  /** After so long a client gives up a request that got lost; 0 = as soon as the reply would have come. */
  readonly requestTimeoutMs?: number
}

export class SharedMemoryStore {
  readonly state: StoreState
  readonly latencyMs: number
  readonly requestTimeoutMs: number
  readonly #time: SharedStoreTime
  /** Lease -> how to stop the timer of its end. */
  readonly #ends = new Map<string, () => void>()
  readonly #ttls = new Map<string, number>()

  constructor(time: SharedStoreTime, options: SharedMemoryStoreOptions = {}) {
    this.#time = time
    this.state = new StoreState(time)
    this.latencyMs = options.latencyMs ?? 0
    this.requestTimeoutMs = options.requestTimeoutMs ?? 0
  }

  /** `time`: the clock and the timers of the process that the client lives in; the store's own when it is not given. */
  client(time: SharedStoreTime = this.#time): SharedMemoryClient {
    return new SharedMemoryClient(this, time)
  }

  /** As etcd's compaction: a watch from before now is told to list again. */
  compact(): void {
    this.state.compact()
  }

  grantLease(ttlMs: number): string {
    const leaseId = this.state.grant()
    this.#ttls.set(leaseId, ttlMs)
    this.keepLeaseAlive(leaseId)
    return leaseId
  }

  /** False: there is no such lease. */
  keepLeaseAlive(leaseId: string): boolean {
    const ttlMs = this.#ttls.get(leaseId)
    if (ttlMs === undefined) return false
    this.#ends.get(leaseId)?.()
    this.#ends.set(
      leaseId,
      this.#time.after(ttlMs, () => this.endLease(leaseId)),
    )
    return true
  }

  endLease(leaseId: string): void {
    this.#ends.get(leaseId)?.()
    this.#ends.delete(leaseId)
    this.#ttls.delete(leaseId)
    this.state.revokeLease(leaseId)
  }

  /** Does `task` where it arrives. */
  travel(task: () => void): void {
    if (this.latencyMs > 0) this.#time.after(this.latencyMs, task)
    else queueMicrotask(task)
  }
}

/** A watch of a client, over the times in which it is connected. */
interface ClientWatch {
  readonly prefix: string
  readonly onEvents: (events: readonly StoreEvent[]) => void
  readonly onResync: () => void
  toldRevision: number
  /** Of the connection of now; what an earlier one has sent and not delivered is lost. */
  source: StoreWatch | undefined
}

/** A transaction that the network holds. */
type Held = () => void

export class SharedMemoryClient implements MetadataStore {
  readonly #store: SharedMemoryStore
  readonly #time: SharedStoreTime
  readonly #watches = new Set<ClientWatch>()
  readonly #leases = new Map<string, KeptLease>()
  #held: Held[] = []
  #fault: StoreFault | undefined
  #state: 'open' | 'closed' | 'crashed' = 'open'

  constructor(store: SharedMemoryStore, time: SharedStoreTime) {
    this.#store = store
    this.#time = time
  }

  /** From now on, until mend(). */
  cut(fault: StoreFault = 'refused'): void {
    this.#fault = fault
    for (const watch of this.#watches) detach(watch)
  }

  mend(): void {
    this.#fault = undefined
    for (const watch of this.#watches) if (watch.source === undefined) this.#attach(watch)
  }

  /** What was held arrives, in order, whatever its conditions say by now. */
  deliverHeld(): void {
    const held = this.#held
    this.#held = []
    for (const arrive of held) arrive()
  }

  dropHeld(): void {
    this.#held = []
  }

  /** The process of this client dies: what it waits for never comes, and its leases end when their time is over. */
  crash(): void {
    this.#state = 'crashed'
    this.#leave((lease) => lease.abandon())
  }

  get(key: string): Promise<StoredValue | undefined> {
    return this.#read(() => this.#store.state.get(key))
  }

  list(prefix: string): Promise<{ revision: number; values: StoredValue[] }> {
    return this.#read(() => this.#store.state.list(prefix))
  }

  async transact(conditions: readonly StoreCondition[], operations: readonly StoreOperation[]): Promise<StoreResult> {
    this.#checkOpen()
    checkTransaction(conditions, operations)
    const { state } = this.#store
    const apply = (): StoreResult => {
      state.check(conditions, operations)
      if (!state.holds(conditions)) return { applied: false, revision: state.revision }
      state.apply(operations)
      return { applied: true, revision: state.revision }
    }
    if (this.#fault === 'held')
      this.#held.push(() => {
        // A lease that has ended meanwhile makes it void: nobody is there to be told.
        if (operations.every((operation) => operation.kind === 'delete' || this.#hasLeaseOf(operation))) apply()
      })
    return this.#call(apply, (why) => new StoreOutcomeUnknownError(why))
  }

  async watch(
    prefix: string,
    fromRevision: number,
    onEvents: (events: readonly StoreEvent[]) => void,
    onResync: () => void,
  ): Promise<StoreWatch> {
    const watch: ClientWatch = { prefix, onEvents, onResync, toldRevision: fromRevision, source: undefined }
    await this.#read(() => {
      if (this.#state !== 'open') return
      this.#watches.add(watch)
      this.#attach(watch)
    })
    return {
      close: async () => {
        this.#watches.delete(watch)
        detach(watch)
      },
    }
  }

  async lease(ttlMs: number): Promise<StoreLease> {
    checkTtl(ttlMs)
    const sentMs = this.#time.monotonicMs()
    const leaseId = await this.#read(() => this.#store.grantLease(ttlMs))
    const lease = new KeptLease({
      leaseId,
      ttlMs,
      sentMs,
      nowMs: () => this.#time.monotonicMs(),
      after: (delayMs, task) => this.#time.after(delayMs, task),
      keepAlive: () => this.#read(() => this.#store.keepLeaseAlive(leaseId)),
      revoke: () => this.#read(() => this.#store.endLease(leaseId)),
      onEnd: () => void this.#leases.delete(leaseId),
    })
    this.#leases.set(leaseId, lease)
    return lease
  }

  async revokeLease(leaseId: string): Promise<void> {
    await this.#read(() => this.#store.endLease(leaseId))
    this.#leases.get(leaseId)?.lose()
  }

  async close(): Promise<void> {
    if (this.#state !== 'open') return
    this.#state = 'closed'
    this.#leave((lease) => lease.lose())
  }

  #leave(endLease: (lease: KeptLease) => void): void {
    for (const watch of this.#watches) detach(watch)
    this.#watches.clear()
    for (const lease of [...this.#leases.values()]) endLease(lease)
  }

  #hasLeaseOf(operation: StoreOperation & { kind: 'put' }): boolean {
    return operation.leaseId === undefined || this.#store.state.hasLease(operation.leaseId)
  }

  #attach(watch: ClientWatch): void {
    const { state } = this.#store
    let isCurrent = true
    // Whatever is under way when the connection breaks is lost with it: toldRevision has not moved.
    const deliver = (revision: number, tell: () => void): void =>
      this.#store.travel(() => {
        if (!isCurrent) return
        watch.toldRevision = revision
        tell()
      })
    const source = state.watch(
      watch.prefix,
      watch.toldRevision,
      (events) => deliver(events[0]!.revision, () => watch.onEvents(events)),
      () => deliver(state.revision, watch.onResync),
    )
    watch.source = {
      close: () => {
        isCurrent = false
        return source.close()
      },
    }
  }

  /** A request that may be repeated. */
  #read<T>(work: () => T): Promise<T> {
    return this.#call(work, (why) => new MillraceError('BROKER_NOT_AVAILABLE', `the store cannot be reached: ${why}`))
  }

  /** Does `work` at the store, when the request gets there; `lost` says what it is when request or reply do not. */
  async #call<T>(work: () => T, lost: (why: string) => MillraceError): Promise<T> {
    this.#checkOpen()
    const fault = this.#fault
    if (fault === 'refused')
      throw new MillraceError('BROKER_NOT_AVAILABLE', 'the store cannot be reached: connection refused')
    // It arrives also when its client dies meanwhile.
    await new Promise<void>((resolve) => this.#store.travel(resolve))
    // Cut while it was under way, or before.
    if (fault !== 'replies-lost' && (fault ?? this.#fault) !== undefined)
      return this.#giveUp(lost('the request was lost'))
    const value = work()
    await this.#reply()
    if (this.#fault !== undefined) return this.#giveUp(lost('the reply was lost'))
    this.#checkOpen()
    return value
  }

  async #giveUp(error: MillraceError): Promise<never> {
    const timeoutMs = this.#store.requestTimeoutMs
    if (timeoutMs > 0) await new Promise<void>((resolve) => this.#time.after(timeoutMs, resolve))
    throw error
  }

  /** The way back. Never ends for a client that is dead by then. */
  #reply(): Promise<void> {
    return new Promise((resolve) =>
      this.#store.travel(() => {
        if (this.#state !== 'crashed') resolve()
      }),
    )
  }

  #checkOpen(): void {
    if (this.#state !== 'open') throw new MillraceError('CLOSED', 'the metadata store is closed')
  }
}

function detach(watch: ClientWatch): void {
  void watch.source?.close()
  watch.source = undefined
}
