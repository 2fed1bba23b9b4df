/**
 * A single broker with records, groups and transactions becomes the first one of a cluster on a real etcd, as docs/deploy.md says; two more brokers
 * join, its topics get replicas there, and it dies: nothing that was acknowledged is lost, nothing is there twice, whoever went on goes on.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { utf8Decode } from '../../src/base/bytes.ts'
import { type Client, connect } from '../../src/client/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { EtcdCluster, findEtcd } from '../support/etcd-process.ts'
import { hasCode } from '../support/expect.ts'
import { millrace } from '../support/run-millrace.ts'
import { until } from '../support/until.ts'

const WAIT_MS = 60_000
const RECORDS = 300
const TRIMMED_TO = 20
/** Each of it handled this many before it moved. */
const HANDLED = 120
const LEASE = ['--set', 'cluster.leaseTtl=3s']

const found = findEtcd()
const options = found.kind === 'found' ? { timeout: 300_000 } : { skip: found.reason }
let etcd: EtcdCluster

before(async () => {
  if (found.kind === 'found') etcd = await EtcdCluster.start({ program: found.program })
})
after(() => etcd?.close())

interface Seen {
  readonly partition: number
  readonly offset: number
  readonly timestampMs: number
  readonly key: string
  readonly value: string
  readonly headers: string
}

async function read(mq: Client, topic: string): Promise<Seen[]> {
  const seen: Seen[] = []
  for await (const record of mq.consume(topic, { from: 'start', to: 'end' })) {
    const { partition, offset, timestampMs, key, value, headers } = record
    const texts = { key: utf8Decode(key ?? new Uint8Array()), value: utf8Decode(value!) }
    seen.push({ partition, offset, timestampMs, ...texts, headers: JSON.stringify(headers) })
  }
  return seen.sort((left, right) => left.partition - right.partition || left.offset - right.offset)
}

/** Reads `count` records with the group, and commits them. */
async function handle(mq: Client, count: number): Promise<string[]> {
  const values: string[] = []
  const group = mq.group('g', 'plain', { from: 'start', commit: 'manual' })
  for await (const record of group) {
    values.push(utf8Decode(record.value!))
    if (values.length % 20 === 0 || values.length === count) await group.commit()
    if (values.length === count) break
  }
  await group.close()
  return values
}

async function fill(mq: Client): Promise<void> {
  const { topics } = mq.admin
  await topics.create('plain', { partitions: 3 })
  await topics.create('orders', { partitions: 2, config: { 'millrace.fsync': 'interval' } })
  // More keys than a transaction of the store takes.
  await topics.create('wide', { partitions: 120 })
  await mq.producer('plain').sendMany(
    Array.from({ length: RECORDS }, (_, index) => ({
      ...{ key: `key ${index}`, value: `${index} ${'x'.repeat(index * 7)}`, partition: index % 3 },
      headers: [{ key: 'index', value: String(index) }],
    })),
  )
  await topics.trim('plain', { before: TRIMMED_TO })
  const producer = mq.producer('orders', { transactionalId: 'pay' })
  for (const round of ['1', '2'])
    await producer.transaction(async (transaction) => {
      for (const partition of [0, 1]) transaction.send({ value: `paid ${round}`, partition })
    })
  await assert.rejects(
    producer.transaction(async (transaction) => {
      await transaction.send({ value: 'not paid', partition: 0 })
      throw new Error('no')
    }),
    /no/,
  )
  await producer.transaction(async (transaction) => {
    transaction.send({ value: 'paid 3', partition: 1 })
  })
}

/** But for how long ago they were. */
async function offsetsOf(mq: Client) {
  return (await mq.admin.groups.offsets('g')).map(({ lagMs: _, ...rest }) => rest)
}

async function clusterOf(mq: Client, nodes: number): Promise<void> {
  await until(`${nodes} brokers`, WAIT_MS, async () => (await mq.admin.describeCluster()).brokers.length === nodes)
}

for (const end of ['stopped', 'killed'] as const)
  test(
    `a broker that was ${end} moves into a cluster with all it has, and the cluster outlives it`,
    options,
    async () => {
      await etcd.removeAll()
      const dirs = [makeDataDir(), makeDataDir(), makeDataDir()]
      const brokers: BrokerProcess[] = []
      const clients: Client[] = []
      const open = async (...urls: string[]): Promise<Client> => {
        const mq = await connect(urls, { connectWaitMs: 20_000 })
        clients.push(mq)
        return mq
      }
      const etcdFlags = ['--etcd', etcd.urls.join(',')]
      const start = async (nodeId: number): Promise<BrokerProcess> => {
        const args = ['--node-id', String(nodeId), ...etcdFlags, ...LEASE]
        const broker = await BrokerProcess.start({ dataDir: dirs[nodeId - 1]!, args })
        brokers.push(broker)
        return broker
      }
      try {
        const alone = await BrokerProcess.start({ dataDir: dirs[0]! })
        brokers.push(alone)
        const before = await open(alone.url)
        await fill(before)
        const handled = await handle(before, HANDLED)
        const plain = await read(before, 'plain')
        const orders = await read(before, 'orders')
        assert.deepEqual([plain.length, orders.length], [RECORDS - 3 * TRIMMED_TO, 5])
        const offsets = await offsetsOf(before)
        // It is open when the broker ends; nobody ends it.
        const open1 = before.producer('orders', { transactionalId: 'left-open', transactionTimeoutMs: 5_000 })
        const never = await open1.begin()
        await never.send({ value: 'never', partition: 0 })
        if (end === 'killed') await alone.kill()
        else await alone.stop()
        await before.close({ signal: AbortSignal.timeout(1_000) }).catch(() => {})

        const adopt = ['cluster', 'adopt', '--data-dir', dirs[0]!, ...etcdFlags]
        const dry = await millrace([...adopt, '--dry-run'])
        assert.match(dry.stdout + dry.stderr, /would be written to etcd/)
        const adopted = await millrace(adopt)
        assert.equal(adopted.code, 0, adopted.stderr)
        assert.match(adopted.stdout + adopted.stderr, /are in etcd now/)

        const first = await start(1)
        const mq = await open(first.url)
        assert.deepEqual(await read(mq, 'plain'), plain)
        assert.deepEqual(await offsetsOf(mq), offsets)
        // It waits until what was left open is aborted: nobody but its timeout does that.
        assert.deepEqual(await read(mq, 'orders'), orders)
        const pay = mq.producer('orders', { transactionalId: 'pay' })
        await pay.transaction(async (transaction) => void transaction.send({ value: 'paid 4', partition: 0 }))

        const second = await start(2)
        const third = await start(3)
        await clusterOf(mq, 3)
        // It was told of the first broker alone: so it learns of the others.
        await mq.admin.topics.list()
        for (const topic of ['plain', 'orders']) {
          const flags = ['--topic', topic, '--replicas', '1,2,3', '--wait']
          const moved = await millrace(['cluster', 'reassign', ...flags], { url: first.url })
          assert.equal(moved.code, 0, moved.stderr + moved.stdout)
        }
        const all = await open(second.url, third.url, first.url)
        const internal = ['__consumer_offsets', '__transaction_state']
        await until('three replicas in sync', WAIT_MS, async () => {
          const topics = await Promise.all(
            ['plain', 'orders', ...internal].map((name) => all.admin.topics.describe(name)),
          )
          return topics.every(({ partitions }) => partitions.every(({ inSync }) => inSync.length === 3))
        })
        await first.kill()

        assert.deepEqual(await read(all, 'plain'), plain)
        const paid = (await read(all, 'orders')).map(({ value }) => value).sort()
        assert.deepEqual(paid, [...orders.map(({ value }) => value), 'paid 4'].sort())
        // The group goes on where it has committed: the record that it stood at when it ended comes again.
        const committed = new Map(offsets.map(({ partition, offset }) => [partition, offset]))
        const left = plain.filter(({ partition, offset }) => offset >= (committed.get(partition) ?? 0))
        const rest = await handle(all, left.length)
        assert.deepEqual(rest.sort(), left.map(({ value }) => value).sort())
        assert.ok(left.length <= plain.length - handled.length + 1, `${left.length} come again`)
        // Whoever had the transactional id before is fenced by whoever takes it now, over the move and the failover.
        const again = all.producer('orders', { transactionalId: 'pay' })
        await again.transaction(async (transaction) => void transaction.send({ value: 'paid 5', partition: 1 }))
        await assert.rejects(
          pay.transaction(async (transaction) => void (await transaction.send({ value: 'twice', partition: 1 }))),
          hasCode('PRODUCER_FENCED'),
        )
        assert.equal((await read(all, 'orders')).length, orders.length + 2)
        const { durability } = await all.producer('plain').send({ value: 'new', partition: 0 })
        assert.ok(durability === 'fsynced' || durability === 'replicated')
      } finally {
        for (const mq of clients) await mq.close({ signal: AbortSignal.timeout(2_000) }).catch(() => {})
        for (const broker of brokers) await broker.kill()
        for (const dir of dirs) removeDataDir(dir)
      }
    },
  )
