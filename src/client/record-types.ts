/** What a consumer gets: records, and batches of them. */
import type { BatchReader, RecordHeader } from '../record/batch-reader.ts'
import type { DecodeError } from './decode-error.ts'
import type { AnyTypedTopic, TopicLike, TypedTopic } from './topic.ts'

/** A record as it was stored. Key, value and header values are views of the received bytes: copy what must outlive many records. */
export interface ConsumedRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestampMs: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly RecordHeader[]
  readonly decodeError?: undefined
}

/** A record of a typed topic. A null value is a tombstone. */
export interface DecodedRecord<Key, Value> extends Omit<ConsumedRecord, 'key' | 'value'> {
  readonly key: Key | null
  readonly value: Value | null
}

/** A record as it was stored, which its topic's serdes could not read: only with `onDecodeError: 'pass'`. */
export interface UndecodedRecord extends Omit<ConsumedRecord, 'decodeError'> {
  readonly decodeError: DecodeError
}

/** What is consumed from a topic. */
export type RecordOf<Topic extends TopicLike> = Topic extends AnyTypedTopic
  ? Topic extends TypedTopic<never, infer Key, never, infer Value>
    ? DecodedRecord<Key, Value>
    : never
  : ConsumedRecord

/**
 * Some record batches of one partition, as they came: the fast way to read. Walk the records with `reader()`, a cursor that
 * makes no object per record, or iterate it for plain records.
 */
export interface ConsumedBatch extends Iterable<ConsumedRecord> {
  readonly topic: string
  readonly partition: number
  /** Where the reading of this batch begins: records before it are passed over. */
  readonly fromOffset: number
  /** Offset after the last one of the batch. */
  readonly nextOffset: number
  /** End of the partition's readable part when the batch was fetched. */
  readonly highWatermark: number
  /** The record batches, byte for byte; with markers and aborted ones, which reader() passes over. */
  readonly bytes: Uint8Array
  /** A cursor before the first record; good until the next call of reader() of the same consumer. Throws CORRUPT_MESSAGE from next(). */
  reader(): RecordCursor
}

/** The current record of a batch; next() goes on. */
export type RecordCursor = Pick<
  BatchReader,
  'next' | 'offset' | 'timestampMs' | 'key' | 'value' | 'headers' | 'payloadBytes'
>

/** A place in a partition: last n = n before the end, skip n = n after the start. A number of milliseconds, an ISO date, or a span back from now such as '-1h' is a time. */
export type Position =
  | 'start'
  | 'end'
  | { readonly offset: number }
  | { readonly last: number }
  | { readonly skip: number }
  | { readonly time: number | string | Date }
