/**
 * Workloads: produce and consume through the public client, as an application would, with nothing left out: keys and values
 * are random, every record read is touched (key, value, offset), the client checks every CRC.
 */
import { SeededPrng } from '../../src/base/prng.ts'
import type { Client } from '../../src/client/index.ts'

/** What every benchmark of records reports; the names are fixed. */
export interface BenchResult {
  readonly records: number
  /** Keys plus values. */
  readonly bytes: number
  readonly seconds: number
  readonly recordsPerSec: number
  readonly mibPerSec: number
  readonly p50Ms?: number
  readonly p99Ms?: number
  readonly p999Ms?: number
  readonly maxMs?: number
  /** Sum over what was touched: equal for what was produced and consumed. */
  readonly checksum: number
  readonly profile: string
  readonly fsync: string
  readonly acks: string
}

const KEY_BYTES = 8
const POOL_BYTES = 4 << 20
/** Records between two looks at the event loop, so that acknowledgements come in. */
const TURN_RECORDS = 256

/** Random bytes from which keys and values are cut: making them anew for each record would measure the generator. */
export class RecordPool {
  readonly #pool = Buffer.alloc(POOL_BYTES)
  readonly #prng: SeededPrng
  readonly valueBytes: number

  constructor(recordBytes: number, seed = 1) {
    this.valueBytes = recordBytes - KEY_BYTES
    this.#prng = new SeededPrng(seed)
    for (let at = 0; at < POOL_BYTES; at += 4) this.#pool.writeUInt32LE(this.#prng.uint32(), at)
  }

  key(): Uint8Array {
    const at = this.#prng.below(POOL_BYTES - KEY_BYTES)
    return this.#pool.subarray(at, at + KEY_BYTES)
  }

  value(): Uint8Array {
    const at = this.#prng.below(POOL_BYTES - this.valueBytes)
    return this.#pool.subarray(at, at + this.valueBytes)
  }
}

/** What a record adds to a checksum: its first and last bytes, so that all of it had to be there. */
export function touch(key: Uint8Array, value: Uint8Array): number {
  return key[0]! + value[0]! * 3 + value[value.length - 1]! * 7
}

export interface ProduceWorkload {
  readonly topic: string
  readonly records: number
  readonly recordBytes: number
  readonly acks?: 'none' | 'leader' | 'all'
  readonly lingerMs?: number
  readonly batchBytesMax?: number
  /** Gives up what is not acknowledged, and throws. */
  readonly signal?: AbortSignal
}

export async function produceRecords(client: Client, workload: ProduceWorkload): Promise<BenchResult> {
  const pool = new RecordPool(workload.recordBytes)
  const acks = workload.acks ?? 'all'
  const producer = client.producer(workload.topic, {
    acks,
    ...(workload.lingerMs === undefined ? {} : { lingerMs: workload.lingerMs }),
    ...(workload.batchBytesMax === undefined ? {} : { batchBytesMax: workload.batchBytesMax }),
  })
  workload.signal?.addEventListener('abort', () => producer.abort())
  await producer.ready()
  let checksum = 0
  const startedMs = performance.now()
  for (let count = 0; count < workload.records; count++) {
    const record = { key: pool.key(), value: pool.value() }
    checksum += touch(record.key, record.value)
    while (!producer.enqueue(record)) await producer.ready()
    if (count % TURN_RECORDS === TURN_RECORDS - 1) await new Promise((resolve) => setImmediate(resolve))
  }
  await producer.drain()
  const seconds = (performance.now() - startedMs) / 1000
  await producer.close()
  return resultOf(workload.records, workload.recordBytes, seconds, checksum, acks)
}

export interface ConsumeWorkload {
  readonly topic: string
  readonly records: number
  readonly recordBytes: number
}

/** Reads all that is there; throws when it is not what `records` says. */
export async function consumeRecords(client: Client, workload: ConsumeWorkload): Promise<BenchResult> {
  let checksum = 0
  let records = 0
  const nextOffsets = new Map<number, number>()
  const startedMs = performance.now()
  for await (const batch of client.consume(workload.topic, { from: 'start', to: 'end' }).batches()) {
    const cursor = batch.reader()
    let expected = nextOffsets.get(batch.partition) ?? 0
    while (cursor.next()) {
      if (cursor.offset !== expected++)
        throw new Error(`partition ${batch.partition}: offset ${cursor.offset}, expected ${expected - 1}`)
      checksum += touch(cursor.key as Uint8Array, cursor.value as Uint8Array)
      records++
    }
    nextOffsets.set(batch.partition, expected)
  }
  const seconds = (performance.now() - startedMs) / 1000
  if (records !== workload.records) throw new Error(`read ${records} records, ${workload.records} were produced`)
  return resultOf(records, workload.recordBytes, seconds, checksum, 'all')
}

function resultOf(records: number, recordBytes: number, seconds: number, checksum: number, acks: string): BenchResult {
  const bytes = records * recordBytes
  return {
    records,
    bytes,
    seconds,
    recordsPerSec: records / seconds,
    mibPerSec: bytes / seconds / 2 ** 20,
    checksum,
    profile: 'balanced',
    fsync: 'group',
    acks,
  }
}
