/**
 * Rebalances of classic groups: how a group gets from one generation to the next.
 *
 *   Empty ──join──► PreparingRebalance ──all joined, or time is over──► CompletingRebalance ──leader's sync──► Stable
 *     ▲                │    ▲  ▲                                            │                                   │
 *     └──nobody left───┘    │  └──a member comes, changes, goes, or does not ask for its assignment─────────────┤
 *                           └───────────────────────────────────────────────────────────────────────────────────┘
 *
 * Initial   a group that was Empty waits initialRebalanceDelayMs for members, and again when one came, at most the rebalance timeout of
 *           the first ones; whoever is there then is in. Everywhere else the phase ends when all members known have joined again and
 *           no id that was given is outstanding, or after the longest rebalance timeout
 * Static    members that did not join again in time go; those with an instance stay until their session ends (KIP-345)
 * Durable   nothing, but that the group has become Empty: a generation is stored with its assignment (classic-sync.ts)
 */
import { answerJoin, answerSync, dropMember } from './classic-members.ts'
import { storeClassic } from './classic-records.ts'
import {
  type ClassicGroup,
  type ClassicMember,
  metadataOf,
  NO_BYTES,
  NO_TOKEN,
  rebalanceTimeoutOf,
  selectProtocol,
  setPendingSync,
} from './classic-state.ts'
import { subscribedOf } from './classic-subscriptions.ts'
import type { GroupChanges } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import type { Group } from './group-state.ts'
import { type GroupRefusal, type JoinGroupReply, refuse } from './requests.ts'

const REBALANCES: GroupRefusal = refuse('REBALANCE_IN_PROGRESS', 'the group rebalances: join again')

/** A member may ask for no rebalance timeout at all. */
const INSTANCES_WAIT_MS_MIN = 1_000

/** Members are to join again, if they are not doing so already. */
export function prepareRebalance(context: GroupContext, changes: GroupChanges, group: Group, nowMs: number): void {
  const classic = group.classic!
  if (classic.state === 'PreparingRebalance') return
  if (classic.state === 'CompletingRebalance') failSyncs(context, changes, group, REBALANCES, nowMs)
  for (const member of classic.members.values()) setPendingSync(classic, member, false)
  const isInitial = classic.state === 'Empty'
  classic.state = 'PreparingRebalance'
  const timeoutMs = rebalanceTimeoutOf(classic)
  if (isInitial) {
    const { initialRebalanceDelayMs } = context.config
    classic.hasNewMember = false
    classic.initialLeftMs = Math.max(timeoutMs - initialRebalanceDelayMs, 0)
    context.classicTimers.startPhase(group, 'initial', nowMs + initialRebalanceDelayMs)
  } else context.classicTimers.startPhase(group, 'join', nowMs + timeoutMs)
  tryCompleteJoin(context, changes, group, nowMs)
}

/** The assignment of this generation does not come: nobody has one. */
export function failSyncs(
  context: GroupContext,
  changes: GroupChanges,
  group: Group,
  reply: GroupRefusal,
  nowMs: number,
): void {
  for (const member of group.classic!.members.values()) {
    member.assignment = NO_BYTES
    if (answerSync(context, changes, member, reply)) context.classicTimers.touchSession(group, member, nowMs)
  }
}

/** Ends the join phase if there is nobody to wait for. */
export function tryCompleteJoin(context: GroupContext, changes: GroupChanges, group: Group, nowMs: number): void {
  const classic = group.classic!
  const { state, members, pending, awaitingJoin, phase } = classic
  if (state !== 'PreparingRebalance') return
  const areAllThere = phase?.kind !== 'initial' && awaitingJoin === members.size && pending.size === 0
  if (members.size === 0 || areAllThere) completeJoin(context, changes, group, nowMs)
}

/** The initial wait is over; it is prolonged where somebody came in it. */
export function endInitialWait(context: GroupContext, changes: GroupChanges, group: Group, nowMs: number): void {
  const classic = group.classic!
  if (!classic.hasNewMember || classic.initialLeftMs === 0) {
    completeJoin(context, changes, group, nowMs)
    return
  }
  const delayMs = Math.min(context.config.initialRebalanceDelayMs, classic.initialLeftMs)
  classic.hasNewMember = false
  classic.initialLeftMs -= delayMs
  context.classicTimers.startPhase(group, 'initial', nowMs + delayMs)
}

/** The join phase is over: whoever has joined is in the next generation. */
export function completeJoin(context: GroupContext, changes: GroupChanges, group: Group, nowMs: number): void {
  const classic = group.classic!
  for (const member of [...classic.members.values()])
    if (member.joinToken === NO_TOKEN && member.instanceId === null) dropMember(context, changes, group, member)
  if (classic.members.size > 0 && classic.awaitingJoin === 0) {
    // Instances alone are left, and none has joined: until they do, or their sessions end.
    const waitMs = Math.max(rebalanceTimeoutOf(classic), INSTANCES_WAIT_MS_MIN)
    context.classicTimers.startPhase(group, 'join', nowMs + waitMs)
    return
  }
  classic.generationId++
  if (classic.members.size === 0) becomeEmpty(context, changes, group)
  else beginGeneration(context, changes, group, nowMs)
}

function becomeEmpty(context: GroupContext, changes: GroupChanges, group: Group): void {
  const classic = group.classic!
  context.classicTimers.stopPhase(group)
  classic.state = 'Empty'
  classic.protocolName = null
  classic.leaderId = null
  classic.subscribed = subscribedOf(classic)
  storeClassic(context, changes, group)
}

function beginGeneration(context: GroupContext, changes: GroupChanges, group: Group, nowMs: number): void {
  const classic = group.classic!
  electLeader(classic)
  classic.protocolName = selectProtocol(classic)
  classic.subscribed = subscribedOf(classic)
  classic.state = 'CompletingRebalance'
  for (const member of classic.members.values()) {
    answerJoin(context, changes, classic, member, joinedReply(classic, member))
    context.classicTimers.touchSession(group, member, nowMs)
    member.isNew = false
    setPendingSync(classic, member, true)
  }
  context.classicTimers.startPhase(group, 'sync', nowMs + rebalanceTimeoutOf(classic))
}

/** The one that led, if it has joined again; else the first that has. */
function electLeader(classic: ClassicGroup): void {
  const { members, leaderId } = classic
  const before = leaderId === null ? undefined : members.get(leaderId)
  if (before !== undefined && before.joinToken !== NO_TOKEN) return
  for (const { memberId, joinToken } of members.values())
    if (joinToken !== NO_TOKEN) {
      classic.leaderId = memberId
      return
    }
}

/** What a member of the current generation is told; the leader is told of all. */
export function joinedReply(classic: ClassicGroup, { memberId }: ClassicMember): JoinGroupReply {
  const { generationId, protocolType, protocolName, leaderId } = classic
  return {
    ...{ kind: 'joined', error: 'NONE', text: '', generationId, protocolType, protocolName },
    ...{ leaderId: leaderId ?? '', skipAssignment: false, memberId },
    members: memberId === leaderId ? membersOf(classic) : [],
  }
}

export function membersOf({ members, protocolName }: ClassicGroup): JoinGroupReply['members'] {
  return [...members.values()].map((member) => {
    const { memberId, instanceId } = member
    return { memberId, instanceId, metadata: metadataOf(member, protocolName) }
  })
}

/** A member goes, by its own wish or not: the others share what it had. */
export function removeAndRebalance(
  context: GroupContext,
  changes: GroupChanges,
  group: Group,
  member: ClassicMember,
  nowMs: number,
): void {
  dropMember(context, changes, group, member)
  if (group.classic!.state === 'PreparingRebalance') tryCompleteJoin(context, changes, group, nowMs)
  else prepareRebalance(context, changes, group, nowMs)
}
