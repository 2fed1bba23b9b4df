/**
 * The fast paths: enqueue() makes no promise a record, batches() no object. Run a broker first (`npm start`), then:
 * node dist/demo/fast-path.js
 */
import { connect } from '../src/client/index.ts'

const RECORDS = 1_000_000
const mq = await connect(process.env.MILLRACE_SERVER ?? 'ws://127.0.0.1:7171')
const name = `fast-path-${Date.now()}`
await mq.admin.topics.create(name)

const producer = mq.producer(name)
const value = new Uint8Array(100)
await producer.ready()
console.time('produce')
for (let index = 0; index < RECORDS; index++) while (!producer.enqueue({ value })) await producer.ready()
await producer.drain()
console.timeEnd('produce')

console.time('consume')
let bytes = 0
for await (const batch of mq.consume(name, { from: 'start', to: 'end' }).batches()) {
  const record = batch.reader()
  while (record.next()) bytes += record.payloadBytes
}
console.timeEnd('consume')
console.log(`${bytes / 100} records`)
await mq.admin.topics.delete(name)
await mq.close()
