/**
 * JoinGroup: a member comes into a classic group, or says in the join phase that it is still there.
 *
 * | member                    | group               | what follows                                                              |
 * | ------------------------- | ------------------- | ------------------------------------------------------------------------- |
 * | new, must know its id     | any                 | it is given one and joins again with it: MEMBER_ID_REQUIRED (KIP-394)     |
 * | new, or that id           | any                 | it waits; the others are to join again                                    |
 * | an instance that is known | Stable              | takes the place of the one before, no rebalance while the vote stands     |
 * |                           | any other           | the same, and a rebalance                                                 |
 * | known                     | PreparingRebalance  | it waits                                                                  |
 * | known, said the same      | CompletingRebalance | told the generation again: its reply was lost                             |
 * | known, follows, the same  | Stable              | the same                                                                  |
 * | known, leads or changed   | any                 | it waits; a rebalance                                                     |
 *
 * Failure   UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, INVALID_GROUP_ID, INVALID_SESSION_TIMEOUT, INCONSISTENT_GROUP_PROTOCOL,
 *           GROUP_MAX_SIZE_REACHED, INVALID_REQUEST, COORDINATOR_NOT_AVAILABLE (COORDINATOR_PARKED_MAX wait)
 */
import { utf8Bytes } from '../base/utf8-write.ts'
import {
  answerJoin,
  answerSync,
  checkParked,
  dropMember,
  enterMember,
  findMember,
  parkJoin,
  unknownClassicMember,
} from './classic-members.ts'
import { joinedReply, membersOf, prepareRebalance, tryCompleteJoin } from './classic-rebalance.ts'
import { fitsBatch, storeClassic } from './classic-records.ts'
import { checkClassicRoom, checkJoin, checkPending } from './classic-room.ts'
import {
  type ClassicMember,
  NO_BYTES,
  NO_TOKEN,
  newClassicGroup,
  sameProtocols,
  selectProtocol,
  setProtocols,
  supports,
} from './classic-state.ts'
import { subscribedOf } from './classic-subscriptions.ts'
import { GroupChanges } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import type { Group } from './group-state.ts'
import { checkGroupId } from './request-checks.ts'
import {
  type ClassicDecision,
  type GroupRefusal,
  isRefusal,
  type JoinGroupReply,
  type JoinGroupRequest,
  refuse,
} from './requests.ts'

export type JoinDecision = ClassicDecision<JoinGroupReply>

/** A join in the making. */
interface Join {
  readonly context: GroupContext
  readonly request: JoinGroupRequest
  /** Of the request, should it wait. */
  readonly token: number
  readonly nowMs: number
}

/** Bytes of the id before its UUID: a member's id is a name like others. */
const ID_PREFIX_BYTES_MAX = 216

export function decideJoinGroup(
  context: GroupContext,
  request: JoinGroupRequest,
  token: number,
  nowMs: number,
): JoinDecision {
  const { groupId, memberId, instanceId } = request
  const group = context.state.groups.get(groupId)
  const fault = checkGroupId(groupId) ?? checkJoin(context, request) ?? checkKind(group)
  if (fault !== undefined) return refused(fault)
  const classic = group?.classic
  if (classic === undefined && memberId !== '') return refused(unknownClassicMember(groupId, memberId))
  const heldBy = memberId !== '' || instanceId === null ? memberId : classic?.instances.get(instanceId)
  const member = classic?.members.get(heldBy ?? '')
  const objection = checkProtocols(group, request) ?? checkClassicRoom(context, classic, member, request)
  if (objection !== undefined) return refused(objection)
  const join = { context, request, token, nowMs }
  if (memberId === '') return member === undefined ? decideNew(join, group) : decideInstance(join, group!, member)
  return decideKnown(join, group!)
}

/** Who assigns is one thing in a group: its kind changes only while nobody is in it. */
function checkKind(group: Group | undefined): GroupRefusal | undefined {
  if (group === undefined || group.members.size === 0) return undefined
  const text = `group '${group.groupId}' has members to whom the broker assigns (group.protocol=consumer): stop them first, or use another group id`
  return refuse('INCONSISTENT_GROUP_PROTOCOL', text)
}

function checkProtocols(group: Group | undefined, request: JoinGroupRequest): GroupRefusal | undefined {
  const { groupId, protocolType, protocols } = request
  if (supports(group?.classic ?? newClassicGroup(0), request)) return undefined
  const wanted = `${protocolType === '' ? 'no type' : `type '${protocolType}'`} and protocols ${namesOf(protocols)}`
  const { classic } = group ?? {}
  if (classic === undefined || classic.state === 'Empty')
    return refuse('INCONSISTENT_GROUP_PROTOCOL', `a member needs a protocol type and a protocol, not ${wanted}`)
  const all = [...classic.protocolCounts]
    .filter(([, count]) => count === classic.members.size)
    .map(([name]) => ({ name }))
  const text = `${wanted} do not fit group '${groupId}' of type '${classic.protocolType}', whose members can all do ${namesOf(all)}`
  return refuse('INCONSISTENT_GROUP_PROTOCOL', text)
}

function namesOf(protocols: readonly { readonly name: string }[]): string {
  return `[${protocols.map(({ name }) => name).join(', ')}]`
}

// A member that is new

function decideNew(join: Join, known: Group | undefined): JoinDecision {
  const { context, request, nowMs } = join
  const { groupId, instanceId, requiresKnownMemberId } = request
  const isGivenId = instanceId === null && requiresKnownMemberId
  const fault = isGivenId ? checkPending(known?.classic, groupId) : checkParked(context)
  if (fault !== undefined) return refused(fault)
  const changes = new GroupChanges(context.state)
  const group = open(context, changes, request)
  const memberId = newIdOf(context, request)
  if (!isGivenId) return addNew(join, changes, group, memberId)
  const classic = group.classic!
  const timer = context.classicTimers.startPending(group, memberId, nowMs + request.sessionTimeoutMs)
  classic.pending.set(memberId, timer)
  context.classicCounts.pending++
  return decisionOf(changes, {
    ...{ kind: 'joined', error: 'MEMBER_ID_REQUIRED', text: 'join again with this member id', memberId, members: [] },
    ...{ generationId: -1, protocolType: null, protocolName: null, leaderId: '', skipAssignment: false },
  })
}

/** The group, made a classic one if it is not: that is durable, so that its kind is what its members found. */
function open(context: GroupContext, changes: GroupChanges, { groupId, protocolType }: JoinGroupRequest): Group {
  const known = context.state.groups.get(groupId)
  if (known?.classic !== undefined) return known
  const generationId = known?.groupEpoch ?? 0
  const emptySinceMs = context.wallClock.nowMs()
  const value = { kind: 'classic', groupEpoch: generationId, assignmentEpoch: generationId, assignor: '' } as const
  changes.emit({ type: 'group', groupId, value: { ...value, emptySinceMs } })
  changes.emit({ type: 'classic', groupId, value: { protocolType, leaderId: null } })
  const group = context.state.groups.get(groupId)!
  group.classic = newClassicGroup(generationId)
  group.classic.protocolType = protocolType
  group.patterns.clear()
  return group
}

/** The client's or the instance's name, and what nobody can guess. */
function newIdOf({ newMemberId }: GroupContext, { instanceId, clientId }: JoinGroupRequest): string {
  const name = instanceId ?? clientId
  const prefix = utf8Bytes(name) <= ID_PREFIX_BYTES_MAX ? name : name.slice(0, ID_PREFIX_BYTES_MAX / 3)
  return `${prefix}-${newMemberId()}`
}

function addNew(join: Join, changes: GroupChanges, group: Group, memberId: string): JoinDecision {
  const { context, token, nowMs } = join
  const classic = group.classic!
  if (classic.members.size === 0) classic.protocolType = join.request.protocolType
  if (classic.phase?.kind === 'initial') classic.hasNewMember = true
  const member = { ...memberOf(join, memberId), isNew: true, joinToken: token }
  enterMember(context, classic, member)
  context.classicTimers.startNewMember(group, member, nowMs + context.config.newMemberJoinTimeoutMs)
  return rebalanced(join, changes, group)
}

function memberOf({ request }: Join, memberId: string): ClassicMember {
  const { instanceId, clientId, clientHost, sessionTimeoutMs, protocols } = request
  return {
    ...{ memberId, instanceId, clientId, clientHost, sessionTimeoutMs, protocols },
    rebalanceTimeoutMs: rebalanceTimeoutMsOf(request),
    assignment: NO_BYTES,
    ...{ isNew: false, isPendingSync: false, joinToken: NO_TOKEN, syncToken: NO_TOKEN },
    ...{ sessionDeadlineMs: 0, sessionTimer: undefined },
  }
}

function rebalanceTimeoutMsOf({ rebalanceTimeoutMs, sessionTimeoutMs }: JoinGroupRequest): number {
  return rebalanceTimeoutMs < 0 ? sessionTimeoutMs : rebalanceTimeoutMs
}

/** The join waits, and may have been the last one waited for. */
function rebalanced({ context, nowMs }: Join, changes: GroupChanges, group: Group): JoinDecision {
  if (group.classic!.state === 'PreparingRebalance') tryCompleteJoin(context, changes, group, nowMs)
  else prepareRebalance(context, changes, group, nowMs)
  return decisionOf(changes, undefined)
}

// An instance that is known comes without a member id: it was started again

function decideInstance(join: Join, group: Group, old: ClassicMember): JoinDecision {
  const { context, request, token, nowMs } = join
  const full = checkParked(context)
  if (full !== undefined) return refused(full)
  const classic = group.classic!
  const changes = new GroupChanges(context.state)
  const { leaderId: leaderBefore } = classic
  const member = { ...memberOf(join, newIdOf(context, request)), assignment: old.assignment }
  const fenced = refuse(
    'FENCED_INSTANCE_ID',
    `instance '${request.instanceId}' was started again as ${member.memberId}`,
  )
  answerJoin(context, changes, classic, old, fenced)
  answerSync(context, changes, old, fenced)
  dropMember(context, changes, group, old)
  enterMember(context, classic, member)
  context.classicTimers.touchSession(group, member, nowMs)
  if (leaderBefore === old.memberId) classic.leaderId = member.memberId
  const isVoteSame = classic.state === 'Stable' && selectProtocol(classic) === classic.protocolName
  if (!isVoteSame || !fitsBatch(context, group, ({ assignment }) => assignment.length)) {
    parkJoin(context, changes, classic, member, token)
    return rebalanced(join, changes, group)
  }
  classic.subscribed = subscribedOf(classic)
  storeClassic(context, changes, group)
  return decisionOf(changes, returnedReply(join, group, member, leaderBefore ?? ''))
}

/**
 * The generation goes on, and so does the assignment. A leader that cannot be told to leave that as it is must not take itself for one: it
 * is told the id that its place had before.
 */
function returnedReply({ request }: Join, group: Group, member: ClassicMember, leaderBefore: string): JoinGroupReply {
  const classic = group.classic!
  const reply = joinedReply(classic, member)
  if (!request.canSkipAssignment) return { ...reply, leaderId: leaderBefore, members: [] }
  const skipAssignment = classic.leaderId === member.memberId
  return { ...reply, skipAssignment, members: skipAssignment ? membersOf(classic) : [] }
}

// A member that has an id

function decideKnown(join: Join, group: Group): JoinDecision {
  const { context, request, nowMs } = join
  const { memberId, instanceId } = request
  const classic = group.classic!
  const timer = instanceId === null ? classic.pending.get(memberId) : undefined
  if (timer !== undefined) {
    const full = checkParked(context)
    if (full !== undefined) return refused(full)
    context.classicTimers.stopPending(timer)
    classic.pending.delete(memberId)
    context.classicCounts.pending--
    return addNew(join, new GroupChanges(context.state), group, memberId)
  }
  const member = findMember(group, request)
  if (isRefusal(member)) return refused(member)
  const isSame = sameProtocols(member.protocols, request.protocols)
  const isTold = classic.state === 'Stable' ? classic.leaderId !== memberId : classic.state === 'CompletingRebalance'
  if (isSame && isTold) {
    context.classicTimers.touchSession(group, member, nowMs)
    return decisionOf(new GroupChanges(context.state), joinedReply(classic, member))
  }
  return joinAgain(join, group, member)
}

function joinAgain(join: Join, group: Group, member: ClassicMember): JoinDecision {
  const { context, request, token } = join
  const classic = group.classic!
  const full = member.joinToken === NO_TOKEN ? checkParked(context) : undefined
  if (full !== undefined) return refused(full)
  const changes = new GroupChanges(context.state)
  const bytes = classic.bytes
  setProtocols(classic, member, request.protocols)
  context.classicCounts.bytes += classic.bytes - bytes
  member.sessionTimeoutMs = request.sessionTimeoutMs
  member.rebalanceTimeoutMs = rebalanceTimeoutMsOf(request)
  parkJoin(context, changes, classic, member, token)
  return rebalanced(join, changes, group)
}

function refused(reply: GroupRefusal): JoinDecision {
  return { records: [], notices: [], releases: [], reply }
}

function decisionOf(changes: GroupChanges, reply: JoinGroupReply | undefined): JoinDecision {
  const { records, notices, releases } = changes
  return { records, notices, releases, reply }
}
