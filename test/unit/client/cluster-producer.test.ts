/** A producer in a cluster: leaders that move, die, fall silent; nothing lost, nothing twice, nothing out of order. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client } from '../../../src/client/client.ts'
import { connect, type Producer } from '../../../src/client/index.ts'
import { nodeRuntime } from '../../../src/client/node-runtime.ts'
import { readRecords } from '../../../src/record/batch-reader.ts'
import { until } from '../../support/expect.ts'
import type { Fault } from '../../support/fake-broker.ts'
import { type FakeCluster, withFakeCluster } from '../../support/fake-cluster.ts'

const NONE: Fault = { kind: 'none' }
const FAST = { backoffMsMin: 2, backoffMsMax: 20 }
/** Far less than a request's timeout of 30 s: what is told by an end of a connection or an answer is not waited for. */
const SOON_MS = 8_000
/** Of the clock, in a test that takes less than a second. */
const LOOKS_MAX = 20_000
const decoder = new TextDecoder()

function stored(cluster: FakeCluster, partition = 0): string[] {
  return cluster
    .broker(1)
    .partition('t', partition)
    .batches.flatMap((batch) => readRecords(batch.bytes).map((record) => decoder.decode(record.value!)))
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index))

/** A promise for each, and what resolves it. */
function gates(count: number): { readonly opened: Promise<void>[]; open(index: number): void } {
  const opens: (() => void)[] = []
  const opened = Array.from({ length: count }, () => new Promise<void>((resolve) => opens.push(resolve)))
  return { opened, open: (index) => opens[index]!() }
}

/** One batch a record, up to five in flight. */
function oneByOne(cluster: FakeCluster, mq: Awaited<ReturnType<typeof connect>>): Producer {
  void cluster
  return mq.producer('t', { batchBytesMax: 1_024, inFlightMax: 5, deliveryTimeoutMs: 60_000 })
}

const ORDERS: Readonly<Record<string, readonly number[]>> = {
  'oldest first': [0, 1, 2, 3, 4],
  'newest first': [4, 3, 2, 1, 0],
  'the stored ones last': [3, 4, 2, 1, 0],
  mixed: [2, 0, 4, 1, 3],
}

for (const [name, order] of Object.entries(ORDERS))
  test(`the leader moves with five batches in flight, answers come ${name}: each record once, in order`, () =>
    withFakeCluster({ brokers: 2, topics: { t: 1 } }, async (cluster) => {
      await using mq = await connect(cluster.urls, FAST)
      const producer = oneByOne(cluster, mq)
      await producer.send({ value: '0' })
      const { opened, open } = gates(5)
      let arrived = 0
      const first = cluster.broker(1)
      first.faults = ({ name: api, index }) => {
        if (api !== 'PRODUCE' || index < 1 || index > 5) return NONE
        arrived++
        const after = opened[index - 1]!
        // Two were stored before the leader moved; the others came too late.
        return index <= 2 ? { kind: 'late-reply', after } : { kind: 'error', code: 'NOT_LEADER_OR_FOLLOWER', after }
      }
      let answered = 0
      let early = 0
      cluster.broker(2).faults = ({ name: api }) => {
        if (api === 'PRODUCE' && answered < 5) early++
        return NONE
      }
      const value = (index: number): string => `${index}`.padEnd(900, '.')
      const sends = Array.from({ length: 9 }, (_, index) => producer.send({ value: value(index + 1) }))
      await until(() => arrived === 5)
      cluster.moveLeader('t', 0, 2)
      for (const index of order) {
        answered++
        open(index)
        await new Promise((resolve) => setTimeout(resolve, 15))
      }
      const offsets = (await Promise.all(sends)).map(({ offset }) => offset)
      assert.deepEqual(offsets, [1, 2, 3, 4, 5, 6, 7, 8, 9])
      assert.deepEqual(stored(cluster), ['0', ...Array.from({ length: 9 }, (_, index) => value(index + 1))])
      assert.equal(early, 0, 'nothing goes to the new leader before the old one has answered')
    }))

test('nothing overtakes what is with the old leader, though metadata names the new one, which does not know the producer', () =>
  withFakeCluster({ brokers: 2, topics: { t: 2 } }, async (cluster) => {
    cluster.moveLeader('t', 1, 1)
    await using mq = await connect(cluster.urls, FAST)
    const producer = mq.producer('t', { batchBytesMax: 1_024, acks: 'leader', idempotent: true })
    await producer.send({ value: '0', partition: 0 })
    await producer.send({ value: '0', partition: 1 })
    const { opened, open } = gates(1)
    let held = 0
    cluster.broker(1).faults = ({ name, produce }) => {
      if (name !== 'PRODUCE') return NONE
      if (produce!.parts[0]!.partition === 1) return { kind: 'error', code: 'NOT_LEADER_OR_FOLLOWER' }
      held++
      return { kind: 'error', code: 'NOT_LEADER_OR_FOLLOWER', after: opened[0]! }
    }
    const first = producer.send({ value: '1', partition: 0 })
    await until(() => held === 1)
    cluster.moveLeader('t', 0, 2)
    cluster.moveLeader('t', 1, 2)
    // It had not been told of this producer yet: it takes any first sequence.
    cluster.broker(1).partition('t', 0).producers.clear()
    // The other partition has metadata asked for.
    await producer.send({ value: '1', partition: 1 })
    // Two batches, the first of them full: it does not wait for what is in flight.
    const later = ['2', '3'].map((value) => producer.send({ value: value.padEnd(900), partition: 0 }))
    await producer.send({ value: '2', partition: 1 })
    await new Promise((resolve) => setTimeout(resolve, 50))
    open(0)
    const offsets = (await Promise.all([first, ...later])).map(({ offset }) => offset)
    assert.deepEqual(offsets, [1, 2, 3])
    assert.deepEqual(
      stored(cluster, 0).map((text) => text.trim()),
      ['0', '1', '2', '3'],
    )
  }))

test('the leader dies with batches in flight: the next one is found without waiting for a timeout', () =>
  withFakeCluster({ brokers: 3, topics: { t: 3 } }, async (cluster) => {
    await using mq = await connect(cluster.urls, FAST)
    const producer = oneByOne(cluster, mq)
    await producer.sendMany(['a', 'b', 'c'].map((value, partition) => ({ value, partition })))
    const never = new Promise(() => {})
    // Half of them are stored, and their answers are lost with the broker.
    cluster.broker(1).faults = ({ name, index }) => {
      if (name !== 'PRODUCE' || index < 1) return NONE
      return index % 2 === 0 ? { kind: 'drop-reply' } : { kind: 'error', code: 'OVERLOADED', after: never }
    }
    const startedMs = performance.now()
    const sends = numbers(60).map((value, index) => producer.send({ value: value.padEnd(500), partition: index % 3 }))
    await until(() => (cluster.broker(1).counts.get(0) ?? 0) > 3)
    await cluster.kill(1)
    // The others lead on meanwhile.
    await Promise.all(sends.filter((_, index) => index % 3 !== 0))
    cluster.moveLeader('t', 0, 3)
    await Promise.all(sends)
    assert.ok(performance.now() - startedMs < SOON_MS)
    for (const partition of [0, 1, 2])
      assert.deepEqual(
        stored(cluster, partition)
          .slice(1)
          .map((text) => text.trim()),
        numbers(60).filter((_, index) => index % 3 === partition),
      )
  }))

test('all brokers but one die, the given one too: the last serves, and is found again after it was lost as well', () =>
  withFakeCluster({ brokers: 3, topics: { t: 1 } }, async (cluster) => {
    await using mq = await connect(cluster.broker(1).url, FAST)
    const producer = mq.producer('t')
    await producer.send({ value: '0' })
    cluster.moveLeader('t', 0, 3)
    await cluster.kill(1)
    await cluster.kill(2)
    await producer.send({ value: '1' })
    await cluster.kill(3)
    await new Promise((resolve) => setTimeout(resolve, 50))
    await cluster.revive(3)
    await producer.send({ value: '2' })
    assert.deepEqual(stored(cluster), ['0', '1', '2'])
  }))

test('a broker that tells of a leader of the past does not lead the client back, and another one is asked', () =>
  withFakeCluster({ brokers: 3, topics: { t: 1 } }, async (cluster) => {
    await using mq = await connect(cluster.urls, FAST)
    const producer = mq.producer('t')
    await producer.send({ value: '0' })
    // The first two know no more than this for the rest of the test.
    cluster.freeze(1)
    cluster.freeze(2)
    cluster.moveLeader('t', 0, 3)
    const startedMs = performance.now()
    await producer.send({ value: '1' })
    assert.ok(performance.now() - startedMs < SOON_MS)
    const refused = cluster.broker(1).counts.get(0)!
    // Asked for again, of everybody in turn: the newest answer stays.
    for (let round = 0; round < 4; round++) {
      const { partitions } = await mq.admin.topics.describe('t')
      assert.deepEqual([partitions[0]!.leaderNodeId, partitions[0]!.leaderEpoch], [3, 2])
      await producer.send({ value: String(round + 2) })
    }
    assert.equal(cluster.broker(1).counts.get(0), refused, 'nothing more goes to the old leader')
    assert.deepEqual(stored(cluster), numbers(6))
  }))

test('a leader that falls silent is taken for gone, and its batches go to the next one', () =>
  withFakeCluster({ brokers: 2, topics: { t: 1 } }, async (cluster) => {
    await using mq = await connect(cluster.urls, { ...FAST, silenceMsMax: 400 })
    const producer = oneByOne(cluster, mq)
    await producer.send({ value: '0' })
    cluster.broker(1).isPaused = true
    const startedMs = performance.now()
    const sends = numbers(10).map((value) => producer.send({ value: value.padEnd(500) }))
    await new Promise((resolve) => setTimeout(resolve, 50))
    cluster.moveLeader('t', 0, 2)
    await Promise.all(sends)
    assert.ok(performance.now() - startedMs < SOON_MS)
    assert.deepEqual(
      stored(cluster).map((text) => text.trim()),
      ['0', ...numbers(10)],
    )
  }))

for (const code of [
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'LEADER_NOT_AVAILABLE',
  'KAFKA_STORAGE_ERROR',
  'NOT_ENOUGH_REPLICAS',
  'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
] as const)
  test(`${code}: metadata is asked for and the batches go again, to another leader if there is one`, () =>
    withFakeCluster({ brokers: 2, topics: { t: 1 } }, async (cluster) => {
      await using mq = await connect(cluster.urls, FAST)
      const producer = oneByOne(cluster, mq)
      await producer.send({ value: '0' })
      let refused = 0
      cluster.broker(1).faults = ({ name }) => {
        if (name !== 'PRODUCE') return NONE
        refused++
        return { kind: 'error', code }
      }
      const sends = numbers(10).map((value) => producer.send({ value: value.padEnd(500) }))
      await until(() => refused >= 3)
      cluster.moveLeader('t', 0, 2)
      await Promise.all(sends)
      assert.deepEqual(
        stored(cluster).map((text) => text.trim()),
        ['0', ...numbers(10)],
      )
    }))

test('metadata of a partition without a leader is asked for at a pace', () =>
  withFakeCluster({ brokers: 1, topics: { t: 1 } }, async (cluster) => {
    await using mq = await connect(cluster.urls, { backoffMsMin: 20, backoffMsMax: 2_000 })
    const producer = mq.producer('t')
    await producer.send({ value: '0' })
    cluster.moveLeader('t', 0, -1)
    const before = cluster.count(3)
    const sending = producer.send({ value: '1' })
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    const asked = cluster.count(3) - before
    assert.ok(asked >= 2 && asked <= 20, `${asked} times in 1.5 s`)
    cluster.moveLeader('t', 0, 1)
    await sending
  }))

test('a leader that is cut off from the metadata store times out: others are asked who leads, whatever it says itself', () =>
  withFakeCluster({ brokers: 2, topics: { t: 1 } }, async (cluster) => {
    // The first metadata come from broker 2: the next would be broker 1's turn.
    await using mq = await connect([...cluster.urls].reverse(), FAST)
    const producer = mq.producer('t', { deliveryTimeoutMs: SOON_MS })
    await producer.send({ value: '0' })
    const never = new Promise(() => {})
    let asked = 0
    cluster.freeze(1)
    cluster.broker(1).faults = ({ name }) => {
      if (name !== 'PRODUCE') return NONE
      return { kind: 'error', code: 'REQUEST_TIMED_OUT', ...(asked++ === 0 ? {} : { after: never }) }
    }
    cluster.moveLeader('t', 0, 2)
    await producer.send({ value: '1' })
    assert.deepEqual(stored(cluster), ['0', '1'])
    assert.equal(asked, 1)
  }))

test('a leader that metadata names without saying where it is: asked again and again at a pace, and found when it is there', () =>
  withFakeCluster({ brokers: 2, topics: { t: 1 } }, async (cluster) => {
    // Its broker has lost its registration, nobody else leads yet; the client was only ever told of the other one.
    await cluster.kill(1)
    const runtime = nodeRuntime()
    let looks = 0
    const monotonicMs = (): number => {
      // Whoever spins in microtasks would let no timer of this test run.
      if (++looks > LOOKS_MAX) throw new Error('the producer spins')
      return runtime.clock.monotonicMs()
    }
    const clock = { nowMs: () => runtime.clock.nowMs(), monotonicMs }
    await using mq = await Client.connect({ ...runtime, clock }, [cluster.broker(2).url], FAST)
    const sent = mq.producer('t').send({ value: '0' })
    await new Promise((resolve) => setTimeout(resolve, 300))
    await cluster.revive(1)
    await sent
    assert.deepEqual(stored(cluster), ['0'])
  }))
