/**
 * `npm run demo:cluster`, beside `npm run cluster`: streams 20,000 flights into a topic with three replicas, kills (-9) the broker that leads
 * its first partition in the middle, and checks that all of them are there, once each, those of an airport in order.
 *
 *   npm run demo:cluster [-- DATA-DIR]     the data folder of the cluster, default ./data/cluster; MILLRACE_SERVER where it listens
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, connect } from '../src/client/index.ts'
import { consumeAndCheck, loadFlights, type Row } from './flights.ts'

const [dataDir = './data/cluster'] = process.argv.slice(2)
const server = process.env.MILLRACE_SERVER || 'ws://127.0.0.1:7171'
const topic = `flights-${Date.now()}`
/** About six seconds: so that the kill is in the middle of it. */
const RECORDS_PER_SLICE = 70
const SLICE_MS = 20

interface Stream {
  acknowledged: number
  /** Partition -> when it acknowledged last. */
  readonly lastMs: Map<number, number>
  /** In which a partition acknowledged nothing. */
  longestPauseMs: number
}

/** The process of a broker on this machine: whoever holds its data dir. */
function pidOf(nodeId: number): number {
  try {
    return (JSON.parse(readFileSync(join(dataDir, `node-${nodeId}`, 'lock'), 'utf8')) as { pid: number }).pid
  } catch (error) {
    throw new Error(`node ${nodeId} does not run on ${dataDir}: npm run cluster starts a cluster there`, {
      cause: error,
    })
  }
}

async function killLeader(mq: Client): Promise<void> {
  const { partitions } = await mq.admin.topics.describe(topic)
  const leader = partitions[0]!.leaderNodeId
  process.kill(pidOf(leader), 'SIGKILL')
  console.log(`killed node ${leader} (pid ${pidOf(leader)}), which led ${topic}/0`)
}

/** Sends all rows, acknowledged by every replica that is in sync, at a steady pace; half-way somebody dies. */
async function stream(mq: Client, rows: readonly Row[]): Promise<Stream> {
  const producer = mq.producer(topic, { acks: 'all' })
  const seen: Stream = { acknowledged: 0, lastMs: new Map(), longestPauseMs: 0 }
  const receipts: Promise<void>[] = []
  let killed: Promise<void> | undefined
  for (let index = 0; index < rows.length; index++) {
    receipts.push(producer.send(rows[index]!).then(({ partition }) => onAcknowledged(seen, partition)))
    // Awaited below, all of them; until then one that fails is nobody's.
    receipts.at(-1)!.catch(() => {})
    if (index === rows.length / 2) killed = killLeader(mq)
    killed?.catch(() => {})
    if (index % RECORDS_PER_SLICE === 0) await sleep(SLICE_MS)
  }
  await Promise.all(receipts)
  await killed
  await producer.close()
  return seen
}

function onAcknowledged(seen: Stream, partition: number): void {
  const nowMs = performance.now()
  seen.acknowledged++
  seen.longestPauseMs = Math.max(seen.longestPauseMs, nowMs - (seen.lastMs.get(partition) ?? nowMs))
  seen.lastMs.set(partition, nowMs)
}

const rows = loadFlights('flights-20k.json', 'origin')
const mq = await connect(server.split(','), { clientName: 'demo-cluster' })
try {
  await mq.admin.topics.create(topic, { partitions: 6, replicas: 3, config: { 'min.insync.replicas': '2' } })
  console.log(`${topic}: 6 partitions, 3 replicas each; ${rows.length.toLocaleString('en')} flights on their way`)
  const { acknowledged, longestPauseMs } = await stream(mq, rows)
  const pause = `the longest pause of a partition: ${Math.round(longestPauseMs)} ms`
  console.log(`${acknowledged.toLocaleString('en')} acknowledged; ${pause}`)
  await consumeAndCheck(mq, topic, rows)
  console.log('all flights are there, once each, those of an airport in order')
} finally {
  await mq.close()
}
