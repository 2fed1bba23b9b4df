/**
 * RelayedReply: what becomes of a request that was handed to a coordinator as it came: its reply goes to the client as it comes.
 *
 * Thread      main
 * Invariants  exactly one of onGroupReply and onGroupFailed is called, once; the connection may be gone by then
 */
import { errorNumberOf, type MillraceError } from '../model/errors.ts'
import { encodeErrorReply, encodeFrame, type FramePrologue } from '../protocol/index.ts'
import type { Connection } from './connection.ts'
import type { HandlerContext } from './handlers/handler-context.ts'
import type { GroupWaiter } from './shard-link.ts'

export class RelayedReply implements GroupWaiter {
  readonly #gateway: HandlerContext
  readonly #connection: Connection
  readonly #prologue: FramePrologue
  readonly #name: string
  readonly #startedMs: number

  constructor(
    gateway: HandlerContext,
    connection: Connection,
    request: { readonly api: number; readonly correlationId: number; readonly name: string },
  ) {
    const { api, correlationId, name } = request
    this.#gateway = gateway
    this.#connection = connection
    this.#prologue = { api, isReply: true, correlationId }
    this.#name = name
    this.#startedMs = gateway.clock.monotonicMs()
    connection.openRequests++
  }

  onGroupReply(header: Uint8Array): void {
    this.#end(header)
  }

  onGroupFailed(error: MillraceError): void {
    this.#gateway.metrics.countError(error.code)
    this.#end(encodeErrorReply(errorNumberOf(error.code), error.message))
  }

  /** It was not handed on after all. */
  withdraw(): void {
    this.#connection.openRequests--
  }

  #end(header: Uint8Array): void {
    this.#connection.openRequests--
    this.#connection.send(encodeFrame(this.#prologue, header))
    this.#gateway.metrics.observeRequest(this.#name, this.#gateway.clock.monotonicMs() - this.#startedMs)
  }
}
