/**
 * SimulatedStore: one store and its clients in virtual time: requests that are late or lost, replies that are lost, watches that lag, leases
 * that expire. The state behind it is the real stores' (StoreState); it changes in one step.
 */
import type { SeededPrng } from '../../../src/base/prng.ts'
import type {
  MetadataStore,
  StoreCondition,
  StoredValue,
  StoreEvent,
  StoreLease,
  StoreOperation,
  StoreResult,
  StoreWatch,
} from '../../../src/coordination/metadata-store.ts'
import { StoreState } from '../../../src/coordination/store-state.ts'
import { MillraceError } from '../../../src/model/errors.ts'
import type { EventQueue } from '../event-simulation/event-queue.ts'
import type { SimulatedProcess } from './simulated-process.ts'

const REQUEST_TIMEOUT_MS = 3_000
/** The holder stops so long before the store would let the lease expire. */
const LEASE_MARGIN_MS = 500

/** Looks at each transaction before it takes effect; throws where it must not. */
export type OnTransaction = (client: SimulatedStoreClient, operations: readonly StoreOperation[]) => void

export class SimulatedStore {
  readonly state: StoreState
  readonly queue: EventQueue
  readonly prng: SeededPrng
  onTransaction: OnTransaction = () => {}
  readonly #expiries = new Map<string, number>()
  /** What a transaction did that must not be: kept, because whoever sent it may be dead. */
  failure: unknown

  constructor(queue: EventQueue, prng: SeededPrng) {
    this.queue = queue
    this.prng = prng
    this.state = new StoreState({ nowMs: () => queue.nowMs, monotonicMs: () => queue.nowMs })
  }

  transact(
    client: SimulatedStoreClient,
    conditions: readonly StoreCondition[],
    operations: readonly StoreOperation[],
  ): StoreResult {
    this.state.check(conditions, operations)
    if (!this.state.holds(conditions)) return { applied: false, revision: this.state.revision }
    try {
      this.onTransaction(client, operations)
    } catch (error) {
      this.failure ??= error
    }
    this.state.apply(operations)
    return { applied: true, revision: this.state.revision }
  }

  grant(ttlMs: number): string {
    const { leaseId } = this.state.lease(ttlMs)
    this.keepAlive(leaseId, ttlMs)
    return leaseId
  }

  /** False: there is no such lease any more. */
  keepAlive(leaseId: string, ttlMs: number): boolean {
    const untilMs = this.queue.nowMs + ttlMs
    if (this.#expiries.get(leaseId) === 0) return false
    this.#expiries.set(leaseId, untilMs)
    this.queue.after(ttlMs, () => void (this.#expiries.get(leaseId) === untilMs && this.revoke(leaseId)))
    return true
  }

  revoke(leaseId: string): void {
    this.#expiries.set(leaseId, 0)
    this.state.revokeLease(leaseId)
  }
}

export class SimulatedStoreClient implements MetadataStore {
  readonly nodeId: number
  /** Of the process, once it has one. */
  incarnation = 0
  readonly process: SimulatedProcess
  readonly #store: SimulatedStore
  /** No request arrives and no event leaves the store for this client. */
  isCut = false
  /** Percent of requests or replies that are lost. */
  lossPercent = 0
  /** Percent of requests that are very late: later than a lease lasts. */
  latePercent = 0
  watchLagMsMax = 50
  readonly #held: (() => void)[] = []
  #lastEventMs = 0

  constructor(store: SimulatedStore, process: SimulatedProcess, nodeId: number) {
    this.#store = store
    this.process = process
    this.nodeId = nodeId
  }

  get(key: string): Promise<StoredValue | undefined> {
    return this.#ask(() => this.#store.state.get(key))
  }

  list(prefix: string): Promise<{ revision: number; values: StoredValue[] }> {
    return this.#ask(() => this.#store.state.list(prefix))
  }

  transact(conditions: readonly StoreCondition[], operations: readonly StoreOperation[]): Promise<StoreResult> {
    return this.#ask(() => this.#store.transact(this, conditions, operations))
  }

  async revokeLease(leaseId: string): Promise<void> {
    await this.#ask(() => this.#store.revoke(leaseId))
  }

  watch(
    prefix: string,
    fromRevision: number,
    onEvents: (events: readonly StoreEvent[]) => void,
    onResync: () => void,
  ): Promise<StoreWatch> {
    return this.#ask(() => {
      let isOpen = true
      const tell = (events: readonly StoreEvent[]) => {
        this.#later(() => void (isOpen && onEvents(events)))
      }
      const watch = this.#store.state.watch(prefix, fromRevision, tell, onResync)
      this.resync = () => {
        this.#held.length = 0
        // What was on its way is lost with the connection.
        isOpen = false
        void watch.close()
        this.#later(onResync)
      }
      return {
        close: async () => {
          isOpen = false
          await watch.close()
        },
      }
    })
  }

  /** Its watch loses events. */
  resync: () => void = () => {}

  /** The cut is over. */
  heal(): void {
    this.isCut = false
    for (const task of this.#held.splice(0)) this.#later(task)
  }

  async lease(ttlMs: number): Promise<StoreLease> {
    const { queue } = this.#store
    let sentMs = queue.nowMs
    const leaseId = await this.#ask(() => this.#store.grant(ttlMs))
    const listeners: (() => void)[] = []
    let isLost = false
    const lose = () => {
      if (isLost) return
      isLost = true
      for (const listener of listeners) listener()
    }
    const keepAlive = () => {
      if (isLost) return
      const askedMs = queue.nowMs
      if (askedMs - sentMs > ttlMs) return lose()
      this.#ask(() => this.#store.keepAlive(leaseId, ttlMs)).then(
        (isAlive) => {
          if (isAlive) sentMs = Math.max(sentMs, askedMs)
          else lose()
        },
        () => {},
      )
      this.process.after(ttlMs / 4, keepAlive)
    }
    this.process.after(ttlMs / 4, keepAlive)
    return {
      leaseId,
      deadlineMs: () => (isLost ? Number.NEGATIVE_INFINITY : sentMs + ttlMs - LEASE_MARGIN_MS),
      revoke: () => this.revokeLease(leaseId),
      onLost: (listener) => void listeners.push(listener),
    }
  }

  async close(): Promise<void> {}

  /** One request: it arrives late or not at all, and so does its answer. */
  #ask<T>(work: () => T): Promise<T> {
    const { queue, prng } = this.#store
    const isLate = prng.below(100) < this.latePercent
    const thereMs = isLate ? 5_000 + prng.below(6_000) : 1 + prng.below(10)
    const backMs = 1 + prng.below(10)
    const isRequestLost = this.isCut || prng.below(100) < this.lossPercent
    const isReplyLost = prng.below(100) < this.lossPercent
    return new Promise((resolve, reject) => {
      this.process.after(REQUEST_TIMEOUT_MS, () =>
        reject(new MillraceError('UNKNOWN_SERVER_ERROR', 'no answer of the store')),
      )
      if (isRequestLost) return
      queue.after(thereMs, () => {
        let answer: () => void
        try {
          const value = work()
          answer = () => resolve(value)
        } catch (error) {
          answer = () => reject(error)
        }
        if (!isReplyLost && !this.isCut) queue.after(backMs, () => this.process.deliver(answer))
      })
    })
  }

  /** Events arrive in order, some time later; while the client is cut off, after that. */
  #later(task: () => void): void {
    if (this.isCut) {
      this.#held.push(task)
      return
    }
    const { queue, prng } = this.#store
    this.#lastEventMs = Math.max(this.#lastEventMs, queue.nowMs + 1 + prng.below(this.watchLagMsMax))
    queue.after(this.#lastEventMs - queue.nowMs, () => this.process.deliver(task))
  }
}
