/**
 * What many partitions cost a producer: the rate to 10,000 partitions against that to 10, with the same client buffer, records
 * spread by random keys; the two take turns. How long a broker with so many partitions needs to start: macro/recovery.
 *
 *   node dist/native-free-bench/macro/partitions.js [--smoke] [--pairs 5] [--partitions 10000] [--records 500000] [--size 1024]
 *     [--fsync interval,group] [--json]
 */

import { resultOf } from '../../src/cli/bench/bench-result.ts'
import {
  type BenchTarget,
  type BenchTopic,
  checkStored,
  produceJobs,
  tuningOf,
  withTopic,
} from '../../src/cli/bench/bench-target.ts'
import { runJobs } from '../../src/cli/bench/client-threads.ts'
import { type Fsync, withBroker } from '../harness/bench-broker.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'

const options = benchOptions()
const report = new Report('macro/partitions', options)
const pairs = options.number('pairs', 5, 1)
const many = options.number('partitions', 10_000, 100)
const FEW = 10
const plan = {
  ...({ api: 'enqueue', ratePerSec: undefined, seconds: undefined } as const),
  records: options.number('records', 500_000, 20_000),
  recordBytes: options.number('size', 1024, 1024),
}

async function rate(target: BenchTarget, fsync: Fsync, topic: BenchTopic, before: number): Promise<number> {
  const tuning = await tuningOf(target, 'throughput')
  const measured = await runJobs(produceJobs(topic, plan, tuning, 1), target)
  await checkStored(target, topic, before + measured.records)
  const result = resultOf(measured, { profile: tuning.name, fsync, acks: 'all' })
  report.result(`${topic.partitions} partitions, ${fsync}`, result)
  return result.recordsPerSec
}

function measure(fsync: Fsync): Promise<void> {
  return withBroker({ profile: 'throughput', fsync }, (target) =>
    withTopic(target, 'few', FEW, (few) =>
      withTopic(target, 'many', many, async (lots) => {
        const rates: { few: number; many: number }[] = []
        // The first pair makes files and indexes of every partition: it does not count.
        for (let pair = 0; pair <= pairs; pair++) {
          const before = pair * plan.records
          const ofFew = await rate(target, fsync, few, before)
          rates.push({ few: ofFew, many: await rate(target, fsync, lots, before) })
        }
        rates.shift()
        const higher = { unit: 'k/s', better: 'higher', digits: 0 } as const
        const of = (pick: (pair: (typeof rates)[number]) => number): number[] => rates.map(pick)
        report.figure(
          `${fsync}: ${FEW} partitions`,
          of((pair) => pair.few / 1000),
          higher,
        )
        report.figure(
          `${fsync}: ${many} partitions`,
          of((pair) => pair.many / 1000),
          higher,
        )
        const ratios = of((pair) => pair.many / pair.few)
        report.figure(`${fsync}: ${many} against ${FEW}`, ratios, { unit: '', better: 'higher', digits: 2 })
      }),
    ),
  )
}

for (const fsync of options.text('fsync', 'interval,group').split(',')) await measure(fsync as Fsync)
