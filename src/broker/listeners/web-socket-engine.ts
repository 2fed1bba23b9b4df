/**
 * WebSocketEngine: the port to whatever speaks WebSocket and HTTP on one listening socket.
 *
 * Makes       uws-engine (uWebSockets.js, native), ws-engine (the ws package over node:http), in-process/local-engine (no socket)
 * Thread      main; every callback runs on the event loop, none after onClose of its socket
 * Ordering    messages of a socket are handed over and sent in order; a message's fragments are never mixed with another's
 * Limits      messageBytesMax: a larger message closes the socket with 1009. sendBufferBytesMax: a send that finds more than
 *             that unsent is a bug of the caller's accounting and closes the socket with 1013
 * Memory      `bytes` given to onMessage are only valid during the call. Fragments given to send() may be reused when the
 *             answer is 'copied', else when `onWritten` was called: it is called exactly once after 'kept', also on a close
 * Contract    test/contract/websocket-engine.contract.ts
 */

export interface UpgradeRequest {
  readonly path: string
  /** '' when there is none. */
  readonly origin: string
  readonly authorization: string
  /** What the client offers, as sent: comma-separated. */
  readonly protocols: string
  /** The value of Host. */
  readonly host: string
  readonly remoteAddress: string
}

export type UpgradeAnswer<Context> =
  | { readonly kind: 'accept'; readonly context: Context; readonly protocol: string }
  | { readonly kind: 'refuse'; readonly status: number; readonly text: string }

export interface HttpRequest {
  /** Upper case. */
  readonly method: string
  readonly path: string
  /** Without '?'. */
  readonly query: string
  readonly origin: string
  readonly authorization: string
  readonly contentType: string
  readonly host: string
  /** At most HTTP_BODY_BYTES_MAX. */
  readonly body: Uint8Array
}

export interface HttpReply {
  readonly status: number
  readonly contentType: string
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

export const HTTP_BODY_BYTES_MAX = 64 * 1024

export type SendAnswer =
  /** The fragments' memory is free now. */
  | 'copied'
  /** The engine keeps references: onWritten tells when they are free. */
  | 'kept'
  /** The socket is closed, or was closed by this call; nothing is kept. */
  | 'closed'

export interface EngineSocket<Context> {
  readonly context: Context
  /** Bytes given to send() that the kernel has not taken yet. 0 once closed. */
  readonly bufferedBytes: number
  readonly isOpen: boolean
  /** send() may answer 'kept'. */
  readonly keepsFragments: boolean
  readonly remoteAddress: string
  /** Sends one binary message made of `fragments`, at least one. */
  send(fragments: readonly Uint8Array[], onWritten: () => void): SendAnswer
  /** Sends made in `work` leave as few packets as the engine can. */
  cork(work: () => void): void
  /** Closes with a status after what was sent; onClose follows. */
  close(code: number, reason: string): void
}

/** How a socket ended: what was sent or received in a close frame, or 1006 and what the engine knows. */
export interface SocketEnd {
  readonly code: number
  readonly reason: string
  /** This end closed or cut it: on close(), or by a rule of the engine (silent too long, message too large, bytes that break the protocol). */
  readonly byBroker: boolean
}

export interface EngineHandler<Context> {
  onUpgrade(request: UpgradeRequest): UpgradeAnswer<Context>
  onOpen(socket: EngineSocket<Context>): void
  onMessage(socket: EngineSocket<Context>, bytes: Uint8Array, isBinary: boolean): void
  /** Everything or a part of what was buffered has left; always follows when bufferedBytes was above 0 and all of it leaves. */
  onDrain(socket: EngineSocket<Context>): void
  onClose(socket: EngineSocket<Context>, end: SocketEnd): void
  /** An answer that is an error becomes 500. */
  onHttp(request: HttpRequest): Promise<HttpReply>
}

export interface ListenOptions {
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
  readonly messageBytesMax: number
  readonly sendBufferBytesMax: number
  /** A socket that says nothing for so long, not even a pong, is closed. Seconds, 8 to 960. */
  readonly idleSeconds: number
}

export interface WebSocketEngine {
  /** `local` has no socket: the clients are in the same process. */
  readonly name: 'uws' | 'ws' | 'local'
  /** Resolves with the port; rejects with an Error that has a system `code` (EADDRINUSE …) where it is known. */
  listen<Context>(options: ListenOptions, handler: EngineHandler<Context>): Promise<number>
  /** Takes no new connections; those that are open go on. */
  stopListening(): void
  /** Closes every socket (1001) and the listener; onClose is called for each. */
  close(): Promise<void>
}

/** Bytes of a text answer to a refused upgrade and the like. */
export function plainReply(status: number, text: string): HttpReply {
  return { status, contentType: 'text/plain; charset=utf-8', body: `${text}\n` }
}

export const STATUS_TEXTS: Readonly<Record<number, string>> = {
  200: 'OK',
  201: 'Created',
  204: 'No Content',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  413: 'Payload Too Large',
  415: 'Unsupported Media Type',
  426: 'Upgrade Required',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
}
