/** Answers of a shard that come in pages, put together. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ShardLink } from '../../../src/broker/shard-link.ts'
import { logSizes, producersOf } from '../../../src/broker/shard-queries.ts'
import { MillraceError } from '../../../src/model/errors.ts'
import type { LeaderEpoch, PartitionRef } from '../../../src/model/ids.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'
import { ControlOperation } from '../../../src/ring/control-messages.ts'
import { hasCode } from '../../support/expect.ts'
import { makeBatch, TOPIC, topicConfig } from '../../support/log-fixture.ts'
import { ShardFixture } from '../../support/shard-fixture.ts'

const FIRST = 0 as PartitionRef

function transactionalBatch(producerId: number, producerEpoch: number): Uint8Array {
  const writer = new BatchWriter({})
  writer.append(null, new Uint8Array(10), null, 1_000)
  return writer.finish({ producerId, producerEpoch, baseSequence: 0, transactional: true }).slice()
}

/** As the gateway asks; `asked` counts. */
function linkTo(shard: ShardFixture) {
  const link = {
    asked: 0,
    control: async (operation: ControlOperation, body: unknown) => {
      link.asked++
      const answer = shard.control(operation, body)
      if (answer.error !== 'NONE') throw new MillraceError(answer.error, String(answer.body))
      return answer.body
    },
  }
  return link as typeof link & Pick<ShardLink, 'control'>
}

test('the producers of a partition, what they wrote last, and which have a transaction open', async () => {
  const shard = new ShardFixture()
  shard.open(2)
  const link = linkTo(shard)
  assert.deepEqual(await producersOf(link, FIRST), [])
  shard.control(ControlOperation.REGISTER_PRODUCERS, { producerId: 9, producerEpoch: 2, partitionRefs: [0] })
  const of = (producerId: number, producerEpoch: number, baseSequence: number) => ({
    producerId,
    producerEpoch,
    baseSequence,
  })
  shard.produce(makeBatch({ records: 3, ...of(4, 0, 0), timestampMs: 1_000 }))
  shard.produce(makeBatch({ records: 2, ...of(4, 0, 3), timestampMs: 2_000 }))
  assert.equal(shard.produce(transactionalBatch(9, 2)).error, 'NONE')
  assert.deepEqual(await producersOf(link, FIRST), [
    {
      ...{ producerId: 4, producerEpoch: 0, lastSequence: 4, coordinatorEpoch: -1, currentTxnStartOffset: -1 },
      lastTimestampMs: 2_000,
    },
    {
      ...{ producerId: 9, producerEpoch: 2, lastSequence: 0, coordinatorEpoch: -1, currentTxnStartOffset: 5 },
      lastTimestampMs: 1_000,
    },
  ])
  const marker = {
    partitionRef: 0,
    producerId: 9,
    producerEpoch: 3,
    coordinatorEpoch: 6,
    isCommit: true,
    isClassic: false,
  }
  shard.control(ControlOperation.WRITE_MARKERS, { markers: [marker] })
  const [, ended] = await producersOf(link, FIRST)
  assert.deepEqual(
    [ended!.producerEpoch, ended!.lastSequence, ended!.coordinatorEpoch, ended!.currentTxnStartOffset],
    [3, -1, 6, -1],
  )
  await assert.rejects(producersOf(link, 7 as PartitionRef), hasCode('UNKNOWN_TOPIC_OR_PARTITION'))
})

test('more producers than a page holds, in their order, once each', async () => {
  const shard = new ShardFixture()
  shard.open()
  const ids = Array.from({ length: 1_001 }, (_, index) => ((index * 7_919) % 1_001) + 1)
  for (const producerId of ids) shard.produce(makeBatch({ producerId, producerEpoch: 0, baseSequence: 0 }))
  const link = linkTo(shard)
  const producers = await producersOf(link, FIRST)
  assert.equal(link.asked, 2)
  assert.deepEqual(
    producers.map(({ producerId }) => producerId),
    ids.toSorted((left, right) => left - right),
  )
})

test('the bytes of all logs, in pages; those that are closed are none', async () => {
  const shard = new ShardFixture()
  const config = topicConfig()
  for (let from = 0; from < 5_500; from += 500)
    shard.control(ControlOperation.OPEN_PARTITIONS, {
      partitions: Array.from({ length: 500 }, (_, index) => ({
        ...{ partitionRef: from + index, topicId: TOPIC, partition: from + index, leaderEpoch: 3 as LeaderEpoch },
        ...{ config, recovered: null, replicas: null },
      })),
    })
  const batch = makeBatch({ records: 2 })
  shard.produce(batch.slice(), { partitionRef: 5_400 })
  shard.produce(batch.slice(), { partitionRef: 5_400 })
  shard.produce(batch.slice(), { partitionRef: 3 })
  shard.control(ControlOperation.CLOSE_PARTITION, { partitionRef: 17 })
  const link = linkTo(shard)
  const sizes = await logSizes([link])
  assert.equal(link.asked, 2)
  assert.equal(sizes.size, 5_499)
  assert.deepEqual(
    [3, 4, 17, 5_400].map((ref) => sizes.get(ref as PartitionRef)),
    [batch.length, 0, undefined, 2 * batch.length],
  )
})
