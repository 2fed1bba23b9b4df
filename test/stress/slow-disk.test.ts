/**
 * A producer at full speed against a disk of 5 MB/s: it is held back, not refused; the broker's memory stays within its rings,
 * its pages and RSS_SLACK_MIB; and every record is there afterwards, once and in order.
 *
 *   npm run test:stress -- --only slow-disk [--seconds 60]
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Client, connect, type Producer } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { budgetMs } from '../support/budget.ts'
import { buildFsyncShim } from '../support/fsync-shim/fsync-shim.ts'

const TOPIC = 'flood'
const PARTITIONS = 6
const SHARDS = 2
const BYTES_PER_SECOND = 5_000_000
const RECORD_BYTES = 1024
/** Per shard: request ring, reply ring, page pool, as configured by default. */
const SHARED_MIB = SHARDS * (16 + 2 + 64)
const RSS_SLACK_MIB = 64
const SAMPLE_MS = 100
/** What the client may hold: it must feel the disk within the test's time. */
const BUFFER_BYTES = 16 * 1024 * 1024

/** Produces serials 0, 1, 2 … round the partitions as fast as it is let, until `endMs`; answers how many, and how long it waited. */
async function flood(producer: Producer, endMs: number): Promise<{ sent: number; waits: number }> {
  const filler = 'x'.repeat(RECORD_BYTES)
  let sent = 0
  let waits = 0
  await producer.ready()
  while (performance.now() < endMs) {
    for (let burst = 0; burst < 500; burst++) {
      const value = `${sent}:${filler}`.slice(0, RECORD_BYTES)
      if (!producer.enqueue({ value, partition: sent % PARTITIONS })) {
        waits++
        await producer.ready()
      } else sent++
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { sent, waits }
}

/** Every serial once, in order, in its partition. */
async function checkAll(client: Client, sent: number): Promise<void> {
  const decoder = new TextDecoder()
  const next = Array.from({ length: PARTITIONS }, (_, partition) => partition)
  let count = 0
  for await (const batch of client.consume(TOPIC, { from: 'start', to: 'end' }).batches()) {
    const cursor = batch.reader()
    while (cursor.next()) {
      const serial = Number.parseInt(decoder.decode(cursor.value!.subarray(0, 16)), 10)
      assert.equal(serial, next[batch.partition], `${TOPIC}/${batch.partition}@${cursor.offset}`)
      next[batch.partition] = serial + PARTITIONS
      count++
    }
  }
  assert.equal(count, sent)
}

test('a slow disk holds producers back, and costs neither records nor memory', {
  timeout: 600_000,
}, async (context) => {
  const shim = buildFsyncShim()
  if (shim.kind === 'unavailable') {
    context.skip(shim.reason)
    return
  }
  const floodMs = Math.min(60_000, Math.max(4_000, budgetMs(10_000)))
  const dataDir = makeDataDir()
  const folder = mkdtempSync(join(tmpdir(), 'millrace-slow-disk-'))
  const trigger = join(folder, 'trigger')
  const env = shim.slowEnvFor({ path: dataDir, bytesPerSecond: BYTES_PER_SECOND, trigger })
  const broker = await BrokerProcess.start({ dataDir, env, args: ['--shards', String(SHARDS)] })
  const client = await connect(broker.url)
  let sampler: NodeJS.Timeout | undefined
  try {
    await client.admin.topics.create(TOPIC, { partitions: PARTITIONS })
    const failures: string[] = []
    const onFailed = ({ error }: { error: Error }): void => void failures.push(error.message)
    const producer = client.producer(TOPIC, { bufferBytesMax: BUFFER_BYTES, onFailed })
    const beforeMib = broker.rssMib()
    let peakMib = beforeMib
    sampler = setInterval(() => {
      peakMib = Math.max(peakMib, broker.rssMib())
    }, SAMPLE_MS)
    writeFileSync(trigger, '')
    const startedMs = performance.now()
    const { sent, waits } = await flood(producer, startedMs + floodMs)
    const { recordsStored: stored } = producer.stats()
    const seconds = (performance.now() - startedMs) / 1000
    rmSync(trigger)
    await producer.drain()
    clearInterval(sampler)
    const mbPerSecond = (stored * RECORD_BYTES) / seconds / 1e6
    console.log(
      `slow disk: reached ${sent} records in ${seconds.toFixed(0)} s, ${mbPerSecond.toFixed(1)} MB/s stored, held back ${waits} times; ` +
        `broker RSS ${beforeMib.toFixed(0)} -> ${peakMib.toFixed(0)} MiB; ${producer.stats().batchesRetried} batches sent again`,
    )
    assert.deepEqual(failures, [], 'back-pressure, no errors')
    assert.ok(waits > 0, 'the producer was held back')
    // What is dirty when the clock stops counts as stored or not; the device is never faster than it says.
    assert.ok(stored * RECORD_BYTES <= BYTES_PER_SECOND * (seconds + 1) + 16 * 1024 * 1024, 'the disk was slow')
    assert.ok(
      peakMib - beforeMib <= SHARED_MIB + RSS_SLACK_MIB,
      `RSS grew from ${beforeMib} to ${peakMib} MiB, more than ${SHARED_MIB + RSS_SLACK_MIB}`,
    )
    await checkAll(client, sent)
  } finally {
    clearInterval(sampler)
    await broker.kill()
    await client.close({ signal: AbortSignal.timeout(2_000) }).catch(() => {})
    removeDataDir(dataDir)
    rmSync(folder, { recursive: true, force: true })
    shim.dispose()
  }
})
