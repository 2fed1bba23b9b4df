/**
 * Members that come, change and go: the records of it. Every one of these is followed by bumpEpoch() of its caller, once per
 * decision however many members it concerns.
 */

import { NO_PARTITIONS } from '../model/partition-set.ts'
import type { GroupChanges } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import type { Group, Member, MemberMetadata } from './group-state.ts'

/** The member is gone: what it had is free from here. */
export function removeMember(context: GroupContext, changes: GroupChanges, group: Group, member: Member): void {
  context.timers.stop(member)
  const { groupId } = group
  const { memberId } = member
  changes.emit({ type: 'current', groupId, memberId, value: null })
  changes.emit({ type: 'target', groupId, memberId, value: null })
  changes.emit({ type: 'member', groupId, memberId, value: null })
}

/** A static member is back under a new member id: it has what the old one had, and no rebalance follows. */
export function replaceMember(
  context: GroupContext,
  changes: GroupChanges,
  group: Group,
  old: Member,
  memberId: string,
  metadata: MemberMetadata,
): void {
  const { target } = old
  const { assigned } = old.current
  removeMember(context, changes, group, old)
  const { groupId } = group
  changes.emit({ type: 'member', groupId, memberId, value: metadata })
  changes.emit({ type: 'target', groupId, memberId, value: { target } })
  changes.emit({
    type: 'current',
    groupId,
    memberId,
    // An instance that is away reads nothing, so nothing is left to revoke.
    value: { memberEpoch: 0, previousMemberEpoch: 0, assigned, revoking: NO_PARTITIONS },
  })
}

/** True when the assignor would see another member than before. */
export function changesAssignment(before: MemberMetadata, after: MemberMetadata): boolean {
  return (
    before.subscribedPattern !== after.subscribedPattern ||
    before.serverAssignor !== after.serverAssignor ||
    before.rackId !== after.rackId ||
    before.instanceId !== after.instanceId ||
    !sameTexts(before.subscribedTopics, after.subscribedTopics)
  )
}

export function sameMetadata(before: MemberMetadata, after: MemberMetadata): boolean {
  return (
    !changesAssignment(before, after) &&
    before.clientId === after.clientId &&
    before.clientHost === after.clientHost &&
    before.sessionTimeoutMs === after.sessionTimeoutMs &&
    before.rebalanceTimeoutMs === after.rebalanceTimeoutMs
  )
}

function sameTexts(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((text, index) => text === right[index])
}
