/** Events and stats: what is told of connections, batches and positions; what a listener does wrong breaks nothing. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { mock, test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { EventHub, LISTENERS_MAX, type ListenerError } from '../../../src/client/events.ts'
import { connect } from '../../../src/client/index.ts'
import { hasCode, until } from '../../support/expect.ts'
import { withFakeBroker } from '../../support/fake-broker.ts'

const FAST = { backoffMsMin: 2, backoffMsMax: 20 }

interface Beats {
  readonly beat: number
  readonly rest: string
}

function hub(): { hub: EventHub<Beats>; failures: ListenerError[] } {
  const failures: ListenerError[] = []
  return { hub: new EventHub<Beats>({ beat: true, rest: true }, (failure) => failures.push(failure)), failures }
}

test('listeners run in the order they came, until they are taken off; changes wait for the next event', () => {
  const { hub: events } = hub()
  const heard: string[] = []
  const off = events.on('beat', (beat) => {
    heard.push(`a${beat}`)
    off()
    events.on('beat', (again) => heard.push(`c${again}`))
  })
  events.on('beat', (beat) => heard.push(`b${beat}`))
  events.emit('beat', 1)
  events.emit('beat', 2)
  assert.deepEqual(heard, ['a1', 'b1', 'b2', 'c2'])
  const same = (): void => void heard.push('same')
  const offs = [events.on('rest', same), events.on('rest', same)]
  offs[0]!()
  offs[0]!()
  events.emit('rest', '')
  assert.equal(heard.filter((each) => each === 'same').length, 1)
  offs[1]!()
  assert.equal(events.has('rest'), false)
})

test('a signal takes a listener off, and nothing is left on the signal', () => {
  const { hub: events } = hub()
  const controller = new AbortController()
  const off = events.on('beat', () => {}, { signal: controller.signal })
  off()
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
  events.on('beat', () => {}, { signal: controller.signal })
  controller.abort()
  assert.equal(events.has('beat'), false)
  events.on('beat', () => {}, { signal: controller.signal })
  assert.equal(events.has('beat'), false)
})

test('listeners that throw or reject are told of, and the others run', async () => {
  const { hub: events, failures } = hub()
  let heard = 0
  events.on('beat', () => {
    throw new Error('thrown')
  })
  events.on('beat', async () => {
    throw new Error('rejected')
  })
  events.on('beat', () => runInNewContext("Promise.reject(new Error('of another realm'))"))
  events.on('beat', () => heard++)
  events.emit('beat', 1)
  assert.equal(heard, 1)
  await until(() => failures.length === 3)
  assert.deepEqual(
    failures.map(({ event, error }) => [event, (error as Error).message]),
    [
      ['beat', 'thrown'],
      ['beat', 'rejected'],
      ['beat', 'of another realm'],
    ],
  )
})

test('events have names, and listeners a bound', () => {
  const { hub: events } = hub()
  assert.throws(() => events.on('baet' as 'beat', () => {}), hasCode('INVALID_ARGUMENT', /did you mean 'beat'/))
  assert.throws(() => events.on('constructor' as 'beat', () => {}), hasCode('INVALID_ARGUMENT', /no event/))
  for (let count = 0; count < LISTENERS_MAX; count++) events.on('beat', () => {})
  assert.throws(() => events.on('beat', () => {}), hasCode('INVALID_ARGUMENT', /100 listeners/))
})

test('a client tells of connections made, lost and made again, and counts them', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url, FAST)
    const told: string[] = []
    mq.on('connected', ({ url, nodeId, version }) => told.push(`connected ${url === broker.url} ${nodeId} ${version}`))
    mq.on('disconnected', ({ error }) => told.push(`disconnected ${error.name}`))
    mq.on('reconnecting', ({ attempt }) => told.push(`reconnecting ${attempt > 0}`))
    let failedConnects = 0
    mq.on('connectFailed', ({ retryInMs }) => {
      assert.ok(retryInMs > 0 && retryInMs <= 20)
      failedConnects++
    })
    const producer = mq.producer('t')
    await producer.send({ value: '0' })
    await broker.stop()
    const sending = producer.send({ value: '1' })
    await until(() => failedConnects > 1)
    await broker.listen()
    assert.equal((await sending).offset, 1)
    assert.equal(told[0], 'disconnected MillraceError')
    assert.equal(told[1], 'reconnecting true')
    assert.equal(told.at(-1), 'connected true 1 fake')
    const { connectionsOpen, connectionsMade, connectionsLost, connectsFailed, producers } = mq.stats()
    assert.deepEqual([connectionsOpen, connectionsMade, connectionsLost, producers], [1, 2, 1, 1])
    assert.equal(connectsFailed, failedConnects)
  }))

test('a producer tells of batches stored, retried and failed, beside the receipts', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    broker.faults = ({ name, index }) => {
      if (name !== 'PRODUCE') return { kind: 'none' }
      if (index === 0) return { kind: 'error', code: 'OVERLOADED' }
      return index === 2 ? { kind: 'error', code: 'INVALID_RECORD' } : { kind: 'none' }
    }
    await using mq = await connect(broker.url, FAST)
    const producer = mq.producer('t')
    const told: string[] = []
    producer.on('batchRetried', ({ error, attempts }) => told.push(`retried ${attempts} ${error.message}`))
    producer.on('batchStored', ({ baseOffset, recordsCount }) => told.push(`stored ${baseOffset} ${recordsCount}`))
    producer.on('batchFailed', ({ recordsCount }) => told.push(`failed ${recordsCount}`))
    await producer.send({ value: '0' })
    await assert.rejects(producer.send({ value: '1' }), hasCode('INVALID_RECORD'))
    assert.match(told[0]!, /^retried 1 .*OVERLOADED/)
    assert.deepEqual(told.slice(1), ['stored 0 1', 'failed 1'])
    const { batchesStored, batchesFailed, batchesRetried } = producer.stats()
    assert.deepEqual([batchesStored, batchesFailed, batchesRetried], [1, 1, 1])
  }))

test('listeners and callbacks that throw are counted and told, and every record has its answer', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const told: string[] = []
    mq.on('listenerError', ({ event, error }) => {
      told.push(`${event}: ${(error as Error).message}`)
      throw new Error('told to nobody')
    })
    const fail = (): void => {
      throw new Error('oops')
    }
    const producer = mq.producer('t', { onStored: fail })
    producer.on('batchStored', fail)
    assert.equal((await producer.send({ value: '0' })).offset, 0)
    assert.equal((await producer.send({ value: '1' })).offset, 1)
    assert.deepEqual(told, Array(4).fill('batchStored: oops'))
    assert.equal(mq.stats().listenerErrors, 8)
  }))

test('a consumer tells where onOutOfRange moved it', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    await mq.producer('t').sendMany(Array.from({ length: 3 }, (_, index) => ({ value: `${index}` })))
    const consumer = mq.consume('t', { from: { offset: 100 }, onOutOfRange: 'earliest' })
    const moves: unknown[] = []
    consumer.on('offsetReset', (move) => moves.push(move))
    for await (const record of consumer) if (record.offset === 2) break
    assert.deepEqual(moves, [{ topic: 't', partition: 0, fromOffset: 100, toOffset: 0 }])
  }))

test('without a listener of listenerError, what a listener throws is thrown where the program sees it', (t) =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    const uncaught: unknown[] = []
    const plain = queueMicrotask
    const run = (task: () => void): void =>
      plain(() => {
        try {
          task()
        } catch (error) {
          uncaught.push(error)
        }
      })
    const mocked = mock.method(globalThis, 'queueMicrotask', run)
    t.after(() => mocked.mock.restore())
    await using mq = await connect(broker.url)
    const producer = mq.producer('t')
    producer.on('batchStored', () => {
      throw new Error('oops')
    })
    assert.equal((await producer.send({ value: '0' })).offset, 0)
    await until(() => uncaught.length > 0)
    assert.deepEqual(
      uncaught.map((error) => (error as Error).message),
      ['oops'],
    )
    assert.equal(mq.stats().listenerErrors, 1)
  }))
