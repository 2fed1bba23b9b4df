/** Offsets in transactions: nobody's until the marker, and of two records of a partition the later one in the log counts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type EncodedRecord, isRefusal } from '../../../src/group/index.ts'
import { COORDINATOR_GROUPS_MAX, COORDINATOR_PENDING_OFFSETS_MAX } from '../../../src/model/limits.ts'
import { durableState, GroupFixture } from '../../support/group-fixture.ts'

const EPOCH = 3
const FILLER = 99
const DAY_MS = 86_400_000
const NO_MEMBER = { memberId: '', memberEpoch: -1, instanceId: null }

function commitTxn(
  fixture: GroupFixture,
  producerId: number,
  offset: number,
  more: { partition?: number; memberId?: string; memberEpoch?: number; groupId?: string } = {},
): string {
  const { partition = 0, ...who } = more
  const request = {
    ...{ groupId: 'g', ...NO_MEMBER, ...who, producerId, producerEpoch: EPOCH },
    topics: [
      { topicId: '' as const, topic: 'orders', partitions: [{ partition, offset, leaderEpoch: -1, metadata: '' }] },
    ],
  }
  const decision = fixture.coordinator.commitTxnOffsets(request, fixture.nowMs)
  if (isRefusal(decision.reply)) return decision.reply.error
  const { error } = decision.reply.topics[0]!.partitions[0]!
  if (error === 'NONE') {
    assert.deepEqual(decision.transaction, { producerId, producerEpoch: EPOCH })
    assert.equal(decision.records.length, 1)
  }
  return error
}

/** So many offsets of another producer, by way of the state alone: quicker than a decision each. */
function fill(fixture: GroupFixture, count: number, groupIdOf: (number: number) => string): void {
  const topicId = fixture.id('orders')
  const value = { offset: 1, leaderEpoch: -1, metadata: '', commitTimestampMs: 0 }
  for (let partition = 0; partition < count; partition++)
    fixture.coordinator.state.pending.put(FILLER, { groupId: groupIdOf(partition), topicId, partition, value })
}

function stable(fixture: GroupFixture, partition = 0): string | number {
  const topics = [{ topicId: '' as const, topic: 'orders', partitions: [partition] }]
  const { reply } = fixture.coordinator.fetchOffsets({ groupId: 'g', ...NO_MEMBER, topics, requireStable: true })
  assert.ok(!isRefusal(reply))
  const { error, offset } = reply.topics[0]!.partitions[0]!
  return error === 'NONE' ? offset : error
}

test('pending offsets are seen when their transaction commits, and never when it aborts', () => {
  const fixture = new GroupFixture()
  fixture.commit({ offset: 5 })
  assert.equal(commitTxn(fixture, 1, 10), 'NONE')
  assert.equal(fixture.committed(), 5)
  assert.equal(stable(fixture), 'UNSTABLE_OFFSET_COMMIT')
  assert.equal(stable(fixture, 1), -1, 'another partition is as it was')
  fixture.coordinator.onMarker(1, false)
  assert.equal(stable(fixture), 5)
  commitTxn(fixture, 1, 11)
  fixture.coordinator.onMarker(2, true)
  assert.equal(stable(fixture), 'UNSTABLE_OFFSET_COMMIT', "another producer's marker")
  fixture.coordinator.onMarker(1, true)
  assert.equal(stable(fixture), 11)
})

test('a fetch of everything names what is pending, where it is to be stable', () => {
  const fixture = new GroupFixture()
  commitTxn(fixture, 1, 10, { partition: 2 })
  const all = (requireStable: boolean) => {
    const { reply } = fixture.coordinator.fetchOffsets({ groupId: 'g', ...NO_MEMBER, topics: null, requireStable })
    assert.ok(!isRefusal(reply))
    return reply.topics.map(({ topic, partitions }) => [
      topic,
      partitions.map(({ partition, error }) => [partition, error]),
    ])
  }
  assert.deepEqual(all(false), [])
  assert.deepEqual(all(true), [['orders', [[2, 'UNSTABLE_OFFSET_COMMIT']]]])
})

test('a commit in a transaction is fenced as any other', () => {
  const fixture = new GroupFixture()
  const { memberEpoch } = fixture.join('a')
  assert.equal(commitTxn(fixture, 1, 10, { memberId: 'a', memberEpoch: memberEpoch - 1 }), 'STALE_MEMBER_EPOCH')
  assert.equal(commitTxn(fixture, 1, 10), 'UNKNOWN_MEMBER_ID')
  assert.equal(commitTxn(fixture, 1, 10, { memberId: 'b', memberEpoch }), 'UNKNOWN_MEMBER_ID')
  assert.equal(commitTxn(fixture, 1, 10, { memberId: 'a', memberEpoch, partition: 6 }), 'UNKNOWN_TOPIC_OR_PARTITION')
  assert.equal(commitTxn(fixture, 1, 10, { memberId: 'a', memberEpoch }), 'NONE')
})

test('the topic of what is pending is deleted, and the group has nothing else of it', () => {
  for (const hasGroup of [false, true]) {
    const fixture = new GroupFixture({ topics: { orders: 2, other: 1 } })
    if (hasGroup) fixture.commit({ topic: 'other', offset: 3 })
    commitTxn(fixture, 1, 10)
    fixture.deleteTopic('orders')
    fixture.advance(1)
    assert.equal(fixture.coordinator.state.pending.count, 0)
    fixture.coordinator.onMarker(1, true)
    assert.equal(fixture.coordinator.state.groups.get('g')?.offsetCount ?? 0, hasGroup ? 1 : 0)
  }
})

test('an offset does not expire while a transaction has one pending for it: its commit counts', () => {
  const fixture = new GroupFixture()
  fixture.commit({ offset: 5 })
  fixture.commit({ offset: 6, partition: 1 })
  fixture.advance(8 * DAY_MS - 1_000)
  assert.equal(fixture.committed(), -1, 'expired: nothing is pending')
  fixture.commit({ offset: 5 })
  fixture.commit({ offset: 6, partition: 1 })
  fixture.advance(7 * DAY_MS - 1_000)
  commitTxn(fixture, 1, 10)
  fixture.advance(DAY_MS)
  assert.deepEqual([fixture.committed(), fixture.committed('orders', 1)], [5, -1])
  fixture.coordinator.onMarker(1, true)
  assert.equal(fixture.committed(), 10)
})

test('a group is not forgotten while something is pending for it', () => {
  const fixture = new GroupFixture()
  const { memberEpoch } = fixture.join('a')
  commitTxn(fixture, 1, 10, { memberId: 'a', memberEpoch })
  fixture.beat({ memberId: 'a', memberEpoch: -1 })
  fixture.advance(8 * DAY_MS)
  assert.equal(fixture.coordinator.state.groups.get('g')?.hasRecord, true)
  fixture.coordinator.onMarker(1, false)
  fixture.advance(DAY_MS)
  assert.equal(fixture.coordinator.state.groups.has('g'), false)
})

test('groups that are only pending count as groups: the coordinator takes no more than it may have', () => {
  const fixture = new GroupFixture()
  const { state } = fixture.coordinator
  const commit = (groupId: string) => commitTxn(fixture, 1, 10, { groupId })
  fill(fixture, COORDINATOR_GROUPS_MAX - 2, (number) => `g${number}`)
  fixture.commit({ groupId: 'plain', offset: 1 })
  assert.equal(commit('plain'), 'NONE', 'a group that is there is no new one')
  assert.deepEqual([state.groups.size, state.pending.newGroupCount], [1, COORDINATOR_GROUPS_MAX - 2])
  assert.equal(commit('last'), 'NONE')
  assert.equal(commit('one more'), 'GROUP_MAX_SIZE_REACHED')
  assert.equal(fixture.commitError({ groupId: 'one more' }), 'GROUP_MAX_SIZE_REACHED')
  assert.equal(fixture.refusal({ groupId: 'one more', memberId: 'a', memberEpoch: 0 }).error, 'GROUP_MAX_SIZE_REACHED')
  assert.equal(commit('g0'), 'NONE')
  assert.equal(fixture.commitError({ groupId: 'g1', offset: 1 }), 'NONE', 'it comes into being')
  assert.deepEqual([state.groups.size, state.pending.newGroupCount], [2, COORDINATOR_GROUPS_MAX - 2])
  fixture.coordinator.onMarker(1, false)
  fixture.coordinator.onMarker(FILLER, false)
  assert.deepEqual([state.groups.size, state.pending.newGroupCount, state.pending.count], [2, 0, 0])
  assert.equal(commit('one more'), 'NONE')
})

test('what is pending is bounded over all groups: more is refused, to be tried again', () => {
  const fixture = new GroupFixture()
  fill(fixture, COORDINATOR_PENDING_OFFSETS_MAX - 1, (number) => `g${number % 10}`)
  assert.equal(commitTxn(fixture, 1, 10), 'NONE')
  const { pending } = fixture.coordinator.state
  assert.equal(pending.count, COORDINATOR_PENDING_OFFSETS_MAX)
  assert.equal(commitTxn(fixture, 1, 10, { partition: 1 }), 'OVERLOADED')
  assert.equal(fixture.commitError({ offset: 1 }), 'NONE', 'a plain commit takes none of that room')
  assert.equal(commitTxn(fixture, 1, 10, { partition: 1 }), 'NONE', 'it took the place of a pending one')
})

test('deleting a group, offsets or their topic takes what is pending along', () => {
  for (const end of ['group', 'offsets', 'topic'] as const) {
    const fixture = new GroupFixture()
    fixture.commit({ offset: 5 })
    commitTxn(fixture, 1, 10)
    commitTxn(fixture, 1, 20, { partition: 1 })
    const topics = [{ topicId: '' as const, topic: 'orders', partitions: [0, 1] }]
    if (end === 'group') fixture.take(fixture.coordinator.deleteGroups(['g']))
    else if (end === 'offsets') fixture.take(fixture.coordinator.deleteOffsets({ groupId: 'g', topics }))
    else {
      fixture.deleteTopic('orders')
      fixture.advance(1)
    }
    fixture.coordinator.onMarker(1, true)
    assert.equal(fixture.coordinator.state.groups.get('g')?.offsetCount ?? 0, 0, end)
  }
})

test('only offsets may stand in a transaction', () => {
  const fixture = new GroupFixture()
  fixture.join('a')
  const loading = fixture.replayed([])
  Object.assign(loading.state, { isLive: false })
  assert.equal(loading.replay(fixture.log[0]!.key, fixture.log[0]!.value, 7).kind, 'unreadable')
})

type Step =
  | { readonly kind: 'plain'; readonly partition: number }
  | { readonly kind: 'pending'; readonly partition: number; readonly producer: number }
  | { readonly kind: 'delete'; readonly partition: number }
  | { readonly kind: 'marker'; readonly producer: number; readonly isCommit: boolean }

const partition = fc.nat(2)
const producer = fc.nat(2)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('plain' as const), partition }),
  fc.record({ kind: fc.constant('pending' as const), partition, producer }),
  fc.record({ kind: fc.constant('delete' as const), partition }),
  fc.record({ kind: fc.constant('marker' as const), producer, isCommit: fc.boolean() }),
)

interface Logged {
  readonly record: EncodedRecord | undefined
  readonly partition: number
  readonly offset: number
  /** -1 = of no transaction. */
  readonly producer: number
  readonly isCommit: boolean
  fate: 'open' | 'committed' | 'aborted'
}

/** What the log says of a partition: its latest record that counts. */
function expected(log: readonly Logged[], wanted: number): number {
  return (
    log.findLast(({ record, partition, fate }) => record && partition === wanted && fate === 'committed')?.offset ?? -1
  )
}

test('whatever the order of commits, deletes and markers: the latest record that counts, live and replayed', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const fixture = new GroupFixture()
      const log: Logged[] = []
      for (const [number, each] of steps.entries()) {
        const before = fixture.log.length
        const entry = { partition: -1, offset: number, producer: -1, isCommit: false, fate: 'committed' as const }
        if (each.kind === 'marker') {
          fixture.coordinator.onMarker(each.producer, each.isCommit)
          for (const other of log)
            if (other.producer === each.producer && other.fate === 'open')
              other.fate = each.isCommit ? 'committed' : 'aborted'
          log.push({ ...entry, record: undefined, producer: each.producer, isCommit: each.isCommit })
        } else if (each.kind === 'pending') {
          const partitions = [{ partition: each.partition, offset: number, leaderEpoch: -1, metadata: '' }]
          const request = {
            ...{ groupId: 'g', ...NO_MEMBER, producerId: each.producer, producerEpoch: EPOCH },
            topics: [{ topicId: '' as const, topic: 'orders', partitions }],
          }
          const { records } = fixture.coordinator.commitTxnOffsets(request, fixture.nowMs)
          log.push({ ...entry, record: records[0], partition: each.partition, producer: each.producer, fate: 'open' })
        } else {
          if (each.kind === 'plain') fixture.commit({ partition: each.partition, offset: number })
          else {
            const topics = [{ topicId: '' as const, topic: 'orders', partitions: [each.partition] }]
            fixture.take(fixture.coordinator.deleteOffsets({ groupId: 'g', topics }))
          }
          for (const record of fixture.log.slice(before))
            log.push({ ...entry, record, partition: each.partition, offset: record.value === null ? -1 : number })
        }
        for (let p = 0; p < 3; p++)
          assert.equal(fixture.committed('orders', p), expected(log, p), `after step ${number}`)
      }
      const again = fixture.replayed([])
      again.state.isLive = false
      for (const { record, producer, isCommit } of log)
        if (record === undefined) again.onMarker(producer, isCommit)
        else again.replay(record.key, record.value, producer)
      assert.deepEqual(durableState(again.state), durableState(fixture.coordinator.state))
      for (const count of ['producerCount', 'count', 'newGroupCount'] as const)
        assert.equal(again.state.pending[count], fixture.coordinator.state.pending[count])
      assert.equal(
        again.state.pending.newGroupCount,
        again.state.groups.has('g') ? 0 : again.state.pending.countOf('g') && 1,
      )
    }),
  )
})
