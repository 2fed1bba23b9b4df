/** Groups listed, described and deleted. */
import { utf8Bytes } from '../base/utf8-write.ts'
import { closeClassic } from './classic-members.ts'
import { describeAsMember, epochsOf, protocolTypeOf } from './classic-queries.ts'
import { forgetClassic } from './classic-records.ts'
import { GroupChanges, NO_RECORDS } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import { type Group, type Member, memberCountOf, stateNameOf } from './group-state.ts'
import { fillPage, type Page, smallestAfter } from './pages.ts'
import { checkGroupId, namedPartitions } from './request-checks.ts'
import {
  type Decision,
  type DescribedGroup,
  type DescribedMember,
  type DescribedPage,
  type GroupFilter,
  type GroupRefusal,
  type GroupsDeletedReply,
  type ListedGroup,
  refuse,
} from './requests.ts'

/** Of a row on the wire, its texts apart. */
const GROUP_ROW_BYTES = 40
const MEMBER_ROW_BYTES = 64
const TOPIC_ROW_BYTES = 44
const PARTITION_BYTES = 5

/** Groups of this coordinator; filters in any case, empty = all. */
export function listGroups({ state }: GroupContext, filter: GroupFilter): ListedGroup[] {
  return [...state.groups.values()].filter(groupsWanted(filter)).map(listedGroup)
}

/** The same by group id, those behind `cursor` that a page holds. */
export function listGroupsPage({ state }: GroupContext, filter: GroupFilter, cursor: string): Page<ListedGroup> {
  const { groups } = state
  const isWanted = groupsWanted(filter)
  const groupIds = smallestAfter(groups.keys(), cursor, (groupId) => isWanted(groups.get(groupId)!))
  return fillPage(groupIds, {
    rowOf: (groupId) => listedGroup(groups.get(groupId)!),
    bytesOf: ({ groupId, protocolType }) => GROUP_ROW_BYTES + utf8Bytes(groupId) + utf8Bytes(protocolType),
    cursorOf: (groupId) => groupId,
  })
}

function groupsWanted(filter: GroupFilter): (group: Group) => boolean {
  const states = new Set(filter.states.map((name) => name.toLowerCase()))
  const kinds = new Set(filter.kinds.map((name) => name.toLowerCase()))
  return (group) =>
    (kinds.size === 0 || kinds.has(group.kind)) && (states.size === 0 || states.has(stateNameOf(group).toLowerCase()))
}

function listedGroup(group: Group): ListedGroup {
  const { groupId, kind: groupKind } = group
  return {
    ...{ groupId, groupKind, state: stateNameOf(group), memberCount: memberCountOf(group) },
    protocolType: protocolTypeOf(group),
  }
}

export function describeGroups(context: GroupContext, groupIds: readonly string[]): DescribedGroup[] {
  return groupIds.map((groupId) => {
    const group = context.state.groups.get(groupId)
    const members = memberIdsOf(group).map((memberId) => describeMember(context, group!, memberId))
    return describeGroup(groupId, group, members)
  })
}

/** One group with those of its members, by id, that are behind `cursor` and that a page holds. */
export function describeGroupPage(context: GroupContext, groupId: string, cursor: string): DescribedPage {
  const group = context.state.groups.get(groupId)
  const { rows, nextCursor } = fillPage(smallestAfter(memberIdsOf(group), cursor), {
    rowOf: (memberId) => describeMember(context, group!, memberId),
    bytesOf: memberBytes,
    cursorOf: (memberId) => memberId,
  })
  return { group: describeGroup(groupId, group, rows), nextCursor }
}

function memberBytes(member: DescribedMember): number {
  const { memberId, instanceId, rackId, clientId, clientHost, subscribedPattern, subscribedTopics } = member
  let bytes = MEMBER_ROW_BYTES
  for (const text of [memberId, instanceId, rackId, clientId, clientHost, subscribedPattern, ...subscribedTopics])
    if (text !== null) bytes += utf8Bytes(text) + 5
  for (const topics of [member.assignment, member.targetAssignment])
    for (const { topic, partitions } of topics)
      bytes += TOPIC_ROW_BYTES + utf8Bytes(topic) + partitions.length * PARTITION_BYTES
  return bytes
}

function describeGroup(groupId: string, group: Group | undefined, members: readonly DescribedMember[]): DescribedGroup {
  const fault = checkGroupId(groupId) ?? (group === undefined ? notFound(groupId) : undefined)
  const { kind: groupKind = 'simple', classic } = group ?? {}
  const {
    groupEpoch = -1,
    assignmentEpoch = -1,
    assignor = '',
  } = classic === undefined ? (group ?? {}) : epochsOf(classic)
  return {
    groupId,
    error: fault?.error ?? 'NONE',
    text: fault?.text ?? '',
    groupKind,
    state: group === undefined ? 'Dead' : stateNameOf(group),
    groupEpoch,
    assignmentEpoch,
    assignor,
    members,
  }
}

function memberIdsOf(group: Group | undefined): string[] {
  return [...(group?.classic?.members.keys() ?? group?.members.keys() ?? [])]
}

function describeMember({ directory }: GroupContext, group: Group, memberId: string): DescribedMember {
  if (group.classic !== undefined) return describeAsMember(directory, group.classic, memberId)
  const member: Member = group.members.get(memberId)!
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
    if (fault === undefined && group !== undefined) {
      closeClassic(context, group)
      forgetGroup(changes, group)
    }
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
  forgetClassic(changes, group)
  if (group.hasRecord) changes.emit({ type: 'group', groupId, value: null })
}

function checkDeletable(groupId: string, group: Group | undefined): GroupRefusal | undefined {
  if (group === undefined) return notFound(groupId)
  const size = memberCountOf(group)
  if (size === 0) return undefined
  return refuse('NON_EMPTY_GROUP', `group '${groupId}' has ${size} member${size === 1 ? '' : 's'}: stop them first`)
}

function notFound(groupId: string): GroupRefusal {
  return refuse('GROUP_ID_NOT_FOUND', `there is no group '${groupId}'`)
}
