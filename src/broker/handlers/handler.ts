/** Handler: what a request's own file gives the dispatcher. Two kinds: those answered by a promise, and the two hot ones. */
import type { Codec } from '../../protocol/index.ts'
import type { Resource } from '../authorise.ts'
import type { Connection } from '../connection.ts'
import type { GroupWaiter } from '../shard-link.ts'
import type { HandlerContext } from './handler-context.ts'

export interface Call<Request> {
  readonly gateway: HandlerContext
  readonly connection: Connection
  readonly correlationId: number
  readonly request: Request
  /** The frame's body: valid until start() returns. */
  readonly body: Uint8Array
  /** Size of the frame: complete() gives so much credit back. */
  readonly frameBytes: number
}

/** A request whose answer is worth a promise. */
export interface ColdHandler<Request, Reply> {
  readonly kind: 'cold'
  readonly codec: Codec<Request, Reply>
  /** Its reply is about as short as its request: as many as a connection may have open are worked on at once. */
  readonly isShort?: boolean
  resources(request: Request): readonly Resource[]
  /**
   * Where asking costs more than answering: hands the request on without a promise and without a copy; a `relay` replies by itself.
   * False = nothing was done, answer() it.
   */
  relay?(gateway: HandlerContext, request: Request, connection: Connection, reply: GroupWaiter): boolean
  /** With relay(): a request that outlives its frame. */
  keep?(request: Request): Request
  /** Rejects with MillraceError for an error reply. */
  answer(gateway: HandlerContext, request: Request, connection: Connection): Promise<Reply>
}

/** A request of the data path: replies by itself, gives the frame's credit back by itself. */
export interface HotHandler<Request, Reply> {
  readonly kind: 'hot'
  readonly codec: Codec<Request, Reply>
  resources(request: Request): readonly Resource[]
  /** May throw MillraceError before it has done anything: that is the reply. */
  start(call: Call<Request>): void
}

export type Handler<Request, Reply> = ColdHandler<Request, Reply> | HotHandler<Request, Reply>

/** A handler in a table: whose request it is only its own codec knows. */
export type AnyHandler = Handler<never, never>
