/** A record as a line of JSON, and back: texts where the bytes are UTF-8, `{"base64": …}` where they are not. */
import { utf8DecodeStrict } from '../base/bytes.ts'
import { nearest } from '../base/nearest.ts'
import type { ProducerRecord, RecordCursor } from '../client/index.ts'

type JsonBytes = string | null | { readonly base64: string }

export function jsonOfBytes(bytes: Uint8Array | null): JsonBytes {
  if (bytes === null) return null
  return (
    utf8DecodeStrict(bytes) ?? { base64: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64') }
  )
}

export function jsonOfRecord(topic: string, partition: number, record: RecordCursor): string {
  return JSON.stringify({
    topic,
    partition,
    offset: record.offset,
    timestampMs: record.timestampMs,
    key: jsonOfBytes(record.key),
    value: jsonOfBytes(record.value),
    headers: record.headers.map(({ key, value }) => ({ key, value: jsonOfBytes(value) })),
  })
}

/** What `consume --json` writes goes in again: its topic and offset are passed over. */
const RECORD_FIELDS = ['topic', 'partition', 'offset', 'timestampMs', 'key', 'value', 'headers']

function hintAt(name: string): string {
  const near = nearest(name, RECORD_FIELDS)
  return near === undefined ? `; a record has ${RECORD_FIELDS.join(', ')}` : `; did you mean "${near}"?`
}

/** A record of a JSON line: `{"key","value","headers","partition","timestampMs"}`, all optional. Throws SyntaxError or TypeError. */
export function recordOfJson(line: string): ProducerRecord {
  const fields: unknown = JSON.parse(line)
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
    throw new TypeError('expected a JSON object with "key", "value", "headers", "partition" or "timestampMs"')
  const unknown = Object.keys(fields).find((name) => !RECORD_FIELDS.includes(name))
  if (unknown !== undefined) throw new TypeError(`unknown field "${unknown}"${hintAt(unknown)}`)
  const { key, value, headers, partition, timestampMs } = fields as Record<string, unknown>
  return {
    key: bytesOfJson('key', key),
    value: bytesOfJson('value', value),
    ...(headers === undefined ? {} : { headers: headersOfJson(headers) }),
    ...(partition === undefined || partition === null ? {} : { partition: integer('partition', partition) }),
    ...(timestampMs === undefined || timestampMs === null ? {} : { timestampMs: integer('timestampMs', timestampMs) }),
  }
}

function bytesOfJson(name: string, value: unknown): string | Uint8Array | null {
  if (value === undefined || value === null) return null
  if (typeof value === 'string') return value
  if (typeof value === 'object' && 'base64' in value && typeof value.base64 === 'string')
    return new Uint8Array(Buffer.from(value.base64, 'base64'))
  throw new TypeError(`"${name}": expected a text, null or {"base64": …}`)
}

function headersOfJson(headers: unknown): { key: string; value: string | Uint8Array | null }[] {
  if (!Array.isArray(headers)) throw new TypeError('"headers": expected an array of {"key", "value"}')
  return headers.map((header: unknown) => {
    const { key, value } = (header ?? {}) as Record<string, unknown>
    if (typeof key !== 'string') throw new TypeError('"headers": every header has a text "key"')
    return { key, value: bytesOfJson('headers.value', value) }
  })
}

function integer(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value
  throw new TypeError(`"${name}": expected an integer`)
}
