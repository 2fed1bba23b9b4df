/** A transaction of a Kafka client that began before its partition's leader did: registrations are in memory, the transaction is not. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { utf8Encode } from '../../src/base/bytes.ts'
import { createBroker, type InProcessBroker } from '../../src/index.ts'
import * as apis from '../../src/kafka/apis/index.ts'
import { type ErrorCode, errorCodeOf } from '../../src/model/errors.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import { BareKafkaClient } from '../support/bare-kafka-client.ts'
import { until } from '../support/until.ts'

const PATIENCE_MS = 30_000
const TRANSACTION = 'txn'

interface Identity {
  readonly producerId: number
  readonly producerEpoch: number
}

async function open(dir: string): Promise<{ broker: InProcessBroker; client: BareKafkaClient }> {
  const broker = await createBroker({ storage: { dir } })
  await broker.listen({ kafka: '127.0.0.1:0' })
  const [host = '', port = ''] = broker.kafkaAddress!.split(':')
  return { broker, client: await BareKafkaClient.connect({ host, port: Number(port) }) }
}

async function produce(
  client: BareKafkaClient,
  identity: Identity,
  { index, value, baseSequence = 0 }: { index: number; value: string; baseSequence?: number },
): Promise<ErrorCode> {
  const writer = new BatchWriter({})
  writer.append(null, utf8Encode(value), null, 1_000)
  const batch = writer.finish({ ...identity, baseSequence, transactional: true }).slice()
  const records = { bytes: batch.length, fragments: [batch] }
  const { responses } = await client.call(apis.produce, 9, {
    ...{ transactionalId: TRANSACTION, acks: -1, timeoutMs: 10_000 },
    topicData: [{ name: 't', partitionData: [{ index, records }] }],
  })
  return errorCodeOf(responses[0]!.partitionResponses[0]!.errorCode)
}

/** Once the coordinator is there, and what came before is ended. */
async function begin(client: BareKafkaClient): Promise<Identity> {
  const wish = { transactionalId: TRANSACTION, transactionTimeoutMs: 60_000, producerId: -1, producerEpoch: -1 }
  const { producerId, producerEpoch } = await until('producer id', PATIENCE_MS, async () => {
    const answer = await client.call(apis.initProducerId, 4, wish)
    return answer.errorCode === 0 && answer
  })
  const added = await client.call(apis.addPartitionsToTxn, 3, {
    ...{ v3AndBelowTransactionalId: TRANSACTION, v3AndBelowProducerId: producerId },
    ...{ v3AndBelowProducerEpoch: producerEpoch, v3AndBelowTopics: [{ name: 't', partitions: [0] }] },
  })
  assert.equal(added.resultsByTopicV3AndBelow[0]!.resultsByPartition[0]!.partitionErrorCode, 0)
  return { producerId, producerEpoch }
}

test('a batch of a transaction that its partition forgot is to be sent again, and is stored then; one of no transaction never', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-kafka-transactions-'))
  const before = await open(dir)
  await before.broker.client().admin.topics.create('t', { partitions: 2 })
  const identity = await begin(before.client)
  before.client.close()
  await before.broker.close()
  const { broker, client } = await open(dir)
  try {
    assert.equal(await produce(client, identity, { index: 0, value: 'a' }), 'NOT_ENOUGH_REPLICAS')
    await until(
      'the batch',
      PATIENCE_MS,
      async () => (await produce(client, identity, { index: 0, value: 'a' })) === 'NONE',
    )
    assert.equal(await produce(client, identity, { index: 1, value: 'b' }), 'INVALID_TXN_STATE', 'it was not added')
    const fenced = { ...identity, producerEpoch: identity.producerEpoch - 1 }
    assert.notEqual(await produce(client, fenced, { index: 1, value: 'c' }), 'NONE')
    const { errorCode } = await client.call(apis.endTxn, 3, {
      ...identity,
      transactionalId: TRANSACTION,
      committed: true,
    })
    assert.equal(errorCode, 0)
    const mq = broker.client()
    const values: string[] = []
    await until('the committed value', PATIENCE_MS, async () => {
      values.length = 0
      for await (const { value } of mq.consume('t', { from: 'start', to: 'end' }))
        values.push(new TextDecoder().decode(value as Uint8Array))
      return values.length > 0
    })
    assert.deepEqual(values, ['a'])
    assert.equal(
      await produce(client, identity, { index: 0, value: 'late', baseSequence: 1 }),
      'INVALID_TXN_STATE',
      'it has ended',
    )
  } finally {
    client.close()
    await broker.close()
    rmSync(dir, { recursive: true, force: true })
  }
})
