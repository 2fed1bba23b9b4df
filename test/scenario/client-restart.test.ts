/** A broker that is killed while a client writes: nothing acknowledged is lost, nothing is stored twice or out of order. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../../src/client/index.ts'
import { withTestBroker } from '../support/test-broker.ts'

const decoder = new TextDecoder()
const FAST = { backoffMsMin: 10, backoffMsMax: 200 }

for (const shards of ['1', '3']) {
  test(`kill -9 under load, three times, with ${shards} shard(s): no loss, no double, order kept`, () =>
    withTestBroker({ args: ['--shards', shards] }, async (broker) => {
      await using mq = await connect(broker.url, FAST)
      await mq.admin.topics.create('t', { partitions: 4 })
      const producer = mq.producer('t', { batchBytesMax: 4_096 })
      await producer.ready()
      let sent = 0
      let isWriting = true
      const writing = (async () => {
        while (isWriting) {
          for (let burst = 0; burst < 200; burst++, sent++)
            while (!producer.enqueue({ partition: sent % 4, value: `${sent}` })) await producer.ready()
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      })()
      for (let round = 0; round < 3; round++) {
        await new Promise((resolve) => setTimeout(resolve, 300))
        await broker.kill()
        await broker.start()
      }
      await new Promise((resolve) => setTimeout(resolve, 200))
      isWriting = false
      await writing
      await producer.drain()
      assert.ok(producer.stats().batchesRetried > 0, 'no batch was in flight at a kill')

      const next = [0, 1, 2, 3]
      let count = 0
      for await (const record of mq.consume('t', { from: 'start', to: 'end' })) {
        assert.equal(Number(decoder.decode(record.value!)), next[record.partition], `partition ${record.partition}`)
        next[record.partition]! += 4
        count++
      }
      assert.equal(count, sent)
    }))
}

test('a reader goes on where it was after a restart, in order', () =>
  withTestBroker({}, async (broker) => {
    await using mq = await connect(broker.url, FAST)
    await mq.admin.topics.create('t', { partitions: 1 })
    const producer = mq.producer('t')
    const consumer = mq.consume('t', { from: 'start' })
    const iterator = consumer[Symbol.asyncIterator]()
    for (let index = 0; index < 30; index++) {
      if (index === 10) {
        await broker.kill()
        await broker.start()
      }
      if (index === 20) {
        assert.equal(await broker.stop(), 0)
        await broker.start()
      }
      await producer.send({ value: `${index}` })
      const { value } = await iterator.next()
      assert.deepEqual([value.offset, decoder.decode(value.value)], [index, `${index}`])
    }
  }))
