/** The logic of the benches' harness: options, statistics, results that can be true, reports, comparison with a baseline. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { checkResult } from '../../../native-free-bench/harness/check-result.ts'
import { type BenchDocument, compare, parseDocument, worseThan } from '../../../native-free-bench/harness/comparison.ts'
import { benchOptions } from '../../../native-free-bench/harness/options.ts'
import { type Figure, Report } from '../../../native-free-bench/harness/report.ts'
import { formatCount, percentile, spreadOf, spreadText } from '../../../native-free-bench/harness/statistics.ts'
import { type BenchResult, newLatency, recordMs, resultOf } from '../../../src/cli/bench/bench-result.ts'

test('options: what is given wins, smoke makes the rest small, text that is no number is an error', () => {
  const full = benchOptions(['--runs', '3', '--json'])
  assert.deepEqual([full.smoke, full.json], [false, true])
  assert.deepEqual([full.number('runs', 5, 1), full.number('mib', 2048, 16)], [3, 2048])
  const smoke = benchOptions(['--smoke', '--runs', '3', '--name', 'x'])
  assert.deepEqual([smoke.number('runs', 5, 1), smoke.number('mib', 2048, 16)], [3, 16])
  assert.deepEqual([smoke.text('name', ''), smoke.text('other', 'default')], ['x', 'default'])
  assert.throws(() => benchOptions(['--runs', 'many']).number('runs', 5, 1), /--runs 'many' is not a number/)
})

test('median, least and greatest; percentiles; figures as text', () => {
  assert.deepEqual(spreadOf([3, 1, 2]), { median: 2, min: 1, max: 3 })
  assert.deepEqual(spreadOf([4, 1, 2, 3]), { median: 2.5, min: 1, max: 4 })
  assert.equal(spreadText(spreadOf([10, 2])), '6.0 (2.0–10.0)')
  const samples = Float64Array.from({ length: 1000 }, (_, index) => 1000 - index)
  assert.deepEqual([percentile(samples, 0.5), percentile(samples, 0.99), percentile(samples, 1)], [501, 991, 1000])
  assert.ok(Number.isNaN(percentile(new Float64Array(0), 0.5)))
  assert.deepEqual([123_456.7, 12.345, 0.012345, 0].map(formatCount), ['123,457', '12.3', '0.0123', '0'])
})

function soundResult(changes: Partial<BenchResult> = {}): BenchResult {
  const latency = newLatency()
  for (const ms of [1, 2, 3, 90]) recordMs(latency, ms)
  const measured = { records: 10, bytes: 1000, seconds: 2, checksum: 7, latency, durability: 'fsynced' } as const
  return { ...resultOf(measured, { profile: 'balanced', acks: 'all' }), ...changes }
}

test('a result that cannot be true is refused, and the field is named', () => {
  checkResult(soundResult())
  const cases: [Partial<BenchResult>, RegExp][] = [
    [{ records: 0 }, /^Error: records is 0/],
    [{ checksum: 0 }, /checksum is 0/],
    [{ p99Ms: Number.NaN }, /p99Ms/],
    [{ p50Ms: 100 }, /percentiles must not fall/],
    [{ recordsPerSec: 6 }, /recordsPerSec: 6 is not 5/],
    [{ mibPerSec: 1 }, /mibPerSec/],
    [{ fsync: 'unknown' }, /fsync: 'unknown' is none of group, interval/],
    [{ acks: 'none' }, /acks/],
  ]
  for (const [change, text] of cases) assert.throws(() => checkResult(soundResult(change)), text)
  const { maxMs: _, ...cut } = soundResult()
  assert.throws(() => checkResult(cut as BenchResult), /maxMs: undefined/)
})

test('a report writes text or JSON lines, keeps figures in a file, and refuses what is no figure', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-report-'))
  const file = join(folder, 'figures')
  try {
    const lines: string[] = []
    const text = new Report('macro/x', benchOptions(['--figures', file]), (line) => lines.push(line))
    text.result('not shown', soundResult())
    text.figure('rate', [3, 1, 2], { unit: 'k/s', better: 'higher' })
    assert.match(lines.join('\n'), /^ {2}rate +2\.0 \(1\.0–3\.0\) k\/s$/)
    const figure: Figure = JSON.parse(readFileSync(file, 'utf8'))
    const spread = { median: 2, min: 1, max: 3, values: [3, 1, 2] }
    assert.deepEqual(figure, { bench: 'macro/x', figure: 'rate', unit: 'k/s', better: 'higher', ...spread })
    lines.length = 0
    const json = new Report('macro/x', benchOptions(['--json']), (line) => lines.push(line))
    json.result('run', soundResult())
    json.note('a note')
    json.figure('rate', [3, 1, 2], { unit: 'k/s', better: 'higher' })
    const [result, note, last] = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
    assert.deepEqual([result!.bench, result!.result, result!.records], ['macro/x', 'run', 10])
    assert.deepEqual([note!.note, last], ['a note', figure])
    for (const values of [[], [Number.NaN], [1, Number.POSITIVE_INFINITY]])
      assert.throws(() => json.figure('rate', values, { unit: '', better: 'lower' }), /^Error: rate: /)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

function figureOf(name: string, values: readonly number[], better: Figure['better']): Figure {
  return { bench: 'macro/x', figure: name, unit: 'u', better, ...spreadOf(values), values }
}

function documentOf(figures: readonly Figure[], machine: Record<string, unknown> = { cores: 2 }): BenchDocument {
  return { machine, isSmoke: false, figures }
}

test('a comparison: ratios above 1 are better either way, overlapping ranges are noise', () => {
  const baseline = documentOf([
    figureOf('rate', [100, 110, 120], 'higher'),
    figureOf('latency', [1, 2, 3], 'lower'),
    figureOf('noisy', [1, 5, 9], 'higher'),
    figureOf('gone', [1], 'higher'),
  ])
  const run = documentOf(
    [
      figureOf('rate', [50, 55, 60], 'higher'),
      figureOf('latency', [0.5, 0.5, 0.8], 'lower'),
      figureOf('noisy', [1, 2, 3], 'higher'),
      figureOf('new', [1], 'higher'),
    ],
    { cores: 4 },
  )
  const comparison = compare(baseline, run)
  assert.deepEqual(
    comparison.figures.map(({ name, ratio, isNoise }) => [name, ratio, isNoise]),
    [
      ['macro/x rate', 0.5, false],
      ['macro/x latency', 4, false],
      ['macro/x noisy', 0.4, true],
    ],
  )
  assert.deepEqual([comparison.added, comparison.missing], [['macro/x new'], ['macro/x gone']])
  assert.deepEqual(comparison.machines, ['cores'])
  assert.deepEqual(
    worseThan(comparison, 0.8).map(({ name }) => name),
    ['macro/x rate'],
  )
  assert.deepEqual(worseThan(comparison, 0.5), [])
})

test('equal figures are equal, zeros included', () => {
  const zero = documentOf([figureOf('errors', [0, 0], 'lower')])
  assert.equal(compare(zero, zero).figures[0]!.ratio, 1)
})

test('what is no such document is refused by name', () => {
  assert.throws(() => parseDocument('run.json', 'nonsense'), /run\.json is not JSON/)
  for (const text of ['null', '[]', '{"figures":1}'])
    assert.throws(() => parseDocument('run.json', text), /run\.json has no machine and figures/)
})
