/**
 * A session of @platformatic/kafka against a broker, run by a Node that it wants, from a folder that it is installed in:
 *
 *   node platformatic-session.js FOLDER HOST:PORT
 *
 * Each step says on stdout, a line of JSON, what came of it: { step, answer } or { step, error }.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** What is used of it; its own types want a newer TypeScript library than the tests have. */
interface Message {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  readonly timestamp: bigint
  readonly key: string
  readonly value: string
  readonly headers: ReadonlyMap<string, string>
  commit(): Promise<void>
}
interface Stream extends AsyncIterable<Message> {
  close(): Promise<void>
}
interface Consumer {
  consume(options: object): Promise<Stream>
  close(force?: boolean): Promise<void>
}
interface Transaction {
  send(options: object): Promise<unknown>
  addConsumer(consumer: Consumer): Promise<void>
  addOffset(message: Message): Promise<void>
  commit(): Promise<void>
  abort(): Promise<void>
}
interface Producer {
  send(
    options: object,
  ): Promise<{ readonly offsets?: readonly { readonly offset: bigint; readonly partition: number }[] }>
  beginTransaction(options?: object): Promise<Transaction>
  close(force?: boolean): Promise<void>
}
interface Admin {
  createTopics(options: object): Promise<readonly { readonly name: string }[]>
  createPartitions(options: object): Promise<unknown>
  listTopics(): Promise<readonly string[]>
  listGroups(): Promise<ReadonlyMap<string, { readonly state: string }>>
  describeGroups(
    options: object,
  ): Promise<ReadonlyMap<string, { readonly state: string; readonly members: ReadonlyMap<string, unknown> }>>
  describeConfigs(options: object): Promise<readonly { readonly configs: readonly unknown[] }[]>
  deleteGroups(options: object): Promise<void>
  deleteTopics(options: object): Promise<void>
  metadata(options: object): Promise<{
    readonly brokers: ReadonlyMap<number, unknown>
    readonly topics: ReadonlyMap<string, { readonly partitionsCount: number }>
  }>
  close(): Promise<void>
}
interface Library {
  readonly Producer: new (options: object) => Producer
  readonly Consumer: new (options: object) => Consumer
  readonly Admin: new (options: object) => Admin
  readonly stringSerializers: object
  readonly stringDeserializers: object
}

const READ_MS_MAX = 30_000
const [folder = '', kafka = ''] = process.argv.slice(2)
const entry = join(folder, 'node_modules', '@platformatic', 'kafka', 'dist', 'index.js')
const library = (await import(pathToFileURL(entry).href)) as Library
const common = { clientId: 'platformatic-test', bootstrapBrokers: [kafka], retries: 5, retryDelay: 100 }

function producerOf(options: object = {}): Producer {
  return new library.Producer({ ...common, serializers: library.stringSerializers, ...options })
}

function consumerOf(groupId: string, options: object = {}): Consumer {
  return new library.Consumer({
    ...{ ...common, groupId, deserializers: library.stringDeserializers, maxWaitTime: 200 },
    ...{ heartbeatInterval: 200, sessionTimeout: 6_000 },
    ...options,
  })
}

/** The first `count` records of a group's topics, committed one by one; with a member more, where one is asked for. */
async function read(
  groupId: string,
  topics: string[],
  count: number,
  options: { readonly members?: number; readonly group?: object } = {},
): Promise<Message[]> {
  const { members = 1, group = {} } = options
  const messages: Message[] = []
  const consumers = Array.from({ length: members }, () => consumerOf(groupId, group))
  const streams = await Promise.all(
    consumers.map((consumer) =>
      consumer.consume({ topics, mode: 'committed', fallbackMode: 'earliest', autocommit: false }),
    ),
  )
  let timer: NodeJS.Timeout | undefined
  await new Promise<void>((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${messages.length} of ${count} records`)), READ_MS_MAX)
    const readOn = async (stream: Stream): Promise<void> => {
      for await (const message of stream) {
        await message.commit()
        messages.push(message)
        if (messages.length >= count) break
      }
      resolve()
    }
    for (const stream of streams) readOn(stream).catch(reject)
  }).finally(() => clearTimeout(timer))
  for (const consumer of consumers) await consumer.close(true)
  return messages
}

const facts = ({ partition, offset, timestamp, key, value, headers }: Message) => ({
  ...{ partition, offset: Number(offset), timestampMs: Number(timestamp), key, value, headers: [...headers] },
})

async function step(name: string, work: () => Promise<unknown>): Promise<void> {
  const line = await work().then(
    (answer) => ({ step: name, answer }),
    (error: Error & { errors?: readonly Error[] }) => ({ step: name, error: textOf(error) }),
  )
  console.log(JSON.stringify(line))
}

function textOf(error: Error & { readonly errors?: readonly Error[] }): string {
  return [
    error.message,
    ...(error.errors ?? []).map((each) => textOf(each)),
    error.cause === undefined ? '' : String(error.cause),
  ].join('; ')
}

const admin = new library.Admin(common)
await step('topics', async () => {
  const names = ['plt', 'plt-transactions']
  await admin.createTopics({ topics: names, partitions: 2, replicas: 1 })
  await admin.createPartitions({ topics: [{ name: 'plt', count: 4 }] })
  const { topics } = await admin.metadata({ topics: names })
  return {
    counts: names.map((name) => topics.get(name)?.partitionsCount),
    listed: (await admin.listTopics()).filter((name) => name.startsWith('plt')).sort(),
  }
})
for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'])
  await step(`compression ${compression}`, async () => {
    const topic = `plt-${compression}`
    await admin.createTopics({ topics: [topic], partitions: 1, replicas: 1 })
    const producer = producerOf({ compression })
    const messages = Array.from({ length: 200 }, (_, index) => ({
      ...{ topic, key: `k${index}`, value: `the same words again and again ${index}` },
    }))
    await producer.send({ messages })
    await producer.close()
    const values = (await read(`plt-${compression}`, [topic], 200)).map(({ value }) => value)
    return { isSame: JSON.stringify(values) === JSON.stringify(messages.map(({ value }) => value)) }
  })
await step('idempotent', async () => {
  const producer = producerOf({ idempotent: true, acks: -1 })
  for (let index = 0; index < 20; index++)
    await producer.send({
      messages: [{ topic: 'plt', key: `k${index}`, value: `v${index}`, headers: new Map([['h', '1']]) }],
    })
  await producer.close()
  const messages = await read('plt-classic', ['plt'], 20, { members: 2 })
  return messages.map(facts).sort((a, b) => Number(a.value.slice(1)) - Number(b.value.slice(1)))
})
await step('groups', async () => {
  const described = (await admin.describeGroups({ groups: ['plt-classic'] })).get('plt-classic')
  return { listed: (await admin.listGroups()).has('plt-classic'), state: described?.state }
})
await step('consumer protocol', async () => {
  const messages = await read('plt-consumer', ['plt'], 20, { members: 2, group: { groupProtocol: 'consumer' } })
  return { count: messages.length, unique: new Set(messages.map(({ value }) => value)).size }
})
await step('transactions', async () => {
  const producer = producerOf({ idempotent: true, transactionalId: 'plt-1', acks: -1 })
  for (const value of ['committed', 'aborted', 'again']) {
    const transaction = await producer.beginTransaction()
    await transaction.send({ messages: [{ topic: 'plt-transactions', partition: 0, value }] })
    await (value === 'aborted' ? transaction.abort() : transaction.commit())
  }
  await producer.close()
  return (await read('plt-transactions', ['plt-transactions'], 2)).map(({ value }) => value)
})
await step('offsets in a transaction', async () => {
  const producer = producerOf({ idempotent: true, transactionalId: 'plt-2', acks: -1 })
  const consumer = consumerOf('plt-handed-on')
  const stream = await consumer.consume({
    topics: ['plt-none'],
    mode: 'committed',
    fallbackMode: 'earliest',
    autocommit: false,
  })
  for await (const message of stream) {
    const transaction = await producer.beginTransaction()
    await transaction.addConsumer(consumer)
    await transaction.addOffset(message)
    await transaction.send({ messages: [{ topic: 'plt-transactions', partition: 1, value: message.value }] })
    await transaction.commit()
    break
  }
  await consumer.close(true)
  await producer.close()
  return {}
})
await step('unknown topic', async () => {
  const producer = producerOf({ retries: 0 })
  try {
    await producer.send({ messages: [{ topic: 'plt-nowhere', value: 'v' }] })
  } finally {
    await producer.close(true)
  }
})
await step('too large', async () => {
  const producer = producerOf({ retries: 0 })
  try {
    await producer.send({ messages: [{ topic: 'plt', value: 'x'.repeat(2_000_000) }] })
  } finally {
    await producer.close(true)
  }
})
await step('configs', async () => {
  const [described] = await admin.describeConfigs({ resources: [{ resourceType: 2, resourceName: 'plt' }] })
  return { count: described?.configs.length ?? 0 }
})
await step('deleted', async () => {
  await admin.deleteGroups({ groups: ['plt-classic'] })
  await admin.createTopics({ topics: ['plt-deleted'], partitions: 1, replicas: 1 })
  await admin.deleteTopics({ topics: ['plt-deleted'] })
  return {
    topics: (await admin.listTopics()).includes('plt-deleted'),
    groups: (await admin.listGroups()).has('plt-classic'),
  }
})
await admin.close()
process.exit(0)
