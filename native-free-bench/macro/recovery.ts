/**
 * How long until ready.
 *
 *   killed      fsync interval, no checkpoint for the last MiB asked for, kill -9 under full load: spawn to ready
 *   partitions  many partitions: created, memory, started after a clean stop
 *
 *   node dist/native-free-bench/macro/recovery.js [--smoke] [--only killed|partitions] [--log-mib 4096] [--partitions 10000]
 */
import '../../src/base/node/native-crc32c.ts'
import { connect } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../../test/support/broker-process.ts'
import { benchOptions } from '../harness/options.ts'
import { produceRecords } from '../harness/workload.ts'

const options = benchOptions()
const only = options.text('only', '')
const RECORD_BYTES = 1024

function readyText(broker: BrokerProcess): string {
  return `ready in ${broker.ownReadyMs.toFixed(0)} ms by its own clock, ${broker.readyMs.toFixed(0)} ms from spawn`
}

async function killed(): Promise<void> {
  const logMib = options.number('log-mib', 4096, 32)
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
    await produceRecords(client, { topic: 'log', records: logMib * 1024, recordBytes: RECORD_BYTES })
    const giveUp = new AbortController()
    const endless = { topic: 'log', records: 1_000_000_000, recordBytes: RECORD_BYTES, signal: giveUp.signal }
    const flood = produceRecords(client, endless).catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 500))
    await broker.kill()
    giveUp.abort()
    await client.close().catch(() => {})
    await flood
    const again = await BrokerProcess.start({ dataDir, args })
    console.log(`killed under load, ${logMib} MiB unchecked log: ${readyText(again)}`)
    await again.stop()
  } finally {
    removeDataDir(dataDir)
  }
}

async function partitions(): Promise<void> {
  const count = options.number('partitions', 10_000, 200)
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
    console.log(
      `${count} partitions: created in ${createdMs.toFixed(0)} ms, one record in each in ${touchedMs.toFixed(0)} ms, RSS ${rssMib.toFixed(0)} MiB`,
    )
    console.log(`  after a clean stop: ${readyText(again)}, RSS ${again.rssMib().toFixed(0)} MiB`)
    await again.stop()
  } finally {
    removeDataDir(dataDir)
  }
}

if (only === '' || only === 'killed') await killed()
if (only === '' || only === 'partitions') await partitions()
