/**
 * StreamEngine: the port to a listening socket whose connections are plain byte streams.
 *
 * Makes       tcp-engine (node:net)
 * Thread      main; every callback runs on the event loop, none after onClose of its socket
 * Memory      a chunk given to onBytes, a Uint8Array and no Buffer, belongs to the receiver, which may give it back by release(), or leave it to the garbage collector. Fragments
 *             given to send() as in web-socket-engine.ts
 * Ordering    after pause() at most what was read before it still comes; bytes are handed over and sent in order
 * Limits      sendBufferBytesMax: a send that finds more than that unsent is a bug of the caller's accounting and cuts the socket
 */
import type { EngineSocket, SocketEnd } from './web-socket-engine.ts'

export interface StreamSocket<Context> extends EngineSocket<Context> {
  /** The address of this machine that the peer connected to. */
  readonly localAddress: string
  /** Reads no more until resume(): what the peer sends fills its own buffers. */
  pause(): void
  resume(): void
  /** Nobody looks at the chunk any more: its memory is free at once. It, and every view of it, may be empty from now on. */
  release(chunk: Uint8Array): void
}

export interface StreamHandler<Context> {
  /** What the connection is to the handler; undefined refuses it: the socket is closed. */
  onConnect(remoteAddress: string): Context | undefined
  onOpen(socket: StreamSocket<Context>): void
  onBytes(socket: StreamSocket<Context>, chunk: Uint8Array): void
  /** Nothing came or went for idleMs: whether that is a reason to close it. */
  isIdle(socket: StreamSocket<Context>): boolean
  /** All of what was buffered has left. */
  onDrain(socket: StreamSocket<Context>): void
  onClose(socket: StreamSocket<Context>, end: SocketEnd): void
}

export interface StreamListenOptions {
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
  readonly sendBufferBytesMax: number
  /** A socket on which nothing comes or goes for so long is closed, unless the handler says that it is not idle. */
  readonly idleMs: number
}

export interface StreamEngine {
  /** Resolves with the port; rejects with an Error that has a system `code` (EADDRINUSE …). */
  listen<Context>(options: StreamListenOptions, handler: StreamHandler<Context>): Promise<number>
  /** Takes no new connections; those that are open go on. */
  stopListening(): void
  /** Ends every socket after what was sent to it, and the listener; onClose is called for each. */
  close(): Promise<void>
}
