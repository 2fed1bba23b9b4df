/**
 * `npm run demo`: starts a broker, streams two data sets of flights through it, reads everything back, and checks it:
 * the count, every record's content, and the order of the records of each key.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { type Client, connect } from '../src/client/index.ts'
import { startLocalBroker } from './local-broker.ts'

interface DataSet {
  readonly topic: string
  readonly file: string
  readonly keyField: string
}

const PARTITIONS = 6
const DATA_SETS: readonly DataSet[] = [
  { topic: 'flights-by-airport', file: 'flights-20k.json', keyField: 'origin' },
  { topic: 'flights-by-distance', file: 'flights-200k.json', keyField: 'distance' },
]

interface Row {
  readonly key: string
  readonly value: string
}

interface Result {
  readonly topic: string
  readonly records: number
  readonly keys: number
  readonly bytes: number
  readonly produceMs: number
  readonly consumeMs: number
}

// The package exports its build only: build/<file> beside data/.
const dataFolder = join(dirname(createRequire(import.meta.url).resolve('vega-datasets')), '..', 'data')

function load(set: DataSet): Row[] {
  const rows = JSON.parse(readFileSync(join(dataFolder, set.file), 'utf8')) as Record<string, unknown>[]
  return rows.map((row) => ({ key: String(row[set.keyField]), value: JSON.stringify(row) }))
}

/** Sends all rows; resolves when each is on disk. */
async function produce(mq: Client, topic: string, rows: readonly Row[]): Promise<number> {
  const producer = mq.producer(topic)
  await producer.ready()
  const startedMs = performance.now()
  for (const row of rows) while (!producer.enqueue(row)) await producer.ready()
  await producer.close()
  return performance.now() - startedMs
}

/** Reads the topic from start to end and compares: each key's records must come in the order in which they were sent. */
async function consumeAndCheck(mq: Client, topic: string, rows: readonly Row[]): Promise<number> {
  const expected = new Map<string, string[]>()
  for (const { key, value } of rows) {
    const values = expected.get(key)
    if (values === undefined) expected.set(key, [value])
    else values.push(value)
  }
  const places = new Map<string, { partition: number; next: number }>()
  const decoder = new TextDecoder()
  let count = 0
  const startedMs = performance.now()
  for await (const batch of mq.consume(topic, { from: 'start', to: 'end' }).batches()) {
    const record = batch.reader()
    while (record.next()) {
      const key = decoder.decode(record.key!)
      const place = places.get(key) ?? { partition: batch.partition, next: 0 }
      places.set(key, place)
      const where = `${topic}/${batch.partition} at offset ${record.offset}, key ${key}`
      if (place.partition !== batch.partition) throw new Error(`${where}: the key was in partition ${place.partition}`)
      const wanted = expected.get(key)?.[place.next++]
      if (decoder.decode(record.value!) !== wanted) throw new Error(`${where}: expected ${wanted ?? 'no more records'}`)
      count++
    }
  }
  const elapsedMs = performance.now() - startedMs
  if (count !== rows.length) throw new Error(`${topic}: ${rows.length} records were sent, ${count} were read`)
  return elapsedMs
}

async function run(mq: Client, set: DataSet): Promise<Result> {
  const rows = load(set)
  await mq.admin.topics.create(set.topic, { partitions: PARTITIONS })
  const produceMs = await produce(mq, set.topic, rows)
  const consumeMs = await consumeAndCheck(mq, set.topic, rows)
  const bytes = rows.reduce((sum, row) => sum + row.key.length + row.value.length, 0)
  return {
    topic: set.topic,
    records: rows.length,
    keys: new Set(rows.map((row) => row.key)).size,
    bytes,
    produceMs,
    consumeMs,
  }
}

function rate(result: Result, ms: number): string {
  const perSecond = (result.records / ms) * 1000
  const megabytes = result.bytes / 1000 / ms
  return `${Math.round(perSecond).toLocaleString('en')}/s, ${megabytes.toFixed(1)} MB/s`
}

const broker = await startLocalBroker()
try {
  const mq = await connect(broker.url)
  const { version } = await mq.broker()
  console.log(
    `millrace ${version} at ${broker.url}: ${PARTITIONS} partitions a topic, every record acknowledged after fdatasync\n`,
  )
  for (const set of DATA_SETS) {
    const result = await run(mq, set)
    console.log(`${result.topic}: ${result.records.toLocaleString('en')} records of ${set.file}, ${result.keys} keys`)
    console.log(`  produced   ${rate(result, result.produceMs)}`)
    console.log(`  read back  ${rate(result, result.consumeMs)}, each record compared, each key in order`)
  }
  await mq.close()
  console.log('\nall records are there, once each, in order')
} finally {
  await broker.stop()
}
