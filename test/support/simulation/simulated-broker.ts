/**
 * SimulatedBroker: the product's LocalBroker (src/in-process) under virtual time: its agents are stepped, its timers fire and its
 * messages arrive when the seed says, on the disk of a SimulatedMachine.
 *
 * Failure    die() ends it between two events, dieAtOperation() within one. A thread that ends with anything but a storage error is a bug
 *            and is told to onBug
 */
import type { Agent } from '../../../src/agent/agent.ts'
import type { Clock } from '../../../src/base/clock.ts'
import type { Gateway } from '../../../src/broker/gateway.ts'
import type { StorageTasks } from '../../../src/broker/storage-tasks.ts'
import type { BrokerConfig } from '../../../src/config/index.ts'
import { resolveConfig } from '../../../src/config/index.ts'
import type { ClusterJoin } from '../../../src/in-process/cluster-join.ts'
import { type AgentHost, LocalBroker } from '../../../src/in-process/local-broker.ts'
import { PortDurableFiles } from '../../../src/in-process/port-durable-files.ts'
import { RecoveryTasks } from '../../../src/in-process/recovery-tasks.ts'
import { shardOptionsOf } from '../../../src/in-process/shard-setup.ts'
import { SteppedBell } from '../../../src/in-process/stepped-bell.ts'
import { runCompaction, type SeededCompactionTask } from '../../../src/log/compaction-run.ts'
import {
  closeDataDirCleanly,
  type DataDir,
  LOCK_FILE,
  openDataDir,
  quarantineFolder,
} from '../../../src/log/data-dir.ts'
import { type DataDirRecovery, recoverDataDir } from '../../../src/log/data-dir-recovery.ts'
import { finishRecovery } from '../../../src/log/finish-recovery.ts'
import { partitionFolder } from '../../../src/model/ids.ts'
import { NO_CODECS } from '../../../src/record/compression.ts'
import type { RingSignal } from '../../../src/ring/ring-signal.ts'
import type { Logger } from '../../../src/telemetry/logger.ts'
import type { MetricsPort, ShardGauges } from '../../../src/telemetry/metrics.ts'
import type { ShardOptions } from '../../../src/worker/shard-options.ts'
import { type DeathKind, SimulatedCrash, type SimulatedMachine } from './simulated-machine.ts'
import type { SimulatedEngine } from './simulated-network.ts'
import { SimulatedProcess } from './simulated-process.ts'
import { SteppedThread } from './stepped-thread.ts'
import type { VirtualTime } from './virtual-time.ts'

export const DATA_DIR = '/data'
export const BROKER_PORT = 7171
export const BROKER_URL = `ws://127.0.0.1:${BROKER_PORT}`

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
  readonly engine: SimulatedEngine
  readonly machine: SimulatedMachine
  readonly shards: number
  readonly sizes: BrokerSizes
  /** How long a device call takes now, ms. */
  readonly deviceMs: () => number
  readonly onRecovered: (recovery: RecoveredDataDir) => void
  /** The broker broke a promise of its own. */
  readonly onBug: (error: unknown) => void
  /** What a shard says of itself from time to time. */
  readonly onStats: (shard: number, gauges: Partial<ShardGauges>) => void
  readonly onLog: (level: string, text: string) => void
  /** What it is in; one of its own where it is not given. */
  readonly process?: SimulatedProcess
  /** Of its machine; virtual time itself where it is not given. */
  readonly clock?: Clock
  readonly config?: BrokerConfig
  /** One of several. Left out: alone. */
  readonly cluster?: ClusterJoin
}

export type RecoveredDataDir = Pick<DataDirRecovery, 'results'> & {
  readonly journals: Pick<DataDirRecovery['journals'], 'entries'>
}

const ALONE = new Map<number, BrokerConfig>()

/** Making one takes longer than many a seed's start. */
function configAlone(shards: number): BrokerConfig {
  const known = ALONE.get(shards)
  if (known !== undefined) return known
  const flags = Object.entries({ listen: `127.0.0.1:${BROKER_PORT}`, shards: String(shards) })
  const config = resolveConfig({ flags: flags.map(([path, value]) => ({ path, value, source: 'simulation' })) })
  ALONE.set(shards, config)
  return config
}

export class SimulatedBroker {
  readonly process: SimulatedProcess
  readonly #options: SimulatedBrokerOptions
  readonly #time: VirtualTime
  readonly #broker: LocalBroker

  constructor(options: SimulatedBrokerOptions) {
    this.#options = options
    this.#time = options.time
    this.process = options.process ?? new SimulatedProcess(options.time, '')
    this.#broker = this.#makeBroker()
  }

  get gateway(): Gateway | undefined {
    return this.#broker.gateway
  }

  get isAlive(): boolean {
    return this.process.isAlive
  }

  /** A shard that stopped serving: only a restart mends it. */
  get failedShard(): string | undefined {
    const failed = this.gateway?.links.find((link) => link.state === 'failed')
    return failed === undefined ? undefined : (failed.reason ?? 'no reason')
  }

  /** Everything of this process is gone at once. The machine is told by the caller. */
  vanish(): void {
    this.process.end()
    this.#options.engine.die()
  }

  die(kind: DeathKind): void {
    this.vanish()
    this.#options.machine.die(kind)
  }

  /** Resolves when it serves. Rejects with what kept it from starting. */
  async start(): Promise<void> {
    const gateway = await this.#broker.start()
    if (this.#options.cluster === undefined) await gateway.listen()
  }

  /** Stops in order; the data dir is clean afterwards when every shard ended well. */
  async stop(): Promise<void> {
    await this.#broker.stop()
    this.#checkAlive()
    this.die('kill')
  }

  #checkAlive(): void {
    if (!this.isAlive) throw new SimulatedCrash('the broker died meanwhile')
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => void this.process.after(this.#options.deviceMs(), 'store', resolve))
  }

  #newId(): string {
    const { prng } = this.#time
    return Array.from({ length: 4 }, () => prng.uint32().toString(16).padStart(8, '0')).join('')
  }

  #makeBroker(): LocalBroker {
    const { machine, sizes, shards, engine, cluster, onBug } = this.#options
    const { files } = machine
    const { requestRingBytes, replyRingBytes, pageBytes, pageCount } = sizes
    const folder = `${DATA_DIR}/metadata`
    const config = this.#options.config ?? configAlone(shards)
    return new LocalBroker({
      ...{ version: '0.0.0-sim', config, dataDir: DATA_DIR, shards, files },
      ...{ engine, clock: this.#options.clock ?? this.#time, prng: this.#time.prng, timers: this.process.timers() },
      ...{ logger: this.#logger(), metrics: this.#metrics(), newId: () => this.#newId() },
      storage: cluster === undefined ? this.#storage() : this.#clusterStorage(),
      durableFiles: new PortDurableFiles({ files, folder, pause: () => this.#pause() }),
      host: this.#host(),
      channel: {
        ...{ requestRingBytes, replyRingBytes, pageBytes, pageCount },
        ...{ readRingBytes: 16 * 1024, diskRequestRingBytes: 16 * 1024, diskReplyRingBytes: 16 * 1024 },
      },
      shard: { ...shardOptionsOf(config), ...sizes.shard },
      checkAlive: () => this.#checkAlive(),
      // Other brokers come as soon as its replicas are open.
      ...(cluster === undefined
        ? {}
        : { cluster, onServing: (gateway: Gateway) => void gateway.listen().catch(onBug) }),
    })
  }

  #storage(): StorageTasks {
    const { machine, sizes, onRecovered } = this.#options
    const { files, probe } = machine
    let dataDir: DataDir
    return {
      open: async ({ path, nodeId, clusterId, newClusterId, newDirectoryId }) => {
        dataDir = openDataDir(files, { path, nodeId, clusterId, newClusterId, newDirectoryId, probe })
        const { identity, created, previousRun } = dataDir
        return { path, ...identity, isNew: created, previousRun }
      },
      recover: async () => {
        const { identity, previousRun } = dataDir
        const recovery = recoverDataDir(files, {
          ...{ dataDir: DATA_DIR, incarnation: identity.incarnation, previousRun, readBytes: sizes.recoveryReadBytes },
        })
        onRecovered(recovery)
        const recovered = new Map(recovery.results.map((result) => [result.folder, result.recovered]))
        return { recovered, notes: [] }
      },
      setAside: () => Promise.reject(new Error('a broker alone sets nothing aside')),
      compact: async (task) => {
        this.#checkAlive()
        const { seed, ...rest } = task as SeededCompactionTask
        return runCompaction(files, rest, { codecs: NO_CODECS, seed })
      },
      // Not clean is what a process leaves that just ends.
      close: async (_, isClean) => {
        this.#checkAlive()
        if (isClean) closeDataDirCleanly(files, dataDir)
      },
      destroy: async () => {},
    }
  }

  /** As #storage(), with what a cluster's broker does besides: folders of replicas that are not its own are set aside. */
  #clusterStorage(): StorageTasks {
    const { machine, onRecovered } = this.#options
    const { files, probe } = machine
    const alone = this.#storage()
    const tasks = new RecoveryTasks(files, async (target, list) => list.run(target))
    let dataDir: DataDir
    return {
      ...alone,
      open: async ({ path, nodeId, clusterId, newClusterId, newDirectoryId }) => {
        dataDir = openDataDir(files, { path, nodeId, clusterId, newClusterId, newDirectoryId, probe })
        const { identity, created, previousRun } = dataDir
        return { path, ...identity, isNew: created, previousRun }
      },
      recover: async (_, known) => {
        const { path, previousRun, identity } = dataDir
        const { incarnation } = identity
        const knownFolders = new Set(known.map(({ topicId, partition }) => partitionFolder(topicId, partition)))
        const { adopted, partitions, notes } = await tasks.prepareRecovery({ dataDir, knownFolders })
        const rest = await tasks.recoverPartitions({ dataDir: path, incarnation, previousRun, partitions })
        const results = [...adopted, ...rest]
        finishRecovery(files, { dataDir: path, incarnation, results })
        onRecovered({ results, journals: { entries: 0 } })
        const recovered = new Map<string, unknown>()
        for (const result of results) if (result.recovered !== null) recovered.set(result.folder, result.recovered)
        return { recovered, notes }
      },
      setAside: async (_, folder) => {
        this.#checkAlive()
        const { path, identity } = dataDir
        if (files.stat(`${path}/${folder}`).kind === 'absent') return null
        return quarantineFolder(files, { path, incarnation: identity.incarnation }, folder)
      },
      close: async (_, isClean) => {
        this.#checkAlive()
        if (isClean) closeDataDirCleanly(files, dataDir)
        else files.remove(`${dataDir.path}/${LOCK_FILE}`)
      },
    }
  }

  #host(): AgentHost {
    return {
      addAgent: (agent, signal, onEnded) => {
        this.#addThread(agent, signal, onEnded)
        return () => {}
      },
      makeBell: (memory, onRing) => {
        const bell = new SteppedBell(memory, onRing)
        this.process.addAgent(bell)
        return bell
      },
    }
  }

  #addThread(agent: Agent, signal: RingSignal, onEnded: (error: unknown) => void): void {
    const isDisk = agent.name.startsWith('disk')
    const turnMs = isDisk ? this.#options.deviceMs : () => 0.01 + this.#time.prng.unit() * 0.05
    const onBug = (error: unknown) => {
      if (error !== undefined && !(error instanceof SimulatedCrash) && this.isAlive) this.#options.onBug(error)
      else if (error === undefined) onEnded(error)
    }
    this.process.addAgent(new SteppedThread({ agent, signal, time: this.#time, turnMs, onEnded: onBug }))
  }

  /** Prometheus counts for a process; a simulated broker is none. */
  #metrics(): MetricsPort {
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
    }
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
