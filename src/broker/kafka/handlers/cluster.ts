/**
 * DescribeCluster (60, v0–2) and DescribeTopicPartitions (75, v0): from the gateway's own tables. The latter in pages, by name and partition:
 * a client asks on from the cursor.
 */

import { NO_LEADER } from '../../../coordination/keys.ts'
import { describeCluster } from '../../../kafka/apis/60-describe-cluster.ts'
import { describeTopicPartitions } from '../../../kafka/apis/75-describe-topic-partitions.ts'
import { ZERO_UUID } from '../../../kafka/codec/fields.ts'
import { MillraceError } from '../../../model/errors.ts'
import { isInternalTopic } from '../../../model/internal-topics.ts'
import { CLUSTER } from '../../authorise.ts'
import type { PartitionProxy, RoutedTopic } from '../../partition-router.ts'
import { coldHandler, type KafkaCall } from '../kafka-handler.ts'
import { CLUSTER_OPERATIONS, NOT_ASKED, TOPIC_OPERATIONS } from './authorised-operations.ts'

const BROKERS = 1
const PARTITIONS_MAX = 2_000

export const describeClusterHandler = coldHandler(describeCluster, (call) => {
  const { gateway, request } = call
  const endpointType = request.endpointType
  try {
    call.demand(CLUSTER)
    if (endpointType !== BROKERS)
      throw new MillraceError('UNSUPPORTED_ENDPOINT_TYPE', `endpoints of type ${endpointType}; 1 = brokers`)
    return {
      ...{ errorCode: 0, errorMessage: null, endpointType, clusterId: gateway.identity.clusterId },
      controllerId: call.controllerId,
      brokers: call.brokers().map(({ nodeId, ...rest }) => ({ brokerId: nodeId, ...rest, isFenced: false })),
      clusterAuthorizedOperations: request.includeClusterAuthorizedOperations ? CLUSTER_OPERATIONS : NOT_ASKED,
    }
  } catch (error) {
    return { ...call.fault(error), endpointType, clusterId: '', controllerId: -1, brokers: [] }
  }
})

export const describeTopicPartitionsHandler = coldHandler(describeTopicPartitions, (call) => {
  const { gateway, request } = call
  const { cursor } = request
  const limit = Math.min(Math.max(1, request.responsePartitionLimit), PARTITIONS_MAX)
  const names =
    request.topics.length > 0
      ? [...new Set(request.topics.map(({ name }) => name))]
      : [...gateway.router.topics()]
          .map(({ record }) => record.state.name)
          .filter((name) => call.refusal({ kind: 'topic', name }) === undefined)
  names.sort()
  const topics: ReturnType<typeof topicRow>[] = []
  let left = limit
  for (const name of names) {
    if (cursor !== null && name < cursor.topicName) continue
    const from = cursor !== null && name === cursor.topicName ? cursor.partitionIndex : 0
    if (left === 0) return { topics, nextCursor: { topicName: name, partitionIndex: from } }
    const topic = gateway.router.byName(name)
    const partitions = topic?.partitions.slice(from, from + left) ?? []
    topics.push(topicRow(call, name, topic, partitions))
    left -= partitions.length
    if (topic !== undefined && from + partitions.length < topic.partitions.length)
      return { topics, nextCursor: { topicName: name, partitionIndex: from + partitions.length } }
  }
  return { topics, nextCursor: null }
})

function topicRow(
  call: KafkaCall<unknown>,
  name: string,
  topic: RoutedTopic | undefined,
  partitions: readonly PartitionProxy[],
) {
  const denied = call.refusal({ kind: 'topic', name })
  const code = denied ?? (topic === undefined ? 'UNKNOWN_TOPIC_OR_PARTITION' : undefined)
  const alive = new Set(call.brokers().map(({ nodeId }) => nodeId))
  return {
    ...{ errorCode: code === undefined ? 0 : call.code(code), name, isInternal: isInternalTopic(name) },
    topicId: code === undefined ? topic!.record.topicId : ZERO_UUID,
    partitions: code === undefined ? partitions.map((partition) => partitionRow(call, partition, alive)) : [],
    topicAuthorizedOperations: TOPIC_OPERATIONS,
  }
}

function partitionRow(call: KafkaCall<unknown>, partition: PartitionProxy, alive: ReadonlySet<number>) {
  const leaderId = call.gateway.leaderOf(partition)?.nodeId ?? NO_LEADER
  const { leaderEpoch, replicas, inSync } = partition
  return {
    errorCode:
      leaderId === NO_LEADER
        ? call.code('LEADER_NOT_AVAILABLE')
        : alive.has(leaderId)
          ? 0
          : call.code('LISTENER_NOT_FOUND'),
    ...{ partitionIndex: partition.partition, leaderId, leaderEpoch, replicaNodes: replicas, isrNodes: inSync },
    // Kept in the store, and not looked at here.
    ...{ eligibleLeaderReplicas: null, lastKnownElr: null },
    offlineReplicas: replicas.filter((nodeId) => !alive.has(nodeId)),
  }
}
