/** Committed offsets: fencing, limits, expiry, deletion. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OFFSET_RECORD_BYTES } from '../../../src/group/group-records.ts'
import { type EncodedRecord, isRefusal, type OffsetCommitRequest } from '../../../src/group/index.ts'
import { RECORD_OVERHEAD_BYTES_MAX } from '../../../src/record/batch-writer.ts'
import { encodeDecisions } from '../../../src/worker/decision-batches.ts'
import { GroupFixture } from '../../support/group-fixture.ts'

const DAY_MS = 86_400_000

function commitOf(fixture: GroupFixture, topics: OffsetCommitRequest['topics']): string[] {
  const reply = fixture.commit({ topics })
  assert.ok(!isRefusal(reply))
  return reply.topics.flatMap((topic) => topic.partitions.map((part) => part.error))
}

test('a partition is committed once: what names it twice is refused as a whole, by id or by name', () => {
  const fixture = new GroupFixture()
  const part = (partition: number) => ({ partition, offset: 5, leaderEpoch: -1, metadata: '' })
  const twice = fixture.commit({
    topics: [
      { topicId: '', topic: 'orders', partitions: [part(0), part(1)] },
      { topicId: fixture.id('orders'), topic: '', partitions: [part(2), part(1)] },
    ],
  })
  assert.ok(isRefusal(twice))
  assert.equal(twice.error, 'INVALID_REQUEST')
  assert.match(twice.text, /partition 1 of 'orders' is named twice/)
  assert.equal(fixture.committed(), -1, 'nothing of it')
  assert.equal(fixture.log.length, 0)
})

test("a commit of more than a batch of the group's log is refused before its first record, one that just fits is taken", () => {
  const groupId = 'g'.repeat(255)
  const partitions = (count: number) =>
    Array.from({ length: count }, (_, partition) => ({ partition, offset: 1, leaderEpoch: -1, metadata: 'm' }))
  const batchBytesMax = 100_000
  const most = Math.floor((batchBytesMax - 61) / (OFFSET_RECORD_BYTES + RECORD_OVERHEAD_BYTES_MAX + 255 + 1))
  const fixture = new GroupFixture({ topics: { orders: 10_000 }, batchBytesMax })
  const large = { groupId, topics: [{ topicId: '' as const, topic: 'orders', partitions: partitions(most + 1) }] }
  assert.equal(fixture.commitError(large), 'INVALID_COMMIT_OFFSET_SIZE')
  const txn = fixture.coordinator.commitTxnOffsets(
    { ...large, memberId: '', memberEpoch: -1, instanceId: null, producerId: 1, producerEpoch: 0 },
    fixture.nowMs,
  )
  assert.ok(isRefusal(txn.reply) && txn.reply.error === 'INVALID_COMMIT_OFFSET_SIZE')
  assert.deepEqual([fixture.log.length, fixture.coordinator.state.pending.count], [0, 0])
  const fits = { groupId, topics: [{ topicId: '' as const, topic: 'orders', partitions: partitions(most) }] }
  assert.equal(fixture.commitError(fits), 'NONE')
  const batches = encodeDecisions([{ records: fixture.log, transaction: undefined }], { batchBytesMax, timestampMs: 0 })
  assert.equal(batches?.length, 1)
})

test('the bytes of an offset record are those that are counted', () => {
  const fixture = new GroupFixture()
  fixture.commit({ groupId: 'gé', offset: 2 ** 40 })
  const [{ key, value }] = fixture.log as [EncodedRecord]
  assert.equal(key.length + value!.length, OFFSET_RECORD_BYTES + 3)
})

test('anybody may commit to a group without members, and to one that is not there yet', () => {
  const fixture = new GroupFixture()
  assert.equal(fixture.committed(), -1)
  assert.equal(fixture.commitError({ offset: 7 }), 'NONE')
  assert.equal(fixture.committed(), 7)
  assert.equal(fixture.commitError({ offset: 5 }), 'NONE', 'back is allowed: a seek')
  fixture.join('a')
  assert.equal(fixture.commitError({ offset: 9 }), 'UNKNOWN_MEMBER_ID')
  assert.equal(fixture.commitError({ memberId: 'a', memberEpoch: 1, offset: 9 }), 'NONE', 'one set of offsets')
  fixture.beat({ memberId: 'a', memberEpoch: -1 })
  assert.equal(fixture.commitError({ offset: 3 }), 'NONE')
  assert.equal(fixture.commitError({ groupId: '' }), 'INVALID_GROUP_ID')
})

test('a member commits under its own epoch only', () => {
  const fixture = new GroupFixture()
  assert.equal(fixture.commitError({ memberId: 'a', memberEpoch: 1 }), 'GROUP_ID_NOT_FOUND')
  fixture.join('a')
  assert.equal(fixture.commitError({ memberId: 'b', memberEpoch: 1 }), 'UNKNOWN_MEMBER_ID')
  assert.equal(fixture.commitError({ memberId: 'a', memberEpoch: 1, offset: 4 }), 'NONE')
  fixture.growTopic('orders', 7)
  fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: [] })
  assert.equal(fixture.commitError({ memberId: 'a', memberEpoch: 1, offset: 2 }), 'STALE_MEMBER_EPOCH')
  assert.equal(fixture.commitError({ memberId: 'a', memberEpoch: 3, offset: 2 }), 'STALE_MEMBER_EPOCH')
  assert.equal(fixture.commitError({ memberId: 'a', memberEpoch: 0, offset: 2 }), 'STALE_MEMBER_EPOCH')
  assert.equal(fixture.committed(), 4)
  fixture.advance(45_000)
  assert.equal(fixture.commitError({ memberId: 'a', memberEpoch: 2, offset: 2 }), 'UNKNOWN_MEMBER_ID')
  assert.equal(fixture.committed(), 4)
})

test('what another member owns cannot be committed, what is to be given up can', () => {
  const fixture = new GroupFixture({ topics: { orders: 2 } })
  fixture.join('a')
  fixture.join('b')
  assert.equal(
    fixture.commitError({ memberId: 'a', memberEpoch: 1, partition: 1, offset: 8 }),
    'NONE',
    'a owns it still',
  )
  assert.equal(fixture.commitError({ memberId: 'b', memberEpoch: 2, partition: 1, offset: 1 }), 'STALE_MEMBER_EPOCH')
  fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: [{ topicId: '', topic: 'orders', partitions: [0] }] })
  fixture.beat({ memberId: 'b', memberEpoch: 2 })
  assert.equal(fixture.commitError({ memberId: 'b', memberEpoch: 2, partition: 1, offset: 9 }), 'NONE')
  assert.equal(fixture.commitError({ memberId: 'a', memberEpoch: 2, partition: 1, offset: 8 }), 'STALE_MEMBER_EPOCH')
  assert.equal(fixture.committed('orders', 1), 9)
})

test('each partition of a commit has an error of its own; topics are named by id, by name or by both', () => {
  const fixture = new GroupFixture({ topics: { clicks: 1, orders: 3 } })
  const part = { partition: 0, offset: 1, leaderEpoch: 3, metadata: '' }
  const orders = fixture.id('orders')
  const errors = commitOf(fixture, [
    {
      topicId: orders,
      topic: '',
      partitions: [part, { ...part, partition: 3 }, { ...part, partition: 1, metadata: 'é'.repeat(2049) }],
    },
    { topicId: orders, topic: 'orders', partitions: [{ ...part, partition: 2 }] },
    { topicId: orders, topic: 'clicks', partitions: [part] },
    { topicId: '', topic: 'nothing', partitions: [part] },
    { topicId: '', topic: 'clicks', partitions: [{ ...part, metadata: 'é'.repeat(2048) }] },
  ])
  assert.deepEqual(errors, [
    'NONE',
    'UNKNOWN_TOPIC_OR_PARTITION',
    'OFFSET_METADATA_TOO_LARGE',
    'NONE',
    'INCONSISTENT_TOPIC_ID',
    'UNKNOWN_TOPIC_OR_PARTITION',
    'NONE',
  ])
  const { reply } = fixture.coordinator.fetchOffsets({
    groupId: 'g',
    memberId: '',
    memberEpoch: -1,
    topics: null,
    requireStable: false,
  })
  assert.ok(!isRefusal(reply))
  const orderRow = reply.topics.find((topic) => topic.topic === 'orders')!
  const commitTimestampMs = fixture.wallStartMs + fixture.nowMs
  const row = { error: 'NONE', text: '', offset: 1, leaderEpoch: 3, metadata: '', commitTimestampMs }
  assert.deepEqual(orderRow.partitions, [
    { partition: 0, ...row },
    { partition: 2, ...row },
  ])
  assert.equal(reply.topics.length, 2)
})

test('a fetch is fenced for who says that it is a member', () => {
  const fixture = new GroupFixture()
  const fetch = (memberId: string, memberEpoch: number) => {
    const { reply } = fixture.coordinator.fetchOffsets({
      groupId: 'g',
      memberId,
      memberEpoch,
      topics: null,
      requireStable: false,
    })
    return isRefusal(reply) ? reply.error : 'NONE'
  }
  assert.equal(fetch('', -1), 'NONE')
  assert.equal(fetch('a', 1), 'GROUP_ID_NOT_FOUND')
  fixture.join('a')
  assert.deepEqual(
    [fetch('a', 1), fetch('a', 2), fetch('b', 1), fetch('', -1)],
    ['NONE', 'STALE_MEMBER_EPOCH', 'UNKNOWN_MEMBER_ID', 'NONE'],
  )
})

test('offsets are deleted where nobody subscribes; a group only when it is empty', () => {
  const fixture = new GroupFixture({ topics: { clicks: 1, orders: 1 } })
  fixture.commit({ topic: 'clicks', offset: 1 })
  fixture.commit({ topic: 'orders', offset: 2 })
  fixture.join('a')
  const topics = [
    { topicId: '' as const, topic: 'orders', partitions: [0] },
    { topicId: '' as const, topic: 'clicks', partitions: [0, 5] },
  ]
  const reply = fixture.take(fixture.coordinator.deleteOffsets({ groupId: 'g', topics }))
  assert.ok(!isRefusal(reply))
  assert.deepEqual(
    reply.topics.map((topic) => topic.partitions.map((part) => part.error)),
    [['GROUP_SUBSCRIBED_TO_TOPIC'], ['NONE', 'NONE']],
  )
  assert.deepEqual([fixture.committed('orders'), fixture.committed('clicks')], [2, -1])
  const remove = () => {
    const deleted = fixture.take(fixture.coordinator.deleteGroups(['g', 'no', '']))
    assert.ok(!isRefusal(deleted))
    return deleted.groups.map((group) => group.error)
  }
  assert.deepEqual(remove(), ['NON_EMPTY_GROUP', 'GROUP_ID_NOT_FOUND', 'INVALID_GROUP_ID'])
  fixture.beat({ memberId: 'a', memberEpoch: -1 })
  assert.deepEqual(remove(), ['NONE', 'GROUP_ID_NOT_FOUND', 'INVALID_GROUP_ID'])
  assert.equal(fixture.coordinator.state.groups.size, 0)
  assert.equal(fixture.replayed().state.groups.size, 0)
})

test('offsets expire seven days after the group became empty, or after the commit, and the group with them', () => {
  const fixture = new GroupFixture()
  fixture.join('a', { sessionTimeoutMs: 1_800_000 })
  fixture.commit({ memberId: 'a', memberEpoch: 1, offset: 5 })
  // A living group keeps its offsets, however old.
  for (let hour = 0; hour < 24 * 8; hour++) {
    fixture.advance(1_000_000)
    fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: [] })
  }
  assert.equal(fixture.committed(), 5)
  fixture.beat({ memberId: 'a', memberEpoch: -1 })
  fixture.advance(3 * DAY_MS)
  fixture.commit({ partition: 1, offset: 6 })
  fixture.advance(4 * DAY_MS - 1)
  assert.equal(fixture.committed(), 5)
  fixture.advance(700_000)
  assert.deepEqual([fixture.committed(), fixture.committed('orders', 1)], [-1, 6])
  fixture.advance(3 * DAY_MS)
  assert.equal(fixture.coordinator.state.groups.size, 0)
  assert.equal(fixture.replayed().state.groups.size, 0)
})

/** Time goes on with a heartbeat every 1,000 s. */
function live(fixture: GroupFixture, days: number, memberEpoch: number): void {
  for (let ms = 0; ms < days * DAY_MS; ms += 1_000_000) {
    fixture.advance(1_000_000)
    fixture.beat({ memberId: 'a', memberEpoch })
  }
}

test('offsets of topics that a living group does not subscribe to any more expire, those of the others never', () => {
  const fixture = new GroupFixture({ topics: { clicks: 2, orders: 1, views: 1 } })
  const long = { sessionTimeoutMs: 1_800_000 }
  fixture.join('a', { ...long, subscribedTopics: ['orders'], subscribedPattern: 'v.*' })
  fixture.join('b', { ...long, subscribedTopics: ['clicks'] })
  const epoch = (memberId: string) =>
    fixture.coordinator.state.groups.get('g')!.members.get(memberId)!.current.memberEpoch
  const commit = (memberId: string, topic: string, partition: number): void =>
    assert.equal(fixture.commitError({ memberId, memberEpoch: epoch(memberId), topic, partition, offset: 5 }), 'NONE')
  const offsets = () => [
    ...[fixture.committed('orders'), fixture.committed('views')],
    ...[fixture.committed('clicks', 0), fixture.committed('clicks', 1)],
  ]
  commit('a', 'orders', 0)
  commit('a', 'views', 0)
  commit('b', 'clicks', 0)
  fixture.beat({ memberId: 'b', memberEpoch: -1 })
  fixture.beat({ memberId: 'a', memberEpoch: epoch('a') })
  // Old, but not old enough.
  live(fixture, 5, epoch('a'))
  assert.deepEqual(offsets(), [5, 5, 5, -1])
  commit('a', 'clicks', 1)
  live(fixture, 3, epoch('a'))
  assert.deepEqual(offsets(), [5, 5, -1, 5], 'each by its own commit')
  live(fixture, 5, epoch('a'))
  assert.deepEqual(offsets(), [5, 5, -1, -1])
  assert.equal(fixture.replayed().state.groups.get('g')!.offsetCount, 2)
})

test('a topic that is subscribed to again before its offsets expire keeps them', () => {
  const fixture = new GroupFixture({ topics: { clicks: 1, orders: 1 } })
  fixture.commit({ topic: 'clicks', offset: 5 })
  fixture.join('a', { sessionTimeoutMs: 1_800_000, subscribedTopics: ['orders'] })
  live(fixture, 6, 1)
  const { memberEpoch } = fixture.beat({ memberId: 'a', memberEpoch: 1, subscribedTopics: ['clicks', 'orders'] })
  live(fixture, 6, memberEpoch)
  assert.equal(fixture.committed('clicks'), 5)
})

test('a topic that was deleted takes its offsets along; one that is only missing does not', () => {
  const fixture = new GroupFixture({ topics: { clicks: 1, orders: 2 } })
  fixture.commit({ offset: 1 })
  fixture.commit({ topic: 'clicks', offset: 2 })
  const clicks = fixture.directory.byName('clicks')!
  fixture.directory.remove(clicks.topicId)
  fixture.restart()
  fixture.advance(DAY_MS)
  fixture.directory.put(clicks)
  assert.equal(fixture.committed('clicks'), 2)
  fixture.deleteTopic('orders')
  fixture.advance(0)
  fixture.createTopic('orders', 2)
  assert.equal(fixture.committed('orders'), -1)
  assert.deepEqual([...fixture.coordinator.state.groups.get('g')!.offsets.keys()], [clicks.topicId])
})

test('partitions that drained and are gone take their offsets along: those that come later begin at 0', () => {
  const fixture = new GroupFixture({ topics: { orders: 4, clicks: 2 } })
  for (const partition of [0, 1, 2, 3]) fixture.commit({ offset: 10 + partition, partition })
  fixture.commit({ topic: 'clicks', offset: 7, partition: 1 })
  fixture.growTopic('orders', 2)
  fixture.advance(0)
  fixture.growTopic('orders', 4)
  fixture.advance(0)
  const { offsets } = fixture.coordinator.state.groups.get('g')!
  assert.deepEqual([...offsets.get(fixture.id('orders'))!.keys()], [0, 1])
  assert.equal(offsets.get(fixture.id('clicks'))!.get(1)!.offset, 7)
})
