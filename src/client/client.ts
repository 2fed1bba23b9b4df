/**
 * Client: one program's view of a cluster: connections, metadata, and what is made on top: producers, consumers, admin.
 *
 * Owns      its connections, and one keep-alive for all of its groups; producers, consumers and groups that it made end with it
 * Failure   lost connections are made again by themselves, with backoff; connect() alone gives up
 */
import { MillraceError } from '../model/errors.ts'
import type { MetadataReply, MetadataRequest } from '../protocol/index.ts'
import { abortable } from './abort.ts'
import { Admin } from './admin.ts'
import { BrokerConnections, type ConnectionEvents, type ConnectionStats } from './broker-connections.ts'
import { CLIENT_EVENTS, type ClientEvents } from './client-events.ts'
import {
  CLIENT_VERSION,
  type ClientOptions,
  checkedUrls,
  type ResolvedClientOptions,
  resolveClientOptions,
} from './client-options.ts'
import { CLIENT_PROFILES } from './client-profiles.ts'
import type { ClientRuntime } from './client-runtime.ts'
import { Consumer, type ConsumerParts } from './consumer.ts'
import type { ConsumerOptions } from './consumer-options.ts'
import { Coordinators } from './coordinators.ts'
import { EventHub, type ListenerError, type ListenOptions } from './events.ts'
import { Group, type GroupParts } from './group/group.ts'
import {
  checkedGroupId,
  checkedPattern,
  type ExactlyOnceGroupOptions,
  type GroupOptions,
  type TopicPattern,
} from './group/group-options.ts'
import type { TransactionContext } from './group/handler-transaction.ts'
import type { KeepAlive } from './group/keep-alive.ts'
import type { Subscription } from './group/member.ts'
import { MetadataCache } from './metadata-cache.ts'
import { Positions } from './positions.ts'
import { Producer } from './producer.ts'
import type { ProducerOptions, TransactionalProducerOptions } from './producer-options.ts'
import { asStored, recordDecoder } from './record-decoder.ts'
import { asGiven, type EncodeRecord, recordEncoder } from './record-encoder.ts'
import type { ConsumedRecord, RecordOf, UndecodedRecord } from './record-types.ts'
import { Requests } from './requests.ts'
import type { Bytes } from './serde.ts'
import type { AnyTypedTopic, TopicLike, TypedTopic } from './topic.ts'
import { serdesOf, topicName } from './topic.ts'
import { TransactionalProducer } from './transaction/transactional-producer.ts'

/** What a broker said of itself in its hello. */
export interface BrokerInfo {
  readonly url: string
  readonly version: string
  readonly clusterId: string
  readonly nodeId: number
}

/** A broker in this process, as createBroker() makes it. */
export interface LocalBroker {
  client(options?: ClientOptions): Client
}

/** What connect() takes: a URL, several (also as one text with commas), or a broker in this process. */
export type ConnectTarget = string | readonly string[] | LocalBroker

function isLocalBroker(to: ConnectTarget): to is LocalBroker {
  return typeof to === 'object' && to !== null && 'client' in to && typeof to.client === 'function'
}

export interface ClientStats extends ConnectionStats {
  /** Those that are open. */
  readonly producers: number
  readonly consumers: number
  readonly groups: number
  /** Listeners that threw. */
  readonly listenerErrors: number
}

/** Nothing is handed out that could not be decoded. */
interface Decoded {
  readonly onDecodeError?: 'fail' | 'skip'
}

type RecordOrUndecoded<Topic extends TopicLike> =
  | RecordOf<Topic>
  | (Topic extends AnyTypedTopic ? UndecodedRecord : never)

/** What sends to a topic in transactions. */
export type TransactionalProducerOf<Topic extends TopicLike> = Topic extends AnyTypedTopic
  ? Topic extends TypedTopic<infer KeyIn, unknown, infer ValueIn, unknown>
    ? TransactionalProducer<KeyIn, ValueIn>
    : never
  : TransactionalProducer

/** What sends to a topic. */
export type ProducerOf<Topic extends TopicLike> = Topic extends AnyTypedTopic
  ? Topic extends TypedTopic<infer KeyIn, unknown, infer ValueIn, unknown>
    ? Producer<KeyIn, ValueIn>
    : never
  : Producer

export class Client {
  readonly admin: Admin
  readonly #runtime: ClientRuntime
  readonly #options: ResolvedClientOptions
  readonly #connections: BrokerConnections
  readonly #coordinators: Coordinators
  readonly #metadata: MetadataCache
  readonly #requests: Requests
  readonly #positions: Positions
  readonly #events: EventHub<ClientEvents>
  readonly #producers = new Set<Pick<Producer, 'close' | 'abort'>>()
  readonly #consumers = new Set<Pick<Consumer, 'close'>>()
  readonly #groups = new Set<Pick<Group, 'close'>>()
  readonly #urls: readonly string[]
  #keepAlive: KeepAlive | undefined
  /** Who told of topics lately. */
  readonly #metadataAsked = new Map<string, number>()
  #metadataCount = 0
  #listenerErrors = 0
  #closed = false

  private constructor(runtime: ClientRuntime, urls: readonly string[], options: ResolvedClientOptions) {
    this.#runtime = runtime
    this.#options = options
    this.#urls = urls
    this.#events = new EventHub(CLIENT_EVENTS, this.#onListenerError)
    const connectionOptions = {
      clientName: options.clientName,
      clientVersion: CLIENT_VERSION,
      token: options.token,
      connectTimeoutMs: options.connectTimeoutMs,
      requestTimeoutMs: options.requestTimeoutMs,
      silenceMsMax: options.silenceMsMax,
      backoff: this.#backoff,
    }
    this.#connections = new BrokerConnections(runtime, urls, connectionOptions, this.#connectionEvents())
    this.#coordinators = new Coordinators(this.#connections)
    this.#requests = new Requests(runtime, this.#connections, this.#coordinators, options)
    this.#metadata = new MetadataCache(
      (request, isAgain, doubted) => this.#askMetadata(request, isAgain, doubted),
      runtime.clock,
    )
    this.#positions = new Positions({ runtime, requests: this.#requests, metadata: this.#metadata })
    this.admin = new Admin({ runtime, requests: this.#requests, metadata: this.#metadata, positions: this.#positions })
  }

  /** A client that connects when it is first used. */
  static create(runtime: ClientRuntime, urls: string | readonly string[], options: ClientOptions = {}): Client {
    return new Client(runtime, checkedUrls(urls), resolveClientOptions(options))
  }

  /** Connects to a broker in this process, or to the first of the URLs that answers. Throws CONNECTION_FAILED, SASL_AUTHENTICATION_FAILED, … */
  static async connect(runtime: ClientRuntime, to: ConnectTarget, options: ClientOptions = {}): Promise<Client> {
    if (isLocalBroker(to)) return connectedTo(to, options)
    const client = Client.create(runtime, to, options)
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

  /** Of any broker; again and again of one after the other: some may not know the news. Of those in doubt last. */
  async #askMetadata(request: MetadataRequest, isAgain: boolean, doubted: ReadonlySet<string>): Promise<MetadataReply> {
    if (!isAgain) this.#metadataAsked.clear()
    for (const url of doubted) this.#metadataAsked.set(url, ++this.#metadataCount)
    const { value, url } = await this.#requests.metadata(request, { avoid: this.#metadataAsked })
    this.#metadataAsked.set(url, ++this.#metadataCount)
    return value
  }

  get #backoff(): { delayMsMin: number; delayMsMax: number } {
    return { delayMsMin: this.#options.backoffMsMin, delayMsMax: this.#options.backoffMsMax }
  }

  #connectionEvents(): ConnectionEvents {
    const events = this.#events
    return {
      onConnected: ({ url, broker }) =>
        events.emit('connected', { url, nodeId: broker.nodeId, version: broker.serverVersion }),
      onDisconnected: ({ url, broker }, error) => events.emit('disconnected', { url, nodeId: broker.nodeId, error }),
      onConnectFailed: (url, error, retryInMs) => events.emit('connectFailed', { url, error, retryInMs }),
      onReconnecting: (url, attempt) => events.emit('reconnecting', { url, attempt }),
    }
  }

  readonly #onListenerError = (failure: ListenerError): void => {
    this.#listenerErrors++
    // A listener of this very event that fails is counted, and told to nobody: it would be told to itself.
    if (failure.event === 'listenerError') return
    if (this.#events.has('listenerError')) this.#events.emit('listenerError', failure)
    else
      queueMicrotask(() => {
        throw failure.error // nobody listens: it is the program's own error, and is not kept from it
      })
  }

  /** Runs `listener` at every such event; the answer stops that. */
  on<Name extends keyof ClientEvents>(
    name: Name,
    listener: (event: ClientEvents[Name]) => unknown,
    options: ListenOptions = {},
  ): () => void {
    return this.#events.on(name, listener, options)
  }

  stats(): ClientStats {
    return {
      ...this.#connections.stats(),
      producers: this.#producers.size,
      consumers: this.#consumers.size,
      groups: this.#groups.size,
      listenerErrors: this.#listenerErrors,
    }
  }

  /** The broker that a request without a wish would go to. */
  async broker(options: { readonly signal?: AbortSignal } = {}): Promise<BrokerInfo> {
    const { signal } = options
    const { url, broker } = await abortable(this.#connections.any({ signal }), signal)
    return { url, version: broker.serverVersion, clusterId: broker.clusterId, nodeId: broker.nodeId }
  }

  /**
   * Sends records to a topic. Each call makes one, with buffers and a producer id of its own, until it is closed: keep it. With a
   * transactionalId it writes in transactions, to this topic and to others.
   */
  producer<Topic extends TopicLike>(topic: Topic, options: TransactionalProducerOptions): TransactionalProducerOf<Topic>
  producer<Topic extends TopicLike>(topic: Topic, options?: ProducerOptions): ProducerOf<Topic>
  producer(topic: TopicLike, options: ProducerOptions & Partial<TransactionalProducerOptions> = {}): unknown {
    const encode = typeof topic !== 'string' && topic.serdes !== undefined ? recordEncoder(topic) : asGiven
    const { transactionalId } = options
    if (transactionalId === undefined) return this.#newProducer(topicName(topic), encode as typeof asGiven, options)
    return this.#newTransactionalProducer(topicName(topic), encode as typeof asGiven, { ...options, transactionalId })
  }

  #newProducer(name: string, encode: EncodeRecord<Bytes, Bytes>, options: ProducerOptions): Producer {
    const producer = new Producer(name, this.#producerParts(encode), this.#tuned(options))
    return this.#kept(producer)
  }

  #newTransactionalProducer(
    name: string,
    encode: EncodeRecord<Bytes, Bytes>,
    options: TransactionalProducerOptions,
  ): TransactionalProducer {
    return this.#kept(new TransactionalProducer(name, this.#producerParts(encode), this.#tuned(options)))
  }

  #tuned<Options extends ProducerOptions>(options: Options): Options {
    return { ...CLIENT_PROFILES[this.#options.profile].producer, ...options }
  }

  #kept<Kept extends Producer | TransactionalProducer>(producer: Kept): Kept {
    this.#producers.add(producer)
    producer.onClosed(() => this.#producers.delete(producer))
    return producer
  }

  #producerParts(encode: EncodeRecord<Bytes, Bytes>) {
    this.#checkOpen()
    return {
      encode,
      onListenerError: this.#onListenerError,
      runtime: this.#runtime,
      connections: this.#connections,
      coordinators: this.#coordinators,
      metadata: this.#metadata,
      requests: this.#requests,
      backoff: this.#backoff,
    }
  }

  /**
   * Reads topics without a group: from any position, as often as wanted. Records of typed topics come decoded, and with
   * `onDecodeError: 'pass'` as they were stored where that fails.
   */
  consume<Topic extends TopicLike>(
    topics: Topic | readonly Topic[],
    options?: ConsumerOptions & { readonly onDecodeError?: 'fail' | 'skip' },
  ): Consumer<RecordOf<Topic>>
  consume<Topic extends TopicLike>(
    topics: Topic | readonly Topic[],
    options: ConsumerOptions,
  ): Consumer<RecordOf<Topic> | (Topic extends AnyTypedTopic ? UndecodedRecord : never)>
  consume(topics: TopicLike | readonly TopicLike[], options: ConsumerOptions = {}): unknown {
    const list = Array.isArray(topics) ? (topics as readonly TopicLike[]) : [topics as TopicLike]
    if (list.length === 0) throw new MillraceError('INVALID_ARGUMENT', 'consume: no topic is named')
    if (list.every((topic) => serdesOf(topic) === undefined)) return this.#newConsumer(list, () => asStored, options)
    const policy = options.onDecodeError ?? 'fail'
    return this.#newConsumer(list, (onDecodeError) => recordDecoder(list, policy, onDecodeError), options)
  }

  #newConsumer<Handed>(
    topics: readonly TopicLike[],
    decoder: ConsumerParts<Handed>['decoder'],
    options: ConsumerOptions,
  ): Consumer<Handed> {
    this.#checkOpen()
    const parts = { ...this.#readingParts(), decoder }
    const tuned = { ...CLIENT_PROFILES[this.#options.profile].consumer, ...options }
    const consumer = new Consumer([...new Set(topics.map(topicName))], parts, tuned)
    this.#consumers.add(consumer)
    consumer.onClosed(() => this.#consumers.delete(consumer))
    return consumer
  }

  #readingParts() {
    return {
      onListenerError: this.#onListenerError,
      runtime: this.#runtime,
      connections: this.#connections,
      coordinators: this.#coordinators,
      metadata: this.#metadata,
      positions: this.#positions,
      backoff: this.#backoff,
      requestTimeoutMs: this.#options.requestTimeoutMs,
    }
  }

  /**
   * A member of a consumer group: the partitions of the topics are shared out among the members, and the group remembers how
   * far each has been handled. Topics are named, or all those whose whole name matches a pattern. It joins when it is consumed.
   */
  group(id: string, topics: TopicPattern, options: ExactlyOnceGroupOptions): Group<ConsumedRecord, TransactionContext>
  group(id: string, topics: TopicPattern, options?: GroupOptions): Group
  group<Topic extends TopicLike>(
    id: string,
    topics: Topic | readonly Topic[],
    options: ExactlyOnceGroupOptions & Decoded,
  ): Group<RecordOf<Topic>, TransactionContext>
  group<Topic extends TopicLike>(
    id: string,
    topics: Topic | readonly Topic[],
    options: ExactlyOnceGroupOptions,
  ): Group<RecordOrUndecoded<Topic>, TransactionContext>
  group<Topic extends TopicLike>(
    id: string,
    topics: Topic | readonly Topic[],
    options?: GroupOptions & Decoded,
  ): Group<RecordOf<Topic>>
  group<Topic extends TopicLike>(
    id: string,
    topics: Topic | readonly Topic[],
    options: GroupOptions,
  ): Group<RecordOrUndecoded<Topic>>
  group(id: string, topics: TopicLike | readonly TopicLike[] | TopicPattern, options: GroupOptions = {}): unknown {
    if (typeof topics === 'object' && 'pattern' in topics) {
      return this.#newGroup(id, { topics: [], pattern: checkedPattern(topics.pattern) }, () => asStored, options)
    }
    const list = Array.isArray(topics) ? (topics as readonly TopicLike[]) : [topics as TopicLike]
    if (list.length === 0) throw new MillraceError('INVALID_ARGUMENT', 'group: no topic is named')
    const subscription = { topics: [...new Set(list.map(topicName))], pattern: '' }
    if (list.every((topic) => serdesOf(topic) === undefined))
      return this.#newGroup(id, subscription, () => asStored, options)
    const policy = options.onDecodeError ?? 'fail'
    return this.#newGroup(id, subscription, (onDecodeError) => recordDecoder(list, policy, onDecodeError), options)
  }

  #newGroup<Handed>(
    id: string,
    subscription: Subscription,
    decoder: GroupParts<Handed>['decoder'],
    options: GroupOptions,
  ): Group<Handed> {
    this.#checkOpen()
    const groupId = checkedGroupId(id)
    this.#keepAlive ??= this.#runtime.startKeepAlive?.({ urls: this.#urls, options: this.#options })
    const deadLetterSink = (topic: string): Producer => this.#newProducer(topic, asGiven, {})
    // Its group closes it, in its own time.
    const transactionalProducer = (given: TransactionalProducerOptions): TransactionalProducer =>
      new TransactionalProducer(undefined, this.#producerParts(asGiven), this.#tuned(given))
    const ownParts = { keepAlive: this.#keepAlive, deadLetterSink, transactionalProducer }
    const parts = { ...this.#readingParts(), decoder, ...ownParts }
    const tuned = { ...CLIENT_PROFILES[this.#options.profile].consumer, ...options }
    const group = new Group<Handed>(groupId, subscription, parts, tuned)
    this.#groups.add(group)
    group.onClosed(() => this.#groups.delete(group))
    return group
  }

  /** close() was called. */
  get isClosed(): boolean {
    return this.#closed
  }

  #checkOpen(): void {
    if (this.#closed) throw new MillraceError('CLOSED', 'the client is closed')
  }

  /** Ends groups and consumers, drains producers, then closes the connections. Throws the first failure of a producer. */
  async close(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    try {
      await Promise.all([...this.#groups].map((group) => group.close(options)))
      for (const consumer of this.#consumers) await consumer.close()
      const drained = await Promise.allSettled([...this.#producers].map((producer) => producer.close(options)))
      for (const result of drained) if (result.status === 'rejected') throw result.reason
    } finally {
      for (const producer of this.#producers) producer.abort()
      this.#keepAlive?.close()
      this.#connections.close()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** Its client may be of another bundle of this class: nothing private is touched. */
async function connectedTo(local: LocalBroker, options: ClientOptions): Promise<Client> {
  const client = local.client(options)
  try {
    await client.broker(options.signal === undefined ? {} : { signal: options.signal })
    return client
  } catch (error) {
    await client.close()
    throw error
  }
}
