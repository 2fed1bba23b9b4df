/**
 * A cluster on one machine: three brokers and an etcd as processes, one shard each, and this process as their client. What they
 * share cores for is in every figure: ratios within a run say more than rates.
 *
 *   produce         acks=all, three replicas, 1 KiB: rate, CPU, and the ratio to a third of what a broker alone takes    cluster/produce.ts
 *   latency         end to end at 1,000/s, three replicas                                                                cluster/latency.ts
 *   follower-fetch  the leader's CPU for feeding a follower against feeding a consumer the same bytes             cluster/follower-fetch.ts
 *   idle            CPU of a broker with 3,000 replicated partitions and nothing to do                           cluster/many-partitions.ts
 *   leader-loss     kill -9 of a broker that leads a third of 3,000 partitions, to all led again                 cluster/many-partitions.ts
 *   failover        kill -9 of a leader to the next acknowledgement                                                     cluster/failover.ts
 *   restart         SIGTERM and start of a leader: the longest time without acknowledgements                            cluster/failover.ts
 *   surge           ten times the rate: held up, nothing lost, memory within bounds                                        cluster/surge.ts
 *
 *   node dist/native-free-bench/macro/cluster.js [--smoke] [--part NAME,NAME] [--runs N] [--json] [--cpu-prof DIR] [--lease-ttl 8000]
 *     produce [--fsync interval,group] [--records 500000] · latency [--rate 1000] [--seconds 10] · follower-fetch [--mib 512]
 *     [--tail-rate 20000] [--tail-seconds 10] · idle, leader-loss [--partitions 3000] [--seconds 20] · failover, restart [--load-rate 300] ·
 *     surge [--surge-seconds 20] [--producers 4]
 *
 * etcd is Debian's `etcd-server` (or MILLRACE_ETCD): without it nothing is measured, and that is said.
 */
import { findEtcd } from '../../test/support/etcd-process.ts'
import { BenchCluster } from '../cluster/bench-cluster.ts'
import { failoverPart, restartPart } from '../cluster/failover.ts'
import { followerFetchPart } from '../cluster/follower-fetch.ts'
import { latencyPart } from '../cluster/latency.ts'
import { idlePart, leaderLossPart } from '../cluster/many-partitions.ts'
import type { Part } from '../cluster/part.ts'
import { producePart } from '../cluster/produce.ts'
import { surgePart } from '../cluster/surge.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'

const PARTS: readonly Part[] = [
  ...[producePart, latencyPart, followerFetchPart, idlePart, leaderLossPart, failoverPart, restartPart, surgePart],
]
const options = benchOptions()
const report = new Report('macro/cluster', options)
const asked = options.text('part', '')
const parts = asked === '' ? PARTS : asked.split(',').map(partNamed)
const etcd = findEtcd()

function partNamed(name: string): Part {
  const part = PARTS.find((each) => each.name === name)
  if (part === undefined) throw new Error(`no part '${name}'. Known: ${PARTS.map((each) => each.name).join(', ')}`)
  return part
}

/** A cluster of its own for each part, or, where time is short, one for all. */
async function run(program: string): Promise<void> {
  const groups = options.smoke ? [parts] : parts.map((part) => [part])
  for (const group of groups) {
    const cluster = await BenchCluster.start(program, options.smoke ? 'balanced' : group[0]!.profile)
    try {
      for (const part of group) {
        report.note(`${part.name}:`)
        await part.run({ cluster, report, options })
      }
    } finally {
      await cluster.close()
    }
  }
}

if (etcd.kind === 'found') await run(etcd.program)
else report.note(`skipped: ${etcd.reason}`)
