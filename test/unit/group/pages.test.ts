/** Pages of large answers: all rows, each once, whatever comes and goes between two of them; none larger than it may be. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type EncodedRecord, encodeRecord, isRefusal, type OffsetFetchReply } from '../../../src/group/index.ts'
import { PAGE_BYTES, PAGE_ROWS_MAX, smallestAfter } from '../../../src/group/pages.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import * as protocol from '../../../src/protocol/index.ts'
import { answerGroupRequest } from '../../../src/worker/group-wire.ts'
import { GroupFixture } from '../../support/group-fixture.ts'

/** More than any page of a test is one of has. */
const PAGES_MAX = 1_000
const ALL = { states: [], kinds: [] }

function collect<Page extends { readonly nextCursor: string | null }>(ask: (cursor: string) => Page): Page[] {
  const pages: Page[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const page: Page = ask(cursor)
    pages.push(page)
    assert.ok(pages.length < PAGES_MAX, 'the pages do not end')
    cursor = page.nextCursor
  }
  return pages
}

/** The page as a client would get it, and that it fits. */
function overWire<Request extends object, Reply>(
  fixture: GroupFixture,
  codec: protocol.Codec<Request, Reply>,
  request: Request,
): Reply {
  const header = codec.encodeRequest(request)
  const who = { clientId: 'c', clientHost: 'h', connectionId: 0, decoded: undefined }
  const body = { partitionRef: 0 as never, api: codec.api, header, ...who }
  const { reply } = answerGroupRequest(fixture.coordinator, { requestId: 1, body }, fixture.nowMs, () => undefined)
  assert.ok(reply !== undefined && !isRefusal(reply), JSON.stringify(reply))
  assert.ok(reply.header.length <= PAGE_BYTES, `${reply.header.length} bytes`)
  return protocol.unwrapReply(codec.decodeReply(reply.header))
}

/** Records of a group with `count` members whose texts are as long as they may be; each has one partition. */
function largeGroup(topicId: TopicId, count: number): EncodedRecord[] {
  const groupId = 'g'
  const records = [
    encodeRecord({
      ...{ type: 'group', groupId },
      value: { kind: 'consumer', groupEpoch: 1, assignmentEpoch: 1, assignor: 'cooperative-sticky', emptySinceMs: -1 },
    }),
  ]
  for (let index = 0; index < count; index++) {
    const memberId = `${(index * 7919) % count}`.padStart(255, 'm')
    const set = new Map([[topicId, [index]]])
    const value = {
      ...{ instanceId: `${index}`.padStart(255, 'i'), rackId: 'r'.repeat(255), clientId: 'ö'.repeat(127) },
      ...{ clientHost: 'h'.repeat(255), sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 60_000 },
      ...{ subscribedTopics: ['orders'], subscribedPattern: null, serverAssignor: null },
    }
    const current = { memberEpoch: 1, previousMemberEpoch: 0, assigned: set, revoking: new Map() }
    records.push(
      encodeRecord({ type: 'member', groupId, memberId, value }),
      encodeRecord({ type: 'target', groupId, memberId, value: { target: set } }),
      encodeRecord({ type: 'current', groupId, memberId, value: current }),
    )
  }
  return records
}

test('the smallest keys behind a cursor, in order', () => {
  const keys = Array.from({ length: 5_000 }, (_, index) => `k${String((index * 7919) % 5_000).padStart(4, '0')}`)
  const sorted = [...keys].sort()
  assert.deepEqual(smallestAfter(keys, ''), sorted.slice(0, PAGE_ROWS_MAX))
  assert.deepEqual(smallestAfter(keys, 'k3999'), sorted.slice(4_000))
  assert.deepEqual(smallestAfter(keys, 'k4999'), [])
  const even = smallestAfter(keys, 'k0001', (key) => Number(key.slice(1)) % 2 === 0)
  assert.deepEqual([even.length, even[0], even.at(-1)], [PAGE_ROWS_MAX, 'k0002', 'k2000'])
})

test('10,000 groups are listed, each once; those that come and go in between do not disturb the others', () => {
  const fixture = new GroupFixture()
  for (let index = 0; index < 10_000; index++)
    fixture.commit({ groupId: `group ${(index * 7919) % 10_000}`, offset: 1 })
  const before = new Set(fixture.coordinator.state.groups.keys())
  const pages = collect((cursor) => {
    const page = overWire(fixture, protocol.listGroups, { ...ALL, cursor })
    // One that was listed, one that is to come, a new one.
    for (const groupId of ['group 1', 'group 9']) fixture.take(fixture.coordinator.deleteGroups([groupId]))
    fixture.commit({ groupId: 'group 77777', offset: 1 })
    return page
  })
  const listed = pages.flatMap(({ groups }) => groups.map(({ groupId }) => groupId))
  assert.equal(new Set(listed).size, listed.length, 'a group is listed twice')
  before.delete('group 9')
  assert.deepEqual(new Set(listed), before.add('group 77777'))
  assert.ok(pages.length >= 10)
  assert.deepEqual(overWire(fixture, protocol.listGroups, { states: ['stable'], kinds: [], cursor: '' }).groups, [])
})

test('a group of 5,000 members with long ids is described a page at a time, each page with the group itself', () => {
  const fixture = new GroupFixture({ topics: { orders: 5_000 } })
  fixture.restart(largeGroup(fixture.id('orders'), 5_000))
  const pages = collect((cursor) => overWire(fixture, protocol.groupDescribe, { groupIds: ['g'], cursor }))
  const group = protocol.joinDescribed(pages)!
  assert.deepEqual([group.errorNumber, group.state, group.groupEpoch], [0, 'Stable', 1])
  assert.equal(new Set(group.members.map(({ memberId }) => memberId)).size, 5_000)
  assert.equal(group.members.length, 5_000)
  const partitions = group.members.flatMap(({ assignment }) => assignment.flatMap((each) => each.partitions))
  assert.equal(new Set(partitions).size, 5_000)
  assert.deepEqual(pages[3]!.groups[0]!.assignor, 'cooperative-sticky')
  // One that ends in between: what is known of it, and no more.
  const [first] = pages
  fixture.restart([])
  const rest = overWire(fixture, protocol.groupDescribe, { groupIds: ['g'], cursor: first!.nextCursor })
  assert.equal(rest.nextCursor, null)
  assert.equal(protocol.joinDescribed([first!, rest])!.members.length, first!.groups[0]!.members.length)
})

test('5,000 members whose sessions end at once go in decisions that a batch holds', () => {
  const fixture = new GroupFixture({ topics: { orders: 5_000 } })
  fixture.restart(largeGroup(fixture.id('orders'), 5_000))
  fixture.nowMs += 10_000
  const removed: number[] = []
  for (let decisions = 0; fixture.coordinator.nextDeadlineMs <= fixture.nowMs; decisions++) {
    assert.ok(decisions < 100, 'the deadlines do not end')
    const decision = fixture.coordinator.onDeadline(fixture.nowMs)
    if (decision === undefined) continue
    removed.push(decision.fenced.length)
    const bytes = decision.records.reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0)
    assert.ok(bytes < 4 * 1024 * 1024, `${bytes} bytes`)
  }
  assert.deepEqual(
    removed.filter((count) => count > 0),
    [1_000, 1_000, 1_000, 1_000, 1_000],
  )
  assert.equal(fixture.coordinator.state.groups.get('g')!.members.size, 0)
})

test('20,000 committed offsets are fetched, all there are or those that are named', () => {
  const fixture = new GroupFixture({ topics: { clicks: 10_000, orders: 10_000 } })
  const metadata = 'é'.repeat(40)
  const names = ['orders', 'clicks']
  for (const topic of names) {
    // Committed from the last to the first: the order of the answer is not theirs.
    const partitions = Array.from({ length: 10_000 }, (_, index) => ({
      ...{ partition: 9_999 - index, offset: index, leaderEpoch: -1, metadata },
    }))
    fixture.commit({ topics: [{ topicId: '', topic, partitions }] })
  }
  const request = { groupId: 'g', memberId: '', memberEpoch: -1, requireStable: false }
  const everyPartition = Array.from({ length: 10_000 }, (_, index) => index)
  const named = [...names, 'nowhere'].map((topic) => ({ topicId: '' as const, topic, partitions: everyPartition }))
  for (const topics of [null, named]) {
    const pages = collect((cursor) => overWire(fixture, protocol.offsetFetch, { ...request, topics, cursor }))
    const rows = pages.flatMap((page) => page.topics)
    for (const name of names) {
      const partitions = rows.filter(({ topic }) => topic === name).flatMap((each) => each.partitions)
      assert.deepEqual(
        partitions.map(({ partition }) => partition),
        everyPartition,
      )
      assert.ok(partitions.every((each) => each.offset === 9_999 - each.partition && each.metadata === metadata))
    }
    const others = rows.filter(({ topic }) => !names.includes(topic)).flatMap((each) => each.partitions)
    assert.deepEqual([others.length, others.every(({ offset }) => offset === -1)], [topics === null ? 0 : 10_000, true])
  }
})

test('pages of offsets are fenced like the whole; a cursor that nobody gave is refused', () => {
  const fixture = new GroupFixture()
  fixture.join('a')
  const fetch = (memberEpoch: number, cursor: string, topics: [] | null = null): string | OffsetFetchReply => {
    const { reply } = fixture.coordinator.fetchOffsets({
      groupId: 'g',
      memberId: 'a',
      memberEpoch,
      topics,
      requireStable: false,
      cursor,
    })
    return isRefusal(reply) ? reply.error : reply
  }
  assert.deepEqual(fetch(1, ''), { kind: 'offsets', topics: [], nextCursor: null })
  assert.equal(fetch(2, ''), 'STALE_MEMBER_EPOCH')
  for (const cursor of ['x', '1/', '/1', '-1/0']) {
    assert.equal(fetch(1, cursor), 'INVALID_REQUEST', cursor)
    assert.equal(fetch(1, cursor, []), 'INVALID_REQUEST', cursor)
  }
})
