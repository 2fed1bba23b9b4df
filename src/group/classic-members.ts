/**
 * Members of classic groups that come, wait, are answered and go: the steps that joins, syncs, leaves and timeouts have in common. What is
 * counted over all groups of the coordinator is counted here.
 */
import { COORDINATOR_PARKED_MAX } from '../model/limits.ts'
import { addMember, type ClassicGroup, type ClassicMember, NO_TOKEN, removeMember } from './classic-state.ts'
import type { GroupChanges } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import type { Group } from './group-state.ts'
import { checkInstance } from './request-checks.ts'
import { type GroupRefusal, type JoinGroupReply, refuse, type SyncGroupReply } from './requests.ts'

export function enterMember({ classicCounts }: GroupContext, classic: ClassicGroup, member: ClassicMember): void {
  const before = classic.bytes
  addMember(classic, member)
  classicCounts.members++
  classicCounts.bytes += classic.bytes - before
  if (member.joinToken !== NO_TOKEN) classicCounts.parked++
}

/** What waits of it is answered first: it is not known any more. */
export function dropMember(context: GroupContext, changes: GroupChanges, group: Group, member: ClassicMember): void {
  const classic = group.classic!
  const gone = refuse('UNKNOWN_MEMBER_ID', `member ${member.memberId} was removed from group '${group.groupId}'`)
  answerJoin(context, changes, classic, member, gone)
  answerSync(context, changes, member, gone)
  context.classicTimers.stopSession(member)
  const before = classic.bytes
  removeMember(classic, member)
  context.classicCounts.members--
  context.classicCounts.bytes += classic.bytes - before
}

/** A second join of a member takes the place of the first. */
export function parkJoin(
  context: GroupContext,
  changes: GroupChanges,
  classic: ClassicGroup,
  member: ClassicMember,
  token: number,
): void {
  answerJoin(context, changes, classic, member, refuse('REBALANCE_IN_PROGRESS', 'the member has joined again'))
  member.joinToken = token
  classic.awaitingJoin++
  context.classicCounts.parked++
}

export function parkSync(context: GroupContext, changes: GroupChanges, member: ClassicMember, token: number): void {
  answerSync(context, changes, member, refuse('REBALANCE_IN_PROGRESS', 'the member has asked again'))
  member.syncToken = token
  context.classicCounts.parked++
}

/** False: no join of it waits. */
export function answerJoin(
  { classicCounts }: GroupContext,
  changes: GroupChanges,
  classic: ClassicGroup,
  member: ClassicMember,
  reply: JoinGroupReply | GroupRefusal,
): boolean {
  if (member.joinToken === NO_TOKEN) return false
  changes.releases.push({ token: member.joinToken, reply })
  member.joinToken = NO_TOKEN
  classic.awaitingJoin--
  classicCounts.parked--
  return true
}

/** False: no sync of it waits. */
export function answerSync(
  { classicCounts }: GroupContext,
  changes: GroupChanges,
  member: ClassicMember,
  reply: SyncGroupReply | GroupRefusal,
): boolean {
  if (member.syncToken === NO_TOKEN) return false
  changes.releases.push({ token: member.syncToken, reply })
  member.syncToken = NO_TOKEN
  classicCounts.parked--
  return true
}

/** One more request may wait. */
export function checkParked({ classicCounts }: GroupContext): GroupRefusal | undefined {
  if (classicCounts.parked < COORDINATOR_PARKED_MAX) return undefined
  const text = `${COORDINATOR_PARKED_MAX} members wait at this coordinator, the most it lets`
  return refuse('COORDINATOR_NOT_AVAILABLE', text)
}

/** The member of that id, which holds the instance where one is named (KIP-345). */
export function findMember(
  group: Group,
  { memberId, instanceId }: { readonly memberId: string; readonly instanceId: string | null },
): ClassicMember | GroupRefusal {
  const classic = group.classic!
  const fenced = checkInstance(classic, memberId, instanceId)
  return fenced ?? classic.members.get(memberId) ?? unknownClassicMember(group.groupId, memberId)
}

export function unknownClassicMember(groupId: string, memberId: string): GroupRefusal {
  return refuse('UNKNOWN_MEMBER_ID', `group '${groupId}' has no member '${memberId}': join again without an id`)
}

/** Everything of it that is not in the log ends; nobody waits, for it has no members. */
export function closeClassic({ classicTimers, classicCounts }: GroupContext, group: Group): void {
  const { classic } = group
  if (classic === undefined) return
  classicTimers.stopPhase(group)
  for (const timer of classic.pending.values()) classicTimers.stopPending(timer)
  classicCounts.pending -= classic.pending.size
  group.classic = undefined
}
