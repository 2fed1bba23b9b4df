/**
 * SimulatedBroker: a whole broker in one thread under virtual time: the gateway, its shards and their disk threads over real rings,
 * the embedded metadata store, and recovery, all on the disk of a SimulatedMachine.
 *
 * Ordering   start: data dir -> metadata store -> recovery -> shards -> partitions opened -> listen, as the real one
 * Failure    die() ends it between two events, dieAtOperation() within one. A thread that ends with anything but a storage error is a bug
 *            and is told to onBug
 */
import type { Agent } from '../../../src/agent/agent.ts'
import { type Bell, Gateway } from '../../../src/broker/gateway.ts'
import type { Timers } from '../../../src/broker/timers.ts'
import { resolveConfig } from '../../../src/config/index.ts'
import { beginIncarnation } from '../../../src/coordination/cluster-identity.ts'
import { EmbeddedMetadataStore } from '../../../src/coordination/embedded-metadata-store.ts'
import { loadTopics } from '../../../src/coordination/topics.ts'
import { closeDataDirCleanly, openDataDir } from '../../../src/log/data-dir.ts'
import { type DataDirRecovery, recoverDataDir } from '../../../src/log/data-dir-recovery.ts'
import { partitionFolder } from '../../../src/model/ids.ts'
import { createSignals, RingSignal } from '../../../src/ring/ring-signal.ts'
import { createShardChannel, openDiskSide, openShardSide, type ShardChannel } from '../../../src/ring/shard-channel.ts'
import type { Logger } from '../../../src/telemetry/logger.ts'
import type { Metrics, ShardGauges } from '../../../src/telemetry/metrics.ts'
import { DiskAgent } from '../../../src/worker/disk-agent.ts'
import { ShardAgent } from '../../../src/worker/shard-agent.ts'
import { SHARD_DEFAULTS, type ShardOptions } from '../../../src/worker/shard-options.ts'
import { type DeathKind, SimulatedCrash, SimulatedDurableFiles, type SimulatedMachine } from './simulated-machine.ts'
import type { SimulatedEngine, SimulatedNetwork } from './simulated-network.ts'
import { SteppedThread } from './stepped-thread.ts'
import type { SteppedAgent, VirtualTime, VirtualTimer } from './virtual-time.ts'

export const DATA_DIR = '/data'
export const BROKER_PORT = 7171
export const BROKER_URL = `ws://127.0.0.1:${BROKER_PORT}`

const DRAIN_MS_MAX = 5_000
const SHARD_MS_MAX = 20_000

/** What a seed draws of a broker's sizes: small, so that every bound is met. */
export interface BrokerSizes {
  readonly requestRingBytes: number
  readonly replyRingBytes: number
  readonly pageBytes: number
  readonly pageCount: number
  readonly shard: Partial<ShardOptions>
  /** Of the whole file recovery reads at once. */
  readonly recoveryReadBytes: number
}

export interface SimulatedBrokerOptions {
  readonly time: VirtualTime
  readonly network: SimulatedNetwork
  readonly machine: SimulatedMachine
  readonly shards: number
  readonly sizes: BrokerSizes
  /** How long a device call takes now, ms. */
  readonly deviceMs: () => number
  readonly onRecovered: (recovery: DataDirRecovery) => void
  /** The broker broke a promise of its own. */
  readonly onBug: (error: unknown) => void
  /** What a shard says of itself from time to time. */
  readonly onStats: (shard: number, gauges: Partial<ShardGauges>) => void
  readonly onLog: (level: string, text: string) => void
}

/** The gateway's doorbell, looked at in turn with all other agents. */
class SteppedBell implements Bell, SteppedAgent {
  readonly name = 'gateway'
  readonly #signal: RingSignal
  readonly #onRing: () => void
  #seen: number
  #isArmed = false

  constructor(memory: SharedArrayBuffer, onRing: () => void) {
    this.#signal = new RingSignal(memory)
    this.#onRing = onRing
    this.#seen = this.#signal.sequence()
  }

  arm(): void {
    this.#isArmed = true
  }

  close(): void {
    this.#isArmed = false
  }

  step(): number {
    const sequence = this.#signal.sequence()
    if (!this.#isArmed || sequence === this.#seen) return 0
    this.#isArmed = false
    this.#seen = sequence
    this.#onRing()
    return 1
  }

  deadlineMs(): number {
    return Number.POSITIVE_INFINITY
  }
}

export class SimulatedBroker {
  readonly #options: SimulatedBrokerOptions
  readonly #time: VirtualTime
  readonly #engine: SimulatedEngine
  readonly #timers = new Set<VirtualTimer>()
  readonly #agents: string[] = []
  readonly #threads: SteppedThread[] = []
  #isAlive = true
  gateway: Gateway | undefined
  #stop: (() => Promise<void>) | undefined

  constructor(options: SimulatedBrokerOptions) {
    this.#options = options
    this.#time = options.time
    this.#engine = options.network.engine()
  }

  get isAlive(): boolean {
    return this.#isAlive
  }

  /** A shard that stopped serving: only a restart mends it. */
  get failedShard(): string | undefined {
    const failed = this.gateway?.links.find((link) => link.state === 'failed')
    return failed === undefined ? undefined : (failed.reason ?? 'no reason')
  }

  /** Everything of this process is gone at once. The machine is told by the caller. */
  vanish(): void {
    this.#isAlive = false
    for (const name of this.#agents) this.#time.removeAgent(name)
    for (const timer of this.#timers) this.#time.cancel(timer)
    this.#timers.clear()
    this.#engine.die()
  }

  die(kind: DeathKind): void {
    this.vanish()
    this.#options.machine.die(kind)
  }

  /** Resolves when it serves. Rejects with what kept it from starting. */
  async start(): Promise<void> {
    const { machine, sizes, shards, onRecovered } = this.#options
    const { files, probe } = machine
    const dataDir = openDataDir(files, { path: DATA_DIR, nodeId: 1, newClusterId: this.#newId(), probe })
    const store = await EmbeddedMetadataStore.open(
      new SimulatedDurableFiles(files, `${DATA_DIR}/metadata`, () => this.#pause()),
      this.#time,
    )
    this.#checkAlive()
    const { clusterId, incarnation } = dataDir.identity
    const identity = await beginIncarnation(store, { nodeId: 1, newId: () => clusterId, atLeast: incarnation })
    const topics = await loadTopics(store)
    this.#checkAlive()
    const { previousRun } = dataDir
    const recovery = recoverDataDir(files, {
      ...{ dataDir: DATA_DIR, incarnation, previousRun, readBytes: sizes.recoveryReadBytes },
    })
    onRecovered(recovery)
    const recovered = new Map(recovery.results.map((result) => [result.folder, result.recovered]))
    const doorbell = createSignals()
    const channels = Array.from({ length: shards }, () => this.#makeChannel(doorbell))
    const gateway = this.#makeGateway({ identity, store, channels, doorbell })
    this.gateway = gateway
    for (const [shard, channel] of channels.entries()) this.#startShard(shard, channel, incarnation)
    await gateway.openTopics(topics, (topicId, partition) => recovered.get(partitionFolder(topicId, partition)))
    this.#checkAlive()
    await gateway.listen()
    this.#stop = async () => {
      await gateway.drain(DRAIN_MS_MAX)
      const failed = await gateway.stopShards(SHARD_MS_MAX)
      await gateway.close()
      await store.close()
      this.#checkAlive()
      if (failed.length === 0) closeDataDirCleanly(files, dataDir)
      this.die('kill')
    }
  }

  /** Stops in order; the data dir is clean afterwards when every shard ended well. */
  stop(): Promise<void> {
    if (this.#stop === undefined) throw new Error('a broker that does not serve cannot stop in order')
    return this.#stop()
  }

  #checkAlive(): void {
    if (!this.#isAlive) throw new SimulatedCrash('the broker died meanwhile')
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.#after(this.#options.deviceMs(), 'store', resolve))
  }

  #newId(): string {
    const { prng } = this.#time
    return Array.from({ length: 4 }, () => prng.uint32().toString(16).padStart(8, '0')).join('')
  }

  #makeChannel(doorbell: SharedArrayBuffer): ShardChannel {
    const { requestRingBytes, replyRingBytes, pageBytes, pageCount } = this.#options.sizes
    return createShardChannel({
      ...{ requestRingBytes, replyRingBytes, pageBytes, pageCount, doorbell },
      ...{ readRingBytes: 16 * 1024, diskRequestRingBytes: 16 * 1024, diskReplyRingBytes: 16 * 1024 },
    })
  }

  #makeGateway(
    parts: Pick<ConstructorParameters<typeof Gateway>[0], 'identity' | 'store' | 'channels' | 'doorbell'>,
  ): Gateway {
    const flags = Object.entries({
      listen: `127.0.0.1:${BROKER_PORT}`,
      shards: String(this.#options.shards),
    }).map(([path, value]) => ({ path, value, source: 'simulation' }))
    return new Gateway({
      ...parts,
      ...{ version: '0.0.0-sim', config: resolveConfig({ flags }), engine: this.#engine, clock: this.#time },
      ...{ timers: this.#brokerTimers(), logger: this.#logger(), metrics: this.#metrics(), newId: () => this.#newId() },
      makeBell: (memory, onRing) => {
        const bell = new SteppedBell(memory, onRing)
        this.#addAgent(bell)
        return bell
      },
    })
  }

  #startShard(shard: number, channel: ShardChannel, incarnation: number): void {
    const { machine, sizes, deviceMs } = this.#options
    const clock = this.#time
    const { files } = machine
    const side = openShardSide(channel)
    const diskSide = openDiskSide(channel)
    const options: ShardOptions = { ...SHARD_DEFAULTS, ...sizes.shard, shard, incarnation, dataDir: DATA_DIR }
    const agent = new ShardAgent({ options, side, files, clock, prng: this.#time.prng })
    const disk = new DiskAgent({ name: `disk ${shard}`, side: diskSide, files, clock })
    this.#addThread(agent, side.signal, () => 0.01 + this.#time.prng.unit() * 0.05)
    this.#addThread(disk, diskSide.signal, deviceMs)
  }

  #addThread(agent: Agent, signal: RingSignal, turnMs: () => number): void {
    const onError = (error: unknown) => {
      if (error instanceof SimulatedCrash || !this.#isAlive) return
      this.#options.onBug(error)
    }
    const thread = new SteppedThread({ agent, signal, time: this.#time, turnMs, onError })
    this.#threads.push(thread)
    this.#addAgent(thread)
  }

  #addAgent(agent: SteppedAgent): void {
    this.#agents.push(agent.name)
    this.#time.addAgent(agent)
  }

  #after(delayMs: number, label: string, run: () => void): VirtualTimer | undefined {
    if (!this.#isAlive) return undefined
    const timer = this.#time.after(delayMs, label, () => {
      this.#timers.delete(timer)
      run()
    })
    this.#timers.add(timer)
    return timer
  }

  #brokerTimers(): Timers {
    const cancel = (timer: VirtualTimer | undefined) => {
      if (timer === undefined) return
      this.#timers.delete(timer)
      this.#time.cancel(timer)
    }
    return {
      every: (periodMs, task) => {
        let timer: VirtualTimer | undefined
        const again = () => {
          timer = this.#after(periodMs, 'every', () => {
            again()
            task()
          })
        }
        again()
        return () => cancel(timer)
      },
      after: (delayMs, task) => {
        const timer = this.#after(delayMs, 'after', task)
        return () => cancel(timer)
      },
      soon: (task) => void this.#after(0, 'soon', task),
    }
  }

  /** Prometheus counts for a process; a simulated broker is none. */
  #metrics(): Metrics {
    const nothing = () => {}
    return {
      ...{
        observeRequest: nothing,
        observeFetchedBytes: nothing,
        countError: nothing,
        setGateway: nothing,
        close: nothing,
      },
      ...{ contentType: 'text/plain', text: async () => '' },
      setShard: (shard: number, gauges: Partial<ShardGauges>) => this.#options.onStats(shard, gauges),
    } as unknown as Metrics
  }

  #logger(): Logger {
    const { onLog } = this.#options
    const at = (level: string) => (fields: unknown, text?: unknown) => {
      if (typeof fields === 'string') onLog(level, fields)
      else onLog(level, `${String(text)} ${describe(fields)}`)
    }
    return {
      trace: () => {},
      debug: () => {},
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
    } as unknown as Logger
  }
}

function describe(fields: unknown): string {
  if (fields instanceof Error) return String(fields.stack)
  if (typeof fields !== 'object' || fields === null) return String(fields)
  const entries = Object.entries(fields)
  return entries.map(([key, value]) => `${key}=${value instanceof Error ? value.stack : String(value)}`).join(' ')
}
