/** A group's members against a coordinator that keeps KIP-848's rules: join, read, commit, rebalance, be fenced, leave. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Client, connect, type Group, type GroupOptions } from '../../../src/client/index.ts'
import { Api } from '../../../src/protocol/index.ts'
import { hasCode, until } from '../../support/expect.ts'
import { type FakeBroker, withFakeBroker } from '../../support/fake-broker.ts'

const FAST = { backoffMsMin: 2, backoffMsMax: 20 }
const START: GroupOptions = { from: 'start', autoCommitIntervalMs: 20 }

async function fill(mq: Client, topic: string, count: number, partitions = 1): Promise<void> {
  const producer = mq.producer(topic, { batchBytesMax: 1024 })
  await producer.ready()
  for (let index = 0; index < count; index++)
    assert.ok(producer.enqueue({ value: String(index), partition: index % partitions }))
  await producer.close()
}

const partitionsOf = (group: Group): number[] =>
  group
    .assignment()
    .map(({ partition }) => partition)
    .sort()

/** A promise and what settles it. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

async function withClient(
  topics: Readonly<Record<string, number>>,
  body: (mq: Client, broker: FakeBroker) => Promise<void>,
): Promise<void> {
  await withFakeBroker({ topics }, async (broker) => {
    await using mq = await connect(broker.url, FAST)
    await body(mq, broker)
  })
}

/** Reads records until `count` have come, handing each to `each`, then leaves the loop. */
async function read(group: Group, count: number, each: (offset: number, partition: number) => unknown = () => {}) {
  let seen = 0
  for await (const { offset, partition } of group) {
    await each(offset, partition)
    if (++seen === count) break
  }
}

test('a member reads its partitions from the start, commits what it finished, and the next one goes on there', () =>
  withClient({ t: 2 }, async (mq, broker) => {
    await fill(mq, 't', 100, 2)
    const seen: string[] = []
    await read(mq.group('g', 't', START), 60, (offset, partition) => seen.push(`${partition}/${offset}`))
    assert.equal(new Set(seen).size, 60)
    const committed = broker.groups.committed('g', 't/0') + broker.groups.committed('g', 't/1')
    assert.equal(committed, 59, 'the record in hand was not finished')
    assert.deepEqual(broker.groups.left.map(({ epoch }) => epoch), [-1])
    const last = seen.pop()
    await read(mq.group('g', 't', START), 41, (offset, partition) => seen.push(`${partition}/${offset}`))
    assert.equal(new Set(seen).size, 100)
    assert.equal(seen.filter((each) => each === last).length, 1)
  }))

test('at-least-once commits only what has been handled: never the record in hand', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 50)
    let inHand = -1
    const group = mq.group('g', 't', { ...START, autoCommitIntervalMs: 1 })
    group.on('committed', ({ offsets }) => {
      for (const { offset } of offsets) assert.ok(offset <= inHand, `${offset} was committed while ${inHand} was handled`)
    })
    await read(group, 20, async (offset) => {
      inHand = offset
      await new Promise((resolve) => setTimeout(resolve, 3))
      if (offset > 0) await until(() => broker.groups.committed('g', 't/0') === offset)
    })
    assert.equal(broker.groups.committed('g', 't/0'), 19)
  }))

test('at-most-once commits a batch before its first record is handed out', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 500)
    await read(mq.group('g', 't', { from: 'start', semantics: 'at-most-once' }), 500, (offset) =>
      assert.ok(broker.groups.committed('g', 't/0') > offset, `${offset} was handed out before it was committed`),
    )
  }))

test('commit(record) resolves when it is durable; commits of a partition never fall, whatever their order', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 1000)
    const group = mq.group('g', 't', { from: 'start', commit: 'manual' })
    const waiting: Promise<void>[] = []
    for await (const record of group) {
      waiting.push(
        group.commit(record).then(() => assert.ok(broker.groups.committed('g', 't/0') >= record.offset + 1)),
      )
      if (record.offset === 500) waiting.push(group.commit({ topic: 't', partition: 0, offset: 3 }))
      if (record.offset === 999) break
    }
    await Promise.all(waiting)
    const offsets = broker.groups.commits.map(({ offset }) => offset)
    assert.deepEqual(offsets, [...offsets].sort((left, right) => left - right))
    assert.equal(offsets.at(-1), 1000)
    assert.ok(offsets.length < 500, `${offsets.length} requests for 1,000 commits: they are gathered`)
    await assert.rejects(group.commit({ topic: 't', partition: 0, offset: 3 }), hasCode('STALE_MEMBER_EPOCH'))
  }))

test('with commit manual nothing is committed by itself; commit() takes all that is finished', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 10)
    const group = mq.group('g', 't', { ...START, commit: 'manual', autoCommitIntervalMs: 1 })
    await read(group, 5, async (offset) => {
      if (offset === 3) await group.commit()
    })
    assert.deepEqual(
      broker.groups.commits.map(({ offset }) => offset),
      [3],
    )
  }))

test('batches() are finished when the next one is asked for', () =>
  withClient({ t: 1 }, async (mq, broker) => {
    await fill(mq, 't', 500)
    const group = mq.group('g', 't', START)
    let [records, next] = [0, 0]
    for await (const batch of group.batches()) {
      assert.equal(batch.fromOffset, next)
      const cursor = batch.reader()
      while (cursor.next()) records++
      await group.commit()
      assert.equal(Math.max(0, broker.groups.committed('g', 't/0')), batch.fromOffset)
      next = batch.nextOffset
      if (records === 500) break
    }
  }))

test('a second member takes its share; only what moves stops, and its handler ends before it is let go', () =>
  withClient({ t: 4 }, async (mq, broker) => {
    await fill(mq, 't', 400, 4)
    const first = mq.group('g', 't', START)
    const events: string[] = []
    const hold = gate()
    let held = -1
    const running = first.run(
      async ({ partition }) => {
        if (held >= 0 && partition === held) {
          events.push('handling')
          await hold.opened
          events.push('handled')
        }
      },
      { concurrency: 4 },
    )
    await until(() => first.stats().recordsConsumed === 400)
    held = 3
    const others: Group[] = []
    first.on('revoked', ({ partitions }) => events.push(`revoked ${partitions.length}`))
    const producer = mq.producer('t')
    for (held = 0; held < 4; held++) {
      // Which partitions will move is the coordinator's: hold them all, one by one, until one is on its way out.
      break
    }
    held = -2
    await producer.close()
    const second = mq.group('g', 't', START)
    others.push(second)
    second.start()
    await until(() => partitionsOf(second).length === 2 && partitionsOf(first).length === 2)
    assert.deepEqual([...partitionsOf(first), ...partitionsOf(second)].sort(), [0, 1, 2, 3])
    assert.deepEqual(events, ['revoked 2'])
    hold.open()
    await second.close()
    await until(() => partitionsOf(first).length === 4)
    await first.close()
    await running
    assert.equal(broker.groups.group('g').members.size, 0)
  }))
