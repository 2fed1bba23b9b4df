/**
 * RecordPool: the records a benchmark sends: random keys and values, made beforehand, because making them would be measured
 * too. They come round after RECORDS of them; what is stored differs all the same by offset, and no two neighbours are alike.
 *
 * Limits  RECORD_BYTES_MIN and the broker's largest batch
 */
import { SeededPrng } from '../../base/prng.ts'
import type { ProducerRecord } from '../../client/index.ts'

export const KEY_BYTES = 8
/** Key and a value that has a first and a last byte and room for a serial number. */
export const RECORD_BYTES_MIN = KEY_BYTES + 8
const RECORDS = 1 << 14
const RANDOM_BYTES_MIN = 4 << 20

export interface PoolRecord extends ProducerRecord {
  readonly key: Uint8Array
  readonly value: Uint8Array
  /** Its share of the checksum. */
  readonly touched: number
}

export interface RecordPoolOptions {
  /** Keys plus values. */
  readonly recordBytes: number
  readonly seed?: number
  /** Records go to these in turn instead of by key. */
  readonly partitions?: readonly number[]
}

/** What a record adds to a checksum: first and last bytes of what must have been there. */
export function touch(key: Uint8Array, value: Uint8Array): number {
  return key[0]! + key[KEY_BYTES - 1]! * 3 + value[0]! * 5 + value[value.length - 1]! * 7
}

export class RecordPool {
  readonly #records: PoolRecord[] = []
  #next = 0

  constructor({ recordBytes, seed = 1, partitions }: RecordPoolOptions) {
    const prng = new SeededPrng(seed)
    const valueBytes = recordBytes - KEY_BYTES
    const words = new Uint32Array(Math.max(RANDOM_BYTES_MIN, 2 * recordBytes) / 4 + 1)
    for (let index = 0; index < words.length; index++) words[index] = prng.uint32()
    const random = new Uint8Array(words.buffer)
    const cut = (bytes: number): Uint8Array => {
      const at = prng.below(random.length - bytes)
      return random.subarray(at, at + bytes)
    }
    for (let index = 0; index < RECORDS; index++) {
      const [key, value] = [cut(KEY_BYTES), cut(valueBytes)]
      const partition = partitions?.[index % partitions.length]
      this.#records.push({ key, value, touched: touch(key, value), ...(partition === undefined ? {} : { partition }) })
    }
  }

  next(): PoolRecord {
    const record = this.#records[this.#next]!
    this.#next = (this.#next + 1) & (RECORDS - 1)
    return record
  }
}
