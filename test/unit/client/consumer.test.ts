/** A consumer against a broker that misbehaves: every record once, in order, and no error moves a position. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Client, type Consumer, connect } from '../../../src/client/index.ts'
import { hasCode, until } from '../../support/expect.ts'
import { type Fault, withFakeBroker } from '../../support/fake-broker.ts'
import { collectGarbage } from '../../support/garbage.ts'

const NONE: Fault = { kind: 'none' }
const FAST = { backoffMsMin: 2, backoffMsMax: 20 }
const decoder = new TextDecoder()

async function fill(mq: Client, topic: string, count: number, partitions = 1): Promise<void> {
  const producer = mq.producer(topic, { batchBytesMax: 1024 })
  await producer.ready()
  for (let index = 0; index < count; index++)
    assert.ok(producer.enqueue({ value: String(index), partition: index % partitions, timestampMs: 1_000 + index }))
  await producer.close()
}

async function values(consumer: Consumer): Promise<string[]> {
  const all: string[] = []
  for await (const record of consumer) all.push(decoder.decode(record.value!))
  return all
}

const range = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => String(from + index))

test('from and to take every kind of position', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    await fill(mq, 't', 500)
    const read = (from: object | string, to: object | string): Promise<string[]> =>
      values(mq.consume('t', { from: from as 'start', to: to as 'end' }))
    assert.deepEqual(await read('start', 'end'), range(0, 500))
    assert.deepEqual(await read({ offset: 123 }, { offset: 130 }), range(123, 130))
    assert.deepEqual(await read({ last: 7 }, 'end'), range(493, 500))
    assert.deepEqual(await read({ skip: 490 }, { last: 3 }), range(490, 497))
    assert.deepEqual(await read('end', 'end'), [])
    assert.deepEqual(await read({ offset: 20 }, { offset: 10 }), [])
    assert.throws(() => mq.consume('t', { from: { offset: -1 } }), hasCode('INVALID_ARGUMENT', /from\.offset/))
    assert.throws(() => mq.consume('t', { from: 'middle' as 'start' }), hasCode('INVALID_ARGUMENT', /middle/))
    await assert.rejects(read({ time: 'yesterday' }, 'end'), hasCode('INVALID_ARGUMENT', /yesterday/))
  }))

test('batches() give the same records as the iterator, bounded by `to`', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    await fill(mq, 't', 500)
    const seen: number[] = []
    for await (const batch of mq.consume('t', { from: { offset: 3 }, to: { offset: 456 } }).batches()) {
      const reader = batch.reader()
      while (reader.next()) seen.push(reader.offset)
      assert.deepEqual(
        [...batch].map((record) => record.offset),
        seen.slice(-[...batch].length),
      )
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 453 }, (_, index) => index + 3),
    )
  }))

test('a waiting consumer wakes when a record comes', () =>
  withFakeBroker({ topics: { t: 2 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const consumer = mq.consume('t', { from: 'end', waitMs: 10_000 })
    await consumer.start()
    const startedMs = performance.now()
    const first = consumer[Symbol.asyncIterator]().next()
    await mq.producer('t').send({ value: 'wake', partition: 1 })
    const { value } = await first
    assert.equal(decoder.decode(value.value), 'wake')
    assert.ok(performance.now() - startedMs < 5_000, 'woke by the record, not by the timeout')
  }))

const SCHEDULES: Readonly<Record<string, (index: number) => Fault>> = {
  'connections break': (index) => (index % 4 === 1 ? { kind: 'break', work: 'done' } : NONE),
  'fetches are refused for now': (index) => (index % 2 === 0 ? { kind: 'error', code: 'OVERLOADED' } : NONE),
  'the leader moves': (index) => (index % 3 === 0 ? { kind: 'error', code: 'NOT_LEADER_OR_FOLLOWER' } : NONE),
}

for (const [name, schedule] of Object.entries(SCHEDULES)) {
  test(`every record comes once and in order when ${name}`, () =>
    withFakeBroker({ topics: { t: 3 } }, async (broker) => {
      await using mq = await connect(broker.url, FAST)
      await fill(mq, 't', 3_000, 3)
      broker.faults = (request) => (request.name === 'FETCH' ? schedule(request.index) : NONE)
      const next = [0, 0, 0]
      let count = 0
      for await (const record of mq.consume('t', { from: 'start', to: 'end', fetchBytesMax: 3_000 })) {
        assert.equal(record.offset, next[record.partition]!++)
        assert.equal(decoder.decode(record.value!), String(record.offset * 3 + record.partition))
        count++
      }
      assert.equal(count, 3_000)
    }))
}

test('an offset that is gone is told, with the range; a policy moves on', { timeout: 15_000 }, () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    await fill(mq, 't', 100)
    broker.partition('t', 0).logStartOffset = 50
    await assert.rejects(
      values(mq.consume('t', { from: { offset: 10 } })),
      hasCode('OFFSET_OUT_OF_RANGE', /\[50, 100\]/),
    )
    const all = await values(mq.consume('t', { from: { offset: 10 }, to: 'end', onOutOfRange: 'earliest' }))
    assert.equal(all.at(-1), '99')
  }),
)

test('records that come beside the fault of another partition are handed out before it is told', () =>
  withFakeBroker({ topics: { t: 2 } }, async (broker) => {
    await using mq = await connect(broker.url)
    await fill(mq, 't', 40, 2)
    broker.partition('t', 1).logStartOffset = 15
    const seen: number[] = []
    await assert.rejects(async () => {
      for await (const record of mq.consume('t', { from: { offset: 10 } })) seen.push(record.partition)
    }, hasCode('OFFSET_OUT_OF_RANGE'))
    assert.deepEqual(seen, new Array<number>(10).fill(0))
  }))

test('damage is told where it is, after everything before it; the position stays', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    await fill(mq, 't', 300)
    const { batches } = broker.partition('t', 0)
    const damaged = batches[1]!
    damaged.bytes[damaged.bytes.length - 1]! ^= 1
    const consumer = mq.consume('t', { from: 'start', waitMs: 10 })
    let last = -1
    await assert.rejects(async () => {
      for await (const record of consumer) last = record.offset
    }, hasCode('CORRUPT_MESSAGE'))
    assert.equal(last, damaged.baseOffset - 1)
    assert.equal(consumer.positions()[0]!.offset, damaged.baseOffset)
    await assert.rejects(consumer[Symbol.asyncIterator]().next(), hasCode('CORRUPT_MESSAGE'))
    const fetches = broker.counts.get(1)!
    await new Promise((resolve) => setTimeout(resolve, 150))
    assert.ok(broker.counts.get(1)! <= fetches + 1, 'nothing more is fetched but what was on its way')
  }))

test('fetching pauses while the handler is behind', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    await fill(mq, 't', 20_000)
    const consumer = mq.consume('t', { from: 'start', to: 'end', prefetchBytesMax: 20_000, fetchBytesMax: 10_000 })
    let count = 0
    let peak = 0
    for await (const batch of consumer.batches()) {
      await new Promise((resolve) => setTimeout(resolve, 3))
      peak = Math.max(peak, consumer.stats().bufferedBytes)
      count += [...batch].length
    }
    assert.equal(count, 20_000)
    assert.ok(peak > 0 && peak <= 30_000, `${peak} bytes waited`)
  }))

test('a signal ends a waiting consumer; leaving the loop closes it', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const controller = new AbortController()
    const waiting = values(mq.consume('t', { signal: controller.signal }))
    setTimeout(() => controller.abort(), 20)
    await assert.rejects(waiting, hasCode('ABORTED'))
    await fill(mq, 't', 10)
    const consumer = mq.consume('t', { from: 'start' })
    for await (const record of consumer) if (record.offset === 4) break
    assert.equal(consumer.positions()[0]!.offset, 5)
    const again: string[] = []
    for await (const record of consumer) again.push(String(record.offset))
    assert.deepEqual(again, [])
  }))

test('a broker that is gone and comes back loses nothing of a consumer', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url, FAST)
    await fill(mq, 't', 100)
    const consumer = mq.consume('t', { from: 'start' })
    const seen: number[] = []
    const reading = (async () => {
      for await (const record of consumer) {
        seen.push(record.offset)
        if (seen.length === 200) break
      }
    })()
    await until(() => seen.length === 100)
    await broker.stop()
    await new Promise((resolve) => setTimeout(resolve, 30))
    await broker.listen()
    await fill(mq, 't', 100)
    await reading
    assert.deepEqual(
      seen,
      Array.from({ length: 200 }, (_, index) => index),
    )
  }))

test('what a slow reader has taken is let go of, though more waits all the time', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    await fill(mq, 't', 20_000)
    const consumer = mq.consume('t', { from: 'start', prefetchBytesMax: 20_000, fetchBytesMax: 2_000 })
    await consumer.start()
    const batches = consumer.batches()
    const taken: WeakRef<Uint8Array>[] = []
    while (taken.length < 40) {
      await until(() => consumer.stats().bufferedBytes > 10_000)
      taken.push(new WeakRef((await batches.next()).value.bytes))
    }
    await collectGarbage()
    const held = taken.filter((bytes) => bytes.deref() !== undefined).length
    assert.ok(held <= 2, `${held} of 40 are still held`)
  }))

test('calls that overlap share the records: each comes once, in the order of the calls, and all end', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    for (let index = 0; index < 20; index++) await mq.producer('t').send({ value: String(index) })
    const options = { from: 'start', to: 'end', fetchBytesMax: 1 } as const
    const iterator = mq.consume('t', options)[Symbol.asyncIterator]()
    const results = await Promise.all(Array.from({ length: 24 }, () => iterator.next()))
    const seen = results.map(({ done, value }) => (done === true ? 'end' : decoder.decode(value.value!)))
    assert.deepEqual(seen, [...range(0, 20), 'end', 'end', 'end', 'end'])
    const batches = mq.consume('t', options).batches()
    const taken = await Promise.all(Array.from({ length: 22 }, () => batches.next()))
    assert.deepEqual(
      taken.map(({ done, value }) => (done === true ? -1 : value.fromOffset)),
      [...Array.from({ length: 20 }, (_, index) => index), -1, -1],
    )
  }))

test('several readers wait at once, of one iterator and of several: every record wakes one, closing wakes all', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const consumer = mq.consume('t', { from: 'start', waitMs: 50 })
    const shared = consumer[Symbol.asyncIterator]()
    const seen: number[] = []
    const reader = async (next: () => Promise<IteratorResult<{ offset: number }>>): Promise<void> => {
      for (let result = await next(); result.done !== true; result = await next()) {
        seen.push(result.value.offset)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const readers = [shared, shared, shared, consumer[Symbol.asyncIterator]()].map((each) => reader(() => each.next()))
    await fill(mq, 't', 300)
    await until(() => seen.length === 300)
    assert.equal(consumer.positions()[0]!.offset, 300)
    await consumer.close()
    await Promise.all(readers)
    assert.deepEqual(
      seen,
      Array.from({ length: 300 }, (_, index) => index),
    )
  }))
