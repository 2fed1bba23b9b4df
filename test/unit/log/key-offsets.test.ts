import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Encode } from '../../../src/base/bytes.ts'
import { KEY_OFFSET_BYTES, KeyOffsets } from '../../../src/log/key-offsets.ts'
import { SEED } from '../../support/compaction-fixture.ts'

function put(keys: KeyOffsets, key: string, offset: number): boolean {
  const bytes = utf8Encode(`..${key}..`)
  return keys.put(bytes, 2, bytes.length - 4, offset)
}

function get(keys: KeyOffsets, key: string): number {
  const bytes = utf8Encode(key)
  return keys.get(bytes, 0, bytes.length)
}

test('a table of many keys says what a Map says, while it grows', () => {
  const keys = new KeyOffsets({ memoryBytesMax: 1 << 22, seed: SEED })
  const model = new Map<string, number>()
  for (let offset = 0; offset < 100_000; offset++) {
    const key = `key-${(offset * 7919) % 30_011}`
    assert.ok(put(keys, key, offset))
    model.set(key, offset)
  }
  assert.equal(keys.count, model.size)
  for (const [key, offset] of model) assert.equal(get(keys, key), offset)
  assert.equal(get(keys, 'another'), -1)
  assert.ok(keys.memoryBytes <= 1 << 22)
})

test('the highest offset counts, whatever comes last', () => {
  const keys = new KeyOffsets({ memoryBytesMax: 4096, seed: SEED })
  put(keys, 'a', 9)
  put(keys, 'a', 3)
  put(keys, '', 0)
  assert.equal(get(keys, 'a'), 9)
  assert.equal(get(keys, ''), 0)
})

test('full: a new key is not taken, a known one is', () => {
  const keys = new KeyOffsets({ memoryBytesMax: 16 * KEY_OFFSET_BYTES + 5, seed: SEED })
  for (let index = 0; index < keys.countMax; index++) assert.ok(put(keys, `${index}`, index))
  assert.equal(keys.countMax, 12)
  assert.equal(put(keys, 'one more', 99), false)
  assert.equal(get(keys, 'one more'), -1)
  assert.equal(put(keys, '3', 99), true)
  assert.equal(get(keys, '3'), 99)
})
