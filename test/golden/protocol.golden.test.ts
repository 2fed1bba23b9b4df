/**
 * Golden headers of the native protocol: annotated hex that must be read and, where it is what this version writes, written to the byte.
 * Nothing writes these files: a change that breaks one breaks the peers of another version.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { bytesOfHex, hexOf } from '../../src/base/bytes.ts'
import type { TopicId } from '../../src/model/ids.ts'
import {
  ALL_MECHANISMS,
  alterUsers,
  CoordinatorKind,
  describeUsers,
  findCoordinator,
  type MetadataReply,
  metadata,
  unwrapReply,
} from '../../src/protocol/index.ts'

/** Bytes of an annotated file: everything after a # is comment. Tests run from dist/; the files stay in test/. */
function golden(name: string): Uint8Array {
  const text = readFileSync(new URL(`../../../test/golden/protocol/${name}.hex`, import.meta.url), 'utf8')
  return bytesOfHex(text.replaceAll(/#.*/g, '').replaceAll(/\s/g, ''))
}

const topicId = '0123456789abcdef0123456789abcdef' as TopicId
const TOPIC = { errorNumber: 0, errorText: '', name: 'o', topicId, config: {} }

test('find-coordinator: request and reply, read and written to the byte', () => {
  const request = { kind: CoordinatorKind.TRANSACTION, ids: ['pay-1', ''] }
  assert.deepEqual(findCoordinator.decodeRequest(golden('find-coordinator-request')), request)
  assert.equal(hexOf(findCoordinator.encodeRequest(request)), hexOf(golden('find-coordinator-request')))
  const found = { errorNumber: 0, errorText: '', nodeId: 2, url: 'ws://b:7171' }
  const reply = { coordinators: [found, { errorNumber: 15, errorText: 'none', nodeId: -1, url: '' }] }
  assert.deepEqual(unwrapReply(findCoordinator.decodeReply(golden('find-coordinator-reply'))), reply)
  assert.equal(hexOf(findCoordinator.encodeReply(reply)), hexOf(golden('find-coordinator-reply')))
})

test('metadata: the reply, read and written to the byte', () => {
  const brokers = [
    { nodeId: 1, url: 'ws://a:1', rack: 'r1' },
    { nodeId: 2, url: 'ws://b:1', rack: null },
  ]
  const partitions = [{ leaderNodeId: 2, leaderEpoch: 7, offline: null, replicas: [1, 2], inSync: [2] }]
  const reply: MetadataReply = {
    clusterId: 'c',
    brokers,
    controllerId: 2,
    topics: [{ ...TOPIC, partitions, drainFrom: 3, revision: 9 }],
  }
  assert.deepEqual(unwrapReply(metadata.decodeReply(golden('metadata-reply'))), reply)
  assert.equal(hexOf(metadata.encodeReply(reply)), hexOf(golden('metadata-reply')))
})

test('metadata: the reply of a broker before clusters is read, its leader the only replica', () => {
  assert.deepEqual(unwrapReply(metadata.decodeReply(golden('metadata-reply-alone'))), {
    clusterId: 'c',
    brokers: [{ nodeId: 1, url: 'ws://a:1', rack: null }],
    controllerId: 1,
    topics: [
      {
        ...{ ...TOPIC, drainFrom: -1, revision: -1 },
        partitions: [{ leaderNodeId: 1, leaderEpoch: 7, offline: null, replicas: [1], inSync: [1] }],
      },
    ],
  })
})

test('describe-users and alter-users: requests and replies, read and written to the byte', () => {
  const named = { names: ['alice', 'bob'], cursor: '' }
  assert.deepEqual(describeUsers.decodeRequest(golden('describe-users-request')), named)
  assert.equal(hexOf(describeUsers.encodeRequest(named)), hexOf(golden('describe-users-request')))
  const credentials = [
    { mechanism: 1, iterations: 8_192 },
    { mechanism: 2, iterations: 16_384 },
  ]
  const described = {
    users: [
      { name: 'alice', errorNumber: 0, errorText: '', credentials },
      { name: 'bob', errorNumber: 91, errorText: 'none', credentials: [] },
    ],
    nextCursor: 'bob',
  }
  assert.deepEqual(unwrapReply(describeUsers.decodeReply(golden('describe-users-reply'))), described)
  assert.equal(hexOf(describeUsers.encodeReply(described)), hexOf(golden('describe-users-reply')))

  const salted = { salt: Uint8Array.of(1, 2, 3), saltedPassword: new Uint8Array(32).fill(0xab) }
  const change = {
    deletions: [{ name: 'alice', mechanism: ALL_MECHANISMS }],
    upsertions: [{ name: 'alice', mechanism: 1, iterations: 4_096, ...salted }],
  }
  assert.deepEqual(alterUsers.decodeRequest(golden('alter-users-request')), change)
  assert.equal(hexOf(alterUsers.encodeRequest(change)), hexOf(golden('alter-users-request')))
  const altered = {
    users: [
      { name: 'alice', errorNumber: 0, errorText: '' },
      { name: 'bob', errorNumber: 93, errorText: 'why' },
    ],
  }
  assert.deepEqual(unwrapReply(alterUsers.decodeReply(golden('alter-users-reply'))), altered)
  assert.equal(hexOf(alterUsers.encodeReply(altered)), hexOf(golden('alter-users-reply')))
})
