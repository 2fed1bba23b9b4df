/**
 * Latency, broker in a process of its own, beside what the same disk does by itself in the same run.
 *
 *   end-to-end  send() to `for await`, 1 KiB, profile latency: 1,000/s with both fsync policies, 10,000/s with interval
 *   one         1 active partition, 1 KiB at 1,000/s, group: send() to acknowledgement, and raw append + fdatasync
 *   closed      the same, one record after the other
 *   hundred     100 active partitions, 1 KiB at 2,000/s over all, group: send() to acknowledgement
 *   tail        a reader at the tail, 1 KiB at 500/s, group, alone and while another process reads a cold log and a third produces
 *               at full speed: send() to `for await`, and the acknowledgement's arrival to the record's
 *
 *   node dist/native-free-bench/macro/latency.js [--smoke] [--only end-to-end|one|closed|hundred|tail] [--runs 5] [--seconds 10]
 *     [--profile latency] [--cold-mib 4096] [--json]
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import type { RecordableHistogram } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { latencyMs, newLatency, recordMs, resultOf } from '../../src/cli/bench/bench-result.ts'
import { type BenchTarget, withTopic } from '../../src/cli/bench/bench-target.ts'
import { runConsume } from '../../src/cli/bench/consume-workload.ts'
import { type MeasuredLatency, runLatency } from '../../src/cli/bench/latency-workload.ts'
import { runProduce } from '../../src/cli/bench/produce-workload.ts'
import { RecordPool } from '../../src/cli/bench/record-pool.ts'
import { type Client, connect } from '../../src/client/index.ts'
import type { BrokerProcess } from '../../test/support/broker-process.ts'
import { type BenchBrokerOptions, type Fsync, withBroker } from '../harness/bench-broker.ts'
import { benchOptions } from '../harness/options.ts'
import { rawSyncMs } from '../harness/raw-limits.ts'
import { Report } from '../harness/report.ts'

const options = benchOptions()
const report = new Report('macro/latency', options)
const runs = options.number('runs', 5, 1)
const seconds = options.number('seconds', 10, 0.3)
const only = options.text('only', '')
const profile = options.text('profile', 'latency') as BenchBrokerOptions['profile']
const RECORD_BYTES = 1024
const LOWER_MS = { unit: 'ms', better: 'lower', digits: 3 } as const
const PERCENTS = [50, 99, 99.9] as const

function measure(
  target: BenchTarget,
  scene: { readonly rate: number; readonly partitions: number; readonly fsync: Fsync },
): Promise<MeasuredLatency> {
  return withTopic(target, 'latency', scene.partitions, async (topic) => {
    const plan = {
      topic: topic.name,
      ratePerSec: scene.rate,
      records: Math.round(scene.rate * seconds),
      recordBytes: RECORD_BYTES,
    }
    const measured = await runLatency(target.client, plan)
    report.result(`${scene.rate}/s, ${scene.fsync}`, resultOf(measured, { profile, fsync: scene.fsync, acks: 'all' }))
    return measured
  })
}

function tell(name: string, histograms: readonly RecordableHistogram[]): void {
  for (const percent of PERCENTS)
    report.figure(
      `${name} p${percent}`,
      histograms.map((each) => latencyMs(each, percent)),
      LOWER_MS,
    )
}

/** p50 of the disk itself, milliseconds. */
function rawSync(broker: BrokerProcess): number {
  return rawSyncMs(broker.dataDir, RECORD_BYTES, options.smoke ? 50 : 1000).p50
}

async function endToEnd(rate: number, fsync: Fsync): Promise<void> {
  const measured: MeasuredLatency[] = []
  const raw: number[] = []
  await withBroker({ profile, fsync }, async (target, broker) => {
    for (let run = 0; run < runs; run++) {
      const before = rawSync(broker)
      measured.push(await measure(target, { rate, partitions: 6, fsync }))
      raw.push((before + rawSync(broker)) / 2)
    }
  })
  tell(
    `end to end, ${rate}/s, ${fsync}`,
    measured.map(({ latency }) => latency),
  )
  if (fsync !== 'group') return
  report.figure('raw append + fdatasync of the same run p50', raw, LOWER_MS)
  const over = measured.map(({ latency }, run) => latencyMs(latency, 50) - raw[run]!)
  report.figure(`end to end, ${rate}/s, ${fsync} p50 over it`, over, LOWER_MS)
}

async function acknowledged(name: string, partitions: number, rate: number): Promise<void> {
  const histograms: RecordableHistogram[] = []
  const raw: number[] = []
  await withBroker({ profile, fsync: 'group' }, async (target, broker) => {
    for (let run = 0; run < runs; run++) {
      const before = rawSync(broker)
      histograms.push((await measure(target, { rate, partitions, fsync: 'group' })).acknowledged)
      raw.push((before + rawSync(broker)) / 2)
    }
  })
  tell(`${name}: acknowledgement`, histograms)
  report.figure(`${name}: raw append + fdatasync of the same run p50`, raw, LOWER_MS)
}

async function closedLoop(): Promise<void> {
  const histograms: RecordableHistogram[] = []
  await withBroker({ profile, fsync: 'group' }, (target) =>
    withTopic(target, 'closed', 1, async (topic) => {
      const producer = target.client.producer(topic.name)
      const pool = new RecordPool({ recordBytes: RECORD_BYTES })
      for (let run = 0; run < runs; run++) {
        const latency = newLatency()
        const endMs = performance.now() + seconds * 1000
        for (let sentMs = performance.now(); sentMs < endMs; sentMs = performance.now()) {
          await producer.send(pool.next())
          recordMs(latency, performance.now() - sentMs)
        }
        histograms.push(latency)
      }
      await producer.close()
    }),
  )
  tell('1 partition, one after the other: acknowledgement', histograms)
}

function role(name: string, url: string): ChildProcess {
  return spawn(process.execPath, [fileURLToPath(import.meta.url), '--role', name, '--url', url], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
}

/** Drops the page cache, where that is allowed; otherwise the "cold" log is warm, and says so. */
function dropPageCache(): 'cold' | 'warm' {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3')
    return 'cold'
  } catch {
    return 'warm'
  }
}

async function tail(): Promise<void> {
  const records = options.number('cold-mib', 4096, 16) * 64
  await withBroker({ profile, fsync: 'group' }, async (target, broker) => {
    for (const name of ['cold', 'flood']) await target.client.admin.topics.create(name, { partitions: 1 })
    await runProduce(target.client, { topic: 'cold', api: 'enqueue', records, recordBytes: 16 * 1024 })
    const scene = { rate: 500, partitions: 1, fsync: 'group' } as const
    const alone: MeasuredLatency[] = []
    for (let run = 0; run < runs; run++) alone.push(await measure(target, scene))
    const cache = dropPageCache()
    const others = [role('cold-reader', broker.url), role('flood', broker.url)]
    try {
      await new Promise((resolve) => setTimeout(resolve, 1000))
      const loaded: MeasuredLatency[] = []
      for (let run = 0; run < runs; run++) loaded.push(await measure(target, scene))
      for (const [name, all] of [
        ['tail alone', alone],
        [`tail, ${cache} reader + flood`, loaded],
      ] as const) {
        tell(
          `${name}: end to end`,
          all.map(({ latency }) => latency),
        )
        tell(
          `${name}: acknowledgement's arrival to the record's`,
          all.map((each) => each.afterAcknowledged),
        )
      }
    } finally {
      for (const other of others) other.kill('SIGKILL')
    }
  })
}

/** The other processes of `tail`: they go on until they are killed. */
async function playRole(name: string, client: Client): Promise<never> {
  for (;;) {
    if (name === 'flood')
      await runProduce(client, { topic: 'flood', api: 'enqueue', records: 200_000, recordBytes: RECORD_BYTES })
    else await runConsume(client, { topic: 'cold', api: 'batches' })
  }
}

if (options.text('role', '') !== '') await playRole(options.text('role', ''), await connect(options.text('url', '')))
if (only === '' || only === 'end-to-end') {
  await endToEnd(1000, 'interval')
  await endToEnd(1000, 'group')
  await endToEnd(10_000, 'interval')
}
if (only === '' || only === 'one') await acknowledged('1 partition, 1000/s', 1, 1000)
if (only === '' || only === 'closed') await closedLoop()
if (only === '' || only === 'hundred') await acknowledged('100 partitions, 2000/s', 100, 2000)
if (only === '' || only === 'tail') await tail()
