/** The browser's transport over a stand-in of the platform's WebSocket. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { browserTransport } from '../../../src/transport/browser-transport.ts'

class StandIn {
  static last: StandIn
  binaryType = ''
  readyState = 1
  bufferedAmount = 0
  onopen: (() => void) | null = null
  onclose: ((event: { code: number; reason: string }) => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  onerror: (() => void) | null = null
  readonly sent: Uint8Array[] = []
  readonly url: string
  readonly protocol: string
  constructor(url: string, protocol: string) {
    this.url = url
    this.protocol = protocol
    StandIn.last = this
  }
  send(bytes: Uint8Array): void {
    this.sent.push(bytes)
  }
  close(): void {
    this.readyState = 3
  }
}

test('parts are joined, messages are bytes, text and a second close are refused', async () => {
  const events: string[] = []
  const connection = browserTransport(StandIn).connect(
    'ws://x',
    { connectTimeoutMs: 1, messageBytesMax: 10 },
    {
      onOpen: () => events.push('open'),
      onMessage: (bytes) => events.push(`message ${bytes.length}`),
      onClose: (close) => events.push(`close ${close.code}`),
    },
  )
  const socket = StandIn.last
  assert.deepEqual([socket.protocol, socket.binaryType], ['millrace.v1', 'arraybuffer'])
  socket.onopen?.()
  await new Promise<void>((resolve) => connection.send([Uint8Array.of(1), Uint8Array.of(2, 3)], resolve))
  assert.deepEqual(socket.sent, [Uint8Array.of(1, 2, 3)])
  socket.onmessage?.({ data: new ArrayBuffer(4) })
  socket.onmessage?.({ data: 'text' })
  socket.onclose?.({ code: 1006, reason: '' })
  assert.deepEqual(events, ['open', 'message 4', 'close 1009'])
})
