/**
 * EtcdMetadataStore: the MetadataStore of a cluster, in etcd 3.4 or later.
 *
 * Owns        the clients of etcd's members, this process's watches and leases
 * Thread      main; nothing on the data path waits for it
 * Invariants  EMS1 reads are linearizable: what get and list answer is not older than anything that was answered to anybody before
 *             EMS2 a list is as of one revision, however many pages it takes
 *             EMS3 a transaction is never sent again blindly (etcd-transactions.ts)
 * Limits      LIST_PAGE_KEYS keys a page; a request takes at most requestTimeoutMs, a transaction whose reply was lost twice that
 * Failure     BROKER_NOT_AVAILABLE with each URL and what was wrong with it: refused, timeout, authentication, TLS
 */
import type { Clock } from '../base/clock.ts'
import { MillraceError } from '../model/errors.ts'
import { type EtcdClientFactory, type EtcdTls, loadEtcdClients } from './etcd-client.ts'
import { faultOf } from './etcd-faults.ts'
import { EtcdMembers } from './etcd-members.ts'
import { isOwnKey, keyAfter, keyBytes, prefixRange, revisionOf, storedValueOf } from './etcd-messages.ts'
import { EtcdTransactions } from './etcd-transactions.ts'
import { EtcdWatch } from './etcd-watch.ts'
import { KeptLease } from './kept-lease.ts'
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
import { checkTransaction, checkTtl } from './store-bounds.ts'
import type { StoreTimers } from './store-timers.ts'

/** An election in etcd takes 1 to 3 s, and what was sent before its end is answered no more: this has room for another try. */
export const ETCD_REQUEST_TIMEOUT_MS = 8_000
const LIST_PAGE_KEYS = 500
/** Compactions that may get in the way of one list. */
const LIST_TRIES_MAX = 5

export interface EtcdStoreOptions {
  /** Of all members, `http://host:port` or `https://host:port`. */
  readonly urls: readonly string[]
  readonly user?: string
  readonly password?: string
  /** For https URLs only. */
  readonly tls?: EtcdTls
  readonly requestTimeoutMs?: number
  readonly clock: Clock
  readonly timers: StoreTimers
  /** An id that nobody else has: for this start of this client. */
  readonly newId: () => string
  /** etcd3's when it is not given; a test's. */
  readonly createClient?: EtcdClientFactory
}

/** Loads etcd3 and asks etcd for its revision. Rejects with INVALID_ARGUMENT for options that make no sense, BROKER_NOT_AVAILABLE. */
export async function openEtcdStore(options: EtcdStoreOptions): Promise<EtcdMetadataStore> {
  checkOptions(options)
  const store = new EtcdMetadataStore(options, options.createClient ?? (await loadEtcdClients()))
  try {
    await store.check()
    return store
  } catch (error) {
    await store.close()
    throw error
  }
}

export class EtcdMetadataStore implements MetadataStore {
  readonly #members: EtcdMembers
  readonly #timers: StoreTimers
  readonly #transactions: EtcdTransactions
  readonly #watches = new Set<EtcdWatch>()
  readonly #leases = new Map<string, KeptLease>()

  constructor(options: EtcdStoreOptions, createClient: EtcdClientFactory) {
    const { urls, user, password, tls, requestTimeoutMs = ETCD_REQUEST_TIMEOUT_MS, clock, timers } = options
    const clientId = options.newId()
    const access = {
      ...(user === undefined ? {} : { user }),
      ...(password === undefined ? {} : { password }),
      ...(tls === undefined ? {} : { tls }),
    }
    const first = [...clientId].reduce((sum, letter) => sum + letter.charCodeAt(0), 0)
    this.#timers = timers
    this.#members = new EtcdMembers({ urls, access, requestTimeoutMs, clock, timers, createClient, first })
    this.#transactions = new EtcdTransactions(this.#members, clientId)
  }

  /** Resolves when etcd answers. */
  async check(): Promise<void> {
    await this.get('/millrace/')
  }

  async get(key: string): Promise<StoredValue | undefined> {
    if (key === '' || isOwnKey(key)) return undefined
    const { kvs } = await this.#members.run((client, timeoutMs) => client.range({ key: keyBytes(key) }, timeoutMs))
    return kvs[0] === undefined ? undefined : storedValueOf(kvs[0])
  }

  async list(prefix: string): Promise<{ revision: number; values: StoredValue[] }> {
    for (let tries = 1; tries <= LIST_TRIES_MAX; tries++) {
      const listed = await this.#listOnce(prefix)
      if (listed !== undefined) return listed
    }
    throw new MillraceError(
      'BROKER_NOT_AVAILABLE',
      `etcd forgot the revision of a list of ${prefix} while it was read, ${LIST_TRIES_MAX} times`,
    )
  }

  async transact(conditions: readonly StoreCondition[], operations: readonly StoreOperation[]): Promise<StoreResult> {
    this.#members.checkOpen()
    checkTransaction(conditions, operations)
    for (const operation of operations)
      if (operation.kind === 'put' && operation.leaseId !== undefined) checkLeaseId(operation.leaseId)
    return this.#transactions.transact(conditions, operations)
  }

  async watch(
    prefix: string,
    fromRevision: number,
    onEvents: (events: readonly StoreEvent[]) => void,
    onResync: () => void,
  ): Promise<StoreWatch> {
    this.#members.checkOpen()
    const [members, timers] = [this.#members, this.#timers]
    const watch = new EtcdWatch({ members, timers, prefix, fromRevision, onEvents, onResync })
    this.#watches.add(watch)
    try {
      await watch.open()
    } catch (error) {
      this.#watches.delete(watch)
      throw error
    }
    return {
      close: async () => {
        this.#watches.delete(watch)
        await watch.close()
      },
    }
  }

  async lease(ttlMs: number): Promise<StoreLease> {
    checkTtl(ttlMs)
    const [members, timers] = [this.#members, this.#timers]
    let sentMs = 0
    const { ID: leaseId } = await members.run((client, timeoutMs) => {
      sentMs = members.nowMs()
      return client.grantLease(Math.ceil(ttlMs / 1_000), timeoutMs)
    })
    members.checkOpen()
    const lease = new KeptLease({
      leaseId,
      ttlMs,
      sentMs,
      nowMs: () => members.nowMs(),
      after: (delayMs, task) => timers.after(delayMs, task),
      keepAlive: (timeoutMs) => this.#keepAlive(leaseId, timeoutMs),
      revoke: () => this.#revoke(leaseId),
      onEnd: () => void this.#leases.delete(leaseId),
    })
    this.#leases.set(leaseId, lease)
    return lease
  }

  async revokeLease(leaseId: string): Promise<void> {
    checkLeaseId(leaseId)
    await this.#revoke(leaseId)
    // What this process holds itself it need not learn by its next keep-alive.
    this.#leases.get(leaseId)?.lose()
  }

  async close(): Promise<void> {
    if (this.#members.isClosed) return
    for (const watch of [...this.#watches]) watch.end()
    for (const lease of [...this.#leases.values()]) lease.lose()
    await this.#transactions.close()
    this.#members.close()
  }

  /** One call to one member: after a failure the next call goes to the next one. */
  async #keepAlive(leaseId: string, timeoutMs: number): Promise<boolean> {
    const members = this.#members
    const deadlineMs = members.nowMs() + timeoutMs
    const attempt = await members.attempt((client, callMs) => client.keepAlive(leaseId, callMs), deadlineMs)
    if (attempt.kind === 'answered') return attempt.value > 0
    if (attempt.fault.kind === 'lease-gone') return false
    throw members.errorOf(attempt.fault)
  }

  async #revoke(leaseId: string): Promise<void> {
    await this.#members.run(async (client, timeoutMs) => {
      try {
        await client.revokeLease(leaseId, timeoutMs)
      } catch (error) {
        // It has ended already: perhaps by the try before this one.
        if (faultOf(error).kind !== 'lease-gone') throw error
      }
    })
  }

  /** Undefined: its revision was compacted between two pages. */
  async #listOnce(prefix: string): Promise<{ revision: number; values: StoredValue[] } | undefined> {
    const range = prefixRange(prefix)
    const values: StoredValue[] = []
    let revision: number | undefined
    for (let key = range.key; ; ) {
      const request = { key, range_end: range.range_end, limit: LIST_PAGE_KEYS, revision: revision ?? 0 }
      const page = await this.#members.run(async (client, timeoutMs) => {
        try {
          return await client.range(request, timeoutMs)
        } catch (error) {
          if (faultOf(error).kind === 'compacted') return undefined
          throw error
        }
      })
      if (page === undefined) return undefined
      revision ??= revisionOf(page.header.revision)
      for (const kv of page.kvs) {
        const value = storedValueOf(kv)
        if (!isOwnKey(value.key)) values.push(value)
      }
      const last = page.kvs.at(-1)
      if (!page.more || last === undefined) return { revision, values }
      key = keyAfter(last.key)
    }
  }
}

function checkLeaseId(leaseId: string): void {
  if (!/^-?\d{1,19}$/.test(leaseId)) throw new MillraceError('INVALID_ARGUMENT', `the lease ${leaseId} does not exist`)
}

/** Fails closed: half of a setting is a mistake, not less security. */
function checkOptions({ urls, user, password, tls, requestTimeoutMs }: EtcdStoreOptions): void {
  const refuse = (text: string): never => {
    throw new MillraceError('INVALID_ARGUMENT', `etcd: ${text}`)
  }
  if (urls.length === 0) refuse('no URL of a member is given')
  for (const url of urls)
    if (!/^https?:\/\/[^/@]+:\d+\/?$/.test(url)) refuse(`'${url}' is not http://host:port or https://host:port`)
  const secure = urls.filter((url) => url.startsWith('https:')).length
  if (secure !== 0 && secure !== urls.length) refuse('its URLs are http and https: give one kind')
  if (tls !== undefined && secure === 0) refuse('TLS is configured, and its URLs are http')
  if ((tls?.cert === undefined) !== (tls?.key === undefined)) refuse('a certificate and its key go together')
  if ((user === undefined) !== (password === undefined)) refuse('a user and a password go together')
  if (requestTimeoutMs !== undefined && !(requestTimeoutMs > 0)) refuse('its timeout must be more than 0 ms')
}
