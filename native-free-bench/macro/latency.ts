/**
 * Latency with `fsync: group`, broker in a process of its own, beside what the same disk does by itself in the same run.
 *
 *   one      1 active partition, 1 KiB at 1,000/s: send() to acknowledgement, and raw append + fdatasync
 *   hundred  100 active partitions, 1 KiB at 2,000/s over all: send() to acknowledgement
 *   tail     a reader at the tail, 1 KiB at 500/s, alone and while another process reads a cold log and a third produces at full
 *            speed: from the acknowledgement's arrival to the record's, and from send() to the record's
 *
 *   node dist/native-free-bench/macro/latency.js [--smoke] [--only one|hundred|tail] [--seconds 10] [--cold-mib 4096]
 */
import '../../src/base/node/native-crc32c.ts'
import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Client, connect } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../../test/support/broker-process.ts'
import { benchOptions } from '../harness/options.ts'
import { rawSyncMs } from '../harness/raw-limits.ts'
import { percentile } from '../harness/statistics.ts'
import { produceRecords, RecordPool } from '../harness/workload.ts'

const options = benchOptions()
const seconds = options.number('seconds', 10, 1)
const only = options.text('only', '')
const RECORD_BYTES = 1024
const PACE_MS = 1

function latencyText(samples: readonly number[]): string {
  const sorted = Float64Array.from(samples)
  const at = (share: number) => percentile(sorted, share).toFixed(3)
  return `p50 ${at(0.5)}  p99 ${at(0.99)}  p99.9 ${at(0.999)}  max ${at(1)} ms  (${samples.length} samples)`
}

/** Calls `send` `perSecond` times a second for the bench's time, in steps of a millisecond; late steps are made up for. */
async function paced(perSecond: number, send: (serial: number) => void): Promise<void> {
  const startedMs = performance.now()
  let serial = 0
  for (;;) {
    const elapsedMs = performance.now() - startedMs
    if (elapsedMs > seconds * 1000) return
    const due = Math.floor((elapsedMs / 1000) * perSecond)
    while (serial < due) send(serial++)
    await new Promise((resolve) => setTimeout(resolve, PACE_MS))
  }
}

async function acknowledgementLatency(
  client: Client,
  topic: string,
  partitions: number,
  perSecond: number,
): Promise<number[]> {
  const producer = client.producer(topic)
  await producer.ready()
  const pool = new RecordPool(RECORD_BYTES)
  const samples: number[] = []
  const open: Promise<void>[] = []
  await paced(perSecond, (serial) => {
    const sentMs = performance.now()
    open.push(
      producer.send({ key: pool.key(), value: pool.value(), partition: serial % partitions }).then(() => {
        samples.push(performance.now() - sentMs)
      }),
    )
  })
  await Promise.all(open)
  await producer.close()
  return samples.slice(Math.floor(samples.length / 10))
}

async function one(client: Client, broker: BrokerProcess): Promise<void> {
  await client.admin.topics.create('one', { partitions: 1 })
  const before = rawSyncMs(broker.dataDir, RECORD_BYTES, options.smoke ? 50 : 1000)
  const samples = await acknowledgementLatency(client, 'one', 1, 1000)
  const after = rawSyncMs(broker.dataDir, RECORD_BYTES, options.smoke ? 50 : 1000)
  const rawP50 = (before.p50 + after.p50) / 2
  const p50 = percentile(Float64Array.from(samples), 0.5)
  console.log(`1 partition, 1,000/s     ack ${latencyText(samples)}`)
  console.log(
    `                         raw append + fdatasync p50 ${rawP50.toFixed(3)} ms; over it ${(p50 - rawP50).toFixed(3)} ms`,
  )
}

async function hundred(client: Client): Promise<void> {
  await client.admin.topics.create('hundred', { partitions: 100 })
  console.log(`100 partitions, 2,000/s  ack ${latencyText(await acknowledgementLatency(client, 'hundred', 100, 2000))}`)
}

interface TailSamples {
  readonly afterAck: number[]
  readonly endToEnd: number[]
}

async function tailRead(client: Client, topic: string): Promise<TailSamples> {
  const sentMs: number[] = []
  const ackedMs: number[] = []
  const arrivedMs: number[] = []
  const producer = client.producer(topic)
  await producer.ready()
  const abort = new AbortController()
  const first = await producer.send({ value: 'warm-up' })
  const reading = (async () => {
    const consumer = client.consume(topic, { from: { offset: first.offset + 1 }, signal: abort.signal })
    for await (const record of consumer) {
      const serial = new DataView(record.value!.buffer, record.value!.byteOffset).getUint32(0)
      arrivedMs[serial] = performance.now()
    }
  })().catch((error: Error) => {
    if (!abort.signal.aborted) throw error
  })
  const open: Promise<void>[] = []
  await paced(500, (serial) => {
    const value = Buffer.alloc(RECORD_BYTES, 0x5a)
    value.writeUInt32BE(serial)
    sentMs[serial] = performance.now()
    open.push(
      producer.send({ value }).then(() => {
        ackedMs[serial] = performance.now()
      }),
    )
  })
  await Promise.all(open)
  await new Promise((resolve) => setTimeout(resolve, 200))
  abort.abort()
  await reading
  await producer.close()
  const serials = [...arrivedMs.keys()]
    .filter((serial) => arrivedMs[serial] !== undefined)
    .slice(Math.floor(arrivedMs.length / 10))
  return {
    afterAck: serials.map((serial) => Math.max(0, arrivedMs[serial]! - ackedMs[serial]!)),
    endToEnd: serials.map((serial) => arrivedMs[serial]! - sentMs[serial]!),
  }
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

async function tail(client: Client, broker: BrokerProcess): Promise<void> {
  const coldMib = options.number('cold-mib', 4096, 16)
  for (const name of ['cold', 'flood', 'tail']) await client.admin.topics.create(name, { partitions: 1 })
  await produceRecords(client, { topic: 'cold', records: coldMib * 64, recordBytes: 16 * 1024 })
  const alone = await tailRead(client, 'tail')
  console.log(`tail alone               after ack ${latencyText(alone.afterAck)}`)
  console.log(`                         end to end ${latencyText(alone.endToEnd)}`)
  const cache = dropPageCache()
  const others = [role('cold-reader', broker.url), role('flood', broker.url)]
  try {
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const loaded = await tailRead(client, 'tail')
    console.log(`tail, ${cache} reader + flood after ack ${latencyText(loaded.afterAck)}`)
    console.log(`                         end to end ${latencyText(loaded.endToEnd)}`)
  } finally {
    for (const other of others) other.kill('SIGKILL')
  }
}

async function playRole(name: string): Promise<void> {
  const client = await connect(options.text('url', ''))
  if (name === 'flood') {
    for (;;) await produceRecords(client, { topic: 'flood', records: 200_000, recordBytes: RECORD_BYTES })
  }
  for (;;) {
    for await (const batch of client.consume('cold', { from: 'start', to: 'end' }).batches()) {
      const cursor = batch.reader()
      while (cursor.next()) if (cursor.value === null) throw new Error('a value is missing')
    }
  }
}

if (options.text('role', '') !== '') await playRole(options.text('role', ''))
else {
  const broker = await BrokerProcess.start({ dataDir: makeDataDir() })
  try {
    const client = await connect(broker.url)
    if (only === '' || only === 'one') await one(client, broker)
    if (only === '' || only === 'hundred') await hundred(client)
    if (only === '' || only === 'tail') await tail(client, broker)
    await client.close()
  } finally {
    await broker.stop()
    removeDataDir(broker.dataDir)
  }
}
