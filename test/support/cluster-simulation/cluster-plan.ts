/**
 * ClusterPlan: what a seed draws before its run begins: how many brokers, their times, topics, workload, and which kinds of misfortunes
 * are on (swarm testing: a run with few kinds gets deeper into each).
 */
import type { Prng } from '../../../src/base/prng.ts'
import { between, type PlannedTopic, pick } from '../simulation/seed-plan.ts'
import type { BrokerSizes } from '../simulation/simulated-broker.ts'

export const CLUSTER_FAULT_KINDS = [
  ...(['kill', 'power', 'power-all', 'mid-operation', 'stop-process', 'restart', 'rolling-restart'] as const),
  ...(['isolate', 'halves', 'one-way', 'clients-cut', 'slow-network', 'reset', 'clock-jump'] as const),
  ...(['store-cut', 'store-down', 'slow-store', 'lease-end', 'store-compact'] as const),
  ...(['slow-disk', 'disk-full', 'sync-failure', 'short-write', 'topics', 'shadow'] as const),
] as const
export type ClusterFaultKind = (typeof CLUSTER_FAULT_KINDS)[number]

/**
 * swarm   any misfortunes
 * power   the power of all brokers goes at once, again and again
 * damage  what lies on a minority's disks is damaged: bits, ends, whole folders
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
  readonly transactors: number
  readonly consumers: number
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
  const topics = [drawTopic(prng, 'a', minInsyncReplicas)]
  if (prng.below(2) === 0) topics.push(drawTopic(prng, 'b', minInsyncReplicas))
  const swarm = CLUSTER_FAULT_KINDS.filter(() => prng.below(100) < 25)
  const faults: readonly ClusterFaultKind[] = mode === 'swarm' ? swarm : mode === 'power' ? ['power-all'] : []
  return {
    ...{ nodes, shards: 1, sizes: drawSizes(prng), topics, replicas, minInsyncReplicas },
    leaseTtlMs: pick(prng, [2_000, 2_000, 4_000]),
    replicaLagMs: pick(prng, [1_000, 3_000]),
    fetchWaitMs: pick(prng, [100, 500]),
    faults,
    faultEvents: faults.length === 0 ? 0 : 1 + prng.below(4),
    faultLanes: mode === 'swarm' ? 1 + prng.below(2) : 1,
    producers: 1 + prng.below(2),
    transactors: prng.below(3) === 0 ? 0 : 1 + prng.below(2),
    consumers: 1 + prng.below(2),
    recordsPerProducer: 10 + prng.below(40),
    deviceMsMax: pick(prng, [0.4, 0.4, 5, 20]),
  }
}

function drawTopic(prng: Prng, name: string, minInsyncReplicas: number): PlannedTopic {
  const config: Record<string, string> = {
    'millrace.fsync': 'group',
    'segment.bytes': String(64 * KIB),
    'min.insync.replicas': String(minInsyncReplicas),
  }
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
