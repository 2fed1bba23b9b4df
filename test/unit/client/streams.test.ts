/** Web Streams over producers and consumers: backpressure, ends, failures. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, json, type ProducerRecord, topic } from '../../../src/client/index.ts'
import { hasCode, until } from '../../support/expect.ts'
import { withFakeBroker } from '../../support/fake-broker.ts'

const FAST = { backoffMsMin: 2, backoffMsMax: 20 }
const FIXED = { from: 'start', to: 'end' } as const
const decoder = new TextDecoder()

function source(count: number, bytes = 10): ReadableStream<ProducerRecord> {
  let next = 0
  return new ReadableStream(
    {
      pull: (controller) => {
        if (next === count) controller.close()
        else controller.enqueue({ value: String(next++).padEnd(bytes, '.') })
      },
    },
    { highWaterMark: 0 },
  )
}

test('a stream piped into a producer is stored in order, within the bound of its buffer', () =>
  withFakeBroker({ topics: { t: 1 }, creditBytes: 70_000 }, async (broker) => {
    broker.faults = ({ name }) => (name === 'PRODUCE' ? { kind: 'delay', delayMs: 2 } : { kind: 'none' })
    await using mq = await connect(broker.url)
    const bufferBytesMax = 64 * 1024
    const producer = mq.producer('t', { bufferBytesMax, batchBytesMax: 16 * 1024 })
    let peak = 0
    producer.on('batchStored', () => {
      peak = Math.max(peak, producer.stats().bufferedBytes)
    })
    await source(1_000, 300).pipeTo(producer.writable())
    assert.equal(producer.stats().recordsStored, 1_000)
    assert.ok(peak > 0 && peak <= bufferBytesMax + 16 * 1024, `${peak} bytes`)
    const values: number[] = []
    for await (const { value } of mq.consume('t', FIXED).readable())
      values.push(Number.parseInt(decoder.decode(value!), 10))
    assert.deepEqual(
      values,
      Array.from({ length: 1_000 }, (_, index) => index),
    )
    assert.equal((await producer.send({ value: 'the producer stays open' })).offset, 1_000)
  }))

test('a record that is given up errors the stream, and is thrown there alone', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    broker.faults = ({ name }) => (name === 'PRODUCE' ? { kind: 'error', code: 'INVALID_RECORD' } : { kind: 'none' })
    await using mq = await connect(broker.url, FAST)
    const producer = mq.producer('t')
    await assert.rejects(source(3).pipeTo(producer.writable()), hasCode('INVALID_RECORD'))
    const writer = producer.writable().getWriter()
    await writer.write({ value: 'x' })
    await until(() => producer.stats().recordsFailed === 4)
    await assert.rejects(writer.write({ value: 'y' }), hasCode('INVALID_RECORD'))
    await producer.drain()
  }))

test('a topic that is not there errors the stream at once', () =>
  withFakeBroker({}, async (broker) => {
    await using mq = await connect(broker.url)
    await assert.rejects(
      source(3).pipeTo(mq.producer('absent').writable()),
      hasCode('UNKNOWN_TOPIC_OR_PARTITION', /'absent'/),
    )
  }))

test('aborting a stream ends a write that waits for room', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url, FAST)
    broker.faults = ({ name }) => (name === 'PRODUCE' ? { kind: 'drop-reply' } : { kind: 'none' })
    const producer = mq.producer('t', { bufferBytesMax: 2_048, batchBytesMax: 1_024 })
    const writer = producer.writable().getWriter()
    try {
      const writes = Array.from({ length: 50 }, () => writer.write({ value: 'x'.repeat(400) }))
      const settled = Promise.allSettled(writes)
      await until(() => producer.stats().bufferedBytes >= 2_048)
      await writer.abort(new Error('enough'))
      assert.equal((await settled).at(-1)!.status, 'rejected')
    } finally {
      producer.abort() // nothing is answered: close() would wait for the delivery timeout
    }
  }))

test('reading takes a record from the consumer when it is asked for, and cancelling closes the consumer', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const orders = topic('t', { value: json<{ id: number }>() })
    await source(0).pipeTo(mq.producer('t').writable())
    await mq.producer(orders).sendMany([0, 1, 2, 3].map((id) => ({ value: { id } })))
    const consumer = mq.consume(orders, { from: 'start' })
    const reader = consumer.readable().getReader()
    assert.deepEqual((await reader.read()).value!.value, { id: 0 })
    assert.deepEqual((await reader.read()).value!.value, { id: 1 })
    assert.deepEqual(
      consumer.positions().map(({ offset }) => offset),
      [2],
    )
    await reader.cancel()
    assert.equal(mq.stats().consumers, 0)
  }))

test('what ends a consumer errors its stream', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const reader = mq
      .consume('t', { from: { offset: 10 } })
      .readable()
      .getReader()
    await assert.rejects(reader.read(), hasCode('OFFSET_OUT_OF_RANGE'))
  }))
