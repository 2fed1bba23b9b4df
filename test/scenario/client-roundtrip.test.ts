/** The client against a real broker process: what goes in comes out, with one shard and with three. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../../src/client/index.ts'
import { hasCode } from '../support/expect.ts'
import { withTestBroker } from '../support/test-broker.ts'

const decoder = new TextDecoder()

for (const shards of ['1', '3']) {
  test(`records, order, positions and administration with ${shards} shard(s)`, async (t) => {
    await withTestBroker({ args: ['--shards', shards] }, async (broker) => {
      await using mq = await connect(broker.url)

      await t.test('50,000 keyed records come back once each, each key in order', async () => {
        await mq.admin.topics.create('keyed', { partitions: 6 })
        const producer = mq.producer('keyed')
        await producer.ready()
        for (let index = 0; index < 50_000; index++)
          while (
            !producer.enqueue({ key: `key-${index % 97}`, value: `${index}`, headers: [{ key: 'n', value: 'x' }] })
          )
            await producer.ready()
        await producer.drain()
        const last = new Map<string, number>()
        const next = new Map<number, number>()
        let count = 0
        for await (const record of mq.consume('keyed', { from: 'start', to: 'end' })) {
          const key = decoder.decode(record.key!)
          const value = Number(decoder.decode(record.value!))
          assert.equal(key, `key-${value % 97}`)
          assert.equal(value, (last.get(key) ?? (value % 97) - 97) + 97, `order of ${key}`)
          last.set(key, value)
          assert.equal(record.offset, next.get(record.partition) ?? 0)
          next.set(record.partition, record.offset + 1)
          assert.equal(record.headers[0]!.key, 'n')
          count++
        }
        assert.equal(count, 50_000)
      })

      await t.test('receipts say where, and that it is on disk', async () => {
        await mq.admin.topics.create('receipts', { partitions: 1 })
        const producer = mq.producer('receipts')
        const receipts = await producer.sendMany([{ value: 'a' }, { value: 'b' }, { value: null, key: 'gone' }])
        assert.deepEqual(
          receipts.map((receipt) => receipt.offset),
          [0, 1, 2],
        )
        for (const receipt of receipts) assert.match(receipt.durability, /fsynced|replicated/)
        const leader = await mq.producer('receipts', { acks: 'leader' }).send({ value: 'c' })
        assert.equal(leader.offset, 3)
        const none = await mq.producer('receipts', { acks: 'none' }).send({ value: 'd' })
        assert.equal(none.durability, 'none')
        const all: (string | null)[] = []
        for await (const record of mq.consume('receipts', { from: 'start' })) {
          all.push(record.value === null ? null : decoder.decode(record.value))
          if (all.length === 5) break
        }
        assert.deepEqual(all, ['a', 'b', null, 'c', 'd'])
      })

      await t.test('every compression comes back', async () => {
        await mq.admin.topics.create('packed', { partitions: 1 })
        const value = 'the same words over and over, '.repeat(200)
        for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)
          await mq.producer('packed', { compression }).send({ value })
        let count = 0
        for await (const record of mq.consume('packed', { from: 'start', to: 'end' })) {
          assert.equal(decoder.decode(record.value!), value)
          count++
        }
        assert.equal(count, 5)
      })

      await t.test('positions by time, from the end and after the start', async () => {
        await mq.admin.topics.create('timed', { partitions: 1 })
        const producer = mq.producer('timed', { batchBytesMax: 1024 })
        const records = Array.from({ length: 300 }, (_, index) => ({
          value: `${index}`,
          timestampMs: 1_000_000 + index,
        }))
        await producer.sendMany(records)
        const offset = async (position: Parameters<typeof mq.admin.topics.offsets>[1]): Promise<number> =>
          (await mq.admin.topics.offsets('timed', position))[0]!.offset
        assert.equal(await offset('start'), 0)
        assert.equal(await offset('end'), 300)
        assert.equal(await offset({ time: 1_000_123 }), 123)
        assert.equal(await offset({ time: 5_000_000 }), 300)
        assert.equal(await offset({ last: 5 }), 295)
        assert.equal(await offset({ skip: 5 }), 5)
      })

      await t.test('a waiting reader wakes at once', async () => {
        await mq.admin.topics.create('waiting', { partitions: 6 })
        const consumer = mq.consume('waiting', { from: 'end', waitMs: 30_000 })
        await consumer.start()
        const iterator = consumer[Symbol.asyncIterator]()
        for (let index = 0; index < 12; index++) {
          const next = iterator.next()
          const startedMs = performance.now()
          await mq.producer('waiting').send({ value: `${index}`, partition: index % 6 })
          const { value } = await next
          assert.equal(decoder.decode(value.value), `${index}`)
          assert.ok(performance.now() - startedMs < 10_000, 'woke by the record, not by the timeout')
        }
        await consumer.close()
      })

      await t.test('topics are made, described, altered, trimmed and deleted', async () => {
        const { topics } = mq.admin
        const config = { 'retention.ms': '60000' }
        assert.equal((await topics.create('managed', { partitions: 2, config })).created, true)
        assert.equal((await topics.create('managed', { ifNotExists: true })).created, false)
        await assert.rejects(topics.create('managed'), hasCode('TOPIC_ALREADY_EXISTS'))
        await assert.rejects(topics.create('bad name'), hasCode('INVALID_TOPIC_EXCEPTION'))
        await assert.rejects(
          topics.create('other', { config: { nonsense: '1' } }),
          hasCode('INVALID_CONFIG', /nonsense/),
        )
        assert.ok((await topics.list()).some((topic) => topic.name === 'managed'))
        await mq
          .producer('managed')
          .sendMany(Array.from({ length: 10 }, (_, index) => ({ value: `${index}`, partition: 0 })))
        const trimmed = await topics.trim('managed', { before: 4, partitions: [0] })
        assert.deepEqual(trimmed, [{ partition: 0, offset: 4 }])
        const described = await topics.describe('managed')
        assert.equal(described.config['retention.ms'], '60000')
        assert.deepEqual(
          described.partitions.map(({ logStartOffset, highWatermark }) => [logStartOffset, highWatermark]),
          [
            [4, 10],
            [0, 0],
          ],
        )
        const gone = mq.consume('managed', { from: { offset: 1 }, partitions: [0] })
        await assert.rejects(gone[Symbol.asyncIterator]().next(), hasCode('OFFSET_OUT_OF_RANGE', /\[4, 10\]/))
        assert.equal((await topics.alter('managed', { set: { 'retention.ms': '70000' } }))['retention.ms'], '70000')
        await topics.alter('managed', { partitions: 5 })
        assert.equal((await topics.describe('managed')).partitions.length, 5)
        await topics.delete('managed')
        await assert.rejects(topics.describe('managed'), hasCode('UNKNOWN_TOPIC_OR_PARTITION'))
        await assert.rejects(topics.delete('managed'), hasCode('UNKNOWN_TOPIC_OR_PARTITION'))
      })

      await t.test('a batch larger than the topic allows fails alone, by name', async () => {
        await mq.admin.topics.create('small', { partitions: 1, config: { 'max.message.bytes': '2048' } })
        const producer = mq.producer('small')
        await producer.send({ value: 'fits' })
        await assert.rejects(producer.send({ value: 'x'.repeat(4_000) }), hasCode('MESSAGE_TOO_LARGE'))
        assert.equal((await producer.send({ value: 'fits again' })).offset, 1)
      })

      await t.test('a record larger than batchBytesMax goes alone, up to what topic and broker take', async () => {
        const config = { 'max.message.bytes': String(4 * 1024 * 1024) }
        await mq.admin.topics.create('large', { partitions: 1, config })
        const sizes = [10, 300_000, 900_000, 20, 3_000_000, 4_000_000, 30]
        const sent = sizes.map((bytes, index) => ({ value: new Uint8Array(bytes).fill(index + 1) }))
        const receipts = await mq.producer('large').sendMany(sent)
        assert.deepEqual(
          receipts.map(({ offset }) => offset),
          sizes.map((_, index) => index),
        )
        let offset = 0
        for await (const record of mq.consume('large', { from: 'start', to: 'end' }))
          assert.ok(Buffer.from(record.value!).equals(sent[offset++]!.value), `record ${offset}`)
        assert.equal(offset, sizes.length)
        const tooLarge = { value: new Uint8Array(5_000_000) }
        await assert.rejects(
          mq.producer('large').send(tooLarge),
          hasCode('MESSAGE_TOO_LARGE', /5000000 bytes .* raise /),
        )
        // The topic sets nothing of its own: the broker knows the limit, and says it.
        await mq.admin.topics.create('usual', { partitions: 1 })
        await assert.rejects(
          mq.producer('usual').send({ value: new Uint8Array(2_000_000) }),
          hasCode('MESSAGE_TOO_LARGE', /2000\d+ bytes, the limit is 1048576; raise max\.message\.bytes/),
        )
      })

      await t.test('memory stays bounded while a slow reader reads and a fast writer writes', async () => {
        await mq.admin.topics.create('slow', { partitions: 3 })
        const bufferBytesMax = 2 * 1024 * 1024
        const producer = mq.producer('slow', { bufferBytesMax })
        await producer.ready()
        const value = new Uint8Array(1_000)
        for (let index = 0; index < 20_000; index++)
          while (!producer.enqueue({ value })) {
            assert.ok(producer.stats().bufferedBytes <= bufferBytesMax + 256 * 1024)
            await producer.ready()
          }
        await producer.drain()
        const prefetchBytesMax = 2 * 1024 * 1024
        const consumer = mq.consume('slow', { from: 'start', to: 'end', prefetchBytesMax, fetchBytesMax: 1024 * 1024 })
        let count = 0
        for await (const batch of consumer.batches()) {
          await new Promise((resolve) => setTimeout(resolve, 1))
          assert.ok(consumer.stats().bufferedBytes <= prefetchBytesMax + 2 * 1024 * 1024)
          const record = batch.reader()
          while (record.next()) count++
        }
        assert.equal(count, 20_000)
      })
    })
  })
}
