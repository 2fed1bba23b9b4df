/** partition-state, high-watermark, delayed-produce against a naive model. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { OpenTransactions } from '../../../src/log/open-transactions.ts'
import type { LeaderEpoch, Offset, PartitionRef } from '../../../src/model/ids.ts'
import type { ReplicaIdentity } from '../../../src/model/replica.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../../src/model/topic-config.ts'
import { ACKS_ALL, ACKS_LEADER, type Acks } from '../../../src/partition/acks.ts'
import { DelayedProduce, type WaitingProduce } from '../../../src/partition/delayed-produce.ts'
import { advanceHighWatermark, lastStableOffset } from '../../../src/partition/high-watermark.ts'
import { checkFetch, readableEnd } from '../../../src/partition/partition-fetch.ts'
import {
  advanceLogEnd,
  advanceLogStart,
  advanceSyncedEnd,
  goOffline,
  leaderState,
  type PartitionState,
} from '../../../src/partition/partition-state.ts'
import { countRemotes, newReplicaSet, type RemoteReplica, setMembers } from '../../../src/partition/replica-set.ts'

function newState(
  fsync: 'group' | 'interval',
  minInsyncReplicas = 1,
  transactions = new OpenTransactions(),
): PartitionState {
  return leaderState({
    partitionRef: 1 as PartitionRef,
    config: { ...TOPIC_CONFIG_DEFAULTS, fsync, minInsyncReplicas },
    leaderEpoch: 4 as LeaderEpoch,
    logStartOffset: 0 as Offset,
    logEndOffset: 0 as Offset,
    transactions,
  })
}

/** The state as leader of a partition of nodes 1 and 2, both in sync unless it is said otherwise. */
function withReplica(state: PartitionState, inSync = [SELF, OTHER]): RemoteReplica {
  const role = { role: 'leader' as const, leaderEpoch: 4, ...SELF, replicas: [1, 2], inSync, pending: null, version: 1 }
  state.replicas = newReplicaSet(role)
  return state.replicas.remotes[0]!
}

function setInSync(state: PartitionState, inSync: readonly ReplicaIdentity[]): void {
  const version = state.replicas!.version + 1
  setMembers(state.replicas!, {
    ...{ role: 'leader', leaderEpoch: 4, ...SELF, replicas: [1, 2], inSync, pending: null, version },
  })
}

const SELF = { nodeId: 1, incarnation: 1 }
const OTHER = { nodeId: 2, incarnation: 1 }

type Step =
  | { kind: 'append'; records: number; acks: Acks }
  | { kind: 'sync' }
  | { kind: 'remote'; written: number; synced: number }
  | { kind: 'join' }
  | { kind: 'leave' }
  | { kind: 'trim'; share: number }

const steps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('append' as const),
      records: fc.integer({ min: 1, max: 9 }),
      acks: fc.constantFrom(ACKS_ALL, ACKS_LEADER),
    }),
    fc.record({ kind: fc.constant('sync' as const) }),
    fc.record({ kind: fc.constant('remote' as const), written: fc.nat(9), synced: fc.nat(9) }),
    fc.record({ kind: fc.constantFrom('join' as const, 'leave' as const) }),
    fc.record({ kind: fc.constant('trim' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  ),
  { maxLength: 60 },
)

/** What must hold after each step, said once more in other words. */
class Model {
  readonly state: PartitionState
  readonly produces = new DelayedProduce()
  waiting: WaitingProduce[] = []
  #highest = 0

  constructor(fsync: 'group' | 'interval', minInsync: number) {
    this.state = newState(fsync, minInsync)
    withReplica(this.state, [SELF])
  }

  apply(step: Step): void {
    const { state } = this
    const remote = this.#remote()
    if (step.kind === 'append') this.#append(step.records, step.acks)
    else if (step.kind === 'sync') advanceSyncedEnd(state, state.logEndOffset, state.appendedBytes)
    else if (step.kind === 'trim') advanceLogStart(state, Math.floor(state.highWatermark * step.share) as Offset)
    else if (step.kind === 'join') {
      // A replica joins when it has caught up with the high watermark.
      const at = state.highWatermark
      if (remote !== undefined) return
      Object.assign(state.replicas!.remotes[0]!, { incarnation: 1, logEndOffset: at, syncedEndOffset: at })
      setInSync(state, [SELF, OTHER])
    } else if (step.kind === 'leave') setInSync(state, [SELF])
    else if (remote !== undefined) {
      remote.logEndOffset = Math.min(state.logEndOffset, remote.logEndOffset + step.written) as Offset
      remote.syncedEndOffset = Math.min(remote.logEndOffset, remote.syncedEndOffset + step.synced) as Offset
    }
    advanceHighWatermark(state)
    this.#check()
  }

  #remote(): RemoteReplica | undefined {
    const { inSync, remotes } = this.state.replicas!
    return inSync.length > 1 ? remotes[0] : undefined
  }

  #append(records: number, acks: Acks): void {
    const { state } = this
    const baseOffset = state.logEndOffset
    const nextOffset = (baseOffset + records) as Offset
    advanceLogEnd(state, nextOffset, records * 100)
    const waiting = {
      requestId: nextOffset,
      state,
      acks,
      baseOffset,
      nextOffset,
      logAppendTimeMs: -1,
      own: undefined,
      isDone: false,
      deadlineMs: 0,
      heapIndex: -1,
    }
    this.produces.add(waiting)
    this.waiting.push(waiting)
  }

  #check(): void {
    const { state } = this
    const { highWatermark, config } = state
    assert.ok(highWatermark >= this.#highest, 'the high watermark fell')
    this.#highest = highWatermark
    assert.ok(state.logStartOffset <= highWatermark && highWatermark <= state.logEndOffset)
    const remote = this.#remote()
    const ends = [state, ...(remote === undefined ? [] : [remote])].map((replica) =>
      config.fsync === 'group' ? replica.syncedEndOffset : replica.logEndOffset,
    )
    if (ends.length >= config.minInsyncReplicas) assert.equal(highWatermark, Math.max(highWatermark, Math.min(...ends)))
    assert.ok(state.visibleBytes <= state.appendedBytes)
    const due = this.waiting.filter(({ acks, nextOffset }) =>
      acks === ACKS_ALL
        ? nextOffset <= highWatermark
        : nextOffset <= (config.fsync === 'group' ? state.syncedEndOffset : state.logEndOffset),
    )
    const taken: WaitingProduce[] = []
    for (
      let next = this.produces.takeAcknowledged(state);
      next !== undefined;
      next = this.produces.takeAcknowledged(state)
    )
      taken.push(next)
    assert.deepEqual(new Set(taken.map(({ requestId }) => requestId)), new Set(due.map(({ requestId }) => requestId)))
    this.waiting = this.waiting.filter((waiting) => !taken.includes(waiting))
  }
}

describe('watermarks and acknowledgements', () => {
  for (const fsync of ['group', 'interval'] as const)
    test(`${fsync}: any order of appends, syncs and replicas agrees with the model`, () => {
      fc.assert(
        fc.property(fc.constantFrom(1, 2), steps, (minInsync, list) => {
          const model = new Model(fsync, minInsync)
          for (const step of list) model.apply(step as Step)
        }),
        { numRuns: 300 },
      )
    })

  test('fewer in sync than min.insync.replicas: the high watermark stands', () => {
    const state = newState('group', 2)
    advanceLogEnd(state, 5 as Offset, 500)
    advanceSyncedEnd(state, 5 as Offset, 500)
    assert.equal(advanceHighWatermark(state), false)
    const remote = withReplica(state)
    assert.equal(advanceHighWatermark(state), false, 'the other is in sync, and has not been heard')
    Object.assign(remote, { incarnation: 1, logEndOffset: 5, syncedEndOffset: 3 })
    countRemotes(state.replicas!)
    assert.equal(advanceHighWatermark(state), true)
    assert.equal(state.highWatermark, 3)
  })

  test('a topic that turns from interval to group keeps its high watermark', () => {
    const state = newState('interval')
    advanceLogEnd(state, 5 as Offset, 500)
    advanceHighWatermark(state)
    state.config = { ...state.config, fsync: 'group' }
    advanceLogEnd(state, 8 as Offset, 300)
    assert.equal(advanceHighWatermark(state), false)
    assert.equal(readableEnd(state, 0), 5)
  })

  test('a synced end beyond the log end is a broken invariant', () => {
    const state = newState('group')
    assert.throws(() => advanceSyncedEnd(state, 1 as Offset, 1), /synced beyond/)
  })

  test('last stable offset: held back by what is open, and by what ended until its marker is below the high watermark', () => {
    const transactions = new OpenTransactions()
    const state = newState('group', 1, transactions)
    const visible = (end: number) => {
      advanceLogEnd(state, end as Offset, 0)
      advanceSyncedEnd(state, end as Offset, 0)
      advanceHighWatermark(state)
    }
    visible(10)
    assert.equal(lastStableOffset(state), 10)
    transactions.begin(1, 12)
    transactions.settle()
    assert.equal(lastStableOffset(state), 10, 'it begins past the high watermark')
    visible(14)
    assert.equal(lastStableOffset(state), 12)
    assert.equal(readableEnd(state, 1), 12)
    assert.equal(readableEnd(state, 0), 14)
    transactions.end({ producerId: 1, producerEpoch: 1, offset: 14 })
    transactions.settle()
    assert.equal(lastStableOffset(state), 12, 'its marker is at the high watermark, not below')
    visible(15)
    assert.equal(lastStableOffset(state), 15)
  })

  test('last stable offset: a trim may pass where an open transaction began', () => {
    const transactions = new OpenTransactions()
    const state = newState('interval', 1, transactions)
    transactions.begin(1, 2)
    advanceLogEnd(state, 9 as Offset, 0)
    advanceHighWatermark(state)
    assert.equal(lastStableOffset(state), 2)
    advanceLogStart(state, 5 as Offset)
    assert.equal(lastStableOffset(state), 5)
  })

  test('fetch: the table of partition-fetch', () => {
    const state = newState('group')
    advanceLogEnd(state, 8 as Offset, 800)
    advanceSyncedEnd(state, 5 as Offset, 500)
    advanceHighWatermark(state)
    advanceLogStart(state, 2 as Offset)
    const ask = (fetchOffset: number, leaderEpoch = -1, anyReplica = false) =>
      checkFetch(state, { fetchOffset: fetchOffset as Offset, leaderEpoch: leaderEpoch as LeaderEpoch }, { anyReplica })
        ?.error
    assert.deepEqual(
      [1, 2, 5, 8, 9].map((offset) => ask(offset)),
      ['OFFSET_OUT_OF_RANGE', undefined, undefined, undefined, 'OFFSET_OUT_OF_RANGE'],
    )
    assert.deepEqual(
      [3, 4, 5].map((epoch) => ask(2, epoch)),
      ['FENCED_LEADER_EPOCH', undefined, 'UNKNOWN_LEADER_EPOCH'],
    )
    state.role = 'follower'
    assert.equal(ask(2), 'NOT_LEADER_OR_FOLLOWER')
    assert.deepEqual(
      [1, 2, 8, 9].map((offset) => ask(offset, -1, true)),
      ['OFFSET_OUT_OF_RANGE', undefined, undefined, 'OFFSET_OUT_OF_RANGE'],
      'any replica was asked',
    )
    assert.deepEqual(
      [3, 5].map((epoch) => ask(2, epoch, true)),
      ['FENCED_LEADER_EPOCH', 'UNKNOWN_LEADER_EPOCH'],
    )
    goOffline(state, 'the disk is gone')
    assert.equal(ask(2), 'KAFKA_STORAGE_ERROR')
    assert.equal(ask(2, -1, true), 'KAFKA_STORAGE_ERROR')
  })
})
