import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BurstClock } from '../../../src/base/burst-clock.ts'

test('the clock is looked at once in a burst, anew in the next task, and after 256 answers', async () => {
  let nowMs = 1000
  let looks = 0
  const look = () => {
    looks++
    return nowMs++
  }
  const clock = { nowMs: look, monotonicMs: () => 0 }
  const burst = new BurstClock(clock)
  for (let count = 0; count < 256; count++) assert.equal(burst.nowMs(), 1000)
  assert.equal(looks, 1)
  assert.equal(burst.nowMs(), 1001)
  assert.equal(burst.nowMs(), 1001)
  await Promise.resolve()
  assert.equal(burst.nowMs(), 1002)
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(burst.nowMs(), 1003)
  assert.equal(looks, 4)
})
