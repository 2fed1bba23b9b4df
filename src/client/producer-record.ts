/** What a producer takes. */
import { kindOf } from '../base/bytes.ts'
import { MillraceError } from '../model/errors.ts'
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

/** INVALID_RECORD that says what was given instead. */
export function notRecord(given: unknown): MillraceError {
  return new MillraceError('INVALID_RECORD', `expected a record, { key, value, … }, not ${kindOf(given)}`)
}
