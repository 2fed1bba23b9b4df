/** The assignors: what each promises, on examples and on whatever fast-check thinks of. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type Assignment,
  type AssignorInput,
  AssignorTable,
  checkAssignment,
} from '../../../src/group/assignors/assignor.ts'
import { cooperativeStickyAssignor } from '../../../src/group/assignors/cooperative-sticky.ts'
import { rangeAssignor } from '../../../src/group/assignors/range.ts'
import { roundRobinAssignor } from '../../../src/group/assignors/round-robin.ts'
import { countPartitions, hasPartition, NO_PARTITIONS, type PartitionSet } from '../../../src/model/partition-set.ts'
import { topicIdOf } from '../../support/group-fixture.ts'

const ALL = [cooperativeStickyAssignor, rangeAssignor, roundRobinAssignor] as const

/** Topics t0, t1 … of so many partitions; members m0, m1 … that subscribe to those numbers. */
function input(
  counts: readonly number[],
  subscriptions: readonly (readonly number[])[],
  before?: Assignment,
): AssignorInput {
  const wanted = new Set(subscriptions.flat())
  return {
    topics: counts
      .map((partitionCount, index) => ({ topicId: topicIdOf(index), name: `t${index}`, partitionCount }))
      .filter((_, index) => wanted.has(index)),
    members: subscriptions.map((topics, index) => ({
      memberId: `m${index}`,
      instanceId: null,
      rackId: null,
      topics: new Set(topics.map(topicIdOf)),
      target: before?.get(`m${index}`) ?? NO_PARTITIONS,
    })),
  }
}

function listsOf(assignment: Assignment, memberId: string): number[][] {
  return [...(assignment.get(memberId) ?? NO_PARTITIONS)].map(([, list]) => [...list])
}

function countOf(assignment: Assignment, memberId: string): number {
  return countPartitions(assignment.get(memberId) ?? NO_PARTITIONS)
}

/** Partitions that another member has than before. */
function movedBetween(before: Assignment, after: Assignment): number {
  let moved = 0
  for (const [memberId, set] of after)
    for (const [topicId, list] of set)
      for (const partition of list)
        for (const [other, had] of before)
          if (other !== memberId && hasPartition(had as PartitionSet, topicId, partition)) moved++
  return moved
}

const anyInput = fc
  .tuple(fc.array(fc.nat(12), { minLength: 1, maxLength: 5 }), fc.nat())
  .chain(([counts]) =>
    fc
      .array(fc.subarray(counts.map((_, index) => index)), { minLength: 1, maxLength: 8 })
      .map((subscriptions) => ({ counts, subscriptions })),
  )

test('every partition with a subscriber goes to one subscriber, the same with each run', () => {
  fc.assert(
    fc.property(anyInput, ({ counts, subscriptions }) => {
      for (const assignor of ALL) {
        const from = input(counts, subscriptions)
        const assignment = assignor.assign(from)
        assert.equal(checkAssignment(from, assignment), undefined, assignor.name)
        const given = [...assignment.values()].reduce((sum, set) => sum + countPartitions(set), 0)
        assert.equal(
          given,
          from.topics.reduce((sum, topic) => sum + topic.partitionCount, 0),
          assignor.name,
        )
        assert.deepEqual(assignor.assign(from), assignment, assignor.name)
      }
    }),
  )
})

test('members that subscribe alike end within one of each other', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(30), { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 9 }),
      (counts, members) => {
        const all = counts.map((_, index) => index)
        for (const assignor of [cooperativeStickyAssignor, roundRobinAssignor]) {
          const assignment = assignor.assign(
            input(
              counts,
              Array.from({ length: members }, () => all),
            ),
          )
          const sizes = Array.from({ length: members }, (_, index) => countOf(assignment, `m${index}`))
          assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1, `${assignor.name}: ${sizes}`)
        }
      },
    ),
  )
})

test('range cuts each topic into stretches, the first ones longer', () => {
  const assignment = rangeAssignor.assign(input([5, 5], [[0, 1], [0, 1], [0]]))
  assert.deepEqual(listsOf(assignment, 'm0'), [
    [0, 1],
    [0, 1, 2],
  ])
  assert.deepEqual(listsOf(assignment, 'm1'), [
    [2, 3],
    [3, 4],
  ])
  assert.deepEqual(listsOf(assignment, 'm2'), [[4]])
})

test('round-robin deals partitions out in turn over all topics', () => {
  const assignment = roundRobinAssignor.assign(
    input(
      [3, 3],
      [
        [0, 1],
        [0, 1],
      ],
    ),
  )
  assert.deepEqual(listsOf(assignment, 'm0'), [[0, 2], [1]])
  assert.deepEqual(listsOf(assignment, 'm1'), [[1], [0, 2]])
})

test('sticky: 12 partitions, 3 members, a fourth joins: exactly 3 move; when it goes, exactly its 3', () => {
  const three = cooperativeStickyAssignor.assign(input([12], [[0], [0], [0]]))
  const four = cooperativeStickyAssignor.assign(input([12], [[0], [0], [0], [0]], three))
  assert.equal(countOf(four, 'm3'), 3)
  assert.equal(movedBetween(three, four), 3)
  const back = cooperativeStickyAssignor.assign(input([12], [[0], [0], [0]], four))
  assert.equal(movedBetween(four, back), 3)
  assert.deepEqual(cooperativeStickyAssignor.assign(input([12], [[0], [0], [0]], back)), back)
})

test('sticky moves as few as an even share takes when members that subscribe alike come or go', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 60 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 8 }),
      (partitions, sizes) => {
        let before: Assignment = new Map()
        let membersBefore = 0
        for (const members of sizes) {
          const after = cooperativeStickyAssignor.assign(
            input(
              [partitions],
              Array.from({ length: members }, () => [0]),
              before,
            ),
          )
          // What members that stay have beyond the largest even shares must move, and what those that went had.
          const counts = Array.from({ length: Math.min(members, membersBefore) }, (_, index) =>
            countOf(before, `m${index}`),
          )
          counts.sort((left, right) => right - left)
          const longer = partitions % members
          const share = Math.floor(partitions / members)
          let fewest = 0
          for (const [index, count] of counts.entries()) fewest += Math.max(0, count - share - (index < longer ? 1 : 0))
          for (let gone = members; gone < membersBefore; gone++) fewest += countOf(before, `m${gone}`)
          assert.equal(movedBetween(before, after), fewest, `${partitions} over ${membersBefore} -> ${members}`)
          before = after
          membersBefore = members
        }
      },
    ),
  )
})

test('sticky keeps what is still valid when subscriptions differ and topics shrink', () => {
  fc.assert(
    fc.property(anyInput, anyInput, (first, second) => {
      const before = cooperativeStickyAssignor.assign(input(first.counts, first.subscriptions))
      const from = input(second.counts, second.subscriptions, before)
      const after = cooperativeStickyAssignor.assign(from)
      assert.equal(checkAssignment(from, after), undefined)
      assert.deepEqual(cooperativeStickyAssignor.assign(input(second.counts, second.subscriptions, after)), after)
    }),
  )
})

test('a plug-in that breaks its contract is found out', () => {
  const from = input([2, 1], [[0], [0, 1]])
  const one = (list: number[], topic = 0): PartitionSet => new Map([[topicIdOf(topic), list]])
  assert.match(checkAssignment(from, new Map([['nobody', one([0])]]))!, /'nobody', which is no member/)
  assert.match(checkAssignment(from, new Map([['m0', one([0], 1)]]))!, /does not subscribe/)
  assert.match(checkAssignment(from, new Map([['m0', one([2])]]))!, /no partition 2/)
  assert.match(
    checkAssignment(
      from,
      new Map([
        ['m0', one([0])],
        ['m1', one([0])],
      ]),
    )!,
    /given twice/,
  )
})

test('a name that is not known brings the nearest', () => {
  const table = new AssignorTable([...ALL])
  assert.equal(table.get('range'), rangeAssignor)
  assert.match(table.hint('rang'), /did you mean 'range'\? there are cooperative-sticky, range, round-robin/)
})
