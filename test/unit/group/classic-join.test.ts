/** JoinGroup: who gets in, how long the join phase takes, and what the generation is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isRefusal, type JoinGroupRequest } from '../../../src/group/index.ts'
import {
  CLASSIC_PENDING_MEMBERS_MAX,
  COORDINATOR_MEMBERS_MAX,
  COORDINATOR_PARKED_MAX,
} from '../../../src/model/limits.ts'
import { ClassicFixture, protocolsOf } from '../../support/classic-fixture.ts'

test('a member that must know its id is given one, and waits under it', () => {
  const fixture = new ClassicFixture()
  const first = fixture.joined(fixture.sendJoin({ requiresKnownMemberId: true }))
  assert.deepEqual(
    [first.error, first.memberId, first.generationId, first.leaderId],
    ['MEMBER_ID_REQUIRED', 'c-made-1', -1, ''],
  )
  assert.deepEqual([fixture.group.state, fixture.members], ['Empty', []])
  const token = fixture.sendJoin({ memberId: first.memberId, requiresKnownMemberId: true })
  assert.deepEqual([fixture.outcome(token), fixture.group.state], ['waits', 'PreparingRebalance'])
  fixture.advance(3_000)
  const { memberId, leaderId, generationId, protocolName, members } = fixture.joined(token)
  assert.deepEqual(
    [memberId, leaderId, generationId, protocolName, members.length],
    ['c-made-1', 'c-made-1', 1, 'range', 1],
  )
})

test('an id that was given is forgotten after the session timeout, and holds up a rebalance until then', () => {
  const fixture = new ClassicFixture()
  const [member] = fixture.stable([{}])
  const given = fixture.joined(fixture.sendJoin({ requiresKnownMemberId: true, sessionTimeoutMs: 8_000 })).memberId
  const again = fixture.sendJoin({ memberId: member!.memberId })
  fixture.advance(7_999)
  assert.equal(fixture.outcome(again), 'waits')
  fixture.advance(1)
  assert.equal(fixture.joined(again).generationId, 2)
  assert.equal(fixture.outcome(fixture.sendJoin({ memberId: given })), 'UNKNOWN_MEMBER_ID')
})

test('a group that begins waits for more members, longer when one came, at most their rebalance timeout', () => {
  const fixture = new ClassicFixture()
  const alone = fixture.sendJoin()
  fixture.advance(2_999)
  assert.equal(fixture.outcome(alone), 'waits')
  const more = fixture.sendJoin()
  fixture.advance(3_000)
  assert.deepEqual([fixture.outcome(alone), fixture.outcome(more)], ['waits', 'waits'])
  fixture.advance(1)
  assert.deepEqual([fixture.joined(alone).generationId, fixture.joined(more).generationId], [1, 1])

  const busy = new ClassicFixture()
  const first = busy.sendJoin({ rebalanceTimeoutMs: 8_000 })
  for (let second = 0; second < 7; second++) {
    busy.advance(1_000)
    busy.sendJoin({ rebalanceTimeoutMs: 8_000 })
  }
  assert.equal(busy.outcome(first), 'waits')
  busy.advance(1_000)
  assert.equal(busy.joined(first).members.length, 8)
})

test('without a delay the first generation begins at once, an empty group that begins again too', () => {
  const fixture = new ClassicFixture({ config: { initialRebalanceDelayMs: 0 } })
  const token = fixture.sendJoin()
  fixture.advance(0)
  const { generationId, memberId } = fixture.joined(token)
  assert.equal(generationId, 1)
  assert.deepEqual(fixture.leaveClassic({ memberId }), ['NONE'])
  assert.deepEqual([fixture.group.state, fixture.group.generationId], ['Empty', 2])
  const next = fixture.sendJoin()
  fixture.advance(0)
  assert.equal(fixture.joined(next).generationId, 3)
})

test('who may not join is told why', () => {
  const fixture = new ClassicFixture({ config: { membersMax: 2 } })
  const refused = (request: Partial<JoinGroupRequest>): string => fixture.outcome(fixture.sendJoin(request))
  assert.equal(refused({ groupId: '' }), 'INVALID_GROUP_ID')
  assert.equal(refused({ sessionTimeoutMs: 5_999 }), 'INVALID_SESSION_TIMEOUT')
  assert.equal(refused({ sessionTimeoutMs: 1_800_001 }), 'INVALID_SESSION_TIMEOUT')
  assert.equal(refused({ memberId: 'stranger' }), 'UNKNOWN_MEMBER_ID')
  assert.equal(refused({ protocols: [] }), 'INCONSISTENT_GROUP_PROTOCOL')
  assert.equal(refused({ protocolType: '' }), 'INCONSISTENT_GROUP_PROTOCOL')
  assert.equal(refused({ clientId: 'x'.repeat(256) }), 'INVALID_REQUEST')
  assert.deepEqual([fixture.log.length, fixture.coordinator.state.groups.size], [0, 0])
  fixture.stable([{ sessionTimeoutMs: 6_000 }, { sessionTimeoutMs: 1_800_000 }])
  assert.equal(refused({}), 'GROUP_MAX_SIZE_REACHED')
  assert.equal(refused({ protocolType: 'connect' }), 'INCONSISTENT_GROUP_PROTOCOL')
  assert.equal(refused({ protocols: protocolsOf('sticky') }), 'INCONSISTENT_GROUP_PROTOCOL')
  assert.equal(refused({ memberId: 'stranger' }), 'GROUP_MAX_SIZE_REACHED')
})

test('while a full group rebalances its members join again, and nobody else', () => {
  const fixture = new ClassicFixture({ config: { membersMax: 2 } })
  const [leader, follower] = fixture.stable()
  const tokens = [fixture.sendJoin(leader), fixture.sendJoin(follower)]
  assert.deepEqual(
    tokens.map((token) => fixture.outcome(token)),
    ['NONE', 'NONE'],
  )
  assert.equal(fixture.outcome(fixture.sendJoin()), 'GROUP_MAX_SIZE_REACHED')
})

test('every member votes for the first of its protocols that all can do', () => {
  const fixture = new ClassicFixture()
  const members = fixture.generation(
    { protocols: protocolsOf('only-mine', 'range', 'sticky') },
    { protocols: protocolsOf('sticky', 'range') },
    { protocols: protocolsOf('sticky', 'range', 'round-robin') },
  )
  assert.deepEqual([members.length, fixture.group.protocolName], [3, 'sticky'])
})

test('the leader alone is told of the members, with what they say for the chosen protocol', () => {
  const fixture = new ClassicFixture()
  const said = (name: string, byte: number) => ({ name, metadata: new Uint8Array([byte]) })
  const [one, two] = [
    fixture.sendJoin({ protocols: [said('a', 1), said('b', 2)] }),
    fixture.sendJoin({ protocols: [said('b', 3)], clientId: 'd' }),
  ]
  fixture.advance(6_000)
  const reply = fixture.joined(one)
  assert.deepEqual(
    reply.members.map(({ memberId, metadata }) => [memberId, metadata[0]]),
    [
      ['c-made-1', 2],
      ['d-made-2', 3],
    ],
  )
  assert.deepEqual([fixture.joined(two).members, fixture.joined(two).leaderId], [[], 'c-made-1'])
})

test('a leader that does not join again is followed by one that has, and is not in the generation', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.stable()
  const token = fixture.sendJoin({ memberId: follower!.memberId, protocols: protocolsOf('range', 'sticky') })
  fixture.advance(9_000)
  assert.equal(fixture.beatClassic(leader!), 'REBALANCE_IN_PROGRESS')
  assert.equal(fixture.outcome(token), 'waits')
  for (let second = 0; second < 21; second++) {
    fixture.advance(1_000)
    if (fixture.outcome(token) === 'waits') fixture.beatClassic(leader!)
  }
  const { leaderId, members, generationId } = fixture.joined(token)
  assert.deepEqual([leaderId, members.length, generationId], [follower!.memberId, 1, 2])
  assert.equal(fixture.beatClassic({ ...leader!, generationId: 2 }), 'UNKNOWN_MEMBER_ID')
})

test('Stable: a follower that says the same is told the generation, one that says another or the leader begins a rebalance', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.stable()
  const same = fixture.joined(fixture.sendJoin({ memberId: follower!.memberId }))
  assert.deepEqual([same.generationId, same.leaderId, same.members], [1, leader!.memberId, []])
  assert.equal(fixture.group.state, 'Stable')
  const changed = fixture.sendJoin({ memberId: follower!.memberId, protocols: protocolsOf('range', 'sticky') })
  assert.deepEqual([fixture.outcome(changed), fixture.group.state], ['waits', 'PreparingRebalance'])
  const other = fixture.sendJoin({ memberId: leader!.memberId })
  assert.deepEqual([fixture.joined(changed).generationId, fixture.joined(other).generationId], [2, 2])

  const led = new ClassicFixture()
  const [first] = led.stable()
  assert.equal(led.outcome(led.sendJoin({ memberId: first!.memberId })), 'waits')
})

test('CompletingRebalance: a join whose reply was lost is answered anew, a changed one begins again', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.generation({}, {})
  assert.equal(fixture.joined(fixture.sendJoin({ memberId: leader!.memberId })).members.length, 2)
  const followed = fixture.joined(fixture.sendJoin({ memberId: follower!.memberId }))
  assert.deepEqual([followed.members, followed.generationId, fixture.group.state], [[], 1, 'CompletingRebalance'])
  const waiting = fixture.sendSync(follower!)
  fixture.sendJoin({ memberId: leader!.memberId, protocols: protocolsOf('sticky', 'range') })
  assert.deepEqual([fixture.outcome(waiting), fixture.group.state], ['REBALANCE_IN_PROGRESS', 'PreparingRebalance'])
})

test('a second join of a member takes the place of the first', () => {
  const fixture = new ClassicFixture()
  const [leader, follower] = fixture.stable()
  const first = fixture.sendJoin({ memberId: leader!.memberId })
  const second = fixture.sendJoin({ memberId: leader!.memberId })
  assert.deepEqual([fixture.outcome(first), fixture.outcome(second)], ['REBALANCE_IN_PROGRESS', 'waits'])
  fixture.sendJoin({ memberId: follower!.memberId })
  assert.equal(fixture.joined(second).generationId, 2)
})

test("a new member's join waits no longer than five minutes", () => {
  const fixture = new ClassicFixture({ config: { newMemberJoinTimeoutMs: 20_000 } })
  const [leader] = fixture.stable([{}])
  const token = fixture.sendJoin()
  const beats = setBeats(fixture, () => fixture.beatClassic(leader!), 19_999)
  assert.deepEqual([fixture.outcome(token), beats], ['waits', 'REBALANCE_IN_PROGRESS'])
  assert.deepEqual(fixture.advance(1), ['c-made-2 join'])
  assert.equal(fixture.outcome(token), 'UNKNOWN_MEMBER_ID')
})

function setBeats(fixture: ClassicFixture, beat: () => string, forMs: number): string {
  let last = ''
  for (let leftMs = forMs; leftMs > 0; leftMs -= 1_000) {
    fixture.advance(Math.min(leftMs, 1_000))
    last = beat()
  }
  return last
}

test('ids are named after client or instance, and are no longer than a name may be', () => {
  const fixture = new ClassicFixture()
  const ids = fixture.generation({ clientId: 'ö'.repeat(127) }, { instanceId: 'i'.repeat(255) }, { clientId: 'ü' })
  for (const { memberId } of ids) {
    assert.ok(Buffer.byteLength(memberId) <= 255, `${Buffer.byteLength(memberId)} bytes`)
    assert.match(memberId, /^[öiü]+-made-\d$/)
  }
})

test('what all members say of themselves is bounded', () => {
  const fixture = new ClassicFixture({ batchBytesMax: 4_000 })
  const protocols = [{ name: 'range', metadata: new Uint8Array(900) }]
  fixture.sendJoin({ protocols })
  fixture.sendJoin({ protocols })
  const { reply } = fixture.coordinator.joinGroup({ ...joinOf(protocols), groupId: 'g' }, 999, fixture.nowMs)
  assert.ok(reply !== undefined && isRefusal(reply) && reply.error === 'GROUP_MAX_SIZE_REACHED')
})

test('so many requests may wait, and no more; one that takes the place of another may', () => {
  const fixture = new ClassicFixture()
  const join = (token: number, more: Partial<JoinGroupRequest>) =>
    fixture.coordinator.joinGroup({ ...joinOf(protocolsOf('range')), ...more }, token, fixture.nowMs).reply
  for (let token = 1; token <= COORDINATOR_PARKED_MAX; token++)
    assert.equal(join(token, { groupId: `g${token % 20}`, instanceId: `i${token}` }), undefined)
  const full = join(100_000, { groupId: 'h' })
  assert.ok(full !== undefined && isRefusal(full) && full.error === 'COORDINATOR_NOT_AVAILABLE')
  assert.equal(fixture.coordinator.state.groups.has('h'), false)
  const [memberId] = fixture.coordinator.state.groups.get('g1')!.classic!.members.keys()
  assert.equal(join(100_001, { groupId: 'g1', memberId: memberId!, instanceId: 'i1' }), undefined)
  assert.equal(fixture.coordinator.parkedTokens().length, COORDINATOR_PARKED_MAX)
})

test('where the coordinator is full an id that was given is joined with, and no other is given', () => {
  const fixture = new ClassicFixture()
  const join = (index: number, memberId = '') => {
    const groupId = `g${Math.floor(index / CLASSIC_PENDING_MEMBERS_MAX)}`
    const request = { ...joinOf(protocolsOf('range')), groupId, memberId, requiresKnownMemberId: true }
    return fixture.coordinator.joinGroup(request, index + 1, fixture.nowMs).reply
  }
  const given = join(0)
  assert.ok(given?.kind === 'joined' && given.error === 'MEMBER_ID_REQUIRED')
  for (let index = 1; index < COORDINATOR_MEMBERS_MAX; index++) assert.equal(join(index)?.kind, 'joined')
  const full = join(COORDINATOR_MEMBERS_MAX)
  assert.ok(full !== undefined && isRefusal(full) && full.error === 'GROUP_MAX_SIZE_REACHED')
  assert.equal(join(0, given.memberId), undefined, 'it waits')
})

function joinOf(protocols: JoinGroupRequest['protocols']): JoinGroupRequest {
  return {
    ...{
      groupId: 'g',
      memberId: '',
      instanceId: null,
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 30_000,
      protocols,
    },
    ...{
      protocolType: 'consumer',
      requiresKnownMemberId: false,
      canSkipAssignment: false,
      clientId: '',
      clientHost: '',
    },
  }
}

test('an instance id that is empty is none: two that come with it are not one instance', () => {
  const fixture = new ClassicFixture()
  assert.equal(fixture.outcome(fixture.sendJoin({ instanceId: '' })), 'INVALID_REQUEST')
  assert.equal(fixture.coordinator.state.groups.size, 0)
  const [leader] = fixture.stable([{}])
  assert.equal(fixture.outcome(fixture.sendJoin({ ...leader!, instanceId: '' })), 'INVALID_REQUEST')
  assert.equal(fixture.beatClassic({ ...leader!, instanceId: '' }), 'UNKNOWN_MEMBER_ID')
  assert.equal(
    fixture.commitError({ ...leader!, memberEpoch: leader!.generationId, instanceId: '' }),
    'UNKNOWN_MEMBER_ID',
  )
  assert.deepEqual(fixture.leaveClassic({ instanceId: '' }), ['UNKNOWN_MEMBER_ID'])
  assert.deepEqual(fixture.members, [leader!.memberId])
})
