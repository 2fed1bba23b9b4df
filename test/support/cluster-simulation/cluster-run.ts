/**
 * ClusterRun: one seed: brokers, a metadata store, clients and their misfortunes, in virtual time.
 *
 *   brokers -> topics -> clients and misfortunes together -> heal -> everything open must end, all in-sync sets complete -> final read
 *   -> rest -> the replicas' disks, history and invariants
 *
 * Determinism   all chance is the seed's; `traceHash` of two runs of one seed is the same
 * Limits        RUN_MS_MAX of virtual time, STEPS_MAX events
 */
import { Client } from '../../../src/client/client.ts'
import type { ClientRuntime } from '../../../src/client/client-runtime.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import { NO_CODECS } from '../../../src/record/compression.ts'
import { checkHistory } from '../../../src/tools/check-history.ts'
import type { HistoryOperation } from '../../../src/tools/history.ts'
import type { SeedOutcome } from '../seed-loop.ts'
import { BatchLedger } from '../simulation/batch-ledger.ts'
import { Reach } from '../simulation/reach.ts'
import { type PlannedTopic, pick } from '../simulation/seed-plan.ts'
import { VirtualTime } from '../simulation/virtual-time.ts'
import { consume, produce, readAll, sleep, type WorkloadContext } from '../simulation/workload.ts'
import { ClusterFaults } from './cluster-faults.ts'
import { ClusterNetwork } from './cluster-network.ts'
import { type ClusterMode, type ClusterPlan, drawClusterPlan } from './cluster-plan.ts'
import type { ClusterEvent } from './cluster-reach.ts'
import { ClusterWatcher } from './cluster-watcher.ts'
import { PipelineWorkload, RESULTS_TOPIC } from './pipeline-workload.ts'
import { type CheckedPartition, ReplicaImages } from './replica-images.ts'
import { SimulatedNode, urlOf } from './simulated-node.ts'
import { SimulatedStore } from './simulated-store.ts'
import { transact } from './transaction-workload.ts'

const RUN_MS_MAX = 900_000
const STEPS_MAX = 3_000_000
const LOOK_MS = 20
/** With nothing to do any more followers have all within this. */
const REST_MS = 4_000
const ATTEMPTS_MAX = 60
const LOG_LINES_MAX = 600
export const CLIENTS_HOST = 'clients'

export function runClusterSeed(seed: number): Promise<SeedOutcome> {
  return new ClusterRun(seed, 'swarm').toEnd()
}

/** The power of all brokers goes at once, again and again. */
export function runPowerCutSeed(seed: number): Promise<SeedOutcome> {
  return new ClusterRun(seed, 'power').toEnd()
}

/** The disk of one broker is damaged while it is away, again and again. */
export function runDamageSeed(seed: number): Promise<SeedOutcome> {
  return new ClusterRun(seed, 'damage').toEnd()
}

export class ClusterRun {
  readonly time: VirtualTime
  readonly network: ClusterNetwork
  readonly store: SimulatedStore
  readonly plan: ClusterPlan
  readonly nodes: readonly SimulatedNode[]
  readonly context: WorkloadContext
  readonly reach = new Reach<ClusterEvent>()
  readonly watcher: ClusterWatcher
  readonly #seed: number
  readonly #ledger = new BatchLedger()
  readonly #images: ReplicaImages
  readonly #history: HistoryOperation[] = []
  readonly #log: string[] = []
  readonly #topicIds = new Map<string, TopicId>()
  /** topic/partition: a transaction is open there. */
  readonly #open = new Set<string>()
  #isHealed = false
  #isOver = false
  #isFinished = false
  #phase = 'start'
  #failure: unknown

  constructor(seed: number, mode: ClusterMode) {
    this.#seed = seed
    this.time = new VirtualTime(seed)
    this.network = new ClusterNetwork(this.time)
    this.store = new SimulatedStore(this.time)
    this.plan = drawClusterPlan(this.time.prng, mode)
    this.#images = new ReplicaImages(this.#ledger)
    this.nodes = Array.from({ length: this.plan.nodes }, (_, index) => this.#makeNode(index + 1))
    if (this.plan.nodes === 5) this.count('five brokers')
    this.watcher = new ClusterWatcher({
      ...{ nodes: this.nodes, store: this.store.shared, count: this.count, say: this.say },
      isInTransaction: (topicId, partition) => this.#open.has(`${this.#nameOf(topicId)}/${partition}`),
    })
    this.context = {
      ...{ time: this.time, ledger: this.#ledger, reach: this.reach, history: this.#history },
      connect: () => this.connect(),
      onBug: this.fail,
      isKept: () => true,
      acksThatHold: ['all'],
      isOver: () => this.#isOver,
      isHealed: () => this.#isHealed,
      sendMsMax: Number.POSITIVE_INFINITY,
    }
  }

  async toEnd(): Promise<SeedOutcome> {
    const { time } = this
    try {
      this.#scenario().then(() => {
        this.#isFinished = true
      }, this.fail)
      const done = () => this.#isFinished || this.#failure !== undefined
      if (!(await time.runUntil(done, RUN_MS_MAX, STEPS_MAX))) this.fail(new Error(`stuck in phase '${this.#phase}'`))
    } catch (error) {
      this.fail(error)
    }
    for (const node of this.nodes) node.broker?.vanish()
    const failure = this.#failure === undefined ? undefined : textOf(this.#failure)
    return {
      ...{ seed: this.#seed, traceHash: time.traceHash, events: time.steps, virtualMs: time.monotonicMs() },
      ...{ reach: this.reach.counts, failure, log: this.#log, plan: this.plan },
    }
  }

  readonly fail = (error: unknown): void => {
    if (this.#isFinished) return
    this.#failure ??= error ?? new Error('undefined was thrown')
    this.time.stop()
  }

  readonly count = (event: ClusterEvent, by = 1): void => this.reach.add(event, by)

  readonly say = (text: string): void => {
    if (this.#log.length >= LOG_LINES_MAX) this.#log.shift()
    this.#log.push(`${this.time.monotonicMs().toFixed(2)} ${text}`)
  }

  get isHealed(): boolean {
    return this.#isHealed
  }

  connect(): Promise<Client> {
    const { time } = this
    const runtime: ClientRuntime = {
      ...{ clock: time, prng: time.prng, transport: this.network.transport(CLIENTS_HOST), codecs: NO_CODECS },
      startTimer: (delayMs, task) => {
        const timer = time.after(delayMs, 'client', task)
        return { cancel: () => time.cancel(timer) }
      },
    }
    const urls = this.nodes.map(({ nodeId }) => urlOf(nodeId))
    return Client.connect(runtime, urls, { connectWaitMs: 900_000, requestTimeoutMs: 5_000, silenceMsMax: 2_000 })
  }

  /** Does `work` with a client until it succeeds. */
  async insist<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = await this.connect()
    try {
      for (let attempt = 1; ; attempt++)
        try {
          return await work(client)
        } catch (error) {
          if (attempt === ATTEMPTS_MAX) throw error
          this.time.trace(String(error))
          await sleep(this.time, 500)
        }
    } finally {
      await client.close()
    }
  }

  /** I1, now: what a power cut of everything that keeps nothing unsynced would leave. */
  checkShadow(): void {
    const { prng } = this.time
    const partitions = this.#partitions()
    const images = this.nodes.map(({ nodeId, machine }) =>
      this.#images.imageOf(nodeId, machine.disk.crash(prng, { kind: 'power', survival: 'none' }), partitions),
    )
    this.#images.checkSafe(images, partitions, this.plan.minInsyncReplicas)
    this.count('shadow recovery')
  }

  #makeNode(nodeId: number): SimulatedNode {
    const { time, network, store, plan, count, say } = this
    return new SimulatedNode(nodeId, {
      ...{ time, network, store, plan, count, say, onBug: this.fail, isOver: () => this.#phase === 'judgement' },
      onRecovered: (node, { results }) => {
        for (const { folder, cutBytes, notes } of results) {
          if (cutBytes > 0) count('torn tail cut')
          for (const text of notes) say(`${node.nodeId}: recovery of ${folder}: ${text}`)
        }
      },
      onStats: (_node, { duplicateBatches = 0 }) => {
        if (duplicateBatches > 0 && (this.reach.counts.get('leader change') ?? 0) > 0) count('dedup across failover')
      },
    })
  }

  // --- phases

  async #scenario(): Promise<void> {
    const { plan, time } = this
    for (const node of this.nodes) node.supervise().catch(this.fail)
    this.#watch()
    this.#phase = 'topics'
    await this.#makeTopics()
    this.#phase = 'workload'
    const work = this.#work()
    const pipeline = this.#pipeline()
    const readers = Array.from({ length: plan.consumers }, (_, count) => {
      const isolation = pick(time.prng, ['read_committed', 'read_uncommitted'] as const)
      return consume(this.context, 200 + count, pick(time.prng, plan.topics), isolation)
    })
    const faults = new ClusterFaults(this)
    await Promise.all(Array.from({ length: plan.faultLanes }, () => faults.lane()))
    await faults.heal()
    this.#isHealed = true
    this.say('healed')
    this.#phase = 'liveness: producers'
    await Promise.all(work)
    this.#phase = 'liveness: a new topic'
    await this.#makeNewTopic()
    this.#isOver = true
    this.#phase = 'liveness: consumers'
    await Promise.all(readers)
    this.#phase = 'liveness: results'
    await pipeline?.finish()
    this.#phase = 'liveness: in-sync sets'
    while (!this.isComplete()) await sleep(time, 100)
    this.#phase = 'final read'
    for (const [index, topic] of plan.topics.entries()) await readAll(this.context, 300 + index, topic)
    this.#phase = 'rest'
    await sleep(time, REST_MS)
    this.#phase = 'judgement'
    this.#judge()
  }

  /** Until the run is judged. */
  #watch(): void {
    this.time.after(LOOK_MS, 'watcher', () => {
      if (this.#phase === 'judgement' || this.#failure !== undefined) return
      try {
        this.watcher.look()
      } catch (error) {
        this.fail(error)
      }
      this.#watch()
    })
  }

  #work(): Promise<void>[] {
    const { plan, time, context, count } = this
    const work: Promise<void>[] = []
    for (let index = 0; index < plan.producers; index++) {
      const topic = pick(time.prng, plan.topics)
      const { acks, recordsPerProducer: records } = plan
      work.push(produce(context, { process: 100 + index, topic, records, acks }))
    }
    for (let index = 0; index < plan.transactors; index++) {
      const wish = { process: 400 + index, topics: plan.topics, transactions: 4, open: this.#open, count }
      work.push(transact(context, wish))
    }
    return work
  }

  #pipeline(): PipelineWorkload | undefined {
    const { plan, context, count } = this
    if (plan.pipelineMembers === 0) return undefined
    return new PipelineWorkload(context, { input: plan.topics[0]!, members: plan.pipelineMembers, count })
  }

  async #makeTopics(): Promise<void> {
    const { replicas } = this.plan
    // Before all brokers are there a topic gets as few replicas as there are brokers.
    while (!this.nodes.every((node) => node.isServing)) await sleep(this.time, 50)
    for (const { name, partitions, config } of this.#topics()) {
      const made = await this.insist((client) =>
        client.admin.topics.create(name, { partitions, replicas, config, ifNotExists: true }),
      )
      this.#topicIds.set(name, made.topicId as TopicId)
    }
  }

  /** After everything healed a topic can be made and written to, without a restart. */
  async #makeNewTopic(): Promise<void> {
    await this.insist((client) => client.admin.topics.create('after-all', { partitions: 2, ifNotExists: true }))
    await this.insist((client) => client.producer('after-all').send({ value: 'still here' }))
  }

  /** Every replica of every partition is in sync. */
  isComplete(): boolean {
    return this.watcher
      .states()
      .every(
        ({ replicas, inSyncReplicas, leader, adding, removing }) =>
          inSyncReplicas.length === replicas.length && leader >= 0 && adding.length + removing.length === 0,
      )
  }

  /** Those of the plan, and the results'. */
  #topics(): readonly PlannedTopic[] {
    const { topics, pipelineMembers } = this.plan
    return pipelineMembers === 0 ? topics : [...topics, { ...topics[0]!, name: RESULTS_TOPIC }]
  }

  #nameOf(topicId: string): string {
    for (const [name, id] of this.#topicIds) if (id === topicId) return name
    return ''
  }

  #partitions(): CheckedPartition[] {
    const checked: CheckedPartition[] = []
    for (const { name, partitions } of this.#topics()) {
      const topicId = this.#topicIds.get(name)
      for (let partition = 0; topicId !== undefined && partition < partitions; partition++)
        checked.push({ topic: name, topicId, partition })
    }
    return checked
  }

  // --- judgement

  #judge(): void {
    const verdict = checkHistory(this.#history)
    const anomalies = verdict.anomalies.map(
      ({ kind, topic, partition, offset, text, line }) =>
        `${kind} ${topic}-${partition} @${offset} line ${line}: ${text}`,
    )
    if (anomalies.length > 0) throw new Error(`the history is not valid:\n${anomalies.slice(0, 20).join('\n')}`)
    const partitions = this.#partitions()
    const kind = pick(this.time.prng, ['kill', 'power'] as const)
    const images = this.nodes.map((node) => {
      node.die(kind)
      return this.#images.imageOf(node.nodeId, node.machine.disk, partitions)
    })
    for (const checked of partitions) this.#images.checkEqual(images, checked, this.#replicasOf(checked))
    for (const node of this.nodes) node.checkSetAside()
  }

  #replicasOf({ topicId, partition }: CheckedPartition): readonly number[] {
    return this.watcher.stateOf(topicId, partition).replicas
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? String(error)) : String(error)
}
