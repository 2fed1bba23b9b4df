/** Heartbeats, leaves, sessions, and members with an instance. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ClassicFixture, protocolsOf } from '../../support/classic-fixture.ts'

test('a heartbeat is answered by what the group is at, and moves the session in every state', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.generation({}, {})
  const untilMs = () => fixture.group.members.get(follower!.memberId)!.sessionDeadlineMs - fixture.nowMs
  fixture.advance(5_000)
  assert.deepEqual([fixture.beatClassic(follower!), untilMs()], ['NONE', 10_000])
  fixture.sendSync({ ...leader!, assignments: [] })
  fixture.advance(5_000)
  assert.deepEqual([fixture.beatClassic(follower!), untilMs()], ['NONE', 10_000])
  fixture.sendJoin({ memberId: leader!.memberId })
  fixture.advance(5_000)
  assert.deepEqual([fixture.beatClassic(follower!), untilMs()], ['REBALANCE_IN_PROGRESS', 10_000])
  assert.equal(fixture.beatClassic({ ...follower!, generationId: 0 }), 'ILLEGAL_GENERATION')
  assert.equal(fixture.beatClassic({ ...follower!, memberId: 'stranger' }), 'UNKNOWN_MEMBER_ID')
  assert.equal(fixture.beatClassic({ ...follower!, instanceId: 'i' }), 'UNKNOWN_MEMBER_ID')
})

test('heartbeats allocate no answers', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.stable()
  const beat = (member: typeof leader) =>
    fixture.coordinator.classicHeartbeat({ groupId: 'g', ...member! }, fixture.nowMs)
  assert.equal(beat(leader), beat(follower))
})

test('a member that is silent is removed, and the others are to join again', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.stable()
  fixture.advance(9_999)
  fixture.beatClassic(leader!)
  assert.deepEqual(fixture.advance(1), [`${follower!.memberId} session`])
  assert.deepEqual([fixture.members, fixture.group.state], [[leader!.memberId], 'PreparingRebalance'])
  assert.equal(fixture.beatClassic(leader!), 'REBALANCE_IN_PROGRESS')
  assert.equal(fixture.joined(fixture.sendJoin({ memberId: leader!.memberId })).generationId, 2)
})

test('while its join or sync waits the session of a member does not end, and begins anew with the answer', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.stable([{}, { sessionTimeoutMs: 60_000 }])
  const joins = fixture.sendJoin({ memberId: leader!.memberId })
  assert.deepEqual(fixture.advance(29_000), [])
  fixture.sendJoin({ memberId: follower!.memberId, sessionTimeoutMs: 60_000 })
  const { generationId } = fixture.joined(joins)
  const sync = fixture.sendSync({
    ...(fixture.group.leaderId === leader!.memberId ? follower! : leader!),
    generationId,
  })
  assert.equal(fixture.outcome(sync), 'waits')
  assert.deepEqual(fixture.advance(9_999), [])

  const waits = new ClassicFixture()
  const [led, follows] = waits.generation({ sessionTimeoutMs: 60_000 }, { sessionTimeoutMs: 6_000 })
  const waiting = waits.sendSync(follows!)
  assert.deepEqual(waits.advance(20_000), [])
  waits.sendSync({ ...led!, assignments: [] })
  assert.equal(waits.outcome(waiting), 'NONE')
  assert.deepEqual(waits.advance(5_999), [])
  assert.deepEqual(waits.advance(1), [`${follows!.memberId} session`])
})

test('who leaves is out at once; the last one leaves an empty group behind, which is stored', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.stable()
  assert.deepEqual(fixture.leaveClassic({ memberId: follower!.memberId }, { memberId: 'stranger' }), [
    'NONE',
    'UNKNOWN_MEMBER_ID',
  ])
  assert.equal(fixture.group.state, 'PreparingRebalance')
  const before = fixture.log.length
  assert.deepEqual(fixture.leaveClassic({ memberId: leader!.memberId }), ['NONE'])
  assert.deepEqual(
    [fixture.group.state, fixture.group.generationId, fixture.group.protocolName, fixture.group.leaderId],
    ['Empty', 2, null, null],
  )
  // Two members gone, no leader, the group.
  assert.equal(fixture.log.length - before, 4)
  assert.deepEqual(fixture.leaveClassic({ memberId: leader!.memberId }), ['UNKNOWN_MEMBER_ID'])
})

test('a member that leaves while it waits is answered; what it held up goes on', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.stable()
  const one = fixture.sendJoin({ memberId: leader!.memberId })
  fixture.leaveClassic({ memberId: follower!.memberId })
  assert.equal(fixture.joined(one).generationId, 2)
  const sync = { ...leader!, generationId: 2 }
  fixture.sendSync({ ...sync, assignments: [] })
  const two = fixture.sendJoin()
  const three = fixture.sendJoin({ memberId: leader!.memberId })
  assert.deepEqual([fixture.outcome(two), fixture.outcome(three)], ['NONE', 'NONE'])
  const waiting = fixture.sendSync({ memberId: fixture.joined(two).memberId, instanceId: null, generationId: 3 })
  fixture.leaveClassic({ memberId: fixture.joined(two).memberId })
  assert.equal(fixture.outcome(waiting), 'UNKNOWN_MEMBER_ID')
})

test('an id that was given and not joined with can leave', () => {
  const fixture = new ClassicFixture()
  const [leader] = fixture.stable([{}])
  const { memberId } = fixture.joined(fixture.sendJoin({ requiresKnownMemberId: true }))
  const again = fixture.sendJoin({ memberId: leader!.memberId })
  assert.equal(fixture.outcome(again), 'waits')
  assert.deepEqual(fixture.leaveClassic({ memberId }), ['NONE'])
  assert.equal(fixture.outcome(again), 'NONE')
})

test('an instance that comes back while the group is stable takes its place: no rebalance, the old id is fenced', () => {
  const fixture = new ClassicFixture()
  const members = fixture.stable([{ instanceId: 'a' }, { instanceId: 'b' }])
  const [leader, follower] = members
  const back = fixture.joined(fixture.sendJoin({ instanceId: follower!.instanceId }))
  assert.deepEqual(
    [back.generationId, back.leaderId, back.members, back.skipAssignment, fixture.group.state],
    [1, leader!.memberId, [], false, 'Stable'],
  )
  assert.notEqual(back.memberId, follower!.memberId)
  assert.equal(fixture.beatClassic(follower!), 'FENCED_INSTANCE_ID')
  assert.equal(fixture.outcome(fixture.sendSync(follower!)), 'FENCED_INSTANCE_ID')
  assert.equal(fixture.outcome(fixture.sendJoin({ ...follower })), 'FENCED_INSTANCE_ID')
  assert.deepEqual(fixture.leaveClassic(follower!), ['FENCED_INSTANCE_ID'])
  const now = { ...follower!, memberId: back.memberId }
  assert.equal(fixture.beatClassic(now), 'NONE')
  assert.deepEqual(fixture.synced(fixture.sendSync(now)).assignment, new Uint8Array([1]))
})

test('a leader that comes back is told of an old leader, or to leave the assignment as it is', () => {
  const fixture = new ClassicFixture()
  const [leader] = fixture.stable([{ instanceId: 'a' }, { instanceId: 'b' }])
  const back = fixture.joined(fixture.sendJoin({ instanceId: leader!.instanceId }))
  assert.deepEqual([back.leaderId, back.members, back.skipAssignment], [leader!.memberId, [], false])
  assert.equal(fixture.group.leaderId, back.memberId)
  const newer = fixture.joined(fixture.sendJoin({ instanceId: leader!.instanceId, canSkipAssignment: true }))
  assert.deepEqual([newer.leaderId, newer.members.length, newer.skipAssignment], [newer.memberId, 2, true])
  assert.deepEqual(
    fixture.synced(fixture.sendSync({ ...leader!, memberId: newer.memberId })).assignment,
    new Uint8Array([0]),
  )
})

test('a member that was waited for and came back as another process is waited for no more', () => {
  const fixture = new ClassicFixture()
  const patient = { sessionTimeoutMs: 1_000_000, rebalanceTimeoutMs: 30_000 }
  const [leader, follower] = fixture.generation({ ...patient, instanceId: 'a' }, { ...patient, instanceId: 'b' })
  fixture.sendSync({ ...leader!, assignments: [] })
  fixture.joined(fixture.sendJoin({ ...patient, instanceId: follower!.instanceId }))
  assert.deepEqual([fixture.group.state, fixture.group.awaitedSyncs], ['Stable', 0])
  assert.deepEqual(fixture.advance(60_000), [])
  assert.deepEqual([fixture.group.state, fixture.group.generationId], ['Stable', 1])
})

test('an instance that comes back begins a rebalance where the vote changes, or the assignment is being made', () => {
  const fixture = new ClassicFixture()
  const both = protocolsOf('range', 'sticky')
  fixture.stable([
    { instanceId: 'a', protocols: both },
    { instanceId: 'b', protocols: both },
  ])
  fixture.sendJoin({ instanceId: 'b', protocols: protocolsOf('sticky') })
  assert.equal(fixture.group.state, 'PreparingRebalance')

  const completing = new ClassicFixture()
  const [, second] = completing.generation({ instanceId: 'a' }, { instanceId: 'b' })
  const waiting = completing.sendSync(second!)
  completing.sendJoin({ instanceId: second!.instanceId })
  assert.deepEqual([completing.outcome(waiting), completing.group.state], ['FENCED_INSTANCE_ID', 'PreparingRebalance'])
})

test('two processes of one instance: the join of the first is fenced by the second', () => {
  const fixture = new ClassicFixture()
  const first = fixture.sendJoin({ instanceId: 'a' })
  const second = fixture.sendJoin({ instanceId: 'a' })
  assert.equal(fixture.outcome(first), 'FENCED_INSTANCE_ID')
  fixture.advance(6_000)
  assert.equal(fixture.joined(second).members.length, 1)
})

test('an instance that does not join again keeps its place until its session ends, and does not lead meanwhile', () => {
  const fixture = new ClassicFixture()
  const slow = { sessionTimeoutMs: 60_000, rebalanceTimeoutMs: 10_000 }
  const [leader, follower] = fixture.stable([{ ...slow, instanceId: 'b' }, slow])
  assert.equal(leader!.instanceId, 'b')
  const both = protocolsOf('range', 'sticky')
  const token = fixture.sendJoin({ ...slow, memberId: follower!.memberId, protocols: both })
  fixture.advance(15_000)
  const { members, leaderId } = fixture.joined(token)
  assert.deepEqual([members.length, leaderId], [2, follower!.memberId])
  assert.equal(fixture.group.state, 'CompletingRebalance')
})

test('instances alone, and none joins again: the group waits for them', () => {
  const fixture = new ClassicFixture()
  const members = fixture.stable([{ instanceId: 'a', sessionTimeoutMs: 100_000 }, {}])
  const dynamic = members.find(({ instanceId }) => instanceId === null)!
  const one = members.find(({ instanceId }) => instanceId === 'a')!
  fixture.leaveClassic({ memberId: dynamic.memberId })
  fixture.advance(60_000)
  assert.deepEqual([fixture.group.state, fixture.group.generationId], ['PreparingRebalance', 1])
  assert.equal(fixture.joined(fixture.sendJoin({ ...one, sessionTimeoutMs: 100_000 })).generationId, 2)
})

test('instances that give no time to join again do not keep the coordinator busy', () => {
  const fixture = new ClassicFixture()
  const slow = { sessionTimeoutMs: 100_000, rebalanceTimeoutMs: 0 }
  const members = fixture.generation({ ...slow, instanceId: 'a' }, slow)
  for (const member of members) fixture.sendSync({ ...member, assignments: [] })
  fixture.leaveClassic({ memberId: members.find(({ instanceId }) => instanceId === null)!.memberId })
  assert.ok(fixture.coordinator.nextDeadlineMs >= fixture.nowMs)
  fixture.advance(500)
  assert.ok(fixture.coordinator.nextDeadlineMs > fixture.nowMs, 'a deadline of now, again and again')
})

test('an operator removes whoever holds an instance', () => {
  const fixture = new ClassicFixture()
  fixture.stable([{ instanceId: 'a' }, { instanceId: 'b' }])
  assert.deepEqual(fixture.leaveClassic({ instanceId: 'a' }, { instanceId: 'c' }, {}), [
    'NONE',
    'UNKNOWN_MEMBER_ID',
    'UNKNOWN_MEMBER_ID',
  ])
  assert.deepEqual([fixture.members.length, fixture.group.state], [1, 'PreparingRebalance'])
})
