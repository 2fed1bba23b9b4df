/**
 * What people and tools see of the cluster: this broker's own rows, and, in a cluster, what the others say of themselves.
 *
 * Thread   main
 * Failure  a broker that does not answer in ASK_MS is told of as the metadata store has it, with isSilent
 */
import type { BrokerConfig } from '../config/index.ts'
import type { ClusterIdentity } from '../coordination/cluster-identity.ts'
import { NO_LEADER } from '../coordination/keys.ts'
import { type ClusterDescription, describeCluster } from '../protocol/index.ts'
import type { ShardStats } from '../ring/control-messages.ts'
import { mainBusyMicroseconds } from '../telemetry/main-busy.ts'
import type { ClusterAgent } from './cluster/cluster-agent.ts'
import type { PartitionRouter } from './partition-router.ts'
import type { ShardLink } from './shard-link.ts'

const ASK_MS = 2_000

type BrokerRow = ClusterDescription['brokers'][number]

export interface DescriptionContext {
  readonly version: string
  readonly config: BrokerConfig
  readonly identity: ClusterIdentity
  readonly router: PartitionRouter
  readonly links: readonly ShardLink[]
  readonly cluster: ClusterAgent | undefined
  readonly advertisedUrl: string
}

export type StatsOf = (link: ShardLink) => ShardStats | undefined

/** `isAlone`: this broker's own rows only, as another broker asks for. */
export async function describe(
  context: DescriptionContext,
  statsOf: StatsOf,
  isAlone: boolean,
): Promise<ClusterDescription> {
  const { cluster, identity, router, version } = context
  const own = ownRow(context, statsOf)
  const others = cluster === undefined || isAlone ? [] : await Promise.all(otherRows(context, cluster))
  const brokers = [own, ...others].sort((left, right) => left.nodeId - right.nodeId)
  const offlineElsewhere = others
    .flatMap(({ shards }) => shards)
    .reduce((sum, shard) => sum + shard.offlinePartitions, 0)
  return {
    clusterId: identity.clusterId,
    controllerId: cluster === undefined ? identity.nodeId : (cluster.controllerNodeId ?? -1),
    version,
    brokers,
    topics: router.topicCount,
    partitions: router.partitionCount,
    offlinePartitions: router.offlineCount() + offlineElsewhere,
    ...(cluster === undefined ? {} : replicationCounts(router)),
  }
}

/** Of the gauges too. */
export function gaugesOf(link: ShardLink) {
  return {
    requestRingBytes: link.side.requests.usedBytes(),
    requestRingStalls: link.side.requests.stalls,
    stagedBytes: link.stagedBytes,
    openRequests: link.openSlots,
  }
}

function ownRow(
  { config, identity, router, links, version, advertisedUrl }: DescriptionContext,
  statsOf: StatsOf,
): BrokerRow {
  const { nodeId, incarnation } = identity
  const shards = links.map((link) => {
    const { partitions, offline } = router.countsOf(link.shard)
    return {
      ...{ shard: link.shard, state: link.state, reason: link.reason, partitions, offlinePartitions: offline },
      stats: { ...statsOf(link), ...gaugesOf(link) } as Readonly<Record<string, number>>,
    }
  })
  return {
    ...{ nodeId, url: advertisedUrl, incarnation, profile: config.profile, version, rack: config.cluster.rack },
    ...countsOf(router, nodeId),
    mainBusyMicroseconds: mainBusyMicroseconds(),
    shards,
  }
}

function otherRows({ identity, router }: DescriptionContext, cluster: ClusterAgent): Promise<BrokerRow>[] {
  return cluster
    .brokers()
    .filter(({ nodeId }) => nodeId !== identity.nodeId)
    .map(async ({ nodeId, state }): Promise<BrokerRow> => {
      const { url, incarnation, version, rack, isStopping } = state
      const isDecommissioned = cluster.image.nodes.get(nodeId)?.state.isDecommissioned === true
      const known = {
        nodeId,
        url,
        incarnation,
        version,
        rack,
        isStopping,
        isDecommissioned,
        ...countsOf(router, nodeId),
      }
      try {
        const reply = await cluster.peers.ask(nodeId, describeCluster, {}, { timeoutMs: ASK_MS })
        return { ...reply.cluster.brokers[0]!, ...known }
      } catch {
        return { ...known, shards: [], isSilent: true }
      }
    })
}

function countsOf(router: PartitionRouter, nodeId: number): { leads: number; replicas: number } {
  let leads = 0
  let replicas = 0
  for (const { partitions } of router.topics())
    for (const proxy of partitions) {
      if (proxy.leaderNodeId === nodeId) leads++
      if (proxy.replicas.includes(nodeId)) replicas++
    }
  return { leads, replicas }
}

function replicationCounts(
  router: PartitionRouter,
): Pick<ClusterDescription, 'underReplicatedPartitions' | 'leaderlessPartitions' | 'movingPartitions'> {
  const counts = { underReplicatedPartitions: 0, leaderlessPartitions: 0, movingPartitions: 0 }
  for (const { record, partitions } of router.topics())
    for (const proxy of partitions) {
      const state = record.partitions[proxy.partition]
      if (proxy.inSync.length < proxy.replicas.length) counts.underReplicatedPartitions++
      if (proxy.leaderNodeId === NO_LEADER) counts.leaderlessPartitions++
      if (state !== undefined && state.adding.length + state.removing.length > 0) counts.movingPartitions++
    }
  return counts
}
