/**
 * Whether there is room for one more group or member.
 *
 * Limits  COORDINATOR_GROUPS_MAX, COORDINATOR_MEMBERS_MAX, members of a group; and its members' ids in IDS_PER_BATCH of a batch: a decision
 *         that moves everybody names each of them in every record
 */
import { utf8Bytes } from '../base/utf8-write.ts'
import {
  COORDINATOR_GROUPS_MAX,
  COORDINATOR_MEMBERS_MAX,
  GROUP_MEMBERS_MAX,
  GROUP_NAME_BYTES_MAX,
} from '../model/limits.ts'
import { RECORD_OVERHEAD_BYTES_MAX } from '../record/batch-writer.ts'
import type { GroupContext } from './group-context.ts'
import type { Group, GroupState } from './group-state.ts'
import { type GroupRefusal, refuse } from './requests.ts'

/** A member's record, besides ids and partitions: of the kinds that a rebalance writes, 'current' has most. */
const MEMBER_RECORD_BYTES = RECORD_OVERHEAD_BYTES_MAX + 2 + 2 + 2 + (2 + 4 + 4 + 2 + 2)
/** Of one member in one decision: its target and what it has to give up, or three tombstones. */
const MEMBER_RECORDS_MAX = 3
/** The rest is for the partitions: which of them move is not known before. */
const IDS_PER_BATCH = 7 / 8

/** One more member, and maybe its group. */
export function checkRoom(context: GroupContext, groupId: string): GroupRefusal | undefined {
  const { state, config, classicCounts } = context
  const group = state.groups.get(groupId)
  const membersMax = Math.min(config.membersMax, GROUP_MEMBERS_MAX)
  if (group !== undefined && group.members.size >= membersMax)
    return refuse('GROUP_MAX_SIZE_REACHED', `group '${groupId}' has ${membersMax} members, the most allowed`)
  if (state.memberCount + classicCounts.members + classicCounts.pending >= COORDINATOR_MEMBERS_MAX)
    return refuse('GROUP_MAX_SIZE_REACHED', `the coordinator has ${COORDINATOR_MEMBERS_MAX} members, the most allowed`)
  if (group !== undefined && !idsFit(context, group))
    return refuse(
      'GROUP_MAX_SIZE_REACHED',
      `group '${groupId}' has ${group.members.size} members with long ids: one more would not fit the group's log; use shorter member or group ids`,
    )
  return checkGroupCount(state, groupId)
}

/** Whether the coordinator takes one more group, if this is one. */
export function checkGroupCount({ groups, pending }: GroupState, groupId: string): GroupRefusal | undefined {
  if (groups.has(groupId) || pending.hasGroup(groupId)) return undefined
  if (groups.size + pending.newGroupCount < COORDINATOR_GROUPS_MAX) return undefined
  return refuse('GROUP_MAX_SIZE_REACHED', `the coordinator has ${COORDINATOR_GROUPS_MAX} groups, the most allowed`)
}

/** With one more member, of whatever id. Looks at the ids only where long ones might not fit. */
function idsFit({ batchBytesMax }: GroupContext, { groupId, members }: Group): boolean {
  const bytesMax = batchBytesMax() * IDS_PER_BATCH
  const eachBytes = MEMBER_RECORD_BYTES + utf8Bytes(groupId)
  const lastBytes = eachBytes + GROUP_NAME_BYTES_MAX
  if (MEMBER_RECORDS_MAX * (members.size + 1) * lastBytes <= bytesMax) return true
  let bytes = MEMBER_RECORDS_MAX * lastBytes
  for (const memberId of members.keys()) bytes += MEMBER_RECORDS_MAX * (eachBytes + utf8Bytes(memberId))
  return bytes <= bytesMax
}
