/**
 * Heartbeats and leaves of classic members, and what their silence leads to.
 *
 * Heartbeat  moves a number and answers what is there already: no record, nothing allocated. While the group rebalances the member is told
 *            so, and lives; in CompletingRebalance all is well, for it may be waiting for its leader
 * Leave      of a member, of an id that was given, or of whoever holds an instance: an operator's word
 * Silence    | timer   | what was expected                        | what follows                                                  |
 *            | session | a heartbeat, a commit, the next request  | the member is removed, a rebalance                            |
 *            | session | of a new member: its join is answered    | the same, and UNKNOWN_MEMBER_ID: its client asks again        |
 *            | pending | a join with the id that was given        | the id is forgotten: nobody waits for it any more             |
 *            | initial | more members                             | the first generation, or a longer wait                        |
 *            | join    | all members join again                   | a generation without those who have not                       |
 *            | sync    | every member asks for its assignment     | those who have not are removed, a rebalance if there are such |
 */
import { assert } from '../base/assert.ts'
import { dropMember, findMember, unknownClassicMember } from './classic-members.ts'
import {
  completeJoin,
  endInitialWait,
  prepareRebalance,
  removeAndRebalance,
  tryCompleteJoin,
} from './classic-rebalance.ts'
import type { ClassicTimer } from './classic-state.ts'
import { checkGeneration } from './classic-sync.ts'
import { GroupChanges, NO_RECORDS } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import type { Group } from './group-state.ts'
import { checkGroupId } from './request-checks.ts'
import {
  type ClassicDecision,
  type ClassicHeartbeatReply,
  type ClassicHeartbeatRequest,
  type DeadlineDecision,
  type Decision,
  type FencedMember,
  type GroupRefusal,
  isRefusal,
  type LeaveGroupReply,
  type LeaveGroupRequest,
  refuse,
} from './requests.ts'

type HeartbeatDecision = Decision<ClassicHeartbeatReply>

const NOTHING = { records: NO_RECORDS, notices: NO_RECORDS }
/** Made once, and what the shell makes of them, too. */
const ALIVE: HeartbeatDecision = { ...NOTHING, reply: { kind: 'alive' }, kept: { answer: undefined } }
const REBALANCES: HeartbeatDecision = {
  ...NOTHING,
  reply: refuse('REBALANCE_IN_PROGRESS', 'the group rebalances: join again'),
  kept: { answer: undefined },
}

export function decideClassicHeartbeat(
  context: GroupContext,
  request: ClassicHeartbeatRequest,
  nowMs: number,
): HeartbeatDecision {
  const { groupId, memberId, generationId } = request
  const group = context.state.groups.get(groupId)
  const classic = group?.classic
  if (group === undefined || classic === undefined)
    return { ...NOTHING, reply: checkGroupId(groupId) ?? unknownClassicMember(groupId, memberId) }
  const member = findMember(group, request)
  if (isRefusal(member)) return { ...NOTHING, reply: member }
  const fault = checkGeneration(groupId, classic, generationId)
  if (fault !== undefined) return { ...NOTHING, reply: fault }
  context.classicTimers.touchSession(group, member, nowMs)
  return classic.state === 'PreparingRebalance' ? REBALANCES : ALIVE
}

export function decideLeaveGroup(
  context: GroupContext,
  { groupId, members }: LeaveGroupRequest,
  nowMs: number,
): ClassicDecision<LeaveGroupReply> {
  const fault = checkGroupId(groupId)
  if (fault !== undefined) return { ...NOTHING, releases: NO_RECORDS, reply: fault }
  const changes = new GroupChanges(context.state)
  const group = context.state.groups.get(groupId)
  const rows = members.map(({ memberId, instanceId }) => {
    const refusal = leave(context, changes, group, { groupId, memberId, instanceId }, nowMs)
    return { memberId, instanceId, error: refusal?.error ?? ('NONE' as const), text: refusal?.text ?? '' }
  })
  const { records, notices, releases } = changes
  return { records, notices, releases, reply: { kind: 'left', members: rows } }
}

function leave(
  context: GroupContext,
  changes: GroupChanges,
  group: Group | undefined,
  who: { readonly groupId: string; readonly memberId: string; readonly instanceId: string | null },
  nowMs: number,
): GroupRefusal | undefined {
  const { groupId, memberId, instanceId } = who
  const { classic } = group ?? {}
  if (group === undefined || classic === undefined) return unknownClassicMember(groupId, memberId)
  const holderId = memberId === '' && instanceId !== null ? classic.instances.get(instanceId) : memberId
  if (holderId === undefined) return refuse('UNKNOWN_MEMBER_ID', `no member has the instance id '${instanceId}'`)
  if (classic.pending.has(holderId)) {
    forgetPending(context, changes, group, holderId, nowMs)
    return undefined
  }
  const member = findMember(group, { memberId: holderId, instanceId })
  if (isRefusal(member)) return member
  removeAndRebalance(context, changes, group, member, nowMs)
  return undefined
}

/** Nobody will join with that id. */
function forgetPending(
  context: GroupContext,
  changes: GroupChanges,
  group: Group,
  memberId: string,
  nowMs: number,
): void {
  const { pending } = group.classic!
  context.classicTimers.stopPending(pending.get(memberId)!)
  pending.delete(memberId)
  context.classicCounts.pending--
  tryCompleteJoin(context, changes, group, nowMs)
}

/** What follows when the time of `timer`, which is out of the heap, is over. */
export function decideClassicTimeout(context: GroupContext, timer: ClassicTimer, nowMs: number): DeadlineDecision {
  const group = context.state.groups.get(timer.groupId)
  assert(group?.classic !== undefined, `a timer of group '${timer.groupId}', which is no classic one`)
  const changes = new GroupChanges(context.state)
  const fenced: FencedMember[] = []
  switch (timer.kind) {
    case 'session': {
      const { memberId, isNew } = timer.member
      fenced.push({ memberId, reason: isNew ? 'join' : 'session' })
      removeAndRebalance(context, changes, group, timer.member, nowMs)
      break
    }
    case 'pending':
      forgetPending(context, changes, group, timer.memberId, nowMs)
      break
    case 'initial':
      group.classic.phase = undefined
      endInitialWait(context, changes, group, nowMs)
      break
    case 'join':
      group.classic.phase = undefined
      for (const { memberId, joinToken, instanceId } of group.classic.members.values())
        if (joinToken === 0 && instanceId === null) fenced.push({ memberId, reason: 'rebalance' })
      completeJoin(context, changes, group, nowMs)
      break
    case 'sync':
      group.classic.phase = undefined
      for (const member of [...group.classic.members.values()]) {
        if (!member.isPendingSync) continue
        fenced.push({ memberId: member.memberId, reason: 'sync' })
        dropMember(context, changes, group, member)
      }
      // One that was waited for may have been replaced: its instance has the assignment.
      if (fenced.length > 0) prepareRebalance(context, changes, group, nowMs)
      break
  }
  const { records, notices, releases } = changes
  return { records, groupId: group.groupId, releases, fenced, notices }
}
