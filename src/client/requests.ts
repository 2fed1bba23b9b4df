/**
 * Requests: asks brokers on behalf of metadata, admin and positions: finds a connection, retries what may be retried.
 *
 * Rule     a request that changes something (`changes`) is not repeated once it has left and its outcome is unknown: the
 *          caller learns that it may or may not have happened. An error reply is an outcome: nothing happened.
 * Limits   requestTimeoutMs over all attempts
 */
import { ERRORS, isMillraceError, MillraceError } from '../model/errors.ts'
import type { Codec } from '../protocol/index.ts'
import type { Reply } from '../transport/connection.ts'
import { abortable, sleep, throwIfAborted } from './abort.ts'
import { backoffMs } from './backoff.ts'
import type { BrokerConnections } from './broker-connections.ts'
import type { ResolvedClientOptions } from './client-options.ts'
import type { ClientRuntime } from './client-runtime.ts'

export interface AskOptions {
  /** The broker to ask; any, when left out. */
  readonly nodeId?: number
  /** The request changes something: see the rule above. */
  readonly changes?: boolean
  readonly signal?: AbortSignal | undefined
}

export class Requests {
  readonly #runtime: ClientRuntime
  readonly #connections: BrokerConnections
  readonly #options: ResolvedClientOptions

  constructor(runtime: ClientRuntime, connections: BrokerConnections, options: ResolvedClientOptions) {
    this.#runtime = runtime
    this.#connections = connections
    this.#options = options
  }

  async ask<Request, Value>(codec: Codec<Request, Value>, request: Request, options: AskOptions = {}): Promise<Value> {
    return (await this.exchange(codec, request, options)).value
  }

  /** The reply with its body. */
  async exchange<Request, Value>(
    codec: Codec<Request, Value>,
    request: Request,
    options: AskOptions = {},
  ): Promise<Reply<Value>> {
    const deadlineMs = this.#runtime.clock.monotonicMs() + this.#options.requestTimeoutMs
    for (let failures = 1; ; failures++) {
      throwIfAborted(options.signal)
      try {
        return await this.#once(codec, request, options, deadlineMs)
      } catch (error) {
        if (!isMillraceError(error) || !mayRetry(error, options)) throw error
        if (error.code === 'NETWORK_EXCEPTION' && options.changes === true)
          throw new MillraceError(
            'NETWORK_EXCEPTION',
            `the connection broke while ${codec.name} was under way: it may or may not have happened (${error.message})`,
            { cause: error },
          )
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
    const wait = { deadlineMs, signal: options.signal }
    const connection = await abortable(
      options.nodeId === undefined ? this.#connections.any(wait) : this.#connections.node(options.nodeId, wait),
      options.signal,
    )
    // A timeout ends the connection for everybody: the last attempt gets time enough to be judged fairly.
    const timeoutMs = Math.max(1_000, deadlineMs - this.#runtime.clock.monotonicMs())
    return abortable(connection.call(codec, request, { timeoutMs }), options.signal)
  }
}

/** Asking the same broker again helps against weather, not against a name that does not exist or a leader that has moved. */
function mayRetry(error: MillraceError, options: AskOptions): boolean {
  if (error.code === 'NETWORK_EXCEPTION') return true
  if (error.code === 'UNKNOWN_TOPIC_OR_PARTITION' || error.code === 'UNKNOWN_TOPIC_ID') return false
  return error.retriable && !(ERRORS[error.code].refresh && options.nodeId !== undefined)
}
