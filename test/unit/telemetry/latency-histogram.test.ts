/** What the broker's own histogram writes out is what prom-client's writes of the same observations. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Histogram, Registry } from 'prom-client'
import { LatencyHistogram } from '../../../src/telemetry/latency-histogram.ts'

test('the text of a scrape is that of a histogram of prom-client: bounds hold what equals them, and what is beyond all counts', async () => {
  const bounds = [0.001, 0.5, 2]
  const [name, help] = ['request_seconds', 'time']
  const registry = new Registry()
  const histogram = new LatencyHistogram({ name, help, bounds })
  histogram.register(registry)
  const theirs = new Registry()
  const other = new Histogram({ name, help, buckets: bounds, labelNames: ['request'], registers: [theirs] })
  for (const [request, seconds] of [
    ['produce', 0.0005],
    ['produce', 0.001],
    ['fetch', 0.25],
    ['produce', 2],
    ['produce', 2.5],
  ] as const) {
    histogram.observe(request, seconds)
    other.observe({ request }, seconds)
  }
  const lines = (await registry.metrics()).split('\n')
  assert.ok(lines.includes('request_seconds_bucket{le="+Inf",request="produce"} 4'))
  assert.ok(lines.includes('request_seconds_bucket{le="0.001",request="produce"} 2'))
  assert.deepEqual(lines.toSorted(), (await theirs.metrics()).split('\n').toSorted())
})
