/** The Kafka door in front of a whole broker: order of replies, what closes a connection, produce and fetch as Kafka's clients know them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { joinBytes } from '../../src/base/bytes.ts'
import * as apis from '../../src/kafka/apis/index.ts'
import { KafkaApi } from '../../src/kafka/codec/api.ts'
import { int32, struct } from '../../src/kafka/codec/fields.ts'
import { errorNumberOf } from '../../src/model/errors.ts'
import { fetchRequest, openKafkaDoor, produceBatch, recordsOf } from '../support/kafka-door-fixture.ts'
import { makeBatch } from '../support/log-fixture.ts'

const door = await openKafkaDoor()
await door.broker.client().admin.topics.create('orders', { partitions: 3 })
await door.broker.client().admin.topics.create('compacted', { partitions: 1, config: { 'cleanup.policy': 'compact' } })

await door.broker
  .client()
  .admin.topics.create('small-segments', { partitions: 1, config: { 'segment.bytes': '65536' } })

const bytesOf = (records: Uint8Array | null) => records?.length ?? -1

test('pipelined requests of any kind are answered in their order', async () => {
  const client = await door.connect()
  const order: string[] = []
  const note = <T>(name: string, answer: Promise<T>) => answer.then(() => order.push(name))
  // The client reads responses by position, and refuses one with another correlation id.
  await Promise.all([
    note('produce 1', produceBatch(client, 'orders', 0, { records: 3 })),
    note('produce 2', produceBatch(client, 'orders', 1)),
    note('parked fetch', client.call(apis.fetch, 11, { ...fetchRequest('orders', 2, 0), maxWaitMs: 100 })),
    note('versions', client.call(apis.apiVersions, 3, { clientSoftwareName: 'x', clientSoftwareVersion: '1' })),
    note('produce 3', produceBatch(client, 'orders', 0)),
    note(
      'metadata',
      client.call(apis.metadata, 12, {
        topics: [],
        includeClusterAuthorizedOperations: false,
        includeTopicAuthorizedOperations: false,
      }),
    ),
  ])
  assert.deepEqual(order, ['produce 1', 'produce 2', 'parked fetch', 'versions', 'produce 3', 'metadata'])
})

test('produce with acks 0 has no response, and one that is refused closes the connection', async () => {
  const client = await door.connect()
  const silent = (name: string) => {
    const request = {
      ...{ transactionalId: null, acks: 0, timeoutMs: 1_000 },
      topicData: [{ name, partitionData: [{ index: 0, records: recordsOf({ records: 2 }) }] }],
    }
    client.socket.write(joinBytes(apis.produce.encodeRequest(7, { correlationId: 99, clientId: 'bare' }, request)))
  }
  await door.broker.client().admin.topics.create('silent', { partitions: 1 })
  silent('silent')
  const { responses } = await client.call(apis.fetch, 11, { ...fetchRequest('silent', 0, 0), maxWaitMs: 20_000 })
  assert.equal(responses[0]!.partitions[0]!.highWatermark, 2)
  silent('nowhere')
  await client.isClosed
})

test('a version of ApiVersions above ours is answered in v0 with ours; other requests close the connection', async () => {
  const client = await door.connect()
  const newer = new KafkaApi({
    ...{ key: 18, name: 'ApiVersions', versions: [9, 9] as const, flexibleSince: 3 },
    request: struct({}),
    response: struct({ ignored: int32 }),
  })
  const frame = joinBytes(newer.encodeRequest(9, { correlationId: 7, clientId: 'bare' }, {}))
  client.socket.removeAllListeners('data')
  const answer = new Promise<Buffer>((resolve) => client.socket.once('data', resolve))
  client.socket.write(frame)
  const { correlationId, response } = apis.apiVersions.decodeResponse(0, (await answer).subarray(4))
  assert.equal(correlationId, 7)
  assert.deepEqual(response.apiKeys, [{ apiKey: 18, minVersion: 0, maxVersion: 4 }])
  assert.equal(response.errorCode, errorNumberOf('UNSUPPORTED_VERSION'))
  client.close()

  for (const [key, version] of [
    [999, 0],
    [0, 2],
    [1, 18],
  ]) {
    const other = await door.connect()
    const head = Buffer.alloc(14)
    head.writeInt32BE(10, 0)
    head.writeInt16BE(key!, 4)
    head.writeInt16BE(version!, 6)
    other.socket.write(head)
    await other.isClosed
  }
})

test('every served request is told of, produce from version 0 on', async () => {
  const client = await door.connect()
  const { apiKeys } = await client.call(apis.apiVersions, 2, { clientSoftwareName: '', clientSoftwareVersion: '' })
  assert.deepEqual(
    apiKeys.map(({ apiKey }) => apiKey),
    apis.KAFKA_APIS.map(({ key }) => key).sort((left, right) => left - right),
  )
  assert.deepEqual(apiKeys[0], { apiKey: 0, minVersion: 0, maxVersion: 11 })
  const refused = await client.call(apis.apiVersions, 3, { clientSoftwareName: 'a b', clientSoftwareVersion: '1' })
  assert.equal(refused.errorCode, errorNumberOf('INVALID_REQUEST'))
})

test('what is wrong with a batch is its own error, and the others are stored', async () => {
  const client = await door.connect()
  const good = makeBatch({ records: 2 })
  const changed = (change: (batch: Uint8Array) => void) => {
    const batch = good.slice()
    change(batch)
    return batch
  }
  const two = joinBytes([good, good])
  const old = changed((batch) => batch.fill(1, 16, 17))
  const based = changed((batch) => batch.fill(1, 7, 8))
  const broken = changed((batch) => batch.fill(0xff, 70, 71))
  const cases: [string, Uint8Array | null, Parameters<typeof errorNumberOf>[0]][] = [
    ['none', null, 'INVALID_RECORD'],
    ['too short', good.subarray(0, 30), 'CORRUPT_MESSAGE'],
    ['two batches', two, 'INVALID_RECORD'],
    ['magic 1', old, 'INVALID_RECORD'],
    ['a base offset', based, 'INVALID_RECORD'],
    ['a checksum that fails', broken, 'CORRUPT_MESSAGE'],
  ]
  for (const [what, batch, code] of cases) {
    const { responses } = await client.call(apis.produce, 9, {
      ...{ transactionalId: null, acks: -1, timeoutMs: 10_000 },
      topicData: [
        {
          name: 'orders',
          partitionData: [
            { index: 1, records: batch === null ? null : { bytes: batch.length, fragments: [batch] } },
            { index: 2, records: { bytes: good.length, fragments: [good] } },
          ],
        },
      ],
    })
    const [bad, stored] = responses[0]!.partitionResponses
    assert.equal(bad!.errorCode, errorNumberOf(code), what)
    assert.notEqual(bad!.errorMessage, '', what)
    assert.equal(stored!.errorCode, 0, what)
  }
  const large = await produceBatch(client, 'small-segments', 0, { records: 1, valueBytes: 70_000 })
  assert.equal(large.errorCode, errorNumberOf('RECORD_LIST_TOO_LARGE'))
  const keyless = await produceBatch(client, 'compacted', 0)
  assert.equal(keyless.errorCode, errorNumberOf('INVALID_RECORD'))
  assert.equal((await produceBatch(client, 'nowhere', 0)).errorCode, errorNumberOf('UNKNOWN_TOPIC_OR_PARTITION'))
  assert.equal((await produceBatch(client, 'orders', 99)).errorCode, errorNumberOf('UNKNOWN_TOPIC_OR_PARTITION'))
  assert.equal(
    (await produceBatch(client, '__consumer_offsets', 0)).errorCode,
    errorNumberOf('UNKNOWN_TOPIC_OR_PARTITION'),
  )
  const { responses } = await client.call(apis.produce, 9, {
    ...{ transactionalId: null, acks: 5, timeoutMs: 10_000 },
    topicData: [{ name: 'orders', partitionData: [{ index: 0, records: recordsOf() }] }],
  })
  assert.equal(responses[0]!.partitionResponses[0]!.errorCode, errorNumberOf('INVALID_REQUIRED_ACKS'))
})

test('zstd needs produce 7 and fetch 10', async () => {
  const client = await door.connect()
  await door.broker.client().admin.topics.create('zstd', { partitions: 1 })
  const producer = door.broker.client().producer('zstd', { compression: 'zstd' })
  await producer.send({ value: 'z'.repeat(1_000) })
  const old = await client.call(apis.fetch, 9, fetchRequest('zstd', 0, 0))
  const refused = old.responses[0]!.partitions[0]!
  assert.equal(refused.errorCode, errorNumberOf('UNSUPPORTED_COMPRESSION_TYPE'))
  assert.equal(bytesOf(refused.records), 0)
  const { responses } = await client.call(apis.fetch, 10, fetchRequest('zstd', 0, 0))
  const { records, errorCode } = responses[0]!.partitions[0]!
  assert.equal(errorCode, 0)
  const batch = records!
  const request = (version: number) =>
    client.call(apis.produce, version, {
      ...{ transactionalId: null, acks: -1, timeoutMs: 10_000 },
      topicData: [
        { name: 'zstd', partitionData: [{ index: 0, records: { bytes: batch.length, fragments: [batch] } }] },
      ],
    })
  const codeOf = async (version: number) => (await request(version)).responses[0]!.partitionResponses[0]!.errorCode
  assert.equal(await codeOf(6), errorNumberOf('UNSUPPORTED_COMPRESSION_TYPE'))
  assert.equal(await codeOf(7), 0)
})

test('a fetch tells the ends of every partition, also of those with nothing new', async () => {
  const client = await door.connect()
  await door.broker.client().admin.topics.create('ends', { partitions: 3 })
  await produceBatch(client, 'ends', 1, { records: 5 })
  const request = fetchRequest('ends', 0, 0)
  const partitions = [0, 1, 2].map((partition) => ({ partition, fetchOffset: 0, partitionMaxBytes: 1 << 20 }))
  const { responses } = await client.call(apis.fetch, 11, {
    ...{ ...request, topics: [{ topic: 'ends', topicId: '', partitions }] },
  })
  assert.deepEqual(
    responses[0]!.partitions.map(
      ({ partitionIndex, errorCode, highWatermark, lastStableOffset, logStartOffset, records }) => [
        ...[partitionIndex, errorCode, highWatermark, lastStableOffset, logStartOffset, bytesOf(records) > 0],
      ],
    ),
    [
      [0, 0, 0, 0, 0, false],
      [1, 0, 5, 5, 0, true],
      [2, 0, 0, 0, 0, false],
    ],
  )
})

test('so many partitions that their ends find no room in a frame are answered all the same', async () => {
  const client = await door.connect()
  await door.broker.client().admin.topics.create('many', { partitions: 2 })
  await produceBatch(client, 'many', 1, { records: 5 })
  const wishes = [1, ...new Array<number>(6_200).fill(0)]
  const partitions = wishes.map((partition) => ({ partition, fetchOffset: 0, partitionMaxBytes: 1 << 20 }))
  const request = { ...fetchRequest('many', 0, 0), topics: [{ topic: 'many', topicId: '', partitions }] }
  const [topic] = (await client.call(apis.fetch, 11, request)).responses
  assert.deepEqual(
    topic!.partitions.map(({ partitionIndex }) => partitionIndex),
    wishes,
  )
  const [first, ...rest] = topic!.partitions
  assert.deepEqual([first!.highWatermark, bytesOf(first!.records) > 0], [5, true])
  assert.ok(rest.every(({ errorCode, records }) => errorCode === 0 && bytesOf(records) === 0))
})

test('a fetch in the middle of a batch brings the whole batch; one beyond the end is out of range', async () => {
  const client = await door.connect()
  await door.broker.client().admin.topics.create('middle', { partitions: 1 })
  const batch = makeBatch({ records: 10 })
  await produceBatch(client, 'middle', 0, { records: 10 })
  const rowAt = async (offset: number) =>
    (await client.call(apis.fetch, 11, fetchRequest('middle', 0, offset))).responses[0]!.partitions[0]!
  assert.equal(bytesOf((await rowAt(7)).records), batch.length)
  assert.equal(bytesOf((await rowAt(10)).records), 0)
  assert.equal((await rowAt(11)).errorCode, errorNumberOf('OFFSET_OUT_OF_RANGE'))
  assert.equal((await rowAt(11)).highWatermark, -1)
})

test('a fetch waits for records, and is answered when they come', async () => {
  const [reader, writer] = await Promise.all([door.connect(), door.connect()])
  await door.broker.client().admin.topics.create('waits', { partitions: 2 })
  const waiting = reader.call(apis.fetch, 12, { ...fetchRequest('waits', 1, 0), maxWaitMs: 20_000 })
  await produceBatch(writer, 'waits', 1)
  const { responses } = await waiting
  assert.ok(bytesOf(responses[0]!.partitions[0]!.records) > 0)
})

test('topics by id from version 13 on; sessions are declined; followers of other systems are refused', async () => {
  const client = await door.connect()
  const { topics } = await client.call(apis.metadata, 12, {
    ...{ topics: [{ topicId: '', name: 'orders' }], includeClusterAuthorizedOperations: false },
    includeTopicAuthorizedOperations: true,
  })
  const { topicId, topicAuthorizedOperations } = topics[0]!
  assert.match(topicId, /^[0-9a-f]{32}$/)
  assert.ok(topicAuthorizedOperations > 0)
  const byId = (id: string) => {
    const request = fetchRequest('', 0, 0)
    return { ...request, topics: [{ ...request.topics[0]!, topicId: id }] }
  }
  const known = await client.call(apis.fetch, 16, { ...byId(topicId), sessionEpoch: 0 })
  assert.equal(known.sessionId, 0)
  assert.equal(known.responses[0]!.topicId, topicId)
  assert.equal(known.responses[0]!.partitions[0]!.errorCode, 0)
  const unknown = await client.call(apis.fetch, 16, byId('f'.repeat(32)))
  assert.equal(unknown.responses[0]!.partitions[0]!.errorCode, errorNumberOf('UNKNOWN_TOPIC_ID'))
  const incremental = await client.call(apis.fetch, 16, { ...byId(topicId), sessionId: 5, sessionEpoch: 3 })
  assert.equal(incremental.errorCode, errorNumberOf('FETCH_SESSION_ID_NOT_FOUND'))
  const follower = await client.call(apis.fetch, 11, { ...fetchRequest('orders', 0, 0), replicaId: 2 })
  assert.equal(follower.responses[0]!.partitions[0]!.errorCode, errorNumberOf('CLUSTER_AUTHORIZATION_FAILED'))
})

test('leader epochs: one that is newer is unknown, and where an epoch ended is told', async () => {
  const client = await door.connect()
  await produceBatch(client, 'orders', 0)
  const epochs = await client.call(apis.metadata, 7, {
    topics: [{ name: 'orders', topicId: '' }],
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
  })
  const { leaderEpoch } = epochs.topics[0]!.partitions[0]!
  const codeOf = async (currentLeaderEpoch: number) => {
    const request = fetchRequest('orders', 0, 0)
    const [topic] = request.topics
    const partitions = topic!.partitions.map((row) => ({ ...row, currentLeaderEpoch }))
    const { responses } = await client.call(apis.fetch, 11, { ...request, topics: [{ ...topic!, partitions }] })
    return responses[0]!.partitions[0]!.errorCode
  }
  assert.equal(await codeOf(leaderEpoch), 0)
  assert.equal(await codeOf(leaderEpoch + 1), errorNumberOf('UNKNOWN_LEADER_EPOCH'))
  const ended = await client.call(apis.offsetForLeaderEpoch, 3, {
    topics: [{ topic: 'orders', partitions: [{ partition: 0, leaderEpoch }] }],
  })
  const row = ended.topics[0]!.partitions[0]!
  assert.equal(row.errorCode, 0)
  assert.equal(row.leaderEpoch, leaderEpoch)
  assert.ok(row.endOffset > 0)
})

test('offsets by sentinels and by time', async () => {
  const client = await door.connect()
  await door.broker.client().admin.topics.create('times', { partitions: 1 })
  await produceBatch(client, 'times', 0, { records: 3, timestampMs: [1_000, 3_000, 2_000] })
  await produceBatch(client, 'times', 0, { records: 1, timestampMs: 2_500 })
  const at = async (version: number, timestamp: number) => {
    const { topics } = await client.call(apis.listOffsets, version, {
      ...{ replicaId: -1, isolationLevel: 0, timeoutMs: 0 },
      topics: [{ name: 'times', partitions: [{ partitionIndex: 0, timestamp }] }],
    })
    const row = topics[0]!.partitions[0]!
    return [row.errorCode, row.offset, row.timestamp]
  }
  assert.deepEqual(await at(1, -1), [0, 4, -1])
  assert.deepEqual(await at(1, -2), [0, 0, -1])
  assert.deepEqual(await at(7, -3), [0, 1, 3_000])
  assert.deepEqual(await at(8, -4), [0, 0, -1])
  assert.deepEqual(await at(9, -5), [0, -1, -1])
  assert.deepEqual(await at(6, -3), [errorNumberOf('UNSUPPORTED_VERSION'), -1, -1])
  assert.deepEqual(await at(5, 1_001), [0, 1, 3_000])
  assert.deepEqual(await at(5, 9_999), [0, -1, -1])
})

test('a fetch of more partition rows than a message to a shard carries is answered, and the broker goes on', async () => {
  const client = await door.connect()
  const partitions = Array.from({ length: 25_000 }, () => ({ partition: 0, fetchOffset: 0, partitionMaxBytes: 1 }))
  const request = { ...fetchRequest('orders', 0, 0), topics: [{ topic: 'orders', topicId: '', partitions }] }
  const { responses } = await client.call(apis.fetch, 11, request)
  assert.equal(responses[0]!.topic, 'orders')
  assert.equal((await produceBatch(client, 'orders', 0)).errorCode, 0)
})

test('what was sent behind a request that closes the connection is not done', async () => {
  await door.broker.client().admin.topics.create('behind', { partitions: 1 })
  const client = await door.connect()
  const header = { correlationId: 1, clientId: 'bare' }
  const produceFrame = joinBytes(
    apis.produce.encodeRequest(9, header, {
      ...{ transactionalId: null, acks: -1, timeoutMs: 10_000 },
      topicData: [{ name: 'behind', partitionData: [{ index: 0, records: recordsOf() }] }],
    }),
  )
  const unknown = Buffer.alloc(14)
  unknown.writeInt32BE(10, 0)
  unknown.writeInt16BE(999, 4)
  client.socket.write(joinBytes([produceFrame, unknown, produceFrame, produceFrame]))
  await client.isClosed
  const other = await door.connect()
  // What came before it was done, and what came behind was not, also after a while.
  await produceBatch(other, 'behind', 0)
  const { responses } = await other.call(apis.fetch, 11, fetchRequest('behind', 0, 0))
  assert.equal(responses[0]!.partitions[0]!.highWatermark, 2)
})

test('a resource named again and again is answered once', async () => {
  const client = await door.connect()
  const resource = { resourceType: 2, resourceName: 'orders', configurationKeys: null }
  const { results } = await client.call(apis.describeConfigs, 4, {
    ...{ resources: Array.from({ length: 5_000 }, () => resource), includeSynonyms: true, includeDocumentation: false },
  })
  assert.equal(results.length, 1)
  const group = { groupId: 'g', memberId: null, topics: null }
  const offsets = await client.call(apis.offsetFetch, 8, {
    ...{ groupId: '', topics: null, requireStable: false, groups: Array.from({ length: 1_000 }, () => group) },
  })
  assert.equal(offsets.groups.length, 1)
  const twice = { name: 'orders', partitions: [{ partitionIndex: 0, timestamp: -1 }] }
  const { topics } = await client.call(apis.listOffsets, 5, {
    ...{ replicaId: -1, isolationLevel: 0, timeoutMs: 0, topics: [twice, twice] },
  })
  assert.deepEqual(
    topics.map(({ partitions }) => partitions[0]!.errorCode),
    [errorNumberOf('INVALID_REQUEST'), errorNumberOf('INVALID_REQUEST')],
  )
})
