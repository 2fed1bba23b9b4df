/** Connections in memory: what both ends may rely on. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EngineHandler, EngineSocket, SocketEnd } from '../../../src/broker/listeners/web-socket-engine.ts'
import { LocalEngine } from '../../../src/in-process/local-engine.ts'
import { createPagePool, PageOwner } from '../../../src/ring/page-pool.ts'
import type { TransportClose } from '../../../src/transport/transport.ts'

class Server implements EngineHandler<number> {
  readonly events: string[] = []
  readonly sockets: EngineSocket<number>[] = []
  readonly ends: SocketEnd[] = []
  onUpgrade: EngineHandler<number>['onUpgrade'] = ({ authorization, protocols }) => {
    this.events.push(`upgrade ${authorization} ${protocols}`)
    if (authorization === 'Bearer wrong') return { kind: 'refuse', status: 401, text: 'no' }
    return { kind: 'accept', context: this.sockets.length, protocol: protocols }
  }
  onOpen(socket: EngineSocket<number>): void {
    this.sockets.push(socket)
    this.events.push(`open ${socket.context}`)
  }
  onMessage(socket: EngineSocket<number>, bytes: Uint8Array): void {
    this.events.push(`message ${socket.context}: ${[...bytes]}`)
  }
  onDrain(socket: EngineSocket<number>): void {
    this.events.push(`drain ${socket.context}`)
  }
  onClose(socket: EngineSocket<number>, end: SocketEnd): void {
    this.ends.push(end)
    this.events.push(`close ${socket.context}`)
  }
  onHttp(): Promise<never> {
    throw new Error('no HTTP here')
  }
}

const LIMITS = { messageBytesMax: 100, sendBufferBytesMax: 1_000 }

function makeEngine(isServing = true) {
  const tasks: (() => void)[] = []
  const engine = new LocalEngine({
    soon: (task) => tasks.push(task),
    makeDoor: () => Promise.reject(new Error('no door here')),
  })
  const server = new Server()
  if (isServing) engine.serve(server, LIMITS)
  const run = () => {
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) task()
  }
  const connect = (options: { token?: string; messageBytesMax?: number } = {}) => {
    const client = { opens: 0, messages: [] as number[][], closes: [] as TransportClose[] }
    const connection = engine.transport.connect(
      'ws://in-process',
      { connectTimeoutMs: 1, messageBytesMax: 500, ...options },
      {
        onOpen: () => client.opens++,
        onMessage: (bytes) => client.messages.push([...bytes]),
        onClose: (close) => client.closes.push(close),
      },
    )
    return { client, connection }
  }
  return { engine, server, run, connect }
}

test('messages arrive later, in order, whole, and as bytes of their own', () => {
  const { server, run, connect } = makeEngine()
  const { client, connection } = connect({ token: 'secret' })
  assert.equal(client.opens, 0)
  run()
  assert.equal(client.opens, 1)
  assert.deepEqual(server.events.splice(0), ['upgrade Bearer secret millrace.v1', 'open 0'])
  const part = Uint8Array.of(1, 2)
  let isFree = false
  connection.send([part, Uint8Array.of(3)], () => {
    isFree = true
  })
  part.fill(9)
  connection.send([Uint8Array.of(4)])
  assert.deepEqual([connection.bufferedBytes, isFree, server.events], [4, false, []])
  run()
  assert.deepEqual([connection.bufferedBytes, isFree], [0, true])
  assert.deepEqual(server.events.splice(0), ['message 0: 1,2,3', 'message 0: 4'])
  const page = new PageOwner(createPagePool({ pageBytes: 8, pageCount: 1 })).bytes(0)
  page.set([5, 6])
  const [socket] = server.sockets
  assert.equal(
    socket!.send([page.subarray(0, 2), Uint8Array.of(7)], () => {}),
    'copied',
  )
  page.fill(0)
  assert.equal(socket!.bufferedBytes, 3)
  run()
  assert.deepEqual([client.messages, socket!.bufferedBytes], [[[5, 6, 7]], 0])
  assert.deepEqual(server.events, ['drain 0'])
})

test('a close comes after what was sent before it, once to each end, and nothing comes after it', () => {
  const { server, run, connect } = makeEngine()
  const byClient = connect()
  const byBroker = connect()
  run()
  byClient.connection.send([Uint8Array.of(1)])
  byClient.connection.close(1000, 'bye')
  byClient.connection.close(1000, 'bye again')
  server.sockets[1]!.send([Uint8Array.of(2)], () => {})
  server.sockets[1]!.close(1008, 'policy')
  run()
  assert.deepEqual(
    server.events.filter((event) => event.endsWith(' 0') || event.startsWith('message 0')),
    ['open 0', 'message 0: 1', 'close 0'],
  )
  assert.deepEqual(byClient.client.closes, [{ code: 1000, text: 'bye' }])
  assert.deepEqual(byBroker.client, { opens: 1, messages: [[2]], closes: [{ code: 1008, text: 'policy' }] })
  assert.deepEqual(server.ends, [
    { code: 1000, reason: 'bye', byBroker: false },
    { code: 1008, reason: 'policy', byBroker: true },
  ])
  let isFree = false
  byClient.connection.send([Uint8Array.of(3)], () => {
    isFree = true
  })
  assert.equal(
    server.sockets[0]!.send([Uint8Array.of(4)], () => {}),
    'closed',
  )
  byClient.connection.terminate()
  run()
  assert.deepEqual([isFree, server.ends.length, byClient.client.closes.length], [true, 2, 1])
})

test('a cut loses what is under way; a death is not heard by the broker; then nobody serves', () => {
  const { engine, server, run, connect } = makeEngine()
  const first = connect()
  run()
  first.connection.send([Uint8Array.of(1)])
  engine.cutConnections()
  run()
  assert.deepEqual(first.client.closes, [{ code: 1006, text: 'the connection was cut' }])
  assert.deepEqual(server.events.slice(2), ['close 0'])
  const second = connect()
  run()
  engine.die()
  const third = connect()
  run()
  assert.deepEqual(second.client.closes, [{ code: 1006, text: 'the broker died' }])
  assert.deepEqual(third.client.closes, [{ code: 1006, text: 'no broker serves in this process', isRefused: true }])
  assert.equal(server.ends.length, 1)
  engine.serve(server, LIMITS)
  const fourth = connect()
  run()
  assert.equal(fourth.client.opens, 1)
})

test('a refused handshake is one close with its status', () => {
  const { server, run, connect } = makeEngine()
  const { client } = connect({ token: 'wrong' })
  run()
  assert.deepEqual(client, { opens: 0, messages: [], closes: [{ code: 1006, text: 'no', httpStatus: 401 }] })
  assert.deepEqual([server.sockets.length, server.ends.length], [0, 0])
})

test('limits close as a listener’s do', () => {
  const { server, run, connect } = makeEngine()
  const large = connect()
  const unread = connect()
  const strict = connect({ messageBytesMax: 5 })
  run()
  large.connection.send([new Uint8Array(101)])
  for (let sent = 0; sent < 11; sent++) server.sockets[1]!.send([new Uint8Array(100)], () => {})
  assert.equal(
    server.sockets[1]!.send([new Uint8Array(1)], () => {}),
    'closed',
  )
  server.sockets[2]!.send([new Uint8Array(6)], () => {})
  run()
  assert.deepEqual(
    [large, unread, strict].map(({ client }) => client.closes.map(({ code }) => code)),
    [[1009], [1013], [1009]],
  )
})

test('close() waits until every end was told', async () => {
  const { engine, server, run, connect } = makeEngine()
  const { client } = connect()
  run()
  let isClosed = false
  const closing = engine.close().then(() => {
    isClosed = true
  })
  await Promise.resolve()
  assert.equal(isClosed, false)
  run()
  await closing
  assert.deepEqual(client.closes, [{ code: 1001, text: 'the broker stops' }])
  assert.equal(server.ends[0]!.byBroker, true)
})
