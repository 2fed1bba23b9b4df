/** millrace/testing: time stands until it is moved; a crash is a crash; the same calls give the same outcome. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Client } from '../../src/client/index.ts'
import { createTestBroker, type TestBroker } from '../../src/in-process/testing.ts'
import { hasCode } from '../support/expect.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const FAST = { backoffMsMin: 10, backoffMsMax: 10 }
const decoder = new TextDecoder()

function watch<T>(promise: Promise<T>): { value: T | undefined; error: unknown; isDone: boolean } {
  const seen = { value: undefined as T | undefined, error: undefined as unknown, isDone: false }
  promise.then(
    (value) => Object.assign(seen, { value, isDone: true }),
    (error: unknown) => Object.assign(seen, { error, isDone: true }),
  )
  return seen
}

/** Reads all of a topic; moves the time where the client has to connect again first. */
async function readAll(broker: TestBroker, mq: Client, topic: string): Promise<string[]> {
  const values: string[] = []
  const read = async () => {
    for await (const { value } of mq.consume(topic, { from: 'start', to: 'end' })) values.push(decoder.decode(value!))
  }
  await broker.run(read())
  return values
}

test('what needs no time happens by itself; what needs some waits for it', async () => {
  await using broker = await createTestBroker({ startMs: 1_000_000 })
  const mq = broker.client()
  await mq.admin.topics.create('t', { partitions: 1 })
  const receipt = await mq.producer('t').send({ value: 'a' })
  assert.deepEqual([receipt.offset, receipt.timestampMs, receipt.durability], [0, 1_000_000, 'fsynced'])
  const lingering = mq.producer('t', { lingerMs: 250 })
  const sent = watch(lingering.send({ value: 'b' }))
  await broker.advance(249)
  assert.equal(sent.isDone, false)
  await broker.advance(1)
  assert.equal(sent.value?.offset, 1)
  assert.equal(sent.value?.timestampMs, 1_000_000)
  assert.equal(broker.nowMs(), 1_000_250)
})

test('a long poll ends by its record, or by its time', async () => {
  await using broker = await createTestBroker()
  const mq = broker.client()
  await mq.admin.topics.create('t', { partitions: 1 })
  const consumer = mq.consume('t', { from: 'end', waitMs: 20_000 })
  await consumer.start()
  const iterator = consumer[Symbol.asyncIterator]()
  const next = watch(iterator.next())
  await broker.advance(60_000)
  assert.equal(next.isDone, false)
  await mq.producer('t').send({ value: 'woken' })
  await broker.settle()
  assert.equal(decoder.decode(next.value?.value.value), 'woken')
  const gone = watch(iterator.next())
  await consumer.close()
  await broker.settle()
  assert.equal(gone.value?.done, true)
})

test('retention deletes after its days, in no time', async () => {
  await using broker = await createTestBroker()
  const mq = broker.client()
  const config = { 'retention.ms': `${7 * DAY_MS}`, 'segment.ms': `${DAY_MS}` }
  await mq.admin.topics.create('t', { partitions: 1, config })
  const producer = mq.producer('t')
  const starts: number[] = []
  for (let day = 0; day < 14; day++) {
    await producer.send({ value: `day ${day}` })
    await broker.advance(DAY_MS)
    starts.push((await mq.admin.topics.offsets('t', 'start'))[0]!.offset)
  }
  assert.equal(starts[5], 0)
  assert.ok(starts[13]! >= 5 && starts[13]! <= 8, `log start by day: ${starts}`)
  assert.deepEqual((await readAll(broker, mq, 't')).at(-1), 'day 13')
})

test('a power cut takes what was not synced, and nothing that was', async () => {
  await using broker = await createTestBroker({ seed: 3 })
  const mq = broker.client(FAST)
  await mq.admin.topics.create('group', { partitions: 1 })
  await mq.admin.topics.create('interval', {
    partitions: 1,
    config: { 'millrace.fsync': 'interval', 'flush.ms': '1000' },
  })
  await mq.producer('group').send({ value: 'kept' })
  const producer = mq.producer('interval')
  assert.equal((await producer.send({ value: 'synced in time' })).durability, 'written')
  await broker.advance(1_000)
  await producer.send({ value: 'in doubt' })
  broker.crash()
  assert.throws(() => broker.crash(), hasCode('INVALID_ARGUMENT', /restart/))
  await broker.restart()
  assert.deepEqual(await readAll(broker, mq, 'group'), ['kept'])
  const interval = await readAll(broker, mq, 'interval')
  assert.equal(interval[0], 'synced in time')
  assert.ok(interval.length <= 2)
})

test('a killed process loses nothing of what it wrote; an orderly restart neither', async () => {
  await using broker = await createTestBroker()
  const mq = broker.client(FAST)
  await mq.admin.topics.create('t', { partitions: 1, config: { 'millrace.fsync': 'interval' } })
  await mq.producer('t').send({ value: 'written' })
  broker.crash({ kind: 'kill' })
  await broker.restart()
  assert.deepEqual(await readAll(broker, mq, 't'), ['written'])
  await broker.restart()
  assert.deepEqual(await readAll(broker, mq, 't'), ['written'])
})

test('what is under way at a crash is sent again after the restart, once', async () => {
  await using broker = await createTestBroker()
  const mq = broker.client(FAST)
  await mq.admin.topics.create('t', { partitions: 1 })
  const producer = mq.producer('t', { batchBytesMax: 1_024 })
  await producer.ready()
  const sent = watch(producer.sendMany(Array.from({ length: 200 }, (_, index) => ({ value: `${index}` }))))
  broker.crash()
  await broker.restart()
  await broker.advance(1_000)
  assert.deepEqual(
    sent.value?.map((receipt) => receipt.offset),
    Array.from({ length: 200 }, (_, index) => index),
  )
  broker.cutConnections()
  await broker.advance(1_000)
  assert.equal((await producer.send({ value: 'after' })).offset, 200)
  assert.equal((await readAll(broker, mq, 't')).length, 201)
})

test('close() ends a crashed broker too, and gives waiting records the time to fail', async () => {
  const broker = await createTestBroker()
  const mq = broker.client(FAST)
  await mq.admin.topics.create('t', { partitions: 1 })
  const producer = mq.producer('t', { deliveryTimeoutMs: 2_000 })
  await producer.ready()
  broker.crash()
  const sent = watch(producer.send({ value: 'nobody takes it' }))
  await broker.close()
  assert.ok(sent.isDone && sent.error !== undefined)
  await assert.rejects(broker.advance(1), hasCode('CLOSED'))
})

test('the same calls give the same outcome', async () => {
  const outcomes = await Promise.all(
    [7, 7].map(async (seed) => {
      await using broker = await createTestBroker({ seed, shards: 2 })
      const mq = broker.client(FAST)
      await mq.admin.topics.create('t', { partitions: 3, config: { 'millrace.fsync': 'interval' } })
      const { topicId } = await mq.admin.topics.describe('t')
      const producer = mq.producer('t', { batchBytesMax: 1_024 })
      for (let round = 0; round < 3; round++) {
        const sent = watch(
          producer.sendMany(Array.from({ length: 100 }, (_, index) => ({ value: `${round}/${index}` }))),
        )
        await broker.settle()
        broker.crash()
        await broker.restart()
        await broker.advance(2_000)
        assert.ok(sent.isDone)
      }
      return { topicId, values: await readAll(broker, mq, 't'), nowMs: broker.nowMs() }
    }),
  )
  assert.deepEqual(outcomes[0], outcomes[1])
})

test('run() moves the time as far as something needs it, and no further', async () => {
  await using broker = await createTestBroker({ startMs: 0 })
  const mq = broker.client()
  await mq.admin.topics.create('t', { partitions: 1 })
  assert.equal((await broker.run(mq.producer('t').send({ value: 'at once' }))).offset, 0)
  assert.equal(broker.nowMs(), 0)
  assert.equal((await broker.run(mq.producer('t', { lingerMs: 700 }).send({ value: 'later' }))).offset, 1)
  assert.equal(broker.nowMs(), 700)
  await assert.rejects(broker.run(Promise.reject(new Error('of the caller'))), /of the caller/)
})

test('advance() says what it takes', async () => {
  await using broker = await createTestBroker()
  await assert.rejects(broker.advance(-1), hasCode('INVALID_ARGUMENT', /0 or more/))
  await assert.rejects(broker.advance(Number.NaN), hasCode('INVALID_ARGUMENT', /NaN/))
})
