/**
 * ClusterPlan: what a seed draws before its run begins: how many brokers, their times, topics, workload, and which kinds of misfortunes
 * are on (swarm testing: a run with few kinds gets deeper into each).
 */
import type { Prng } from '../../../src/base/prng.ts'
import { between, type PlannedTopic, pick } from '../simulation/seed-plan.ts'
import type { BrokerSizes } from '../simulation/simulated-broker.ts'
import type { Acks } from '../simulation/workload.ts'

export const CLUSTER_FAULT_KINDS = [
  ...(['kill', 'power', 'power-all', 'mid-operation', 'stop-process', 'restart', 'rolling-restart'] as const),
  ...(['isolate', 'halves', 'one-way', 'clients-cut', 'slow-network', 'reset', 'clock-jump'] as const),
  ...(['store-cut', 'store-down', 'slow-store', 'lease-end', 'store-compact'] as const),
  ...(['slow-disk', 'disk-full', 'sync-failure', 'short-write', 'topics', 'shadow'] as const),
] as const
/** Of the other modes; not drawn by a swarm, whose seeds must stay what they are. */
export const MODE_FAULT_KINDS = ['blackout', 'damage'] as const
export type ClusterFaultKind = (typeof CLUSTER_FAULT_KINDS)[number] | (typeof MODE_FAULT_KINDS)[number]

/**
 * swarm   any misfortunes
 * power   the power of all brokers goes at once, again and again
 * damage  what lies on one broker's disk is damaged while it is away: bits, ends of files, whole folders
 *
 * In the last two all traffic is acks=all and transactions.
 */
export type ClusterMode = 'swarm' | 'power' | 'damage'

export interface ClusterPlan {
  readonly nodes: number
  readonly shards: number
  readonly sizes: BrokerSizes
  readonly topics: readonly PlannedTopic[]
  /** Replicas of every topic. */
  readonly replicas: number
  readonly minInsyncReplicas: number
  readonly leaseTtlMs: number
  readonly replicaLagMs: number
  readonly fetchWaitMs: number
  readonly faults: readonly ClusterFaultKind[]
  readonly faultEvents: number
  /** Misfortunes that come side by side. */
  readonly faultLanes: number
  readonly producers: number
  /** Of a producer one of them. */
  readonly acks: readonly Acks[]
  readonly transactors: number
  readonly consumers: number
  /** Of the group that makes a result of each record of the first topic; 0 = there is none. */
  readonly pipelineMembers: number
  /** At least; and as long as there are misfortunes. */
  readonly recordsPerProducer: number
  /** The longest a device call takes when nothing is wrong, ms. */
  readonly deviceMsMax: number
}

const KIB = 1024

export function drawClusterPlan(prng: Prng, mode: ClusterMode): ClusterPlan {
  const nodes = prng.below(5) === 0 ? 5 : 3
  const replicas = 3
  const minInsyncReplicas = 2
  // Closed segments are what no start looks into.
  const config: Record<string, string> = mode === 'damage' ? { 'segment.ms': pick(prng, ['200', '1000']) } : {}
  const topics = [drawTopic(prng, 'a', { ...config, 'min.insync.replicas': String(minInsyncReplicas) })]
  if (prng.below(2) === 0)
    topics.push(drawTopic(prng, 'b', { ...config, 'min.insync.replicas': String(minInsyncReplicas) }))
  const faults = mode === 'swarm' ? CLUSTER_FAULT_KINDS.filter(() => prng.below(100) < 25) : drawModeFaults(prng, mode)
  return {
    ...{ nodes, shards: 1, sizes: drawSizes(prng), topics, replicas, minInsyncReplicas },
    leaseTtlMs: pick(prng, [2_000, 2_000, 4_000]),
    replicaLagMs: pick(prng, [1_000, 3_000]),
    fetchWaitMs: pick(prng, [100, 500]),
    faults,
    faultEvents: faults.length === 0 ? 0 : 1 + prng.below(4),
    faultLanes: mode === 'swarm' ? 1 + prng.below(2) : 1,
    producers: 1 + prng.below(2),
    acks: mode === 'swarm' ? ['leader', 'all'] : ['all'],
    transactors: mode === 'swarm' && prng.below(3) === 0 ? 0 : 1 + prng.below(2),
    consumers: 1 + prng.below(2),
    pipelineMembers: mode === 'swarm' && prng.below(2) === 0 ? 0 : 1 + prng.below(2),
    recordsPerProducer: 10 + prng.below(40),
    deviceMsMax: pick(prng, [0.4, 0.4, 5, 20]),
  }
}

/** The mode's own, sometimes with some that are harmless by themselves: leaders and in-sync sets have changed then. */
function drawModeFaults(prng: Prng, mode: 'power' | 'damage'): readonly ClusterFaultKind[] {
  const others = ['kill', 'restart', 'stop-process', 'isolate', 'slow-disk', 'slow-network'] as const
  const own = mode === 'power' ? 'blackout' : 'damage'
  return [own, own, ...(prng.below(3) === 0 ? others.filter(() => prng.below(3) === 0) : [])]
}

function drawTopic(prng: Prng, name: string, given: Readonly<Record<string, string>>): PlannedTopic {
  const config = { 'millrace.fsync': 'group', 'segment.bytes': String(64 * KIB), ...given }
  return { name, partitions: 1 + prng.below(2), fsync: 'group', config, isTrimmed: false }
}

function drawSizes(prng: Prng): BrokerSizes {
  return {
    requestRingBytes: 256 * KIB,
    replyRingBytes: pick(prng, [64 * KIB, 128 * KIB]),
    pageBytes: pick(prng, [4 * KIB, 16 * KIB]),
    pageCount: pick(prng, [16, 64]),
    recoveryReadBytes: pick(prng, [4 * KIB, 64 * KIB]),
    shard: {
      residentBytes: pick(prng, [0, 16 * KIB, 1024 * KIB]),
      journalThresholdPartitions: pick(prng, [0, 1, 4]),
      journalBytes: pick(prng, [0, 256 * KIB]),
      checkpointMs: pick(prng, [200, 1_000, 10_000]),
      checkpointBytes: pick(prng, [32 * KIB, 1024 * KIB]),
      spaceLowBytes: 64 * KIB,
      spaceProbeBytes: 16 * KIB,
      spaceProbeMs: 500,
      retentionCheckMs: 1_000,
      statsMs: pick(prng, [200, 1_000]),
    },
  }
}

/** How long until the next misfortune, ms. */
export function drawPauseMs(prng: Prng): number {
  return between(prng, 5, pick(prng, [100, 1000, 4000]))
}
