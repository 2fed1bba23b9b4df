/**
 * SimulatedBroker: the product's LocalBroker (src/in-process) under virtual time: its agents are stepped, its timers fire and its
 * messages arrive when the seed says, on the disk of a SimulatedMachine.
 *
 * Failure    die() ends it between two events, dieAtOperation() within one. A thread that ends with anything but a storage error is a bug
 *            and is told to onBug
 */
import type { Agent } from '../../../src/agent/agent.ts'
import type { Gateway } from '../../../src/broker/gateway.ts'
import type { StorageTasks } from '../../../src/broker/storage-tasks.ts'
import type { Timers } from '../../../src/broker/timers.ts'
import { resolveConfig } from '../../../src/config/index.ts'
import { type AgentHost, LocalBroker } from '../../../src/in-process/local-broker.ts'
import { PortDurableFiles } from '../../../src/in-process/port-durable-files.ts'
import { SteppedBell } from '../../../src/in-process/stepped-bell.ts'
import { runCompaction, type SeededCompactionTask } from '../../../src/log/compaction-run.ts'
import { closeDataDirCleanly, type DataDir, openDataDir } from '../../../src/log/data-dir.ts'
import { type DataDirRecovery, recoverDataDir } from '../../../src/log/data-dir-recovery.ts'
import { NO_CODECS } from '../../../src/record/compression.ts'
import type { RingSignal } from '../../../src/ring/ring-signal.ts'
import type { Logger } from '../../../src/telemetry/logger.ts'
import type { MetricsPort, ShardGauges } from '../../../src/telemetry/metrics.ts'
import type { ShardOptions } from '../../../src/worker/shard-options.ts'
import { type DeathKind, SimulatedCrash, type SimulatedMachine } from './simulated-machine.ts'
import type { SimulatedEngine, SimulatedNetwork } from './simulated-network.ts'
import { SteppedThread } from './stepped-thread.ts'
import type { SteppedAgent, VirtualTime, VirtualTimer } from './virtual-time.ts'

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

export class SimulatedBroker {
  readonly #options: SimulatedBrokerOptions
  readonly #time: VirtualTime
  readonly #engine: SimulatedEngine
  readonly #timers = new Set<VirtualTimer>()
  readonly #agents: string[] = []
  readonly #broker: LocalBroker
  #isAlive = true

  constructor(options: SimulatedBrokerOptions) {
    this.#options = options
    this.#time = options.time
    this.#engine = options.network.engine()
    this.#broker = this.#makeBroker()
  }

  get gateway(): Gateway | undefined {
    return this.#broker.gateway
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
    const gateway = await this.#broker.start()
    await gateway.listen()
  }

  /** Stops in order; the data dir is clean afterwards when every shard ended well. */
  async stop(): Promise<void> {
    await this.#broker.stop()
    this.#checkAlive()
    this.die('kill')
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

  #makeBroker(): LocalBroker {
    const { machine, sizes, shards } = this.#options
    const { files } = machine
    const { requestRingBytes, replyRingBytes, pageBytes, pageCount } = sizes
    const flags = Object.entries({
      listen: `127.0.0.1:${BROKER_PORT}`,
      shards: String(shards),
    }).map(([path, value]) => ({ path, value, source: 'simulation' }))
    const folder = `${DATA_DIR}/metadata`
    return new LocalBroker({
      ...{ version: '0.0.0-sim', config: resolveConfig({ flags }), dataDir: DATA_DIR, shards, files },
      ...{ engine: this.#engine, clock: this.#time, prng: this.#time.prng, timers: this.#brokerTimers() },
      ...{ logger: this.#logger(), metrics: this.#metrics(), newId: () => this.#newId() },
      storage: this.#storage(),
      durableFiles: new PortDurableFiles({ files, folder, pause: () => this.#pause() }),
      host: this.#host(),
      channel: {
        ...{ requestRingBytes, replyRingBytes, pageBytes, pageCount },
        ...{ readRingBytes: 16 * 1024, diskRequestRingBytes: 16 * 1024, diskReplyRingBytes: 16 * 1024 },
      },
      shard: sizes.shard,
      checkAlive: () => this.#checkAlive(),
    })
  }

  #storage(): StorageTasks {
    const { machine, sizes, onRecovered } = this.#options
    const { files, probe } = machine
    let dataDir: DataDir
    return {
      open: async ({ path, nodeId, newClusterId }) => {
        dataDir = openDataDir(files, { path, nodeId, newClusterId, probe })
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

  #host(): AgentHost {
    return {
      addAgent: (agent, signal, onEnded) => {
        this.#addThread(agent, signal, onEnded)
        return () => {}
      },
      makeBell: (memory, onRing) => {
        const bell = new SteppedBell(memory, onRing)
        this.#addAgent(bell)
        return bell
      },
    }
  }

  #addThread(agent: Agent, signal: RingSignal, onEnded: (error: unknown) => void): void {
    const isDisk = agent.name.startsWith('disk')
    const turnMs = isDisk ? this.#options.deviceMs : () => 0.01 + this.#time.prng.unit() * 0.05
    const onBug = (error: unknown) => {
      if (error !== undefined && !(error instanceof SimulatedCrash) && this.#isAlive) this.#options.onBug(error)
      else if (error === undefined) onEnded(error)
    }
    this.#addAgent(new SteppedThread({ agent, signal, time: this.#time, turnMs, onEnded: onBug }))
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
