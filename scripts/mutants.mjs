#!/usr/bin/env node
/**
 * Plants known bugs one by one in a copy of the checkout and expects a suite to fail for each: the proofs, proved.
 *
 *   npm run test:mutants [-- --only NAME] [--list]
 *
 * A mutant is a row of scripts/mutants.json: name, what it does, file, `find` (must occur exactly once), `replace`, and the
 * suites (test files under dist/test, with options) of which at least one must fail. The unmutated copy must pass them first.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SUITE_TIMEOUT_MS = 300_000
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const options = process.argv.slice(2)
const only = options.includes('--only') ? options[options.indexOf('--only') + 1] : undefined
const mutants = JSON.parse(readFileSync(join(root, 'scripts/mutants.json'), 'utf8')).filter(
  (mutant) => only === undefined || mutant.name.includes(only),
)
if (options.includes('--list')) {
  for (const mutant of mutants) console.log(`${mutant.name.padEnd(36)} ${mutant.what}`)
  process.exit(0)
}
if (mutants.length === 0) {
  console.error(`no mutant's name contains '${only}'; --list shows them`)
  process.exit(2)
}

const copy = mkdtempSync(join(tmpdir(), 'millrace-mutants-'))
let exitCode = 1
try {
  exitCode = plantAll()
} finally {
  rmSync(copy, { recursive: true, force: true })
}
process.exit(exitCode)

function plantAll() {
  for (const part of [
    'src',
    'workers',
    'test',
    'native-free-bench',
    'demo',
    'config',
    'scripts',
    'package.json',
    'package-lock.json',
    'tsconfig.json',
  ]) {
    cpSync(join(root, part), join(copy, part), { recursive: true })
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  build()
  for (const suite of new Set(mutants.flatMap((mutant) => mutant.suites))) {
    const clean = runSuite(suite)
    if (clean.failed) {
      console.error(`${suite} fails without any mutant:\n${clean.output.slice(-4000)}`)
      return 1
    }
  }
  const survivors = mutants.filter((mutant) => !isCaught(mutant))
  console.log(`${mutants.length - survivors.length} of ${mutants.length} mutants caught`)
  for (const survivor of survivors) console.log(`SURVIVED ${survivor.name}: ${survivor.what}`)
  return survivors.length === 0 ? 0 : 1
}

function isCaught(mutant) {
  const path = join(copy, mutant.file)
  const original = readFileSync(path, 'utf8')
  const occurrences = original.split(mutant.find).length - 1
  if (occurrences !== 1) {
    console.log(`STALE    ${mutant.name}: the text to replace occurs ${occurrences} times in ${mutant.file}`)
    return false
  }
  const startedMs = Date.now()
  try {
    writeFileSync(
      path,
      original.replace(mutant.find, () => mutant.replace),
    )
    build()
    for (const suite of mutant.suites) {
      const result = runSuite(suite)
      if (!result.failed) continue
      console.log(
        `caught   ${mutant.name.padEnd(36)} by ${suite} in ${((Date.now() - startedMs) / 1000).toFixed(1)} s: ${firstFailure(result.output)}`,
      )
      return true
    }
    return false
  } finally {
    writeFileSync(path, original)
  }
}

function firstFailure(output) {
  return /^not ok \d+ - (.*)$/m.exec(output)?.[1] ?? 'timeout'
}

/** A mutant may not type-check (a value left unused): only what is emitted counts. */
function build() {
  spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.'], { cwd: copy, stdio: 'ignore' })
}

/** `suite` is a test file below dist/test, optionally followed by NAME=VALUE words for its environment. */
function runSuite(suite) {
  const [file, ...variables] = suite.split(' ')
  const environment = {
    ...process.env,
    MILLRACE_BUDGET_MS: '20000',
    ...Object.fromEntries(variables.map((variable) => variable.split('='))),
  }
  const result = spawnSync(process.execPath, ['--test', '--test-reporter=tap', join('dist/test', file)], {
    cwd: copy,
    env: environment,
    encoding: 'utf8',
    timeout: SUITE_TIMEOUT_MS,
    maxBuffer: 1 << 28,
  })
  return { failed: result.status !== 0, output: `${result.stdout}${result.stderr}` }
}
