/**
 * Whether a classic group has room for one more member, and what a member may say of itself.
 *
 * Limits  members of a group (membersMax); members and given ids of the coordinator: COORDINATOR_MEMBERS_MAX; given ids of a group:
 *         CLASSIC_PENDING_MEMBERS_MAX; what members say: CLASSIC_GROUP_BYTES_MAX, half a batch, so that assignments have the other
 *         half, and what the leader's reply has room for; COORDINATOR_CLASSIC_BYTES_MAX
 */
import {
  CLASSIC_GROUP_BYTES_MAX,
  CLASSIC_PENDING_MEMBERS_MAX,
  COORDINATOR_CLASSIC_BYTES_MAX,
  COORDINATOR_MEMBERS_MAX,
  GROUP_MEMBERS_MAX,
} from '../model/limits.ts'
import { bytesOf, type ClassicGroup, type ClassicMember, NO_TOKEN } from './classic-state.ts'
import type { GroupContext } from './group-context.ts'
import { checkGroupCount } from './group-room.ts'
import { checkNames } from './request-checks.ts'
import { type GroupRefusal, type JoinGroupRequest, refuse } from './requests.ts'

/** Of a reply to the leader's join: all that is not of its members, and what stands between the fields of one. */
const JOIN_REPLY_BYTES = 2_048
const JOIN_REPLY_MEMBER_BYTES = 16

/** `member` is undefined for one that is not in the group yet. */
export function checkClassicRoom(
  context: GroupContext,
  classic: ClassicGroup | undefined,
  member: ClassicMember | undefined,
  request: JoinGroupRequest,
): GroupRefusal | undefined {
  return (
    checkSize(context, classic, member, request.groupId) ??
    checkBytes(context, classic, member, request) ??
    (member === undefined ? checkMembers(context, classic, request) : undefined)
  )
}

/** As in Kafka it is joins that count while the group rebalances: the last to join again find it full. */
function checkSize(
  { config }: GroupContext,
  classic: ClassicGroup | undefined,
  member: ClassicMember | undefined,
  groupId: string,
): GroupRefusal | undefined {
  if (classic === undefined) return undefined
  const isPreparing = classic.state === 'PreparingRebalance'
  const isIn = member !== undefined && (!isPreparing || member.joinToken !== NO_TOKEN)
  const size = isPreparing ? classic.awaitingJoin : classic.members.size
  const membersMax = Math.min(config.membersMax, GROUP_MEMBERS_MAX)
  if (isIn || size < membersMax) return undefined
  return refuse('GROUP_MAX_SIZE_REACHED', `group '${groupId}' has ${membersMax} members, the most allowed`)
}

function checkBytes(
  { classicCounts, batchBytesMax, replyBytesMax }: GroupContext,
  classic: ClassicGroup | undefined,
  member: ClassicMember | undefined,
  request: JoinGroupRequest,
): GroupRefusal | undefined {
  const more = bytesOf(request) - (member === undefined ? 0 : bytesOf(member))
  const memberCount = (classic?.members.size ?? 0) + (member === undefined ? 1 : 0)
  const toldBytesMax = replyBytesMax - JOIN_REPLY_BYTES - memberCount * JOIN_REPLY_MEMBER_BYTES
  const bytesMax = Math.min(CLASSIC_GROUP_BYTES_MAX, batchBytesMax() / 2, toldBytesMax)
  if (more <= 0) return undefined
  if ((classic?.bytes ?? 0) + more > bytesMax)
    return refuse(
      'GROUP_MAX_SIZE_REACHED',
      `members of group '${request.groupId}' would say more than ${bytesMax} bytes of themselves: they need fewer topics, or a group of fewer`,
    )
  if (classicCounts.bytes + more <= COORDINATOR_CLASSIC_BYTES_MAX) return undefined
  const text = `members of this coordinator's groups say ${COORDINATOR_CLASSIC_BYTES_MAX} bytes of themselves, the most allowed`
  return refuse('GROUP_MAX_SIZE_REACHED', text)
}

function checkMembers(
  { state, classicCounts }: GroupContext,
  classic: ClassicGroup | undefined,
  { groupId, memberId }: JoinGroupRequest,
): GroupRefusal | undefined {
  // An id that was given has its place since then.
  const own = classic?.pending.has(memberId) === true ? 1 : 0
  if (state.memberCount + classicCounts.members + classicCounts.pending - own < COORDINATOR_MEMBERS_MAX)
    return checkGroupCount(state, groupId)
  return refuse('GROUP_MAX_SIZE_REACHED', `the coordinator has ${COORDINATOR_MEMBERS_MAX} members, the most allowed`)
}

/** One more id may be given. */
export function checkPending(classic: ClassicGroup | undefined, groupId: string): GroupRefusal | undefined {
  if (classic === undefined || classic.pending.size < CLASSIC_PENDING_MEMBERS_MAX) return undefined
  const text = `group '${groupId}' waits for ${CLASSIC_PENDING_MEMBERS_MAX} members to join with the ids they were given`
  return refuse('GROUP_MAX_SIZE_REACHED', text)
}

/** What of a join can be wrong in itself. */
export function checkJoin({ config }: GroupContext, request: JoinGroupRequest): GroupRefusal | undefined {
  const { memberId, instanceId, clientId, clientHost, protocolType, protocols, sessionTimeoutMs } = request
  const fault = checkNames({ memberId, instanceId, clientId, clientHost, protocolType })
  if (fault !== undefined) return fault
  // It would be one instance for all that say so; what else comes with it finds no such instance.
  if (instanceId === '') return refuse('INVALID_REQUEST', 'the instance id is empty: leave it out')
  for (const { name } of protocols) {
    const bad = checkNames({ protocol: name })
    if (bad !== undefined) return bad
  }
  const { classicSessionTimeoutMsMin: min, classicSessionTimeoutMsMax: max } = config
  if (sessionTimeoutMs >= min && sessionTimeoutMs <= max) return undefined
  return refuse('INVALID_SESSION_TIMEOUT', `sessionTimeoutMs: expected ${min} to ${max}, not ${sessionTimeoutMs}`)
}
