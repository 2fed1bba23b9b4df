/** What Kafka's consumers say to each other, read leniently. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import { partitionsOfAssignment, topicsOfSubscription } from '../../../src/group/embedded-protocol.ts'
import { assignmentOf, subscriptionOf } from '../../support/classic-fixture.ts'

test('topics and partitions are read, whatever follows them', () => {
  assert.deepEqual(topicsOfSubscription(subscriptionOf('a', 'b.c')), ['a', 'b.c'])
  assert.deepEqual(topicsOfSubscription(subscriptionOf()), [])
  const later = new Uint8Array([...subscriptionOf('a'), 1, 2, 3])
  later[1] = 9
  assert.deepEqual(topicsOfSubscription(later), ['a'])
  assert.deepEqual(partitionsOfAssignment(assignmentOf({ a: [0, 5], b: [] })), [
    { topic: 'a', partitions: [0, 5] },
    { topic: 'b', partitions: [] },
  ])
  assert.deepEqual(partitionsOfAssignment(new Uint8Array(0)), [])
})

test('other bytes are undefined, never thrown', () => {
  for (const bytes of [[], [0], [255, 255, 0, 0, 0, 0], [0, 0, 255, 255, 255, 255], [0, 0, 127, 255, 255, 255]])
    assert.equal(topicsOfSubscription(new Uint8Array(bytes)), undefined, String(bytes))
  assert.equal(topicsOfSubscription(subscriptionOf('not a topic')), undefined)
  assert.equal(partitionsOfAssignment(assignmentOf({ a: [-1] })), undefined)
  const prng = new SeededPrng(3)
  for (let round = 0; round < 5_000; round++) {
    const bytes = new Uint8Array(round % 2 === 0 ? subscriptionOf('abc', 'def') : assignmentOf({ abc: [1, 2, 3] }))
    bytes[prng.below(bytes.length)] = prng.below(256)
    const cut = bytes.subarray(0, prng.below(bytes.length + 1))
    topicsOfSubscription(cut)
    partitionsOfAssignment(cut)
  }
})
