/** The requests that change topics: thin, the decisions are in coordination/topics.ts, the order of effects in topic-service.ts. */
import { MillraceError } from '../../model/errors.ts'
import { isInternalTopic } from '../../model/internal-topics.ts'
import * as protocol from '../../protocol/index.ts'
import { ControlOperation, type TrimAnswer, type TrimBody } from '../../ring/control-messages.ts'
import { CLUSTER } from '../authorise.ts'
import type { ColdHandler } from './handler.ts'

const byName = (request: { readonly name: string }) => [{ kind: 'topic', name: request.name } as const]

/** create-topic (19). Versions: 1. */
export const createTopicHandler: ColdHandler<protocol.CreateTopicRequest, protocol.CreateTopicReply> = {
  kind: 'cold',
  codec: protocol.createTopic,
  resources: byName,
  answer: (gateway, request) => gateway.topicService.create(request, request.validateOnly),
}

/** delete-topic (20). Versions: 1. */
export const deleteTopicHandler: ColdHandler<protocol.DeleteTopicRequest, protocol.DeleteTopicReply> = {
  kind: 'cold',
  codec: protocol.deleteTopic,
  resources: byName,
  async answer(gateway, request) {
    await gateway.topicService.delete(request.name)
    return {}
  },
}

/** add-partitions (37). Versions: 1. */
export const addPartitionsHandler: ColdHandler<protocol.AddPartitionsRequest, protocol.AddPartitionsReply> = {
  kind: 'cold',
  codec: protocol.addPartitions,
  resources: byName,
  async answer(gateway, request) {
    await gateway.topicService.addPartitions(request.name, request.totalPartitions)
    return {}
  },
}

/** alter-topic-config (44). Versions: 1. */
export const alterTopicConfigHandler: ColdHandler<protocol.AlterTopicConfigRequest, protocol.AlterTopicConfigReply> = {
  kind: 'cold',
  codec: protocol.alterTopicConfig,
  resources: byName,
  async answer(gateway, request) {
    return { config: await gateway.topicService.alterConfig(request.name, request) }
  },
}

/** trim (21). Versions: 1. */
export const trimHandler: ColdHandler<protocol.TrimRequest, protocol.TrimReply> = {
  kind: 'cold',
  codec: protocol.trim,
  resources: (request) => [{ kind: 'topic-id', topicId: request.topicId }],
  async answer(gateway, request) {
    const { partition, link } = gateway.servingPartition(request.topicId, request.partition)
    if (isInternalTopic(partition.topicName))
      throw new MillraceError('INVALID_TOPIC_EXCEPTION', `${partition.topicName} belongs to the broker`)
    const body: TrimBody = { partitionRef: partition.ref, beforeOffset: request.beforeOffset }
    const { logStartOffset } = await link.control<TrimAnswer>(ControlOperation.TRIM, body)
    return { logStartOffset }
  },
}

/** describe-cluster (60). Versions: 1. */
export const describeClusterHandler: ColdHandler<protocol.DescribeClusterRequest, protocol.DescribeClusterReply> = {
  kind: 'cold',
  codec: protocol.describeCluster,
  resources: () => [CLUSTER],
  answer: async (gateway) => ({ cluster: await gateway.describeCluster() }),
}
