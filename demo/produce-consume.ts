/**
 * The shortest useful program. Run a broker first (`npm start`), then: node dist/demo/produce-consume.js
 */
import { connect } from '../src/client/index.ts'

const mq = await connect(process.env.MILLRACE_SERVER ?? 'ws://127.0.0.1:7171')
await mq.admin.topics.create('orders', { partitions: 6, ifNotExists: true })

const producer = mq.producer('orders')
const receipt = await producer.send({ key: 'u1', value: JSON.stringify({ id: 1, item: 'tea' }) })
console.log(`stored in partition ${receipt.partition} at offset ${receipt.offset}, ${receipt.durability}`)

for await (const record of mq.consume('orders', { from: 'start', to: 'end' })) {
  console.log(`${record.partition}/${record.offset}`, new TextDecoder().decode(record.value ?? undefined))
}
await mq.close()
