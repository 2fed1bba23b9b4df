/** The steps of a partition, one after the other: elections and moves that answer one another come to an end. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ClusterMembers } from '../../../../src/coordination/controller/membership.ts'
import { decidePartition, TopicConfigs } from '../../../../src/coordination/controller/partition-decisions.ts'
import type { PartitionState } from '../../../../src/coordination/keys.ts'
import type { TopicRecord } from '../../../../src/coordination/topics.ts'
import {
  configOf,
  membersOf,
  type PartitionWords,
  partitionOf,
  TOPIC,
  textOf,
} from '../../../support/cluster-fixture.ts'

/** More than any partition needs: members leave, a move's lead, its end. */
const STEPS_MAX = 8

/** What the partition goes through until nothing is left to do, as "leader@epoch". */
function stepsOf(words: PartitionWords, members: ClusterMembers): { states: PartitionState[]; leads: string } {
  const configs = new TopicConfigs(configOf())
  const states = [partitionOf(words)]
  for (let step = 0; step < STEPS_MAX; step++) {
    const topic: TopicRecord = {
      ...{ topicId: TOPIC, partitions: [states.at(-1)!], partitionVersions: [1], modRevision: 1 },
      state: { name: 't', partitions: 1, replicas: 2, config: {}, createdMs: 0 },
    }
    const decision = decidePartition(topic, 0, members, configs)
    if (decision === undefined)
      return { states, leads: states.map(({ leader, leaderEpoch }) => `${leader}@${leaderEpoch}`).join(' ') }
    states.push(decision.next)
  }
  assert.fail(`it goes on for ever: ${states.map(({ leader, leaderEpoch }) => `${leader}@${leaderEpoch}`).join(' ')}`)
}

test('steps: a move to a broker whose disk is low ends', () => {
  const words = { replicas: [2, 1], leader: 1, adding: [2], removing: [1] }
  const { states, leads } = stepsOf(words, membersOf({ 1: {}, 2: { isDiskLow: true } }))
  assert.deepEqual([leads, states.at(-1)!.replicas], ['1@5 2@6 2@6', [2]])
})

test('steps: of those a move brings one with room leads, at the first try', () => {
  const words = { replicas: [2, 3, 1], leader: 1, adding: [2, 3], removing: [1] }
  const { leads } = stepsOf(words, membersOf({ 1: {}, 2: { isDiskLow: true }, 3: {} }))
  assert.equal(leads, '1@5 3@6 3@6')
})

test('steps: until the new one is in sync, one that goes stands in for a leader whose disk is low', () => {
  const words = { replicas: [2, 3, 1], leader: 2, inSync: '2 1', adding: [3], removing: [1] }
  const members = membersOf({ 1: {}, 2: { isDiskLow: true }, 3: {} })
  assert.equal(stepsOf(words, members).leads, '2@5 1@6')
  assert.equal(stepsOf({ ...words, leader: 1, inSync: '2 3 1' }, members).leads, '1@5 3@6 3@6')
})

const broker = fc.record({
  isDiskLow: fc.boolean(),
  isAlive: fc.boolean(),
  isStopping: fc.boolean(),
  isFailed: fc.boolean(),
  isDecommissioned: fc.boolean(),
  resigned: fc.constantFrom(undefined, 5, 6),
})
const scene = fc.record({
  brokers: fc.tuple(broker, broker, broker, broker),
  replicas: fc.shuffledSubarray([1, 2, 3, 4], { minLength: 2 }),
  roles: fc.array(fc.constantFrom('stays', 'added', 'removed'), { minLength: 4, maxLength: 4 }),
  inSync: fc.subarray([1, 2, 3, 4]),
  leader: fc.integer({ min: 0, max: 3 }),
})

test('steps: whatever goes on at once, they settle', () => {
  fc.assert(
    fc.property(scene, ({ brokers, replicas, roles, inSync, leader }) => {
      const of = (role: string) => replicas.filter((nodeId) => roles[nodeId - 1] === role)
      const entries = replicas.filter((nodeId) => inSync.includes(nodeId))
      if (entries.length === 0) entries.push(replicas[0]!)
      const words = {
        ...{ replicas, adding: of('added'), removing: of('removed'), inSync: entries.join(' ') },
        leader: entries[leader % entries.length]!,
      }
      if (words.removing.length === replicas.length) return
      const members = membersOf({ 1: brokers[0], 2: brokers[1], 3: brokers[2], 4: brokers[3] })
      const { states } = stepsOf(words, members)
      assert.ok(textOf(states.at(-1)!.inSyncReplicas) !== '')
    }),
    { numRuns: 5_000 },
  )
})
