/**
 * RecordTable: the records of a topic that the broker keeps for itself: one table that encodes, decodes and documents each kind.
 *
 * Format   a key begins with u16 `number`, the kind; a value with u16 `version`. The fields of the kind follow (record-fields.ts)
 *          without padding, and nothing follows them; a null value is a tombstone
 * Failure  decode: 'unknown' for a kind of a later version (to be stepped over), 'unreadable' for bytes that are not what the table
 *          says or a later version of a known kind: who reads them must not serve
 */
import { FieldReader, type FieldType, FieldWriter } from './record-fields.ts'

export type FieldRow = readonly [name: string, type: FieldType]

export interface RecordLayout {
  /** First two bytes of the key. */
  readonly number: number
  readonly key: readonly FieldRow[]
  readonly value: readonly FieldRow[]
}

/** One record for a compacted topic. */
export interface EncodedRecord {
  readonly key: Uint8Array
  readonly value: Uint8Array | null
}

export type FieldValues = Record<string, unknown>

export type TableAnswer<Type extends string> =
  | { readonly kind: 'record'; readonly type: Type; readonly key: FieldValues; readonly value: FieldValues | null }
  | { readonly kind: 'unknown'; readonly number: number }
  | { readonly kind: 'unreadable'; readonly reason: string }

const writer = new FieldWriter()

export class RecordTable<Type extends string> {
  readonly #layouts: Readonly<Record<Type, RecordLayout>>
  readonly #version: number
  readonly #typeByNumber: ReadonlyMap<number, Type>

  constructor(layouts: Readonly<Record<Type, RecordLayout>>, version: number) {
    this.#layouts = layouts
    this.#version = version
    const rows = Object.entries(layouts) as [Type, RecordLayout][]
    this.#typeByNumber = new Map(rows.map(([type, layout]) => [layout.number, type]))
  }

  /** `key` and `value` have the fields of the kind by name; others are not looked at. */
  encode(type: Type, key: object, value: object | null): EncodedRecord {
    const layout = this.#layouts[type]
    const keyBytes = writeFields(layout.number, layout.key, key)
    return { key: keyBytes, value: value === null ? null : writeFields(this.#version, layout.value, value) }
  }

  decode(key: Uint8Array, value: Uint8Array | null): TableAnswer<Type> {
    const keyReader = new FieldReader(key)
    const number = keyReader.u16()
    const type = this.#typeByNumber.get(number)
    if (type === undefined)
      return keyReader.fault === undefined ? { kind: 'unknown', number } : unreadable('key', keyReader)
    const keyFields = readFields(this.#layouts[type].key, keyReader)
    if (keyReader.fault !== undefined || !keyReader.isAtEnd) return unreadable(`key of a ${type} record`, keyReader)
    if (value === null) return { kind: 'record', type, key: keyFields, value: null }
    const reader = new FieldReader(value)
    const version = reader.u16()
    if (version !== this.#version) {
      const reason = `${type} record of version ${version}, this broker reads ${this.#version}`
      return { kind: 'unreadable', reason }
    }
    const values = readFields(this.#layouts[type].value, reader)
    if (reader.fault !== undefined || !reader.isAtEnd) return unreadable(`value of a ${type} record`, reader)
    return { kind: 'record', type, key: keyFields, value: values }
  }
}

function writeFields(u16: number, rows: readonly FieldRow[], values: object): Uint8Array {
  writer.begin(u16)
  for (const [name, type] of rows) writer.write(type, (values as FieldValues)[name])
  return writer.end()
}

function readFields(rows: readonly FieldRow[], reader: FieldReader): FieldValues {
  const values: FieldValues = {}
  for (const [name, type] of rows) values[name] = reader.read(type)
  return values
}

function unreadable(what: string, reader: FieldReader): TableAnswer<never> {
  return { kind: 'unreadable', reason: `${what}: ${reader.fault ?? 'bytes too many'}` }
}
