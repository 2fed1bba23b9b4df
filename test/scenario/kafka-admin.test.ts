/** What operators' tools ask of the Kafka door: topics, configurations, offsets, groups, the cluster, producers and transactions. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as apis from '../../src/kafka/apis/index.ts'
import { errorNumberOf } from '../../src/model/errors.ts'
import { openKafkaDoor, produceBatch } from '../support/kafka-door-fixture.ts'

const door = await openKafkaDoor({ 'topics.partitions': 2 })
const client = await door.connect()
const code = errorNumberOf
const TOPIC = 2
const BROKER = 4

function createTopic(name: string, changes: Record<string, unknown> = {}, validateOnly = false) {
  const topic = { name, numPartitions: -1, replicationFactor: -1, assignments: [], configs: [], ...changes }
  return client
    .call(apis.createTopics, 7, { topics: [topic], timeoutMs: 10_000, validateOnly })
    .then(({ topics }) => topics[0]!)
}

async function namesOfTopics(): Promise<(string | null)[]> {
  const flags = { includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false }
  return (await client.call(apis.metadata, 9, { topics: null, ...flags })).topics.map(({ name }) => name).sort()
}

test('a topic is made with defaults, once, and as validated; what is wrong with it is said', async () => {
  const made = await createTopic('made', { configs: [{ name: 'retention.ms', value: '60000' }] })
  assert.equal(made.errorCode, 0)
  assert.equal(made.errorMessage, null)
  assert.equal(made.numPartitions, 2)
  assert.equal(made.replicationFactor, 1)
  assert.equal(made.configs?.find(({ name }) => name === 'retention.ms')?.value, '60000')
  assert.equal((await createTopic('made')).errorCode, code('TOPIC_ALREADY_EXISTS'))
  assert.equal((await createTopic('checked', {}, true)).errorCode, 0)
  assert.ok(!(await namesOfTopics()).includes('checked'))
  const cases: [string, Record<string, unknown>, Parameters<typeof code>[0]][] = [
    ['a/b', {}, 'INVALID_TOPIC_EXCEPTION'],
    ['zero', { numPartitions: 0 }, 'INVALID_PARTITIONS'],
    ['none', { replicationFactor: 0 }, 'INVALID_REPLICATION_FACTOR'],
    ['four', { replicationFactor: 4 }, 'INVALID_REPLICATION_FACTOR'],
    ['placed', { assignments: [{ partitionIndex: 0, brokerIds: [1] }] }, 'INVALID_REPLICA_ASSIGNMENT'],
    ['odd', { configs: [{ name: 'retention.sm', value: '1' }] }, 'INVALID_CONFIG'],
    ['gzip', { configs: [{ name: 'compression.type', value: 'gzip' }] }, 'INVALID_CONFIG'],
    ['__consumer_offsets', {}, 'INVALID_TOPIC_EXCEPTION'],
  ]
  for (const [name, changes, expected] of cases) {
    const { errorCode, errorMessage } = await createTopic(name, changes)
    assert.equal(errorCode, code(expected), name)
    assert.ok((errorMessage ?? '').length > 0, name)
  }
  await createTopic('one.two')
  assert.equal((await createTopic('one_two')).errorCode, code('INVALID_TOPIC_EXCEPTION'))
})

test('two of one name in a request are made by neither', async () => {
  const topic = { name: 'twin', numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }
  const request = { topics: [topic, topic], timeoutMs: 10_000, validateOnly: false }
  const { topics } = await client.call(apis.createTopics, 5, request)
  assert.deepEqual(
    topics.map(({ errorCode }) => errorCode),
    [code('INVALID_REQUEST'), code('INVALID_REQUEST')],
  )
  assert.ok(!(await namesOfTopics()).includes('twin'))
})

test('partitions are added; fewer are none; records are deleted up to an offset', async () => {
  await createTopic('grows', { numPartitions: 1 })
  const grow = async (count: number, validateOnly = false) => {
    const request = { topics: [{ name: 'grows', count, assignments: null }], timeoutMs: 10_000, validateOnly }
    return (await client.call(apis.createPartitions, 3, request)).results[0]!
  }
  assert.equal((await grow(3, true)).errorCode, 0)
  assert.equal((await grow(3)).errorCode, 0)
  const again = await grow(3)
  assert.equal(again.errorCode, code('INVALID_PARTITIONS'))
  assert.match(again.errorMessage!, /currently has 3 partitions/)
  await produceBatch(client, 'grows', 2, { records: 10 })
  const trim = async (partitionIndex: number, offset: number) => {
    const request = { topics: [{ name: 'grows', partitions: [{ partitionIndex, offset }] }], timeoutMs: 10_000 }
    return (await client.call(apis.deleteRecords, 2, request)).topics[0]!.partitions[0]!
  }
  assert.deepEqual(await trim(2, 4), { partitionIndex: 2, lowWatermark: 4, errorCode: 0 })
  assert.deepEqual(await trim(2, -1), { partitionIndex: 2, lowWatermark: 10, errorCode: 0 })
  assert.equal((await trim(2, 11)).errorCode, code('OFFSET_OUT_OF_RANGE'))
  assert.equal((await trim(7, 0)).errorCode, code('UNKNOWN_TOPIC_OR_PARTITION'))
})

test('topics are deleted by name and by id', async () => {
  await createTopic('gone-1')
  const { topicId } = await createTopic('gone-2')
  const names = await client.call(apis.deleteTopics, 5, {
    topics: [],
    topicNames: ['gone-1', 'never'],
    timeoutMs: 10_000,
  })
  assert.deepEqual(
    names.responses.map(({ errorCode }) => errorCode),
    [0, code('UNKNOWN_TOPIC_OR_PARTITION')],
  )
  const byId = {
    topics: [
      { name: null, topicId },
      { name: null, topicId: 'e'.repeat(32) },
    ],
    topicNames: [],
    timeoutMs: 10_000,
  }
  const ids = await client.call(apis.deleteTopics, 6, byId)
  assert.deepEqual(
    ids.responses.map(({ errorCode }) => errorCode),
    [0, code('UNKNOWN_TOPIC_ID')],
  )
  assert.ok(!(await namesOfTopics()).some((name) => name?.startsWith('gone')))
})

async function configOf(name: string, keys: readonly string[] | null = null) {
  const { results } = await client.call(apis.describeConfigs, 4, {
    ...{ resources: [{ resourceType: TOPIC, resourceName: name, configurationKeys: keys }] },
    ...{ includeSynonyms: true, includeDocumentation: false },
  })
  return results[0]!
}

async function increment(
  name: string,
  configs: { name: string; configOperation: number; value: string | null }[],
  validateOnly = false,
) {
  const resources = [{ resourceType: TOPIC, resourceName: name, configs }]
  return (await client.call(apis.incrementalAlterConfigs, 1, { resources, validateOnly })).responses[0]!
}

test('a tool that reads all of a topic and writes all of it back changes what it meant to', async () => {
  await createTopic('edited', { configs: [{ name: 'segment.bytes', value: '1048576' }] })
  const { configs } = await configOf('edited')
  const next = configs.map(({ name, value }) => ({ name, value: name === 'retention.ms' ? '123456' : value }))
  const resources = [{ resourceType: TOPIC, resourceName: 'edited', configs: next }]
  const { responses } = await client.call(apis.alterConfigs, 2, { resources, validateOnly: false })
  assert.equal(responses[0]!.errorMessage, null)
  const after = new Map((await configOf('edited')).configs.map((row) => [row.name, row]))
  assert.equal(after.get('retention.ms')?.value, '123456')
  assert.equal(after.get('segment.bytes')?.value, '1048576')
  assert.equal(after.get('segment.bytes')?.configSource, 1)
  // Left out, a key goes back to what it is without.
  const fewer = [{ resourceType: TOPIC, resourceName: 'edited', configs: [{ name: 'retention.ms', value: '5' }] }]
  await client.call(apis.alterConfigs, 1, { resources: fewer, validateOnly: false })
  const [segment] = (await configOf('edited', ['segment.bytes'])).configs
  assert.equal(segment!.value, String(1024 * 1024 * 1024))
  assert.equal(segment!.configSource, 5)
})

test('keys are set, deleted, appended and taken out one by one', async () => {
  await createTopic('stepwise')
  const [SET, DELETE, APPEND, SUBTRACT] = [0, 1, 2, 3]
  const set = await increment('stepwise', [{ name: 'max.message.bytes', configOperation: SET!, value: '2048' }])
  assert.equal(set.errorCode, 0)
  const append = await increment('stepwise', [{ name: 'cleanup.policy', configOperation: APPEND!, value: 'compact' }])
  assert.equal(append.errorCode, 0)
  const currentOf = async (key: string) => (await configOf('stepwise', [key])).configs[0]?.value
  assert.equal(await currentOf('cleanup.policy'), 'compact,delete')
  await increment('stepwise', [{ name: 'cleanup.policy', configOperation: SUBTRACT!, value: 'delete' }])
  assert.equal(await currentOf('cleanup.policy'), 'compact')
  await increment('stepwise', [{ name: 'max.message.bytes', configOperation: DELETE!, value: null }])
  assert.equal(await currentOf('max.message.bytes'), '1048576')
  const cases: [{ name: string; configOperation: number; value: string | null }[], Parameters<typeof code>[0]][] = [
    [[{ name: 'retention.ms', configOperation: APPEND!, value: '1' }], 'INVALID_CONFIG'],
    [[{ name: 'retention.ms', configOperation: SET!, value: 'soon' }], 'INVALID_CONFIG'],
    [[{ name: 'preallocate', configOperation: SET!, value: 'true' }], 'INVALID_CONFIG'],
    [
      [
        { name: 'retention.ms', configOperation: SET!, value: '1' },
        { name: 'retention.ms', configOperation: SET!, value: '2' },
      ],
      'INVALID_REQUEST',
    ],
  ]
  for (const [configs, expected] of cases)
    assert.equal((await increment('stepwise', configs)).errorCode, code(expected), JSON.stringify(configs))
  await increment('stepwise', [{ name: 'retention.ms', configOperation: SET!, value: '777' }], true)
  assert.notEqual(await currentOf('retention.ms'), '777')
  assert.equal((await configOf('nowhere')).errorCode, code('UNKNOWN_TOPIC_OR_PARTITION'))
})

test("a broker's configuration is told, and not changed from here", async () => {
  const describe = async (resourceName: string, resourceType = BROKER) => {
    const { results } = await client.call(apis.describeConfigs, 1, {
      ...{ resources: [{ resourceType, resourceName, configurationKeys: null }] },
      ...{ includeSynonyms: false, includeDocumentation: false },
    })
    return results[0]!
  }
  const { configs } = await describe('1')
  assert.equal(configs.find(({ name }) => name === 'num.partitions')?.value, '2')
  assert.ok(configs.every(({ readOnly }) => readOnly))
  assert.equal((await describe('9')).errorCode, code('INVALID_REQUEST'))
  assert.equal((await describe('1', 8)).errorCode, code('INVALID_REQUEST'))
  const resources = [
    { resourceType: BROKER, resourceName: '1', configs: [{ name: 'num.partitions', configOperation: 0, value: '9' }] },
  ]
  const { responses } = await client.call(apis.incrementalAlterConfigs, 0, { resources, validateOnly: false })
  assert.equal(responses[0]!.errorCode, code('INVALID_REQUEST'))
})

function commit(groupId: string, committedOffset: number, committedMetadata: string | null = null) {
  return client.call(apis.offsetCommit, 8, {
    ...{ groupId, generationIdOrMemberEpoch: -1, memberId: '', groupInstanceId: null },
    topics: [{ name: 'offsets', partitions: [{ partitionIndex: 0, committedOffset, committedMetadata }] }],
  })
}

test('offsets with their metadata, of one group and of several, by topic and of all', async () => {
  await createTopic('offsets', { numPartitions: 2 })
  await produceBatch(client, 'offsets', 0, { records: 20 })
  assert.equal((await commit('readers', 7, 'half')).topics[0]!.partitions[0]!.errorCode, 0)
  assert.equal(
    (await commit('readers', 8, 'x'.repeat(5_000))).topics[0]!.partitions[0]!.errorCode,
    code('OFFSET_METADATA_TOO_LARGE'),
  )
  const topics = [
    { name: 'offsets', partitionIndexes: [0, 1] },
    { name: 'nowhere', partitionIndexes: [0] },
  ]
  const none = { committedOffset: -1, committedLeaderEpoch: -1, metadata: '', errorCode: 0 }
  const old = await client.call(apis.offsetFetch, 5, { groupId: 'readers', topics, groups: [], requireStable: false })
  assert.deepEqual(old.topics, [
    {
      name: 'offsets',
      partitions: [
        { partitionIndex: 0, committedOffset: 7, committedLeaderEpoch: -1, metadata: 'half', errorCode: 0 },
        { partitionIndex: 1, ...none },
      ],
    },
    { name: 'nowhere', partitions: [{ partitionIndex: 0, ...none }] },
  ])
  const all = await client.call(apis.offsetFetch, 8, {
    ...{ groupId: '', topics: null, requireStable: true },
    groups: [
      { groupId: 'readers', memberId: null, topics: null },
      { groupId: 'nobody', memberId: null, topics: null },
    ],
  })
  assert.deepEqual(
    all.groups.map(({ groupId, errorCode, topics: rows }) => [groupId, errorCode, rows.length]),
    [
      ['readers', 0, 1],
      ['nobody', 0, 0],
    ],
  )
})

test('a place that is committed in the stead of an offset is found out', async () => {
  await client.call(apis.deleteRecords, 1, {
    topics: [{ name: 'offsets', partitions: [{ partitionIndex: 0, offset: 3 }] }],
    timeoutMs: 10_000,
  })
  const after = async (place: number) => {
    await commit('resetters', place)
    const request = {
      groupId: 'resetters',
      topics: [{ name: 'offsets', partitionIndexes: [0] }],
      groups: [],
      requireStable: false,
    }
    return (await client.call(apis.offsetFetch, 3, request)).topics[0]!.partitions[0]!.committedOffset
  }
  assert.equal(await after(-2), 3)
  assert.equal(await after(-1), 20)
})

test('groups that hold only offsets are listed, described and deleted', async () => {
  const { groups } = await client.call(apis.listGroups, 5, { statesFilter: ['empty'], typesFilter: ['classic'] })
  assert.deepEqual(groups.map(({ groupId }) => groupId).sort(), ['readers', 'resetters'])
  const { groups: described } = await client.call(apis.describeGroups, 5, {
    ...{ groups: ['readers', 'nobody'], includeAuthorizedOperations: false },
  })
  assert.deepEqual(
    described.map(({ groupId, groupState, errorCode }) => [groupId, groupState, errorCode]),
    [
      ['readers', 'Empty', 0],
      ['nobody', 'Dead', 0],
    ],
  )
  const newer = await client.call(apis.describeGroups, 6, { groups: ['nobody'], includeAuthorizedOperations: false })
  assert.equal(newer.groups[0]!.errorCode, code('GROUP_ID_NOT_FOUND'))
  const topics = [{ name: 'offsets', partitions: [{ partitionIndex: 0 }] }]
  assert.equal((await client.call(apis.offsetDelete, 0, { groupId: 'readers', topics })).errorCode, 0)
  const { results } = await client.call(apis.deleteGroups, 2, { groupsNames: ['resetters', 'nobody'] })
  assert.deepEqual(
    results.map(({ errorCode }) => errorCode),
    [0, code('GROUP_ID_NOT_FOUND')],
  )
})

test('coordinators, one and several', async () => {
  const one = await client.call(apis.findCoordinator, 2, { key: 'g', keyType: 0, coordinatorKeys: [] })
  assert.deepEqual([one.errorCode, one.nodeId], [0, 1])
  const both = await client.call(apis.findCoordinator, 4, { key: '', keyType: 1, coordinatorKeys: ['a', 'b'] })
  assert.deepEqual(
    both.coordinators.map(({ key, errorCode, nodeId }) => [key, errorCode, nodeId]),
    [
      ['a', 0, 1],
      ['b', 0, 1],
    ],
  )
  const share = await client.call(apis.findCoordinator, 1, { key: 'x', keyType: 2, coordinatorKeys: [] })
  assert.equal(share.errorCode, code('INVALID_REQUEST'))
})

test('the cluster, and its partitions page by page', async () => {
  const cluster = await client.call(apis.describeCluster, 1, {
    ...{ includeClusterAuthorizedOperations: false, endpointType: 1, includeFencedBrokers: false },
  })
  assert.deepEqual(
    cluster.brokers.map(({ brokerId }) => brokerId),
    [1],
  )
  assert.equal(cluster.controllerId, 1)
  const seen: string[] = []
  let cursor: { topicName: string; partitionIndex: number } | null = null
  for (let pages = 0; pages < 50; pages++) {
    const page: Awaited<ReturnType<typeof describe>> = await describe(cursor)
    for (const { name, partitions } of page.topics)
      for (const { partitionIndex } of partitions) seen.push(`${name} ${partitionIndex}`)
    cursor = page.nextCursor
    if (cursor === null) break
  }
  const flags = { includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false }
  const { topics } = await client.call(apis.metadata, 9, { topics: null, ...flags })
  const expected = topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionIndex }) => `${name} ${partitionIndex}`),
  )
  assert.deepEqual(seen.sort(), expected.sort())
  const { results } = await client.call(apis.describeLogDirs, 4, { topics: [{ topic: 'offsets', partitions: [0] }] })
  assert.ok(results[0]!.topics[0]!.partitions[0]!.partitionSize > 0)

  function describe(from: typeof cursor) {
    return client.call(apis.describeTopicPartitions, 0, { topics: [], responsePartitionLimit: 3, cursor: from })
  }
})

test('rules of access and quotas: there are none, and it is said', async () => {
  const acls = await client.call(apis.describeAcls, 3, {
    ...{ resourceTypeFilter: 1, resourceNameFilter: null, principalFilter: null, hostFilter: null },
    ...{ operation: 1, permissionType: 1 },
  })
  assert.equal(acls.errorCode, code('SECURITY_DISABLED'))
  const quotas = await client.call(apis.describeClientQuotas, 1, { components: [], strict: false })
  assert.deepEqual([quotas.errorCode, quotas.entries], [0, []])
})

test('a classic transaction: its state, its producer, and what is left when it ends', async () => {
  await createTopic('ledger', { numPartitions: 1 })
  const transactionalId = 'books'
  const { producerId, producerEpoch } = await client.call(apis.initProducerId, 4, {
    ...{ transactionalId, transactionTimeoutMs: 30_000, producerId: 0, producerEpoch: 0 },
  })
  const identity = { transactionalId, producerId, producerEpoch }
  const added = await client.call(apis.addPartitionsToTxn, 3, {
    ...{ v3AndBelowTransactionalId: transactionalId, v3AndBelowProducerId: producerId },
    ...{ v3AndBelowProducerEpoch: producerEpoch },
    v3AndBelowTopics: [{ name: 'ledger', partitions: [0] }],
  })
  assert.equal(added.resultsByTopicV3AndBelow[0]!.resultsByPartition[0]!.partitionErrorCode, 0)
  const { transactionStates } = await client.call(apis.describeTransactions, 0, {
    transactionalIds: [transactionalId, 'none'],
  })
  assert.deepEqual(
    transactionStates.map(({ errorCode, transactionState, topics }) => [errorCode, transactionState, topics]),
    [
      [0, 'Ongoing', [{ topic: 'ledger', partitions: [0] }]],
      [code('TRANSACTIONAL_ID_NOT_FOUND'), '', []],
    ],
  )
  const listed = await client.call(apis.listTransactions, 1, {
    ...{ stateFilters: ['Ongoing', 'Odd'], producerIdFilters: [], durationFilter: -1 },
  })
  assert.deepEqual(listed.unknownStateFilters, ['Odd'])
  assert.deepEqual(
    listed.transactionStates.map((row) => row.transactionalId),
    [transactionalId],
  )
  assert.equal((await client.call(apis.endTxn, 3, { ...identity, committed: true })).errorCode, 0)
  // The same again is answered the same; the other outcome is not.
  assert.equal((await client.call(apis.endTxn, 3, { ...identity, committed: true })).errorCode, 0)
  assert.equal(
    (await client.call(apis.endTxn, 3, { ...identity, committed: false })).errorCode,
    code('INVALID_TXN_STATE'),
  )
  await client.call(apis.initProducerId, 4, { transactionalId, transactionTimeoutMs: 30_000 })
  const fenced = { ...identity, committed: true }
  assert.equal((await client.call(apis.endTxn, 3, fenced)).errorCode, code('PRODUCER_FENCED'))
  assert.equal((await client.call(apis.endTxn, 1, fenced)).errorCode, code('INVALID_PRODUCER_EPOCH'))
  const timeout = await client.call(apis.initProducerId, 4, { transactionalId: 'slow', transactionTimeoutMs: 10 ** 9 })
  assert.equal(timeout.errorCode, code('INVALID_TRANSACTION_TIMEOUT'))
})
