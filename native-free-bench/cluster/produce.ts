/**
 * Produce at full speed with acks=all and three replicas, 1 KiB, one client process, and the same against a broker that is alone, in
 * turn. Every byte is taken three times, so a third of the lone broker's rate is what three brokers on its cores would reach if replication
 * cost nothing but the copies: `ratio` is the rate over that.
 */
import { type Measured, resultOf } from '../../src/cli/bench/bench-result.ts'
import { type BenchTarget, checkStored, produceJobs, withTopic } from '../../src/cli/bench/bench-target.ts'
import { runJobs } from '../../src/cli/bench/client-threads.ts'
import { CLIENT_PROFILES } from '../../src/client/client-profiles.ts'
import { type Fsync, withBroker, withBrokerCpu } from '../harness/bench-broker.ts'
import type { Values } from '../harness/values.ts'
import { type ClusterTopic, NODES } from './bench-cluster.ts'
import { type Part, type PartContext, RECORD_BYTES, repeat, sumOf } from './part.ts'

const PARTITIONS = 6
const WARM_UP_RECORDS = 20_000
const RATE = { unit: 'k/s', better: 'higher', digits: 0 } as const
const CPU = { unit: 's/M', better: 'lower', digits: 2 } as const

export const producePart: Part = {
  name: 'produce',
  profile: 'throughput',
  run: async (context) => {
    const { options, cluster } = context
    const runs = options.number('runs', 5, 1)
    const records = options.number('records', 500_000, 5_000)
    for (const fsync of options.text('fsync', options.smoke ? 'group' : 'interval,group').split(',') as Fsync[])
      await withBroker({ profile: cluster.profile, fsync }, async (alone, broker) => {
        const one = () => withBrokerCpu(broker, () => produceAlone(alone, context, records))
        const three = () => produceReplicated(context, fsync, records)
        if (!options.smoke) {
          await produceAlone(alone, context, WARM_UP_RECORDS)
          await produceReplicated(context, fsync, WARM_UP_RECORDS)
        }
        await repeat(context, runs, async (values) => {
          const single = await one()
          const replicated = await three()
          tell(context, { values, fsync }, { single, replicated })
        })
      })
  },
}

function tell(
  { report, cluster: { profile } }: PartContext,
  { values, fsync }: { values: Values; fsync: Fsync },
  {
    single,
    replicated,
  }: {
    single: { value: Measured; cpuSeconds: number }
    replicated: { value: Measured; cpu: ReadonlyMap<number, number> }
  },
): void {
  const labels = { profile, fsync, acks: 'all' } as const
  const three = resultOf(replicated.value, labels)
  const one = resultOf(single.value, labels)
  report.result(`produce, ${fsync}`, three)
  report.result(`produce alone, ${fsync}`, one)
  const millions = three.records / 1e6
  values.add(`produce, ${fsync}`, three.recordsPerSec / 1000, RATE)
  values.add(`produce, ${fsync}: a broker alone`, one.recordsPerSec / 1000, RATE)
  const ratio = three.recordsPerSec / (one.recordsPerSec / NODES.length)
  values.add(`produce, ${fsync}: ratio to a third of it`, ratio, { unit: '', better: 'higher', digits: 2 })
  values.add(`produce, ${fsync}: CPU of all brokers`, sumOf(replicated.cpu) / millions, CPU)
  for (const [nodeId, seconds] of replicated.cpu)
    values.add(`produce, ${fsync}: CPU of broker ${nodeId}`, seconds / millions, CPU)
  values.add(`produce, ${fsync}: CPU of the broker alone`, single.cpuSeconds / millions, CPU)
}

function produceAlone(target: BenchTarget, context: PartContext, records: number): Promise<Measured> {
  return withTopic(target, 'alone', PARTITIONS, (topic) => produce(target, topic, context, records))
}

async function produceReplicated(
  context: PartContext,
  fsync: Fsync,
  records: number,
): Promise<{ value: Measured; cpu: ReadonlyMap<number, number> }> {
  const { cluster } = context
  const config = { 'millrace.fsync': fsync, 'min.insync.replicas': '2' }
  return cluster.withTopic({ partitions: PARTITIONS, replicas: NODES.length, config }, (topic) =>
    cluster.withCpu(() => produce(cluster, topic, context, records)),
  )
}

/** All acknowledged, and there. */
async function produce(
  target: Pick<BenchTarget, 'client' | 'url'>,
  topic: ClusterTopic,
  { cluster }: PartContext,
  records: number,
): Promise<Measured> {
  const plan = {
    api: 'enqueue',
    records,
    recordBytes: RECORD_BYTES,
    ratePerSec: undefined,
    seconds: undefined,
  } as const
  const tuning = { name: cluster.profile, client: CLIENT_PROFILES[cluster.profile] }
  const measured = await runJobs(produceJobs(topic, plan, tuning, 1), target)
  await checkStored(target, topic, records)
  return measured
}
