/**
 * run(): several handlers at once, the records of a key in order, retries that hold up nobody else, and a dead letter topic for what
 * fails for good. Run a broker first (`npm start`), then: node dist/demo/retry.js
 */
import { connect, DEAD_LETTER_HEADERS, json, string, topic } from '../src/client/index.ts'

const name = `payments-${Date.now()}`
const payments = topic(name, { key: string(), value: json<{ amount: number }>() })
const failed = `${name}-failed`

const mq = await connect(process.env.MILLRACE_SERVER ?? 'ws://127.0.0.1:7171')
await mq.admin.topics.create(payments, { partitions: 3 })
await mq.admin.topics.create(failed, { partitions: 1 })
const producer = mq.producer(payments)
for (let index = 0; index < 100; index++)
  await producer.send({ key: `account ${index % 10}`, value: { amount: index === 42 ? -1 : index } })

let handled = 0
let refusals = 0
const group = mq.group(`bank-${Date.now()}`, payments, { from: 'start' })
group.on('retried', ({ attempts, error }) => console.log(`attempt ${attempts} failed: ${(error as Error).message}`))
group.on('deadLettered', ({ attempts }) => console.log(`given up after ${attempts} attempts`))

await group.run(
  async ({ value }, { attempt }) => {
    if (value === null) return
    // The bank is busy now and then, and knows no negative amounts.
    if (value.amount === 7 && attempt === 1) throw new Error(`busy (${++refusals})`)
    if (value.amount < 0) throw new RangeError(`an amount of ${value.amount}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
    if (++handled === 99) void group.close() // not awaited: it waits for this handler
  },
  { concurrency: 8, order: 'key', retry: { attempts: 3, backoff: '20ms' }, deadLetter: failed },
)
console.log(`${handled} payments made`)

for await (const record of mq.consume(failed, { from: 'start', to: 'end' })) {
  const header = (key: string): string =>
    new TextDecoder().decode(record.headers.find((each) => each.key === key)?.value ?? undefined)
  console.log(
    `dead letter of ${header(DEAD_LETTER_HEADERS.topic) === name ? 'payments' : 'elsewhere'}: ` +
      `${header(DEAD_LETTER_HEADERS.errorName)}, ${header(DEAD_LETTER_HEADERS.errorMessage)}`,
  )
}
await mq.close()
