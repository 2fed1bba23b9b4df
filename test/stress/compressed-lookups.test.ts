/**
 * Lookups by time in packed batches, again and again: each unpacks a batch on a shard's thread, and the shard gives it back.
 *
 *   npm run test:stress -- --only compressed-lookups [--seconds 60]
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { budgetMs } from '../support/budget.ts'

const TOPIC = 'packed'
const RECORDS = 200
const RECORD_BYTES = 1024
/** What they unpack to is five times what memory may grow by: all of it would be a leak, the rest is when a busy machine collects. */
const LOOKUPS_MIN = 3_200
const AT_ONCE = 16
const RSS_GROWTH_MIB_MAX = 128
/** Warm up as it is measured: so many under way need buffers of their own once. */
const WARM_UP_ROUNDS = 20

for (const compression of ['snappy', 'lz4', 'zstd', 'gzip'] as const)
  test(`lookups by time in batches packed with ${compression}`, { timeout: 300_000 }, async (context) => {
    const dataDir = makeDataDir()
    const broker = await BrokerProcess.start({ dataDir, args: ['--shards', '1'] })
    try {
      const client = await connect(broker.url)
      await client.admin.topics.create(TOPIC, { partitions: 1 })
      const producer = client.producer(TOPIC, { compression, lingerMs: 50 })
      const sent = Array.from({ length: RECORDS }, (_, index) =>
        producer.send({ value: 'x'.repeat(RECORD_BYTES), timestampMs: 1_000_000 + index }),
      )
      const receipts = await Promise.all(sent)
      const wanted = receipts[RECORDS - 1]!.offset
      const lookUp = async () => {
        const consumer = client.consume(TOPIC, { from: { time: 1_000_000 + RECORDS - 1 }, to: 'end' })
        let count = 0
        for await (const record of consumer) {
          assert.equal(record.offset, wanted)
          count++
        }
        assert.equal(count, 1)
      }
      const round = () => Promise.all(Array.from({ length: AT_ONCE }, lookUp))
      for (let count = 0; count < WARM_UP_ROUNDS; count++) await round()
      const beforeMib = broker.rssMib()
      const endMs = performance.now() + budgetMs(8_000) / 4
      let lookups = 0
      while (lookups < LOOKUPS_MIN || performance.now() < endMs) {
        await round()
        lookups += AT_ONCE
      }
      const growthMib = broker.rssMib() - beforeMib
      context.diagnostic(`reached ${lookups} lookups, broker RSS +${growthMib.toFixed(0)} MiB`)
      assert.ok(growthMib <= RSS_GROWTH_MIB_MAX, `RSS grew by ${growthMib} MiB in ${lookups} lookups`)
      await client.close()
    } finally {
      await broker.kill()
      removeDataDir(dataDir)
    }
  })
