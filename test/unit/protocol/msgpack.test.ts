import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import { findMsgpackFault, MSGPACK_DEPTH_MAX, pack, unpackUntrusted } from '../../../src/protocol/msgpack.ts'

const samples: unknown[] = [
  0,
  -1,
  127,
  128,
  65_535,
  2 ** 31,
  -(2 ** 31),
  2 ** 40,
  Number.MAX_SAFE_INTEGER,
  0.5,
  true,
  false,
  null,
  '',
  'x'.repeat(31),
  'x'.repeat(300),
  'ü'.repeat(70_000),
  [],
  [1, 'two', [3, [4]]],
  {},
  { a: '1', b: { c: [1] } },
  Array.from({ length: 20 }, (_, index) => index),
  Array.from({ length: 70_000 }, (_, index) => index),
  Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`key-${index}`, index])),
]

test('values come back as they were, and the guard lets them through', () => {
  for (const sample of samples) assert.deepEqual(unpackUntrusted(pack(sample)), sample)
  assert.deepEqual([...(unpackUntrusted(pack(Uint8Array.of(1, 2, 3))) as Uint8Array)], [1, 2, 3])
})

test('every proper prefix and every value with a byte too many is refused', () => {
  for (const sample of samples) {
    const packed = pack(sample)
    const step = Math.max(1, Math.floor(packed.length / 200))
    for (let end = 0; end < packed.length; end += step)
      assert.notEqual(findMsgpackFault(packed.subarray(0, end)), undefined, `prefix ${end} of ${packed.length}`)
    assert.match(findMsgpackFault(Uint8Array.from([...packed.subarray(), 0]))!, /bytes too many/)
  }
})

test('a declared count beyond the bytes left is refused before anything is built', () => {
  const before = process.memoryUsage().rss
  const hostile = {
    'array32 of 2^32-1': [0xdd, 255, 255, 255, 255],
    'array32 of 30 million': [0xdd, 1, 0xc9, 0xc3, 0x80],
    array16: [0xdc, 255, 255],
    fixarray: [0x9f, 0],
    map32: [0xdf, 255, 255, 255, 255],
    map16: [0xde, 255, 255],
    'text of 4 GiB': [0xdb, 255, 255, 255, 255],
    'bytes of 4 GiB': [0xc6, 255, 255, 255, 255],
    fixstr: [0xbf, 0x61],
  }
  for (let round = 0; round < 100; round++)
    for (const [name, bytes] of Object.entries(hostile))
      assert.throws(() => unpackUntrusted(Uint8Array.from(bytes)), { code: 'INVALID_REQUEST' }, name)
  assert.ok(process.memoryUsage().rss - before < 64 * 1024 * 1024)
})

test('extensions, the unused byte and deep nesting are refused', () => {
  for (const bytes of [
    [0xc1],
    [0xd4, 0x72, 0x40],
    [0xc7, 1, 0x72, 1],
    [0xd6, 255, 0, 0, 0, 0],
    [0xd8, ...new Array(17).fill(0)],
  ])
    assert.match(findMsgpackFault(Uint8Array.from(bytes))!, /not allowed/)
  const nested = (depth: number) => Uint8Array.from([...new Array(depth).fill(0x91), 0])
  assert.equal(findMsgpackFault(nested(MSGPACK_DEPTH_MAX)), undefined)
  assert.match(findMsgpackFault(nested(MSGPACK_DEPTH_MAX + 1))!, /nested deeper/)
  assert.match(findMsgpackFault(nested(1_000_000))!, /nested deeper/)
})

test('random and mutated bytes: INVALID_REQUEST or a value, nothing else', () => {
  const seed = Number(process.env.MILLRACE_SEED ?? Date.now() % 1_000_000)
  const prng = new SeededPrng(seed)
  for (let round = 0; round < 20_000; round++) {
    const bytes = prng.below(2) === 0 ? pack(samples[prng.below(14)]).slice() : new Uint8Array(prng.below(40))
    for (let changes = prng.below(8) + 1; changes > 0 && bytes.length > 0; changes--)
      bytes[prng.below(bytes.length)] = prng.below(256)
    try {
      unpackUntrusted(bytes)
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'INVALID_REQUEST', `MILLRACE_SEED=${seed}`)
    }
  }
})
