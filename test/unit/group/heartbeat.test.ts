/** Heartbeats of consumer groups, rule by rule (KIP-848): join, reconcile, confirm, leave, epochs, static members. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isRefusal, type TopicPartitions } from '../../../src/group/index.ts'
import { encodeDecisions } from '../../../src/worker/decision-batches.ts'
import { GroupFixture, show } from '../../support/group-fixture.ts'

function owned(...lists: [string, number[]][]): TopicPartitions[] {
  return lists.map(([topic, partitions]) => ({ topicId: '', topic, partitions }))
}

function stateOf(fixture: GroupFixture): string {
  return fixture.coordinator.describeGroups(['g'])[0]!.state
}

function epochOf(fixture: GroupFixture): number {
  return fixture.coordinator.describeGroups(['g'])[0]!.groupEpoch
}

test('the first member gets all, at the epoch of the target; an unchanged heartbeat makes nothing', () => {
  const fixture = new GroupFixture()
  const reply = fixture.join('a')
  assert.deepEqual([reply.memberEpoch, show(reply.assignment)], [1, 'orders 0 1 2 3 4 5'])
  assert.equal(stateOf(fixture), 'Stable')
  const confirmed = fixture.beat({
    memberId: 'a',
    memberEpoch: 1,
    ownedPartitions: owned(['orders', [0, 1, 2, 3, 4, 5]]),
  })
  assert.equal(confirmed.assignment, null)
  const records = fixture.log.length
  const first = fixture.beat({ memberId: 'a', memberEpoch: 1 })
  assert.deepEqual(first, {
    kind: 'heartbeat',
    memberId: 'a',
    memberEpoch: 1,
    heartbeatIntervalMs: 3000,
    assignment: null,
  })
  assert.equal(fixture.beat({ memberId: 'a', memberEpoch: 1 }), first, 'the answer is kept, not made again')
  assert.equal(fixture.log.length, records)
})

test('a partition is given only when its owner confirmed that it stopped', () => {
  const fixture = new GroupFixture()
  fixture.join('a')
  fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: owned(['orders', [0, 1, 2, 3, 4, 5]]) })
  const joined = fixture.join('b')
  assert.deepEqual([joined.memberEpoch, show(joined.assignment)], [2, ''], 'nothing is free yet')
  assert.equal(stateOf(fixture), 'Reconciling')
  const told = fixture.beat({ memberId: 'a', memberEpoch: 1 })
  assert.deepEqual([told.memberEpoch, show(told.assignment)], [1, 'orders 0 1 2'])
  assert.equal(told.heartbeatIntervalMs, 250)
  // Saying nothing, or still reading, confirms nothing.
  assert.equal(show(fixture.beat({ memberId: 'a', memberEpoch: 1 }).assignment), 'orders 0 1 2')
  fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: owned(['orders', [0, 1, 2, 3, 4, 5]]) })
  assert.equal(show(fixture.beat({ memberId: 'b', memberEpoch: 2, ownedPartitions: [] }).assignment), 'unchanged')
  // One of three is confirmed: it need not wait for the others.
  fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: owned(['orders', [0, 1, 2, 3, 4]]) })
  assert.equal(show(fixture.beat({ memberId: 'b', memberEpoch: 2 }).assignment), 'orders 5')
  const done = fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: owned(['orders', [0, 1, 2]]) })
  assert.deepEqual([done.memberEpoch, done.assignment], [2, null])
  const got = fixture.beat({ memberId: 'b', memberEpoch: 2, ownedPartitions: owned(['orders', [5]]) })
  assert.equal(show(got.assignment), 'orders 3 4 5')
  assert.equal(stateOf(fixture), 'Stable')
})

test('a reply that was lost is repeated until ownedPartitions equals it', () => {
  const fixture = new GroupFixture()
  fixture.join('a')
  for (let lost = 0; lost < 3; lost++)
    assert.equal(show(fixture.beat({ memberId: 'a', memberEpoch: 1 }).assignment), 'orders 0 1 2 3 4 5')
  fixture.join('b')
  fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: owned(['orders', [0, 1, 2]]) })
  // Lost: a does not know that it is at epoch 2.
  const again = fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: owned(['orders', [0, 1, 2]]) })
  assert.deepEqual([again.memberEpoch, again.assignment], [2, null])
  const refusal = fixture.refusal({ memberId: 'a', memberEpoch: 1 })
  assert.equal(refusal.error, 'FENCED_MEMBER_EPOCH', 'the epoch before, without saying what it owns')
  const stranger = fixture.refusal({ memberId: 'a', memberEpoch: 1, ownedPartitions: owned(['orders', [0, 5]]) })
  assert.equal(stranger.error, 'FENCED_MEMBER_EPOCH', 'the epoch before, owning what is not its own')
  assert.equal(fixture.refusal({ memberId: 'a', memberEpoch: 3 }).error, 'FENCED_MEMBER_EPOCH')
})

test('two epochs ago is fenced, whatever it owns', () => {
  const fixture = new GroupFixture()
  fixture.join('a')
  fixture.growTopic('orders', 7)
  fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: [] })
  fixture.growTopic('orders', 8)
  fixture.beat({ memberId: 'a', memberEpoch: 2, ownedPartitions: [] })
  const { error, text } = fixture.refusal({ memberId: 'a', memberEpoch: 1, ownedPartitions: [] })
  assert.equal(error, 'FENCED_MEMBER_EPOCH')
  assert.match(text, /epoch 1 of member a, which is at 3: give up all, join with epoch 0/)
})

test('members nobody knows are told so', () => {
  const fixture = new GroupFixture()
  assert.equal(fixture.refusal({ memberId: 'a', memberEpoch: 1 }).error, 'UNKNOWN_MEMBER_ID')
  fixture.join('a')
  assert.equal(fixture.refusal({ memberId: 'b', memberEpoch: 1 }).error, 'UNKNOWN_MEMBER_ID')
  assert.equal(fixture.refusal({ memberId: 'b', memberEpoch: -1 }).error, 'UNKNOWN_MEMBER_ID')
  assert.equal(fixture.refusal({ memberId: 'a', memberEpoch: 1, instanceId: 'x' }).error, 'UNKNOWN_MEMBER_ID')
})

test('a member that leaves frees all at once; the last one leaves the group empty', () => {
  const fixture = new GroupFixture()
  fixture.join('a')
  fixture.join('b')
  const left = fixture.beat({ memberId: 'a', memberEpoch: -1 })
  assert.deepEqual([left.memberEpoch, left.assignment], [-1, null])
  assert.equal(show(fixture.beat({ memberId: 'b', memberEpoch: 2 }).assignment), 'orders 0 1 2 3 4 5')
  fixture.beat({ memberId: 'b', memberEpoch: -1 })
  assert.equal(stateOf(fixture), 'Empty')
  assert.equal(fixture.coordinator.state.memberCount, 0)
  assert.equal(fixture.join('c').memberEpoch, 5, 'epochs go on')
})

test('a silent member is fenced when its session ends, several at once with one epoch', () => {
  const fixture = new GroupFixture()
  for (const memberId of ['a', 'b', 'c']) fixture.join(memberId, { sessionTimeoutMs: 10_000 })
  assert.deepEqual(fixture.advance(9_999), [])
  fixture.beat({ memberId: 'c', memberEpoch: 3 })
  assert.deepEqual(fixture.advance(1), ['a session', 'b session'])
  assert.equal(epochOf(fixture), 4)
  assert.equal(show(fixture.beat({ memberId: 'c', memberEpoch: 3 }).assignment), 'orders 0 1 2 3 4 5')
  assert.equal(fixture.refusal({ memberId: 'a', memberEpoch: 3 }).error, 'UNKNOWN_MEMBER_ID')
})

test('five members, three partitions: three work, two idle; an idle one takes over', () => {
  const fixture = new GroupFixture({ topics: { orders: 3 } })
  const members = ['a', 'b', 'c', 'd', 'e']
  for (const memberId of members) fixture.join(memberId)
  const described = () => fixture.coordinator.describeGroups(['g'])[0]!.members
  const hasOne = (memberId: string) =>
    described().find((member) => member.memberId === memberId)!.assignment.length === 1
  // Everybody sends heartbeats until nothing moves; assignments are confirmed as they come.
  const round = (ids: readonly string[]) => {
    for (const { memberId, memberEpoch, assignment } of described())
      if (ids.includes(memberId)) fixture.beat({ memberId, memberEpoch, ownedPartitions: assignment })
  }
  for (let turn = 0; turn < 4; turn++) round(members)
  assert.equal(stateOf(fixture), 'Stable')
  const working = members.filter(hasOne)
  assert.equal(working.length, 3)
  const rest = members.filter((memberId) => memberId !== working[0])
  fixture.advance(44_000)
  round(rest)
  assert.deepEqual(fixture.advance(1_000), [`${working[0]} session`])
  for (let turn = 0; turn < 2; turn++) round(rest)
  const partitions = described().flatMap((member) => member.assignment.flatMap((topic) => topic.partitions))
  assert.deepEqual(partitions.sort(), [0, 1, 2])
  assert.ok(working.slice(1).every(hasOne), 'those that work go on')
})

test('only what moves pauses: 12 partitions, 3 members, a fourth takes exactly 3', () => {
  const fixture = new GroupFixture({ topics: { orders: 12 } })
  const described = () => fixture.coordinator.describeGroups(['g'])[0]!.members
  const round = () => {
    for (const { memberId, memberEpoch, assignment } of described())
      fixture.beat({ memberId, memberEpoch, ownedPartitions: assignment })
  }
  for (const memberId of ['a', 'b', 'c']) fixture.join(memberId)
  for (let turn = 0; turn < 3; turn++) round()
  const before = new Map(described().map((member) => [member.memberId, member.assignment[0]!.partitions]))
  fixture.join('d')
  const kept = described().flatMap((member) => member.assignment[0]?.partitions ?? [])
  assert.equal(kept.length, 9, 'nine are read on all the while')
  for (let turn = 0; turn < 3; turn++) round()
  assert.equal(stateOf(fixture), 'Stable')
  for (const { memberId, assignment } of described()) {
    const { partitions } = assignment[0]!
    assert.equal(partitions.length, 3)
    if (memberId !== 'd') assert.ok(partitions.every((partition) => before.get(memberId)!.includes(partition)))
  }
})

test('extending a session keeps a blocked member, and confirms nothing: its rebalance time runs out', () => {
  const fixture = new GroupFixture()
  fixture.join('a', { sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 30_000 })
  fixture.advance(5_000)
  fixture.join('b')
  for (let second = 0; second < 29; second++) {
    assert.deepEqual(fixture.coordinator.extendSessions('g', ['a', 'b', 'x'], fixture.nowMs).unknownMemberIds, ['x'])
    assert.deepEqual(fixture.advance(1_000), [])
    assert.equal(
      show(fixture.beat({ memberId: 'b', memberEpoch: 2 }).assignment),
      second === 0 ? 'unchanged' : 'unchanged',
    )
  }
  fixture.coordinator.extendSessions('g', ['a', 'b'], fixture.nowMs)
  assert.deepEqual(fixture.advance(1_000), ['a rebalance'])
  assert.deepEqual(fixture.coordinator.extendSessions('g', ['a'], fixture.nowMs).unknownMemberIds, ['a'])
  assert.deepEqual(fixture.coordinator.extendSessions('no such group', ['a'], fixture.nowMs).unknownMemberIds, ['a'])
  assert.equal(show(fixture.beat({ memberId: 'b', memberEpoch: 2 }).assignment), 'orders 0 1 2 3 4 5')
})

test('the rebalance time ends with the revocation, and begins anew with another', () => {
  const fixture = new GroupFixture()
  fixture.join('a', { rebalanceTimeoutMs: 10_000 })
  fixture.join('b')
  fixture.advance(9_000)
  fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: owned(['orders', [0, 1, 2]]) })
  fixture.advance(9_000)
  fixture.join('c')
  assert.deepEqual(fixture.advance(9_999), [])
  assert.deepEqual(fixture.advance(1), ['a rebalance'])
})

test('what is taken away later does not prolong the rebalance time of what came first', () => {
  const fixture = new GroupFixture()
  fixture.join('a', { rebalanceTimeoutMs: 10_000 })
  fixture.join('b')
  fixture.advance(6_000)
  fixture.join('c')
  // Some of the first is given up: the rest is still waited for.
  fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: owned(['orders', [0, 1, 2, 3]]) })
  assert.deepEqual(fixture.advance(3_999), [])
  assert.deepEqual(fixture.advance(1), ['a rebalance'])
})

test('what was taken away later has its full rebalance time, from when it was taken: giving up the first neither cuts nor lengthens it', () => {
  const fixture = new GroupFixture()
  fixture.join('a', { rebalanceTimeoutMs: 10_000 })
  fixture.join('b')
  fixture.advance(6_000)
  fixture.join('c')
  fixture.advance(3_000)
  fixture.beat({ memberId: 'a', memberEpoch: 1, ownedPartitions: owned(['orders', [0, 1, 2]]) })
  assert.equal(fixture.coordinator.describeGroups(['g'])[0]!.members[0]!.memberEpoch, 1, 'one more is to be given up')
  assert.deepEqual(fixture.advance(6_999), [])
  assert.deepEqual(fixture.advance(1), ['a rebalance'])
})

test('a changed subscription is a new epoch; the same one again is not', () => {
  const fixture = new GroupFixture({ topics: { clicks: 2, orders: 2 } })
  fixture.join('a')
  fixture.beat({ memberId: 'a', memberEpoch: 1, subscribedTopics: ['orders', 'orders'] })
  assert.equal(epochOf(fixture), 1)
  const reply = fixture.beat({ memberId: 'a', memberEpoch: 1, subscribedTopics: ['clicks', 'orders'] })
  assert.deepEqual([reply.memberEpoch, show(reply.assignment)], [2, 'orders 0 1, clicks 0 1'])
  const less = fixture.beat({ memberId: 'a', memberEpoch: 2, subscribedTopics: ['clicks'] })
  assert.deepEqual([less.memberEpoch, show(less.assignment)], [2, 'clicks 0 1'], 'orders is to be given up first')
  assert.equal(
    fixture.beat({ memberId: 'a', memberEpoch: 2, ownedPartitions: owned(['clicks', [0, 1]]) }).memberEpoch,
    3,
  )
})

test('patterns follow topics that come, grow and go', () => {
  const fixture = new GroupFixture({ topics: { 'orders-eu': 1, other: 3, __internal: 1 } })
  const joined = fixture.join('a', { subscribedTopics: null, subscribedPattern: '(orders|__i).*' })
  assert.equal(show(joined.assignment), 'orders-eu 0')
  fixture.createTopic('orders-us', 2)
  fixture.createTopic('unrelated', 9)
  const more = fixture.beat({ memberId: 'a', memberEpoch: 1 })
  assert.deepEqual([more.memberEpoch, show(more.assignment)], [2, 'orders-eu 0, orders-us 0 1'])
  fixture.growTopic('orders-us', 3)
  fixture.advance(0)
  assert.equal(show(fixture.beat({ memberId: 'a', memberEpoch: 2 }).assignment), 'orders-eu 0, orders-us 0 1 2')
  fixture.deleteTopic('orders-eu')
  fixture.advance(0)
  assert.equal(show(fixture.beat({ memberId: 'a', memberEpoch: 3 }).assignment), 'orders-us 0 1 2')
  fixture.beat({
    memberId: 'a',
    memberEpoch: 3,
    subscribedPattern: '',
    subscribedTopics: ['other'],
    ownedPartitions: [],
  })
  assert.equal(fixture.coordinator.state.groups.get('g')!.patterns.size, 0)
})

test('topics that do not matter to a group leave its epoch alone, also over a restart', () => {
  const fixture = new GroupFixture()
  fixture.join('a')
  fixture.createTopic('unrelated', 9)
  fixture.restart()
  fixture.advance(0)
  assert.equal(epochOf(fixture), 1)
  fixture.directory.put({ topicId: fixture.id('orders'), name: 'orders', partitionCount: 7 })
  fixture.restart()
  fixture.advance(0)
  assert.equal(epochOf(fixture), 2, 'the topic grew while the coordinator was away')
})

test('static member: leaves for a while, comes back under another id, nothing moves', () => {
  const fixture = new GroupFixture()
  fixture.join('a1', { instanceId: 'a' })
  fixture.join('b')
  fixture.beat({ memberId: 'a1', memberEpoch: 1, ownedPartitions: owned(['orders', [0, 1, 2]]), instanceId: 'a' })
  fixture.beat({ memberId: 'b', memberEpoch: 2, ownedPartitions: [] })
  const epoch = epochOf(fixture)
  const early = fixture.refusal({ memberId: 'a2', memberEpoch: 0, instanceId: 'a', subscribedTopics: ['orders'] })
  assert.equal(early.error, 'UNRELEASED_INSTANCE_ID')
  const away = fixture.beat({ memberId: 'a1', memberEpoch: -2, instanceId: 'a' })
  assert.equal(away.memberEpoch, -2)
  assert.equal(fixture.commitError({ memberId: 'a1', memberEpoch: 2 }), 'STALE_MEMBER_EPOCH')
  const back = fixture.join('a2', { instanceId: 'a' })
  assert.deepEqual([back.memberEpoch, show(back.assignment)], [epoch, 'orders 0 1 2'])
  assert.equal(epochOf(fixture), epoch)
  assert.equal(fixture.refusal({ memberId: 'a1', memberEpoch: 2, instanceId: 'a' }).error, 'FENCED_INSTANCE_ID')
  assert.equal(fixture.commitError({ memberId: 'a1', memberEpoch: 2, instanceId: 'a' }), 'FENCED_INSTANCE_ID')
})

test('static member away: its session ends as any other; a new target frees what it lost at once', () => {
  const fixture = new GroupFixture()
  fixture.join('a', { instanceId: 'a', sessionTimeoutMs: 10_000 })
  fixture.beat({ memberId: 'a', memberEpoch: -2 })
  const joined = fixture.join('b')
  assert.equal(show(joined.assignment), 'orders 3 4 5', 'a reads nothing: there is nobody to wait for')
  assert.deepEqual(fixture.advance(10_000), ['a session'])
  assert.equal(show(fixture.beat({ memberId: 'b', memberEpoch: 2 }).assignment), 'orders 0 1 2 3 4 5')
  assert.equal(fixture.refusal({ memberId: 'b', memberEpoch: -2 }).error, 'INVALID_REQUEST')
})

test('static member that starts again under its own id after it was away', () => {
  const fixture = new GroupFixture()
  fixture.join('a', { instanceId: 'a' })
  fixture.beat({ memberId: 'a', memberEpoch: -2, instanceId: 'a' })
  const back = fixture.join('a', { instanceId: 'a' })
  assert.deepEqual([back.memberEpoch, show(back.assignment)], [1, 'orders 0 1 2 3 4 5'])
})

test('a known member that joins owns nothing: what it had to give up is free', () => {
  const fixture = new GroupFixture()
  fixture.join('a')
  fixture.join('b')
  const again = fixture.join('a')
  assert.deepEqual([again.memberEpoch, show(again.assignment)], [2, 'orders 0 1 2'])
  assert.equal(show(fixture.beat({ memberId: 'b', memberEpoch: 2 }).assignment), 'orders 3 4 5')
  assert.deepEqual(fixture.advance(44_000), [], 'no rebalance runs')
})

test('the broker makes an id for a member that has none', () => {
  const fixture = new GroupFixture()
  const { memberId } = fixture.join('')
  assert.match(memberId, /^made-\d+$/)
  assert.equal(fixture.beat({ memberId, memberEpoch: 1 }).memberId, memberId)
})

test('what a join may not say', () => {
  const fixture = new GroupFixture({ config: { membersMax: 1 } })
  const join = { memberId: 'a', memberEpoch: 0, subscribedTopics: ['orders'] }
  const cases: [Parameters<GroupFixture['refusal']>[0], string, RegExp][] = [
    [{ ...join, groupId: '' }, 'INVALID_GROUP_ID', /empty/],
    [{ ...join, groupId: 'é'.repeat(200) }, 'INVALID_GROUP_ID', /400 bytes, the most is 255/],
    [{ ...join, memberId: 'm'.repeat(256) }, 'INVALID_REQUEST', /memberId has 256 bytes/],
    [{ ...join, rackId: 'r'.repeat(256) }, 'INVALID_REQUEST', /rackId has 256 bytes/],
    [{ ...join, subscribedTopics: null }, 'INVALID_REQUEST', /subscribes to nothing/],
    [{ ...join, subscribedTopics: ['a/b'] }, 'INVALID_TOPIC_EXCEPTION', /'a\/b' is no topic name/],
    [{ ...join, ownedPartitions: owned(['orders', [0]]) }, 'INVALID_REQUEST', /owns nothing/],
    [{ ...join, sessionTimeoutMs: 10 }, 'INVALID_SESSION_TIMEOUT', /expected 1000 to 1800000, not 10/],
    [{ ...join, rebalanceTimeoutMs: 3_600_001 }, 'INVALID_REQUEST', /rebalanceTimeoutMs/],
    [{ ...join, serverAssignor: 'sticky' }, 'UNSUPPORTED_ASSIGNOR', /there are cooperative-sticky, range, round-robin/],
    [{ ...join, subscribedPattern: '(' }, 'INVALID_REGULAR_EXPRESSION', /'\(': /],
    [{ ...join, subscribedPattern: 'x'.repeat(1025) }, 'INVALID_REGULAR_EXPRESSION', /1025 bytes/],
    [{ ...join, subscribedPattern: '(a{30}){30}' }, 'INVALID_REGULAR_EXPRESSION', /instructions, the most is 512/],
    [{ ...join, subscribedPattern: '(a)\\1' }, 'INVALID_REGULAR_EXPRESSION', /invalid escape/],
  ]
  for (const [request, error, text] of cases) {
    const refusal = fixture.refusal(request)
    assert.equal(refusal.error, error, refusal.text)
    assert.match(refusal.text, text)
  }
  assert.equal(fixture.coordinator.state.groups.size, 0, 'a refusal leaves nothing behind')
  assert.equal(fixture.log.length, 0)
  fixture.join('a')
  assert.equal(fixture.refusal({ ...join, memberId: 'b' }).error, 'GROUP_MAX_SIZE_REACHED')
  assert.ok(!isRefusal(fixture.heartbeat(join)), 'its own place it has')
})

test('most votes choose the assignor; one that fails is replaced, with a notice', () => {
  const assignors = [
    { name: 'broken', assign: () => new Map([['nobody', new Map()]]) },
    {
      name: 'throwing',
      assign: () => {
        throw new Error('not today')
      },
    },
  ]
  const fixture = new GroupFixture({ assignors })
  const assignorOf = () => fixture.coordinator.describeGroups(['g'])[0]!.assignor
  fixture.join('a', { serverAssignor: 'range' })
  fixture.join('b', { serverAssignor: 'broken' })
  assert.equal(assignorOf(), 'broken', 'the first by name of as many votes')
  fixture.join('c', { serverAssignor: 'range' })
  assert.equal(assignorOf(), 'range')
  fixture.beat({ memberId: 'a', memberEpoch: 1, serverAssignor: 'throwing', ownedPartitions: [] })
  fixture.beat({ memberId: 'c', memberEpoch: 3, serverAssignor: 'throwing', ownedPartitions: [] })
  assert.equal(fixture.notices.length, 3)
  assert.match(
    fixture.notices[0]!,
    /group g: assignor 'broken' failed \(it names 'nobody'.*'cooperative-sticky' took over/,
  )
  assert.match(fixture.notices[2]!, /not today/)
})

test('after a restart sessions begin anew, and a revocation goes on', () => {
  const fixture = new GroupFixture()
  fixture.join('a', { sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 20_000 })
  fixture.join('b', { sessionTimeoutMs: 10_000 })
  fixture.advance(9_000)
  fixture.restart()
  assert.deepEqual(fixture.advance(9_999), [])
  fixture.beat({ memberId: 'b', memberEpoch: 2 })
  const told = fixture.beat({ memberId: 'a', memberEpoch: 1 })
  assert.equal(show(told.assignment), 'orders 0 1 2')
  fixture.coordinator.extendSessions('g', ['a', 'b'], fixture.nowMs)
  fixture.advance(9_999)
  fixture.coordinator.extendSessions('g', ['a', 'b'], fixture.nowMs)
  assert.deepEqual(fixture.advance(2), ['a rebalance'])
})

test('members with long ids: no more than whose removal at once fits a batch; with short ones there is room for more', () => {
  const batchBytesMax = 60_000
  const filled = (groupId: string, idBytes: number) => {
    const fixture = new GroupFixture({ topics: { orders: 100 }, batchBytesMax })
    for (let number = 0; ; number++) {
      const memberId = `${number}`.padEnd(idBytes, 'm')
      const join = { groupId, memberId, memberEpoch: 0, subscribedTopics: ['orders'], ownedPartitions: [] }
      const reply = fixture.heartbeat(join)
      if (!isRefusal(reply)) continue
      assert.equal(reply.error, 'GROUP_MAX_SIZE_REACHED')
      assert.match(reply.text, /use shorter member or group ids/)
      return { fixture, count: number }
    }
  }
  const { fixture, count } = filled('g'.repeat(255), 255)
  assert.ok(count > 20 && count < filled('g', 10).count / 3)
  fixture.nowMs += 45_000
  const decision = fixture.coordinator.onDeadline(fixture.nowMs)!
  assert.equal(decision.fenced.length, count)
  const decided = [{ records: decision.records, transaction: undefined }]
  assert.equal(encodeDecisions(decided, { batchBytesMax, timestampMs: 0 })?.length, 1)
})

test('groups are listed and described', () => {
  const fixture = new GroupFixture()
  fixture.join('a')
  fixture.commit({ groupId: 'loose' })
  const list = (states: string[] = [], kinds: string[] = []) =>
    fixture.coordinator
      .listGroups({ states, kinds })
      .map(({ groupId, groupKind, state }) => [groupId, groupKind, state])
  assert.deepEqual(list(), [
    ['g', 'consumer', 'Stable'],
    ['loose', 'simple', 'Empty'],
  ])
  assert.deepEqual(list(['STABLE']), [['g', 'consumer', 'Stable']])
  assert.deepEqual(list([], ['Simple']), [['loose', 'simple', 'Empty']])
  const [known, unknown] = fixture.coordinator.describeGroups(['g', 'no'])
  assert.equal(show(known!.members[0]!.targetAssignment), 'orders 0 1 2 3 4 5')
  assert.deepEqual([unknown!.error, unknown!.state], ['GROUP_ID_NOT_FOUND', 'Dead'])
})
