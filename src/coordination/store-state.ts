/**
 * StoreState: keys, values, revisions, watches and leases of a store that lives in one process. Synchronous; a make adds
 * what makes it durable.
 *
 * Invariants  SS1 the revision grows by one for each applied transaction with operations; all of them carry it
 *             SS2 a watcher sees each revision after its start once, in order, or onResync instead
 *             SS3 a lease's keys go at one revision, when the lease ends
 * Limits      HISTORY_REVISIONS_MAX revisions are remembered for watches that begin in the past
 * Leases      a lease never expires by itself: where the store lives and dies with its only client it need not, and SharedMemoryStore
 *             ends those that their clients do not keep alive
 * Failure     check() throws MillraceError INVALID_ARGUMENT for what no store takes
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { MillraceError } from '../model/errors.ts'
import type {
  StoreCondition,
  StoredValue,
  StoreEvent,
  StoreLease,
  StoreOperation,
  StoreWatch,
} from './metadata-store.ts'
import { checkTransaction, checkTtl } from './store-bounds.ts'

const HISTORY_REVISIONS_MAX = 1_000

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

  /** Refuses what no make of the store takes, and puts under a lease that there is not. */
  check(conditions: readonly StoreCondition[], operations: readonly StoreOperation[]): void {
    checkTransaction(conditions, operations)
    for (const operation of operations) {
      const leaseId = operation.kind === 'put' ? operation.leaseId : undefined
      if (leaseId !== undefined && !this.#leases.has(leaseId))
        throw new MillraceError('INVALID_ARGUMENT', `${operation.key}: the lease ${leaseId} does not exist`)
    }
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

  /** A lease for a client that lives and dies with this state. */
  lease(ttlMs: number): StoreLease {
    checkTtl(ttlMs)
    const leaseId = this.grant()
    let isRevoked = false
    return {
      leaseId,
      deadlineMs: () => (this.#leases.has(leaseId) ? this.#clock.monotonicMs() + ttlMs : Number.NEGATIVE_INFINITY),
      revoke: async () => {
        isRevoked ||= this.#leases.has(leaseId)
        this.#endLease(leaseId)
      },
      onLost: (listener) => {
        const lease = this.#leases.get(leaseId)
        if (lease !== undefined) lease.lost.push(listener)
        else if (!isRevoked) listener()
      },
    }
  }

  grant(): string {
    const leaseId = `lease-${this.#nextLease++}`
    this.#leases.set(leaseId, { keys: new Set(), lost: [] })
    return leaseId
  }

  hasLease(leaseId: string): boolean {
    return this.#leases.has(leaseId)
  }

  /** Somebody else ends the lease: its holder hears of it. */
  revokeLease(leaseId: string): void {
    const lost = this.#leases.get(leaseId)?.lost ?? []
    this.#endLease(leaseId)
    for (const listener of lost) listener()
  }

  #endLease(leaseId: string): void {
    const lease = this.#leases.get(leaseId)
    if (lease === undefined) return
    this.#leases.delete(leaseId)
    this.apply([...lease.keys].map((key) => ({ kind: 'delete', key }) as const))
  }

  /** Forgets the past, as etcd's compaction does: a watch from before now is told to list again. */
  compact(): void {
    this.#history.length = 0
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
