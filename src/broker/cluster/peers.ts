/**
 * Peers: this broker's connections to the others of its cluster: one each, kept open whether anything is to be said or not, for one that ends
 * is how a broker's death is noticed before its lease is over.
 *
 * Owns        a connection per broker that the cluster image names, and what is known of its address
 * Thread      main
 * Invariants  PE1 at most one connection and one attempt per broker
 *             PE2 who answers is who is meant: cluster, node id and incarnation of the hello are those of the image, or it is closed
 * Limits      as many connections as brokers; attempts are RETRY_MS apart, KEEP_MS where nobody asks; requests end within requestTimeoutMs
 * Failure     an address that is none: never connected, probed 'unknown'; what another broker advertises ends nobody here.
 *             ask() rejects with CONNECTION_FAILED (never sent), NETWORK_EXCEPTION or REQUEST_TIMED_OUT (sent, outcome unknown), or the
 *             peer's own error. A request that is late is given up alone: the others, and the replicas that are followed, go on over
 *             the same connection while the peer shows signs of life
 * Not here    what is said (replica-fetcher.ts, cluster-agent.ts)
 */
import type { Clock } from '../../base/clock.ts'
import { isMillraceError, MillraceError } from '../../model/errors.ts'
import type { Codec, ProbeFinding } from '../../protocol/index.ts'
import { Connection, type Reply } from '../../transport/connection.ts'
import type { Transport, TransportConnection } from '../../transport/transport.ts'
import type { Timers } from '../timers.ts'

const CONNECT_TIMEOUT_MS = 2_000
const RETRY_MS = 100
const KEEP_MS = 500

export interface PeerAddress {
  readonly nodeId: number
  readonly incarnation: number
  readonly url: string
}

export interface PeersOptions {
  readonly clock: Clock
  readonly timers: Timers
  readonly transport: Transport
  readonly nodeId: number
  readonly clusterId: string
  /** What makes this end a broker to the other. */
  readonly secret: string
  readonly version: string
  readonly requestTimeoutMs: number
  /** A connection to it has ended, and not by this end, or could not be made. */
  readonly onUnreachable: (address: PeerAddress) => void
}

interface Peer {
  readonly address: PeerAddress
  connection: Connection | undefined
  attempt: Promise<Connection> | undefined
  notBeforeMs: number
}

export interface AskOptions {
  readonly timeoutMs?: number
}

export class Peers {
  readonly #options: PeersOptions
  readonly #peers = new Map<number, Peer>()
  #isClosed = false

  constructor(options: PeersOptions) {
    this.#options = options
  }

  /** A broker is there, at this address, in this incarnation; a connection to an earlier one is closed. */
  learn(address: PeerAddress): void {
    const { nodeId, incarnation, url } = address
    const known = this.#peers.get(nodeId)?.address
    if (known?.incarnation === incarnation && known.url === url) return
    this.forget(nodeId)
    const peer: Peer = { address, connection: undefined, attempt: undefined, notBeforeMs: Number.NEGATIVE_INFINITY }
    this.#peers.set(nodeId, peer)
    this.#keep(peer)
  }

  /** The broker is gone. */
  forget(nodeId: number): void {
    const peer = this.#peers.get(nodeId)
    this.#peers.delete(nodeId)
    peer?.connection?.close()
  }

  addressOf(nodeId: number): PeerAddress | undefined {
    return this.#peers.get(nodeId)?.address
  }

  nodeIds(): number[] {
    return [...this.#peers.keys()]
  }

  /** The open connection, if there is one now. */
  openTo(nodeId: number): Connection | undefined {
    const connection = this.#peers.get(nodeId)?.connection
    return connection?.isOpen ? connection : undefined
  }

  /** One attempt, after the pause that follows a failed one. */
  async connection(nodeId: number): Promise<Connection> {
    const peer = this.#peers.get(nodeId)
    if (peer === undefined || this.#isClosed)
      throw new MillraceError('CONNECTION_FAILED', `broker ${nodeId} is not known to live`)
    if (peer.connection?.isOpen) return peer.connection
    peer.attempt ??= this.#attempt(peer).finally(() => {
      peer.attempt = undefined
    })
    return peer.attempt
  }

  /** The reply's value; rejects with the error of the reply, or of the connection. */
  async ask<Request, Value>(
    nodeId: number,
    codec: Codec<Request, Value>,
    request: Request,
    options: AskOptions = {},
  ): Promise<Value> {
    return (await this.call(nodeId, codec, request, options)).value
  }

  async call<Request, Value>(
    nodeId: number,
    codec: Codec<Request, Value>,
    request: Request,
    options: AskOptions = {},
  ): Promise<Reply<Value>> {
    const connection = await this.connection(nodeId)
    return connection.call(codec, request, options)
  }

  /** What is at the broker's address now: a fresh connection, so that an old one that is silent proves nothing. */
  probe(nodeId: number): Promise<ProbeFinding> {
    const peer = this.#peers.get(nodeId)
    if (peer === undefined) return Promise.resolve('unknown')
    const { transport, timers } = this.#options
    return new Promise((resolve) => {
      let probe: TransportConnection | undefined
      const finish = (finding: ProbeFinding): void => {
        cancel()
        resolve(finding)
        probe?.terminate()
      }
      const cancel = timers.after(CONNECT_TIMEOUT_MS, () => finish('unknown'))
      const options = { connectTimeoutMs: CONNECT_TIMEOUT_MS, messageBytesMax: 64 * 1024, token: this.#options.secret }
      try {
        probe = transport.connect(peer.address.url, options, {
          onOpen: () => finish('alive'),
          onMessage: () => {},
          onClose: (close) =>
            finish(close.isRefused === true ? 'refused' : close.httpStatus === undefined ? 'unknown' : 'alive'),
        })
      } catch {
        // What it advertises is no URL that can be connected to: that says nothing of whether it lives.
        finish('unknown')
      }
    })
  }

  close(): void {
    this.#isClosed = true
    for (const nodeId of this.nodeIds()) this.forget(nodeId)
  }

  async #attempt(peer: Peer): Promise<Connection> {
    const { clock, timers } = this.#options
    const waitMs = peer.notBeforeMs - clock.monotonicMs()
    if (waitMs > 0) await new Promise<void>((resolve) => void timers.after(waitMs, resolve))
    try {
      const connection = await this.#open(peer.address)
      if (!this.#isKnown(peer)) {
        connection.close()
        throw new MillraceError('CONNECTION_FAILED', `broker ${peer.address.nodeId} is another one now`)
      }
      peer.connection = connection
      connection.onEnd(() => this.#onEnd(peer))
      return connection
    } catch (error) {
      peer.notBeforeMs = clock.monotonicMs() + RETRY_MS
      throw isMillraceError(error) ? error : new MillraceError('CONNECTION_FAILED', String(error))
    }
  }

  async #open(address: PeerAddress): Promise<Connection> {
    const { clock, timers, transport, secret, version, requestTimeoutMs, clusterId } = this.#options
    const runtime = {
      ...{ clock, transport },
      startTimer: (delayMs: number, task: () => void) => ({ cancel: timers.after(delayMs, task) }),
    }
    const connection = await Connection.open(runtime, address.url, {
      ...{ clientName: `broker ${this.#options.nodeId}`, clientVersion: version, token: secret },
      ...{ connectTimeoutMs: CONNECT_TIMEOUT_MS, requestTimeoutMs },
    })
    const { broker } = connection
    const isMeant =
      broker.clusterId === clusterId && broker.nodeId === address.nodeId && broker.incarnation === address.incarnation
    if (isMeant) return connection
    connection.close()
    const found = `node ${broker.nodeId}, incarnation ${broker.incarnation}, cluster ${broker.clusterId}`
    throw new MillraceError('CONNECTION_FAILED', `${address.url}: ${found} answers, not node ${address.nodeId}`)
  }

  #isKnown(peer: Peer): boolean {
    return this.#peers.get(peer.address.nodeId) === peer && !this.#isClosed
  }

  /** Connected as long as it is known. */
  #keep(peer: Peer): void {
    if (!this.#isKnown(peer) || peer.connection?.isOpen) return
    this.connection(peer.address.nodeId).catch(() => {
      if (!this.#isKnown(peer)) return
      this.#options.onUnreachable(peer.address)
      this.#options.timers.after(KEEP_MS, () => this.#keep(peer))
    })
  }

  #onEnd(peer: Peer): void {
    peer.connection = undefined
    if (!this.#isKnown(peer)) return
    peer.notBeforeMs = this.#options.clock.monotonicMs() + RETRY_MS
    this.#options.onUnreachable(peer.address)
    this.#keep(peer)
  }
}
