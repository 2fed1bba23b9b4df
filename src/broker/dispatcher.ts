/**
 * Dispatcher: from a frame to its handler: order of checks, and what each refusal does to the connection.
 *
 *   frame well formed? -> hello first? -> credit -> api known? -> header decodes? -> authorised? -> handler
 *
 * Thread    main
 * Failure   whatever a frame holds, the answer is a reply or a close: garbage (shorter than a prologue), a text message, a reply
 *           from a client, too large before hello = close; everything else = an error reply under the frame's correlation id
 * Limits    UNAUTHENTICATED_FRAME_BYTES_MAX before hello, limits.frameBytes after, CONNECTION_REQUESTS_MAX open requests, of which so
 *           many that can have replies of any size are worked on at once that these do not pile up (cold-requests.ts)
 */
import { type ErrorCode, errorNumberOf, isMillraceError, MillraceError } from '../model/errors.ts'
import { CONNECTION_REQUESTS_MAX, UNAUTHENTICATED_FRAME_BYTES_MAX } from '../model/limits.ts'
import { Api, decodeFrame, encodeErrorReply, encodeFrame, type Frame, hello, SERVED_APIS } from '../protocol/index.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Authenticator } from './authenticate.ts'
import { authorise, OPERATIONS, refusalOf } from './authorise.ts'
import type { Connection } from './connection.ts'
import { produceHandler } from './handlers/00-produce.ts'
import { fetchHandler } from './handlers/01-fetch.ts'
import { listOffsetsHandler } from './handlers/02-list-offsets.ts'
import { metadataHandler } from './handlers/03-metadata.ts'
import { replicaFetchHandler } from './handlers/1004-replica-fetch.ts'
import {
  addPartitionsHandler,
  alterTopicConfigHandler,
  createTopicHandler,
  deleteTopicHandler,
  describeClusterHandler,
  trimHandler,
} from './handlers/admin.ts'
import { CLUSTER_HANDLERS } from './handlers/cluster.ts'
import { findCoordinatorHandler } from './handlers/find-coordinator.ts'
import { GROUP_HANDLERS } from './handlers/groups.ts'
import type { AnyHandler, ColdHandler, Handler } from './handlers/handler.ts'
import type { HandlerContext } from './handlers/handler-context.ts'
import { MOVE_HANDLERS } from './handlers/moves.ts'
import { TRANSACTION_HANDLERS } from './handlers/transactions.ts'
import { USER_HANDLERS } from './handlers/users.ts'
import { RelayedReply } from './relayed-reply.ts'

const HANDLERS = new Map<number, AnyHandler>(
  [
    produceHandler,
    fetchHandler,
    listOffsetsHandler,
    metadataHandler,
    createTopicHandler,
    deleteTopicHandler,
    trimHandler,
    addPartitionsHandler,
    alterTopicConfigHandler,
    describeClusterHandler,
    findCoordinatorHandler,
    ...GROUP_HANDLERS,
    ...TRANSACTION_HANDLERS,
    replicaFetchHandler,
    ...CLUSTER_HANDLERS,
    ...MOVE_HANDLERS,
    ...USER_HANDLERS,
  ].map((handler) => [handler.codec.api, handler as unknown as AnyHandler]),
)

/** Requests up to this many bytes whose replies are as short are not held back. */
const SHORT_HEADER_BYTES = 4 * 1024
const CLOSE_UNSUPPORTED_DATA = 1003
const CLOSE_PROTOCOL_ERROR = 1002
const CLOSE_TOO_LARGE = 1009
const CLOSE_POLICY_VIOLATION = 1008
const HELLO_FIRST = 'the first frame must be a hello'

/** What the dispatcher needs of the broker beside what it hands to handlers. */
export interface DispatcherContext extends HandlerContext {
  readonly version: string
  readonly authenticator: Authenticator
  readonly logger: Logger
  readonly batchBytesMax: number
  onAuthenticated(connection: Connection): void
}

export class Dispatcher {
  readonly #gateway: DispatcherContext

  constructor(gateway: DispatcherContext) {
    this.#gateway = gateway
  }

  /** One message of a client. `bytes` is only valid during the call. */
  onMessage(connection: Connection, bytes: Uint8Array, isBinary: boolean): void {
    const fatal = this.#findFatal(connection, bytes, isBinary)
    if (fatal !== undefined) {
      connection.close(fatal.code, fatal.reason)
      return
    }
    const wasReady = connection.isReady
    const decoded = decodeFrame(bytes)
    if (decoded.kind === 'garbage') {
      connection.close(CLOSE_PROTOCOL_ERROR, decoded.text)
    } else if (decoded.kind === 'fault') {
      this.#refuse(connection, decoded, decoded.code, decoded.text)
      if (wasReady) connection.complete(bytes.length)
      else connection.closeForPolicy(HELLO_FIRST)
    } else if (decoded.frame.isReply) {
      connection.close(CLOSE_PROTOCOL_ERROR, 'a client sends requests, not replies')
    } else if (decoded.frame.api === Api.HELLO) {
      this.#hello(connection, decoded.frame)
      if (wasReady) connection.complete(bytes.length)
    } else if (!wasReady) {
      this.#refuse(connection, decoded.frame, 'ILLEGAL_SASL_STATE', HELLO_FIRST)
      connection.closeForPolicy(HELLO_FIRST)
    } else {
      this.#request(connection, decoded.frame, bytes.length)
    }
  }

  /** What ends the connection without a look into the frame; counts the frame against the credit. */
  #findFatal(
    connection: Connection,
    bytes: Uint8Array,
    isBinary: boolean,
  ): { readonly code: number; readonly reason: string } | undefined {
    if (!isBinary) return { code: CLOSE_UNSUPPORTED_DATA, reason: 'millrace.v1 speaks in binary messages' }
    const bytesMax = connection.isReady ? this.#gateway.config.limits.frameBytes : UNAUTHENTICATED_FRAME_BYTES_MAX
    if (bytes.length > bytesMax)
      return { code: CLOSE_TOO_LARGE, reason: `FRAME_TOO_LARGE: ${bytes.length} bytes; at most ${bytesMax}` }
    if (connection.isReady && !connection.receive(bytes.length))
      return { code: CLOSE_POLICY_VIOLATION, reason: 'CREDIT_EXCEEDED: more bytes sent than granted' }
    return undefined
  }

  #request(connection: Connection, frame: Frame, frameBytes: number): void {
    const handler = HANDLERS.get(frame.api) as Handler<unknown, unknown> | undefined
    try {
      if (handler === undefined) throw new MillraceError('UNKNOWN_API', `api ${frame.api} is not served here`)
      if (connection.openRequests >= CONNECTION_REQUESTS_MAX)
        throw new MillraceError(
          'OVERLOADED',
          `${CONNECTION_REQUESTS_MAX} requests of this connection have no reply yet`,
        )
      const request = handler.codec.decodeRequest(frame.header)
      this.#checkAuthorised(connection, frame.api, handler.resources(request))
      if (handler.kind === 'hot') {
        const { correlationId, body } = frame
        handler.start({ gateway: this.#gateway, connection, correlationId, request, body, frameBytes })
        return
      }
      if (frame.body.length > 0)
        throw new MillraceError('INVALID_REQUEST', `${handler.codec.name} has no body, not ${frame.body.length} bytes`)
      this.#cold(connection, frame, request, handler)
    } catch (error) {
      this.#refuseError(connection, frame, error)
    }
    connection.complete(frameBytes)
  }

  #cold(connection: Connection, frame: Frame, request: unknown, handler: ColdHandler<unknown, unknown>): void {
    // The frame's memory is gone when it is answered: keep what the reply needs.
    const { api, correlationId } = frame
    const isShort = handler.isShort === true && frame.header.length <= SHORT_HEADER_BYTES
    if (isShort && handler.relay !== undefined && !connection.isBehind) {
      const reply = new RelayedReply(this.#gateway, connection, { api, correlationId, name: handler.codec.name })
      if (handler.relay(this.#gateway, request, connection, reply)) return
      reply.withdraw()
    }
    const kept = handler.keep?.(request) ?? request
    connection.openRequests++
    const answer = () => this.#answerCold(connection, { api, correlationId }, kept, handler)
    if (isShort) void answer()
    else connection.cold.run(answer)
  }

  /** One of the connection's requests that may run now; never rejects. */
  async #answerCold(
    connection: Connection,
    frame: { readonly api: number; readonly correlationId: number },
    request: unknown,
    handler: ColdHandler<unknown, unknown>,
  ): Promise<void> {
    const { codec } = handler
    const startedMs = this.#gateway.clock.monotonicMs()
    try {
      if (connection.isBehind) throw new MillraceError('OVERLOADED', 'replies of this connection wait to be read')
      const header = codec.encodeReply(await handler.answer(this.#gateway, request, connection))
      connection.send(encodeFrame({ ...frame, isReply: true }, header))
    } catch (error) {
      this.#refuseError(connection, frame, error)
    }
    connection.openRequests--
    this.#gateway.metrics.observeRequest(codec.name, this.#gateway.clock.monotonicMs() - startedMs)
  }

  #checkAuthorised(connection: Connection, api: number, resources: ReturnType<AnyHandler['resources']>): void {
    const row = OPERATIONS[api]
    for (const resource of resources)
      if (row === undefined || !authorise(connection.principal, row.operation, resource))
        throw new MillraceError(refusalOf(resource))
  }

  #hello(connection: Connection, frame: Frame): void {
    const gateway = this.#gateway
    try {
      const request = hello.decodeRequest(frame.header)
      if (connection.isReady) throw new MillraceError('ILLEGAL_SASL_STATE', 'a connection says hello once')
      connection.principal ??= gateway.authenticator.principalOf(request.token)
      if (connection.principal === undefined)
        throw new MillraceError(
          'SASL_AUTHENTICATION_FAILED',
          request.token === null ? 'a token is needed' : 'the token is not valid',
        )
      connection.clientName = request.clientName
      connection.isReady = true
      connection.beginCredit()
      gateway.onAuthenticated(connection)
      const header = hello.encodeReply({
        serverVersion: gateway.version,
        clusterId: gateway.identity.clusterId,
        nodeId: gateway.identity.nodeId,
        incarnation: gateway.identity.incarnation,
        creditBytes: gateway.pool.windowBytes,
        frameBytesMax: gateway.config.limits.frameBytes,
        batchBytesMax: gateway.batchBytesMax,
        apis: SERVED_APIS,
      })
      const { api, correlationId } = frame
      connection.send(encodeFrame({ api, isReply: true, correlationId }, header))
    } catch (error) {
      this.#refuseError(connection, frame, error)
      if (!connection.isReady) connection.closeForPolicy(isMillraceError(error) ? error.code : 'hello failed')
    }
  }

  #refuseError(connection: Connection, frame: { api: number; correlationId: number }, error: unknown): void {
    if (isMillraceError(error)) {
      this.#refuse(connection, frame, error.code, error.message)
      return
    }
    this.#gateway.logger.error({ err: error, api: frame.api }, 'a request failed unexpectedly')
    this.#refuse(connection, frame, 'UNKNOWN_SERVER_ERROR', '')
  }

  #refuse(
    connection: Connection,
    frame: { readonly api: number; readonly correlationId: number },
    code: ErrorCode,
    text: string,
  ): void {
    const { api, correlationId } = frame
    this.#gateway.metrics.countError(code)
    connection.send(encodeFrame({ api, isReply: true, correlationId }, encodeErrorReply(errorNumberOf(code), text)))
  }
}
