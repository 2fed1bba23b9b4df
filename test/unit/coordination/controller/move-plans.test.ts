/** Plans of moves: exactly as asked, a broker emptied, the cluster evened out with no move for nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ClusterImage } from '../../../../src/coordination/cluster-image.ts'
import {
  type MovePlan,
  planDecommission,
  planGrowth,
  planReassignment,
  planRebalance,
} from '../../../../src/coordination/controller/move-plans.ts'
import { decideCancel, decideMove, withTarget } from '../../../../src/coordination/controller/reassignment.ts'
import {
  brokerKey,
  encodeState,
  nodeKey,
  partitionKey,
  topicIdKey,
  topicNameKey,
} from '../../../../src/coordination/keys.ts'
import type { StoredValue } from '../../../../src/coordination/metadata-store.ts'
import { brokerOf, configOf, membersOf, partitionOf, TOPIC, textOf } from '../../../support/cluster-fixture.ts'

function imageOf(
  brokers: number,
  sets: readonly (readonly number[])[],
  racks = 1,
  name = 'a',
  low: readonly number[] = [],
): ClusterImage {
  const value = (key: string, state: object): StoredValue => ({
    key,
    value: encodeState(state),
    modRevision: 1,
    version: 1,
  })
  const values = [
    value(topicIdKey(TOPIC), {
      name,
      partitions: sets.length,
      replicas: sets[0]!.length,
      config: {},
      createdMs: 0,
    }),
    value(topicNameKey(name), { topicId: TOPIC }),
    ...sets.map((replicas, partition) => value(partitionKey(TOPIC, partition), partitionOf({ replicas }))),
  ]
  for (let nodeId = 1; nodeId <= brokers; nodeId++) {
    const rack = racks === 1 ? null : `r${nodeId % racks}`
    values.push(
      value(brokerKey(nodeId), brokerOf(nodeId, { rack, isDiskLow: low.includes(nodeId) })),
      value(nodeKey(nodeId), { incarnation: 1 }),
    )
  }
  return ClusterImage.of(1, values)
}

function after(sets: readonly (readonly number[])[], { moves }: MovePlan): (readonly number[])[] {
  const result = [...sets]
  for (const { partition, from, to } of moves) {
    assert.deepEqual(result[partition], from)
    result[partition] = to
  }
  return result
}

function countsOf(brokers: number, sets: readonly (readonly number[])[]): number[] {
  return Array.from({ length: brokers }, (_, index) => sets.filter((set) => set.includes(index + 1)).length)
}

test('plan: as asked, or refused by name', () => {
  const image = imageOf(3, [[1, 2]])
  assert.deepEqual(planReassignment(image, [{ topic: 'a', partition: 0, replicas: [3, 1] }]).moves[0]!.to, [3, 1])
  const wrong: [replicas: number[], code: string][] = [
    [[], 'INVALID_REPLICA_ASSIGNMENT'],
    [[1, 1], 'INVALID_REPLICA_ASSIGNMENT'],
    [[1, 9], 'INVALID_REPLICA_ASSIGNMENT'],
  ]
  for (const [replicas, code] of wrong)
    assert.throws(() => planReassignment(image, [{ topic: 'a', partition: 0, replicas }]), { code })
  const twice = { topic: 'a', partition: 0, replicas: [1, 3] }
  assert.throws(() => planReassignment(image, [twice, twice]), { code: 'INVALID_REQUEST' })
})

const placed = fc
  .record({
    brokers: fc.integer({ min: 2, max: 6 }),
    racks: fc.integer({ min: 1, max: 3 }),
    replicas: fc.integer({ min: 1, max: 3 }),
    shuffles: fc.array(fc.shuffledSubarray([1, 2, 3, 4, 5, 6], { minLength: 6 }), { minLength: 1, maxLength: 20 }),
  })
  .map(({ brokers, racks, replicas, shuffles }) => {
    const sets = shuffles.map((order) =>
      order.filter((nodeId) => nodeId <= brokers).slice(0, Math.min(replicas, brokers)),
    )
    return { brokers, racks, sets }
  })

test('plan: a rebalance evens out without racks, ends, and then wants nothing', () => {
  fc.assert(
    fc.property(placed, ({ brokers, sets }) => {
      const balanced = after(sets, planRebalance(imageOf(brokers, sets)))
      const counts = countsOf(brokers, balanced)
      assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${counts}`)
      for (const set of balanced) assert.equal(new Set(set).size, sets[0]!.length)
      assert.deepEqual(planRebalance(imageOf(brokers, balanced)).moves, [])
      // No replica went that did not have to: what brokers have above the even share, and no more.
      const floor = Math.floor(sets.flat().length / brokers)
      const surplus = countsOf(brokers, sets).reduce((sum, count) => sum + Math.max(0, count - floor), 0)
      const moved = balanced.reduce(
        (sum, set, partition) => sum + set.filter((one) => !sets[partition]!.includes(one)).length,
        0,
      )
      assert.ok(moved <= surplus, `${moved} moves for a surplus of ${surplus}`)
    }),
    { numRuns: 300 },
  )
})

test('plan: an emptied broker has nothing, others no replica twice, racks stay apart', () => {
  fc.assert(
    fc.property(placed, ({ brokers, racks, sets }) => {
      const plan = planDecommission(imageOf(brokers, sets, racks), 1)
      const emptied = after(sets, plan)
      const stuck = new Set(plan.stuck.map(({ partition }) => partition))
      for (const [partition, set] of emptied.entries()) {
        assert.equal(new Set(set).size, sets[partition]!.length)
        assert.equal(set.includes(1), stuck.has(partition))
        if (set.includes(1)) assert.equal(set.length, brokers)
      }
    }),
    { numRuns: 300 },
  )
})

const members = membersOf({ 1: {}, 2: {}, 3: {}, 4: {} })
const context = { topicId: TOPIC, partition: 0, members, config: configOf() }

test('move: another target while it goes on keeps the old replicas; taken back, exactly they are left', () => {
  const begun = withTarget(partitionOf({ replicas: [1, 2] }), [3, 1])!
  assert.deepEqual([begun.replicas, begun.adding, begun.removing], [[3, 1, 2], [3], [2]])
  const other = withTarget(begun, [4, 1])!
  assert.deepEqual([other.replicas, other.adding, other.removing], [[4, 1, 2], [4], [2]])
  const back = withTarget(begun, [1, 2])!
  assert.deepEqual([back.replicas, back.adding, back.removing], [[1, 2], [], []])
  assert.deepEqual(decideCancel(other, context)!.replicas, [1, 2])
  const led = partitionOf({ replicas: [3, 1, 2], adding: [3], removing: [2], leader: 3, inSync: '3 1' })
  assert.equal(withTarget(led, [1, 2]), undefined)
  assert.equal(decideCancel(led, context)!.leader, 1)
})

test('move: done when all that it adds are in sync and no fewer of the target than of the old', () => {
  const rows: [inSync: string, leader: number, replicas: number[] | undefined][] = [
    ['1 2', 1, undefined],
    ['3 2', 2, [3, 1, 2]],
    ['3 1 2', 1, [3, 1]],
    ['3 1', 1, [3, 1]],
  ]
  for (const [inSync, leader, replicas] of rows) {
    const state = partitionOf({ replicas: [3, 1, 2], adding: [3], removing: [2], inSync, leader })
    const next = decideMove(state, context)
    assert.deepEqual(next?.replicas, replicas)
    // Leadership leaves what goes before that does.
    if (leader === 2) assert.deepEqual([next!.leader, next!.leaderEpoch, textOf(next!.inSyncReplicas)], [3, 6, '3 2'])
  }
})

test('move: one that only adds is done when what it adds is in sync', () => {
  const state = partitionOf({ replicas: [1, 2, 3], adding: [3], inSync: '1 2' })
  assert.equal(decideMove(state, context), undefined)
  const joined = decideMove(partitionOf({ replicas: [1, 2, 3], adding: [3], inSync: '1 2 3' }), context)
  assert.deepEqual([joined?.replicas, joined?.adding], [[1, 2, 3], []])
})

test('internal topics grow as far as there are brokers, evenly, keep what they have and their leaders; others do not grow', () => {
  const sets = [[1], [1], [1], [1]]
  const grown = after(sets, planGrowth(imageOf(4, sets, 1, '__consumer_offsets'), 3))
  assert.deepEqual(
    grown.map((set) => [set[0], set.length, new Set(set).size]),
    [
      [1, 3, 3],
      [1, 3, 3],
      [1, 3, 3],
      [1, 3, 3],
    ],
  )
  const counts = countsOf(4, grown).slice(1)
  assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, String(counts))
  const two = after([[2]], planGrowth(imageOf(2, [[2]], 1, '__transaction_state'), 3))
  assert.deepEqual(two, [[2, 1]])
  assert.deepEqual(planGrowth(imageOf(2, two, 1, '__transaction_state'), 3).moves, [])
  assert.deepEqual(planGrowth(imageOf(4, sets), 3).moves, [])
})

test('plan: a broker whose disk is low gets replicas only where nobody else can take them, or no other rack can be had', () => {
  const toOf = ({ moves }: MovePlan) => moves.map(({ to }) => to)
  const sets = [
    [1, 2],
    [2, 1],
    [1, 2],
  ]
  assert.deepEqual(toOf(planDecommission(imageOf(4, sets, 1, 'a', [3]), 1)), [
    [4, 2],
    [2, 4],
    [4, 2],
  ])
  assert.deepEqual(toOf(planDecommission(imageOf(3, [[1, 2]], 1, 'a', [3]), 1)), [[3, 2]], 'nobody else')
  assert.deepEqual(toOf(planDecommission(imageOf(4, [[1, 2]], 2, 'a', [3]), 1)), [[3, 2]], 'it keeps the racks apart')
  assert.deepEqual(toOf(planGrowth(imageOf(4, [[1]], 1, '__consumer_offsets', [2]), 3)), [[1, 3, 4]])
  const even = [[1], [1], [1], [1]]
  const balanced = after(even, planRebalance(imageOf(3, even, 1, 'a', [2])))
  assert.deepEqual(countsOf(3, balanced), [2, 0, 2])
  const emptied = after([[2], [2]], planRebalance(imageOf(2, [[2], [2]], 1, 'a', [2])))
  assert.deepEqual(countsOf(2, emptied), [1, 1], 'it gives away all the same')
})
