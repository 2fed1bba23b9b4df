/**
 * session-extend (1001): says that members are alive, and nothing else.
 *
 * Versions  1
 * Request   members by id, from a thread and connection of its own: it comes while a handler blocks the consumer's event loop
 * Reply     which of them the group does not know (it fenced them); the consumer is to stop their partitions
 * Rule      it moves session deadlines only: never a rebalance deadline, an epoch or an owner. Only group-heartbeat confirms
 *           a revocation, sent by the thread whose handler stopped
 * Limits    REQUEST_GROUPS_MAX members
 */
import { REQUEST_GROUPS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { GROUP_TEXT_LENGTH_MAX } from './group-fields.ts'

export interface SessionExtendRequest {
  readonly groupId: string
  readonly memberIds: readonly string[]
}

export interface SessionExtendReply {
  readonly unknownMemberIds: readonly string[]
}

export const sessionExtend = makeCodec<SessionExtendRequest, SessionExtendReply>({
  api: Api.SESSION_EXTEND,
  name: 'session-extend',
  writeRequest: (request) => [request.groupId, request.memberIds],
  readRequest: (fields) => ({
    groupId: fields.text('groupId', GROUP_TEXT_LENGTH_MAX),
    memberIds: fields.texts('memberIds', REQUEST_GROUPS_MAX, GROUP_TEXT_LENGTH_MAX),
  }),
  writeReply: (reply) => [reply.unknownMemberIds],
  readReply: (fields) => ({
    unknownMemberIds: fields.texts('unknownMemberIds', REQUEST_GROUPS_MAX, GROUP_TEXT_LENGTH_MAX),
  }),
})
