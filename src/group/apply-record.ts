/**
 * What a record does to the state: the only way in which durable state changes, for a new decision and for a replay.
 * It decides nothing.
 *
 * Ordering  of records within a replayed log is that of the log, but compaction may have moved a member's own record behind
 *           those of its assignment: members and groups come into being with the first record that names them, and
 *           finishReplay() drops those whose own record never came
 */
import { assert } from '../base/assert.ts'
import type { TopicId } from '../model/ids.ts'
import { NO_PARTITIONS, type PartitionSet } from '../model/partition-set.ts'
import type { CommittedOffset } from './committed-offset.ts'
import type { GroupMetadata, GroupRecord, PendingRecord } from './group-records.ts'
import {
  AWAY_EPOCH,
  type CurrentAssignment,
  checkGroup,
  type Group,
  type GroupState,
  type Member,
  type MemberMetadata,
  NO_ASSIGNMENT,
  newGroup,
  newMember,
  UNKNOWN_METADATA,
} from './group-state.ts'

export function applyRecord(state: GroupState, record: GroupRecord): void {
  if (record.type === 'offset') state.pending.supersede(record.groupId, record.topicId, record.partition)
  applyDecided(state, record)
}

/** An offset that is part of the producer's open transaction: nobody's until its marker. */
export function applyPending(state: GroupState, record: PendingRecord, producerId: number): void {
  const { groupId, topicId, partition, value } = record
  state.pending.put(producerId, { groupId, topicId, partition, value })
}

/** The marker that ends the producer's transaction in this partition of the offsets topic. */
export function applyMarker(state: GroupState, producerId: number, isCommit: boolean): void {
  for (const { sequence, ...offset } of state.pending.end(producerId)) {
    if (!isCommit) continue
    state.pending.supersede(offset.groupId, offset.topicId, offset.partition, sequence)
    applyDecided(state, { type: 'offset', ...offset })
  }
}

function applyDecided(state: GroupState, record: GroupRecord): void {
  const known = state.groups.get(record.groupId)
  // A tombstone of what is not there: compaction took the rest.
  if (known === undefined && record.value === null) return
  const group = known ?? addGroup(state, record.groupId)
  switch (record.type) {
    case 'offset':
      applyOffset(group, record.topicId, record.partition, record.value)
      break
    case 'group':
      applyGroup(state, group, record.value)
      break
    case 'member':
      if (record.value === null) removeMember(state, group, record.memberId)
      else applyMetadata(group, memberOf(state, group, record.memberId), record.value)
      break
    case 'target':
      if (record.value !== null) memberOf(state, group, record.memberId).target = record.value.target
      else dropTarget(group, record.memberId)
      break
    case 'current':
      if (record.value !== null) applyCurrent(state, group, memberOf(state, group, record.memberId), record.value)
      else dropCurrent(state, group, record.memberId)
      break
    case 'classic':
      group.classicMetadata = record.value
      break
    case 'classicMember':
      if (record.value !== null) group.classicMembers.set(record.memberId, record.value)
      else group.classicMembers.delete(record.memberId)
      break
  }
  removeIfNothing(state, group)
}

/** The whole log has been applied: leftovers go, owners are known, invariants hold. */
export function finishReplay(state: GroupState): void {
  assert(!state.isLive, 'a replay ends once')
  for (const group of state.groups.values()) {
    for (const member of [...group.members.values()])
      if (member.metadata === UNKNOWN_METADATA) removeMember(state, group, member.memberId)
    for (const member of group.members.values()) claim(group, member, member.current)
    if (group.kind !== 'classic') {
      group.classicMetadata = null
      group.classicMembers.clear()
    }
    checkGroup(group)
    removeIfNothing(state, group)
  }
  state.isLive = true
}

function addGroup(state: GroupState, groupId: string): Group {
  const group = newGroup(groupId)
  state.groups.set(groupId, group)
  state.pending.onGroupAdded(groupId)
  return group
}

function removeIfNothing(state: GroupState, group: Group): void {
  const { groupId, hasRecord, members, offsetCount, classicMetadata, classicMembers } = group
  if (hasRecord || members.size > 0 || offsetCount > 0 || classicMetadata !== null || classicMembers.size > 0) return
  state.groups.delete(groupId)
  state.pending.onGroupRemoved(groupId)
}

function memberOf(state: GroupState, group: Group, memberId: string): Member {
  let member = group.members.get(memberId)
  if (member === undefined) {
    group.members.set(memberId, (member = newMember(memberId)))
    state.memberCount++
  }
  return member
}

function applyOffset(group: Group, topicId: TopicId, partition: number, value: CommittedOffset | null): void {
  let offsets = group.offsets.get(topicId)
  if (value === null) {
    if (offsets?.delete(partition) === true) group.offsetCount--
    if (offsets?.size === 0) group.offsets.delete(topicId)
    return
  }
  if (offsets === undefined) group.offsets.set(topicId, (offsets = new Map()))
  if (!offsets.has(partition)) group.offsetCount++
  offsets.set(partition, value)
}

function applyGroup(state: GroupState, group: Group, value: GroupMetadata | null): void {
  if (value === null) {
    assert(!state.isLive || group.members.size === 0, `a group with members was removed: ${group.groupId}`)
    group.hasRecord = false
    Object.assign(group, { kind: 'simple', groupEpoch: 0, assignmentEpoch: 0, assignor: '', emptySinceMs: -1 })
    return
  }
  assert(!state.isLive || value.groupEpoch >= group.groupEpoch, `G5: epoch of group ${group.groupId} fell`)
  group.hasRecord = true
  Object.assign(group, value)
}

function applyMetadata(group: Group, member: Member, metadata: MemberMetadata): void {
  const before = member.metadata.instanceId
  if (before !== null && before !== metadata.instanceId) forgetInstance(group, before, member.memberId)
  if (metadata.instanceId !== null) group.instances.set(metadata.instanceId, member.memberId)
  member.metadata = metadata
}

function removeMember(state: GroupState, group: Group, memberId: string): void {
  const member = group.members.get(memberId)
  if (member === undefined) return
  release(state, group, member)
  if (member.metadata.instanceId !== null) forgetInstance(group, member.metadata.instanceId, memberId)
  group.members.delete(memberId)
  state.memberCount--
}

/** Another member may have taken the instance over. */
function forgetInstance(group: Group, instanceId: string, memberId: string): void {
  if (group.instances.get(instanceId) === memberId) group.instances.delete(instanceId)
}

function dropTarget(group: Group, memberId: string): void {
  const member = group.members.get(memberId)
  if (member !== undefined) member.target = NO_PARTITIONS
}

function dropCurrent(state: GroupState, group: Group, memberId: string): void {
  const member = group.members.get(memberId)
  if (member === undefined) return
  release(state, group, member)
  member.current = NO_ASSIGNMENT
}

function applyCurrent(state: GroupState, group: Group, member: Member, next: CurrentAssignment): void {
  const before = member.current.memberEpoch
  const isEpochFine = !state.isLive || next.memberEpoch === AWAY_EPOCH || next.memberEpoch >= before
  assert(isEpochFine, `G5: epoch of ${member.memberId} fell from ${before} to ${next.memberEpoch}`)
  release(state, group, member)
  member.current = next
  if (state.isLive) claim(group, member, next)
}

function claim(group: Group, member: Member, { assigned, revoking }: CurrentAssignment): void {
  for (const set of [assigned, revoking]) claimSet(group, member, set)
}

function claimSet(group: Group, member: Member, set: PartitionSet): void {
  for (const [topicId, partitions] of set) {
    let owners = group.owners.get(topicId)
    if (owners === undefined) group.owners.set(topicId, (owners = new Map()))
    for (const partition of partitions) {
      const owner = owners.get(partition)
      if (owner !== undefined) {
        const who = owner === member ? 'twice by' : `by ${owner.memberId} and`
        assert(
          false,
          `G1, G2: ${group.groupId}: partition ${partition} of ${topicId} is owned ${who} ${member.memberId}`,
        )
      }
      owners.set(partition, member)
    }
  }
}

function release(state: GroupState, group: Group, member: Member): void {
  if (!state.isLive) return
  for (const set of [member.current.assigned, member.current.revoking]) {
    for (const [topicId, partitions] of set) {
      const owners = group.owners.get(topicId)
      for (const partition of partitions) owners?.delete(partition)
      if (owners?.size === 0) group.owners.delete(topicId)
    }
  }
  group.releases++
}
