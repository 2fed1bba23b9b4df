/**
 * BrokerConnections: one connection to each broker the client needs, made when asked for, made again when lost.
 *
 * Invariants  at most one connection, and one attempt, per URL
 *             what node() answers is that broker, where any URL of it is known or another one can be asked
 * Limits      as many connections as URLs: those given and those that metadata names
 * Failure     attempts are spaced by exponential backoff with jitter, per URL; a refused token is final and thrown at once.
 *             close() ends attempts and waits for them with CLOSED
 */
import { MillraceError } from '../model/errors.ts'
import type { MetadataBroker } from '../protocol/index.ts'
import { Connection, type ConnectionOptions } from '../transport/connection.ts'
import { sleep, throwIfAborted } from './abort.ts'
import { asMillraceError } from './as-millrace-error.ts'
import { type BackoffOptions, backoffMs } from './backoff.ts'
import type { ClientRuntime } from './client-runtime.ts'

/** What no further attempt can mend. */
const FINAL_CODES = ['SASL_AUTHENTICATION_FAILED', 'UNSUPPORTED_VERSION', 'INVALID_ARGUMENT', 'CLOSED']

interface Endpoint {
  readonly url: string
  connection: Connection | undefined
  attempt: Promise<Connection> | undefined
  failures: number
  notBeforeMs: number
  /** The broker that answered here last. */
  nodeId: number | undefined
}

export interface WaitOptions {
  /** Keep trying until then, on the monotonic clock; without one every candidate is tried once. */
  readonly deadlineMs?: number
  readonly signal?: AbortSignal | undefined
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
    for (const broker of brokers) if (broker.url !== '') this.#nodeUrls.set(broker.nodeId, broker.url)
  }

  /** A connection to any broker. */
  any(options: WaitOptions = {}): Promise<Connection> {
    const open = this.#bootstrap.find((endpoint) => endpoint.connection?.isOpen)
    if (open?.connection !== undefined) return Promise.resolve(open.connection)
    return this.#firstOf(() => this.#bootstrap, options)
  }

  /** A connection to the broker `nodeId`; where no URL is known for it, to any. */
  node(nodeId: number, options: WaitOptions = {}): Promise<Connection> {
    const open = this.openTo(nodeId)
    if (open !== undefined) return Promise.resolve(open)
    const isKnown = this.#known(nodeId).length > 0
    return this.#firstOf(
      () => this.#candidates(nodeId),
      options,
      ({ broker }) => !isKnown || broker.nodeId === nodeId,
    )
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
      const endpoint = [...candidates()].sort((left, right) => left.notBeforeMs - right.notBeforeMs)[0]
      if (endpoint === undefined) throw new MillraceError('CONNECTION_FAILED', 'no URL of a broker is known')
      const waitMs = endpoint.notBeforeMs - clock.monotonicMs()
      if (waitMs > 0) await this.#pause(waitMs, options.signal)
      try {
        const connection = await this.#open(endpoint)
        if (isWanted(connection)) return connection
        await this.#pause(this.#options.backoff.delayMsMin, options.signal) // it answers at once the next time, too
      } catch (error) {
        failure = asMillraceError(error)
        if (FINAL_CODES.includes(failure.code)) throw error
      }
      tried.add(endpoint)
      const isOver =
        options.deadlineMs === undefined
          ? candidates().every((each) => tried.has(each))
          : clock.monotonicMs() >= options.deadlineMs
      if (isOver) throw failure
    }
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
      endpoint = { url, connection: undefined, attempt: undefined, failures: 0, notBeforeMs, nodeId: undefined }
      this.#endpoints.set(url, endpoint)
    }
    return endpoint
  }

  #open(endpoint: Endpoint): Promise<Connection> {
    if (this.#isClosed) return Promise.reject(closedError())
    if (endpoint.connection?.isOpen) return Promise.resolve(endpoint.connection)
    endpoint.attempt ??= this.#attempt(endpoint).finally(() => {
      endpoint.attempt = undefined
    })
    return endpoint.attempt
  }

  async #attempt(endpoint: Endpoint): Promise<Connection> {
    if (endpoint.failures > 0) this.#events.onReconnecting(endpoint.url, endpoint.failures)
    try {
      const connection = await this.#untilClosed((closing) =>
        Connection.open(this.#runtime, endpoint.url, this.#options, closing),
      )
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

function closedError(): MillraceError {
  return new MillraceError('CLOSED', 'the client is closed')
}
