/**
 * The codec of the Kafka door against another one: kafkajs has its own encoders and decoders. Its requests are read here as it was told
 * to write them, and it reads every response that is written here to the value, in every version that it has and that is served.
 */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { joinBytes } from '../../src/base/bytes.ts'
import { KAFKA_APIS } from '../../src/kafka/apis/index.ts'
import { peekBatch } from '../../src/kafka/batch-header.ts'
import { type KafkaApi, readClientId, readRequestHeader } from '../../src/kafka/codec/api.ts'
import type { Encoding, Field } from '../../src/kafka/codec/fields.ts'
import { KafkaReader } from '../../src/kafka/codec/reader.ts'
import { readBack } from '../support/kafka-values.ts'

const require = createRequire(import.meta.url)

interface TheirProtocol {
  readonly request: object
  readonly response: { decode(payload: Buffer): Promise<unknown> }
}
interface TheirApi {
  readonly versions: readonly string[]
  protocol(options: { version: number }): (args: unknown) => TheirProtocol
}

const encodeTheirs = require('kafkajs/src/protocol/request') as (options: object) => Promise<{ buffer: Buffer }>
const theirLong = require('kafkajs/src/utils/long') as { fromValue(value: number): unknown }

interface Row {
  /** Their folder. */
  readonly theirs: string
  readonly args: unknown
  /** What they were told, as it is read here. */
  readonly request: Readonly<Record<string, unknown>>
  /** Our names of a response's fields, or paths of them, and theirs. */
  readonly names?: Readonly<Record<string, string>>
  /** Fields of a response that they read and do not tell. */
  readonly untold?: readonly string[]
  /** Fields that they tell and that are not in the response. */
  readonly added?: readonly string[]
}

const PARTITION = { partitionIndex: 'partition', name: 'topic' }
const TWO_TOPICS = [
  { topic: 'one', partitions: [3, 4] },
  { topic: 'two', partitions: [] },
]
const TXN = { transactionalId: 'txn', producerId: theirLong.fromValue(2 ** 40), producerEpoch: 7 }
const ACL = { resourceType: 2, resourceName: 'r', resourcePatternType: 4, principal: 'User:p', host: '*' }
const BITS = { operation: 3, permissionType: 2 }
const OUR_ACL_FILTER = {
  ...{
    resourceTypeFilter: 2,
    resourceNameFilter: 'r',
    patternTypeFilter: 4,
    principalFilter: 'User:p',
    hostFilter: '*',
  },
  ...BITS,
}
const RESOURCES = [{ type: 2, name: 't', configEntries: [{ name: 'k', value: 'v' }] }]
const JOIN = { groupId: 'g', sessionTimeout: 30_000, rebalanceTimeout: 60_000, memberId: 'm', groupInstanceId: 'i' }

const ROWS: Readonly<Record<string, Row>> = {
  Fetch: {
    theirs: 'fetch',
    args: {
      ...{ maxWaitTime: 500, minBytes: 1, maxBytes: 1_000, isolationLevel: 1, rackId: 'r1' },
      topics: [
        { topic: 'one', partitions: [{ partition: 3, currentLeaderEpoch: 9, fetchOffset: 2 ** 33, maxBytes: 65_536 }] },
      ],
    },
    request: {
      ...{ replicaId: -1, maxWaitMs: 500, minBytes: 1, maxBytes: 1_000, isolationLevel: 1, rackId: 'r1' },
      ...{ sessionId: 0, sessionEpoch: -1, forgottenTopicsData: [] },
      topics: [
        {
          topic: 'one',
          partitions: [
            {
              ...{ partition: 3, currentLeaderEpoch: 9, fetchOffset: 2 ** 33, logStartOffset: -1 },
              partitionMaxBytes: 65_536,
            },
          ],
        },
      ],
    },
    names: { topic: 'topicName', partitionIndex: 'partition', logStartOffset: 'lastStartOffset' },
    untold: ['bytes'],
  },
  ListOffsets: {
    theirs: 'listOffsets',
    args: { isolationLevel: 1, topics: [{ topic: 'one', partitions: [{ partition: 3, timestamp: 2 ** 41 }] }] },
    request: {
      ...{ replicaId: -1, isolationLevel: 1 },
      topics: [{ name: 'one', partitions: [{ partitionIndex: 3, timestamp: 2 ** 41 }] }],
    },
    names: PARTITION,
  },
  Metadata: {
    theirs: 'metadata',
    args: { topics: ['one', 'two'], allowAutoTopicCreation: false },
    request: { topics: [{ name: 'one' }, { name: 'two' }], allowAutoTopicCreation: false },
    names: {
      ...{ 'topics.errorCode': 'topicErrorCode', 'topics.name': 'topic' },
      'topics.partitions.errorCode': 'partitionErrorCode',
      ...{ partitionIndex: 'partitionId', leaderId: 'leader', replicaNodes: 'replicas', isrNodes: 'isr' },
    },
  },
  OffsetCommit: {
    theirs: 'offsetCommit',
    args: {
      ...{ groupId: 'g', groupGenerationId: 5, memberId: 'm', retentionTime: 77 },
      topics: [{ topic: 'one', partitions: [{ partition: 3, offset: 2 ** 33, metadata: 'note' }] }],
    },
    request: {
      ...{ groupId: 'g', generationIdOrMemberEpoch: 5, memberId: 'm', retentionTimeMs: 77 },
      topics: [
        { name: 'one', partitions: [{ partitionIndex: 3, committedOffset: 2 ** 33, committedMetadata: 'note' }] },
      ],
    },
    names: PARTITION,
  },
  OffsetFetch: {
    theirs: 'offsetFetch',
    args: { groupId: 'g', topics: [{ topic: 'one', partitions: [{ partition: 3 }, { partition: 4 }] }] },
    request: { groupId: 'g', topics: [{ name: 'one', partitionIndexes: [3, 4] }] },
    names: { ...PARTITION, committedOffset: 'offset' },
  },
  FindCoordinator: {
    theirs: 'findCoordinator',
    args: { groupId: 'g', coordinatorType: 1 },
    request: { key: 'g', keyType: 1 },
  },
  JoinGroup: {
    theirs: 'joinGroup',
    args: {
      ...{ ...JOIN, protocolType: 'consumer' },
      groupProtocols: [{ name: 'range', metadata: Buffer.of(1, 2) }, { name: 'other' }],
    },
    request: {
      ...{ groupId: 'g', sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 60_000, memberId: 'm', groupInstanceId: 'i' },
      protocolType: 'consumer',
      protocols: [
        { name: 'range', metadata: Uint8Array.of(1, 2) },
        { name: 'other', metadata: new Uint8Array(0) },
      ],
    },
    names: { protocolName: 'groupProtocol', leader: 'leaderId', metadata: 'memberMetadata' },
  },
  Heartbeat: {
    theirs: 'heartbeat',
    args: { groupId: 'g', groupGenerationId: 5, memberId: 'm', groupInstanceId: 'i' },
    request: { groupId: 'g', generationId: 5, memberId: 'm', groupInstanceId: 'i' },
  },
  LeaveGroup: {
    theirs: 'leaveGroup',
    args: { groupId: 'g', memberId: 'm', groupInstanceId: 'i' },
    request: { groupId: 'g', memberId: 'm', members: [{ memberId: 'm', groupInstanceId: 'i' }] },
  },
  SyncGroup: {
    theirs: 'syncGroup',
    args: {
      ...{ groupId: 'g', generationId: 5, memberId: 'm', groupInstanceId: 'i' },
      groupAssignment: [{ memberId: 'm', memberAssignment: Buffer.of(9, 8, 7) }],
    },
    request: {
      ...{ groupId: 'g', generationId: 5, memberId: 'm', groupInstanceId: 'i' },
      assignments: [{ memberId: 'm', assignment: Uint8Array.of(9, 8, 7) }],
    },
    names: { assignment: 'memberAssignment' },
  },
  DescribeGroups: {
    theirs: 'describeGroups',
    args: { groupIds: ['g', 'h'] },
    request: { groups: ['g', 'h'] },
    names: { groupState: 'state', protocolData: 'protocol' },
  },
  ListGroups: { theirs: 'listGroups', args: {}, request: {} },
  SaslHandshake: {
    theirs: 'saslHandshake',
    args: { mechanism: 'PLAIN' },
    request: { mechanism: 'PLAIN' },
    names: { mechanisms: 'enabledMechanisms' },
  },
  ApiVersions: { theirs: 'apiVersions', args: {}, request: {} },
  CreateTopics: {
    theirs: 'createTopics',
    args: {
      topics: [
        {
          ...{ topic: 'one', numPartitions: -1, replicationFactor: 3 },
          replicaAssignment: [{ partition: 0, replicas: [1, 2] }],
          configEntries: [{ name: 'k', value: 'v' }],
        },
      ],
      ...{ timeout: 900, validateOnly: true },
    },
    request: {
      topics: [
        {
          ...{ name: 'one', numPartitions: -1, replicationFactor: 3 },
          assignments: [{ partitionIndex: 0, brokerIds: [1, 2] }],
          configs: [{ name: 'k', value: 'v' }],
        },
      ],
      ...{ timeoutMs: 900, validateOnly: true },
    },
    names: { name: 'topic' },
  },
  DeleteTopics: {
    theirs: 'deleteTopics',
    args: { topics: ['one', 'two'], timeout: 900 },
    request: { topicNames: ['one', 'two'], timeoutMs: 900 },
    names: { name: 'topic' },
  },
  DeleteRecords: {
    theirs: 'deleteRecords',
    args: { topics: [{ topic: 'one', partitions: [{ partition: 3, offset: -1 }] }], timeout: 900 },
    request: { topics: [{ name: 'one', partitions: [{ partitionIndex: 3, offset: -1 }] }], timeoutMs: 900 },
    names: PARTITION,
  },
  InitProducerId: {
    theirs: 'initProducerId',
    args: { transactionalId: 'txn', transactionTimeout: 900 },
    request: { transactionalId: 'txn', transactionTimeoutMs: 900 },
  },
  AddPartitionsToTxn: {
    theirs: 'addPartitionsToTxn',
    args: { ...TXN, topics: TWO_TOPICS },
    request: {
      ...{ v3AndBelowTransactionalId: 'txn', v3AndBelowProducerId: 2 ** 40, v3AndBelowProducerEpoch: 7 },
      v3AndBelowTopics: [
        { name: 'one', partitions: [3, 4] },
        { name: 'two', partitions: [] },
      ],
    },
    names: { ...PARTITION, partitionErrorCode: 'errorCode' },
  },
  AddOffsetsToTxn: {
    theirs: 'addOffsetsToTxn',
    args: { ...TXN, groupId: 'g' },
    request: { transactionalId: 'txn', producerId: 2 ** 40, producerEpoch: 7, groupId: 'g' },
  },
  EndTxn: {
    theirs: 'endTxn',
    args: { ...TXN, transactionResult: true },
    request: { transactionalId: 'txn', producerId: 2 ** 40, producerEpoch: 7, committed: true },
  },
  TxnOffsetCommit: {
    theirs: 'txnOffsetCommit',
    args: {
      ...{ ...TXN, groupId: 'g' },
      topics: [{ topic: 'one', partitions: [{ partition: 3, offset: 2 ** 33, metadata: null }] }],
    },
    request: {
      ...{ transactionalId: 'txn', groupId: 'g', producerId: 2 ** 40, producerEpoch: 7 },
      topics: [{ name: 'one', partitions: [{ partitionIndex: 3, committedOffset: 2 ** 33, committedMetadata: null }] }],
    },
    names: PARTITION,
  },
  DescribeAcls: {
    theirs: 'describeAcls',
    args: { ...ACL, ...BITS },
    request: OUR_ACL_FILTER,
    names: { patternType: 'resourcePatternType' },
  },
  CreateAcls: {
    theirs: 'createAcls',
    args: { creations: [{ ...ACL, ...BITS }] },
    request: { creations: [{ ...ACL, ...BITS }] },
  },
  DeleteAcls: {
    theirs: 'deleteAcls',
    args: { filters: [{ ...ACL, ...BITS }] },
    request: { filters: [OUR_ACL_FILTER] },
    names: { patternType: 'resourcePatternType' },
  },
  DescribeConfigs: {
    theirs: 'describeConfigs',
    args: { resources: [{ type: 2, name: 't', configNames: ['k'] }], includeSynonyms: true },
    request: {
      resources: [{ resourceType: 2, resourceName: 't', configurationKeys: ['k'] }],
      includeSynonyms: true,
    },
    names: { name: 'configName', value: 'configValue', source: 'configSource' },
    added: ['isDefault'],
  },
  AlterConfigs: {
    theirs: 'alterConfigs',
    args: { resources: RESOURCES, validateOnly: true },
    request: {
      resources: [{ resourceType: 2, resourceName: 't', configs: [{ name: 'k', value: 'v' }] }],
      validateOnly: true,
    },
  },
  SaslAuthenticate: {
    theirs: 'saslAuthenticate',
    // Their mechanisms bring the length themselves, and get it back.
    args: { authBytes: Buffer.of(0, 0, 0, 2, 65, 66) },
    request: { authBytes: Uint8Array.of(65, 66) },
  },
  CreatePartitions: {
    theirs: 'createPartitions',
    args: {
      topicPartitions: [{ topic: 'one', count: 9, assignments: [[1, 2], [3]] }],
      ...{ timeout: 900, validateOnly: true },
    },
    request: {
      topics: [{ name: 'one', count: 9, assignments: [{ brokerIds: [1, 2] }, { brokerIds: [3] }] }],
      ...{ timeoutMs: 900, validateOnly: true },
    },
    names: { name: 'topic' },
  },
  DeleteGroups: {
    theirs: 'deleteGroups',
    args: ['g', 'h'],
    request: { groupsNames: ['g', 'h'] },
    names: { throttleTimeMs: 'throttleTimeMs' },
    // Their error's own fields.
    added: ['code', 'helpUrl', 'name', 'retriable', 'type', 'throttleTime'],
  },
  AlterPartitionReassignments: {
    theirs: 'alterPartitionReassignments',
    args: { topics: [{ topic: 'one', partitionAssignment: [{ partition: 3, replicas: [1, 2] }] }], timeout: 900 },
    request: {
      ...{ timeoutMs: 900, allowReplicationFactorChange: true },
      topics: [{ name: 'one', partitions: [{ partitionIndex: 3, replicas: [1, 2] }] }],
    },
    names: PARTITION,
    untold: ['errorMessage'],
  },
  ListPartitionReassignments: {
    theirs: 'listPartitionReassignments',
    args: { topics: [{ topic: 'one', partitions: [3, 4] }], timeout: 900 },
    request: { timeoutMs: 900, topics: [{ name: 'one', partitionIndexes: [3, 4] }] },
    names: { partitionIndex: 'partition' },
    untold: ['errorMessage'],
  },
}

const APIS = new Map((KAFKA_APIS as unknown as readonly KafkaApi[]).map((api) => [api.name, api]))

function* common(): Generator<{ readonly name: string; readonly row: Row; readonly api: KafkaApi; version: number }> {
  for (const [name, row] of Object.entries(ROWS)) {
    const api = APIS.get(name)!
    for (const version of theirApi(row).versions.map(Number)) if (api.serves(version)) yield { name, row, api, version }
  }
}

function theirApi({ theirs }: Row): TheirApi {
  return require(`kafkajs/src/protocol/requests/${theirs}`) as TheirApi
}

async function readTheirs(api: KafkaApi, version: number, args: unknown, theirs: string): Promise<unknown> {
  const { request } = theirApi({ theirs, args, request: {} }).protocol({ version })(args)
  const { buffer } = await encodeTheirs({ correlationId: 7, clientId: 'them', request })
  assert.equal(buffer.readInt32BE(0), buffer.length - 4)
  const reader = new KafkaReader(new Uint8Array(buffer).subarray(4))
  assert.deepEqual(readRequestHeader(reader), { key: api.key, version, correlationId: 7 })
  // What they write for the tags of the header is part of their body.
  assert.equal(readClientId(reader, version >= api.flexibleSince), 'them')
  const read = api.decodeRequest(version, reader)
  assert.equal(reader.left, 0)
  return read
}

test('their requests are read as they were told to write them', async () => {
  let count = 0
  for (const { name, row, api, version } of common()) {
    const encoding = api.encodingOf(version)
    const read = await readTheirs(api, version, row.args, row.theirs)
    assert.deepEqual(plain(read), plain(readBack(api.request, encoding, row.request)), `${name} v${version}`)
    count++
  }
  assert.ok(count > 75, `${count} versions were compared`)
})

test('null is none or all: what they mean by it', async () => {
  const metadata = APIS.get('Metadata')!
  assert.deepEqual(((await readTheirs(metadata, 0, { topics: [] }, 'metadata')) as { topics: unknown }).topics, [])
  for (let version = 1; version <= 6; version++) {
    const all = (await readTheirs(metadata, version, { topics: [] }, 'metadata')) as { topics: unknown }
    // Their empty list is null on the wire: what v1 and later take for all.
    assert.equal(all.topics, null, `Metadata v${version}`)
  }
  const reassignments = APIS.get('ListPartitionReassignments')!
  const moves = await readTheirs(reassignments, 0, { topics: null }, 'listPartitionReassignments')
  assert.equal((moves as { topics: unknown }).topics, null)
})

/** A value for every field of a response, no two alike where the type allows. */
class Distinct {
  #next = 100

  of(field: Field<unknown, unknown, boolean>, encoding: Encoding): unknown {
    const { form } = field
    const number = this.#next++
    switch (form.kind) {
      case 'bool':
        return number % 2 === 0
      case 'int8':
        return (number % 100) + 1
      case 'int64':
        return 2 ** 40 + number
      case 'float64':
        return number + 0.5
      case 'uuid':
        return String(number).padStart(32, '0')
      case 'string':
        return `text-${number}`
      case 'bytes':
        return Uint8Array.of(number & 0xff, 1, 2)
      case 'records':
        return { bytes: 0, fragments: [] }
      case 'array':
        return [this.of(form.element, encoding), this.of(form.element, encoding)]
      case 'struct':
        return Object.fromEntries(
          Object.entries(form.shape)
            .filter(([, member]) => member.isIn(encoding))
            .map(([name, member]) => [name, this.of(member, encoding)]),
        )
      default:
        return number
    }
  }
}

/** Leaves of a value as `name=text`, by the last name on the way to them. */
function leavesOf(value: unknown, rename: (path: string) => string, path = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((each) => leavesOf(each, rename, path))
  if (value instanceof Uint8Array) return [`${rename(path)}=${Buffer.from(value).toString('hex')}`]
  if (value === null || typeof value !== 'object') return [`${rename(path)}=${String(value)}`]
  return Object.entries(value).flatMap(([name, each]) => leavesOf(each, rename, path === '' ? name : `${path}.${name}`))
}

const lastOf = (path: string): string => path.slice(path.lastIndexOf('.') + 1)

test('they read every response to the value', async () => {
  let count = 0
  for (const { name, row, api, version } of common()) {
    const written = new Distinct().of(api.response, api.encodingOf(version))
    const frame = joinBytes(api.encodeResponse(version, 7, written))
    const { response } = theirApi(row).protocol({ version })(row.args)
    // Their connection has taken the length and the correlation id; tags of a header are read with the body.
    const read = (await response.decode(Buffer.from(frame.subarray(8)))) as Record<string, unknown>
    const names = { throttleTimeMs: 'throttleTime', ...row.names }
    const untold = new Set(row.untold)
    const ours = leavesOf(written, (path) => names[path as keyof typeof names] ?? nameOf(names, path)).filter(
      (leaf) => !untold.has(leaf.slice(0, leaf.indexOf('='))),
    )
    const added = new Set([...(row.added ?? []), 'messages'])
    const theirs = leavesOf(theirThrottle(read), lastOf).filter((leaf) => !added.has(leaf.slice(0, leaf.indexOf('='))))
    const expected = name === 'SaslAuthenticate' ? ours.map((leaf) => leaf.replace('Bytes=', 'Bytes=00000003')) : ours
    assert.deepEqual(theirs.sort(), expected.sort(), `${name} v${version}`)
    count++
  }
  assert.ok(count > 75, `${count} versions were compared`)
})

function nameOf(names: Readonly<Record<string, string>>, path: string): string {
  return names[lastOf(path)] ?? lastOf(path)
}

/** From the version on in which clients keep to it themselves, the throttle time has another name and the old one is 0 (KIP-219). */
function theirThrottle(read: Record<string, unknown>): Record<string, unknown> {
  const { clientSideThrottleTime, ...rest } = read
  return clientSideThrottleTime === undefined ? rest : { ...rest, throttleTime: clientSideThrottleTime }
}

test('record batches: theirs are read here, and come back to them by a fetch', async () => {
  const produce = APIS.get('Produce')!
  const fetch = APIS.get('Fetch')!
  const message = { key: Buffer.from('k'), value: Buffer.from('value'), headers: { h: Buffer.from('x') }, timestamp: 5 }
  const args = {
    ...{ acks: -1, timeout: 900 },
    topicData: [{ topic: 'one', partitions: [{ partition: 3, firstSequence: 0, messages: [message, message] }] }],
  }
  let batch = new Uint8Array(0)
  for (let version = 3; version <= 7; version++) {
    const read = (await readTheirs(produce, version, args, 'produce')) as {
      topicData: { partitionData: { records: Uint8Array<ArrayBuffer> }[] }[]
    }
    batch = read.topicData[0]!.partitionData[0]!.records
    const expected = {
      ...{ transactionalId: null, acks: -1, timeoutMs: 900 },
      topicData: [{ name: 'one', partitionData: [{ index: 3, records: batch }] }],
    }
    assert.deepEqual(plain(read), plain(expected))
    const head = peekBatch(batch)
    assert.deepEqual(head, { baseOffset: 0, bytes: batch.length, magic: 2, codec: 0, isTransactional: false })
  }
  for (let version = 4; version <= 11; version++) {
    const partition = { partitionIndex: 3, errorCode: 0, highWatermark: 2, abortedTransactions: null }
    // Two fragments, as a batch that wraps around its page.
    const records = { bytes: batch.length, fragments: [batch.subarray(0, 30), batch.subarray(30)] }
    const responses = [{ topic: 'one', topicId: '', partitions: [{ ...partition, records }] }]
    const frame = joinBytes(fetch.encodeResponse(version, 7, { errorCode: 0, sessionId: 0, responses }))
    const { response } = theirApi(ROWS.Fetch!).protocol({ version })(ROWS.Fetch!.args)
    const read = (await response.decode(Buffer.from(frame.subarray(8)))) as {
      responses: { partitions: { messages: { offset: string; value: Buffer; key: Buffer }[] }[] }[]
    }
    const { messages } = read.responses[0]!.partitions[0]!
    assert.deepEqual(
      messages.map(({ offset, key, value }) => [offset, key.toString(), value.toString()]),
      [
        ['0', 'k', 'value'],
        ['1', 'k', 'value'],
      ],
    )
  }
  const produced = { names: { name: 'topicName', index: 'partition', logAppendTimeMs: 'logAppendTime' } }
  for (let version = 3; version <= 7; version++) {
    const written = new Distinct().of(produce.response, produce.encodingOf(version))
    const frame = joinBytes(produce.encodeResponse(version, 7, written))
    const { response } = theirApi({ theirs: 'produce', args, request: {} }).protocol({ version })(args)
    const read = (await response.decode(Buffer.from(frame.subarray(8)))) as Record<string, unknown>
    const names: Record<string, string> = { throttleTimeMs: 'throttleTime', ...produced.names }
    const ours = leavesOf(written, (path) => nameOf(names, path))
    assert.deepEqual(leavesOf(theirThrottle(read), lastOf).sort(), ours.sort(), `Produce v${version}`)
  }
})

/** Arrays of bytes as hex: a Buffer and a Uint8Array are the same here. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (Array.isArray(value)) return value.map(plain)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]))
}
