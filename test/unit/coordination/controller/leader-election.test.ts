/** Who leads and who is in sync, row by row, and what must hold in every case. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decideLeadership } from '../../../../src/coordination/controller/leader-election.ts'
import { NO_LEADER } from '../../../../src/coordination/keys.ts'
import type { TopicConfig } from '../../../../src/model/topic-config.ts'
import {
  type BrokerWords,
  configOf,
  membersOf,
  type PartitionWords,
  partitionOf,
  TOPIC,
  textOf,
} from '../../../support/cluster-fixture.ts'

const gone: BrokerWords = { isAlive: false }
const alive: BrokerWords = {}
/** Started again: in order; out of order; with an empty data dir. */
const again: BrokerWords = { incarnation: 2 }
const unclean: BrokerWords = { incarnation: 2, cleanSince: 2 }
const emptied: BrokerWords = { incarnation: 2, cleanSince: 2, directorySince: 2 }
const INTERVAL = { fsync: 'interval' } as const

interface Row {
  readonly what: string
  readonly state: PartitionWords
  readonly brokers: readonly [BrokerWords, BrokerWords, BrokerWords]
  readonly config?: Partial<TopicConfig>
  /** Undefined: nothing changes. */
  readonly leads?: number
  readonly epoch?: number
  readonly inSync?: string
  readonly eligible?: string
  readonly warns?: RegExp
}

const NONE = { leads: NO_LEADER, epoch: 6 }
const ROWS: readonly Row[] = [
  { what: 'all is well', state: {}, brokers: [alive, alive, alive] },
  { what: 'the leader is gone', state: {}, brokers: [gone, alive, alive], ...{ leads: 2, epoch: 6, inSync: '2 3' } },
  {
    ...{ what: 'two are gone: who leaves below min is eligible', state: {}, brokers: [gone, gone, alive] },
    ...{ leads: 3, epoch: 6, inSync: '3', eligible: '1 2' },
  },
  {
    ...{ what: 'a follower is gone: the epoch stays', state: {}, brokers: [alive, gone, alive] },
    ...{ leads: 1, epoch: 5, inSync: '1 3' },
  },
  {
    ...{ what: 'the last one is gone: it stays in sync', state: { inSync: '1' }, brokers: [gone, alive, alive] },
    ...{ ...NONE, inSync: '1' },
  },
  {
    ...{ what: 'an eligible leader stands in', state: { inSync: '1', eligible: '3' }, brokers: [gone, alive, alive] },
    ...{ leads: 3, epoch: 6, inSync: '3', eligible: '1' },
  },
  { what: 'all are gone', state: {}, brokers: [gone, gone, gone], ...{ ...NONE, inSync: '1 2 3' } },
  {
    ...{ what: 'nobody led, one is back', state: { leader: NO_LEADER }, brokers: [gone, alive, gone] },
    ...{ leads: 2, epoch: 6, inSync: '2', eligible: '1 3' },
  },
  {
    ...{ what: 'a leader that started again is elected again', state: {}, brokers: [again, alive, alive] },
    ...{ leads: 1, epoch: 6, inSync: '1@2 2 3' },
  },
  {
    ...{ what: 'out of order on group: it synced what it said', state: {}, brokers: [unclean, alive, alive] },
    ...{ leads: 1, epoch: 6, inSync: '1@2 2 3' },
  },
  {
    ...{ what: 'out of order on interval: it leaves', state: {}, brokers: [unclean, alive, alive], config: INTERVAL },
    ...{ leads: 2, epoch: 6, inSync: '2 3' },
  },
  {
    ...{ what: 'out of order on interval, below min: not eligible either', state: {}, config: INTERVAL },
    ...{ brokers: [alive, unclean, unclean], leads: 1, epoch: 5, inSync: '1', eligible: '' },
  },
  {
    ...{ what: 'out of order and alone on interval: warns', state: { inSync: '1' }, config: INTERVAL },
    ...{ brokers: [unclean, alive, alive], leads: 1, epoch: 6, inSync: '1@2', warns: /possible loss since last sync/ },
  },
  {
    ...{ what: 'out of order on interval, an eligible one lives', state: { inSync: '1', eligible: '2' } },
    ...{ brokers: [unclean, alive, alive], config: INTERVAL, leads: 2, epoch: 6, inSync: '2' },
  },
  {
    ...{ what: 'out of order on interval waits for one that may be whole', state: { inSync: '1 2' }, config: INTERVAL },
    ...{ brokers: [unclean, gone, alive], ...NONE, inSync: '2' },
  },
  {
    ...{ what: 'the whole cluster ended out of order on interval', state: {}, config: INTERVAL },
    ...{ brokers: [unclean, unclean, unclean], leads: 1, epoch: 6, inSync: '1@2', warns: /possible loss/ },
  },
  {
    ...{ what: 'an emptied broker never leads', state: { inSync: '1' }, brokers: [emptied, alive, alive] },
    ...{ ...NONE, inSync: '1' },
  },
  {
    ...{ what: 'an emptied broker, another is in sync', state: {}, brokers: [emptied, alive, alive] },
    ...{ leads: 2, epoch: 6, inSync: '2 3' },
  },
  {
    ...{ what: 'the last one was emptied, an eligible one lives', state: { inSync: '1', eligible: '2' } },
    ...{ brokers: [emptied, alive, alive], leads: 2, epoch: 6, inSync: '2' },
  },
  {
    ...{ what: 'emptied, then gone again: known all the same', state: { inSync: '1 2' } },
    ...{ brokers: [{ ...emptied, isAlive: false }, gone, alive], ...NONE, inSync: '2' },
  },
  {
    ...{ what: 'damaged', state: { inSync: '1 2' }, brokers: [{ ...again, isDamaged: true }, alive, alive] },
    ...{ leads: 2, epoch: 6, inSync: '2' },
  },
  {
    ...{ what: 'damaged in an earlier run and in sync again since', state: { inSync: '1@2 2', leaderIncarnation: 2 } },
    ...{ brokers: [{ ...again, isDamaged: true }, alive, alive] },
  },
  {
    ...{ what: 'a shard failed under the leader', state: {}, brokers: [{ isFailed: true }, alive, alive] },
    ...{ leads: 2, epoch: 6, inSync: '2 3' },
  },
  {
    ...{ what: 'failed and alone: it stays and does not lead', state: { inSync: '1' } },
    ...{ brokers: [{ isFailed: true }, alive, alive], ...NONE, inSync: '1' },
  },
  {
    ...{ what: 'a leader that wants to stop', state: {}, brokers: [{ isStopping: true }, alive, alive] },
    ...{ leads: 2, epoch: 6, inSync: '1 2 3' },
  },
  {
    ...{ what: 'a leader that wants to stop, and nobody else', state: { inSync: '1' } },
    brokers: [{ isStopping: true }, alive, alive],
  },
  {
    ...{ what: 'unclean: any that lives', state: { inSync: '1' }, config: { uncleanLeaderElection: true } },
    ...{ brokers: [gone, alive, alive], leads: 2, epoch: 6, inSync: '2', warns: /unclean election/ },
  },
  {
    ...{ what: 'unclean: not one that is damaged', state: { inSync: '1' }, config: { uncleanLeaderElection: true } },
    ...{ brokers: [gone, { ...again, isDamaged: true }, alive], leads: 3, epoch: 6, inSync: '3', warns: /unclean/ },
  },
  {
    ...{ what: 'at min again nobody else is eligible', state: { inSync: '1 2', eligible: '3' } },
    ...{ brokers: [alive, alive, alive], leads: 1, epoch: 5, inSync: '1 2', eligible: '' },
  },
  {
    ...{
      what: 'min was lowered and the last one is gone: who was eligible is not',
      state: { inSync: '1', eligible: '2' },
    },
    ...{ brokers: [gone, alive, alive], config: { minInsyncReplicas: 1 }, ...NONE, inSync: '1', eligible: '' },
  },
  {
    ...{
      what: 'one that a move takes away leads only if it must',
      state: { removing: [1], adding: [], inSync: '1 2 3' },
    },
    ...{ brokers: [again, alive, alive], leads: 2, epoch: 6, inSync: '1@2 2 3' },
  },
  {
    ...{ what: 'a leader that is cut off resigns, and leaves the set', state: {}, config: { minInsyncReplicas: 2 } },
    ...{ brokers: [{ resigned: 5 }, alive, alive], leads: 2, epoch: 6, inSync: '2 3' },
  },
  {
    ...{ what: 'it resigned another epoch', state: {}, config: { minInsyncReplicas: 2 } },
    ...{ brokers: [{ resigned: 4 }, alive, alive] },
  },
  {
    ...{
      what: 'too few are left to acknowledge without it',
      state: { inSync: '1 2' },
      config: { minInsyncReplicas: 2 },
    },
    ...{ brokers: [{ resigned: 5 }, alive, alive] },
  },
  {
    ...{ what: 'those who are left do not live', state: {}, config: { minInsyncReplicas: 2 } },
    ...{ brokers: [{ resigned: 5 }, gone, alive], leads: 1, epoch: 5, inSync: '1 3' },
  },
  {
    ...{ what: 'it has shrunk the set before: nobody else holds what it acknowledged', state: { inSync: '1' } },
    ...{ brokers: [{ resigned: 5 }, alive, alive], config: { minInsyncReplicas: 1 } },
  },
  {
    ...{ what: "the leader's disk is full: one that has room leads, and it follows", state: {} },
    ...{ brokers: [{ isDiskLow: true }, { isDiskLow: true }, alive], leads: 3, epoch: 6, inSync: '1 2 3' },
  },
  {
    ...{ what: 'all disks are full: nothing moves', state: {} },
    ...{ brokers: [{ isDiskLow: true }, { isDiskLow: true }, { isDiskLow: true }] },
  },
  {
    ...{ what: 'one with room is not in sync: nothing moves', state: { inSync: '1 2' } },
    ...{ brokers: [{ isDiskLow: true }, { isDiskLow: true }, alive] },
  },
  {
    ...{ what: 'the leader is gone: a full one leads only if it must', state: {} },
    ...{ brokers: [gone, { isDiskLow: true }, alive], leads: 3, epoch: 6, inSync: '2 3' },
  },
]

for (const row of ROWS)
  test(`election: ${row.what}`, () => {
    const members = membersOf({ 1: row.brokers[0], 2: row.brokers[1], 3: row.brokers[2] })
    const context = { topicId: TOPIC, partition: 0, members, config: configOf(row.config) }
    const state = partitionOf(row.state)
    const decision = decideLeadership(state, context)
    if (row.leads === undefined) {
      assert.equal(decision, undefined)
      return
    }
    assert.ok(decision !== undefined)
    const { leader, leaderEpoch, leaderIncarnation, inSyncReplicas, eligibleLeaders } = decision.state
    assert.deepEqual(
      { leads: leader, epoch: leaderEpoch, inSync: textOf(inSyncReplicas), eligible: textOf(eligibleLeaders) },
      { leads: row.leads, epoch: row.epoch, inSync: row.inSync, eligible: row.eligible ?? '' },
    )
    if (leader !== NO_LEADER) assert.equal(leaderIncarnation, row.brokers[leader - 1]!.incarnation ?? 1)
    if (row.warns === undefined) assert.equal(decision.warning, undefined)
    else assert.match(decision.warning ?? '', row.warns)
    assert.equal(decideLeadership(decision.state, context), undefined, 'decided once')
  })

const brokerWords = fc.record({
  isDiskLow: fc.boolean(),
  resigned: fc.constantFrom(undefined, 4, 5),
  incarnation: fc.integer({ min: 1, max: 4 }),
  isAlive: fc.boolean(),
  isStopping: fc.boolean(),
  isDamaged: fc.boolean(),
  isFailed: fc.boolean(),
  directorySince: fc.integer({ min: 1, max: 2 }),
  cleanSince: fc.integer({ min: 1, max: 4 }),
})

const scene = fc
  .record({
    brokers: fc.tuple(brokerWords, brokerWords, brokerWords, brokerWords),
    inSyncOf: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 4, maxLength: 4 }),
    entryIncarnations: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 4, maxLength: 4 }),
    leader: fc.integer({ min: 0, max: 4 }),
    minInsyncReplicas: fc.integer({ min: 1, max: 3 }),
    fsync: fc.constantFrom<TopicConfig['fsync'][]>('group', 'interval'),
    uncleanLeaderElection: fc.boolean(),
    removing: fc.subarray([1, 2, 3, 4], { maxLength: 2 }),
  })
  .map(({ inSyncOf, entryIncarnations, brokers, leader, removing, ...config }) => {
    // No entry is of a start that has not been.
    const incarnationOf = (node: number) => Math.min(entryIncarnations[node - 1]!, brokers[node - 1]!.incarnation)
    const entries = (kinds: readonly number[]) =>
      [1, 2, 3, 4].filter((node) => kinds.includes(inSyncOf[node - 1]!)).map((node) => `${node}@${incarnationOf(node)}`)
    const inSync = entries([0, 1]).join(' ') || `1@${incarnationOf(1)}`
    const eligible = entries([2])
      .filter((entry) => entry !== inSync)
      .join(' ')
    const words = { replicas: [1, 2, 3, 4], inSync, eligible, removing, leader: leader === 0 ? NO_LEADER : leader }
    return { words: { ...words, leaderIncarnation: leader === 0 ? 1 : incarnationOf(leader) }, brokers, config }
  })

test('election: what must hold in every case', () => {
  fc.assert(
    fc.property(scene, ({ words, brokers, config }) => {
      const members = membersOf({ 1: brokers[0], 2: brokers[1], 3: brokers[2], 4: brokers[3] })
      const context = { topicId: TOPIC, partition: 0, members, config: configOf(config) }
      const before = partitionOf(words)
      const decision = decideLeadership(before, context)
      if (decision === undefined) return
      const { state, warning } = decision
      const nodesOf = (replicas: readonly { nodeId: number }[]) => replicas.map(({ nodeId }) => nodeId)
      assert.ok(state.inSyncReplicas.length > 0, 'the in-sync set is never empty')
      const isElected = state.leader !== NO_LEADER && state.leaderEpoch > before.leaderEpoch
      const clean = nodesOf([...before.inSyncReplicas, ...before.eligibleLeaders])
      if (isElected && !config.uncleanLeaderElection) assert.ok(clean.includes(state.leader))
      if (isElected && !clean.includes(state.leader)) assert.ok(warning !== undefined)
      const isChanged = state.leader !== before.leader || state.leaderIncarnation !== before.leaderIncarnation
      assert.equal(state.leaderEpoch - before.leaderEpoch, isChanged ? 1 : Number(isElected))
      if (state.leader !== NO_LEADER) {
        const { isAlive, incarnation, isFailed } = brokers[state.leader - 1]!
        assert.deepEqual([isAlive, isFailed, state.leaderIncarnation], [true, false, incarnation])
        assert.ok(nodesOf(state.inSyncReplicas).includes(state.leader))
        for (const entry of state.inSyncReplicas)
          assert.equal(entry.incarnation, brokers[entry.nodeId - 1]!.incarnation)
      }
      // Nobody comes into the sets by an election, but who is elected.
      for (const nodeId of nodesOf([...state.inSyncReplicas, ...state.eligibleLeaders]))
        assert.ok(clean.includes(nodeId) || nodeId === state.leader)
      assert.equal(
        new Set(nodesOf([...state.inSyncReplicas, ...state.eligibleLeaders])).size,
        state.inSyncReplicas.length + state.eligibleLeaders.length,
      )
      assert.deepEqual([state.replicas, state.removing], [before.replicas, before.removing])
      assert.equal(decideLeadership(state, context), undefined, 'decided once')
    }),
    { numRuns: 5_000 },
  )
})

test('election: whoever is elected without a warning holds what the in-sync set stood for', () => {
  fc.assert(
    fc.property(scene, ({ words, brokers, config }) => {
      const members = membersOf({ 1: brokers[0], 2: brokers[1], 3: brokers[2], 4: brokers[3] })
      const before = partitionOf(words)
      const decision = decideLeadership(before, { topicId: TOPIC, partition: 0, members, config: configOf(config) })
      if (decision === undefined || decision.warning !== undefined || decision.state.leader === NO_LEADER) return
      const entry = [...before.inSyncReplicas, ...before.eligibleLeaders].find(
        ({ nodeId }) => nodeId === decision.state.leader,
      )!
      const { incarnation, isDamaged, directorySince, cleanSince } = brokers[entry.nodeId - 1]!
      if (entry.incarnation === incarnation) return
      assert.equal(isDamaged, false)
      assert.ok(directorySince <= entry.incarnation)
      if (config.fsync === 'interval') assert.ok(cleanSince <= entry.incarnation)
    }),
    { numRuns: 5_000 },
  )
})
