import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hexOf, joinBytes } from '../../../../src/base/bytes.ts'
import { KafkaReader } from '../../../../src/kafka/codec/reader.ts'
import { KafkaWriter, TEXT_BYTES_MAX } from '../../../../src/kafka/codec/writer.ts'

/** What was written, without the length that is before every message. */
function written(write: (writer: KafkaWriter) => void): Uint8Array {
  const writer = new KafkaWriter()
  writer.int32(0)
  write(writer)
  const whole = joinBytes(writer.finish())
  assert.equal(new DataView(whole.buffer).getInt32(0), whole.length - 4, 'the length does not count itself')
  return whole.subarray(4)
}

const hexWritten = (write: (writer: KafkaWriter) => void): string => hexOf(written(write))

test('fixed types', () => {
  assert.equal(
    hexWritten((writer) => writer.bool(true)),
    '01',
  )
  assert.equal(
    hexWritten((writer) => writer.int8(-128)),
    '80',
  )
  assert.equal(
    hexWritten((writer) => writer.int16(-32_768)),
    '8000',
  )
  assert.equal(
    hexWritten((writer) => writer.uint16(65_535)),
    'ffff',
  )
  assert.equal(
    hexWritten((writer) => writer.int32(-2)),
    'fffffffe',
  )
  assert.equal(
    hexWritten((writer) => writer.float64(1.5)),
    '3ff8000000000000',
  )
  const int64 = (value: number): string => hexWritten((writer) => writer.int64(value))
  assert.equal(int64(-1), 'ffffffffffffffff')
  assert.equal(int64(2 ** 32), '0000000100000000')
  assert.equal(int64(Number.MAX_SAFE_INTEGER), '001fffffffffffff')
  assert.equal(int64(Number.MIN_SAFE_INTEGER), 'ffe0000000000001')
  assert.equal(
    hexWritten((writer) => writer.uuid('000102030405060708090a0b0c0d0e0f')),
    '000102030405060708090a0b0c0d0e0f',
  )
  assert.equal(
    hexWritten((writer) => writer.uuid('')),
    '00'.repeat(16),
  )
})

test('varints are as short as they can be, and are read again', () => {
  for (const [value, hex] of [
    [0, '00'],
    [127, '7f'],
    [128, '8001'],
    [300, 'ac02'],
    [2 ** 31 - 1, 'ffffffff07'],
    [2 ** 32 - 1, 'ffffffff0f'],
  ] as const)
    assert.equal(
      hexWritten((writer) => writer.uvarint(value)),
      hex,
    )
  for (let bit = 0; bit < 32; bit++)
    for (const value of [2 ** bit - 1, 2 ** bit])
      assert.equal(new KafkaReader(written((writer) => writer.uvarint(value))).uvarint(), value)
})

test('texts: their length in bytes, classic or compact', () => {
  for (const [text, classic, compact] of [
    ['', '0000', '01'],
    ['abc', '0003616263', '04616263'],
    ['é日', '0005c3a9e697a5', '06c3a9e697a5'],
  ] as const) {
    assert.equal(
      hexWritten((writer) => writer.text('int16', text)),
      classic,
    )
    assert.equal(
      hexWritten((writer) => writer.text('compact', text)),
      compact,
    )
  }
  for (const length of [126, 127, 128, 129, 5_000]) {
    const reader = new KafkaReader(written((writer) => writer.text('compact', 'x'.repeat(length))))
    assert.equal(reader.text(reader.length('compact')), 'x'.repeat(length))
  }
})

test('a text that an int16 cannot count is cut where a character ends; a compact one is not', () => {
  for (const text of ['x'.repeat(TEXT_BYTES_MAX + 1), '日'.repeat(11_000), `${'x'.repeat(TEXT_BYTES_MAX - 1)}é`]) {
    const reader = new KafkaReader(written((writer) => writer.text('int16', text)))
    const read = reader.text(reader.length('int16'))
    assert.equal(reader.left, 0)
    assert.ok(text.startsWith(read))
    assert.ok(Buffer.byteLength(read) > TEXT_BYTES_MAX - 4)
    const compact = new KafkaReader(written((writer) => writer.text('compact', text)))
    assert.equal(compact.text(compact.length('compact')), text)
  }
  const fits = 'x'.repeat(TEXT_BYTES_MAX)
  assert.equal(written((writer) => writer.text('int16', fits)).length, 2 + TEXT_BYTES_MAX)
})

test('records are spliced in without a copy, wherever they come, however much is around them', () => {
  const shared = new Uint8Array(1_000).map((_, index) => index)
  for (const before of [0, 1, 200, 252, 253, 300, 5_000])
    for (const between of [0, 1, 255, 700]) {
      const writer = new KafkaWriter()
      writer.int32(0)
      writer.raw(new Uint8Array(before).fill(1))
      const first = [shared.subarray(0, 10), shared.subarray(500, 700)]
      writer.splice({ bytes: 210, fragments: first })
      writer.raw(new Uint8Array(between).fill(2))
      writer.splice({ bytes: 5, fragments: [shared.subarray(3, 8)] })
      writer.raw(Uint8Array.of(3))
      const bytes = 4 + before + 210 + between + 5 + 1
      assert.equal(writer.bytes, bytes)
      const fragments = writer.finish()
      const views = fragments.filter((fragment) => fragment.buffer === shared.buffer)
      assert.deepEqual(
        views.map((view) => view.length),
        [10, 200, 5],
      )
      const whole = joinBytes(fragments)
      const expected = joinBytes([
        whole.subarray(0, 4),
        new Uint8Array(before).fill(1),
        ...first,
        new Uint8Array(between).fill(2),
        shared.subarray(3, 8),
        Uint8Array.of(3),
      ])
      assert.deepEqual(whole, expected)
      assert.equal(new DataView(whole.buffer).getInt32(0), bytes - 4)
    }
})

test('a tagged field has its size before it', () => {
  assert.equal(
    hexWritten((writer) => writer.tagged((inner) => inner.int16(7))),
    '020007',
  )
  const large = written((writer) => writer.tagged((inner) => inner.raw(new Uint8Array(300))))
  assert.equal(hexOf(large.subarray(0, 2)), 'ac02')
  assert.equal(large.length, 302)
})

test('every type may be the one for which the buffer has to grow', () => {
  const types: readonly [string, (writer: KafkaWriter) => void][] = [
    ['01', (writer) => writer.bool(true)],
    ['7f', (writer) => writer.int8(127)],
    ['7fff', (writer) => writer.int16(32_767)],
    ['ffff', (writer) => writer.uint16(65_535)],
    ['7fffffff', (writer) => writer.int32(2 ** 31 - 1)],
    ['001fffffffffffff', (writer) => writer.int64(Number.MAX_SAFE_INTEGER)],
    ['3ff8000000000000', (writer) => writer.float64(1.5)],
    ['ab'.repeat(16), (writer) => writer.uuid('ab'.repeat(16))],
    ['ffffffff0f', (writer) => writer.uvarint(2 ** 32 - 1)],
    ['0461c3a9', (writer) => writer.text('compact', 'aé')],
    ['0003616263', (writer) => writer.text('int16', 'abc')],
    ['010203', (writer) => writer.raw(Uint8Array.of(1, 2, 3))],
    ['0107', (writer) => writer.tagged((inner) => inner.int8(7))],
  ]
  // The first buffer has 256 bytes, four of them for the length.
  for (const [hex, write] of types)
    for (let before = 230; before <= 260; before++) {
      const bytes = written((writer) => {
        writer.raw(new Uint8Array(before))
        write(writer)
      })
      assert.equal(hexOf(bytes.subarray(before)), hex, `${hex} after ${before} bytes`)
    }
})
