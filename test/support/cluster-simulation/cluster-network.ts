/**
 * ClusterNetwork: hosts and the connections between them: the brokers' engine port and everybody's transport port, joined by
 * VirtualTime. Between any two hosts the way can be closed in one direction or both.
 *
 * Ordering  what is sent over one connection arrives in order, each after a drawn delay. What cannot arrive waits, as a kernel sends it
 *           again and again, and arrives in that order when the way is open
 * Death     a process that is gone: its connections are reset, unless nothing of its host gets through; then, and where the machine has
 *           no power, the other end hears only silence, until something of it reaches the host and is answered by a reset
 * Refusal   a host that is up and has no listener refuses (`isRefused`); one that is off or cut away does not answer
 * Stopped   a stopped process hears nothing until it goes on; its host's kernel takes connections for it all the same
 */
import type {
  EngineHandler,
  EngineSocket,
  ListenOptions,
  SendAnswer,
} from '../../../src/broker/listeners/web-socket-engine.ts'
import type {
  Transport,
  TransportConnection,
  TransportHandlers,
  TransportOptions,
} from '../../../src/transport/transport.ts'
import type { SimulatedEngine } from '../simulation/simulated-network.ts'
import type { SimulatedProcess } from '../simulation/simulated-process.ts'
import type { VirtualTime } from '../simulation/virtual-time.ts'

export interface ClusterNetworkFaults {
  delayMsMin: number
  delayMsMax: number
}

interface Closing {
  readonly code: number
  readonly text: string
  readonly isRefused?: boolean
  readonly httpStatus?: number
}

const RESET: Closing = { code: 1006, text: 'the connection was reset' }

/** One end of a connection. */
class End {
  isOpen = true
  /** Bytes sent from here that have not arrived. */
  bufferedBytes = 0
  onMessage: (bytes: Uint8Array) => void = () => {}
  onClosed: (closing: Closing) => void = () => {}
  readonly host: string
  /** None before the connection has reached it, and of clients, which nothing stops. */
  process: SimulatedProcess | undefined

  constructor(host: string, process: SimulatedProcess | undefined) {
    this.host = host
    this.process = process
  }

  /** Its program hears of it, if there is still one. */
  close(closing: Closing): void {
    if (!this.isOpen) return
    this.isOpen = false
    enter(this.process, () => this.onClosed(closing))
  }
}

/** One direction of a connection. */
class Lane {
  readonly #network: ClusterNetwork
  readonly #from: string
  readonly #to: string
  readonly #queue: (() => void)[] = []
  #arrivalMs = 0
  /** Due, and kept from arriving. */
  #held = 0

  constructor(network: ClusterNetwork, from: string, to: string) {
    this.#network = network
    this.#from = from
    this.#to = to
  }

  deliver(label: string, run: () => void): void {
    this.#queue.push(run)
    this.#schedule(label)
  }

  /** The way is open, perhaps. */
  flow(): void {
    if (this.#held === 0 || this.#network.isCut(this.#from, this.#to)) return
    const held = this.#held
    this.#held = 0
    for (let count = 0; count < held; count++) this.#schedule('again')
  }

  #schedule(label: string): void {
    const { time, faults } = this.#network
    const now = time.monotonicMs()
    const drawn = now + faults.delayMsMin + time.prng.unit() * (faults.delayMsMax - faults.delayMsMin)
    // Strictly after the message before it: events of one instant run in any order.
    this.#arrivalMs = Math.max(drawn, this.#arrivalMs + 0.001)
    time.after(this.#arrivalMs - now, label, () => {
      if (this.#network.isCut(this.#from, this.#to)) this.#held++
      else this.#queue.shift()!()
    })
  }
}

class Link {
  readonly client: End
  readonly server: End
  readonly toServer: Lane
  readonly toClient: Lane

  constructor(network: ClusterNetwork, client: End, server: End) {
    this.client = client
    this.server = server
    this.toServer = new Lane(network, client.host, server.host)
    this.toClient = new Lane(network, server.host, client.host)
  }

  get isOver(): boolean {
    return !this.client.isOpen && !this.server.isOpen
  }

  /** What is sent from one end; an end that is closed answers with a reset. */
  send(from: End, bytes: Uint8Array, arrived: () => void): void {
    const [to, lane, back] = this.#wayFrom(from)
    from.bufferedBytes += bytes.length
    lane.deliver('message', () => {
      from.bufferedBytes -= bytes.length
      if (!to.isOpen) return back.deliver('reset', () => from.close(RESET))
      enter(to.process, () => {
        if (to.isOpen) to.onMessage(bytes)
      })
      arrived()
    })
  }

  /** One end closes at once, the other when it hears of it. */
  end(from: End, closing: Closing): void {
    const [to, lane] = this.#wayFrom(from)
    from.close(closing)
    lane.deliver('closing', () => to.close(closing))
  }

  #wayFrom(from: End): readonly [End, Lane, Lane] {
    if (from === this.client) return [this.server, this.toServer, this.toClient]
    return [this.client, this.toClient, this.toServer]
  }
}

interface Listener {
  readonly process: SimulatedProcess
  accept(link: Link, options: TransportOptions, opened: () => void): void
}

export class ClusterNetwork {
  readonly faults: ClusterNetworkFaults = { delayMsMin: 0.05, delayMsMax: 0.5 }
  readonly time: VirtualTime
  readonly #listeners = new Map<string, Listener>()
  /** 'from>to'. */
  readonly #cuts = new Set<string>()
  readonly #off = new Set<string>()
  #links: Link[] = []
  #swept = 0

  constructor(time: VirtualTime) {
    this.time = time
  }

  isCut(from: string, to: string): boolean {
    return this.#off.has(from) || this.#off.has(to) || this.#cuts.has(`${from}>${to}`)
  }

  /** Nothing of `from` reaches `to`. */
  cutOneWay(from: readonly string[], to: readonly string[]): void {
    for (const one of from) for (const other of to) if (one !== other) this.#cuts.add(`${one}>${other}`)
  }

  cut(one: readonly string[], other: readonly string[]): void {
    this.cutOneWay(one, other)
    this.cutOneWay(other, one)
  }

  heal(): void {
    this.#cuts.clear()
    this.#flow()
  }

  powerOff(host: string): void {
    this.#off.add(host)
  }

  powerOn(host: string): void {
    this.#off.delete(host)
    this.#flow()
  }

  /** Connections of now are reset at both ends. */
  resetAll(): void {
    for (const link of this.#links) {
      link.end(link.client, RESET)
      link.end(link.server, RESET)
    }
  }

  #flow(): void {
    for (const { toServer, toClient } of this.#links) {
      toServer.flow()
      toClient.flow()
    }
  }

  #newLink(client: End, server: End): Link {
    const link = new Link(this, client, server)
    // Links whose ends are both closed still carry what is under way; they are let go in bulk.
    if (this.#links.length > 2 * this.#swept + 64) {
      this.#links = this.#links.filter(({ isOver }) => !isOver)
      this.#swept = this.#links.length
    }
    this.#links.push(link)
    return link
  }

  /** A broker's door. */
  engine(host: string, process: SimulatedProcess): SimulatedEngine {
    const network = this
    const stop = (): void => {
      if (network.#listeners.get(host)?.process === process) network.#listeners.delete(host)
    }
    return {
      name: 'ws',
      port: 0,
      die() {
        stop()
        for (const link of network.#links)
          for (const end of [link.client, link.server]) if (end.process === process && end.isOpen) link.end(end, RESET)
      },
      async listen<Context>(options: ListenOptions, handler: EngineHandler<Context>): Promise<number> {
        this.port = options.port
        network.#listeners.set(host, {
          process,
          accept: (link, request, opened) => accept(link, { request, handler, options, opened }),
        })
        return options.port
      },
      stopListening: stop,
      async close() {
        stop()
        for (const link of network.#links)
          if (link.server.process === process && link.server.isOpen)
            link.end(link.server, { code: 1001, text: 'going away' })
      },
    }
  }

  /** What a program on `host` connects with. */
  transport(host: string, process?: SimulatedProcess): Transport {
    return { connect: (url, options, handlers) => this.#connect({ host, process }, url, options, handlers) }
  }

  #connect(
    from: { readonly host: string; readonly process: SimulatedProcess | undefined },
    url: string,
    options: TransportOptions,
    handlers: TransportHandlers,
  ): TransportConnection {
    const to = new URL(url).hostname
    const client = new End(from.host, from.process)
    const server = new End(to, undefined)
    const link = this.#newLink(client, server)
    let isConnected = false
    client.onMessage = (bytes) => handlers.onMessage(bytes)
    client.onClosed = (closing) =>
      void this.time.after(0, 'closed', () => enter(from.process, () => handlers.onClose(closing)))
    link.toServer.deliver('connect', () =>
      this.#arrive(link, url, options, () => {
        isConnected = true
        handlers.onOpen()
      }),
    )
    this.time.after(options.connectTimeoutMs, 'connect timeout', () => {
      if (!isConnected) client.close({ code: 1006, text: `${url} does not answer` })
    })
    return {
      send: (parts, done) => {
        if (client.isOpen) link.send(client, concatenated(parts), () => {})
        done?.()
      },
      get bufferedBytes() {
        return client.bufferedBytes
      },
      messageStalledMs: 0,
      close: (code, text) => link.end(client, { code, text }),
      terminate: () => link.end(client, { code: 1006, text: 'terminated' }),
    }
  }

  #arrive(link: Link, url: string, options: TransportOptions, opened: () => void): void {
    if (!link.client.isOpen) return
    const listener = this.#listeners.get(link.server.host)
    if (listener === undefined) {
      link.server.isOpen = false
      const refusal = { code: 1006, text: `nobody listens at ${url}`, isRefused: true }
      link.toClient.deliver('refused', () => link.client.close(refusal))
      return
    }
    link.server.process = listener.process
    listener.process.deliver(() => listener.accept(link, options, opened))
  }
}

interface Accepting<Context> {
  readonly request: TransportOptions
  readonly handler: EngineHandler<Context>
  readonly options: ListenOptions
  readonly opened: () => void
}

/** In the broker's process: the upgrade, and the socket. */
function accept<Context>(link: Link, { request, handler, options, opened }: Accepting<Context>): void {
  const { server, client } = link
  if (!server.isOpen) return
  const answer = handler.onUpgrade({
    ...{ path: '/', origin: '', protocols: 'millrace.v1', host: '127.0.0.1', remoteAddress: '127.0.0.1' },
    authorization: request.token === undefined ? '' : `Bearer ${request.token}`,
  })
  if (answer.kind === 'refuse') {
    server.isOpen = false
    const refusal = { code: 1006, text: answer.text, httpStatus: answer.status }
    link.toClient.deliver('refused', () => client.close(refusal))
    return
  }
  const socket = socketOf(link, answer.context, () => handler.onDrain(socket))
  server.onClosed = ({ code, text }) => handler.onClose(socket, { code, reason: text, byBroker: false })
  server.onMessage = (bytes) => {
    if (bytes.length > options.messageBytesMax) link.end(server, { code: 1009, text: 'message too large' })
    else handler.onMessage(socket, bytes, true)
  }
  handler.onOpen(socket)
  link.toClient.deliver('open', () =>
    enter(client.process, () => {
      if (client.isOpen) opened()
    }),
  )
}

function socketOf<Context>(link: Link, context: Context, onDrain: () => void): EngineSocket<Context> {
  const { server } = link
  return {
    context,
    remoteAddress: '127.0.0.1',
    keepsFragments: false,
    get bufferedBytes() {
      return server.isOpen ? server.bufferedBytes : 0
    },
    get isOpen() {
      return server.isOpen
    },
    send(fragments: readonly Uint8Array[]): SendAnswer {
      if (!server.isOpen) return 'closed'
      link.send(server, concatenated(fragments), () =>
        enter(server.process, () => {
          if (server.isOpen) onDrain()
        }),
      )
      return 'copied'
    },
    cork: (work) => work(),
    close: (code, text) => link.end(server, { code, text }),
  }
}

function enter(process: SimulatedProcess | undefined, run: () => void): void {
  if (process === undefined) run()
  else process.deliver(run)
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
