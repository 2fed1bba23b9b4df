/** What every WebSocketEngine must do. Run by websocket-engine.test.ts on each make. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import type {
  EngineHandler,
  EngineSocket,
  ListenOptions,
  SocketEnd,
  WebSocketEngine,
} from '../../src/broker/listeners/web-socket-engine.ts'
import { createPagePool, PageOwner } from '../../src/ring/page-pool.ts'
import { until } from '../support/gateway-fixture.ts'

interface Context {
  readonly id: number
}

class Recorder implements EngineHandler<Context> {
  readonly events: string[] = []
  readonly sockets: EngineSocket<Context>[] = []
  readonly ends: SocketEnd[] = []
  onEachMessage: (socket: EngineSocket<Context>, bytes: Uint8Array) => void = () => {}
  drains = 0
  #next = 1

  onUpgrade: EngineHandler<Context>['onUpgrade'] = (request) => {
    this.events.push(`upgrade ${request.path} ${request.origin} ${request.authorization} ${request.protocols}`)
    if (request.path === '/refused') return { kind: 'refuse', status: 403, text: 'no' }
    return { kind: 'accept', context: { id: this.#next++ }, protocol: 'p.v1' }
  }
  onOpen(socket: EngineSocket<Context>): void {
    this.events.push(`open ${socket.context.id}`)
    this.sockets.push(socket)
  }
  onMessage(socket: EngineSocket<Context>, bytes: Uint8Array, isBinary: boolean): void {
    this.events.push(`message ${bytes.length} ${isBinary ? 'binary' : 'text'}`)
    this.onEachMessage(socket, bytes)
  }
  onDrain(): void {
    this.drains++
  }
  onClose(socket: EngineSocket<Context>, end: SocketEnd): void {
    this.ends.push(end)
    this.events.push(`close ${socket.context.id}`)
  }
  async onHttp(request: Parameters<EngineHandler<Context>['onHttp']>[0]) {
    if (request.path === '/throws') throw new Error('no')
    const body = `${request.method} ${request.path}?${request.query} ${request.contentType} ${request.body.length}`
    return { status: 201, contentType: 'text/plain', body, headers: { 'x-test': '1' } }
  }
}

export function webSocketEngineContract(name: string, make: () => Promise<WebSocketEngine | undefined>): void {
  const withEngine = (
    title: string,
    work: (fixture: { recorder: Recorder; port: number; url: string; engine: WebSocketEngine }) => Promise<void>,
    options: Partial<ListenOptions> = {},
  ) =>
    test(`${name}: ${title}`, async (context) => {
      const engine = await make()
      if (engine === undefined) {
        context.skip(`no native build of ${name} for this Node`)
        return
      }
      const recorder = new Recorder()
      const port = await engine.listen(
        {
          host: '127.0.0.1',
          port: 0,
          messageBytesMax: 1 << 20,
          sendBufferBytesMax: 16 << 20,
          idleSeconds: 120,
          ...options,
        },
        recorder,
      )
      try {
        await work({ recorder, port, url: `ws://127.0.0.1:${port}`, engine })
      } finally {
        await engine.close()
      }
    })
  const open = async (url: string, options: object = {}) => {
    const client = new WebSocket(url, ['other', 'p.v1'], { perMessageDeflate: false, ...options })
    client.on('error', () => {})
    await once(client, 'open')
    return client
  }

  withEngine('an upgrade is seen with what it says, and accepted or refused', async ({ recorder, url }) => {
    const client = await open(url, { headers: { origin: 'http://o', authorization: 'Bearer t' } })
    assert.equal(client.protocol, 'p.v1')
    assert.equal(recorder.events[0], 'upgrade / http://o Bearer t other,p.v1')
    const refused = new WebSocket(`${url}/refused`, ['p.v1'])
    const [error] = (await once(refused, 'error')) as [Error]
    assert.match(error.message, /403/)
    client.close()
    await until(() => recorder.events.includes('close 1'), 'the close is seen')
    assert.equal(recorder.sockets[0]!.isOpen, false)
    assert.equal(recorder.sockets[0]!.bufferedBytes, 0)
  })

  withEngine('messages come in order, whole, binary told from text', async ({ recorder, url }) => {
    const received: number[] = []
    recorder.onEachMessage = (_, bytes) => received.push(bytes[0] ?? -1)
    const client = await open(url)
    for (let index = 0; index < 200; index++) client.send(new Uint8Array(1 + index * 100).fill(index))
    client.send('text')
    client.send(new Uint8Array(0))
    await until(() => received.length === 202, 'all messages')
    assert.deepEqual(
      received.slice(0, 200),
      Array.from({ length: 200 }, (_, index) => index),
    )
    assert.deepEqual(recorder.events.slice(-2), ['message 4 text', 'message 0 binary'])
    client.close()
  })

  withEngine(
    'fragments of shared memory make one message; their memory is free when the engine says so',
    async ({ recorder, url }) => {
      const owner = new PageOwner(createPagePool({ pageBytes: 65_536, pageCount: 4 }))
      const client = await open(url)
      const messages: Buffer[] = []
      client.on('message', (data: Buffer) => messages.push(Buffer.from(data)))
      const socket = recorder.sockets[0]!
      let free = 0
      socket.cork(() => {
        for (let round = 0; round < 20; round++) {
          const page = owner.acquire()
          const view = owner.bytes(page).fill(round)
          const fragments = [Uint8Array.of(1, 2, 3), view.subarray(10, 10), view, view.subarray(0, 1)]
          const release = () => {
            free++
            view.fill(255)
            owner.release(page)
          }
          const answer = socket.send(round % 2 === 0 ? fragments : [view], release)
          assert.ok(answer === 'copied' || answer === 'kept')
          if (answer === 'copied') release()
          else if (round % 4 === 3) break
        }
      })
      const sent = name === 'ws' ? 4 : 20
      await until(() => messages.length === sent && free === sent, 'all are there, all are free')
      for (const [round, message] of messages.entries()) {
        assert.equal(message.length, round % 2 === 0 ? 3 + 65_536 + 1 : 65_536)
        assert.ok(
          message.subarray(round % 2 === 0 ? 3 : 0).every((byte) => byte === round),
          `message ${round} is intact`,
        )
      }
      client.close()
    },
  )

  withEngine(
    'a client that does not read is told in bufferedBytes, drained later, and closed beyond the bound',
    async ({ recorder, url }) => {
      const client = await open(url)
      const socket = recorder.sockets[0]!
      client.pause()
      const block = new Uint8Array(1 << 20)
      let callbacks = 0
      let kept = 0
      while (socket.bufferedBytes < 8 << 20) if (socket.send([block], () => callbacks++) === 'kept') kept++
      assert.ok(socket.isOpen)
      client.resume()
      await until(() => socket.bufferedBytes === 0, 'everything leaves')
      assert.ok(recorder.drains > 0)
      await until(() => callbacks === kept, 'every kept message is called back')
      client.pause()
      let answer = 'copied'
      for (let count = 0; count < 200 && answer !== 'closed'; count++) {
        answer = socket.send([block], () => callbacks++)
        if (answer === 'kept') kept++
      }
      assert.equal(answer, 'closed')
      client.resume()
      await until(() => !socket.isOpen, 'it is closed')
      assert.equal(
        socket.send([block], () => assert.fail('nothing is kept')),
        'closed',
      )
      await until(() => callbacks === kept, 'every kept message is called back, also after the close')
    },
  )

  withEngine('what is kept is called back when the client vanishes', async ({ recorder, url }) => {
    const client = await open(url)
    const socket = recorder.sockets[0]!
    client.pause()
    let callbacks = 0
    let kept = 0
    while (socket.bufferedBytes < 8 << 20)
      if (socket.send([new Uint8Array(1 << 20)], () => callbacks++) === 'kept') kept++
    client.terminate()
    await until(() => recorder.events.includes('close 1'), 'the close is seen')
    await until(() => callbacks === kept, 'every kept message is called back')
  })

  withEngine('a message that is too large closes', async ({ recorder, url }) => {
    const client = await open(url)
    client.send(new Uint8Array((1 << 20) + 1))
    await once(client, 'close')
    await until(() => recorder.events.includes('close 1'), 'the close is seen')
    assert.ok(!recorder.events.some((event) => event.startsWith('message')))
    assert.equal(recorder.ends[0]!.byBroker, true)
    assert.match(recorder.ends[0]!.reason, /size|too big/i)
  })

  withEngine('a few bytes that are seen in bufferedBytes drain as well', async ({ recorder, url }) => {
    const client = await open(url)
    const socket = recorder.sockets[0]!
    let isBuffered = false
    socket.cork(() => {
      socket.send([Uint8Array.of(1)], () => {})
      isBuffered = socket.bufferedBytes > 0
    })
    await until(
      () => socket.bufferedBytes === 0 && (!isBuffered || recorder.drains > 0),
      'whoever waits for room is told',
    )
    client.close()
  })

  withEngine('who ended a connection, and why', async ({ recorder, url }) => {
    const left = await open(url)
    left.close(1000, 'bye')
    await until(() => recorder.ends.length === 1, 'the close of the client is seen')
    const cut = await open(url)
    cut.terminate()
    await until(() => recorder.ends.length === 2, 'a client that vanished is seen')
    await open(url)
    recorder.sockets[2]!.close(1008, 'because')
    await until(() => recorder.ends.length === 3, 'the close of the broker is seen')
    assert.deepEqual(recorder.ends, [
      { code: 1000, reason: 'bye', byBroker: false },
      { code: 1006, reason: '', byBroker: false },
      { code: 1008, reason: 'because', byBroker: true },
    ])
  })

  withEngine('close() tells code and reason', async ({ recorder, url }) => {
    const client = await open(url)
    recorder.sockets[0]!.close(1008, 'because')
    const [code, reason] = (await once(client, 'close')) as [number, Buffer]
    assert.deepEqual([code, reason.toString()], [1008, 'because'])
    await until(() => recorder.events.includes('close 1'), 'the close is seen')
  })

  withEngine(
    'a client that is behind gets all that was sent, and the close of the engine',
    async ({ recorder, url, engine }) => {
      const client = await open(url)
      let bytes = 0
      client.on('message', (data: Buffer) => {
        bytes += data.length
      })
      const ended = once(client, 'close')
      client.pause()
      const socket = recorder.sockets[0]!
      let sent = 0
      for (; socket.bufferedBytes < 4 << 20; sent += 1 << 20) socket.send([new Uint8Array(1 << 20)], () => {})
      const closed = engine.close()
      client.resume()
      const [code] = (await ended) as [number]
      assert.deepEqual([code, bytes], [1001, sent])
      await closed
    },
  )

  withEngine('closing inside onMessage and inside cork is safe', async ({ recorder, url }) => {
    recorder.onEachMessage = (socket) =>
      socket.cork(() => {
        socket.send([Uint8Array.of(1)], () => {})
        socket.close(1000, 'done')
        assert.equal(
          socket.send([Uint8Array.of(2)], () => {}),
          'closed',
        )
      })
    const client = await open(url)
    const got: Buffer[] = []
    client.on('message', (data: Buffer) => got.push(data))
    client.send(Uint8Array.of(9))
    await once(client, 'close')
    assert.equal(got.length, 1)
  })

  withEngine('HTTP on the same port', async ({ port }) => {
    const base = `http://127.0.0.1:${port}`
    const post = await fetch(`${base}/a/b?c=d`, {
      method: 'POST',
      headers: { 'content-type': 'text/x' },
      body: 'hello',
    })
    assert.equal(post.status, 201)
    assert.equal(post.headers.get('x-test'), '1')
    assert.equal(await post.text(), 'POST /a/b?c=d text/x 5')
    assert.equal(await (await fetch(`${base}/`)).text(), 'GET /?  0')
    assert.equal((await fetch(`${base}/throws`)).status, 500)
    assert.equal((await fetch(`${base}/`, { method: 'POST', body: 'x'.repeat(70_000) })).status, 413)
    const head = await fetch(`${base}/`, { method: 'HEAD' })
    assert.equal(await head.text(), '')
  })

  withEngine('bytes that are no HTTP hurt nobody', async ({ port, url }) => {
    for (const text of [
      '\0\0\0\0',
      'GET',
      'GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n',
      'x'.repeat(100_000),
      '\r\n\r\n',
    ]) {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      socket.write(text)
      await new Promise((resolve) => setTimeout(resolve, 10))
      socket.destroy()
    }
    const client = await open(url)
    client.close()
  })

  withEngine('stopListening keeps what is open; a taken port is an error', async ({ recorder, port, url, engine }) => {
    const other = await make()
    const options = { host: '127.0.0.1', port, messageBytesMax: 1, sendBufferBytesMax: 1, idleSeconds: 60 }
    if (other?.name === 'ws') await assert.rejects(other.listen(options, new Recorder()), { code: 'EADDRINUSE' })
    const client = await open(url)
    engine.stopListening()
    await new Promise((resolve) => setTimeout(resolve, 20))
    const late = new WebSocket(url, ['p.v1'])
    await once(late, 'error')
    client.send(Uint8Array.of(1))
    await until(() => recorder.events.includes('message 1 binary'), 'the open one goes on')
    await engine.close()
    await until(() => recorder.events.includes('close 1'), 'closed by the engine')
  })
}
