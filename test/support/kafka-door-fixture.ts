/** A broker in memory with the Kafka door open, bare clients of it, and batches to send. */
import { after } from 'node:test'
import type { InProcessConfig } from '../../src/in-process/in-process-config.ts'
import { createBroker, type InProcessBroker } from '../../src/index.ts'
import * as apis from '../../src/kafka/apis/index.ts'
import { BareKafkaClient } from './bare-kafka-client.ts'
import { type BatchOptions, makeBatch } from './log-fixture.ts'

export interface KafkaDoorFixture {
  readonly broker: InProcessBroker
  connect(): Promise<BareKafkaClient>
}

/** Closed, with all its clients, when the test file ends. */
export async function openKafkaDoor(config: InProcessConfig = {}): Promise<KafkaDoorFixture> {
  const broker = await createBroker({ storage: 'memory', config })
  await broker.listen({ kafka: '127.0.0.1:0' })
  const clients: BareKafkaClient[] = []
  after(async () => {
    for (const client of clients) client.close()
    await broker.close()
  })
  const [host = '', port = ''] = broker.kafkaAddress!.split(':')
  return {
    broker,
    async connect() {
      const client = await BareKafkaClient.connect({ host, port: Number(port) })
      clients.push(client)
      return client
    },
  }
}

/** As `records` of a request. */
export function recordsOf(options: BatchOptions = {}) {
  const batch = makeBatch(options)
  return { bytes: batch.length, fragments: [batch] }
}

/** Appends a batch with acks=all; answers the partition's row. */
export async function produceBatch(
  client: BareKafkaClient,
  name: string,
  index: number,
  options: BatchOptions & { readonly transactionalId?: string; readonly version?: number } = {},
) {
  const { transactionalId = null, version = 9, ...batch } = options
  const { responses } = await client.call(apis.produce, version, {
    ...{ transactionalId, acks: -1, timeoutMs: 10_000 },
    topicData: [{ name, partitionData: [{ index, records: recordsOf(batch) }] }],
  })
  return responses[0]!.partitionResponses[0]!
}

/** What a fetch of one partition asks for, but for what a test says. */
export function fetchRequest(topic: string, partition: number, fetchOffset: number) {
  return {
    ...{ maxWaitMs: 0, minBytes: 1, maxBytes: 1 << 20, isolationLevel: 0, sessionId: 0, sessionEpoch: -1 },
    topics: [{ topic, topicId: '', partitions: [{ partition, fetchOffset, partitionMaxBytes: 1 << 20 }] }],
    ...{ forgottenTopicsData: [], rackId: '', clusterId: null },
  }
}
