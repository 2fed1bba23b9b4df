/**
 * Reads everything a topic has, or some partitions of it: key, value and offset of every record are touched, the client checks
 * every CRC, and offsets must follow one another without a gap. What is timed for the percentiles: how long the reader waits for
 * the next batch (`batches`), or for one record in SAMPLE_EVERY (`iterate`).
 *
 *   batches  the fast path: a cursor over received batches, nothing made per record
 *   iterate  `for await`: a record object each
 */
import type { RecordableHistogram } from 'node:perf_hooks'
import type { Client, Consumer, ConsumerOptions } from '../../client/index.ts'
import { type Measured, newLatency, recordMs } from './bench-result.ts'
import { touch } from './record-pool.ts'

export interface ConsumeOptions {
  readonly topic: string
  readonly api: 'batches' | 'iterate'
  /** Default: all. */
  readonly partitions?: readonly number[]
  /** Stops after so many seconds, at the next batch. */
  readonly seconds?: number
  readonly consumer?: ConsumerOptions
  readonly signal?: AbortSignal
}

const SAMPLE_EVERY = 1021

/** Runs until the end that stood when it began. */
export async function runConsume(client: Client, options: ConsumeOptions): Promise<Measured> {
  const startedMs = performance.now()
  const consumer = client.consume(options.topic, {
    ...options.consumer,
    from: 'start',
    to: 'end',
    ...(options.partitions === undefined ? {} : { partitions: options.partitions }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  })
  const endMs = startedMs + (options.seconds ?? Number.POSITIVE_INFINITY) * 1000
  const reading = new Reading()
  if (options.api === 'batches') await readBatches(consumer, reading, endMs)
  else await readRecords(consumer, reading, endMs)
  const seconds = (performance.now() - startedMs) / 1000
  const { records, bytes, checksum, latency } = reading
  return { records, bytes, seconds, checksum, latency, durability: undefined }
}

async function readBatches(consumer: Consumer, reading: Reading, endMs: number): Promise<void> {
  let askedMs = performance.now()
  for await (const batch of consumer.batches()) {
    recordMs(reading.latency, performance.now() - askedMs)
    const cursor = batch.reader()
    const { partition } = batch
    while (cursor.next()) reading.touch(partition, cursor.offset, cursor.key, cursor.value)
    askedMs = performance.now()
    if (askedMs > endMs) break
  }
}

async function readRecords(consumer: Consumer, reading: Reading, endMs: number): Promise<void> {
  let askedMs = performance.now()
  for await (const { partition, offset, key, value } of consumer) {
    if (askedMs > 0) recordMs(reading.latency, performance.now() - askedMs)
    reading.touch(partition, offset, key, value)
    askedMs = 0
    if (reading.records % SAMPLE_EVERY !== 0) continue
    askedMs = performance.now()
    if (askedMs > endMs) break
  }
}

class Reading {
  readonly #nextOffsets: number[] = []
  readonly latency: RecordableHistogram = newLatency()
  records = 0
  bytes = 0
  checksum = 0

  touch(partition: number, offset: number, key: Uint8Array | null, value: Uint8Array | null): void {
    const expected = this.#nextOffsets[partition] ?? 0
    if (offset !== expected || key === null || value === null)
      throw new Error(`partition ${partition}: read offset ${offset}, expected ${expected} with key and value`)
    this.#nextOffsets[partition] = offset + 1
    this.records++
    this.bytes += key.length + value.length
    this.checksum += touch(key, value)
  }
}
