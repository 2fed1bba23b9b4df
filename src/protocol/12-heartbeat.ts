/**
 * heartbeat (12): a member of a classic group lives. Between gateway and shard: SHARD_APIS.
 *
 * Versions  1
 * Failure   REBALANCE_IN_PROGRESS: join again (the session goes on); ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID,
 *           INVALID_GROUP_ID, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR
 */
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'
import { GROUP_TEXT_LENGTH_MAX } from './group-fields.ts'

export interface ClassicHeartbeatRequest {
  readonly groupId: string
  readonly generationId: number
  readonly memberId: string
  readonly instanceId: string | null
}

export type ClassicHeartbeatReply = Record<never, never>

export const classicHeartbeat = makeCodec<ClassicHeartbeatRequest, ClassicHeartbeatReply>({
  api: Api.CLASSIC_HEARTBEAT,
  name: 'heartbeat',
  writeRequest: (request) => [request.groupId, request.generationId, request.memberId, request.instanceId],
  readRequest: (fields) => ({
    groupId: fields.text('groupId', GROUP_TEXT_LENGTH_MAX),
    generationId: fields.integer('generationId', -INT32_MAX, INT32_MAX),
    memberId: fields.text('memberId', GROUP_TEXT_LENGTH_MAX),
    instanceId: fields.textOrNull('instanceId', GROUP_TEXT_LENGTH_MAX),
  }),
  writeReply: () => [],
  readReply: () => ({}),
})
