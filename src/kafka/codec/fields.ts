/**
 * Fields: the vocabulary in which a message of the Kafka protocol is described once, for all its versions; plans are made of it, one
 * for each version that is asked for.
 *
 *   struct({ name: string.nullable(12), topicId: uuid.since(10), errorMessage: string.nullable().tag(0).since(5) })
 *
 *   since(v), until(v)  the versions that have the field, both included; in others it reads as its default and is not written
 *   nullable(v)         may be null from version v on; before that null is written as the empty value
 *   tag(n)              a tagged field (KIP-482): behind the others, only in flexible versions, left out when it has its default
 *   or(value)           the default, where it is not 0, '', false, empty, or null where that may be; makes the field optional to whoever writes it
 *
 * Types      what is read has every field; whoever writes may leave out those with a default (Read, Write)
 * Walks      a field tells its form: what is generated of the schema, documentation and tests, needs no schema of its own
 */
import type { KafkaReader } from './reader.ts'
import type { KafkaWriter, Splice } from './writer.ts'

export interface Plan<R, W> {
  /** Of the shortest value. */
  readonly bytesMin: number
  read(reader: KafkaReader): R
  write(writer: KafkaWriter, value: W): void
}

/** A version of a message, and how it is encoded. */
export interface Encoding {
  readonly version: number
  readonly isFlexible: boolean
}

type Primitive = 'bool' | 'int8' | 'int16' | 'uint16' | 'int32' | 'int64' | 'float64' | 'uuid'

/** What a type is made of. */
export type Form =
  | { readonly kind: Primitive | 'string' | 'bytes' | 'records' }
  | { readonly kind: 'array'; readonly element: AnyField }
  | { readonly kind: 'struct'; readonly shape: Shape }

interface Type<R, W> {
  readonly form: Form
  readonly zero: R
  plan(encoding: Encoding): Plan<R, W>
  /** Of a value that may be null; a type without it is never null. */
  nullablePlan?(encoding: Encoding): Plan<R | null, W | null>
}

interface Options {
  readonly since: number
  readonly until: number
  /** Infinity = never. */
  readonly nullableSince: number
  readonly tag: number | undefined
  readonly byDefault: unknown
}

const PLAIN: Options = { since: 0, until: Infinity, nullableSince: Infinity, tag: undefined, byDefault: undefined }

/** R = what is read, W = what is written, D = it has a default. */
export class Field<R, W = R, D extends boolean = false> {
  readonly type: Type<unknown, unknown>
  readonly options: Options
  /** Only for inference. */
  declare readonly inferred: { readonly read: R; readonly write: W; readonly hasDefault: D }

  constructor(type: Type<unknown, unknown>, options: Options = PLAIN) {
    this.type = type
    this.options = options
  }

  since(version: number): Field<R, W, D> {
    return new Field(this.type, { ...this.options, since: version })
  }

  until(version: number): Field<R, W, D> {
    return new Field(this.type, { ...this.options, until: version })
  }

  nullable(since = 0): Field<R | null, W | null, D> {
    return new Field(this.type, { ...this.options, nullableSince: since })
  }

  tag(tag: number): Field<R, W, true> {
    return new Field(this.type, { ...this.options, tag })
  }

  or(byDefault: R): Field<R, W, true> {
    return new Field(this.type, { ...this.options, byDefault })
  }

  get form(): Form {
    return this.type.form
  }

  get byDefault(): unknown {
    const { byDefault, nullableSince } = this.options
    if (byDefault !== undefined) return byDefault
    // An instance id, a protocol: what a version has no field for is none, and not an empty one.
    return nullableSince === Infinity ? this.type.zero : null
  }

  isNullableIn({ version }: Encoding): boolean {
    return version >= this.options.nullableSince && this.type.nullablePlan !== undefined
  }

  isIn({ version, isFlexible }: Encoding): boolean {
    const { since, until, tag } = this.options
    return version >= since && version <= until && (tag === undefined || isFlexible)
  }

  plan(encoding: Encoding): Plan<unknown, unknown> {
    const { type } = this
    const { nullableSince } = this.options
    if (this.isNullableIn(encoding)) return type.nullablePlan!(encoding)
    const plan = type.plan(encoding)
    if (nullableSince === Infinity) return plan
    return { ...plan, write: (writer, value) => plan.write(writer, value ?? type.zero) }
  }
}

export type Shape = Readonly<Record<string, Field<unknown, unknown, boolean>>>
type AnyField = Field<unknown, unknown, boolean>
export type Read<F> = F extends { readonly inferred: { readonly read: infer R } } ? R : never
export type Write<F> = F extends { readonly inferred: { readonly write: infer W } } ? W : never
type Optional<S> = {
  [K in keyof S]: S[K] extends { readonly inferred: { readonly hasDefault: true } } ? K : never
}[keyof S]
type ReadShape<S> = { readonly [K in keyof S]: Read<S[K]> }
type WriteShape<S> = { readonly [K in Exclude<keyof S, Optional<S>>]: Write<S[K]> } & {
  readonly [K in Optional<S>]?: Write<S[K]> | undefined
}

function fixed<T>(
  kind: Primitive,
  bytes: number,
  zero: T,
  read: (reader: KafkaReader) => T,
  write: (writer: KafkaWriter, value: T) => void,
): Field<T> {
  const plan: Plan<T, T> = { bytesMin: bytes, read, write }
  return new Field({ form: { kind }, zero, plan: () => plan as Plan<unknown, unknown> })
}

export const bool = fixed(
  'bool',
  1,
  false,
  (reader) => reader.bool(),
  (writer, value) => writer.bool(value),
)
export const int8 = fixed(
  'int8',
  1,
  0,
  (reader) => reader.int8(),
  (writer, value) => writer.int8(value),
)
export const int16 = fixed(
  'int16',
  2,
  0,
  (reader) => reader.int16(),
  (writer, value) => writer.int16(value),
)
export const uint16 = fixed(
  'uint16',
  2,
  0,
  (reader) => reader.uint16(),
  (writer, value) => writer.uint16(value),
)
export const int32 = fixed(
  'int32',
  4,
  0,
  (reader) => reader.int32(),
  (writer, value) => writer.int32(value),
)
export const int64 = fixed(
  'int64',
  8,
  0,
  (reader) => reader.int64(),
  (writer, value) => writer.int64(value),
)
export const float64 = fixed(
  'float64',
  8,
  0,
  (reader) => reader.float64(),
  (writer, value) => writer.float64(value),
)
/** 32 hex digits; the zero id is ZERO_UUID. */
export const uuid = fixed(
  'uuid',
  16,
  '0'.repeat(32),
  (reader) => reader.uuid(),
  (writer, value) => writer.uuid(value),
)
export const ZERO_UUID = '0'.repeat(32)

/** How long what follows is: an int16 or int32 in classic versions, a varint in flexible ones. */
type LengthKind = 'int16' | 'int32' | 'compact'

/** Of texts, bytes, records and arrays: a length, and -1 where it is null. `body` makes what follows the length, for one encoding. */
function sized<R, W>(options: {
  readonly form: Form
  readonly zero: R
  readonly classic: 'int16' | 'int32'
  /** For the text of an error. */
  readonly what: string
  readonly body: (encoding: Encoding) => {
    readonly read: (reader: KafkaReader, length: number) => R
    /** The length too. */
    readonly write: (writer: KafkaWriter, kind: LengthKind, value: W) => void
  }
}): Field<R, W> {
  const { form, zero, classic, what, body } = options
  const kindOf = ({ isFlexible }: Encoding): LengthKind => (isFlexible ? 'compact' : classic)
  const bytesMinOf = ({ isFlexible }: Encoding) => (isFlexible ? 1 : classic === 'int16' ? 2 : 4)
  return new Field<R, W>({
    form,
    zero,
    plan(encoding) {
      const kind = kindOf(encoding)
      const { read, write } = body(encoding)
      return {
        bytesMin: bytesMinOf(encoding),
        read(reader) {
          const length = reader.length(kind)
          return length < 0 ? reader.fail(`null where there must be ${what}`) : read(reader, length)
        },
        write: (writer, value) => write(writer, kind, value as W),
      }
    },
    nullablePlan(encoding) {
      const kind = kindOf(encoding)
      const { read, write } = body(encoding)
      return {
        bytesMin: bytesMinOf(encoding),
        read(reader) {
          const length = reader.length(kind)
          return length < 0 ? null : read(reader, length)
        },
        write: (writer, value) =>
          value === null || value === undefined ? writer.length(kind, -1) : write(writer, kind, value as W),
      }
    },
  })
}

export const string = sized<string, string>({
  form: { kind: 'string' },
  zero: '',
  classic: 'int16',
  what: 'a value',
  body: () => ({
    read: (reader, length) => reader.text(length),
    write: (writer, kind, value) => writer.text(kind as 'int16' | 'compact', value),
  }),
})

const NO_BYTES = new Uint8Array(0)
export const bytes = sized<Uint8Array, Uint8Array>({
  form: { kind: 'bytes' },
  zero: NO_BYTES,
  classic: 'int32',
  what: 'a value',
  body: () => ({
    read: (reader, length) => reader.slice(length),
    write(writer, kind, value) {
      writer.length(kind, value.length)
      writer.raw(value)
    },
  }),
})

/** Record batches: read as a view of the frame, written from wherever they lie. */
export const records = sized<Uint8Array, Splice>({
  form: { kind: 'records' },
  zero: NO_BYTES,
  classic: 'int32',
  what: 'a value',
  body: () => ({
    read: (reader, length) => reader.slice(length),
    write(writer, kind, value) {
      writer.length(kind, value.bytes)
      if (value.bytes > 0) writer.splice(value)
    },
  }),
})

export function array<F extends AnyField>(element: F): Field<readonly Read<F>[], readonly Write<F>[]> {
  return sized<readonly Read<F>[], readonly Write<F>[]>({
    form: { kind: 'array', element },
    zero: [],
    classic: 'int32',
    what: 'an array',
    body(encoding) {
      const plan = element.plan(encoding)
      return {
        read(reader, length) {
          const count = reader.count(length, Math.max(1, plan.bytesMin))
          const all = new Array<Read<F>>(count)
          for (let index = 0; index < count; index++) all[index] = plan.read(reader) as Read<F>
          return all
        },
        write(writer, kind, values) {
          writer.length(kind, values.length)
          for (const value of values) plan.write(writer, value)
        },
      }
    },
  })
}

interface Member {
  readonly name: string
  readonly field: AnyField
  readonly plan: Plan<unknown, unknown>
}

export function struct<S extends Shape>(shape: S): Field<ReadShape<S>, WriteShape<S>> {
  const entries = Object.entries(shape) as [string, AnyField][]
  const zero = Object.fromEntries(entries.map(([name, field]) => [name, field.byDefault]))
  const plan = (encoding: Encoding): Plan<unknown, unknown> => structPlan(entries, zero, encoding)
  return new Field({
    form: { kind: 'struct', shape },
    zero,
    plan,
    nullablePlan(encoding) {
      const inner = plan(encoding)
      // KIP-893: a byte of its own says whether the struct is there.
      return {
        bytesMin: 1,
        read: (reader) => (reader.int8() < 0 ? null : inner.read(reader)),
        write(writer, value) {
          writer.int8(value === null || value === undefined ? -1 : 1)
          if (value !== null && value !== undefined) inner.write(writer, value)
        },
      }
    },
  })
}

type Row = Record<string, unknown>

function structPlan(
  entries: readonly (readonly [string, AnyField])[],
  zero: Row,
  encoding: Encoding,
): Plan<unknown, unknown> {
  const members = entries
    .filter(([, field]) => field.isIn(encoding))
    .map(([name, field]): Member => ({ name, field, plan: field.plan(encoding) }))
  const plain = members.filter(({ field }) => field.options.tag === undefined)
  const tagged = members
    .filter(({ field }) => field.options.tag !== undefined)
    .sort((left, right) => left.field.options.tag! - right.field.options.tag!)
  const { isFlexible } = encoding
  let bytesMin = isFlexible ? 1 : 0
  for (const member of plain) bytesMin += member.plan.bytesMin
  return {
    bytesMin,
    read(reader) {
      const row: Row = { ...zero }
      for (const { name, plan } of plain) {
        reader.field = name
        row[name] = plan.read(reader)
      }
      if (isFlexible) readTags(reader, row, tagged)
      return row
    },
    write(writer, value) {
      const row = value as Row
      for (const { name, field, plan } of plain) {
        const given = row[name]
        plan.write(writer, given === undefined ? field.byDefault : given)
      }
      if (isFlexible) writeTags(writer, row, tagged)
    },
  }
}

function readTags(reader: KafkaReader, row: Row, tagged: readonly Member[]): void {
  reader.field = 'tagged fields'
  const count = reader.count(reader.uvarint(), 2)
  let previous = -1
  for (let index = 0; index < count; index++) {
    const tag = reader.uvarint()
    if (tag <= previous) reader.fail(`tag ${tag} after tag ${previous}`)
    previous = tag
    const size = reader.uvarint()
    const end = reader.at + size
    const member = tagged.find(({ field }) => field.options.tag === tag)
    if (member === undefined) {
      reader.take(size)
      continue
    }
    reader.field = member.name
    if (size > reader.left) reader.fail(`a tagged field of ${size} bytes, ${reader.left} are left`)
    const { end: outerEnd } = reader
    reader.end = end
    row[member.name] = member.plan.read(reader)
    if (reader.at !== end) reader.fail(`${end - reader.at} bytes too many in a tagged field`)
    reader.end = outerEnd
  }
}

function isLeftOut(value: unknown, field: AnyField): boolean {
  const { byDefault, form } = field
  if (value === undefined || value === byDefault) return true
  if (value === null || byDefault === null) return false
  if (form.kind === 'array') return (value as unknown[]).length === 0
  if (form.kind === 'struct')
    return Object.entries(form.shape).every(([name, member]) => isLeftOut((value as Row)[name], member))
  return false
}

function writeTags(writer: KafkaWriter, row: Row, tagged: readonly Member[]): void {
  const present = tagged.filter(({ name, field }) => !isLeftOut(row[name], field))
  writer.uvarint(present.length)
  for (const { name, field, plan } of present) {
    writer.uvarint(field.options.tag!)
    writer.tagged((inner) => plan.write(inner, row[name]))
  }
}
