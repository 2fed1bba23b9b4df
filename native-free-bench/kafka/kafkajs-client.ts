/**
 * A program: kafkajs as a producer or consumer, told what to do by its argument (KafkajsWork); sends what it measured to its parent. Connecting
 * and joining its group are not measured: kafkajs has no consumer without a group.
 */
import { Kafka, logLevel, type Message, Partitioners } from 'kafkajs'
import { RecordPool, touch } from '../../src/cli/bench/record-pool.ts'
import { cpuSecondsOf } from '../../test/support/broker-process.ts'
import type { ClientRun, KafkajsWork } from './bench-clients.ts'

/** Of one send; what it makes of it for one partition must be a batch that the broker takes. */
const SEND_BYTES = 768 * 1024
const SENDS_OPEN = 4
const FETCH_BYTES = 2 * 1024 * 1024

const work = JSON.parse(process.argv[2]!) as KafkajsWork
const kafka = new Kafka({ clientId: 'bench', brokers: [work.address], logLevel: logLevel.ERROR })
const result = work.mode === 'produce' ? await produce() : await consume()
process.send!(result)
process.disconnect()

async function measured(body: () => Promise<{ records: number; checksum: number }>): Promise<ClientRun> {
  const [before, broker, startedMs] = [process.cpuUsage(), cpuSecondsOf(work.brokerPid), performance.now()]
  const { records, checksum } = await body()
  const seconds = (performance.now() - startedMs) / 1000
  const { user, system } = process.cpuUsage(before)
  const brokerCpuSeconds = cpuSecondsOf(work.brokerPid) - broker
  return { records, checksum, seconds, cpuSeconds: (user + system) / 1e6, brokerCpuSeconds }
}

async function produce(): Promise<ClientRun> {
  const { topic, records, recordBytes } = work
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner })
  await producer.connect()
  const pool = new RecordPool({ recordBytes })
  const perSend = Math.max(1, Math.floor(SEND_BYTES / recordBytes))
  let [sent, checksum] = [0, 0]
  const next = (): Message[] => {
    const count = Math.min(perSend, records - sent)
    sent += count
    return Array.from({ length: count }, () => {
      const { key, value, touched } = pool.next()
      checksum += touched
      return {
        key: Buffer.from(key.buffer, key.byteOffset, key.length),
        value: Buffer.from(value.buffer, value.byteOffset, value.length),
      }
    })
  }
  const sender = async (): Promise<void> => {
    while (sent < records) await producer.send({ topic, acks: -1, messages: next() })
  }
  const run = await measured(async () => {
    await Promise.all(Array.from({ length: SENDS_OPEN }, sender))
    return { records, checksum }
  })
  await producer.disconnect()
  return run
}

async function consume(): Promise<ClientRun> {
  const { topic, records } = work
  const consumer = kafka.consumer({ groupId: topic, maxBytesPerPartition: FETCH_BYTES })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const nextOffsets = new Map<number, number>()
  let [seen, checksum] = [0, 0]
  let isAll: () => void = () => {}
  const all = new Promise<void>((resolve) => (isAll = resolve))
  const joined = new Promise<void>((resolve) => consumer.on(consumer.events.GROUP_JOIN, () => resolve()))
  const eachBatch = async ({
    batch,
  }: {
    batch: { partition: number; messages: { offset: string; key: Buffer | null; value: Buffer | null }[] }
  }) => {
    for (const { offset, key, value } of batch.messages) {
      const expected = nextOffsets.get(batch.partition) ?? 0
      if (Number(offset) !== expected || key === null || value === null)
        throw new Error(`partition ${batch.partition}: read offset ${offset}, expected ${expected} with key and value`)
      nextOffsets.set(batch.partition, expected + 1)
      checksum += touch(key, value)
      seen++
    }
    if (seen >= records) isAll()
  }
  await consumer.run({ autoCommit: false, eachBatch })
  await joined
  const run = await measured(async () => {
    await all
    return { records: seen, checksum }
  })
  await consumer.disconnect()
  return run
}
