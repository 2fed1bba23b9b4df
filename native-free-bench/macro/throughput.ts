/**
 * Produce and consume rates of one client process against a broker process, with the broker's CPU per million records and the raw
 * write rate of the same disk in the same run. Consuming is from the page cache, right after producing. Profile throughput.
 *
 *   1 KiB  enqueue, batches              both fsync policies
 *   100 B  enqueue, send, batches, iterate
 *
 *   node dist/native-free-bench/macro/throughput.js [--smoke] [--runs 5] [--size 1024,100] [--fsync group,interval] [--records N]
 *     [--partitions 6] [--profile throughput] [--json]
 */
import { resultOf } from '../../src/cli/bench/bench-result.ts'
import { type BenchTarget, produceJobs, tuningOf, withTopic } from '../../src/cli/bench/bench-target.ts'
import { runJobs } from '../../src/cli/bench/client-threads.ts'
import { checkSame, consumeTopic } from '../../src/cli/bench/run-bench.ts'
import type { BrokerProcess } from '../../test/support/broker-process.ts'
import { type BenchBrokerOptions, type Fsync, withBroker, withBrokerCpu } from '../harness/bench-broker.ts'
import { benchOptions } from '../harness/options.ts'
import { rawWriteMibPerSec } from '../harness/raw-limits.ts'
import { Report } from '../harness/report.ts'

const options = benchOptions()
const report = new Report('macro/throughput', options)
const runs = options.number('runs', 5, 1)
const partitions = options.number('partitions', 6, 6)
const profile = options.text('profile', 'throughput') as BenchBrokerOptions['profile']
const SMALL_BYTES = 100

interface Scene {
  readonly recordBytes: number
  readonly fsync: Fsync
  readonly records: number
  readonly write: 'enqueue' | 'send'
  /** Each reads all of it. */
  readonly read: readonly ('batches' | 'iterate')[]
}

class Values {
  readonly #values = new Map<string, number[]>()

  add(name: string, value: number): void {
    const values = this.#values.get(name)
    if (values === undefined) this.#values.set(name, [value])
    else values.push(value)
  }

  tell(prefix: string): void {
    for (const [name, values] of this.#values) {
      const isCpu = name.endsWith('CPU')
      const unit = isCpu ? 's/M' : name.endsWith('writes') ? 'MiB/s' : 'k/s'
      report.figure(`${prefix}: ${name}`, values, { unit, better: isCpu ? 'lower' : 'higher', digits: isCpu ? 2 : 0 })
    }
  }
}

function oneRun(target: BenchTarget, broker: BrokerProcess, scene: Scene, values: Values): Promise<void> {
  const { recordBytes, fsync, records, write, read } = scene
  return withTopic(target, 'throughput', partitions, async (topic) => {
    const tuning = await tuningOf(target, profile)
    const plan = { api: write, records, recordBytes, ratePerSec: undefined, seconds: undefined }
    const client = process.cpuUsage()
    const produced = await withBrokerCpu(broker, () => runJobs(produceJobs(topic, plan, tuning, 1), target))
    const { user, system } = process.cpuUsage(client)
    const labels = { profile, fsync, acks: 'all' } as const
    const result = resultOf(produced.value, labels)
    report.result(`produce ${recordBytes} B by ${write}`, result)
    values.add(`produce by ${write}`, result.recordsPerSec / 1000)
    values.add(`produce by ${write}, broker CPU`, (produced.cpuSeconds / records) * 1e6)
    values.add(`produce by ${write}, client CPU`, (user + system) / records)
    for (const api of read) {
      const plan = { api, consumers: 1, seconds: undefined }
      const consumed = await withBrokerCpu(broker, () => consumeTopic(target, topic, plan, tuning))
      checkSame(produced.value, consumed.value)
      const result = resultOf(consumed.value, labels)
      report.result(`consume ${recordBytes} B by ${api}`, result)
      values.add(`consume by ${api}`, result.recordsPerSec / 1000)
      values.add(`consume by ${api}, broker CPU`, (consumed.cpuSeconds / records) * 1e6)
    }
  })
}

async function measure(scene: Scene): Promise<void> {
  const { recordBytes, fsync, records } = scene
  const values = new Values()
  await withBroker({ profile, fsync }, async (target, broker) => {
    await oneRun(target, broker, { ...scene, records: Math.min(records, 20_000) }, new Values())
    for (let run = 0; run < runs; run++) {
      await oneRun(target, broker, scene, values)
      values.add('raw 1 MiB writes', rawWriteMibPerSec(broker.dataDir, records * recordBytes, fsync))
    }
  })
  values.tell(`${recordBytes} B, ${fsync}`)
}

const sizes = options.text('size', `1024,${SMALL_BYTES}`).split(',').map(Number)
for (const recordBytes of sizes)
  for (const fsync of options.text('fsync', 'interval,group').split(',') as Fsync[]) {
    const isSmall = recordBytes <= SMALL_BYTES
    const records = options.number('records', isSmall ? 4_000_000 : 1_000_000, 20_000)
    const read = isSmall ? (['batches', 'iterate'] as const) : (['batches'] as const)
    await measure({ recordBytes, fsync, records, write: 'enqueue', read })
    // A promise each is slower by far: fewer records show it as well.
    if (isSmall) await measure({ recordBytes, fsync, records: Math.ceil(records / 4), write: 'send', read: [] })
  }
