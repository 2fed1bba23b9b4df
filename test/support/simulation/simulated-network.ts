/**
 * SimulatedNetwork: WebSocket without sockets: the broker's engine port and the client's transport port, joined by
 * VirtualTime. Messages of one connection arrive in order, each after a drawn delay; a connection can be cut at any moment,
 * and then whatever is under way is lost, in both directions.
 *
 * Memory   like uWebSockets.js it copies on send; like every network it hands over bytes that the receiver may keep
 * Faults   cutAll, cutChance per message, delay bounds; a listener that is closed refuses connections
 */
import type {
  EngineHandler,
  EngineSocket,
  ListenOptions,
  SendAnswer,
  WebSocketEngine,
} from '../../../src/broker/listeners/web-socket-engine.ts'
import type {
  Transport,
  TransportClose,
  TransportConnection,
  TransportHandlers,
  TransportOptions,
} from '../../../src/transport/transport.ts'
import type { VirtualTime } from './virtual-time.ts'

export interface NetworkFaults {
  delayMsMin: number
  delayMsMax: number
  /** Chance that a message's arrival cuts its connection instead, 0 to 1. */
  cutChance: number
}

/** One direction of a connection: keeps messages in order whatever their delays. */
class Lane {
  #arrivalMs = 0
  readonly #time: VirtualTime
  readonly #faults: NetworkFaults

  constructor(time: VirtualTime, faults: NetworkFaults) {
    this.#time = time
    this.#faults = faults
  }

  deliver(label: string, run: () => void): void {
    const { delayMsMin, delayMsMax } = this.#faults
    const now = this.#time.monotonicMs()
    const drawn = now + delayMsMin + this.#time.prng.unit() * (delayMsMax - delayMsMin)
    // Strictly after the message before it: events of one instant run in any order.
    this.#arrivalMs = Math.max(drawn, this.#arrivalMs + 0.001)
    this.#time.after(this.#arrivalMs - now, label, run)
  }
}

class Link {
  readonly toServer: Lane
  readonly toClient: Lane
  isOpen = true
  bufferedToClient = 0
  bufferedToServer = 0
  onCut: (code: number, text: string) => void = () => {}

  constructor(time: VirtualTime, faults: NetworkFaults) {
    this.toServer = new Lane(time, faults)
    this.toClient = new Lane(time, faults)
  }

  cut(code: number, text: string): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.onCut(code, text)
  }
}

interface Listener {
  readonly options: ListenOptions
  accept(link: Link, request: { url: string; options: TransportOptions; handlers: TransportHandlers }): void
}

/** A broker's end of the network. */
export interface SimulatedEngine extends WebSocketEngine {
  port: number
  /** The broker's process is gone: nobody listens, its connections break, and it hears nothing any more. */
  die(): void
}

export class SimulatedNetwork {
  readonly faults: NetworkFaults = { delayMsMin: 0.05, delayMsMax: 0.5, cutChance: 0 }
  readonly #time: VirtualTime
  readonly #listeners = new Map<number, Listener>()
  readonly #links = new Set<Link>()
  /** Links that a living broker has accepted. */
  readonly #servers = new WeakSet<Link>()
  #nextPort = 40_000
  /** Connections that were cut while open. */
  cuts = 0

  constructor(time: VirtualTime) {
    this.#time = time
  }

  /** Breaks every open connection, as a broker's death does. */
  cutAll(): void {
    for (const link of this.#links) this.#cut(link, 'the network was cut')
  }

  /** Forgets a listener without a word, as a broker's death does. */
  dropListener(port: number): void {
    this.#listeners.delete(port)
  }

  #cut(link: Link, text: string): void {
    if (!link.isOpen) return
    this.cuts++
    this.#links.delete(link)
    link.cut(1006, text)
  }

  #carry(link: Link, lane: Lane, label: string, run: () => void): void {
    lane.deliver(label, () => {
      if (!link.isOpen) return
      if (this.faults.cutChance > 0 && this.#time.prng.unit() < this.faults.cutChance) this.#cut(link, 'cut under way')
      else run()
    })
  }

  /** The broker's end. */
  engine(): SimulatedEngine {
    const network = this
    const links = new Set<Link>()
    return {
      name: 'ws',
      port: 0,
      die() {
        network.#listeners.delete(this.port)
        for (const link of links) {
          network.#servers.delete(link)
          network.#links.delete(link)
          link.cut(1006, 'the broker died')
        }
        links.clear()
      },
      async listen<Context>(options: ListenOptions, handler: EngineHandler<Context>): Promise<number> {
        const port = options.port === 0 ? network.#nextPort++ : options.port
        this.port = port
        network.#listeners.set(port, {
          options,
          accept: (link, request) => {
            links.add(link)
            network.#accept(link, request, handler, options, () => links.delete(link))
          },
        })
        return port
      },
      stopListening() {
        network.#listeners.delete(this.port)
      },
      async close() {
        network.#listeners.delete(this.port)
        for (const link of links) {
          network.#links.delete(link)
          link.cut(1001, 'going away')
        }
      },
    }
  }

  #accept<Context>(
    link: Link,
    request: { url: string; options: TransportOptions; handlers: TransportHandlers },
    handler: EngineHandler<Context>,
    options: ListenOptions,
    onGone: () => void,
  ): void {
    const answer = handler.onUpgrade({
      path: '/',
      origin: '',
      authorization: request.options.token === undefined ? '' : `Bearer ${request.options.token}`,
      protocols: 'millrace.v1',
      host: '127.0.0.1',
      remoteAddress: '127.0.0.1',
    })
    if (answer.kind === 'refuse') {
      onGone()
      link.isOpen = false
      this.#links.delete(link)
      this.#time.after(0, 'refused', () =>
        request.handlers.onClose({ code: 1006, text: answer.text, httpStatus: answer.status }),
      )
      return
    }
    const socket = this.#socket(link, request.handlers, answer.context)
    this.#servers.add(link)
    link.onCut = (code, text) => {
      onGone()
      this.#links.delete(link)
      // A dead broker hears nothing.
      const end = { code, reason: text, byBroker: false }
      if (this.#servers.has(link)) this.#time.after(0, 'server-close', () => handler.onClose(socket, end))
      this.#time.after(0, 'client-close', () => request.handlers.onClose({ code, text }))
    }
    handler.onOpen(socket)
    link.toClient.deliver('open', () => {
      if (link.isOpen) request.handlers.onOpen()
    })
    this.#inbound.set(link, (bytes) => {
      if (bytes.length > options.messageBytesMax) link.cut(1009, 'message too large')
      else handler.onMessage(socket, bytes, true)
    })
    this.#drains.set(link, () => handler.onDrain(socket))
  }

  readonly #inbound = new WeakMap<Link, (bytes: Uint8Array) => void>()
  readonly #drains = new WeakMap<Link, () => void>()

  #socket<Context>(link: Link, client: TransportHandlers, context: Context): EngineSocket<Context> {
    const network = this
    return {
      context,
      remoteAddress: '127.0.0.1',
      keepsFragments: false,
      get bufferedBytes() {
        return link.isOpen ? link.bufferedToClient : 0
      },
      get isOpen() {
        return link.isOpen
      },
      send(fragments: readonly Uint8Array[]): SendAnswer {
        if (!link.isOpen) return 'closed'
        const bytes = concatenated(fragments)
        link.bufferedToClient += bytes.length
        network.#carry(link, link.toClient, 'to-client', () => {
          link.bufferedToClient -= bytes.length
          client.onMessage(bytes)
          network.#drains.get(link)?.()
        })
        return 'copied'
      },
      cork: (work) => work(),
      close(code, reason) {
        network.#links.delete(link)
        link.toClient.deliver('closing', () => link.cut(code, reason))
      },
    }
  }

  /** The client's end. */
  transport(): Transport {
    return { connect: (url, options, handlers) => this.#connect(url, options, handlers) }
  }

  #connect(url: string, options: TransportOptions, handlers: TransportHandlers): TransportConnection {
    const link = new Link(this.#time, this.faults)
    const listener = this.#listeners.get(Number(new URL(url).port))
    const closed: TransportClose = { code: 1006, text: `nobody listens at ${url}` }
    if (listener === undefined) {
      link.isOpen = false
      this.#time.after(1, 'no-listener', () => handlers.onClose(closed))
    } else {
      this.#links.add(link)
      link.onCut = (code, text) => void this.#time.after(0, 'client-close', () => handlers.onClose({ code, text }))
      link.toServer.deliver('upgrade', () => {
        if (link.isOpen) listener.accept(link, { url, options, handlers })
      })
    }
    return {
      send: (parts, done) => {
        if (!link.isOpen) return done?.()
        const bytes = concatenated(parts)
        done?.()
        link.bufferedToServer += bytes.length
        this.#carry(link, link.toServer, 'to-server', () => {
          link.bufferedToServer -= bytes.length
          this.#inbound.get(link)?.(bytes)
        })
      },
      get bufferedBytes() {
        return link.bufferedToServer
      },
      close: (code, text) => link.toServer.deliver('close', () => link.cut(code, text)),
      terminate: () => link.cut(1006, 'terminated'),
    }
  }
}

function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}
