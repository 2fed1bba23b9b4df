/** SyncGroup: assignments come from the leader, reach everyone, and are stored first. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ClassicFixture, protocolsOf } from '../../support/classic-fixture.ts'

test('followers wait for the leader; members that it does not name get no bytes', () => {
  const fixture = new ClassicFixture()
  const [leader, second, third] = fixture.generation({}, {}, {})
  const waiting = fixture.sendSync(second!)
  assert.equal(fixture.outcome(waiting), 'waits')
  const before = fixture.log.length
  const assignment = new Uint8Array([7])
  const led = fixture.sendSync({
    ...leader!,
    assignments: [
      { memberId: second!.memberId, assignment },
      { memberId: 'nobody', assignment },
    ],
  })
  assert.equal(fixture.group.state, 'Stable')
  // Three members, type and leader, and the group.
  assert.equal(fixture.log.length - before, 5)
  assert.deepEqual(fixture.synced(waiting), {
    ...{ kind: 'synced', protocolType: 'consumer', protocolName: 'range', assignment },
  })
  assert.equal(fixture.synced(led).assignment.length, 0)
  assert.equal(fixture.synced(fixture.sendSync(third!)).assignment.length, 0)
  assert.deepEqual(fixture.synced(fixture.sendSync(second!)).assignment, assignment)
})

test('who may not sync is told why', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.generation({}, { instanceId: 'i' })
  const outcome = (more: object, member = leader!): string => fixture.outcome(fixture.sendSync({ ...member, ...more }))
  assert.equal(outcome({ groupId: '' }), 'INVALID_GROUP_ID')
  assert.equal(outcome({ groupId: 'other' }), 'UNKNOWN_MEMBER_ID')
  assert.equal(outcome({ memberId: 'stranger' }), 'UNKNOWN_MEMBER_ID')
  assert.equal(outcome({ instanceId: 'i' }), 'FENCED_INSTANCE_ID')
  assert.equal(outcome({ instanceId: 'j' }), 'UNKNOWN_MEMBER_ID')
  assert.equal(outcome({ generationId: 0 }), 'ILLEGAL_GENERATION')
  assert.equal(outcome({ generationId: 2 }), 'ILLEGAL_GENERATION')
  assert.equal(outcome({ protocolType: 'connect' }), 'INCONSISTENT_GROUP_PROTOCOL')
  assert.equal(outcome({ protocolType: 'consumer', protocolName: 'sticky' }), 'INCONSISTENT_GROUP_PROTOCOL')
  assert.equal(outcome({ protocolType: 'consumer', protocolName: 'range' }, follower!), 'waits')
  fixture.sendJoin()
  assert.equal(outcome({}), 'REBALANCE_IN_PROGRESS')
})

test('a rebalance answers syncs that wait, and nobody has the assignment of before', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.stable()
  const tokens = [fixture.sendJoin({ memberId: leader!.memberId }), fixture.sendJoin({ memberId: follower!.memberId })]
  const next = { ...follower!, generationId: fixture.joined(tokens[1]!).generationId }
  const waiting = fixture.sendSync(next)
  assert.equal(fixture.outcome(waiting), 'waits')
  fixture.sendJoin()
  assert.equal(fixture.outcome(waiting), 'REBALANCE_IN_PROGRESS')
  for (const member of fixture.group.members.values()) assert.equal(member.assignment.length, 0)
})

test('members that do not ask for their assignment in time are removed', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.generation({ sessionTimeoutMs: 60_000 }, { sessionTimeoutMs: 60_000 })
  const waiting = fixture.sendSync(follower!)
  fixture.advance(29_999)
  assert.equal(fixture.outcome(waiting), 'waits')
  assert.deepEqual(fixture.advance(1), [`${leader!.memberId} sync`])
  assert.equal(fixture.outcome(waiting), 'REBALANCE_IN_PROGRESS')
  assert.deepEqual(fixture.members, [follower!.memberId])

  // In Stable it is the same for those whose sync never came.
  const late = new ClassicFixture()
  const members = late.generation({ sessionTimeoutMs: 60_000 }, { sessionTimeoutMs: 60_000 })
  late.sendSync({ ...members[0]!, assignments: [] })
  assert.equal(late.group.state, 'Stable')
  assert.deepEqual(late.advance(30_000), [`${members[1]!.memberId} sync`])
  assert.equal(late.group.state, 'PreparingRebalance')
})

test('the wait for syncs ends with the last of them', () => {
  const fixture = new ClassicFixture()
  const members = fixture.stable([{ sessionTimeoutMs: 60_000 }, { sessionTimeoutMs: 60_000 }])
  assert.deepEqual(fixture.advance(40_000), [])
  assert.deepEqual(fixture.members.length, members.length)
})

test('assignments that do not fit the log fail for all, and the group begins again', () => {
  const fixture = new ClassicFixture({ batchBytesMax: 8_000 })
  const [leader, follower] = fixture.generation({}, { protocols: protocolsOf('range') })
  const waiting = fixture.sendSync(follower!)
  const before = fixture.log.length
  const assignment = new Uint8Array(4_000)
  const assignments = [leader!, follower!].map(({ memberId }) => ({ memberId, assignment }))
  const led = fixture.sendSync({ ...leader!, assignments })
  assert.deepEqual([fixture.outcome(led), fixture.outcome(waiting)], ['UNKNOWN_SERVER_ERROR', 'UNKNOWN_SERVER_ERROR'])
  assert.deepEqual([fixture.group.state, fixture.log.length], ['PreparingRebalance', before])
  assert.match(fixture.notices.join(), /do not fit a batch of 8000 bytes/)
})

test('members that did not change are not written again', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.stable()
  const tokens = [leader!, follower!].map(({ memberId }) => fixture.sendJoin({ memberId }))
  const generationId = fixture.joined(tokens[0]!).generationId
  const before = fixture.log.length
  const assignments = [leader!, follower!].map(({ memberId }, index) => ({
    ...{ memberId, assignment: new Uint8Array([index]) },
  }))
  fixture.sendSync({ ...leader!, generationId, assignments })
  assert.equal(fixture.log.length - before, 1)
})
