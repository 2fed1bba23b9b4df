/** kafkajs as tests use it: quiet, and impatient. */
import { type Consumer, type EachMessagePayload, Kafka, type KafkaConfig, logLevel } from 'kafkajs'

export function kafkajsOf(kafka: string, config: Partial<KafkaConfig> = {}): Kafka {
  return new Kafka({
    ...{ clientId: 'kafkajs-test', brokers: [kafka], logLevel: logLevel.NOTHING },
    ...{ retry: { initialRetryTime: 50, retries: 8 }, ...config },
  })
}

/** A record as text, and where it is. */
export interface ReadMessage {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestampMs: number
  readonly key: string | null
  readonly value: string | null
  readonly headers: Readonly<Record<string, string | readonly string[]>>
}

export function readMessage({ topic, partition, message }: EachMessagePayload): ReadMessage {
  const { offset, timestamp, key, value, headers = {} } = message
  const text = (each: Buffer | string | undefined): string => String(each)
  return {
    ...{ topic, partition, offset: Number(offset), timestampMs: Number(timestamp) },
    ...{ key: key === null ? null : String(key), value: value === null ? null : String(value) },
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, each]) => [name, Array.isArray(each) ? each.map(text) : text(each)]),
    ),
  }
}

/** A consumer of topics from their beginnings that gathers what it reads. */
export async function gather(
  kafka: Kafka,
  options: { readonly groupId: string; readonly topics: readonly string[]; readonly readUncommitted?: boolean },
): Promise<{ readonly messages: ReadMessage[]; readonly consumer: Consumer }> {
  const { groupId, topics, readUncommitted = false } = options
  const consumer = kafka.consumer({ groupId, readUncommitted, heartbeatInterval: 200, maxWaitTimeInMs: 200 })
  const messages: ReadMessage[] = []
  await consumer.connect()
  await consumer.subscribe({ topics: [...topics], fromBeginning: true })
  await consumer.run({ eachMessage: async (payload) => void messages.push(readMessage(payload)) })
  return { messages, consumer }
}
