/** Brokers that do nothing but register, each with its controller, on one store in virtual time. */
import { beginIncarnation, registerBroker } from '../../src/coordination/cluster-identity.ts'
import { ClusterWatch } from '../../src/coordination/cluster-watch.ts'
import type { ProbeAnswer } from '../../src/coordination/controller/broker-liveness.ts'
import { Controller } from '../../src/coordination/controller/controller.ts'
import type { BrokerState, PartitionState, Replica } from '../../src/coordination/keys.ts'
import { MemoryMetadataStore } from '../../src/coordination/memory-metadata-store.ts'
import type { MetadataStore, StoreLease } from '../../src/coordination/metadata-store.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../src/model/topic-config.ts'
import { VirtualTime } from './virtual-timers.ts'

export class ClusterBroker {
  readonly self: Replica
  readonly controller: Controller
  readonly watch: ClusterWatch
  readonly lease: StoreLease
  readonly #store: MetadataStore
  readonly #state: Omit<BrokerState, 'leaseId'>

  constructor(
    parts: Pick<ClusterBroker, 'self' | 'controller' | 'watch' | 'lease'>,
    store: MetadataStore,
    state: Omit<BrokerState, 'leaseId'>,
  ) {
    this.self = parts.self
    this.controller = parts.controller
    this.watch = parts.watch
    this.lease = parts.lease
    this.#store = store
    this.#state = state
  }

  async register(change: Partial<BrokerState>): Promise<void> {
    await registerBroker(this.#store, this.lease, this.self.nodeId, { ...this.#state, ...change })
  }

  /** Its process is gone: nothing more comes of it, and its lease ends. */
  async die(): Promise<void> {
    await this.watch.close()
    await this.lease.revoke()
  }
}

export interface StartOptions {
  readonly rack?: string
  readonly directoryId?: string
  readonly isClean?: boolean
  readonly state?: Partial<BrokerState>
  /** What the broker's controller sees of the store. */
  readonly store?: MetadataStore
}

export class Cluster {
  readonly time = new VirtualTime()
  readonly store = new MemoryMetadataStore(this.time)
  readonly brokers = new Map<number, ClusterBroker>()
  readonly warnings: string[] = []
  /** What probes of a node answer; 'alive' where nothing is said. */
  readonly probes = new Map<number, ProbeAnswer>()
  minInsyncReplicas = 1
  #ids = 0

  async start(nodeId: number, options: StartOptions = {}): Promise<ClusterBroker> {
    const { store, time } = this
    const { directoryId = `d${nodeId}`, isClean = true } = options
    const start = { directoryId, isClean, timers: time, registrationWaitMs: 6_000 }
    const { incarnation } = await beginIncarnation(store, { nodeId, newId: () => this.newId(), cluster: start })
    const lease = await store.lease(6_000)
    const self = { nodeId, incarnation }
    const controller = this.#controllerOf(self, options.store ?? store, (revision) => watch.waitFor(revision))
    const watch: ClusterWatch = await ClusterWatch.open(
      options.store ?? store,
      (changes, image) => controller.onChanges(changes, image),
      {
        timers: time,
      },
    )
    const state: Omit<BrokerState, 'leaseId'> = {
      ...{ incarnation, url: `ws://${nodeId}`, rack: options.rack ?? null, version: '0', directoryId, isClean },
      ...{ damaged: [], isStopping: false, ...options.state },
    }
    await registerBroker(store, lease, nodeId, state)
    controller.campaign(lease)
    const broker = new ClusterBroker({ self, controller, watch, lease }, store, state)
    this.brokers.set(nodeId, broker)
    return broker
  }

  #controllerOf(self: Replica, store: MetadataStore, waitFor: (revision: number) => Promise<void>): Controller {
    const probe = async (nodeId: number) => this.probes.get(nodeId) ?? 'alive'
    const config = { ...TOPIC_CONFIG_DEFAULTS, minInsyncReplicas: this.minInsyncReplicas }
    return new Controller({
      ...{ store, self, clock: this.time, timers: this.time, waitFor, newId: () => this.newId() },
      log: (level, text) => void (level === 'warn' && this.warnings.push(text)),
      defaults: { partitions: 6, replicas: -1, config },
      probes: { probe, askPeer: (_, nodeId) => probe(nodeId) },
    })
  }

  newId(): string {
    return (++this.#ids).toString(16).padStart(12, '7').padEnd(32, '0')
  }

  /** Who controls, by what each of them believes. */
  get controllers(): Controller[] {
    return [...this.brokers.values()].map(({ controller }) => controller).filter(({ isActive }) => isActive)
  }

  get controller(): Controller {
    return this.controllers[0]!
  }

  partitionsOf(name: string): readonly PartitionState[] {
    return this.#anyWatch().image.topicByName(name)!.partitions
  }

  #anyWatch(): ClusterWatch {
    return [...this.brokers.values()].at(-1)!.watch
  }

  async kill(nodeId: number): Promise<void> {
    const broker = this.brokers.get(nodeId)!
    this.brokers.delete(nodeId)
    await broker.die()
  }

  /** Waits for what a request of a controller answers, while time goes on. */
  async answerOf<T>(request: Promise<T>): Promise<T> {
    let isDone = false
    const settle = () => {
      isDone = true
    }
    request.then(settle, settle)
    for (let rounds = 0; !isDone && rounds < 200; rounds++) await this.time.pass(50)
    return request
  }
}
