/** What a client promises, whatever is between it and the broker. Run by client.test.ts on each make. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Client, ClientOptions, ConsumedRecord, ConsumerOptions } from '../../src/client/index.ts'
import { hasCode } from '../support/expect.ts'
import { until } from '../support/until.ts'
import { clientFlowContract } from './client-flow.contract.ts'
import { transactionContract } from './transactions.contract.ts'

export interface ClientMake {
  connect(options?: ClientOptions): Promise<Client>
  /** Breaks every connection, as a network's fault does. */
  dropConnections(): void
  close(): Promise<void>
}

/** One broker for a make's whole suite; topics are the tests' own. */
export interface ClientFixture {
  readonly mq: Client
  readonly make: ClientMake
}

export type ClientTest = (title: string, work: (fixture: ClientFixture) => Promise<void>) => void

const decoder = new TextDecoder()

export function textOf(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : decoder.decode(bytes)
}

/** Everything from start to end, copied. */
export async function readAll(mq: Client, topic: string, options: ConsumerOptions = {}): Promise<ConsumedRecord[]> {
  const records: ConsumedRecord[] = []
  for await (const record of mq.consume(topic, { from: 'start', to: 'end', ...options })) records.push(record)
  return records
}

export async function valuesOf(
  mq: Client,
  topic: string,
  options: ConsumerOptions = {},
): Promise<readonly (string | null)[]> {
  return (await readAll(mq, topic, options)).map((record) => textOf(record.value))
}

export function numbered(count: number, from = 0): { value: string }[] {
  return Array.from({ length: count }, (_, index) => ({ value: `${from + index}` }))
}

/** `start` answers undefined where this machine cannot have the make; `missing` says why then. */
export function clientContract(name: string, start: () => Promise<ClientMake | undefined>, missing = ''): void {
  describe(name, () => {
    let made: ClientMake | undefined
    let mq: Client | undefined
    before(async () => {
      made = await start()
      mq = await made?.connect({ backoffMsMin: 5, backoffMsMax: 50 })
    })
    after(async () => {
      await mq?.close()
      await made?.close()
    })
    const each: ClientTest = (title, work) =>
      test(`${name}: ${title}`, async (t) => {
        if (made === undefined || mq === undefined) t.skip(missing)
        else await work({ mq, make: made })
      })
    recordContract(each)
    positionContract(each)
    adminContract(each)
    clientFlowContract(each)
    transactionContract(each)
  })
}

function recordContract(each: ClientTest): void {
  each('records come back once each, each key in order', async ({ mq }) => {
    await mq.admin.topics.create('keyed', { partitions: 5 })
    const producer = mq.producer('keyed')
    await producer.ready()
    for (let index = 0; index < 5_000; index++)
      while (!producer.enqueue({ key: `k${index % 37}`, value: `${index}` })) await producer.ready()
    await producer.drain()
    const last = new Map<string, number>()
    const next = new Map<number, number>()
    const records = await readAll(mq, 'keyed')
    for (const { key, value, partition, offset } of records) {
      const number = Number(textOf(value))
      assert.equal(textOf(key), `k${number % 37}`)
      assert.equal(number, (last.get(textOf(key)!) ?? (number % 37) - 37) + 37)
      last.set(textOf(key)!, number)
      assert.equal(offset, next.get(partition) ?? 0)
      next.set(partition, offset + 1)
    }
    assert.equal(records.length, 5_000)
  })

  each('keys, values, nulls, empties, headers and timestamps are what was sent', async ({ mq }) => {
    await mq.admin.topics.create('exact', { partitions: 1 })
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index)
    const sent = [
      { key: bytes, value: bytes, timestampMs: 1_000_000, headers: [{ key: 'raw', value: bytes }] },
      { key: null, value: null, timestampMs: 1_000_001 },
      { key: '', value: '', timestampMs: 1_000_002, headers: [{ key: '', value: null }] },
      {
        key: 'ключ',
        value: '値',
        timestampMs: 1_000_003,
        headers: [1, 2].map((n) => ({ key: 'twice', value: `${n}` })),
      },
    ]
    await mq.producer('exact').sendMany(sent)
    const got = await readAll(mq, 'exact')
    const asBytes = (part: string | Uint8Array | null) =>
      part === null ? null : typeof part === 'string' ? [...new TextEncoder().encode(part)] : [...part]
    assert.deepEqual(
      got.map(({ key, value, timestampMs, headers }) => ({
        ...{ key: asBytes(key), value: asBytes(value), timestampMs },
        headers: headers.map((header) => [header.key, asBytes(header.value)]),
      })),
      sent.map(({ key, value, timestampMs, headers = [] }) => ({
        ...{ key: asBytes(key), value: asBytes(value), timestampMs },
        headers: headers.map((header) => [header.key, asBytes(header.value)]),
      })),
    )
  })

  each('receipts say where and how durable, for every acks', async ({ mq }) => {
    await mq.admin.topics.create('receipts', { partitions: 2 })
    const all = await mq.producer('receipts').sendMany([1, 2, 3].map((n) => ({ value: `${n}`, partition: 1 })))
    assert.deepEqual(
      all.map(({ topic, partition, offset }) => [topic, partition, offset]),
      [0, 1, 2].map((offset) => ['receipts', 1, offset]),
    )
    for (const { durability, timestampMs } of all) {
      assert.match(durability, /fsynced|replicated/)
      assert.ok(timestampMs > 1_600_000_000_000)
    }
    const leader = await mq.producer('receipts', { acks: 'leader' }).send({ value: '4', partition: 1 })
    assert.equal(leader.offset, 3)
    const none = await mq.producer('receipts', { acks: 'none' }).send({ value: '5', partition: 1 })
    assert.deepEqual([none.offset, none.durability], [-1, 'none'])
    const consumer = mq.consume('receipts', { from: 'start', partitions: [1] })
    const iterator = consumer[Symbol.asyncIterator]()
    for (let expected = 1; expected <= 5; expected++) {
      const { value } = await iterator.next()
      assert.equal(textOf(value.value), `${expected}`)
    }
    await consumer.close()
  })

  each('a topic that syncs by interval acknowledges after the write', async ({ mq }) => {
    await mq.admin.topics.create('interval', { partitions: 1, config: { 'millrace.fsync': 'interval' } })
    assert.equal((await mq.producer('interval').send({ value: 'x' })).durability, 'written')
    assert.deepEqual(await valuesOf(mq, 'interval'), ['x'])
  })

  each('every compression comes back', async ({ mq }) => {
    await mq.admin.topics.create('packed', { partitions: 1 })
    const value = 'the same words over and over, '.repeat(300)
    for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)
      await mq.producer('packed', { compression }).send({ value })
    assert.deepEqual(await valuesOf(mq, 'packed'), Array(5).fill(value))
  })

  each('large records and batches pass up to the topic’s limit, larger ones fail by name and alone', async ({ mq }) => {
    await mq.admin.topics.create('large', { partitions: 1 })
    const producer = mq.producer('large', { batchBytesMax: 1_000_000 })
    const value = new Uint8Array(900_000).map((_, index) => index * 31)
    await producer.sendMany(Array.from({ length: 12 }, () => ({ value })))
    await assert.rejects(producer.send({ value: new Uint8Array(2_000_000) }), hasCode('MESSAGE_TOO_LARGE'))
    assert.equal((await producer.send({ value: 'after' })).offset, 12)
    const got = await readAll(mq, 'large', { fetchBytesMax: 500_000 })
    assert.equal(got.length, 13)
    for (const record of got.slice(0, 12)) assert.deepEqual(record.value, value)
  })

  each('batches() hands out whole batches and a cursor over their records', async ({ mq }) => {
    await mq.admin.topics.create('batches', { partitions: 1 })
    await mq.producer('batches', { batchBytesMax: 2_048 }).sendMany(numbered(500))
    let count = 0
    let nextOffset = 0
    for await (const batch of mq.consume('batches', { from: 'start', to: 'end' }).batches()) {
      assert.ok(batch.bytes.length > 0 && batch.highWatermark <= 500)
      assert.equal(batch.fromOffset, nextOffset)
      const record = batch.reader()
      while (record.next()) {
        assert.equal(textOf(record.value), `${record.offset}`)
        count++
      }
      nextOffset = batch.nextOffset
    }
    assert.deepEqual([count, nextOffset], [500, 500])
  })
}

function positionContract(each: ClientTest): void {
  each('every position is found', async ({ mq }) => {
    await mq.admin.topics.create('positions', { partitions: 1 })
    const records = numbered(300).map((record, index) => ({ ...record, timestampMs: 1_000_000 + index }))
    await mq.producer('positions', { batchBytesMax: 1_024 }).sendMany(records)
    const offset = async (position: Parameters<typeof mq.admin.topics.offsets>[1]) =>
      (await mq.admin.topics.offsets('positions', position))[0]!.offset
    assert.equal(await offset('start'), 0)
    assert.equal(await offset('end'), 300)
    assert.equal(await offset({ offset: 17 }), 17)
    assert.equal(await offset({ last: 5 }), 295)
    assert.equal(await offset({ skip: 5 }), 5)
    assert.equal(await offset({ time: 1_000_123 }), 123)
    assert.equal(await offset({ time: 5_000_000 }), 300)
    assert.deepEqual(await valuesOf(mq, 'positions', { from: { last: 3 } }), ['297', '298', '299'])
    assert.deepEqual(await valuesOf(mq, 'positions', { from: { offset: 10 }, to: { offset: 13 } }), ['10', '11', '12'])
    assert.deepEqual(await valuesOf(mq, 'positions', { from: { time: 1_000_297 }, to: { time: 1_000_299 } }), [
      '297',
      '298',
    ])
    assert.deepEqual(await valuesOf(mq, 'positions', { from: { skip: 299 } }), ['299'])
  })

  each('`to: end` is where the end was when the reading began', async ({ mq }) => {
    await mq.admin.topics.create('end', { partitions: 3 })
    assert.deepEqual(await valuesOf(mq, 'end'), [])
    await mq.producer('end').sendMany(numbered(30))
    const consumer = mq.consume('end', { from: 'start', to: 'end' })
    await consumer.start()
    await mq.producer('end').sendMany(numbered(30, 30))
    let count = 0
    for await (const record of consumer) {
      assert.ok(Number(textOf(record.value)) < 30)
      count++
    }
    assert.equal(count, 30)
  })

  each('an offset that is not there fails by name, or goes where it was told to', async ({ mq }) => {
    await mq.admin.topics.create('ranges', { partitions: 1 })
    await mq.producer('ranges').sendMany(numbered(10))
    await mq.admin.topics.trim('ranges', { before: 4 })
    const first = async (options: ConsumerOptions) => {
      const consumer = mq.consume('ranges', { from: { offset: 1 }, ...options })
      try {
        return (await consumer[Symbol.asyncIterator]().next()).value?.offset
      } finally {
        await consumer.close()
      }
    }
    await assert.rejects(first({}), hasCode('OFFSET_OUT_OF_RANGE', /\[4, 10\]/))
    assert.equal(await first({ onOutOfRange: 'earliest' }), 4)
    const latest = first({ onOutOfRange: 'latest' })
    let isRead = false
    void latest.then(() => {
      isRead = true
    })
    await until('a record after the end', 10_000, async () => {
      await mq.producer('ranges').send({ value: 'late' })
      return isRead
    })
    assert.ok((await latest)! >= 10)
  })

  each('a waiting reader wakes by the record, and goes on after an empty wait', async ({ mq }) => {
    await mq.admin.topics.create('waiting', { partitions: 4 })
    const patient = mq.consume('waiting', { from: 'end', waitMs: 30_000 })
    const hasty = mq.consume('waiting', { from: 'end', waitMs: 1 })
    await Promise.all([patient.start(), hasty.start()])
    const iterators = [patient, hasty].map((consumer) => consumer[Symbol.asyncIterator]())
    for (let index = 0; index < 8; index++) {
      const nexts = iterators.map((iterator) => iterator.next())
      await mq.producer('waiting').send({ value: `${index}`, partition: index % 4 })
      for (const next of nexts) assert.equal(textOf((await next).value.value), `${index}`)
    }
    await Promise.all([patient.close(), hasty.close()])
  })
}

function adminContract(each: ClientTest): void {
  each('topics are made, listed, described, altered, trimmed and deleted', async ({ mq }) => {
    const { topics } = mq.admin
    const made = await topics.create('managed', { partitions: 2, config: { 'retention.ms': '60000' } })
    assert.deepEqual([made.created, made.partitions], [true, 2])
    assert.equal((await topics.create('managed', { ifNotExists: true })).created, false)
    assert.equal((await topics.create('planned', { validateOnly: true })).created, false)
    const names = (await topics.list()).map((topic) => topic.name)
    assert.ok(names.includes('managed') && !names.includes('planned'))
    await mq.producer('managed').sendMany(numbered(10).map((record) => ({ ...record, partition: 0 })))
    assert.deepEqual(await topics.trim('managed', { before: 4, partitions: [0] }), [{ partition: 0, offset: 4 }])
    const { config, partitions } = await topics.describe('managed')
    assert.equal(config['retention.ms'], '60000')
    assert.deepEqual(
      partitions.map(({ logStartOffset, highWatermark }) => [logStartOffset, highWatermark]),
      [
        [4, 10],
        [0, 0],
      ],
    )
    assert.equal((await topics.alter('managed', { set: { 'retention.ms': '70000' } }))['retention.ms'], '70000')
    assert.equal((await topics.alter('managed', { remove: ['retention.ms'] }))['retention.ms'], undefined)
    await topics.alter('managed', { partitions: 5 })
    assert.equal((await topics.describe('managed')).partitions.length, 5)
    assert.equal((await mq.producer('managed').send({ value: 'new', partition: 4 })).offset, 0)
    await topics.delete('managed')
    await assert.rejects(topics.describe('managed'), hasCode('UNKNOWN_TOPIC_OR_PARTITION'))
  })

  each('faults have their codes', async ({ mq }) => {
    const { topics } = mq.admin
    await topics.create('exists', { partitions: 2 })
    await assert.rejects(topics.create('exists'), hasCode('TOPIC_ALREADY_EXISTS'))
    await assert.rejects(topics.create('bad name'), hasCode('INVALID_TOPIC_EXCEPTION'))
    await assert.rejects(
      topics.create('x', { config: { 'retention.sm': '1' } }),
      hasCode('INVALID_CONFIG', /retention.ms/),
    )
    await assert.rejects(topics.create('x', { partitions: 0 }), hasCode('INVALID_ARGUMENT', /partitions/))
    await assert.rejects(topics.alter('exists', { partitions: 1 }), hasCode('INVALID_PARTITIONS'))
    await assert.rejects(topics.delete('nowhere'), hasCode('UNKNOWN_TOPIC_OR_PARTITION'))
    await assert.rejects(mq.producer('nowhere').send({ value: 'x' }), hasCode('UNKNOWN_TOPIC_OR_PARTITION'))
    await assert.rejects(readAll(mq, 'nowhere'), hasCode('UNKNOWN_TOPIC_OR_PARTITION'))
    await assert.rejects(mq.producer('exists').send({ value: 'x', partition: 2 }), hasCode('INVALID_ARGUMENT'))
    await assert.rejects(readAll(mq, 'exists', { partitions: [7] }), hasCode('INVALID_ARGUMENT', /0 to 1/))
    assert.throws(() => mq.producer('exists', { lingerMs: -1 }), hasCode('INVALID_ARGUMENT', /lingerMs/))
  })

  each('the cluster describes itself', async ({ mq }) => {
    const cluster = await mq.admin.describeCluster()
    const { clusterId, nodeId, version } = await mq.broker()
    assert.deepEqual([cluster.clusterId, cluster.controllerId, cluster.version], [clusterId, nodeId, version])
    assert.ok(cluster.brokers[0]!.shards.every((shard) => shard.state === 'serving'))
    assert.equal(cluster.offlinePartitions, 0)
  })
}
