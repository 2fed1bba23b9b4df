/**
 * MemoryMetadataStore: a MetadataStore that forgets: for tests, the simulator, and brokers with storage: 'memory'.
 * The embedded store is the same state behind a file.
 */
import type { Clock } from '../base/clock.ts'
import { MillraceError } from '../model/errors.ts'
import type {
  MetadataStore,
  StoreCondition,
  StoredValue,
  StoreEvent,
  StoreLease,
  StoreOperation,
  StoreResult,
  StoreWatch,
} from './metadata-store.ts'
import { StoreState } from './store-state.ts'

export class MemoryMetadataStore implements MetadataStore {
  readonly #state: StoreState
  #isClosed = false

  constructor(clock: Clock) {
    this.#state = new StoreState(clock)
  }

  async get(key: string): Promise<StoredValue | undefined> {
    this.#checkOpen()
    return this.#state.get(key)
  }

  async list(prefix: string): Promise<{ revision: number; values: StoredValue[] }> {
    this.#checkOpen()
    return this.#state.list(prefix)
  }

  async transact(conditions: readonly StoreCondition[], operations: readonly StoreOperation[]): Promise<StoreResult> {
    this.#checkOpen()
    const state = this.#state
    state.check(conditions, operations)
    if (!state.holds(conditions)) return { applied: false, revision: state.revision }
    state.apply(operations)
    return { applied: true, revision: state.revision }
  }

  async watch(
    prefix: string,
    fromRevision: number,
    onEvents: (events: readonly StoreEvent[]) => void,
    onResync: () => void,
  ): Promise<StoreWatch> {
    this.#checkOpen()
    return this.#state.watch(prefix, fromRevision, onEvents, onResync)
  }

  async lease(ttlMs: number): Promise<StoreLease> {
    this.#checkOpen()
    return this.#state.lease(ttlMs)
  }

  async revokeLease(leaseId: string): Promise<void> {
    this.#checkOpen()
    this.#state.revokeLease(leaseId)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#state.close()
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new MillraceError('CLOSED', 'the metadata store is closed')
  }
}
