/** The group coordinator behind the wire, in a whole broker: joins, revocation before assignment, offsets, restarts, topics that change. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createBroker, type InProcessBroker } from '../../src/index.ts'
import * as protocol from '../../src/protocol/index.ts'
import { BareMember } from '../support/bare-member.ts'
import { hasCode } from '../support/expect.ts'
import { BareClient } from '../support/gateway-fixture.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-groups-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const STEPS_MAX = 200

/** Heartbeats of all members in turn until `isDone`; no partition may ever be read by two of them. */
async function settle(members: readonly BareMember[], isDone: () => boolean): Promise<void> {
  for (let step = 0; step < STEPS_MAX && !isDone(); step++) {
    for (const member of members) await member.heartbeat()
    const owned = members.flatMap(({ partitions }) => partitions)
    assert.equal(new Set(owned).size, owned.length, `a partition has two owners: ${owned.join(' ')}`)
  }
  assert.ok(isDone(), `not settled: ${members.map(({ partitions }) => partitions.join(' ')).join(' | ')}`)
}

async function committed(client: BareClient, groupId: string): Promise<Record<string, number>> {
  const all = { groupId, memberId: '', memberEpoch: -1, requireStable: false, topics: null }
  const { topics } = await client.call(protocol.offsetFetch, all)
  return Object.fromEntries(
    topics.flatMap(({ topic, partitions }) =>
      partitions.map(({ partition, offset }) => [`${topic}/${partition}`, offset] as const),
    ),
  )
}

async function open(dir: string, shards: number): Promise<{ broker: InProcessBroker; client: BareClient }> {
  const broker = await createBroker({ storage: { dir: join(folder, dir) }, shards })
  const url = await broker.listen()
  return { broker, client: await BareClient.hello(String(url)) }
}

test('members share the partitions, a new one gets its part after the others gave it up, who leaves gives all up', async () => {
  const { broker, client } = await open('share', 2)
  await broker.client().admin.topics.create('t', { partitions: 12 })
  const members = [1, 2, 3].map(() => new BareMember(client, 'g', ['t']))
  const counts = () => members.map(({ partitions }) => partitions.length)
  await settle(members, () => counts().every((count) => count === 4))
  const before = new Map(members.flatMap((member) => member.partitions.map((name) => [name, member] as const)))
  const fourth = new BareMember(client, 'g', ['t'])
  members.push(fourth)
  await settle(members, () => counts().every((count) => count === 3))
  const moved = fourth.partitions.length
  assert.equal(moved, 3)
  for (const member of members.slice(0, 3))
    for (const name of member.partitions) assert.equal(before.get(name), member, `${name} moved without need`)
  await members[0]!.heartbeat(-1)
  members.shift()
  await settle(members, () => counts().every((count) => count === 4))
  await broker.close()
})

test('the first requests of many at once: the internal topic is made once, and all of them are answered', async () => {
  const { broker, client } = await open('first', 2)
  await broker.client().admin.topics.create('t', { partitions: 4 })
  const members = Array.from({ length: 40 }, (_, index) => new BareMember(client, `g${index}`, ['t']))
  await Promise.all(members.map((member) => member.heartbeat()))
  assert.ok(members.every(({ memberEpoch }) => memberEpoch > 0))
  await broker.close()
})

test('offsets are kept over a restart, under any number of shards; who is not a member may not commit', async () => {
  const first = await open('offsets', 2)
  await first.broker.client().admin.topics.create('t', { partitions: 4 })
  const member = new BareMember(first.client, 'g', ['t'])
  await settle([member], () => member.partitions.length === 4)
  for (let partition = 0; partition < 4; partition++)
    assert.equal(await member.commit('t', partition, partition * 10), 0)
  const stranger = new BareMember(first.client, 'g', ['t'])
  stranger.memberId = 'stranger'
  stranger.memberEpoch = 1
  await assert.rejects(stranger.commit('t', 0, 99), hasCode('UNKNOWN_MEMBER_ID'))
  const expected = { 't/0': 0, 't/1': 10, 't/2': 20, 't/3': 30 }
  assert.deepEqual(await committed(first.client, 'g'), expected)
  await first.broker.close()

  const second = await open('offsets', 3)
  assert.deepEqual(await committed(second.client, 'g'), expected)
  const back = new BareMember(second.client, 'g', ['t'])
  Object.assign(back, { memberId: member.memberId, memberEpoch: member.memberEpoch, owned: member.owned })
  await back.heartbeat()
  assert.equal(back.partitions.length, 4, 'the member goes on where it was')
  assert.equal(await back.commit('t', 3, 31), 0)
  const { groups } = await second.client.call(protocol.listGroups, { states: [], kinds: [] })
  assert.deepEqual(groups, [
    { groupId: 'g', kind: 'consumer', state: 'Stable', memberCount: 1, protocolType: 'consumer' },
  ])
  await second.broker.close()
})

test('topics that come, grow and go: patterns follow, offsets of a deleted topic are forgotten', async () => {
  const { broker, client } = await open('topics', 1)
  const { topics } = broker.client().admin
  await topics.create('orders-eu', { partitions: 2 })
  const member = new BareMember(client, 'g', { pattern: 'orders-.*' })
  await settle([member], () => member.partitions.length === 2)
  await topics.create('orders-us', { partitions: 1 })
  await topics.create('other', { partitions: 1 })
  await settle([member], () => member.partitions.length === 3)
  assert.equal(await member.commit('orders-eu', 1, 5), 0)
  await topics.delete('orders-eu')
  await settle([member], () => member.partitions.join() === 'orders-us/0')
  assert.deepEqual(await committed(client, 'g'), {})
  const bad = new BareMember(client, 'bad', { pattern: '(a' })
  await assert.rejects(bad.heartbeat(), hasCode('INVALID_REGULAR_EXPRESSION'))
  await broker.close()
})

test('the broker keeps its own topic: it is not listed, written to, changed or deleted, but it can be read', async () => {
  const { broker, client } = await open('internal', 1)
  const mq = broker.client()
  await mq.admin.topics.create('t', { partitions: 1 })
  const member = new BareMember(client, 'g', ['t'])
  await settle([member], () => member.partitions.length === 1)
  const name = '__consumer_offsets'
  assert.deepEqual(
    (await mq.admin.topics.list()).map((topic) => topic.name),
    ['t'],
  )
  assert.ok((await mq.admin.topics.list({ internal: true })).some((topic) => topic.name === name))
  await assert.rejects(mq.admin.topics.delete(name), hasCode('INVALID_TOPIC_EXCEPTION'))
  await assert.rejects(mq.admin.topics.create(name), hasCode('INVALID_TOPIC_EXCEPTION'))
  await assert.rejects(mq.producer(name).send({ key: 'k', value: 'v' }), hasCode('INVALID_TOPIC_EXCEPTION'))
  let records = 0
  for await (const _ of mq.consume(name, { from: 'start', to: 'end' })) records++
  assert.ok(records > 0)
  await broker.close()
})
