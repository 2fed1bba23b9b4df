/** The admin client of kafkajs, unmodified, in full. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import kafkajs, { type Admin } from 'kafkajs'
import { kafkaBroker } from '../support/kafka-broker.ts'
import { gather, kafkajsOf } from '../support/kafkajs.ts'
import { until } from '../support/until.ts'

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ConfigResourceTypes, ResourcePatternTypes } = kafkajs
const WAIT_MS = 30_000
const broker = kafkaBroker()
const kafka = () => kafkajsOf(broker.kafka, { retry: { retries: 1, initialRetryTime: 20 } })
let admin: Admin

before(async () => {
  await broker.ready()
  admin = kafka().admin()
  await admin.connect()
})
after(() => admin.disconnect())

interface TypedError extends Error {
  readonly type?: string
  readonly errors?: readonly TypedError[]
}

async function refusal(work: Promise<unknown>): Promise<TypedError> {
  const error = await work.then(
    () => undefined,
    (error: TypedError) => error,
  )
  assert.ok(error, 'it was not refused')
  return error.errors?.[0] ?? error
}

async function fill(topic: string, count: number, startMs: number): Promise<void> {
  const producer = kafka().producer()
  await producer.connect()
  for (let index = 0; index < count; index++)
    await producer.send({
      topic,
      messages: [{ partition: 0, value: `v${index}`, timestamp: String(startMs + 1_000 * index) }],
    })
  await producer.disconnect()
}

test('the cluster', async () => {
  const { brokers, controller, clusterId } = await admin.describeCluster()
  const [host = '', port = ''] = broker.kafka.split(':')
  assert.deepEqual(brokers, [{ nodeId: controller, host, port: Number(port) }])
  assert.ok(clusterId.length > 0)
})

test('topics: made, looked at, grown, deleted; each refusal has its name', async () => {
  const topics = [
    { topic: 'made', numPartitions: 2, configEntries: [{ name: 'retention.ms', value: '60000' }] },
    { topic: 'made-by-default' },
  ]
  assert.equal(await admin.createTopics({ topics, validateOnly: true, waitForLeaders: false }), true)
  assert.deepEqual(await admin.listTopics().then((names) => names.filter((name) => name.startsWith('made'))), [])
  assert.equal(await admin.createTopics({ topics }), true)
  assert.equal(await admin.createTopics({ topics }), false)
  const type = async (work: Promise<unknown>): Promise<string | undefined> => {
    const error = await refusal(work)
    return error.type ?? (error.cause as TypedError | undefined)?.type
  }
  const create = (topic: object): Promise<string | undefined> => type(admin.createTopics({ topics: [topic as never] }))
  assert.equal(await create({ topic: 'no/topic' }), 'INVALID_TOPIC_EXCEPTION')
  assert.equal(await create({ topic: 'zero', numPartitions: 0 }), 'INVALID_PARTITIONS')
  assert.equal(await create({ topic: 'nine', replicationFactor: 9 }), 'INVALID_REPLICATION_FACTOR')
  assert.equal(
    await create({ topic: 'wrong', configEntries: [{ name: 'retention.ms', value: 'forever' }] }),
    'INVALID_CONFIG',
  )
  assert.deepEqual((await admin.listTopics()).filter((name) => name.startsWith('made')).sort(), [
    'made',
    'made-by-default',
  ])

  await admin.createPartitions({ topicPartitions: [{ topic: 'made', count: 5 }] })
  assert.equal(
    await type(admin.createPartitions({ topicPartitions: [{ topic: 'made', count: 5 }] })),
    'INVALID_PARTITIONS',
  )
  const described = await admin.fetchTopicMetadata({ topics: ['made'] })
  const { controller } = await admin.describeCluster()
  assert.deepEqual(
    described.topics[0]!.partitions.map(({ partitionId, partitionErrorCode, leader, replicas, isr }) => ({
      partitionId,
      partitionErrorCode,
      leader,
      replicas,
      isr,
    })).sort((a, b) => a.partitionId - b.partitionId),
    [0, 1, 2, 3, 4].map((partitionId) => ({
      ...{ partitionId, partitionErrorCode: 0, leader: controller, replicas: [controller], isr: [controller] },
    })),
  )

  await admin.deleteTopics({ topics: ['made', 'made-by-default'] })
  assert.equal(await type(admin.deleteTopics({ topics: ['made'] })), 'UNKNOWN_TOPIC_OR_PARTITION')
  assert.deepEqual(
    (await admin.listTopics()).filter((name) => name.startsWith('made')),
    [],
  )
})

test('offsets of a topic, by time too; records deleted', async () => {
  await admin.createTopics({ topics: [{ topic: 'offsets', numPartitions: 1 }] })
  const startMs = Date.now() - 600_000
  await fill('offsets', 10, startMs)
  const bounds = async (): Promise<(string | undefined)[]> => {
    const [row] = await admin.fetchTopicOffsets('offsets')
    return [row?.low, row?.high, row?.offset]
  }
  assert.deepEqual(await bounds(), ['0', '10', '10'])
  const at = async (timeMs: number): Promise<string> =>
    (await admin.fetchTopicOffsetsByTimestamp('offsets', timeMs))[0]!.offset
  assert.equal(await at(startMs), '0')
  assert.equal(await at(startMs + 4_500), '5')
  // kafkajs makes the end of what has no such record.
  assert.equal(await at(startMs + 60_000), '10')
  await admin.deleteTopicRecords({ topic: 'offsets', partitions: [{ partition: 0, offset: '4' }] })
  assert.deepEqual(await bounds(), ['4', '10', '10'])
  await admin.deleteTopicRecords({ topic: 'offsets', partitions: [{ partition: 0, offset: '-1' }] })
  assert.deepEqual(await bounds(), ['10', '10', '10'])
  const error = await refusal(
    admin.deleteTopicRecords({ topic: 'offsets', partitions: [{ partition: 0, offset: '99' }] }),
  )
  assert.match(error.message, /deleting records/)
  assert.deepEqual(await bounds(), ['10', '10', '10'])
})

test('configuration: of topics and of the broker, read and changed', async () => {
  await admin.createTopics({
    topics: [{ topic: 'configured', configEntries: [{ name: 'retention.ms', value: '60000' }] }],
  })
  const { TOPIC, BROKER } = ConfigResourceTypes
  const entryOf = async (configName: string, name = 'configured', type = TOPIC) => {
    const { resources } = await admin.describeConfigs({
      resources: [{ type, name, configNames: [configName] }],
      includeSynonyms: true,
    })
    assert.equal(resources[0]!.errorCode, 0)
    assert.equal(resources[0]!.configEntries.length, 1, configName)
    return resources[0]!.configEntries[0]!
  }
  const retention = await entryOf('retention.ms')
  assert.deepEqual([retention.configValue, retention.isDefault, retention.readOnly], ['60000', false, false])
  const compression = await entryOf('compression.type')
  assert.deepEqual([compression.configValue, compression.isDefault], ['producer', true])
  const { controller } = await admin.describeCluster()
  const all = await admin.describeConfigs({
    resources: [
      { type: TOPIC, name: 'configured' },
      { type: BROKER, name: String(controller) },
    ],
    includeSynonyms: false,
  })
  for (const { errorCode, configEntries } of all.resources) {
    assert.equal(errorCode, 0)
    assert.ok(configEntries.length >= 5, `${configEntries.length} entries`)
  }
  // All or nothing, as it was before Kafka's incremental kind: what is not named goes back to its default.
  const alter = (configEntries: { name: string; value: string }[], name = 'configured', validateOnly = false) =>
    admin.alterConfigs({ validateOnly, resources: [{ type: TOPIC, name, configEntries }] })
  await alter([{ name: 'max.message.bytes', value: '2000' }], 'configured', true)
  assert.equal((await entryOf('retention.ms')).configValue, '60000')
  await alter([{ name: 'max.message.bytes', value: '2000' }])
  assert.equal((await entryOf('max.message.bytes')).configValue, '2000')
  assert.equal((await entryOf('retention.ms')).isDefault, true)
  assert.equal((await refusal(alter([{ name: 'max.message.bytes', value: 'many' }]))).type, 'INVALID_CONFIG')
  assert.equal((await refusal(alter([{ name: 'no.such.key', value: '1' }]))).type, 'INVALID_CONFIG')
  assert.equal((await refusal(alter([], 'nowhere'))).type, 'UNKNOWN_TOPIC_OR_PARTITION')
  const producer = kafka().producer()
  await producer.connect()
  const error = await refusal(producer.send({ topic: 'configured', messages: [{ value: 'x'.repeat(3_000) }] }))
  assert.equal(error.type ?? (error.cause as TypedError).type, 'MESSAGE_TOO_LARGE')
  await producer.disconnect()
})

test('groups: listed, described, offsets fetched, set, reset, deleted', async () => {
  await admin.createTopics({ topics: [{ topic: 'grouped', numPartitions: 2 }] })
  await fill('grouped', 10, Date.now() - 60_000)
  const { messages, consumer } = await gather(kafka(), { groupId: 'grouped', topics: ['grouped'] })
  await until('records', WAIT_MS, () => messages.length === 10)
  const offsets = async (groupId = 'grouped'): Promise<string[]> => {
    const rows = await admin.fetchOffsets({ groupId, topics: ['grouped'] })
    return rows[0]!.partitions.sort((a, b) => a.partition - b.partition).map(({ offset }) => offset)
  }
  assert.deepEqual(
    (await admin.listGroups()).groups.filter(({ groupId }) => groupId === 'grouped'),
    [{ groupId: 'grouped', protocolType: 'consumer' }],
  )
  const { groups } = await admin.describeGroups(['grouped', 'nobody'])
  assert.deepEqual(
    groups.map(({ groupId, state, members, protocol }) => [groupId, state, members.length, protocol]),
    [
      ['grouped', 'Stable', 1, 'RoundRobinAssigner'],
      ['nobody', 'Dead', 0, ''],
    ],
  )
  assert.equal(groups[0]!.members[0]!.clientId, 'kafkajs-test')
  const stable = await refusal(
    admin.setOffsets({ groupId: 'grouped', topic: 'grouped', partitions: [{ partition: 0, offset: '1' }] }),
  )
  assert.match(stable.message, /must have no running instances/)
  const inUse = await refusal(admin.deleteGroups(['grouped']))
  assert.match(`${inUse.message} ${JSON.stringify(inUse)}`, /NON_EMPTY_GROUP|not empty/)
  await consumer.disconnect()
  assert.deepEqual(await offsets(), ['10', '-1'])
  await admin.setOffsets({ groupId: 'grouped', topic: 'grouped', partitions: [{ partition: 0, offset: '4' }] })
  assert.deepEqual(await offsets(), ['4', '-1'])
  await admin.resetOffsets({ groupId: 'grouped', topic: 'grouped', earliest: true })
  assert.deepEqual(
    await offsets(),
    ['-2', '-2'].map(() => '0'),
  )
  await admin.resetOffsets({ groupId: 'grouped', topic: 'grouped', earliest: false })
  assert.deepEqual(await offsets(), ['10', '0'])
  await admin.setOffsets({ groupId: 'grouped', topic: 'grouped', partitions: [{ partition: 0, offset: '7' }] })
  const again = await gather(kafka(), { groupId: 'grouped', topics: ['grouped'] })
  await until('records from the offset on', WAIT_MS, () => again.messages.length === 3)
  assert.deepEqual(
    again.messages.map(({ value }) => value),
    ['v7', 'v8', 'v9'],
  )
  await again.consumer.disconnect()
  assert.deepEqual(await admin.deleteGroups(['grouped']), [{ groupId: 'grouped', errorCode: 0 }])
  assert.deepEqual(await offsets(), ['-1', '-1'])
  const gone = await refusal(admin.deleteGroups(['grouped']))
  assert.match(`${gone.message} ${JSON.stringify(gone)}`, /GROUP_ID_NOT_FOUND|does not exist/)
})

test('rules of access: there are none, and that is said', async () => {
  const acl = {
    ...{ resourceType: AclResourceTypes.TOPIC, resourceName: 't', resourcePatternType: ResourcePatternTypes.LITERAL },
    ...{ principal: 'User:a', host: '*', operation: AclOperationTypes.READ, permissionType: AclPermissionTypes.ALLOW },
  }
  assert.equal((await refusal(admin.createAcls({ acl: [acl] }))).type, 'SECURITY_DISABLED')
  assert.equal((await refusal(admin.describeAcls(acl))).type, 'SECURITY_DISABLED')
  assert.equal((await refusal(admin.deleteAcls({ filters: [acl] }))).type, 'SECURITY_DISABLED')
})

test('reassignments: none are under way', async () => {
  assert.deepEqual((await admin.listPartitionReassignments({})).topics, [])
})
