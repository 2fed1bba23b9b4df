/**
 * The rules of the Kafka door's connections, from the other end of a socket: the order of responses, requests in any pieces, what is
 * refused and what closes the connection, who is let in.
 */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { joinBytes } from '../../src/base/bytes.ts'
import { SeededPrng } from '../../src/base/prng.ts'
import { createBroker, type InProcessBroker } from '../../src/index.ts'
import * as apis from '../../src/kafka/apis/index.ts'
import type { KafkaApi } from '../../src/kafka/codec/api.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import { nodeCodecs } from '../../src/record/node-codecs.ts'
import { BareKafkaClient, type KafkaAddress } from '../support/bare-kafka-client.ts'
import { seededValue } from '../support/kafka-values.ts'
import { sleep } from '../support/until.ts'

const CODECS = nodeCodecs()
const UNSUPPORTED_VERSION = 35
const INVALID_REQUIRED_ACKS = 21
const INVALID_RECORD = 87
const SOFTWARE = { clientSoftwareName: 'test', clientSoftwareVersion: '1' }
const NO_OPERATIONS = { includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false }
const USER = { name: 'alice', password: 'correct horse' }

const brokers: InProcessBroker[] = []
after(() => Promise.all(brokers.map((broker) => broker.close())))

async function start(
  config: Record<string, unknown> = {},
): Promise<{ broker: InProcessBroker; address: KafkaAddress }> {
  const broker = await createBroker({ storage: 'memory', config })
  brokers.push(broker)
  await broker.listen({ listen: '127.0.0.1:0', kafka: '127.0.0.1:0' })
  const [host, port] = broker.kafkaAddress!.split(':')
  await broker.client().admin.topics.create('one', { partitions: 2 })
  return { broker, address: { host: host!, port: Number(port) } }
}

const { address } = await start()

async function withClient(body: (client: BareKafkaClient) => Promise<void>, to = address): Promise<void> {
  const client = await BareKafkaClient.connect(to)
  try {
    await body(client)
  } finally {
    client.close()
  }
}

function batchOf(value: Uint8Array): Uint8Array {
  const writer = new BatchWriter({ batchBytesMax: 2 ** 20, codecs: CODECS })
  writer.reset()
  writer.append(null, value, null, Date.now())
  return new Uint8Array(writer.finish({ producerId: -1, producerEpoch: -1, baseSequence: -1, codec: 0 }))
}

function produceOf(records: Uint8Array, options: { acks?: number; partition?: number; topic?: string } = {}) {
  const { acks = -1, partition = 0, topic = 'one' } = options
  const partitionData = [{ index: partition, records: { bytes: records.length, fragments: [records] } }]
  return { transactionalId: null, acks, timeoutMs: 5_000, topicData: [{ name: topic, partitionData }] }
}

function fetchOf(options: { offset: number; partition?: number; waitMs?: number }) {
  const { offset, partition = 0, waitMs = 1_000 } = options
  const part = { partition, fetchOffset: offset, partitionMaxBytes: 2 ** 20, replicaDirectoryId: '' }
  return {
    ...{ maxWaitMs: waitMs, minBytes: 1, isolationLevel: 0, sessionId: 0, rackId: '', forgottenTopicsData: [] },
    topics: [{ topic: 'one', topicId: '', partitions: [part] }],
  }
}

async function endOf(client: BareKafkaClient, partition: number): Promise<number> {
  const parts = [{ partitionIndex: partition, timestamp: -1 }]
  const topics = [{ name: 'one', partitions: parts }]
  const { topics: listed } = await client.call(apis.listOffsets, 7, {
    ...{ replicaId: -1, isolationLevel: 0, timeoutMs: 0, topics },
  })
  return listed[0]!.partitions[0]!.offset
}

test('responses leave in the order of requests, though a later one is known earlier', async () => {
  await withClient(async (client) => {
    const order: string[] = []
    const note = <T>(name: string, response: Promise<T>): Promise<T> =>
      response.then((value) => {
        order.push(name)
        return value
      })
    // The client ends on a response in another's place. What is refused needs no shard: it is known before what is stored.
    const [stored, refused, again] = await Promise.all([
      note('stored', client.call(apis.produce, 9, produceOf(batchOf(Buffer.from('a'))))),
      note('refused', client.call(apis.produce, 9, produceOf(batchOf(Buffer.from('b')), { acks: 7 }))),
      note('again', client.call(apis.produce, 9, produceOf(batchOf(Buffer.from('c'))))),
      note('waits', client.call(apis.fetch, 12, fetchOf({ offset: await endOf(client, 1), partition: 1, waitMs: 50 }))),
      note('versions', client.call(apis.apiVersions, 3, SOFTWARE)),
      note('metadata', client.call(apis.metadata, 9, { topics: [{ topicId: '', name: 'one' }], ...NO_OPERATIONS })),
    ])
    assert.deepEqual(order, ['stored', 'refused', 'again', 'waits', 'versions', 'metadata'])
    assert.equal(stored.responses[0]!.partitionResponses[0]!.errorCode, 0)
    assert.equal(refused.responses[0]!.partitionResponses[0]!.errorCode, INVALID_REQUIRED_ACKS)
    const [first, third] = [stored, again].map(({ responses }) => responses[0]!.partitionResponses[0]!.baseOffset)
    assert.equal(third, first! + 1)
  })
})

test('requests in any pieces, several in one: what is stored is what was sent', async () => {
  await withClient(async (client) => {
    const values = Array.from({ length: 12 }, (_, index) => new Uint8Array(40_000).fill(index + 1))
    const frames = values.map((value, index) =>
      joinBytes(apis.produce.encodeRequest(9, { correlationId: index, clientId: null }, produceOf(batchOf(value)))),
    )
    const from = await endOf(client, 0)
    const stream = joinBytes(frames)
    const raw = await BareKafkaClient.connect(address)
    const received: Buffer[] = []
    raw.socket.removeAllListeners('data')
    raw.socket.on('data', (chunk: Buffer) => received.push(chunk))
    for (let at = 0, step = 1; at < stream.length; at += step, step = 1 + ((step * 7_919) % 60_000)) {
      raw.socket.write(stream.subarray(at, at + step))
      await new Promise((resolve) => setImmediate(resolve))
    }
    for (let end = from; end < from + values.length; end = await endOf(client, 0)) await sleep(1)
    for (const [index, value] of values.entries()) {
      const { responses } = await client.call(apis.fetch, 12, fetchOf({ offset: from + index }))
      assert.ok(Buffer.from(responses[0]!.partitions[0]!.records!).includes(Buffer.from(value)), `value ${index}`)
    }
    raw.close()
  })
})

test('one batch for each partition: two are refused, and neither is stored', async () => {
  await withClient(async (client) => {
    const before = await endOf(client, 0)
    const batch = batchOf(Buffer.from('twice'))
    const { responses } = await client.call(apis.produce, 9, produceOf(joinBytes([batch, batch])))
    assert.equal(responses[0]!.partitionResponses[0]!.errorCode, INVALID_RECORD)
    assert.equal(await endOf(client, 0), before)
  })
})

test('acks 0 has no response, and closes the connection where it is refused', async () => {
  await withClient(async (client) => {
    const before = await endOf(client, 0)
    client.socket.write(
      joinBytes(
        apis.produce.encodeRequest(
          9,
          { correlationId: 99, clientId: null },
          produceOf(batchOf(Buffer.from('quiet')), { acks: 0 }),
        ),
      ),
    )
    assert.equal((await client.call(apis.apiVersions, 3, SOFTWARE)).errorCode, 0)
    for (let end = before; end === before; end = await endOf(client, 0)) await sleep(1)
    const lost = produceOf(batchOf(Buffer.from('lost')), { acks: 0, topic: 'nowhere' })
    client.socket.write(joinBytes(apis.produce.encodeRequest(9, { correlationId: 99, clientId: null }, lost)))
    await client.isClosed
  })
})

test('ApiVersions in a version that is too new is answered in the layout of version 0', async () => {
  await withClient(async (client) => {
    const frame = joinBytes(apis.apiVersions.encodeRequest(4, { correlationId: 5, clientId: null }, SOFTWARE))
    new DataView(frame.buffer).setInt16(6, 99)
    client.socket.removeAllListeners('data')
    const payload = await new Promise<Buffer>((resolve) => {
      client.socket.once('data', (chunk: Buffer) => resolve(chunk.subarray(4)))
      client.socket.write(frame)
    })
    const { correlationId, response } = apis.apiVersions.decodeResponse(0, payload)
    assert.equal(correlationId, 5)
    assert.equal(response.errorCode, UNSUPPORTED_VERSION)
    assert.deepEqual(response.apiKeys, [{ apiKey: 18, minVersion: 0, maxVersion: 4 }])
  })
})

test('what cannot be answered closes the connection', async () => {
  const header = { correlationId: 1, clientId: null }
  const whole = joinBytes(apis.metadata.encodeRequest(9, header, { topics: null, ...NO_OPERATIONS }))
  const changed = (at: number, value: number): Uint8Array => {
    const copy = whole.slice()
    new DataView(copy.buffer).setInt16(at, value)
    return copy
  }
  const cut = whole.slice(0, whole.length - 1)
  new DataView(cut.buffer).setInt32(0, cut.length - 4)
  for (const frame of [
    changed(4, 27),
    changed(4, 999),
    changed(6, 14),
    changed(6, -1),
    cut,
    Uint8Array.of(0xff, 0xff, 0xff, 0xff),
    Uint8Array.of(0x7f, 0xff, 0xff, 0xff),
    Uint8Array.of(0, 0, 0, 0),
  ])
    await withClient(async (client) => {
      client.socket.write(frame)
      await client.isClosed
      assert.equal(client.socket.bytesRead, 0)
    })
})

test('before authentication: ApiVersions and SASL, and nothing else', async () => {
  const locked = await start({ 'listeners.kafka.sasl': ['SCRAM-SHA-256'] })
  await locked.broker.client().admin.users.upsert(USER)
  const header = { correlationId: 1, clientId: null }
  const prng = new SeededPrng(1)
  for (const api of apis.KAFKA_APIS as unknown as readonly KafkaApi[]) {
    const { key, versionMax } = api
    if (key === apis.apiVersions.key || key === apis.saslHandshake.key || key === apis.saslAuthenticate.key) continue
    await withClient(async (client) => {
      const request = seededValue(api.request, api.encodingOf(versionMax), prng)
      const frame = joinBytes(api.encodeRequest(versionMax, header, request))
      client.socket.write(frame)
      await client.isClosed
      assert.equal(client.socket.bytesRead, 0, `${api.name} was answered`)
    }, locked.address)
  }
  await withClient(async (client) => {
    assert.equal((await client.call(apis.apiVersions, 3, SOFTWARE)).errorCode, 0)
    await client.authenticate('SCRAM-SHA-256', USER.name, USER.password)
    const { topics } = await client.call(apis.metadata, 9, { topics: null, ...NO_OPERATIONS })
    assert.ok(topics.some(({ name }) => name === 'one'))
  }, locked.address)
  await withClient(async (client) => {
    await assert.rejects(client.authenticate('SCRAM-SHA-256', USER.name, 'wrong'), /refused/)
    await client.isClosed
  }, locked.address)
  await withClient(async (client) => {
    // Smaller frames than those of a client that is known.
    client.socket.write(Uint8Array.of(0, 1, 0, 1))
    await client.isClosed
  }, locked.address)
})
