import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytesOfHex, hexOf, joinBytes } from '../../../../src/base/bytes.ts'
import {
  array,
  bool,
  bytes,
  type Encoding,
  type Field,
  int8,
  int16,
  int32,
  int64,
  records,
  string,
  struct,
  uuid,
  ZERO_UUID,
} from '../../../../src/kafka/codec/fields.ts'
import { KafkaFormatError, KafkaReader } from '../../../../src/kafka/codec/reader.ts'
import { KafkaWriter } from '../../../../src/kafka/codec/writer.ts'

const CLASSIC: Encoding = { version: 1, isFlexible: false }
const FLEXIBLE: Encoding = { version: 5, isFlexible: true }
type AnyField = Field<unknown, unknown, boolean>

function write(field: AnyField, encoding: Encoding, value: unknown): string {
  const writer = new KafkaWriter()
  writer.int32(0)
  field.plan(encoding).write(writer, value)
  return hexOf(joinBytes(writer.finish()).subarray(4))
}

function read(field: AnyField, encoding: Encoding, hex: string): unknown {
  const reader = new KafkaReader(bytesOfHex(hex.replaceAll(' ', '')))
  const value = field.plan(encoding).read(reader)
  assert.equal(reader.left, 0)
  return value
}

function both(field: AnyField, encoding: Encoding, value: unknown, hex: string): void {
  assert.equal(write(field, encoding, value), hex.replaceAll(' ', ''))
  assert.deepEqual(read(field, encoding, hex), value)
}

test('texts, bytes and records: classic and compact, null as -1 and as 0', () => {
  both(string, CLASSIC, 'ab', '0002 6162')
  both(string, FLEXIBLE, 'ab', '03 6162')
  both(string.nullable(), CLASSIC, null, 'ffff')
  both(string.nullable(), FLEXIBLE, null, '00')
  both(string.nullable(), FLEXIBLE, '', '01')
  both(bytes, CLASSIC, Uint8Array.of(7), '00000001 07')
  both(bytes, FLEXIBLE, Uint8Array.of(7), '02 07')
  assert.equal(write(records.nullable(), CLASSIC, null), 'ffffffff')
  assert.equal(write(records.nullable(), FLEXIBLE, null), '00')
  assert.equal(
    write(records, FLEXIBLE, { bytes: 3, fragments: [Uint8Array.of(1), Uint8Array.of(2, 3)] }),
    '04 010203'.replace(' ', ''),
  )
  assert.equal(write(records, CLASSIC, { bytes: 0, fragments: [] }), '00000000')
  assert.deepEqual(read(records, FLEXIBLE, '04 010203'), Uint8Array.of(1, 2, 3))
})

test('null where there must be a value is refused', () => {
  for (const [field, hex] of [
    [string, '00'],
    [bytes, '00'],
    [records, '00'],
    [array(int8), '00'],
  ] as const)
    assert.throws(() => read(field, FLEXIBLE, hex), KafkaFormatError)
  assert.throws(() => read(string, CLASSIC, 'ffff'), /null where there must be a value/)
  assert.throws(() => read(array(int8), CLASSIC, 'ffffffff'), /null where there must be an array/)
})

test('what is nullable from a version on: before it null is written as the empty value, and not read', () => {
  const name = string.nullable(3)
  assert.equal(write(name, CLASSIC, null), '0000')
  assert.throws(() => read(name, CLASSIC, 'ffff'), KafkaFormatError)
  both(name, FLEXIBLE, null, '00')
  const names = array(string).nullable(3)
  assert.equal(write(names, CLASSIC, null), '00000000')
  both(names, FLEXIBLE, null, '00')
})

test('arrays', () => {
  both(array(int16), CLASSIC, [1, -1], '00000002 0001 ffff')
  both(array(int16), FLEXIBLE, [1, -1], '03 0001 ffff')
  both(array(array(string)), FLEXIBLE, [['a'], []], '03 02 0261 01')
  both(array(int16).nullable(), CLASSIC, null, 'ffffffff')
  both(array(int16), FLEXIBLE, [], '01')
})

test('a count larger than the bytes left is refused before it is allocated', () => {
  for (const [field, encoding, hex] of [
    [array(int8), CLASSIC, '7fffffff 00'],
    [array(int8), FLEXIBLE, 'ffffffff0f 00'],
    [array(struct({})), CLASSIC, '00000002 00'],
    [array(struct({ name: string, id: uuid })), FLEXIBLE, '03 01'.padEnd(41, '0')],
  ] as const) {
    const before = process.memoryUsage().heapUsed
    assert.throws(() => read(field, encoding, hex), /elements in \d+ bytes/)
    assert.ok(process.memoryUsage().heapUsed - before < 4 * 1024 * 1024)
  }
})

test('a nullable struct has a byte of its own before it, which is no varint', () => {
  const cursor = struct({ topicName: string, partitionIndex: int32 }).nullable()
  both(cursor, FLEXIBLE, null, 'ff')
  both(cursor, FLEXIBLE, { topicName: 'a', partitionIndex: 2 }, '01 0261 00000002 00')
  assert.deepEqual(read(cursor, FLEXIBLE, '80'), null, 'any byte below 0 is null')
})

test('fields that a version does not have read as their defaults and are not written', () => {
  const message = struct({
    old: int32.until(2).or(-1),
    always: int8,
    later: string.since(3),
    instance: string.nullable().since(3),
    allowed: bool.since(4).or(true),
    id: uuid.since(4),
    list: array(int8).since(4),
    inner: struct({ epoch: int32.or(-1), end: int64 }).since(4),
  })
  assert.equal(
    write(message, CLASSIC, { old: 5, always: 1, later: 'x', id: '', inner: {}, instance: 'i' }),
    '0000000501',
  )
  assert.deepEqual(read(message, CLASSIC, '0000000501'), {
    ...{ old: 5, always: 1, later: '', instance: null, allowed: true, id: ZERO_UUID, list: [] },
    inner: { epoch: -1, end: 0 },
  })
  // What the caller leaves out is written as its default, inside structs too.
  const hex = write(message, FLEXIBLE, { always: 1, later: 'x', instance: null, inner: {} })
  assert.equal(hex, `01${'0278'}${'00'}${'01'}${ZERO_UUID}${'01'}${'ffffffff'}${'0'.repeat(16)}${'00'}${'00'}`)
})

const tagged = struct({
  plain: int8,
  second: int64.or(-1).tag(2),
  first: string.nullable().tag(0),
  leader: struct({ id: int32.or(-1), epoch: int32.or(-1) }).tag(5),
  list: array(int8).tag(7),
})

test('tagged fields: ascending, with their sizes, those with their defaults left out', () => {
  both(
    tagged,
    FLEXIBLE,
    { plain: 1, second: 3, first: 'a', leader: { id: 1, epoch: -1 }, list: [4] },
    '01 04 00 02 0261 02 08 0000000000000003 05 09 00000001 ffffffff 00 07 02 02 04',
  )
  const defaults = { plain: 1, second: -1, first: null, leader: { id: -1, epoch: -1 }, list: [] }
  both(tagged, FLEXIBLE, defaults, '01 00')
  assert.equal(write(tagged, FLEXIBLE, { plain: 1 }), '0100')
  // Classic versions have none at all.
  both(tagged, CLASSIC, defaults, '01')
  assert.equal(write(tagged, CLASSIC, { plain: 1, second: 9 }), '01')
})

test('unknown tags are passed over by their size', () => {
  const expected = { plain: 1, second: 3, first: null, leader: { id: -1, epoch: -1 }, list: [] }
  assert.deepEqual(read(tagged, FLEXIBLE, '01 03 01 03 aabbcc 02 08 0000000000000003 ffffffff0f 01 00'), expected)
  assert.deepEqual(read(tagged, FLEXIBLE, '01 01 63 00'), { ...expected, second: -1 })
})

test('tagged fields that lie are refused', () => {
  const refuses = (hex: string, text: RegExp): void => {
    assert.throws(
      () => read(tagged, FLEXIBLE, hex),
      (error: Error) => {
        assert.ok(error instanceof KafkaFormatError)
        assert.match(error.message, text)
        return true
      },
    )
  }
  const three = '0000000000000003'
  refuses(`01 02 02 08 ${three} 02 08 ${three}`, /tag 2 after tag 2/)
  refuses(`01 02 02 08 ${three} 01 00`, /tag 1 after tag 2/)
  refuses(`01 01 02 09 ${three} 00`, /second: 1 bytes too many in a tagged field/)
  refuses(`01 01 02 07 ${three}`, /second: 8 bytes are needed, 7 are left/)
  refuses('01 01 02 ffffffff0f', /second: a tagged field of 4294967295 bytes, 0 are left/)
  refuses('01 01 63 ffffffff0f', /4294967295 bytes are needed, 0 are left/)
  refuses('01 ffffffff0f 0000', /tagged fields: 4294967295 elements in 2 bytes/)
  refuses('01 01', /tagged fields: 1 elements in 0 bytes/)
  // What an inner length claims ends at the tagged field's end, not at the frame's.
  refuses('01 02 00 02 05 61 63 03 616161', /first: 4 bytes are needed, 1 are left/)
})
