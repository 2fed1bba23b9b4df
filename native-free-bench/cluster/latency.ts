/**
 * End to end at a steady rate: send() with acks=all to the record in `for await`, and to its acknowledgement; three replicas, group sync;
 * beside it the same on a topic of one replica in the same cluster, in turn.
 */
import { latencyMs, resultOf } from '../../src/cli/bench/bench-result.ts'
import { type MeasuredLatency, runLatency } from '../../src/cli/bench/latency-workload.ts'
import { NODES } from './bench-cluster.ts'
import { type Part, type PartContext, RECORD_BYTES, repeat } from './part.ts'

const PARTITIONS = 6
const LOWER_MS = { unit: 'ms', better: 'lower', digits: 2 } as const

export const latencyPart: Part = {
  name: 'latency',
  profile: 'balanced',
  run: async (context) => {
    const { options, report, cluster } = context
    const rate = options.number('rate', 1_000, 1_000)
    await repeat(context, options.number('runs', 5, 1), async (values) => {
      for (const replicas of [NODES.length, 1]) {
        const measured = await measure(context, rate, replicas)
        const labels = { profile: cluster.profile, fsync: 'group', acks: 'all' } as const
        report.result(`${rate}/s, ${replicas} replicas`, resultOf(measured, labels))
        const name = `${rate}/s, ${replicas} ${replicas === 1 ? 'replica' : 'replicas'}`
        for (const percent of [50, 99])
          values.add(`${name}: end to end p${percent}`, latencyMs(measured.latency, percent), LOWER_MS)
        for (const percent of [50, 99])
          values.add(`${name}: acknowledged p${percent}`, latencyMs(measured.acknowledged, percent), LOWER_MS)
      }
    })
  },
}

function measure({ cluster, options }: PartContext, ratePerSec: number, replicas: number): Promise<MeasuredLatency> {
  const records = Math.round(ratePerSec * options.number('seconds', 10, 0.3))
  return cluster.withTopic({ partitions: PARTITIONS, replicas }, ({ name: topic }) =>
    runLatency(cluster.client, { topic, ratePerSec, records, recordBytes: RECORD_BYTES }),
  )
}
