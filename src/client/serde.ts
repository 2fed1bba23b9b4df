/**
 * Serdes: how keys and values become bytes, and bytes values again. Synchronous, so that records need no promise each.
 *
 * Tombstones   a null key or value never reaches a serde
 * Failure      what encode() throws, send() rejects with and enqueue() throws; what decode() throws is an undecodable record
 *              (record-decoder.ts)
 */
import { isBytes, kindOf, utf8DecodeStrict } from '../base/bytes.ts'
import { MillraceError } from '../model/errors.ts'
import {
  checkedSchema,
  type SchemaInput,
  type SchemaOutput,
  type StandardSchema,
  validated,
} from './standard-schema.ts'

/** What a plain topic takes as a key or value: text is written as UTF-8. */
export type Bytes = Uint8Array | string

export interface Serde<In, Out = In> {
  /** Text is written as UTF-8. Throws for a value that it cannot write. */
  encode(value: In): Bytes
  /** `bytes` is a view of a received message: what is kept must be copied. Throws for bytes that it cannot read. */
  decode(bytes: Uint8Array): Out
}

const BYTES: Serde<Bytes, Uint8Array> = {
  encode: (value) => {
    if (typeof value === 'string' || isBytes(value)) return value
    throw new MillraceError('INVALID_RECORD', `expected text or a Uint8Array, not ${kindOf(value)}`)
  },
  decode: (bytes) => bytes,
}

const TEXT: Serde<string> = {
  encode: (value) => {
    if (typeof value === 'string') return value
    throw new MillraceError('INVALID_RECORD', `expected text, not ${kindOf(value)}`)
  },
  decode: (bytes) => {
    const text = utf8DecodeStrict(bytes)
    if (text === undefined) throw new MillraceError('INVALID_RECORD', 'the bytes are not UTF-8')
    return text
  },
}

/** As they are: text or bytes in, a view of the received bytes out. */
export function bytes(): Serde<Bytes, Uint8Array> {
  return BYTES
}

/** UTF-8 text. */
export function string(): Serde<string> {
  return TEXT
}

/**
 * JSON; with a schema, checked before it is written and after it is read. What is written is the value as it was given: what a
 * schema makes of it (defaults, conversions) is made on receipt.
 */
export function json<Value = unknown>(): Serde<Value>
export function json<Schema extends StandardSchema>(schema: Schema): Serde<SchemaInput<Schema>, SchemaOutput<Schema>>
export function json(schema?: StandardSchema): Serde<unknown> {
  if (schema === undefined) return { encode: toJson, decode: fromJson }
  checkedSchema(schema)
  return {
    encode: (value) => {
      validated(schema, value)
      return toJson(value)
    },
    decode: (bytes) => validated(schema, fromJson(bytes)),
  }
}

function toJson(value: unknown): string {
  const text = JSON.stringify(value) as string | undefined
  if (text === undefined) throw new MillraceError('INVALID_RECORD', `${kindOf(value)} cannot be written as JSON`)
  return text
}

function fromJson(bytes: Uint8Array): unknown {
  return JSON.parse(TEXT.decode(bytes))
}
