/**
 * What a workload measured, and the result that every benchmark of records reports. The names of BenchResult are fixed:
 * scripts read them.
 */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import type { Receipt } from '../../client/index.ts'

export interface BenchResult {
  readonly records: number
  /** Keys plus values. */
  readonly bytes: number
  readonly seconds: number
  readonly recordsPerSec: number
  readonly mibPerSec: number
  /** Of what is timed in the workload: its file says what that is. */
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly maxMs: number
  /** Sum over every record touched: equal for what was produced and what was consumed. */
  readonly checksum: number
  readonly profile: string
  readonly fsync: string
  readonly acks: string
}

/** Of one client; several are merged before they become a result. Crosses threads. */
export interface Measured {
  readonly records: number
  readonly bytes: number
  readonly seconds: number
  readonly checksum: number
  readonly latency: RecordableHistogram
  /** As the receipts say; undefined where none were seen. */
  readonly durability: Receipt['durability'] | undefined
}

const NS_PER_MS = 1e6
const MIB = 1024 * 1024

/** Nanoseconds from 1 to an hour, three digits. */
export function newLatency(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: 3_600_000 * NS_PER_MS, figures: 3 })
}

export function recordMs(latency: RecordableHistogram, milliseconds: number): void {
  latency.record(Math.max(1, Math.round(milliseconds * NS_PER_MS)))
}

/** Milliseconds below which `percent` of the samples lie; 0 without samples. */
export function latencyMs(latency: RecordableHistogram, percent: number): number {
  if (latency.count === 0) return 0
  return (percent === 100 ? latency.max : latency.percentile(percent)) / NS_PER_MS
}

export interface LatencySummary {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly maxMs: number
}

export function latencySummary(latency: RecordableHistogram): LatencySummary {
  return {
    p50Ms: latencyMs(latency, 50),
    p99Ms: latencyMs(latency, 99),
    p999Ms: latencyMs(latency, 99.9),
    maxMs: latencyMs(latency, 100),
  }
}

/** Clients that ran beside each other for `seconds`. */
export function mergeMeasured(parts: readonly Measured[], seconds: number): Measured {
  const latency = newLatency()
  let [records, bytes, checksum] = [0, 0, 0]
  for (const part of parts) {
    records += part.records
    bytes += part.bytes
    checksum += part.checksum
    latency.add(part.latency)
  }
  const durability = parts.find((part) => part.durability !== undefined)?.durability
  return { records, bytes, seconds, checksum, latency, durability }
}

export interface ResultLabels {
  readonly profile: string
  readonly acks: 'none' | 'leader' | 'all'
  /** Where the receipts do not tell. */
  readonly fsync?: string
}

export function resultOf(measured: Measured, labels: ResultLabels): BenchResult {
  const { records, bytes, seconds, checksum, latency, durability } = measured
  return {
    records,
    bytes,
    seconds,
    recordsPerSec: records / seconds,
    mibPerSec: bytes / seconds / MIB,
    ...latencySummary(latency),
    checksum,
    profile: labels.profile,
    fsync: labels.fsync ?? fsyncOf(durability),
    acks: labels.acks,
  }
}

/** The policy that a receipt's durability comes from. */
export function fsyncOf(durability: Receipt['durability'] | undefined): string {
  if (durability === undefined || durability === 'none') return 'unknown'
  return durability === 'written' ? 'interval' : 'group'
}
