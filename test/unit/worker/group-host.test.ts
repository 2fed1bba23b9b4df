/** GroupHost on a whole shard: what a coordinator decided is told when it is synced, and forgotten when it could not be written. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import '../../../src/base/node/native-crc32c.ts'
import { FaultyFileSystem } from '../../../src/io/faulty-file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import type { TopicConfig } from '../../../src/model/topic-config.ts'
import {
  type Codec,
  groupHeartbeat,
  type ListGroupsReply,
  listGroups,
  offsetCommit,
  unwrapReply,
} from '../../../src/protocol/index.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'
import { ControlOperation } from '../../../src/ring/control-messages.ts'
import { makeBatch } from '../../support/log-fixture.ts'
import { batchesOf, type ControlAnswer, ShardFixture, type ShardFixtureOptions } from '../../support/shard-fixture.ts'

const TOPIC_ROW = { topicId: 'f'.repeat(32) as TopicId, name: 't', partitions: 4 }

class Fixture extends ShardFixture {
  constructor(options: ShardFixtureOptions = {}, config: Partial<TopicConfig> = {}) {
    super(options)
    this.open(2, { retentionMs: -1, ...config })
    this.control(ControlOperation.GROUP_TOPICS, { upserted: [TOPIC_ROW], removed: [] })
  }

  ask<Request>(codec: Codec<Request, unknown>, request: Request): number {
    return this.sendGroupRequest(codec.api, codec.encodeRequest(request))
  }

  join(groupId: string, subscribedTopics: readonly string[] = ['t']): number {
    return this.ask(groupHeartbeat, {
      ...{ groupId, memberId: '', memberEpoch: 0, instanceId: null, rackId: null, rebalanceTimeoutMs: 60_000 },
      ...{ sessionTimeoutMs: 10_000, subscribedTopics, subscribedPattern: '', serverAssignor: null },
      ownedPartitions: [],
    })
  }

  commit(groupId: string, offset: number): number {
    const partitions = [{ partition: 0, offset, leaderEpoch: -1, metadata: '' }]
    return this.ask(offsetCommit, {
      ...{ groupId, memberId: '', memberEpoch: -1, instanceId: null },
      topics: [{ topicId: '', topic: 't', partitions }],
    })
  }

  groups(): ListGroupsReply['groups'] {
    return this.replyOf(listGroups, this.ask(listGroups, { states: [], kinds: [] })).groups
  }

  replyOf<Reply>(codec: Pick<Codec<unknown, Reply>, 'decodeReply'>, requestId: number): Reply {
    const answer = this.answer(requestId) as ControlAnswer
    assert.equal(answer.error, 'NONE')
    return unwrapReply(codec.decodeReply(answer.body as Uint8Array))
  }

  errorOf(requestId: number): string {
    return (this.answer(requestId) as ControlAnswer).error
  }

  get batches(): [number, number][] {
    return batchesOf(this.fetch([{ offset: 0 }]).partitions[0]?.bytes ?? new Uint8Array(0))
  }
}

test('a reply waits until its records are synced, and one without records for those before it', () => {
  const shard = new Fixture()
  shard.groups() // loaded
  const joined = shard.join('g')
  const listed = shard.ask(listGroups, { states: [], kinds: [] })
  for (let turn = 0; turn < 20; turn++) shard.shard.doWork()
  shard.drain()
  assert.equal(shard.peek(joined), undefined, 'nothing is synced yet')
  assert.equal(shard.peek(listed), undefined, 'it tells of the group that is not synced yet')
  assert.equal(shard.errorOf(joined), 'NONE')
  assert.equal(shard.errorOf(listed), 'NONE')
})

test('what many ask in one turn is written as one batch; a heartbeat that changes nothing writes nothing', () => {
  const shard = new Fixture()
  shard.groups()
  const commits = Array.from({ length: 50 }, (_, index) => shard.commit(`g${index % 10}`, index))
  for (const commit of commits) assert.equal(shard.errorOf(commit), 'NONE')
  assert.equal(shard.batches.length, 1)
  const { memberId, memberEpoch } = shard.replyOf(groupHeartbeat, shard.join('h'))
  const before = shard.batches.length
  const unchanged = { instanceId: null, rackId: null, serverAssignor: null, subscribedTopics: null }
  const owned = [{ ...TOPIC_ROW, topic: 't', partitions: [0, 1, 2, 3] }]
  for (let beat = 0; beat < 3; beat++) {
    const request = { groupId: 'h', memberId, memberEpoch, rebalanceTimeoutMs: -1, sessionTimeoutMs: -1 }
    const heartbeat = { ...request, ...unchanged, subscribedPattern: null, ownedPartitions: owned }
    assert.equal(shard.errorOf(shard.ask(groupHeartbeat, heartbeat)), 'NONE')
  }
  assert.equal(shard.batches.length, before)
})

test('what could not be written was not decided: everyone who waits is told, and the next request finds what is in the log', () => {
  const files = new FaultyFileSystem(new MemoryFileSystem())
  const shard = new Fixture({ files })
  const first = shard.answer(shard.join('g')) as ControlAnswer
  assert.equal(first.error, 'NONE')
  files.inject({ on: 'write', path: '.log', effect: { kind: 'fail', code: 'ENOSPC' } })
  const [second, listed] = [shard.join('g'), shard.ask(listGroups, { states: [], kinds: [] })]
  assert.equal(shard.errorOf(second), 'COORDINATOR_NOT_AVAILABLE')
  assert.equal(shard.errorOf(listed), 'COORDINATOR_NOT_AVAILABLE')
  assert.deepEqual(
    shard.groups().map(({ groupId, memberCount }) => [groupId, memberCount]),
    [['g', 1]],
  )
  assert.equal(shard.errorOf(shard.join('g')), 'NONE')
  assert.equal(shard.groups()[0]?.memberCount, 2)
})

test('a member that is silent is removed when its session is over, without anybody asking', () => {
  const shard = new Fixture()
  shard.answer(shard.join('g'))
  shard.pass(9_000)
  assert.equal(shard.groups()[0]?.memberCount, 1)
  shard.pass(1_100)
  assert.equal(shard.groups()[0]?.memberCount, 0)
  assert.ok(shard.notices.some((notice) => notice.kind === 'log' && /session timeout is over/.test(notice.text)))
})

test('a partition that goes has no coordinator: who waits is told, and so is who comes', () => {
  const shard = new Fixture()
  shard.groups()
  const waiting = shard.join('g')
  for (let turn = 0; turn < 5; turn++) shard.shard.doWork()
  const deleted = shard.sendControl(ControlOperation.DELETE_PARTITION, { partitionRef: 0 })
  assert.equal(shard.errorOf(waiting), 'NOT_COORDINATOR')
  assert.equal(shard.errorOf(deleted), 'NONE')
  assert.equal(shard.errorOf(shard.join('g')), 'NOT_COORDINATOR')
})

test('ids are what they are, byte for byte, before and after the log was read again', () => {
  const files = new FaultyFileSystem(new MemoryFileSystem())
  const shard = new Fixture({ files })
  const ids = ['g', '\ufeffg', 'e\u0301', '\u00e9', '\u{1f600}']
  for (const id of ids) assert.equal(shard.errorOf(shard.join(id)), 'NONE')
  const before = shard.groups().map(({ groupId }) => groupId)
  assert.deepEqual([...before].sort(), [...ids].sort())
  files.inject({ on: 'write', path: '.log', effect: { kind: 'fail', code: 'ENOSPC' } })
  assert.equal(shard.errorOf(shard.join('lost')), 'COORDINATOR_NOT_AVAILABLE')
  const after = shard.groups()
  assert.deepEqual(after.map(({ groupId }) => groupId).sort(), [...ids].sort())
  assert.ok(after.every(({ memberCount }) => memberCount === 1))
})

test('a log that no coordinator can have written takes its groups with it, and nothing else', () => {
  const shard = new Fixture()
  const writer = new BatchWriter({})
  writer.append(Uint8Array.of(0, 2, 0, 0, 0, 9), new Uint8Array(3), null, 1)
  assert.equal(shard.produce(writer.finish().slice()).error, 'NONE')
  assert.equal(shard.errorOf(shard.join('g')), 'COORDINATOR_NOT_AVAILABLE')
  assert.equal(shard.errorOf(shard.join('g')), 'COORDINATOR_NOT_AVAILABLE')
  assert.equal(shard.produce(makeBatch({ valueBytes: 10 }), { partitionRef: 1 }).error, 'NONE')
})

test('a decision larger than a batch is refused, and the groups that are there stay', () => {
  const shard = new Fixture({}, { maxMessageBytes: 2_000 })
  assert.equal(shard.errorOf(shard.join('g')), 'NONE')
  const many = Array.from({ length: 100 }, (_, index) => `${'long-name-'.repeat(4)}${index}`)
  assert.equal(shard.errorOf(shard.join('large', many)), 'COORDINATOR_NOT_AVAILABLE')
  assert.deepEqual(
    shard.groups().map(({ groupId }) => groupId),
    ['g'],
  )
  assert.equal(shard.errorOf(shard.commit('simple', 3)), 'NONE')
})
