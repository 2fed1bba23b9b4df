/** The requests that change topics: thin, the decisions are in coordination/topics.ts, the order of effects in topic-service.ts. */
import { MillraceError } from '../../model/errors.ts'
import { isInternalTopic } from '../../model/internal-topics.ts'
import * as protocol from '../../protocol/index.ts'
import { ControlOperation, type TrimAnswer, type TrimBody } from '../../ring/control-messages.ts'
import { CLUSTER, type Principal } from '../authorise.ts'
import type { TopicAdmin } from '../topic-admin.ts'
import type { ColdHandler } from './handler.ts'
import type { HandlerContext } from './handler-context.ts'

/** What another broker sends on is for the controller, which this broker is or is not: it is not sent on again. */
export function adminOf(gateway: HandlerContext, principal: Principal | undefined): TopicAdmin {
  return principal?.isBroker === true && gateway.cluster !== undefined
    ? gateway.cluster.localController()
    : gateway.topicService
}

const byName = (request: { readonly name: string }) => [{ kind: 'topic', name: request.name } as const]

/** create-topic (19). Versions: 1. */
export const createTopicHandler: ColdHandler<protocol.CreateTopicRequest, protocol.CreateTopicReply> = {
  kind: 'cold',
  codec: protocol.createTopic,
  resources: byName,
  answer: (gateway, request, { principal }) =>
    adminOf(gateway, principal).create(
      request,
      request.validateOnly,
      principal?.isBroker === true ? 'broker' : 'client',
    ),
}

/** delete-topic (20). Versions: 1. */
export const deleteTopicHandler: ColdHandler<protocol.DeleteTopicRequest, protocol.DeleteTopicReply> = {
  kind: 'cold',
  codec: protocol.deleteTopic,
  resources: byName,
  async answer(gateway, request, { principal }) {
    await adminOf(gateway, principal).delete(request.name)
    return {}
  },
}

/** add-partitions (37). Versions: 1. */
export const addPartitionsHandler: ColdHandler<protocol.AddPartitionsRequest, protocol.AddPartitionsReply> = {
  kind: 'cold',
  codec: protocol.addPartitions,
  resources: byName,
  async answer(gateway, request, { principal }) {
    const { name, totalPartitions, drain } = request
    const admin = adminOf(gateway, principal)
    await (drain ? admin.drainPartitions(name, totalPartitions) : admin.addPartitions(name, totalPartitions))
    return {}
  },
}

/** alter-topic-config (44). Versions: 1. */
export const alterTopicConfigHandler: ColdHandler<protocol.AlterTopicConfigRequest, protocol.AlterTopicConfigReply> = {
  kind: 'cold',
  codec: protocol.alterTopicConfig,
  resources: byName,
  async answer(gateway, request, { principal }) {
    return { config: await adminOf(gateway, principal).alterConfig(request.name, request) }
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
  answer: async (gateway, _, { principal }) => ({
    cluster: await gateway.describeCluster(principal?.isBroker === true),
  }),
}
