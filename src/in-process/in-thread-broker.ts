/**
 * InThreadBroker: LocalBroker on the caller's event loop. It can be started and stopped again, and die in between: its engine, so the
 * connections of its clients, outlives one run.
 */

import type { Clock } from '../base/clock.ts'
import { requireRe2 } from '../base/node/require-re2.ts'
import type { Prng } from '../base/prng.ts'
import type { Gateway } from '../broker/gateway.ts'
import type { BrokerConfig } from '../config/index.ts'
import { re2Patterns } from '../group/re2-pattern.ts'
import { VERSION } from '../model/version.ts'
import { nodeCodecs } from '../record/node-codecs.ts'
import type { Logger } from '../telemetry/logger.ts'
import { AgentLoop } from './agent-loop.ts'
import type { ClusterJoin } from './cluster-join.ts'
import { LazyMetrics } from './lazy-metrics.ts'
import { LocalBroker } from './local-broker.ts'
import { LocalEngine } from './local-engine.ts'
import type { LocalStorage } from './local-storage.ts'
import { channelSizesOf, shardOptionsOf } from './shard-setup.ts'
import { SteppedBell } from './stepped-bell.ts'
import { TimerScope, type TimeSource } from './time-source.ts'

export interface InThreadBrokerOptions {
  readonly config: BrokerConfig
  readonly shards: number
  readonly time: TimeSource
  readonly prng: Prng
  readonly logger: Logger
  readonly newId: () => string
  /** The storage of the run that begins now. */
  readonly storage: () => Promise<LocalStorage>
  /** One of several: the metadata store, and the way to the others, of the run that begins now. Left out: alone. */
  readonly cluster?: () => ClusterJoin
}

interface Run {
  readonly broker: LocalBroker
  readonly gateway: Gateway
  readonly timers: TimerScope
  readonly metrics: LazyMetrics
}

export class InThreadBroker {
  readonly loop: AgentLoop
  readonly engine: LocalEngine
  readonly #options: InThreadBrokerOptions
  #run: Run | undefined

  constructor(options: InThreadBrokerOptions) {
    const { time, config } = options
    const clock: Clock = time
    this.#options = options
    this.loop = new AgentLoop({ clock, timers: time })
    this.engine = new LocalEngine({
      soon: this.loop.soon,
      makeDoor: async () => {
        const { chooseEngine } = await import('../broker/listeners/choose-engine.ts')
        await this.#run?.metrics.open()
        return chooseEngine(config.engine, this.#running().timers)
      },
    })
  }

  get gateway(): Gateway {
    return this.#running().gateway
  }

  get isRunning(): boolean {
    return this.#run !== undefined
  }

  async start(): Promise<void> {
    const { config, shards, time, prng, logger, newId, cluster } = this.#options
    const { loop, engine } = this
    const timers = new TimerScope(time, loop.soon)
    const metrics = new LazyMetrics()
    const storage = await this.#options.storage()
    const broker = new LocalBroker({
      ...storage,
      ...{ version: VERSION, config, shards, engine, clock: time, prng, timers, logger, metrics, newId },
      channel: channelSizesOf(config),
      shard: { ...shardOptionsOf(config), ...storage.shard },
      codecs: nodeCodecs(),
      compilePattern: re2Patterns(requireRe2),
      ...(cluster === undefined ? {} : { cluster: cluster() }),
      onServing: (gateway) => engine.serve(gateway, gateway.socketLimits),
      host: {
        addAgent: (agent, signal, onEnded) => loop.addAgent(agent, signal, onEnded),
        makeBell: (memory, onRing) => {
          const bell = new SteppedBell(memory, onRing)
          loop.add(bell)
          return bell
        },
      },
    })
    try {
      const gateway = await broker.start()
      this.#run = { broker, gateway, timers, metrics }
    } catch (error) {
      this.#forget(timers)
      throw error
    }
  }

  /** In order: drained, synced, the clean marker written. */
  async stop(): Promise<void> {
    const { broker, timers } = this.#running()
    this.#run = undefined
    await broker.stop()
    this.#forget(timers)
  }

  /** As a process that is killed: nothing of it does anything any more. */
  die(): void {
    const { timers } = this.#running()
    this.#run = undefined
    this.engine.die()
    this.#forget(timers)
  }

  #forget(timers: TimerScope): void {
    timers.close()
    this.loop.forgetAgents()
  }

  #running(): Run {
    if (this.#run === undefined) throw new Error('the broker does not run')
    return this.#run
  }
}
