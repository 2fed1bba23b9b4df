/** One seed of the controller simulation: brokers, misfortunes, moves; then quiet, in which all must come right. */
import assert from 'node:assert/strict'
import type { SeededPrng } from '../../../src/base/prng.ts'
import type { Controller } from '../../../src/coordination/controller/controller.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../../src/model/topic-config.ts'
import { EventRun } from '../event-simulation/event-run.ts'
import type { SeedOutcome } from '../seed-loop.ts'
import { ControllerChecker } from './controller-checker.ts'
import { cutTo } from './replica-model.ts'
import { SimulatedBroker, type World } from './simulated-broker.ts'
import { SimulatedStore } from './simulated-store.ts'

const BROKERS = 5
const TICK_MS = 100
const SETTLE_MS = 5_000
const CHAOS_MS = 60_000
const END_MS = 60_000
/** Before the end: nobody leads by then who would have to give it up again. */
const STABLE_MS = 15_000
/** Settings of a broker's misfortunes are drawn anew so often. */
const WEATHER_MS = 10_000

const TOPICS = [
  { name: 'strict', replicas: 3, config: { 'min.insync.replicas': '2' } },
  { name: 'periodic', replicas: 3, config: { 'min.insync.replicas': '2', 'millrace.fsync': 'interval' } },
  { name: 'pair', replicas: 2, config: { 'min.insync.replicas': '1' } },
  { name: 'careless', replicas: 2, config: { 'unclean.leader.election.enable': 'true' } },
] as const

export const CONTROLLER_EVENTS = [
  ...(['kill', 'power cut', 'clean', 'started', 'directory lost', 'damaged', 'cut off the store', 'frozen'] as const),
  ...([
    'cut between brokers',
    'isolated',
    'resync',
    'lease lost',
    'elected',
    'term ended',
    'leader changed',
    'truncation',
  ] as const),
  ...(['in-sync set grown', 'in-sync set shrunk', 'acknowledged', 'acknowledged by an old leader', 'warning'] as const),
  ...(['reassign', 'cancel', 'rebalance', 'decommission', 'suspect revoked', 'preferred', 'partitions added'] as const),
  ...(['lead resigned', 'resigned lead taken over', 'disk low', 'full leader replaced'] as const),
  ...(['loss by unclean election', 'refused request', 'loss since last sync'] as const),
] as const

export function runControllerSeed(seed: number): Promise<SeedOutcome> {
  return new ControllerRun(seed).run()
}

class ControllerRun {
  readonly #run: EventRun
  readonly #prng: SeededPrng
  readonly #store: SimulatedStore
  readonly #brokers = new Map<number, SimulatedBroker>()
  readonly #checker: ControllerChecker
  readonly #cuts = new Set<string>()
  #ids = 0
  #records = 0
  #losses = 0

  constructor(seed: number) {
    this.#run = new EventRun(seed)
    this.#prng = this.#run.prng
    this.#store = new SimulatedStore(this.#run.queue, this.#prng)
    const world: World = {
      store: this.#store,
      brokers: this.#brokers,
      defaults: TOPIC_CONFIG_DEFAULTS,
      newId: () => (++this.#ids).toString(16).padStart(12, '5').padEnd(32, '0'),
      nextRecord: () => ++this.#records,
      isConnected: (left, right) => !this.#cuts.has(`${Math.min(left, right)}-${Math.max(left, right)}`),
      note: (what, who) => this.#run.note(what, who),
      onAcknowledged: (name, records, leader) => {
        this.#run.count('acknowledged')
        this.#checker.acknowledged(name, records, leader)
      },
    }
    this.#checker = new ControllerChecker(world)
    this.#store.onTransaction = (client, operations) => {
      this.#run.trace(operations.reduce((sum, { key }) => sum * 31 + key.length, operations.length))
      this.#checker.transaction(client, operations)
    }
    for (let nodeId = 1; nodeId <= BROKERS; nodeId++) this.#brokers.set(nodeId, new SimulatedBroker(nodeId, world))
  }

  run(): Promise<SeedOutcome> {
    return this.#run.toEndLater(async () => {
      for (const broker of this.#brokers.values()) broker.start()
      this.#tick()
      await this.#passTo(this.#run.queue.nowMs + SETTLE_MS)
      for (const topic of TOPICS)
        this.#ask((controller) => controller.createTopic({ ...topic, partitions: 2, ifNotExists: true }))
      await this.#passTo(this.#run.queue.nowMs + SETTLE_MS)
      await this.#chaos(this.#run.queue.nowMs + CHAOS_MS)
      this.#heal()
      await this.#passTo(this.#run.queue.nowMs + END_MS - STABLE_MS)
      const leaderships = this.#checker.leaderEpochs()
      await this.#passTo(this.#run.queue.nowMs + STABLE_MS)
      assert.deepEqual(this.#checker.leaderEpochs(), leaderships, 'leaderships change in quiet')
      this.#checker.end()
    })
  }

  #passTo(untilMs: number): Promise<void> {
    return this.#run.passToLater(untilMs, () => {
      if (this.#store.failure !== undefined) throw this.#store.failure
    })
  }

  #tick(): void {
    for (const broker of this.#brokers.values()) broker.tick()
    this.#run.queue.after(TICK_MS, () => this.#tick())
  }

  async #chaos(untilMs: number): Promise<void> {
    const pauseMs = 100 + this.#prng.below(2_000)
    let weatherMs = 0
    while (this.#run.queue.nowMs < untilMs) {
      if (this.#run.queue.nowMs >= weatherMs) {
        weatherMs = this.#run.queue.nowMs + WEATHER_MS
        this.#changeWeather()
      }
      this.#strike()
      await this.#passTo(Math.min(untilMs, this.#run.queue.nowMs + this.#prng.below(2 * pauseMs)))
    }
  }

  #changeWeather(): void {
    for (const { run } of this.#brokers.values()) {
      if (run === undefined) continue
      run.client.lossPercent = this.#prng.below(3) === 0 ? this.#prng.below(25) : 0
      run.client.latePercent = this.#prng.below(3) === 0 ? this.#prng.below(8) : 0
      run.client.watchLagMsMax = this.#prng.below(3) === 0 ? 3_000 : 50
    }
  }

  #strike(): void {
    const broker = this.#brokers.get(1 + this.#prng.below(BROKERS))!
    const draw = this.#prng.below(100)
    if (draw < 30) this.#strikeProcess(broker)
    else if (draw < 40) this.#strikeStore(broker)
    else if (draw < 50) this.#strikePeers(broker)
    else if (draw < 53) this.#freeze(broker)
    else if (draw < 56) this.#isolate(broker)
    else if (draw < 60) this.#fillDisk(broker)
    else if (draw < 80) this.#request(broker)
    else if (!broker.isRunning) this.#start(broker)
  }

  #strikeProcess(broker: SimulatedBroker): void {
    if (!broker.isRunning) {
      this.#strikeDirectory(broker)
      this.#start(broker)
      return
    }
    const how = (['kill', 'power cut', 'clean'] as const)[this.#prng.below(3)]!
    this.#run.note(how, String(broker.nodeId))
    const { incarnation } = broker
    broker.stop(how)
    if (incarnation !== undefined && this.#prng.below(2) === 0) this.#suspect(broker.nodeId, incarnation)
  }

  /** Few enough that most records have a copy left. */
  #strikeDirectory(broker: SimulatedBroker): void {
    if (this.#losses >= 3 || this.#prng.below(4) > 0) return
    this.#losses++
    if (this.#prng.below(2) === 0) {
      this.#run.note('directory lost', String(broker.nodeId))
      broker.loseDirectory()
      return
    }
    const logs = [...broker.directory.logs.values()]
    const log = logs[this.#prng.below(Math.max(1, logs.length))]
    if (log === undefined) return
    this.#run.note('damaged', String(broker.nodeId))
    cutTo(log, this.#prng.below(log.records.length + 1))
    log.isDamaged = true
  }

  #start(broker: SimulatedBroker): void {
    this.#run.note('started', String(broker.nodeId))
    broker.start()
  }

  #strikeStore({ run, nodeId }: SimulatedBroker): void {
    if (run === undefined) return
    if (run.client.isCut) run.client.heal()
    else if (this.#prng.below(3) === 0) {
      this.#run.note('resync', String(nodeId))
      run.client.resync()
    } else {
      this.#run.note('cut off the store', String(nodeId))
      run.client.isCut = true
      this.#run.queue.after(this.#prng.below(15_000), () => run.client.heal())
    }
  }

  #strikePeers(broker: SimulatedBroker): void {
    const other = 1 + this.#prng.below(BROKERS)
    if (other === broker.nodeId) return
    const pair = `${Math.min(other, broker.nodeId)}-${Math.max(other, broker.nodeId)}`
    if (this.#cuts.delete(pair)) return
    this.#run.note('cut between brokers', pair)
    this.#cuts.add(pair)
  }

  /** It hears no other broker any more, and goes on to reach the store. */
  #isolate({ nodeId }: SimulatedBroker): void {
    const pairs = [...this.#brokers.keys()]
      .filter((other) => other !== nodeId)
      .map((other) => `${Math.min(other, nodeId)}-${Math.max(other, nodeId)}`)
    this.#run.note('isolated', String(nodeId))
    for (const pair of pairs) this.#cuts.add(pair)
    this.#run.queue.after(3_000 + this.#prng.below(12_000), () => {
      for (const pair of pairs) this.#cuts.delete(pair)
    })
  }

  #fillDisk(broker: SimulatedBroker): void {
    if (!broker.isDiskLow) this.#run.note('disk low', String(broker.nodeId))
    broker.setDiskLow(!broker.isDiskLow)
  }

  #freeze({ run, nodeId }: SimulatedBroker): void {
    if (run === undefined) return
    this.#run.note('frozen', String(nodeId))
    run.process.frozenUntilMs = this.#run.queue.nowMs + this.#prng.below(12_000)
  }

  #suspect(nodeId: number, incarnation: number): void {
    this.#run.queue.after(50 + this.#prng.below(500), () =>
      this.#ask(async (controller) => {
        if (await controller.suspect(nodeId, incarnation)) this.#run.note('suspect revoked', String(nodeId))
      }),
    )
  }

  #request({ nodeId }: SimulatedBroker): void {
    const draw = this.#prng.below(8)
    const topic = TOPICS[this.#prng.below(TOPICS.length)]!
    const one = { topic: topic.name, partition: this.#prng.below(2) }
    if (draw < 3) this.#reassign(one, topic.replicas)
    else if (draw === 3) this.#ask((controller) => controller.cancelReassignment([one]), 'cancel')
    else if (draw === 4) this.#ask((controller) => controller.rebalance(), 'rebalance')
    else if (draw === 5) this.#ask((controller) => controller.electPreferred(null), 'preferred')
    else if (draw === 6) {
      this.#ask((controller) => controller.decommission(nodeId), 'decommission')
      this.#run.queue.after(this.#prng.below(10_000), () => this.#recommission(nodeId))
    } else if (this.#prng.below(4) === 0)
      this.#ask((controller) => controller.addPartitions('strict', 3), 'partitions added')
  }

  #recommission(nodeId: number): void {
    this.#ask((controller) => controller.recommission(nodeId))
  }

  #reassign(one: { topic: string; partition: number }, replicas: number): void {
    const nodes = Array.from({ length: BROKERS }, (_, index) => index + 1)
    while (nodes.length > replicas) nodes.splice(this.#prng.below(nodes.length), 1)
    this.#ask((controller) => controller.reassign([{ ...one, replicas: nodes }]), 'reassign')
  }

  /** Asks one that believes to control; there may be two of them. */
  #ask(work: (controller: Controller) => Promise<unknown>, what?: string): void {
    const controllers = [...this.#brokers.values()].flatMap(({ controller }) => controller ?? [])
    const controller = controllers[this.#prng.below(Math.max(1, controllers.length))]
    if (controller === undefined) return
    work(controller).then(
      () => what !== undefined && this.#run.note(what),
      (error: unknown) => this.#run.note('refused request', `${what}: ${String(error)}`),
    )
  }

  #heal(): void {
    this.#run.note('heal')
    this.#cuts.clear()
    // A disk may stay full: that moves leaderships once, not for ever.
    const staysFull = this.#prng.below(3) === 0 ? 1 + this.#prng.below(BROKERS) : undefined
    for (const broker of this.#brokers.values()) {
      broker.setDiskLow(broker.nodeId === staysFull)
      broker.start()
      const { client, process } = broker.run!
      client.lossPercent = 0
      client.latePercent = 0
      client.watchLagMsMax = 50
      client.heal()
      process.frozenUntilMs = 0
    }
    for (const nodeId of this.#brokers.keys())
      this.#run.queue.after(20_000 + 100 * nodeId, () => this.#recommission(nodeId))
  }
}
