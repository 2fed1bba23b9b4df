/**
 * TcpEngine: StreamEngine over node:net. Replies of a turn leave by one writev; pages are given back in its callback.
 *
 * Memory   node:net has a new buffer of 64 KiB for every read: a producer's gigabyte is 16,000 of them, cold memory each, and a garbage collection
 *          for every 32 MiB. A buffer that is done with is transferred to a port that is closed (structured clone: what is transferred is
 *          gone from here, and there is nobody there), so that its memory is free at once and the next read has it again, warm
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import type { Timers } from '../timers.ts'
import type { StreamEngine, StreamHandler, StreamListenOptions, StreamSocket } from './stream-engine.ts'
import type { SendAnswer, SocketEnd } from './web-socket-engine.ts'

/** What a peer that does not read has until the socket is cut, once it is to be closed. */
const CLOSE_WAIT_MS = 1_000
const CODE_CUT = 1006
/** Smaller ones are left to the garbage collector: a transfer costs about as much as it does for them. */
const RELEASED_BYTES_MIN = 16 * 1024

/** It is closed: what is sent to it is freed. */
const nowhere = closedPort()

function closedPort(): MessagePort {
  const { port1 } = new MessageChannel()
  port1.close()
  return port1
}

interface SocketOptions<Context> {
  readonly context: Context
  readonly sendBufferBytesMax: number
  readonly timers: Timers
  readonly onDrain: (socket: TcpSocket<Context>) => void
}

class TcpSocket<Context> implements StreamSocket<Context> {
  readonly context: Context
  readonly keepsFragments = true
  readonly remoteAddress: string
  readonly localAddress: string
  isOpen = true
  closing: SocketEnd | undefined
  readonly #raw: Socket
  readonly #options: SocketOptions<Context>

  constructor(raw: Socket, options: SocketOptions<Context>) {
    this.context = options.context
    this.remoteAddress = plainAddress(raw.remoteAddress)
    this.localAddress = plainAddress(raw.localAddress)
    this.#raw = raw
    this.#options = options
  }

  get bufferedBytes(): number {
    return this.isOpen ? this.#raw.writableLength : 0
  }

  send(fragments: readonly Uint8Array[], onWritten: () => void): SendAnswer {
    const raw = this.#raw
    if (!this.isOpen || this.closing !== undefined || raw.destroyed) return 'closed'
    if (raw.writableLength > this.#options.sendBufferBytesMax) {
      this.cut('the send buffer is full')
      return 'closed'
    }
    const last = fragments.length - 1
    raw.cork()
    for (let index = 0; index < last; index++) raw.write(fragments[index]!)
    // Writes of a socket complete in order, with an error too: the last one's callback covers all.
    raw.write(fragments[last]!, () => {
      onWritten()
      if (this.isOpen && raw.writableLength === 0) this.#options.onDrain(this)
    })
    raw.uncork()
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

  pause(): void {
    this.#raw.pause()
  }

  resume(): void {
    this.#raw.resume()
  }

  release(chunk: Uint8Array): void {
    const { buffer } = chunk
    // What is part of a larger buffer has neighbours.
    if (chunk.length < RELEASED_BYTES_MIN || chunk.length !== buffer.byteLength) return
    if (buffer instanceof ArrayBuffer) nowhere.postMessage(null, [buffer])
  }

  close(code: number, reason: string): void {
    if (!this.isOpen || this.closing !== undefined) return
    this.closing = { code, reason, byBroker: true }
    this.#raw.end()
    // What the peer still sends must be read, or its end is never seen.
    this.#raw.resume()
    this.#options.timers.after(CLOSE_WAIT_MS, () => this.#raw.destroy())
  }

  cut(reason: string): void {
    this.closing ??= { code: CODE_CUT, reason, byBroker: true }
    this.#raw.destroy()
  }
}

/** On a socket that takes both families IPv4 is ::ffff:a.b.c.d. */
function plainAddress(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.)/, '')
}

export class TcpEngine implements StreamEngine {
  readonly #timers: Timers
  readonly #sockets = new Set<TcpSocket<unknown>>()
  #server: Server | undefined

  constructor(timers: Timers) {
    this.#timers = timers
  }

  async listen<Context>(options: StreamListenOptions, handler: StreamHandler<Context>): Promise<number> {
    const server = createServer({ noDelay: true, keepAlive: true }, (raw) =>
      this.#onConnection(raw, options, handler as StreamHandler<unknown>),
    )
    this.#server = server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host: options.host, port: options.port, backlog: 4096 }, () => {
        server.off('error', reject)
        // An accept that fails (out of descriptors) costs that connection, not the broker.
        server.on('error', () => {})
        resolve()
      })
    })
    return (server.address() as AddressInfo).port
  }

  #onConnection(raw: Socket, options: StreamListenOptions, handler: StreamHandler<unknown>): void {
    const context: unknown = handler.onConnect(raw.remoteAddress ?? '')
    if (context === undefined) {
      raw.on('error', () => {})
      raw.destroy()
      return
    }
    const { sendBufferBytesMax } = options
    const onDrain = (each: TcpSocket<unknown>) => handler.onDrain(each)
    const socket = new TcpSocket<unknown>(raw, { context, sendBufferBytesMax, timers: this.#timers, onDrain })
    this.#sockets.add(socket)
    let fault = ''
    raw.setTimeout(options.idleMs, () => {
      if (socket.isOpen && handler.isIdle(socket)) socket.cut(`silent for ${options.idleMs} ms`)
    })
    raw.on('data', ({ buffer, byteOffset, length }: Buffer) => {
      if (!socket.isOpen || socket.closing !== undefined) return
      // No Buffer: its slice() is a view, where that of a Uint8Array is a copy, which outlives release().
      handler.onBytes(socket, new Uint8Array(buffer, byteOffset, length))
    })
    raw.on('error', (error) => {
      fault = error.message
    })
    raw.on('close', () => {
      if (!socket.isOpen) return
      socket.isOpen = false
      this.#sockets.delete(socket)
      handler.onClose(socket, socket.closing ?? { code: CODE_CUT, reason: fault, byBroker: false })
    })
    handler.onOpen(socket)
  }

  stopListening(): void {
    this.#server?.close()
  }

  async close(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const isClosed = new Promise<void>((resolve) => server.close(() => resolve()))
    for (const socket of this.#sockets) socket.close(CODE_CUT, 'the broker stops')
    await isClosed
  }
}
