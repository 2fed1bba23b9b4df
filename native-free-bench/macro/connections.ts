/**
 * What a broker costs before it does anything, and what connections cost it.
 *
 *   idle   spawn to ready, resident memory with nothing to do
 *   open   memory that idle connections add, and whether they are all still there
 *   kafka  the same of connections at the Kafka door, which have asked for versions and metadata
 *   cost   broker CPU per record from 1 to 1,000 producing connections, the same total rate
 *
 *   node dist/native-free-bench/macro/connections.js [--smoke] [--only idle|open|kafka|cost] [--runs 5] [--connections 10000]
 *     [--kafka-connections 2000] [--producers 1,10,100,1000] [--rate 10000] [--seconds 5] [--json]
 */

import { checkStored, withTopic } from '../../src/cli/bench/bench-target.ts'
import { RatePace } from '../../src/cli/bench/rate-pace.ts'
import { RecordPool } from '../../src/cli/bench/record-pool.ts'
import { type Client, connect, type Producer } from '../../src/client/index.ts'
import { type BrokerProcess, freePort } from '../../test/support/broker-process.ts'
import { withBroker, withBrokerCpu } from '../harness/bench-broker.ts'
import { openIdle, openIdleKafka } from '../harness/connections.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'

const options = benchOptions()
const report = new Report('macro/connections', options)
const only = options.text('only', '')
const runs = options.number('runs', 5, 1)
const broker = { profile: 'throughput', fsync: 'interval' } as const
const RECORD_BYTES = 1024
/** Memory is looked at after a while: garbage of the opening goes. */
const SETTLE_MS = options.number('settle', 3000, 200)

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, SETTLE_MS))

async function idle(): Promise<void> {
  const values = { ready: [] as number[], own: [] as number[], rss: [] as number[] }
  for (let run = 0; run < runs; run++)
    await withBroker(broker, async (_, process) => {
      await settle()
      values.ready.push(process.readyMs)
      values.own.push(process.ownReadyMs)
      values.rss.push(process.rssMib())
    })
  const lower = (unit: string) => ({ unit, better: 'lower', digits: 0 }) as const
  report.figure('idle: start to ready, from spawn', values.ready, lower('ms'))
  report.figure("idle: start to ready, by the broker's clock", values.own, lower('ms'))
  report.figure('idle: resident memory', values.rss, lower('MiB'))
}

async function open(): Promise<void> {
  const count = options.number('connections', 10_000, 100)
  const growth: number[] = []
  for (let run = 0; run < Math.min(runs, 3); run++)
    await withBroker(broker, async (_, process) => {
      await settle()
      const before = process.rssMib()
      const connections = await openIdle(process.url, count)
      await settle()
      growth.push(process.rssMib() - before)
      const there = await connectionsOf(process)
      if (there < count) throw new Error(`${there} of ${count} connections are left`)
      for (const connection of connections) connection.terminate()
    })
  report.figure(`open: memory of ${count} idle connections`, growth, { unit: 'MiB', better: 'lower' })
  const each = growth.map((mib) => (mib * 1024) / count)
  report.figure('open: memory of an idle connection', each, { unit: 'KiB', better: 'lower' })
}

async function kafka(): Promise<void> {
  const count = options.number('kafka-connections', 2_000, 100)
  const growth: number[] = []
  for (let run = 0; run < Math.min(runs, 3); run++) {
    const address = { host: '127.0.0.1', port: await freePort() }
    await withBroker({ ...broker, args: ['--kafka', `${address.host}:${address.port}`] }, async (_, process) => {
      await settle()
      const before = process.rssMib()
      const connections = await openIdleKafka(address, count)
      await settle()
      growth.push(process.rssMib() - before)
      const there = await connectionsOf(process)
      if (there < count) throw new Error(`${there} of ${count} connections are left`)
      for (const connection of connections) connection.close()
    })
  }
  report.figure(`kafka: memory of ${count} idle connections`, growth, { unit: 'MiB', better: 'lower' })
  const each = growth.map((mib) => (mib * 1024) / count)
  report.figure('kafka: memory of an idle connection', each, { unit: 'KiB', better: 'lower' })
}

async function connectionsOf(process: BrokerProcess): Promise<number> {
  const answer = await fetch(`${process.url.replace(/^ws/, 'http')}/metrics`)
  return Number(/^millrace_connections (\d+)/m.exec(await answer.text())?.[1])
}

async function cost(): Promise<void> {
  const rate = options.number('rate', 10_000, 1000)
  const seconds = options.number('seconds', 5, 1)
  for (const count of options
    .text('producers', options.smoke ? '1,10' : '1,10,100,1000')
    .split(',')
    .map(Number)) {
    const values: number[] = []
    for (let run = 0; run < runs; run++) values.push(await costOnce(count, rate, seconds))
    const name = `cost: broker CPU, ${count} producing connections, ${rate}/s in all`
    report.figure(name, values, { unit: 'µs/record', better: 'lower' })
  }
}

function costOnce(count: number, rate: number, seconds: number): Promise<number> {
  return withBroker(broker, (target, process) =>
    withTopic(target, 'cost', 6, async (topic) => {
      const clients: Client[] = []
      for (let index = 0; index < count; index++) clients.push(await connect(target.url))
      const producers = clients.map((client) => client.producer(topic.name))
      await Promise.all(producers.map((producer) => producer.ready()))
      // One record each before: producer ids and buffers are there.
      await Promise.all(producers.map((producer) => producer.send({ value: 'first' })))
      const records = rate * seconds
      const { cpuSeconds } = await withBrokerCpu(process, () => sendInTurn(producers, records, rate))
      await checkStored(target, topic, records + count)
      await Promise.all(clients.map((client) => client.close()))
      return (cpuSeconds / records) * 1e6
    }),
  )
}

async function sendInTurn(producers: readonly Producer[], records: number, rate: number): Promise<void> {
  const pool = new RecordPool({ recordBytes: RECORD_BYTES })
  const pace = new RatePace(rate)
  for (let sent = 0; sent < records; ) {
    const until = Math.min(records, sent + (await pace.due(records)))
    for (; sent < until; sent++) {
      const producer = producers[sent % producers.length]!
      const record = pool.next()
      while (!producer.enqueue(record)) await producer.ready()
    }
  }
  await Promise.all(producers.map((producer) => producer.drain()))
}

if (only === '' || only === 'idle') await idle()
if (only === '' || only === 'open') await open()
if (only === '' || only === 'kafka') await kafka()
if (only === '' || only === 'cost') await cost()
