/** What an administrator does with a cluster: three brokers in one process, asked by whichever of them, decided by the one that controls. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { PartitionMove } from '../../src/client/index.ts'
import { createBroker } from '../../src/index.ts'
import { BrokerCluster } from '../support/broker-cluster.ts'
import { hasCode } from '../support/expect.ts'
import { until } from '../support/until.ts'

const WAIT_MS = 10_000

const cluster = await BrokerCluster.start({ nodes: 3 })
after(() => cluster.close())

const admins = [1, 2, 3].map((nodeId) => cluster.client({ nodes: [nodeId] }).admin)
const [first] = admins

const others = admins.slice(1)

test('a topic of three replicas is made, described and shown by every broker', async () => {
  await first!.topics.create('orders', { partitions: 6, replicas: 3 })
  for (const admin of admins) {
    const { partitions, drainFrom } = await admin.topics.describe('orders')
    assert.equal(drainFrom, -1)
    assert.deepEqual(
      partitions.map(({ replicas }) => [...replicas].sort()),
      Array.from({ length: 6 }, () => [1, 2, 3]),
    )
    for (const leader of [1, 2, 3])
      assert.equal(partitions.filter(({ leaderNodeId }) => leaderNodeId === leader).length, 2, `broker ${leader}`)
  }
})

test('a plan is shown by a dry run and begun by the next call, whichever broker is asked', async () => {
  await first!.topics.create('small', { partitions: 2, replicas: 1 })
  const [home] = (await first!.topics.describe('small')).partitions[0]!.replicas
  const other = home === 1 ? 2 : 1
  for (const admin of admins) {
    const wish = { topic: 'small', partition: 0, replicas: [other] }
    const plan = await admin.cluster.reassign([wish], { dryRun: true })
    assert.deepEqual(
      plan.moves.map(({ topic, partition, from, to }) => ({ topic, partition, from, to })),
      [{ topic: 'small', partition: 0, from: [home], to: [other] }],
    )
    assert.deepEqual(await admin.cluster.moves(), [])
    // What a plan says is a wish.
    assert.deepEqual((await admin.cluster.reassign(plan.moves, { dryRun: true })).moves, plan.moves)
  }
  await others[1]!.cluster.reassign([{ topic: 'small', partition: 0, replicas: [other] }])
  const isMoved = async () => {
    const { replicas } = (await others[1]!.topics.describe('small')).partitions[0]!
    return replicas.join() === String(other)
  }
  const moves = await others[1]!.cluster.moves()
  // Where replication has not been quicker than the question.
  if (moves.length > 0) assert.deepEqual(targetOf(moves[0]!), [other])
  else assert.ok(await isMoved())
})

test('a move that nobody can end is taken back; one that does not go on is told of', async () => {
  await first!.topics.create('stays', { partitions: 1, replicas: 2 })
  const replicas = (await first!.topics.describe('stays')).partitions[0]!.replicas
  const away = [1, 2, 3].find((nodeId) => !replicas.includes(nodeId))!
  const one = { topic: 'stays', partition: 0 }
  const nothing = await first!.cluster.cancelMoves([one])
  assert.deepEqual([nothing.changed, nothing.left.length], [[], 1])
  assert.match(nothing.left[0]!.reason, /does not move/)
  await first!.cluster.reassign([{ ...one, replicas: [away, replicas[0]!] }])
  await first!.cluster.cancelMoves()
  for (const admin of admins)
    await until('end of the move', WAIT_MS, async () =>
      (await admin.cluster.moves()).every(({ topic }) => topic !== 'stays'),
    )
})

test('decommission: the plan empties the broker, it gets nothing new, and takes replicas again afterwards', async () => {
  await first!.topics.create('spread', { partitions: 6, replicas: 1 })
  const held = (await first!.topics.describe('spread')).partitions.filter(({ replicas }) => replicas.includes(3))
  assert.equal(held.length, 2)
  const plan = await others[0]!.cluster.decommission(3, { dryRun: true })
  const ofSpread = plan.moves.filter(({ topic }) => topic === 'spread')
  assert.equal(ofSpread.length, 2)
  assert.ok(plan.moves.every(({ from, to }) => from.includes(3) && !to.includes(3)))
  // Three replicas need three brokers.
  assert.equal(plan.left.filter(({ topic }) => topic === 'orders').length, 6)
  assert.match(plan.left[0]!.reason, /no broker is left that could take the replica of broker 3/)
  const isDecommissioned = async (admin: (typeof admins)[number]) => {
    const { brokers } = await admin.describeCluster()
    return brokers.find(({ nodeId }) => nodeId === 3)?.isDecommissioned === true
  }
  assert.equal(await isDecommissioned(others[0]!), false)
  await others[0]!.cluster.decommission(3)
  assert.equal(await isDecommissioned(others[0]!), true)
  await first!.topics.create('later', { partitions: 6, replicas: 2 })
  for (const { replicas } of (await first!.topics.describe('later')).partitions) assert.ok(!replicas.includes(3))
  await others[1]!.cluster.recommission(3)
  assert.equal(await isDecommissioned(others[1]!), false)
  const even = await first!.cluster.rebalance({ dryRun: true })
  assert.ok(even.moves.some(({ topic, to }) => topic === 'later' && to.includes(3)))
})

test('what cannot be is refused with what is wrong, whichever broker is asked', async () => {
  for (const admin of admins) {
    const reassign = (replicas: number[], topic = 'orders', partition = 0) =>
      admin.cluster.reassign([{ topic, partition, replicas }])
    await assert.rejects(reassign([1, 9]), hasCode('INVALID_REPLICA_ASSIGNMENT', /orders-0: broker 9 is not there/))
    await assert.rejects(reassign([1, 1]), hasCode('INVALID_REPLICA_ASSIGNMENT', /each once/))
    await assert.rejects(reassign([1], 'absent'), hasCode('UNKNOWN_TOPIC_OR_PARTITION', /partition 0 of 'absent'/))
    await assert.rejects(reassign([1], 'orders', 6), hasCode('UNKNOWN_TOPIC_OR_PARTITION', /partition 6/))
    await assert.rejects(reassign([-1]), hasCode('INVALID_ARGUMENT', /replicas/))
    await assert.rejects(admin.cluster.decommission(9), hasCode('INVALID_REQUEST', /there is no broker 9/))
  }
})

test('partitions drain: their records stay readable, they take no new ones, and they go when they are empty', async () => {
  await first!.topics.create('drained', { partitions: 3, replicas: 1 })
  const client = cluster.client()
  const producer = client.producer('drained')
  await producer.send({ value: 'a', partition: 2 })
  await assert.rejects(others[0]!.topics.addPartitions('drained', 3, { drain: true }), hasCode('INVALID_PARTITIONS'))
  await others[0]!.topics.addPartitions('drained', 1, { drain: true })
  for (const admin of admins)
    await until('drain here', WAIT_MS, async () => (await admin.topics.describe('drained')).drainFrom === 1)
  await assert.rejects(
    producer.send({ value: 'b', partition: 2 }),
    hasCode('POLICY_VIOLATION', /drained\/2: .*takes no new records: partitions 0 to 0 do/),
  )
  await assert.rejects(others[1]!.topics.addPartitions('drained', 4), hasCode('INVALID_PARTITIONS', /drains/))
  const values: string[] = []
  for await (const { value } of client.consume('drained', { from: 'start', to: 'end' }))
    values.push(new TextDecoder().decode(value!))
  assert.deepEqual(values, ['a'])
  // One reads on while the partitions go: alone, and as a member of a group.
  const tail = client.consume('drained', { from: 'start' })
  const tailed: string[] = []
  const tailing = (async () => {
    for await (const { value } of tail) tailed.push(new TextDecoder().decode(value!))
  })()
  const group = cluster.client().group('readers', ['drained'], { from: 'start' })
  const grouped: string[] = []
  const reading = (async () => {
    for await (const { value } of group) grouped.push(new TextDecoder().decode(value!))
  })()
  await until('record for each', WAIT_MS, () => tailed.length === 1 && grouped.length === 1)
  await group.commit()
  const look = async () => {
    for (const broker of cluster.brokers.values()) await broker.gateway.drainWatch.look()
  }
  const count = async () => (await first!.topics.describe('drained')).partitions.length
  for (let turn = 0; turn < 3; turn++) await look()
  assert.equal(await count(), 3, 'the last partition has a record')
  await first!.topics.trim('drained', { partitions: [2] })
  await look()
  assert.equal(await count(), 3, 'one look is not enough')
  for (let turn = 0; turn < 3; turn++) await look()
  for (const admin of admins)
    await until(
      'single partition',
      WAIT_MS,
      async () => (await admin.topics.describe('drained')).partitions.length === 1,
    )
  assert.equal((await first!.topics.describe('drained')).drainFrom, -1)
  await first!.topics.addPartitions('drained', 2)
  await client.producer('drained').send({ value: 'c', partition: 0 })
  await until('next record for each', WAIT_MS, () => tailed.includes('c') && grouped.includes('c'))
  await tail.close()
  await group.close()
  await Promise.all([tailing, reading])
})

test('a broker alone drains by the same rules, and refuses to move anything', async () => {
  const broker = await createBroker({ storage: 'memory' })
  try {
    const mq = broker.client()
    await mq.admin.topics.create('t', { partitions: 4 })
    await mq.admin.topics.addPartitions('t', 2, { drain: true })
    await assert.rejects(
      mq.producer('t').send({ value: 'x', partition: 3 }),
      hasCode('POLICY_VIOLATION', /partitions 0 to 1 do/),
    )
    await assert.rejects(mq.admin.topics.addPartitions('t', 5), hasCode('INVALID_PARTITIONS', /drains/))
    await mq.admin.topics.addPartitions('t', 4, { drain: true })
    await mq.producer('t').send({ value: 'x', partition: 3 })
    assert.deepEqual(await mq.admin.cluster.moves(), [])
    const alone = hasCode('INVALID_REQUEST', /this broker is alone/)
    await assert.rejects(mq.admin.cluster.rebalance(), alone)
    await assert.rejects(mq.admin.cluster.decommission(1, { dryRun: true }), alone)
  } finally {
    await broker.close()
  }
})

function targetOf({ replicas, removing }: PartitionMove): number[] {
  return replicas.filter((nodeId) => !removing.includes(nodeId))
}
