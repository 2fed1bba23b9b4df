/** A consumer in a cluster: whatever happens to leaders, a position moves by records and by the stated policy alone. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ConsumedRecord, type ConsumerOptions, connect } from '../../../src/client/index.ts'
import type { ErrorCode } from '../../../src/model/errors.ts'
import { Api } from '../../../src/protocol/index.ts'
import { until } from '../../support/expect.ts'
import type { Fault } from '../../support/fake-broker.ts'
import { type FakeCluster, withFakeCluster } from '../../support/fake-cluster.ts'

const NONE: Fault = { kind: 'none' }
const FAST = { backoffMsMin: 2, backoffMsMax: 20 }
const SOON_MS = 8_000
const decoder = new TextDecoder()

/** A consumer of partition 0 that keeps what it reads, by offset. */
async function withReader(
  cluster: FakeCluster,
  options: ConsumerOptions,
  body: (read: ConsumedRecord[], send: (value: string) => Promise<unknown>, resets: unknown[]) => Promise<void>,
  clientOptions: Parameters<typeof connect>[1] = {},
): Promise<void> {
  await using mq = await connect(cluster.urls, { ...FAST, ...clientOptions })
  const producer = mq.producer('t')
  const consumer = mq.consume('t', { from: 'start', ...options })
  const read: ConsumedRecord[] = []
  const resets: unknown[] = []
  consumer.on('offsetReset', (reset) => resets.push(reset))
  const reading = (async () => {
    for await (const record of consumer) read.push(record)
  })()
  try {
    await body(read, (value) => producer.send({ value }), resets)
  } finally {
    await consumer.close()
    await reading
  }
}

function assertAll(read: readonly ConsumedRecord[], count: number): void {
  assert.deepEqual(
    read.map(({ offset, value }) => [offset, decoder.decode(value!)]),
    Array.from({ length: count }, (_, index) => [index, String(index)]),
  )
}

test('the leader moves again and again: every record once, in order', () =>
  withFakeCluster({ brokers: 3, topics: { t: 1 } }, (cluster) =>
    withReader(cluster, {}, async (read, send) => {
      for (let index = 0; index < 60; index++) {
        if (index % 10 === 9) cluster.moveLeader('t', 0, 1 + ((index / 10) & 1) + 1)
        await send(String(index))
      }
      await until(() => read.length === 60)
      assertAll(read, 60)
    }),
  ))

test('the leader dies under a long poll: the next one is read from where it stood', () =>
  withFakeCluster({ brokers: 3, topics: { t: 1 } }, (cluster) =>
    withReader(cluster, { waitMs: 30_000 }, async (read, send) => {
      await send('0')
      await until(() => read.length === 1)
      const startedMs = performance.now()
      await cluster.kill(1)
      cluster.moveLeader('t', 0, 2)
      await send('1')
      await until(() => read.length === 2, SOON_MS)
      assert.ok(performance.now() - startedMs < SOON_MS)
      assertAll(read, 2)
    }),
  ))

test('the leader falls silent under a long poll: it is left for the next one', () =>
  withFakeCluster({ brokers: 3, topics: { t: 1 } }, (cluster) =>
    withReader(
      cluster,
      { waitMs: 30_000 },
      async (read, send) => {
        await send('0')
        await until(() => read.length === 1)
        cluster.broker(1).isPaused = true
        cluster.moveLeader('t', 0, 2)
        await send('1')
        await until(() => read.length === 2, SOON_MS)
        assertAll(read, 2)
      },
      { silenceMsMax: 300 },
    ),
  ))

for (const code of [
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'OFFSET_NOT_AVAILABLE',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_OR_FOLLOWER',
  'KAFKA_STORAGE_ERROR',
] as const satisfies readonly ErrorCode[])
  test(`${code} moves no position: it waits, asks for metadata, and reads on`, () =>
    withFakeCluster({ brokers: 2, topics: { t: 1 } }, (cluster) =>
      withReader(cluster, { onOutOfRange: 'earliest' }, async (read, send, resets) => {
        for (let index = 0; index < 5; index++) await send(String(index))
        await until(() => read.length === 5)
        const metadataBefore = cluster.count(3)
        let refused = 0
        cluster.broker(1).faults = ({ name }) => {
          if (name !== 'FETCH' || refused >= 5) return NONE
          refused++
          return { kind: 'error', code }
        }
        await send('5')
        await until(() => read.length === 6)
        await until(() => refused === 5)
        await send('6')
        await until(() => read.length === 7)
        assertAll(read, 7)
        assert.deepEqual(resets, [])
        assert.ok(cluster.count(3) > metadataBefore)
      }),
    ))

test('an offset out of range is believed of the newest leader only', () =>
  withFakeCluster({ brokers: 2, topics: { t: 1 } }, (cluster) =>
    withReader(cluster, { onOutOfRange: 'earliest' }, async (read, send, resets) => {
      for (let index = 0; index < 5; index++) await send(String(index))
      await until(() => read.length === 5)
      // Two epochs on: what follows comes from a leader of the past.
      cluster.moveLeader('t', 0, 2)
      cluster.moveLeader('t', 0, 1)
      await send('5')
      await until(() => read.length === 6)
      let refused = 0
      cluster.broker(1).faults = ({ name }) => {
        if (name !== 'FETCH' || refused >= 3) return NONE
        refused++
        return { kind: 'error', code: 'OFFSET_OUT_OF_RANGE', leaderEpoch: 2 }
      }
      await send('6')
      await until(() => refused === 3 && read.length === 7)
      assertAll(read, 7)
      assert.deepEqual(resets, [])
    }),
  ))

test('an offset past the end is believed at the second time: who leads by then may have it', () =>
  withFakeCluster({ brokers: 2, topics: { t: 1 } }, (cluster) =>
    withReader(cluster, { onOutOfRange: 'earliest' }, async (read, send, resets) => {
      for (let index = 0; index < 5; index++) await send(String(index))
      await until(() => read.length === 5)
      const { leaderEpoch } = cluster.broker(1).partition('t', 0)
      let refused = 0
      cluster.broker(1).faults = ({ name }) => {
        if (name !== 'FETCH' || refused === 1) return NONE
        refused++
        return { kind: 'error', code: 'OFFSET_OUT_OF_RANGE', leaderEpoch, highWatermark: 2 }
      }
      await send('5')
      await until(() => refused === 1 && read.length === 6)
      assertAll(read, 6)
      assert.deepEqual(resets, [])
    }),
  ))

for (const policy of ['fail', 'earliest'] as const)
  test(`a new leader that ends below the position: the policy '${policy}' decides, and nothing else`, () =>
    withFakeCluster({ brokers: 2, topics: { t: 1 } }, async (cluster) => {
      await using mq = await connect(cluster.urls, FAST)
      const producer = mq.producer('t')
      for (let index = 0; index < 5; index++) await producer.send({ value: String(index) })
      const consumer = mq.consume('t', { from: { offset: 4 }, onOutOfRange: policy })
      const records = consumer[Symbol.asyncIterator]()
      assert.equal((await records.next()).value.offset, 4)
      const next = records.next()
      // As after an election that was not clean: the last three are lost.
      const partition = cluster.broker(2).partition('t', 0)
      partition.batches.splice(2)
      partition.highWatermark = 2
      cluster.moveLeader('t', 0, 2)
      if (policy === 'fail')
        await assert.rejects(next, { code: 'OFFSET_OUT_OF_RANGE', message: /offset 5 is not within/ })
      else assert.equal((await next).value.offset, 0)
    }))

test('positions are asked of the leader, wherever it is by then', () =>
  withFakeCluster({ brokers: 3, topics: { t: 3 } }, async (cluster) => {
    await using mq = await connect(cluster.urls, FAST)
    const producer = mq.producer('t')
    for (const partition of [0, 1, 2]) await producer.send({ value: 'x', partition })
    await cluster.kill(2)
    setTimeout(() => cluster.moveLeader('t', 1, 3), 300)
    const ends = await mq.admin.topics.offsets('t', 'end')
    assert.deepEqual(
      ends.map(({ offset }) => offset),
      [1, 1, 1],
    )
    const described = await mq.admin.topics.describe('t')
    assert.deepEqual(
      described.partitions.map(({ leaderNodeId, replicas, inSync, highWatermark }) => ({
        ...{ leaderNodeId, replicas, inSync, highWatermark },
      })),
      [1, 3, 3].map((leaderNodeId) => ({ leaderNodeId, replicas: [1, 3], inSync: [1, 3], highWatermark: 1 })),
    )
  }))

test('a topic is described though the leader of one partition does not answer', () =>
  withFakeCluster({ brokers: 2, topics: { t: 2 } }, async (cluster) => {
    await using mq = await connect(cluster.urls, FAST)
    await mq.admin.topics.offsets('t', 'end')
    await cluster.kill(2)
    const { partitions } = await mq.admin.topics.describe('t')
    assert.deepEqual(
      partitions.map(({ highWatermark }) => highWatermark),
      [0, undefined],
    )
  }))

for (const code of [
  'OFFSET_OUT_OF_RANGE',
  'NOT_LEADER_OR_FOLLOWER',
  'UNKNOWN_TOPIC_ID',
] as const satisfies readonly ErrorCode[])
  test(`${code} of the follower in its rack sends a consumer to the leader at once, and moves no position`, () =>
    withFakeCluster({ brokers: 2, topics: { t: 1 }, racks: ['a', 'b'] }, (cluster) =>
      withReader(cluster, { rackId: 'b', onOutOfRange: 'earliest' }, async (read, send, resets) => {
        const fetchesTo = (nodeId: number): number => cluster.broker(nodeId).counts.get(Api.FETCH) ?? 0
        await send('0')
        await until(() => read.length === 1)
        assert.deepEqual([fetchesTo(1), fetchesTo(2) > 0], [0, true], 'the follower serves')
        let refused = 0
        cluster.broker(2).faults = ({ name }) => {
          if (name !== 'FETCH') return NONE
          refused++
          return { kind: 'error', code }
        }
        // It ends the long poll that was under way; the fetch after it is refused.
        await send('1')
        await until(() => refused === 1)
        for (let index = 2; index < 10; index++) await send(String(index))
        await until(() => read.length === 10)
        assertAll(read, 10)
        assert.deepEqual([refused, resets], [1, []])
        assert.ok(fetchesTo(1) > 0)
      }),
    ))
