/**
 * Reads of bytes that lie on the disk while a long sync is under way: with `interval` nobody waits for a sync, readers neither.
 *
 *   npm run test:stress -- --only reads-beside-sync
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { buildFsyncShim } from '../support/fsync-shim/fsync-shim.ts'

const TOPIC = 'unsynced'
const RECORD_BYTES = 16 * 1024
/** Far more than what a shard reads by itself because it was just written. */
const RECORDS = 10_000
const BYTES_PER_SECOND = 8_000_000
/** What a sync of all of it takes: 20 s. Readers that wait for it cannot be done in half of that; others are within a second. */
const SYNC_MS = ((RECORDS * RECORD_BYTES) / BYTES_PER_SECOND) * 1000

test('reads do not wait for a sync of gigabytes', { timeout: 300_000 }, async (context) => {
  const shim = buildFsyncShim()
  if (shim.kind === 'unavailable') {
    context.skip(shim.reason)
    return
  }
  const dataDir = makeDataDir()
  const folder = mkdtempSync(join(tmpdir(), 'millrace-reads-beside-sync-'))
  const trigger = join(folder, 'trigger')
  const throttle = { path: dataDir, bytesPerSecond: BYTES_PER_SECOND, dirtyBytesMax: 2 ** 30, trigger }
  const args = ['--shards', '1', '--set', 'pages.poolBytes=4MiB']
  const broker = await BrokerProcess.start({ dataDir, env: shim.slowEnvFor(throttle), args })
  try {
    const client = await connect(broker.url)
    const config = { 'millrace.fsync': 'interval', 'flush.ms': '100' }
    await client.admin.topics.create(TOPIC, { partitions: 1, config })
    writeFileSync(trigger, '')
    const producer = client.producer(TOPIC)
    await producer.ready()
    const value = new Uint8Array(RECORD_BYTES).fill(120)
    for (let sent = 0; sent < RECORDS; )
      if (producer.enqueue({ value })) sent++
      else await producer.ready()
    await producer.drain()
    const startedMs = performance.now()
    let count = 0
    for await (const record of client.consume(TOPIC, { from: 'start', to: 'end' })) {
      assert.equal(record.value?.length, RECORD_BYTES)
      count++
    }
    const tookMs = performance.now() - startedMs
    context.diagnostic(`reached ${count} records in ${tookMs.toFixed(0)} ms beside a sync of ${SYNC_MS.toFixed(0)} ms`)
    assert.equal(count, RECORDS)
    assert.ok(tookMs < SYNC_MS / 2, `reading took ${tookMs} ms`)
    await client.close()
  } finally {
    await broker.kill()
    removeDataDir(dataDir)
    rmSync(folder, { recursive: true, force: true })
    shim.dispose()
  }
})
