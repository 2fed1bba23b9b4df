/**
 * ClusterAgent: this broker as one of a cluster: what the metadata store says is applied to router and shards, what shards wish is
 * written to it, and the broker is registered as long as it lives.
 *
 * Owns        the watch of the store, the registration, peers, local replicas
 * Thread      main
 * Invariants  CA1 the router is the image: a topic, partition or leader is what the newest change says, changes applied in their order
 *             CA2 while the lease may be over, no replicated partition of this broker acknowledges acks=leader or none
 *             CA3 what is not in sync because it is damaged here is registered as damaged before the broker serves
 * Ordering    start: image -> replicas opened as what they are -> registered -> changes as they come
 *             stop: stopping registered -> leaderships gone, or STOP_WAIT_MS -> what was asked is answered -> lease revoked, shards stop beside it
 * Failure     the store cannot be reached: replication and acks=all go on; leaders, in-sync sets and topics stay as they are
 * Not here    decisions about leaders and topics (coordination/controller), what a replica does (worker/)
 */
import type { Clock } from '../../base/clock.ts'
import type { BrokerConfig } from '../../config/index.ts'
import type { ClusterIdentity } from '../../coordination/cluster-identity.ts'
import type { ClusterImage, ImageChange } from '../../coordination/cluster-image.ts'
import { ClusterWatch } from '../../coordination/cluster-watch.ts'
import { Controller } from '../../coordination/controller/controller.ts'
import type { BrokerState } from '../../coordination/keys.ts'
import type { MetadataStore, StoreLease } from '../../coordination/metadata-store.ts'
import { isMillraceError } from '../../model/errors.ts'
import { partitionFolder, type TopicId } from '../../model/ids.ts'
import { probeBroker, type ReplicaProgressMessage, suspectBroker } from '../../protocol/index.ts'
import { ControlOperation, type Notice } from '../../ring/control-messages.ts'
import type { ReplicaProgressRow, ReplicaSyncedRow } from '../../ring/replica-codec.ts'
import type { Logger } from '../../telemetry/logger.ts'
import type { Transport } from '../../transport/transport.ts'
import type { PartitionOpener, RecoveredOf } from '../partition-opener.ts'
import { NOTHING_RECOVERED } from '../partition-opener.ts'
import type { PartitionProxy, PartitionRouter, RoutedTopic } from '../partition-router.ts'
import type { ReplicationListener } from '../replication-listener.ts'
import type { ShardLink } from '../shard-link.ts'
import type { Timers } from '../timers.ts'
import type { TopicAdmin } from '../topic-admin.ts'
import { CatchUpThrottle } from './catch-up-throttle.ts'
import { ControllerCalls } from './controller-calls.ts'
import { InSyncWriter } from './in-sync-writer.ts'
import { LatestWords } from './latest-words.ts'
import { type LocalReplica, LocalReplicas } from './local-replicas.ts'
import { OnceATurn } from './once-a-turn.ts'
import { type PeerAddress, Peers } from './peers.ts'
import { Registration } from './registration.ts'
import { ReplicaFetcher } from './replica-fetcher.ts'
import { ReplicaHosting } from './replica-hosting.ts'
import { ReplicaRepair, type SetAside } from './replica-repair.ts'

const REQUEST_TIMEOUT_MS = 10_000
const STOP_WAIT_MS = 5_000
const STOP_LOOK_MS = 20
/** Keys that cannot be read, a line each: another release may have written thousands. */
const UNREADABLE_LINES_MAX = 20

/** What a broker of a cluster has besides its configuration. */
export interface ClusterOptions {
  readonly transport: Transport
  /** What brokers know each other by. */
  readonly secret: string
  /** Of the data dir. */
  readonly directoryId: string
  /** The last run on it ended in order. */
  readonly isClean: boolean
  /** Of the data dir: what is left of a damaged replica goes into quarantine/. */
  readonly setAside: SetAside
  /** The process cannot go on: another one has its node id. */
  readonly onOver: (reason: string) => void
}

/** What the agent needs of the broker. */
export interface ClusterContext {
  readonly version: string
  readonly config: BrokerConfig
  readonly identity: ClusterIdentity
  readonly store: MetadataStore
  readonly router: PartitionRouter
  readonly links: readonly ShardLink[]
  readonly opener: PartitionOpener
  readonly clock: Clock
  readonly timers: Timers
  readonly logger: Logger
  /** Where clients and brokers reach this one. */
  readonly advertisedUrl: string
  /** HOST:PORT for Kafka clients; undefined: it does not take them. */
  readonly kafkaAddress: string | undefined
  /** Unique ids of 32 hex digits. */
  readonly newId: () => string
  /** It is there, has more partitions, or is deleted. */
  onTopicChanged(topic: RoutedTopic): void
  /** A partition leads here from now on. */
  onLeads(partition: PartitionProxy): void
}

export class ClusterAgent implements ReplicationListener {
  readonly peers: Peers
  /** What the controller is to decide, wherever it is. */
  readonly calls: ControllerCalls
  readonly replicas: LocalReplicas
  readonly #context: ClusterContext
  readonly #options: ClusterOptions
  readonly #inSync: InSyncWriter
  readonly #repair: ReplicaRepair
  readonly #registration: Registration
  /** A disk that fails takes thousands of replicas with it, and is told of one by one. */
  readonly #offlineChanged: OnceATurn
  /** Whether acks=leader is suspended, by shard; the configuration of a partition. */
  readonly #words: LatestWords<ShardLink | PartitionProxy>
  #watch: ClusterWatch | undefined
  /** As found at the start. What of it was not opened then lies as it was found, until its topic can be read. */
  #recovered: RecoveredOf = NOTHING_RECOVERED
  /** Of what was found: opened once, and written to since. */
  readonly #opened = new Set<string>()
  readonly #hosting: ReplicaHosting
  /** Shards that found the disk nearly full. */
  readonly #lowShards = new Set<number>()
  #isDiskLow = false
  #isClosed = false
  #left: Promise<void> | undefined
  /** Under which the controller has campaigned. */
  #campaign: StoreLease | undefined
  /** Controls the cluster while it is elected. */
  readonly controller: Controller

  constructor(context: ClusterContext, options: ClusterOptions) {
    const { identity, clock, timers, logger, store, version, links, router, opener, config } = context
    const self = { nodeId: identity.nodeId, incarnation: identity.incarnation }
    this.#context = context
    this.#options = options
    this.peers = new Peers({
      ...{ clock, timers, transport: options.transport, secret: options.secret, version },
      ...{ nodeId: identity.nodeId, clusterId: identity.clusterId, requestTimeoutMs: REQUEST_TIMEOUT_MS },
      onUnreachable: (address) => void this.#suspect(address),
    })
    this.#words = new LatestWords({
      timers,
      onFault: (err) => logger.debug({ err }, 'a shard could not be told'),
    })
    this.calls = new ControllerCalls({
      ...{ nodeId: identity.nodeId, peers: this.peers, clock, timers },
      controllerNodeId: () => this.controllerNodeId,
    })
    const throttle = new CatchUpThrottle(config.cluster.catchUpBytes)
    this.replicas = new LocalReplicas({
      ...{ self, links, router, opener, timers, logger },
      makeFetcher: (leaderNodeId) =>
        new ReplicaFetcher({
          ...{ leaderNodeId, self, peers: this.peers, links, clock, timers, logger },
          ...{ waitMs: Math.min(config.cluster.fetchWaitMs, Math.floor(config.cluster.replicaLagMs / 4)), throttle },
        }),
      onLeads: (replica, isNew) => this.#onLeads(replica, isNew),
      onOffline: () => this.onOfflineChanged(),
    })
    this.#hosting = new ReplicaHosting({
      ...{ nodeId: self.nodeId, router, replicas: this.replicas, logger },
      renamed: (proxy) => this.#repair.renamed(proxy),
    })
    this.#repair = new ReplicaRepair({
      ...{ nodeId: self.nodeId, links, router, replicas: this.replicas, timers, logger },
      setAside: options.setAside,
      onRepaired: () => this.onOfflineChanged(),
    })
    this.#inSync = new InSyncWriter({
      ...{ store, replicas: this.replicas, clock, timers, logger },
      brokers: () => this.#watch?.image.brokers,
      onResigned: (resigned) => this.#registration.update({ resigned }),
    })
    this.#registration = new Registration({
      ...{ store, nodeId: identity.nodeId, leaseTtlMs: config.cluster.leaseTtlMs, clock, timers, logger },
      waitFor: (revision) => this.watch.waitFor(revision),
      onState: (state) => this.#setSuspended(state === 'suspended'),
      onRegistered: (lease) => this.#onRegistered(lease),
      onOver: options.onOver,
    })
    this.#offlineChanged = new OnceATurn(timers, () => this.#tellOffline())
    this.controller = new Controller({
      ...{ store, self: context.identity, clock, timers, defaults: config.topics, newId: context.newId },
      log: (level, text) => logger[level](text),
      waitFor: (revision) => this.watch.waitFor(revision),
      probes: {
        probe: (nodeId) => this.peers.probe(nodeId),
        askPeer: (peerNodeId, nodeId) => this.askToProbe(peerNodeId, nodeId),
      },
    })
  }

  get image(): ClusterImage {
    if (this.#watch === undefined) throw new Error('the cluster is not watched yet')
    return this.#watch.image
  }

  get watch(): ClusterWatch {
    if (this.#watch === undefined) throw new Error('the cluster is not watched yet')
    return this.#watch
  }

  get registration(): Registration {
    return this.#registration
  }

  /** NO_LEADER-like: undefined when nobody controls now. */
  get controllerNodeId(): number | undefined {
    return this.#watch?.image.controller?.state.nodeId
  }

  /** What this broker decides itself while it controls; NOT_CONTROLLER when it does not. */
  localController(): TopicAdmin {
    const { controller } = this
    return {
      create: (wish, validateOnly) => controller.createTopic(wish, validateOnly),
      delete: (name) => controller.deleteTopic(name),
      addPartitions: (name, total) => controller.addPartitions(name, total),
      drainPartitions: (name, total) => controller.drainPartitions(name, total),
      partitionEmptied: (topicId, partition) => controller.partitionEmptied(topicId, partition),
      alterConfig: (name, change) => controller.alterConfig(name, change),
    }
  }

  brokers(): { readonly nodeId: number; readonly state: BrokerState }[] {
    return [...(this.#watch?.image.brokers ?? [])].map(([nodeId, { state }]) => ({ nodeId, state }))
  }

  /** Resolves when the replicas of this broker are open and the cluster follows; it is not registered yet. */
  async open(recovered: RecoveredOf): Promise<void> {
    const { store, timers, logger } = this.#context
    this.#recovered = recovered
    this.#watch = await ClusterWatch.open(store, (changes, image) => this.#apply(changes, image), {
      timers,
      onResync: (reason) => logger.info({ reason }, 'the metadata store is listed anew'),
      onUnreadable: (found, mended) => {
        for (const { key, text } of found.slice(0, UNREADABLE_LINES_MAX))
          logger.error({ key }, `${text}; what it says stays as it was known, until the key is another or gone`)
        if (found.length > UNREADABLE_LINES_MAX)
          logger.error(`metadata: ${found.length - UNREADABLE_LINES_MAX} more keys are not readable`)
        if (mended.length > 0)
          logger.info(
            { keys: mended.slice(0, UNREADABLE_LINES_MAX) },
            `metadata: ${mended.length} keys are readable again, or gone`,
          )
      },
    })
    await this.#hosting.settled()
  }

  /** From here on others may lead, follow and ask this broker. */
  async register(): Promise<void> {
    const { identity, config, version, advertisedUrl, kafkaAddress } = this.#context
    const { directoryId, isClean } = this.#options
    await this.#registration.start({
      ...{ incarnation: identity.incarnation, url: advertisedUrl, rack: config.cluster.rack, version },
      ...(kafkaAddress === undefined ? {} : { kafka: kafkaAddress }),
      ...{ directoryId, isClean, damaged: this.#offline(), isDiskLow: this.#isDiskLow, isStopping: false },
    })
    for (const { proxy, state } of this.replicas.all()) this.#repair.look(proxy, state)
  }

  /** Whether a shard finds room on its disk: all of them have the same one, and each looks by itself. */
  onDiskLow({ shard }: ShardLink, isLow: boolean): void {
    if (isLow) this.#lowShards.add(shard)
    else this.#lowShards.delete(shard)
    const isDiskLow = this.#lowShards.size > 0
    if (isDiskLow === this.#isDiskLow) return
    this.#isDiskLow = isDiskLow
    this.#registration.update({ isDiskLow })
  }

  /** Another replica of this broker is offline, or one is no more: the controller is to know. */
  onOfflineChanged(): void {
    this.#offlineChanged.ask()
  }

  /**
   * Shards are about to end. What they refuse from here on is no fault of theirs, nothing is fetched for them, and others are told at once that
   * this broker is gone: until then their acks=all waits for replicas here that fetch no more.
   */
  onShardsStop(): void {
    this.replicas.onShardsStop()
    void this.#leave()
  }

  /** Its leaderships go to others, as far as there are any. */
  async stepDown(): Promise<void> {
    const { clock, timers, router, identity } = this.#context
    this.#registration.update({ isStopping: true })
    const untilMs = clock.monotonicMs() + STOP_WAIT_MS
    const couldGo = (): boolean =>
      [...router.topics()].some(({ partitions }) =>
        partitions.some((proxy) => proxy.leaderNodeId === identity.nodeId && proxy.inSync.length > 1),
      )
    while (couldGo() && clock.monotonicMs() < untilMs)
      await new Promise<void>((resolve) => void timers.after(STOP_LOOK_MS, resolve))
  }

  async close(): Promise<void> {
    await this.#leave()
    this.#isClosed = true
    this.#hosting.close()
    this.#inSync.close()
    this.#words.close()
    await this.#repair.close()
    this.replicas.close()
    this.peers.close()
    await this.#watch?.close()
  }

  /** Gives up control, then the lease. */
  #leave(): Promise<void> {
    this.#left ??= this.controller.close().then(() => this.#registration.close())
    return this.#left
  }

  // --- shards and peers

  onReplicaSynced(_link: ShardLink, rows: readonly ReplicaSyncedRow[]): void {
    this.replicas.progress(rows)
  }

  onInSyncWish(_link: ShardLink, wish: Extract<Notice, { kind: 'in-sync-wish' }>): void {
    this.#inSync.onWish(wish)
  }

  /** A follower told how far it has synced. */
  onProgress({ nodeId, incarnation, rows }: ReplicaProgressMessage): void {
    const { router, links } = this.#context
    const byLink = new Map<ShardLink, ReplicaProgressRow[]>()
    for (const { topicId, partition, leaderEpoch, syncedEndOffset } of rows) {
      const proxy = router.partition(topicId, partition)
      if (proxy === undefined || proxy.state === 'elsewhere') continue
      const link = links[proxy.shard]!
      const row = { partitionRef: proxy.ref, leaderEpoch, nodeId, incarnation, syncedEndOffset }
      const list = byLink.get(link)
      if (list === undefined) byLink.set(link, [row])
      else list.push(row)
    }
    for (const [link, list] of byLink) link.replicaProgress(list)
  }

  // --- the image

  #apply(changes: readonly ImageChange[], image: ClusterImage): void {
    if (this.#isClosed) return
    for (const change of changes) this.#applySafely(change)
    this.controller.onChanges(changes, image)
  }

  /** A topic that this release cannot read is not to keep the others from being followed. */
  #applySafely(change: ImageChange): void {
    try {
      this.#applyOne(change)
    } catch (error) {
      if (!isMillraceError(error)) throw error
      const topic = 'topic' in change ? change.topic.state.name : undefined
      this.#context.logger.error({ err: error, topic }, `what the store says cannot be applied here: ${change.kind}`)
    }
  }

  #applyOne(change: ImageChange): void {
    const { router, onTopicChanged } = this.#context
    switch (change.kind) {
      case 'topic-added': {
        const topic = router.add(change.topic)
        this.#open(topic, topic.partitions)
        onTopicChanged.call(this.#context, topic)
        return
      }
      case 'topic-removed': {
        const topic = router.byId(change.topic.topicId)
        if (topic === undefined) return
        router.remove(topic)
        onTopicChanged.call(this.#context, topic)
        for (const proxy of topic.partitions) this.#hosting.remove(proxy)
        return
      }
      case 'topic-changed':
        this.#changeTopic(change)
        return
      case 'partition':
        this.#changePartition(change)
        return
      case 'broker':
        this.#changeBroker(change)
        return
      default:
    }
  }

  #changeTopic({ topic: record }: Extract<ImageChange, { kind: 'topic-changed' }>): void {
    const { router, opener } = this.#context
    const topic = router.byId(record.topicId)
    if (topic === undefined) {
      // It could not be read when it came.
      this.#applyOne({ kind: 'topic-added', topic: record })
      return
    }
    const gone = router.shrink(topic, record)
    router.updateConfig(topic, record)
    for (const proxy of gone) this.#hosting.remove(proxy)
    for (const proxy of topic.partitions) this.#words.tell(proxy, () => opener.updateConfig(proxy, topic))
    this.#context.onTopicChanged(topic)
  }

  #changePartition(change: Extract<ImageChange, { kind: 'partition' }>): void {
    const { router, identity } = this.#context
    const topic = router.byId(change.topic.topicId)
    if (topic === undefined) return
    if (topic.partitions[change.partition] === undefined) {
      this.#open(topic, router.extend(topic, change.topic))
      this.#context.onTopicChanged(topic)
      return
    }
    const proxy = topic.partitions[change.partition]!
    router.updatePartition(proxy, change.state)
    // When it is gone, its partition is looked at again.
    if (this.#hosting.isRemoving(proxy)) return
    const isMine = change.state.replicas.includes(identity.nodeId)
    if (proxy.state === 'elsewhere') {
      if (!isMine) return
      router.host(proxy)
      this.#open(topic, [proxy])
    } else if (isMine) {
      this.replicas.update(proxy, change.state, change.version)
      this.#repair.look(proxy, change.state)
    } else this.#hosting.remove(proxy)
  }

  #changeBroker({ nodeId, broker }: Extract<ImageChange, { kind: 'broker' }>): void {
    this.#inSync.onBrokersChanged()
    if (nodeId === this.#context.identity.nodeId) return
    if (broker === undefined) {
      this.peers.forget(nodeId)
      return
    }
    const { incarnation, url } = broker.state
    this.peers.learn({ nodeId, incarnation, url })
    this.replicas.wake(nodeId)
  }

  #open(topic: RoutedTopic, proxies: readonly PartitionProxy[]): void {
    const found = new Map<number, unknown>()
    for (const { state, topicId, partition } of proxies) {
      const name = partitionFolder(topicId, partition)
      if (state !== 'opening' || this.#opened.has(name)) continue
      const recovered = this.#recovered(topicId, partition) ?? null
      if (recovered === null) continue
      this.#opened.add(name)
      found.set(partition, recovered)
    }
    this.#hosting.open(topic, proxies, (_topicId, partition) => found.get(partition) ?? null)
  }

  #tellOffline(): void {
    if (this.#isClosed) return
    this.#registration.update({ failed: this.#offline() })
    for (const { proxy, state } of this.replicas.all()) this.#repair.look(proxy, state)
  }

  #offline(): { topicId: TopicId; partition: number }[] {
    const offline: { topicId: TopicId; partition: number }[] = []
    for (const { proxy } of this.replicas.all())
      if (proxy.state === 'offline') offline.push({ topicId: proxy.topicId, partition: proxy.partition })
    return offline
  }

  #onLeads({ proxy, state }: LocalReplica, isNew: boolean): void {
    if (!isNew) return
    const { topicName: topic, partition } = proxy
    this.#context.logger.debug({ topic, partition, leaderEpoch: state.leaderEpoch }, 'this broker leads')
    this.#context.onLeads(proxy)
  }

  #onRegistered(lease: StoreLease): void {
    if (this.#campaign === lease) return
    this.#campaign = lease
    this.controller.campaign(lease)
  }

  #setSuspended(isSuspended: boolean): void {
    const { links, logger } = this.#context
    if (isSuspended) logger.warn('the lease may be over: acks=leader and none are refused')
    for (const link of links)
      this.#words.tell(link, () => link.control(ControlOperation.SUSPEND_LEADER_ACKS, { isSuspended }))
  }

  /** A broker cannot be reached: if nothing listens there any more, the controller hears of it. */
  async #suspect({ nodeId, incarnation }: PeerAddress): Promise<void> {
    try {
      if ((await this.peers.probe(nodeId)) !== 'refused' || this.#isClosed) return
      const controller = this.controllerNodeId
      if (controller === undefined || controller === nodeId) await this.#judge(nodeId, incarnation)
      else if (controller === this.#context.identity.nodeId) await this.controller.suspect(nodeId, incarnation)
      else await this.peers.ask(controller, suspectBroker, { nodeId, incarnation })
    } catch (error) {
      // Nobody waits for this: what another broker is or says must not end this one.
      const level = isMillraceError(error) ? 'debug' : 'error'
      this.#context.logger[level]({ err: error, nodeId }, 'the controller could not be told of a suspicion')
    }
  }

  /** The controller itself is suspected: one more broker that finds nothing there is as good as its judgement. */
  async #judge(nodeId: number, incarnation: number): Promise<void> {
    // While this broker starts it may hear of others before it sees the cluster: it is asked again, or another one judges.
    const broker = this.#watch?.image.brokers.get(nodeId)?.state
    const witness = this.peers.nodeIds().find((other) => other !== nodeId)
    if (broker?.incarnation !== incarnation || witness === undefined) return
    if ((await this.askToProbe(witness, nodeId)) === 'refused') await this.#context.store.revokeLease(broker.leaseId)
  }

  /** What another broker finds at the address of `nodeId`. */
  async askToProbe(peerNodeId: number, nodeId: number): Promise<'refused' | 'alive' | 'unknown'> {
    return (await this.peers.ask(peerNodeId, probeBroker, { nodeId })).finding
  }
}
