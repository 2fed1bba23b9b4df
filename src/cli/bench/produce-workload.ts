/**
 * Produces through the public client, as an application would: every record has a random key and value, every acknowledgement
 * is waited for. What is timed for the percentiles: one record in SAMPLE_EVERY (at a rate: a thousand a second), from the call to
 * its acknowledgement, so at full speed it is the time in the producer's buffer that they show.
 *
 *   enqueue  the fast path: no promise a record
 *   send     a promise a record, at most SENDS_OPEN_MAX of them open
 */
import type { Client, Producer, ProducerOptions, Receipt } from '../../client/index.ts'
import { type Measured, newLatency, recordMs } from './bench-result.ts'
import { RatePace } from './rate-pace.ts'
import { type PoolRecord, RecordPool } from './record-pool.ts'

export interface ProduceOptions {
  readonly topic: string
  readonly api: 'enqueue' | 'send'
  /** Stops after so many records, */
  readonly records: number
  /** or after so many seconds. */
  readonly seconds?: number
  /** Keys plus values. */
  readonly recordBytes: number
  readonly ratePerSec?: number
  readonly seed?: number
  /** Records go to these partitions in turn instead of by key. */
  readonly partitions?: readonly number[]
  readonly producer?: ProducerOptions
  readonly signal?: AbortSignal
}

/** A prime, so that samples do not come in step with turns. */
const SAMPLE_EVERY = 1021
const SENDS_OPEN_MAX = 8192
/** Records between two looks at the event loop, by their bytes, so that acknowledgements come in. */
const TURN_BYTES = 128 * 1024

/** Runs until all is acknowledged; throws the first failure. */
export async function runProduce(client: Client, options: ProduceOptions): Promise<Measured> {
  options.signal?.throwIfAborted()
  const pool = new RecordPool(options)
  const producer = client.producer(options.topic, options.producer)
  const abort = (): void => producer.abort()
  options.signal?.addEventListener('abort', abort, { once: true })
  try {
    await producer.ready()
    const sends = new OpenSends(producer)
    const startedMs = performance.now()
    const { records, checksum } = await sendAll(producer, sends, pool, options)
    await sends.drain()
    const seconds = (performance.now() - startedMs) / 1000
    const { latency, durability } = sends
    return { records, bytes: records * options.recordBytes, seconds, checksum, latency, durability }
  } finally {
    options.signal?.removeEventListener('abort', abort)
    await producer.close()
  }
}

async function sendAll(
  producer: Producer,
  sends: OpenSends,
  pool: RecordPool,
  options: ProduceOptions,
): Promise<{ records: number; checksum: number }> {
  const sampleEvery = options.api === 'send' ? 1 : Math.min(SAMPLE_EVERY, Math.ceil((options.ratePerSec ?? 1e9) / 1000))
  const turnRecords = Math.max(1, Math.floor(TURN_BYTES / options.recordBytes))
  const pace = options.ratePerSec === undefined ? undefined : new RatePace(options.ratePerSec)
  const endMs = performance.now() + (options.seconds ?? Number.POSITIVE_INFINITY) * 1000
  let [records, checksum] = [0, 0]
  while (records < options.records && performance.now() < endMs) {
    const due = pace === undefined ? turnRecords : await pace.due(turnRecords)
    const until = Math.min(options.records, records + due)
    for (; records < until; records++) {
      const record = pool.next()
      checksum += record.touched
      if (records % sampleEvery === 0) {
        if (sends.open >= SENDS_OPEN_MAX) await sends.room()
        sends.send(record)
      } else while (!producer.enqueue(record)) await producer.ready()
    }
    if (pace === undefined) await new Promise((resolve) => setImmediate(resolve))
  }
  return { records, checksum }
}

/** Records sent with a promise each: counted, timed, their first failure kept. */
class OpenSends {
  readonly #producer: Producer
  readonly latency = newLatency()
  durability: Receipt['durability'] | undefined
  open = 0
  #error: Error | undefined
  #wake: (() => void) | undefined

  constructor(producer: Producer) {
    this.#producer = producer
  }

  send(record: PoolRecord): void {
    const sentMs = performance.now()
    this.open++
    this.#producer.send(record).then(
      (receipt) => {
        recordMs(this.latency, performance.now() - sentMs)
        this.durability ??= receipt.durability
        this.#settled()
      },
      (error: Error) => {
        this.#error ??= error
        this.#settled()
      },
    )
  }

  #settled(): void {
    if (--this.open > SENDS_OPEN_MAX / 2) return
    this.#wake?.()
    this.#wake = undefined
  }

  /** Resolves when at most half of what may be open is. */
  async room(): Promise<void> {
    while (this.open > SENDS_OPEN_MAX / 2) await this.#settling()
    if (this.#error !== undefined) throw this.#error
  }

  /** Resolves when everything, enqueued records included, has been acknowledged. */
  async drain(): Promise<void> {
    await this.#producer.drain()
    while (this.open > 0) await this.#settling()
    if (this.#error !== undefined) throw this.#error
  }

  #settling(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}
