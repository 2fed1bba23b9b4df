/** One seed of the simulation of classic groups: churn and quiet in turn, then an end at which all must be stable. */
import type { SeededPrng } from '../../../src/base/prng.ts'
import type { EventQueue } from '../event-simulation/event-queue.ts'
import { EventRun } from '../event-simulation/event-run.ts'
import type { SeedOutcome } from '../seed-loop.ts'
import { ClassicChecker } from './classic-checker.ts'
import {
  ClassicMember,
  type ClassicPlan,
  type ClassicWitness,
  PARTITIONS,
  REBALANCE_TIMEOUT_MS,
  SESSION_TIMEOUT_MS,
  TOPIC,
} from './classic-member.ts'
import { SimulatedCoordinator } from './simulated-coordinator.ts'

const MEMBERS_MAX = 6
const PHASES = 3
const CHURN_MS = 20_000
/** A member that nobody hears of any more may hold up two join phases and a wait for syncs before its session begins. */
const QUIET_MS = 4 * REBALANCE_TIMEOUT_MS + 4 * SESSION_TIMEOUT_MS

export const CLASSIC_EVENTS = [
  ...([
    'join',
    'leave',
    'die',
    'freeze',
    'crash',
    'loss',
    'message lost',
    'offset committed',
    'instance replaced',
  ] as const),
  ...(['fenced session', 'fenced rebalance', 'fenced sync', 'generation', 'skip assignment'] as const),
  ...([
    'join MEMBER_ID_REQUIRED',
    'join UNKNOWN_MEMBER_ID',
    'join NOT_COORDINATOR',
    'sync REBALANCE_IN_PROGRESS',
  ] as const),
  ...(['heartbeat REBALANCE_IN_PROGRESS', 'heartbeat UNKNOWN_MEMBER_ID', 'heartbeat ILLEGAL_GENERATION'] as const),
  ...(['commit UNKNOWN_MEMBER_ID', 'commit ILLEGAL_GENERATION'] as const),
] as const

export function runClassicSeed(seed: number): SeedOutcome {
  return new ClassicRun(seed).run()
}

class ClassicRun implements ClassicWitness {
  readonly #run: EventRun
  readonly #prng: SeededPrng
  readonly #queue: EventQueue
  readonly #broker: SimulatedCoordinator
  readonly #members: ClassicMember[] = []
  readonly #checker: ClassicChecker
  #memberCount = 0
  #lossPercent = 0

  constructor(seed: number) {
    this.#run = new EventRun(seed)
    this.#prng = this.#run.prng
    this.#queue = this.#run.queue
    this.#broker = new SimulatedCoordinator(this.#queue, this.#prng)
    this.#checker = new ClassicChecker(this.#broker)
    this.#broker.onDurable = (record) => {
      this.#run.trace(record.key.length * 31 + (record.value?.length ?? 0))
      if (record.key[1] === 1) this.#run.count('offset committed')
      if (record.key[1] === 2) this.#run.count('generation')
      this.#checker.durable(record)
    }
    this.#broker.onFenced = (reason) => this.#run.note(`fenced ${reason}`)
  }

  run(): SeedOutcome {
    return this.#run.toEnd(() => {
      this.#broker.createTopic(TOPIC, PARTITIONS)
      for (let phase = 0; phase < PHASES; phase++) {
        this.#churn(this.#queue.nowMs + CHURN_MS)
        this.#setLoss(0)
        this.#passTo(this.#queue.nowMs + QUIET_MS)
        this.#checker.checkEnd(this.#living)
      }
    })
  }

  // ClassicWitness

  onAssigned(...[member, as, partitions]: Parameters<ClassicWitness['onAssigned']>): void {
    this.#checker.assigned(member, as, partitions)
  }

  onJoined(member: ClassicMember, reply: Parameters<ClassicWitness['onJoined']>[1]): void {
    if (reply.skipAssignment) this.#run.count('skip assignment')
    this.#run.note(`joined ${reply.generationId}`, `${member.plan.name} ${reply.memberId}`)
    this.#checker.joined(member, reply)
  }

  onRefused(member: ClassicMember, what: string, error: string): void {
    this.#run.note(`${what} ${error}`, `${member.plan.name} ${member.memberId}`)
  }

  onCommitDecided(_: ClassicMember, as: { readonly memberId: string; readonly generationId: number }): void {
    this.#checker.commitDecided(as)
  }

  onLost(): void {
    this.#run.count('message lost')
  }

  // Misfortunes

  get #living(): ClassicMember[] {
    return this.#members.filter(({ isDead }) => !isDead)
  }

  #churn(untilMs: number): void {
    const pauseMs = 50 + this.#prng.below(2_500)
    while (this.#queue.nowMs < untilMs) {
      this.#strike()
      this.#passTo(Math.min(untilMs, this.#queue.nowMs + this.#prng.below(2 * pauseMs)))
    }
  }

  #passTo(untilMs: number): void {
    this.#run.passTo(untilMs, () => this.#checker.check())
  }

  #strike(): void {
    const living = this.#living
    const victim = living[this.#prng.below(Math.max(1, living.length))]
    const draw = this.#prng.below(100)
    if (draw < 40 || victim === undefined) {
      if (living.length < MEMBERS_MAX) this.#join()
    } else if (draw < 50) {
      this.#run.note('leave', victim.plan.name)
      victim.leave()
    } else if (draw < 63) {
      this.#run.note('die', victim.plan.name)
      victim.die()
    } else if (draw < 78) {
      this.#run.note('freeze', victim.plan.name)
      victim.freeze(this.#prng.below(2 * REBALANCE_TIMEOUT_MS))
    } else if (draw < 90) this.#crash()
    else this.#setLoss(this.#prng.below(25))
  }

  #join(): void {
    const instanceId = this.#prng.below(3) === 0 ? `i${this.#prng.below(2)}` : null
    // An instance runs once at a time, by and large: sometimes a second process of it is started.
    const twin = this.#living.find(({ plan }) => instanceId !== null && plan.instanceId === instanceId)
    if (twin !== undefined) {
      if (this.#prng.below(3) > 0) return
      twin.die()
    }
    if (instanceId !== null && this.#members.some(({ plan }) => plan.instanceId === instanceId))
      this.#run.count('instance replaced')
    const plan: ClassicPlan = {
      ...{ name: `m${++this.#memberCount}`, instanceId, requiresKnownMemberId: this.#prng.below(4) > 0 },
      canSkipAssignment: this.#prng.below(2) === 0,
      protocols: this.#prng.below(2) === 0 ? ['range', 'sticky'] : ['sticky', 'range'],
    }
    this.#run.note('join', plan.name)
    const parts = { queue: this.#queue, prng: this.#prng, broker: this.#broker, witness: this }
    const member = new ClassicMember(plan, parts)
    member.lossPercent = this.#lossPercent
    this.#members.push(member)
  }

  #crash(): void {
    if (this.#broker.coordinator === undefined) return
    this.#run.note('crash')
    this.#broker.crash()
    this.#queue.after(this.#prng.below(1_500), () => this.#broker.start())
  }

  #setLoss(percent: number): void {
    if (percent > 0) this.#run.note('loss')
    this.#lossPercent = percent
    for (const member of this.#members) member.lossPercent = percent
  }
}
