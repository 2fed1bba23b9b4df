/** Producers while partitions drain: what was on its way to one goes to others, once, in its order; what names one is told. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { systemPrng } from '../../src/base/node/system-prng.ts'
import { Client } from '../../src/client/client.ts'
import { inProcessConfig } from '../../src/in-process/in-process-config.ts'
import { InThreadBroker } from '../../src/in-process/in-thread-broker.ts'
import { MemoryDisk } from '../../src/in-process/local-storage.ts'
import { SILENT } from '../../src/in-process/silent-logger.ts'
import { systemTime } from '../../src/in-process/time-source.ts'
import { createBroker } from '../../src/index.ts'
import { nodeCodecs } from '../../src/record/node-codecs.ts'
import { hasCode } from '../support/expect.ts'

const decoder = new TextDecoder()
const KEYS = 20

interface Stored {
  readonly partition: number
  readonly key: string
  readonly value: number
}

async function withTopic(body: (mq: Client, admin: Client['admin']) => Promise<void>): Promise<void> {
  const broker = await createBroker({ storage: 'memory' })
  try {
    const mq = broker.client()
    await mq.admin.topics.create('t', { partitions: 6 })
    // Of another client: what it changes this one hears of by a refusal.
    await body(mq, broker.client().admin)
  } finally {
    await broker.close()
  }
}

async function stored(mq: Client): Promise<Stored[]> {
  const records: Stored[] = []
  for await (const { partition, key, value } of mq.consume('t', { from: 'start', to: 'end' }))
    records.push({ partition, key: decoder.decode(key!), value: Number(decoder.decode(value!)) })
  return records
}

for (const compression of ['none', 'gzip'] as const)
  test(`keyed records go on while four of six partitions drain, each stored once (${compression})`, () =>
    withTopic(async (mq, admin) => {
      const producer = mq.producer('t', { batchBytesMax: 2_048, lingerMs: 1, compression })
      const count = 6_000
      const sends: Promise<{ partition: number }>[] = []
      for (let value = 0; value < count; value++) {
        const headers = [{ key: 'h', value: 'x' }]
        sends.push(producer.send({ key: `k${value % KEYS}`, value: String(value), headers }))
        if (value === 2_000) await admin.topics.addPartitions('t', 2, { drain: true })
        if (value % 500 === 499) await new Promise((resolve) => setTimeout(resolve, 2))
      }
      const receipts = await Promise.all(sends)
      const { recordsEnqueued, recordsStored, recordsFailed, bufferedBytes } = producer.stats()
      assert.deepEqual([recordsEnqueued, recordsStored, recordsFailed, bufferedBytes], [count, count, 0, 0])
      const records = await stored(mq)
      assert.deepEqual(
        records.map(({ value }) => value).sort((left, right) => left - right),
        Array.from({ length: count }, (_, value) => value),
      )
      for (const { value, partition } of records) assert.equal(receipts[value]!.partition, partition, `record ${value}`)
      assert.ok(records.filter(({ value }) => value >= 4_000).every(({ partition }) => partition < 2))
      const last = new Map<string, number>()
      for (const { partition, key, value } of records.filter((record) => record.partition < 2)) {
        assert.ok((last.get(`${partition} ${key}`) ?? -1) < value, `${key} in order, at ${value}`)
        last.set(`${partition} ${key}`, value)
      }
    }))

test('a producer that learns of it by a refusal loses nothing of what it has ready', () =>
  withTopic(async (mq, admin) => {
    const producer = mq.producer('t', { lingerMs: 0 })
    for (let value = 0; value < 60; value++) await producer.send({ key: `k${value % KEYS}`, value: String(value) })
    const other = mq.producer('t')
    await admin.topics.addPartitions('t', 1, { drain: true })
    for (let value = 60; value < 200; value++)
      while (!producer.enqueue({ key: `k${value % KEYS}`, value: String(value) })) await producer.ready()
    await producer.drain()
    const records = await stored(mq)
    assert.equal(records.length, 200)
    assert.ok(records.filter(({ value }) => value >= 60).every(({ partition }) => partition === 0))
    await assert.rejects(
      other.send({ value: 'x', partition: 3 }),
      hasCode('POLICY_VIOLATION', /t\/3: the partition drains/),
    )
    assert.equal((await other.send({ value: '0', key: 'x' })).partition, 0)
  }))

test('a transaction that was sent to a partition that drains fails; the next one is not', () =>
  withTopic(async (mq, admin) => {
    const producer = mq.producer('t', { transactionalId: 'a' })
    const keys = Array.from({ length: KEYS }, (_, index) => `k${index}`)
    const send = (value: string) =>
      producer.transaction(async (transaction) => {
        for (const key of keys) transaction.send({ key, value })
      })
    await send('1')
    await admin.topics.addPartitions('t', 1, { drain: true })
    await assert.rejects(send('2'), hasCode('POLICY_VIOLATION'))
    await send('3')
    const records = await stored(mq)
    assert.deepEqual(new Set(records.map(({ value }) => value)), new Set([1, 3]))
    assert.equal(records.filter(({ value, partition }) => value === 3 && partition === 0).length, KEYS)
  }))

test('a broker alone takes empty partitions away, and one that comes again under the number begins at 0', async () => {
  const disk = new MemoryDisk({ nowMs: () => systemTime.nowMs(), memoryBytesMax: undefined })
  const broker = new InThreadBroker({
    config: await inProcessConfig({}),
    ...{ shards: 2, time: systemTime, prng: systemPrng(), logger: SILENT },
    newId: () => randomBytes(16).toString('hex'),
    storage: async () => disk.storage(),
  })
  await broker.start()
  const startTimer = (delayMs: number, task: () => void) => systemTime.startTimer(delayMs, task)
  const runtime = { clock: systemTime, prng: systemPrng(), codecs: nodeCodecs(), startTimer }
  const mq = Client.create({ ...runtime, transport: broker.engine.transport }, ['ws://in-process'], {})
  const count = async () => (await mq.admin.topics.describe('t')).partitions.length
  const look = async (times: number) => {
    for (let turn = 0; turn < times; turn++) await broker.gateway.drainWatch.look()
  }
  try {
    await mq.admin.topics.create('t', { partitions: 4 })
    const producer = mq.producer('t')
    for (const partition of [0, 2]) await producer.send({ value: '1', key: 'k', partition })
    await mq.admin.topics.addPartitions('t', 1, { drain: true })
    await look(3)
    assert.equal(await count(), 3, 'partition 2 has a record, 1 stays because of it')
    await mq.admin.topics.trim('t', { partitions: [2] })
    await look(3)
    assert.equal(await count(), 1)
    await broker.stop()
    await broker.start()
    assert.equal(await count(), 1, 'after a start too')
    await mq.admin.topics.addPartitions('t', 3)
    assert.equal((await producer.send({ value: '2', key: 'k', partition: 2 })).offset, 0)
    assert.deepEqual((await stored(mq)).map(({ partition, value }) => [partition, value]).sort(), [
      [0, 1],
      [2, 2],
    ])
  } finally {
    await mq.close({ signal: AbortSignal.timeout(2_000) })
    await broker.stop()
    broker.loop.close()
  }
})
