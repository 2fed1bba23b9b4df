/**
 * ConsumerGroupHeartbeat (68, v0–1), ConsumerGroupDescribe (69, v0–1): groups whose assignment the broker makes (KIP-848): the protocol of
 * native groups, and the same coordinator. Native and Kafka members of such a group share it.
 */
import { consumerGroupHeartbeat } from '../../../kafka/apis/68-consumer-group-heartbeat.ts'
import { consumerGroupDescribe } from '../../../kafka/apis/69-consumer-group-describe.ts'
import { errorNumberOf } from '../../../model/errors.ts'
import type { TopicId } from '../../../model/ids.ts'
import * as protocol from '../../../protocol/index.ts'
import { coldHandler, type KafkaCall } from '../kafka-handler.ts'
import { GROUP_OPERATIONS, NOT_ASKED } from './authorised-operations.ts'
import { askGroup } from './classic-groups.ts'

/** Kafka's group.consumer.session.timeout.ms: its clients do not say how long they may be silent. */
const SESSION_TIMEOUT_MS = 45_000
const JOIN = 0
const CONSUMER = 'consumer'

export const consumerGroupHeartbeatHandler = coldHandler(consumerGroupHeartbeat, async (call) => {
  const { request } = call
  const { groupId, memberId, memberEpoch, instanceId, rackId, rebalanceTimeoutMs, serverAssignor } = request
  try {
    const owned = request.topicPartitions
    const reply = await askGroup(call, groupId, protocol.groupHeartbeat, {
      ...{ groupId, memberId, memberEpoch, instanceId, rackId, rebalanceTimeoutMs, serverAssignor },
      sessionTimeoutMs: memberEpoch === JOIN ? SESSION_TIMEOUT_MS : -1,
      subscribedTopics: request.subscribedTopicNames,
      subscribedPattern: request.subscribedTopicRegex,
      ownedPartitions:
        owned?.map(({ topicId, partitions }) => ({ topicId: topicId as TopicId, topic: '', partitions })) ?? null,
    })
    const assignment = reply.assignment === null ? null : { topicPartitions: reply.assignment.map(partitionsOf) }
    const { heartbeatIntervalMs } = reply
    return { errorCode: 0, memberId: reply.memberId, memberEpoch: reply.memberEpoch, heartbeatIntervalMs, assignment }
  } catch (error) {
    return { ...call.fault(error), memberId, memberEpoch, heartbeatIntervalMs: 0, assignment: null }
  }
})

function partitionsOf({ topicId, partitions }: protocol.TopicPartitions) {
  return { topicId, partitions }
}

export const consumerGroupDescribeHandler = coldHandler(consumerGroupDescribe, async (call) => ({
  groups: await Promise.all(
    [...new Set(call.request.groupIds)].map(async (groupId) => ({
      ...(await describe(call, groupId)),
      authorizedOperations: call.request.includeAuthorizedOperations ? GROUP_OPERATIONS : NOT_ASKED,
    })),
  ),
}))

async function describe(call: KafkaCall<unknown>, groupId: string) {
  const nothing = { groupId, groupState: '', groupEpoch: -1, assignmentEpoch: -1, assignorName: '', members: [] }
  try {
    const request = { groupIds: [groupId], cursor: null }
    const [group] = (await askGroup(call, groupId, protocol.groupDescribe, request)).groups
    if (group === undefined || group.errorNumber !== 0 || group.kind !== CONSUMER) {
      const errorNumber = group === undefined || group.errorNumber === 0 ? NOT_FOUND : group.errorNumber
      const text = group?.errorNumber === 0 ? `${groupId} is a ${group.kind} group` : (group?.errorText ?? '')
      return { ...nothing, errorCode: call.codeOf(errorNumber), errorMessage: text }
    }
    const { state, groupEpoch, assignmentEpoch, assignor, members } = group
    return {
      ...{ errorCode: 0, errorMessage: null, groupId, groupState: state, groupEpoch, assignmentEpoch },
      ...{ assignorName: assignor, members: members.map(memberOf) },
    }
  } catch (error) {
    return { ...nothing, ...call.fault(error) }
  }
}

const NOT_FOUND = errorNumberOf('GROUP_ID_NOT_FOUND')
/** KIP-848's member type: 1 = speaks the consumer protocol. */
const MEMBER_TYPE = 1

function memberOf(member: protocol.DescribedMember) {
  const { memberId, instanceId, rackId, memberEpoch, clientId, clientHost, subscribedTopics, subscribedPattern } =
    member
  return {
    ...{ memberId, instanceId, rackId, memberEpoch, clientId, clientHost: `/${clientHost}` },
    ...{ subscribedTopicNames: subscribedTopics, subscribedTopicRegex: subscribedPattern, memberType: MEMBER_TYPE },
    assignment: { topicPartitions: member.assignment.map(namedPartitionsOf) },
    targetAssignment: { topicPartitions: member.targetAssignment.map(namedPartitionsOf) },
  }
}

function namedPartitionsOf({ topicId, topic, partitions }: protocol.TopicPartitions) {
  return { topicId, topicName: topic, partitions }
}
