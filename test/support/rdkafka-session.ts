/**
 * A session of a binding of librdkafka against a broker, from a folder where it is installed and built:
 *
 *   node rdkafka-session.js FOLDER PACKAGE HOST:PORT      PACKAGE: node-rdkafka or @confluentinc/kafka-javascript
 *
 * Each step says on stdout, a line of JSON, what came of it: { step, answer } or { step, error }.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'

/** What is used of it. */
interface Message {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
}
type Done<T = unknown> = (error: Error | null, answer: T) => void
interface Handle {
  connect(options: object, done: Done): void
  disconnect(done: Done): void
}
interface Producer extends Handle {
  setPollInterval(ms: number): void
  produce(
    topic: string,
    partition: number | null,
    value: Uint8Array | null,
    key: string | null,
    timestamp: number | null,
    opaque: unknown,
    headers?: object[],
  ): void
  flush(timeoutMs: number, done: Done): void
  initTransactions(timeoutMs: number, done: Done): void
  beginTransaction(done: Done): void
  sendOffsetsToTransaction(offsets: object[], consumer: Consumer, timeoutMs: number, done: Done): void
  commitTransaction(timeoutMs: number, done: Done): void
  abortTransaction(timeoutMs: number, done: Done): void
  on(event: 'delivery-report', listener: (error: Error | null, report: { readonly offset: number }) => void): void
}
interface Consumer extends Handle {
  subscribe(topics: readonly string[]): void
  setDefaultConsumeTimeout(ms: number): void
  consume(count: number, done: Done<readonly Message[]>): void
  commitMessageSync(message: Message): void
}
interface Admin {
  createTopic(topic: object, timeoutMs: number, done: Done): void
  createPartitions(topic: string, count: number, timeoutMs: number, done: Done): void
  deleteTopic(topic: string, timeoutMs: number, done: Done): void
  disconnect(): void
}
interface Library {
  readonly librdkafkaVersion: string
  readonly features: readonly string[]
  readonly Producer: new (options: object, topicOptions?: object) => Producer
  readonly KafkaConsumer: new (options: object, topicOptions?: object) => Consumer
  readonly AdminClient: { create(options: object): Admin }
}

/** ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS */
const REBALANCES: ReadonlySet<number> = new Set([22, 25, 27])
const CLASSIC = { 'session.timeout.ms': 6_000, 'heartbeat.interval.ms': 200 }
/** KIP-848: the broker says how often it wants to hear of a member. */
const CONSUMER = { 'group.protocol': 'consumer' }
const TIMEOUT_MS = 20_000
const READ_MS_MAX = 30_000
const [folder = '', name = '', kafka = ''] = process.argv.slice(2)
const require = createRequire(join(folder, 'package.json'))
const library = require(name) as Library
const common = { 'metadata.broker.list': kafka, 'client.id': 'rdkafka-test' }

function done<T = unknown>(start: (callback: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => start((error, answer) => (error ? reject(error) : resolve(answer))))
}

async function withProducer<T>(options: object, body: (producer: Producer, failed: Error[]) => Promise<T>): Promise<T> {
  const producer = new library.Producer({ ...common, dr_cb: true, ...options })
  const failed: Error[] = []
  producer.on('delivery-report', (error) => {
    if (error) failed.push(error)
  })
  await done((callback) => producer.connect({}, callback))
  producer.setPollInterval(20)
  const answer = await body(producer, failed)
  await done((callback) => producer.disconnect(callback))
  return answer
}

async function withConsumer<T>(
  groupId: string,
  topics: readonly string[],
  body: (consumer: Consumer) => Promise<T>,
  protocol: object = CLASSIC,
): Promise<T> {
  const options = { 'group.id': groupId, 'enable.auto.commit': false, ...protocol }
  const consumer = new library.KafkaConsumer({ ...common, ...options }, { 'auto.offset.reset': 'earliest' })
  await done((callback) => consumer.connect({}, callback))
  consumer.setDefaultConsumeTimeout(200)
  consumer.subscribe(topics)
  const answer = await body(consumer)
  await done((callback) => consumer.disconnect(callback))
  return answer
}

/** Records of one member or more, each committed, until there are `count`. */
async function gather(consumers: readonly Consumer[], count: number): Promise<Message[]> {
  const messages: Message[] = []
  const untilMs = performance.now() + READ_MS_MAX
  while (messages.length < count) {
    if (performance.now() > untilMs) throw new Error(`${messages.length} of ${count} records`)
    for (const consumer of consumers)
      for (const message of await done<readonly Message[]>((callback) => consumer.consume(100, callback))) {
        messages.push(message)
        try {
          consumer.commitMessageSync(message)
        } catch (error) {
          // Of the generation before, which another member's coming has ended: it is read again by whoever has its partition now.
          if (!REBALANCES.has((error as { code?: number }).code ?? 0)) throw error
        }
      }
  }
  return messages
}

const valuesOf = (messages: readonly Message[]): (string | null)[] =>
  messages.map(({ value }) => (value === null ? null : Buffer.from(value).toString()))

async function step(title: string, work: () => Promise<unknown>): Promise<void> {
  const line = await work().then(
    (answer) => ({ step: title, answer }),
    (error: Error) => ({ step: title, error: `${error.message}` }),
  )
  console.log(JSON.stringify(line))
}

await step('version', async () => library.librdkafkaVersion)
const admin = library.AdminClient.create(common)
const create = (topic: string, partitions: number): Promise<unknown> =>
  done((callback) =>
    admin.createTopic({ topic, num_partitions: partitions, replication_factor: 1 }, TIMEOUT_MS, callback),
  )
await step('topics', async () => {
  await create('rdk', 2)
  await done((callback) => admin.createPartitions('rdk', 4, TIMEOUT_MS, callback))
  await create('rdk-transactions', 2)
  await create('rdk-deleted', 1)
  await done((callback) => admin.deleteTopic('rdk-deleted', TIMEOUT_MS, callback))
  return {}
})
for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd'])
  await step(`compression ${codec}`, async () => {
    const topic = `rdk-${codec}`
    await create(topic, 1)
    const wanted = Array.from({ length: 500 }, (_, index) => `the same words again and again ${index}`)
    const options = { 'compression.codec': codec, 'linger.ms': 50, 'enable.idempotence': true }
    await withProducer(options, async (producer, failed) => {
      for (const value of wanted) producer.produce(topic, 0, Buffer.from(value), 'k', null, null, [{ h: '1' }])
      await done((callback) => producer.flush(TIMEOUT_MS, callback))
      if (failed[0]) throw failed[0]
    })
    const values = await withConsumer(topic, [topic], async (consumer) => valuesOf(await gather([consumer], 500)))
    return { isSame: JSON.stringify(values) === JSON.stringify(wanted) }
  })
await step('group', async () => {
  await withProducer({ partitioner: 'murmur2_random' }, async (producer) => {
    for (let index = 0; index < 100; index++)
      producer.produce('rdk', null, Buffer.from(`v${index}`), `k${index}`, null, null)
    await done((callback) => producer.flush(TIMEOUT_MS, callback))
  })
  return shared('rdk-group', CLASSIC)
})
await step('consumer protocol', () => shared('rdk-consumer', CONSUMER))

/** The records of `rdk` by a group of two. */
function shared(groupId: string, protocol: object): Promise<unknown> {
  const member = <T>(body: (consumer: Consumer) => Promise<T>): Promise<T> =>
    withConsumer(groupId, ['rdk'], body, protocol)
  return member((first) =>
    member(async (second) => {
      const values = new Set<string | null>()
      while (values.size < 100) for (const value of valuesOf(await gather([first, second], 1))) values.add(value)
      return { unique: values.size }
    }),
  )
}
await step('transactions', async () => {
  await withProducer({ 'transactional.id': 'rdk-1' }, async (producer) => {
    await done((callback) => producer.initTransactions(TIMEOUT_MS, callback))
    for (const value of ['committed', 'aborted', 'again']) {
      await done((callback) => producer.beginTransaction(callback))
      producer.produce('rdk-transactions', 0, Buffer.from(value), null, null, null)
      if (value === 'aborted') {
        await done((callback) => producer.flush(TIMEOUT_MS, callback))
        await done((callback) => producer.abortTransaction(TIMEOUT_MS, callback))
      } else await done((callback) => producer.commitTransaction(TIMEOUT_MS, callback))
    }
  })
  return withConsumer('rdk-transactions', ['rdk-transactions'], async (consumer) =>
    valuesOf(await gather([consumer], 2)),
  )
})
await step('offsets in a transaction', () =>
  withProducer({ 'transactional.id': 'rdk-2' }, async (producer) => {
    await done((callback) => producer.initTransactions(TIMEOUT_MS, callback))
    return withConsumer('rdk-handed-on', ['rdk-none'], async (consumer) => {
      let messages: readonly Message[] = []
      const untilMs = performance.now() + READ_MS_MAX
      while (messages.length === 0 && performance.now() < untilMs)
        messages = await done<readonly Message[]>((callback) => consumer.consume(1, callback))
      const { topic, partition, offset, value } = messages[0]!
      await done((callback) => producer.beginTransaction(callback))
      producer.produce('rdk-transactions', 1, Buffer.from(value!), null, null, null)
      const offsets = [{ topic, partition, offset: offset + 1 }]
      await done((callback) => producer.sendOffsetsToTransaction(offsets, consumer, TIMEOUT_MS, callback))
      await done((callback) => producer.commitTransaction(TIMEOUT_MS, callback))
      return {}
    })
  }),
)
admin.disconnect()
process.exit(0)
