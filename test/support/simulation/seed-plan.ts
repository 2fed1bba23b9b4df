/**
 * SeedPlan: what a seed draws before its run begins: sizes, topics, workload, and which kinds of faults are on (swarm testing: a run
 * with few kinds gets deeper into each).
 */
import type { Prng } from '../../../src/base/prng.ts'
import type { BrokerSizes } from './simulated-broker.ts'

export const FAULT_KINDS = [
  ...(['cut', 'flaky-network', 'slow-network', 'kill', 'power', 'mid-operation', 'slow-disk'] as const),
  ...(['disk-full', 'sync-failure', 'short-write', 'restart', 'shadow', 'clock-jump'] as const),
] as const
export type FaultKind = (typeof FAULT_KINDS)[number]

export interface PlannedTopic {
  readonly name: string
  readonly partitions: number
  readonly fsync: 'group' | 'interval'
  readonly config: Readonly<Record<string, string>>
  readonly isTrimmed: boolean
}

export interface SeedPlan {
  readonly shards: number
  readonly sizes: BrokerSizes
  readonly topics: readonly PlannedTopic[]
  /** Nothing goes wrong and everything is quick. */
  readonly isCalm: boolean
  readonly faults: readonly FaultKind[]
  readonly faultEvents: number
  readonly producers: number
  readonly consumers: number
  /** At least, and as long as there are misfortunes, but at most RECORDS_MAX. */
  readonly recordsPerProducer: number
  /** Misfortunes that come side by side. */
  readonly faultLanes: number
  /** The longest a device call takes when nothing is wrong, ms. */
  readonly deviceMsMax: number
  readonly hasChurn: boolean
}

export function pick<T>(prng: Prng, choices: readonly T[]): T {
  return choices[prng.below(choices.length)]!
}

export function between(prng: Prng, min: number, max: number): number {
  return min + prng.unit() * (max - min)
}

const KIB = 1024

export function drawPlan(prng: Prng): SeedPlan {
  const isCalm = prng.below(10) === 0
  const faults = FAULT_KINDS.filter(() => !isCalm && prng.below(100) < 35)
  const topics: PlannedTopic[] = [drawTopic(prng, 'group-a', 'group')]
  if (prng.below(2) === 0) topics.push(drawTopic(prng, 'interval-b', 'interval'))
  if (prng.below(2) === 0) topics.push(drawTopic(prng, 'group-c', 'group'))
  return {
    shards: pick(prng, [1, 3]),
    sizes: drawSizes(prng),
    topics,
    isCalm,
    faults,
    faultEvents: faults.length === 0 ? 0 : 1 + prng.below(5),
    faultLanes: 1 + prng.below(2),
    deviceMsMax: isCalm ? 0.4 : pick(prng, [0.4, 0.4, 5, 30]),
    producers: 1 + prng.below(3),
    consumers: 1 + prng.below(2),
    recordsPerProducer: 20 + prng.below(100),
    hasChurn: prng.below(3) === 0,
  }
}

function drawTopic(prng: Prng, name: string, fsync: 'group' | 'interval'): PlannedTopic {
  const config: Record<string, string> = {
    'millrace.fsync': fsync,
    'segment.bytes': String(64 * KIB),
    'flush.ms': String(pick(prng, [5, 50, 1000])),
  }
  return { name, partitions: 1 + prng.below(5), fsync, config, isTrimmed: prng.below(4) === 0 }
}

function drawSizes(prng: Prng): BrokerSizes {
  return {
    requestRingBytes: pick(prng, [64 * KIB, 256 * KIB]),
    replyRingBytes: pick(prng, [16 * KIB, 64 * KIB]),
    pageBytes: pick(prng, [4 * KIB, 16 * KIB]),
    pageCount: pick(prng, [16, 64]),
    recoveryReadBytes: pick(prng, [4 * KIB, 64 * KIB]),
    shard: {
      residentBytes: pick(prng, [0, 16 * KIB, 1024 * KIB]),
      drainBytesMax: pick(prng, [4 * KIB, 64 * KIB]),
      journalThresholdPartitions: pick(prng, [0, 1, 4]),
      journalBytes: pick(prng, [0, 256 * KIB, 1024 * KIB]),
      checkpointMs: pick(prng, [50, 500, 10_000]),
      checkpointBytes: pick(prng, [32 * KIB, 1024 * KIB]),
      spaceLowBytes: 64 * KIB,
      spaceProbeBytes: 16 * KIB,
      spaceProbeMs: 100,
      retentionCheckMs: 300,
      // Stats wake a shard: often, and so rarely that a lost wake-up shows.
      statsMs: pick(prng, [50, 1_000_000]),
    },
  }
}
