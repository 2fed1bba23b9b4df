/** A producer against a broker that misbehaves: nothing lost, nothing twice, nothing out of order. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { connect, type MillraceError } from '../../../src/client/index.ts'
import { WAITING_SENDS_MAX } from '../../../src/client/waiting-sends.ts'
import { readRecords } from '../../../src/record/batch-reader.ts'
import { Connection } from '../../../src/transport/connection.ts'
import { hasCode, until } from '../../support/expect.ts'
import { type FakeBroker, type Fault, withFakeBroker } from '../../support/fake-broker.ts'
import { collectGarbage } from '../../support/garbage.ts'

const NONE: Fault = { kind: 'none' }
const FAST = { backoffMsMin: 2, backoffMsMax: 20 }
const decoder = new TextDecoder()

/** The values stored in a partition, in order. */
function stored(broker: FakeBroker, topic: string, partition = 0): string[] {
  return broker
    .partition(topic, partition)
    .batches.flatMap((batch) => readRecords(batch.bytes).map((record) => decoder.decode(record.value!)))
}

test('send() answers a receipt, and the record is stored with its key and headers', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const headers = [{ key: 'h', value: 'x' }]
    const receipt = await mq.producer('t').send({ key: 'k', value: 'v', headers, timestampMs: 5 })
    assert.deepEqual(receipt, { topic: 't', partition: 0, offset: 0, timestampMs: 5, durability: 'fsynced' })
    const [record] = readRecords(broker.partition('t', 0).batches[0]!.bytes)
    assert.equal(decoder.decode(record!.key!), 'k')
    assert.equal(record!.headers[0]!.key, 'h')
  }))

test('the receipt of a replicated record names how its replicas sync', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const producer = mq.producer('t')
    const told: unknown[] = []
    producer.on('batchStored', ({ durability, fsync }) => told.push([durability, fsync]))
    for (const number of [1, 3, 4]) {
      broker.durability = number
      const { durability, fsync } = await producer.send({ value: 'x' })
      assert.deepEqual(told.at(-1), [durability, fsync])
    }
    assert.deepEqual(told, [
      ['written', undefined],
      ['replicated', 'group'],
      ['replicated', 'interval'],
    ])
  }))

test('sends made before the topic is known keep their order', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const numbers = Array.from({ length: 100 }, (_, index) => index)
    const receipts = await mq.producer('t').sendMany(numbers.map((index) => ({ value: String(index) })))
    const offsets = receipts.map((receipt) => receipt.offset)
    assert.deepEqual(offsets, numbers)
    assert.deepEqual(stored(broker, 't'), numbers.map(String))
  }))

test('an unknown topic is named in the error of send, enqueue and ready', () =>
  withFakeBroker({}, async (broker) => {
    await using mq = await connect(broker.url)
    const producer = mq.producer('absent')
    const unknown = hasCode('UNKNOWN_TOPIC_OR_PARTITION', /'absent'/)
    await assert.rejects(producer.send({ value: 'x' }), unknown)
    await assert.rejects(producer.ready(), unknown)
    assert.throws(() => producer.enqueue({ value: 'x' }), unknown)
  }))

const SCHEDULES: Readonly<Record<string, (index: number) => Fault>> = {
  'replies are lost and the connection breaks': (index) => (index % 3 === 1 ? { kind: 'break', work: 'done' } : NONE),
  'the connection breaks before the work': (index) => (index % 3 === 1 ? { kind: 'break', work: 'not-done' } : NONE),
  'batches are refused for now': (index) => (index % 3 !== 2 ? { kind: 'error', code: 'OVERLOADED' } : NONE),
  'the leader moves': (index) => (index % 4 === 0 ? { kind: 'error', code: 'NOT_LEADER_OR_FOLLOWER' } : NONE),
  'everything at once': (index) =>
    [
      NONE,
      { kind: 'break', work: 'done' },
      { kind: 'error', code: 'OVERLOADED' },
      { kind: 'delay', delayMs: 3 },
      { kind: 'break', work: 'not-done' },
      NONE,
      { kind: 'error', code: 'NOT_LEADER_OR_FOLLOWER' },
    ][index % 7] as Fault,
}

for (const [name, schedule] of Object.entries(SCHEDULES)) {
  test(`no record is lost, doubled or reordered when ${name}`, () =>
    withFakeBroker({ topics: { t: 2 } }, async (broker) => {
      broker.faults = (request) => (request.name === 'PRODUCE' ? schedule(request.index) : NONE)
      await using mq = await connect(broker.url, FAST)
      const producer = mq.producer('t', { batchBytesMax: 1024 })
      await producer.ready()
      const expected: string[][] = [[], []]
      for (let index = 0; index < 2_000; index++) {
        const partition = index % 2
        const value = `record ${index}`
        expected[partition]!.push(value)
        while (!producer.enqueue({ partition, value })) await producer.ready()
        if (index % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      await producer.drain()
      assert.deepEqual(stored(broker, 't', 0), expected[0])
      assert.deepEqual(stored(broker, 't', 1), expected[1])
      assert.ok(producer.stats().batchesRetried > 0, 'the schedule caused no retry')
    }))
}

test('a batch that is refused for good fails alone; those after it are stored in order', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    broker.faults = ({ name, index }) =>
      name === 'PRODUCE' && index === 2 ? { kind: 'error', code: 'MESSAGE_TOO_LARGE' } : NONE
    await using mq = await connect(broker.url, FAST)
    const failed: number[] = []
    const producer = mq.producer('t', { batchBytesMax: 1024, onFailed: (batch) => failed.push(batch.recordsCount) })
    await producer.ready()
    for (let index = 0; index < 1_000; index++) assert.ok(producer.enqueue({ value: `record ${index}` }))
    await producer.drain()
    const numbers = stored(broker, 't').map((value) => Number(value.slice(7)))
    assert.equal(failed.length, 1)
    assert.equal(numbers.length, 1_000 - failed[0]!)
    assert.deepEqual(
      numbers,
      [...new Set(numbers)].sort((left, right) => left - right),
    )
  }))

test('a failure of enqueue() that nobody was told of is thrown by drain(), once', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    broker.faults = ({ name }) => (name === 'PRODUCE' ? { kind: 'error', code: 'INVALID_RECORD' } : NONE)
    await using mq = await connect(broker.url, FAST)
    const producer = mq.producer('t')
    await producer.ready()
    producer.enqueue({ value: 'x' })
    await assert.rejects(producer.drain(), hasCode('INVALID_RECORD'))
    await producer.drain()
  }))

test('a broker that lost its state is met by a new epoch when nothing is in doubt', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url, FAST)
    const producer = mq.producer('t')
    await producer.send({ value: '0' })
    await producer.send({ value: '1' })
    // The broker forgets the newest batch of the producer, as after a crash that lost unsynced records.
    for (const state of broker.partition('t', 0).producers.values()) state.batches.splice(1)
    assert.equal((await producer.send({ value: '2' })).offset, 2)
  }))

test('a broker that lost its state fails a batch loudly when that is in doubt', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    let lose = false
    broker.faults = ({ name }) => {
      if (name !== 'PRODUCE' || !lose) return NONE
      lose = false
      for (const state of broker.partition('t', 0).producers.values()) state.batches.splice(1)
      return { kind: 'break', work: 'not-done' }
    }
    await using mq = await connect(broker.url, FAST)
    const producer = mq.producer('t')
    await producer.send({ value: '0' })
    await producer.send({ value: '1' })
    lose = true
    await assert.rejects(producer.send({ value: '2' }), hasCode('OUT_OF_ORDER_SEQUENCE_NUMBER', /may or may not/))
    assert.equal((await producer.send({ value: '3' })).offset, 2)
  }))

test('what is not acknowledged within the delivery timeout fails, and says that it may be stored', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    broker.faults = ({ name }) => (name === 'PRODUCE' ? { kind: 'break', work: 'not-done' } : NONE)
    await using mq = await connect(broker.url, FAST)
    const producer = mq.producer('t', { deliveryTimeoutMs: 150 })
    await assert.rejects(producer.send({ value: 'x' }), hasCode('DELIVERY_TIMED_OUT', /may or may not/))
  }))

test('a reply that never comes ends the connection, and what was under way is sent again in its order', (context) =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    broker.faults = ({ name, index }) => (name === 'PRODUCE' && index === 1 ? { kind: 'drop-reply' } : NONE)
    await using mq = await connect(broker.url, FAST)
    const producer = mq.producer('t')
    await producer.send({ value: '0' })
    // The reply has 5 s beyond the broker's own timeout: here it has less.
    const { call } = Connection.prototype
    context.mock.method(Connection.prototype, 'call', function (this: Connection, codec, request, options) {
      return call.call(this, codec, request, { ...options, timeoutMs: 300 })
    } as typeof call)
    const sending = ['1', '2', '3'].map((value) => producer.send({ value }))
    assert.deepEqual(
      (await Promise.all(sending)).map(({ offset }) => offset),
      [1, 2, 3],
    )
    assert.deepEqual(stored(broker, 't'), ['0', '1', '2', '3'])
    assert.equal(mq.stats().connectionsLost, 1)
  }))

test('the buffer is bounded: enqueue says full and ready() waits while credit holds the rest back', () =>
  withFakeBroker({ topics: { t: 1 }, creditBytes: 70_000 }, async (broker) => {
    broker.faults = ({ name }) => (name === 'PRODUCE' ? { kind: 'delay', delayMs: 5 } : NONE)
    await using mq = await connect(broker.url)
    const bufferBytesMax = 64 * 1024
    const batchBytesMax = 16 * 1024
    const producer = mq.producer('t', { bufferBytesMax, batchBytesMax })
    await producer.ready()
    let refused = 0
    for (let index = 0; index < 2_000; index++) {
      while (!producer.enqueue({ value: 'x'.repeat(200) })) {
        refused++
        assert.ok(producer.stats().bufferedBytes <= bufferBytesMax + batchBytesMax)
        await producer.ready()
      }
    }
    await producer.drain()
    assert.ok(refused > 0)
    assert.equal(stored(broker, 't').length, 2_000)
    assert.equal(producer.stats().bufferedBytes, 0)
  }))

test('a record larger than batchBytesMax goes alone in a batch, in its place', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const producer = mq.producer('t', { batchBytesMax: 1024, lingerMs: 20 })
    await producer.ready()
    const values = ['a', 'b', 'x'.repeat(5_000), 'c', 'y'.repeat(300_000), 'z'.repeat(2_000), 'd', 'e']
    for (const value of values) assert.ok(producer.enqueue({ value }))
    await producer.drain()
    assert.deepEqual(stored(broker, 't'), values)
    const counts = broker.partition('t', 0).batches.map(({ bytes }) => readRecords(bytes).length)
    assert.deepEqual(counts, [2, 1, 1, 1, 1, 2])
    assert.equal(producer.stats().bufferedBytes, 0)
    // The buffer of a large one is not used again: batches stay as small as they should be.
    for (let index = 0; index < 100; index++) assert.ok(producer.enqueue({ value: 'x'.repeat(100) }))
    await producer.drain()
    const sizes = broker
      .partition('t', 0)
      .batches.slice(6)
      .map(({ bytes }) => bytes.length)
    assert.ok(Math.max(...sizes) <= 1024, `${Math.max(...sizes)} bytes`)
  }))

test('a record that fits no batch is refused with the sizes and what to raise; the next one is stored', async () => {
  const cases = [
    {
      limit: { config: { 'max.message.bytes': '4096' } },
      text: /5003 bytes .* 4096 bytes.*raise the topic's max\.message\.bytes/,
    },
    {
      limit: { batchBytesMax: 4_000 },
      text: /5003 bytes .* 4000 bytes.*raise rings\.requestBytes or limits\.frameBytes/,
    },
  ]
  for (const { limit, text } of cases)
    await withFakeBroker({ topics: { t: 1 }, ...limit }, async (broker) => {
      await using mq = await connect(broker.url)
      const producer = mq.producer('t', { batchBytesMax: 1024 })
      await producer.ready()
      const record = { key: 'ä', value: 'x'.repeat(5_000), headers: [{ key: 'h', value: null }] }
      assert.throws(() => producer.enqueue(record), hasCode('MESSAGE_TOO_LARGE', text))
      await assert.rejects(producer.send(record), hasCode('MESSAGE_TOO_LARGE', text))
      assert.equal((await producer.send({ value: 'y' })).offset, 0)
      assert.equal((await producer.send({ value: 'y'.repeat(3_000) })).offset, 1)
    })
})

test('a topic whose max.message.bytes changes is served by the new one after the next look at metadata', () => {
  const config = { 'max.message.bytes': '4096' }
  return withFakeBroker({ topics: { t: 1 }, config }, async (broker) => {
    await using mq = await connect(broker.url)
    const producer = mq.producer('t')
    await assert.rejects(producer.send({ value: 'x'.repeat(5_000) }), hasCode('MESSAGE_TOO_LARGE'))
    config['max.message.bytes'] = '8192'
    await mq.admin.topics.describe('t')
    assert.equal((await producer.send({ value: 'x'.repeat(5_000) })).offset, 0)
  })
})

test('a producer without a transactionalId says that it needs one for transactions', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    await assert.rejects(
      mq.producer('t').transaction(async () => {}),
      hasCode('INVALID_TXN_STATE', /transactionalId/),
    )
  }))

test('a signal gives send() up, and a closed producer refuses', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    broker.faults = ({ name }) => (name === 'PRODUCE' ? { kind: 'delay', delayMs: 50 } : NONE)
    await using mq = await connect(broker.url)
    const producer = mq.producer('t')
    const controller = new AbortController()
    const sending = producer.send({ value: 'x' }, { signal: controller.signal })
    controller.abort()
    await assert.rejects(sending, hasCode('ABORTED'))
    await producer.close()
    await assert.rejects(producer.send({ value: 'x' }), hasCode('CLOSED'))
  }))

test('acks none is delivered without an answer', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const receipt = await mq.producer('t', { acks: 'none' }).send({ value: 'x' })
    assert.deepEqual([receipt.offset, receipt.durability], [-1, 'none'])
    await until(() => stored(broker, 't').length === 1)
  }))

test('records without a key fill one batch, then move on; equal keys share a partition', () =>
  withFakeBroker({ topics: { t: 4 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const producer = mq.producer('t', { batchBytesMax: 2048 })
    await producer.ready()
    for (let index = 0; index < 1_000; index++) producer.enqueue({ value: `record ${index}` })
    await producer.drain()
    const counts = [0, 1, 2, 3].map((partition) => stored(broker, 't', partition).length)
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      1_000,
    )
    assert.ok(counts.filter((count) => count > 0).length > 1, `all in one partition: ${counts}`)
    const keys = ['a', new Uint8Array([0x61])]
    const places = await producer.sendMany(keys.map((key) => ({ key, value: '1' })))
    assert.equal(places[0]!.partition, places[1]!.partition)
  }))

test('batches are no larger than the broker and the topic take', async () => {
  const limits = [{ batchBytesMax: 4_096 }, { config: { 'max.message.bytes': '4096' } }]
  for (const limit of limits)
    await withFakeBroker({ topics: { t: 1 }, ...limit }, async (broker) => {
      await using mq = await connect(broker.url)
      await mq.producer('t', { lingerMs: 5 }).sendMany(Array.from({ length: 200 }, () => ({ value: 'x'.repeat(100) })))
      const sizes = broker.partition('t', 0).batches.map((batch) => batch.bytes.length)
      assert.ok(Math.max(...sizes) <= 4_096, `${Math.max(...sizes)} bytes`)
      assert.equal(stored(broker, 't').length, 200)
    })
})

test('a send that waits for room is given up by its signal, and leaves nothing on it else', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const producer = mq.producer('t')
    const [kept, given] = [new AbortController(), new AbortController()]
    // The topic is not known yet: all of them wait.
    const sends = Array.from({ length: 20 }, () => producer.send({ value: 'x' }, { signal: kept.signal }))
    const gone = assert.rejects(producer.send({ value: 'y' }, { signal: given.signal }), hasCode('ABORTED'))
    given.abort()
    await Promise.all([...sends, gone])
    assert.deepEqual(new Set(stored(broker, 't')), new Set(['x']))
    assert.equal(getEventListeners(kept.signal, 'abort').length, 0)
  }))

test('a record that is none is refused by its own send, and the others are stored', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const producer = mq.producer('t')
    const wrong: [record: unknown, text: RegExp][] = [
      [{ key: 'a' }, /value: .* not undefined/],
      [{ value: 42 }, /value: .* not a number/],
      [{ key: { id: 1 }, value: 'v' }, /key: .* not an object/],
      [undefined, /expected a record, .* not undefined/],
    ]
    // Those before the topic is known wait, and are refused then.
    for (let round = 0; round < 2; round++)
      for (const [record, text] of wrong)
        await assert.rejects(producer.send(record as { value: string }), hasCode('INVALID_RECORD', text))
    assert.throws(() => producer.enqueue({} as { value: string }), hasCode('INVALID_RECORD'))
    assert.equal((await producer.send({ value: 'v' })).offset, 0)
    assert.deepEqual(stored(broker, 't'), ['v'])
  }))

test('a producer that was closed is let go of by its client', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const used = async (): Promise<WeakRef<object>> => {
      const producer = mq.producer('t')
      await producer.send({ value: 'x' })
      await producer.close()
      return new WeakRef(producer)
    }
    const closed = await used()
    await until(() => mq.stats().producers === 0)
    await collectGarbage()
    assert.equal(closed.deref(), undefined)
  }))

test('a topic that was not there at first is found when it is', () =>
  withFakeBroker({}, async (broker) => {
    await using mq = await connect(broker.url)
    const producer = mq.producer('late')
    const unknown = hasCode('UNKNOWN_TOPIC_OR_PARTITION', /'late'/)
    await assert.rejects(producer.ready(), unknown)
    await mq.admin.topics.create('late', { partitions: 1 })
    assert.throws(() => producer.enqueue({ value: '0' }), unknown, 'what is known is told, and looked at again')
    await producer.ready()
    assert.ok(producer.enqueue({ value: '0' }))
    assert.equal((await producer.send({ value: '1' })).offset, 1)
    const second = mq.producer('later')
    await assert.rejects(second.send({ value: '0' }), hasCode('UNKNOWN_TOPIC_OR_PARTITION'))
    broker.createTopic('later', 1)
    assert.equal((await second.send({ value: '0' })).offset, 0)
  }))

test('a broker that is gone while the topic is first looked at is waited for by sends, and told by ready()', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url, { ...FAST, requestTimeoutMs: 30 })
    await broker.stop()
    const producer = mq.producer('t', { requestTimeoutMs: 30 })
    const sending = producer.send({ value: 'x' })
    await assert.rejects(producer.ready(), (error: MillraceError) => error.retriable)
    await assert.rejects(producer.ready(), (error: MillraceError) => error.retriable)
    assert.equal(producer.enqueue({ value: 'y' }), false)
    const given = mq.producer('t', { requestTimeoutMs: 30, deliveryTimeoutMs: 60 })
    await assert.rejects(given.send({ value: 'z' }), hasCode('DELIVERY_TIMED_OUT', /it is not stored/))
    await given.drain()
    await broker.listen()
    assert.equal((await sending).offset, 0)
  }))

test('the delivery timeout holds for what is in flight, and for what waits for room', { timeout: 20_000 }, () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url, FAST)
    const producer = mq.producer('t', { deliveryTimeoutMs: 1_000, batchBytesMax: 1024, bufferBytesMax: 1024 })
    // It knows all it needs by then: what follows leaves at once, also where the machine is slow.
    await producer.send({ value: 'w' })
    broker.faults = ({ name }) => ({ kind: name === 'PRODUCE' ? 'drop-reply' : 'none' })
    const told = [
      assert.rejects(producer.send({ value: 'x'.repeat(2_000) }), hasCode('DELIVERY_TIMED_OUT', /may or may not/)),
      assert.rejects(producer.send({ value: 'y' }), hasCode('DELIVERY_TIMED_OUT', /it is not stored/)),
    ]
    assert.equal(producer.stats().waitingSends, 1)
    await Promise.all(told)
    await producer.drain()
    const { bufferedBytes, waitingSends } = producer.stats()
    assert.deepEqual([bufferedBytes, waitingSends], [0, 0])
    // The reply comes too late for anybody; those that follow go on behind it.
    broker.faults = () => NONE
    broker.breakConnections()
    assert.equal((await producer.send({ value: 'z' })).offset, 2)
    assert.deepEqual(stored(broker, 't').at(-1), 'z')
  }),
)

test('an onFailed that throws or rejects leaves the failure to drain()', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    broker.faults = ({ name }) => (name === 'PRODUCE' ? { kind: 'error', code: 'INVALID_RECORD' } : NONE)
    await using mq = await connect(broker.url, FAST)
    const told: string[] = []
    mq.on('listenerError', ({ event, error }) => told.push(`${event}: ${(error as Error).message}`))
    const throwing = (): void => {
      throw new Error('thrown')
    }
    const rejecting = async (): Promise<void> => throwing()
    const rejectingElsewhere = (): unknown => runInNewContext("Promise.reject(new Error('thrown'))")
    for (const onFailed of [throwing, rejecting, rejectingElsewhere]) {
      const producer = mq.producer('t', { onFailed })
      await producer.ready()
      producer.enqueue({ value: 'x' })
      const before = told.length
      await until(() => told.length > before)
      await assert.rejects(producer.drain(), hasCode('INVALID_RECORD'))
    }
    assert.deepEqual(told, Array(3).fill('batchFailed: thrown'))
  }))

test('sendMany() takes records as there is room, and calls of send() that wait have a bound', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    broker.faults = ({ name }) => ({ kind: name === 'PRODUCE' ? 'drop-reply' : 'none' })
    await using mq = await connect(broker.url)
    const producer = mq.producer('t', { batchBytesMax: 1024, bufferBytesMax: 1024 })
    await producer.ready()
    let taken = 0
    function* records() {
      for (; taken < 10_000; taken++) yield { value: 'x'.repeat(100) }
    }
    const sending = assert.rejects(producer.sendMany(records()), hasCode('CLOSED'))
    await until(() => producer.stats().waitingSends > 0)
    assert.ok(taken < 1_200, `${taken} taken`)
    producer.abort()
    await sending
    const other = mq.producer('t', { bufferBytesMax: 1024, batchBytesMax: 1024 })
    const sends = Array.from({ length: WAITING_SENDS_MAX }, () => other.send({ value: '' }))
    const outcomes = Promise.allSettled(sends)
    const tooMany = assert.rejects(other.send({ value: '' }), hasCode('BUFFER_FULL', /wait already/))
    assert.equal(other.stats().waitingSends, WAITING_SENDS_MAX)
    other.abort()
    await Promise.all([tooMany, outcomes])
    assert.equal(other.stats().waitingSends, 0)
  }))
