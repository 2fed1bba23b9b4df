/**
 * UserStore: the users of a cluster: a key each in the metadata store, and what they say here, so that nobody's authentication waits for
 * the store.
 *
 * Owns        the image of the users' keys and its watch
 * Thread      main
 * Invariants  US1 a change is applied to the user as it is in the store then, or not at all: two at once lose nothing
 *             US2 what a change has resolved for is in this broker's image; the others' follow by their watches
 *             US3 the image holds no user whose key cannot be read: nobody gets in as one
 * Ordering    list -> watch from its revision. Lost events: list again, over the watch that goes on; of each key the newest revision counts
 * Limits      USERS_MAX users (each broker counts for itself: a race may pass it by a few), ATTEMPTS_MAX lost races a change
 * Failure     open() rejects where the store does, and may be called again; a list after lost events is tried again after RETRY_MS: the
 *             image is then old. RESOURCE_NOT_FOUND, POLICY_VIOLATION (USERS_MAX), INVALID_UPDATE_VERSION (lost races)
 * Not here    what a user may be called and a credential may be (broker/sasl/users.ts); passwords: only what is derived from them comes here
 */
import { isMillraceError, MillraceError } from '../model/errors.ts'
import { USERS_MAX } from '../model/limits.ts'
import { SCRAM_MECHANISMS, type ScramCredential, type ScramMechanism } from '../model/users.ts'
import { unchanged } from './cluster-identity.ts'
import { storedSecretOf } from './cluster-secret.ts'
import { decodeState, encodeState, SASL_SECRET_KEY, USERS_PREFIX, type UserState, userKey } from './keys.ts'
import {
  isOutcomeUnknown,
  type MetadataStore,
  type StoredValue,
  type StoreEvent,
  type StoreOperation,
  type StoreWatch,
} from './metadata-store.ts'
import { decodeUserState, userStateOf } from './stored-states.ts'
import type { Timers } from './timers.ts'

const RETRY_MS = 500
const ATTEMPTS_MAX = 20

export type Credentials = ReadonlyMap<ScramMechanism, ScramCredential>

export interface User {
  readonly name: string
  readonly credentials: Credentials
}

/** What is to be changed of one user, all of it or nothing. A user without credentials is none. */
export interface UserChange {
  readonly name: string
  /** Those that must be there; 'all' = whatever there is, and where nothing is set, the user, which then must be there. */
  readonly remove: readonly ScramMechanism[] | 'all'
  readonly set: Credentials
}

export interface UserStoreOptions {
  readonly store: MetadataStore
  readonly timers: Timers
  /** Ids of 128 bits that nobody can guess. */
  readonly newId: () => string
  /** A user's key cannot be read: there is no such user until it can. */
  readonly onUnreadable?: (text: string) => void
  /** A list after lost events failed and is tried again. */
  readonly onRetry?: (reason: string) => void
}

export class UserStore {
  readonly #options: UserStoreOptions
  readonly #store: MetadataStore
  readonly #users = new Map<string, User>()
  /** Of every name that was heard of, a deleted one too until the watch has passed it. */
  readonly #revisions = new Map<string, number>()
  #secret = ''
  #opening: Promise<void> | undefined
  #watch: StoreWatch | undefined
  #listsUnderWay = 0
  #isClosed = false
  #cancelRetry: () => void = () => {}

  constructor(options: UserStoreOptions) {
    this.#options = options
    this.#store = options.store
  }

  /** Resolves once the users of the store are here. The same promise each time, until one has failed. */
  open(): Promise<void> {
    this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  /** Undefined where there is none. Only once it is open. */
  get(name: string): User | undefined {
    return this.#users.get(name)
  }

  /** By name. */
  all(): User[] {
    return [...this.#users.values()].sort((left, right) => (left.name < right.name ? -1 : 1))
  }

  /** The same for all brokers of the cluster, at all times, and told to nobody. */
  get secret(): string {
    return this.#secret
  }

  /** Resolves once the change is in the store and in the image. */
  async change(change: UserChange): Promise<void> {
    await this.open()
    let isInDoubt = false
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      try {
        if (await this.#changeOnce(change, isInDoubt)) return
      } catch (error) {
        // Done again on what is there then: if it was done it changes nothing, and if it yet will be, its condition fails.
        if (!isOutcomeUnknown(error) || attempt + 1 === ATTEMPTS_MAX) throw error
        isInDoubt = true
      }
    }
    const text = `the user ${change.name} was changed by others ${ATTEMPTS_MAX} times meanwhile: try again`
    throw new MillraceError('INVALID_UPDATE_VERSION', text)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelRetry()
    await this.#watch?.close()
    this.#watch = undefined
  }

  async #open(): Promise<void> {
    const store = this.#store
    this.#secret = await storedSecretOf(store, SASL_SECRET_KEY, this.#options.newId)
    const revision = await this.#list()
    const watch = await store.watch(
      USERS_PREFIX,
      revision,
      (events) => this.#advance(events),
      () => void this.#resync(),
    )
    if (this.#isClosed) await watch.close()
    else this.#watch = watch
  }

  async #list(): Promise<number> {
    this.#listsUnderWay++
    try {
      const { revision, values } = await this.#store.list(USERS_PREFIX)
      const gone = new Set(this.#users.keys())
      for (const { key, value, modRevision } of values) {
        gone.delete(nameOf(key))
        this.#take(nameOf(key), value, modRevision)
      }
      for (const name of gone) this.#take(name, undefined, revision)
      return revision
    } finally {
      this.#listsUnderWay--
    }
  }

  async #resync(): Promise<void> {
    this.#cancelRetry()
    if (this.#isClosed) return
    try {
      await this.#list()
    } catch (error) {
      this.#options.onRetry?.(String(error))
      if (!this.#isClosed) this.#cancelRetry = this.#options.timers.after(RETRY_MS, () => void this.#resync())
    }
  }

  #advance(events: readonly StoreEvent[]): void {
    let passed = 0
    for (const { key, value, revision } of events) {
      this.#take(nameOf(key), value, revision)
      passed = Math.max(passed, revision)
    }
    // What is older will not come any more, but from a list that was asked for before.
    if (this.#listsUnderWay > 0) return
    for (const [name, revision] of this.#revisions)
      if (revision <= passed && !this.#users.has(name)) this.#revisions.delete(name)
  }

  /** A user as of `revision`; what is older than what is known changes nothing. */
  #take(name: string, value: Uint8Array | undefined, revision: number): void {
    if ((this.#revisions.get(name) ?? -1) >= revision) return
    this.#revisions.set(name, revision)
    this.#users.delete(name)
    if (value === undefined) return
    try {
      this.#users.set(name, { name, credentials: decodeUserState(userKey(name), value) })
    } catch (error) {
      if (!isMillraceError(error)) throw error
      this.#options.onUnreadable?.(error.message)
    }
  }

  /** False: somebody else was faster. */
  async #changeOnce(change: UserChange, isInDoubt: boolean): Promise<boolean> {
    const { name, remove, set } = change
    const key = userKey(name)
    const stored = await this.#store.get(key)
    if (stored === undefined && set.size > 0 && this.#users.size >= USERS_MAX)
      throw new MillraceError('POLICY_VIOLATION', `there are ${USERS_MAX} users, which is as many as there may be`)
    // What goes with all it has need not be readable.
    const before = stored === undefined || remove === 'all' ? undefined : decodeUserState(key, stored.value)
    const missing = missingText(change, stored, before)
    if (missing !== undefined && !isInDoubt) throw new MillraceError('RESOURCE_NOT_FOUND', missing)
    const state = nextState(change, stored)
    const value = state === undefined ? undefined : encodeState(state)
    const { applied, revision } = await this.#store.transact([unchanged(key, stored)], operationsOf(key, stored, value))
    if (applied) this.#take(name, value, revision)
    return applied
  }
}

/** None where there is no key and is to be none: the revision is asked for, as of which that is so. */
function operationsOf(key: string, stored: StoredValue | undefined, value: Uint8Array | undefined): StoreOperation[] {
  if (value !== undefined) return [{ kind: 'put', key, value }]
  return stored === undefined ? [] : [{ kind: 'delete', key }]
}

/** What is to be removed and is not there; undefined: nothing. */
function missingText(
  { name, remove, set }: UserChange,
  stored: StoredValue | undefined,
  before: Credentials | undefined,
): string | undefined {
  const isWanted = remove === 'all' ? set.size === 0 : remove.length > 0
  if (stored === undefined) return isWanted ? `there is no user ${name}` : undefined
  const missing = remove === 'all' ? undefined : remove.find((mechanism) => before?.has(mechanism) !== true)
  return missing === undefined ? undefined : `the user ${name} has no ${missing}`
}

/** The user after the change, with what another release has put there; undefined: there is none. */
function nextState({ remove, set }: UserChange, stored: StoredValue | undefined): UserState | undefined {
  const before: UserState =
    stored === undefined || remove === 'all' ? { credentials: {} } : decodeState<UserState>(stored.key, stored.value)
  const removed = new Set<string>(remove === 'all' ? [] : remove)
  const kept = Object.entries(before.credentials).filter(([mechanism]) => !removed.has(mechanism))
  const credentials = { ...Object.fromEntries(kept), ...userStateOf(set).credentials }
  return Object.keys(credentials).length === 0 ? undefined : { ...before, credentials }
}

function nameOf(key: string): string {
  return key.slice(USERS_PREFIX.length)
}

/** In the order in which mechanisms are named everywhere. */
export function mechanismsOf({ credentials }: User): ScramMechanism[] {
  return SCRAM_MECHANISMS.filter((mechanism) => credentials.has(mechanism))
}
