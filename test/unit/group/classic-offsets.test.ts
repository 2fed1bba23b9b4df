/** Offsets of classic groups: who may commit, what may be deleted, what expires. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isRefusal } from '../../../src/group/index.ts'
import { ClassicFixture, type InGeneration, subscriptionOf } from '../../support/classic-fixture.ts'

const RETENTION_MS = 100_000
const asMember = ({ memberId, generationId, instanceId }: InGeneration) => ({
  ...{ memberId, memberEpoch: generationId, instanceId },
})

function txnError(fixture: ClassicFixture, who: object): string {
  const topics = [
    { topicId: '' as const, topic: 'orders', partitions: [{ partition: 0, offset: 1, leaderEpoch: -1, metadata: '' }] },
  ]
  const nobody = { groupId: 'g', memberId: '', memberEpoch: -1, instanceId: null }
  const request = { ...nobody, ...who, producerId: 1, producerEpoch: 0, topics }
  const { reply } = fixture.coordinator.commitTxnOffsets(request, fixture.nowMs)
  return isRefusal(reply) ? reply.error : reply.topics[0]!.partitions[0]!.error
}

test('commits without a generation: while the group is empty, whoever asks', () => {
  const fixture = new ClassicFixture()
  assert.equal(fixture.commitError({ memberId: 'x', offset: 3 }), 'NONE')
  fixture.joined(fixture.sendJoin({ requiresKnownMemberId: true }))
  assert.equal(fixture.group.state, 'Empty')
  assert.equal(fixture.commitError({ offset: 4 }), 'NONE')
  assert.equal(fixture.committed(), 4)
  fixture.sendJoin()
  assert.equal(fixture.commitError({ offset: 5 }), 'UNKNOWN_MEMBER_ID')
  assert.equal(txnError(fixture, {}), 'NONE')
})

test('members commit under the current generation, not while it is being assigned', () => {
  const fixture = new ClassicFixture()
  assert.equal(fixture.commitError({ memberId: 'm', memberEpoch: 1 }), 'GROUP_ID_NOT_FOUND')
  const [leader, follower] = fixture.generation({}, { instanceId: 'i' })
  assert.equal(fixture.commitError(asMember(leader!)), 'REBALANCE_IN_PROGRESS')
  assert.equal(txnError(fixture, asMember(leader!)), 'NONE')
  fixture.sendSync({ ...leader!, assignments: [] })
  assert.equal(fixture.commitError(asMember(leader!)), 'NONE')
  assert.equal(fixture.commitError(asMember(follower!)), 'NONE')
  assert.equal(fixture.commitError({ ...asMember(leader!), memberEpoch: 0 }), 'ILLEGAL_GENERATION')
  assert.equal(fixture.commitError({ ...asMember(leader!), memberEpoch: 2 }), 'ILLEGAL_GENERATION')
  assert.equal(fixture.commitError({ ...asMember(leader!), memberId: 'x' }), 'UNKNOWN_MEMBER_ID')
  assert.equal(fixture.commitError({ ...asMember(leader!), instanceId: 'i' }), 'FENCED_INSTANCE_ID')
  assert.equal(fixture.commitError({ ...asMember(leader!), memberEpoch: -1 }), 'ILLEGAL_GENERATION')
  fixture.sendJoin()
  assert.equal(fixture.group.state, 'PreparingRebalance')
  assert.equal(fixture.commitError({ ...asMember(leader!), offset: 9 }), 'NONE')
  fixture.sendJoin({ memberId: leader!.memberId })
  fixture.sendJoin({ ...follower! })
  assert.equal(fixture.group.state, 'CompletingRebalance')
  assert.equal(fixture.commitError(asMember(leader!)), 'ILLEGAL_GENERATION')
  assert.equal(fixture.committed(), 9)
})

test('a commit is a sign of life', () => {
  const fixture = new ClassicFixture()
  const [leader] = fixture.stable([{}])
  fixture.advance(9_000)
  fixture.commit(asMember(leader!))
  assert.deepEqual(fixture.advance(9_999), [])
  assert.deepEqual(fixture.advance(1), [`${leader!.memberId} session`])
})

test('members fetch with their id and without a generation', () => {
  const fixture = new ClassicFixture()
  const [leader] = fixture.stable([{}])
  fixture.commit({ ...asMember(leader!), offset: 6 })
  const topics = [{ topicId: '' as const, topic: 'orders', partitions: [0] }]
  for (const memberEpoch of [-1, 1, 7]) {
    const request = { groupId: 'g', memberId: leader!.memberId, memberEpoch, topics, requireStable: false }
    const { reply } = fixture.coordinator.fetchOffsets(request)
    assert.ok(!isRefusal(reply) && reply.topics[0]!.partitions[0]!.offset === 6)
  }
})

function deleteError(fixture: ClassicFixture, topic: string): string {
  const request = { groupId: 'g', topics: [{ topicId: '' as const, topic, partitions: [0] }] }
  const reply = fixture.take(fixture.coordinator.deleteOffsets(request))
  return isRefusal(reply) ? reply.error : reply.topics[0]!.partitions[0]!.error
}

test('offsets of topics that members read cannot be deleted; who reads what is known of consumers alone', () => {
  const topics = { orders: 6, clicks: 1 }
  const fixture = new ClassicFixture({ topics })
  fixture.stable()
  assert.equal(deleteError(fixture, 'orders'), 'GROUP_SUBSCRIBED_TO_TOPIC')
  assert.equal(deleteError(fixture, 'clicks'), 'NONE')

  const odd = new ClassicFixture({ topics })
  odd.stable([{ protocols: [{ name: 'range', metadata: new Uint8Array([1]) }] }])
  assert.equal(deleteError(odd, 'clicks'), 'GROUP_SUBSCRIBED_TO_TOPIC')

  const connect = new ClassicFixture({ topics })
  const [worker] = connect.stable([{ protocolType: 'connect' }])
  assert.equal(deleteError(connect, 'orders'), 'NON_EMPTY_GROUP')
  connect.leaveClassic(worker!)
  assert.equal(deleteError(connect, 'orders'), 'NONE')
})

test('offsets expire once the group is empty for so long, and the group with them', () => {
  const config = { offsetsRetentionMs: RETENTION_MS, offsetsSweepMs: 1_000 }
  const fixture = new ClassicFixture({ config })
  const [member] = fixture.stable([{ sessionTimeoutMs: 1_000_000 }])
  fixture.commit({ ...asMember(member!), offset: 6 })
  fixture.advance(2 * RETENTION_MS)
  assert.equal(fixture.committed(), 6)
  fixture.leaveClassic(member!)
  fixture.joined(fixture.sendJoin({ requiresKnownMemberId: true, sessionTimeoutMs: 1_000_000 }))
  fixture.advance(RETENTION_MS - 2_000)
  assert.equal(fixture.committed(), 6)
  fixture.advance(4_000)
  assert.equal(fixture.coordinator.state.groups.size, 0)
  assert.equal(fixture.replayed().state.groups.size, 0)
})

test('while a group has members offsets of topics that none of them reads expire, if that is known', () => {
  const config = { offsetsRetentionMs: RETENTION_MS, offsetsSweepMs: 1_000 }
  for (const [protocolType, left] of [
    ['consumer', [-1, 1]],
    ['connect', [1, 1]],
  ] as const) {
    const fixture = new ClassicFixture({ config, topics: { orders: 1, clicks: 1 } })
    fixture.commit({ topic: 'clicks', offset: 1 })
    fixture.commit({ topic: 'orders', offset: 1 })
    fixture.stable([{ protocolType, sessionTimeoutMs: 1_000_000 }])
    fixture.advance(2 * RETENTION_MS)
    assert.deepEqual([fixture.committed('clicks'), fixture.committed('orders')], left)
  }
})

test('what is subscribed to is that of the generation', () => {
  const fixture = new ClassicFixture({ topics: { orders: 6, clicks: 1 } })
  const [leader] = fixture.stable([{}])
  const protocols = [{ name: 'range', metadata: new Uint8Array(subscriptionOf('clicks')) }]
  fixture.sendJoin({ memberId: leader!.memberId, protocols })
  assert.deepEqual(
    [deleteError(fixture, 'orders'), deleteError(fixture, 'clicks')],
    ['NONE', 'GROUP_SUBSCRIBED_TO_TOPIC'],
  )
})

const EXPIRING = { offsetsRetentionMs: RETENTION_MS, offsetsSweepMs: 1_000 }

test('a group that was empty when it was loaded reads nothing: its offsets are deleted, and expire with it', () => {
  const fixture = new ClassicFixture({ config: EXPIRING, topics: { orders: 6, clicks: 1 } })
  const [member] = fixture.stable([{}])
  for (const topic of ['orders', 'clicks']) fixture.commit({ ...asMember(member!), topic, offset: 6 })
  fixture.leaveClassic(member!)
  fixture.restart()
  assert.equal(fixture.group.state, 'Empty')
  assert.equal(deleteError(fixture, 'clicks'), 'NONE')
  fixture.advance(RETENTION_MS - 2_000)
  assert.equal(fixture.committed(), 6)
  fixture.advance(4_000)
  assert.equal(fixture.coordinator.state.groups.size, 0)
  assert.equal(fixture.replayed().state.groups.size, 0)
})

test('a group that has only given an id reads nothing', () => {
  const fixture = new ClassicFixture({ config: EXPIRING, topics: { orders: 6, clicks: 1 } })
  for (const topic of ['orders', 'clicks']) fixture.commit({ topic, offset: 6 })
  fixture.joined(fixture.sendJoin({ requiresKnownMemberId: true, sessionTimeoutMs: 1_000_000 }))
  assert.deepEqual([fixture.group.state, fixture.group.pending.size], ['Empty', 1])
  assert.equal(deleteError(fixture, 'clicks'), 'NONE')
  fixture.advance(RETENTION_MS + 2_000)
  assert.equal(fixture.coordinator.state.groups.size, 0)
})

test('while members come together nobody knows what they will read: nothing expires, nothing is deleted', () => {
  const config = { ...EXPIRING, initialRebalanceDelayMs: 20_000 }
  const fixture = new ClassicFixture({ config })
  const [member] = fixture.stable([{ sessionTimeoutMs: 1_000_000 }])
  fixture.commit({ ...asMember(member!), offset: 6 })
  fixture.leaveClassic(member!)
  fixture.advance(RETENTION_MS - 2_000)
  fixture.sendJoin({ rebalanceTimeoutMs: 60_000 })
  assert.equal(deleteError(fixture, 'orders'), 'GROUP_SUBSCRIBED_TO_TOPIC')
  fixture.advance(10_000)
  assert.equal(fixture.group.state, 'PreparingRebalance')
  assert.equal(fixture.committed(), 6)
})
