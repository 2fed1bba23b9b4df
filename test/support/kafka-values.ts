/**
 * Values of the Kafka protocol's messages by their schema: arbitrary ones for properties, seeded ones for hostile frames, and what is to
 * be read where they were written.
 */
import fc from 'fast-check'
import { joinBytes } from '../../src/base/bytes.ts'
import type { Prng } from '../../src/base/prng.ts'
import type { Encoding, Field, Form } from '../../src/kafka/codec/fields.ts'

type AnyField = Field<unknown, unknown, boolean>
type Row = Record<string, unknown>

const BYTES_MAX = 40
const ELEMENTS_MAX = 3

/** What may be written for a field in a version, its splices cut anywhere. */
export function arbitraryOf(field: AnyField, encoding: Encoding): fc.Arbitrary<unknown> {
  const value = arbitraryForm(field.form, encoding)
  return field.isNullableIn(encoding) ? fc.option(value, { nil: null, freq: 4 }) : value
}

function arbitraryForm(form: Form, encoding: Encoding): fc.Arbitrary<unknown> {
  switch (form.kind) {
    case 'bool':
      return fc.boolean()
    case 'int8':
      return fc.integer({ min: -128, max: 127 })
    case 'int16':
      return fc.integer({ min: -32_768, max: 32_767 })
    case 'uint16':
      return fc.integer({ min: 0, max: 65_535 })
    case 'int32':
      return fc.integer()
    case 'int64':
      return fc.maxSafeInteger()
    case 'float64':
      return fc.double()
    case 'uuid':
      return fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex'))
    case 'string':
      return fc.oneof(fc.string({ maxLength: BYTES_MAX }), fc.string({ unit: 'grapheme', maxLength: 200 }))
    case 'bytes':
      return fc.uint8Array({ maxLength: BYTES_MAX })
    case 'records':
      return fc
        .array(fc.uint8Array({ maxLength: BYTES_MAX }), { maxLength: ELEMENTS_MAX })
        .map((fragments) => ({ bytes: joinBytes(fragments).length, fragments }))
    case 'array':
      return fc.array(arbitraryOf(form.element, encoding), { maxLength: ELEMENTS_MAX })
    case 'struct':
      return fc.record(
        Object.fromEntries(
          Object.entries(form.shape)
            .filter(([, member]) => member.isIn(encoding))
            .map(([name, member]) => [name, arbitraryOf(member, encoding)]),
        ),
      )
  }
}

/** What is read where `value` was written: every field, those that a version does not have with their defaults. */
export function readBack(field: AnyField, encoding: Encoding, value: unknown): unknown {
  const { form } = field
  if (value === null || value === undefined) return value
  if (form.kind === 'records') return joinBytes((value as { fragments: Uint8Array[] }).fragments)
  if (form.kind === 'array') return (value as unknown[]).map((element) => readBack(form.element, encoding, element))
  if (form.kind !== 'struct') return value
  return Object.fromEntries(
    Object.entries(form.shape).map(([name, member]) => {
      const given = (value as Row)[name]
      const isThere = member.isIn(encoding) && given !== undefined
      return [name, isThere ? readBack(member, encoding, given) : member.byDefault]
    }),
  )
}

/** What a seed makes of a field: small values that a broker may know, and the extremes of every type. */
export function seededValue(field: AnyField, encoding: Encoding, prng: Prng, name = ''): unknown {
  if (field.isNullableIn(encoding) && prng.below(6) === 0) return null
  const { form } = field
  const pick = <T>(values: readonly T[]): T => values[prng.below(values.length)]!
  switch (form.kind) {
    case 'bool':
      return prng.below(2) === 0
    case 'int8':
      return pick([-1, 0, 1, 2, 3, 4, 127, -128])
    case 'int16':
      return pick([-1, 0, 1, 2, 7, 32_767, -32_768])
    case 'uint16':
      return pick([0, 1, 65_535])
    case 'int32':
      // Nobody waits long for a frame of chance, and no topic has more partitions than a short run can make.
      if (/wait/i.test(name)) return pick([-1, 0, 1, 2])
      if (/timeout/i.test(name)) return pick([-1, 0, 1, 100, 6_000])
      if (/count|numPartitions/i.test(name)) return pick([-1, 0, 1, 2, 3, 5, 2 ** 31 - 1])
      return pick([-1, 0, 1, 2, 3, 100, 65_536, 2 ** 31 - 1, -(2 ** 31)])
    case 'int64':
      return pick([-1, 0, 1, 2, 100, prng.uint32(), Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER])
    case 'float64':
      return pick([0, 1.5, -1, Number.NaN, Number.POSITIVE_INFINITY])
    case 'uuid':
      return prng.below(3) === 0
        ? '0'.repeat(32)
        : Array.from({ length: 4 }, () => prng.uint32().toString(16).padStart(8, '0')).join('')
    case 'string':
      return pick([
        'fuzz',
        'fuzz',
        'other',
        '',
        '..',
        'é'.repeat(5),
        'x'.repeat(pick([1, 249, 250, 400])),
        `n-${prng.below(9)}`,
      ])
    case 'bytes':
      return seededBytes(prng, 60)
    case 'records': {
      const bytes = seededBytes(prng, 200)
      return { bytes: bytes.length, fragments: [bytes] }
    }
    case 'array':
      return Array.from({ length: pick([0, 1, 1, 1, 2, 3]) }, () => seededValue(form.element, encoding, prng, name))
    case 'struct':
      return Object.fromEntries(
        Object.entries(form.shape)
          .filter(([, member]) => member.isIn(encoding))
          .map(([memberName, member]) => [memberName, seededValue(member, encoding, prng, memberName)]),
      )
  }
}

export function seededBytes(prng: Prng, lengthMax: number): Uint8Array {
  return new Uint8Array(prng.below(lengthMax + 1)).map(() => prng.below(256))
}
