/**
 * MetadataStore: a small, strongly consistent, revisioned key-value store: topics, configs, placement, ids, leases.
 *
 * Makes      memory (tests, simulator), embedded (one node: a synced file in the data dir), etcd (a cluster)
 * Limits     STORE_OPERATIONS_MAX operations a transaction, STORE_VALUE_BYTES_MAX bytes a value (etcd's bounds, kept by all makes)
 * Failure    rejects with MillraceError: BROKER_NOT_AVAILABLE when the store cannot be reached, UNKNOWN_SERVER_ERROR with
 *            `outcome: 'unknown'` when it is not known whether a transaction was applied: read back, never blindly retry
 * Contract   test/contract/metadata-store.contract.ts
 */

export const STORE_OPERATIONS_MAX = 100
export const STORE_VALUE_BYTES_MAX = 1_000_000

/** A key's value as of `revision`; `version` counts its changes since it was made, 1 = just made. */
export interface StoredValue {
  readonly key: string
  readonly value: Uint8Array
  readonly modRevision: number
  readonly version: number
}

export type StoreCondition =
  | { readonly kind: 'absent'; readonly key: string }
  | { readonly kind: 'present'; readonly key: string }
  | { readonly kind: 'revision'; readonly key: string; readonly modRevision: number }

export type StoreOperation =
  | { readonly kind: 'put'; readonly key: string; readonly value: Uint8Array; readonly leaseId?: string }
  | { readonly kind: 'delete'; readonly key: string }

export type StoreResult =
  | { readonly applied: true; readonly revision: number }
  | { readonly applied: false; readonly revision: number }

export interface StoreEvent {
  readonly kind: 'put' | 'delete'
  readonly key: string
  /** Undefined for a delete. */
  readonly value: Uint8Array | undefined
  readonly revision: number
}

export interface StoreLease {
  readonly leaseId: string
  /** Monotonic time after which the holder must not act on the lease: before the store could let it expire. */
  readonly deadlineMs: () => number
  revoke(): Promise<void>
  /** Called once when the lease is lost. */
  onLost(listener: () => void): void
}

export interface StoreWatch {
  close(): Promise<void>
}

export interface MetadataStore {
  get(key: string): Promise<StoredValue | undefined>
  /** Keys that begin with `prefix`, sorted, and the revision they are as of. */
  list(prefix: string): Promise<{ revision: number; values: StoredValue[] }>
  /** Applies all operations if all conditions hold, at one revision. */
  transact(conditions: readonly StoreCondition[], operations: readonly StoreOperation[]): Promise<StoreResult>
  /**
   * Calls `onEvents` with every change of keys below `prefix` after `fromRevision`, in order, a revision's changes together.
   * `onResync` when events were lost (compaction): list again.
   */
  watch(
    prefix: string,
    fromRevision: number,
    onEvents: (events: readonly StoreEvent[]) => void,
    onResync: () => void,
  ): Promise<StoreWatch>
  lease(ttlMs: number): Promise<StoreLease>
  /** Ends a lease, whoever holds it: its keys go at once. Nothing happens when there is none of that id. */
  revokeLease(leaseId: string): Promise<void>
  close(): Promise<void>
}
