/**
 * Many readers of the same records: consumers at the tail of one partition, and what the broker's CPU is per MiB delivered to
 * them, beside what a plain socket needs per MiB sent (client library's socket, 64 KiB frames, in the same run). What it costs to
 * take the records in is in it, spread over all that is delivered. The producer lingers so that a delivery is about as large as
 * one of those frames; without lingering each delivery is a record or two, and what is seen is the price of a message.
 *
 *   node dist/native-free-bench/macro/fan-out.js [--smoke] [--runs 5] [--consumers 100] [--rate 2500] [--linger 25,0] [--seconds 5] [--json]
 */

import { type BenchTarget, withTopic } from '../../src/cli/bench/bench-target.ts'
import { runProduce } from '../../src/cli/bench/produce-workload.ts'
import { touch } from '../../src/cli/bench/record-pool.ts'
import { type Client, connect } from '../../src/client/index.ts'
import type { BrokerProcess } from '../../test/support/broker-process.ts'
import { withBroker, withBrokerCpu } from '../harness/bench-broker.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'
import { socketLimit } from '../harness/socket-limit.ts'

const options = benchOptions()
const report = new Report('macro/fan-out', options)
const runs = options.number('runs', 5, 1)
const consumers = options.number('consumers', 100, 10)
const rate = options.number('rate', 2500, 1000)
const seconds = options.number('seconds', 5, 1)
const RECORD_BYTES = 1024
const MIB = 2 ** 20

/** Reads until `records` have come; answers the checksum of what came. */
async function readTail(client: Client, topic: string, records: number): Promise<number> {
  let [left, checksum] = [records, 0]
  for await (const batch of client.consume(topic, { from: 'start' }).batches()) {
    const cursor = batch.reader()
    while (cursor.next()) {
      checksum += touch(cursor.key!, cursor.value!)
      left--
    }
    if (left <= 0) break
  }
  return checksum
}

function oneRun(target: BenchTarget, broker: BrokerProcess, lingerMs: number): Promise<number> {
  return withTopic(target, 'fan-out', 1, async (topic) => {
    const clients: Client[] = []
    for (let index = 0; index < consumers; index++) clients.push(await connect(target.url))
    const records = rate * seconds
    const reading = Promise.all(clients.map((client) => readTail(client, topic.name, records)))
    const { value, cpuSeconds } = await withBrokerCpu(broker, async () => {
      const plan = { topic: topic.name, api: 'enqueue', records, recordBytes: RECORD_BYTES, ratePerSec: rate } as const
      const produced = await runProduce(target.client, { ...plan, producer: { lingerMs } })
      return { produced, checksums: await reading }
    })
    if (value.checksums.some((checksum) => checksum !== value.produced.checksum))
      throw new Error('a consumer did not get what was produced')
    await Promise.all(clients.map((client) => client.close()))
    return cpuSeconds / ((records * RECORD_BYTES * consumers) / MIB)
  })
}

const lower = { unit: 'ms/MiB', better: 'lower', digits: 2 } as const

async function measure(lingerMs: number): Promise<void> {
  const values = { broker: [] as number[], socket: [] as number[], ratio: [] as number[] }
  await withBroker({ profile: 'throughput', fsync: 'interval' }, async (target, broker) => {
    for (let run = 0; run < runs; run++) {
      const socket = (await socketLimit(options.number('mib', 1024, 32) * MIB)).cpuSecondsPerMib
      const delivered = await oneRun(target, broker, lingerMs)
      values.broker.push(delivered * 1e3)
      values.socket.push(socket * 1e3)
      values.ratio.push(delivered / socket)
    }
  })
  const name = `${consumers} consumers, ${rate}/s, linger ${lingerMs} ms`
  report.figure(`${name}: broker CPU per MiB delivered`, values.broker, lower)
  report.figure(`${name}: plain socket, CPU per MiB sent`, values.socket, lower)
  report.figure(`${name}: ratio`, values.ratio, { ...lower, unit: '' })
}

for (const lingerMs of options.text('linger', '25,0').split(',')) await measure(Number(lingerMs))
