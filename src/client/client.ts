/**
 * Client: one program's view of a cluster: connections, metadata, and what is made on top: producers, consumers, admin.
 *
 * Owns      its connections; producers and consumers that it made end with it
 * Failure   lost connections are made again by themselves, with backoff; connect() alone gives up
 */
import { MillraceError } from '../model/errors.ts'
import { metadata } from '../protocol/index.ts'
import { abortable } from './abort.ts'
import { Admin } from './admin.ts'
import { BrokerConnections } from './broker-connections.ts'
import {
  CLIENT_VERSION,
  type ClientOptions,
  checkedUrls,
  type ResolvedClientOptions,
  resolveClientOptions,
} from './client-options.ts'
import type { ClientRuntime } from './client-runtime.ts'
import { Consumer } from './consumer.ts'
import type { ConsumerOptions } from './consumer-options.ts'
import { MetadataCache } from './metadata-cache.ts'
import { Positions } from './positions.ts'
import { Producer } from './producer.ts'
import type { ProducerOptions } from './producer-options.ts'
import { type TopicLike, topicName } from './record-types.ts'
import { Requests } from './requests.ts'

/** What a broker said of itself in its hello. */
export interface BrokerInfo {
  readonly url: string
  readonly version: string
  readonly clusterId: string
  readonly nodeId: number
}

export class Client {
  readonly admin: Admin
  readonly #runtime: ClientRuntime
  readonly #options: ResolvedClientOptions
  readonly #connections: BrokerConnections
  readonly #metadata: MetadataCache
  readonly #requests: Requests
  readonly #positions: Positions
  readonly #producers = new Set<Producer>()
  readonly #consumers = new Set<Consumer>()
  #closed = false

  private constructor(runtime: ClientRuntime, urls: readonly string[], options: ResolvedClientOptions) {
    this.#runtime = runtime
    this.#options = options
    this.#connections = new BrokerConnections(runtime, urls, {
      clientName: options.clientName,
      clientVersion: CLIENT_VERSION,
      token: options.token,
      connectTimeoutMs: options.connectTimeoutMs,
      requestTimeoutMs: options.requestTimeoutMs,
      backoff: this.#backoff,
    })
    this.#requests = new Requests(runtime, this.#connections, options)
    this.#metadata = new MetadataCache(async (request) => {
      const reply = await this.#requests.ask(metadata, request)
      this.#connections.learn(reply.brokers)
      return reply
    })
    this.#positions = new Positions({ runtime, requests: this.#requests, metadata: this.#metadata })
    this.admin = new Admin({ requests: this.#requests, metadata: this.#metadata, positions: this.#positions })
  }

  /** A client that connects when it is first used. */
  static create(runtime: ClientRuntime, urls: string | readonly string[], options: ClientOptions = {}): Client {
    return new Client(runtime, checkedUrls(urls), resolveClientOptions(options))
  }

  /** Connects to the first of the URLs that answers. Throws CONNECTION_FAILED, SASL_AUTHENTICATION_FAILED, … */
  static async connect(
    runtime: ClientRuntime,
    urls: string | readonly string[],
    options: ClientOptions = {},
  ): Promise<Client> {
    const client = Client.create(runtime, urls, options)
    const { connectWaitMs } = client.#options
    const wait = connectWaitMs === 0 ? {} : { deadlineMs: runtime.clock.monotonicMs() + connectWaitMs }
    try {
      await abortable(client.#connections.any({ ...wait, signal: options.signal }), options.signal)
      return client
    } catch (error) {
      client.#connections.close()
      throw error
    }
  }

  get #backoff(): { delayMsMin: number; delayMsMax: number } {
    return { delayMsMin: this.#options.backoffMsMin, delayMsMax: this.#options.backoffMsMax }
  }

  /** The broker that a request without a wish would go to. */
  async broker(): Promise<BrokerInfo> {
    const { url, broker } = await this.#connections.any()
    return { url, version: broker.serverVersion, clusterId: broker.clusterId, nodeId: broker.nodeId }
  }

  /** Sends records to a topic. Keep it: each has buffers and a producer id of its own. */
  producer(topic: TopicLike, options: ProducerOptions = {}): Producer {
    this.#checkOpen()
    const parts = {
      runtime: this.#runtime,
      connections: this.#connections,
      metadata: this.#metadata,
      requests: this.#requests,
      backoff: this.#backoff,
    }
    const producer = new Producer(topicName(topic), parts, options)
    this.#producers.add(producer)
    producer.onClosed(() => this.#producers.delete(producer))
    return producer
  }

  /** Reads topics without a group: from any position, as often as wanted. */
  consume(topics: TopicLike | readonly TopicLike[], options: ConsumerOptions = {}): Consumer {
    this.#checkOpen()
    const names = (Array.isArray(topics) ? (topics as readonly TopicLike[]) : [topics as TopicLike]).map(topicName)
    if (names.length === 0) throw new MillraceError('INVALID_ARGUMENT', 'consume: no topic is named')
    const parts = {
      runtime: this.#runtime,
      connections: this.#connections,
      metadata: this.#metadata,
      positions: this.#positions,
      backoff: this.#backoff,
      requestTimeoutMs: this.#options.requestTimeoutMs,
    }
    const consumer = new Consumer([...new Set(names)], parts, options)
    this.#consumers.add(consumer)
    consumer.onClosed(() => this.#consumers.delete(consumer))
    return consumer
  }

  /** close() was called. */
  get isClosed(): boolean {
    return this.#closed
  }

  #checkOpen(): void {
    if (this.#closed) throw new MillraceError('CLOSED', 'the client is closed')
  }

  /** Ends consumers, drains producers, then closes the connections. Throws the first failure of a producer. */
  async close(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    try {
      for (const consumer of this.#consumers) await consumer.close()
      const drained = await Promise.allSettled([...this.#producers].map((producer) => producer.close(options)))
      for (const result of drained) if (result.status === 'rejected') throw result.reason
    } finally {
      for (const producer of this.#producers) producer.abort()
      this.#connections.close()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
