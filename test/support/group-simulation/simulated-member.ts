/**
 * SimulatedMember: a consumer as the client is to behave: one heartbeat under way, partitions given up only after the handler
 * stopped and committed, sessions extended from beside while it blocks. Its network keeps order, delays and loses.
 */
import type { Prng } from '../../../src/base/prng.ts'
import {
  type GroupRefusal,
  type HeartbeatReply,
  type HeartbeatRequest,
  isRefusal,
  type TopicPartitions,
} from '../../../src/group/index.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import type { EventQueue } from '../event-simulation/event-queue.ts'
import type { SimulatedCoordinator } from './simulated-coordinator.ts'

export const GROUP_ID = 'g'
export const SESSION_TIMEOUT_MS = 6_000
export const REBALANCE_TIMEOUT_MS = 8_000
const REQUEST_TIMEOUT_MS = 400
const EXTEND_EVERY_MS = 1_500

export interface MemberPlan {
  readonly memberId: string
  readonly instanceId: string | null
  readonly subscribedTopics: readonly string[]
  readonly subscribedPattern: string
  readonly serverAssignor: string | null
}

/** A partition that it reads, and how far. */
export interface Reading {
  readonly topicId: TopicId
  readonly partition: number
  /** -1 until the committed offset is known. */
  position: number
}

export class SimulatedMember {
  readonly plan: MemberPlan
  readonly reading = new Map<string, Reading>()
  /** Grows when it takes a partition. */
  changes = 0
  epoch = 0
  /** The process is gone for good. */
  isDead = false
  /** The process stands still. */
  isFrozen = false
  /** The handler blocks: no heartbeat, but sessions are extended from beside. */
  isBlocked = false
  /** Share of messages lost, of 100. */
  lossPercent = 0
  onEpoch: (member: SimulatedMember, epoch: number) => void = () => {}
  onRefused: (error: string) => void = () => {}
  onLost: () => void = () => {}
  onHint: () => void = () => {}
  readonly #queue: EventQueue
  readonly #prng: Prng
  readonly #broker: SimulatedCoordinator
  readonly #connectionId: number
  #request = 0
  /** Of the heartbeat under way; -1 = none. */
  #awaited = -1
  /** A hint came while a heartbeat was under way. */
  #isDue = false
  #mustTell = true
  #lastArrivalMs = 0
  #isStopping = false

  constructor(plan: MemberPlan, queue: EventQueue, prng: Prng, broker: SimulatedCoordinator) {
    this.plan = plan
    this.#queue = queue
    this.#prng = prng
    this.#broker = broker
    this.#connectionId = broker.connect(() => this.#hint())
    this.#heartbeat()
    this.#extend()
    this.#consume()
  }

  /** Alive and able to take what it is given. */
  get isResponsive(): boolean {
    return !this.isDead && !this.isFrozen && !this.isBlocked
  }

  die(): void {
    this.isDead = true
  }

  /** Says goodbye, for good or, with an instance id, for a while. */
  leave(isForGood: boolean): void {
    if (!this.isResponsive || this.epoch <= 0) {
      this.die()
      return
    }
    this.#commit([...this.reading.values()])
    this.reading.clear()
    this.#send(isForGood || this.plan.instanceId === null ? -1 : -2, null, () => {})
    this.isDead = true
  }

  /** Everything of it stands still; what it read it believes to read on. */
  freeze(forMs: number): void {
    this.isFrozen = true
    this.#queue.after(forMs, () => {
      this.isFrozen = false
      // It goes on where it was: a commit first, which must be fenced if it lost its place.
      if (!this.isDead) this.#commit([...this.reading.values()])
      this.#mustTell = true
      this.#again(0)
    })
  }

  block(forMs: number): void {
    this.isBlocked = true
    this.#queue.after(forMs, () => {
      this.isBlocked = false
      if (!this.isFrozen && !this.isDead) this.#commit([...this.reading.values()])
      this.#mustTell = true
      this.#again(0)
    })
  }

  #again(afterMs: number): void {
    const request = ++this.#request
    this.#queue.after(afterMs, () => {
      if (request === this.#request && this.isResponsive && !this.#isStopping) this.#heartbeat()
    })
  }

  /** The coordinator says that there is news; which may get lost, as everything. */
  #hint(): void {
    if (this.#isLost()) return
    this.#queue.after(1 + this.#prng.below(5), () => {
      if (!this.isResponsive) return
      this.onHint()
      if (this.#awaited === this.#request) this.#isDue = true
      else if (!this.#isStopping) this.#again(0)
    })
  }

  #heartbeat(): void {
    const isJoin = this.epoch <= 0
    const owned = isJoin ? [] : this.#mustTell ? this.#owned() : null
    const request = ++this.#request
    this.#awaited = request
    this.#isDue = false
    this.#send(isJoin ? 0 : this.epoch, owned, (reply) => {
      if (request !== this.#request || this.isDead) return
      // A reply that comes while it stands still is read when it goes on; as late as a lost one.
      if (!this.isResponsive) return
      this.#awaited = -1
      this.#mustTell = false
      if (isRefusal(reply)) this.#refused(reply.error)
      else this.#answered(reply)
    })
    this.#queue.after(REQUEST_TIMEOUT_MS, () => {
      if (request !== this.#request || this.isDead) return
      // No reply in time: the connection is closed, the next request says all it owns.
      this.#mustTell = true
      this.#again(0)
    })
  }

  #refused(error: string): void {
    this.onRefused(error)
    if (error === 'FENCED_MEMBER_EPOCH' || error === 'UNKNOWN_MEMBER_ID' || error === 'FENCED_INSTANCE_ID') {
      this.epoch = 0
      this.reading.clear()
    }
    if (error === 'FENCED_INSTANCE_ID') this.die()
    else this.#again(100 + this.#prng.below(200))
  }

  #answered(reply: HeartbeatReply): void {
    this.onEpoch(this, reply.memberEpoch)
    this.epoch = reply.memberEpoch
    if (reply.assignment === null) {
      this.#again(this.#isDue ? 0 : reply.heartbeatIntervalMs)
      return
    }
    const assigned = new Set<string>()
    for (const { topicId, partitions } of reply.assignment)
      for (const partition of partitions) assigned.add(`${topicId}-${partition}`)
    const lost = [...this.reading].filter(([key]) => !assigned.has(key))
    this.#mustTell = true
    for (const { topicId, partitions } of reply.assignment)
      for (const partition of partitions) this.#read(topicId as TopicId, partition)
    if (lost.length === 0) {
      this.#again(0)
      return
    }
    // The handler is let finish; then it commits, and only then says that it owns them no more.
    this.#isStopping = true
    ++this.#request
    this.#queue.after(this.#prng.below(150), () => this.#stop(lost.map(([key]) => key)))
  }

  #stop(keys: readonly string[]): void {
    if (this.isDead) return
    if (!this.isResponsive) {
      this.#queue.after(50, () => this.#stop(keys))
      return
    }
    this.#isStopping = false
    this.#commit(keys.flatMap((key) => this.reading.get(key) ?? []))
    for (const key of keys) this.reading.delete(key)
    this.#again(0)
  }

  #read(topicId: TopicId, partition: number): void {
    const key = `${topicId}-${partition}`
    if (this.reading.has(key)) return
    const reading: Reading = { topicId, partition, position: -1 }
    this.reading.set(key, reading)
    this.changes++
    this.#position(reading)
  }

  #position(reading: Reading): void {
    const { topicId, partition } = reading
    const isWanted = () =>
      !this.isDead && this.reading.get(`${topicId}-${partition}`) === reading && reading.position < 0
    this.#transmit(() => {
      const request = {
        groupId: GROUP_ID,
        memberId: this.plan.memberId,
        memberEpoch: this.epoch,
        topics: [{ topicId, topic: '', partitions: [partition] }],
        requireStable: false,
      }
      this.#broker.ask(
        (coordinator) => coordinator.fetchOffsets(request),
        (reply) => {
          if (isRefusal(reply) || !isWanted()) return
          reading.position = Math.max(0, reply.topics[0]!.partitions[0]!.offset)
        },
      )
    })
    this.#queue.after(REQUEST_TIMEOUT_MS, () => {
      if (isWanted()) this.#position(reading)
    })
  }

  /** Handles records and commits now and then. */
  #consume(): void {
    if (this.isDead) return
    if (this.isResponsive) {
      for (const reading of this.reading.values()) if (reading.position >= 0) reading.position += this.#prng.below(5)
      this.#commit([...this.reading.values()])
    }
    this.#queue.after(500 + this.#prng.below(1_000), () => this.#consume())
  }

  #commit(readings: readonly Reading[]): void {
    const known = readings.filter((reading) => reading.position >= 0)
    if (known.length === 0 || this.epoch <= 0) return
    const topics = known.map(({ topicId, partition, position }) => ({
      topicId,
      topic: '',
      partitions: [{ partition, offset: position, leaderEpoch: -1, metadata: '' }],
    }))
    const { memberId, instanceId } = this.plan
    const request = { groupId: GROUP_ID, memberId, memberEpoch: this.epoch, instanceId, topics }
    this.#transmit(() => {
      this.#broker.ask(
        (coordinator) => coordinator.commitOffsets(request, this.#queue.nowMs),
        (reply) => {
          if (isRefusal(reply)) this.onRefused(`commit ${reply.error}`)
        },
      )
    })
  }

  /** The thread beside. */
  #extend(): void {
    if (this.isDead) return
    if (!this.isFrozen && this.epoch > 0)
      this.#transmit(() => void this.#broker.extendSessions(GROUP_ID, [this.plan.memberId]))
    this.#queue.after(EXTEND_EVERY_MS, () => this.#extend())
  }

  #send(
    memberEpoch: number,
    owned: readonly TopicPartitions[] | null,
    reply: (reply: HeartbeatReply | GroupRefusal) => void,
  ): void {
    const isJoin = memberEpoch === 0
    const request: HeartbeatRequest = {
      groupId: GROUP_ID,
      memberId: this.plan.memberId,
      memberEpoch,
      instanceId: this.plan.instanceId,
      rackId: null,
      rebalanceTimeoutMs: isJoin ? REBALANCE_TIMEOUT_MS : -1,
      sessionTimeoutMs: isJoin ? SESSION_TIMEOUT_MS : -1,
      subscribedTopics: isJoin ? this.plan.subscribedTopics : null,
      subscribedPattern: isJoin ? this.plan.subscribedPattern : null,
      serverAssignor: isJoin ? this.plan.serverAssignor : null,
      ownedPartitions: owned,
      clientId: 'simulated',
      clientHost: '127.0.0.1',
      connectionId: this.#connectionId,
    }
    this.#transmit(() => {
      this.#broker.ask(
        (coordinator, nowMs) => coordinator.heartbeat(request, nowMs),
        (answer) => {
          if (this.#isLost()) return
          this.#queue.after(1 + this.#prng.below(5), () => reply(answer))
        },
      )
    })
  }

  #owned(): TopicPartitions[] {
    return [...this.reading.values()].map(({ topicId, partition }) => ({ topicId, topic: '', partitions: [partition] }))
  }

  /** Requests of a member arrive in the order in which they were sent, or not. */
  #transmit(arrive: () => void): void {
    if (this.#isLost()) return
    const arrivalMs = Math.max(this.#lastArrivalMs, this.#queue.nowMs + 1 + this.#prng.below(5))
    this.#lastArrivalMs = arrivalMs
    this.#queue.after(arrivalMs - this.#queue.nowMs, arrive)
  }

  #isLost(): boolean {
    const isLost = this.#prng.below(100) < this.lossPercent
    if (isLost) this.onLost()
    return isLost
  }
}
