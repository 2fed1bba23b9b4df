import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { hexOf } from '../../../src/base/bytes.ts'
import { VarintCursor, varintBytes, varlongBytes, writeVarint, writeVarlong } from '../../../src/base/varint.ts'

test('varints have the bytes of the protocol buffers zigzag encoding', () => {
  const vectors: [number, string][] = [
    [0, '00'],
    [-1, '01'],
    [1, '02'],
    [63, '7e'],
    [-64, '7f'],
    [64, '8001'],
    [8191, 'fe7f'],
    [8192, '808001'],
    [0x7fffffff, 'feffffff0f'],
    [-0x80000000, 'ffffffff0f'],
  ]
  for (const [value, hex] of vectors) {
    const bytes = new Uint8Array(5)
    const end = writeVarint(bytes, 0, value)
    assert.equal(hexOf(bytes.subarray(0, end)), hex)
    assert.equal(varintBytes(value), end)
    assert.equal(varlongBytes(value), end)
    const cursor = new VarintCursor(bytes, 0, end)
    assert.equal(cursor.varint(), value)
    assert.ok(cursor.ok)
    assert.equal(cursor.at, end)
  }
})

test('every int32 survives, in as many bytes as varintBytes says', () => {
  fc.assert(
    fc.property(fc.integer(), (value) => {
      const bytes = new Uint8Array(10)
      const end = writeVarint(bytes, 0, value)
      const cursor = new VarintCursor(bytes, 0, end)
      return cursor.varint() === value && cursor.at === end && varintBytes(value) === end
    }),
  )
})

test('every safe integer survives as a varlong, in as many bytes as varlongBytes says', () => {
  const edges = [2 ** 30, -(2 ** 30) - 1, 2 ** 31, 2 ** 32, 2 ** 52, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]
  fc.assert(
    fc.property(fc.oneof(fc.maxSafeInteger(), fc.constantFrom(...edges)), (value) => {
      const bytes = new Uint8Array(10)
      const end = writeVarlong(bytes, 0, value)
      const cursor = new VarintCursor(bytes, 0, end)
      return cursor.varlong() === value && cursor.ok && cursor.at === end && varlongBytes(value) === end
    }),
  )
})

test('a varlong has the bytes that BigInt arithmetic gives', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      let zigzag = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n))
      const expected: number[] = []
      while (zigzag >= 0x80n) {
        expected.push(Number(zigzag & 0x7fn) | 0x80)
        zigzag >>= 7n
      }
      expected.push(Number(zigzag))
      const bytes = new Uint8Array(10)
      const end = writeVarlong(bytes, 0, value)
      assert.deepEqual([...bytes.subarray(0, end)], expected)
    }),
  )
})

test('what is no varint is a failure that stays, never an exception', () => {
  const bad: number[][] = [
    [],
    [0x80],
    [0xff, 0xff, 0xff, 0xff, 0xff],
    [0xff, 0xff, 0xff, 0xff, 0x1f],
    [0x80, 0x80, 0x80, 0x80, 0x80, 0],
  ]
  for (const bytes of bad) {
    const cursor = new VarintCursor(Uint8Array.from(bytes))
    assert.equal(cursor.varint(), 0)
    assert.equal(cursor.ok, false, `${bytes}`)
    assert.equal(cursor.at, cursor.end)
    cursor.varint()
    assert.equal(cursor.ok, false)
  }
})

test('a varlong beyond the safe integers or ten bytes is a failure', () => {
  for (const bytes of [new Array(9).fill(0xff).concat(1), new Array(11).fill(0x80), new Array(8).fill(0xff)]) {
    const cursor = new VarintCursor(Uint8Array.from(bytes))
    cursor.varlong()
    assert.equal(cursor.ok, false, `${bytes}`)
  }
})

test('a cursor does not read past its end', () => {
  const cursor = new VarintCursor(Uint8Array.of(0x80, 0x01), 0, 1)
  cursor.varint()
  assert.equal(cursor.ok, false)
})

test('skip refuses negative counts and more than is left', () => {
  const cursor = new VarintCursor(new Uint8Array(4))
  cursor.skip(4)
  assert.ok(cursor.ok)
  cursor.skip(1)
  assert.equal(cursor.ok, false)
  cursor.reset(new Uint8Array(4), 2, 4)
  cursor.skip(-1)
  assert.equal(cursor.ok, false)
})
