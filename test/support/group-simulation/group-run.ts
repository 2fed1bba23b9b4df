/** One seed of the group simulation: churn and quiet in turn, then an end at which all must be stable. */
import type { SeededPrng } from '../../../src/base/prng.ts'
import type { EventQueue } from '../event-simulation/event-queue.ts'
import { EventRun } from '../event-simulation/event-run.ts'
import type { SeedOutcome } from '../seed-loop.ts'
import { GroupChecker } from './group-checker.ts'
import { SimulatedCoordinator } from './simulated-coordinator.ts'
import { GROUP_ID, REBALANCE_TIMEOUT_MS, SESSION_TIMEOUT_MS, SimulatedMember } from './simulated-member.ts'

const MEMBERS_MAX = 6
const PHASES = 3
const CHURN_MS = 15_000
const QUIET_MS = SESSION_TIMEOUT_MS + 3_000
const END_MS = 3 * SESSION_TIMEOUT_MS + REBALANCE_TIMEOUT_MS
/** Names that begin with p are what the pattern means. */
const TOPICS = ['plain', 'orders', 'p2', 'clicks'] as const

export const GROUP_EVENTS = [
  ...(['join', 'leave', 'static leave', 'die', 'freeze', 'block', 'crash', 'loss', 'message lost'] as const),
  ...(['topic created', 'topic grown', 'topic deleted', 'fenced session', 'fenced rebalance'] as const),
  ...(['FENCED_MEMBER_EPOCH', 'UNKNOWN_MEMBER_ID', 'UNRELEASED_INSTANCE_ID', 'hint'] as const),
  ...(['commit STALE_MEMBER_EPOCH', 'commit UNKNOWN_MEMBER_ID', 'instance replaced', 'offset committed'] as const),
] as const

export function runGroupSeed(seed: number): SeedOutcome {
  return new GroupRun(seed).run()
}

class GroupRun {
  readonly #run: EventRun
  readonly #prng: SeededPrng
  readonly #queue: EventQueue
  readonly #broker: SimulatedCoordinator
  readonly #members: SimulatedMember[] = []
  readonly #checker: GroupChecker
  #memberCount = 0
  #lossPercent = 0

  constructor(seed: number) {
    this.#run = new EventRun(seed)
    this.#prng = this.#run.prng
    this.#queue = this.#run.queue
    this.#broker = new SimulatedCoordinator(this.#queue, this.#prng)
    this.#checker = new GroupChecker(this.#broker, this.#members)
    this.#broker.onDurable = (record) => {
      this.#run.trace(record.key.length * 31 + (record.value?.length ?? 0))
      if (record.key[1] === 1) this.#run.count('offset committed')
      this.#checker.durable(record)
    }
    this.#broker.onFenced = (reason) => {
      this.#note(`fenced ${reason}`)
      if (reason === 'rebalance') this.#trouble()
    }
  }

  run(): SeedOutcome {
    return this.#run.toEnd(() => {
      this.#broker.createTopic('orders', 1 + this.#prng.below(8))
      for (let phase = 0; phase < PHASES; phase++) {
        this.#churn(this.#queue.nowMs + CHURN_MS)
        this.#setLoss(0)
        this.#passTo(this.#queue.nowMs + QUIET_MS)
      }
      this.#passTo(this.#queue.nowMs + END_MS)
      this.#checker.checkEnd()
    })
  }

  #churn(untilMs: number): void {
    // Some churn is gentle, some hectic.
    const pauseMs = 50 + this.#prng.below(2_000)
    while (this.#queue.nowMs < untilMs) {
      this.#strike()
      this.#passTo(Math.min(untilMs, this.#queue.nowMs + this.#prng.below(2 * pauseMs)))
    }
  }

  #passTo(untilMs: number): void {
    this.#run.passTo(untilMs, (nowMs) => this.#checker.check(nowMs))
  }

  #strike(): void {
    const living = this.#members.filter((member) => !member.isDead)
    const victim = living[this.#prng.below(Math.max(1, living.length))]
    const draw = this.#prng.below(100)
    // Who comes and goes moves targets too: a partition that has no owner may wait for one more heartbeat then.
    this.#trouble()
    if (draw < 35 || victim === undefined) {
      if (living.length < MEMBERS_MAX) this.#join()
    } else if (draw < 45) this.#leave(victim)
    else if (draw < 55) {
      this.#note('die', victim)
      victim.die()
    } else if (draw < 65) this.#hang('freeze', victim, 2 * SESSION_TIMEOUT_MS)
    else if (draw < 75) this.#hang('block', victim, 3 * REBALANCE_TIMEOUT_MS)
    else if (draw < 83) this.#crash()
    else if (draw < 89) this.#setLoss(this.#prng.below(30))
    else this.#changeTopics()
  }

  #join(): void {
    const isStatic = this.#prng.below(4) === 0
    const plan = {
      memberId: `m${++this.#memberCount}`,
      instanceId: isStatic ? `i${this.#prng.below(2)}` : null,
      subscribedTopics: TOPICS.filter((topic) => topic === 'orders' || this.#prng.below(3) === 0),
      subscribedPattern: this.#prng.below(3) === 0 ? 'p.*' : '',
      serverAssignor: [null, null, 'range', 'round-robin'][this.#prng.below(4)]!,
    }
    // An instance runs once at a time; its next process may come while the coordinator still waits for the last.
    if (
      plan.instanceId !== null &&
      this.#members.some((other) => !other.isDead && other.plan.instanceId === plan.instanceId)
    )
      return
    const held = this.#broker.coordinator?.state.groups.get(GROUP_ID)?.instances.get(plan.instanceId ?? '')
    if (held !== undefined) this.#run.count('instance replaced')
    const member = new SimulatedMember(plan, this.#queue, this.#prng, this.#broker)
    member.lossPercent = this.#lossPercent
    member.onEpoch = (one, epoch) => {
      // It joined: later than it wished, when its instance was not free yet or it was fenced.
      if (one.epoch <= 0) this.#trouble()
      this.#checker.told(one, epoch)
    }
    member.onRefused = (error) => this.#note(error, member)
    member.onLost = () => {
      this.#run.count('message lost')
      this.#trouble()
    }
    member.onHint = () => this.#run.count('hint')
    for (let index = this.#members.length - 1; index >= 0; index--)
      if (this.#members[index]!.isDead) this.#members.splice(index, 1)
    this.#members.push(member)
    this.#note('join', member)
  }

  #leave(victim: SimulatedMember): void {
    const isForGood = this.#prng.below(2) === 0
    this.#note(isForGood || victim.plan.instanceId === null ? 'leave' : 'static leave', victim)
    victim.leave(isForGood)
  }

  #hang(how: 'freeze' | 'block', victim: SimulatedMember, msMax: number): void {
    if (!victim.isResponsive) return
    this.#note(how, victim)
    victim[how](this.#prng.below(msMax))
  }

  #crash(): void {
    if (this.#broker.coordinator === undefined) return
    this.#note('crash')
    this.#broker.crash()
    this.#queue.after(this.#prng.below(1_500), () => {
      this.#broker.start()
      this.#checker.restarted(this.#queue.nowMs)
    })
  }

  #changeTopics(): void {
    const name = TOPICS[this.#prng.below(TOPICS.length)]!
    const known = this.#broker.directory.byName(name)
    if (known === undefined) {
      this.#note('topic created')
      this.#broker.createTopic(name, 1 + this.#prng.below(6))
    } else if (this.#prng.below(2) === 0 && known.partitionCount < 12) {
      this.#note('topic grown')
      this.#broker.growTopic(name, known.partitionCount + 1 + this.#prng.below(3))
    } else if (name !== 'orders') {
      this.#note('topic deleted')
      this.#broker.deleteTopic(name)
    }
  }

  #setLoss(percent: number): void {
    if (percent > 0) this.#note('loss')
    this.#lossPercent = percent
    for (const member of this.#members) member.lossPercent = percent
  }

  #trouble(): void {
    this.#checker.trouble(this.#queue.nowMs)
  }

  #note(what: string, member?: SimulatedMember): void {
    this.#run.note(what, member === undefined ? '' : `${member.plan.memberId} at ${member.epoch}`)
  }
}
