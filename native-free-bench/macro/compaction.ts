/**
 * Compaction: many updates of few keys shrink to the latest values, which are compared with a model; and what compaction costs those who
 * append to the same partition meanwhile: the rate of the same updates while the pool compacts what was written before, and while it does not.
 *
 *   node dist/native-free-bench/macro/compaction.js [--smoke] [--updates 10000000] [--keys 100000] [--size 100] [--runs 1] [--fsync interval] [--json]
 */
import type { Client } from '../../src/client/index.ts'
import { type Fsync, withBroker } from '../harness/bench-broker.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'

const options = benchOptions()
const report = new Report('macro/compaction', options)
const runs = options.number('runs', 1, 1)
const updates = options.number('updates', 10_000_000, 60_000)
const keys = options.number('keys', 100_000, 500)
const valueBytes = options.number('size', 100, 100)
const fsync = options.text('fsync', 'interval') as Fsync
const segmentBytes = options.smoke ? 256 * 1024 : 32 * 1024 * 1024

const CHUNK = Math.max(1_000, Math.min(100_000, updates / 20))
const TURN = 1_000
const HOUR_MS = 3_600_000
const WAIT_MS = 600_000
const ARGS = ['--shards', '1', '--set', 'storage.compactionCheck=200ms', '--set', 'storage.checkpoint=1s']
const CONFIG = {
  'cleanup.policy': 'compact',
  'segment.bytes': String(segmentBytes),
  'min.cleanable.dirty.ratio': '0.2',
}
const padding = 'x'.repeat(valueBytes)
const decoder = new TextDecoder()

/** The last update of each key: the model. */
class Updates {
  readonly last = new Float64Array(keys).fill(-1)
  count = 0

  next(): { key: string; value: string } {
    // Every key comes, in an order that does not repeat from round to round.
    const key = (this.count * 7919 + Math.floor(this.count / keys) * 31) % keys
    this.last[key] = this.count
    return { key: `key-${key}`, value: `${this.count++}/${padding}`.slice(0, valueBytes) }
  }
}

interface Seen {
  readonly withoutPerSec: number
  readonly duringPerSec: number
  readonly duringSeconds: number
  readonly compactions: number
  readonly records: number
}

async function statsOf(client: Client): Promise<Readonly<Record<string, number>>> {
  return (await client.admin.describeCluster()).brokers[0]!.shards[0]!.stats ?? {}
}

/** Produces a chunk, all acknowledged; answers the seconds it took. */
async function produceChunk(producer: ReturnType<Client['producer']>, source: Updates, count: number): Promise<number> {
  const startedMs = performance.now()
  for (let sent = 0; sent < count; sent++) {
    const record = source.next()
    while (!producer.enqueue(record)) await producer.ready()
    if (sent % TURN === TURN - 1) await new Promise((resolve) => setImmediate(resolve))
  }
  await producer.drain()
  return (performance.now() - startedMs) / 1000
}

/** Reads all and compares with the model; answers the records there are. */
async function check(client: Client, name: string, source: Updates): Promise<number> {
  const found = new Float64Array(keys).fill(-1)
  let records = 0
  for await (const { key, value } of client.consume(name, { from: 'start', to: 'end' })) {
    found[Number(decoder.decode(key!).slice(4))] = Number(decoder.decode(value!).split('/')[0])
    records++
  }
  for (let key = 0; key < keys; key++)
    if (found[key] !== source.last[key])
      throw new Error(`key-${key}: the log says update ${found[key]}, the last one was ${source.last[key]}`)
  return records
}

async function run(client: Client, name: string): Promise<Seen> {
  await client.admin.topics.create(name, {
    partitions: 1,
    config: { ...CONFIG, 'min.compaction.lag.ms': String(HOUR_MS) },
  })
  const source = new Updates()
  const producer = client.producer(name)
  await producer.ready()
  const before = await statsOf(client)
  // The first tenth warms client and broker up.
  await produceChunk(producer, source, updates / 10)
  const without = { records: 0, seconds: 0 }
  while (source.count < updates / 2) {
    without.seconds += await produceChunk(producer, source, CHUNK)
    without.records += CHUNK
  }
  await client.admin.topics.alter(name, { set: { 'min.compaction.lag.ms': '0' } })
  const during = { records: 0, seconds: 0 }
  let wasRunning = false
  while (source.count < updates) {
    const count = Math.min(CHUNK, updates - source.count)
    const seconds = await produceChunk(producer, source, count)
    const isRunning = (await statsOf(client)).compactionsRunning === 1
    if (isRunning && wasRunning) {
      during.seconds += seconds
      during.records += count
    }
    wasRunning = isRunning
  }
  await producer.close()
  const records = await shrunk(client, name, source)
  const after = await statsOf(client)
  return {
    withoutPerSec: without.records / without.seconds,
    duringPerSec: during.seconds === 0 ? 0 : during.records / during.seconds,
    duringSeconds: during.seconds,
    compactions: after.compactions! - before.compactions!,
    records,
  }
}

/** Has all of it compacted, the active segment rolled for that, until one record a key is left; compares each time. */
async function shrunk(client: Client, name: string, source: Updates): Promise<number> {
  await client.admin.topics.alter(name, {
    set: { 'min.cleanable.dirty.ratio': '0', 'max.compaction.lag.ms': '1000' },
  })
  for (const untilMs = performance.now() + WAIT_MS; ; ) {
    const records = await check(client, name, source)
    if (records === keys) return records
    if (performance.now() > untilMs) throw new Error(`${records} records after ${WAIT_MS} ms, ${keys} were expected`)
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}

await withBroker({ profile: 'throughput', fsync, args: ARGS }, async ({ client }) => {
  const seen: Seen[] = []
  for (let index = 0; index < runs; index++) seen.push(await run(client, `state-${index}`))
  const figure = (what: string, values: number[], unit: string, better: 'higher' | 'lower', digits: number) =>
    report.figure(`${updates} updates of ${keys} keys: ${what}`, values, { unit, better, digits })
  const of = (what: keyof Seen, scale = 1) => seen.map((each) => each[what] / scale)
  figure('append without compaction', of('withoutPerSec', 1000), 'k/s', 'higher', 0)
  const measured = seen.filter(({ duringSeconds }) => duringSeconds > 0)
  // A small run is over before the rate could be taken twice while it is compacted.
  if (measured.length > 0) {
    figure(
      'append during compaction',
      measured.map(({ duringPerSec }) => duringPerSec / 1000),
      'k/s',
      'higher',
      0,
    )
    figure(
      'during / without',
      measured.map((each) => each.duringPerSec / each.withoutPerSec),
      '',
      'higher',
      2,
    )
    figure(
      'seconds of that',
      measured.map(({ duringSeconds }) => duringSeconds),
      's',
      'lower',
      1,
    )
  }
  figure('compactions', of('compactions'), '', 'lower', 0)
  figure('records that are left', of('records'), '', 'lower', 0)
})
