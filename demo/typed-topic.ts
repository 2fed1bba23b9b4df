/**
 * A topic with types: checked by the compiler where it is used, and by its schema where records go in and come out. Any Standard
 * Schema will do; zod stands for them here. Run a broker first (`npm start`), then: node dist/demo/typed-topic.js
 */
import { z } from 'zod'
import { connect, json, string, topic } from '../src/client/index.ts'

const name = `typed-orders-${Date.now()}`
const orders = topic(name, {
  key: string(),
  value: json(z.object({ id: z.number().int(), item: z.string(), pieces: z.number().int().min(1).default(1) })),
})

const mq = await connect(process.env.MILLRACE_SERVER ?? 'ws://127.0.0.1:7171')
mq.on('disconnected', ({ url, error }) => console.error(`lost ${url}: ${error.message}`))
await mq.admin.topics.create(orders, { partitions: 3 })

const producer = mq.producer(orders)
await producer.send({ key: 'u1', value: { id: 1, item: 'tea' } })
await producer.send({ key: 'u2', value: { id: 2, item: 'milk', pieces: 3 } })
await producer.send({ key: 'u1', value: { id: 3, item: 'sugar', pieces: 0 } }).catch((error: Error) => {
  console.log(`refused: ${error.message}`)
})

// Somebody who knows no schema writes too: what cannot be read is handed out as it was stored.
await mq.producer(name).send({ key: 'u3', value: 'two lemons' })
for await (const order of mq.consume(orders, { from: 'start', to: 'end', onDecodeError: 'pass' })) {
  if (order.decodeError !== undefined) console.log(`unreadable: ${order.decodeError.message}`)
  else console.log(`${order.key} ordered ${order.value?.pieces} of ${order.value?.item}`)
}
await mq.admin.topics.delete(orders)
await mq.close()
