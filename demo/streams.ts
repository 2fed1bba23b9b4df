/**
 * Web Streams: a producer as the end of a pipeline and a consumer as the beginning of one; both wait for each other by
 * themselves. Run a broker first (`npm start`), then: node dist/demo/streams.js
 */
import { connect, json, type ProducerRecord, string, topic } from '../src/client/index.ts'

interface Reading {
  readonly sensor: string
  readonly celsius: number
}

const READINGS = 10_000
const SENSORS = 8
const readings = topic(`readings-${Date.now()}`, { key: string(), value: json<Reading>() })

/** Readings as they might come from somewhere: made when they are asked for. */
function source(): ReadableStream<Reading> {
  let made = 0
  return new ReadableStream({
    pull: (controller) => {
      const number = made++
      if (number === READINGS) controller.close()
      else controller.enqueue({ sensor: `s${number % SENSORS}`, celsius: 15 + ((number * 7) % 100) / 10 })
    },
  })
}

const mq = await connect(process.env.MILLRACE_SERVER ?? 'ws://127.0.0.1:7171')
await mq.admin.topics.create(readings, { partitions: 4 })

const asRecords = new TransformStream<Reading, ProducerRecord<string, Reading>>({
  transform: (value, controller) => controller.enqueue({ key: value.sensor, value }),
})
await source().pipeThrough(asRecords).pipeTo(mq.producer(readings).writable())

const sums = new Map<string, { count: number; celsius: number }>()
const summing = new WritableStream<{ readonly value: Reading | null }>({
  write: ({ value }) => {
    const { sensor, celsius } = value!
    const sum = sums.get(sensor) ?? { count: 0, celsius: 0 }
    sums.set(sensor, { count: sum.count + 1, celsius: sum.celsius + celsius })
  },
})
await mq.consume(readings, { from: 'start', to: 'end' }).readable().pipeTo(summing)
let count = 0
for (const [sensor, sum] of [...sums].sort()) {
  console.log(`${sensor}: ${sum.count} readings, ${(sum.celsius / sum.count).toFixed(2)} °C`)
  count += sum.count
}
console.log(`${count} readings`)
await mq.admin.topics.delete(readings)
await mq.close()
