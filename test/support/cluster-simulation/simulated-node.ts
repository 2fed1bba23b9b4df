/**
 * SimulatedNode: one broker of a simulated cluster: its machine, and one run of the broker after the other on it.
 *
 * Owns       the machine's disk and wall clock, the run of now, its connection to the store
 * Life       supervise() starts the broker whenever there is none, and again when a shard of it has failed; a node that is held down
 *            stays away until it is let up
 * Failure    what a run may never do is told to onBug: a thread that ends by anything but a storage error, a start that fails for
 *            another reason than a disk or store that is not there
 */
import { type BrokerConfig, resolveConfig } from '../../../src/config/index.ts'
import type { SharedMemoryClient, StoreFault } from '../../../src/coordination/shared-memory-store.ts'
import { StorageError } from '../../../src/io/file-system.ts'
import { isMillraceError } from '../../../src/model/errors.ts'
import type { ShardGauges } from '../../../src/telemetry/metrics.ts'
import { between, pick } from '../simulation/seed-plan.ts'
import { DATA_DIR, type RecoveredDataDir, SimulatedBroker } from '../simulation/simulated-broker.ts'
import { type DeathKind, SimulatedCrash, SimulatedMachine } from '../simulation/simulated-machine.ts'
import { SimulatedProcess } from '../simulation/simulated-process.ts'
import type { VirtualTime } from '../simulation/virtual-time.ts'
import { sleep } from '../simulation/workload.ts'
import type { ClusterNetwork } from './cluster-network.ts'
import type { ClusterPlan } from './cluster-plan.ts'
import type { ClusterEvent } from './cluster-reach.ts'
import type { DiskDamage } from './disk-damage.ts'
import { type SimulatedStore, StoreOfProcess } from './simulated-store.ts'

const LOOK_MS = 20
/** In what a start may meet. */
const START_FAULTS = new Set([
  'BROKER_NOT_AVAILABLE',
  'DUPLICATE_BROKER_REGISTRATION',
  'UNKNOWN_SERVER_ERROR',
  'CLOSED',
])

export interface NodeContext {
  readonly time: VirtualTime
  readonly network: ClusterNetwork
  readonly store: SimulatedStore
  readonly plan: ClusterPlan
  readonly count: (event: ClusterEvent, by?: number) => void
  readonly say: (text: string) => void
  readonly onBug: (error: unknown) => void
  readonly onRecovered: (node: SimulatedNode, recovery: RecoveredDataDir) => void
  readonly onStats: (node: SimulatedNode, gauges: Partial<ShardGauges>) => void
  readonly isOver: () => boolean
}

export class SimulatedNode {
  readonly nodeId: number
  readonly host: string
  readonly machine: SimulatedMachine
  deviceMsMax: number
  /** Of the machine's wall clock, against everybody's. */
  wallOffsetMs = 0
  /** Not started again until it is false. */
  isHeldDown = false
  /** Starts may end in the middle of a disk operation. */
  diesInRecovery = false
  /** It has just died in the middle of one. */
  onDeathWithin: () => void = () => {}
  readonly #context: NodeContext
  #broker: SimulatedBroker | undefined
  #client: SharedMemoryClient | undefined
  #storeFault: StoreFault | undefined
  #starts = 0
  #isServing = false
  /** Damaged folders that it had. */
  readonly #damaged = new Set<string>()

  constructor(nodeId: number, context: NodeContext) {
    this.nodeId = nodeId
    this.host = hostOf(nodeId)
    this.#context = context
    this.deviceMsMax = context.plan.deviceMsMax
    this.machine = new SimulatedMachine(context.time)
    this.machine.onDeath = (kind) => {
      context.count('death within an operation')
      this.#say(`died (${kind}) within a disk operation`)
      this.#gone(kind)
      this.onDeathWithin()
    }
  }

  get broker(): SimulatedBroker | undefined {
    return this.#broker
  }

  get isAlive(): boolean {
    return this.#broker?.isAlive === true
  }

  /** So many runs there were. */
  get starts(): number {
    return this.#starts
  }

  /** Its start has ended well, and nothing has happened to it since. */
  get isServing(): boolean {
    return this.isAlive && this.#isServing
  }

  die(kind: DeathKind): void {
    if (!this.isAlive) return
    this.#say(`dies: ${kind}`)
    this.#gone(kind)
    this.machine.die(kind)
  }

  /** A machine without a process has a page cache to lose too. */
  losePower(): void {
    if (this.isAlive) this.die('power')
    else this.machine.die('power')
  }

  /** While it does not run. */
  damage(damage: DiskDamage): void {
    for (const folder of damage.strike()) this.#damaged.add(folder)
    if (this.machine.disk.stat(`${DATA_DIR}/data-dir.json`).kind === 'absent') this.#damaged.clear()
  }

  /** What was damaged is kept, whatever became of the replica. */
  checkSetAside(): void {
    const path = `${DATA_DIR}/quarantine`
    const kept = this.#damaged.size === 0 ? [] : this.machine.disk.list(path)
    for (const folder of this.#damaged)
      if (!kept.some((name) => name.startsWith(`${folder}.`)))
        throw new Error(`node ${this.nodeId}: the damaged ${folder} is not in quarantine: ${kept.join(' ')}`)
  }

  /** Its process, if there is one, is stopped for so long. */
  async stopFor(ms: number): Promise<void> {
    const process = this.#broker?.process
    if (process === undefined || !this.isAlive) return
    this.#context.count('stopped')
    process.stop()
    await sleep(this.#context.time, ms)
    process.continue()
  }

  /** Of this run and those after it, until mendStore(). */
  cutStore(fault: StoreFault): void {
    this.#context.count('store unreachable')
    this.#storeFault = fault
    this.#client?.cut(fault)
  }

  /** What the network held of its transactions arrives now, or never. */
  mendStore(isDelivered: boolean): void {
    if (this.#storeFault === undefined) return
    this.#storeFault = undefined
    if (isDelivered) this.#client?.deliverHeld()
    else this.#client?.dropHeld()
    this.#client?.mend()
  }

  async supervise(): Promise<void> {
    const { time, isOver, count } = this.#context
    const { prng } = time
    while (!isOver()) {
      if (!this.isAlive) {
        if (this.#starts > 0) await sleep(time, between(prng, 1, pick(prng, [50, 500, 2500])))
        if (!this.isHeldDown && !isOver()) await this.#start()
        else await sleep(time, LOOK_MS)
      } else if (this.#broker!.failedShard !== undefined) {
        this.#say(`shard failed: ${this.#broker!.failedShard}`)
        count('shard failed')
        await sleep(time, between(prng, 1, 500))
        this.die('kill')
      } else await sleep(time, LOOK_MS)
    }
  }

  /** Stops in order, and is started again by supervise(). */
  async restart(): Promise<void> {
    const broker = this.#broker
    if (broker === undefined || !this.isServing || broker.failedShard !== undefined || broker.process.isStopped) return
    this.#say('stops in order')
    this.#isServing = false
    let isStopped = false
    broker.stop().then(
      () => {
        isStopped = true
        this.#context.count('clean restart')
        this.#client?.crash()
      },
      (error: unknown) => {
        if (broker.isAlive && !isStartTrouble(error)) this.#context.onBug(error)
        if (broker.isAlive) this.die('kill')
      },
    )
    // A broker that dies meanwhile never ends its stop.
    while (!isStopped && broker.isAlive) await sleep(this.#context.time, 5)
  }

  #gone(kind: DeathKind): void {
    const { network, time } = this.#context
    this.#isServing = false
    if (kind === 'power') network.powerOff(this.host)
    this.#broker?.vanish()
    this.#client?.crash()
    // Its kernel is there again some time before its broker is.
    if (kind === 'power') time.after(between(time.prng, 0.5, 3000), 'power', () => network.powerOn(this.host))
  }

  async #start(): Promise<void> {
    const { time, network, plan, store, count, onBug, onRecovered, onStats } = this.#context
    const { prng } = time
    network.powerOn(this.host)
    const process = new SimulatedProcess(time, `${this.nodeId} `)
    const clock = { nowMs: () => time.nowMs() + this.wallOffsetMs, monotonicMs: () => time.monotonicMs() }
    const client = store.clientOf(process, clock)
    if (this.#storeFault !== undefined) client.cut(this.#storeFault)
    this.#client = client
    const broker = new SimulatedBroker({
      ...{ time, machine: this.machine, shards: plan.shards, sizes: plan.sizes, process, clock, onBug },
      engine: network.engine(this.host, process),
      config: configOf(this.nodeId, plan),
      deviceMs: () => between(prng, 0.02, this.deviceMsMax),
      onRecovered: (recovery) => onRecovered(this, recovery),
      onStats: (_shard, gauges) => onStats(this, gauges),
      onLog: (level, text) => this.#log(level, text),
      cluster: {
        store: new StoreOfProcess(client, process, () => count('unknown store outcome')),
        transport: network.transport(this.host, process),
        onOver: (reason) => {
          this.#say(`over: ${reason}`)
          this.die('kill')
        },
      },
    })
    this.#broker = broker
    this.#starts++
    if (this.diesInRecovery && prng.below(2) === 0)
      this.machine.dieAtOperation(prng.below(80), pick(prng, ['kill', 'power']))
    this.#say(`start ${this.#starts}`)
    let isSettled = false
    broker.start().then(
      () => {
        isSettled = true
        if (broker.isAlive) this.#isServing = true
        this.#say(`serves`)
      },
      (error: unknown) => {
        isSettled = true
        this.#onStartFailed(broker, error)
      },
    )
    // One that dies meanwhile never ends its start.
    while (!isSettled && broker.isAlive) await sleep(time, 5)
  }

  #onStartFailed(broker: SimulatedBroker, error: unknown): void {
    if (!broker.isAlive || error instanceof SimulatedCrash) return
    if (!isStartTrouble(error)) {
      this.#context.onBug(error)
      return
    }
    this.#context.count('start failed')
    this.#say(`start failed: ${String(error)}`)
    this.die('kill')
  }

  #log(level: string, text: string): void {
    const { count, onBug } = this.#context
    this.#say(`${level} ${text}`)
    if (/below its high watermark/.test(text)) onBug(new Error(`node ${this.nodeId}: ${text}`))
    const cut = /the log ended at (\d+), was cut and ends at (\d+)/.exec(text)
    if (cut !== null) count(Number(cut[2]) > Number(cut[1]) ? 'begun anew' : 'truncated')
    if (text.includes('the lease of this broker is lost')) count('lease lost')
    if (text.includes('begins anew from its leader')) count('replica set aside')
    if (text.includes('it resigns')) count('lead resigned')
  }

  #say(text: string): void {
    this.#context.say(`${this.nodeId}: ${text}`)
  }
}

export function hostOf(nodeId: number): string {
  return `node-${nodeId}`
}

export function urlOf(nodeId: number): string {
  return `ws://${hostOf(nodeId)}:7171`
}

const CONFIGS = new Map<string, BrokerConfig>()

/** Making one takes longer than many a broker's start. */
function configOf(nodeId: number, plan: ClusterPlan): BrokerConfig {
  const flags = Object.entries({
    ...{ nodeId, listen: '127.0.0.1:7171', shards: plan.shards, 'listeners.advertised': urlOf(nodeId) },
    ...{ 'cluster.secret': 'a-secret-of-the-simulation', 'cluster.leaseTtl': `${plan.leaseTtlMs}ms` },
    ...{ 'cluster.replicaLag': `${plan.replicaLagMs}ms`, 'cluster.fetchWait': `${plan.fetchWaitMs}ms` },
    ...{ 'groups.offsetsPartitions': 1, 'transactions.statePartitions': 2 },
  }).map(([path, value]) => ({ path, value: String(value), source: 'simulation' }))
  const key = JSON.stringify(flags)
  const known = CONFIGS.get(key)
  if (known !== undefined) return known
  const config = resolveConfig({ flags })
  CONFIGS.set(key, config)
  return config
}

function isStartTrouble(error: unknown): boolean {
  if (error instanceof StorageError) return true
  return isMillraceError(error) && (error.cause instanceof StorageError || START_FAULTS.has(error.code))
}
