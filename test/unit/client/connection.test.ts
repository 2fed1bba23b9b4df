/** Connecting, refusals, credit and deadlines. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BrokerConnections } from '../../../src/client/broker-connections.ts'
import { checkedUrls, resolveClientOptions } from '../../../src/client/client-options.ts'
import { Coordinators } from '../../../src/client/coordinators.ts'
import { connect, isMillraceError } from '../../../src/client/index.ts'
import { nodeRuntime } from '../../../src/client/node-runtime.ts'
import { Api, CoordinatorKind, metadata, produce } from '../../../src/protocol/index.ts'
import { Connection } from '../../../src/transport/connection.ts'
import type { Transport } from '../../../src/transport/transport.ts'
import { hasCode, until } from '../../support/expect.ts'
import { FakeBroker, withFakeBroker } from '../../support/fake-broker.ts'
import { collectGarbage } from '../../support/garbage.ts'

function connectionsTo(url: string, backoff = { delayMsMin: 1, delayMsMax: 5 }, requestTimeoutMs = 30_000) {
  const { connectTimeoutMs } = resolveClientOptions({})
  const names = { clientName: 'test', clientVersion: '0' }
  const none = { onConnected() {}, onDisconnected() {}, onConnectFailed() {}, onReconnecting() {} }
  const runtime = nodeRuntime()
  const options = { ...names, connectTimeoutMs, requestTimeoutMs, backoff }
  return { runtime, connections: new BrokerConnections(runtime, [url], options, none) }
}

test('nobody there: CONNECTION_FAILED names the URL', async () => {
  const broker = await FakeBroker.start()
  await broker.stop()
  await assert.rejects(connect(broker.url), hasCode('CONNECTION_FAILED', new RegExp(String(broker.port))))
})

test('the second URL serves when the first does not', () =>
  withFakeBroker({}, async (broker) => {
    await using mq = await connect(['ws://127.0.0.1:1', broker.url], { backoffMsMin: 1, backoffMsMax: 1 })
    assert.equal((await mq.broker()).url, broker.url)
  }))

test('when the first of several brokers goes, the second serves what follows', () =>
  withFakeBroker({ topics: { t: 1 } }, (first) =>
    withFakeBroker({ topics: { t: 1 } }, async (second) => {
      await using mq = await connect([first.url, second.url], { backoffMsMin: 1, backoffMsMax: 5 })
      const producer = mq.producer('t')
      assert.equal((await producer.send({ value: '0' })).offset, 0)
      await first.stop()
      await producer.send({ value: '1' })
      assert.equal(second.partition('t', 0).highWatermark, 1)
      assert.equal((await mq.broker()).url, second.url)
    }),
  ))

test('a broker that has moved is found where metadata says it is', () =>
  withFakeBroker({}, (before) =>
    withFakeBroker({}, async (after) => {
      const { runtime, connections } = connectionsTo(before.url)
      const { nodeId } = (await connections.any()).broker
      await before.stop()
      await until(() => connections.openTo(nodeId) === undefined)
      connections.learn([{ nodeId, url: after.url, rack: null }])
      const deadlineMs = runtime.clock.monotonicMs() + 20_000
      assert.equal((await connections.node(nodeId, { deadlineMs })).url, after.url)
      connections.close()
    }),
  ))

test('everything that waits for a broker is given up by its signal', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url)
    const busy = mq.producer('t')
    await busy.ready()
    broker.faults = ({ name }) => (name === 'HELLO' ? { kind: 'none' } : { kind: 'drop-reply' })
    const { topics } = mq.admin
    assert.ok(busy.enqueue({ value: 'x' }))
    const waits: Record<string, (signal: AbortSignal) => Promise<unknown>> = {
      'topics.list': (signal) => topics.list({ signal }),
      'topics.create': (signal) => topics.create('u', { signal }),
      'topics.describe': (signal) => topics.describe('t', { signal }),
      'topics.alter': (signal) => topics.alter('t', { partitions: 2, signal }),
      'topics.trim': (signal) => topics.trim('t', { signal }),
      'topics.offsets': (signal) => topics.offsets('t', 'end', { signal }),
      'topics.delete': (signal) => topics.delete('other', { signal }),
      describeCluster: (signal) => mq.admin.describeCluster({ signal }),
      'consumer.start': (signal) => mq.consume('t', { signal }).start(),
      'consumer.next': (signal) => mq.consume('t', { signal })[Symbol.asyncIterator]().next(),
      'consumer.read': (signal) => mq.consume('t', { signal }).readable().getReader().read(),
      'producer.drain': (signal) => busy.drain({ signal }),
      'producer.close': (signal) => busy.close({ signal }),
      'producer.ready': (signal) => mq.producer('not-known-yet').ready({ signal }),
      'producer.send': (signal) => mq.producer('t').send({ value: 'x' }, { signal }),
      'producer.sendMany': (signal) => mq.producer('t').sendMany([{ value: 'x' }], { signal }),
    }
    for (const [name, wait] of Object.entries(waits)) {
      const controller = new AbortController()
      const waiting = wait(controller.signal)
      setTimeout(() => controller.abort(new Error(`enough of ${name}`)), 2)
      await assert.rejects(waiting, (error: unknown) => {
        assert.ok(isMillraceError(error), name)
        assert.equal(error.code, 'ABORTED', name)
        assert.match(String(error.cause), /enough of/)
        return true
      })
    }
    broker.faults = () => ({ kind: 'none' })
    broker.breakConnections()
  }))

test('connectWaitMs waits for a broker that is about to start', async () => {
  const broker = await FakeBroker.start()
  await broker.stop()
  const connecting = connect(broker.url, { connectWaitMs: 10_000, backoffMsMin: 5, backoffMsMax: 20 })
  await new Promise((resolve) => setTimeout(resolve, 50))
  await broker.listen()
  await (await connecting).close()
  await broker.stop()
})

test('a wrong token is refused at once; the right one serves', () =>
  withFakeBroker({ token: 'secret' }, async (broker) => {
    await assert.rejects(connect(broker.url, { connectWaitMs: 5_000 }), hasCode('SASL_AUTHENTICATION_FAILED'))
    await using mq = await connect(broker.url, { token: 'secret' })
    assert.equal((await mq.admin.topics.list()).length, 0)
  }))

test('a signal gives connect() up', async () => {
  const controller = new AbortController()
  const connecting = connect('ws://127.0.0.1:1', { connectWaitMs: 60_000, signal: controller.signal })
  setTimeout(() => controller.abort(), 20)
  await assert.rejects(connecting, hasCode('ABORTED'))
})

test('a broker that never answers the hello is given up after connectTimeoutMs', () =>
  withFakeBroker({ faults: () => ({ kind: 'drop-reply' }) }, async (broker) => {
    await assert.rejects(connect(broker.url, { connectTimeoutMs: 150 }), hasCode('CONNECTION_FAILED'))
  }))

test('a change whose outcome is unknown is not repeated; a refused one is', () =>
  withFakeBroker({}, async (broker) => {
    await using mq = await connect(broker.url, { backoffMsMin: 1, backoffMsMax: 5 })
    await mq.admin.topics.create('a')
    broker.faults = ({ name, index }) =>
      name === 'DELETE_TOPIC' && index === 0 ? { kind: 'break', work: 'done' } : { kind: 'none' }
    await assert.rejects(mq.admin.topics.delete('a'), hasCode('NETWORK_EXCEPTION', /may or may not/))
    assert.ok(!broker.topics.has('a'))
    assert.equal(broker.counts.get(Api.DELETE_TOPIC), 1)
    broker.faults = ({ name, index }) =>
      name === 'CREATE_TOPIC' && index < 4 ? { kind: 'error', code: 'OVERLOADED' } : { kind: 'none' }
    assert.equal((await mq.admin.topics.create('b')).created, true)
  }))

test('a create whose answer was lost is read back, and asked for once more where nothing was made', () =>
  withFakeBroker({}, async (broker) => {
    await using mq = await connect(broker.url, { backoffMsMin: 1, backoffMsMax: 5 })
    for (const work of ['done', 'not-done'] as const) {
      const first = broker.counts.get(Api.CREATE_TOPIC) ?? 0
      broker.faults = ({ name, index }) =>
        name === 'CREATE_TOPIC' && index === first ? { kind: 'break', work } : { kind: 'none' }
      const created = await mq.admin.topics.create(work, { partitions: 3 })
      const { topicId } = broker.topics.get(work)!
      assert.deepEqual(created, { name: work, topicId, partitions: 3, created: true })
      assert.equal(broker.counts.get(Api.CREATE_TOPIC), first + (work === 'done' ? 1 : 2))
    }
    // There was one of this name before, with other partitions: that is not what was asked for.
    const first = broker.counts.get(Api.CREATE_TOPIC)!
    broker.faults = ({ name, index }) =>
      name === 'CREATE_TOPIC' && index === first ? { kind: 'break', work: 'done' } : { kind: 'none' }
    await assert.rejects(mq.admin.topics.create('done', { partitions: 4 }), hasCode('TOPIC_ALREADY_EXISTS'))
  }))

test('a change without an answer in time is in doubt, and what else goes over its connection goes on', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url, { requestTimeoutMs: 1_000, backoffMsMin: 1, backoffMsMax: 5 })
    await mq.admin.topics.create('a')
    const consumer = mq.consume('t', { from: 'start', waitMs: 60_000 })
    await consumer.start()
    const first = consumer[Symbol.asyncIterator]().next()
    await until(() => broker.counts.get(Api.FETCH) === 1)
    broker.faults = ({ name, index }) =>
      ['DELETE_TOPIC', 'CREATE_TOPIC'].includes(name) && index <= 1 ? { kind: 'drop-reply' } : { kind: 'none' }
    await assert.rejects(mq.admin.topics.delete('a'), hasCode('REQUEST_TIMED_OUT', /may or may not have happened/))
    assert.equal(broker.counts.get(Api.DELETE_TOPIC), 1, 'it is not repeated')
    const { topicId, created } = await mq.admin.topics.create('b')
    assert.deepEqual([topicId, created], [broker.topics.get('b')!.topicId, true], 'it is read back')
    assert.equal(mq.stats().connectionsLost, 0)
    await mq.producer('t').send({ value: 'x' })
    assert.equal((await first).value.offset, 0, 'the fetch that was under way')
  }))

test('who coordinates was asked, and no answer came: what was to be asked of the coordinator is not in doubt', () =>
  withFakeBroker({}, async (broker) => {
    const { connections } = connectionsTo(broker.url, undefined, 300)
    broker.faults = ({ name }) => ({ kind: name === 'FIND_COORDINATOR' ? 'drop-reply' : 'none' })
    const coordinators = new Coordinators(connections)
    const found = coordinators.connection({ kind: CoordinatorKind.GROUP, id: 'g' })
    await assert.rejects(found, hasCode('CONNECTION_FAILED', /no reply to find-coordinator in time/))
    connections.close()
  }))

test('frames beyond the credit wait for it', () =>
  withFakeBroker({ topics: { t: 1 }, creditBytes: 3_000 }, async (broker) => {
    broker.faults = () => ({ kind: 'delay', delayMs: 2 })
    await using mq = await connect(broker.url)
    const producer = mq.producer('t', { batchBytesMax: 1_024, inFlightMax: 5 })
    await producer.ready()
    for (let index = 0; index < 200; index++) producer.enqueue({ value: 'x'.repeat(100) })
    await producer.drain()
    assert.equal(broker.partition('t', 0).highWatermark, 200)
    assert.equal(broker.connections, 1, 'the broker closed a connection that sent too much')
  }))

test('a frame that has left is let go of, though others wait for credit all the time', () =>
  withFakeBroker({ creditBytes: 3_000 }, async (broker) => {
    const options = { clientName: 't', clientVersion: '0', connectTimeoutMs: 5_000, requestTimeoutMs: 600_000 }
    const connection = await Connection.open(nodeRuntime(), broker.url, options)
    const header = produce.encodeRequest({ acks: 0, timeoutMs: 1, parts: [] })
    const left: WeakRef<Uint8Array>[] = []
    let sent = 0
    const send = (): void => {
      const bytes = new Uint8Array(1_000)
      left.push(new WeakRef(bytes))
      connection.sendOneWay(produce.api, header, [bytes], () => sent++)
    }
    for (let index = 0; index < 50; index++) {
      send()
      send()
      await until(() => sent > index)
    }
    assert.ok(connection.queuedBytes > 10_000)
    await collectGarbage()
    const held = left.slice(0, 40).filter((bytes) => bytes.deref() !== undefined).length
    assert.ok(held <= 1, `${held} of 40 are still held`)
    connection.close()
    assert.equal(sent, 100, 'the end tells those that never left')
    assert.equal(connection.queuedBytes, 0)
  }))

test('what is not the URL of a broker is refused by name', () => {
  assert.deepEqual(checkedUrls('localhost:7171, wss://b:1/'), ['ws://localhost:7171', 'wss://b:1'])
  assert.deepEqual(checkedUrls(['b:1', 'ws://b:1/', 'ws://b:2', 'WS://B:1']), ['ws://b:1', 'ws://b:2'])
  for (const wrong of ['http://a:1', '', 'ws://', 'nonsense here'])
    assert.throws(() => checkedUrls(wrong), hasCode('INVALID_ARGUMENT'), wrong)
  assert.throws(() => checkedUrls([]), hasCode('INVALID_ARGUMENT'))
  for (const wrong of [undefined, {}, 7171, [undefined]])
    assert.throws(() => checkedUrls(wrong as never), hasCode('INVALID_ARGUMENT', /connect\(\) takes|not the URL/))
})

test('a closed client refuses, and says so', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    const mq = await connect(broker.url)
    await mq.close()
    assert.throws(() => mq.producer('t'), hasCode('CLOSED'))
    await assert.rejects(mq.admin.topics.list(), hasCode('CLOSED'))
  }))

test('a message that stops halfway ends the connection, long before its request would time out', () =>
  withFakeBroker({ faults: ({ name }) => ({ kind: name === 'METADATA' ? 'drop-reply' : 'none' }) }, async (broker) => {
    let stalledMs = 0
    const runtime = nodeRuntime()
    const transport: Transport = {
      connect: (...args) => {
        const connection = runtime.transport.connect(...args)
        return {
          send: (parts, done) => connection.send(parts, done),
          close: (code, text) => connection.close(code, text),
          terminate: () => connection.terminate(),
          get bufferedBytes() {
            return connection.bufferedBytes
          },
          get messageStalledMs() {
            return stalledMs
          },
        }
      },
    }
    const options = { clientName: 't', clientVersion: '0', connectTimeoutMs: 5_000, requestTimeoutMs: 600_000 }
    const connection = await Connection.open({ ...runtime, transport }, broker.url, options)
    const asked = connection.call(metadata, { topics: [] })
    stalledMs = 10_001
    await assert.rejects(asked, hasCode('NETWORK_EXCEPTION', /a message stopped halfway/))
    assert.equal(connection.isOpen, false)
  }))

test('close() ends attempts to connect, and the waits between them', async () => {
  const wait = { deadlineMs: Number.POSITIVE_INFINITY }
  await withFakeBroker({ faults: () => ({ kind: 'drop-reply' }) }, async (broker) => {
    const { connections } = connectionsTo(broker.url)
    const attempt = assert.rejects(connections.any(wait), hasCode('CLOSED'))
    await until(() => broker.connections === 1)
    connections.close()
    await attempt
    await assert.rejects(connections.any(), hasCode('CLOSED'))
  })
  const { connections } = connectionsTo('ws://127.0.0.1:1', { delayMsMin: 600_000, delayMsMax: 600_000 })
  await assert.rejects(connections.any(), hasCode('CONNECTION_FAILED'))
  const pause = assert.rejects(connections.any(wait), hasCode('CLOSED'))
  await new Promise((resolve) => setImmediate(resolve))
  connections.close()
  await pause
})

test('a check of deadlines that comes late judges nothing before what has arrived is read', () =>
  withFakeBroker({}, async (broker) => {
    const runtime = nodeRuntime()
    let nowMs = 0
    const checks: (() => void)[] = []
    const virtual = {
      ...runtime,
      clock: { nowMs: () => nowMs, monotonicMs: () => nowMs },
      startTimer: (_delayMs: number, task: () => void) => {
        checks.push(task)
        return { cancel: () => void checks.splice(checks.indexOf(task), 1) }
      },
    }
    const options = { clientName: 't', clientVersion: '0', connectTimeoutMs: 5_000, requestTimeoutMs: 1_000 }
    const connection = await Connection.open(virtual, broker.url, options)
    const check = (): void => checks.shift()?.()
    check() // of the hello, which was answered
    const answered = connection.call(metadata, { topics: [] })
    nowMs += 60_000 // as after a suspend
    check()
    assert.deepEqual((await answered).value.topics, [])
    check() // in time
    broker.faults = () => ({ kind: 'drop-reply' })
    const lost = connection.call(metadata, { topics: [] })
    nowMs += 60_000
    check()
    assert.ok(connection.isOpen)
    nowMs += 60_000 // the second late one in a row: what had come was read meanwhile
    check()
    await assert.rejects(lost, hasCode('REQUEST_TIMED_OUT', /no reply to metadata in time/))
    connection.close()
  }))

for (const nodeId of [1, 2])
  test(`a client that only consumes finds node ${nodeId} where the other URL leads`, () =>
    withFakeBroker({ topics: { t: 1 } }, (first) =>
      withFakeBroker({ topics: { t: 1 }, nodeId }, async (second) => {
        await using filling = await connect(second.url)
        await filling.producer('t').sendMany([{ value: '0' }, { value: '1' }])
        await using mq = await connect([first.url, second.url], { backoffMsMin: 1, backoffMsMax: 5 })
        await mq.producer('t').send({ value: '0' })
        // Its buffer is full, so that no fetch is under way that could break and tell.
        const consumer = mq.consume('t', { from: 'start', waitMs: 10, prefetchBytesMax: 1 })
        await consumer.start()
        await until(() => consumer.stats().bufferedBytes > 0)
        const gone = new Promise((resolve) => mq.on('disconnected', resolve))
        await first.stop()
        await gone
        const iterator = consumer[Symbol.asyncIterator]()
        assert.equal((await iterator.next()).value.offset, 0)
        assert.equal((await iterator.next()).value.offset, 1)
        assert.deepEqual((await mq.admin.topics.offsets('t', 'end'))[0]?.offset, 2)
      }),
    ))

test('a producer that was idle while its broker went finds the one that leads now', () =>
  withFakeBroker({ topics: { t: 1 } }, (first) =>
    withFakeBroker({ topics: { t: 1 }, nodeId: 2 }, async (second) => {
      await using mq = await connect([first.url, second.url], { backoffMsMin: 1, backoffMsMax: 5 })
      const producer = mq.producer('t')
      await producer.send({ value: '0' })
      const gone = new Promise((resolve) => mq.on('disconnected', resolve))
      await first.stop()
      await gone
      await producer.send({ value: '1' })
      assert.equal(second.partition('t', 0).highWatermark, 1)
    }),
  ))
