/**
 * How a broker's rate grows with its shards: produces to partitions of one shard, then of two, up to all it has, each time as
 * many producers as shards, and says how busy the broker's main thread and those shards were meanwhile. Where partitions lie
 * is asked of the broker's HTTP API, on the same port.
 *
 * Failure  a cluster of several brokers is measured at the first
 */
import { MillraceError } from '../../model/errors.ts'
import type { ClusterDescription } from '../../protocol/index.ts'
import type { ProducePlan } from './bench-plan.ts'
import { resultOf } from './bench-result.ts'
import {
  ACKS,
  type BenchReport,
  type BenchTarget,
  type BenchTopic,
  checkStored,
  produceJobs,
  type Tuning,
  tuningOf,
  withTopic,
} from './bench-target.ts'
import { runJobs } from './client-threads.ts'

const PARTITIONS_PER_SHARD = 2

type Broker = ClusterDescription['brokers'][number]

export async function runShards(
  target: BenchTarget,
  plan: ProducePlan,
  onReport: (report: BenchReport) => void,
): Promise<void> {
  const tuning = await tuningOf(target, plan.profile)
  const all = (await brokerOf(target)).shards.filter((shard) => shard.state === 'serving').map(({ shard }) => shard)
  for (let count = 1; count <= all.length; count++)
    onReport(await produceToShards(target, plan, tuning, { shards: all.slice(0, count), of: all.length }))
}

function produceToShards(
  target: BenchTarget,
  plan: ProducePlan,
  tuning: Tuning,
  { shards, of }: { readonly shards: readonly number[]; readonly of: number },
): Promise<BenchReport> {
  return withTopic(target, 'shards', plan.partitions ?? of * PARTITIONS_PER_SHARD, async (topic) => {
    const partitions = await partitionsOn(target, topic, shards)
    const producers = plan.producers ?? shards.length
    const before = await brokerOf(target)
    const startedMs = performance.now()
    const measured = await runJobs(produceJobs(topic, plan, tuning, producers, partitions), target)
    const elapsedMs = performance.now() - startedMs
    const after = await brokerOf(target)
    await checkStored(target, topic, measured.records)
    return {
      ...resultOf(measured, { profile: tuning.name, acks: ACKS }),
      ...{ bench: 'shards', api: plan.api, size: plan.recordBytes, partitions: partitions.length, producers },
      shards: shards.length,
      mainUtilisation: shareOf(after.mainBusyMicroseconds, before.mainBusyMicroseconds, elapsedMs),
      shardUtilisation: shards.map((shard) => shareOf(busyOf(after, shard), busyOf(before, shard), elapsedMs)),
    }
  })
}

async function brokerOf({ client, signal }: BenchTarget): Promise<Broker> {
  const { brokers } = await client.admin.describeCluster(signal === undefined ? {} : { signal })
  return brokers[0]!
}

function busyOf(broker: Broker, shard: number): number | undefined {
  return broker.shards[shard]?.stats?.busyMicroseconds
}

/** Busy time between two readings as a share of the time between them, 0 to 1; null where the broker does not tell. */
export function shareOf(after: number | undefined, before: number | undefined, elapsedMs: number): number | null {
  if (after === undefined || before === undefined) return null
  return Math.min(1, Math.max(0, (after - before) / 1000 / elapsedMs))
}

interface TopicAnswer {
  readonly partitionList: readonly { readonly partition: number; readonly shard: number }[]
}

async function partitionsOn(target: BenchTarget, topic: BenchTopic, shards: readonly number[]): Promise<number[]> {
  const { url } = await target.client.broker()
  const headers = target.token === undefined ? {} : { authorization: `Bearer ${target.token}` }
  const path = `${url.replace(/^ws/, 'http').replace(/\/$/, '')}/api/v1/topics/${topic.name}`
  const response = await fetch(path, { headers, ...(target.signal === undefined ? {} : { signal: target.signal }) })
  if (!response.ok) throw new MillraceError('UNKNOWN_SERVER_ERROR', `${path} answers HTTP ${response.status}`)
  const { partitionList } = (await response.json()) as TopicAnswer
  const partitions = partitionList.filter(({ shard }) => shards.includes(shard)).map(({ partition }) => partition)
  const reached = new Set(partitionList.map(({ shard }) => shard))
  const missing = shards.filter((shard) => !reached.has(shard))
  if (missing.length > 0)
    throw new MillraceError(
      'INVALID_ARGUMENT',
      `the topic's ${topic.partitions} partitions leave out shard ${missing.join(', ')}: give more --partitions`,
    )
  return partitions
}
