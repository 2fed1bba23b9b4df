/**
 * Gateway: the broker on the main thread: connections in, requests to shards, replies out. The parts meet here.
 *
 * Owns        the router, the links to the shards, the pool of connections, the loop that drains reply rings
 * Thread      main, everything
 * Ordering    a turn: drain reply rings (at most DRAIN_BYTES or DRAIN_MS) -> staged requests -> outboxes, corked -> wake shards
 * Invariants  G1 reply rings are drained first, and never wait for anything: a full request ring cannot stop them
 *             G2 the doorbell is armed only when every reply ring was seen empty
 * Failure     a shard's end takes its partitions offline, with the reason; the second storage failure takes all offline
 * Not here    threads and files (main.ts), what a request does (handlers/), decisions about topics (coordination/)
 */

import { bytesOfHex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { formatHostPort, type HostPort, hostPortOf } from '../base/host-port.ts'
import type { BrokerConfig } from '../config/index.ts'
import type { ClusterIdentity } from '../coordination/cluster-identity.ts'
import type { Replica } from '../coordination/keys.ts'
import type { MetadataStore } from '../coordination/metadata-store.ts'
import { ProducerIds } from '../coordination/producer-ids.ts'
import type { TopicRecord } from '../coordination/topics.ts'
import { UserStore } from '../coordination/user-store.ts'
import { isMillraceError, MillraceError } from '../model/errors.ts'
import type { ShardIndex } from '../model/ids.ts'
import { UNAUTHENTICATED_CONNECTIONS_MAX } from '../model/limits.ts'
import { type ClusterDescription, type MetadataBroker, SUBPROTOCOL } from '../protocol/index.ts'
import { type CompactedBody, ControlOperation, type Notice, type ShardStats } from '../ring/control-messages.ts'
import { Doorbell } from '../ring/ring-signal.ts'
import { openGatewaySide, type ShardChannel } from '../ring/shard-channel.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { MetricsPort } from '../telemetry/metrics.ts'
import { Authenticator } from './authenticate.ts'
import { ClusterAgent, type ClusterOptions } from './cluster/cluster-agent.ts'
import { ClusterTopics } from './cluster/cluster-topics.ts'
import { DrainWatch } from './cluster/drain-watch.ts'
import { describe, gaugesOf } from './cluster-description.ts'
import { Connection } from './connection.ts'
import { Deadlines } from './deadlines.ts'
import { Dispatcher } from './dispatcher.ts'
import { GatewayConnections } from './gateway-connections.ts'
import { GroupService } from './group-service.ts'
import { HttpApi } from './http-api.ts'
import type { KafkaDoor } from './kafka/kafka-door.ts'
import type { KafkaBroker } from './kafka/kafka-handler.ts'
import type { StreamEngine } from './listeners/stream-engine.ts'
import type {
  EngineHandler,
  EngineSocket,
  ListenOptions,
  SocketEnd,
  UpgradeAnswer,
  UpgradeRequest,
  WebSocketEngine,
} from './listeners/web-socket-engine.ts'
import { PartitionOpener, type RecoveredOf } from './partition-opener.ts'
import { leadRefusal, type PartitionProxy, PartitionRouter, type RoutedTopic, setOffline } from './partition-router.ts'
import type { ReplicationListener } from './replication-listener.ts'
import { nodeSaslCrypto } from './sasl/node-sasl-crypto.ts'
import { PasswordHasher } from './sasl/password-hasher.ts'
import { SaslAuthenticator } from './sasl/sasl-authenticator.ts'
import { Users } from './sasl/users.ts'
import { ShardLink } from './shard-link.ts'
import type { Timers } from './timers.ts'
import type { TopicAdmin } from './topic-admin.ts'
import { TopicService } from './topic-service.ts'
import { TransactionService } from './transaction-service.ts'

/** How long heartbeats wait for others: a wake-up of a shard costs more than what is done for one. */
const PATIENCE_MS = 10
const DRAIN_BYTES = 256 * 1024
const DRAIN_MS = 1
const SWEEP_MS = 1_000
const STATS_MS = 5_000
/** A shard that had no room for what it waits for hears of it after so long. */
const TELL_RETRY_MS = 1_000
const FRAME_SLACK_BYTES = 64 * 1024
/** Of a produce frame beside its one batch, generously. */
const FRAME_OVERHEAD_BYTES = 1024
/** Above a connection's window there is one reply of any size, and what a turn adds to it. */
const SEND_BUFFER_SLACK_BYTES = 256 * 1024 * 1024

export interface GatewayOptions {
  readonly version: string
  readonly config: BrokerConfig
  readonly identity: ClusterIdentity
  readonly store: MetadataStore
  readonly channels: readonly ShardChannel[]
  /** The memory of the one doorbell of all channels. */
  readonly doorbell: SharedArrayBuffer
  /** What hears it; a Doorbell when left out. A simulator steps one of its own. */
  readonly makeBell?: (memory: SharedArrayBuffer, onRing: () => void) => Bell
  readonly engine: WebSocketEngine
  readonly clock: Clock
  readonly timers: Timers
  readonly logger: Logger
  readonly metrics: MetricsPort
  /** Unique ids of 32 hex digits. */
  readonly newId: () => string
  /** Runs a compaction in the pool (StorageTasks.compact). Left out: none is run. */
  readonly compact?: (task: unknown) => Promise<unknown>
  /** This broker is one of several. Left out: it is alone. */
  readonly cluster?: ClusterOptions
}

/** The listening end of the doorbell: one onRing for each arm(), after a ring since the last onRing began. */
export type Bell = Pick<Doorbell, 'arm' | 'close'>

export class Gateway implements EngineHandler<Connection> {
  readonly version: string
  readonly config: BrokerConfig
  readonly identity: ClusterIdentity
  readonly replica: Replica
  readonly store: MetadataStore
  readonly router: PartitionRouter
  readonly links: readonly ShardLink[]
  readonly pool: GatewayConnections
  readonly authenticator: Authenticator
  readonly opener: PartitionOpener
  readonly topicService: TopicAdmin
  readonly groups: GroupService
  readonly transactions: TransactionService
  readonly users: Users
  /** Who clients of the Kafka door are. Its users are read from the store when they are first asked for. */
  readonly sasl: SaslAuthenticator
  readonly clock: Clock
  readonly timers: Timers
  readonly logger: Logger
  readonly metrics: MetricsPort
  readonly newId: () => string
  readonly deadlines = new Deadlines()
  /** What /readyz waits for; empty = ready. */
  readonly notReady = new Set<string>(['recovering'])
  url = ''
  /** Partitions that drain. */
  readonly drainWatch: DrainWatch
  /** In a cluster. */
  readonly cluster: ClusterAgent | undefined

  /** The listener for Kafka clients; undefined: they cannot come in. */
  kafka: KafkaDoor | undefined

  readonly #engine: WebSocketEngine
  readonly #dispatcher: Dispatcher
  readonly #http: HttpApi
  readonly #doorbell: Bell
  readonly #producerIds: ProducerIds
  readonly #userStore: UserStore
  readonly #compact: (task: unknown) => Promise<unknown>
  readonly #stopTimers: (() => void)[] = []
  readonly #stats = new Map<number, ShardStats>()
  #unauthenticated = 0
  #storageFailures = 0
  #isTurnDue = false
  #isClosing = false

  constructor(options: GatewayOptions) {
    const { config, identity } = options
    this.version = options.version
    this.config = config
    this.identity = identity
    this.replica = { nodeId: identity.nodeId, incarnation: identity.incarnation }
    this.store = options.store
    this.clock = options.clock
    this.logger = options.logger
    this.metrics = options.metrics
    this.newId = options.newId
    this.#engine = options.engine
    this.timers = options.timers
    this.router = new PartitionRouter({
      ...{ shards: options.channels.length, nodeId: identity.nodeId, incarnation: identity.incarnation },
      isAlone: options.cluster === undefined,
      defaults: config.topics.config,
      onUnreadable: ({ record }, err) =>
        this.logger.error(
          { err, topic: record.state.name },
          'a topic keeps its old configuration: the new one cannot be read',
        ),
    })
    this.links = options.channels.map((channel, shard) => this.#makeLink(channel, shard as ShardIndex))
    this.pool = new GatewayConnections(config.limits, () => this.#scheduleTurn())
    this.authenticator = new Authenticator({ ...config.auth, clusterSecret: options.cluster?.secret })
    this.opener = new PartitionOpener(this.links, this.logger, this.timers)
    this.cluster = options.cluster === undefined ? undefined : new ClusterAgent(this, options.cluster)
    this.topicService = this.cluster === undefined ? new TopicService(this) : new ClusterTopics(this, this.cluster)
    this.groups = new GroupService(this)
    this.transactions = new TransactionService(this)
    this.#userStore = new UserStore({
      ...{ store: this.store, timers: this.timers, newId: this.newId },
      onUnreadable: (text) => this.logger.error({ text }, 'a user cannot be read, and is let in nowhere'),
      onRetry: (reason) => this.logger.warn({ reason }, 'users may be out of date: the metadata store does not answer'),
    })
    const hashing = { crypto: nodeSaslCrypto, hasher: new PasswordHasher() }
    this.users = new Users({ ...hashing, store: this.#userStore, newSalt: () => bytesOfHex(this.newId()) })
    this.sasl = new SaslAuthenticator({
      ...{ ...hashing, users: this.#userStore, tokens: this.authenticator, mechanisms: config.kafka.sasl },
    })
    this.drainWatch = new DrainWatch({
      ...{ router: this.router, links: this.links, timers: this.timers, logger: this.logger },
      emptied: (topicId, partition) => this.topicService.partitionEmptied(topicId, partition),
    })
    this.#dispatcher = new Dispatcher(this)
    this.#http = new HttpApi(this)
    this.#producerIds = new ProducerIds(options.store)
    this.#compact = options.compact ?? (() => Promise.reject(new Error('this broker runs no compactions')))
    const makeBell = options.makeBell ?? ((memory, onRing) => new Doorbell(memory, onRing))
    this.#doorbell = makeBell(options.doorbell, () => this.#turn())
    this.#doorbell.arm()
    this.#stopTimers.push(
      this.timers.every(SWEEP_MS, () => this.deadlines.sweep(this.clock.monotonicMs())),
      this.timers.every(STATS_MS, () => void this.refreshStats()),
    )
  }

  /** The largest batch that a client may send: what a frame and every ring can carry. */
  get batchBytesMax(): number {
    return Math.min(
      this.config.limits.frameBytes - FRAME_OVERHEAD_BYTES,
      ...this.links.map((link) => link.batchBytesMax),
    )
  }

  get connectionCount(): number {
    return this.pool.size
  }

  /** What an engine holds every connection to. */
  get socketLimits(): Pick<ListenOptions, 'messageBytesMax' | 'sendBufferBytesMax'> {
    const { frameBytes, connectionSendBytes } = this.config.limits
    return {
      // Larger ones some engines cut without a word (1006): those near the limit get as far as to be told (1009).
      messageBytesMax: frameBytes + FRAME_SLACK_BYTES,
      sendBufferBytesMax: connectionSendBytes + SEND_BUFFER_SLACK_BYTES,
    }
  }

  /** Listens, where the configuration says unless told otherwise; answers the port. */
  async listen(at: BrokerConfig['listen'] = this.config.listen): Promise<number> {
    const { host, port } = at
    const listening = await this.#engine.listen<Connection>(
      {
        ...{ host, port },
        ...this.socketLimits,
        idleSeconds: this.config.idleSeconds,
      },
      this,
    )
    this.url = `ws://${formatHostPort({ host, port: listening })}`
    return listening
  }

  /** Listens for Kafka clients too. Before register(), which tells the others where. */
  async listenKafka(engine: StreamEngine, at: HostPort): Promise<void> {
    // Here and not above: whoever has no such clients does not load what they speak.
    const { KafkaDoor } = await import('./kafka/kafka-door.ts')
    const door = new KafkaDoor(this, engine)
    await door.listen(at)
    this.kafka = door
  }

  /** HOST:PORT for Kafka clients; undefined: none of this broker's. */
  get kafkaAddress(): string | undefined {
    const address = this.kafka?.advertised
    return address === undefined ? undefined : formatHostPort(address)
  }

  get advertisedUrl(): string {
    return this.config.advertisedUrl === '' ? this.url : this.config.advertisedUrl
  }

  /** Opens the topics of the store on their shards. */
  async openTopics(records: readonly TopicRecord[], recovered: RecoveredOf): Promise<void> {
    for (const link of this.links) link.state = 'serving'
    await Promise.all(
      records.map((record) => {
        const topic = this.router.add(record)
        return this.opener.open(topic.partitions, topic, recovered)
      }),
    )
    this.transactions.start()
    this.notReady.delete('recovering')
  }

  /** In a cluster: opens the replicas that lie here, as what the cluster says they are. */
  async openCluster(recovered: RecoveredOf): Promise<void> {
    for (const link of this.links) link.state = 'serving'
    await this.cluster!.open(recovered)
    this.notReady.delete('recovering')
  }

  /** In a cluster, once it can be reached: it is one of those that live. */
  async register(): Promise<void> {
    await this.cluster!.register()
  }

  // --- the engine's events

  onUpgrade(request: UpgradeRequest): UpgradeAnswer<Connection> {
    const refuse = (status: number, text: string) => ({ kind: 'refuse', status, text }) as const
    if (this.#isClosing) return refuse(503, 'the broker is stopping')
    if (request.path !== '/') return refuse(404, 'the WebSocket is at /')
    if (!this.authenticator.isOriginAllowed(request.origin))
      return refuse(403, `the origin ${request.origin.slice(0, 200)} is not listed in auth.origins`)
    const protocols = request.protocols.split(',').map((protocol) => protocol.trim())
    if (!protocols.includes(SUBPROTOCOL)) return refuse(400, `the subprotocol ${SUBPROTOCOL} is spoken here`)
    if (this.pool.size >= this.config.limits.connections) return refuse(503, 'too many connections')
    if (this.#unauthenticated >= UNAUTHENTICATED_CONNECTIONS_MAX)
      return refuse(503, 'too many connections without hello')
    const token = Authenticator.tokenOf(request.authorization)
    const principal = token === null ? undefined : this.authenticator.principalOf(token)
    if (token !== null && principal === undefined) return refuse(401, 'the token is not valid')
    return { kind: 'accept', context: new Connection(this.pool, principal), protocol: SUBPROTOCOL }
  }

  onOpen(socket: EngineSocket<Connection>): void {
    const connection = socket.context
    connection.socket = socket
    this.pool.add(connection)
    this.#unauthenticated++
    connection.startHelloTimer(this.timers)
  }

  onAuthenticated(connection: Connection): void {
    this.#unauthenticated--
    connection.stopHelloTimer()
  }

  onMessage(socket: EngineSocket<Connection>, bytes: Uint8Array, isBinary: boolean): void {
    if (!socket.context.isClosed) this.#dispatcher.onMessage(socket.context, bytes, isBinary)
  }

  onDrain(socket: EngineSocket<Connection>): void {
    socket.context.onDrain()
  }

  onClose(socket: EngineSocket<Connection>, end: SocketEnd): void {
    const connection = socket.context
    if (!this.pool.delete(connection)) return
    if (!connection.isReady) this.#unauthenticated--
    connection.stopHelloTimer()
    connection.onClosed()
    // What it had under way is room for those that wait for credit.
    this.#scheduleTurn()
    this.#logEnd(socket, end)
  }

  #logEnd(socket: EngineSocket<Connection>, end: SocketEnd): void {
    const { clientName: client, openRequests } = socket.context
    const fields = { client, address: socket.remoteAddress, code: end.code, reason: end.reason, openRequests }
    if (end.byBroker && !this.#isClosing) this.logger.info(fields, 'a connection was closed by the broker')
    else this.logger.debug(fields, 'a connection has ended')
  }

  onHttp: EngineHandler<Connection>['onHttp'] = (request) => this.#http.answer(request)

  // --- what handlers ask for

  /** A partition that serves, and its shard; throws MillraceError otherwise. */
  servingPartition(topicId: string, number: number): { partition: PartitionProxy; link: ShardLink } {
    const topic = this.router.byId(topicId)
    if (topic === undefined) throw new MillraceError('UNKNOWN_TOPIC_ID')
    const partition = topic.partitions[number]
    if (partition === undefined)
      throw new MillraceError(
        'UNKNOWN_TOPIC_OR_PARTITION',
        `${topic.record.state.name} has partitions 0 to ${topic.partitions.length - 1}, not ${number}`,
      )
    const refusal = leadRefusal(partition)
    if (refusal !== undefined) throw new MillraceError(refusal.code, refusal.text)
    return { partition, link: this.links[partition.shard]! }
  }

  checkLeaderEpoch(partition: PartitionProxy, leaderEpoch: number): void {
    if (leaderEpoch === -1 || leaderEpoch === partition.leaderEpoch) return
    throw new MillraceError(leaderEpoch < partition.leaderEpoch ? 'FENCED_LEADER_EPOCH' : 'UNKNOWN_LEADER_EPOCH')
  }

  liveBrokers(): readonly MetadataBroker[] {
    if (this.cluster === undefined)
      return [{ nodeId: this.identity.nodeId, url: this.advertisedUrl, rack: this.config.cluster.rack }]
    return this.cluster.brokers().map(({ nodeId, state: { url, rack } }) => ({ nodeId, url, rack }))
  }

  kafkaBrokers(): readonly KafkaBroker[] {
    if (this.cluster === undefined) {
      const address = this.kafka?.advertised
      return address === undefined ? [] : [{ nodeId: this.identity.nodeId, ...address, rack: this.config.cluster.rack }]
    }
    return this.cluster.brokers().flatMap(({ nodeId, state: { kafka, rack } }) => {
      const address = kafka === undefined ? undefined : hostPortOf(kafka)
      return address === undefined ? [] : [{ nodeId, ...address, rack }]
    })
  }

  get controllerId(): number {
    return this.cluster === undefined ? this.identity.nodeId : (this.cluster.controllerNodeId ?? -1)
  }

  leaderOf(partition: PartitionProxy): { readonly nodeId: number; readonly url: string } | undefined {
    const { nodeId } = this.identity
    if (this.cluster === undefined || partition.leaderNodeId === nodeId)
      return partition.state === 'offline' ? undefined : { nodeId, url: this.advertisedUrl }
    const broker = this.cluster.image.brokers.get(partition.leaderNodeId)
    return broker === undefined ? undefined : { nodeId: partition.leaderNodeId, url: broker.state.url }
  }

  mayReadAsFollower({ state, inSync }: PartitionProxy): boolean {
    return (
      state === 'following' && this.cluster?.registration.isRegistered === true && inSync.includes(this.identity.nodeId)
    )
  }

  nextProducerId(): Promise<number> {
    return this.#producerIds.next()
  }

  onTopicChanged(topic: RoutedTopic): void {
    this.groups.onTopicChanged(topic)
  }

  /** A partition leads here from now on, or again. */
  onLeads(partition: PartitionProxy): void {
    this.transactions.onLeads(partition)
  }

  onRefusedWithoutReply(code: string): void {
    this.metrics.countError(code)
  }

  /** `isAlone`: of this broker only. */
  async describeCluster(isAlone = false): Promise<ClusterDescription> {
    await this.refreshStats()
    return describe(this, (link) => this.#stats.get(link.shard), isAlone)
  }

  /** Asks every shard for its numbers, and sets the gauges. */
  async refreshStats(): Promise<void> {
    await Promise.all(
      this.links.map(async (link) => {
        if (link.state !== 'serving') return
        try {
          this.#onStats(link, await link.control<ShardStats>(ControlOperation.STATS, {}))
        } catch (error) {
          this.logger.debug({ err: error, shard: link.shard }, 'no stats')
        }
      }),
    )
    this.metrics.setGateway({
      connections: this.pool.size,
      unauthenticatedConnections: this.#unauthenticated + (this.kafka?.unauthenticatedConnections ?? 0),
      receiveBytes: this.pool.pendingReceiveBytes,
      sendBytes: this.pool.pendingSendBytes,
      topics: this.router.topicCount,
      partitions: this.router.partitionCount,
    })
  }

  // --- shards

  #makeLink(channel: ShardChannel, shard: ShardIndex): ShardLink {
    return new ShardLink({
      shard,
      side: openGatewaySide(channel),
      stagedBytesMax: this.config.rings.requestBytes * 2,
      onDirty: () => this.#scheduleTurn(),
      onPatient: (link) => void this.timers.after(PATIENCE_MS, () => link.flush()),
      onNotice: (link, notice) => this.#onNotice(link, notice),
      onReplicaSynced: (link, rows) => (this.cluster as ReplicationListener | undefined)?.onReplicaSynced(link, rows),
    })
  }

  /** A shard has ended, by its own words or because its thread is gone. */
  onShardFailed(shard: number, reason: string, isStorage: boolean): void {
    const link = this.links[shard]
    if (link === undefined || link.state === 'failed' || link.state === 'stopped') return
    if (this.#isClosing) {
      link.fail(reason)
      return
    }
    this.logger.error({ shard, reason }, 'a shard has failed: its partitions are offline')
    this.router.failShard(link.shard, reason)
    link.fail(reason)
    this.cluster?.onOfflineChanged()
    if (isStorage) this.#storageFailures++
    if (this.#storageFailures < 2) return
    // Two shards, one device: nothing that lies on it is to be believed any more.
    const all = `two shards met storage errors on the same data dir, the last: ${reason}`
    for (const other of this.links) {
      if (other.state === 'failed') continue
      this.router.failShard(other.shard, all)
      other.fail(all)
    }
  }

  #onNotice(link: ShardLink, notice: Notice): void {
    switch (notice.kind) {
      case 'log':
        this.logger[notice.level]({ shard: link.shard }, notice.text)
        return
      case 'partition-offline': {
        const partition = this.router.byRef(notice.partitionRef)
        if (partition === undefined) return
        setOffline(partition, notice.reason)
        this.cluster?.onOfflineChanged()
        const { topicName, partition: number } = partition
        this.logger.error({ topic: topicName, partition: number, reason: notice.reason }, 'a partition is offline')
        return
      }
      case 'shard-failed':
        this.onShardFailed(link.shard, notice.reason, notice.storage)
        return
      case 'produce-failed':
        this.onRefusedWithoutReply(String(notice.errorNumber))
        this.logger.debug({ shard: link.shard, partitionRef: notice.partitionRef }, notice.text)
        return
      case 'group-changed':
        for (const { connectionId, memberId } of notice.members)
          this.pool.byId(connectionId)?.hintGroupChanged(memberId)
        return
      case 'stats':
        this.#onStats(link, notice.stats)
        return
      case 'compact':
        void this.#runCompaction(link, notice.partitionRef, notice.task)
        return
      case 'write-markers':
        void this.transactions.writeMarkers(link, notice.partitionRef, notice.rows)
        return
      case 'in-sync-wish':
        ;(this.cluster as ReplicationListener | undefined)?.onInSyncWish(link, notice)
        return
      case 'disk-low':
        // Each shard looks by itself: ready again when the last one has seen room.
        if (notice.low) this.notReady.add(`shard ${link.shard}: disk nearly full`)
        else this.notReady.delete(`shard ${link.shard}: disk nearly full`)
        this.cluster?.onDiskLow(link, notice.low)
        this.logger.warn({ shard: link.shard, freeBytes: notice.freeBytes }, notice.low ? 'disk low' : 'disk has room')
        return
      default:
        this.logger.debug({ shard: link.shard, notice }, 'a notice of an unknown kind')
    }
  }

  /** The pool's answer, or why there is none, goes back to the shard that asked; one that has ended meanwhile needs none. */
  async #runCompaction(link: ShardLink, partitionRef: number, task: unknown): Promise<void> {
    let body: CompactedBody
    try {
      body = { partitionRef, result: await this.#compact(task), fault: null }
    } catch (error) {
      body = { partitionRef, result: null, fault: error instanceof Error ? error.message : String(error) }
    }
    // The shard compacts nothing else before it has heard of it.
    await this.tell(link, ControlOperation.COMPACTED, body)
  }

  /** Tells a shard what it waits for, again and again while it has no room; one that has ended needs to hear nothing. */
  async tell(link: ShardLink, operation: ControlOperation, body: unknown): Promise<void> {
    while (link.state === 'serving') {
      try {
        await link.control(operation, body)
        return
      } catch (error) {
        if (!isMillraceError(error) || error.code !== 'OVERLOADED') {
          this.logger.debug({ err: error, shard: link.shard, operation }, 'a shard could not be told')
          return
        }
        await new Promise<void>((resolve) => this.timers.after(TELL_RETRY_MS, resolve))
      }
    }
  }

  #onStats(link: ShardLink, stats: ShardStats): void {
    this.#stats.set(link.shard, stats)
    this.metrics.setShard(link.shard, { ...stats, ...gaugesOf(link) })
  }

  // --- the loop

  /** At the end of this turn of the event loop: outboxes leave, shards are woken, once. */
  #scheduleTurn(): void {
    if (this.#isTurnDue) return
    this.#isTurnDue = true
    this.timers.soon(() => {
      this.#isTurnDue = false
      this.#endTurn()
    })
  }

  readonly #turn = (): void => {
    const startedMs = this.clock.monotonicMs()
    let bytes = 0
    let isMore = true
    while (isMore && bytes < DRAIN_BYTES && this.clock.monotonicMs() - startedMs < DRAIN_MS) {
      isMore = false
      for (const link of this.links) {
        const drained = link.drain(DRAIN_BYTES / 4)
        bytes += drained
        if (drained > 0) isMore = true
      }
    }
    this.#endTurn()
    if (isMore) this.timers.soon(this.#turn)
    else this.#doorbell.arm()
  }

  #endTurn(): void {
    this.pool.feedStarved()
    // Shards before sockets: they work while this thread sends.
    for (const link of this.links) if (link.isDue) link.flush()
    const dirty = this.pool.dirty
    this.pool.dirty = []
    // Sending a megabyte takes about a millisecond: nobody's acknowledgement waits for that.
    for (const connection of dirty) if (!connection.hasMuchToSend) connection.flush()
    for (const connection of dirty) if (connection.isDirty) connection.flush()
  }

  // --- the end

  /** Nothing new is begun: see drain(). */
  get isClosing(): boolean {
    return this.#isClosing
  }

  /** Takes no new connections and produces; waits until those under way are answered or `timeoutMs` is over. */
  async drain(timeoutMs: number): Promise<void> {
    await this.cluster?.stepDown()
    this.#isClosing = true
    this.notReady.add('stopping')
    this.#engine.stopListening()
    this.kafka?.stopListening()
    const untilMs = this.clock.monotonicMs() + timeoutMs
    const isIdle = () => this.deadlines.size === 0
    while (!isIdle() && this.clock.monotonicMs() < untilMs)
      await new Promise<void>((resolve) => this.timers.after(10, resolve))
  }

  /** Asks every shard to write everything and stop; answers those that did not. */
  async stopShards(timeoutMs: number): Promise<number[]> {
    const failed: number[] = []
    this.cluster?.onShardsStop()
    await Promise.all(
      this.links.map(async (link) => {
        if (link.state === 'failed') return void failed.push(link.shard)
        const stopped = link.control(ControlOperation.SHUTDOWN, {}).then(
          () => true,
          (error) => {
            this.logger.error({ shard: link.shard }, `the shard did not stop in order: ${String(error)}`)
            return false
          },
        )
        const isLate = new Promise<false>((resolve) => this.timers.after(timeoutMs, () => resolve(false)))
        if (await Promise.race([stopped, isLate])) link.state = 'stopped'
        else failed.push(link.shard)
      }),
    )
    return failed
  }

  async close(): Promise<void> {
    for (const stop of this.#stopTimers) stop()
    this.drainWatch.close()
    await this.#userStore.close()
    await this.cluster?.close()
    this.#endTurn()
    await Promise.all([this.#engine.close(), this.kafka?.close()])
    this.#doorbell.close()
    this.metrics.close()
  }
}
