/** Three brokers in one process, a client, and what happens when a broker dies, stops, comes back or comes with an empty disk. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode } from '../../src/base/bytes.ts'
import type { Client } from '../../src/client/client.ts'
import { brokerKey } from '../../src/coordination/keys.ts'
import type { FileSystem } from '../../src/io/file-system.ts'
import { parsePartitionFolder } from '../../src/model/ids.ts'
import { ControlOperation } from '../../src/ring/control-messages.ts'
import { BrokerCluster } from '../support/broker-cluster.ts'
import { sleep, until } from '../support/until.ts'

const WAIT_MS = 30_000
const LEAVE_MS = 3_000

async function withCluster(
  nodes: number,
  work: (cluster: BrokerCluster) => Promise<void>,
  config: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const cluster = await BrokerCluster.start({ nodes, config })
  try {
    await work(cluster)
  } finally {
    await cluster.close()
  }
}

/** Sends one record after the other until it is stopped; answers what was acknowledged. */
function startLoad(
  client: Client,
  topic: string,
): { stop(): Promise<Set<string>>; readonly acknowledged: Set<string> } {
  const producer = client.producer(topic)
  const acknowledged = new Set<string>()
  let isStopped = false
  let failure: unknown
  const running = (async () => {
    for (let index = 0; !isStopped; index++) {
      const value = String(index)
      const { durability } = await producer.send({ key: `key ${index % 20}`, value })
      assert.ok(durability === 'replicated' || durability === 'fsynced')
      acknowledged.add(value)
    }
  })().catch((error: unknown) => {
    failure = error
  })
  return {
    acknowledged,
    stop: async () => {
      isStopped = true
      await running
      if (failure !== undefined) throw failure
      return acknowledged
    },
  }
}

/** Everything acknowledged is there once, and each key's records in the order in which they were sent. */
async function checkAll(client: Client, topic: string, acknowledged: ReadonlySet<string>): Promise<void> {
  const seen = new Map<string, number>()
  const lastOfKey = new Map<string, number>()
  for await (const record of client.consume(topic, { from: 'start', to: 'end' })) {
    const value = utf8Decode(record.value!)
    seen.set(value, (seen.get(value) ?? 0) + 1)
    const key = utf8Decode(record.key!)
    assert.ok(Number(value) > (lastOfKey.get(key) ?? -1), `order of ${key}`)
    lastOfKey.set(key, Number(value))
  }
  assert.deepEqual(
    [...acknowledged].filter((value) => seen.get(value) !== 1),
    [],
    'acknowledged, and not there exactly once',
  )
}

async function more(acknowledged: ReadonlySet<string>, count: number): Promise<void> {
  const goal = acknowledged.size + count
  await until('more records', WAIT_MS, () => acknowledged.size >= goal)
}

/** All replicas of all partitions of a topic are in sync. */
async function inSync(cluster: BrokerCluster, topic: string, replicas: number): Promise<void> {
  await until(`${replicas} replicas of ${topic} in sync`, WAIT_MS, async () =>
    (await cluster.partitionsOf(topic)).every(({ inSyncReplicas }) => inSyncReplicas.length === replicas),
  )
}

test('a leader is killed, comes back, and all brokers are restarted in turn: nothing lost, nothing twice, order kept', () =>
  withCluster(3, async (cluster) => {
    const client = cluster.client()
    await client.admin.topics.create('t', { partitions: 3, replicas: 3, config: { 'min.insync.replicas': '2' } })
    const load = startLoad(client, 't')
    await more(load.acknowledged, 100)
    cluster.kill(2)
    await more(load.acknowledged, 100)
    await cluster.restart(2)
    await inSync(cluster, 't', 3)
    for (const nodeId of [1, 2, 3]) {
      await cluster.brokers.get(nodeId)!.stop()
      await more(load.acknowledged, 50)
      await cluster.restart(nodeId)
      await inSync(cluster, 't', 3)
    }
    await checkAll(client, 't', await load.stop())
  }))

test('two brokers of three are killed: acks=all waits while fewer than min.insync.replicas are left, and goes on when one is back', () =>
  withCluster(3, async (cluster) => {
    const client = cluster.client()
    await client.admin.topics.create('t', { partitions: 2, replicas: 3, config: { 'min.insync.replicas': '2' } })
    const load = startLoad(client, 't')
    await more(load.acknowledged, 50)
    cluster.kill(1)
    await more(load.acknowledged, 50)
    await inSync(cluster, 't', 2)
    cluster.kill(2)
    await cluster.expire(2)
    await inSync(cluster, 't', 1)
    await sleep(300)
    const { size } = load.acknowledged
    await sleep(500)
    assert.equal(load.acknowledged.size, size, 'one replica is not enough')
    await cluster.restart(1)
    await more(load.acknowledged, 50)
    await checkAll(client, 't', await load.stop())
  }))

test('topics are made, changed and deleted through any broker, and all of them know at once', () =>
  withCluster(3, async (cluster) => {
    for (const nodeId of [1, 2, 3]) {
      const client = cluster.client({ nodes: [nodeId] })
      const name = `t${nodeId}`
      await client.admin.topics.create(name, { partitions: 3 })
      for (const other of [1, 2, 3]) {
        const { partitions } = await cluster.client({ nodes: [other] }).admin.topics.describe(name)
        assert.deepEqual(
          (await cluster.partitionsOf(name)).map(({ replicas, inSyncReplicas }) => [
            replicas.length,
            inSyncReplicas.length,
          ]),
          [
            [3, 3],
            [3, 3],
            [3, 3],
          ],
          'three replicas, without being asked for',
        )
        assert.deepEqual([...new Set(partitions.map(({ leaderNodeId }) => leaderNodeId))].sort(), [1, 2, 3], 'evenly')
      }
      await client.admin.topics.alter(name, { partitions: 5 })
      assert.equal((await client.admin.topics.describe(name)).partitions.length, 5)
      await client.admin.topics.delete(name)
      await assert.rejects(client.admin.topics.describe(name), { code: 'UNKNOWN_TOPIC_OR_PARTITION' })
    }
  }))

test('a replica whose folder is gone, and one with a flipped bit, begin anew from their leaders; what was left is set aside', () =>
  withCluster(3, async (cluster) => {
    const client = cluster.client()
    await client.admin.topics.create('t', { partitions: 2, replicas: 3, config: { 'min.insync.replicas': '2' } })
    const load = startLoad(client, 't')
    await more(load.acknowledged, 200)
    cluster.kill(2)
    const { files, dataDir } = cluster.diskOf(2)
    const [lost, flipped] = partitionFolders(files, dataDir)
    removeFolder(files, `${dataDir}/${lost}`)
    flipByte(files, `${dataDir}/${flipped}/00000000000000000000.log`, 200)
    await more(load.acknowledged, 50)
    await cluster.restart(2)
    await inSync(cluster, 't', 3)
    assert.deepEqual(
      files.list(`${dataDir}/quarantine`).map((name) => name.split('.')[0]),
      [flipped],
    )
    cluster.kill(1)
    await more(load.acknowledged, 50)
    await inSync(cluster, 't', 2)
    cluster.kill(3)
    await cluster.expire(3)
    await inSync(cluster, 't', 1)
    const acknowledged = load.acknowledged
    await cluster.restart(3)
    await more(acknowledged, 20)
    await checkAll(client, 't', await load.stop())
  }))

function partitionFolders(files: FileSystem, dataDir: string): string[] {
  return files.list(dataDir).filter((name) => parsePartitionFolder(name)?.partition !== undefined)
}

function removeFolder(files: FileSystem, path: string): void {
  for (const name of files.list(path)) files.remove(`${path}/${name}`)
  files.removeFolder(path)
}

function flipByte(files: FileSystem, path: string, at: number): void {
  const fd = files.open(path, 'write')
  const byte = new Uint8Array(1)
  files.read(fd, byte, at)
  byte[0] = byte[0]! ^ 0x40
  files.write(fd, [byte], at)
  files.close(fd)
}

test('a broker that starts, and does not see all of the cluster yet, bears that another one is gone', () =>
  withCluster(3, async (cluster) => {
    const client = cluster.client()
    await client.admin.topics.create('t', { partitions: 3, replicas: 3, config: { 'min.insync.replicas': '2' } })
    await inSync(cluster, 't', 3)
    await cluster.brokers.get(3)!.stop()
    // The watch of the one that starts answers late: it has the list, and fetches from leaders that die meanwhile.
    const { store } = cluster
    const watch = store.watch.bind(store)
    const { promise: gate, open } = makeGate()
    let isAsked = false
    store.watch = async (...how) => {
      isAsked = true
      await gate
      return watch(...how)
    }
    const started = cluster.restart(3)
    await until('watch', WAIT_MS, () => isAsked)
    cluster.kill(1)
    await sleep(500)
    open()
    await started
    await cluster.restart(1)
    await inSync(cluster, 't', 3)
  }))

test('a consumer of a leader that is cut off, and does not know it, comes to the new one', () =>
  withCluster(3, async (cluster) => {
    const admin = cluster.client()
    await admin.admin.topics.create('t', { partitions: 1, replicas: 3, config: { 'min.insync.replicas': '2' } })
    const leader = (await cluster.partitionsOf('t'))[0]!.leader
    const others = [1, 2, 3].filter((nodeId) => nodeId !== leader)
    await admin.producer('t').send({ value: 'before' })
    const read: string[] = []
    const consumer = cluster.client({ nodes: [leader] })
    const reading = (async () => {
      for await (const { value } of consumer.consume('t', { from: 'start' }))
        if (read.push(utf8Decode(value!)) === 2) return
    })()
    await until('the first record', WAIT_MS, () => read.length === 1)
    await cluster.isolate(leader)
    await until('another leader', WAIT_MS, async () => (await cluster.partitionsOf('t'))[0]!.leader !== leader)
    await cluster.client({ nodes: others }).producer('t').send({ value: 'after' })
    await until('the second record', WAIT_MS, () => read.length === 2)
    await reading
    assert.deepEqual(read, ['before', 'after'])
  }))

test('a leader that is cut from the other brokers, and not from the store, gives way to one that can acknowledge', () =>
  withCluster(
    3,
    async (cluster) => {
      const client = cluster.client()
      await client.admin.topics.create('t', { partitions: 2, replicas: 3, config: { 'min.insync.replicas': '2' } })
      const load = startLoad(client, 't')
      await more(load.acknowledged, 50)
      const leader = (await cluster.partitionsOf('t'))[0]!.leader
      for (const other of [1, 2, 3]) if (other !== leader) cluster.cutBetween(leader, other)
      await until('another leader', WAIT_MS, async () =>
        (await cluster.partitionsOf('t')).every((partition) => partition.leader !== leader),
      )
      await more(load.acknowledged, 50)
      for (const { inSyncReplicas } of await cluster.partitionsOf('t')) assert.equal(inSyncReplicas.length, 2)
      cluster.heal()
      await inSync(cluster, 't', 3)
      await checkAll(client, 't', await load.stop())
    },
    { 'cluster.replicaLag': '2s' },
  ))

test('a leader whose disk is full gives way to a broker that has room; where none has, nothing moves', () =>
  withCluster(3, async (cluster) => {
    const client = cluster.client()
    await client.admin.topics.create('t', { partitions: 1, replicas: 3, config: { 'min.insync.replicas': '2' } })
    await inSync(cluster, 't', 3)
    const stateNow = async () => (await cluster.partitionsOf('t'))[0]!
    const { leader: first } = await stateNow()
    const emptied = [fillDisk(cluster, first)]
    await until('another leader', WAIT_MS, async () => (await stateNow()).leader !== first)
    const { leader: second, leaderEpoch, inSyncReplicas } = await stateNow()
    assert.equal(inSyncReplicas.length, 3, 'it follows')
    await client.producer('t').send({ value: 'taken' })
    // The leader last: one with room would get the lead.
    const third = [1, 2, 3].find((nodeId) => nodeId !== first && nodeId !== second)!
    for (const [full, nodeId] of [
      [2, third],
      [3, second],
    ] as const) {
      emptied.push(fillDisk(cluster, nodeId))
      await until(`${full} brokers are full`, WAIT_MS, async () => (await fullBrokers(cluster)) === full)
    }
    await sleep(500)
    assert.deepEqual([(await stateNow()).leader, (await stateNow()).leaderEpoch], [second, leaderEpoch])
    for (const empty of emptied) empty()
    await until('room', WAIT_MS, async () => (await fullBrokers(cluster)) === 0)
    await client.producer('t').send({ value: 'taken again' })
  }))

/** From now on it tells that next to nothing is free, until the answer is called. */
function fillDisk(cluster: BrokerCluster, nodeId: number): () => void {
  const { files } = cluster.diskOf(nodeId)
  const freeBytes = files.freeBytes.bind(files)
  files.freeBytes = () => 1
  return () => {
    files.freeBytes = freeBytes
  }
}

async function fullBrokers(cluster: BrokerCluster): Promise<number> {
  return (await cluster.brokersNow()).filter(({ isDiskLow }) => isDiskLow === true).length
}

function makeGate(): { readonly promise: Promise<void>; open(): void } {
  let open = (): void => {}
  const promise = new Promise<void>((resolve) => {
    open = resolve
  })
  return { promise, open: () => open() }
}

test('a broker that stops has left the cluster before its shards end: acks=all of the others does not wait for what fetches no more', () =>
  withCluster(2, async (cluster) => {
    const link = cluster.brokers.get(2)!.gateway.links[0]!
    const control = link.control.bind(link)
    let hasLeft = false
    link.control = async (operation, body) => {
      if (operation === ControlOperation.SHUTDOWN)
        await until('the end of its registration', LEAVE_MS, async () => {
          hasLeft = (await cluster.store.get(brokerKey(2))) === undefined
          return hasLeft
        }).catch(() => {})
      return control(operation, body)
    }
    await cluster.brokers.get(2)!.stop()
    assert.ok(hasLeft)
  }))
