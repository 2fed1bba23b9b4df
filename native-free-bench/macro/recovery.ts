/**
 * How long until ready.
 *
 *   killed      fsync interval, no checkpoint for the last MiB asked for, kill -9 under full load: spawn to ready
 *   partitions  many partitions: created, memory, started after a clean stop
 *
 *   node dist/native-free-bench/macro/recovery.js [--smoke] [--only killed|partitions] [--log-mib 4096] [--partitions 10000] [--runs 3] [--json]
 */
import { runProduce } from '../../src/cli/bench/produce-workload.ts'
import { connect } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../../test/support/broker-process.ts'
import '../harness/end-together.ts'
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'

const options = benchOptions()
const only = options.text('only', '')
const report = new Report('macro/recovery', options)
const runs = options.number('runs', 3, 1)
const RECORD_BYTES = 1024
const LOWER_MS = { unit: 'ms', better: 'lower', digits: 0 } as const
const LOWER_MIB = { unit: 'MiB', better: 'lower', digits: 0 } as const

/** Of one run: what it saw, by name. */
type Seen = Readonly<Record<string, number>>

function readyOf(broker: BrokerProcess): { 'ready, by its own clock': number; 'ready, from spawn': number } {
  return { 'ready, by its own clock': broker.ownReadyMs, 'ready, from spawn': broker.readyMs }
}

async function repeat(name: string, run: () => Promise<Seen>): Promise<void> {
  const seen: Seen[] = []
  for (let index = 0; index < runs; index++) seen.push(await run())
  for (const what of Object.keys(seen[0]!)) {
    const values = seen.map((each) => each[what]!)
    report.figure(`${name}: ${what}`, values, what.startsWith('memory') ? LOWER_MIB : LOWER_MS)
  }
}

async function killed(logMib: number): Promise<Seen> {
  const dataDir = makeDataDir()
  // No checkpoint by size or time while it is filled, so that recovery has all of it to read.
  const args = [
    '--set',
    'storage.fsync=interval',
    '--set',
    'storage.checkpointBytes=64GiB',
    '--set',
    'storage.checkpoint=1h',
  ]
  try {
    const broker = await BrokerProcess.start({ dataDir, args })
    const client = await connect(broker.url)
    await client.admin.topics.create('log', { partitions: 6 })
    const plan = { topic: 'log', api: 'enqueue', records: logMib * 1024, recordBytes: RECORD_BYTES } as const
    await runProduce(client, plan)
    const giveUp = new AbortController()
    const flood = runProduce(client, { ...plan, records: 1e9, signal: giveUp.signal }).catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 500))
    await broker.kill()
    giveUp.abort()
    await client.close().catch(() => {})
    await flood
    const again = await BrokerProcess.start({ dataDir, args })
    const ready = readyOf(again)
    await again.stop()
    return ready
  } finally {
    removeDataDir(dataDir)
  }
}

async function partitions(count: number): Promise<Seen> {
  const dataDir = makeDataDir()
  try {
    const broker = await BrokerProcess.start({ dataDir })
    const client = await connect(broker.url)
    const startedMs = performance.now()
    await client.admin.topics.create('many', { partitions: count })
    const createdMs = performance.now() - startedMs
    // One record each: folders, files and indexes are there for all of them.
    const producer = client.producer('many')
    await producer.ready()
    for (let partition = 0; partition < count; partition++) {
      while (!producer.enqueue({ value: `partition ${partition}`, partition })) await producer.ready()
    }
    await producer.drain()
    const touchedMs = performance.now() - startedMs - createdMs
    const rssMib = broker.rssMib()
    await client.close()
    await broker.stop()
    const again = await BrokerProcess.start({ dataDir })
    const restarted = { ...readyOf(again), 'memory after a clean stop': again.rssMib() }
    await again.stop()
    return { created: createdMs, 'one record in each': touchedMs, memory: rssMib, ...restarted }
  } finally {
    removeDataDir(dataDir)
  }
}

const logMib = options.number('log-mib', 4096, 32)
const count = options.number('partitions', 10_000, 200)
if (only === '' || only === 'killed')
  await repeat(`killed under load, ${logMib} MiB since the checkpoint`, () => killed(logMib))
if (only === '' || only === 'partitions') await repeat(`${count} partitions`, () => partitions(count))
