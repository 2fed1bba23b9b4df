/**
 * Compares a run with a baseline: ratios above 1 are better; where the runs' ranges overlap the difference is marked as noise.
 *
 *   npm run bench -- --full --out run.json
 *   npm run bench:compare -- run.json [BASELINE] [--fail-below 0.8]
 *
 * Without BASELINE: native-free-bench/baselines/reference.json. Exit code 1 when a figure is below --fail-below beyond its noise,
 * 2 when it could not be compared.
 */
import { readFileSync } from 'node:fs'
import { type BenchDocument, type ComparedFigure, compare, parseDocument, worseThan } from './harness/comparison.ts'
import { formatCount } from './harness/statistics.ts'

const REFERENCE = 'native-free-bench/baselines/reference.json'

function main(words: readonly string[]): number {
  const at = words.indexOf('--fail-below')
  const below = at < 0 ? 0 : Number(words[at + 1])
  const files = at < 0 ? words : words.toSpliced(at, 2)
  const [runFile, baselineFile = REFERENCE] = files
  if (runFile === undefined || files.length > 2 || !Number.isFinite(below))
    throw new Error('usage: npm run bench:compare -- RUN.json [BASELINE.json] [--fail-below 0.8]')
  const [run, baseline] = [load(runFile), load(baselineFile)]
  const comparison = compare(baseline, run)
  if (run.isSmoke || baseline.isSmoke) console.log('one of the two is a smoke run: its figures say nothing about speed')
  if (comparison.machines.length > 0) console.log(`the machines differ: ${comparison.machines.join(', ')}`)
  for (const figure of comparison.figures) console.log(lineOf(figure))
  for (const name of comparison.added) console.log(`  new      ${name}`)
  if (comparison.missing.length > 0) console.log(`  ${comparison.missing.length} figures of the baseline were not run`)
  if (comparison.figures.length === 0) throw new Error('the two have no figure in common')
  const worse = worseThan(comparison, below)
  for (const { name, ratio } of worse) console.log(`WORSE ${name}: ${ratio.toFixed(2)} of the baseline`)
  return worse.length === 0 ? 0 : 1
}

function load(file: string): BenchDocument {
  return parseDocument(file, readFileSync(file, 'utf8'))
}

function lineOf({ name, unit, baseline, run, ratio, isNoise }: ComparedFigure): string {
  const values = `${formatCount(baseline)} → ${formatCount(run)} ${unit}`
  return `  ${ratio.toFixed(2).padStart(6)}${isNoise ? ' ~' : '  '} ${name}: ${values}`
}

try {
  process.exitCode = main(process.argv.slice(2))
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = 2
}
