/** Delays between attempts: they grow to their bound, and no two clients come back in step. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import { backoffMs } from '../../../src/client/backoff.ts'

const OPTIONS = { delayMsMin: 50, delayMsMax: 2_000 }

test('a delay lies in the upper half of what doubles with every failure, at most delayMsMax', () => {
  const prng = new SeededPrng(1)
  assert.equal(backoffMs(prng, 0, OPTIONS), 0)
  for (let failures = 1; failures < 2_000; failures++) {
    const full = Math.min(2_000, 50 * 2 ** (failures - 1))
    const delayMs = backoffMs(prng, failures, OPTIONS)
    assert.ok(delayMs >= full / 2 && delayMs <= full, `${delayMs} ms after ${failures} failures`)
  }
})

test('delays are spread over that half, each client by chance of its own', () => {
  const delays = Array.from({ length: 1_000 }, (_, seed) => backoffMs(new SeededPrng(seed), 3, OPTIONS))
  const quarters = [0, 0, 0, 0]
  for (const delayMs of delays) quarters[Math.min(3, Math.floor((delayMs - 100) / 25))]!++
  for (const count of quarters) assert.ok(count > 150, `${quarters} of 1,000 in each quarter`)
})
