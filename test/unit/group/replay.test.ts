/** Decide, then replay: whatever happened, the log gives the very same state, whole or compacted. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isRefusal } from '../../../src/group/index.ts'
import { compacted, durableState, GroupFixture } from '../../support/group-fixture.ts'

const MEMBERS = ['a', 'b', 'c', 'd', 'e']
const TOPICS = ['t0', 't1', 't2']

type Step =
  | { kind: 'join'; member: number; topics: string[]; pattern: boolean; isStatic: boolean; assignor: string | null }
  | { kind: 'beat'; member: number; owns: 'all' | 'null' | 'some'; late: boolean }
  | { kind: 'leave'; member: number; epoch: -1 | -2 }
  | { kind: 'commit'; member: number; topic: string; partition: number; offset: number }
  | { kind: 'advance'; ms: number }
  | { kind: 'grow' | 'delete' | 'create'; topic: string }
  | { kind: 'forget' }
  | { kind: 'restart' }

const member = fc.nat(MEMBERS.length - 1)
const topic = fc.constantFrom(...TOPICS)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('join' as const),
      member,
      topics: fc.subarray(TOPICS, { minLength: 1 }),
      pattern: fc.boolean(),
      isStatic: fc.boolean(),
      assignor: fc.constantFrom(null, 'range', 'round-robin'),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant('beat' as const),
      member,
      owns: fc.constantFrom('all' as const, 'null' as const, 'some' as const),
      late: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('leave' as const),
      member,
      epoch: fc.constantFrom(-1 as const, -2 as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('commit' as const),
      member,
      topic,
      partition: fc.nat(4),
      offset: fc.nat(1000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('advance' as const),
      ms: fc.constantFrom(10, 3_000, 11_000, 700_000, 8 * 86_400_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('grow' as const, 'delete' as const, 'create' as const), topic }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'forget' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
)

/** What a member believes. */
interface Believer {
  epoch: number
  previousEpoch: number
  owned: [string, number[]][]
}

function run(fixture: GroupFixture, believers: Believer[], action: Step): void {
  switch (action.kind) {
    case 'join':
    case 'beat':
      beat(fixture, believers, action)
      return
    case 'leave': {
      const request = { memberId: MEMBERS[action.member]!, memberEpoch: action.epoch }
      fixture.heartbeat(request)
      return
    }
    case 'commit': {
      const believer = believers[action.member]!
      const who = action.offset % 5 === 0 ? {} : { memberId: MEMBERS[action.member]!, memberEpoch: believer.epoch }
      fixture.commit({ ...who, topic: action.topic, partition: action.partition, offset: action.offset })
      return
    }
    case 'advance':
      fixture.advance(action.ms)
      return
    case 'forget':
      fixture.take(fixture.coordinator.deleteGroups(['g']))
      return
    case 'restart':
      fixture.restart()
      return
    default: {
      const known = fixture.directory.byName(action.topic)
      if (action.kind === 'create' && known === undefined) fixture.createTopic(action.topic, 3)
      if (action.kind === 'grow' && known !== undefined) fixture.growTopic(action.topic, known.partitionCount + 1)
      if (action.kind === 'delete' && known !== undefined) fixture.deleteTopic(action.topic)
    }
  }
}

function beat(fixture: GroupFixture, believers: Believer[], action: Step & { kind: 'join' | 'beat' }): void {
  const believer = believers[action.member]!
  const memberId = MEMBERS[action.member]!
  const join =
    action.kind === 'join'
      ? {
          memberId,
          memberEpoch: 0,
          ownedPartitions: [],
          subscribedTopics: action.topics,
          subscribedPattern: action.pattern ? 't[12]' : null,
          serverAssignor: action.assignor,
          instanceId: action.isStatic ? `instance-${action.member % 2}` : null,
          sessionTimeoutMs: 10_000,
          rebalanceTimeoutMs: 12_000,
        }
      : undefined
  const lists = believer.owned.map(([name, list]) => ({ topicId: '' as const, topic: name, partitions: list }))
  const reply = fixture.heartbeat(
    join ?? {
      memberId,
      memberEpoch: action.kind === 'beat' && action.late ? believer.previousEpoch : believer.epoch,
      ownedPartitions:
        action.kind === 'beat' && action.owns === 'null'
          ? null
          : lists.slice(0, action.kind === 'beat' && action.owns === 'some' ? 1 : undefined),
    },
  )
  if (isRefusal(reply)) return
  believer.previousEpoch = believer.epoch
  believer.epoch = reply.memberEpoch
  if (reply.assignment !== null) believer.owned = reply.assignment.map((row) => [row.topic, [...row.partitions]])
}

test('a replay of the records gives the state that was decided, after each step', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const fixture = new GroupFixture({ topics: { t0: 3, t1: 2, t2: 4 } })
      const believers = MEMBERS.map((): Believer => ({ epoch: 0, previousEpoch: 0, owned: [] }))
      for (const action of steps) {
        run(fixture, believers, action)
        const now = durableState(fixture.coordinator.state)
        assert.deepEqual(durableState(fixture.replayed().state), now, action.kind)
      }
      const end = durableState(fixture.coordinator.state)
      assert.deepEqual(durableState(fixture.replayed(compacted(fixture.log, true)).state), end, 'compacted')
      assert.deepEqual(durableState(fixture.replayed(compacted(fixture.log, false)).state), end, 'without tombstones')
    }),
    { numRuns: 150 },
  )
})

test('compaction may put a member behind its assignment, and leave the assignment of one that is gone', () => {
  const fixture = new GroupFixture()
  fixture.join('a')
  fixture.beat({ memberId: 'a', memberEpoch: 1, rackId: 'r1', sessionTimeoutMs: 20_000, ownedPartitions: [] })
  fixture.join('b')
  const log = compacted(fixture.log, false)
  const typeAt = (index: number) => log[index]!.key[1]
  const [TARGET, CURRENT, MEMBER] = [4, 5, 3]
  // Written first, the member's own record is the last of the three: it is written again after them.
  const memberFirst = log.findIndex((_, index) => typeAt(index) === MEMBER)
  const reordered = [...log.slice(0, memberFirst), ...log.slice(memberFirst + 1), log[memberFirst]!]
  assert.ok(reordered.findIndex(({ key }) => key[1] === TARGET || key[1] === CURRENT) >= 0)
  assert.deepEqual(durableState(fixture.replayed(reordered).state), durableState(fixture.coordinator.state))
  const orphaned = log.filter((record, index) => index !== memberFirst || record.key[1] !== MEMBER)
  assert.equal(fixture.replayed(orphaned).state.memberCount, 1)
})

test('a coordinator that serves replays nothing more', () => {
  const fixture = new GroupFixture()
  fixture.join('a')
  const { key, value } = fixture.log[0]!
  assert.throws(() => fixture.coordinator.replay(key, value), /serves replays nothing/)
})
