/** Over real sockets: what a chunk is, and what becomes of one that is given back. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { nodeTimers } from '../../../src/base/node/node-timers.ts'
import type { StreamHandler } from '../../../src/broker/listeners/stream-engine.ts'
import { TcpEngine } from '../../../src/broker/listeners/tcp-engine.ts'

const LARGE_BYTES = 4 * 1024 * 1024
/** What the engine leaves to the garbage collector. */
const RELEASED_BYTES_MIN = 16 * 1024

test('chunks are plain arrays; one that is given back is empty, and what was copied of it is not', async () => {
  const engine = new TcpEngine(nodeTimers)
  const sent = new Uint8Array(LARGE_BYTES).map((_, index) => (index * 31) >> 5)
  const copies: Uint8Array[] = []
  let released = 0
  let receivedBytes = 0
  let isAll: () => void = () => {}
  const all = new Promise<void>((resolve) => {
    isAll = resolve
  })
  const handler: StreamHandler<null> = {
    onConnect: () => null,
    onOpen: () => {},
    isIdle: () => true,
    onBytes(socket, chunk) {
      assert.equal(Buffer.isBuffer(chunk), false)
      const { length } = chunk
      copies.push(chunk.slice())
      socket.release(chunk)
      if (chunk.length === 0) released++
      else assert.ok(length < RELEASED_BYTES_MIN && chunk.length === length, 'a small one is left as it is')
      receivedBytes += length
      if (receivedBytes === LARGE_BYTES) isAll()
    },
    onDrain: () => {},
    onClose: () => {},
  }
  const port = await engine.listen({ host: '127.0.0.1', port: 0, sendBufferBytesMax: 1024, idleMs: 60_000 }, handler)
  const client = connect(port, '127.0.0.1')
  try {
    client.write(sent)
    await all
  } finally {
    client.destroy()
    await engine.close()
  }
  assert.ok(released > 0)
  assert.ok(Buffer.concat(copies).equals(sent))
})
