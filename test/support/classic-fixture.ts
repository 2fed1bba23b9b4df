/** A GroupFixture with members of Kafka's classic protocol: requests that wait are tokens until their answers come. */
import assert from 'node:assert/strict'
import { checkClassic } from '../../src/group/classic-state.ts'
import type {
  ClassicDecision,
  JoinGroupReply,
  JoinGroupRequest,
  LeaveGroupRequest,
  SyncGroupReply,
  SyncGroupRequest,
} from '../../src/group/index.ts'
import { type FixtureOptions, GroupFixture } from './group-fixture.ts'

/** ConsumerProtocolSubscription, version 0. */
export function subscriptionOf(...topics: string[]): Uint8Array {
  return Buffer.concat([int(0, 2), int(topics.length, 4), ...topics.map(textOf), int(-1, 4)])
}

/** ConsumerProtocolAssignment, version 0. */
export function assignmentOf(topics: Readonly<Record<string, readonly number[]>>): Uint8Array {
  const rows = Object.entries(topics).map(([topic, partitions]) =>
    Buffer.concat([textOf(topic), int(partitions.length, 4), ...partitions.map((partition) => int(partition, 4))]),
  )
  return new Uint8Array(Buffer.concat([int(0, 2), int(rows.length, 4), ...rows, int(-1, 4)]))
}

function int(value: number, bytes: 2 | 4): Buffer {
  const buffer = Buffer.alloc(bytes)
  buffer.writeIntBE(value, 0, bytes)
  return buffer
}

function textOf(text: string): Buffer {
  return Buffer.concat([int(Buffer.byteLength(text), 2), Buffer.from(text)])
}

export function protocolsOf(...names: string[]): JoinGroupRequest['protocols'] {
  return names.map((name) => ({ name, metadata: new Uint8Array(subscriptionOf('orders')) }))
}

const JOIN: JoinGroupRequest = {
  ...{ groupId: 'g', memberId: '', instanceId: null, sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 30_000 },
  ...{ protocolType: 'consumer', protocols: protocolsOf('range'), requiresKnownMemberId: false },
  ...{ canSkipAssignment: false, clientId: 'c', clientHost: '/1.2.3.4' },
}

/** A member that is in a generation. */
export interface InGeneration {
  readonly memberId: string
  readonly instanceId: string | null
  readonly generationId: number
}

export class ClassicFixture extends GroupFixture {
  #tokens = 0

  constructor(options: FixtureOptions = {}) {
    super({ ...options, config: { initialRebalanceDelayMs: 3_000, ...options.config } })
  }

  /** Answers its token. */
  sendJoin(request: Partial<JoinGroupRequest> = {}): number {
    const token = ++this.#tokens
    return this.#decided(token, this.coordinator.joinGroup({ ...JOIN, ...request }, token, this.nowMs))
  }

  sendSync(request: Partial<SyncGroupRequest> & InGeneration): number {
    const token = ++this.#tokens
    const whole = { groupId: 'g', protocolType: null, protocolName: null, assignments: [], ...request }
    return this.#decided(token, this.coordinator.syncGroup(whole, token, this.nowMs))
  }

  leaveClassic(...members: Partial<LeaveGroupRequest['members'][number]>[]): string[] {
    const rows = members.map((member) => ({ memberId: '', instanceId: null, ...member }))
    const decision = this.coordinator.leaveGroup({ groupId: 'g', members: rows }, this.nowMs)
    this.#decided(++this.#tokens, decision)
    assert.ok(decision.reply !== undefined && decision.reply.kind === 'left', JSON.stringify(decision.reply))
    return decision.reply.members.map(({ error }) => error)
  }

  /** Error of a heartbeat. */
  beatClassic(member: InGeneration): string {
    const { reply, records } = this.coordinator.classicHeartbeat({ groupId: 'g', ...member }, this.nowMs)
    assert.equal(records.length, 0)
    return reply.kind === 'refused' ? reply.error : 'NONE'
  }

  #decided(token: number, { records, notices, releases, reply }: ClassicDecision<object>): number {
    this.log.push(...records)
    this.notices.push(...notices)
    if (reply !== undefined) this.release([{ token, reply: reply as JoinGroupReply }])
    this.release(releases)
    this.check()
    return token
  }

  /** Invariants hold. */
  check(): void {
    for (const group of this.coordinator.state.groups.values()) checkClassic(group)
  }

  override advance(ms: number): string[] {
    const fenced = super.advance(ms)
    this.check()
    return fenced
  }

  /** 'waits', 'NONE' or an error. */
  outcome(token: number): string {
    const reply = this.released.get(token)
    if (reply === undefined) return 'waits'
    if (reply.kind === 'joined' || reply.kind === 'refused') return reply.error
    return 'NONE'
  }

  joined(token: number): JoinGroupReply {
    const reply = this.released.get(token)
    assert.ok(reply?.kind === 'joined', `not joined: ${JSON.stringify(reply)}`)
    return reply
  }

  synced(token: number): SyncGroupReply {
    const reply = this.released.get(token)
    assert.ok(reply?.kind === 'synced', `not synced: ${JSON.stringify(reply)}`)
    return reply
  }

  get group() {
    const group = this.coordinator.state.groups.get('g')
    assert.ok(group?.classic !== undefined, 'there is no classic group g')
    return group.classic
  }

  get members(): string[] {
    return [...this.group.members.keys()]
  }

  /** Members join together and wait for their generation: the leader first. */
  generation(...requests: Partial<JoinGroupRequest>[]): InGeneration[] {
    const tokens = requests.map((request) => this.sendJoin(request))
    for (let waited = 0; waited < 20 && tokens.some((token) => this.outcome(token) === 'waits'); waited++)
      this.advance(1_000)
    const members = tokens.map((token, index) => {
      const { memberId, generationId } = this.joined(token)
      return { memberId, generationId, instanceId: requests[index]!.instanceId ?? null }
    })
    return members.sort((left) => (left.memberId === this.group.leaderId ? -1 : 1))
  }

  /** The same with its assignments: what the leader names each member by its place. */
  stable(requests: readonly Partial<JoinGroupRequest>[] = [{}, {}]): InGeneration[] {
    const members = this.generation(...requests)
    const assignments = members.map(({ memberId }, index) => ({ memberId, assignment: new Uint8Array([index]) }))
    for (const member of members.toReversed()) this.sendSync({ ...member, assignments })
    assert.equal(this.group.state, 'Stable')
    return members
  }
}
