/** A GroupCoordinator with its log in memory and time by hand: what the shell does, without a shell. */
import assert from 'node:assert/strict'
import { hexOf } from '../../src/base/bytes.ts'
import { requireRe2 } from '../../src/base/node/require-re2.ts'
import type { GroupState } from '../../src/group/group-state.ts'
import {
  type Assignor,
  type Decision,
  type EncodedRecord,
  type GroupConfig,
  GroupCoordinator,
  type GroupRefusal,
  type HeartbeatReply,
  type HeartbeatRequest,
  isRefusal,
  type OffsetCommitReply,
  type OffsetCommitRequest,
  type Release,
  TopicDirectory,
} from '../../src/group/index.ts'
import { re2Patterns } from '../../src/group/re2-pattern.ts'
import type { TopicId } from '../../src/model/ids.ts'

export function topicIdOf(number: number): TopicId {
  return number.toString(16).padStart(32, '0') as TopicId
}

const UNCHANGED: Omit<HeartbeatRequest, 'groupId' | 'memberId' | 'memberEpoch'> = {
  instanceId: null,
  rackId: null,
  rebalanceTimeoutMs: -1,
  sessionTimeoutMs: -1,
  subscribedTopics: null,
  subscribedPattern: null,
  serverAssignor: null,
  ownedPartitions: null,
  clientId: 'client',
  clientHost: '127.0.0.1',
}

export interface FixtureOptions {
  readonly config?: Partial<GroupConfig>
  readonly assignors?: readonly Assignor[]
  /** What a decision must fit. */
  readonly batchBytesMax?: number
  /** Name -> partitions. */
  readonly topics?: Readonly<Record<string, number>>
}

export class GroupFixture {
  readonly directory = new TopicDirectory()
  readonly log: EncodedRecord[] = []
  readonly notices: string[] = []
  /** Answers to requests that waited, by token. */
  readonly released = new Map<number, Release['reply']>()
  coordinator: GroupCoordinator
  nowMs = 1000
  readonly wallStartMs = 1_700_000_000_000
  readonly #options: FixtureOptions
  #topicCount = 0
  #memberCount = 0

  constructor(options: FixtureOptions = {}) {
    this.#options = options
    for (const [name, partitions] of Object.entries(options.topics ?? { orders: 6 })) this.#put(name, partitions)
    this.coordinator = this.#loaded(this.log)
  }

  /** Topic id of a name, which must be there. */
  id(name: string): TopicId {
    const entry = this.directory.byName(name)
    assert.ok(entry !== undefined, `no topic ${name}`)
    return entry.topicId
  }

  createTopic(name: string, partitions: number): TopicId {
    const topicId = this.#put(name, partitions)
    this.coordinator.onTopicsChanged({ changed: [topicId], deleted: [] })
    return topicId
  }

  /** More partitions, or fewer. */
  growTopic(name: string, partitionCount: number): void {
    const topicId = this.id(name)
    this.directory.put({ topicId, name, partitionCount })
    this.coordinator.onTopicsChanged({ changed: [topicId], deleted: [] })
  }

  deleteTopic(name: string): void {
    const topicId = this.id(name)
    this.directory.remove(topicId)
    this.coordinator.onTopicsChanged({ changed: [], deleted: [topicId] })
  }

  /** Time goes on by so much, deadlines are kept on the way. Answers the members that were fenced. */
  advance(ms: number): string[] {
    const untilMs = this.nowMs + ms
    const fenced: string[] = []
    for (;;) {
      const { nextDeadlineMs } = this.coordinator
      if (nextDeadlineMs > untilMs) break
      this.nowMs = Math.max(this.nowMs, nextDeadlineMs)
      const decision = this.coordinator.onDeadline(this.nowMs)
      if (decision === undefined) continue
      this.log.push(...decision.records)
      this.notices.push(...decision.notices)
      this.release(decision.releases)
      fenced.push(...decision.fenced.map(({ memberId, reason }) => `${memberId} ${reason}`))
    }
    this.nowMs = untilMs
    return fenced
  }

  heartbeat(
    request: Partial<HeartbeatRequest> & { memberId: string; memberEpoch: number },
  ): Decision<HeartbeatReply>['reply'] {
    return this.take(this.coordinator.heartbeat({ groupId: 'g', ...UNCHANGED, ...request }, this.nowMs))
  }

  /** A heartbeat that must not be refused. */
  beat(request: Partial<HeartbeatRequest> & { memberId: string; memberEpoch: number }): HeartbeatReply {
    const reply = this.heartbeat(request)
    assert.ok(!isRefusal(reply), `refused: ${JSON.stringify(reply)}`)
    return reply
  }

  join(memberId: string, more: Partial<HeartbeatRequest> = {}): HeartbeatReply {
    return this.beat({ memberId, memberEpoch: 0, subscribedTopics: ['orders'], ownedPartitions: [], ...more })
  }

  /** A refusal's error, which must be one. */
  refusal(request: Partial<HeartbeatRequest> & { memberId: string; memberEpoch: number }): GroupRefusal {
    const reply = this.heartbeat(request)
    assert.ok(isRefusal(reply), `not refused: ${JSON.stringify(reply)}`)
    return reply
  }

  commit(request: Partial<OffsetCommitRequest> & { topic?: string; offset?: number; partition?: number }) {
    const { topic = 'orders', partition = 0, offset = 0, ...rest } = request
    const partitions = [{ partition, offset, leaderEpoch: -1, metadata: '' }]
    const whole = { groupId: 'g', memberId: '', memberEpoch: -1, instanceId: null, ...rest }
    const topics = rest.topics ?? [{ topicId: '' as const, topic, partitions }]
    return this.take<OffsetCommitReply>(this.coordinator.commitOffsets({ ...whole, topics }, this.nowMs))
  }

  /** Error of a commit of one partition, of the whole or of the part. */
  commitError(request: Parameters<GroupFixture['commit']>[0]): string {
    const reply = this.commit(request)
    return isRefusal(reply) ? reply.error : reply.topics[0]!.partitions[0]!.error
  }

  committed(topic = 'orders', partition = 0, groupId = 'g'): number {
    const topics = [{ topicId: '' as const, topic, partitions: [partition] }]
    const { reply } = this.coordinator.fetchOffsets({
      groupId,
      memberId: '',
      memberEpoch: -1,
      topics,
      requireStable: false,
    })
    assert.ok(!isRefusal(reply))
    return reply.topics[0]!.partitions[0]!.offset
  }

  release(releases: readonly Release[]): void {
    for (const { token, reply } of releases) {
      assert.ok(!this.released.has(token), `request ${token} is answered twice`)
      this.released.set(token, reply)
    }
  }

  take<Reply>(decision: Decision<Reply>): Decision<Reply>['reply'] {
    this.log.push(...decision.records)
    this.notices.push(...decision.notices)
    return decision.reply
  }

  /** Another coordinator from the log, as after a crash; this one's state is lost. */
  restart(log: readonly EncodedRecord[] = this.log): void {
    this.coordinator = this.#loaded(log)
  }

  /** As restart(), beside the one that goes on. */
  replayed(log: readonly EncodedRecord[] = this.log): GroupCoordinator {
    return this.#loaded(log)
  }

  #loaded(log: readonly EncodedRecord[]): GroupCoordinator {
    const { config, assignors, batchBytesMax } = this.#options
    const coordinator = new GroupCoordinator({
      directory: this.directory,
      wallClock: { nowMs: () => this.wallStartMs + Math.floor(this.nowMs) },
      newMemberId: () => `made-${++this.#memberCount}`,
      compilePattern: re2Patterns(requireRe2),
      ...(batchBytesMax === undefined ? {} : { batchBytesMax: () => batchBytesMax }),
      ...(config === undefined ? {} : { config }),
      ...(assignors === undefined ? {} : { assignors }),
    })
    for (const { key, value } of log) assert.deepEqual(coordinator.replay(key, value), { kind: 'applied' })
    coordinator.onLoaded(this.nowMs)
    return coordinator
  }

  #put(name: string, partitionCount: number): TopicId {
    const topicId = topicIdOf(++this.#topicCount)
    this.directory.put({ topicId, name, partitionCount })
    return topicId
  }
}

/** The newest record of each key, where it stands; tombstones too, or not. */
export function compacted(log: readonly EncodedRecord[], withTombstones: boolean): EncodedRecord[] {
  const newest = new Map<string, EncodedRecord>()
  for (const record of log) newest.set(hexOf(record.key), record)
  return log.filter((record) => newest.get(hexOf(record.key)) === record && (withTombstones || record.value !== null))
}

/** All that must survive a restart, in an order of its own. */
export function durableState(state: GroupState): unknown {
  return sorted(state.groups, (group) => ({
    kind: group.kind,
    epochs: [group.groupEpoch, group.assignmentEpoch],
    assignor: group.assignor,
    emptySinceMs: group.emptySinceMs,
    hasRecord: group.hasRecord,
    instances: sorted(group.instances, (memberId) => memberId),
    offsetCount: group.offsetCount,
    offsets: sorted(group.offsets, (offsets) => sorted(offsets, (value) => value)),
    classic: group.classicMetadata,
    classicMembers: sorted(group.classicMembers, (stored) => stored),
    owners: sorted(group.owners, (owners) => sorted(owners, (member) => member.memberId)),
    members: sorted(group.members, ({ metadata, target, current }) => ({
      metadata,
      target: sorted(target, (list) => list),
      epochs: [current.memberEpoch, current.previousMemberEpoch],
      assigned: sorted(current.assigned, (list) => list),
      revoking: sorted(current.revoking, (list) => list),
    })),
  }))
}

function sorted<Key extends string | number, Value>(
  map: ReadonlyMap<Key, Value>,
  show: (value: Value) => unknown,
): [Key, unknown][] {
  const keys = [...map.keys()].sort((left, right) => (left < right ? -1 : left > right ? 1 : 0))
  return keys.map((key) => [key, show(map.get(key)!)])
}

/** Assignment of a reply or description as text: 'orders 0 1, clicks 3'. */
export function show(assignment: HeartbeatReply['assignment']): string {
  if (assignment === null) return 'unchanged'
  return assignment.map(({ topic, partitions }) => `${topic} ${partitions.join(' ')}`).join(', ')
}
