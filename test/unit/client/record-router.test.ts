/** Which partition a record goes to. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import { type Partitioner, RecordRouter } from '../../../src/client/record-router.ts'
import { hasCode } from '../../support/expect.ts'

const COUNT = 6
const LEADER = { leaderNodeId: 1, leaderEpoch: 1, offline: null, replicas: [1], inSync: [1] }
const partitions = Array.from({ length: COUNT }, () => LEADER)

function router(partitioner: Partitioner): RecordRouter {
  return new RecordRouter(new SeededPrng(7), partitioner)
}

function spread(partitioner: Partitioner, records: number, infos = partitions): number[] {
  const counts = infos.map(() => 0)
  const one = router(partitioner)
  for (let index = 0; index < records; index++) counts[one.route(undefined, null, infos)]!++
  return counts
}

test('sticky stays until its batch closes, and moves on then', () => {
  const one = router('sticky')
  const first = one.route(undefined, null, partitions)
  for (let index = 0; index < 100; index++) assert.equal(one.route(undefined, null, partitions), first)
  const seen = new Set<number>()
  for (let index = 0; index < 200; index++) {
    const partition = one.route(undefined, null, partitions)
    seen.add(partition)
    one.batchClosed(partition)
  }
  assert.equal(seen.size, COUNT)
})

test('partitions that drain are chosen by nobody but a record that names one', () => {
  for (const partitioner of ['sticky', 'random', 'round-robin'] as const) {
    const one = router(partitioner)
    for (let index = 0; index < 200; index++) {
      const partition = one.route(undefined, null, partitions, 2)
      assert.ok(partition < 2, partitioner)
      one.batchClosed(partition)
      assert.ok(one.route(undefined, `key ${index}`, partitions, 2) < 2)
    }
  }
  const before = router('sticky')
  while (before.route(undefined, null, partitions) < 2) before.batchClosed(before.route(undefined, null, partitions))
  assert.ok(before.route(undefined, null, partitions, 2) < 2, 'where it stuck drains by now')
  assert.equal(before.route(5, null, partitions, 2), 5)
  const counts: number[] = []
  router((_, count) => counts.push(count) - 1).route(undefined, 'k', partitions, 2)
  assert.deepEqual(counts, [2])
})

test('random draws for every record; round-robin goes through all in turn', () => {
  for (const count of spread('random', 6_000)) assert.ok(count > 800 && count < 1_200, `${count} of 6,000`)
  assert.deepEqual(spread('round-robin', 60), [10, 10, 10, 10, 10, 10])
})

test('partitions without a leader are passed over while any has one', () => {
  const infos = partitions.map((info, index) => (index % 2 === 0 ? info : { ...info, leaderNodeId: -1 }))
  for (const partitioner of ['sticky', 'random', 'round-robin'] as const)
    assert.deepEqual(
      spread(partitioner, 300, infos).map((count, index) => count > 0 && index % 2 === 1),
      infos.map(() => false),
      partitioner,
    )
  assert.deepEqual(spread('round-robin', 30, infos), [10, 0, 10, 0, 10, 0])
})

test('keys go by their murmur2 hash whatever the spread; a function decides for all', () => {
  const places = (['sticky', 'random', 'round-robin'] as const).map((partitioner) =>
    ['u1', 'u2', 'a longer key with ümläuts'].map((key) => router(partitioner).route(undefined, key, partitions)),
  )
  assert.deepEqual(places[1], places[0])
  assert.deepEqual(places[2], places[0])
  const custom = router((key, count) => (key === null ? 0 : count - 1))
  assert.equal(custom.route(undefined, 'u1', partitions), COUNT - 1)
  assert.equal(custom.route(undefined, null, partitions), 0)
  assert.equal(custom.route(3, 'u1', partitions), 3)
})

test('a partition that the topic does not have is refused, whoever named it', () => {
  for (const wrong of [-1, COUNT, 1.5, Number.NaN])
    assert.throws(
      () => router(() => wrong).route(undefined, 'k', partitions),
      hasCode('INVALID_ARGUMENT', /partitions 0 to 5/),
    )
  assert.throws(() => router('random').route(COUNT, null, partitions), hasCode('INVALID_ARGUMENT', /partition 6/))
})
