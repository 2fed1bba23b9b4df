/**
 * A process that is a member of a group with kafkajs, for tests that kill it: node kafkajs-member.js '{"kafka": …}'; ends in order at SIGTERM.
 *
 *   without output   each record is handled (a line: its value), and its offset committed after that
 *   with output      each batch is a transaction: its records, their values handed on to `output`, and its offsets
 */
import { writeSync } from 'node:fs'
import { type Consumer, type EachBatchPayload, Kafka, logLevel, type Producer } from 'kafkajs'
import type { MemberOptions } from './kafkajs-process.ts'

const STDOUT = 1

async function handle({
  batch,
  isRunning,
  isStale,
  resolveOffset,
  heartbeat,
  commitOffsetsIfNecessary,
}: EachBatchPayload): Promise<void> {
  for (const { offset, value } of batch.messages) {
    if (!isRunning() || isStale()) return
    writeSync(STDOUT, `${value}\n`)
    resolveOffset(offset)
    await commitOffsetsIfNecessary({
      topics: [
        { topic: batch.topic, partitions: [{ partition: batch.partition, offset: String(Number(offset) + 1) }] },
      ],
    })
  }
  await heartbeat()
}

async function handOn(
  options: MemberOptions,
  producer: Producer,
  { batch, isRunning, isStale, heartbeat }: EachBatchPayload,
): Promise<void> {
  if (!isRunning() || isStale()) return
  const transaction = await producer.transaction()
  try {
    const messages = batch.messages.map(({ value }) => ({ value }))
    await transaction.send({ topic: options.output!, messages })
    const offset = String(Number(batch.lastOffset()) + 1)
    await transaction.sendOffsets({
      consumerGroupId: options.groupId,
      topics: [{ topic: batch.topic, partitions: [{ partition: batch.partition, offset }] }],
    })
    await transaction.commit()
  } catch (error) {
    if (transaction.isActive()) await transaction.abort().catch(() => {})
    throw error
  }
  for (const { value } of batch.messages) writeSync(STDOUT, `${value}\n`)
  await heartbeat()
}

async function main(options: MemberOptions): Promise<void> {
  const kafka = new Kafka({
    ...{ clientId: 'member', brokers: [options.kafka], logLevel: logLevel.NOTHING },
    retry: { initialRetryTime: 50, retries: 10 },
  })
  const { groupId, topic, transactionalId } = options
  const consumer: Consumer = kafka.consumer({
    ...{ groupId, sessionTimeout: 6_000, rebalanceTimeout: 10_000, heartbeatInterval: 200, maxWaitTimeInMs: 100 },
  })
  const producer =
    transactionalId === undefined
      ? undefined
      : kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1, transactionTimeout: 10_000 })
  process.once('SIGTERM', async () => {
    await consumer.disconnect()
    await producer?.disconnect()
    process.exit(0)
  })
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    console.error(String(payload.error))
    // It would stay, and do nothing.
    if (!payload.restart) process.exit(1)
  })
  await producer?.connect()
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatch: (payload) => (producer === undefined ? handle(payload) : handOn(options, producer, payload)),
  })
}

await main(JSON.parse(process.argv[2] ?? '') as MemberOptions)
