/**
 * IndexCache: the indexes of closed segments that lookups asked for lately, of all partitions of a shard; and their aborted transactions,
 * in one of its own.
 *
 * Owns     the indexes in it, least recently used out first; keys are Segment.key, which no two segments share
 * Limits   bytesMax of index entries
 */
import { OffsetIndex } from './offset-index.ts'
import { TimeIndex } from './time-index.ts'

/** Both indexes of one segment. */
export class SegmentIndexes {
  readonly offsets: OffsetIndex
  readonly times: TimeIndex

  constructor(offsets = new OffsetIndex(), times = new TimeIndex()) {
    this.offsets = offsets
    this.times = times
  }

  get memoryBytes(): number {
    return this.offsets.memoryBytes + this.times.memoryBytes
  }
}

/** What an entry costs besides its arrays. */
const ENTRY_BYTES = 400

export class IndexCache<T extends { readonly memoryBytes: number } = SegmentIndexes> {
  readonly #bytesMax: number
  readonly #entries = new Map<number, T>()
  #bytes = 0

  constructor(options: { readonly bytesMax: number }) {
    this.#bytesMax = options.bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  get(key: number): T | undefined {
    const held = this.#entries.get(key)
    if (held !== undefined) {
      this.#entries.delete(key)
      this.#entries.set(key, held)
    }
    return held
  }

  put(key: number, indexes: T): void {
    this.delete(key)
    this.#entries.set(key, indexes)
    this.#bytes += indexes.memoryBytes + ENTRY_BYTES
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#bytesMax || oldest === key) break
      this.delete(oldest)
    }
  }

  delete(key: number): void {
    const held = this.#entries.get(key)
    if (held === undefined) return
    this.#entries.delete(key)
    this.#bytes -= held.memoryBytes + ENTRY_BYTES
  }
}
