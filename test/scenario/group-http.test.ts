/** Groups over HTTP, and their lag: what monitors and people with curl see. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createBroker } from '../../src/index.ts'
import { BareMember } from '../support/bare-member.ts'
import { BareClient } from '../support/gateway-fixture.ts'

test('a group, its members and its lag are told, in JSON and as metrics; one with members is not deleted', async () => {
  const broker = await createBroker({ storage: 'memory' })
  const url = String(await broker.listen())
  const http = url.replace('ws:', 'http:').replace(/\/$/, '')
  const mq = broker.client()
  await mq.admin.topics.create('t', { partitions: 2 })
  const oldMs = Date.now() - 60_000
  const records = Array.from({ length: 10 }, (_, index) => ({ value: 'v', partition: 0, timestampMs: oldMs + index }))
  await mq.producer('t').sendMany(records)
  const client = await BareClient.hello(url)
  const member = new BareMember(client, 'g/ö', ['t'])
  for (let beat = 0; beat < 10 && member.partitions.length < 2; beat++) await member.heartbeat()
  assert.equal(await member.commit('t', 0, 4), 0)
  assert.equal(await member.commit('t', 1, 0), 0)

  const get = async (path: string) => (await fetch(http + path)).json() as Promise<Record<string, never>>
  assert.deepEqual(await get('/api/v1/groups'), {
    groups: [{ groupId: 'g/ö', kind: 'consumer', state: 'Stable', memberCount: 1, protocolType: 'consumer' }],
  })
  const path = `/api/v1/groups/${encodeURIComponent('g/ö')}`
  const group = (await get(path)) as unknown as {
    members: { memberId: string }[]
    offsets: { partition: number; committedOffset: number; lag: number; lagSeconds: number; highWatermark: number }[]
  }
  assert.equal(group.members[0]!.memberId, member.memberId)
  const [first, second] = group.offsets.sort((left, right) => left.partition - right.partition)
  assert.deepEqual([first!.committedOffset, first!.highWatermark, first!.lag], [4, 10, 6])
  assert.ok(first!.lagSeconds >= 59, `${first!.lagSeconds} s`)
  assert.deepEqual([second!.lag, second!.lagSeconds], [0, 0])

  const plain = await (await fetch(`${http}/metrics`)).text()
  assert.doesNotMatch(plain, /group_lag/)
  const detailed = await (await fetch(`${http}/metrics?detail=groups`)).text()
  assert.match(detailed, /millrace_group_lag_records\{group="g\/ö",topic="t"\} 6\n/)
  assert.match(detailed, /millrace_group_members\{group="g\/ö"\} 1\n/)

  assert.equal((await fetch(http + path, { method: 'DELETE' })).status, 409)
  await member.heartbeat(-1)
  assert.equal((await fetch(http + path, { method: 'DELETE' })).status, 204)
  assert.equal((await fetch(http + path)).status, 404)
  await broker.close()
})
