/** What a coordinator after the next one knows of classic groups, and how a group changes its kind. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isRefusal } from '../../../src/group/index.ts'
import { assignmentOf, ClassicFixture } from '../../support/classic-fixture.ts'
import { compacted, durableState, show } from '../../support/group-fixture.ts'

function sameAfterRestart(fixture: ClassicFixture): void {
  const { state } = fixture.coordinator
  for (const log of [fixture.log, compacted(fixture.log, true), compacted(fixture.log, false)])
    assert.deepEqual(durableState(fixture.replayed(log).state), durableState(state))
}

test('a stable group is found as it was, its sessions begin anew', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.stable([{}, { instanceId: 'i' }])
  sameAfterRestart(fixture)
  fixture.advance(9_000)
  fixture.restart()
  assert.deepEqual(
    [fixture.group.state, fixture.group.leaderId, fixture.group.protocolName, fixture.group.generationId],
    ['Stable', leader!.memberId, 'range', 1],
  )
  assert.deepEqual(fixture.advance(9_999), [])
  for (const member of [leader!, follower!]) assert.equal(fixture.beatClassic(member), 'NONE')
  assert.deepEqual(fixture.synced(fixture.sendSync(follower!)).assignment, new Uint8Array([1]))
  assert.equal(fixture.commitError({ memberId: leader!.memberId, memberEpoch: 1 }), 'NONE')
  const back = fixture.joined(fixture.sendJoin({ instanceId: 'i' }))
  assert.equal(back.generationId, 1)
  sameAfterRestart(fixture)
  fixture.restart()
  const now = { memberId: back.memberId, instanceId: 'i', generationId: 1 }
  assert.deepEqual([fixture.beatClassic(now), fixture.beatClassic(follower!)], ['NONE', 'FENCED_INSTANCE_ID'])
  assert.deepEqual(fixture.synced(fixture.sendSync(now)).assignment, new Uint8Array([1]))
})

test('a generation whose assignment never came is none: its members join again', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.stable()
  fixture.sendJoin({ memberId: leader!.memberId })
  fixture.sendJoin({ memberId: follower!.memberId })
  assert.equal(fixture.group.generationId, 2)
  fixture.restart()
  assert.deepEqual([fixture.group.state, fixture.group.generationId], ['Stable', 1])
  assert.equal(fixture.beatClassic({ ...leader!, generationId: 2 }), 'ILLEGAL_GENERATION')
  assert.equal(fixture.outcome(fixture.sendSync({ ...leader!, generationId: 2 })), 'ILLEGAL_GENERATION')
})

test('an empty group keeps its generation and its type; who was in it is unknown', () => {
  const fixture = new ClassicFixture()
  const [member] = fixture.stable([{ protocolType: 'connect' }])
  fixture.leaveClassic(member!)
  sameAfterRestart(fixture)
  fixture.restart()
  const [row] = fixture.coordinator.listGroups({ states: ['empty'], kinds: ['classic'] })
  assert.deepEqual(row, { groupId: 'g', groupKind: 'classic', state: 'Empty', memberCount: 0, protocolType: 'connect' })
  assert.equal(fixture.outcome(fixture.sendJoin({ memberId: member!.memberId })), 'UNKNOWN_MEMBER_ID')
  assert.deepEqual(fixture.generation({})[0]!.generationId, 3)
})

test('requests that wait are named when the coordinator ends', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.stable()
  const sent = [fixture.sendJoin(leader), fixture.sendJoin()]
  assert.deepEqual(new Set(fixture.coordinator.parkedTokens()), new Set(sent))
  fixture.sendJoin(follower)
  assert.deepEqual(fixture.coordinator.parkedTokens(), [])
  const sync = fixture.sendSync({ ...follower!, generationId: 2 })
  assert.deepEqual(fixture.coordinator.parkedTokens(), [sync])
})

test('members of the two protocols are not in one group; an empty one changes its kind and keeps its offsets', () => {
  const fixture = new ClassicFixture()
  fixture.commit({ offset: 5 })
  const [member] = fixture.stable([{}])
  assert.equal(
    fixture.refusal({ memberId: 'n', memberEpoch: 0, subscribedTopics: ['orders'] }).error,
    'INCONSISTENT_GROUP_PROTOCOL',
  )
  fixture.leaveClassic(member!)
  const given = fixture.joined(fixture.sendJoin({ requiresKnownMemberId: true })).memberId
  const native = fixture.join('n')
  assert.deepEqual([native.memberEpoch > 2, show(native.assignment)], [true, 'orders 0 1 2 3 4 5'])
  assert.equal(fixture.committed(), 5)
  assert.equal(fixture.coordinator.state.groups.get('g')!.kind, 'consumer')
  sameAfterRestart(fixture)
  // The id that was given means nothing any more.
  assert.deepEqual(fixture.advance(1_000), [])
  assert.equal(fixture.outcome(fixture.sendJoin({ memberId: given })), 'INCONSISTENT_GROUP_PROTOCOL')
  fixture.beat({ memberId: 'n', memberEpoch: -1 })
  const [again] = fixture.generation({})
  assert.ok(again!.generationId > native.memberEpoch)
  assert.equal(fixture.committed(), 5)
  sameAfterRestart(fixture)
})

test('a group with members cannot be deleted, an empty one can, and nothing is left of it', () => {
  const fixture = new ClassicFixture()
  const [member] = fixture.stable([{}])
  fixture.commit({ memberId: member!.memberId, memberEpoch: 1, offset: 3 })
  const deleted = () => {
    const reply = fixture.take(fixture.coordinator.deleteGroups(['g']))
    assert.ok(!isRefusal(reply))
    return reply.groups[0]!.error
  }
  assert.equal(deleted(), 'NON_EMPTY_GROUP')
  fixture.leaveClassic(member!)
  const given = fixture.joined(fixture.sendJoin({ requiresKnownMemberId: true })).memberId
  assert.equal(deleted(), 'NONE')
  assert.deepEqual([fixture.coordinator.state.groups.size, fixture.replayed().state.groups.size], [0, 0])
  assert.deepEqual(fixture.advance(20_000), [])
  assert.equal(fixture.outcome(fixture.sendJoin({ memberId: given })), 'UNKNOWN_MEMBER_ID')
})

test('groups are described in both ways', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.generation({}, { instanceId: 'i' })
  const describe = () => fixture.coordinator.describeClassicGroups(['g', 'none', ''])
  const early = describe()[0]!
  assert.deepEqual([early.state, early.protocolData, early.members[0]!.metadata.length], ['CompletingRebalance', '', 0])
  const assignments = [
    { memberId: leader!.memberId, assignment: assignmentOf({ orders: [0, 2], gone: [1] }) },
    { memberId: follower!.memberId, assignment: new Uint8Array([9]) },
  ]
  fixture.sendSync({ ...leader!, assignments })
  const [row, none, bad] = describe()
  assert.deepEqual([row!.state, row!.protocolType, row!.protocolData], ['Stable', 'consumer', 'range'])
  const shown = row!.members.find(({ memberId }) => memberId === leader!.memberId)!
  assert.deepEqual(shown.assignment, assignments[0]!.assignment)
  assert.ok(shown.metadata.length > 0)
  assert.deepEqual([none!.state, none!.error, bad!.error], ['Dead', 'GROUP_ID_NOT_FOUND', 'INVALID_GROUP_ID'])
  const [group] = fixture.coordinator.describeGroups(['g'])
  assert.deepEqual(
    [group!.groupKind, group!.state, group!.groupEpoch, group!.assignor],
    ['classic', 'Stable', 1, 'range'],
  )
  const ofLeader = group!.members.find(({ memberId }) => memberId === leader!.memberId)!
  assert.deepEqual(
    [ofLeader.subscribedTopics, show(ofLeader.assignment), ofLeader.memberEpoch],
    [['orders'], 'orders 0 2, gone 1', 1],
  )
  // Bytes that are none of a consumer's are no assignment that the broker can read.
  assert.deepEqual(group!.members.find(({ memberId }) => memberId === follower!.memberId)!.assignment, [])
  assert.deepEqual(fixture.coordinator.describeGroupPage('g', '').group.members.length, 2)
})
