/** What a fetch brought, as it is handed out: whole batches, or the records of them one after the other. Nothing is copied. */
import type { BatchReader } from '../record/batch-reader.ts'
import type { Cursor, FetchedBytes } from './fetcher.ts'
import type { ConsumedBatch, ConsumedRecord, RecordCursor } from './record-types.ts'

const NOTHING = new Uint8Array(0)

export class FetchedBatch implements ConsumedBatch {
  readonly #fetched: FetchedBytes
  readonly #reader: BatchReader

  constructor(fetched: FetchedBytes, reader: BatchReader) {
    this.#fetched = fetched
    this.#reader = reader
  }

  get topic(): string {
    return this.#fetched.cursor.topic
  }
  get partition(): number {
    return this.#fetched.cursor.partition
  }
  get fromOffset(): number {
    return this.#fetched.fromOffset
  }
  get nextOffset(): number {
    return Math.min(this.#fetched.nextOffset, this.#fetched.cursor.endOffset)
  }
  get highWatermark(): number {
    return this.#fetched.highWatermark
  }
  get bytes(): Uint8Array {
    return this.#fetched.bytes
  }

  reader(): RecordCursor {
    const { bytes, fromOffset, aborted } = this.#fetched
    const reader = this.#reader.reset(bytes, fromOffset, aborted)
    const { endOffset } = this.#fetched.cursor
    return this.#fetched.nextOffset <= endOffset ? reader : new BoundedCursor(reader, endOffset)
  }

  *[Symbol.iterator](): Iterator<ConsumedRecord> {
    const { topic, partition } = this
    const reader = this.reader()
    while (reader.next()) yield recordOf(topic, partition, reader)
  }
}

/** A cursor that ends before an offset. */
class BoundedCursor implements RecordCursor {
  readonly #reader: RecordCursor
  readonly #endOffset: number

  constructor(reader: RecordCursor, endOffset: number) {
    this.#reader = reader
    this.#endOffset = endOffset
  }
  next(): boolean {
    return this.#reader.next() && this.#reader.offset < this.#endOffset
  }
  get offset(): number {
    return this.#reader.offset
  }
  get timestampMs(): number {
    return this.#reader.timestampMs
  }
  get key(): Uint8Array | null {
    return this.#reader.key
  }
  get value(): Uint8Array | null {
    return this.#reader.value
  }
  get headers(): ConsumedRecord['headers'] {
    return this.#reader.headers
  }
  get payloadBytes(): number {
    return this.#reader.payloadBytes
  }
}

function recordOf(topic: string, partition: number, reader: RecordCursor): ConsumedRecord {
  const { offset, timestampMs, key, value, headers } = reader
  return { topic, partition, offset, timestampMs, key, value, headers }
}

/** The records of the received bytes, one after the other. */
export class RecordIterator {
  readonly #reader: BatchReader
  source: Cursor | undefined
  #endOffset = 0
  #nextOffset = 0

  constructor(reader: BatchReader) {
    this.#reader = reader
  }

  /** Offset after everything that was opened. */
  get nextOffset(): number {
    return this.#nextOffset
  }

  open(fetched: FetchedBytes): void {
    this.source = fetched.cursor
    this.#endOffset = fetched.cursor.endOffset
    this.#nextOffset = Math.min(fetched.nextOffset, fetched.cursor.endOffset)
    this.#reader.reset(fetched.bytes, fetched.fromOffset, fetched.aborted)
  }

  next(): ConsumedRecord | undefined {
    if (this.source === undefined) return undefined
    if (this.#reader.next() && this.#reader.offset < this.#endOffset)
      return recordOf(this.source.topic, this.source.partition, this.#reader)
    this.end()
    return undefined
  }

  /** Lets go of the bytes. */
  end(): void {
    this.#reader.reset(NOTHING)
  }
}
