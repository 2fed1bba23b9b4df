/** What a producer writes for a record of a typed topic: its key and value by their serdes; null stays null. */
import { isMillraceError, MillraceError } from '../model/errors.ts'
import type { ProducerRecord } from './producer-record.ts'
import type { Bytes, Serde } from './serde.ts'
import type { TypedTopic } from './topic.ts'

export type EncodeRecord<Key, Value> = (record: ProducerRecord<Key, Value>) => ProducerRecord

/** For producers of plain topics. */
export function asGiven(record: ProducerRecord): ProducerRecord {
  return record
}

/** Encodes the records of a topic. The result throws INVALID_RECORD, which names topic and part. */
export function recordEncoder<KeyIn, ValueIn>(
  topic: TypedTopic<KeyIn, unknown, ValueIn, unknown>,
): EncodeRecord<KeyIn, ValueIn> {
  const { name, serdes } = topic
  return (record) => {
    const key = record.key ?? null
    const { value } = record
    return {
      ...record,
      key: key === null ? null : encodedPart(serdes.key, key, `the key of a record for ${name}`),
      value: value === null ? null : encodedPart(serdes.value, value, `the value of a record for ${name}`),
    }
  }
}

function encodedPart<In>(serde: Serde<In, unknown>, part: In, what: string): Bytes {
  try {
    return serde.encode(part)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    const code = isMillraceError(cause) ? cause.code : 'INVALID_RECORD'
    throw new MillraceError(code, `${what}: ${why}`, { cause })
  }
}
