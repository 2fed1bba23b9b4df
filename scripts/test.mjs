#!/usr/bin/env node
/**
 * Runs the test suites one after the other on node:test, each with its time budget, and ends with what was skipped.
 *
 *   node scripts/test.mjs all | full | SUITE [--only FILE] [--seconds S] [--seed N] [--COUNT N]…
 *
 * Randomised suites run for a budget (MILLRACE_BUDGET_MS), print their seed and the count they reached, and never fail
 * for being slow. `full` gives them the larger sizes of docs/proofs.md. A count that is asked for (a row of COUNTS) is run to
 * its end, in the files that know it and no others. Options reach the suites as environment variables.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'

/** folder, budget per test file in `all` (ms), in `full` (ms), most files at once */
const SUITES = {
  tidy: { budgetMs: 10_000, fullMs: 10_000, parallel: 2 },
  unit: { budgetMs: 2_000, fullMs: 20_000, parallel: 2 },
  golden: { budgetMs: 2_000, fullMs: 2_000, parallel: 2 },
  contract: { budgetMs: 2_000, fullMs: 20_000, parallel: 2 },
  scenario: { budgetMs: 5_000, fullMs: 30_000, parallel: 1 },
  simulation: { budgetMs: 60_000, fullMs: 300_000, parallel: 1 },
  crash: { budgetMs: 25_000, fullMs: 300_000, parallel: 1 },
  stress: { budgetMs: 8_000, fullMs: 60_000, parallel: 1 },
  fuzz: { budgetMs: 12_000, fullMs: 120_000, parallel: 1 },
  chaos: { budgetMs: 115_000, fullMs: 300_000, parallel: 1 },
  kafka: { budgetMs: 9_000, fullMs: 60_000, parallel: 1 },
  integration: { budgetMs: 20_000, fullMs: 120_000, parallel: 1 },
}
/** option -> its variable */
const VARIABLES = {
  seed: 'MILLRACE_SEED',
  'from-seed': 'MILLRACE_FROM_SEED',
  fault: 'MILLRACE_FAULT',
  runs: 'MILLRACE_RUNS',
  clients: 'MILLRACE_CLIENTS',
  'hold-ms': 'MILLRACE_HOLD_MS',
  'lease-ms': 'MILLRACE_LEASE_MS',
  'records-per-second': 'MILLRACE_RECORDS_PER_SECOND',
}
/** option -> its variable, and the test files that run until the count is reached */
const COUNTS = {
  cycles: { variable: 'MILLRACE_CYCLES', files: 'kill-9' },
  sends: { variable: 'MILLRACE_SENDS', files: 'idempotence' },
  results: { variable: 'MILLRACE_RESULTS', files: 'exactly-once' },
  fills: { variable: 'MILLRACE_CYCLES', files: 'disk-full' },
  images: { variable: 'MILLRACE_CRASH_IMAGES', files: 'power-cut' },
  corruptions: { variable: 'MILLRACE_CORRUPTIONS', files: 'corruption' },
  frames: { variable: 'MILLRACE_FUZZ_COUNT', files: 'frame-' },
  batches: { variable: 'MILLRACE_FUZZ_COUNT', files: 'record-batch' },
  files: { variable: 'MILLRACE_FUZZ_FILES', files: 'log-files' },
  seeds: { variable: 'MILLRACE_SEEDS', files: 'one-broker' },
  'blocked-seconds': { variable: 'MILLRACE_BLOCKED_SECONDS', files: 'blocked-handler' },
  churns: { variable: 'MILLRACE_CHURNS', files: 'group-churn' },
  crashes: { variable: 'MILLRACE_CRASHES', files: 'semantics' },
  'group-seeds': { variable: 'MILLRACE_SEEDS', files: 'groups' },
  'classic-seeds': { variable: 'MILLRACE_SEEDS', files: 'classic' },
  'transaction-seeds': { variable: 'MILLRACE_SEEDS', files: 'transactions' },
  'replica-seeds': { variable: 'MILLRACE_SEEDS', files: 'replicas' },
  'power-seeds': { variable: 'MILLRACE_SEEDS', files: 'cluster-power' },
  'damage-seeds': { variable: 'MILLRACE_SEEDS', files: 'cluster-damage' },
}
const UNBOUNDED_MS = 24 * 3_600_000

const [which = 'all', ...rest] = process.argv.slice(2)
const environment = { ...process.env }
let only = ''
let asked = false
for (let index = 0; index < rest.length; index += 2) {
  const option = rest[index].replace(/^--/, '')
  const value = rest[index + 1]
  if (value === undefined) usage(`'${rest[index]}' needs a value`)
  if (option === 'only') only = value
  else if (option === 'seconds') environment.MILLRACE_BUDGET_MS = String(Number(value) * 1000)
  else if (VARIABLES[option] !== undefined) environment[VARIABLES[option]] = value
  else if (COUNTS[option] !== undefined) {
    environment[COUNTS[option].variable] = value
    only ||= COUNTS[option].files
    asked = true
  } else usage(`unknown option '${rest[index]}'`)
}

function usage(fault) {
  const options = ['only', 'seconds', ...Object.keys(VARIABLES), ...Object.keys(COUNTS)]
  console.error(`${fault}. Known: ${options.map((name) => `--${name} VALUE`).join(' ')}`)
  process.exit(2)
}

const names = which === 'all' || which === 'full' ? Object.keys(SUITES) : [which]
const skips = []
const failures = []
const totals = { pass: 0, fail: 0, skipped: 0 }
for (const name of names) {
  const suite = SUITES[name]
  if (suite === undefined) {
    console.error(`unknown suite '${name}'. Known: all, full, ${Object.keys(SUITES).join(', ')}`)
    process.exit(2)
  }
  const files = testFiles(join('dist/test', name)).filter((file) => file.includes(only))
  if (files.length === 0) continue
  const startedMs = Date.now()
  const budgetMs = which === 'full' ? suite.fullMs : suite.budgetMs
  const budget = environment.MILLRACE_BUDGET_MS ?? String(asked ? UNBOUNDED_MS : budgetMs)
  const result = spawnSync(
    process.execPath,
    [
      '--test',
      `--test-concurrency=${Math.min(suite.parallel, cpus().length)}`,
      '--test-reporter=spec',
      '--test-reporter-destination=stdout',
      ...files,
    ],
    {
      env: { ...environment, MILLRACE_BUDGET_MS: budget },
      stdio: ['ignore', 'pipe', 'inherit'],
      maxBuffer: 1 << 28,
      encoding: 'utf8',
    },
  )
  report(name, result, files.length, Date.now() - startedMs)
}
if (skips.length > 0) console.log(`\nskipped:\n${skips.join('\n')}\n`)
for (const failure of failures) console.log(`FAILED ${failure}`)
console.log(`${totals.pass} passed, ${totals.fail} failed, ${totals.skipped} skipped`)
process.exit(failures.length === 0 && totals.pass > 0 ? 0 : 1)

function report(name, result, files, tookMs) {
  const count = (word) => Number(new RegExp(`^ℹ ${word} (\\d+)`, 'm').exec(result.stdout)?.[1] ?? 0)
  const numbers = {
    pass: count('pass'),
    fail: count('fail') + count('cancelled'),
    skipped: count('skipped') + count('todo'),
  }
  for (const key of Object.keys(totals)) totals[key] += numbers[key]
  const lines = result.stdout.split('\n')
  skips.push(...lines.filter((line) => /^\s*﹣/.test(line)).map((line) => `  ${name}: ${line.replace(/^\s*﹣ /, '')}`))
  // On failure everything; else what suites print on purpose: their seeds, and the counts they reached.
  if (result.status !== 0) {
    failures.push(name)
    console.log(result.stdout)
  } else {
    for (const line of lines)
      if (/seed|\breached\b|\binputs,/i.test(line) && !/^\s*▶/.test(line))
        console.log(`  ${line.replace(/^\s*ℹ /, '').trim()}`)
  }
  console.log(
    `${result.status === 0 ? 'ok  ' : 'FAIL'} ${name}: ${numbers.pass} passed, ${numbers.fail} failed, ${numbers.skipped} skipped, ${files} files, ${(tookMs / 1000).toFixed(1)} s`,
  )
}

function testFiles(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true })
    .filter((file) => file.endsWith('.test.js'))
    .map((file) => join(folder, file))
    .sort()
}
