/** How cores become shards, and when a shard may spin. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { planThreads } from '../../../src/config/index.ts'

const plan = (shards: 'auto' | number, spinMicroseconds: number, cores: number) => {
  const planned = planThreads({ shards, shard: { spinMicroseconds } }, cores)
  return [planned.shards, planned.spinMicroseconds, planned.isSpinRefused]
}

test('a core for the sockets, the others for shards', () => {
  assert.deepEqual(plan('auto', 0, 1), [1, 0, false])
  assert.deepEqual(plan('auto', 0, 2), [1, 0, false])
  assert.deepEqual(plan('auto', 0, 8), [7, 0, false])
  assert.deepEqual(plan(12, 0, 2), [12, 0, false])
})

test('threads spin only where a core is left over; auto leaves one', () => {
  assert.deepEqual(plan('auto', 50, 2), [1, 0, true])
  assert.deepEqual(plan('auto', 50, 3), [1, 0, true])
  assert.deepEqual(plan('auto', 50, 4), [1, 50, false])
  assert.deepEqual(plan('auto', 50, 8), [3, 50, false])
  assert.deepEqual(plan(4, 50, 9), [4, 0, true])
  assert.deepEqual(plan(4, 50, 10), [4, 50, false])
})
