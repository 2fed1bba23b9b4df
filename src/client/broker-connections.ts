/**
 * BrokerConnections: one connection to each broker the client needs, made when asked for, made again when lost.
 *
 * Invariants  at most one connection, and one attempt, per URL
 * Limits      as many connections as URLs: those given and those that metadata names
 * Failure     attempts are spaced by exponential backoff with jitter, per URL; a refused token is final and thrown at once
 */
import { MillraceError } from '../model/errors.ts'
import type { MetadataBroker } from '../protocol/index.ts'
import { sleep, throwIfAborted } from './abort.ts'
import { asMillraceError } from './as-millrace-error.ts'
import { type BackoffOptions, backoffMs } from './backoff.ts'
import type { ClientRuntime } from './client-runtime.ts'
import { Connection, type ConnectionOptions } from './connection.ts'

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
  #made = 0
  #lostCount = 0
  #failedCount = 0
  #closed = false

  constructor(
    runtime: ClientRuntime,
    urls: readonly string[],
    options: ConnectionOptions & { readonly backoff: BackoffOptions },
    events: ConnectionEvents,
  ) {
    this.#runtime = runtime
    this.#options = options
    this.#events = events
    this.#bootstrap = urls.map((url) => this.#endpoint(url))
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

  /** A connection to the broker `nodeId`; undefined where no URL is known for it. */
  node(nodeId: number, options: WaitOptions = {}): Promise<Connection> {
    const open = this.openTo(nodeId)
    if (open !== undefined) return Promise.resolve(open)
    return this.#firstOf(() => this.#candidates(nodeId), options)
  }

  /** The open connection to a broker, if there is one. */
  openTo(nodeId: number): Connection | undefined {
    for (const endpoint of this.#endpoints.values())
      if (endpoint.nodeId === nodeId && endpoint.connection?.isOpen) return endpoint.connection
    return undefined
  }

  /** Where a broker answered before and where metadata says it is, for it may have moved; if nobody knows, the given URLs. */
  #candidates(nodeId: number): readonly Endpoint[] {
    const candidates = new Set([...this.#endpoints.values()].filter((endpoint) => endpoint.nodeId === nodeId))
    const url = this.#nodeUrls.get(nodeId)
    if (url !== undefined) candidates.add(this.#endpoint(url))
    return candidates.size === 0 ? this.#bootstrap : [...candidates]
  }

  async #firstOf(candidates: () => readonly Endpoint[], options: WaitOptions): Promise<Connection> {
    const { clock } = this.#runtime
    const tried = new Set<Endpoint>()
    for (;;) {
      if (this.#closed) throw new MillraceError('CLOSED', 'the client is closed')
      throwIfAborted(options.signal)
      const endpoint = [...candidates()].sort((left, right) => left.notBeforeMs - right.notBeforeMs)[0]
      if (endpoint === undefined) throw new MillraceError('CONNECTION_FAILED', 'no URL of a broker is known')
      const waitMs = endpoint.notBeforeMs - clock.monotonicMs()
      if (waitMs > 0) await sleep(this.#runtime, waitMs, options.signal)
      try {
        return await this.#open(endpoint)
      } catch (error) {
        tried.add(endpoint)
        if (error instanceof MillraceError && FINAL_CODES.includes(error.code)) throw error
        if (
          options.deadlineMs === undefined
            ? tried.size >= candidates().length
            : clock.monotonicMs() >= options.deadlineMs
        )
          throw error
      }
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
    if (endpoint.connection?.isOpen) return Promise.resolve(endpoint.connection)
    endpoint.attempt ??= this.#attempt(endpoint).finally(() => {
      endpoint.attempt = undefined
    })
    return endpoint.attempt
  }

  async #attempt(endpoint: Endpoint): Promise<Connection> {
    if (endpoint.failures > 0) this.#events.onReconnecting(endpoint.url, endpoint.failures)
    try {
      const connection = await Connection.open(this.#runtime, endpoint.url, this.#options)
      if (this.#closed) {
        connection.close()
        throw new MillraceError('CLOSED', 'the client is closed')
      }
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
      if (!this.#closed) {
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
    this.#closed = true
    for (const endpoint of this.#endpoints.values()) endpoint.connection?.close()
  }
}
