/**
 * How the produce rate grows with shards, and how busy the main thread is: what `millrace bench shards` does, against a broker of
 * its own. Threads need cores: beyond cores minus the clients' the figures say how the machine shares them, not how shards scale.
 *
 *   node dist/native-free-bench/macro/shards.js [--smoke] [--runs 5] [--shards 2] [--records 1000000] [--size 1024] [--fsync interval] [--json]
 */
import { availableParallelism } from 'node:os'
import type { BenchReport } from '../../src/cli/bench/bench-target.ts'
import { runShards } from '../../src/cli/bench/shards-workload.ts'
import { type Fsync, withBroker } from '../harness/bench-broker.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'

const options = benchOptions()
const report = new Report('macro/shards', options)
const runs = options.number('runs', 5, 1)
const shards = options.number('shards', Math.max(2, availableParallelism() - 1), 2)
const fsync = options.text('fsync', 'interval') as Fsync
const plan = {
  ...({ kind: 'shards', api: 'enqueue', profile: 'throughput' } as const),
  ...{ ratePerSec: undefined, seconds: undefined, partitions: undefined },
  producers: options.text('producers', '') === '' ? undefined : options.number('producers', 1, 1),
  records: options.number('records', 1_000_000, 20_000),
  recordBytes: options.number('size', 1024, 1024),
}

const results: BenchReport[][] = Array.from({ length: shards }, () => [])
await withBroker({ profile: 'throughput', fsync, args: ['--shards', String(shards)] }, async (target) => {
  for (let run = 0; run < runs; run++)
    await runShards(target, plan, (result) => {
      report.result(`${result.shards} of ${shards} shards`, result)
      results[Number(result.shards) - 1]!.push(result)
    })
})
for (const [index, each] of results.entries()) {
  const name = `${index + 1} of ${shards} shards`
  const rates = each.map((result) => result.recordsPerSec / 1000)
  report.figure(`${name}: produce`, rates, { unit: 'k/s', better: 'higher', digits: 0 })
  const share = { unit: '', better: 'lower', digits: 2 } as const
  report.figure(
    `${name}: main thread's utilisation`,
    each.map((result) => Number(result.mainUtilisation)),
    share,
  )
  const busiest = each.map((result) => Math.max(...(result.shardUtilisation as number[])))
  report.figure(`${name}: busiest shard's utilisation`, busiest, share)
}
