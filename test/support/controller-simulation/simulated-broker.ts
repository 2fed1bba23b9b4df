/**
 * SimulatedBroker: one machine of the cluster: its data dir, and the process that runs on it or does not: registration, watch, controller,
 * leaderships and fetches as far as they matter to what the controller decides.
 */
import { beginIncarnation, registerBroker } from '../../../src/coordination/cluster-identity.ts'
import type { ClusterImage } from '../../../src/coordination/cluster-image.ts'
import { ClusterWatch } from '../../../src/coordination/cluster-watch.ts'
import { Controller } from '../../../src/coordination/controller/controller.ts'
import type {
  BrokerState,
  PartitionName,
  PartitionState,
  Replica,
  ResignedLead,
} from '../../../src/coordination/keys.ts'
import type { StoreLease } from '../../../src/coordination/metadata-store.ts'
import type { TopicRecord } from '../../../src/coordination/topics.ts'
import type { Incarnation, TopicId } from '../../../src/model/ids.ts'
import { parseTopicConfig, type TopicConfig } from '../../../src/model/topic-config.ts'
import { Leading } from './leading.ts'
import { commonEnd, cutTo, ModelDirectory, type ModelLog } from './replica-model.ts'
import { SimulatedProcess } from './simulated-process.ts'
import { type SimulatedStore, SimulatedStoreClient } from './simulated-store.ts'

const LEASE_TTL_MS = 6_000
const RETRY_MS = 300
const FETCH_RECORDS_MAX = 8
/** As the product waits for somebody to take over; it may resign again sooner than there, so that a run sees it more than once. */
const RESIGN_WAIT_MS = 3_000
const RESIGN_LOOK_MS = 50
const RESIGN_PAUSE_MS = 10_000

/** What brokers need of the run. */
export interface World {
  readonly store: SimulatedStore
  readonly brokers: ReadonlyMap<number, SimulatedBroker>
  readonly defaults: TopicConfig
  newId(): string
  nextRecord(): number
  /** Whether the two can talk. */
  isConnected(left: number, right: number): boolean
  note(what: string, who?: string): void
  onAcknowledged(name: string, records: readonly number[], leader: SimulatedBroker): void
}

export function nameOf({ topicId, partition }: PartitionName): string {
  return `${topicId}/${partition}`
}

/** One run of the process. */
interface Run {
  readonly process: SimulatedProcess
  readonly client: SimulatedStoreClient
  self: Replica | undefined
  controller: Controller | undefined
  watch: ClusterWatch | undefined
  damaged: readonly PartitionName[]
  readonly leading: Map<string, Leading>
  /** Under which it is registered, or about to be. */
  lease: StoreLease | undefined
  /** What it leads and gives up, by partition. */
  readonly resigned: Map<string, ResignedLead>
  readonly resignedMs: Map<string, number>
  /** The run before it ended in order. */
  isClean: boolean
  /** Counted with each change of what it says of itself. */
  words: number
  isTelling: boolean
}

export class SimulatedBroker {
  readonly nodeId: number
  readonly #world: World
  directory: ModelDirectory
  run: Run | undefined
  #isDiskLow = false

  constructor(nodeId: number, world: World) {
    this.nodeId = nodeId
    this.#world = world
    this.directory = new ModelDirectory(world.newId())
  }

  get isRunning(): boolean {
    return this.run !== undefined
  }

  get controller(): Controller | undefined {
    const controller = this.run?.controller
    return controller?.isActive === true ? controller : undefined
  }

  get incarnation(): Incarnation | undefined {
    return this.run?.self?.incarnation
  }

  get isDiskLow(): boolean {
    return this.#isDiskLow
  }

  /** As a leader it takes nothing while its disk is. */
  setDiskLow(isLow: boolean): void {
    this.#isDiskLow = isLow
    if (this.run !== undefined) this.#tell(this.run)
  }

  start(): void {
    if (this.run !== undefined) return
    const process = new SimulatedProcess(this.#world.store.queue)
    const client = new SimulatedStoreClient(this.#world.store, process, this.nodeId)
    const leading = new Map<string, Leading>()
    const run: Run = {
      ...{ process, client, leading, self: undefined, controller: undefined, watch: undefined, damaged: [] },
      ...{ lease: undefined, resigned: new Map(), resignedMs: new Map(), isClean: false, words: 0, isTelling: false },
    }
    this.run = run
    void this.#boot(run)
  }

  async #boot(run: Run): Promise<void> {
    const { directory } = this
    const { isClean } = directory
    run.isClean = isClean
    directory.isClean = false
    const cluster = { directoryId: directory.directoryId, isClean, timers: run.process, registrationWaitMs: 8_000 }
    const options = { nodeId: this.nodeId, newId: () => this.#world.newId(), cluster }
    const { incarnation } = await this.#insist(run, () => beginIncarnation(run.client, options))
    run.self = { nodeId: this.nodeId, incarnation }
    run.client.incarnation = incarnation
    run.damaged = [...directory.logs].filter(([, log]) => log.isDamaged).map(([name]) => partitionNameOf(name))
    run.controller = this.#controllerOf(run, run.self)
    run.watch = await this.#insist(run, () =>
      ClusterWatch.open(
        run.client,
        (changes, image) => {
          run.controller!.onChanges(changes, image)
          this.#follow(run, image)
        },
        { timers: run.process },
      ),
    )
    await this.#register(run)
  }

  /** Registers under a lease, and under another one whenever that is lost. */
  async #register(run: Run): Promise<void> {
    const lease = await this.#insist(run, () => run.client.lease(LEASE_TTL_MS))
    run.lease = lease
    lease.onLost(() => {
      run.lease = undefined
      this.#world.note('lease lost', String(this.nodeId))
      void this.#register(run)
    })
    await this.#registerUntil(run, lease)
    if (run.lease === lease) run.controller!.campaign(lease)
  }

  async #registerUntil(run: Run, lease: StoreLease): Promise<void> {
    while (run.lease === lease) {
      const { words } = run
      try {
        await registerBroker(run.client, lease, this.nodeId, this.#stateOf(run))
        if (words === run.words) return
      } catch {
        await wait(run, RETRY_MS)
      }
    }
  }

  #stateOf(run: Run): Omit<BrokerState, 'leaseId'> {
    const { nodeId } = this
    const { isClean } = run
    return {
      ...{ incarnation: run.self!.incarnation, url: `ws://${nodeId}`, rack: `r${nodeId % 3}`, version: '0' },
      ...{ directoryId: this.directory.directoryId, isClean, damaged: run.damaged, isStopping: false },
      ...{ isDiskLow: this.#isDiskLow, resigned: [...run.resigned.values()] },
    }
  }

  /** What it says of itself is another from now on: registered anew, one at a time, the newest last. */
  #tell(run: Run): void {
    run.words++
    const { lease } = run
    if (run.isTelling || run.watch === undefined || lease === undefined) return
    run.isTelling = true
    const { words } = run
    void this.#registerUntil(run, lease).finally(() => {
      run.isTelling = false
      // Under another lease by now: what came meanwhile was told by nobody, perhaps.
      if (words !== run.words || run.lease !== lease) this.#tell(run)
    })
  }

  async #insist<T>(run: Run, work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work()
      } catch {
        await wait(run, RETRY_MS)
      }
    }
  }

  #controllerOf(run: Run, self: Replica): Controller {
    const { store, defaults, note } = this.#world
    return new Controller({
      ...{ store: run.client, self, clock: run.process, timers: run.process, newId: () => this.#world.newId() },
      log: (level, text) => {
        if (level === 'warn') note('warning', `${self.nodeId}: ${text}`)
      },
      defaults: { partitions: 2, replicas: -1, config: defaults },
      waitFor: (revision) => run.watch?.waitFor(revision) ?? Promise.resolve(),
      probes: {
        probe: async (nodeId) => this.#probe(nodeId),
        askPeer: async (peer, nodeId) => this.#world.brokers.get(peer)?.probed(this.nodeId, nodeId) ?? 'unknown',
      },
      onElected: (epoch) => note('elected', `${self.nodeId} epoch ${epoch} at ${store.queue.nowMs}`),
      onEnded: (reason) => note('term ended', `${self.nodeId}: ${reason}`),
    })
  }

  #probe(nodeId: number): 'refused' | 'alive' | 'unknown' {
    if (!this.#world.isConnected(this.nodeId, nodeId)) return 'unknown'
    return this.#world.brokers.get(nodeId)!.isRunning ? 'alive' : 'refused'
  }

  /** Another broker asks what this one finds. */
  probed(by: number, nodeId: number): 'refused' | 'alive' | 'unknown' {
    return this.isRunning && this.#world.isConnected(by, this.nodeId) ? this.#probe(nodeId) : 'unknown'
  }

  /** The process is gone: killed, with the machine, or in order. */
  stop(how: 'kill' | 'power cut' | 'clean'): void {
    const { run } = this
    if (run === undefined) return
    run.process.isDead = true
    this.run = undefined
    if (how === 'clean') {
      this.directory.sync()
      // A run that did not get as far as to count its incarnation has told nobody how the last one ended: it must not say that all is well.
      this.directory.isClean = run.self !== undefined
    } else if (how === 'power cut') this.directory.crash(this.#world.store.prng)
    else this.directory.isClean = false
  }

  loseDirectory(): void {
    this.directory = new ModelDirectory(this.#world.newId())
    this.directory.isClean = false
  }

  /** What this broker leads and follows, by its image. */
  #follow(run: Run, image: ClusterImage): void {
    const led = new Set<string>()
    for (const topic of image.topics.values())
      for (const [partition, state] of topic.partitions.entries()) {
        const place = { topicId: topic.topicId, partition }
        if (state.leader !== this.nodeId || state.leaderIncarnation !== run.self!.incarnation) continue
        led.add(nameOf(place))
        this.#lead(run, place, state, topic)
      }
    for (const name of run.leading.keys()) if (!led.has(name)) run.leading.delete(name)
  }

  #lead(run: Run, place: PartitionName, state: PartitionState, topic: TopicRecord): void {
    const name = nameOf(place)
    const version = topic.partitionVersions[place.partition]!
    const known = run.leading.get(name)
    if (known?.state.leaderEpoch === state.leaderEpoch) {
      known.update(state, version)
      return
    }
    const log = this.directory.logOf(name)
    const parts = { log, config: this.configOf(topic), nowMs: run.process.nowMs() }
    run.leading.set(name, new Leading(place, state, version, parts))
    // Each leader begins its epoch with a record of its own, so that logs of two epochs differ from there on.
    log.records.push(this.#world.nextRecord())
  }

  configOf(topic: TopicRecord): TopicConfig {
    return parseTopicConfig(topic.state.config, this.#world.defaults)
  }

  /** One turn: appends, fetches, syncs, high watermarks, in-sync changes. */
  tick(): void {
    const { run } = this
    if (run?.watch === undefined || run.self === undefined) return
    run.process.deliver(() => {
      if (run !== this.run) return
      this.#fetchAll(run)
      if (this.#world.store.prng.below(3) > 0) this.#sync(run)
      for (const [name, leading] of run.leading) this.#tickLeader(run, name, leading)
    })
  }

  #sync(run: Run): void {
    const { image } = run.watch!
    for (const topic of image.topics.values()) {
      if (this.configOf(topic).fsync === 'interval' && this.#world.store.prng.below(10) > 0) continue
      for (const partition of topic.partitions.keys()) {
        const log = this.directory.logs.get(nameOf({ topicId: topic.topicId, partition }))
        if (log !== undefined) log.syncedEnd = log.records.length
      }
    }
  }

  #tickLeader(run: Run, name: string, leading: Leading): void {
    const { prng } = this.#world.store
    const log = this.directory.logOf(name)
    if (prng.below(2) === 0 && !this.#isDiskLow) log.records.push(this.#world.nextRecord())
    const before = log.highWatermark
    const highWatermark = leading.advance()
    if (highWatermark > before) this.#world.onAcknowledged(name, log.records.slice(0, highWatermark), this)
    const { image } = run.watch!
    const isRegistered = ({ nodeId, incarnation }: Replica) =>
      image.brokers.get(nodeId)?.state.incarnation === incarnation
    const next = leading.propose(run.process.nowMs(), isRegistered)
    if (next === undefined || run.resigned.has(name)) return
    if (leading.isCutOff(next, run.process.nowMs()) && this.#mayResign(run, name)) {
      void this.#resign(run, name, leading)
      return
    }
    const grows = next.inSyncReplicas.length > leading.state.inSyncReplicas.length
    leading
      .ask(next, run.client, run.process.nowMs(), (ms) => wait(run, ms))
      .then((isApplied) => isApplied && this.#world.note(grows ? 'in-sync set grown' : 'in-sync set shrunk'))
  }

  #mayResign(run: Run, name: string): boolean {
    const lastMs = run.resignedMs.get(name)
    return lastMs === undefined || run.process.nowMs() >= lastMs + RESIGN_PAUSE_MS
  }

  /** Says so, and leaves the set as it is until somebody has taken over or nobody will (broker/cluster/in-sync-writer). */
  async #resign(run: Run, name: string, leading: Leading): Promise<void> {
    const { topicId, partition, version } = leading
    const untilMs = run.process.nowMs() + RESIGN_WAIT_MS
    this.#world.note('lead resigned', `${this.nodeId}: ${name}`)
    run.resignedMs.set(name, run.process.nowMs())
    run.resigned.set(name, { topicId, partition, leaderEpoch: leading.state.leaderEpoch })
    this.#tell(run)
    while (run.leading.get(name) === leading && leading.version === version && run.process.nowMs() < untilMs)
      await wait(run, RESIGN_LOOK_MS)
    run.resigned.delete(name)
    this.#tell(run)
  }

  #fetchAll(run: Run): void {
    for (const topic of run.watch!.image.topics.values())
      for (const [partition, state] of topic.partitions.entries()) {
        if (state.leader === this.nodeId || !state.replicas.includes(this.nodeId)) continue
        this.#fetch(run, { topicId: topic.topicId, partition }, state)
      }
  }

  #fetch(run: Run, place: PartitionName, state: PartitionState): void {
    const name = nameOf(place)
    const leader = this.#world.brokers.get(state.leader)?.run
    if (leader === undefined || !this.#world.isConnected(this.nodeId, state.leader)) return
    if (leader.process.frozenUntilMs > run.process.nowMs()) return
    const leading = leader.leading.get(name)
    if (leading?.state.leaderEpoch !== state.leaderEpoch) return
    const source = this.#world.brokers.get(state.leader)!.directory.logOf(name)
    const log = this.directory.logOf(name)
    const end = commonEnd(log.records, source.records)
    if (end < log.records.length) {
      this.#world.note('truncation')
      cutTo(log, end)
    }
    leading.progress(run.self!, log.records.length, log.syncedEnd, run.process.nowMs())
    log.records.push(...source.records.slice(end, end + FETCH_RECORDS_MAX))
    log.highWatermark = Math.max(log.highWatermark, Math.min(source.highWatermark, log.records.length))
    this.#healed(run, log, state)
  }

  /** A damaged replica is whole again once it is in sync under this incarnation. */
  #healed(run: Run, log: ModelLog, state: PartitionState): void {
    if (!log.isDamaged) return
    const { nodeId, incarnation } = run.self!
    if (state.inSyncReplicas.some((one) => one.nodeId === nodeId && one.incarnation === incarnation))
      log.isDamaged = false
  }
}

function partitionNameOf(name: string): PartitionName {
  const [topicId = '', partition = ''] = name.split('/')
  return { topicId: topicId as TopicId, partition: Number(partition) }
}

function wait(run: Run, delayMs: number): Promise<void> {
  return new Promise((resolve) => void run.process.after(delayMs, resolve))
}
