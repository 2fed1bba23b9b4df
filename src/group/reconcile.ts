/**
 * From what a member has to what it is to have, a step at a time: revoke first, then assign.
 *
 * Rules      R1 a partition leaves `assigned` for `revoking` when the target takes it away, and stays owned
 *            R2 it leaves `revoking` only by a heartbeat whose ownedPartitions does not name it, or with the member
 *            R3 a member with something in `revoking` gets nothing new and keeps its epoch
 *            R4 a member gets a partition of its target only when nobody owns it
 *            R5 then it is at the epoch of the target, also while it waits for partitions that others still have
 */
import { assert } from '../base/assert.ts'
import {
  filterPartitions,
  intersectSets,
  isSubset,
  NO_PARTITIONS,
  type PartitionSet,
  setsEqual,
  subtractSets,
  uniteSets,
} from '../model/partition-set.ts'
import type { GroupChanges } from './group-changes.ts'
import type { GroupContext } from './group-context.ts'
import { AWAY_EPOCH, type CurrentAssignment, type Group, isReconciled, type Member } from './group-state.ts'

/** The target changed: what the member has and is not to have must be given up (R1). */
export function markRevocations(
  context: GroupContext,
  changes: GroupChanges,
  group: Group,
  member: Member,
  nowMs: number,
): void {
  const { assigned, revoking, memberEpoch } = member.current
  if (isSubset(assigned, member.target)) return
  const lost = subtractSets(assigned, member.target)
  const kept = intersectSets(assigned, member.target)
  // A static member that is away reads nothing: there is nothing to wait for.
  const next = memberEpoch === AWAY_EPOCH ? NO_PARTITIONS : uniteSets(revoking, lost)
  emitCurrent(changes, group, member, { ...member.current, assigned: kept, revoking: next })
  if (next.size > 0) context.timers.startRebalance(group, member, nowMs)
}

/** The member was heard of; `owned` is what it reads, null = it did not say. */
export function reconcile(
  context: GroupContext,
  changes: GroupChanges,
  group: Group,
  member: Member,
  owned: PartitionSet | null,
  nowMs: number,
): void {
  const { current } = member
  if (current.revoking.size > 0) {
    const left = stillRevoking(current.revoking, owned)
    if (left.size > 0) {
      if (left.size === current.revoking.size && setsEqual(left, current.revoking)) return
      // Some are free already: their next owners need not wait for the rest.
      emitCurrent(changes, group, member, { ...current, revoking: left })
      context.timers.startRebalance(group, member, nowMs)
      context.hints.stir(group, nowMs)
      return
    }
    emitCurrent(changes, group, member, { ...current, revoking: NO_PARTITIONS })
    context.timers.stopRebalance(member)
    context.hints.stir(group, nowMs)
  } else if (isReconciled(group, member) || isWaitingInVain(group, member)) return
  takeFree(changes, group, member)
}

/** R2: what is left to give up. */
function stillRevoking(revoking: PartitionSet, owned: PartitionSet | null): PartitionSet {
  return owned === null ? revoking : intersectSets(revoking, owned)
}

/** Nothing became free since it last looked. */
function isWaitingInVain(group: Group, member: Member): boolean {
  return member.current.memberEpoch === group.assignmentEpoch && member.releasesSeen === group.releases
}

/** R3, R4, R5. */
function takeFree(changes: GroupChanges, group: Group, member: Member): void {
  const { current, target } = member
  assert(current.revoking.size === 0, 'R3: a member that has partitions to give up gets none')
  const wanted = subtractSets(target, current.assigned)
  const free = filterPartitions(wanted, (topicId, partition) => group.owners.get(topicId)?.has(partition) !== true)
  const united = uniteSets(current.assigned, free)
  // One object where they are equal: isReconciled() need not count then.
  const assigned = setsEqual(united, target) ? target : united
  const memberEpoch = group.assignmentEpoch
  const isNewEpoch = memberEpoch !== current.memberEpoch
  if (isNewEpoch || free.size > 0) {
    const previousMemberEpoch = isNewEpoch ? current.memberEpoch : current.previousMemberEpoch
    emitCurrent(changes, group, member, { memberEpoch, previousMemberEpoch, assigned, revoking: NO_PARTITIONS })
  }
  member.releasesSeen = group.releases
}

export function emitCurrent(changes: GroupChanges, group: Group, member: Member, value: CurrentAssignment): void {
  if (!setsEqual(value.assigned, member.current.assigned)) member.isInDoubt = true
  changes.emit({ type: 'current', groupId: group.groupId, memberId: member.memberId, value })
}
