/**
 * From a GROUP_REQUEST to the coordinator and back: its requests and replies have types of their own (group/requests.ts), those of
 * the wire are the protocol's. Kafka's listener will put the same requests.
 */
import {
  type Decision,
  type DescribedGroup,
  type EncodedRecord,
  type GroupCoordinator,
  type GroupRefusal,
  isRefusal,
  refuse,
  type TopicOutcomes,
} from '../group/index.ts'
import { type ErrorCode, errorNumberOf } from '../model/errors.ts'
import * as protocol from '../protocol/index.ts'
import type { GroupRequestBody } from '../ring/control-messages.ts'

export interface GroupAnswer {
  readonly records: readonly EncodedRecord[]
  /** What an operator should know. */
  readonly notices: readonly string[]
  readonly reply: { readonly kind: 'reply'; readonly body: unknown } | GroupRefusal
}

/** Has the coordinator decide; what the reply tells is so when the records are durable. */
export function answerGroupRequest(
  coordinator: GroupCoordinator,
  { api, request, clientId, clientHost }: GroupRequestBody,
  nowMs: number,
): GroupAnswer {
  switch (api) {
    case protocol.Api.GROUP_HEARTBEAT: {
      const asked = { ...(request as protocol.GroupHeartbeatRequest), clientId, clientHost }
      return answerOf(coordinator.heartbeat(asked, nowMs), (reply) => reply)
    }
    case protocol.Api.SESSION_EXTEND: {
      const { groupId, memberIds } = request as protocol.SessionExtendRequest
      return told(coordinator.extendSessions(groupId, memberIds, nowMs))
    }
    case protocol.Api.OFFSET_COMMIT:
      return answerOf(coordinator.commitOffsets(request as protocol.OffsetCommitRequest), ({ topics }) => ({
        topics: topics.map(resultsOf),
      }))
    case protocol.Api.OFFSET_FETCH:
      return answerOf(coordinator.fetchOffsets(request as protocol.OffsetFetchRequest), ({ topics }) => ({
        topics: topics.map(({ topicId, topic, partitions }) => ({
          ...{ topicId, topic },
          partitions: partitions.map(({ error, text, ...rest }) => ({ ...rest, ...errorOf(error, text) })),
        })),
      }))
    case protocol.Api.OFFSET_DELETE:
      return answerOf(coordinator.deleteOffsets(request as protocol.OffsetDeleteRequest), ({ topics }) => ({
        topics: topics.map(resultsOf),
      }))
    case protocol.Api.LIST_GROUPS: {
      const groups = coordinator.listGroups(request as protocol.ListGroupsRequest)
      return told({ groups: groups.map(({ groupKind, ...rest }) => ({ ...rest, kind: groupKind })) })
    }
    case protocol.Api.GROUP_DESCRIBE: {
      const groups = coordinator.describeGroups((request as protocol.GroupDescribeRequest).groupIds)
      const rowOf = ({ groupKind, error, text, ...rest }: DescribedGroup) => ({
        ...{ ...rest, kind: groupKind },
        ...errorOf(error, text),
      })
      return told({ groups: groups.map(rowOf) })
    }
    case protocol.Api.DELETE_GROUPS:
      return answerOf(coordinator.deleteGroups((request as protocol.DeleteGroupsRequest).groupIds), ({ groups }) => ({
        groups: groups.map(({ groupId, error, text }) => ({ groupId, ...errorOf(error, text) })),
      }))
    default:
      return { ...told({}), reply: refuse('UNKNOWN_API', `api ${api} is none of groups`) }
  }
}

function answerOf<Reply extends object>(decision: Decision<Reply>, bodyOf: (reply: Reply) => unknown): GroupAnswer {
  const { records, notices, reply } = decision
  return { records, notices, reply: isRefusal(reply) ? reply : { kind: 'reply', body: bodyOf(reply) } }
}

/** Nothing was decided. */
function told(body: unknown): GroupAnswer {
  return { records: [], notices: [], reply: { kind: 'reply', body } }
}

function resultsOf({ topicId, topic, partitions }: TopicOutcomes): protocol.TopicResults {
  const results = partitions.map(({ partition, error, text }) => ({ partition, ...errorOf(error, text) }))
  return { topicId, topic, partitions: results }
}

function errorOf(error: ErrorCode, text: string): { errorNumber: number; errorText: string } {
  return { errorNumber: errorNumberOf(error), errorText: text }
}
