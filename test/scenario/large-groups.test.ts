/**
 * Answers about groups that are larger than a frame of the reply ring, from a whole broker whose ring is the smallest: 10,000 groups, and
 * a group with many members of long ids (5,000 with the budget of test:full); by the client, over HTTP and on the command line.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as protocol from '../../src/protocol/index.ts'
import { budgetMs } from '../support/budget.ts'
import { hasCode } from '../support/expect.ts'
import { commitOf, withGroupDoors } from '../support/group-doors.ts'
import { millrace } from '../support/run-millrace.ts'

const FULL_MS = 30_000
const AT_ONCE = 200

/** Some at a time: a connection may have so many requests open. */
async function each(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < count; from += AT_ONCE)
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, index) => work(from + index)))
}

test('10,000 groups are listed', () =>
  withGroupDoors(async ({ mq, url, client, get }) => {
    await mq.admin.topics.create('t', { partitions: 1 })
    // Half of them short: a page takes several coordinators. With the others one coordinator takes several pages.
    const half = Array.from({ length: 5_000 }, (_, index) => String(index).padStart(5, '0'))
    const groupIds = [...half, ...half.map((groupId) => `${groupId}-${'g'.repeat(200)}`)].sort()
    const commit = (groupId: string) => client.call(protocol.offsetCommit, commitOf(groupId, 't', [0]))
    const listed = async () => (await mq.admin.groups.list()).map(({ groupId }) => groupId)
    await each(half.length, (index) => commit(half[index]!))
    assert.deepEqual(await listed(), half)
    await each(groupIds.length, (index) => commit(groupIds[index]!))
    assert.deepEqual(await listed(), groupIds)
    assert.deepEqual(await mq.admin.groups.list({ states: ['stable'] }), [])
    const { groups } = (await get('/api/v1/groups')) as { groups: { groupId: string }[] }
    assert.deepEqual(
      groups.map(({ groupId }) => groupId),
      groupIds,
    )
    const { code, stdout } = await millrace(['group', 'list', '--json'], { url })
    assert.equal(code, 0)
    assert.equal(stdout.trim().split('\n').length, groupIds.length)
    const strange = client.call(protocol.listGroups, { states: [], kinds: [], cursor: 'x' })
    await assert.rejects(strange, hasCode('INVALID_REQUEST', /cursor 'x'/))
  }))

test('a group of many members with long ids is described; all at once is too much, and says so', () =>
  withGroupDoors(async ({ mq, url, client, get }) => {
    await mq.admin.topics.create('t', { partitions: 4 })
    const count = budgetMs(0) >= FULL_MS ? 5_000 : 500
    const memberIds = Array.from({ length: count }, (_, index) => `${String(index).padStart(5, '0')}${'m'.repeat(240)}`)
    await each(count, (index) =>
      client.call(protocol.groupHeartbeat, {
        ...{ groupId: 'g', memberId: memberIds[index]!, memberEpoch: 0, instanceId: `${index}`.padStart(255, 'i') },
        ...{ rackId: 'r'.repeat(255), rebalanceTimeoutMs: 600_000, sessionTimeoutMs: 600_000, serverAssignor: null },
        ...{ subscribedTopics: ['t'], subscribedPattern: '', ownedPartitions: [] },
      }),
    )
    const described = await mq.admin.groups.describe('g')
    assert.deepEqual(
      described.members.map(({ memberId }) => memberId),
      memberIds,
    )
    assert.equal(described.members.flatMap(({ targetAssignment }) => targetAssignment).length, 4)
    const overHttp = (await get('/api/v1/groups/g')) as { members: { memberId: string }[] }
    assert.equal(overHttp.members.length, count)
    const { code, stdout } = await millrace(['group', 'describe', 'g', '--json'], { url })
    assert.equal(code, 0)
    assert.equal((JSON.parse(stdout) as { members: unknown[] }).members.length, count)

    const { groups } = await client.call(protocol.groupDescribe, { groupIds: ['g'] })
    assert.match(groups[0]!.errorText, /larger than a frame .*in pages/)
    const two = client.call(protocol.groupDescribe, { groupIds: ['g', 'h'], cursor: '' })
    await assert.rejects(two, hasCode('INVALID_REQUEST', /one by one/))
  }))
