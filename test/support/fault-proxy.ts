/**
 * FaultProxy: a TCP relay between clients and a broker that does to a connection what networks do: cuts it in the middle of a frame,
 * holds back what goes to either side, and delivers late what a client has long given up (its requests reach the broker after
 * the ones it sent again on another connection).
 *
 * Owns     every socket it made; close() ends them
 * Limits   what is held lies in memory: a client sends no more than the credit it was granted
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export class FaultProxy {
  readonly #server: Server
  readonly #targetPort: number
  readonly #links = new Set<Link>()
  accepted = 0
  #isRefusing = false

  private constructor(server: Server, targetPort: number) {
    this.#server = server
    this.#targetPort = targetPort
    server.on('connection', (client) => {
      if (this.#isRefusing) {
        client.destroy()
        return
      }
      this.accepted++
      const link = new Link(client, connect({ host: '127.0.0.1', port: this.#targetPort }), () =>
        this.#links.delete(link),
      )
      this.#links.add(link)
    })
  }

  /** Relays to a port of this machine. */
  static start(targetPort: number): Promise<FaultProxy> {
    const server = createServer({ allowHalfOpen: true })
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(0, '127.0.0.1', () => resolve(new FaultProxy(server, targetPort)))
    })
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get links(): readonly Link[] {
    return [...this.#links]
  }

  /** Cuts every connection and lets no new one in, until admit(). */
  refuse(): void {
    this.#isRefusing = true
    for (const link of this.#links) link.cut()
  }

  admit(): void {
    this.#isRefusing = false
  }

  close(): void {
    this.#server.close()
    for (const link of this.#links) link.cut()
  }
}

/** One connection through the proxy. */
export class Link {
  readonly #client: Socket
  readonly #broker: Socket
  readonly #onEnd: () => void
  #isHeldForward = false
  #isHeldBack = false
  /** To the broker, while it is held; what the client sent before it gave up is delivered all the same. */
  #forward: Buffer[] = []
  #back: Buffer[] = []
  #clientIsGone = false

  constructor(client: Socket, broker: Socket, onEnd: () => void) {
    this.#client = client
    this.#broker = broker
    this.#onEnd = onEnd
    for (const socket of [client, broker]) socket.setNoDelay(true)
    client.on('data', (bytes: Buffer) => {
      if (this.#isHeldForward) this.#forward.push(bytes)
      else broker.write(bytes)
    })
    broker.on('data', (bytes: Buffer) => {
      if (this.#isHeldBack) this.#back.push(bytes)
      else if (!this.#clientIsGone) client.write(bytes)
    })
    client.on('error', () => {})
    broker.on('error', () => {})
    client.on('close', () => this.#onClientGone())
    client.on('end', () => this.#onClientGone())
    broker.on('close', () => this.cut())
    broker.on('end', () => this.cut())
  }

  #onClientGone(): void {
    this.#clientIsGone = true
    this.#client.destroy()
    if (!this.#isHeldForward) this.#broker.end()
  }

  /** Both sides see a connection that is gone, wherever a frame was. */
  cut(): void {
    this.#client.destroy()
    this.#broker.destroy()
    this.#onEnd()
  }

  /** The client sees a connection that is gone; what is held for the broker is still to come. */
  cutClient(): void {
    this.#onClientGone()
  }

  /** Nothing reaches the broker until release(). */
  holdForward(): void {
    this.#isHeldForward = true
  }

  /** Nothing reaches the client until release(): the broker has done it, the client does not hear of it. */
  holdBack(): void {
    this.#isHeldBack = true
  }

  /** What was held is delivered, to the broker also when the client is gone. */
  release(): void {
    this.#isHeldForward = false
    this.#isHeldBack = false
    for (const bytes of this.#forward) this.#broker.write(bytes)
    if (!this.#clientIsGone) for (const bytes of this.#back) this.#client.write(bytes)
    this.#forward = []
    this.#back = []
    if (this.#clientIsGone) this.#broker.end()
  }
}
