#!/usr/bin/env node
/**
 * Plants known bugs one by one in a copy of the checkout and expects a suite to fail for each: the proofs, proved.
 *
 *   npm run test:mutants [-- --only NAME,NAME] [-- --list]
 *   npm run test:mutants -- --simulated       those with a `simulation`: it must see the bug within SIMULATED_SEEDS seeds
 *
 * A mutant is a row of scripts/mutants.json:
 *
 *   name      of the bug, in words with hyphens; --only takes parts of names
 *   what      goes wrong, in one line
 *   file      from the root, below src/ or workers/
 *   find      text that occurs exactly once in it: short, so that other edits leave it alone
 *   replace   what stands there instead. It need not type-check, but it must be a program: a bug somebody could have written
 *   suites    files below dist/test, each with NAME=VALUE words for its environment if it needs some; one of them must fail.
 *             The fastest that should see the bug stands first, and the next ones run only if it does not
 *   simulation  where a whole cluster or its controllers can meet the bug: a file of dist/test/simulation without its .test.js
 *
 * Ordering  every suite named must pass on the unmutated copy first -> for each mutant: plant, build, run, restore
 * Failure   exit 1: a mutant that survived, a row that is stale (its text is gone, or is there twice) or breaks the program,
 *           a suite that fails by itself. test/tidy/mutants.test.ts finds stale rows without running anything
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** A bug may well make a suite wait for ever: that is caught, too. */
const SUITE_TIMEOUT_MS = 60_000
const SIMULATED_SEEDS = 1_000
/** From there on, so that a run can be repeated. */
const SIMULATED_FROM_SEED = 500_000
const SIMULATION_BUDGET_MS = 3_600_000
/** These take a tenth of the budget that they are given. */
const SIMULATION_SHARES = { controller: 10, replicas: 10 }
/** What ends by itself is not killed. */
const SIMULATION_TIMEOUT_MS = SIMULATION_BUDGET_MS + 120_000
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const options = process.argv.slice(2)
const only = options.includes('--only') ? options[options.indexOf('--only') + 1] : undefined
const isSimulated = options.includes('--simulated')
const mutants = JSON.parse(readFileSync(join(root, 'scripts/mutants.json'), 'utf8'))
  .filter((mutant) => only === undefined || only.split(',').some((part) => mutant.name.includes(part)))
  .filter((mutant) => !isSimulated || mutant.simulation !== undefined)
  .map((mutant) => (isSimulated ? { ...mutant, suites: [simulationOf(mutant)] } : mutant))
if (options.includes('--list')) {
  for (const mutant of mutants) console.log(`${mutant.name.padEnd(44)} ${mutant.what}`)
  process.exit(0)
}
if (mutants.length === 0) {
  console.error(`no mutant's name contains '${only}'; --list shows them`)
  process.exit(2)
}

const copy = mkdtempSync(join(tmpdir(), 'millrace-mutants-'))
// Ctrl-C must not leave the copy behind; the child of the moment ends by the same signal.
process.on('SIGINT', () => process.exit(130))
process.on('exit', () => rmSync(copy, { recursive: true, force: true }))
process.exit(plantAll())

function simulationOf({ simulation }) {
  const seeds = `MILLRACE_FROM_SEED=${SIMULATED_FROM_SEED} MILLRACE_SEEDS=${SIMULATED_SEEDS}`
  return `simulation/${simulation}.test.js ${seeds} MILLRACE_BUDGET_MS=${SIMULATION_BUDGET_MS * (SIMULATION_SHARES[simulation] ?? 1)}`
}

function plantAll() {
  const startedMs = Date.now()
  copyCheckout()
  build()
  // That a simulation passes so many seeds is its own proof (npm run test:sim), and takes an hour.
  if (!isSimulated && !suitesPass()) return 1
  const failures = []
  for (const mutant of mutants) {
    const outcome = plant(mutant)
    console.log(`${outcome.kind.padEnd(8)} ${mutant.name.padEnd(44)} ${outcome.text}`)
    if (outcome.kind !== 'caught') failures.push(`${outcome.kind} ${mutant.name}: ${mutant.what}; ${outcome.text}`)
  }
  console.log(`${mutants.length - failures.length} of ${mutants.length} mutants caught in ${seconds(startedMs)}`)
  for (const failure of failures) console.log(failure)
  return failures.length === 0 ? 0 : 1
}

function copyCheckout() {
  for (const part of ['src', 'workers', 'test', 'native-free-bench', 'demo', 'config', 'scripts']) {
    if (existsSync(join(root, part))) cpSync(join(root, part), join(copy, part), { recursive: true })
  }
  for (const file of ['package.json', 'package-lock.json', 'tsconfig.json']) cpSync(join(root, file), join(copy, file))
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
}

function suitesPass() {
  const suites = [...new Set(mutants.flatMap((mutant) => mutant.suites))]
  for (const suite of suites) {
    const startedMs = Date.now()
    const clean = runSuite(suite)
    if (clean.failed) {
      console.error(`${suite} fails without any mutant:\n${clean.output.slice(-4000)}`)
      return false
    }
    console.log(`sound    ${suite} ${seconds(startedMs)}`)
  }
  return true
}

/** caught | SURVIVED | STALE (the row no longer fits its file) | BROKEN (what was planted is no program, or changes nothing). */
function plant(mutant) {
  const startedMs = Date.now()
  const path = join(copy, mutant.file)
  const original = readFileSync(path, 'utf8')
  const occurrences = original.split(mutant.find).length - 1
  if (occurrences !== 1) return { kind: 'STALE', text: `its text occurs ${occurrences} times in ${mutant.file}` }
  const built = join(copy, 'dist', mutant.file.replace(/\.ts$/, '.js'))
  const builtBefore = readFileSync(built, 'utf8')
  try {
    writeFileSync(
      path,
      original.replace(mutant.find, () => mutant.replace),
    )
    build()
    if (readFileSync(built, 'utf8') === builtBefore) return { kind: 'BROKEN', text: 'the built file is as it was' }
    const syntax = spawnSync(process.execPath, ['--check', built], { encoding: 'utf8' })
    if (syntax.status !== 0) return { kind: 'BROKEN', text: syntax.stderr.trim().split('\n').at(-1) }
    for (const suite of mutant.suites) {
      const result = runSuite(suite)
      if (isSimulated) return simulatedOutcome(result, startedMs)
      if (result.failed) return { kind: 'caught', text: `${seconds(startedMs)} ${suite}: ${reasonOf(result)}` }
    }
    return { kind: 'SURVIVED', text: mutant.suites.join(', ') }
  } finally {
    // What was built stays mutated until the next build: it always comes before the next suite.
    writeFileSync(path, original)
    writeFileSync(built, builtBefore)
  }
}

/** Caught by a seed, or by nothing: that seeds took too long, or never got somewhere, says nothing of the bug. */
function simulatedOutcome({ failed, output }, startedMs) {
  const seed = /seed (\d+) (?:failed|is not deterministic)/.exec(output)?.[1]
  const how = /Replay it.*\n\s*(.*)/.exec(output)?.[1]?.slice(0, 150) ?? ''
  const seeds = Number(seed) - SIMULATED_FROM_SEED + 1
  if (failed && seed !== undefined)
    return { kind: 'caught', text: `${seconds(startedMs)} within ${seeds} seeds: ${how}` }
  return {
    kind: 'SURVIVED',
    text: /^(?:# )?(.*simulation: \d+ seeds.*)$/m.exec(output)?.[1] ?? `no seed failed: ${output.slice(-300)}`,
  }
}

/** A mutant may not type-check (a value left unused): only what is emitted counts. */
function build() {
  const arguments_ = ['node_modules/typescript/bin/tsc', '-p', '.', '--noCheck', '--incremental', 'false']
  const options = ['--tsBuildInfoFile', 'null', '--declaration', 'false', '--sourceMap', 'false']
  spawnSync(process.execPath, [...arguments_, ...options], { cwd: copy, stdio: 'ignore' })
}

/** Runs a row's suite in one process, so that a timeout leaves nothing behind. */
function runSuite(suite) {
  const [file, ...variables] = suite.split(' ')
  const environment = {
    ...process.env,
    MILLRACE_BUDGET_MS: '20000',
    ...Object.fromEntries(variables.map((variable) => variable.split('='))),
  }
  const result = spawnSync(process.execPath, ['--test-force-exit', '--test-reporter=tap', join('dist/test', file)], {
    cwd: copy,
    env: environment,
    encoding: 'utf8',
    timeout: isSimulated ? SIMULATION_TIMEOUT_MS : SUITE_TIMEOUT_MS,
    killSignal: 'SIGKILL',
    maxBuffer: 1 << 28,
  })
  const isLate = result.signal === 'SIGKILL'
  return { failed: result.status !== 0, isLate, output: `${result.stdout}${result.stderr}` }
}

/** The innermost test that failed, as its author named it. */
function reasonOf(result) {
  if (result.isLate) return `no end within ${SUITE_TIMEOUT_MS / 1000} s`
  const { output } = result
  return /^\s*not ok \d+ - (.*)$/m.exec(output)?.[1] ?? /^\w*Error.*$/m.exec(output)?.[0] ?? 'it does not load'
}

function seconds(sinceMs) {
  return `${((Date.now() - sinceMs) / 1000).toFixed(1)} s`
}
