/**
 * A consumer at the tail of many partitions where nothing comes: what its waiting costs the broker. Fetch sessions (KIP-227) are declined, so
 * every poll of a Kafka client names every partition, twice a second by default (fetch.wait.max.ms 500).
 */
import { setTimeout } from 'node:timers/promises'
import { type BenchTarget, withTopic } from '../../src/cli/bench/bench-target.ts'
import type { BrokerProcess } from '../../test/support/broker-process.ts'
import { type BenchBrokerOptions, withBroker } from '../harness/bench-broker.ts'
import { Values } from '../harness/values.ts'
import type { KafkaPart } from './kafka-part.ts'
import { startLibrdkafka } from './librdkafka.ts'

const SETTLE_MS = 3_000
const BUSY = { unit: '% of a core', better: 'lower', digits: 2 } as const
const COST = { unit: 'ms', better: 'lower', digits: 3 } as const

export const pollingPart: KafkaPart = {
  name: 'polling',
  async run({ report, options, librdkafka }) {
    const profile = options.text('profile', 'balanced') as BenchBrokerOptions['profile']
    const counts = options
      .text('poll-partitions', options.smoke ? '10' : '100,1000')
      .split(',')
      .map(Number)
    const seconds = options.number('seconds', 10, 0.3)
    const runs = options.number('runs', 5, 1)
    const values = new Values()
    await withBroker({ profile, fsync: 'interval', kafka: true }, async (target, broker) => {
      for (const partitions of counts)
        await withTopic(target, 'polling', partitions, async ({ name: topic }) => {
          await fill(target, topic, partitions)
          const settleMs = options.smoke ? 100 : SETTLE_MS
          const measure = async (): Promise<{ cpu: number; polls: number }> => {
            await setTimeout(settleMs)
            const [cpu, polls, startedMs] = [broker.cpuSeconds(), await pollsOf(broker), performance.now()]
            await setTimeout(seconds * 1000)
            const tookSeconds = (performance.now() - startedMs) / 1000
            const used = broker.cpuSeconds() - cpu
            return { cpu: used / tookSeconds, polls: ((await pollsOf(broker)) - polls) / tookSeconds }
          }
          for (let run = 0; run < runs; run++) {
            const alone = await measure()
            const native = await nativeWaits(target, topic, measure)
            values.add(`${partitions} partitions: nobody waits`, alone.cpu * 100, BUSY)
            values.add(`${partitions} partitions: a native consumer waits`, native.cpu * 100, BUSY)
            if (librdkafka.kind === 'absent') continue
            const kafka = await kafkaWaits(librdkafka.program, broker, { topic, partitions }, measure)
            values.add(`${partitions} partitions: a librdkafka consumer waits`, kafka.cpu * 100, BUSY)
            if (kafka.polls === 0) continue
            values.add(`${partitions} partitions: librdkafka, polls a second`, kafka.polls, { ...BUSY, unit: '/s' })
            values.add(
              `${partitions} partitions: librdkafka, a poll`,
              ((kafka.cpu - alone.cpu) / kafka.polls) * 1000,
              COST,
            )
          }
        })
    })
    values.tell(report)
  },
}

/** A record in each partition. */
async function fill({ client }: BenchTarget, topic: string, partitions: number): Promise<void> {
  const producer = client.producer(topic)
  const sent = Array.from({ length: partitions }, (_, partition) =>
    producer.send({ partition, key: new Uint8Array(8), value: new Uint8Array(8) }),
  )
  await Promise.all(sent)
  await producer.close()
}

async function nativeWaits<T>({ client }: BenchTarget, topic: string, measure: () => Promise<T>): Promise<T> {
  const stop = new AbortController()
  const reading = (async () => {
    for await (const _ of client.consume(topic, { from: 'end', signal: stop.signal }));
  })().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error
  })
  try {
    return await measure()
  } finally {
    stop.abort()
    await reading
  }
}

async function kafkaWaits<T>(
  program: string,
  { kafka: address }: BrokerProcess,
  { topic, partitions }: { readonly topic: string; readonly partitions: number },
  measure: () => Promise<T>,
): Promise<T> {
  // More than there are: it waits for ever.
  const records = partitions + 1
  const child = startLibrdkafka(program, { mode: 'consume', address, topic, partitions, records, recordBytes: 0 })
  try {
    const value = await measure()
    if (child.exitCode !== null) throw new Error('the librdkafka client ended by itself')
    return value
  } finally {
    child.kill('SIGKILL')
  }
}

/** Fetches of Kafka clients that were answered. */
async function pollsOf(broker: BrokerProcess): Promise<number> {
  const answer = await fetch(`${broker.url.replace(/^ws/, 'http')}/metrics`)
  const found = /^millrace_request_seconds_count\{[^}]*kafka-fetch[^}]*\} (\S+)$/m.exec(await answer.text())
  return Number(found?.[1] ?? 0)
}
