/**
 * Answers about groups that are larger than a frame of the reply ring, from a whole broker whose ring is the smallest: 10,000 groups, a
 * group with many members of long ids (5,000 with the budget of test:full), 20,000 committed partitions; by the client, over HTTP and
 * on the command line.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Client, GroupDescription } from '../../src/client/index.ts'
import { createBroker } from '../../src/index.ts'
import * as protocol from '../../src/protocol/index.ts'
import { budgetMs } from '../support/budget.ts'
import { hasCode } from '../support/expect.ts'
import { BareClient } from '../support/gateway-fixture.ts'
import { millrace } from '../support/run-millrace.ts'

const FULL_MS = 30_000
const AT_ONCE = 200
const TOPIC_PARTITIONS = 10_000

interface Doors {
  readonly mq: Client
  readonly url: string
  readonly client: BareClient
  get(path: string): Promise<unknown>
}

async function withBroker(body: (doors: Doors) => Promise<void>): Promise<void> {
  const broker = await createBroker({ storage: 'memory', shards: 2, config: { 'rings.replyBytes': '256KiB' } })
  try {
    const url = String(await broker.listen())
    const client = await BareClient.hello(url)
    client.keepsFrames = false
    const http = url.replace('ws:', 'http:').replace(/\/$/, '')
    const get = async (path: string): Promise<unknown> => (await fetch(http + path)).json()
    await body({ mq: broker.client(), url, client, get })
  } finally {
    await broker.close()
  }
}

/** Some at a time: a connection may have so many requests open. */
async function each(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < count; from += AT_ONCE)
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, index) => work(from + index)))
}

function commitOf(groupId: string, topic: string, partitions: readonly number[]): protocol.OffsetCommitRequest {
  const rows = partitions.map((partition) => ({ partition, offset: 0, leaderEpoch: -1, metadata: 'm'.repeat(20) }))
  return {
    ...{ groupId, memberId: '', memberEpoch: -1, instanceId: null },
    topics: [{ topicId: '', topic, partitions: rows }],
  }
}

test('10,000 groups are listed', () =>
  withBroker(async ({ mq, url, client, get }) => {
    await mq.admin.topics.create('t', { partitions: 1 })
    const groupIds = Array.from(
      { length: 10_000 },
      (_, index) => `${String(index).padStart(5, '0')}-${'g'.repeat(200)}`,
    )
    await each(groupIds.length, (index) => client.call(protocol.offsetCommit, commitOf(groupIds[index]!, 't', [0])))
    const listed = await mq.admin.groups.list()
    assert.deepEqual(
      listed.map(({ groupId }) => groupId),
      groupIds,
    )
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
  withBroker(async ({ mq, url, client, get }) => {
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

test('20,000 committed partitions are fetched, and described with their lag', () =>
  withBroker(async ({ mq, url, client, get }) => {
    const partitions = Array.from({ length: TOPIC_PARTITIONS }, (_, index) => index)
    for (const topic of ['a', 'b']) {
      await mq.admin.topics.create(topic, { partitions: TOPIC_PARTITIONS })
      await client.call(protocol.offsetCommit, commitOf('g', topic, partitions))
    }
    await mq.producer('b').send({ value: 'v', partition: 9_999 })
    const all = ['a', 'b'].flatMap((topic) => partitions.map((partition) => `${topic}/${partition}`))
    const overHttp = (await get('/api/v1/groups/g')) as { offsets: { topic: string; partition: number }[] }
    assert.equal(new Set(overHttp.offsets.map(({ topic, partition }) => `${topic}/${partition}`)).size, all.length)
    // The command line has the client's describe().
    const { code, stdout } = await millrace(['group', 'describe', 'g', '--json'], { url })
    assert.equal(code, 0)
    const { offsets } = JSON.parse(stdout) as GroupDescription
    assert.deepEqual(
      offsets.map(({ topic, partition }) => `${topic}/${partition}`),
      all,
    )
    assert.deepEqual([offsets[0]!.lag, offsets.at(-1)!.lag], [0, 1])
  }))
