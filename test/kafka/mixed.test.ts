/** Native clients and kafkajs on the same topics and groups: the one reads what the other wrote, and takes over where it was. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CompressionTypes } from 'kafkajs'
import { isMillraceError } from '../../src/client/index.ts'
import { kafkaBroker } from '../support/kafka-broker.ts'
import { gather, kafkajsOf, type ReadMessage } from '../support/kafkajs.ts'
import { until } from '../support/until.ts'

const WAIT_MS = 30_000
const broker = kafkaBroker()
const kafka = () => kafkajsOf(broker.kafka)
const decoder = new TextDecoder()

/** What kafkajs reads of a topic, until there are `count`. */
async function readByKafkajs(topic: string, count: number): Promise<ReadMessage[]> {
  const { messages, consumer } = await gather(kafka(), { groupId: `reader-of-${topic}`, topics: [topic] })
  await until(`${count} records of ${topic}`, WAIT_MS, () => messages.length >= count)
  await consumer.disconnect()
  return messages.sort((a, b) => a.partition - b.partition || a.offset - b.offset)
}

const facts = (timestampMs: number) =>
  [
    { key: 'k1', value: 'v1', timestampMs, headers: [['h', '1']] },
    { key: 'k2', value: null, timestampMs: timestampMs + 1, headers: [] },
    {
      key: null,
      value: 'ключ 日本 𝄞',
      timestampMs: timestampMs + 2,
      headers: [
        ['h', ''],
        ['g', '2'],
      ],
    },
    { key: '', value: '', timestampMs: timestampMs + 3, headers: [] },
    { key: 'large', value: 'x'.repeat(500_000), timestampMs: timestampMs + 4, headers: [] },
  ] as const

test('native to kafkajs: keys, tombstones, headers, timestamps, gzip', async () => {
  const mq = await broker.client()
  for (const compression of ['none', 'gzip'] as const) {
    const topic = `native-${compression}`
    const producer = mq.producer(topic, { compression })
    await mq.admin.topics.create(topic)
    const wanted = facts(Date.now() - 1_000)
    await producer.sendMany(
      wanted.map(({ headers, ...record }) => ({ ...record, headers: headers.map(([key, value]) => ({ key, value })) })),
    )
    await producer.close()
    const read = await readByKafkajs(topic, wanted.length)
    assert.deepEqual(
      read.map(({ key, value, timestampMs, headers }) => ({
        key,
        value,
        timestampMs,
        headers: Object.entries(headers),
      })),
      wanted,
    )
  }
})

test('kafkajs to native: the same', async () => {
  const producer = kafka().producer()
  await producer.connect()
  for (const compression of [CompressionTypes.None, CompressionTypes.GZIP]) {
    const topic = `kafkajs-${compression}`
    const wanted = facts(Date.now() - 1_000)
    const messages = wanted.map(({ key, value, timestampMs, headers }) => ({
      ...{ key, value, timestamp: String(timestampMs), headers: Object.fromEntries(headers) },
    }))
    await producer.send({ topic, messages, compression })
    assert.deepEqual(
      (await broker.records(topic)).map(({ key, value, timestampMs, headers }) => ({
        key,
        value,
        timestampMs,
        headers,
      })),
      wanted,
    )
  }
  await producer.disconnect()
})

test('the same key goes to the same partition, whoever sends it', async () => {
  const mq = await broker.client()
  await mq.admin.topics.create('keyed', { partitions: 7 })
  const keys = Array.from({ length: 200 }, (_, index) => `key-${index}`)
  keys.push('', 'é', '日本', 'a-little-bit-long-string', 'x'.repeat(1_000))
  const byKey = { native: new Map<string, number>(), kafkajs: new Map<string, number>() }
  const producer = mq.producer('keyed')
  for (const key of keys) byKey.native.set(key, (await producer.send({ key, value: 'native' })).partition)
  await producer.close()
  const other = kafka().producer()
  await other.connect()
  await other.send({ topic: 'keyed', messages: keys.map((key) => ({ key, value: 'kafkajs' })) })
  await other.disconnect()
  for (const { key, value, partition } of await broker.records('keyed'))
    if (value === 'kafkajs') byKey.kafkajs.set(key!, partition)
  assert.deepEqual([...byKey.kafkajs].sort(), [...byKey.native].sort())
  assert.ok(new Set(byKey.native.values()).size === 7)
})

test('transactions: what was committed is seen from the other side, what was aborted is not', async () => {
  const mq = await broker.client()
  await mq.admin.topics.create('transactions')
  const native = mq.producer('transactions', { transactionalId: 'native' })
  await native.transaction(async (transaction) => void (await transaction.send({ value: 'native, committed' })))
  await native
    .transaction(async (transaction) => {
      await transaction.send({ value: 'native, aborted' })
      throw new Error('on purpose')
    })
    .catch(() => {})
  const other = kafka().producer({ transactionalId: 'kafkajs', idempotent: true, maxInFlightRequests: 1 })
  await other.connect()
  for (const isCommitted of [true, false]) {
    const transaction = await other.transaction()
    const value = `kafkajs, ${isCommitted ? 'committed' : 'aborted'}`
    await transaction.send({ topic: 'transactions', messages: [{ value }] })
    await (isCommitted ? transaction.commit() : transaction.abort())
  }
  await other.disconnect()
  await native.transaction(async (transaction) => void (await transaction.send({ value: 'native, again' })))
  await native.close()
  const wanted = ['native, committed', 'kafkajs, committed', 'native, again']
  const values = (records: readonly { value: string | null }[]): (string | null)[] => records.map(({ value }) => value)
  assert.deepEqual(values(await broker.records('transactions')), wanted)
  assert.deepEqual(values(await readByKafkajs('transactions', 3)), wanted)
  assert.equal((await broker.records('transactions', 'read_uncommitted')).length, 5)
})

test('a transactional id is one name in both worlds: the later producer fences the earlier one', async () => {
  const mq = await broker.client()
  await mq.admin.topics.create('fenced')
  const native = mq.producer('fenced', { transactionalId: 'one-name' })
  await native.transaction(async (transaction) => void (await transaction.send({ value: 'native' })))
  const other = kafka().producer({ transactionalId: 'one-name', idempotent: true, maxInFlightRequests: 1 })
  await other.connect()
  const transaction = await other.transaction()
  await transaction.send({ topic: 'fenced', messages: [{ value: 'kafkajs' }] })
  await transaction.commit()
  await assert.rejects(
    native.transaction(async (late) => void (await late.send({ value: 'late' }))),
    (error) => isMillraceError(error) && error.code === 'PRODUCER_FENCED',
  )
  native.abort()
  await other.disconnect()
  assert.deepEqual(
    (await broker.records('fenced')).map(({ value }) => value),
    ['native', 'kafkajs'],
  )
})

test('the offsets of a group go from kafkajs to native and back', async () => {
  const mq = await broker.client()
  await mq.admin.topics.create('handed-over', { partitions: 2 })
  const producer = mq.producer('handed-over')
  let sent = 0
  const send = async (): Promise<void> => {
    for (let index = 0; index < 10; index++, sent++) await producer.send({ partition: sent % 2, value: `v${sent}` })
  }
  const handled: string[] = []
  const byKafkajs = async (): Promise<void> => {
    const { messages, consumer } = await gather(kafka(), { groupId: 'handed-over', topics: ['handed-over'] })
    await until('records at kafkajs', WAIT_MS, () => handled.length + messages.length >= sent)
    await consumer.disconnect()
    handled.push(...messages.map(({ value }) => value!))
  }
  const byNative = async (): Promise<void> => {
    const group = mq.group('handed-over', 'handed-over', { from: 'start' })
    const running = group.run(async ({ value }) => void handled.push(decoder.decode(value!)))
    await until('records at the native client', WAIT_MS, () => handled.length >= sent)
    await group.close()
    await running
  }
  for (const turn of [byKafkajs, byNative, byKafkajs, byNative]) {
    await send()
    await turn()
    assert.equal(new Set(handled).size, handled.length, 'nothing was handled twice')
    assert.equal(handled.length, sent)
  }
  await producer.close()
})

test('a member of the other kind is refused while the group has members, and the group goes on', async () => {
  const mq = await broker.client()
  await mq.admin.topics.create('kinds')
  const producer = mq.producer('kinds')

  const { messages, consumer } = await gather(kafka(), { groupId: 'classic', topics: ['kinds'] })
  await producer.send({ value: 'first' })
  await until('the first record', WAIT_MS, () => messages.length === 1)
  const intruder = mq.group('classic', 'kinds', { from: 'start' })
  await assert.rejects(
    intruder.run(async () => {}),
    (error) => isMillraceError(error) && error.code === 'INCONSISTENT_GROUP_PROTOCOL' && error.message.length > 20,
  )
  await intruder.close().catch(() => {})
  await producer.send({ value: 'second' })
  await until('the second record', WAIT_MS, () => messages.length === 2)
  await consumer.disconnect()

  const values: string[] = []
  const group = mq.group('native', 'kinds', { from: 'start' })
  const running = group.run(async ({ value }) => void values.push(decoder.decode(value!)))
  await until('both records', WAIT_MS, () => values.length === 2)
  const other = kafkajsOf(broker.kafka, { retry: { retries: 0 } }).consumer({
    groupId: 'native',
    retry: { retries: 0, restartOnFailure: async () => false },
  })
  const crashed = new Promise<Error>((resolve) => other.on(other.events.CRASH, ({ payload }) => resolve(payload.error)))
  await other.connect()
  await other.subscribe({ topic: 'kinds', fromBeginning: true })
  await other.run({ eachMessage: async () => {} }).catch(() => {})
  const error = (await crashed) as Error & { type?: string; cause?: { type?: string } }
  assert.equal(error.type ?? error.cause?.type, 'INCONSISTENT_GROUP_PROTOCOL', `${error}`)
  await other.disconnect()
  await producer.send({ value: 'third' })
  await until('the third record', WAIT_MS, () => values.length === 3)
  await group.close()
  await running
  await producer.close()
})
