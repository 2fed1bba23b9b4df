/**
 * From a GROUP_REQUEST to the coordinator and back: its requests and replies have types of their own (group/requests.ts), those of
 * the wire are the protocol's. Kafka's listener will put the same requests.
 */
import type { EncodedRecord, GroupCoordinator, GroupRefusal, TopicOutcomes } from '../group/index.ts'
import { type ErrorCode, errorNumberOf } from '../model/errors.ts'
import * as protocol from '../protocol/index.ts'
import type { GroupRequestBody } from '../ring/control-messages.ts'

export interface GroupAnswer {
  readonly records: readonly EncodedRecord[]
  readonly reply: { readonly kind: 'reply'; readonly body: unknown } | GroupRefusal
}

const NO_RECORDS: readonly EncodedRecord[] = []

/** Has the coordinator decide; what the reply tells is so when the records are durable. */
export function answerGroupRequest(
  coordinator: GroupCoordinator,
  { api, request, clientId, clientHost }: GroupRequestBody,
  nowMs: number,
): GroupAnswer {
  switch (api) {
    case protocol.Api.GROUP_HEARTBEAT: {
      const asked = { ...(request as protocol.GroupHeartbeatRequest), clientId, clientHost }
      const { records, reply } = coordinator.heartbeat(asked, nowMs)
      return reply.kind === 'refused' ? { records, reply } : answer(records, reply)
    }
    case protocol.Api.SESSION_EXTEND: {
      const { groupId, memberIds } = request as protocol.SessionExtendRequest
      return answer(NO_RECORDS, coordinator.extendSessions(groupId, memberIds, nowMs))
    }
    case protocol.Api.OFFSET_COMMIT: {
      const { records, reply } = coordinator.commitOffsets(request as protocol.OffsetCommitRequest)
      return reply.kind === 'refused' ? { records, reply } : answer(records, { topics: reply.topics.map(resultsOf) })
    }
    case protocol.Api.OFFSET_FETCH: {
      const { records, reply } = coordinator.fetchOffsets(request as protocol.OffsetFetchRequest)
      if (reply.kind === 'refused') return { records, reply }
      const topics = reply.topics.map(({ topicId, topic, partitions }) => ({
        ...{ topicId, topic },
        partitions: partitions.map(({ error, text, ...rest }) => ({ ...rest, ...errorOf(error, text) })),
      }))
      return answer(records, { topics })
    }
    case protocol.Api.OFFSET_DELETE: {
      const { records, reply } = coordinator.deleteOffsets(request as protocol.OffsetDeleteRequest)
      return reply.kind === 'refused' ? { records, reply } : answer(records, { topics: reply.topics.map(resultsOf) })
    }
    case protocol.Api.LIST_GROUPS: {
      const groups = coordinator.listGroups(request as protocol.ListGroupsRequest)
      return answer(NO_RECORDS, { groups: groups.map(({ groupKind, ...rest }) => ({ ...rest, kind: groupKind })) })
    }
    case protocol.Api.GROUP_DESCRIBE: {
      const groups = coordinator.describeGroups((request as protocol.GroupDescribeRequest).groupIds)
      const rows = groups.map(({ groupKind, error, text, ...rest }) => ({
        ...{ ...rest, kind: groupKind },
        ...errorOf(error, text),
      }))
      return answer(NO_RECORDS, { groups: rows })
    }
    case protocol.Api.DELETE_GROUPS: {
      const { records, reply } = coordinator.deleteGroups((request as protocol.DeleteGroupsRequest).groupIds)
      if (reply.kind === 'refused') return { records, reply }
      const groups = reply.groups.map(({ groupId, error, text }) => ({ groupId, ...errorOf(error, text) }))
      return answer(records, { groups })
    }
    default:
      return {
        records: NO_RECORDS,
        reply: { kind: 'refused', error: 'UNKNOWN_API', text: `api ${api} is none of groups` },
      }
  }
}

function answer(records: readonly EncodedRecord[], body: unknown): GroupAnswer {
  return { records, reply: { kind: 'reply', body } }
}

function resultsOf({ topicId, topic, partitions }: TopicOutcomes): protocol.TopicResults {
  const results = partitions.map(({ partition, error, text }) => ({ partition, ...errorOf(error, text) }))
  return { topicId, topic, partitions: results }
}

function errorOf(error: ErrorCode, text: string): { errorNumber: number; errorText: string } {
  return { errorNumber: errorNumberOf(error), errorText: text }
}
