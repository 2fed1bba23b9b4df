/** smallestAfter against sorting everything. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { smallestAfter } from '../../../src/base/smallest-after.ts'

test('the page behind a key is what sorting everything would give', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(200)),
      fc.integer({ min: -1, max: 200 }),
      fc.integer({ min: 1, max: 9 }),
      (keys, after, countMax) => {
        const isWanted = (key: number): boolean => key % 3 !== 0
        const sorted = keys.filter((key) => key > after && isWanted(key)).sort((left, right) => left - right)
        assert.deepEqual(smallestAfter(keys, { after, countMax, isWanted }), sorted.slice(0, countMax))
      },
    ),
  )
})

test('pages one after the other are all keys, once', () => {
  const keys = Array.from({ length: 57 }, (_, index) => `k${(index * 31) % 57}`)
  const seen: string[] = []
  for (let after = ''; ; ) {
    const page = smallestAfter(keys, { after, countMax: 10 })
    seen.push(...page)
    if (page.length < 10) break
    after = page.at(-1)!
  }
  assert.deepEqual(seen, keys.toSorted())
})
