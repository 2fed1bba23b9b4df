/**
 * A classic group in the log and back: its group record, its type and leader, and its members, written together. Written when the leader's
 * assignment comes, when the group becomes empty or begins, and when an instance came back within a generation; what is between is
 * not durable.
 *
 * Ordering  all records of a generation are one decision, thus one batch: a log holds whole generations only
 * Cost      members that are as they were stored are not written again
 */
import { utf8Bytes } from '../base/utf8-write.ts'
import { BATCH_HEADER_BYTES } from '../record/batch-layout.ts'
import { RECORD_OVERHEAD_BYTES_MAX } from '../record/batch-writer.ts'
import type { ClassicMemberMetadata } from './classic-metadata.ts'
import {
  addMember,
  type ClassicGroup,
  type ClassicMember,
  metadataOf,
  NO_TOKEN,
  newClassicGroup,
  sameBytes,
} from './classic-state.ts'
import { subscribedOf } from './classic-subscriptions.ts'
import type { GroupChanges } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import { CLASSIC_MEMBER_RECORD_BYTES } from './group-records.ts'
import type { Group } from './group-state.ts'

/** Of the group's own two records: names and fields. */
const GROUP_RECORDS_BYTES = 2 * RECORD_OVERHEAD_BYTES_MAX + 5 * 255 + 64

/** Writes down what the group is now. */
export function storeClassic(context: GroupContext, changes: GroupChanges, group: Group): void {
  const { groupId } = group
  const classic = group.classic!
  const { generationId, protocolType, protocolName, leaderId, members } = classic
  for (const memberId of [...group.classicMembers.keys()])
    if (!members.has(memberId)) changes.emit({ type: 'classicMember', groupId, memberId, value: null })
  for (const member of members.values()) {
    const { memberId } = member
    const value = storedMember(classic, member)
    if (isStored(group.classicMembers.get(memberId), value)) continue
    changes.emit({ type: 'classicMember', groupId, memberId, value })
  }
  const { classicMetadata: before } = group
  if (before?.protocolType !== protocolType || before.leaderId !== leaderId)
    changes.emit({ type: 'classic', groupId, value: { protocolType, leaderId } })
  changes.emit({
    type: 'group',
    groupId,
    value: {
      kind: 'classic',
      groupEpoch: generationId,
      assignmentEpoch: generationId,
      assignor: protocolName ?? '',
      emptySinceMs: members.size === 0 ? context.wallClock.nowMs() : -1,
    },
  })
}

function storedMember({ protocolName }: ClassicGroup, member: ClassicMember): ClassicMemberMetadata {
  const { instanceId, clientId, clientHost, sessionTimeoutMs, rebalanceTimeoutMs, assignment } = member
  const subscription = metadataOf(member, protocolName)
  return { instanceId, clientId, clientHost, sessionTimeoutMs, rebalanceTimeoutMs, subscription, assignment }
}

function isStored(before: ClassicMemberMetadata | undefined, after: ClassicMemberMetadata): boolean {
  return (
    before !== undefined &&
    before.instanceId === after.instanceId &&
    before.clientId === after.clientId &&
    before.clientHost === after.clientHost &&
    before.sessionTimeoutMs === after.sessionTimeoutMs &&
    before.rebalanceTimeoutMs === after.rebalanceTimeoutMs &&
    sameBytes(before.subscription, after.subscription) &&
    sameBytes(before.assignment, after.assignment)
  )
}

/** Whether storeClassic() would fit a batch, were `assignments` those of the members: the most that it could write. */
export function fitsBatch(
  { batchBytesMax }: GroupContext,
  group: Group,
  assignmentBytesOf: (member: ClassicMember) => number,
): boolean {
  const classic = group.classic!
  const eachBytes = RECORD_OVERHEAD_BYTES_MAX + CLASSIC_MEMBER_RECORD_BYTES + utf8Bytes(group.groupId)
  let bytes = BATCH_HEADER_BYTES + GROUP_RECORDS_BYTES
  for (const memberId of group.classicMembers.keys()) bytes += eachBytes + utf8Bytes(memberId)
  for (const member of classic.members.values()) {
    const { memberId, instanceId, clientId, clientHost } = member
    bytes += eachBytes + utf8Bytes(memberId) + utf8Bytes(instanceId ?? '') + utf8Bytes(clientId) + utf8Bytes(clientHost)
    bytes += metadataOf(member, classic.protocolName).length + assignmentBytesOf(member)
  }
  return bytes <= batchBytesMax()
}

/** Nothing that only a classic group has is left in the log. */
export function forgetClassic(changes: GroupChanges, group: Group): void {
  const { groupId } = group
  for (const memberId of [...group.classicMembers.keys()])
    changes.emit({ type: 'classicMember', groupId, memberId, value: null })
  if (group.classicMetadata !== null) changes.emit({ type: 'classic', groupId, value: null })
}

/** The group as it was stored: a generation that all of its members know, whose sessions begin anew. */
export function loadClassic(context: GroupContext, group: Group, nowMs: number): void {
  const classic = newClassicGroup(group.groupEpoch)
  group.classic = classic
  classic.protocolType = group.classicMetadata?.protocolType ?? ''
  if (group.classicMembers.size === 0) return
  classic.state = 'Stable'
  classic.protocolName = group.assignor
  for (const [memberId, { subscription, ...stored }] of group.classicMembers) {
    const member: ClassicMember = {
      ...stored,
      memberId,
      protocols: [{ name: group.assignor, metadata: subscription }],
      isNew: false,
      isPendingSync: false,
      joinToken: NO_TOKEN,
      syncToken: NO_TOKEN,
      sessionDeadlineMs: 0,
      sessionTimer: undefined,
    }
    addMember(classic, member)
    context.classicTimers.touchSession(group, member, nowMs)
  }
  context.classicCounts.members += classic.members.size
  context.classicCounts.bytes += classic.bytes
  const leaderId = group.classicMetadata?.leaderId ?? null
  if (leaderId !== null && classic.members.has(leaderId)) classic.leaderId = leaderId
  classic.subscribed = subscribedOf(classic)
}
