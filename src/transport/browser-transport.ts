/**
 * The transport of a browser (or any platform with a global WebSocket). A message's parts are joined by one copy: the
 * platform's `send` takes one buffer and copies it anyway. Headers cannot be set here, so the token travels in the hello.
 */
import { joinBytes } from '../base/bytes.ts'
import {
  SUBPROTOCOL,
  type Transport,
  type TransportConnection,
  type TransportHandlers,
  type TransportOptions,
} from './transport.ts'

/** The part of the platform's WebSocket that is used. */
interface PlatformWebSocket {
  binaryType: string
  readonly readyState: number
  readonly bufferedAmount: number
  onopen: (() => void) | null
  onclose: ((event: { code: number; reason: string }) => void) | null
  onmessage: ((event: { data: unknown }) => void) | null
  onerror: (() => void) | null
  send(bytes: Uint8Array): void
  close(code?: number, reason?: string): void
}
export type PlatformWebSocketMake = new (url: string, protocol: string) => PlatformWebSocket

const OPEN = 1

class BrowserConnection implements TransportConnection {
  readonly #socket: PlatformWebSocket
  #closed = false
  readonly #handlers: TransportHandlers

  constructor(Make: PlatformWebSocketMake, url: string, options: TransportOptions, handlers: TransportHandlers) {
    this.#handlers = handlers
    const socket = new Make(url, SUBPROTOCOL)
    this.#socket = socket
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => handlers.onOpen()
    socket.onerror = () => {} // always followed by close, which carries what little is known
    socket.onclose = (event) => this.#end(event.code, event.reason || 'the connection broke')
    socket.onmessage = (event) => {
      if (!(event.data instanceof ArrayBuffer) || event.data.byteLength > options.messageBytesMax) {
        socket.close(1000)
        this.#end(1009, 'the broker sent a message that is text or too large')
        return
      }
      if (!this.#closed) handlers.onMessage(new Uint8Array(event.data))
    }
  }

  #end(code: number, text: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#handlers.onClose({ code, text })
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }

  send(parts: readonly Uint8Array[], done?: () => void): void {
    if (this.#socket.readyState === OPEN) this.#socket.send(parts.length === 1 ? parts[0]! : joinBytes(parts))
    if (done !== undefined) queueMicrotask(done)
  }

  close(_code: number, text: string): void {
    this.#socket.close(1000, text.slice(0, 40)) // browsers allow 1000 and 3000 to 4999 only, and 123 bytes of text
  }

  terminate(): void {
    this.#socket.close()
    queueMicrotask(() => this.#end(1006, 'the connection was dropped'))
  }
}

/** A transport over `Make`, by default the platform's WebSocket. */
export function browserTransport(
  Make: PlatformWebSocketMake = (globalThis as unknown as { WebSocket: PlatformWebSocketMake }).WebSocket,
): Transport {
  return { connect: (url, options, handlers) => new BrowserConnection(Make, url, options, handlers) }
}
