#!/usr/bin/env node
/**
 * Runs the test suites one after the other on node:test, each with its time budget, and ends with what was skipped.
 *
 *   node scripts/test.mjs all | full | SUITE [--seed N] [--cycles N] [--images N] [--count N] [--seeds N] [--seconds N] [--from-seed N]
 *
 * Randomised suites run for a budget (MILLRACE_BUDGET_MS), print their seed and the count they reached, and never fail
 * for being slow. `full` gives them the larger sizes of docs/proofs.md. Options become environment variables.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
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
  integration: { budgetMs: 20_000, fullMs: 120_000, parallel: 1 },
}
const VARIABLES = {
  seed: 'MILLRACE_SEED',
  seeds: 'MILLRACE_SEEDS',
  'from-seed': 'MILLRACE_FROM_SEED',
  cycles: 'MILLRACE_CYCLES',
  images: 'MILLRACE_CRASH_IMAGES',
  count: 'MILLRACE_FUZZ_COUNT',
  seconds: 'MILLRACE_SECONDS',
  only: 'MILLRACE_ONLY',
}

const [which = 'all', ...rest] = process.argv.slice(2)
const environment = { ...process.env }
let only = ''
for (let index = 0; index < rest.length; index += 2) {
  const option = rest[index].replace(/^--/, '')
  const variable = VARIABLES[option]
  if (variable === undefined || rest[index + 1] === undefined) {
    console.error(
      `unknown or incomplete option '${rest[index]}'. Known: ${Object.keys(VARIABLES)
        .map((name) => `--${name} VALUE`)
        .join(' ')}`,
    )
    process.exit(2)
  }
  if (option === 'only') only = rest[index + 1]
  else environment[variable] = rest[index + 1]
}
// A count asked for by name is run to its end, whatever the time it takes.
const asked = Object.keys(environment).some((name) =>
  ['MILLRACE_CYCLES', 'MILLRACE_CRASH_IMAGES', 'MILLRACE_FUZZ_COUNT', 'MILLRACE_SEEDS'].includes(name),
)

const names = which === 'all' || which === 'full' ? Object.keys(SUITES) : [which]
const skips = join(mkdtempSync(join(tmpdir(), 'millrace-test-')), 'skips')
environment.MILLRACE_SKIPS_FILE = skips
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
  if (environment.MILLRACE_SECONDS !== undefined)
    environment.MILLRACE_BUDGET_MS = String(Number(environment.MILLRACE_SECONDS) * 1000)
  else if (asked) environment.MILLRACE_BUDGET_MS = String(24 * 3_600_000)
  else environment.MILLRACE_BUDGET_MS = process.env.MILLRACE_BUDGET_MS ?? String(budgetMs)
  const result = spawnSync(
    process.execPath,
    [
      '--test',
      `--test-concurrency=${Math.min(suite.parallel, cpus().length)}`,
      '--test-reporter=spec',
      '--test-reporter-destination=stdout',
      ...files,
    ],
    { env: environment, stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 28, encoding: 'utf8' },
  )
  report(name, result, files.length, Date.now() - startedMs)
}
if (existsSync(skips)) console.log(`\nskipped, visibly:\n${readFileSync(skips, 'utf8')}`)
rmSync(skips, { force: true })
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
  // Lines that suites print on purpose (seeds, counts reached) and, on failure, everything.
  if (result.status !== 0) {
    failures.push(name)
    console.log(result.stdout)
  } else {
    for (const line of result.stdout.split('\n'))
      if (/(^|\s)(seed|reached|rate|skipp?ed?):? /i.test(line) && !line.startsWith('ℹ')) console.log(`  ${line.trim()}`)
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
