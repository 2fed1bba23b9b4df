/** Consumers that name their rack read from an in-sync replica there; whatever happens to it, nothing is lost, doubled or out of order. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode } from '../../src/base/bytes.ts'
import type { Client } from '../../src/client/client.ts'
import { Api } from '../../src/protocol/index.ts'
import { BrokerCluster } from '../support/broker-cluster.ts'
import { until } from '../support/until.ts'

const WAIT_MS = 30_000
const RACKS = ['a', 'b', 'c']

async function withRacks(work: (cluster: BrokerCluster, client: Client) => Promise<void>): Promise<void> {
  const cluster = await BrokerCluster.start({ nodes: 3, racks: RACKS })
  try {
    const client = cluster.client()
    await client.admin.topics.create('t', { partitions: 1, replicas: 3, config: { 'min.insync.replicas': '2' } })
    await until(
      'three replicas in sync',
      WAIT_MS,
      async () => (await onlyPartition(cluster)).inSyncReplicas.length === 3,
    )
    await work(cluster, client)
  } finally {
    await cluster.close()
  }
}

async function onlyPartition(cluster: BrokerCluster) {
  return (await cluster.partitionsOf('t'))[0]!
}

async function leaderAndFollower(
  cluster: BrokerCluster,
): Promise<{ leader: number; follower: number; rackId: string }> {
  const { leader } = await onlyPartition(cluster)
  const follower = [1, 2, 3].find((nodeId) => nodeId !== leader)!
  return { leader, follower, rackId: RACKS[follower - 1]! }
}

const fetchesTo = (cluster: BrokerCluster, nodeId: number): number => cluster.requestsTo(nodeId).get(Api.FETCH) ?? 0

/** Values 0, 1, 2, …, as far as `read` has come. */
function assertInOrder(read: readonly string[]): void {
  assert.deepEqual(
    read,
    read.map((_, index) => String(index)),
  )
}

test("a consumer of a follower's rack reads there alone: what is old, what is new, and of transactions what was committed", () =>
  withRacks(async (cluster, client) => {
    const { leader, follower, rackId } = await leaderAndFollower(cluster)
    const producer = client.producer('t')
    for (let index = 0; index < 100; index++) await producer.send({ value: String(index) })
    const read: string[] = []
    const consumer = cluster.client().consume('t', { from: 'start', rackId, waitMs: 5_000 })
    const reading = (async () => {
      for await (const { value } of consumer) read.push(utf8Decode(value!))
    })()
    await until('the old records', WAIT_MS, () => read.length === 100)
    const before = { leader: fetchesTo(cluster, leader), follower: fetchesTo(cluster, follower) }
    assert.equal(before.leader, 0, 'nothing was fetched from the leader')
    assert.ok(before.follower > 0)
    for (let index = 100; index < 120; index++) {
      const startedMs = performance.now()
      await producer.send({ value: String(index) })
      await until('the new record', WAIT_MS, () => read.length === index + 1)
      assert.ok(performance.now() - startedMs < 4_000, 'it wakes the long poll, and is not left to its end')
    }
    const transactions = client.producer('t', { transactionalId: 'x' })
    const aborted = transactions.transaction(async (tx) => {
      await tx.send({ value: 'aborted' })
      throw new Error('no')
    })
    await assert.rejects(aborted, /no/)
    await transactions.transaction(async (tx) => {
      await tx.send({ value: '120' })
    })
    await until('the committed record', WAIT_MS, () => read.length === 121)
    assertInOrder(read)
    assert.equal(fetchesTo(cluster, leader), 0)
    await consumer.close()
    await reading
  }))

test('the replica of the rack dies, and the leader dies: the consumer goes on with the others, each record once and in order', () =>
  withRacks(async (cluster, client) => {
    const { leader, follower, rackId } = await leaderAndFollower(cluster)
    const producer = client.producer('t')
    const read: string[] = []
    const consumer = cluster.client().consume('t', { from: 'start', rackId })
    const reading = (async () => {
      for await (const { value } of consumer) read.push(utf8Decode(value!))
    })()
    let sent = 0
    const sendAndRead = async (count: number): Promise<void> => {
      for (const goal = sent + count; sent < goal; sent++) await producer.send({ value: String(sent) })
      await until('what was sent', WAIT_MS, () => read.length === sent)
    }
    await sendAndRead(30)
    assert.equal(fetchesTo(cluster, leader), 0)
    cluster.kill(follower)
    await sendAndRead(30)
    assert.ok(fetchesTo(cluster, leader) > 0, 'the leader serves in its place')
    await cluster.restart(follower)
    await until('it is in sync again', WAIT_MS, async () => (await onlyPartition(cluster)).inSyncReplicas.length === 3)
    cluster.kill(leader)
    await sendAndRead(30)
    assertInOrder(read)
    await consumer.close()
    await reading
  }))

test('a rack without a replica, and a group that names its rack', () =>
  withRacks(async (cluster, client) => {
    const { leader, follower, rackId } = await leaderAndFollower(cluster)
    const producer = client.producer('t')
    for (let index = 0; index < 20; index++) await producer.send({ value: String(index) })
    const far: string[] = []
    for await (const { value } of client.consume('t', { from: 'start', to: 'end', rackId: 'nowhere' }))
      far.push(utf8Decode(value!))
    assert.equal(far.length, 20)
    assert.deepEqual([fetchesTo(cluster, leader) > 0, fetchesTo(cluster, follower)], [true, 0])
    const before = fetchesTo(cluster, leader)
    const read: string[] = []
    const group = cluster.client().group('g', ['t'], { from: 'start', rackId })
    for await (const { value } of group) if (read.push(utf8Decode(value!)) === 20) break
    await group.close()
    assertInOrder(read)
    assert.equal(fetchesTo(cluster, leader), before, 'the group was served by the follower')
    assert.throws(() => client.consume('t', { rackId: '' }), /rackId: expected text of 1 to 1024 characters/)
  }))
