import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { utf8Encode } from '../../../src/base/bytes.ts'
import { plainUtf8Write, useUtf8Write, utf8Bytes, utf8Write } from '../../../src/base/utf8-write.ts'

/** Any sequence of UTF-16 code units, lone surrogates included, in short and long. */
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({ unit: 'binary-ascii', maxLength: 60 }),
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 60 }).map((units) => String.fromCharCode(...units)),
)

for (const make of ['plain', 'native'] as const) {
  test(`the ${make} make writes what TextEncoder does, where it is told to`, async () => {
    if (make === 'native') await import('../../../src/base/node/native-utf8.ts')
    else useUtf8Write(plainUtf8Write)
    fc.assert(
      fc.property(text, fc.nat(40), fc.boolean(), (text, at, isShared) => {
        const expected = utf8Encode(text)
        const bytes = 60 * 3 + 60
        const target = new Uint8Array(isShared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes), 7).fill(0xaa)
        assert.equal(utf8Write(target, at, text), expected.length)
        assert.deepEqual([...target.subarray(at, at + expected.length)], [...expected])
        assert.ok(target.subarray(0, at).every((byte) => byte === 0xaa))
        assert.equal(utf8Bytes(text), expected.length)
      }),
    )
  })
}

test('a make that writes other bytes is refused', () => {
  assert.throws(() => useUtf8Write((target, at) => target.fill(1, at, at + 13) && 13), /UTF-8/)
})
