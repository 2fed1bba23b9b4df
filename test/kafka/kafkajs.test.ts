/** kafkajs, unmodified: producers of every kind, transactions, errors by their names, groups whose members crash and join. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CompressionTypes, type KafkaJSProtocolError, type Transaction } from 'kafkajs'
import { kafkaBroker } from '../support/kafka-broker.ts'
import { gather, kafkajsOf } from '../support/kafkajs.ts'
import { MemberProcess } from '../support/kafkajs-process.ts'
import { until } from '../support/until.ts'

const WAIT_MS = 30_000
const broker = kafkaBroker()
const kafka = () => kafkajsOf(broker.kafka)

function messagesOf(count: number, prefix = 'v'): { key: string; value: string }[] {
  return Array.from({ length: count }, (_, index) => ({ key: `k${index}`, value: `${prefix}${index}` }))
}

const valuesOf = async (topic: string): Promise<(string | null)[]> =>
  (await broker.records(topic)).map(({ value }) => value)

/** Of an error of kafkajs, or of what it has given up retrying. */
async function errorType(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (error: KafkaJSProtocolError & { cause?: KafkaJSProtocolError }) => error,
  )
  assert.ok(error, 'it was not refused')
  return error.type ?? error.cause?.type ?? `${error.name}: ${error.message}`
}

test('acks 0, 1 and all; gzip; keys, tombstones, headers, timestamps', async () => {
  const producer = kafka().producer()
  await producer.connect()
  for (const acks of [0, 1, -1]) {
    const topic = `acks-${acks}`
    const messages = messagesOf(100)
    const answer = await producer.send({ topic, messages, acks, compression: CompressionTypes.GZIP })
    if (acks !== 0) assert.equal(answer[0]!.baseOffset, '0')
    await until('records', WAIT_MS, async () => (await broker.records(topic)).length === 100)
    assert.deepEqual(
      (await broker.records(topic)).map(({ key, value }) => ({ key, value })),
      messages,
    )
    assert.ok((await broker.batches(topic)).every(({ codec }) => codec === 'gzip'))
  }
  const timestampMs = Date.now() - 60_000
  const headers = { a: '1', b: ['2', '3'], c: Buffer.from([0xff]) }
  await producer.sendBatch({
    topicMessages: [
      { topic: 'facts', messages: [{ key: 'k', value: 'v', headers, timestamp: String(timestampMs) }] },
      { topic: 'facts', messages: [{ key: 'k', value: null }] },
      { topic: 'facts-2', messages: [{ value: Buffer.alloc(0) }] },
    ],
  })
  const [first, second] = await broker.records('facts')
  assert.deepEqual(
    [first!.key, first!.value, first!.timestampMs, first!.headers],
    [
      'k',
      'v',
      timestampMs,
      [
        ['a', '1'],
        ['b', '2'],
        ['b', '3'],
        ['c', '\ufffd'],
      ],
    ],
  )
  assert.equal(second!.value, null)
  assert.deepEqual(await valuesOf('facts-2'), [''])
  const { messages, consumer } = await gather(kafka(), { groupId: 'facts', topics: ['facts', 'facts-2', 'acks--1'] })
  await until('everything', WAIT_MS, () => messages.length === 103)
  const read = messages.find(({ topic, offset }) => topic === 'facts' && offset === 0)!
  assert.deepEqual([read.key, read.value, read.timestampMs], ['k', 'v', timestampMs])
  assert.deepEqual(read.headers, { a: '1', b: ['2', '3'], c: '\ufffd' })
  assert.equal(messages.find(({ topic, offset }) => topic === 'facts' && offset === 1)!.value, null)
  await consumer.disconnect()
  await producer.disconnect()
})

test('idempotent: each batch once, in order, with many requests in flight', async () => {
  const mq = await broker.client()
  await mq.admin.topics.create('idempotent', { partitions: 3 })
  const producer = kafka().producer({ idempotent: true, maxInFlightRequests: 5 })
  await producer.connect()
  const sends = Array.from({ length: 50 }, (_, index) =>
    producer.send({
      topic: 'idempotent',
      messages: messagesOf(10, `${index}-`).map((each) => ({ ...each, partition: index % 3 })),
    }),
  )
  await Promise.all(sends)
  await producer.disconnect()
  const values = await valuesOf('idempotent')
  assert.equal(values.length, 500)
  assert.equal(new Set(values).size, 500)
  const batches = await broker.batches('idempotent')
  assert.ok(batches.every(({ producerId }) => producerId >= 0))
})

test('transactions: committed, aborted, offsets with them; a second producer of an id fences the first', async () => {
  const mq = await broker.client()
  await mq.admin.topics.create('txn-in')
  await mq.admin.topics.create('txn-out', { partitions: 2 })
  const producer = kafka().producer({ transactionalId: 'txn-1', idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  const send = (transaction: Transaction, value: string): Promise<unknown> =>
    transaction.sendBatch({
      topicMessages: [
        {
          topic: 'txn-out',
          messages: [
            { partition: 0, value },
            { partition: 1, value },
          ],
        },
      ],
    })
  const committed = await producer.transaction()
  await send(committed, 'committed')
  await committed.sendOffsets({
    consumerGroupId: 'txn-group',
    topics: [{ topic: 'txn-in', partitions: [{ partition: 0, offset: '7' }] }],
  })
  assert.deepEqual(await offsetOf('txn-group', 'txn-in'), undefined)
  await committed.commit()
  await until('the offset', WAIT_MS, async () => (await offsetOf('txn-group', 'txn-in')) === 7)

  const aborted = await producer.transaction()
  await send(aborted, 'aborted')
  await aborted.sendOffsets({
    consumerGroupId: 'txn-group',
    topics: [{ topic: 'txn-in', partitions: [{ partition: 0, offset: '9' }] }],
  })
  await aborted.abort()

  const zombie = await producer.transaction()
  await send(zombie, 'of a zombie')
  const second = kafka().producer({ transactionalId: 'txn-1', idempotent: true, maxInFlightRequests: 1 })
  await second.connect()
  const fresh = await second.transaction()
  await send(fresh, 'of the second')
  await fresh.commit()
  const types = [await errorType(send(zombie, 'too late')), await errorType(zombie.commit())]
  for (const type of types) assert.match(type, /INVALID_PRODUCER_EPOCH|PRODUCER_FENCED/)

  const wanted = ['committed', 'of the second', 'committed', 'of the second']
  assert.deepEqual(await valuesOf('txn-out'), wanted)
  assert.equal(await offsetOf('txn-group', 'txn-in'), 7)
  const both = await Promise.all([
    gather(kafka(), { groupId: 'txn-committed', topics: ['txn-out'] }),
    gather(kafka(), { groupId: 'txn-uncommitted', topics: ['txn-out'], readUncommitted: true }),
  ])
  await until('committed and all records', WAIT_MS, () => both[0].messages.length >= 4 && both[1].messages.length >= 8)
  assert.deepEqual(both[0].messages.map(({ value }) => value).sort(), [...wanted].sort())
  assert.deepEqual([...new Set(both[1].messages.map(({ value }) => value))].sort(), [
    'aborted',
    'committed',
    'of a zombie',
    'of the second',
  ])
  for (const { consumer } of both) await consumer.disconnect()
  await producer.disconnect().catch(() => {})
  await second.disconnect()
})

/** The next record that a group is to handle, of partition 0. */
async function offsetOf(groupId: string, topic: string): Promise<number | undefined> {
  const admin = kafka().admin()
  await admin.connect()
  const rows = await admin.fetchOffsets({ groupId, topics: [topic] })
  await admin.disconnect()
  const offset = Number(rows[0]?.partitions[0]?.offset ?? -1)
  return offset < 0 ? undefined : offset
}

test('refusals have the names that clients know', async () => {
  const mq = await broker.client()
  await mq.admin.topics.create('compacted', { config: { 'cleanup.policy': 'compact' } })
  const producer = kafkajsOf(broker.kafka, { retry: { retries: 1, initialRetryTime: 10 } }).producer({
    allowAutoTopicCreation: false,
  })
  await producer.connect()
  const send = (topic: string, message: { key?: string; value: string; partition?: number }): Promise<string> =>
    errorType(producer.send({ topic, messages: [message] }))
  assert.equal(await send('unknown', { value: 'v' }), 'UNKNOWN_TOPIC_OR_PARTITION')
  assert.equal(await send('no/topic', { value: 'v' }), 'INVALID_TOPIC_EXCEPTION')
  assert.equal(await send('compacted', { value: 'without a key' }), 'INVALID_RECORD')
  assert.equal(await send('compacted', { key: 'k', value: 'x'.repeat(2_000_000) }), 'MESSAGE_TOO_LARGE')
  await producer.send({ topic: 'compacted', messages: [{ key: 'k', value: 'v' }] })
  assert.deepEqual(await valuesOf('compacted'), ['v'])
  await producer.disconnect()

  const transactional = kafkajsOf(broker.kafka).producer({ transactionalId: 'too-long', transactionTimeout: 3_600_000 })
  await transactional.connect()
  assert.equal(await errorType(transactional.transaction()), 'INVALID_TRANSACTION_TIMEOUT')
  await transactional.disconnect()
})

test('a group: members join, one crashes, one leaves; what was acknowledged is handled, and committed', async () => {
  const mq = await broker.client()
  await mq.admin.topics.create('group', { partitions: 4 })
  const seen = new Map<string, number>()
  const member = (): MemberProcess =>
    new MemberProcess({ kafka: broker.kafka, groupId: 'group', topic: 'group' }, (value) =>
      seen.set(value, (seen.get(value) ?? 0) + 1),
    )
  const members = [member(), member()]
  const producer = mq.producer('group')
  let sent = 0
  const send = async (): Promise<void> => {
    for (let index = 0; index < 20; index++, sent++) await producer.send({ partition: sent % 4, value: `v${sent}` })
  }
  const admin = kafka().admin()
  await admin.connect()
  const isShared = async (count: number): Promise<boolean> => {
    const { groups } = await admin.describeGroups(['group'])
    return groups[0]!.state === 'Stable' && groups[0]!.members.length === count
  }
  try {
    await until('two members', WAIT_MS, () => isShared(2))
    await send()
    await until('records at both', WAIT_MS, async () => {
      await send()
      return members.every(({ handled }) => handled > 0)
    })
    await until('all records', WAIT_MS, () => seen.size === sent)
    assert.ok(
      [...seen.values()].every((count) => count === 1),
      'nothing was handled twice',
    )
    await members[0]!.end('SIGKILL')
    members.push(member())
    await send()
    await until('all records after a crash', WAIT_MS, () => seen.size === sent)
    await until('two members again', WAIT_MS, () => isShared(2))
    await members[1]!.end('SIGTERM')
    await until('one member', WAIT_MS, () => isShared(1))
    await send()
    await until('all records at the last one', WAIT_MS, () => seen.size === sent)
    await members[2]!.end('SIGTERM')
    const offsets = await admin.fetchOffsets({ groupId: 'group', topics: ['group'] })
    assert.equal(
      offsets[0]!.partitions.reduce((sum, { offset }) => sum + Number(offset), 0),
      sent,
    )
  } finally {
    for (const each of members) await each.end('SIGKILL')
    await admin.disconnect()
    await producer.close()
  }
})
