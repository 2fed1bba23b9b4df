import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytesOfHex } from '../../../../src/base/bytes.ts'
import { KafkaFormatError, KafkaReader, MESSAGE_ELEMENTS_MAX } from '../../../../src/kafka/codec/reader.ts'

function reader(hex: string): KafkaReader {
  const made = new KafkaReader(bytesOfHex(hex.replaceAll(' ', '')))
  made.field = 'theField'
  return made
}

function refuses(hex: string, read: (from: KafkaReader) => unknown, text: RegExp): void {
  assert.throws(
    () => read(reader(hex)),
    (error: Error) => {
      assert.ok(error instanceof KafkaFormatError)
      assert.match(error.message, /^theField: /, 'the error names the field')
      assert.match(error.message, text)
      return true
    },
  )
}

test('fixed integers are big-endian two-complements', () => {
  assert.equal(reader('7f').int8(), 127)
  assert.equal(reader('80').int8(), -128)
  assert.equal(reader('7fff').int16(), 32_767)
  assert.equal(reader('8000').int16(), -32_768)
  assert.equal(reader('ffff').uint16(), 65_535)
  assert.equal(reader('7fffffff').int32(), 2 ** 31 - 1)
  assert.equal(reader('80000000').int32(), -(2 ** 31))
  assert.equal(reader('0000000100000000').int64(), 2 ** 32)
  assert.equal(reader('ffffffffffffffff').int64(), -1)
  assert.equal(reader('001fffffffffffff').int64(), Number.MAX_SAFE_INTEGER)
  assert.equal(reader('ffe0000000000001').int64(), Number.MIN_SAFE_INTEGER)
  assert.equal(reader('3ff8000000000000').float64(), 1.5)
  assert.equal(reader('00').bool(), false)
  assert.equal(reader('01').bool(), true)
  assert.equal(reader('02').bool(), true)
  assert.equal(reader('000102030405060708090a0b0c0d0e0f').uuid(), '000102030405060708090a0b0c0d0e0f')
})

test('an int64 beyond 2^53 is refused, at both ends', () => {
  for (const hex of ['0020000000000000', '7fffffffffffffff', '8000000000000000', 'ffdfffffffffffff'])
    refuses(hex, (from) => from.int64(), /int64 beyond 2\^53/)
})

test('unsigned varints, least significant group first', () => {
  const vectors: readonly [number, string][] = [
    [0, '00'],
    [1, '01'],
    [127, '7f'],
    [128, '8001'],
    [300, 'ac02'],
    [16_383, 'ff7f'],
    [16_384, '808001'],
    [2 ** 28 - 1, 'ffffff7f'],
    [2 ** 28, '8080808001'],
    [2 ** 31 - 1, 'ffffffff07'],
    [2 ** 32 - 1, 'ffffffff0f'],
  ]
  for (const [value, hex] of vectors) {
    const from = reader(hex)
    assert.equal(from.uvarint(), value, hex)
    assert.equal(from.left, 0)
  }
  // More bytes than are needed are the same number; more than five are none.
  assert.equal(reader('8000').uvarint(), 0)
  refuses('ffffffff10', (from) => from.uvarint(), /more than 32 bits/)
  refuses('808080808000', (from) => from.uvarint(), /more than 32 bits/)
  for (const cut of ['', '80', '80808080']) refuses(cut, (from) => from.uvarint(), /1 bytes are needed, 0 are left/)
})

test('lengths: classic and compact, -1 is null, less is refused', () => {
  assert.equal(reader('ffff').length('int16'), -1)
  assert.equal(reader('ffffffff').length('int32'), -1)
  assert.equal(reader('00').length('compact'), -1)
  assert.equal(reader('01').length('compact'), 0)
  assert.equal(reader('0007').length('int16'), 7)
  assert.equal(reader('00000007').length('int32'), 7)
  assert.equal(reader('08').length('compact'), 7)
  refuses('fffe', (from) => from.length('int16'), /a length of -2/)
  refuses('80000000', (from) => from.length('int32'), /a length of -2147483648/)
})

test('every type refuses to read past the end', () => {
  const reads: readonly [number, (from: KafkaReader) => unknown][] = [
    [1, (from) => from.bool()],
    [1, (from) => from.int8()],
    [2, (from) => from.int16()],
    [2, (from) => from.uint16()],
    [4, (from) => from.int32()],
    [8, (from) => from.int64()],
    [8, (from) => from.float64()],
    [16, (from) => from.uuid()],
    [5, (from) => from.text(5)],
    [5, (from) => from.slice(5)],
  ]
  for (const [bytes, read] of reads)
    for (let length = 0; length < bytes; length++)
      refuses('00'.repeat(length), read, new RegExp(`${bytes} bytes are needed, ${length} are left`))
})

test('a reader of a part sees only that part', () => {
  const bytes = bytesOfHex('0102030405060708')
  const from = new KafkaReader(bytes, 2, 4)
  assert.equal(from.left, 2)
  assert.equal(from.int16(), 0x0304)
  assert.throws(() => from.int8(), KafkaFormatError)
  // The view is of the bytes, wherever they lie in their buffer.
  const inside = new KafkaReader(bytes.subarray(3))
  assert.equal(inside.int16(), 0x0405)
})

test('texts are UTF-8 and nothing else', () => {
  assert.equal(reader('c3a9e697a5').text(5), 'é日')
  assert.equal(reader('efbbbf61').text(4), '\uFEFFa', 'a byte order mark is part of the text')
  for (const hex of ['ff', 'c3', 'c0af', 'eda080', 'f4908080'])
    refuses(hex, (from) => from.text(hex.length / 2), /not UTF-8/)
})

test('bytes are views of the frame', () => {
  const frame = bytesOfHex('0102030405')
  const slice = new KafkaReader(frame, 1).slice(3)
  assert.equal(slice.buffer, frame.buffer)
  assert.deepEqual([...slice], [2, 3, 4])
})

test('a count that its bytes cannot hold is refused before anything is made of it', () => {
  refuses('0000000000', (from) => from.count(6, 1), /6 elements in 5 bytes/)
  refuses('0000000000', (from) => from.count(2, 3), /2 elements in 5 bytes/)
  refuses('', (from) => from.count(2 ** 32 - 2, 1), /4294967294 elements in 0 bytes/)
  assert.equal(reader('0000000000').count(5, 1), 5)
})

test('all arrays of a message together have a maximum', () => {
  const from = new KafkaReader(new Uint8Array(MESSAGE_ELEMENTS_MAX + 1))
  from.field = 'theField'
  assert.equal(from.count(MESSAGE_ELEMENTS_MAX, 1), MESSAGE_ELEMENTS_MAX)
  assert.equal(from.count(0, 1), 0)
  assert.throws(() => from.count(1, 1), new RegExp(`theField: more than ${MESSAGE_ELEMENTS_MAX} elements in a message`))
})
