/**
 * RecordDecoder: what a consumer hands out of typed topics, and what becomes of a record that cannot be decoded.
 *
 *   onDecodeError   the record                                              the position
 *   'fail'          is not handed out: the iterator throws a DecodeError    stays before it
 *   'skip'          is passed over, counted and told                        moves past it
 *   'pass'          is handed out as it was stored, with `decodeError`      moves past it
 *
 * Failure   a serde that cannot work at all (INVALID_ARGUMENT: an asynchronous schema) is thrown whatever the policy
 */
import { isMillraceError } from '../model/errors.ts'
import { DecodeError } from './decode-error.ts'
import type { ConsumedRecord, DecodedRecord, UndecodedRecord } from './record-types.ts'
import type { AnyTypedTopic, TopicLike } from './topic.ts'
import { serdesOf, topicName } from './topic.ts'

export type DecodeErrorPolicy = 'fail' | 'skip' | 'pass'

/** What a consumer hands out for a record; undefined = the record is passed over. */
export type DecodeRecord<Handed> = (record: ConsumedRecord) => Handed | undefined

/** For consumers of plain topics. */
export function asStored(record: ConsumedRecord): ConsumedRecord {
  return record
}

/** Decodes the records of `topics`, each by its own serdes; those of plain topics stay as they are. */
export function recordDecoder(
  topics: readonly TopicLike[],
  policy: DecodeErrorPolicy,
  onDecodeError: (error: DecodeError) => void,
): DecodeRecord<ConsumedRecord | DecodedRecord<unknown, unknown> | UndecodedRecord> {
  const serdesByTopic = new Map(topics.map((topic) => [topicName(topic), serdesOf(topic)]))
  return (record) => {
    const serdes = serdesByTopic.get(record.topic)
    if (serdes === undefined) return record
    try {
      return decoded(record, serdes)
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      onDecodeError(error)
      if (policy === 'fail') throw error
      return policy === 'skip' ? undefined : { ...record, decodeError: error }
    }
  }
}

function decoded(record: ConsumedRecord, serdes: AnyTypedTopic['serdes']): DecodedRecord<unknown, unknown> {
  const { topic, partition, offset, timestampMs, headers } = record
  const key = decodedPart(record, 'key', serdes)
  const value = decodedPart(record, 'value', serdes)
  return { topic, partition, offset, timestampMs, key, value, headers }
}

function decodedPart(record: ConsumedRecord, part: 'key' | 'value', serdes: AnyTypedTopic['serdes']): unknown {
  const bytes = record[part]
  if (bytes === null) return null
  try {
    return serdes[part].decode(bytes)
  } catch (cause) {
    if (isMillraceError(cause) && cause.code === 'INVALID_ARGUMENT') throw cause
    throw new DecodeError(record, part, cause)
  }
}
