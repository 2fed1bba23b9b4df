/**
 * BrokerConnections: one connection to each broker the client needs, made when asked for, made again when lost.
 *
 * Invariants  at most one connection, and one attempt, per URL
 *             what node() answers is that broker, where any URL of it is known or another one can be asked
 *             a broker that was learned is asked in place of the given ones when those are gone
 * Ordering    any(): what is open, the given URLs first; then what may be tried now; then what is slow to connect, or owes a sign of life
 * Limits      as many connections as URLs: those given, those that brokers name, and FORGOTTEN_MAX that they name no more
 * Failure     attempts are spaced by exponential backoff with jitter, per URL; a refused token is final and thrown at once.
 *             One that takes longer than HEDGE_MS goes on while the next URL is tried.
 *             close() ends attempts and waits for them with CLOSED
 */
import { MillraceError } from '../model/errors.ts'
import type { MetadataBroker } from '../protocol/index.ts'
import { Connection, type ConnectionOptions } from '../transport/connection.ts'
import { sleep, throwIfAborted, whenAborted } from './abort.ts'
import { asMillraceError } from './as-millrace-error.ts'
import { type BackoffOptions, backoffMs } from './backoff.ts'
import type { ClientRuntime } from './client-runtime.ts'

/** What no further attempt can mend. */
const FINAL_CODES = ['SASL_AUTHENTICATION_FAILED', 'UNSUPPORTED_VERSION', 'INVALID_ARGUMENT', 'CLOSED']

/** An attempt that takes longer than this does not keep the next URL from being tried. */
const HEDGE_MS = 1_000
/** Whoever can look elsewhere waits so long for a connection to one broker. */
export const PATIENCE_MS = HEDGE_MS
/** URLs that no broker names any more and that are remembered all the same. */
const FORGOTTEN_MAX = 32

interface Endpoint {
  readonly url: string
  connection: Connection | undefined
  attempt: Promise<Connection> | undefined
  /** The attempt has been waited for already, longer than the next URL should wait. */
  isSlow: boolean
  failures: number
  notBeforeMs: number
  /** The broker that answered here last. */
  nodeId: number | undefined
}

/** URL -> a number that grows with each time it is asked. */
export type AskedUrls = ReadonlyMap<string, number>

export interface WaitOptions {
  /** Keep trying until then, on the monotonic clock; without one every candidate is tried once. */
  readonly deadlineMs?: number
  readonly signal?: AbortSignal | undefined
  /** Of any(): URLs of brokers whose answers did not help. Others are taken where there are some, else the one that was asked the longest ago. */
  readonly avoid?: AskedUrls | undefined
}

export interface NodeWaitOptions extends WaitOptions {
  /** Gives up after so long with CONNECTION_FAILED, although an attempt is under way: it goes on, for the next call. */
  readonly patienceMs?: number
}

/** What is told of connections. */
export interface ConnectionEvents {
  onConnected(connection: Connection): void
  onDisconnected(connection: Connection, error: MillraceError): void
  onConnectFailed(url: string, error: MillraceError, retryInMs: number): void
  onReconnecting(url: string, attempt: number): void
}

export interface ConnectionStats {
  readonly connectionsOpen: number
  readonly connectionsMade: number
  readonly connectionsLost: number
  /** Attempts that failed. */
  readonly connectsFailed: number
  /** Bytes that wait for credit or for the platform. */
  readonly queuedBytes: number
}

export class BrokerConnections {
  readonly #runtime: ClientRuntime
  readonly #options: ConnectionOptions & { readonly backoff: BackoffOptions }
  readonly #bootstrap: readonly Endpoint[]
  readonly #endpoints = new Map<string, Endpoint>()
  readonly #nodeUrls = new Map<number, string>()
  readonly #events: ConnectionEvents
  /** One for each member of a group. */
  readonly #groupListeners = new Map<string, () => void>()
  #clusterId: string | undefined
  #made = 0
  #lostCount = 0
  #failedCount = 0
  /** What close() ends; a signal each, since one with many listeners is warned of. */
  readonly #underWay = new Set<AbortController>()
  #isClosed = false

  constructor(
    runtime: ClientRuntime,
    urls: readonly string[],
    options: ConnectionOptions & { readonly backoff: BackoffOptions },
    events: ConnectionEvents,
  ) {
    this.#runtime = runtime
    this.#options = { ...options, onGroupChanged: (memberId) => this.#groupListeners.get(memberId)?.() }
    this.#events = events
    this.#bootstrap = urls.map((url) => this.#endpoint(url))
  }

  /** Runs `listener` when a broker has something new for this member; the answer stops that. */
  onGroupChanged(memberId: string, listener: () => void): () => void {
    this.#groupListeners.set(memberId, listener)
    return () => void this.#groupListeners.delete(memberId)
  }

  /** Takes note of where brokers are. */
  learn(brokers: readonly MetadataBroker[]): void {
    this.#nodeUrls.clear()
    for (const { nodeId, url } of brokers) this.learnNode(nodeId, url)
    this.#forgetSome()
  }

  /** The same of one broker. */
  learnNode(nodeId: number, url: string): void {
    if (url === '') return
    this.#nodeUrls.set(nodeId, url)
    this.#endpoint(url)
  }

  /** The brokers that were named last. */
  get nodeIds(): number[] {
    return [...this.#nodeUrls.keys()]
  }

  /** Where brokers may be, as far as is known: the given URLs first. */
  get urls(): string[] {
    return [...this.#endpoints.keys()]
  }

  /** More places to look for brokers. */
  addUrls(urls: readonly string[]): void {
    for (const url of urls) this.#endpoint(url)
  }

  #forgetSome(): void {
    const named = new Set(this.#nodeUrls.values())
    const forgotten = [...this.#endpoints.values()].filter(
      (each) => !named.has(each.url) && !this.#bootstrap.includes(each) && !each.connection && !each.attempt,
    )
    for (const { url } of forgotten.slice(0, -FORGOTTEN_MAX)) this.#endpoints.delete(url)
  }

  /** A connection to any broker. */
  any(options: WaitOptions = {}): Promise<Connection> {
    for (const { url, connection } of this.#endpoints.values())
      if (connection?.isOpen && !connection.isQuiet && !options.avoid?.has(url)) return Promise.resolve(connection)
    return this.#firstOf(() => this.#anybody(), options)
  }

  /** Every URL, but those of brokers that are connected to by another one. */
  #anybody(): readonly Endpoint[] {
    const all = [...this.#endpoints.values()]
    const connected = new Map<number, Endpoint>()
    for (const each of all) if (each.nodeId !== undefined && each.connection?.isOpen) connected.set(each.nodeId, each)
    const named = new Map([...this.#nodeUrls].map(([nodeId, url]) => [url, nodeId]))
    return all.filter((each) => {
      const nodeId = each.nodeId ?? named.get(each.url)
      const by = nodeId === undefined ? undefined : connected.get(nodeId)
      return by === undefined || by === each || each.connection?.isOpen === true
    })
  }

  /** A connection to the broker `nodeId`; where no URL is known for it, to any. */
  async node(nodeId: number, options: NodeWaitOptions = {}): Promise<Connection> {
    const open = this.openTo(nodeId)
    if (open !== undefined) return open
    const isKnown = this.#known(nodeId).length > 0
    const { patienceMs, ...wait } = options
    const isWanted = ({ broker }: Connection): boolean => !isKnown || broker.nodeId === nodeId
    if (patienceMs === undefined) return this.#firstOf(() => this.#candidates(nodeId), wait, isWanted)
    // It ends with the patience; an attempt under way goes on, since it is everybody's.
    const end = new AbortController()
    const forget = whenAborted(wait.signal, () => end.abort(wait.signal!.reason))
    try {
      const search = this.#firstOf(() => this.#candidates(nodeId), { ...wait, signal: end.signal }, isWanted)
      const found = await this.#within(search, patienceMs)
      if (found !== undefined) return found
      throwIfAborted(wait.signal)
      throw new MillraceError('CONNECTION_FAILED', `no connection to broker ${nodeId} within ${patienceMs} ms`)
    } finally {
      forget()
      end.abort()
    }
  }

  /** The open connection to a broker, if there is one. */
  openTo(nodeId: number): Connection | undefined {
    for (const endpoint of this.#endpoints.values())
      if (endpoint.nodeId === nodeId && endpoint.connection?.isOpen) return endpoint.connection
    return undefined
  }

  /** Where a broker answered before and where metadata says it is, for it may have moved. */
  #known(nodeId: number): readonly Endpoint[] {
    const known = new Set([...this.#endpoints.values()].filter((endpoint) => endpoint.nodeId === nodeId))
    const url = this.#nodeUrls.get(nodeId)
    if (url !== undefined) known.add(this.#endpoint(url))
    return [...known]
  }

  /** Behind what is known of a broker come the given URLs at which nobody has answered yet: it may have moved there. */
  #candidates(nodeId: number): readonly Endpoint[] {
    const known = this.#known(nodeId)
    if (known.length === 0) return this.#bootstrap
    const others = this.#bootstrap.filter((each) => each.nodeId === undefined && !known.includes(each))
    return [...known, ...others]
  }

  async #firstOf(
    candidates: () => readonly Endpoint[],
    options: WaitOptions,
    isWanted: (connection: Connection) => boolean = () => true,
  ): Promise<Connection> {
    const { clock } = this.#runtime
    const tried = new Set<Endpoint>()
    let failure = new MillraceError('CONNECTION_FAILED', 'the broker wanted is at none of the URLs known')
    for (;;) {
      throwIfAborted(options.signal)
      if (this.#isClosed) throw closedError()
      const endpoint = nextOf(candidates(), clock.monotonicMs(), options.avoid)
      if (endpoint === undefined) throw new MillraceError('CONNECTION_FAILED', 'no URL of a broker is known')
      const waitMs = endpoint.notBeforeMs - clock.monotonicMs()
      if (waitMs > 0 && endpoint.attempt === undefined) await this.#pause(waitMs, options.signal)
      let isSettled = true
      try {
        const connection = await this.#within(this.#open(endpoint), HEDGE_MS)
        if (connection === undefined) {
          isSettled = false
          endpoint.isSlow = endpoint.attempt !== undefined
        } else if (isWanted(connection)) return connection
        else await this.#pause(this.#options.backoff.delayMsMin, options.signal) // it answers at once the next time, too
      } catch (error) {
        failure = asMillraceError(error)
        if (FINAL_CODES.includes(failure.code)) throw error
      }
      if (isSettled) tried.add(endpoint)
      const isOver =
        options.deadlineMs === undefined
          ? candidates().every((each) => tried.has(each))
          : clock.monotonicMs() >= options.deadlineMs
      if (isOver) throw failure
    }
  }

  /** What `work` answers, or undefined when that takes longer than `waitMs`; it goes on all the same. */
  #within<T>(work: Promise<T>, waitMs: number): Promise<T | undefined> {
    return new Promise<T | undefined>((resolve, reject) => {
      const timer = this.#runtime.startTimer(waitMs, () => resolve(undefined))
      work.then(resolve, reject).finally(() => timer.cancel())
    })
  }

  #pause(waitMs: number, signal: AbortSignal | undefined): Promise<void> {
    return this.#untilClosed((closing) => sleep(this.#runtime, waitMs, signal, closing))
  }

  /** What `work` answers, which is told when close() is called; CLOSED then. */
  async #untilClosed<T>(work: (closing: AbortSignal) => Promise<T>): Promise<T> {
    const closing = new AbortController()
    this.#underWay.add(closing)
    try {
      return await work(closing.signal)
    } catch (error) {
      throw this.#isClosed ? closedError() : error
    } finally {
      this.#underWay.delete(closing)
    }
  }

  #endpoint(url: string): Endpoint {
    let endpoint = this.#endpoints.get(url)
    if (endpoint === undefined) {
      const notBeforeMs = Number.NEGATIVE_INFINITY
      const none = { connection: undefined, attempt: undefined, isSlow: false, nodeId: undefined }
      endpoint = { url, ...none, failures: 0, notBeforeMs }
      this.#endpoints.set(url, endpoint)
    }
    return endpoint
  }

  #open(endpoint: Endpoint): Promise<Connection> {
    if (this.#isClosed) return Promise.reject(closedError())
    if (endpoint.connection?.isOpen) return Promise.resolve(endpoint.connection)
    endpoint.attempt ??= this.#attempt(endpoint).finally(() => {
      endpoint.attempt = undefined
      endpoint.isSlow = false
    })
    return endpoint.attempt
  }

  async #attempt(endpoint: Endpoint): Promise<Connection> {
    if (endpoint.failures > 0) this.#events.onReconnecting(endpoint.url, endpoint.failures)
    try {
      const connection = await this.#untilClosed((closing) =>
        Connection.open(this.#runtime, endpoint.url, this.#options, closing),
      )
      this.#checkCluster(endpoint, connection)
      endpoint.connection = connection
      endpoint.failures = 0
      endpoint.nodeId = connection.broker.nodeId
      this.#made++
      connection.onEnd(() => {
        this.#lostCount++
        this.#postpone(endpoint)
        this.#events.onDisconnected(connection, connection.failure!)
      })
      this.#events.onConnected(connection)
      return connection
    } catch (error) {
      const retryInMs = this.#postpone(endpoint)
      if (!this.#isClosed) {
        this.#failedCount++
        this.#events.onConnectFailed(endpoint.url, asMillraceError(error), retryInMs)
      }
      throw error
    }
  }

  /** A URL that a broker names may lead to somebody else's broker, seen from here: the given ones decide which cluster it is. */
  #checkCluster({ url }: Endpoint, connection: Connection): void {
    const { clusterId } = connection.broker
    if (this.#bootstrap.some((each) => each.url === url)) this.#clusterId = clusterId
    this.#clusterId ??= clusterId
    if (clusterId === this.#clusterId) return
    connection.close()
    const why = `${url} is a broker of cluster '${clusterId}', not of '${this.#clusterId}'`
    throw new MillraceError('CONNECTION_FAILED', why)
  }

  stats(): ConnectionStats {
    const open = [...this.#endpoints.values()].flatMap(({ connection }) => (connection?.isOpen ? [connection] : []))
    return {
      connectionsOpen: open.length,
      connectionsMade: this.#made,
      connectionsLost: this.#lostCount,
      connectsFailed: this.#failedCount,
      queuedBytes: open.reduce((sum, connection) => sum + connection.queuedBytes, 0),
    }
  }

  /** The next attempt waits its turn; answers how long. */
  #postpone(endpoint: Endpoint): number {
    endpoint.connection = undefined
    endpoint.failures++
    const delayMs = backoffMs(this.#runtime.prng, endpoint.failures, this.#options.backoff)
    endpoint.notBeforeMs = this.#runtime.clock.monotonicMs() + delayMs
    return delayMs
  }

  close(): void {
    this.#isClosed = true
    for (const closing of this.#underWay) closing.abort()
    for (const endpoint of this.#endpoints.values()) endpoint.connection?.close()
  }
}

/** The endpoint to try next: see Ordering. */
function nextOf(candidates: readonly Endpoint[], nowMs: number, avoid: AskedUrls | undefined): Endpoint | undefined {
  const rankOf = ({ url, connection, isSlow, notBeforeMs }: Endpoint): number => {
    if (isSlow || connection?.isQuiet) return Rank.SLOW
    const isOpen = connection?.isOpen === true
    if (!isOpen && notBeforeMs > nowMs) return Rank.LATER
    if (avoid?.has(url)) return Rank.AVOIDED
    return isOpen ? Rank.OPEN : Rank.DUE
  }
  const comesBefore = (one: Endpoint, other: Endpoint): boolean => {
    const [left, right] = [rankOf(one), rankOf(other)]
    if (left !== right) return left < right
    if (left === Rank.AVOIDED) return avoid!.get(one.url)! < avoid!.get(other.url)!
    return one.notBeforeMs < other.notBeforeMs
  }
  let next: Endpoint | undefined
  for (const each of candidates) {
    if (next === undefined || comesBefore(each, next)) next = each
  }
  return next
}

const Rank = { OPEN: 0, DUE: 1, AVOIDED: 2, SLOW: 3, LATER: 4 } as const

function closedError(): MillraceError {
  return new MillraceError('CLOSED', 'the client is closed')
}
