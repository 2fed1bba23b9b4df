/**
 * Requests: asks brokers on behalf of metadata, admin and positions: finds a connection, retries what may be retried.
 *
 * Rule     a request that changes something (`changes`) is not repeated once it has left and its outcome is unknown: the
 *          caller learns that it may or may not have happened (isInDoubt()). Any other error reply is an outcome: nothing happened.
 * Limits   requestTimeoutMs over all attempts
 */
import { ERRORS, isMillraceError, MillraceError } from '../model/errors.ts'
import { type Codec, type MetadataReply, type MetadataRequest, metadata } from '../protocol/index.ts'
import type { Connection, Reply } from '../transport/connection.ts'
import { abortable, sleep, throwIfAborted } from './abort.ts'
import { backoffMs } from './backoff.ts'
import { type AskedUrls, type BrokerConnections, PATIENCE_MS } from './broker-connections.ts'
import type { ResolvedClientOptions } from './client-options.ts'
import type { ClientRuntime } from './client-runtime.ts'
import type { CoordinatedId, Coordinators } from './coordinators.ts'

export interface AskOptions {
  /** The broker to ask; any, when left out. One that is not reached is not waited for: the caller may know of another by then. */
  readonly nodeId?: number
  /** Asks the coordinator of this id instead, wherever it is by then. */
  readonly coordinator?: CoordinatedId
  /** The answers of these brokers did not help: another one is asked where there is one. */
  readonly avoid?: AskedUrls | undefined
  /** The request changes something: see the rule above. */
  readonly changes?: boolean
  readonly signal?: AbortSignal | undefined
}

export class Requests {
  readonly #runtime: ClientRuntime
  readonly #connections: BrokerConnections
  readonly #coordinators: Coordinators
  readonly #options: ResolvedClientOptions

  constructor(
    runtime: ClientRuntime,
    connections: BrokerConnections,
    coordinators: Coordinators,
    options: ResolvedClientOptions,
  ) {
    this.#runtime = runtime
    this.#connections = connections
    this.#coordinators = coordinators
    this.#options = options
  }

  /** Over all attempts of a request. */
  get timeoutMs(): number {
    return this.#options.requestTimeoutMs
  }

  /** Topics, and where the brokers are: every answer is taken note of. */
  async metadata(request: MetadataRequest, options: AskOptions = {}): Promise<Reply<MetadataReply>> {
    const reply = await this.exchange(metadata, request, options)
    this.#connections.learn(reply.value.brokers)
    return reply
  }

  /** What `check` throws of an answer counts as the answer. */
  async ask<Request, Value>(
    codec: Codec<Request, Value>,
    request: Request,
    options: AskOptions = {},
    check?: (value: Value) => void,
  ): Promise<Value> {
    return (await this.exchange(codec, request, options, check)).value
  }

  /** The reply with its body. */
  async exchange<Request, Value>(
    codec: Codec<Request, Value>,
    request: Request,
    options: AskOptions = {},
    check?: (value: Value) => void,
  ): Promise<Reply<Value>> {
    const deadlineMs = this.#runtime.clock.monotonicMs() + this.#options.requestTimeoutMs
    for (let failures = 1; ; failures++) {
      throwIfAborted(options.signal)
      try {
        const reply = await this.#once(codec, request, options, deadlineMs)
        check?.(reply.value)
        return reply
      } catch (error) {
        if (!isMillraceError(error)) throw error
        if (options.coordinator !== undefined) this.#coordinators.failed(options.coordinator, error)
        if (isInDoubt(error) && options.changes === true)
          throw new MillraceError(
            error.code,
            `no answer to ${codec.name} came: it may or may not have happened (${error.message})`,
            { cause: error },
          )
        if (!mayRetry(error, options)) throw error
        const delayMs = backoffMs(this.#runtime.prng, failures, {
          delayMsMin: this.#options.backoffMsMin,
          delayMsMax: this.#options.backoffMsMax,
        })
        if (this.#runtime.clock.monotonicMs() + delayMs >= deadlineMs) throw error
        await sleep(this.#runtime, delayMs, options.signal)
      }
    }
  }

  async #once<Request, Value>(
    codec: Codec<Request, Value>,
    request: Request,
    options: AskOptions,
    deadlineMs: number,
  ): Promise<Reply<Value>> {
    const connection = await abortable(this.#connect(options, deadlineMs), options.signal)
    // What leaves with no time left to be answered would be in doubt for nothing.
    const timeoutMs = Math.max(1_000, deadlineMs - this.#runtime.clock.monotonicMs())
    return abortable(connection.call(codec, request, { timeoutMs }), options.signal)
  }

  #connect({ nodeId, coordinator, avoid, signal }: AskOptions, deadlineMs: number): Promise<Connection> {
    if (coordinator !== undefined) return this.#coordinators.connection(coordinator, { deadlineMs, signal })
    if (nodeId !== undefined) return this.#connections.node(nodeId, { patienceMs: PATIENCE_MS, signal })
    return this.#connections.any({ deadlineMs, avoid, signal })
  }
}

/** It was asked, and no answer came, of the broker or of the one that it asked itself: what was to be changed may have been, or will yet be. */
export function isInDoubt({ code }: MillraceError): boolean {
  return code === 'NETWORK_EXCEPTION' || code === 'REQUEST_TIMED_OUT'
}

/** Asking the same broker again helps against weather, not against a name that does not exist or a leader that has moved. */
function mayRetry(error: MillraceError, options: AskOptions): boolean {
  const isLost = error.code === 'NETWORK_EXCEPTION' || error.code === 'CONNECTION_FAILED'
  if (isLost) return options.nodeId === undefined
  if (error.code === 'UNKNOWN_TOPIC_OR_PARTITION' || error.code === 'UNKNOWN_TOPIC_ID') return false
  return error.retriable && !(ERRORS[error.code].refresh && options.nodeId !== undefined)
}
