/** Options of producers, consumers and clients: what they resolve to, and how what is wrong is named. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { resolveClientOptions } from '../../../src/client/client-options.ts'
import { resolveConsumerOptions } from '../../../src/client/consumer-options.ts'
import { type ConsumerOptions, connect, type ProducerOptions } from '../../../src/client/index.ts'
import { resolveProducerOptions } from '../../../src/client/producer-options.ts'
import { hasCode } from '../../support/expect.ts'
import { withFakeBroker } from '../../support/fake-broker.ts'

const NO_BOUND = Number.MAX_SAFE_INTEGER

function delivery(options: ProducerOptions) {
  const { acks, idempotent, retriesMax, inFlightMax } = resolveProducerOptions(options)
  return { acks, idempotent, retriesMax, inFlightMax }
}

test('semantics sets acks, idempotent and retriesMax together, and each can be set alone', () => {
  const once = { acks: -1, idempotent: true, retriesMax: NO_BOUND, inFlightMax: 5 }
  assert.deepEqual(delivery({}), once)
  assert.deepEqual(delivery({ semantics: 'exactly-once' }), once)
  const atLeastOnce = { acks: -1, idempotent: false, retriesMax: NO_BOUND, inFlightMax: 1 }
  assert.deepEqual(delivery({ semantics: 'at-least-once' }), atLeastOnce)
  const atMostOnce = { acks: 0, idempotent: false, retriesMax: 0, inFlightMax: 5 }
  assert.deepEqual(delivery({ semantics: 'at-most-once' }), atMostOnce)
  assert.deepEqual(delivery({ semantics: 'at-most-once', acks: 'leader' }), { ...atMostOnce, acks: 1, inFlightMax: 1 })
  assert.deepEqual(delivery({ semantics: 'at-least-once', retriesMax: 3 }), { ...atLeastOnce, retriesMax: 3 })
  assert.deepEqual(delivery({ acks: 'none' }), { acks: 0, idempotent: false, retriesMax: NO_BOUND, inFlightMax: 5 })
})

test('what exactly-once rests on is not taken away from it, nor from transactions', () => {
  const exactlyOnce = { semantics: 'exactly-once' } as const
  for (const taken of [{ acks: 'leader' }, { acks: 'none' }, { idempotent: false }] as const)
    assert.throws(
      () => resolveProducerOptions({ ...exactlyOnce, ...taken }),
      hasCode('INVALID_ARGUMENT', /exactly-once/),
    )
  for (const taken of [{ acks: 'leader' }, { idempotent: false }, { semantics: 'at-least-once' }] as const)
    assert.throws(
      () => resolveProducerOptions({ transactionalId: 'p1', ...taken }),
      hasCode('INVALID_ARGUMENT', /a transactionalId rests on/),
    )
  assert.throws(
    () => resolveProducerOptions({ semantics: 'at-least-twice' as 'at-least-once' }),
    hasCode('INVALID_ARGUMENT', /semantics: expected one of at-most-once, at-least-once, exactly-once/),
  )
})

test('durations are milliseconds or text with a unit', () => {
  const producer = resolveProducerOptions({ lingerMs: '5ms', deliveryTimeoutMs: '2m', requestTimeoutMs: '1.5s' })
  assert.deepEqual([producer.lingerMs, producer.deliveryTimeoutMs, producer.requestTimeoutMs], [5, 120_000, 1_500])
  assert.equal(resolveConsumerOptions({ waitMs: '1s' }).waitMs, 1_000)
  const client = resolveClientOptions({ connectTimeoutMs: '5s', connectWaitMs: '1h', backoffMsMax: 300 })
  assert.deepEqual([client.connectTimeoutMs, client.connectWaitMs, client.backoffMsMax], [5_000, 3_600_000, 300])
  for (const wrong of ['5', '5 s', '-5s', '5w', 's', ''])
    assert.throws(() => resolveProducerOptions({ lingerMs: wrong as '5s' }), hasCode('INVALID_ARGUMENT', /lingerMs/))
  assert.throws(() => resolveProducerOptions({ lingerMs: '2h' }), hasCode('INVALID_ARGUMENT', /at most 60000/))
  assert.throws(() => resolveProducerOptions({ lingerMs: '0.1ms' }), hasCode('INVALID_ARGUMENT', /an integer/))
})

test('wrong choices are named with the right ones', () => {
  const producers: [ProducerOptions, RegExp][] = [
    [{ acks: 'some' as 'all' }, /acks: expected one of none, leader, all, not 'some'/],
    [{ partitioner: 'roundrobin' as 'random' }, /partitioner: expected sticky, random, round-robin or a function/],
    [{ retriesMax: -1 }, /retriesMax/],
  ]
  for (const [options, text] of producers)
    assert.throws(() => resolveProducerOptions(options), hasCode('INVALID_ARGUMENT', text))
  const consumers: [ConsumerOptions, RegExp][] = [
    [{ isolation: 'serializable' as 'read_committed' }, /isolation: expected one of read_uncommitted, read_committed/],
    [{ onDecodeError: 'ignore' as 'skip' }, /onDecodeError: expected one of fail, skip, pass/],
    [{ from: { lasst: 3 } as unknown as 'end' }, /from: expected 'start', 'end'/],
  ]
  for (const [options, text] of consumers)
    assert.throws(() => resolveConsumerOptions(options), hasCode('INVALID_ARGUMENT', text))
})

test('both isolations read up to the high watermark while there are no transactions', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    await mq.producer('t').sendMany([{ value: '0' }, { value: '1' }])
    for (const isolation of ['read_uncommitted', 'read_committed'] as const) {
      const offsets: number[] = []
      for await (const record of mq.consume('t', { from: 'start', to: 'end', isolation })) offsets.push(record.offset)
      assert.deepEqual(offsets, [0, 1])
    }
  }))

test('at-most-once with acks leader does not send a batch again', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    let produces = 0
    broker.faults = ({ name }) => {
      if (name !== 'PRODUCE') return { kind: 'none' }
      produces++
      return produces === 1 ? { kind: 'break', work: 'done' } : { kind: 'none' }
    }
    await using mq = await connect(broker.url, { backoffMsMin: 2, backoffMsMax: 20 })
    const producer = mq.producer('t', { semantics: 'at-most-once', acks: 'leader' })
    await assert.rejects(producer.send({ value: '0' }), hasCode('NETWORK_EXCEPTION'))
    assert.equal((await producer.send({ value: '1' })).offset, 1)
    assert.equal(produces, 2)
    assert.equal(producer.stats().batchesRetried, 0)
  }))
