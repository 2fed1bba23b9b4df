/**
 * A surge: producers of their own connections and threads that offer ten times the rate that was there before, far more than the cluster can
 * take. Wanted: backpressure (they are held up, nobody is told an error), nothing lost, memory of every broker within what its
 * configuration allows, and the old latency once it is over.
 *
 * The rate before is half of what the cluster takes at most, measured first, so that ten times it is five times too much. Memory allowed is
 * docs/deploy.md's: 100 MiB, 80 MiB a shard, limits.receiveBytes and limits.sendBytes.
 */
import { latencyMs, type Measured, resultOf } from '../../src/cli/bench/bench-result.ts'
import { checkStored, produceJobs } from '../../src/cli/bench/bench-target.ts'
import { runJobs } from '../../src/cli/bench/client-threads.ts'
import { runConsume } from '../../src/cli/bench/consume-workload.ts'
import { checkSame } from '../../src/cli/bench/run-bench.ts'
import { CLIENT_PROFILES } from '../../src/client/client-profiles.ts'
import type { Values } from '../harness/values.ts'
import { type BenchCluster, type ClusterTopic, NODES } from './bench-cluster.ts'
import { type Part, type PartContext, RECORD_BYTES, repeat } from './part.ts'

const PARTITIONS = 6
const BUDGET_MIB = 100 + 80 + 256 + 64
const FACTOR = 10
const SAMPLE_MS = 100
const RATE = { unit: 'k/s', better: 'higher', digits: 1 } as const
const LOWER_MS = { unit: 'ms', better: 'lower', digits: 1 } as const
const LOWER_MIB = { unit: 'MiB', better: 'lower', digits: 0 } as const

export const surgePart: Part = {
  name: 'surge',
  profile: 'balanced',
  run: (context) => repeat(context, context.options.number('runs', 3, 1), (values) => surge(context, values)),
}

async function surge(context: PartContext, values: Values): Promise<void> {
  const { cluster, options } = context
  const seconds = options.number('surge-seconds', 20, 0.5)
  const beside = options.number('beside-seconds', 5, 0.2)
  const config = { 'min.insync.replicas': '2' }
  await cluster.withTopic({ partitions: PARTITIONS, replicas: NODES.length, config }, async (topic) => {
    const most = await produce(context, topic, { seconds: beside })
    const base = most.records / most.seconds / 2
    const before = await produce(context, topic, { seconds: beside, ratePerSec: base })
    const memory = new MemoryWatch(cluster)
    const during = await produce(context, topic, { seconds, ratePerSec: FACTOR * base })
    const peaks = memory.end()
    const after = await produce(context, topic, { seconds: beside, ratePerSec: base })
    await checkAllThere(context, topic, [most, before, during, after])
    context.report.result('surge', resultOf(during, { profile: cluster.profile, fsync: 'group', acks: 'all' }))
    values.add('surge: rate before', base / 1000, RATE)
    values.add('surge: rate offered', (FACTOR * base) / 1000, RATE)
    values.add('surge: rate taken', during.records / during.seconds / 1000, RATE)
    for (const [name, measured] of Object.entries({ before, during, after }))
      values.add(`acknowledged p99, ${name}`, latencyMs(measured.latency, 99), LOWER_MS)
    for (const [nodeId, peak] of peaks) values.add(`surge: most memory of broker ${nodeId}`, peak, LOWER_MIB)
    values.add('surge: memory that its configuration allows', BUDGET_MIB, LOWER_MIB)
    values.add('surge: most memory of any over that', Math.max(...peaks.values()) / BUDGET_MIB, {
      ...{ unit: '', better: 'lower', digits: 2 },
    })
  })
}

/** Several producers with a connection and a thread each; resolves when all that they sent is acknowledged. */
function produce(
  { cluster, options }: PartContext,
  topic: ClusterTopic,
  plan: { readonly seconds: number; readonly ratePerSec?: number },
): Promise<Measured> {
  const { seconds, ratePerSec } = plan
  const whole = { api: 'enqueue', records: 1e9, recordBytes: RECORD_BYTES, ratePerSec, seconds } as const
  const tuning = { name: cluster.profile, client: CLIENT_PROFILES[cluster.profile] }
  return runJobs(produceJobs(topic, whole, tuning, options.number('producers', 4, 2)), cluster)
}

async function checkAllThere({ cluster }: PartContext, topic: ClusterTopic, parts: readonly Measured[]): Promise<void> {
  const records = parts.reduce((sum, part) => sum + part.records, 0)
  const checksum = parts.reduce((sum, part) => sum + part.checksum, 0)
  await checkStored(cluster, topic, records)
  const read = await runConsume(cluster.client, { topic: topic.name, api: 'batches' })
  checkSame({ ...parts[0]!, records, checksum, bytes: records * RECORD_BYTES }, read)
}

/** The most resident memory of each broker, looked at every SAMPLE_MS. */
class MemoryWatch {
  readonly #peaks = new Map<number, number>()
  readonly #timer: NodeJS.Timeout

  constructor(cluster: BenchCluster) {
    const look = (): void => {
      for (const nodeId of NODES)
        this.#peaks.set(nodeId, Math.max(this.#peaks.get(nodeId) ?? 0, cluster.broker(nodeId).rssMib()))
    }
    look()
    this.#timer = setInterval(look, SAMPLE_MS)
  }

  end(): ReadonlyMap<number, number> {
    clearInterval(this.#timer)
    return this.#peaks
  }
}
