/** Typed topics: what goes in comes out as values, the compiler checks both ends, and what cannot be read goes by onDecodeError. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import {
  type Client,
  type Consumer,
  connect,
  type DecodedRecord,
  DecodeError,
  isMillraceError,
  json,
  type Producer,
  type Serde,
  type StandardSchema,
  string,
  topic,
  type UndecodedRecord,
} from '../../../src/client/index.ts'
import { hasCode } from '../../support/expect.ts'
import { withFakeBroker } from '../../support/fake-broker.ts'

const Order = z.object({ id: z.number().int(), item: z.string().default('tea') })
const orders = topic('orders', { key: string(), value: json(Order) })
const payments = topic('payments', { value: json<{ cents: number }>() })

interface Temperature {
  readonly celsius: number
}
const temperature: Serde<Temperature> = {
  encode: ({ celsius }) => new Uint8Array(Float64Array.of(celsius).buffer),
  decode: (bytes) => ({ celsius: new Float64Array(bytes.slice().buffer)[0]! }),
}

type Equal<Left, Right> = (<T>() => T extends Left ? 1 : 2) extends <T>() => T extends Right ? 1 : 2 ? true : false
/** Fails to compile unless the types are the same. */
function same<Left, Right>(_isSame: Equal<Left, Right>): void {}

/** Never runs: the compiler is the test. */
export async function types(mq: Client): Promise<void> {
  const producer = mq.producer(orders)
  same<typeof producer, Producer<string, { id: number; item?: string | undefined }>>(true)
  await producer.send({ key: 'u1', value: { id: 1 } })
  await producer.send({ key: 'u1', value: null })
  producer.enqueue({ value: { id: 1, item: 'x' } })
  // @ts-expect-error the value lacks its id
  await producer.send({ key: 'u1', value: { item: 'x' } })
  // @ts-expect-error the key is text
  await producer.send({ key: 1, value: { id: 1 } })
  // @ts-expect-error a typed topic takes no bytes
  producer.enqueue({ value: new Uint8Array(1) })
  const records = mq.consume(orders)
  same<typeof records, Consumer<DecodedRecord<string, { id: number; item: string }>>>(true)
  for await (const record of records) {
    same<typeof record.value, { id: number; item: string } | null>(true)
    same<typeof record.decodeError, undefined>(true)
  }
  for await (const record of mq.consume(orders, { onDecodeError: 'pass' })) {
    if (record.decodeError === undefined) same<typeof record.value, { id: number; item: string } | null>(true)
    else same<typeof record, UndecodedRecord>(true)
  }
  for await (const { key, value } of mq.consume([orders, 'plain', payments]))
    same<typeof value | typeof key, { id: number; item: string } | { cents: number } | string | Uint8Array | null>(true)
  const plain = mq.producer('plain')
  same<typeof plain, Producer>(true)
  plain.enqueue({ key: new Uint8Array(1), value: 'x' })
  // @ts-expect-error a plain topic takes text and bytes
  plain.enqueue({ value: { id: 1 } })
  for await (const record of mq.consume(topic('plain'))) same<typeof record.value, Uint8Array | null>(true)
  const celsius = mq.producer(topic('t', { value: temperature }))
  same<typeof celsius, Producer<Uint8Array | string, Temperature>>(true)
  // @ts-expect-error options are checked by name
  mq.consume(orders, { onDecodeErorr: 'skip' })
}

async function all<Handed>(consumer: Consumer<Handed>): Promise<Handed[]> {
  const records: Handed[] = []
  for await (const record of consumer) records.push(record)
  return records
}

const FIXED = { from: 'start', to: 'end' } as const
const TOPICS = { topics: { orders: 1, payments: 1, plain: 1, temperatures: 1 } }

test('values go in and come out by their schema: defaults are made on receipt, tombstones stay null', () =>
  withFakeBroker(TOPICS, async (broker) => {
    await using mq = await connect(broker.url)
    const producer = mq.producer(orders)
    await producer.send({ key: 'u1', value: { id: 1, item: 'milk' } })
    await producer.sendMany([
      { key: 'u2', value: { id: 2 } },
      { key: 'u1', value: null },
    ])
    assert.ok(producer.enqueue({ value: { id: 3 } }))
    await producer.drain()
    const records = await all(mq.consume(orders, FIXED))
    assert.deepEqual(
      records.map(({ key, value }) => [key, value]),
      [
        ['u1', { id: 1, item: 'milk' }],
        ['u2', { id: 2, item: 'tea' }],
        ['u1', null],
        [null, { id: 3, item: 'tea' }],
      ],
    )
    const raw = await all(mq.consume('orders', FIXED))
    assert.equal(new TextDecoder().decode(raw[1]!.value!), '{"id":2}')
  }))

test('a serde of its own, and several topics at once', () =>
  withFakeBroker(TOPICS, async (broker) => {
    await using mq = await connect(broker.url)
    const temperatures = topic('temperatures', { value: temperature })
    await mq.producer(temperatures).send({ key: 'a', value: { celsius: -3.25 } })
    await mq.producer(payments).send({ value: { cents: 250 } })
    await mq.producer('plain').send({ value: 'as it is' })
    const values = (await all(mq.consume([temperatures, payments, 'plain'], FIXED))).map(({ value }) => value)
    assert.equal(values.length, 3)
    for (const expected of [{ celsius: -3.25 }, { cents: 250 }, new TextEncoder().encode('as it is')])
      assert.ok(values.some((value) => JSON.stringify(value) === JSON.stringify(expected)))
  }))

test('what does not match is refused before it is sent, by topic, part and path', () =>
  withFakeBroker(TOPICS, async (broker) => {
    await using mq = await connect(broker.url)
    const producer = mq.producer(orders)
    await producer.ready()
    const wrong = { key: 'u1', value: { id: 'one' as unknown as number } }
    const refused = hasCode('INVALID_RECORD', /the value of a record for orders: does not match its schema: id: /)
    await assert.rejects(producer.send(wrong), refused)
    assert.throws(() => producer.enqueue(wrong), refused)
    assert.throws(
      () => producer.enqueue({ key: 7 as unknown as string, value: { id: 1 } }),
      hasCode('INVALID_RECORD', /the key of a record for orders: expected text, not a number/),
    )
    await assert.rejects(
      mq.producer(payments).send({ value: undefined as unknown as { cents: number } }),
      hasCode('INVALID_RECORD', /undefined cannot be written as JSON/),
    )
    assert.equal((await producer.send({ value: { id: 1 } })).offset, 0)
    assert.equal(producer.stats().recordsEnqueued, 1)
  }))

test('a schema that validates asynchronously is refused on both sides, whatever the policy', () =>
  withFakeBroker(TOPICS, async (broker) => {
    await using mq = await connect(broker.url)
    const slow = topic('orders', { value: json(z.object({ id: z.number().refine(async () => true) })) })
    await assert.rejects(mq.producer(slow).send({ value: { id: 1 } }), hasCode('INVALID_ARGUMENT', /asynchronously/))
    await mq.producer(orders).send({ value: { id: 1 } })
    const consumer = mq.consume(slow, { ...FIXED, onDecodeError: 'skip' })
    await assert.rejects(all(consumer), hasCode('INVALID_ARGUMENT', /asynchronously/))
  }))

test('topics and serdes that are none are refused when they are made', () => {
  assert.throws(() => topic('no such name!'), hasCode('INVALID_TOPIC_EXCEPTION'))
  assert.throws(() => json({} as unknown as StandardSchema), hasCode('INVALID_ARGUMENT', /Standard Schema/))
  const half = { encode: () => '' } as unknown as Serde<string>
  assert.throws(() => topic('t', { key: half }), hasCode('INVALID_ARGUMENT', /topic 't': key must be/))
})

async function fillWithBad(mq: Client): Promise<void> {
  const bytes = [Uint8Array.of(0xff, 0xfe), '{"id":', '{"id":"x"}']
  const [good, bad] = [
    (id: number) => ({ key: 'k', value: `{"id":${id}}` }),
    bytes.map((value) => ({ key: 'k', value })),
  ]
  await mq.producer('orders').sendMany([good(0), bad[0]!, good(2), bad[1]!, bad[2]!, good(5)])
  await mq.producer('orders').send({ key: Uint8Array.of(0xff), value: '{"id":6}' })
}

test("onDecodeError 'fail' throws with the place and the cause; the position stays before the record", () =>
  withFakeBroker(TOPICS, async (broker) => {
    await using mq = await connect(broker.url)
    await fillWithBad(mq)
    const consumer = mq.consume(orders, FIXED)
    const seen: number[] = []
    let failure: unknown
    try {
      for await (const record of consumer) seen.push(record.offset)
    } catch (error) {
      failure = error
    }
    assert.deepEqual(seen, [0])
    assert.ok(failure instanceof DecodeError && isMillraceError(failure))
    assert.deepEqual([failure.topic, failure.partition, failure.offset, failure.part], ['orders', 0, 1, 'value'])
    assert.match(failure.message, /orders\/0 at offset 1: the value cannot be decoded: the bytes are not UTF-8/)
    assert.ok(failure.cause instanceof Error)
    assert.deepEqual(
      consumer.positions().map(({ offset }) => offset),
      [1],
    )
    assert.deepEqual([consumer.stats().recordsUndecodable, consumer.stats().recordsConsumed], [1, 1])
    await assert.rejects(consumer[Symbol.asyncIterator]().next(), hasCode('INVALID_RECORD'))
  }))

test("onDecodeError 'skip' passes over, counts and tells", () =>
  withFakeBroker(TOPICS, async (broker) => {
    await using mq = await connect(broker.url)
    await fillWithBad(mq)
    const consumer = mq.consume(orders, { ...FIXED, onDecodeError: 'skip' })
    const told: [number, string][] = []
    consumer.on('decodeError', ({ error }) => told.push([error.offset, error.part]))
    assert.deepEqual(
      (await all(consumer)).map(({ offset }) => offset),
      [0, 2, 5],
    )
    assert.deepEqual(told, [
      [1, 'value'],
      [3, 'value'],
      [4, 'value'],
      [6, 'key'],
    ])
    assert.deepEqual([consumer.stats().recordsUndecodable, consumer.stats().recordsConsumed], [4, 3])
    assert.deepEqual(
      consumer.positions().map(({ offset }) => offset),
      [7],
    )
  }))

test("onDecodeError 'pass' hands out what was stored, with the error", () =>
  withFakeBroker(TOPICS, async (broker) => {
    await using mq = await connect(broker.url)
    await fillWithBad(mq)
    const records = await all(mq.consume(orders, { ...FIXED, onDecodeError: 'pass' }))
    assert.deepEqual(
      records.map(({ offset, decodeError }) => [offset, decodeError?.part]),
      [
        [0, undefined],
        [1, 'value'],
        [2, undefined],
        [3, 'value'],
        [4, 'value'],
        [5, undefined],
        [6, 'key'],
      ],
    )
    assert.deepEqual(records[1]!.value, Uint8Array.of(0xff, 0xfe))
    assert.deepEqual(records[6]!.value, new TextEncoder().encode('{"id":6}'))
    assert.match(records[4]!.decodeError!.message, /does not match its schema: id: /)
  }))
