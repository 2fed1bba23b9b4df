import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32c as nativeCrc32c } from '@node-rs/crc32'
import fc from 'fast-check'
import { utf8Encode } from '../../../src/base/bytes.ts'
import { crc32c, plainCrc32c, useCrc32c } from '../../../src/base/crc32c.ts'

test('check values of RFC 3720, B.4', () => {
  const vectors: [Uint8Array, number][] = [
    [utf8Encode('123456789'), 0xe3069283],
    [new Uint8Array(0), 0],
    [new Uint8Array(32), 0x8a9136aa],
    [new Uint8Array(32).fill(0xff), 0x62a8ab43],
    [Uint8Array.from({ length: 32 }, (_, index) => index), 0x46dd794e],
    [Uint8Array.from({ length: 32 }, (_, index) => 31 - index), 0x113fdb5c],
  ]
  for (const [bytes, crc] of vectors) assert.equal(plainCrc32c(bytes), crc)
})

test('the plain make agrees with the native one, whole and continued from any place', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (bytes, cut) => {
      const whole = plainCrc32c(bytes)
      assert.equal(whole, nativeCrc32c(bytes))
      assert.equal(plainCrc32c(bytes.subarray(cut), plainCrc32c(bytes.subarray(0, cut))), whole)
    }),
  )
})

test('a make that gives another check value is refused', () => {
  assert.throws(() => useCrc32c(() => 1), /check value/)
  assert.equal(crc32c(utf8Encode('123456789')), 0xe3069283)
})
