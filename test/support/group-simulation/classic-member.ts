/**
 * ClassicMember: a consumer of Kafka's classic protocol as its clients are: it joins, assigns if it leads, syncs, sends heartbeats and
 * commits, and gives everything up before it joins again. Its network keeps order, delays and loses; it stands still at times.
 */
import type { Prng } from '../../../src/base/prng.ts'
import { partitionsOfAssignment } from '../../../src/group/embedded-protocol.ts'
import { type GroupRefusal, isRefusal, type JoinGroupReply, type JoinGroupRequest } from '../../../src/group/index.ts'
import { assignmentOf, subscriptionOf } from '../classic-fixture.ts'
import type { EventQueue } from '../event-simulation/event-queue.ts'
import type { SimulatedCoordinator } from './simulated-coordinator.ts'

export const GROUP_ID = 'g'
export const TOPIC = 'orders'
export const PARTITIONS = 7
export const SESSION_TIMEOUT_MS = 6_000
export const REBALANCE_TIMEOUT_MS = 4_000
const HEARTBEAT_MS = 1_000
const REQUEST_TIMEOUT_MS = 500
/** Of what waits for others. */
const JOIN_TIMEOUT_MS = REBALANCE_TIMEOUT_MS + 2_000

export interface ClassicPlan {
  readonly name: string
  readonly instanceId: string | null
  /** As clients do since KIP-394. */
  readonly requiresKnownMemberId: boolean
  readonly canSkipAssignment: boolean
  readonly protocols: readonly string[]
}

/** What it tells its run. */
export interface ClassicWitness {
  /** The coordinator says that it may read these partitions; the member may hear of it late, or never. */
  onAssigned(
    member: ClassicMember,
    as: { readonly memberId: string; readonly generationId: number },
    partitions: readonly number[],
  ): void
  /** The same of a generation. */
  onJoined(member: ClassicMember, reply: JoinGroupReply): void
  onRefused(member: ClassicMember, what: string, error: string): void
  /** Its commit was taken, as the coordinator decided it. */
  onCommitDecided(member: ClassicMember, as: { readonly memberId: string; readonly generationId: number }): void
  onLost(): void
}

export class ClassicMember {
  readonly plan: ClassicPlan
  memberId = ''
  generationId = -1
  /** What it reads, and how far; -1 until that is known. */
  readonly positions = new Map<number, number>()
  isDead = false
  isFrozen = false
  isStable = false
  lossPercent = 0
  readonly #queue: EventQueue
  readonly #prng: Prng
  readonly #broker: SimulatedCoordinator
  readonly #witness: ClassicWitness
  /** Grows with each step: what comes for an earlier one is too late. */
  #step = 0
  #lastArrivalMs = 0

  constructor(
    plan: ClassicPlan,
    parts: {
      readonly queue: EventQueue
      readonly prng: Prng
      readonly broker: SimulatedCoordinator
      readonly witness: ClassicWitness
    },
  ) {
    this.plan = plan
    this.#queue = parts.queue
    this.#prng = parts.prng
    this.#broker = parts.broker
    this.#witness = parts.witness
    this.#join()
    this.#consume()
  }

  die(): void {
    this.isDead = true
  }

  leave(): void {
    const { memberId, plan } = this
    this.#commit()
    if (plan.instanceId === null && memberId !== '') {
      const members = [{ memberId, instanceId: null }]
      this.#transmit(() =>
        this.#broker.askClassic(
          (coordinator, _, nowMs) => coordinator.leaveGroup({ groupId: GROUP_ID, members }, nowMs),
          () => {},
        ),
      )
    }
    this.isDead = true
  }

  freeze(forMs: number): void {
    this.isFrozen = true
    this.#queue.after(forMs, () => {
      this.isFrozen = false
      // It goes on where it was: a commit first, which must be fenced if its generation is over.
      this.#commit()
    })
  }

  /** Runs `then` after a while, or when the process goes on; not when another step has begun. */
  #later(ms: number, then: () => void): void {
    const step = ++this.#step
    const run = (): void => {
      if (step !== this.#step || this.isDead) return
      if (this.isFrozen) this.#queue.after(100, run)
      else then()
    }
    this.#queue.after(ms, run)
  }

  // Into a generation

  /** All is given up first. */
  #join(): void {
    this.isStable = false
    this.positions.clear()
    const { plan, memberId } = this
    const request: JoinGroupRequest = {
      ...{ groupId: GROUP_ID, memberId, instanceId: plan.instanceId, clientId: plan.name, clientHost: '/127.0.0.1' },
      ...{ sessionTimeoutMs: SESSION_TIMEOUT_MS, rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS, protocolType: 'consumer' },
      protocols: plan.protocols.map((name) => ({ name, metadata: new Uint8Array(subscriptionOf(TOPIC)) })),
      ...{ requiresKnownMemberId: plan.requiresKnownMemberId, canSkipAssignment: plan.canSkipAssignment },
    }
    const step = this.#expect(JOIN_TIMEOUT_MS, () => this.#join())
    this.#transmit(() =>
      this.#broker.askClassic<JoinGroupReply>(
        (coordinator, token, nowMs) => coordinator.joinGroup(request, token, nowMs),
        (reply) => {
          if (!isRefusal(reply) && reply.error === 'NONE') this.#witness.onJoined(this, reply)
          this.#receive(step, () => this.#onJoined(reply))
        },
      ),
    )
  }

  #onJoined(reply: JoinGroupReply | GroupRefusal): void {
    if (isRefusal(reply)) {
      this.#refused('join', reply.error)
      return
    }
    this.memberId = reply.memberId
    if (reply.error !== 'NONE') {
      this.#witness.onRefused(this, 'join', reply.error)
      this.#join()
      return
    }
    this.generationId = reply.generationId
    const leads = reply.leaderId === reply.memberId && !reply.skipAssignment
    this.#sync(leads ? shareOut(reply.members.map(({ memberId }) => memberId)) : [])
  }

  #sync(assignments: readonly { readonly memberId: string; readonly assignment: Uint8Array }[]): void {
    const { memberId, generationId, plan } = this
    const request = {
      ...{ groupId: GROUP_ID, generationId, memberId, instanceId: plan.instanceId },
      ...{ protocolType: 'consumer', protocolName: null, assignments },
    }
    const step = this.#expect(JOIN_TIMEOUT_MS, () => this.#join())
    this.#transmit(() =>
      this.#broker.askClassic(
        (coordinator, token, nowMs) => coordinator.syncGroup(request, token, nowMs),
        (reply) => {
          if (!isRefusal(reply)) this.#witness.onAssigned(this, request, partitionsOf(reply.assignment))
          this.#receive(step, () => {
            if (isRefusal(reply)) this.#refused('sync', reply.error)
            else this.#assigned(partitionsOf(reply.assignment))
          })
        },
      ),
    )
  }

  #assigned(partitions: readonly number[]): void {
    this.isStable = true
    for (const partition of partitions) this.positions.set(partition, -1)
    this.#findPositions()
    this.#later(HEARTBEAT_MS, () => this.#heartbeat())
  }

  // In a generation

  #heartbeat(): void {
    const { memberId, generationId, plan } = this
    const request = { groupId: GROUP_ID, generationId, memberId, instanceId: plan.instanceId }
    const step = this.#expect(REQUEST_TIMEOUT_MS, () => this.#heartbeat())
    this.#transmit(() =>
      this.#broker.ask(
        (coordinator, nowMs) => coordinator.classicHeartbeat(request, nowMs),
        (reply) =>
          this.#receive(step, () => {
            if (!isRefusal(reply)) this.#later(HEARTBEAT_MS, () => this.#heartbeat())
            else this.#refused('heartbeat', reply.error)
          }),
      ),
    )
  }

  #refused(what: string, error: string): void {
    this.#witness.onRefused(this, what, error)
    if (error === 'FENCED_INSTANCE_ID') {
      this.die()
      return
    }
    if (error === 'REBALANCE_IN_PROGRESS' && what === 'heartbeat') this.#commit()
    if (error === 'UNKNOWN_MEMBER_ID' || error === 'ILLEGAL_GENERATION') this.positions.clear()
    if (error === 'UNKNOWN_MEMBER_ID') this.memberId = ''
    const isTransient = error === 'NOT_COORDINATOR' && what === 'heartbeat'
    this.#later(50 + this.#prng.below(200), () => (isTransient ? this.#heartbeat() : this.#join()))
  }

  #findPositions(): void {
    const { generationId, memberId } = this
    const partitions = [...this.positions].filter(([, position]) => position < 0).map(([partition]) => partition)
    if (partitions.length === 0 || this.isDead) return
    this.#transmit(() => {
      const topics = [{ topicId: '' as const, topic: TOPIC, partitions }]
      const request = { groupId: GROUP_ID, memberId, memberEpoch: -1, topics, requireStable: false }
      this.#broker.ask(
        (coordinator) => coordinator.fetchOffsets(request),
        (reply) => {
          if (isRefusal(reply) || this.isDead || this.generationId !== generationId) return
          for (const { partition, offset } of reply.topics[0]!.partitions)
            if (this.positions.get(partition) === -1) this.positions.set(partition, Math.max(0, offset))
        },
      )
    })
    this.#queue.after(REQUEST_TIMEOUT_MS, () => {
      if (this.generationId === generationId) this.#findPositions()
    })
  }

  /** Handles records and commits now and then. */
  #consume(): void {
    if (this.isDead) return
    if (!this.isFrozen) {
      for (const [partition, position] of this.positions)
        if (position >= 0) this.positions.set(partition, position + this.#prng.below(5))
      this.#commit()
    }
    this.#queue.after(300 + this.#prng.below(1_000), () => this.#consume())
  }

  #commit(): void {
    const known = [...this.positions].filter(([, position]) => position >= 0)
    if (known.length === 0 || this.isDead) return
    const { memberId, generationId, plan } = this
    const partitions = known.map(([partition, offset]) => ({ partition, offset, leaderEpoch: -1, metadata: '' }))
    const request = {
      ...{ groupId: GROUP_ID, memberId, memberEpoch: generationId, instanceId: plan.instanceId },
      topics: [{ topicId: '' as const, topic: TOPIC, partitions }],
    }
    this.#transmit(() =>
      this.#broker.ask(
        (coordinator, nowMs) => {
          const decision = coordinator.commitOffsets(request, nowMs)
          if (!isRefusal(decision.reply)) this.#witness.onCommitDecided(this, { memberId, generationId })
          return decision
        },
        (reply) => {
          if (isRefusal(reply)) this.#witness.onRefused(this, 'commit', reply.error)
        },
      ),
    )
  }

  // The network

  /** A step that waits for an answer so long. */
  #expect(timeoutMs: number, giveUp: () => void): number {
    this.#later(timeoutMs, giveUp)
    return this.#step
  }

  #receive(step: number, then: () => void): void {
    if (this.#isLost()) return
    const run = (): void => {
      if (step !== this.#step || this.isDead) return
      if (this.isFrozen) this.#queue.after(100, run)
      else then()
    }
    this.#queue.after(1 + this.#prng.below(5), run)
  }

  #transmit(arrive: () => void): void {
    if (this.#isLost()) return
    const arrivalMs = Math.max(this.#lastArrivalMs, this.#queue.nowMs + 1 + this.#prng.below(5))
    this.#lastArrivalMs = arrivalMs
    this.#queue.after(arrivalMs - this.#queue.nowMs, arrive)
  }

  #isLost(): boolean {
    const isLost = this.#prng.below(100) < this.lossPercent
    if (isLost) this.#witness.onLost()
    return isLost
  }
}

function partitionsOf(assignment: Uint8Array): number[] {
  return (partitionsOfAssignment(assignment) ?? []).flatMap(({ partitions }) => partitions)
}

/** Partitions dealt out in turn. */
function shareOut(memberIds: readonly string[]): { memberId: string; assignment: Uint8Array }[] {
  return memberIds.map((memberId, index) => {
    const own = Array.from({ length: PARTITIONS }, (_, partition) => partition)
    const partitions = own.filter((partition) => partition % memberIds.length === index)
    return { memberId, assignment: assignmentOf({ [TOPIC]: partitions }) }
  })
}
