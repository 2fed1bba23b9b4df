/** Parts of `millrace bench` that decide something: results, merging, pace, the records sent. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  fsyncOf,
  latencySummary,
  type Measured,
  mergeMeasured,
  newLatency,
  recordMs,
  resultOf,
} from '../../../src/cli/bench/bench-result.ts'
import { RatePace } from '../../../src/cli/bench/rate-pace.ts'
import { RecordPool, touch } from '../../../src/cli/bench/record-pool.ts'
import { checkSame } from '../../../src/cli/bench/run-bench.ts'
import { shareOf } from '../../../src/cli/bench/shards-workload.ts'

function measured(changes: Partial<Measured> = {}): Measured {
  return { records: 10, bytes: 1000, seconds: 2, checksum: 7, latency: newLatency(), durability: 'fsynced', ...changes }
}

test('a result has the fixed fields, in their order', () => {
  const latency = newLatency()
  for (let ms = 1; ms <= 1000; ms++) recordMs(latency, ms)
  const result = resultOf(measured({ bytes: 4 << 20, latency }), { profile: 'latency', acks: 'all' })
  assert.deepEqual(
    Object.keys(result),
    'records bytes seconds recordsPerSec mibPerSec p50Ms p99Ms p999Ms maxMs checksum profile fsync acks'.split(' '),
  )
  assert.deepEqual([result.recordsPerSec, result.mibPerSec], [5, 2])
  assert.deepEqual([result.profile, result.fsync, result.acks], ['latency', 'group', 'all'])
  for (const [value, expected] of [
    [result.p50Ms, 500],
    [result.p99Ms, 990],
    [result.p999Ms, 999],
    [result.maxMs, 1000],
  ] as const)
    assert.ok(Math.abs(value - expected) <= expected * 0.002, `${value} is not about ${expected}`)
})

test('without samples the percentiles are 0, and what is below a nanosecond counts as one', () => {
  assert.deepEqual(latencySummary(newLatency()), { p50Ms: 0, p99Ms: 0, p999Ms: 0, maxMs: 0 })
  const latency = newLatency()
  recordMs(latency, 0)
  assert.equal(latency.count, 1)
  assert.equal(latencySummary(latency).maxMs, 1e-6)
})

test('clients beside each other: sums, the seconds of the whole, all their samples', () => {
  const [left, right] = [newLatency(), newLatency()]
  recordMs(left, 1)
  recordMs(right, 100)
  const merged = mergeMeasured(
    [
      measured({ latency: left, durability: undefined }),
      measured({ records: 5, checksum: 1, latency: right, durability: 'written' }),
    ],
    3,
  )
  const { records, bytes, seconds, checksum, latency, durability } = merged
  assert.deepEqual([records, bytes, seconds, checksum, durability], [15, 2000, 3, 8, 'written'])
  assert.equal(latency.count, 2)
})

test('the policy is told by the receipts', () => {
  const policies = [undefined, 'none', 'written', 'fsynced', 'replicated'] as const
  assert.deepEqual(policies.map(fsyncOf), ['unknown', 'unknown', 'interval', 'group', 'group'])
})

test('a rate is even, late events are made up for, and no more are given than asked for', () => {
  const pace = new RatePace(2000, 100)
  assert.equal(pace.take(100, 10), 0)
  assert.equal(pace.take(101, 10), 2)
  assert.equal(pace.take(101.4, 10), 0)
  assert.equal(pace.take(111, 10), 10)
  assert.equal(pace.take(111, 100), 10)
})

test('records have the size asked for, random keys, and a checksum that their bytes give again', () => {
  const pool = new RecordPool({ recordBytes: 100, seed: 3, partitions: [4, 7] })
  const keys = new Set<string>()
  for (let index = 0; index < 1000; index++) {
    const { key, value, partition, touched } = pool.next()
    assert.equal(key.length + value.length, 100)
    assert.equal(partition, index % 2 === 0 ? 4 : 7)
    assert.equal(touched, touch(key, value))
    keys.add(Buffer.from(key).toString('hex'))
  }
  assert.ok(keys.size > 990)
  const other = new RecordPool({ recordBytes: 100, seed: 4 }).next()
  assert.equal(other.partition, undefined)
  assert.notDeepEqual(other.key, new RecordPool({ recordBytes: 100, seed: 3 }).next().key)
})

test('what is consumed must be what was produced', () => {
  checkSame(measured(), measured({ seconds: 9 }))
  for (const change of [{ records: 9 }, { bytes: 1 }, { checksum: 8 }])
    assert.throws(() => checkSame(measured(), measured(change)), /were produced/)
})

test('a share of time', () => {
  assert.equal(shareOf(3_000_000, 1_000_000, 4000), 0.5)
  assert.equal(shareOf(9_000_000, 1_000_000, 4000), 1)
  assert.equal(shareOf(undefined, 1, 1), null)
})
