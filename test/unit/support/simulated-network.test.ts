/** The simulated network: order, cuts, refusals, and a broker that dies without a word. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EngineHandler, EngineSocket } from '../../../src/broker/listeners/web-socket-engine.ts'
import type { TransportClose, TransportConnection } from '../../../src/transport/transport.ts'
import { SimulatedNetwork } from '../../support/simulation/simulated-network.ts'
import { VirtualTime } from '../../support/simulation/virtual-time.ts'

const LISTEN = { host: '127.0.0.1', port: 7171, messageBytesMax: 100, sendBufferBytesMax: 1000, idleSeconds: 60 }
const URL = 'ws://127.0.0.1:7171'
const CONNECT = { connectTimeoutMs: 1000, messageBytesMax: 1000 }

/** A server that answers each message with the same bytes. */
async function world(seed: number) {
  const time = new VirtualTime(seed)
  const network = new SimulatedNetwork(time)
  const engine = network.engine()
  const server = { received: [] as number[], closed: 0, refuse: false }
  const handler: EngineHandler<null> = {
    onUpgrade: () =>
      server.refuse
        ? { kind: 'refuse', status: 503, text: 'no' }
        : { kind: 'accept', context: null, protocol: 'millrace.v1' },
    onOpen() {},
    onMessage(socket: EngineSocket<null>, bytes: Uint8Array) {
      server.received.push(bytes[0]!)
      socket.send([bytes], () => {})
    },
    onDrain() {},
    onClose() {
      server.closed++
    },
    onHttp: () => Promise.reject(new Error('no HTTP here')),
  }
  await engine.listen(LISTEN, handler)
  const client = { opened: 0, received: [] as number[], closes: [] as TransportClose[] }
  const connect = (): TransportConnection =>
    network.transport().connect(URL, CONNECT, {
      onOpen: () => client.opened++,
      onMessage: (bytes) => client.received.push(bytes[0]!),
      onClose: (close) => client.closes.push(close),
    })
  return { time, network, engine, server, client, connect }
}

test('messages arrive in order in both directions, whatever their delays', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { time, network, server, client, connect } = await world(seed)
    Object.assign(network.faults, { delayMsMin: 0, delayMsMax: 50 })
    const connection = connect()
    assert.equal(await time.runUntil(() => client.opened === 1, 1000), true)
    for (let index = 0; index < 50; index++) connection.send([Uint8Array.of(index)])
    assert.equal(await time.runUntil(() => client.received.length === 50, 10_000), true)
    const wanted = Array.from({ length: 50 }, (_, index) => index)
    assert.deepEqual([server.received, client.received], [wanted, wanted])
  }
})

test('a cut loses what is under way and is told once to each end', async () => {
  const { time, network, server, client, connect } = await world(1)
  const connection = connect()
  await time.runUntil(() => client.opened === 1, 1000)
  connection.send([Uint8Array.of(1)])
  network.cutAll()
  network.cutAll()
  await time.runUntil(() => false, 100)
  assert.deepEqual([server.received, server.closed, client.closes.length], [[], 1, 1])
  assert.equal(client.closes[0]!.code, 1006)
})

test('a dead broker hears nothing; its clients see the break, new ones find nobody', async () => {
  const { time, engine, server, client, connect } = await world(1)
  connect().send([Uint8Array.of(1)])
  await time.runUntil(() => client.opened === 1, 1000)
  const heard = server.received.length
  engine.die()
  connect()
  await time.runUntil(() => client.closes.length === 2, 1000)
  assert.deepEqual([server.closed, server.received.length, client.closes.length], [0, heard, 2])
})

test('a refused upgrade and a message too large close the connection', async () => {
  const { time, server, client, connect } = await world(1)
  server.refuse = true
  connect()
  await time.runUntil(() => client.closes.length === 1, 1000)
  assert.equal(client.closes[0]!.httpStatus, 503)
  server.refuse = false
  const connection = connect()
  await time.runUntil(() => client.opened === 1, 1000)
  connection.send([new Uint8Array(101)])
  await time.runUntil(() => client.closes.length === 2, 1000)
  assert.equal(client.closes[1]!.code, 1009)
  assert.deepEqual(server.received, [])
})
