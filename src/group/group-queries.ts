/** Groups listed, described and deleted. */
import { GroupChanges, NO_RECORDS } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import { type Group, type Member, stateNameOf } from './group-state.ts'
import { checkGroupId, namedPartitions } from './request-checks.ts'
import {
  type Decision,
  type DescribedGroup,
  type DescribedMember,
  type GroupRefusal,
  type GroupsDeletedReply,
  type ListedGroup,
  refuse,
} from './requests.ts'

/** Groups of this coordinator; filters in any case, empty = all. */
export function listGroups(
  { state }: GroupContext,
  filter: { readonly states: readonly string[]; readonly kinds: readonly string[] },
): ListedGroup[] {
  const states = new Set(filter.states.map((name) => name.toLowerCase()))
  const kinds = new Set(filter.kinds.map((name) => name.toLowerCase()))
  const listed: ListedGroup[] = []
  for (const group of state.groups.values()) {
    if (kinds.size > 0 && !kinds.has(group.kind)) continue
    const name = stateNameOf(group)
    if (states.size > 0 && !states.has(name.toLowerCase())) continue
    listed.push({ groupId: group.groupId, groupKind: group.kind, state: name, memberCount: group.members.size })
  }
  return listed
}

export function describeGroups(context: GroupContext, groupIds: readonly string[]): DescribedGroup[] {
  return groupIds.map((groupId) => describeGroup(context, groupId))
}

function describeGroup(context: GroupContext, groupId: string): DescribedGroup {
  const group = context.state.groups.get(groupId)
  const fault = checkGroupId(groupId) ?? (group === undefined ? notFound(groupId) : undefined)
  const { groupEpoch = -1, assignmentEpoch = -1, assignor = '', kind: groupKind = 'simple' } = group ?? {}
  return {
    groupId,
    error: fault?.error ?? 'NONE',
    text: fault?.text ?? '',
    groupKind,
    state: group === undefined ? 'Dead' : stateNameOf(group),
    groupEpoch,
    assignmentEpoch,
    assignor,
    members: [...(group?.members.values() ?? [])].map((member) => describeMember(context, member)),
  }
}

function describeMember({ directory }: GroupContext, member: Member): DescribedMember {
  const { serverAssignor: _, ...metadata } = member.metadata
  return {
    ...metadata,
    memberId: member.memberId,
    memberEpoch: member.current.memberEpoch,
    assignment: namedPartitions(directory, member.current.assigned),
    targetAssignment: namedPartitions(directory, member.target),
  }
}

export function decideDeleteGroups(context: GroupContext, groupIds: readonly string[]): Decision<GroupsDeletedReply> {
  const changes = new GroupChanges(context.state)
  const groups = groupIds.map((groupId) => {
    const group = context.state.groups.get(groupId)
    const fault = checkGroupId(groupId) ?? checkDeletable(groupId, group)
    if (fault === undefined && group !== undefined) forgetGroup(changes, group)
    return { groupId, error: fault?.error ?? ('NONE' as const), text: fault?.text ?? '' }
  })
  const records = changes.records.length === 0 ? NO_RECORDS : changes.records
  return { records, notices: changes.notices, reply: { kind: 'groups-deleted', groups } }
}

/** Offsets first: a half-written list of tombstones leaves a group that can be deleted again. */
export function forgetGroup(changes: GroupChanges, group: Group): void {
  const { groupId } = group
  for (const [topicId, offsets] of [...group.offsets])
    for (const partition of [...offsets.keys()])
      changes.emit({ type: 'offset', groupId, topicId, partition, value: null })
  // A transaction that commits later must not bring the group back.
  for (const { topicId, partition } of changes.state.pending.partitionsOf(groupId))
    changes.emit({ type: 'offset', groupId, topicId, partition, value: null })
  if (group.hasRecord) changes.emit({ type: 'group', groupId, value: null })
}

function checkDeletable(groupId: string, group: Group | undefined): GroupRefusal | undefined {
  if (group === undefined) return notFound(groupId)
  if (group.members.size === 0) return undefined
  const { size } = group.members
  return refuse('NON_EMPTY_GROUP', `group '${groupId}' has ${size} member${size === 1 ? '' : 's'}: stop them first`)
}

function notFound(groupId: string): GroupRefusal {
  return refuse('GROUP_ID_NOT_FOUND', `there is no group '${groupId}'`)
}
