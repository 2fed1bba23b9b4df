/** metadata: from the gateway's own tables; creates topics asked for by name where topics.autoCreate is set. Versions: 1. */

import { NO_LEADER } from '../../coordination/keys.ts'
import { errorNumberOf, isMillraceError, MillraceError } from '../../model/errors.ts'
import { type MetadataReply, type MetadataRequest, type MetadataTopic, metadata } from '../../protocol/index.ts'
import { CLUSTER } from '../authorise.ts'
import type { RoutedTopic } from '../partition-router.ts'
import type { ColdHandler } from './handler.ts'
import type { HandlerContext } from './handler-context.ts'

export const metadataHandler: ColdHandler<MetadataRequest, MetadataReply> = {
  kind: 'cold',
  codec: metadata,
  resources: (request) =>
    request.topics === null || request.topics.length === 0
      ? [CLUSTER]
      : request.topics.map((name) => ({ kind: 'topic', name })),
  async answer(gateway, request) {
    const { clusterId } = gateway.identity
    const topics =
      request.topics === null
        ? [...gateway.router.topics()].map((topic) => describe(gateway, topic))
        : // Once each: a name repeated is a short request for a reply of any size.
          await Promise.all([...new Set(request.topics)].map((name) => find(gateway, name)))
    return { clusterId, brokers: gateway.liveBrokers(), controllerId: gateway.controllerId, topics }
  },
}

async function find(gateway: HandlerContext, name: string): Promise<MetadataTopic> {
  try {
    const topic = gateway.router.byName(name) ?? (await create(gateway, name))
    return describe(gateway, topic)
  } catch (error) {
    if (!isMillraceError(error)) throw error
    const errorNumber = errorNumberOf(error.code)
    return {
      errorNumber,
      errorText: error.message,
      name,
      topicId: '',
      config: {},
      partitions: [],
      drainFrom: -1,
      revision: -1,
    }
  }
}

async function create(gateway: HandlerContext, name: string): Promise<RoutedTopic> {
  if (!gateway.config.topics.autoCreate)
    throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic '${name.slice(0, 249)}'`)
  await gateway.topicService.create({ name, partitions: -1, replicas: -1, config: {}, ifNotExists: true }, false)
  const topic = gateway.router.byName(name)
  if (topic === undefined) throw new MillraceError('UNKNOWN_TOPIC_OR_PARTITION', `the topic ${name} was deleted again`)
  return topic
}

function describe(gateway: HandlerContext, topic: RoutedTopic): MetadataTopic {
  return {
    errorNumber: 0,
    errorText: '',
    name: topic.record.state.name,
    topicId: topic.record.topicId,
    config: topic.record.state.config,
    drainFrom: topic.record.state.drainFrom ?? -1,
    revision: topic.record.modRevision,
    partitions: topic.partitions.map((partition) => {
      const leader = gateway.leaderOf(partition)?.nodeId ?? NO_LEADER
      const { leaderEpoch, replicas, inSync, state, reason } = partition
      // A replica that is offline here is led elsewhere, or by nobody.
      const offline = leader === NO_LEADER && state === 'offline' ? (reason ?? 'offline') : null
      return { leaderNodeId: leader, leaderEpoch, offline, replicas, inSync }
    }),
  }
}
