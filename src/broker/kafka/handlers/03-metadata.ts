/**
 * Metadata (3): v0–13, from the gateway's own tables. Topics by name, from v10 on with their ids, from v12 on by id too.
 *
 * Creates   a topic asked for by name that is not there, where the client allows it and topics.autoCreate is set; the answer has it
 * Brokers   those with a Kafka listener; a partition led by one without is answered LISTENER_NOT_FOUND (LEADER_NOT_AVAILABLE before v6)
 */
import { NO_LEADER } from '../../../coordination/keys.ts'
import { metadata } from '../../../kafka/apis/03-metadata.ts'
import { ZERO_UUID } from '../../../kafka/codec/fields.ts'
import { MillraceError } from '../../../model/errors.ts'
import { isTopicName } from '../../../model/ids.ts'
import { isInternalTopic } from '../../../model/internal-topics.ts'
import type { PartitionProxy, RoutedTopic } from '../../partition-router.ts'
import { coldHandler, type KafkaCall, type RequestOf } from '../kafka-handler.ts'
import { CLUSTER_OPERATIONS, NOT_ASKED, TOPIC_OPERATIONS } from './authorised-operations.ts'

type Request = RequestOf<typeof metadata>
type TopicRequest = NonNullable<Request['topics']>[number]

const LISTENER_NOT_FOUND_SINCE = 6
const BY_ID_SINCE = 12

export const metadataHandler = coldHandler(metadata, async (call) => {
  const { gateway, version, request } = call
  const topics =
    request.topics === null || (version === 0 && request.topics.length === 0)
      ? [...gateway.router.topics()].filter((topic) => mayDescribe(call, topic)).map((topic) => describe(call, topic))
      : await Promise.all(onceEach(request.topics).map((topic) => find(call, topic)))
  return {
    brokers: call.brokers(),
    clusterId: gateway.identity.clusterId,
    controllerId: call.controllerId,
    topics,
    clusterAuthorizedOperations: request.includeClusterAuthorizedOperations ? CLUSTER_OPERATIONS : NOT_ASKED,
    errorCode: 0,
  }
})

function mayDescribe(call: KafkaCall<Request>, topic: RoutedTopic): boolean {
  return call.refusal({ kind: 'topic', name: topic.record.state.name }) === undefined
}

/** A topic named again and again would be a short request for a reply of any size. */
function onceEach(topics: readonly TopicRequest[]): TopicRequest[] {
  return [...new Map(topics.map((topic) => [topic.name ?? topic.topicId, topic])).values()]
}

async function find(call: KafkaCall<Request>, { name, topicId }: TopicRequest) {
  try {
    if (name === null) return describe(call, findById(call, topicId))
    const denied = call.refusal({ kind: 'topic', name })
    if (denied !== undefined) throw new MillraceError(denied)
    return describe(call, call.gateway.router.byName(name) ?? (await create(call, name)))
  } catch (error) {
    return { ...call.fault(error), ...{ name, topicId, isInternal: false, partitions: [] } }
  }
}

function findById(call: KafkaCall<Request>, topicId: string): RoutedTopic {
  if (call.version < BY_ID_SINCE || topicId === ZERO_UUID) throw new MillraceError('INVALID_REQUEST', 'a topic by id')
  const topic = call.gateway.router.byId(topicId)
  if (topic === undefined || !mayDescribe(call, topic)) throw new MillraceError('UNKNOWN_TOPIC_ID')
  return topic
}

async function create(call: KafkaCall<Request>, name: string): Promise<RoutedTopic> {
  const { gateway, request } = call
  if (!call.mayCreate(name)) throw new MillraceError('TOPIC_AUTHORIZATION_FAILED')
  // A name that no topic can have is no reason to ask again: UNKNOWN_TOPIC_OR_PARTITION would be one.
  if (!isTopicName(name)) throw new MillraceError('INVALID_TOPIC_EXCEPTION', `'${name}' is no name of a topic`)
  if (!request.allowAutoTopicCreation || !gateway.config.topics.autoCreate)
    throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION')
  await gateway.topicService.create({ name, partitions: -1, replicas: -1, config: {}, ifNotExists: true }, false)
  const topic = gateway.router.byName(name)
  if (topic === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION')
  return topic
}

function describe(call: KafkaCall<Request>, topic: RoutedTopic) {
  const { name } = topic.record.state
  const alive = new Set(call.brokers().map(({ nodeId }) => nodeId))
  return {
    ...{ errorCode: 0, name, topicId: topic.record.topicId, isInternal: isInternalTopic(name) },
    partitions: topic.partitions.map((partition) => partitionOf(call, partition, alive)),
    topicAuthorizedOperations: call.request.includeTopicAuthorizedOperations ? TOPIC_OPERATIONS : NOT_ASKED,
  }
}

function partitionOf(call: KafkaCall<Request>, partition: PartitionProxy, alive: ReadonlySet<number>) {
  const leaderId = call.gateway.leaderOf(partition)?.nodeId ?? NO_LEADER
  const { leaderEpoch, replicas, inSync } = partition
  const isReachable = leaderId === NO_LEADER || alive.has(leaderId)
  const fault =
    leaderId === NO_LEADER || call.version < LISTENER_NOT_FOUND_SINCE ? 'LEADER_NOT_AVAILABLE' : 'LISTENER_NOT_FOUND'
  return {
    errorCode: leaderId !== NO_LEADER && isReachable ? 0 : call.code(fault),
    partitionIndex: partition.partition,
    leaderId: isReachable ? leaderId : NO_LEADER,
    ...{ leaderEpoch, replicaNodes: replicas, isrNodes: inSync },
    offlineReplicas: replicas.filter((nodeId) => !alive.has(nodeId)),
  }
}
