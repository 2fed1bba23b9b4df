/**
 * Latency at a steady rate, 1 KiB, one partition: the call of produce to the acknowledgement, and to the record at the consumer, by
 * librdkafka and by the native client, in turn; both without linger, the broker with profile latency.
 */
import { latencyMs } from '../../src/cli/bench/bench-result.ts'
import { withTopic } from '../../src/cli/bench/bench-target.ts'
import { runLatency } from '../../src/cli/bench/latency-workload.ts'
import { CLIENT_PROFILES } from '../../src/client/client-profiles.ts'
import { type BenchBrokerOptions, type Fsync, withBroker, withBrokerCpu } from '../harness/bench-broker.ts'
import { Values } from '../harness/values.ts'
import type { KafkaPart } from './kafka-part.ts'
import { runLibrdkafka } from './librdkafka.ts'

const RECORD_BYTES = 1024
const PARTITIONS = 1
const MS = { unit: 'ms', better: 'lower', digits: 3 } as const
const CPU = { unit: 'µs', better: 'lower', digits: 0 } as const

export const latencyPart: KafkaPart = {
  name: 'latency',
  async run({ report, options, librdkafka }) {
    const profile = options.text('profile', 'latency') as BenchBrokerOptions['profile']
    const fsync = options.text('fsync', 'interval') as Fsync
    const ratePerSec = options.number('rate', 1000, 1000)
    const records = Math.round(ratePerSec * options.number('seconds', 10, 0.3))
    const runs = options.number('runs', 5, 1)
    const values = new Values()
    const scene = `${ratePerSec}/s, ${fsync}`
    await withBroker({ profile, fsync, kafka: true }, async (target, broker) => {
      const native = () =>
        withTopic(target, 'latency', PARTITIONS, async ({ name: topic }) => {
          const { producer, consumer } = CLIENT_PROFILES.latency
          const plan = { topic, ratePerSec, records, recordBytes: RECORD_BYTES, producer, consumer }
          const { value, cpuSeconds } = await withBrokerCpu(broker, () => runLatency(target.client, plan))
          for (const percent of [50, 99] as const) {
            values.add(`${scene}: native, acknowledgement p${percent}`, latencyMs(value.acknowledged, percent), MS)
            values.add(`${scene}: native, end to end p${percent}`, latencyMs(value.latency, percent), MS)
          }
          values.add(`${scene}: native, broker CPU a record`, (cpuSeconds / records) * 1e6, CPU)
        })
      const kafka = (program: string) =>
        withTopic(target, 'latency', PARTITIONS, async ({ name: topic }) => {
          const run = { mode: 'latency', address: broker.kafka, topic, partitions: PARTITIONS, records } as const
          const settings = ['linger.ms=0']
          const { value, cpuSeconds } = await withBrokerCpu(broker, () =>
            runLibrdkafka(program, { ...run, recordBytes: RECORD_BYTES, ratePerSec, settings }),
          )
          values.add(`${scene}: librdkafka, acknowledgement p50`, value.ackP50Ms, MS)
          values.add(`${scene}: librdkafka, acknowledgement p99`, value.ackP99Ms, MS)
          values.add(`${scene}: librdkafka, end to end p50`, value.p50Ms, MS)
          values.add(`${scene}: librdkafka, end to end p99`, value.p99Ms, MS)
          values.add(`${scene}: librdkafka, broker CPU a record`, (cpuSeconds / records) * 1e6, CPU)
        })
      for (let run = 0; run < runs; run++) {
        await native()
        if (librdkafka.kind === 'found') await kafka(librdkafka.program)
      }
    })
    values.tell(report)
  },
}
