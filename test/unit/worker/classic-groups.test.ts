/** Classic groups on a whole shard: who waits is answered when what the answer builds on is synced, and told when its coordinator goes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import '../../../src/base/node/native-crc32c.ts'
import { FaultyFileSystem } from '../../../src/io/faulty-file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import {
  classicHeartbeat,
  describeClassicGroups,
  type JoinGroupReply,
  type JoinGroupRequest,
  joinGroup,
  leaveGroup,
  offsetCommit,
  syncGroup,
} from '../../../src/protocol/index.ts'
import { ControlOperation } from '../../../src/ring/control-messages.ts'
import { GroupShard } from '../../support/group-shard.ts'
import type { ShardFixtureOptions } from '../../support/shard-fixture.ts'

const MEMBER: JoinGroupRequest = {
  ...{ groupId: 'g', memberId: '', instanceId: null, sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 20_000 },
  ...{ protocolType: 'consumer', protocols: [{ name: 'range', metadata: new Uint8Array([1, 2]) }] },
  ...{ requiresKnownMemberId: false, canSkipAssignment: false, reason: null },
}

class ClassicShard extends GroupShard {
  constructor(options: ShardFixtureOptions = {}) {
    super({ ...options, shard: { initialRebalanceDelayMs: 1_000, ...options.shard } })
  }

  sendJoin(more: Partial<JoinGroupRequest> = {}): number {
    return this.ask(joinGroup, { ...MEMBER, ...more })
  }

  sendSync({ memberId, generationId, leaderId }: JoinGroupReply): number {
    const assignments = memberId === leaderId ? [{ memberId, assignment: new Uint8Array([7]) }] : []
    return this.ask(syncGroup, {
      ...{
        groupId: 'g',
        generationId,
        memberId,
        instanceId: null,
        protocolType: null,
        protocolName: null,
        assignments,
      },
    })
  }

  /** Members that have joined; the leader first. */
  joined(count: number): JoinGroupReply[] {
    const tokens = Array.from({ length: count }, () => this.sendJoin())
    this.settle()
    for (let waited = 0; waited < 5; waited++) this.pass(1_000)
    const replies = tokens.map((token) => this.replyOf(joinGroup, token))
    return replies.sort(({ memberId, leaderId }) => (memberId === leaderId ? -1 : 1))
  }
}

test('a join waits for the others, and the assignments for the disk', () => {
  const shard = new ClassicShard()
  assert.equal(shard.replyOf(joinGroup, shard.sendJoin({ requiresKnownMemberId: true })).errorNumber, 79)
  const first = shard.sendJoin()
  shard.settle()
  assert.equal(shard.peek(first), undefined)
  const second = shard.sendJoin()
  shard.settle()
  for (let waited = 0; waited < 3; waited++) shard.pass(1_000)
  const [one, two] = [first, second].map((token) => shard.replyOf(joinGroup, token))
  assert.deepEqual([one!.generationId, two!.generationId, one!.members.length], [1, 1, 2])
  const follows = shard.sendSync(two!)
  shard.settle()
  assert.equal(shard.peek(follows), undefined)
  const leads = shard.sendSync(one!)
  for (let turn = 0; turn < 20; turn++) shard.shard.doWork()
  shard.drain()
  assert.deepEqual([shard.peek(leads), shard.peek(follows)], [undefined, undefined], 'nothing is synced yet')
  assert.deepEqual(shard.replyOf(syncGroup, leads).assignment, new Uint8Array([7]))
  assert.equal(shard.replyOf(syncGroup, follows).assignment.length, 0)
  const [row] = shard.replyOf(describeClassicGroups, shard.ask(describeClassicGroups, { groupIds: ['g'] })).groups
  assert.deepEqual([row!.state, row!.protocolData, row!.members.length], ['Stable', 'range', 2])
  assert.deepEqual(shard.groups(), [
    { groupId: 'g', kind: 'classic', state: 'Stable', memberCount: 2, protocolType: 'consumer' },
  ])
})

test('heartbeats, commits and leaves of members', () => {
  const shard = new ClassicShard()
  const [leader, follower] = shard.joined(2)
  shard.sendSync(leader!)
  shard.settle()
  const beat = (generationId: number): string => {
    const request = { groupId: 'g', generationId, memberId: leader!.memberId, instanceId: null }
    return shard.errorOf(shard.ask(classicHeartbeat, request))
  }
  const before = shard.batches.length
  assert.deepEqual([beat(1), beat(1), beat(0)], ['NONE', 'NONE', 'ILLEGAL_GENERATION'])
  assert.equal(shard.batches.length, before)
  const commit = (memberEpoch: number) =>
    shard.ask(offsetCommit, {
      ...{ groupId: 'g', memberId: leader!.memberId, memberEpoch, instanceId: null },
      topics: [{ topicId: '', topic: 't', partitions: [{ partition: 0, offset: 4, leaderEpoch: -1, metadata: '' }] }],
    })
  assert.equal(shard.replyOf(offsetCommit, commit(1)).topics[0]!.partitions[0]!.errorNumber, 0)
  assert.equal(shard.errorOf(commit(2)), 'ILLEGAL_GENERATION')
  const members = [{ memberId: follower!.memberId, instanceId: null, reason: null }]
  const left = shard.replyOf(leaveGroup, shard.ask(leaveGroup, { groupId: 'g', members: [...members, ...members] }))
  assert.deepEqual(
    left.members.map(({ errorNumber }) => errorNumber),
    [0, 25],
  )
  assert.equal(beat(1), 'REBALANCE_IN_PROGRESS')
})

test('a member that is silent is removed, and those who wait for it go on', () => {
  const shard = new ClassicShard()
  const [leader, follower] = shard.joined(2)
  const waiting = shard.sendSync(follower!)
  shard.pass(5_000)
  assert.equal(shard.peek(waiting), undefined)
  shard.pass(5_000)
  assert.equal(shard.errorOf(waiting), 'REBALANCE_IN_PROGRESS')
  const again = shard.sendJoin({ memberId: follower!.memberId })
  assert.equal(shard.replyOf(joinGroup, again).generationId, 2)
  assert.equal(shard.errorOf(shard.sendJoin({ memberId: leader!.memberId })), 'UNKNOWN_MEMBER_ID')
})

test('a coordinator whose batch could not be written is dropped: everyone who waits is told', () => {
  const files = new FaultyFileSystem(new MemoryFileSystem())
  const shard = new ClassicShard({ files })
  const [leader, follower] = shard.joined(2)
  const follows = shard.sendSync(follower!)
  const joins = shard.sendJoin({ groupId: 'other' })
  shard.settle()
  assert.deepEqual([shard.peek(follows), shard.peek(joins)], [undefined, undefined])
  files.inject({ on: 'write', path: '.log', effect: { kind: 'fail', code: 'ENOSPC' } })
  const leads = shard.sendSync(leader!)
  for (const waiting of [leads, follows, joins]) assert.equal(shard.errorOf(waiting), 'COORDINATOR_NOT_AVAILABLE')
  // Nothing was stored of the generation: its members are unknown, and the group is empty.
  assert.equal(shard.errorOf(shard.sendSync(follower!)), 'UNKNOWN_MEMBER_ID')
  assert.deepEqual(
    shard.groups().map(({ groupId, state }) => [groupId, state]),
    [
      ['g', 'Empty'],
      ['other', 'Empty'],
    ],
  )
})

test('a partition that goes: everyone who waits is told', () => {
  const shard = new ClassicShard()
  const waiting = shard.sendJoin()
  shard.settle()
  assert.equal(shard.peek(waiting), undefined)
  const deleted = shard.sendControl(ControlOperation.DELETE_PARTITION, { partitionRef: 0 })
  assert.equal(shard.errorOf(waiting), 'NOT_COORDINATOR')
  assert.equal(shard.errorOf(deleted), 'NONE')
})

test('what the members of a group say of themselves is never more than the leader can be told', () => {
  // Frames of 24,568 bytes.
  const shard = new ClassicShard({ channel: { replyRingBytes: 64 * 1024 } })
  const protocols = [{ name: 'range', metadata: new Uint8Array(7_000) }]
  const tokens = Array.from({ length: 4 }, () => shard.sendJoin({ protocols }))
  for (let waited = 0; waited < 5; waited++) shard.pass(1_000)
  assert.equal(shard.errorOf(tokens[3]!), 'GROUP_MAX_SIZE_REACHED')
  const replies = tokens.slice(0, 3).map((token) => shard.replyOf(joinGroup, token))
  const leader = replies.find(({ memberId, leaderId }) => memberId === leaderId)
  assert.equal(leader?.members.length, 3)
})
