/**
 * MemoryMetadataStore: a MetadataStore that forgets: for tests, the simulator, and brokers with storage: 'memory'.
 * The embedded store is the same state behind a file.
 */
import type { Clock } from '../base/clock.ts'
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

  constructor(clock: Clock) {
    this.#state = new StoreState(clock)
  }

  async get(key: string): Promise<StoredValue | undefined> {
    return this.#state.get(key)
  }

  async list(prefix: string): Promise<{ revision: number; values: StoredValue[] }> {
    return this.#state.list(prefix)
  }

  async transact(conditions: readonly StoreCondition[], operations: readonly StoreOperation[]): Promise<StoreResult> {
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
    return this.#state.watch(prefix, fromRevision, onEvents, onResync)
  }

  async lease(ttlMs: number): Promise<StoreLease> {
    return this.#state.lease(ttlMs)
  }

  async close(): Promise<void> {
    this.#state.close()
  }
}
