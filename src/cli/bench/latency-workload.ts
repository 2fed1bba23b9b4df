/**
 * End-to-end latency at a steady rate: from the call of send() to the record in the body of `for await`, in one process, so by
 * one clock. Every record must come, once and with the bytes that were sent. The first records warm up and are not counted.
 *
 * Failure  records that do not come within ARRIVAL_MS_MAX of the last acknowledgement are an error, not a wait
 */
import type { RecordableHistogram } from 'node:perf_hooks'
import type { Client, ConsumerOptions, Producer, ProducerOptions, Receipt } from '../../client/index.ts'
import { type Measured, newLatency, recordMs } from './bench-result.ts'
import { RatePace } from './rate-pace.ts'
import { KEY_BYTES, RecordPool, touch } from './record-pool.ts'

export interface LatencyOptions {
  /** Empty when it begins. */
  readonly topic: string
  readonly ratePerSec: number
  readonly records: number
  /** Keys plus values. */
  readonly recordBytes: number
  /** Sent before, and not counted. Default: a tenth of `records`. */
  readonly warmUpRecords?: number
  /** Producers that take turns. Default 1. */
  readonly producers?: number
  /** Readers of everything. Default 1. */
  readonly consumers?: number
  readonly producer?: ProducerOptions
  readonly consumer?: ConsumerOptions
  readonly signal?: AbortSignal
}

export interface MeasuredLatency extends Measured {
  /** From send() to the acknowledgement. */
  readonly acknowledged: RecordableHistogram
  /** From the acknowledgement's arrival to the record's, 0 where the record was first. */
  readonly afterAcknowledged: RecordableHistogram
}

const ARRIVAL_MS_MAX = 30_000
/** So many records may be due in one turn after a stall. */
const TURN_RECORDS_MAX = 10_000

export async function runLatency(client: Client, options: LatencyOptions): Promise<MeasuredLatency> {
  const warmUp = options.warmUpRecords ?? Math.ceil(options.records / 10)
  const run = new LatencyRun(warmUp, warmUp + options.records, options.consumers ?? 1)
  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal])
  const producers = Array.from({ length: options.producers ?? 1 }, () =>
    client.producer(options.topic, options.producer),
  )
  const reading = Promise.all(Array.from({ length: options.consumers ?? 1 }, () => run.read(client, options, signal)))
  reading.catch(() => {}) // told by arrived()
  try {
    await Promise.all(producers.map((producer) => producer.ready({ signal })))
    await run.send(producers, options, signal)
    await arrived(reading, run)
  } finally {
    stop.abort()
    for (const producer of producers) producer.abort()
    await reading.catch(() => {})
  }
  options.signal?.throwIfAborted()
  return run.measured(options)
}

async function arrived(reading: Promise<unknown>, run: LatencyRun): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_, reject) => {
    const fail = (): void => reject(new Error(`${run.missing} records did not come within ${ARRIVAL_MS_MAX} ms`))
    timer = setTimeout(fail, ARRIVAL_MS_MAX)
  })
  await Promise.race([reading, deadline]).finally(() => clearTimeout(timer))
}

class LatencyRun {
  readonly #warmUp: number
  readonly #total: number
  readonly #consumers: number
  readonly #sentMs: Float64Array
  readonly #ackedMs: Float64Array
  readonly #arrivedMs: Float64Array
  readonly #latency = newLatency()
  readonly #acknowledged = newLatency()
  #durability: Receipt['durability'] | undefined
  #arrivals = 0
  #sentChecksum = 0
  #arrivedChecksum = 0
  #seconds = 0

  constructor(warmUp: number, total: number, consumers: number) {
    this.#warmUp = warmUp
    this.#total = total
    this.#consumers = consumers
    this.#sentMs = new Float64Array(total)
    this.#ackedMs = new Float64Array(total)
    this.#arrivedMs = new Float64Array(total)
  }

  get missing(): number {
    return this.#total * this.#consumers - this.#arrivals
  }

  /** Sends all at the rate; resolves when all are acknowledged. */
  async send(producers: readonly Producer[], options: LatencyOptions, signal: AbortSignal): Promise<void> {
    const pool = new RecordPool(options)
    const pace = new RatePace(options.ratePerSec)
    const open: Promise<void>[] = []
    let failure: Error | undefined
    let startedMs = 0
    for (let serial = 0; serial < this.#total && failure === undefined; ) {
      const until = Math.min(this.#total, serial + (await pace.due(TURN_RECORDS_MAX)))
      signal.throwIfAborted()
      for (; serial < until; serial++) {
        if (serial === this.#warmUp) startedMs = performance.now()
        const sent = this.#sendOne(producers[serial % producers.length]!, pool, serial)
        open.push(
          sent.catch((error: Error) => {
            failure ??= error
          }),
        )
      }
    }
    await Promise.all(open)
    if (failure !== undefined) throw failure
    this.#seconds = (performance.now() - startedMs) / 1000
  }

  async #sendOne(producer: Producer, pool: RecordPool, serial: number): Promise<void> {
    const { key, value: bytes } = pool.next()
    const value = bytes.slice()
    new DataView(value.buffer).setUint32(0, serial)
    if (serial >= this.#warmUp) this.#sentChecksum += touch(key, value)
    const sentMs = performance.now()
    this.#sentMs[serial] = sentMs
    const receipt = await producer.send({ key, value })
    const ackedMs = performance.now()
    this.#ackedMs[serial] = ackedMs
    this.#durability ??= receipt.durability
    if (serial >= this.#warmUp) recordMs(this.#acknowledged, ackedMs - sentMs)
  }

  /** Reads until every record has come. */
  async read(client: Client, options: LatencyOptions, signal: AbortSignal): Promise<void> {
    const seen = new Uint8Array(this.#total)
    let left = this.#total
    const consumer = client.consume(options.topic, { ...options.consumer, from: 'start', signal })
    for await (const { key, value } of consumer) {
      const nowMs = performance.now()
      if (key === null || value === null || key.length !== KEY_BYTES) throw new Error('a record lost its key or value')
      const serial = new DataView(value.buffer, value.byteOffset).getUint32(0)
      if (seen[serial] !== 0) throw new Error(`record ${serial} came twice, or was never sent`)
      seen[serial] = 1
      this.#arrivals++
      this.#arrivedMs[serial] = nowMs
      if (serial >= this.#warmUp) {
        this.#arrivedChecksum += touch(key, value)
        recordMs(this.#latency, nowMs - this.#sentMs[serial]!)
      }
      if (--left === 0) break
    }
  }

  measured({ recordBytes }: LatencyOptions): MeasuredLatency {
    if (this.#arrivedChecksum !== this.#sentChecksum * this.#consumers)
      throw new Error('what was consumed is not what was produced')
    const records = this.#total - this.#warmUp
    const afterAcknowledged = newLatency()
    for (let serial = this.#warmUp; serial < this.#total; serial++)
      recordMs(afterAcknowledged, Math.max(0, this.#arrivedMs[serial]! - this.#ackedMs[serial]!))
    return {
      ...{ records, bytes: records * recordBytes, seconds: this.#seconds, checksum: this.#sentChecksum },
      ...{ latency: this.#latency, acknowledged: this.#acknowledged, afterAcknowledged },
      durability: this.#durability,
    }
  }
}
