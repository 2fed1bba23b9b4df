/**
 * delete-groups (42): forgets groups without members, their committed offsets too.
 *
 * Versions  1
 * Reply     one entry per group of the request, in its order: NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND, INVALID_GROUP_ID
 * Limits    REQUEST_GROUPS_MAX
 */
import { REQUEST_GROUPS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { GROUP_TEXT_LENGTH_MAX, readError } from './group-fields.ts'

export interface DeleteGroupsRequest {
  readonly groupIds: readonly string[]
}

export interface DeletedGroup {
  readonly groupId: string
  readonly errorNumber: number
  readonly errorText: string
}

export interface DeleteGroupsReply {
  readonly groups: readonly DeletedGroup[]
}

export const deleteGroups = makeCodec<DeleteGroupsRequest, DeleteGroupsReply>({
  api: Api.DELETE_GROUPS,
  name: 'delete-groups',
  writeRequest: (request) => [request.groupIds],
  readRequest: (fields) => ({ groupIds: fields.texts('groupIds', REQUEST_GROUPS_MAX, GROUP_TEXT_LENGTH_MAX) }),
  writeReply: (reply) => [reply.groups.map((group) => [group.groupId, group.errorNumber, group.errorText])],
  readReply: (fields) => ({
    groups: fields.list('groups', REQUEST_GROUPS_MAX, (group) => ({
      groupId: group.text('groupId', GROUP_TEXT_LENGTH_MAX),
      ...readError(group),
    })),
  }),
})
