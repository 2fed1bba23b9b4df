/** One seed of the transaction simulation: churn and quiet in turn, then an end at which nothing may be open. */
import assert from 'node:assert/strict'
import type { SeededPrng } from '../../../src/base/prng.ts'
import { State } from '../../../src/transaction/index.ts'
import type { EventQueue } from '../event-simulation/event-queue.ts'
import { EventRun } from '../event-simulation/event-run.ts'
import type { SeedOutcome } from '../seed-loop.ts'
import { Network } from './network.ts'
import { SimulatedCoordinator } from './simulated-coordinator.ts'
import { SimulatedPartition } from './simulated-partition.ts'
import { type Attempt, SimulatedProducer } from './simulated-producer.ts'
import { TransactionChecker } from './transaction-checker.ts'

const PARTITIONS = 3
const PRODUCERS_MAX = 5
/** Few ids: producers fence one another. */
const TRANSACTIONAL_IDS = ['orders', 'orders', 'clicks', 'views'] as const
const TIMEOUT_MS_MAX = 6_000
const PHASES = 2
const CHURN_MS = 12_000
const QUIET_MS = TIMEOUT_MS_MAX + 9_000

export const TRANSACTION_EVENTS = [
  ...(['start', 'die', 'hang', 'coordinator crash', 'partition crash', 'late', 'twice', 'lost'] as const),
  ...(['timeout', 'markers failed', 'add given up', 'registration lost', 'told commit', 'told abort'] as const),
  ...([
    'PRODUCER_FENCED',
    'INVALID_PRODUCER_EPOCH',
    'decided commit',
    'decided abort',
    'other outcome',
    'epochs used up',
  ] as const),
] as const

export function runTransactionSeed(seed: number): SeedOutcome {
  return new TransactionRun(seed).run()
}

class TransactionRun {
  readonly #run: EventRun
  readonly #prng: SeededPrng
  readonly #queue: EventQueue
  readonly #network: Network
  readonly #partitions: readonly SimulatedPartition[]
  readonly #coordinator: SimulatedCoordinator
  readonly #producers: SimulatedProducer[] = []
  readonly #attempts: Attempt[] = []
  readonly #checker: TransactionChecker
  #producerCount = 0

  constructor(seed: number) {
    this.#run = new EventRun(seed)
    this.#prng = this.#run.prng
    this.#queue = this.#run.queue
    this.#network = new Network(this.#queue, this.#prng)
    this.#network.onOdd = (what) => this.#run.count(what)
    this.#partitions = Array.from(
      { length: PARTITIONS },
      (_, partition) => new SimulatedPartition(partition, this.#queue, this.#prng),
    )
    this.#coordinator = new SimulatedCoordinator(this.#queue, this.#prng, this.#network, this.#partitions)
    this.#checker = new TransactionChecker(this.#partitions, this.#attempts, TIMEOUT_MS_MAX)
    this.#coordinator.onEvent = (what) => this.#note(what)
    this.#coordinator.onDurable = (transactionalId, facts) => {
      this.#run.trace(transactionalId.length * 31 + (facts?.producerEpoch ?? 0) * 7 + (facts?.state ?? 9))
      if (facts?.state === State.PREPARE_COMMIT) this.#note('decided commit')
      if (facts?.state === State.PREPARE_ABORT) this.#note('decided abort')
      if (facts !== null && facts.nextProducerId !== -1) this.#note('epochs used up')
      this.#checker.durable(facts)
    }
  }

  run(): SeedOutcome {
    return this.#run.toEnd(() => {
      for (let phase = 0; phase < PHASES; phase++) {
        this.#churn(this.#queue.nowMs + CHURN_MS)
        this.#heal()
        this.#passTo(this.#queue.nowMs + QUIET_MS)
      }
      this.#end()
    })
  }

  #end(): void {
    for (const producer of this.#producers) producer.isStopping = true
    this.#passTo(this.#queue.nowMs + QUIET_MS)
    // Those that were stopped in the middle are fenced by their timeout.
    for (const producer of this.#producers) producer.die()
    this.#passTo(this.#queue.nowMs + QUIET_MS)
    this.#checker.checkEnd()
    const { counts } = this.#coordinator.coordinator!.state
    const waiting = [State.ONGOING, State.PREPARE_COMMIT, State.PREPARE_ABORT].map((state) => counts[state])
    assert.deepEqual(waiting, [0, 0, 0], 'the coordinator waits for something')
  }

  #churn(untilMs: number): void {
    this.#network.oddPercent = this.#prng.below(8)
    this.#network.lossPercent = this.#prng.below(10)
    const pauseMs = 50 + this.#prng.below(1_000)
    while (this.#queue.nowMs < untilMs) {
      this.#strike()
      this.#passTo(Math.min(untilMs, this.#queue.nowMs + this.#prng.below(2 * pauseMs)))
    }
  }

  #heal(): void {
    this.#network.oddPercent = 0
    this.#network.lossPercent = 0
    this.#checker.trouble(this.#queue.nowMs)
  }

  #passTo(untilMs: number): void {
    this.#run.passTo(untilMs, (nowMs) => this.#checker.check(nowMs))
  }

  #strike(): void {
    this.#checker.trouble(this.#queue.nowMs)
    const living = this.#producers.filter((producer) => !producer.isDead)
    const victim = living[this.#prng.below(Math.max(1, living.length))]
    const draw = this.#prng.below(100)
    if (draw < 35 || victim === undefined) {
      if (living.length < PRODUCERS_MAX) this.#startProducer()
    } else if (draw < 42) {
      this.#note('die', victim)
      victim.die()
    } else if (draw < 65) {
      this.#note('hang', victim)
      victim.hang(this.#prng.below(2 * TIMEOUT_MS_MAX))
    } else if (draw < 80) this.#crashCoordinator()
    else this.#crashPartition(this.#partitions[this.#prng.below(PARTITIONS)]!)
  }

  #startProducer(): void {
    const transactionalId = TRANSACTIONAL_IDS[this.#prng.below(TRANSACTIONAL_IDS.length)]!
    const plan = {
      ...{ name: `p${++this.#producerCount}`, transactionalId },
      timeoutMs: TIMEOUT_MS_MAX / 2 + this.#prng.below(TIMEOUT_MS_MAX / 2),
    }
    const world = {
      ...{ queue: this.#queue, prng: this.#prng, network: this.#network, coordinator: this.#coordinator },
      ...{ partitions: this.#partitions, attempts: this.#attempts },
      onIdentity: this.#checker.identity.bind(this.#checker),
      onTold: this.#checker.told.bind(this.#checker),
      onEvent: this.#note.bind(this),
    }
    const producer = new SimulatedProducer(world, plan)
    this.#producers.push(producer)
    this.#note('start', producer)
  }

  #crashCoordinator(): void {
    if (this.#coordinator.coordinator === undefined) return
    this.#note('coordinator crash')
    this.#coordinator.crash()
    this.#queue.after(this.#prng.below(1_500), () => {
      this.#coordinator.start()
      this.#checker.trouble(this.#queue.nowMs)
    })
  }

  #crashPartition(partition: SimulatedPartition): void {
    if (!partition.isUp) return
    this.#note('partition crash')
    partition.crash()
    this.#queue.after(this.#prng.below(1_500), () => {
      partition.start()
      this.#checker.trouble(this.#queue.nowMs)
    })
  }

  #note(what: string, producer?: SimulatedProducer): void {
    const { producerId, producerEpoch } = producer?.identity ?? { producerId: -1, producerEpoch: -1 }
    const who =
      producer === undefined ? '' : `${producer.name} (${producer.transactionalId}) ${producerId}/${producerEpoch}`
    this.#run.note(what, who)
  }
}
