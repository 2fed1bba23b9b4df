import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HalfSipHash } from '../../../src/base/half-sip-hash.ts'

/** Of the reference implementation: key 00 … 07, input 00, 01 … of so many bytes, tag of eight bytes. */
const VECTORS = [
  '218d1f59b9b83cc8',
  'be552412f8387315',
  '064f39ef7c50eb57',
  'ce0f1a45f7060679',
  'd5e78a175be52ea1',
  'cb9d7c3f2f3db580',
  'ce3e91358aa2bc25',
  'ff202728b07bc684',
  'edfee820bce4858c',
  '5b51cccc13888307',
  '95b0469f06a6f2ee',
  'ae26333994ddcd48',
  '7bc71f9faef5c799',
  '5a2352d75a0c3744',
  '3bb1a870eae8e658',
]

function tagOf(hash: HalfSipHash): string {
  const view = new DataView(new ArrayBuffer(8))
  view.setUint32(0, hash.low, true)
  view.setUint32(4, hash.high, true)
  return Buffer.from(view.buffer).toString('hex')
}

test('the published vectors', () => {
  const hash = new HalfSipHash(0x03020100, 0x07060504)
  const input = Uint8Array.from({ length: 64 }, (_, index) => index)
  for (const [bytes, tag] of VECTORS.entries()) {
    hash.hash(input, 0, bytes)
    assert.equal(tagOf(hash), tag, `${bytes} bytes`)
  }
})

test('bytes are hashed where they lie', () => {
  const hash = new HalfSipHash(1, 2)
  const bytes = Uint8Array.from({ length: 40 }, (_, index) => index * 7)
  hash.hash(bytes.slice(5, 24), 0, 19)
  const expected = tagOf(hash)
  hash.hash(bytes, 5, 24)
  assert.equal(tagOf(hash), expected)
})
