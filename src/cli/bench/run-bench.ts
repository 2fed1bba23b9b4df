/** One benchmark against a running broker. `millrace bench` and the macro benches of a checkout are both made of this. */

import { CLIENT_PROFILES } from '../../client/client-profiles.ts'
import type { BenchPlan, ConsumePlan, LatencyPlan, ProducePlan } from './bench-plan.ts'
import { latencyMs, type Measured, resultOf } from './bench-result.ts'
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
import { type ClientJob, runJobs } from './client-threads.ts'
import { runLatency } from './latency-workload.ts'
import { runShards } from './shards-workload.ts'

/** Tells of each result as it comes; the last one is the whole run's. */
export async function runBench(
  target: BenchTarget,
  plan: BenchPlan,
  onReport: (report: BenchReport) => void,
): Promise<void> {
  if (plan.kind === 'consume') onReport(await benchConsume(target, plan))
  else if (plan.kind === 'latency') onReport(await benchLatency(target, plan))
  else if (plan.kind === 'shards') await runShards(target, plan, onReport)
  else onReport(await benchProduce(target, plan))
}

export function benchProduce(target: BenchTarget, plan: ProducePlan): Promise<BenchReport> {
  return withTopic(target, 'produce', plan.partitions, async (topic) => {
    const tuning = await tuningOf(target, plan.profile)
    const producers = plan.producers ?? 1
    const measured = await runJobs(produceJobs(topic, plan, tuning, producers), target)
    await checkStored(target, topic, measured.records)
    const result = resultOf(measured, { profile: tuning.name, acks: ACKS })
    const { api, recordBytes: size } = plan
    return { ...result, bench: 'produce', api, size, partitions: topic.partitions, producers }
  })
}

export function benchConsume(target: BenchTarget, plan: ConsumePlan): Promise<BenchReport> {
  return withTopic(target, 'consume', plan.partitions, async (topic) => {
    const tuning = await tuningOf(target, plan.profile)
    const filled = await fillTopic(target, topic, plan)
    const measured = await consumeTopic(target, topic, plan, tuning)
    if (plan.seconds === undefined) checkSame(filled, measured)
    const { durability } = filled
    const result = resultOf({ ...measured, durability }, { profile: tuning.name, acks: ACKS })
    const { api, recordBytes: size, consumers } = plan
    return { ...result, bench: 'consume', api, size, partitions: topic.partitions, consumers }
  })
}

/** As fast as can be, not measured. */
export async function fillTopic(
  target: BenchTarget,
  topic: BenchTopic,
  plan: { readonly records: number; readonly recordBytes: number },
): Promise<Measured> {
  const tuning: Tuning = { name: 'throughput', client: CLIENT_PROFILES.throughput }
  const fill = { ...plan, api: 'enqueue', ratePerSec: undefined, seconds: undefined } as const
  const filled = await runJobs(produceJobs(topic, fill, tuning, 1), target)
  await checkStored(target, topic, filled.records)
  return filled
}

/** Everything in the topic, its partitions shared among the consumers. */
export function consumeTopic(
  target: BenchTarget,
  topic: BenchTopic,
  plan: Pick<ConsumePlan, 'api' | 'consumers' | 'seconds'>,
  tuning: Tuning,
): Promise<Measured> {
  const consumers = Math.min(plan.consumers, topic.partitions)
  const jobs = Array.from({ length: consumers }, (_, index): ClientJob => {
    const partitions = Array.from({ length: topic.partitions }, (_, partition) => partition)
    return {
      kind: 'consume',
      options: {
        ...{ topic: topic.name, api: plan.api, consumer: tuning.client.consumer },
        partitions: partitions.filter((partition) => partition % consumers === index),
        ...(plan.seconds === undefined ? {} : { seconds: plan.seconds }),
      },
    }
  })
  return runJobs(jobs, target)
}

export function checkSame(produced: Measured, consumed: Measured): void {
  for (const field of ['records', 'bytes', 'checksum'] as const)
    if (produced[field] !== consumed[field])
      throw new Error(`${field}: ${produced[field]} were produced, ${consumed[field]} consumed`)
}

export function benchLatency(target: BenchTarget, plan: LatencyPlan): Promise<BenchReport> {
  return withTopic(target, 'latency', plan.partitions, async (topic) => {
    const tuning = await tuningOf(target, plan.profile)
    const { records, recordBytes, ratePerSec, producers, consumers } = plan
    const measured = await runLatency(target.client, {
      ...{ topic: topic.name, records, recordBytes, ratePerSec, producers, consumers },
      producer: { ...tuning.client.producer, acks: ACKS },
      consumer: tuning.client.consumer,
      ...(target.signal === undefined ? {} : { signal: target.signal }),
    })
    const result = resultOf(measured, { profile: tuning.name, acks: ACKS })
    const { acknowledged } = measured
    return {
      ...{ ...result, bench: 'latency', api: 'send', size: recordBytes, partitions: topic.partitions },
      ...{ producers, consumers, rate: ratePerSec },
      ackP50Ms: latencyMs(acknowledged, 50),
      ackP99Ms: latencyMs(acknowledged, 99),
    }
  })
}
