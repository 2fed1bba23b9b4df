/** What a producer takes. */
import type { HeaderInput } from '../record/batch-writer.ts'
import type { Bytes } from './serde.ts'

/** A record to send. Text is written as UTF-8; no value (null) is a tombstone. */
export interface ProducerRecord<Key = Bytes, Value = Bytes> {
  readonly key?: Key | null
  readonly value: Value | null
  readonly headers?: readonly HeaderInput[]
  /** Milliseconds since the epoch; now, when left out. */
  readonly timestampMs?: number
  /** Goes to this partition, whatever the key. */
  readonly partition?: number
}
