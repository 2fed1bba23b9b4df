/**
 * SimulatedStore: the metadata store of a simulated cluster: the product's SharedMemoryStore in virtual time, with drawn delays, and for
 * each run of a broker a client that stops with its process and dies with it.
 *
 * Ordering  everything between the store and its clients arrives in the order in which it was sent
 * Leases    end by the store's own time: a broker that is stopped, cut off or dead loses its lease when its time is over
 */
import type { Clock } from '../../../src/base/clock.ts'
import { isOutcomeUnknown, type MetadataStore } from '../../../src/coordination/metadata-store.ts'
import { type SharedMemoryClient, SharedMemoryStore } from '../../../src/coordination/shared-memory-store.ts'
import type { SimulatedProcess } from '../simulation/simulated-process.ts'
import type { VirtualTime } from '../simulation/virtual-time.ts'

/** Stands for 'on its way' among the delays that the store asks for; real ones are drawn. */
const ON_ITS_WAY_MS = 0.25
const REQUEST_TIMEOUT_MS = 1_000

export class SimulatedStore {
  readonly shared: SharedMemoryStore
  /** The longest way, each way, ms. */
  delayMsMax = 1
  readonly #time: VirtualTime
  #arrivalMs = 0

  constructor(time: VirtualTime) {
    this.#time = time
    this.shared = new SharedMemoryStore(
      {
        nowMs: () => time.nowMs(),
        monotonicMs: () => time.monotonicMs(),
        after: (delayMs, task) => {
          const timer = time.after(delayMs === ON_ITS_WAY_MS ? this.#wayMs() : delayMs, 'store', task)
          return () => time.cancel(timer)
        },
      },
      { latencyMs: ON_ITS_WAY_MS, requestTimeoutMs: REQUEST_TIMEOUT_MS },
    )
  }

  clientOf(process: SimulatedProcess, clock: Clock): SharedMemoryClient {
    return this.shared.client({
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs(),
      after: (delayMs, task) => process.after(delayMs, 'store client', task),
    })
  }

  #wayMs(): number {
    const now = this.#time.monotonicMs()
    const drawn = now + 0.1 + this.#time.prng.unit() * this.delayMsMax
    this.#arrivalMs = Math.max(drawn, this.#arrivalMs + 0.001)
    return this.#arrivalMs - now
  }
}

/** A client as its process sees it: answers and events wait while the process is stopped. */
export class StoreOfProcess implements MetadataStore {
  readonly #client: SharedMemoryClient
  readonly #process: SimulatedProcess
  readonly #onUnknown: () => void

  constructor(client: SharedMemoryClient, process: SimulatedProcess, onUnknown: () => void) {
    this.#client = client
    this.#process = process
    this.#onUnknown = onUnknown
  }

  get: MetadataStore['get'] = (key) => this.#heard(this.#client.get(key))
  list: MetadataStore['list'] = (prefix) => this.#heard(this.#client.list(prefix))
  revokeLease: MetadataStore['revokeLease'] = (leaseId) => this.#heard(this.#client.revokeLease(leaseId))
  close: MetadataStore['close'] = () => this.#client.close()

  transact: MetadataStore['transact'] = async (conditions, operations) => {
    try {
      return await this.#heard(this.#client.transact(conditions, operations))
    } catch (error) {
      if (isOutcomeUnknown(error)) this.#onUnknown()
      throw error
    }
  }

  watch: MetadataStore['watch'] = (prefix, fromRevision, onEvents, onResync) => {
    const deliver = (run: () => void): void => this.#process.deliver(run)
    return this.#heard(
      this.#client.watch(
        prefix,
        fromRevision,
        (events) => deliver(() => onEvents(events)),
        () => deliver(onResync),
      ),
    )
  }

  lease: MetadataStore['lease'] = async (ttlMs) => {
    const { leaseId, deadlineMs, revoke, onLost } = await this.#heard(this.#client.lease(ttlMs)).then((lease) => ({
      leaseId: lease.leaseId,
      deadlineMs: () => lease.deadlineMs(),
      revoke: () => lease.revoke(),
      onLost: (listener: () => void) => lease.onLost(listener),
    }))
    return {
      ...{ leaseId, deadlineMs },
      revoke: () => this.#heard(revoke()),
      onLost: (listener) => onLost(() => this.#process.deliver(listener)),
    }
  }

  async #heard<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } finally {
      await this.#process.awake()
    }
  }
}
