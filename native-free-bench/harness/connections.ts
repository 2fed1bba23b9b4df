/** Connections without the client library's buffers around them: open, greeted, and then silent. */
import { apiVersions, metadata } from '../../src/kafka/apis/index.ts'
import { Api, encodeFrame, hello } from '../../src/protocol/index.ts'
import { nodeTransport } from '../../src/transport/node-transport.ts'
import type { TransportConnection } from '../../src/transport/transport.ts'
import { BareKafkaClient, type KafkaAddress } from '../../test/support/bare-kafka-client.ts'

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

/** The same at the Kafka door: each has asked for versions and for metadata, as every client does first. */
export async function openIdleKafka(address: KafkaAddress, count: number): Promise<BareKafkaClient[]> {
  const connections: BareKafkaClient[] = []
  while (connections.length < count) {
    const batch = Math.min(AT_ONCE, count - connections.length)
    connections.push(...(await Promise.all(Array.from({ length: batch }, () => openOneKafka(address)))))
  }
  return connections
}

async function openOneKafka(address: KafkaAddress): Promise<BareKafkaClient> {
  const client = await BareKafkaClient.connect(address)
  await client.call(apiVersions, 3, { clientSoftwareName: 'idle', clientSoftwareVersion: '0' })
  const all = { topics: null, includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false }
  await client.call(metadata, 12, all)
  return client
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
