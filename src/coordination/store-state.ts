/**
 * StoreState: keys, values, revisions, watches and leases of a store that lives in one process. Synchronous; a make adds
 * what makes it durable.
 *
 * Invariants  SS1 the revision grows by one for each applied transaction with operations; all of them carry it
 *             SS2 a watcher sees each revision after its start once, in order, or onResync instead
 * Limits      HISTORY_REVISIONS_MAX revisions are remembered for watches that begin in the past
 * Leases      the store lives and dies with its only client: a lease never expires by itself, its keys go when it is revoked
 * Failure     check() throws MillraceError INVALID_ARGUMENT for what no store takes
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { MillraceError } from '../model/errors.ts'
import {
  STORE_OPERATIONS_MAX,
  STORE_VALUE_BYTES_MAX,
  type StoreCondition,
  type StoredValue,
  type StoreEvent,
  type StoreLease,
  type StoreOperation,
  type StoreWatch,
} from './metadata-store.ts'

const HISTORY_REVISIONS_MAX = 1_000
const KEY_LENGTH_MAX = 4_096

interface Watcher {
  readonly prefix: string
  readonly onEvents: (events: readonly StoreEvent[]) => void
}

interface Lease {
  readonly keys: Set<string>
  readonly lost: (() => void)[]
}

export class StoreState {
  revision = 0
  readonly #clock: Clock
  readonly #values = new Map<string, StoredValue>()
  /** Keys in order; sorted again when something was added. */
  #sortedKeys: string[] = []
  #isSorted = true
  readonly #history: { readonly revision: number; readonly events: readonly StoreEvent[] }[] = []
  readonly #watchers = new Set<Watcher>()
  readonly #leases = new Map<string, Lease>()
  #nextLease = 1

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get(key: string): StoredValue | undefined {
    return this.#values.get(key)
  }

  list(prefix: string): { revision: number; values: StoredValue[] } {
    if (!this.#isSorted) {
      this.#sortedKeys = [...this.#values.keys()].sort(compareKeys)
      this.#isSorted = true
    }
    const keys = this.#sortedKeys
    const values: StoredValue[] = []
    for (let index = lowerBound(keys, prefix); index < keys.length && keys[index]!.startsWith(prefix); index++) {
      const value = this.#values.get(keys[index]!)
      if (value !== undefined) values.push(value)
    }
    return { revision: this.revision, values }
  }

  get size(): number {
    return this.#values.size
  }

  /** What outlives the process: everything but the keys of leases. */
  *lastingValues(): Iterable<StoredValue> {
    const leased = new Set([...this.#leases.values()].flatMap((lease) => [...lease.keys]))
    for (const value of this.#values.values()) if (!leased.has(value.key)) yield value
  }

  /** Refuses what no make of the store takes. */
  check(conditions: readonly StoreCondition[], operations: readonly StoreOperation[]): void {
    if (operations.length > STORE_OPERATIONS_MAX || conditions.length > STORE_OPERATIONS_MAX)
      throw new MillraceError('INVALID_ARGUMENT', `a transaction has at most ${STORE_OPERATIONS_MAX} operations`)
    const seen = new Set<string>()
    for (const operation of operations) {
      if (operation.key === '' || operation.key.length > KEY_LENGTH_MAX)
        throw new MillraceError('INVALID_ARGUMENT', `a key has 1 to ${KEY_LENGTH_MAX} characters`)
      if (seen.has(operation.key))
        throw new MillraceError('INVALID_ARGUMENT', `the key ${operation.key} comes twice in one transaction`)
      seen.add(operation.key)
      if (operation.kind === 'put') this.#checkPut(operation)
    }
  }

  #checkPut(operation: StoreOperation & { kind: 'put' }): void {
    if (operation.value.length > STORE_VALUE_BYTES_MAX)
      throw new MillraceError(
        'INVALID_ARGUMENT',
        `${operation.key}: a value has at most ${STORE_VALUE_BYTES_MAX} bytes`,
      )
    if (operation.leaseId !== undefined && !this.#leases.has(operation.leaseId))
      throw new MillraceError('INVALID_ARGUMENT', `${operation.key}: the lease ${operation.leaseId} does not exist`)
  }

  holds(conditions: readonly StoreCondition[]): boolean {
    return conditions.every((condition) => {
      const value = this.#values.get(condition.key)
      if (condition.kind === 'absent') return value === undefined
      if (condition.kind === 'present') return value !== undefined
      return value?.modRevision === condition.modRevision
    })
  }

  /** Applies a checked transaction whose conditions hold; tells the watchers. */
  apply(operations: readonly StoreOperation[]): void {
    if (operations.length === 0) return
    this.revision++
    const events: StoreEvent[] = []
    for (const operation of operations) {
      if (operation.kind === 'put') this.#put(operation)
      else if (!this.#delete(operation.key)) continue
      const value = operation.kind === 'put' ? operation.value : undefined
      events.push({ kind: operation.kind, key: operation.key, value, revision: this.revision })
    }
    this.#history.push({ revision: this.revision, events })
    if (this.#history.length > HISTORY_REVISIONS_MAX) this.#history.shift()
    for (const watcher of [...this.#watchers]) deliver(watcher, events)
  }

  /** A value as a file of an earlier process says; no event. */
  restore(value: StoredValue): void {
    assert(value.modRevision <= this.revision, `${value.key} is newer than the revision it is restored at`)
    this.#values.set(value.key, value)
    this.#isSorted = false
  }

  watch(
    prefix: string,
    fromRevision: number,
    onEvents: (events: readonly StoreEvent[]) => void,
    onResync: () => void,
  ): StoreWatch {
    const watcher: Watcher = { prefix, onEvents }
    const oldest = this.revision - this.#history.length
    if (fromRevision < oldest) onResync()
    else for (const past of this.#history) if (past.revision > fromRevision) deliver(watcher, past.events)
    this.#watchers.add(watcher)
    return {
      close: async () => {
        this.#watchers.delete(watcher)
      },
    }
  }

  lease(ttlMs: number): StoreLease {
    if (!(ttlMs > 0)) throw new MillraceError('INVALID_ARGUMENT', `a lease lasts more than 0 ms, not ${ttlMs}`)
    const leaseId = `lease-${this.#nextLease++}`
    const lease: Lease = { keys: new Set(), lost: [] }
    this.#leases.set(leaseId, lease)
    return {
      leaseId,
      deadlineMs: () => (this.#leases.has(leaseId) ? this.#clock.monotonicMs() + ttlMs : Number.NEGATIVE_INFINITY),
      revoke: async () => void this.#endLease(leaseId),
      onLost: (listener) => void lease.lost.push(listener),
    }
  }

  /** Not by its holder: it is told. */
  revokeLease(leaseId: string): void {
    for (const listener of this.#endLease(leaseId)?.lost ?? []) listener()
  }

  #endLease(leaseId: string): Lease | undefined {
    const lease = this.#leases.get(leaseId)
    if (lease === undefined) return undefined
    this.#leases.delete(leaseId)
    this.apply([...lease.keys].map((key) => ({ kind: 'delete', key }) as const))
    return lease
  }

  close(): void {
    this.#watchers.clear()
    const leases = [...this.#leases.values()]
    this.#leases.clear()
    for (const lease of leases) for (const listener of lease.lost) listener()
  }

  #put(operation: StoreOperation & { kind: 'put' }): void {
    const before = this.#values.get(operation.key)
    if (before === undefined) this.#isSorted = false
    for (const lease of this.#leases.values()) lease.keys.delete(operation.key)
    if (operation.leaseId !== undefined) this.#leases.get(operation.leaseId)?.keys.add(operation.key)
    const version = (before?.version ?? 0) + 1
    const { key, value } = operation
    this.#values.set(key, { key, value, modRevision: this.revision, version })
  }

  #delete(key: string): boolean {
    for (const lease of this.#leases.values()) lease.keys.delete(key)
    if (!this.#values.delete(key)) return false
    // list() skips keys without a value; the array is made anew with the next key that is added.
    return true
  }
}

function deliver(watcher: Watcher, events: readonly StoreEvent[]): void {
  const own = events.filter((event) => event.key.startsWith(watcher.prefix))
  if (own.length > 0) watcher.onEvents(own)
}

/** By UTF-16 code units: keys are ASCII. */
function compareKeys(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}

function lowerBound(keys: readonly string[], prefix: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (keys[middle]! < prefix) low = middle + 1
    else high = middle
  }
  return low
}
