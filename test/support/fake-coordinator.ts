/**
 * FakeCoordinator: the coordinator of groups that the fake broker has: small, and true to the rules a member depends on (KIP-848):
 * a target assignment, revoke before assign, member epochs, sessions, rebalance timeouts, fencing. What it saw and did is kept
 * for tests. Not here: durability, static members' second lives, limits.
 */
import { type ErrorCode, errorNumberOf, MillraceError } from '../../src/model/errors.ts'
import type { TopicId } from '../../src/model/ids.ts'
import * as wire from '../../src/protocol/index.ts'

interface KnownTopic {
  readonly name: string
  readonly topicId: TopicId
  readonly partitions: readonly unknown[]
}

const OTHER_TOPIC_ID = 'f'.repeat(32) as TopicId

export interface FakeMember {
  readonly memberId: string
  instanceId: string | null
  epoch: number
  topics: readonly string[]
  pattern: string
  sessionTimeoutMs: number
  rebalanceTimeoutMs: number
  heardMs: number
  /** What it may read; a partition leaves it as soon as it is to be revoked. */
  assigned: Set<string>
  /** Told to give up, not confirmed; by when it must be. */
  revoking: Map<string, number>
  told: string
}

export interface FakeGroup {
  epoch: number
  readonly members: Map<string, FakeMember>
  /** Partition -> member that may be reading it. */
  readonly owners: Map<string, string>
  readonly offsets: Map<string, number>
  /** That came with the newest commit of a partition. */
  readonly leaderEpochs: Map<string, number>
  /** Of transactions that are not decided. */
  pending: { readonly producerId: number; readonly key: string; readonly offset: number }[]
  target: Map<string, string>
}

export interface SeenCommit {
  readonly groupId: string
  readonly memberId: string
  readonly key: string
  readonly offset: number
}

export interface SeenHeartbeat extends wire.GroupHeartbeatRequest {
  readonly atMs: number
}

export class FakeCoordinator {
  readonly groups = new Map<string, FakeGroup>()
  readonly commits: SeenCommit[] = []
  readonly heartbeats: SeenHeartbeat[] = []
  /** Members by session-extend. */
  readonly extended: string[] = []
  readonly left: { readonly memberId: string; readonly epoch: number }[] = []
  heartbeatIntervalMs = 20
  /** Asked before each request of a group; an error is answered. */
  refuse: (request: { readonly api: number; readonly groupId: string }) => ErrorCode | undefined = () => undefined
  readonly #topics: ReadonlyMap<string, KnownTopic>

  constructor(topics: ReadonlyMap<string, KnownTopic>) {
    this.#topics = topics
  }

  /** Offsets of these names are told as those of a topic that is gone. */
  readonly otherTopicIds = new Set<string>()

  group(groupId: string): FakeGroup {
    let group = this.groups.get(groupId)
    if (group === undefined) {
      const maps = { members: new Map(), owners: new Map(), offsets: new Map(), target: new Map() }
      group = { epoch: 0, ...maps, leaderEpochs: new Map(), pending: [] }
      this.groups.set(groupId, group)
    }
    return group
  }

  committed(groupId: string, key: string): number {
    return this.group(groupId).offsets.get(key) ?? -1
  }

  /** Throws a member out, as a session's end does. */
  fence(groupId: string, memberId: string): void {
    const group = this.group(groupId)
    const member = group.members.get(memberId)
    if (member !== undefined) this.#remove(group, member)
  }

  /** Ends the sessions that have run out, as a coordinator's clock does. */
  sweep(groupId: string): void {
    this.#sweep(this.group(groupId))
  }

  /** The header of the reply; undefined = no request of groups. */
  answer(frame: wire.Frame): Uint8Array | undefined {
    const { header } = frame
    switch (frame.api) {
      case wire.Api.GROUP_HEARTBEAT: {
        const request = wire.groupHeartbeat.decodeRequest(header)
        this.heartbeats.push({ ...request, atMs: performance.now() })
        this.#check(frame.api, request.groupId)
        return wire.groupHeartbeat.encodeReply(this.#heartbeat(request))
      }
      case wire.Api.OFFSET_COMMIT: {
        const request = wire.offsetCommit.decodeRequest(header)
        this.#check(frame.api, request.groupId)
        return wire.offsetCommit.encodeReply(this.#commit(request))
      }
      case wire.Api.OFFSET_FETCH: {
        const request = wire.offsetFetch.decodeRequest(header)
        this.#check(frame.api, request.groupId)
        return wire.offsetFetch.encodeReply(this.#fetch(request))
      }
      case wire.Api.SESSION_EXTEND: {
        const request = wire.sessionExtend.decodeRequest(header)
        this.#refuse(frame.api, request.groupId)
        return wire.sessionExtend.encodeReply(this.#extend(request))
      }
      case wire.Api.LIST_GROUPS:
        return wire.listGroups.encodeReply({
          groups: [...this.groups].map(([id, group]) => listed(id, group)),
          nextCursor: null,
        })
      case wire.Api.GROUP_DESCRIBE:
        return wire.groupDescribe.encodeReply({
          groups: wire.groupDescribe.decodeRequest(header).groupIds.map((id) => this.#describe(id)),
          nextCursor: null,
        })
      case wire.Api.DELETE_GROUPS:
        return wire.deleteGroups.encodeReply({
          groups: wire.deleteGroups.decodeRequest(header).groupIds.map((id) => this.#delete(id)),
        })
      case wire.Api.OFFSET_DELETE:
        return wire.offsetDelete.encodeReply(this.#deleteOffsets(wire.offsetDelete.decodeRequest(header)))
      default:
        return undefined
    }
  }

  #refuse(api: number, groupId: string): void {
    const code = this.refuse({ api, groupId })
    if (code !== undefined) throw new MillraceError(code, `the fake coordinator says ${code}`)
  }

  #check(api: number, groupId: string): void {
    this.#refuse(api, groupId)
    this.#sweep(this.group(groupId))
  }

  /** Sessions and revocations that have run out. */
  #sweep(group: FakeGroup): void {
    const nowMs = performance.now()
    for (const member of [...group.members.values()]) {
      const isSilent = nowMs - member.heardMs > member.sessionTimeoutMs
      const isLate = [...member.revoking.values()].some((deadlineMs) => nowMs > deadlineMs)
      if (isSilent || isLate) this.#remove(group, member)
    }
  }

  #remove(group: FakeGroup, member: FakeMember): void {
    group.members.delete(member.memberId)
    for (const [key, owner] of group.owners) if (owner === member.memberId) group.owners.delete(key)
    this.#retarget(group)
  }

  #heartbeat(request: wire.GroupHeartbeatRequest): wire.GroupHeartbeatReply {
    const group = this.group(request.groupId)
    if (request.memberEpoch < 0) return this.#leave(group, request)
    const member = request.memberEpoch === 0 ? this.#join(group, request) : this.#known(group, request)
    member.heardMs = performance.now()
    if (request.subscribedTopics !== null && String(request.subscribedTopics) !== String(member.topics)) {
      member.topics = request.subscribedTopics
      this.#retarget(group)
    }
    if (request.ownedPartitions !== null) this.#confirm(group, member, request.ownedPartitions)
    this.#reconcile(group, member)
    const told = [...member.assigned].sort().join()
    const isChanged = told !== member.told || request.subscribedTopics !== null
    member.told = told
    return {
      memberId: member.memberId,
      memberEpoch: member.epoch,
      heartbeatIntervalMs: this.heartbeatIntervalMs,
      assignment: isChanged ? this.#named(member.assigned) : null,
    }
  }

  #leave(group: FakeGroup, request: wire.GroupHeartbeatRequest): wire.GroupHeartbeatReply {
    const member = group.members.get(request.memberId)
    if (member === undefined) throw new MillraceError('UNKNOWN_MEMBER_ID')
    this.left.push({ memberId: request.memberId, epoch: request.memberEpoch })
    this.#remove(group, member)
    const { memberId, memberEpoch } = request
    return { memberId, memberEpoch, heartbeatIntervalMs: this.heartbeatIntervalMs, assignment: null }
  }

  #join(group: FakeGroup, request: wire.GroupHeartbeatRequest): FakeMember {
    const before = group.members.get(request.memberId)
    if (before !== undefined) this.#remove(group, before)
    const member: FakeMember = {
      memberId: request.memberId,
      instanceId: request.instanceId,
      epoch: 0,
      topics: request.subscribedTopics ?? [],
      pattern: request.subscribedPattern ?? '',
      sessionTimeoutMs: request.sessionTimeoutMs,
      rebalanceTimeoutMs: request.rebalanceTimeoutMs,
      heardMs: performance.now(),
      assigned: new Set(),
      revoking: new Map(),
      told: '?',
    }
    group.members.set(member.memberId, member)
    this.#retarget(group)
    return member
  }

  #known(group: FakeGroup, request: wire.GroupHeartbeatRequest): FakeMember {
    const member = group.members.get(request.memberId)
    if (member === undefined) throw new MillraceError('UNKNOWN_MEMBER_ID')
    if (request.memberEpoch > member.epoch) throw new MillraceError('FENCED_MEMBER_EPOCH')
    if (request.memberEpoch < member.epoch && request.ownedPartitions === null)
      throw new MillraceError('FENCED_MEMBER_EPOCH')
    return member
  }

  #confirm(group: FakeGroup, member: FakeMember, owned: readonly wire.TopicPartitions[]): void {
    const keys = new Set(owned.flatMap(({ topic, partitions }) => partitions.map((each) => `${topic}/${each}`)))
    for (const key of keys)
      if (!member.assigned.has(key) && !member.revoking.has(key)) throw new MillraceError('FENCED_MEMBER_EPOCH')
    for (const key of member.revoking.keys())
      if (!keys.has(key)) {
        member.revoking.delete(key)
        group.owners.delete(key)
      }
  }

  #reconcile(group: FakeGroup, member: FakeMember): void {
    for (const key of member.assigned)
      if (group.target.get(key) !== member.memberId) {
        member.assigned.delete(key)
        member.revoking.set(key, performance.now() + member.rebalanceTimeoutMs)
      }
    if (member.revoking.size > 0) return
    member.epoch = group.epoch
    for (const [key, owner] of group.target)
      if (owner === member.memberId && !group.owners.has(key)) {
        group.owners.set(key, member.memberId)
        member.assigned.add(key)
      }
  }

  /** Sticky: who has a partition keeps it, up to an even share. */
  #retarget(group: FakeGroup): void {
    group.epoch++
    const members = [...group.members.values()].sort((left, right) => (left.memberId < right.memberId ? -1 : 1))
    const keys = [...this.#topics.values()].flatMap(({ name, partitions }) =>
      members.some((member) => reads(member, name)) ? partitions.map((_, index) => `${name}/${index}`) : [],
    )
    const counts = new Map(members.map((member) => [member.memberId, 0]))
    const most = Math.ceil(keys.length / Math.max(1, members.length))
    const target = new Map<string, string>()
    const give = (key: string, memberId: string): void => {
      target.set(key, memberId)
      counts.set(memberId, counts.get(memberId)! + 1)
    }
    for (const key of keys) {
      const owner = group.target.get(key)
      if (owner !== undefined && counts.has(owner) && counts.get(owner)! < most) give(key, owner)
    }
    for (const key of keys)
      if (!target.has(key)) {
        const least = members.reduce((one, other) =>
          counts.get(other.memberId)! < counts.get(one.memberId)! ? other : one,
        )
        give(key, least.memberId)
      }
    group.target = target
  }

  #named(keys: Iterable<string>): wire.TopicPartitions[] {
    const topics = new Map<string, number[]>()
    for (const key of keys) {
      const at = key.lastIndexOf('/')
      const topic = key.slice(0, at)
      topics.set(topic, [...(topics.get(topic) ?? []), Number(key.slice(at + 1))])
    }
    return [...topics].map(([topic, partitions]) => ({
      topic,
      topicId: this.#topics.get(topic)?.topicId ?? '',
      partitions,
    }))
  }

  /** Offsets that count when their transaction is committed. */
  commitPending(request: wire.TxnOffsetCommitRequest): wire.OffsetCommitReply {
    this.#check(wire.Api.TXN_OFFSET_COMMIT, request.groupId)
    const { producerId } = request
    return this.#commit(request, (group, key, offset) => group.pending.push({ producerId, key, offset }))
  }

  endPending(groupId: string, producerId: number, isCommit: boolean): void {
    const group = this.group(groupId)
    const ended = group.pending.filter((each) => each.producerId === producerId)
    group.pending = group.pending.filter((each) => each.producerId !== producerId)
    if (isCommit) for (const { key, offset } of ended) group.offsets.set(key, offset)
  }

  #commit(
    request: wire.OffsetCommitRequest,
    put = (group: FakeGroup, key: string, offset: number): unknown => group.offsets.set(key, offset),
  ): wire.OffsetCommitReply {
    const group = this.group(request.groupId)
    if (request.memberEpoch >= 0) {
      const member = group.members.get(request.memberId)
      if (member === undefined) throw new MillraceError('UNKNOWN_MEMBER_ID')
      if (member.epoch !== request.memberEpoch) throw new MillraceError('STALE_MEMBER_EPOCH')
    } else if (group.members.size > 0) throw new MillraceError('UNKNOWN_MEMBER_ID')
    for (const { topic, partitions } of request.topics)
      for (const { partition, offset, leaderEpoch } of partitions) {
        const key = `${topic}/${partition}`
        put(group, key, offset)
        group.leaderEpochs.set(key, leaderEpoch)
        this.commits.push({ groupId: request.groupId, memberId: request.memberId, key, offset })
      }
    return {
      topics: request.topics.map(({ topic, topicId, partitions }) => ({
        topic,
        topicId,
        partitions: partitions.map(({ partition }) => ({ partition, errorNumber: 0, errorText: '' })),
      })),
    }
  }

  #fetch(request: wire.OffsetFetchRequest): wire.OffsetFetchReply {
    const group = this.group(request.groupId)
    if (request.memberEpoch >= 0) {
      const member = group.members.get(request.memberId)
      if (member === undefined) throw new MillraceError('UNKNOWN_MEMBER_ID')
      if (member.epoch !== request.memberEpoch) throw new MillraceError('STALE_MEMBER_EPOCH')
    }
    const topics = request.topics ?? this.#named(group.offsets.keys())
    const none = { errorText: '', metadata: '', commitTimestampMs: -1 }
    const errorOf = (key: string): number =>
      request.requireStable && group.pending.some((each) => each.key === key)
        ? errorNumberOf('UNSTABLE_OFFSET_COMMIT')
        : 0
    return {
      nextCursor: null,
      topics: topics.map(({ topic, topicId, partitions }) => ({
        topic,
        topicId: this.otherTopicIds.has(topic) ? OTHER_TOPIC_ID : topicId,
        partitions: partitions.map((partition) => ({
          ...none,
          partition,
          errorNumber: errorOf(`${topic}/${partition}`),
          leaderEpoch: group.leaderEpochs.get(`${topic}/${partition}`) ?? -1,
          offset: group.offsets.get(`${topic}/${partition}`) ?? -1,
        })),
      })),
    }
  }

  #extend(request: wire.SessionExtendRequest): wire.SessionExtendReply {
    const group = this.group(request.groupId)
    const unknownMemberIds: string[] = []
    for (const memberId of request.memberIds) {
      const member = group.members.get(memberId)
      this.extended.push(memberId)
      if (member === undefined) unknownMemberIds.push(memberId)
      else member.heardMs = performance.now()
    }
    return { unknownMemberIds }
  }

  #describe(groupId: string): wire.DescribedGroup {
    const group = this.groups.get(groupId)
    if (group === undefined) {
      const error = { errorNumber: errorNumberOf('GROUP_ID_NOT_FOUND'), errorText: '', kind: '', state: 'Dead' }
      return { ...error, groupId, groupEpoch: -1, assignmentEpoch: -1, assignor: '', members: [] }
    }
    const { state, kind } = listed(groupId, group)
    const members = [...group.members.values()].map((member) => ({
      ...{ memberId: member.memberId, instanceId: member.instanceId, rackId: null, memberEpoch: member.epoch },
      ...{ clientId: 'fake', clientHost: '127.0.0.1', subscribedTopics: member.topics },
      subscribedPattern: member.pattern,
      sessionTimeoutMs: member.sessionTimeoutMs,
      rebalanceTimeoutMs: member.rebalanceTimeoutMs,
      assignment: this.#named(member.assigned),
      targetAssignment: this.#named(
        [...group.target].filter(([, owner]) => owner === member.memberId).map(([key]) => key),
      ),
    }))
    const epochs = { groupEpoch: group.epoch, assignmentEpoch: group.epoch }
    return { errorNumber: 0, errorText: '', groupId, kind, state, ...epochs, assignor: 'sticky', members }
  }

  #delete(groupId: string): wire.DeletedGroup {
    const group = this.groups.get(groupId)
    const code = group === undefined ? 'GROUP_ID_NOT_FOUND' : group.members.size > 0 ? 'NON_EMPTY_GROUP' : 'NONE'
    if (code === 'NONE') this.groups.delete(groupId)
    return { groupId, errorNumber: errorNumberOf(code), errorText: '' }
  }

  #deleteOffsets(request: wire.OffsetDeleteRequest): wire.OffsetDeleteReply {
    const group = this.groups.get(request.groupId)
    if (group === undefined) throw new MillraceError('GROUP_ID_NOT_FOUND')
    return {
      topics: request.topics.map(({ topic, topicId, partitions }) => ({
        topic,
        topicId,
        partitions: partitions.map((partition) => {
          const isRead = [...group.members.values()].some((member) => reads(member, topic))
          if (!isRead) group.offsets.delete(`${topic}/${partition}`)
          const errorNumber = isRead ? errorNumberOf('GROUP_SUBSCRIBED_TO_TOPIC') : 0
          return { partition, errorNumber, errorText: '' }
        }),
      })),
    }
  }
}

function reads(member: FakeMember, topic: string): boolean {
  return member.topics.includes(topic) || (member.pattern !== '' && new RegExp(`^(?:${member.pattern})$`).test(topic))
}

function listed(groupId: string, group: FakeGroup): wire.ListedGroup {
  return {
    groupId,
    kind: 'consumer',
    state: group.members.size > 0 ? 'Stable' : 'Empty',
    memberCount: group.members.size,
    protocolType: 'consumer',
  }
}
