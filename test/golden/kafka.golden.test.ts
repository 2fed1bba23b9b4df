/**
 * Golden frames of the Kafka protocol, flexible versions: annotated hex, written by hand from the protocol guide, that is read to the
 * value and written to the byte. Nothing writes these files. kafka-kafkajs.golden.test.ts has the classic versions.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { bytesOfHex, hexOf, joinBytes } from '../../src/base/bytes.ts'
import { KAFKA_APIS } from '../../src/kafka/apis/index.ts'
import { type KafkaApi, readClientId, readRequestHeader } from '../../src/kafka/codec/api.ts'
import { KafkaReader } from '../../src/kafka/codec/reader.ts'
import { readBack } from '../support/kafka-values.ts'

/** Tests run from dist/; the files stay in test/. */
const FOLDER = new URL('../../../test/golden/kafka/', import.meta.url)
const CORRELATION_ID = 7
const topicId = '0102030405060708090a0b0c0d0e0f10'
const bytes = (...values: number[]): { bytes: number; fragments: Uint8Array[] } => ({
  bytes: values.length,
  fragments: [Uint8Array.from(values)],
})

function golden(name: string): Uint8Array {
  const text = readFileSync(new URL(`${name}.hex`, FOLDER), 'utf8')
  return bytesOfHex(text.replaceAll(/#.*/g, '').replaceAll(/\s/g, ''))
}

const FETCH = { maxWaitMs: 500, minBytes: 1, maxBytes: 1 << 20, sessionId: 0, forgottenTopicsData: [] }
const ASKED = { partition: 3, fetchOffset: 10, partitionMaxBytes: 65_536 }
const FETCHED = { throttleTimeMs: 0, errorCode: 0, sessionId: 0 }
const ONE_PARTITION = { errorCode: 0, partitionIndex: 0, leaderId: 1, leaderEpoch: 5, replicaNodes: [1], isrNodes: [1] }
const MEMBER = { memberId: 'm', memberEpoch: 1, heartbeatIntervalMs: 5_000, errorCode: 0, errorMessage: null }
const OWNED = [{ topicId, partitions: [3] }]
const GROUP_VERSION = { name: 'group.version', minVersion: 1, maxVersion: 2 }

/** What is written, by file; what is not named has its default. */
const FRAMES: Readonly<Record<string, unknown>> = {
  'api-versions-v3-request': { clientSoftwareName: 'librdkafka', clientSoftwareVersion: '2.10.0' },
  'api-versions-v3-response': {
    errorCode: 0,
    apiKeys: [
      { apiKey: 0, minVersion: 0, maxVersion: 11 },
      { apiKey: 18, minVersion: 0, maxVersion: 4 },
    ],
  },
  'api-versions-v3-features-response': {
    ...{ errorCode: 0, apiKeys: [], throttleTimeMs: 100 },
    ...{ supportedFeatures: [GROUP_VERSION], finalizedFeaturesEpoch: 9 },
    finalizedFeatures: [{ name: 'group.version', maxVersionLevel: 2, minVersionLevel: 1 }],
  },
  'metadata-v12-request': {
    topics: [
      { topicId: '0'.repeat(32), name: 'one' },
      { topicId, name: null },
    ],
    ...{ allowAutoTopicCreation: true, includeTopicAuthorizedOperations: false },
  },
  'metadata-v12-response': {
    brokers: [{ nodeId: 1, host: '127.0.0.1', port: 9092, rack: null }],
    ...{ clusterId: 'cd', controllerId: 1 },
    topics: [
      {
        ...{ errorCode: 0, name: 'one', topicId, isInternal: false },
        partitions: [{ ...ONE_PARTITION, offlineReplicas: [] }],
      },
    ],
  },
  'produce-v9-request': {
    ...{ transactionalId: null, acks: -1, timeoutMs: 30_000 },
    topicData: [{ name: 'one', partitionData: [{ index: 3, records: bytes(...new Array<number>(128).fill(0xab)) }] }],
  },
  'produce-v9-response': {
    responses: [
      {
        name: 'one',
        partitionResponses: [
          {
            ...{ index: 3, errorCode: 0, baseOffset: 2 ** 32, logStartOffset: 2 },
            ...{ recordErrors: [], errorMessage: null },
          },
          {
            ...{ index: 4, errorCode: 87, baseOffset: -1, errorMessage: 'no!' },
            recordErrors: [{ batchIndex: 1, batchIndexErrorMessage: 'key' }],
          },
        ],
      },
    ],
  },
  'produce-v10-response': {
    responses: [
      {
        name: 'one',
        partitionResponses: [
          { index: 3, errorCode: 6, baseOffset: -1, recordErrors: [], currentLeader: { leaderId: 2, leaderEpoch: 8 } },
        ],
      },
    ],
    nodeEndpoints: [{ nodeId: 2, host: 'b', port: 9093, rack: null }],
  },
  'fetch-v12-request': {
    ...{ ...FETCH, clusterId: 'cl', isolationLevel: 1, rackId: 'r1' },
    topics: [{ topic: 'one', partitions: [{ ...ASKED, currentLeaderEpoch: 5, lastFetchedEpoch: 4 }] }],
  },
  'fetch-v12-response': {
    ...FETCHED,
    responses: [
      {
        topic: 'one',
        partitions: [
          {
            ...{ partitionIndex: 3, errorCode: 0, highWatermark: 20, lastStableOffset: 18, logStartOffset: 0 },
            abortedTransactions: [{ producerId: 99, firstOffset: 11 }],
            records: bytes(0xaa, 0xbb, 0xcc),
          },
          {
            ...{ partitionIndex: 4, errorCode: 0, highWatermark: 20, lastStableOffset: 20, logStartOffset: 0 },
            ...{ divergingEpoch: { epoch: 4, endOffset: 12 }, currentLeader: { leaderId: 2, leaderEpoch: 6 } },
            ...{ abortedTransactions: null, records: bytes() },
          },
        ],
      },
    ],
  },
  'fetch-v13-request': {
    ...{ ...FETCH, isolationLevel: 0, sessionEpoch: 0, rackId: '' },
    topics: [{ topicId, partitions: [ASKED] }],
    forgottenTopicsData: [{ topicId, partitions: [1] }],
  },
  'fetch-v17-request': {
    ...{ ...FETCH, isolationLevel: 0, rackId: '', replicaState: { replicaId: 5, replicaEpoch: 2 } },
    topics: [{ topicId, partitions: [{ ...ASKED, replicaDirectoryId: 'cd'.repeat(16) }] }],
  },
  'fetch-v16-response': {
    ...FETCHED,
    responses: [
      {
        topicId,
        partitions: [
          {
            ...{ partitionIndex: 3, errorCode: 6, highWatermark: -1, records: bytes(), abortedTransactions: null },
            currentLeader: { leaderId: 2, leaderEpoch: 6 },
          },
        ],
      },
    ],
    nodeEndpoints: [{ nodeId: 2, host: 'b', port: 9093, rack: 'r1' }],
  },
  'find-coordinator-v4-request': { keyType: 1, coordinatorKeys: ['t', 'u'] },
  'find-coordinator-v4-response': {
    coordinators: [
      { key: 't', nodeId: 1, host: 'a', port: 9092, errorCode: 0, errorMessage: null },
      { key: 'u', nodeId: -1, host: '', port: -1, errorCode: 15, errorMessage: 'no!' },
    ],
  },
  'join-group-v9-request': {
    ...{ groupId: 'g', sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 60_000, memberId: '', groupInstanceId: null },
    ...{ protocolType: 'consumer', reason: 'no' },
    protocols: [{ name: 'range', metadata: Uint8Array.of(0, 1, 2) }],
  },
  'join-group-v9-response': {
    ...{ errorCode: 0, generationId: 2, protocolType: 'consumer', protocolName: 'range', leader: 'm', memberId: 'm' },
    members: [{ memberId: 'm', groupInstanceId: 'i', metadata: Uint8Array.of(0, 1, 2) }],
  },
  'join-group-v9-refused-response': {
    ...{ errorCode: 79, protocolType: null, protocolName: null, leader: '', memberId: 'me-1', members: [] },
  },
  'offset-commit-v9-request': {
    ...{ groupId: 'g', generationIdOrMemberEpoch: 3, memberId: 'm', groupInstanceId: null },
    topics: [
      {
        name: 'one',
        partitions: [{ partitionIndex: 3, committedOffset: 10, committedLeaderEpoch: 5, committedMetadata: null }],
      },
    ],
  },
  'offset-commit-v9-response': { topics: [{ name: 'one', partitions: [{ partitionIndex: 3, errorCode: 22 }] }] },
  'offset-fetch-v8-request': {
    groups: [
      { groupId: 'g', topics: [{ name: 'one', partitionIndexes: [3, 4] }] },
      { groupId: 'h', topics: null },
    ],
    requireStable: true,
  },
  'offset-fetch-v8-response': {
    groups: [
      {
        groupId: 'g',
        topics: [{ name: 'one', partitions: [{ partitionIndex: 3, committedOffset: -1, metadata: '', errorCode: 0 }] }],
        errorCode: 0,
      },
      { groupId: 'h', topics: [], errorCode: 16 },
    ],
  },
  'init-producer-id-v4-request': { transactionalId: 'txn', transactionTimeoutMs: 60_000 },
  'init-producer-id-v4-response': { errorCode: 0, producerId: 1_000, producerEpoch: 4 },
  'describe-cluster-v0-request': { includeClusterAuthorizedOperations: true },
  'describe-cluster-v0-response': {
    ...{ errorCode: 0, clusterId: 'cd', controllerId: 1, clusterAuthorizedOperations: 0x100 },
    brokers: [{ brokerId: 1, host: 'a', port: 9092, rack: null }],
  },
  'consumer-group-heartbeat-v0-request': {
    ...{ groupId: 'g', memberId: '', memberEpoch: 0, instanceId: null, rackId: null, rebalanceTimeoutMs: 45_000 },
    ...{ subscribedTopicNames: ['one'], serverAssignor: null, topicPartitions: OWNED },
  },
  'consumer-group-heartbeat-v0-response': { ...MEMBER, assignment: { topicPartitions: OWNED } },
  'consumer-group-heartbeat-v0-unchanged-response': { ...MEMBER, assignment: null },
}

const kebab = (name: string): string => name.replaceAll(/(?!^)[A-Z]/g, '-$&').toLowerCase()

function apiOf(file: string): { readonly api: KafkaApi; readonly version: number; readonly isRequest: boolean } {
  const [, name = '', version = '', kind] = /^([a-z-]+)-v(\d+)-(?:[a-z]+-)?(request|response)$/.exec(file) ?? []
  const api = (KAFKA_APIS as unknown as readonly KafkaApi[]).find((each) => kebab(each.name) === name)
  assert.ok(api !== undefined, file)
  return { api, version: Number(version), isRequest: kind === 'request' }
}

test('every file has its value', () => {
  const files = readdirSync(FOLDER).map((file) => file.replace(/\.hex$/, ''))
  assert.deepEqual(files.sort(), Object.keys(FRAMES).sort())
})

for (const [file, value] of Object.entries(FRAMES))
  test(`${file}: read to the value, written to the byte`, () => {
    const { api, version, isRequest } = apiOf(file)
    const frame = golden(file)
    const encoding = api.encodingOf(version)
    assert.ok(encoding.isFlexible)
    const payload = frame.subarray(4)
    const written = isRequest
      ? api.encodeRequest(version, { correlationId: CORRELATION_ID, clientId: 'me' }, value)
      : api.encodeResponse(version, CORRELATION_ID, value)
    assert.equal(hexOf(joinBytes(written)), hexOf(frame))
    if (isRequest) {
      const reader = new KafkaReader(payload)
      assert.deepEqual(readRequestHeader(reader), { key: api.key, version, correlationId: CORRELATION_ID })
      assert.equal(readClientId(reader, true), 'me')
      assert.deepEqual(api.decodeRequest(version, reader), readBack(api.request, encoding, value))
      assert.equal(reader.left, 0)
    } else {
      const response = readBack(api.response, encoding, value)
      assert.deepEqual(api.decodeResponse(version, payload), { correlationId: CORRELATION_ID, response })
    }
  })
