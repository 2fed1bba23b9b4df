/** Flags of `millrace bench` into a plan. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BENCH_FLAGS, BENCH_KINDS, benchPlanOf, sharesOf, unusedFlags } from '../../../src/cli/bench/bench-plan.ts'
import { UsageError } from '../../../src/cli/errors.ts'

test('defaults: a million records of 1 KiB by the fast path, latency for ten seconds at a thousand a second', () => {
  const common = { profile: undefined, recordBytes: 1024, partitions: undefined }
  const written = { ...common, api: 'enqueue', records: 1_000_000, seconds: undefined, ratePerSec: undefined }
  assert.deepEqual(benchPlanOf('produce', {}), { ...written, kind: 'produce', producers: undefined })
  assert.deepEqual(benchPlanOf('shards', {}), { ...written, kind: 'shards', producers: undefined })
  const read = { api: 'batches', records: 1_000_000, seconds: undefined, consumers: 1 }
  assert.deepEqual(benchPlanOf('consume', {}), { ...common, ...read, kind: 'consume' })
  const latency = { ratePerSec: 1000, records: 10_000, producers: 1, consumers: 1 }
  assert.deepEqual(benchPlanOf('latency', {}), { ...common, ...latency, kind: 'latency' })
})

test('latency: the seconds bound the records, the records alone may be more than ten seconds of them', () => {
  const recordsOf = (flags: Parameters<typeof benchPlanOf>[1]): number => benchPlanOf('latency', flags).records
  assert.equal(recordsOf({ seconds: '3', rate: '50' }), 150)
  assert.equal(recordsOf({ seconds: '3', rate: '50', records: '100' }), 100)
  assert.equal(recordsOf({ records: '123456' }), 123_456)
})

test('produce: with seconds alone the time ends it, with both whichever is first', () => {
  assert.ok(benchPlanOf('produce', { seconds: '2' }).records > 1e9)
  assert.equal(benchPlanOf('produce', { seconds: '2', records: '7' }).records, 7)
})

test('what was typed wrong names the flag and what is expected', () => {
  const cases: [(typeof BENCH_KINDS)[number], Parameters<typeof benchPlanOf>[1], RegExp][] = [
    ['produce', { api: 'iterate' }, /--api: expected enqueue or send, not 'iterate'/],
    ['consume', { api: 'enqueue' }, /--api: expected batches or iterate/],
    ['produce', { profile: 'fast' }, /--profile: expected balanced or throughput or latency, not 'fast'/],
    ['consume', { size: '15' }, /--size: expected an integer from 16 to/],
    ['latency', { seconds: '0' }, /--seconds: expected an integer from 1/],
    ['shards', { producers: 'many' }, /--producers: expected an integer/],
  ]
  for (const [kind, flags, text] of cases)
    assert.throws(
      () => benchPlanOf(kind, flags),
      (error) => error instanceof UsageError && text.test(error.message),
    )
})

test('every flag is of use to some kind; what is of none is told', () => {
  for (const flag of BENCH_FLAGS)
    assert.ok(
      BENCH_KINDS.some((kind) => unusedFlags(kind, { [flag]: '1' }).length === 0),
      flag,
    )
  assert.deepEqual(unusedFlags('consume', { rate: '2', producers: '1', records: '3' }), ['--rate', '--producers'])
  assert.deepEqual(unusedFlags('latency', { rate: '2', producers: '1' }), [])
})

test('shares add up and differ by one at most', () => {
  for (const [total, parts] of [
    [10, 3],
    [3, 10],
    [1_000_000, 7],
    [0, 2],
  ] as const) {
    const shares = sharesOf(total, parts)
    assert.equal(shares.length, parts)
    assert.equal(
      shares.reduce((sum, share) => sum + share, 0),
      total,
    )
    assert.ok(Math.max(...shares) - Math.min(...shares) <= 1)
  }
})
