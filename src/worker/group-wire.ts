/**
 * From a GROUP_REQUEST to the coordinator and back: its requests and replies have types of their own (group/requests.ts), those of
 * the wire are the protocol's. Kafka's listener puts the same requests, and those of classic groups, which no native client is offered.
 */
import {
  type ClassicDecision,
  type ClassicHeartbeatRequest,
  type Decision,
  type DescribedGroup,
  type EncodedRecord,
  type GroupCoordinator,
  type GroupRefusal,
  type HeartbeatRequest,
  isRefusal,
  type JoinGroupReply,
  type Release,
  refuse,
  type TopicOutcomes,
} from '../group/index.ts'
import { type ErrorCode, errorNumberOf } from '../model/errors.ts'
import type { ProducerIdentity } from '../model/producer-identity.ts'
import * as protocol from '../protocol/index.ts'
import type { GroupRequestBody } from '../ring/control-messages.ts'
import type { CoordinatorRequest } from './coordinator-host.ts'

const { Api } = protocol

export interface GroupAnswer {
  readonly records: readonly EncodedRecord[]
  /** Whose transaction the records are part of. */
  readonly transaction?: ProducerIdentity
  /** What an operator should know. */
  readonly notices: readonly string[]
  /** undefined: the request waits, and is in the releases of this answer or of a later one. */
  readonly reply: AnsweredGroup | undefined
  readonly releases?: readonly ReleasedRequest[]
}

export type AnsweredGroup = { readonly kind: 'reply'; readonly header: Uint8Array } | GroupRefusal

/** A request that waited has its answer. */
export interface ReleasedRequest {
  readonly requestId: number
  readonly reply: AnsweredGroup
}

/**
 * Has the coordinator decide; what the reply tells is so when the records are durable. `mayWrite`: what the partition objects to in a
 * batch of a producer's transaction. Throws MillraceError for a bad header.
 */
export function answerGroupRequest(
  coordinator: GroupCoordinator,
  { requestId, body }: CoordinatorRequest<GroupRequestBody>,
  nowMs: number,
  mayWrite: (transaction: ProducerIdentity) => GroupRefusal | undefined,
): GroupAnswer {
  const { api, header } = body
  switch (api) {
    case Api.GROUP_HEARTBEAT:
      return answerHeartbeat(coordinator, body, nowMs)
    case Api.JOIN_GROUP: {
      const { clientId, clientHost } = body
      const request = { ...protocol.joinGroup.decodeRequest(header), clientId, clientHost }
      return answerClassic(coordinator.joinGroup(request, requestId, nowMs), protocol.joinGroup, joinedBody)
    }
    case Api.SYNC_GROUP: {
      const request = protocol.syncGroup.decodeRequest(header)
      return answerClassic(coordinator.syncGroup(request, requestId, nowMs), protocol.syncGroup, (reply) => reply)
    }
    case Api.CLASSIC_HEARTBEAT:
      return answerClassicHeartbeat(coordinator, body, nowMs)
    case Api.LEAVE_GROUP: {
      const request = protocol.leaveGroup.decodeRequest(header)
      return answerClassic(coordinator.leaveGroup(request, nowMs), protocol.leaveGroup, ({ members }) => ({
        members: members.map(({ error, text, ...rest }) => ({ ...rest, ...errorOf(error, text) })),
      }))
    }
    case Api.DESCRIBE_CLASSIC_GROUPS: {
      const { groupIds } = protocol.describeClassicGroups.decodeRequest(header)
      const groups = coordinator.describeClassicGroups(groupIds)
      return told(protocol.describeClassicGroups, {
        groups: groups.map(({ error, text, ...rest }) => ({ ...rest, ...errorOf(error, text) })),
      })
    }
    case Api.SESSION_EXTEND: {
      const { groupId, memberIds } = protocol.sessionExtend.decodeRequest(header)
      return told(protocol.sessionExtend, coordinator.extendSessions(groupId, memberIds, nowMs))
    }
    case Api.OFFSET_COMMIT: {
      const request = protocol.offsetCommit.decodeRequest(header)
      return answerOf(protocol.offsetCommit, coordinator.commitOffsets(request, nowMs), resultsOfAll)
    }
    case Api.TXN_OFFSET_COMMIT: {
      const request = protocol.txnOffsetCommit.decodeRequest(header)
      const refusal = mayWrite(request)
      if (refusal !== undefined) return { records: [], notices: [], reply: refusal }
      return answerOf(protocol.txnOffsetCommit, coordinator.commitTxnOffsets(request, nowMs), resultsOfAll)
    }
    case Api.OFFSET_FETCH: {
      const request = protocol.offsetFetch.decodeRequest(header)
      return answerOf(protocol.offsetFetch, coordinator.fetchOffsets(request), ({ topics, nextCursor }) => ({
        nextCursor,
        topics: topics.map(({ topicId, topic, partitions }) => ({
          ...{ topicId, topic },
          partitions: partitions.map(({ error, text, ...rest }) => ({ ...rest, ...errorOf(error, text) })),
        })),
      }))
    }
    case Api.OFFSET_DELETE: {
      const request = protocol.offsetDelete.decodeRequest(header)
      return answerOf(protocol.offsetDelete, coordinator.deleteOffsets(request), resultsOfAll)
    }
    case Api.LIST_GROUPS: {
      const { cursor = null, ...filter } = protocol.listGroups.decodeRequest(header)
      const { rows, nextCursor } =
        cursor === null
          ? { rows: coordinator.listGroups(filter), nextCursor: null }
          : coordinator.listGroupsPage(filter, cursor)
      const groups = rows.map(({ groupKind, ...rest }) => ({ ...rest, kind: groupKind }))
      return told(protocol.listGroups, { groups, nextCursor })
    }
    case Api.GROUP_DESCRIBE: {
      const { groupIds, cursor = null } = protocol.groupDescribe.decodeRequest(header)
      if (cursor === null) {
        const groups = coordinator.describeGroups(groupIds).map(describedRow)
        return told(protocol.groupDescribe, { groups, nextCursor: null })
      }
      const [groupId = ''] = groupIds
      const { group, nextCursor } = coordinator.describeGroupPage(groupId, cursor)
      return told(protocol.groupDescribe, { groups: [describedRow(group)], nextCursor })
    }
    case Api.DELETE_GROUPS: {
      const { groupIds } = protocol.deleteGroups.decodeRequest(header)
      return answerOf(protocol.deleteGroups, coordinator.deleteGroups(groupIds), ({ groups }) => ({
        groups: groups.map(({ groupId, error, text }) => ({ groupId, ...errorOf(error, text) })),
      }))
    }
    default:
      return { records: [], notices: [], reply: refuse('UNKNOWN_API', `api ${api} is none of groups`) }
  }
}

/** The steady state costs neither decoding nor encoding: a request that is said again has its own, and so has an unchanged answer. */
function answerHeartbeat(coordinator: GroupCoordinator, body: GroupRequestBody, nowMs: number): GroupAnswer {
  const { header, clientId, clientHost, connectionId } = body
  body.decoded ??= { ...protocol.groupHeartbeat.decodeRequest(header), clientId, clientHost, connectionId }
  const decision = coordinator.heartbeat(body.decoded as HeartbeatRequest, nowMs)
  const { kept } = decision
  if (kept === undefined) return answerOf(protocol.groupHeartbeat, decision, (reply) => reply)
  kept.answer ??= answerOf(protocol.groupHeartbeat, decision, (reply) => reply)
  return kept.answer as GroupAnswer
}

/** As above: a member says the same until its generation ends, and most hear the same. */
function answerClassicHeartbeat(coordinator: GroupCoordinator, body: GroupRequestBody, nowMs: number): GroupAnswer {
  body.decoded ??= protocol.classicHeartbeat.decodeRequest(body.header)
  const decision = coordinator.classicHeartbeat(body.decoded as ClassicHeartbeatRequest, nowMs)
  const { kept } = decision
  if (kept === undefined) return answerOf(protocol.classicHeartbeat, decision, () => ({}))
  kept.answer ??= answerOf(protocol.classicHeartbeat, decision, () => ({}))
  return kept.answer as GroupAnswer
}

/** What may wait, and what was waited for. */
function answerClassic<Reply extends object, Body>(
  { records, notices, releases, reply }: ClassicDecision<Reply>,
  codec: Pick<protocol.Codec<unknown, Body>, 'encodeReply'>,
  bodyOf: (reply: Reply) => Body,
): GroupAnswer {
  const answered =
    reply === undefined || isRefusal(reply)
      ? reply
      : ({ kind: 'reply', header: codec.encodeReply(bodyOf(reply)) } as const)
  return { records, notices, reply: answered, releases: releasedRequests(releases) }
}

/** The answers to requests that waited, each in its own terms. */
export function releasedRequests(releases: readonly Release[]): readonly ReleasedRequest[] {
  return releases.map(({ token: requestId, reply }) => ({ requestId, reply: releasedReply(reply) }))
}

function releasedReply(reply: Release['reply']): AnsweredGroup {
  switch (reply.kind) {
    case 'joined':
      return { kind: 'reply', header: protocol.joinGroup.encodeReply(joinedBody(reply)) }
    case 'synced':
      return { kind: 'reply', header: protocol.syncGroup.encodeReply(reply) }
    case 'refused':
      return reply
  }
}

function joinedBody({ error, text, ...rest }: JoinGroupReply): protocol.JoinGroupReply {
  return { ...rest, ...errorOf(error, text) }
}

function answerOf<Reply extends object, Body>(
  codec: Pick<protocol.Codec<unknown, Body>, 'encodeReply'>,
  { records, transaction, notices, reply }: Decision<Reply>,
  bodyOf: (reply: Reply) => Body,
): GroupAnswer {
  if (isRefusal(reply)) return { records, notices, reply }
  return {
    records,
    ...(transaction && { transaction }),
    notices,
    reply: { kind: 'reply', header: codec.encodeReply(bodyOf(reply)) },
  }
}

/** Nothing was decided. */
function told<Body>(codec: Pick<protocol.Codec<unknown, Body>, 'encodeReply'>, body: Body): GroupAnswer {
  return { records: [], notices: [], reply: { kind: 'reply', header: codec.encodeReply(body) } }
}

function describedRow({ groupKind, error, text, ...rest }: DescribedGroup): protocol.DescribedGroup {
  return { ...rest, kind: groupKind, ...errorOf(error, text) }
}

function resultsOfAll({ topics }: { readonly topics: readonly TopicOutcomes[] }) {
  return { topics: topics.map(resultsOf) }
}

function resultsOf({ topicId, topic, partitions }: TopicOutcomes): protocol.TopicResults {
  const results = partitions.map(({ partition, error, text }) => ({ partition, ...errorOf(error, text) }))
  return { topicId, topic, partitions: results }
}

function errorOf(error: ErrorCode, text: string): { errorNumber: number; errorText: string } {
  return { errorNumber: errorNumberOf(error), errorText: text }
}
