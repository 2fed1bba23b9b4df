/**
 * sync-group (14): the leader of a classic generation hands in who has what, and each member asks for its own. A follower's is answered
 * when the leader's has come and is durable. Between gateway and shard: SHARD_APIS.
 *
 * Versions  1
 * Request   protocolType, protocolName: null = not said; else they must be the group's. assignments: of the leader alone
 * Reply     assignment: no bytes for a member that the leader did not name
 * Failure   REBALANCE_IN_PROGRESS: join again; ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, INCONSISTENT_GROUP_PROTOCOL,
 *           INVALID_GROUP_ID, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, UNKNOWN_SERVER_ERROR (larger than the group's log takes)
 * Limits    GROUP_MEMBERS_MAX, CLASSIC_METADATA_BYTES_MAX
 */
import { CLASSIC_METADATA_BYTES_MAX, GROUP_MEMBERS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'
import { GROUP_TEXT_LENGTH_MAX } from './group-fields.ts'

export interface MemberAssignment {
  readonly memberId: string
  readonly assignment: Uint8Array
}

export interface SyncGroupRequest {
  readonly groupId: string
  readonly generationId: number
  readonly memberId: string
  readonly instanceId: string | null
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly assignments: readonly MemberAssignment[]
}

export interface SyncGroupReply {
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly assignment: Uint8Array
}

export const syncGroup = makeCodec<SyncGroupRequest, SyncGroupReply>({
  api: Api.SYNC_GROUP,
  name: 'sync-group',
  writeRequest: (request) => [
    request.groupId,
    request.generationId,
    request.memberId,
    request.instanceId,
    request.protocolType,
    request.protocolName,
    request.assignments.map(({ memberId, assignment }) => [memberId, assignment]),
  ],
  readRequest: (fields) => ({
    groupId: fields.text('groupId', GROUP_TEXT_LENGTH_MAX),
    generationId: fields.integer('generationId', -INT32_MAX, INT32_MAX),
    memberId: fields.text('memberId', GROUP_TEXT_LENGTH_MAX),
    instanceId: fields.textOrNull('instanceId', GROUP_TEXT_LENGTH_MAX),
    protocolType: fields.textOrNull('protocolType', GROUP_TEXT_LENGTH_MAX),
    protocolName: fields.textOrNull('protocolName', GROUP_TEXT_LENGTH_MAX),
    assignments: fields.list('assignments', GROUP_MEMBERS_MAX, (each) => ({
      memberId: each.text('memberId', GROUP_TEXT_LENGTH_MAX),
      assignment: each.bytes('assignment', CLASSIC_METADATA_BYTES_MAX),
    })),
  }),
  writeReply: (reply) => [reply.protocolType, reply.protocolName, reply.assignment],
  readReply: (fields) => ({
    protocolType: fields.textOrNull('protocolType', GROUP_TEXT_LENGTH_MAX),
    protocolName: fields.textOrNull('protocolName', GROUP_TEXT_LENGTH_MAX),
    assignment: fields.bytes('assignment', CLASSIC_METADATA_BYTES_MAX),
  }),
})
