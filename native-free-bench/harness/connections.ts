/** Connections without the client library's buffers around them: open, greeted, and then silent. */
import { Api, encodeFrame, hello } from '../../src/protocol/index.ts'
import { nodeTransport } from '../../src/transport/node-transport.ts'
import type { TransportConnection } from '../../src/transport/transport.ts'

const AT_ONCE = 100

/** Opens `count` connections and says hello on each. */
export async function openIdle(url: string, count: number): Promise<TransportConnection[]> {
  const connections: TransportConnection[] = []
  while (connections.length < count) {
    const batch = Math.min(AT_ONCE, count - connections.length)
    connections.push(...(await Promise.all(Array.from({ length: batch }, () => openOne(url)))))
  }
  return connections
}

function openOne(url: string): Promise<TransportConnection> {
  return new Promise((resolve, reject) => {
    const greeting = hello.encodeRequest({ clientName: 'idle', clientVersion: '0', token: null })
    const options = { connectTimeoutMs: 30_000, messageBytesMax: 64 * 1024 }
    const connection = nodeTransport.connect(url, options, {
      onOpen: () => connection.send([encodeFrame({ api: Api.HELLO, isReply: false, correlationId: 1 }, greeting)]),
      onMessage: () => resolve(connection),
      onClose: ({ code, text }) => reject(new Error(`an idle connection closed: ${code} ${text}`)),
    })
  })
}
