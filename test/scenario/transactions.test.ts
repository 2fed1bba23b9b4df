/** Transactions behind the wire, in a whole broker: commits, aborts, fencing, timeouts, restarts, topics that go. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createBroker, type InProcessBroker } from '../../src/index.ts'
import { errorNumberOf } from '../../src/model/errors.ts'
import type { TopicId } from '../../src/model/ids.ts'
import { TRANSACTIONS_TOPIC } from '../../src/model/internal-topics.ts'
import * as protocol from '../../src/protocol/index.ts'
import { BareProducer, type CommittedView, readCommitted } from '../support/bare-producer.ts'
import { hasCode } from '../support/expect.ts'
import { BareClient } from '../support/gateway-fixture.ts'
import { topicIdOf } from '../support/group-fixture.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-transactions-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const PATIENCE_MS = 30_000

interface Opened {
  readonly broker: InProcessBroker
  readonly client: BareClient
}

async function open(dir: string | undefined, shards = 2): Promise<Opened> {
  const storage = dir === undefined ? 'memory' : { dir: join(folder, dir) }
  const broker = await createBroker({ storage, shards })
  return { broker, client: await BareClient.hello(String(await broker.listen())) }
}

async function close({ broker, client }: Opened): Promise<void> {
  client.close()
  await broker.close()
}

async function makeTopic({ client }: Opened, name: string, partitions = 3): Promise<TopicId> {
  const wish = { name, partitions, replicas: -1, config: {}, validateOnly: false, ifNotExists: false }
  return (await client.call(protocol.createTopic, wish)).topicId
}

/** The view once everything in the partition is decided; markers follow the answer by themselves. */
async function stable({ client }: Opened, topicId: TopicId, partition: number): Promise<CommittedView> {
  for (let waitedMs = 0; ; waitedMs += 10) {
    const view = await readCommitted(client, topicId, partition)
    if (view.lastStableOffset === view.highWatermark) return view
    assert.ok(waitedMs < PATIENCE_MS, `the last stable offset stands at ${view.lastStableOffset}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

for (const dir of [undefined, 'commit'])
  test(`one after the other, over shards: what is committed is read, what is aborted is not (${dir ?? 'in memory'})`, async () => {
    const opened = await open(dir)
    const orders = await makeTopic(opened, 'orders')
    const clicks = await makeTopic(opened, 'clicks')
    const producer = new BareProducer(opened.client, 't')
    await producer.init()
    const { producerId } = producer.identity
    for (let round = 0; round < 6; round++) {
      assert.equal(producer.identity.producerEpoch, round, 'an epoch each')
      assert.deepEqual(await producer.add({ topicId: orders, partition: 0 }, { topicId: orders, partition: 1 }), [0, 0])
      assert.equal(await producer.produce(orders, 0, `a${round}`), 0)
      assert.equal(await producer.produce(orders, 1, `b${round}`), 0)
      assert.deepEqual(await producer.add({ topicId: clicks, partition: 2 }), [0])
      assert.equal(await producer.produce(clicks, 2, `c${round}`), 0)
      if (round === 0) {
        const { values, lastStableOffset, highWatermark } = await readCommitted(opened.client, orders, 0)
        assert.deepEqual([values, lastStableOffset, highWatermark], [[], 0, 1], 'open: nobody reads it')
      }
      await producer.end(round % 3 !== 1)
    }
    assert.equal(producer.identity.producerId, producerId)
    for (const [topicId, partition, letter] of [
      [orders, 0, 'a'],
      [orders, 1, 'b'],
      [clicks, 2, 'c'],
    ] as const) {
      const { values } = await stable(opened, topicId, partition)
      assert.deepEqual(
        values,
        [0, 2, 3, 5].map((round) => `${letter}${round}`),
      )
    }
    await close(opened)
  })

test('a second producer of the id fences the first, whose transaction is aborted', async () => {
  const opened = await open('fence')
  const topicId = await makeTopic(opened, 'orders')
  const [first, second] = [new BareProducer(opened.client, 't'), new BareProducer(opened.client, 't')]
  await first.init()
  await first.add({ topicId, partition: 0 })
  await first.produce(topicId, 0, 'zombie')
  await second.init()
  await assert.rejects(first.end(true), hasCode('PRODUCER_FENCED'))
  assert.equal(await first.produce(topicId, 0, 'late'), errorNumberOf('INVALID_PRODUCER_EPOCH'))
  await second.add({ topicId, partition: 0 })
  assert.equal(await second.produce(topicId, 0, 'new'), 0)
  await second.end(true)
  assert.deepEqual((await stable(opened, topicId, 0)).values, ['new'])
  await close(opened)
})

test('a batch may only come where its partition was added; what cannot be added is told, and nothing is added then', async () => {
  const opened = await open('add')
  const topicId = await makeTopic(opened, 'orders')
  const producer = new BareProducer(opened.client, 't')
  await assert.rejects(producer.add({ topicId, partition: 0 }), hasCode('INVALID_REQUEST'), 'without init: no id')
  await producer.init()
  assert.equal(await producer.produce(topicId, 0, 'x'), errorNumberOf('INVALID_TXN_STATE'))
  const [unknownTopic, unknownPartition, notAttempted] = (
    ['UNKNOWN_TOPIC_ID', 'UNKNOWN_TOPIC_OR_PARTITION', 'OPERATION_NOT_ATTEMPTED'] as const
  ).map(errorNumberOf)
  const wish = [topicIdOf(9), topicId, topicId].map((id, index) => ({ topicId: id, partition: index === 1 ? 7 : 0 }))
  assert.deepEqual(await producer.add(...wish), [unknownTopic, unknownPartition, notAttempted])
  assert.equal(await producer.produce(topicId, 0, 'x'), errorNumberOf('INVALID_TXN_STATE'))
  const { topics } = await opened.client.call(protocol.metadata, { topics: [TRANSACTIONS_TOPIC] })
  const own = topics[0]!.topicId as TopicId
  assert.deepEqual(await producer.add({ topicId: own, partition: 0 }), [errorNumberOf('INVALID_TOPIC_EXCEPTION')])
  await producer.end(true)
  assert.equal(producer.identity.producerEpoch, 0, 'nothing was begun')
  await close(opened)
})

test('a restart: decided transactions get their markers, open ones their timeout, though nobody asks', async () => {
  const before = await open('restart')
  const topicId = await makeTopic(before, 'orders')
  const [committed, opened] = [new BareProducer(before.client, 'committed'), new BareProducer(before.client, 'open')]
  await committed.init()
  await opened.init(1_500)
  for (const [producer, partition] of [
    [committed, 0],
    [opened, 1],
  ] as const) {
    await producer.add({ topicId, partition })
    await producer.produce(topicId, partition, 'x')
  }
  await committed.end(true)
  await close(before)
  const later = await open('restart', 3)
  assert.deepEqual((await stable(later, topicId, 0)).values, ['x'])
  assert.deepEqual((await stable(later, topicId, 1)).values, [])
  const again = new BareProducer(later.client, 'open')
  again.identity = opened.identity
  await assert.rejects(again.end(true), hasCode('PRODUCER_FENCED'))
  await close(later)
})

test('a topic that is deleted during a transaction keeps nobody from ending it', async () => {
  const opened = await open('deleted')
  const [orders, clicks] = [await makeTopic(opened, 'orders'), await makeTopic(opened, 'clicks')]
  const producer = new BareProducer(opened.client, 't')
  await producer.init()
  await producer.add({ topicId: orders, partition: 0 }, { topicId: clicks, partition: 0 })
  await producer.produce(orders, 0, 'x')
  await opened.client.call(protocol.deleteTopic, { name: 'clicks' })
  await producer.end(true)
  // Waits for the end of the one before.
  assert.deepEqual(await producer.add({ topicId: orders, partition: 0 }), [0])
  assert.equal(await producer.produce(orders, 0, 'y'), 0)
  await producer.end(false)
  assert.deepEqual((await stable(opened, orders, 0)).values, ['x'])
  await close(opened)
})

test('many producers at once, each with its transactions in one partition', async () => {
  const opened = await open('many')
  const topicId = await makeTopic(opened, 'orders', 1)
  const rounds = [0, 1, 2, 3, 4]
  const names = Array.from({ length: 12 }, (_, index) => `p${index}`)
  await Promise.all(
    names.map(async (name) => {
      const producer = new BareProducer(opened.client, name)
      await producer.init()
      for (const round of rounds) {
        await producer.add({ topicId, partition: 0 })
        assert.equal(await producer.produce(topicId, 0, `${name}-${round}`), 0)
        await producer.end(round % 2 === 0)
      }
    }),
  )
  const { values } = await stable(opened, topicId, 0)
  const expected = names.flatMap((name) => [0, 2, 4].map((round) => `${name}-${round}`))
  assert.deepEqual([...values].sort(), expected.sort())
  await close(opened)
})
