/**
 * Fields: reads a header's array in order, each field checked for type and range, with the path of what was wrong.
 *
 * Failure  throws MillraceError INVALID_REQUEST: `produce.parts[3].partition: expected an integer from 0 to 9999, not -1`
 * Versions a field added after the first release has a `missing` value: older peers end their arrays before it
 */
import { isBytes } from '../base/bytes.ts'
import { MillraceError } from '../model/errors.ts'
import { isTopicId, type TopicId } from '../model/ids.ts'
import { OFFSET_MAX } from '../model/limits.ts'
import { unpackUntrusted } from './msgpack.ts'

export const INT32_MAX = 0x7fff_ffff
export const UINT32_MAX = 0xffff_ffff
/** Bytes of a text for which no smaller bound is known. */
const TEXT_LENGTH_MAX = 64 * 1024

export class Fields {
  readonly #values: readonly unknown[]
  readonly #path: string
  #next = 0

  constructor(values: unknown, path: string) {
    if (!Array.isArray(values)) throw fault(path, 'an array', values)
    this.#values = values
    this.#path = path
  }

  /** The fields of an untrusted header; `path` is the request's name. */
  static ofHeader(header: Uint8Array, path: string): Fields {
    return new Fields(header.length === 0 ? [] : unpackUntrusted(header), path)
  }

  integer(name: string, min: number, max: number): number {
    const value = this.#take()
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value
    throw fault(`${this.#path}.${name}`, `an integer from ${min} to ${max}`, value)
  }

  /** An offset, or -1 (or lower, down to `min`) where the request gives that a meaning. */
  offset(name: string, min = 0): number {
    return this.integer(name, min, OFFSET_MAX)
  }

  boolean(name: string): boolean {
    const value = this.#take()
    if (typeof value === 'boolean') return value
    throw fault(`${this.#path}.${name}`, 'true or false', value)
  }

  /** A field that older peers end before: `missing` is what that means. */
  booleanOr(name: string, missing: boolean): boolean {
    return this.#skipsNull() ? missing : this.boolean(name)
  }

  /** As above, of an integer. */
  integerOr(name: string, min: number, max: number, missing: number): number {
    return this.#skipsNull() ? missing : this.integer(name, min, max)
  }

  text(name: string, lengthMax = TEXT_LENGTH_MAX): string {
    const value = this.#take()
    if (typeof value === 'string' && value.length <= lengthMax) return value
    throw fault(`${this.#path}.${name}`, `a text of at most ${lengthMax} characters`, value)
  }

  textOrNull(name: string, lengthMax = TEXT_LENGTH_MAX): string | null {
    if (this.#skipsNull()) return null
    return this.text(name, lengthMax)
  }

  /** Bytes of their own. */
  bytes(name: string, lengthMax: number): Uint8Array {
    const value = this.#take()
    if (isBytes(value) && value.length <= lengthMax) return new Uint8Array(value)
    throw fault(`${this.#path}.${name}`, `at most ${lengthMax} bytes`, value)
  }

  topicId(name: string): TopicId {
    return this.textWhere(name, 'a topic id of 32 hex digits', isTopicId) as TopicId
  }

  /** A text that `isGood`; `expected` says what that is. */
  textWhere(name: string, expected: string, isGood: (text: string) => boolean): string {
    const value = this.#take()
    if (typeof value === 'string' && isGood(value)) return value
    throw fault(`${this.#path}.${name}`, expected, value)
  }

  /** A list whose items are arrays of fields. */
  list<T>(name: string, countMax: number, read: (item: Fields, index: number) => T): T[] {
    const items = this.#array(name, countMax)
    const path = `${this.#path}.${name}`
    return items.map((item, index) => read(new Fields(item, `${path}[${index}]`), index))
  }

  /** A list as above, or null for null and for a field that is missing. */
  listOrNull<T>(name: string, countMax: number, read: (item: Fields, index: number) => T): T[] | null {
    if (this.#skipsNull()) return null
    return this.list(name, countMax, read)
  }

  integers(name: string, countMax: number, min: number, max: number): number[] {
    const inner = new Fields(this.#array(name, countMax), `${this.#path}.${name}`)
    return inner.#values.map((_, index) => inner.integer(`[${index}]`, min, max))
  }

  /** A list as above, or undefined for null and for a field that is missing. */
  integersOrMissing(name: string, countMax: number, min: number, max: number): number[] | undefined {
    if (this.#skipsNull()) return undefined
    return this.integers(name, countMax, min, max)
  }

  texts(name: string, countMax: number, lengthMax: number): string[] {
    const inner = new Fields(this.#array(name, countMax), `${this.#path}.${name}`)
    return inner.#values.map((_, index) => inner.text(`[${index}]`, lengthMax))
  }

  textsOrNull(name: string, countMax: number, lengthMax: number): string[] | null {
    if (this.#values[this.#next] === null) {
      this.#next++
      return null
    }
    return this.texts(name, countMax, lengthMax)
  }

  /** A map of texts to texts. */
  textMap(name: string, countMax: number): Record<string, string> {
    const value = this.#take()
    const path = `${this.#path}.${name}`
    if (!isPlainObject(value)) throw fault(path, 'a map of texts', value)
    const entries = Object.entries(value)
    if (entries.length > countMax) throw fault(path, `at most ${countMax} entries`, entries.length)
    for (const [key, text] of entries) if (typeof text !== 'string') throw fault(`${path}.${key}`, 'a text', text)
    return value as Record<string, string>
  }

  /** Any value: for what only people and tools read. */
  any(): unknown {
    return this.#take()
  }

  #array(name: string, countMax: number): unknown[] {
    const value = this.#take()
    const path = `${this.#path}.${name}`
    if (!Array.isArray(value)) throw fault(path, 'an array', value)
    if (value.length > countMax) throw fault(path, `at most ${countMax} items`, value.length)
    return value
  }

  /** Steps over a null or missing value; false = there is another one, not taken. */
  #skipsNull(): boolean {
    const value = this.#values[this.#next]
    if (value !== null && value !== undefined) return false
    this.#next++
    return true
  }

  #take(): unknown {
    return this.#values[this.#next++]
  }
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)
}

function fault(path: string, expected: string, actual: unknown): MillraceError {
  return new MillraceError('INVALID_REQUEST', `${path}: expected ${expected}, not ${describe(actual)}`)
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing (the field is missing)'
  if (value === null) return 'null'
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (typeof value === 'string') return value.length > 40 ? `a text of ${value.length} characters` : `'${value}'`
  if (isBytes(value)) return `${value.length} bytes`
  return typeof value === 'object' ? 'an object' : String(value)
}
