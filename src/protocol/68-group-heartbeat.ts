/**
 * group-heartbeat (68): one request for a member's whole life (KIP-848): join, heartbeat, confirm what it owns, leave.
 *
 * Versions  1
 * Request   memberEpoch: 0 joins, > 0 is the epoch of the last reply, -1 leaves, -2 a static member leaves for a while.
 *           memberId: '' lets the broker make one when joining. null and -1 mean unchanged since the last heartbeat; a join
 *           sends all of it. ownedPartitions: what the member reads now; one that is no longer in it is revoked for good
 * Reply     assignment: what the member may read, null when that is unchanged. What it owns and is not in it, it must stop
 *           and leave out of ownedPartitions; only then does the next owner get it
 * Failure   UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH: give all up, join with epoch 0. FENCED_INSTANCE_ID,
 *           UNRELEASED_INSTANCE_ID, GROUP_MAX_SIZE_REACHED, UNSUPPORTED_ASSIGNOR, INVALID_REGULAR_EXPRESSION, INVALID_GROUP_ID,
 *           INVALID_SESSION_TIMEOUT, INCONSISTENT_GROUP_PROTOCOL
 */
import { MEMBER_TOPICS_MAX } from '../model/limits.ts'
import { TOPIC_NAME_LENGTH_MAX } from './19-create-topic.ts'
import { Api, makeCodec } from './api.ts'
import { INT32_MAX } from './fields.ts'
import {
  GROUP_TEXT_LENGTH_MAX,
  readTopicPartitionsOrNull,
  type TopicPartitions,
  writeTopicPartitions,
} from './group-fields.ts'

const PATTERN_LENGTH_MAX = 4096

export interface GroupHeartbeatRequest {
  readonly groupId: string
  readonly memberId: string
  readonly memberEpoch: number
  readonly instanceId: string | null
  readonly rackId: string | null
  /** How long the member may take to give up a partition; -1 = unchanged, or the broker's default. */
  readonly rebalanceTimeoutMs: number
  /** How long the member may be silent; -1 = unchanged, or the broker's default. */
  readonly sessionTimeoutMs: number
  readonly subscribedTopics: readonly string[] | null
  /** RE2 syntax, matched against whole topic names; '' = no pattern. */
  readonly subscribedPattern: string | null
  readonly serverAssignor: string | null
  readonly ownedPartitions: readonly TopicPartitions[] | null
}

export interface GroupHeartbeatReply {
  readonly memberId: string
  readonly memberEpoch: number
  readonly heartbeatIntervalMs: number
  readonly assignment: readonly TopicPartitions[] | null
}

const NIL = 0xc0

/** Whether the header of a heartbeat says nothing of what the member owns, as most do: it ends with nil, for ownedPartitions. */
export function confirmsNothing(header: Uint8Array): boolean {
  return header[header.length - 1] === NIL
}

export const groupHeartbeat = makeCodec<GroupHeartbeatRequest, GroupHeartbeatReply>({
  api: Api.GROUP_HEARTBEAT,
  name: 'group-heartbeat',
  writeRequest: (request) => [
    request.groupId,
    request.memberId,
    request.memberEpoch,
    request.instanceId,
    request.rackId,
    request.rebalanceTimeoutMs,
    request.sessionTimeoutMs,
    request.subscribedTopics,
    request.subscribedPattern,
    request.serverAssignor,
    request.ownedPartitions === null ? null : writeTopicPartitions(request.ownedPartitions),
  ],
  readRequest: (fields) => ({
    groupId: fields.text('groupId', GROUP_TEXT_LENGTH_MAX),
    memberId: fields.text('memberId', GROUP_TEXT_LENGTH_MAX),
    memberEpoch: fields.integer('memberEpoch', -2, INT32_MAX),
    instanceId: fields.textOrNull('instanceId', GROUP_TEXT_LENGTH_MAX),
    rackId: fields.textOrNull('rackId', GROUP_TEXT_LENGTH_MAX),
    rebalanceTimeoutMs: fields.integer('rebalanceTimeoutMs', -1, INT32_MAX),
    sessionTimeoutMs: fields.integer('sessionTimeoutMs', -1, INT32_MAX),
    subscribedTopics: fields.textsOrNull('subscribedTopics', MEMBER_TOPICS_MAX, TOPIC_NAME_LENGTH_MAX),
    subscribedPattern: fields.textOrNull('subscribedPattern', PATTERN_LENGTH_MAX),
    serverAssignor: fields.textOrNull('serverAssignor', GROUP_TEXT_LENGTH_MAX),
    ownedPartitions: readTopicPartitionsOrNull(fields, 'ownedPartitions'),
  }),
  writeReply: (reply) => [
    reply.memberId,
    reply.memberEpoch,
    reply.heartbeatIntervalMs,
    reply.assignment === null ? null : writeTopicPartitions(reply.assignment),
  ],
  readReply: (fields) => ({
    memberId: fields.text('memberId', GROUP_TEXT_LENGTH_MAX),
    memberEpoch: fields.integer('memberEpoch', -2, INT32_MAX),
    heartbeatIntervalMs: fields.integer('heartbeatIntervalMs', 0, INT32_MAX),
    assignment: readTopicPartitionsOrNull(fields, 'assignment'),
  }),
})
