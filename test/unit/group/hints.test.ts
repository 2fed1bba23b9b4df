/** Hints of consumer groups: who is told to send a heartbeat, when, and how often. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TopicPartitions } from '../../../src/group/index.ts'
import { GroupFixture, show } from '../../support/group-fixture.ts'

const ALL = [0, 1, 2, 3, 4, 5]

function owned(partitions: number[]): TopicPartitions[] {
  return [{ topicId: '', topic: 'orders', partitions }]
}

/** Whom the coordinator tells until nothing is due. */
function hinted(fixture: GroupFixture): string[] {
  const told: string[] = []
  while (fixture.coordinator.nextHintsMs <= fixture.nowMs)
    for (const { connectionId, memberId } of fixture.coordinator.takeHints(fixture.nowMs) ?? [])
      told.push(`${memberId} over ${connectionId}`)
  return told
}

function settled(): GroupFixture {
  const fixture = new GroupFixture()
  fixture.join('a', { connectionId: 1 })
  fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: owned(ALL), connectionId: 1 })
  fixture.advance(100)
  assert.deepEqual(hinted(fixture), [], 'the one member has all')
  return fixture
}

test('an owner is told that something is taken from it, then the next owner that it is free', () => {
  const fixture = settled()
  fixture.join('b', { connectionId: 2 })
  assert.deepEqual(hinted(fixture), [], 'a change may come with others')
  fixture.advance(100)
  assert.deepEqual(hinted(fixture), ['a over 1'], 'b waits in vain for now')
  fixture.beat({ memberId: 'a', memberEpoch: 1, connectionId: 1 })
  fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: owned([0, 1, 2]), connectionId: 1 })
  fixture.advance(100)
  assert.deepEqual(hinted(fixture), ['b over 2'])
  assert.equal(show(fixture.beat({ memberId: 'b', memberEpoch: 2, connectionId: 2 }).assignment), 'orders 3 4 5')
})

test('a member is told once between two heartbeats, over the connection of the last', () => {
  const fixture = settled()
  fixture.join('b', { connectionId: 2 })
  fixture.advance(100)
  assert.deepEqual(hinted(fixture), ['a over 1'])
  fixture.growTopic('orders', 8)
  fixture.advance(100)
  assert.deepEqual(hinted(fixture), ['b over 2'], 'a knows, and has not come yet')
  fixture.beat({ memberId: 'a', memberEpoch: 1, connectionId: 7 })
  fixture.growTopic('orders', 9)
  fixture.advance(100)
  assert.deepEqual(hinted(fixture), ['a over 7'])
})

test('changes that come together are told once; members without a connection are left alone', () => {
  const fixture = settled()
  fixture.join('b', { connectionId: 2 })
  fixture.join('c')
  fixture.advance(100)
  assert.deepEqual(hinted(fixture), ['a over 1', 'b over 2'])
  assert.equal(fixture.coordinator.nextHintsMs, Number.POSITIVE_INFINITY)
})

test('a short session is heard of three times', () => {
  const fixture = new GroupFixture()
  assert.equal(fixture.join('a', { sessionTimeoutMs: 6_000 }).heartbeatIntervalMs, 2_000)
  assert.equal(fixture.join('b', { sessionTimeoutMs: 1_000 }).heartbeatIntervalMs, 250, 'it waits for partitions')
  assert.equal(fixture.join('c', { groupId: 'other', sessionTimeoutMs: 60_000 }).heartbeatIntervalMs, 3_000)
})
