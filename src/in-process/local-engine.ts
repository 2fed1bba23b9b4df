/**
 * LocalEngine: connections without sockets: the broker's engine port and the client's transport port, joined in memory. The same
 * frames, credit and backpressure as over a network; messages arrive in later turns, in order. A door to a real engine can be opened
 * beside it.
 *
 * Ordering    both directions of a connection are first in, first out, a close after what was sent before it; nothing is called
 *             within connect(), send() or close()
 * Memory      a message is copied once, when it is sent: the receiver owns its bytes, the sender's are free again (`copied`)
 * Invariants  LE1 each end hears of the connection's end exactly once, and nothing after it
 *             LE2 bufferedBytes is what was sent and has not arrived; the broker is told when it is 0 again (onDrain)
 * Limits      as a listener's: messageBytesMax closes with 1009, sendBufferBytesMax with 1013; the client's own messageBytesMax
 * Failure     nobody serves (not yet, no more, or between a crash and a restart): connections are refused with 1006
 */
import { joinBytes } from '../base/bytes.ts'
import type {
  EngineHandler,
  EngineSocket,
  ListenOptions,
  SendAnswer,
  SocketEnd,
  WebSocketEngine,
} from '../broker/listeners/web-socket-engine.ts'
import { SUBPROTOCOL } from '../protocol/index.ts'
import type {
  Transport,
  TransportClose,
  TransportConnection,
  TransportHandlers,
  TransportOptions,
} from '../transport/transport.ts'

const CLOSE_GOING_AWAY = 1001
const CLOSE_ABNORMAL = 1006
const CLOSE_TOO_LARGE = 1009
const CLOSE_TRY_AGAIN_LATER = 1013

/** What the client's address is called where a network would have one. */
export const LOCAL_URL = 'ws://in-process'
const LOCAL_ADDRESS = 'in-process'

export type LocalLimits = Pick<ListenOptions, 'messageBytesMax' | 'sendBufferBytesMax'>

interface Server {
  readonly handler: EngineHandler<unknown>
  readonly limits: LocalLimits
}

export interface LocalEngineOptions {
  /** Runs a task in a later turn; tasks stay in order. */
  readonly soon: (task: () => void) => void
  /** Makes the engine of a door, when one is asked for. */
  readonly makeDoor: () => Promise<WebSocketEngine>
}

export class LocalEngine implements WebSocketEngine {
  readonly name = 'local'
  readonly #options: LocalEngineOptions
  readonly #connections = new Set<LocalConnection>()
  #server: Server | undefined
  #door: WebSocketEngine | undefined

  constructor(options: LocalEngineOptions) {
    this.#options = options
  }

  /** From here on clients of this process may connect. */
  serve<Context>(handler: EngineHandler<Context>, limits: LocalLimits): void {
    this.#server = { handler: handler as EngineHandler<unknown>, limits }
  }

  /** Opens the door. */
  async listen<Context>(options: ListenOptions, handler: EngineHandler<Context>): Promise<number> {
    const door = await this.#options.makeDoor()
    const port = await door.listen(options, handler)
    this.#door = door
    return port
  }

  stopListening(): void {
    this.#door?.stopListening()
  }

  async close(): Promise<void> {
    this.#server = undefined
    const door = this.#door
    this.#door = undefined
    const ended = [...this.#connections].map((connection) => connection.hasEnded)
    for (const connection of this.#connections) connection.socket.close(CLOSE_GOING_AWAY, 'the broker stops')
    await Promise.all([...ended, door?.close()])
  }

  /** Every connection breaks, as by a network's fault: both ends hear of it, and what was under way is lost. */
  cutConnections(): void {
    for (const connection of this.#connections) connection.cut('the connection was cut', true)
  }

  /** The broker is gone at once: nobody serves, clients hear of broken connections, the broker of nothing. */
  die(): void {
    this.#server = undefined
    for (const connection of this.#connections) connection.cut('the broker died', false)
    void this.#door?.close()
    this.#door = undefined
  }

  /** The clients' end; the URL is not looked at. */
  get transport(): Transport {
    return { connect: (_url, options, handlers) => this.#connect(options, handlers) }
  }

  #connect(options: TransportOptions, handlers: TransportHandlers): TransportConnection {
    const { soon } = this.#options
    const connection = new LocalConnection({
      ...{ options, handlers, soon },
      onEnd: () => this.#connections.delete(connection),
    })
    this.#connections.add(connection)
    soon(() => connection.open(this.#server))
    return connection
  }
}

interface LocalConnectionOptions {
  readonly options: TransportOptions
  readonly handlers: TransportHandlers
  readonly soon: (task: () => void) => void
  readonly onEnd: () => void
}

/** Both ends of one connection; itself the client's. */
class LocalConnection implements TransportConnection {
  readonly socket: LocalSocket
  readonly hasEnded: Promise<void>
  isOpen = true
  toClientBytes = 0
  #toServerBytes = 0
  #server: Server | undefined
  readonly #client: LocalConnectionOptions
  #setEnded = () => {}

  constructor(client: LocalConnectionOptions) {
    this.#client = client
    this.socket = new LocalSocket(this)
    this.hasEnded = new Promise((resolve) => {
      this.#setEnded = resolve
    })
  }

  get limits(): LocalLimits {
    return this.#server!.limits
  }

  /** The server's answer to the handshake. */
  open(server: Server | undefined): void {
    if (!this.isOpen) return
    const { options, handlers, soon } = this.#client
    if (server === undefined) {
      this.#finish(undefined, { code: CLOSE_ABNORMAL, text: 'no broker serves in this process', isRefused: true })
      return
    }
    const answer = server.handler.onUpgrade({
      ...{ path: '/', origin: '', protocols: SUBPROTOCOL, host: LOCAL_ADDRESS, remoteAddress: LOCAL_ADDRESS },
      authorization: options.token === undefined ? '' : `Bearer ${options.token}`,
    })
    if (answer.kind === 'refuse') {
      const { status: httpStatus, text } = answer
      this.#finish(undefined, { code: CLOSE_ABNORMAL, text, httpStatus })
      return
    }
    this.#server = server
    this.socket.context = answer.context
    server.handler.onOpen(this.socket)
    soon(() => {
      if (this.isOpen) handlers.onOpen()
    })
  }

  // --- the client's end

  get bufferedBytes(): number {
    return this.#toServerBytes
  }

  send(parts: readonly Uint8Array[], done?: () => void): void {
    const { soon } = this.#client
    if (this.isOpen) {
      // Of its own: parts lie in buffers that are used again, fragments in shared pages.
      const bytes = joinBytes(parts)
      this.#toServerBytes += bytes.length
      soon(() => this.#toServer(bytes))
    }
    if (done !== undefined) soon(done)
  }

  close(code: number, text: string): void {
    this.#client.soon(() => this.end({ code, reason: text, byBroker: false }))
  }

  terminate(): void {
    this.cut('the connection was dropped', true)
  }

  // --- what both ends do

  #toServer(bytes: Uint8Array): void {
    if (!this.isOpen) return
    this.#toServerBytes -= bytes.length
    const { handler, limits } = this.#server!
    if (bytes.length > limits.messageBytesMax)
      this.end({ code: CLOSE_TOO_LARGE, reason: 'message too large', byBroker: true })
    else handler.onMessage(this.socket, bytes, true)
  }

  /** What the broker sends. */
  toClient(bytes: Uint8Array): void {
    const { soon, options, handlers } = this.#client
    this.toClientBytes += bytes.length
    soon(() => {
      if (!this.isOpen) return
      this.toClientBytes -= bytes.length
      if (bytes.length > options.messageBytesMax) {
        this.end({ code: CLOSE_TOO_LARGE, reason: 'the broker sent a message that is too large', byBroker: false })
        return
      }
      handlers.onMessage(bytes)
      if (this.isOpen && this.toClientBytes === 0) this.#server?.handler.onDrain(this.socket)
    })
  }

  /** After all that was sent before. */
  endSoon(end: SocketEnd): void {
    this.#client.soon(() => this.end(end))
  }

  end(end: SocketEnd): void {
    this.#finish(end, { code: end.code, text: end.reason })
  }

  cut(text: string, isServerTold: boolean): void {
    const end = isServerTold ? { code: CLOSE_ABNORMAL, reason: text, byBroker: false } : undefined
    this.#finish(end, { code: CLOSE_ABNORMAL, text })
  }

  #finish(server: SocketEnd | undefined, client: TransportClose): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.toClientBytes = 0
    this.#toServerBytes = 0
    const { soon, handlers, onEnd } = this.#client
    onEnd()
    soon(() => {
      // Where the handshake did not come to its end there is no socket that could close.
      if (server !== undefined && this.#server !== undefined) this.#server.handler.onClose(this.socket, server)
      this.#setEnded()
      handlers.onClose(client)
    })
  }
}

/** The broker's end. */
class LocalSocket implements EngineSocket<unknown> {
  context: unknown
  readonly keepsFragments = false
  readonly remoteAddress = LOCAL_ADDRESS
  readonly #connection: LocalConnection

  constructor(connection: LocalConnection) {
    this.#connection = connection
  }

  get bufferedBytes(): number {
    return this.#connection.toClientBytes
  }

  get isOpen(): boolean {
    return this.#connection.isOpen
  }

  send(fragments: readonly Uint8Array[]): SendAnswer {
    const connection = this.#connection
    if (!connection.isOpen) return 'closed'
    if (connection.toClientBytes > connection.limits.sendBufferBytesMax) {
      this.close(CLOSE_TRY_AGAIN_LATER, 'the send buffer is full')
      return 'closed'
    }
    connection.toClient(joinBytes(fragments))
    return 'copied'
  }

  cork(work: () => void): void {
    work()
  }

  close(code: number, reason: string): void {
    this.#connection.endSoon({ code, reason, byBroker: true })
  }
}
