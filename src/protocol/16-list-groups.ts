/**
 * list-groups (16): the groups of this broker.
 *
 * Versions  1
 * Request   states and kinds to keep, in any case; an empty list keeps all
 *           cursor: pages.ts
 * Reply     kind: consumer (the broker assigns), classic (a member assigns), simple (offsets only, never a member)
 *           protocolType: 'consumer' where the broker assigns, what its members say in a classic one, '' without either
 * Limits    LISTED_GROUPS_MAX in one reply
 */
import { COORDINATOR_GROUPS_MAX, GROUP_MEMBERS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { GROUP_TEXT_LENGTH_MAX } from './group-fields.ts'
import { type PageReply, type PageRequest, readCursor } from './pages.ts'

const FILTERS_MAX = 16
const LISTED_GROUPS_MAX = COORDINATOR_GROUPS_MAX
const FILTER_LENGTH_MAX = 64

export interface ListGroupsRequest extends PageRequest {
  readonly states: readonly string[]
  readonly kinds: readonly string[]
}

export interface ListedGroup {
  readonly groupId: string
  readonly kind: string
  readonly state: string
  readonly memberCount: number
  readonly protocolType: string
}

export interface ListGroupsReply extends PageReply {
  readonly groups: readonly ListedGroup[]
}

export const listGroups = makeCodec<ListGroupsRequest, ListGroupsReply>({
  api: Api.LIST_GROUPS,
  name: 'list-groups',
  writeRequest: (request) => [request.states, request.kinds, request.cursor ?? null],
  readRequest: (fields) => ({
    states: fields.texts('states', FILTERS_MAX, FILTER_LENGTH_MAX),
    kinds: fields.texts('kinds', FILTERS_MAX, FILTER_LENGTH_MAX),
    cursor: readCursor(fields, 'cursor'),
  }),
  writeReply: (reply) => [
    reply.groups.map((group) => [group.groupId, group.kind, group.state, group.memberCount, group.protocolType]),
    reply.nextCursor,
  ],
  readReply: (fields) => ({
    groups: fields.list('groups', LISTED_GROUPS_MAX, (group) => ({
      groupId: group.text('groupId', GROUP_TEXT_LENGTH_MAX),
      kind: group.text('kind', FILTER_LENGTH_MAX),
      state: group.text('state', FILTER_LENGTH_MAX),
      memberCount: group.integer('memberCount', 0, GROUP_MEMBERS_MAX),
      protocolType: group.textOrNull('protocolType', GROUP_TEXT_LENGTH_MAX) ?? '',
    })),
    nextCursor: readCursor(fields, 'nextCursor'),
  }),
})
