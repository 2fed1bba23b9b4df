/**
 * MetadataStore: a small, strongly consistent, revisioned key-value store: topics, configs, placement, ids, leases.
 *
 * Makes      memory (one broker that forgets), embedded (one node: a synced file in the data dir), etcd (a cluster), shared memory
 *            (a cluster in one process, with faults on command: tests, simulator)
 * Limits     STORE_OPERATIONS_MAX operations a transaction, STORE_VALUE_BYTES_MAX bytes a value, STORE_TRANSACTION_BYTES_MAX bytes
 *            of keys and values a transaction (etcd's bounds, kept by all makes)
 * Failure    rejects with MillraceError: BROKER_NOT_AVAILABLE when the store cannot be reached, and then a transaction was not
 *            applied and never will be; StoreOutcomeUnknownError (UNKNOWN_SERVER_ERROR, `outcome: 'unknown'`) when it is not known
 *            whether it was, or will yet be: read back, never blindly retry
 * Contract   test/contract/metadata-store.contract.ts
 */
import { MillraceError } from '../model/errors.ts'

export const STORE_OPERATIONS_MAX = 100
export const STORE_VALUE_BYTES_MAX = 1_000_000
/** etcd takes requests of 1.5 MiB; the difference is room for conditions and framing. */
export const STORE_TRANSACTION_BYTES_MAX = 1_300_000

/**
 * It is not known whether a transaction was applied, and it may be applied later still. Whoever gets it reads what the
 * transaction would have changed, and repeats it only under conditions that fail if it was applied.
 */
export class StoreOutcomeUnknownError extends MillraceError {
  readonly outcome = 'unknown'

  constructor(detail: string, options?: { cause?: unknown }) {
    super('UNKNOWN_SERVER_ERROR', `it is not known whether the transaction was applied: ${detail}`, options)
  }
}

/** True also for an error of another copy of this module. */
export function isOutcomeUnknown(error: unknown): error is StoreOutcomeUnknownError {
  return error instanceof Error && 'outcome' in error && error.outcome === 'unknown'
}

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
  /** Any client of the store may put keys under it or revoke it. */
  readonly leaseId: string
  /**
   * Monotonic time, of the holder's clock, from which on the holder must not act on the lease: before the store could let it expire.
   * It moves on with each keep-alive that is answered; minus infinity once the lease is lost or revoked.
   */
  readonly deadlineMs: () => number
  /** Ends the lease and removes its keys; onLost listeners are not called. Does nothing when the lease has ended. */
  revoke(): Promise<void>
  /**
   * Called once when the lease is lost: the store says that it is gone, its deadline has passed without an answer, or the store
   * is closed. At once when it is lost already.
   */
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
   * Calls `onEvents` with every change of keys below `prefix` after `fromRevision`, in order, a revision's changes together, none twice,
   * also across lost connections. `onResync` when events were lost (compaction, a store put back from a backup): list again. The
   * watch goes on: all changes after a list that is begun then will come. Changes up to that list's revision may come too: skip them by
   * their revision.
   */
  watch(
    prefix: string,
    fromRevision: number,
    onEvents: (events: readonly StoreEvent[]) => void,
    onResync: () => void,
  ): Promise<StoreWatch>
  /** Granted for `ttlMs` and kept alive until it is revoked or lost. etcd counts in whole seconds and rounds up. */
  lease(ttlMs: number): Promise<StoreLease>
  /** Ends a lease, whoever holds it, and removes its keys. Does nothing when there is no such lease. */
  revokeLease(leaseId: string): Promise<void>
  /** Leases are no longer kept alive; they are lost to this client, and end in the store when their time is over. */
  close(): Promise<void>
}
