/**
 * The native WebSocketEngine: uWebSockets.js.
 *
 * Copies      send() copies what the kernel does not take at once into the socket's own buffer: fragments are free on return
 * Memory      a fragment that does not fit the engine's shared cork buffer goes through one of the socket's own, which it keeps: small
 *             messages are cut, or a thousand idle readers would hold a page each
 * Lost tails  builds from before September 2023 lose the payload of a frame of 16 KiB or more when the kernel takes nothing of it
 *             and nothing was buffered (uWebSockets PR 1662). A frame that finds something in the cork buffer takes another way, so
 *             an empty fragment goes before it. Who is not corked cannot do that: if the payload is lost, the socket is cut, and
 *             the client asks again on a new one
 * Drops       uWebSockets.js answers 2 and drops a message silently when more than maxBackpressure is buffered. The gateway
 *             keeps below it; a 2 is a bug and closes the socket, so that nobody waits for a reply that never left
 * Probe       the package falls back to a slow JavaScript make without a native build for this Node; that one has no SSLApp
 * Limits      messageBytesMax holds before authentication too: the engine has one limit for all sockets
 */
import type { HttpResponse, TemplatedApp, HttpRequest as UwsRequest, us_listen_socket, WebSocket } from 'uWebSockets.js'
import {
  type EngineHandler,
  type EngineSocket,
  HTTP_BODY_BYTES_MAX,
  type HttpReply,
  type HttpRequest,
  type ListenOptions,
  plainReply,
  type SendAnswer,
  type SocketEnd,
  STATUS_TEXTS,
  type UpgradeAnswer,
  type WebSocketEngine,
} from './web-socket-engine.ts'

type Uws = typeof import('uWebSockets.js')

const BACKPRESSURE = 0
const DROPPED = 2
const CLOSE_TRY_AGAIN_LATER = 1013
const CLOSE_GOING_AWAY = 1001
const CLOSE_ABNORMAL = 1006
/** uWebSockets.js pings by itself when this much of the idle time has passed. */
const IDLE_SECONDS_MIN = 8
const IDLE_SECONDS_MAX = 960

/** The engine, or undefined where there is no native build for this Node. */
export async function probeUwsEngine(): Promise<WebSocketEngine | undefined> {
  let module: Uws & { default?: Uws }
  try {
    module = await import('uWebSockets.js')
  } catch {
    return undefined
  }
  const uws = module.default ?? module
  return typeof uws.SSLApp === 'function' && typeof uws.App === 'function' ? new UwsEngine(uws) : undefined
}

interface UserData {
  readonly answer: UpgradeAnswer<unknown> & { kind: 'accept' }
  readonly remoteAddress: string
  socket?: UwsSocket<unknown>
}

export class UwsSocket<Context> implements EngineSocket<Context> {
  readonly context: Context
  readonly remoteAddress: string
  readonly keepsFragments = false
  isOpen = true
  /** What close() said. */
  closing: SocketEnd | undefined
  readonly #ws: WebSocket<UserData>

  constructor(ws: WebSocket<UserData>, context: Context, remoteAddress: string) {
    this.#ws = ws
    this.context = context
    this.remoteAddress = remoteAddress
  }

  get bufferedBytes(): number {
    return this.isOpen ? this.#ws.getBufferedAmount() : 0
  }

  send(given: readonly Uint8Array[]): SendAnswer {
    if (!this.isOpen) return 'closed'
    const fragments = inSmallPieces(given)
    const last = fragments.length - 1
    for (let index = 0; index <= last; index++) {
      const fragment = fragments[index]!
      const isDirect = fragment.length >= DIRECT_BYTES_MIN && this.#ws.getBufferedAmount() === 0
      if (isDirect) this.#sendFragment(NO_BYTES, index === 0, false)
      const status = this.#sendFragment(fragment, index === 0 && !isDirect, index === last)
      if (status === DROPPED) {
        this.close(CLOSE_TRY_AGAIN_LATER, 'the send buffer is full')
        return 'closed'
      }
      if (isDirect && status === BACKPRESSURE && this.#ws.getBufferedAmount() <= FRAME_HEADER_BYTES_MAX) {
        this.terminate()
        return 'closed'
      }
    }
    return 'copied'
  }

  /** The status: the types say boolean, the native build answers send()'s numbers. */
  #sendFragment(fragment: Uint8Array, isFirst: boolean, isLast: boolean): number {
    const ws = this.#ws
    if (isFirst) return Number(isLast ? ws.send(fragment, true, false) : ws.sendFirstFragment(fragment, true, false))
    return Number(isLast ? ws.sendLastFragment(fragment, false) : ws.sendFragment(fragment, false))
  }

  cork(work: () => void): void {
    if (this.isOpen) this.#ws.cork(work)
    else work()
  }

  close(code: number, reason: string): void {
    if (!this.isOpen) return
    this.closing ??= { code, reason, byBroker: true }
    this.#ws.end(code, reason)
  }

  /** The engine's own wish: no message of it may be used any more. */
  terminate(): void {
    if (this.isOpen) this.#ws.close()
  }
}

/** From here on the engine writes a frame without a copy, if nothing waits before it. */
const DIRECT_BYTES_MIN = 16 * 1024
const FRAME_HEADER_BYTES_MAX = 10
const NO_BYTES = new Uint8Array(0)
const SMALL_MESSAGE_BYTES_MAX = 80 * 1024
/** Less than the engine's cork buffer, a frame header included. */
const PIECE_BYTES = 15 * 1024

/** The same message in fragments that leave no buffer with the socket, if it is small. */
function inSmallPieces(fragments: readonly Uint8Array[]): readonly Uint8Array[] {
  let bytes = 0
  let largest = 0
  for (const { length } of fragments) {
    bytes += length
    if (length > largest) largest = length
  }
  if (largest <= PIECE_BYTES || bytes > SMALL_MESSAGE_BYTES_MAX) return fragments
  const pieces: Uint8Array[] = []
  for (const fragment of fragments)
    for (let at = 0; at < fragment.length; at += PIECE_BYTES) pieces.push(fragment.subarray(at, at + PIECE_BYTES))
  return pieces
}

const LISTEN_EXCLUSIVE_PORT = 1
/** The types have a host or options; the native build takes both. */
type ListenExclusive = (
  this: TemplatedApp,
  host: string,
  port: number,
  options: number,
  done: (listener: us_listen_socket | false) => void,
) => void

class UwsEngine implements WebSocketEngine {
  readonly name = 'uws'
  readonly #uws: Uws
  readonly #sockets = new Set<UwsSocket<unknown>>()
  #listener: us_listen_socket | undefined
  #isClosed = false

  constructor(uws: Uws) {
    this.#uws = uws
  }

  async listen<Context>(options: ListenOptions, handler: EngineHandler<Context>): Promise<number> {
    const app = this.#uws.App()
    this.#addWebSocketRoute(app, options, handler as EngineHandler<unknown>)
    app.any('/*', (response, request) => this.#onHttp(response, request, handler.onHttp.bind(handler)))
    const listener = await new Promise<us_listen_socket | false>((resolve) => {
      // Exclusive: without it a second process on the same port gets every other connection, and neither is told.
      const listen = app.listen as unknown as ListenExclusive
      listen.call(app, options.host, options.port, LISTEN_EXCLUSIVE_PORT, resolve)
    })
    if (listener === false) {
      // uWebSockets.js does not say why.
      const error: NodeJS.ErrnoException = new Error(`cannot listen on ${options.host}:${options.port}`)
      error.code = 'EADDRINUSE'
      throw error
    }
    this.#listener = listener
    return this.#uws.us_socket_local_port(listener)
  }

  #addWebSocketRoute(app: TemplatedApp, options: ListenOptions, handler: EngineHandler<unknown>): void {
    app.ws<UserData>('/*', {
      maxPayloadLength: options.messageBytesMax,
      maxBackpressure: options.sendBufferBytesMax,
      idleTimeout: Math.min(IDLE_SECONDS_MAX, Math.max(IDLE_SECONDS_MIN, options.idleSeconds)),
      sendPingsAutomatically: true,
      compression: this.#uws.DISABLED,
      upgrade: (response, request, context) => {
        const remoteAddress = textOf(response.getRemoteAddressAsText())
        const answer = handler.onUpgrade({
          path: request.getUrl(),
          origin: request.getHeader('origin'),
          authorization: request.getHeader('authorization'),
          protocols: request.getHeader('sec-websocket-protocol'),
          host: request.getHeader('host'),
          remoteAddress,
        })
        if (answer.kind === 'refuse') {
          writeReply(response, plainReply(answer.status, answer.text))
          return
        }
        response.upgrade<UserData>(
          { answer, remoteAddress },
          request.getHeader('sec-websocket-key'),
          answer.protocol,
          request.getHeader('sec-websocket-extensions'),
          context,
        )
      },
      open: (ws) => {
        const data = ws.getUserData()
        const socket = new UwsSocket(ws, data.answer.context, data.remoteAddress)
        data.socket = socket
        this.#sockets.add(socket)
        handler.onOpen(socket)
      },
      message: (ws, message, isBinary) => {
        const socket = ws.getUserData().socket
        if (socket?.isOpen) handler.onMessage(socket, new Uint8Array(message), isBinary)
      },
      drain: (ws) => {
        const socket = ws.getUserData().socket
        if (socket?.isOpen) handler.onDrain(socket)
      },
      close: (ws, code, message) => {
        const socket = ws.getUserData().socket
        if (socket === undefined) return
        socket.isOpen = false
        this.#sockets.delete(socket)
        handler.onClose(socket, socket.closing ?? endOf(code, message))
      },
    })
  }

  #onHttp(response: HttpResponse, request: UwsRequest, answer: (request: HttpRequest) => Promise<HttpReply>): void {
    let isAborted = false
    response.onAborted(() => {
      isAborted = true
    })
    const head = {
      method: request.getMethod().toUpperCase(),
      path: request.getUrl(),
      query: request.getQuery() ?? '',
      origin: request.getHeader('origin'),
      authorization: request.getHeader('authorization'),
      contentType: request.getHeader('content-type'),
      host: request.getHeader('host'),
    }
    const reply = (value: HttpReply) => {
      if (!isAborted) response.cork(() => writeReply(response, value, head.method === 'HEAD'))
      isAborted = true
    }
    const parts: Uint8Array[] = []
    let bodyBytes = 0
    response.onData((chunk, isLast) => {
      if (isAborted) return
      bodyBytes += chunk.byteLength
      if (bodyBytes > HTTP_BODY_BYTES_MAX) {
        reply(plainReply(413, `a body has at most ${HTTP_BODY_BYTES_MAX} bytes`))
        return
      }
      // The chunk's memory is taken back when this call returns.
      parts.push(new Uint8Array(chunk).slice())
      if (!isLast) return
      answer({ ...head, body: Buffer.concat(parts) }).then(reply, () => reply(plainReply(500, 'internal error')))
    })
  }

  stopListening(): void {
    if (this.#listener === undefined) return
    this.#uws.us_listen_socket_close(this.#listener)
    this.#listener = undefined
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.stopListening()
    for (const socket of [...this.#sockets]) socket.close(CLOSE_GOING_AWAY, 'the broker stops')
    // end() leaves the socket to the kernel; whoever is still there did not get that far.
    for (const socket of [...this.#sockets]) socket.terminate()
  }
}

/** Without a close frame (1006) a text is the engine's own reason: it cut the socket. */
function endOf(code: number, message: ArrayBuffer): SocketEnd {
  const reason = textOf(message)
  return { code, reason, byBroker: code === CLOSE_ABNORMAL && reason !== '' }
}

function textOf(bytes: ArrayBuffer): string {
  return Buffer.from(bytes).toString('latin1')
}

function writeReply(response: HttpResponse, reply: HttpReply, isHead = false): void {
  response.writeStatus(`${reply.status} ${STATUS_TEXTS[reply.status] ?? 'Unknown'}`)
  response.writeHeader('Content-Type', reply.contentType)
  for (const [name, value] of Object.entries(reply.headers ?? {})) response.writeHeader(name, value)
  if (isHead) response.endWithoutBody(Buffer.byteLength(reply.body))
  else response.end(reply.body)
}
