/**
 * The portable WebSocketEngine: the ws package over node:http.
 *
 * References  the socket keeps the fragments until the kernel took them: send() answers 'kept', the write callback frees
 * Order       ws frames go out in the order of send(); no compression, so a fragment is never held back
 * Limits      messageBytesMax by maxPayload; a socket that is silent through a ping is terminated
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocket, WebSocketServer } from 'ws'
import type { Timers } from '../timers.ts'
import {
  type EngineHandler,
  type EngineSocket,
  HTTP_BODY_BYTES_MAX,
  type HttpReply,
  type ListenOptions,
  plainReply,
  type SendAnswer,
  type SocketEnd,
  STATUS_TEXTS,
  type WebSocketEngine,
} from './web-socket-engine.ts'

const CLOSE_TRY_AGAIN_LATER = 1013
const CLOSE_GOING_AWAY = 1001
const CLOSE_ABNORMAL = 1006
/** A close reason has at most 123 bytes (RFC 6455 section 5.5.1). */
const REASON_BYTES_MAX = 123
/** How long a peer may take to answer a close before the socket is cut. */
const CLOSE_WAIT_MS = 2_000

class WsSocket<Context> implements EngineSocket<Context> {
  readonly context: Context
  readonly remoteAddress: string
  readonly keepsFragments = true
  isOpen = true
  isAlive = true
  /** Why this end closes or cuts it. */
  closing: SocketEnd | undefined
  readonly #ws: WebSocket
  readonly #raw: Socket
  readonly #sendBufferBytesMax: number
  readonly #onDrain: (socket: EngineSocket<Context>) => void

  constructor(
    ws: WebSocket,
    raw: Socket,
    options: {
      readonly context: Context
      readonly sendBufferBytesMax: number
      readonly onDrain: (socket: EngineSocket<Context>) => void
    },
  ) {
    const { context, sendBufferBytesMax, onDrain } = options
    this.#onDrain = onDrain
    this.#ws = ws
    this.#raw = raw
    this.context = context
    this.#sendBufferBytesMax = sendBufferBytesMax
    this.remoteAddress = raw.remoteAddress ?? ''
  }

  get bufferedBytes(): number {
    return this.isOpen ? this.#ws.bufferedAmount : 0
  }

  send(fragments: readonly Uint8Array[], onWritten: () => void): SendAnswer {
    if (!this.isOpen || this.#ws.readyState !== WebSocket.OPEN) return 'closed'
    if (this.#ws.bufferedAmount > this.#sendBufferBytesMax) {
      this.close(CLOSE_TRY_AGAIN_LATER, 'the send buffer is full')
      return 'closed'
    }
    const last = fragments.length - 1
    for (let index = 0; index < last; index++) this.#ws.send(fragments[index]!, { binary: true, fin: false })
    // Writes of a socket complete in order, with an error too: the last one's callback covers all.
    this.#ws.send(fragments[last]!, { binary: true, fin: true }, () => {
      onWritten()
      // Node's own 'drain' comes only after more than its high-water mark was buffered: whoever waits for less would wait for ever.
      if (this.isOpen && this.#ws.bufferedAmount === 0) this.#onDrain(this)
    })
    return 'kept'
  }

  cork(work: () => void): void {
    this.#raw.cork()
    try {
      work()
    } finally {
      this.#raw.uncork()
    }
  }

  close(code: number, reason: string): void {
    if (!this.isOpen) return
    this.closing ??= { code, reason, byBroker: true }
    this.#ws.close(code, reason.slice(0, REASON_BYTES_MAX))
  }

  /** True when it answered since the last call; sends the next ping. */
  ping(): boolean {
    if (!this.isAlive) return false
    this.isAlive = false
    if (this.#ws.readyState === WebSocket.OPEN) this.#ws.ping()
    return true
  }

  terminate(reason: string): void {
    this.closing ??= { code: CLOSE_ABNORMAL, reason, byBroker: true }
    this.#ws.terminate()
  }
}

export class WsEngine implements WebSocketEngine {
  readonly name = 'ws'
  readonly #timers: Timers
  readonly #sockets = new Set<WsSocket<unknown>>()
  #http: Server | undefined
  #stopPings = () => {}

  constructor(timers: Timers) {
    this.#timers = timers
  }

  async listen<Context>(options: ListenOptions, handler: EngineHandler<Context>): Promise<number> {
    const accept = new WebSocketServer({
      noServer: true,
      maxPayload: options.messageBytesMax,
      perMessageDeflate: false,
      clientTracking: false,
    })
    const http = createServer((request, response) => {
      void answerHttp(request, response, handler.onHttp.bind(handler))
    })
    http.on('upgrade', (request: IncomingMessage, raw: Duplex, head: Buffer) =>
      this.#onUpgrade(request, raw as Socket, head, { accept, options, handler: handler as EngineHandler<unknown> }),
    )
    this.#http = http
    await new Promise<void>((resolve, reject) => {
      http.once('error', reject)
      http.listen({ host: options.host, port: options.port, backlog: 4096 }, () => {
        http.off('error', reject)
        // An accept that fails (out of descriptors) costs that connection, not the broker.
        http.on('error', () => {})
        resolve()
      })
    })
    this.#stopPings = this.#timers.every((options.idleSeconds * 1000) / 2, () => {
      for (const socket of this.#sockets) if (!socket.ping()) socket.terminate('silent through a ping')
    })
    return (http.address() as AddressInfo).port
  }

  #onUpgrade(
    request: IncomingMessage,
    raw: Socket,
    head: Buffer,
    context: { accept: WebSocketServer; options: ListenOptions; handler: EngineHandler<unknown> },
  ): void {
    const { accept, options, handler } = context
    raw.on('error', () => raw.destroy())
    const answer = handler.onUpgrade({
      path: pathOf(request.url),
      origin: request.headers.origin ?? '',
      authorization: request.headers.authorization ?? '',
      protocols: request.headers['sec-websocket-protocol'] ?? '',
      host: request.headers.host ?? '',
      remoteAddress: raw.remoteAddress ?? '',
    })
    if (answer.kind === 'refuse') {
      refuse(raw, answer.status, answer.text)
      return
    }
    // handleUpgrade picks the first offered protocol; one that this end does not speak was refused above.
    request.headers['sec-websocket-protocol'] = answer.protocol
    if (answer.protocol === '') delete request.headers['sec-websocket-protocol']
    accept.handleUpgrade(request, raw, head, (ws) => {
      const { context } = answer
      const { sendBufferBytesMax } = options
      const socket = new WsSocket(ws, raw, { context, sendBufferBytesMax, onDrain: (each) => handler.onDrain(each) })
      this.#sockets.add(socket)
      this.#attach(ws, socket, handler)
      handler.onOpen(socket)
    })
  }

  #attach(ws: WebSocket, socket: WsSocket<unknown>, handler: EngineHandler<unknown>): void {
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      socket.isAlive = true
      if (socket.isOpen && ws.readyState === WebSocket.OPEN) handler.onMessage(socket, data, isBinary)
    })
    ws.on('pong', () => {
      socket.isAlive = true
    })
    // A protocol fault of the peer (ws closes by itself with the right code), or a broken socket.
    ws.on('error', (error) => {
      socket.closing ??= { code: CLOSE_ABNORMAL, reason: error.message, byBroker: true }
    })
    ws.on('close', (code, reason) => {
      if (!socket.isOpen) return
      socket.isOpen = false
      this.#sockets.delete(socket)
      handler.onClose(socket, socket.closing ?? { code, reason: reason.toString('latin1'), byBroker: false })
    })
  }

  stopListening(): void {
    this.#http?.close()
    this.#http?.closeIdleConnections()
  }

  async close(): Promise<void> {
    const http = this.#http
    if (http === undefined) return
    this.#http = undefined
    this.#stopPings()
    const isClosed = new Promise<void>((resolve) => http.close(() => resolve()))
    for (const socket of this.#sockets) socket.close(CLOSE_GOING_AWAY, 'the broker stops')
    const cancel = this.#timers.after(CLOSE_WAIT_MS, () => {
      for (const socket of this.#sockets) socket.terminate('the broker stops')
      http.closeAllConnections()
    })
    http.closeIdleConnections()
    await isClosed
    cancel()
  }
}

function pathOf(url: string | undefined): string {
  const text = url ?? '/'
  const mark = text.indexOf('?')
  return mark === -1 ? text : text.slice(0, mark)
}

function refuse(raw: Socket, status: number, text: string): void {
  const body = `${text}\n`
  raw.end(
    `HTTP/1.1 ${status} ${STATUS_TEXTS[status] ?? 'Unknown'}\r\nConnection: close\r\n` +
      `Content-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

async function answerHttp(
  request: IncomingMessage,
  response: ServerResponse,
  onHttp: EngineHandler<unknown>['onHttp'],
): Promise<void> {
  let reply: HttpReply
  try {
    const body = await readBody(request)
    if (body === 'too-large') reply = plainReply(413, `a body has at most ${HTTP_BODY_BYTES_MAX} bytes`)
    else
      reply = await onHttp({
        method: request.method ?? 'GET',
        path: pathOf(request.url),
        query: request.url?.includes('?') ? request.url.slice(request.url.indexOf('?') + 1) : '',
        origin: request.headers.origin ?? '',
        authorization: request.headers.authorization ?? '',
        contentType: request.headers['content-type'] ?? '',
        host: request.headers.host ?? '',
        body,
      })
  } catch {
    reply = plainReply(500, 'internal error')
  }
  if (response.destroyed) return
  response.writeHead(reply.status, {
    'Content-Type': reply.contentType,
    'Content-Length': Buffer.byteLength(reply.body),
    ...reply.headers,
    ...(reply.status === 413 ? { Connection: 'close' } : {}),
  })
  response.end(request.method === 'HEAD' ? undefined : reply.body)
}

async function readBody(request: IncomingMessage): Promise<Uint8Array | 'too-large'> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length
    if (bytes > HTTP_BODY_BYTES_MAX) return 'too-large'
    parts.push(part)
  }
  return Buffer.concat(parts)
}
