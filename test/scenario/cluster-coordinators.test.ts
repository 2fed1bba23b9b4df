/** Groups and transactions on three brokers, while the broker of their coordinator dies. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode } from '../../src/base/bytes.ts'
import { coordinatorPartitionOf, OFFSETS_TOPIC, TRANSACTIONS_TOPIC } from '../../src/model/internal-topics.ts'
import { BrokerCluster } from '../support/broker-cluster.ts'
import { until } from '../support/until.ts'

const WAIT_MS = 60_000

async function withCluster(work: (cluster: BrokerCluster) => Promise<void>): Promise<void> {
  const cluster = await BrokerCluster.start({ nodes: 3 })
  try {
    await work(cluster)
  } finally {
    await cluster.close()
  }
}

/** The broker that coordinates `id`. */
async function coordinatorOf(cluster: BrokerCluster, topic: string, id: string): Promise<number> {
  const partitions = await cluster.partitionsOf(topic)
  return partitions[coordinatorPartitionOf(id, partitions.length)]!.leader
}

test('the broker of a group’s coordinator is killed, twice: the group goes on, everything is handled, no offset falls', () =>
  withCluster(async (cluster) => {
    const client = cluster.client()
    await client.admin.topics.create('t', { partitions: 4, replicas: 3, config: { 'min.insync.replicas': '2' } })
    const producer = client.producer('t')
    const handled = new Map<string, number>()
    const members = [1, 2].map(() => cluster.client().group('g', ['t'], { from: 'start' }))
    const running = members.map((group) =>
      group.run(async (record) => {
        const value = utf8Decode(record.value!)
        handled.set(value, (handled.get(value) ?? 0) + 1)
      }),
    )
    let sent = 0
    const send = async (count: number): Promise<void> => {
      for (let index = 0; index < count; index++) await producer.send({ key: `k${sent % 7}`, value: String(sent++) })
    }
    await send(100)
    await until('the first records handled', WAIT_MS, () => handled.size === sent)
    for (let round = 0; round < 2; round++) {
      const broker = await coordinatorOf(cluster, OFFSETS_TOPIC, 'g')
      cluster.kill(broker)
      await send(50)
      await until('what came after the kill handled', WAIT_MS, () => handled.size === sent)
      await cluster.restart(broker)
      await until('all in sync', WAIT_MS, async () =>
        [...(await cluster.partitionsOf('t')), ...(await cluster.partitionsOf(OFFSETS_TOPIC))].every(
          ({ inSyncReplicas }) => inSyncReplicas.length === 3,
        ),
      )
    }
    const twice = [...handled.values()].filter((count) => count > 1).length
    assert.ok(twice < sent / 2, `${twice} of ${sent} were handled again`)
    await Promise.all(members.map((group) => group.close()))
    await Promise.all(running)
    await until('everything committed', WAIT_MS, async () => {
      const { offsets } = await client.admin.groups.describe('g')
      return offsets.reduce((sum, { offset }) => sum + offset, 0) === sent && offsets.every(({ lag }) => lag === 0)
    })
  }))

test('the broker of a transaction’s coordinator is killed in the middle: each transaction is there wholly, once, or not at all', () =>
  withCluster(async (cluster) => {
    const client = cluster.client()
    await client.admin.topics.create('t', { partitions: 4, replicas: 3, config: { 'min.insync.replicas': '2' } })
    const producer = client.producer('t', { transactionalId: 'p' })
    const committed: number[] = []
    let next = 0
    const transact = async (): Promise<void> => {
      const number = next++
      await producer.transaction(async (transaction) => {
        for (let part = 0; part < 4; part++)
          await transaction.send('t', { key: `k${part}`, value: `${number}/${part}`, partition: part })
      })
      committed.push(number)
    }
    for (let index = 0; index < 20; index++) await transact()
    for (let round = 0; round < 2; round++) {
      const broker = await coordinatorOf(cluster, TRANSACTIONS_TOPIC, 'p')
      const running = (async () => {
        for (let index = 0; index < 30; index++) await transact()
      })()
      cluster.kill(broker)
      await running
      await cluster.restart(broker)
      await until('all in sync', WAIT_MS, async () =>
        [...(await cluster.partitionsOf('t')), ...(await cluster.partitionsOf(TRANSACTIONS_TOPIC))].every(
          ({ inSyncReplicas }) => inSyncReplicas.length === 3,
        ),
      )
    }
    const seen = new Map<string, number>()
    for await (const { value } of client.consume('t', { from: 'start', to: 'end' })) {
      const text = utf8Decode(value!)
      seen.set(text, (seen.get(text) ?? 0) + 1)
    }
    const wanted = committed.flatMap((number) => [0, 1, 2, 3].map((part) => `${number}/${part}`))
    assert.deepEqual([...seen.keys()].sort(), wanted.sort())
    assert.deepEqual(
      [...seen.values()].filter((count) => count !== 1),
      [],
    )
  }))

test('a group and the transactional id of its member are coordinated by two brokers: results and offsets are one thing, whichever of the two dies', () =>
  withCluster(async (cluster) => {
    const client = cluster.client()
    const config = { 'min.insync.replicas': '2' }
    for (const name of ['in', 'out']) await client.admin.topics.create(name, { partitions: 2, replicas: 3, config })
    // Makes both internal topics.
    await client.producer('out', { transactionalId: 'maker' }).ready()
    const warming = client.group('maker', ['in'], { from: 'end' })
    warming.start()
    await until('the topic of groups', WAIT_MS, () => cluster.partitionsOf(OFFSETS_TOPIC).catch(() => undefined))
    await warming.close()
    const groupBroker = await coordinatorOf(cluster, OFFSETS_TOPIC, 'g')
    let name = ''
    for (
      let number = 0;
      name === '' || (await coordinatorOf(cluster, TRANSACTIONS_TOPIC, name)) === groupBroker;
      number++
    )
      name = `worker-${number}`
    const group = cluster.client().group('g', ['in'], {
      ...{ from: 'start', semantics: 'exactly-once', transactionalId: name, transaction: { timeoutMs: 10_000 } },
    })
    const running = group.run(({ partition, value }, { transaction }) => {
      transaction.send('out', { partition, value: value! }).catch(() => {})
    })
    const producer = client.producer('in')
    let sent = 0
    const send = async (count: number): Promise<void> => {
      for (let index = 0; index < count; index++) await producer.send({ partition: sent % 2, value: String(sent++) })
    }
    const results: string[] = []
    const stop = new AbortController()
    const reading = (async () => {
      for await (const { value } of client.consume('out', { from: 'start', signal: stop.signal }))
        results.push(utf8Decode(value!))
    })().catch((error: unknown) => {
      if (!stop.signal.aborted) throw error
    })
    await send(100)
    await until('results of all', WAIT_MS, () => results.length === sent)
    for (const [topic, id] of [
      [OFFSETS_TOPIC, 'g'],
      [TRANSACTIONS_TOPIC, name],
    ] as const) {
      const broker = await coordinatorOf(cluster, topic, id)
      cluster.kill(broker)
      await send(50)
      await until('results of all', WAIT_MS, () => results.length >= sent)
      await cluster.restart(broker)
      await until('all in sync', WAIT_MS, async () =>
        (await Promise.all(['in', 'out', OFFSETS_TOPIC, TRANSACTIONS_TOPIC].map((each) => cluster.partitionsOf(each))))
          .flat()
          .every(({ inSyncReplicas }) => inSyncReplicas.length === 3),
      )
    }
    await group.close()
    await running
    stop.abort()
    await reading
    const ofPartition = (partition: number) => results.map(Number).filter((number) => number % 2 === partition)
    const wanted = Array.from({ length: sent }, (_, number) => number)
    for (const partition of [0, 1])
      assert.deepEqual(
        ofPartition(partition),
        wanted.filter((number) => number % 2 === partition),
      )
    const { offsets } = await client.admin.groups.describe('g')
    assert.equal(
      offsets.reduce((sum, { offset }) => sum + offset, 0),
      sent,
    )
  }))

test('the first group and the first transaction come while one broker of three is away: served by two, replicated by three later', () =>
  withCluster(async (cluster) => {
    const client = cluster.client()
    await client.admin.topics.create('t', { partitions: 1, replicas: 3 })
    cluster.kill(3)
    await until('two brokers', WAIT_MS, async () => (await cluster.brokersNow()).length === 2)
    await client
      .producer('t', { transactionalId: 'p' })
      .transaction((transaction) => transaction.send('t', { value: 'x' }))
    const group = client.group('g', ['t'], { from: 'start' })
    for await (const record of group) {
      await group.commit(record)
      break
    }
    await group.close()
    await cluster.restart(3)
    for (const topic of [OFFSETS_TOPIC, TRANSACTIONS_TOPIC])
      await until(`three replicas of ${topic}`, WAIT_MS, async () =>
        (await cluster.partitionsOf(topic)).every(({ inSyncReplicas }) => inSyncReplicas.length === 3),
      )
  }))

test('internal topics that one broker made alone have three replicas when there are three brokers', async () => {
  const cluster = await BrokerCluster.start({ nodes: 1 })
  try {
    const client = cluster.client()
    await client.admin.topics.create('t', { partitions: 1 })
    await client.producer('t').send({ value: 'x' })
    const group = client.group('g', ['t'], { from: 'start' })
    for await (const record of group) {
      await group.commit(record)
      break
    }
    await group.close()
    assert.deepEqual((await cluster.partitionsOf(OFFSETS_TOPIC))[0]!.replicas, [1])
    await cluster.add(2)
    await cluster.add(3)
    await until('three replicas in sync', WAIT_MS, async () =>
      (await cluster.partitionsOf(OFFSETS_TOPIC)).every(
        ({ replicas, inSyncReplicas, adding }) =>
          replicas.length === 3 && inSyncReplicas.length === 3 && adding.length === 0,
      ),
    )
    assert.equal((await client.admin.groups.describe('g')).offsets[0]!.offset, 1)
  } finally {
    await cluster.close()
  }
})
