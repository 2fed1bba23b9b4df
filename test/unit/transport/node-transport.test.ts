/** Frames written by hand are what a WebSocket server reads: every length form, parts joined in order. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { WebSocketServer } from 'ws'
import { frameHeaderBytes, nodeTransport } from '../../../src/transport/node-transport.ts'
import type { TransportClose } from '../../../src/transport/transport.ts'

const OPTIONS = { connectTimeoutMs: 5_000, messageBytesMax: 32 * 1024 * 1024 }

async function withEcho(body: (url: string, server: WebSocketServer) => Promise<void>): Promise<void> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
  server.on('connection', (socket) => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })))
  await new Promise((resolve) => server.once('listening', resolve))
  try {
    await body(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, server)
  } finally {
    for (const client of server.clients) client.terminate()
    server.close()
  }
}

function pattern(bytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, index) => (index * 31 + seed) & 0xff)
}

test('messages of every frame length come back whole and in order', () =>
  withEcho(async (url) => {
    const sizes = [[0], [1], [125], [126], [65_535], [65_536], [3, 8_000, 200], [12, 1_000_000, 0, 7], [8_192], [8_193]]
    const messages = sizes.map((parts) => parts.map((bytes, index) => pattern(bytes, index)))
    let done = 0
    const received = await new Promise<Uint8Array[]>((resolve, reject) => {
      const all: Uint8Array[] = []
      const connection = nodeTransport.connect(url, OPTIONS, {
        onOpen: () => {
          for (const parts of messages) connection.send(parts, () => done++)
        },
        onMessage: (bytes) => {
          all.push(bytes)
          if (all.length < messages.length) return
          connection.close(1000, 'bye')
          resolve(all)
        },
        onClose: (close) => reject(new Error(close.text)),
      })
    })
    received.forEach((bytes, index) => {
      assert.equal(Buffer.compare(bytes, Buffer.concat(messages[index]!)), 0, `message ${index}`)
      assert.equal(Object.getPrototypeOf(bytes), Uint8Array.prototype)
    })
    assert.equal(done, messages.length)
  }))

test('header lengths follow RFC 6455, with a mask key', () => {
  assert.deepEqual([0, 125, 126, 65_535, 65_536].map(frameHeaderBytes), [6, 6, 8, 8, 14])
})

function closeOf(url: string): Promise<TransportClose> {
  return new Promise((resolve) => {
    nodeTransport.connect(url, OPTIONS, { onOpen: () => {}, onMessage: () => {}, onClose: resolve })
  })
}

test('a refused upgrade tells its HTTP status, a refused connection its cause', async () => {
  const server = createServer((_, response) => response.writeHead(401).end())
  server.on('upgrade', (_, socket) => socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const refused = await closeOf(`ws://127.0.0.1:${port}`)
  assert.equal(refused.httpStatus, 401)
  server.close()
  assert.match((await closeOf(`ws://127.0.0.1:${port}`)).text, /ECONNREFUSED/)
})

test('a connection that breaks closes once; sends after it do nothing but call done', () =>
  withEcho(async (url, server) => {
    let closes = 0
    const connection = await new Promise<ReturnType<typeof nodeTransport.connect>>((resolve) => {
      const made = nodeTransport.connect(url, OPTIONS, {
        onOpen: () => resolve(made),
        onMessage: () => {},
        onClose: () => closes++,
      })
    })
    for (const client of server.clients) client.terminate()
    while (closes === 0) await new Promise((resolve) => setTimeout(resolve, 2))
    await new Promise<void>((resolve) => connection.send([new Uint8Array(10)], resolve))
    connection.terminate()
    await new Promise((resolve) => setTimeout(resolve, 10))
    assert.equal(closes, 1)
  }))
