/** Who leaves, who joins, what is wished for; and the high watermark while sets change, against a naive model. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { OpenTransactions } from '../../../src/log/open-transactions.ts'
import type { LeaderEpoch, Offset, PartitionRef } from '../../../src/model/ids.ts'
import type { ReplicaIdentity } from '../../../src/model/replica.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../../src/model/topic-config.ts'
import { advanceHighWatermark, lastStableOffset, minInSync } from '../../../src/partition/high-watermark.ts'
import { isCutOff, lagMsOf, noteFetch, noteSynced, takeWish } from '../../../src/partition/in-sync-replicas.ts'
import { checkLatestKnown } from '../../../src/partition/partition-fetch.ts'
import {
  advanceLogEnd,
  advanceSyncedEnd,
  becomeFollower,
  becomeLeader,
  followHighWatermark,
  type PartitionState,
  replicaState,
  truncateLogEnd,
} from '../../../src/partition/partition-state.ts'

const LAG_MS = 10_000
const RETRY_MS = 3_000
const A = { nodeId: 1, incarnation: 10 }
const B = { nodeId: 2, incarnation: 20 }
const C = { nodeId: 3, incarnation: 30 }

interface Role {
  leaderEpoch?: number
  inSync?: readonly ReplicaIdentity[]
  pending?: readonly ReplicaIdentity[] | null
  version?: number
  replicas?: readonly number[]
  addingCount?: number
}

function role(words: Role = {}) {
  const { leaderEpoch = 5, inSync = [A, B, C], pending = null, version = 1 } = words
  const { replicas = [1, 2, 3], addingCount = 0 } = words
  return { role: 'leader' as const, leaderEpoch, ...A, replicas, addingCount, inSync, pending, version }
}

class Leader {
  readonly state: PartitionState
  nowMs = 0

  constructor(options: Role & { fsync?: 'group' | 'interval'; logEndOffset?: number; minInsync?: number } = {}) {
    const { fsync = 'group', logEndOffset = 0, minInsync = 1 } = options
    this.state = replicaState(
      {
        ...{ partitionRef: 1 as PartitionRef, leaderEpoch: 4 as LeaderEpoch, transactions: new OpenTransactions() },
        config: { ...TOPIC_CONFIG_DEFAULTS, fsync, minInsyncReplicas: minInsync },
        ...{ logStartOffset: 0 as Offset, logEndOffset: logEndOffset as Offset },
      },
      role(options),
    )
    becomeLeader(this.state, role(options), this.nowMs)
  }

  append(records: number): void {
    advanceLogEnd(this.state, (this.state.logEndOffset + records) as Offset, records)
    advanceSyncedEnd(this.state, this.state.logEndOffset, this.state.appendedBytes)
  }

  /** A replica that has all of `offset`, written and synced. */
  has(who: ReplicaIdentity, offset: number): void {
    this.fetch(who, offset)
    this.synced(who, offset)
  }

  fetch(who: ReplicaIdentity, offset: number): string {
    return noteFetch(this.state, who, { nowMs: this.nowMs, lagMsMax: LAG_MS, fetchOffset: offset as Offset })
  }

  synced(who: ReplicaIdentity, offset: number): string {
    return noteSynced(this.state, who, { nowMs: this.nowMs, lagMsMax: LAG_MS, syncedEndOffset: offset as Offset })
  }

  set(options: Role): void {
    becomeLeader(this.state, role(options), this.nowMs)
  }

  wish(): number[] | undefined {
    return takeWish(this.state, { nowMs: this.nowMs, lagMsMax: LAG_MS, retryMs: RETRY_MS })?.map(({ nodeId }) => nodeId)
  }

  highWatermark(): number {
    advanceHighWatermark(this.state)
    return this.state.highWatermark
  }
}

describe('high watermark over replicas', () => {
  test('it follows the slowest that is in sync; nobody is believed before it is heard', () => {
    const leader = new Leader()
    leader.append(10)
    assert.equal(leader.highWatermark(), 0)
    leader.has(B, 10)
    assert.equal(leader.highWatermark(), 0, 'C has said nothing')
    leader.has(C, 4)
    assert.equal(leader.highWatermark(), 4)
    leader.fetch(C, 9)
    assert.equal(leader.highWatermark(), 4, 'written is not synced')
    leader.synced(C, 9)
    assert.equal(leader.highWatermark(), 9)
  })

  test('interval: written is enough', () => {
    const leader = new Leader({ fsync: 'interval' })
    leader.append(10)
    leader.fetch(B, 10)
    leader.fetch(C, 7)
    assert.equal(leader.highWatermark(), 7)
  })

  test('a pending set counts beside the stored one; a shrunken one only once it is stored', () => {
    const leader = new Leader({ inSync: [A, B] })
    leader.append(10)
    leader.has(B, 10)
    leader.has(C, 3)
    leader.set({ inSync: [A, B], pending: [A, B, C], version: 1 })
    assert.equal(leader.highWatermark(), 3)
    leader.set({ inSync: [A, B], version: 1 })
    assert.equal(leader.highWatermark(), 10)
    leader.set({ inSync: [A, B, C], version: 2 })
    leader.append(10)
    leader.has(B, 20)
    leader.set({ inSync: [A, B, C], pending: [A, B], version: 2 })
    assert.equal(leader.highWatermark(), 10, 'C is in the stored set')
    leader.set({ inSync: [A, B], version: 3 })
    assert.equal(leader.highWatermark(), 20)
  })

  test('another incarnation of a member is not that member: the high watermark stands until the set says so', () => {
    const leader = new Leader({ inSync: [A, B] })
    leader.append(10)
    leader.has(B, 5)
    assert.equal(leader.highWatermark(), 5)
    const again = { nodeId: 2, incarnation: 21 }
    leader.has(again, 10)
    assert.equal(leader.highWatermark(), 5)
    assert.equal(leader.fetch(B, 10), 'unknown', 'the earlier one is fenced')
    assert.deepEqual(leader.wish(), [1, 2])
    leader.set({ inSync: [A, again], version: 2 })
    assert.equal(leader.highWatermark(), 10)
  })

  test('min.insync.replicas asks for no more than the partition is to have; what a move brings does not count', () => {
    for (const [replicas, addingCount, needed] of [
      [[1], 0, 1],
      [[1, 2], 0, 2],
      [[1, 2], 1, 1],
      [[1, 2, 3], 0, 2],
    ] as const) {
      const leader = new Leader({ inSync: [A], minInsync: 2, replicas, addingCount })
      assert.equal(minInSync(leader.state), needed)
      leader.append(3)
      assert.equal(leader.highWatermark(), needed === 1 ? 3 : 0)
    }
  })

  test('fewer in sync by the store than min.insync.replicas: it stands, whoever catches up', () => {
    const leader = new Leader({ inSync: [A], minInsync: 2 })
    leader.append(10)
    leader.has(B, 10)
    assert.equal(leader.highWatermark(), 0)
    leader.set({ inSync: [A, B], version: 2 })
    assert.equal(leader.highWatermark(), 10)
  })

  test('whoever has caught up counts before it is proposed, so that it need not run after the high watermark', () => {
    const leader = new Leader({ inSync: [A] })
    leader.append(10)
    assert.equal(leader.highWatermark(), 10)
    leader.has(B, 10)
    leader.append(10)
    assert.equal(leader.highWatermark(), 10, 'B has caught up and is about to join')
    assert.deepEqual(leader.wish(), [1, 2])
    leader.nowMs += LAG_MS + 1
    leader.wish()
    assert.equal(leader.highWatermark(), 20, 'it did not keep up')
  })
})

describe('in-sync set', () => {
  test('a member leaves when it lags longer than it may, and not while there is nothing that it lacks', () => {
    const leader = new Leader()
    leader.has(B, 0)
    leader.has(C, 0)
    leader.nowMs = 5 * LAG_MS
    assert.equal(leader.wish(), undefined, 'idle is not behind')
    leader.has(B, 0)
    leader.has(C, 0)
    leader.append(5)
    leader.nowMs += LAG_MS
    leader.has(B, 5)
    assert.equal(leader.wish(), undefined)
    leader.nowMs += 1
    assert.deepEqual(leader.wish(), [1, 2])
    assert.equal(lagMsOf(leader.state, leader.state.replicas!.remotes[1]!, leader.nowMs), LAG_MS + 1)
  })

  test('who has at each look what the leader had at the look before is not behind, however fast the leader goes', () => {
    const leader = new Leader({ inSync: [A, B] })
    let before = 0
    for (let round = 0; round < 20; round++) {
      leader.nowMs += LAG_MS / 2
      leader.has(B, before)
      before = leader.state.logEndOffset
      leader.append(3)
      assert.equal(leader.wish(), undefined)
    }
  })

  test('with fsync: group one that fetches but cannot sync leaves', () => {
    const leader = new Leader({ inSync: [A, B] })
    leader.append(5)
    for (let round = 0; round < 3; round++) {
      leader.fetch(B, 5)
      leader.nowMs += LAG_MS / 2
    }
    assert.deepEqual(leader.wish(), [1])
  })

  test('a member that is never heard leaves after its time, not before', () => {
    const leader = new Leader({ inSync: [A, B] })
    leader.append(1)
    leader.nowMs = LAG_MS
    assert.equal(leader.wish(), undefined)
    leader.nowMs++
    assert.deepEqual(leader.wish(), [1])
  })

  test('one joins with all up to the high watermark and the start of the epoch, synced', () => {
    const leader = new Leader({ inSync: [A], logEndOffset: 10 })
    assert.equal(leader.highWatermark(), 10)
    leader.has(B, 9)
    assert.equal(leader.wish(), undefined)
    leader.fetch(B, 10)
    assert.equal(leader.wish(), undefined, 'not synced')
    leader.synced(B, 10)
    assert.deepEqual(leader.wish(), [1, 2])
  })

  test('one that has caught up with what there was, but not with the high watermark, does not join yet', () => {
    const leader = new Leader({ inSync: [A] })
    leader.append(10)
    leader.has(B, 5)
    leader.append(10)
    assert.equal(leader.highWatermark(), 20)
    leader.fetch(B, 20)
    leader.synced(B, 10)
    assert.equal(leader.wish(), undefined, 'it has 20, and only 10 of them are synced')
    leader.synced(B, 20)
    assert.deepEqual(leader.wish(), [1, 2])
  })

  test('below the start of the epoch nobody joins, though the high watermark is lower', () => {
    const leader = new Leader({ inSync: [A, C], logEndOffset: 10 })
    leader.has(B, 7)
    assert.equal(leader.highWatermark(), 0)
    assert.equal(leader.wish(), undefined)
    leader.has(B, 10)
    assert.deepEqual(leader.wish(), [1, 3, 2].sort())
  })

  test('no second wish under one version, but after a while; a pending one is waited for', () => {
    const leader = new Leader({ inSync: [A] })
    leader.has(B, 0)
    assert.deepEqual(leader.wish(), [1, 2])
    leader.has(C, 0)
    assert.equal(leader.wish(), undefined)
    leader.nowMs += RETRY_MS
    assert.deepEqual(leader.wish(), [1, 2, 3])
    leader.set({ inSync: [A], pending: [A, B, C], version: 1 })
    leader.nowMs += 2 * RETRY_MS
    assert.equal(leader.wish(), undefined)
    leader.set({ inSync: [A, B], version: 2 })
    leader.has(C, 0)
    assert.deepEqual(leader.wish(), [1, 2, 3])
  })

  test('who was taken out has to catch up anew before it counts', () => {
    const leader = new Leader({ inSync: [A, B] })
    leader.append(5)
    leader.has(B, 5)
    leader.append(5)
    leader.set({ inSync: [A], version: 2 })
    assert.equal(leader.highWatermark(), 10)
    assert.equal(leader.wish(), undefined)
  })
})

describe('a replica that lost its log and begins anew under the same incarnation', () => {
  test('one that was taken out does not join with the ends it had', () => {
    const leader = new Leader({ inSync: [A, C] })
    leader.append(10)
    leader.has(B, 10)
    leader.has(C, 10)
    leader.wish()
    leader.set({ inSync: [A, C], version: 2 })
    leader.fetch(B, 0)
    leader.nowMs += RETRY_MS
    assert.equal(leader.wish(), undefined)
    assert.deepEqual(ends(leader, B), [0, 0])
    leader.has(B, 4)
    assert.equal(leader.wish(), undefined, 'on its way')
    leader.has(B, 10)
    assert.deepEqual(leader.wish(), [1, 2, 3])
  })

  test('one that is a member still holds the high watermark where it is', () => {
    const leader = new Leader({ inSync: [A, B] })
    leader.append(10)
    leader.has(B, 10)
    assert.equal(leader.highWatermark(), 10)
    leader.fetch(B, 0)
    leader.append(5)
    assert.equal(leader.highWatermark(), 10)
    assert.deepEqual(ends(leader, B), [0, 0])
    leader.nowMs += LAG_MS + 1
    assert.deepEqual(leader.wish(), [1], 'it lags as any other would')
  })
})

function ends(leader: Leader, { nodeId }: ReplicaIdentity): number[] {
  const remote = leader.state.replicas!.remotes.find((other) => other.nodeId === nodeId)!
  return [remote.logEndOffset, remote.syncedEndOffset]
}

describe('roles', () => {
  test('a new leader begins with the high watermark it knew, and does not know the latest offset until that reaches its epoch', () => {
    const leader = new Leader({ inSync: [A, B], logEndOffset: 10 })
    assert.equal(leader.state.highWatermark, 0)
    assert.equal(checkLatestKnown(leader.state)?.error, 'OFFSET_NOT_AVAILABLE')
    assert.equal(lastStableOffset(leader.state), 0, 'transactions that ended in what it found are not known')
    leader.has(B, 4)
    assert.equal(leader.highWatermark(), 4)
    assert.equal(lastStableOffset(leader.state), 0, 'one of them may have begun below, and its marker may be lost')
    leader.has(B, 10)
    assert.equal(leader.highWatermark(), 10)
    assert.equal(checkLatestKnown(leader.state), undefined)
    assert.equal(lastStableOffset(leader.state), 10)
  })

  test('a new epoch forgets what was told under the one before', () => {
    const leader = new Leader({ inSync: [A, B] })
    leader.append(10)
    leader.has(B, 10)
    leader.set({ inSync: [A, B], leaderEpoch: 6, version: 2 })
    leader.append(1)
    assert.equal(leader.highWatermark(), 0)
    leader.has(B, 11)
    assert.equal(leader.highWatermark(), 11)
  })

  test('a follower believes the leader as far as its own log goes; it is cut no lower than that', () => {
    const { state } = new Leader({ inSync: [A, B], logEndOffset: 10 })
    becomeFollower(state, { ...role({ leaderEpoch: 6, version: 2 }), role: 'follower' })
    assert.equal(followHighWatermark(state, 15 as Offset), true)
    assert.equal(state.highWatermark, 10)
    assert.equal(followHighWatermark(state, 4 as Offset), false, 'it never falls')
    assert.throws(() => truncateLogEnd(state, 9 as Offset), /I7/)
    assert.throws(() => becomeFollower(state, { ...role({ leaderEpoch: 5, version: 3 }), role: 'follower' }), /P4/)
    assert.throws(() => becomeFollower(state, { ...role({ leaderEpoch: 6, version: 1 }), role: 'follower' }), /RS3/)
  })
})

type Step =
  | { kind: 'append' }
  | { kind: 'tell'; who: ReplicaIdentity; share: number }
  | { kind: 'pass'; ms: number }
  | { kind: 'wish' }
  | { kind: 'stored'; isWritten: boolean }

const AGAIN = { nodeId: 2, incarnation: 21 }
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('append' as const) }),
  fc.record({
    kind: fc.constant('tell' as const),
    who: fc.constantFrom(B, AGAIN, C),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 8_000 }) }),
  fc.record({ kind: fc.constant('wish' as const) }),
  fc.record({ kind: fc.constant('stored' as const), isWritten: fc.boolean() }),
)

test('whatever is told, wished, written or not: nothing is safe that a member of the stored set does not have', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const leader = new Leader({ inSync: [A, B] })
      const ends = new Map<string, number>()
      const endOf = ({ nodeId, incarnation }: ReplicaIdentity) => ends.get(`${nodeId}-${incarnation}`) ?? 0
      let stored: readonly ReplicaIdentity[] = [A, B]
      let wished: readonly ReplicaIdentity[] | undefined
      let version = 1
      let isRestarted = false
      for (const next of steps) {
        if (next.kind === 'append') leader.append(1)
        else if (next.kind === 'pass') leader.nowMs += next.ms
        else if (next.kind === 'tell') {
          isRestarted ||= next.who === AGAIN
          // One incarnation is alive at a time.
          if (next.who === B && isRestarted) continue
          const end = Math.max(endOf(next.who), Math.floor(leader.state.logEndOffset * next.share))
          ends.set(`${next.who.nodeId}-${next.who.incarnation}`, end)
          leader.has(next.who, end)
        } else if (next.kind === 'wish') {
          const wish = takeWish(leader.state, { nowMs: leader.nowMs, lagMsMax: LAG_MS, retryMs: RETRY_MS })
          if (wish !== undefined) {
            assert.ok(wish.includes(leader.state.replicas!.self))
            wished = wish
            leader.set({ inSync: stored, pending: wished, version })
          }
        } else if (wished !== undefined) {
          // The store has it before the leader hears of that.
          if (next.isWritten) {
            stored = wished
            version++
            leader.highWatermark()
            for (const member of stored)
              assert.ok(
                member.nodeId === 1 || leader.state.highWatermark <= endOf(member),
                'joined without what is safe',
              )
          }
          wished = undefined
          leader.set({ inSync: stored, version })
        }
        const highWatermark = leader.highWatermark()
        for (const member of stored)
          assert.ok(member.nodeId === 1 || highWatermark <= endOf(member), `${member.nodeId} lacks what is safe`)
      }
    }),
    { numRuns: 500 },
  )
})

describe('a leader that is cut off', () => {
  const isCut = (leader: Leader, wished: readonly ReplicaIdentity[]) =>
    isCutOff(leader.state, wished, { nowMs: leader.nowMs, silentMsMax: LAG_MS / 2 })

  function silentSince(options: ConstructorParameters<typeof Leader>[0], heard: readonly ReplicaIdentity[]): Leader {
    const leader = new Leader(options)
    for (const who of [B, C]) leader.has(who, 0)
    leader.append(1)
    leader.nowMs = LAG_MS + 1
    // Slow, not silent.
    for (const who of heard) leader.fetch(who, 0)
    return leader
  }

  test('both of two followers are silent, and are enough: it is', () => {
    const leader = silentSince({ minInsync: 2 }, [])
    assert.ok(isCut(leader, [A]))
    // One of them has lagged for a little less long: the set would go in two steps, and the second find too few.
    assert.ok(isCut(leader, [A, C]))
    assert.ok(!isCut(leader, [A, B, C]), 'nobody leaves')
  })

  test('not where they are slow, too few, or not needed', () => {
    assert.ok(!isCut(silentSince({ minInsync: 2 }, [B, C]), [A]), 'slow')
    assert.ok(!isCut(silentSince({ minInsync: 2 }, [B]), [A]), 'one of them is heard: that one and this one are enough')
    assert.ok(!isCut(silentSince({ minInsync: 1 }, []), [A]), 'it acknowledges alone')
    assert.ok(!isCut(silentSince({ minInsync: 3 }, []), [A]), 'without it they are too few')
    const pair = { minInsync: 2, replicas: [1, 2], inSync: [A, B] }
    assert.ok(!isCut(silentSince(pair, []), [A]), 'of two none is enough alone')
  })
})
