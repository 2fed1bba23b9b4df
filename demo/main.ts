/**
 * `npm run demo`: starts a broker, streams two data sets of flights through it, reads everything back, and checks it:
 * the count, every record's content, and the order of the records of each key.
 */
import { type Client, connect } from '../src/client/index.ts'
import { consumeAndCheck, loadFlights, type Row } from './flights.ts'
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

interface Result {
  readonly topic: string
  readonly records: number
  readonly keys: number
  readonly bytes: number
  readonly produceMs: number
  readonly consumeMs: number
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

async function run(mq: Client, set: DataSet): Promise<Result> {
  const rows = loadFlights(set.file, set.keyField)
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
