/**
 * Heartbeats: join, stay, confirm, leave (KIP-848).
 *
 * Epochs    | epoch in the request       | is                                                                        |
 *           | 0                          | a join; of a known member: it owns nothing any more and starts again      |
 *           | the member's               | the usual                                                                 |
 *           | the one before the member's| a reply was lost: taken when it says what it owns, and that is its own    |
 *           | any other                  | FENCED_MEMBER_EPOCH: it gives all up and joins                            |
 * Unchanged one record-less answer per member is kept and given again: nothing is allocated
 */
import { isSubset, NO_PARTITIONS, type PartitionSet, setsEqual, uniteSets } from '../model/partition-set.ts'
import { closeClassic } from './classic-members.ts'
import { forgetClassic } from './classic-records.ts'
import { GroupChanges, NO_RECORDS } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import { checkRoom } from './group-room.ts'
import { AWAY_EPOCH, type Group, isReconciled, type Member, type MemberMetadata, NO_CONNECTION } from './group-state.ts'
import { mergeMetadata } from './member-metadata.ts'
import { changesAssignment, removeMember, replaceMember, sameMetadata } from './membership.ts'
import { emitCurrent, reconcile } from './reconcile.ts'
import { checkGroupId, checkInstance, checkNames, namedPartitions, ownedSet, unknownMember } from './request-checks.ts'
import {
  type Decision,
  type GroupRefusal,
  type HeartbeatReply,
  type HeartbeatRequest,
  isRefusal,
  refuse,
  refusedDecision as refused,
} from './requests.ts'
import { bumpEpoch, needsNewTarget } from './target-assignment.ts'

type HeartbeatDecision = Decision<HeartbeatReply>

export const LEAVE_EPOCH = -1
/** One may be lost, with its connection, and the next come late. */
const HEARTBEATS_PER_SESSION_MIN = 3

export function decideHeartbeat(context: GroupContext, request: HeartbeatRequest, nowMs: number): HeartbeatDecision {
  const group = context.state.groups.get(request.groupId)
  const member = group?.members.get(request.memberId)
  if (group !== undefined && member !== undefined && isUnchanged(group, member, request)) {
    heard(context, group, member, request, nowMs)
    return unchangedDecision(context, member)
  }
  const fault = checkGroupId(request.groupId) ?? checkNames({ memberId: request.memberId })
  if (fault !== undefined) return refused(fault)
  if (request.memberEpoch === 0) return decideJoin(context, group, request, nowMs)
  if (group === undefined || member === undefined) {
    const fenced = group === undefined ? undefined : checkInstance(group, request.memberId, request.instanceId)
    return refused(fenced ?? unknownMember(request.groupId, request.memberId))
  }
  const instance = checkInstance(group, request.memberId, request.instanceId)
  if (instance !== undefined) return refused(instance)
  if (request.memberEpoch < 0) return decideLeave(context, group, member, request, nowMs)
  return decideBeat(context, group, member, request, nowMs)
}

/** Nothing to say, nothing to hear, nothing to do. */
function isUnchanged(group: Group, member: Member, request: HeartbeatRequest): boolean {
  return (
    request.memberEpoch === member.current.memberEpoch &&
    request.ownedPartitions === null &&
    request.subscribedTopics === null &&
    request.subscribedPattern === null &&
    request.serverAssignor === null &&
    request.rackId === null &&
    request.sessionTimeoutMs === -1 &&
    request.rebalanceTimeoutMs === -1 &&
    (request.instanceId === null || request.instanceId === member.metadata.instanceId) &&
    !member.isInDoubt &&
    !group.isStale &&
    isReconciled(group, member)
  )
}

function decideJoin(
  context: GroupContext,
  known: Group | undefined,
  request: HeartbeatRequest,
  nowMs: number,
): HeartbeatDecision {
  const before = known === undefined ? undefined : predecessor(known, request)
  if (before !== undefined && isRefusal(before)) return refused(before)
  const room = before === undefined ? checkRoom(context, request.groupId) : undefined
  if (room !== undefined) return refused(room)
  if (request.ownedPartitions !== null && request.ownedPartitions.length > 0)
    return refused(refuse('INVALID_REQUEST', 'a member that joins owns nothing: ownedPartitions must be empty'))
  // A member that starts again says all of itself.
  const metadata = mergeMetadata(context, known, request, undefined)
  if (isRefusal(metadata)) return refused(metadata)

  const changes = new GroupChanges(context.state)
  const isOther = before === undefined || changesAssignment(before.metadata, metadata)
  const memberId = enter(context, changes, request, before, metadata)
  const group = context.state.groups.get(request.groupId)!
  const member = group.members.get(memberId)!
  if (needsNewTarget(context, group) || isOther) bumpEpoch(context, changes, group, nowMs)
  reconcile(context, changes, group, member, NO_PARTITIONS, nowMs)
  return answer(context, changes, group, member, { request, owned: NO_PARTITIONS, nowMs, mustTell: true })
}

/** Writes down who joins: a new member, one that starts again, or the next of an instance. Answers its id. */
function enter(
  context: GroupContext,
  changes: GroupChanges,
  request: HeartbeatRequest,
  before: Member | undefined,
  metadata: MemberMetadata,
): string {
  const { groupId } = request
  const memberId = request.memberId === '' ? context.newMemberId() : request.memberId
  const group = context.state.groups.get(groupId)
  if (group?.classic !== undefined) {
    // It has no members: its kind changes, its committed offsets stay.
    closeClassic(context, group)
    forgetClassic(changes, group)
  }
  if (group !== undefined && before !== undefined && before.memberId !== memberId) {
    replaceMember(context, changes, group, before, memberId, metadata)
    return memberId
  }
  if (before === undefined || !sameMetadata(before.metadata, metadata))
    changes.emit({ type: 'member', groupId, memberId, value: metadata })
  if (group !== undefined && before !== undefined) startAgain(context, changes, group, before)
  return memberId
}

/** The member that the join goes on for: itself, or the instance that was away; undefined when it is new. */
function predecessor(group: Group, request: HeartbeatRequest): Member | GroupRefusal | undefined {
  if (group.classic !== undefined && group.classic.state !== 'Empty')
    return refuse(
      'INCONSISTENT_GROUP_PROTOCOL',
      `group '${group.groupId}' has members of Kafka's classic protocol, who assign for themselves: stop them first, or use another group id`,
    )
  const member = request.memberId === '' ? undefined : group.members.get(request.memberId)
  const { instanceId } = request
  if (instanceId === null) return member
  const holderId = group.instances.get(instanceId)
  const holder = holderId === undefined ? undefined : group.members.get(holderId)
  if (holder === undefined || holder === member) return member
  // Under its old id it cannot come back as another instance.
  if (member !== undefined)
    return refuse('FENCED_INSTANCE_ID', `another member took over the instance id '${instanceId}'`)
  if (holder.current.memberEpoch === AWAY_EPOCH) return holder
  return refuse('UNRELEASED_INSTANCE_ID', `member ${holder.memberId} still uses the instance id '${instanceId}'`)
}

/** A known member joins: it owns nothing any more, so what it had to give up is free. */
function startAgain(context: GroupContext, changes: GroupChanges, group: Group, member: Member): void {
  const { memberEpoch, revoking } = member.current
  context.timers.stopRebalance(member)
  if (memberEpoch !== AWAY_EPOCH && revoking.size === 0) return
  // Away: its epoch counts on from the group's. Otherwise it stays where it is until it takes the target's.
  const epoch = memberEpoch === AWAY_EPOCH ? 0 : memberEpoch
  emitCurrent(changes, group, member, { ...member.current, memberEpoch: epoch, revoking: NO_PARTITIONS })
}

function decideBeat(
  context: GroupContext,
  group: Group,
  member: Member,
  request: HeartbeatRequest,
  nowMs: number,
): HeartbeatDecision {
  const owned = request.ownedPartitions === null ? null : ownedSet(context.directory, request.ownedPartitions)
  const fault = checkEpoch(member, request.memberEpoch, owned)
  if (fault !== undefined) return refused(fault)
  const metadata = mergeMetadata(context, group, request, member.metadata)
  if (isRefusal(metadata)) return refused(metadata)

  const changes = new GroupChanges(context.state)
  const isOther = changesAssignment(member.metadata, metadata)
  if (!sameMetadata(member.metadata, metadata)) emitMetadata(changes, group, member, metadata)
  if (needsNewTarget(context, group) || isOther) bumpEpoch(context, changes, group, nowMs)
  reconcile(context, changes, group, member, owned, nowMs)
  return answer(context, changes, group, member, { request, owned, nowMs, mustTell: false })
}

function emitMetadata(changes: GroupChanges, group: Group, member: Member, value: MemberMetadata): void {
  changes.emit({ type: 'member', groupId: group.groupId, memberId: member.memberId, value })
}

function checkEpoch(member: Member, epoch: number, owned: PartitionSet | null): GroupRefusal | undefined {
  const { memberEpoch, previousMemberEpoch, assigned, revoking } = member.current
  if (epoch === memberEpoch) return undefined
  const isLostReply =
    memberEpoch !== AWAY_EPOCH &&
    epoch === previousMemberEpoch &&
    owned !== null &&
    isSubset(owned, uniteSets(assigned, revoking))
  if (isLostReply) return undefined
  const text = `epoch ${epoch} of member ${member.memberId}, which is at ${memberEpoch}: give up all, join with epoch 0`
  return refuse('FENCED_MEMBER_EPOCH', text)
}

function decideLeave(
  context: GroupContext,
  group: Group,
  member: Member,
  request: HeartbeatRequest,
  nowMs: number,
): HeartbeatDecision {
  const changes = new GroupChanges(context.state)
  const { memberId } = member
  if (request.memberEpoch === LEAVE_EPOCH) {
    removeMember(context, changes, group, member)
    bumpEpoch(context, changes, group, nowMs)
  } else {
    if (member.metadata.instanceId === null)
      return refused(refuse('INVALID_REQUEST', 'only a member with an instance id can leave for a while: use epoch -1'))
    context.timers.stopRebalance(member)
    context.timers.touchSession(group, member, nowMs)
    if (member.current.memberEpoch !== AWAY_EPOCH)
      emitCurrent(changes, group, member, { ...member.current, memberEpoch: AWAY_EPOCH, revoking: NO_PARTITIONS })
  }
  const { memberEpoch } = request
  return {
    records: changes.records,
    notices: changes.notices,
    reply: { kind: 'heartbeat', memberId, memberEpoch, heartbeatIntervalMs: 0, assignment: null },
  }
}

function heard(context: GroupContext, group: Group, member: Member, request: HeartbeatRequest, nowMs: number): void {
  context.timers.touchSession(group, member, nowMs)
  member.connectionId = request.connectionId ?? NO_CONNECTION
  member.isHinted = false
}

/** How often a member is to be heard of that has all it is to have: news are told by hints, so this is for its session alone. */
function steadyIntervalMs({ config }: GroupContext, member: Member): number {
  const ofSessionMs = Math.floor(member.metadata.sessionTimeoutMs / HEARTBEATS_PER_SESSION_MIN)
  return Math.max(1, Math.min(config.heartbeatIntervalMs, ofSessionMs))
}

interface Heard {
  readonly request: HeartbeatRequest
  /** What it reads; null = it did not say. */
  readonly owned: PartitionSet | null
  readonly nowMs: number
  /** With its assignment, whatever it said. */
  readonly mustTell: boolean
}

/** The reply to a member that stays. */
function answer(
  context: GroupContext,
  changes: GroupChanges,
  group: Group,
  member: Member,
  { request, owned, nowMs, mustTell }: Heard,
): HeartbeatDecision {
  heard(context, group, member, request, nowMs)
  const { assigned, memberEpoch } = member.current
  if (owned !== null) member.isInDoubt = !setsEqual(owned, assigned)
  const steadyMs = steadyIntervalMs(context, member)
  const waitingMs = Math.min(steadyMs, context.config.waitingHeartbeatIntervalMs)
  return {
    records: changes.records.length === 0 ? NO_RECORDS : changes.records,
    notices: changes.notices,
    reply: {
      kind: 'heartbeat',
      memberId: member.memberId,
      memberEpoch,
      heartbeatIntervalMs: isReconciled(group, member) ? steadyMs : waitingMs,
      assignment: mustTell || member.isInDoubt ? namedPartitions(context.directory, assigned) : null,
    },
  }
}

function unchangedDecision(context: GroupContext, member: Member): HeartbeatDecision {
  const { memberEpoch } = member.current
  const heartbeatIntervalMs = steadyIntervalMs(context, member)
  let decision = member.unchanged
  if (
    decision === undefined ||
    decision.memberEpoch !== memberEpoch ||
    decision.heartbeatIntervalMs !== heartbeatIntervalMs
  ) {
    const reply = {
      kind: 'heartbeat',
      memberId: member.memberId,
      memberEpoch,
      heartbeatIntervalMs,
      assignment: null,
    } as const
    const kept = { answer: undefined }
    decision = { memberEpoch, heartbeatIntervalMs, records: NO_RECORDS, notices: NO_RECORDS, reply, kept }
    member.unchanged = decision
  }
  return decision
}
