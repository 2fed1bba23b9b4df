/** Connections of a client to a cluster: URLs that lead nowhere, brokers that say nothing, brokers of somebody else. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { connect } from '../../../src/client/index.ts'
import { nodeRuntime } from '../../../src/client/node-runtime.ts'
import { Api, metadata, PROLOGUE_BYTES } from '../../../src/protocol/index.ts'
import { Connection } from '../../../src/transport/connection.ts'
import { hasCode, until } from '../../support/expect.ts'
import { FakeBroker, type Fault, withFakeBroker } from '../../support/fake-broker.ts'
import { type FakeCluster, withFakeCluster } from '../../support/fake-cluster.ts'

const NONE: Fault = { kind: 'none' }
const FAST = { backoffMsMin: 2, backoffMsMax: 20 }

/** A port that takes connections and says nothing, as a machine behind a broken cable. */
async function withSilentPort(body: (url: string) => Promise<void>): Promise<void> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    await body(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
  } finally {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
}

test('a given URL that says nothing holds the next one up for a moment only', () =>
  withSilentPort((silent) =>
    withFakeBroker({ topics: { t: 1 } }, async (broker) => {
      const startedMs = performance.now()
      await using mq = await connect([silent, broker.url], { ...FAST, connectTimeoutMs: 10_000 })
      assert.equal((await mq.broker()).url, broker.url)
      assert.equal((await mq.producer('t').send({ value: 'x' })).offset, 0)
      assert.ok(performance.now() - startedMs < 5_000)
    }),
  ))

test('a leader behind a URL that says nothing is left for the one that leads by then', () =>
  withSilentPort((silent) =>
    withFakeCluster({ brokers: 2, topics: { t: 1 } }, async (cluster) => {
      await using mq = await connect(cluster.broker(2).url, FAST)
      // As it is told, the leader is there.
      for (const broker of cluster.brokers) {
        const { view } = broker
        broker.tellsViewUrls = true
        broker.view = {
          ...view,
          brokers: view.brokers.map((each) => (each.nodeId === 1 ? { ...each, url: silent } : each)),
        }
      }
      const startedMs = performance.now()
      const sending = mq.producer('t').send({ value: 'x' })
      setTimeout(() => cluster.moveLeader('t', 0, 2), 200)
      await sending
      assert.ok(performance.now() - startedMs < 8_000, 'sooner than the attempt to connect is given up')
    }),
  ))

test('a broker that is busy with one request, and alive, is not taken for gone', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url, { ...FAST, silenceMsMax: 200 })
    const producer = mq.producer('t')
    await producer.ready()
    let release = (): void => {}
    const after = new Promise<void>((resolve) => {
      release = resolve
    })
    broker.faults = ({ name, index }) => (name === 'PRODUCE' && index === 0 ? { kind: 'late-reply', after } : NONE)
    const sending = producer.send({ value: 'x' })
    const asked = broker.counts.get(Api.METADATA)!
    await until(() => broker.counts.get(Api.METADATA)! > asked + 5)
    assert.equal(mq.stats().connectionsLost, 0)
    release()
    assert.equal((await sending).offset, 0)
    assert.equal(broker.partition('t', 0).highWatermark, 1, 'it was sent once')
  }))

test('a broker that owes an answer and says nothing is taken for gone, also when the credit is used up', () =>
  withFakeBroker({ topics: { t: 1 }, creditBytes: 20_000 }, async (broker) => {
    await using mq = await connect(broker.url, { ...FAST, silenceMsMax: 200 })
    const lost: string[] = []
    mq.on('disconnected', ({ error }) => lost.push(error.message))
    const producer = mq.producer('t', { batchBytesMax: 4_096 })
    await producer.send({ value: '0' })
    broker.isPaused = true
    const sends = Array.from({ length: 100 }, (_, index) => producer.send({ value: `${index}`.padEnd(1_000) }))
    await until(() => lost.length > 0)
    assert.match(lost[0]!, /owes answers and has said nothing for \d+ ms/)
    broker.isPaused = false
    await Promise.all(sends)
    assert.equal(broker.partition('t', 0).highWatermark, 101)
  }))

test('who has used up its credit can still ask for a sign of life', async () => {
  const topics = ['x'.repeat(80)]
  const frameBytes = PROLOGUE_BYTES + metadata.encodeRequest({ topics }).length
  // Without a reserve so many frames would use it up to the byte.
  await withFakeBroker({ creditBytes: 40 * frameBytes }, async (broker) => {
    const options = { clientName: 't', clientVersion: '0', connectTimeoutMs: 5_000, requestTimeoutMs: 600_000 }
    const connection = await Connection.open(nodeRuntime(), broker.url, { ...options, silenceMsMax: 200 })
    broker.isPaused = true
    const calls = Array.from({ length: 60 }, () => connection.call(metadata, { topics }))
    const outcomes = Promise.allSettled(calls)
    await until(() => !connection.isOpen)
    assert.match(connection.failure!.message, /has said nothing/)
    for (const outcome of await outcomes) assert.equal(outcome.status, 'rejected')
  })
})

test('nothing is expected of a broker that owes no answer', () =>
  withFakeBroker({ topics: { t: 1 } }, async (broker) => {
    await using mq = await connect(broker.url, { ...FAST, silenceMsMax: 100 })
    await mq.producer('t').send({ value: '0' })
    broker.isPaused = true
    await new Promise((resolve) => setTimeout(resolve, 500))
    assert.equal(mq.stats().connectionsLost, 0)
    broker.isPaused = false
  }))

test('a URL that a broker names may lead to another cluster: nothing is sent there', () =>
  withFakeBroker({ topics: { t: 1 }, clusterId: 'somebody-else' }, (foreign) =>
    withFakeBroker({ topics: { t: 1 } }, async (broker) => {
      await using mq = await connect(broker.url, FAST)
      const failures: string[] = []
      mq.on('connectFailed', ({ error }) => failures.push(error.message))
      // What it calls itself is somebody else's broker, seen from here.
      const { view } = broker
      broker.view = { ...view, brokers: [{ nodeId: 1, url: foreign.url, rack: null }] }
      broker.tellsViewUrls = true
      const producer = mq.producer('t')
      await producer.send({ value: '0' })
      await broker.stop()
      const sending = producer.send({ value: '1' })
      await until(() => failures.some((text) => /is a broker of cluster 'somebody-else'/.test(text)))
      await broker.listen()
      await sending
      assert.equal(broker.partition('t', 0).highWatermark, 2)
      assert.equal(foreign.partition('t', 0).highWatermark, 0)
    }),
  ))

test('brokers that were learned are asked when the given one is gone, by whatever needs one', () =>
  withFakeCluster({ brokers: 3, topics: { t: 3 } }, async (cluster: FakeCluster) => {
    await using mq = await connect(cluster.broker(1).url, { ...FAST, requestTimeoutMs: 3_000 })
    await mq.admin.topics.list()
    await cluster.kill(1)
    cluster.moveLeader('t', 0, 2)
    assert.deepEqual(
      (await mq.admin.topics.list()).map(({ name }) => name),
      ['t'],
    )
    assert.equal((await mq.admin.topics.create('u', { partitions: 1 })).created, true)
    assert.notEqual((await mq.broker()).nodeId, 1)
    await cluster.kill(2)
    await cluster.kill(3)
    await assert.rejects(mq.admin.topics.list(), hasCode('CONNECTION_FAILED'))
  }))

test('NOT_CONTROLLER is asked again: the broker that was asked finds the one that controls', () =>
  withFakeCluster({ brokers: 2 }, async (cluster) => {
    await using mq = await connect(cluster.urls, FAST)
    for (const broker of cluster.brokers)
      broker.faults = ({ name, index }) =>
        name === 'CREATE_TOPIC' && index < 2 ? { kind: 'error', code: 'NOT_CONTROLLER' } : NONE
    assert.equal((await mq.admin.topics.create('t', { partitions: 2 })).created, true)
  }))

test('it is known who serves what: an alias of a connected broker is not connected to', () =>
  withFakeCluster({ brokers: 1, topics: { t: 1 } }, async (cluster) => {
    const [broker] = cluster.brokers
    await using mq = await connect(broker!.url.replace('127.0.0.1', 'localhost'), FAST)
    await mq.admin.topics.describe('t')
    const producer = mq.producer('t')
    for (let round = 0; round < 3; round++) {
      broker!.faults = ({ name }) =>
        name === 'PRODUCE' && round < 2 ? { kind: 'error', code: 'NOT_LEADER_OR_FOLLOWER' } : NONE
      const sending = producer.send({ value: 'x' })
      await new Promise((resolve) => setTimeout(resolve, 30))
      broker!.faults = () => NONE
      await sending
    }
    assert.equal(mq.stats().connectionsMade, 1)
  }))

test('a signal gives up what waits for one broker, with its own reason', async () => {
  const broker = await FakeBroker.start({ topics: { t: 1 } })
  await using mq = await connect(broker.url, FAST)
  await broker.stop()
  const signal = AbortSignal.timeout(50)
  await assert.rejects(mq.admin.topics.offsets('t', 'end', { signal }), hasCode('ABORTED'))
})
