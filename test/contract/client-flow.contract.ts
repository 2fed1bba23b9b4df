/** The part of the client's contract that is about time and trouble: backpressure, giving up, closing, several at once, lost connections. */
import assert from 'node:assert/strict'
import type { StoredBatch } from '../../src/client/index.ts'
import { hasCode, until } from '../support/expect.ts'
import { type ClientTest, numbered, readAll, textOf, valuesOf } from './client.contract.ts'

export function clientFlowContract(each: ClientTest): void {
  backpressureContract(each)
  endContract(each)
  multitudeContract(each)
  reconnectContract(each)
}

function backpressureContract(each: ClientTest): void {
  each(
    'enqueue() says when the buffer is full, ready() when there is room, and memory stays bounded',
    async ({ mq }) => {
      await mq.admin.topics.create('pressed', { partitions: 2 })
      const bufferBytesMax = 64 * 1024
      const batches: StoredBatch[] = []
      const producer = mq.producer('pressed', {
        ...{ bufferBytesMax, batchBytesMax: 16 * 1024 },
        onStored: (batch) => batches.push(batch),
      })
      await producer.ready()
      const value = new Uint8Array(1_000)
      let refusals = 0
      for (let index = 0; index < 2_000; index++)
        while (!producer.enqueue({ value })) {
          refusals++
          assert.ok(producer.stats().bufferedBytes <= bufferBytesMax + 32 * 1024)
          await producer.ready()
        }
      await producer.drain()
      assert.ok(refusals > 0)
      assert.equal(
        batches.reduce((sum, batch) => sum + batch.recordsCount, 0),
        2_000,
      )
      assert.equal((await readAll(mq, 'pressed')).length, 2_000)
    },
  )

  each('a slow reader holds a bounded part of what waits for it', async ({ mq }) => {
    await mq.admin.topics.create('slow', { partitions: 2 })
    const value = new Uint8Array(10_000)
    await mq.producer('slow').sendMany(Array.from({ length: 1_000 }, () => ({ value })))
    const prefetchBytesMax = 512 * 1024
    const fetchBytesMax = 256 * 1024
    const consumer = mq.consume('slow', { from: 'start', to: 'end', prefetchBytesMax, fetchBytesMax })
    let count = 0
    for await (const batch of consumer.batches()) {
      await new Promise((resolve) => setTimeout(resolve, 2))
      assert.ok(consumer.stats().bufferedBytes <= prefetchBytesMax + 2 * fetchBytesMax)
      const record = batch.reader()
      while (record.next()) count++
    }
    assert.equal(count, 1_000)
  })
}

function endContract(each: ClientTest): void {
  each('whatever waits can be given up', async ({ mq }) => {
    await mq.admin.topics.create('given-up', { partitions: 1 })
    const aborted = AbortSignal.abort(new Error('no more'))
    await assert.rejects(mq.producer('given-up').send({ value: 'x' }, { signal: aborted }), hasCode('ABORTED'))
    await assert.rejects(mq.admin.topics.list({ signal: aborted }), hasCode('ABORTED'))
    const controller = new AbortController()
    const consumer = mq.consume('given-up', { from: 'end', waitMs: 30_000, signal: controller.signal })
    await consumer.start()
    const next = consumer[Symbol.asyncIterator]().next()
    const reason = new Error('enough')
    controller.abort(reason)
    await assert.rejects(next, (error: Error) => hasCode('ABORTED')(error) && error.cause === reason)
    const lingering = mq.producer('given-up', { lingerMs: 60_000 })
    await lingering.ready()
    const giveUp = new AbortController()
    const send = lingering.send({ value: 'lingers' }, { signal: giveUp.signal })
    giveUp.abort()
    await assert.rejects(send, hasCode('ABORTED'))
    await lingering.close()
  })

  each('close() delivers what was accepted, and takes no more', async ({ make }) => {
    const client = await make.connect()
    await client.admin.topics.create('closing', { partitions: 3 })
    const producer = client.producer('closing', { lingerMs: 60_000 })
    await producer.ready()
    for (const record of numbered(100)) assert.ok(producer.enqueue(record))
    const consumer = client.consume('closing', { from: 'start', waitMs: 30_000 })
    await consumer.start()
    await client.close()
    await client.close()
    assert.throws(() => client.producer('closing'), hasCode('CLOSED'))
    await assert.rejects(client.admin.topics.list(), hasCode('CLOSED'))
    await assert.rejects(producer.send({ value: 'x' }), hasCode('CLOSED'))
    assert.equal((await consumer[Symbol.asyncIterator]().next()).done, true)
    await using other = await make.connect()
    assert.equal((await readAll(other, 'closing')).length, 100)
  })

  each('leaving the loop ends the reading', async ({ mq }) => {
    await mq.admin.topics.create('left', { partitions: 1 })
    await mq.producer('left').sendMany(numbered(10))
    const consumer = mq.consume('left', { from: 'start' })
    for await (const record of consumer) if (record.offset === 4) break
    assert.deepEqual(
      consumer.positions().map(({ partition, offset }) => [partition, offset]),
      [[0, 5]],
    )
    assert.equal((await consumer[Symbol.asyncIterator]().next()).done, true)
  })
}

function multitudeContract(each: ClientTest): void {
  each('several producers and consumers of several clients: all get all, each producer in order', async ({ make }) => {
    const clients = await Promise.all([1, 2, 3].map(() => make.connect()))
    await clients[0]!.admin.topics.create('many', { partitions: 3 })
    const perProducer = 400
    const read = clients.map(async (client) => {
      const next = new Map<string, number>()
      let count = 0
      for await (const record of client.consume('many', { from: 'start' })) {
        const key = textOf(record.key)!
        assert.equal(Number(textOf(record.value)), next.get(key) ?? 0, `order of ${key}`)
        next.set(key, Number(textOf(record.value)) + 1)
        if (++count === 6 * perProducer) return
      }
    })
    const written = clients.flatMap((client, index) =>
      [0, 1].map(async (half) => {
        const producer = client.producer('many', { batchBytesMax: 1_024 })
        await producer.ready()
        for (const record of numbered(perProducer))
          while (!producer.enqueue({ ...record, key: `${index}/${half}` })) await producer.ready()
        await producer.drain()
      }),
    )
    await Promise.all([...written, ...read])
    await Promise.all(clients.map((client) => client.close()))
  })

  each('several topics in one consumer', async ({ mq }) => {
    for (const name of ['left-hand', 'right-hand']) {
      await mq.admin.topics.create(name, { partitions: 2 })
      await mq.producer(name).sendMany(numbered(20).map(({ value }) => ({ value: `${name} ${value}` })))
    }
    const seen = new Set<string>()
    for await (const record of mq.consume(['left-hand', 'right-hand'], { from: 'start', to: 'end' })) {
      assert.ok(textOf(record.value)!.startsWith(`${record.topic} `))
      seen.add(textOf(record.value)!)
    }
    assert.equal(seen.size, 40)
  })
}

function reconnectContract(each: ClientTest): void {
  each('connections that break are made again: nothing lost, nothing twice, order kept', async ({ mq, make }) => {
    await mq.admin.topics.create('broken', { partitions: 2 })
    const producer = mq.producer('broken', { batchBytesMax: 2_048 })
    const read: number[] = []
    const reading = (async () => {
      for await (const record of mq.consume('broken', { from: 'start', waitMs: 30_000, partitions: [0] })) {
        assert.equal(record.offset, read.length)
        read.push(Number(textOf(record.value)))
        if (read.at(-1) === -1) return
      }
    })()
    await producer.ready()
    let sent = 0
    for (let round = 0; round < 4; round++) {
      for (let burst = 0; burst < 300; burst++, sent++)
        while (!producer.enqueue({ value: `${sent}`, partition: sent % 2 })) await producer.ready()
      await until(() => producer.stats().recordsStored > round * 300, 30_000)
      make.dropConnections()
    }
    await producer.drain()
    await producer.send({ value: '-1', partition: 0 })
    await reading
    const even = Array.from({ length: sent / 2 }, (_, index) => index * 2)
    assert.deepEqual(read, [...even, -1])
    const odd = even.map((number) => `${number + 1}`)
    assert.deepEqual(await valuesOf(mq, 'broken', { partitions: [1] }), odd)
  })

  each('a request that only asks is asked again over a new connection', async ({ mq, make }) => {
    await mq.admin.topics.create('asked', { partitions: 1 })
    for (let round = 0; round < 5; round++) {
      const asked = mq.admin.topics.list()
      make.dropConnections()
      assert.ok((await asked).some((topic) => topic.name === 'asked'))
    }
  })
}
