/**
 * leave-group (13): members leave a classic group, those who ask or those whom an operator removes. Between gateway and shard: SHARD_APIS.
 *
 * Versions  1
 * Request   memberId '' with an instanceId: whoever holds the instance. A member that was given an id and has not joined may leave too
 * Reply     members in the request's order, each with an error of its own: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID
 * Failure   INVALID_GROUP_ID, INCONSISTENT_GROUP_PROTOCOL, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR
 * Limits    GROUP_MEMBERS_MAX
 */
import { GROUP_MEMBERS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { GROUP_TEXT_LENGTH_MAX, readError } from './group-fields.ts'

export interface LeavingMember {
  readonly memberId: string
  readonly instanceId: string | null
  readonly reason: string | null
}

export interface LeaveGroupRequest {
  readonly groupId: string
  readonly members: readonly LeavingMember[]
}

export interface LeftMember {
  readonly memberId: string
  readonly instanceId: string | null
  readonly errorNumber: number
  readonly errorText: string
}

export interface LeaveGroupReply {
  readonly members: readonly LeftMember[]
}

export const leaveGroup = makeCodec<LeaveGroupRequest, LeaveGroupReply>({
  api: Api.LEAVE_GROUP,
  name: 'leave-group',
  writeRequest: ({ groupId, members }) => [
    groupId,
    members.map(({ memberId, instanceId, reason }) => [memberId, instanceId, reason]),
  ],
  readRequest: (fields) => ({
    groupId: fields.text('groupId', GROUP_TEXT_LENGTH_MAX),
    members: fields.list('members', GROUP_MEMBERS_MAX, (member) => ({
      memberId: member.text('memberId', GROUP_TEXT_LENGTH_MAX),
      instanceId: member.textOrNull('instanceId', GROUP_TEXT_LENGTH_MAX),
      reason: member.textOrNull('reason'),
    })),
  }),
  writeReply: ({ members }) => [
    members.map(({ memberId, instanceId, errorNumber, errorText }) => [memberId, instanceId, errorNumber, errorText]),
  ],
  readReply: (fields) => ({
    members: fields.list('members', GROUP_MEMBERS_MAX, (member) => ({
      memberId: member.text('memberId', GROUP_TEXT_LENGTH_MAX),
      instanceId: member.textOrNull('instanceId', GROUP_TEXT_LENGTH_MAX),
      ...readError(member),
    })),
  }),
})
