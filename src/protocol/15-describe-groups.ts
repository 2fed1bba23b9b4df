/**
 * describe-groups (15): groups as Kafka's DescribeGroups tells of them. Between gateway and shard (SHARD_APIS), which asks each coordinator for
 * its own. Native clients have group-describe (69).
 *
 * Versions  1
 * Reply     one row per group of the request, in its order; INVALID_GROUP_ID, and GROUP_ID_NOT_FOUND with state Dead, in its own row.
 *           protocolData, metadata and assignment: only of a classic group that is Stable, else '' and no bytes. A group of another kind
 *           has its assignor as protocolData, and its members without bytes
 * Limits    REQUEST_GROUPS_MAX, GROUP_MEMBERS_MAX; a reply larger than a frame is an error
 */
import { CLASSIC_METADATA_BYTES_MAX, GROUP_MEMBERS_MAX, REQUEST_GROUPS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { GROUP_TEXT_LENGTH_MAX, readError } from './group-fields.ts'

export interface DescribeClassicGroupsRequest {
  readonly groupIds: readonly string[]
}

export interface DescribedClassicMember {
  readonly memberId: string
  readonly instanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly metadata: Uint8Array
  readonly assignment: Uint8Array
}

export interface DescribedClassicGroup {
  readonly groupId: string
  readonly errorNumber: number
  readonly errorText: string
  readonly state: string
  readonly protocolType: string
  readonly protocolData: string
  readonly members: readonly DescribedClassicMember[]
}

export interface DescribeClassicGroupsReply {
  readonly groups: readonly DescribedClassicGroup[]
}

export const describeClassicGroups = makeCodec<DescribeClassicGroupsRequest, DescribeClassicGroupsReply>({
  api: Api.DESCRIBE_CLASSIC_GROUPS,
  name: 'describe-groups',
  writeRequest: ({ groupIds }) => [groupIds],
  readRequest: (fields) => ({ groupIds: fields.texts('groupIds', REQUEST_GROUPS_MAX, GROUP_TEXT_LENGTH_MAX) }),
  writeReply: ({ groups }) => [
    groups.map((group) => [
      group.groupId,
      group.errorNumber,
      group.errorText,
      group.state,
      group.protocolType,
      group.protocolData,
      group.members.map((member) => [
        member.memberId,
        member.instanceId,
        member.clientId,
        member.clientHost,
        member.metadata,
        member.assignment,
      ]),
    ]),
  ],
  readReply: (fields) => ({
    groups: fields.list('groups', REQUEST_GROUPS_MAX, (group) => ({
      groupId: group.text('groupId', GROUP_TEXT_LENGTH_MAX),
      ...readError(group),
      state: group.text('state', GROUP_TEXT_LENGTH_MAX),
      protocolType: group.text('protocolType', GROUP_TEXT_LENGTH_MAX),
      protocolData: group.text('protocolData', GROUP_TEXT_LENGTH_MAX),
      members: group.list('members', GROUP_MEMBERS_MAX, (member) => ({
        memberId: member.text('memberId', GROUP_TEXT_LENGTH_MAX),
        instanceId: member.textOrNull('instanceId', GROUP_TEXT_LENGTH_MAX),
        clientId: member.text('clientId', GROUP_TEXT_LENGTH_MAX),
        clientHost: member.text('clientHost', GROUP_TEXT_LENGTH_MAX),
        metadata: member.bytes('metadata', CLASSIC_METADATA_BYTES_MAX),
        assignment: member.bytes('assignment', CLASSIC_METADATA_BYTES_MAX),
      })),
    })),
  }),
})
