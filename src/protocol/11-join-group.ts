/**
 * join-group (11): a member joins a classic group, or says that it is still there while the group rebalances. Answered when the join phase
 * is over. Between gateway and shard: SHARD_APIS.
 *
 * Versions  1
 * Request   memberId '' = a new member; with requiresKnownMemberId it is given an id and told to join again with it. rebalanceTimeoutMs -1:
 *           as sessionTimeoutMs. protocols: what it can do, most wanted first, each with metadata that only members read.
 *           canSkipAssignment: a leader that came back for its instance may be told that the assignment stands
 * Reply     an error that has to name a member id is here, in the reply's own errorNumber: MEMBER_ID_REQUIRED. members: for the leader
 *           alone, metadata is that of the chosen protocol
 * Failure   UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, INVALID_GROUP_ID, INVALID_SESSION_TIMEOUT, INCONSISTENT_GROUP_PROTOCOL,
 *           GROUP_MAX_SIZE_REACHED, REBALANCE_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, OVERLOADED
 * Limits    CLASSIC_PROTOCOLS_MAX, CLASSIC_METADATA_BYTES_MAX, GROUP_MEMBERS_MAX
 */
import { CLASSIC_METADATA_BYTES_MAX, CLASSIC_PROTOCOLS_MAX, GROUP_MEMBERS_MAX } from '../model/limits.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'
import { GROUP_TEXT_LENGTH_MAX, readError } from './group-fields.ts'

export interface JoinProtocol {
  readonly name: string
  readonly metadata: Uint8Array
}

export interface JoinGroupRequest {
  readonly groupId: string
  readonly memberId: string
  readonly instanceId: string | null
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly protocolType: string
  readonly protocols: readonly JoinProtocol[]
  readonly requiresKnownMemberId: boolean
  readonly canSkipAssignment: boolean
  readonly reason: string | null
}

export interface JoinedMember {
  readonly memberId: string
  readonly instanceId: string | null
  readonly metadata: Uint8Array
}

export interface JoinGroupReply {
  readonly errorNumber: number
  readonly errorText: string
  /** -1 with an error. */
  readonly generationId: number
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly leaderId: string
  readonly skipAssignment: boolean
  readonly memberId: string
  readonly members: readonly JoinedMember[]
}

export const joinGroup = makeCodec<JoinGroupRequest, JoinGroupReply>({
  api: Api.JOIN_GROUP,
  name: 'join-group',
  writeRequest: (request) => [
    request.groupId,
    request.memberId,
    request.instanceId,
    request.sessionTimeoutMs,
    request.rebalanceTimeoutMs,
    request.protocolType,
    request.protocols.map(({ name, metadata }) => [name, metadata]),
    request.requiresKnownMemberId,
    request.canSkipAssignment,
    request.reason,
  ],
  readRequest: (fields) => ({
    groupId: fields.text('groupId', GROUP_TEXT_LENGTH_MAX),
    memberId: fields.text('memberId', GROUP_TEXT_LENGTH_MAX),
    instanceId: fields.textOrNull('instanceId', GROUP_TEXT_LENGTH_MAX),
    sessionTimeoutMs: fields.integer('sessionTimeoutMs', -INT32_MAX, INT32_MAX),
    rebalanceTimeoutMs: fields.integer('rebalanceTimeoutMs', -INT32_MAX, INT32_MAX),
    protocolType: fields.text('protocolType', GROUP_TEXT_LENGTH_MAX),
    protocols: fields.list('protocols', CLASSIC_PROTOCOLS_MAX, (protocol) => ({
      name: protocol.text('name', GROUP_TEXT_LENGTH_MAX),
      metadata: protocol.bytes('metadata', CLASSIC_METADATA_BYTES_MAX),
    })),
    requiresKnownMemberId: fields.boolean('requiresKnownMemberId'),
    canSkipAssignment: fields.boolean('canSkipAssignment'),
    reason: fields.textOrNull('reason'),
  }),
  writeReply: (reply) => [
    reply.errorNumber,
    reply.errorText,
    reply.generationId,
    reply.protocolType,
    reply.protocolName,
    reply.leaderId,
    reply.skipAssignment,
    reply.memberId,
    reply.members.map(({ memberId, instanceId, metadata }) => [memberId, instanceId, metadata]),
  ],
  readReply: (fields) => ({
    ...readError(fields),
    generationId: fields.integer('generationId', -1, INT32_MAX),
    protocolType: fields.textOrNull('protocolType', GROUP_TEXT_LENGTH_MAX),
    protocolName: fields.textOrNull('protocolName', GROUP_TEXT_LENGTH_MAX),
    leaderId: fields.text('leaderId', GROUP_TEXT_LENGTH_MAX),
    skipAssignment: fields.boolean('skipAssignment'),
    memberId: fields.text('memberId', GROUP_TEXT_LENGTH_MAX),
    members: fields.list('members', GROUP_MEMBERS_MAX, (member) => ({
      memberId: member.text('memberId', GROUP_TEXT_LENGTH_MAX),
      instanceId: member.textOrNull('instanceId', GROUP_TEXT_LENGTH_MAX),
      metadata: member.bytes('metadata', CLASSIC_METADATA_BYTES_MAX),
    })),
  }),
})
