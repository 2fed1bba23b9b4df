/**
 * A broker inside this process: what a program's own tests use, or a program that needs a queue and no server.
 *
 *   node dist/demo/in-process.js
 */
import { createTestBroker } from '../src/in-process/testing.ts'
import { createBroker } from '../src/index.ts'

const text = (bytes: Uint8Array | null): string => new TextDecoder().decode(bytes ?? undefined)

// In memory: no socket, no thread, gone at close().
const broker = await createBroker({ storage: 'memory' })
const mq = broker.client()
await mq.admin.topics.create('orders', { partitions: 3 })
await mq.producer('orders').sendMany(['tea', 'milk', 'tea'].map((item) => ({ key: item, value: item })))
for await (const record of mq.consume('orders', { from: 'start', to: 'end' }))
  console.log(`partition ${record.partition}, offset ${record.offset}: ${text(record.value)}`)
await broker.close()

// In a test: time stands until it is moved, and the power can go.
const test = await createTestBroker()
const client = test.client()
await client.admin.topics.create('audit', {
  partitions: 1,
  config: { 'retention.ms': '86400000', 'segment.ms': '3600000' },
})
const producer = client.producer('audit')
const receipt = await producer.send({ value: 'before the power cut' })
console.log(`acknowledged at ${new Date(receipt.timestampMs).toISOString()}, ${receipt.durability}`)
test.crash()
await test.restart()
const reading = (async () => {
  for await (const record of client.consume('audit', { from: 'start', to: 'end' }))
    console.log(`kept: ${text(record.value)}`)
})()
await test.run(reading) // as much time as the client needs to connect again
await test.advance(3 * 86_400_000)
const [start] = await client.admin.topics.offsets('audit', 'start')
console.log(`three days later the log starts at offset ${start!.offset}`)
await test.close()
