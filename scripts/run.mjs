#!/usr/bin/env node
/**
 * The first run: `npm start`, `npm test` and the other scripts come through here, so that each does its own set-up
 * in a fresh clone: install what is missing, build what is stale, then run. Plain JavaScript, no dependencies.
 *
 *   node scripts/run.mjs start [flags of millrace start]
 *   node scripts/run.mjs NAME [arguments]      a row of COMMANDS below
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
process.chdir(root)

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`millrace needs Node >= 20.19; this is ${process.version}. Install a newer Node (24 is recommended).`)
  process.exit(2)
}

/** name -> what runs after the build, arguments of the caller appended */
const COMMANDS = {
  start: ['dist/src/cli/main.js', 'start'],
  'build:binary': ['scripts/build-binary.mjs'],
  cluster: ['dist/scripts/cluster/main.js'],
  demo: ['dist/demo/main.js'],
  'demo:cluster': ['dist/demo/cluster.js'],
  check: ['scripts/check.mjs'],
  generate: ['dist/scripts/generate.js'],
  'generate:check': ['dist/scripts/generate.js', '--check'],
  test: ['scripts/test.mjs', 'all'],
  'test:sim': ['scripts/test.mjs', 'simulation'],
  'test:crash': ['scripts/test.mjs', 'crash'],
  'test:chaos': ['scripts/test.mjs', 'chaos'],
  'test:stress': ['scripts/test.mjs', 'stress'],
  'test:fuzz': ['scripts/test.mjs', 'fuzz'],
  'test:kafka': ['scripts/test.mjs', 'kafka'],
  'test:integration': ['scripts/test.mjs', 'integration'],
  'test:full': ['scripts/test.mjs', 'full'],
  'test:node': ['scripts/test-node.mjs'],
  'test:mutants': ['scripts/mutants.mjs'],
  bench: ['scripts/bench.mjs'],
  'bench:compare': ['dist/native-free-bench/compare.js'],
  dump: ['dist/src/cli/main.js', 'dump'],
  verify: ['dist/src/cli/main.js', 'verify'],
}

const [name = '', ...rest] = process.argv.slice(2)
const command = COMMANDS[name]
if (command === undefined) {
  console.error(`unknown command '${name}'. Known: ${Object.keys(COMMANDS).join(', ')}`)
  process.exit(2)
}
installWhatIsMissing()
buildWhatIsStale()
const child = spawn(process.execPath, [...command, ...rest], { stdio: 'inherit' })
// A broker takes a second signal for impatience and ends at once: it is told once, however the word comes.
let isTold = false
function tell(signal) {
  isTold = true
  child.kill(signal)
}
process.on('SIGTERM', () => tell('SIGTERM'))
process.on('SIGINT', () => {
  // A terminal sends Ctrl-C to the child as well.
  if (process.stdin.isTTY) isTold = true
  else tell('SIGINT')
})
// npm ends at a SIGTERM without passing it on: whoever started us being gone means the same.
const starter = process.ppid
setInterval(() => {
  if (!isTold && process.ppid !== starter) tell('SIGTERM')
}, 500).unref()
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)))

function installWhatIsMissing() {
  const wanted = createHash('sha256').update(readFileSync('package-lock.json')).digest('hex')
  const stamp = 'node_modules/.millrace-install'
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  // A tree that npm installed for this very lock file is as good as ours: npm writes its copy of the lock last.
  if (
    !existsSync(stamp) &&
    existsSync('node_modules/.package-lock.json') &&
    isNewer('node_modules/.package-lock.json', 'package-lock.json')
  ) {
    writeFileSync(stamp, wanted)
    return
  }
  console.error('millrace: installing packages (npm ci --ignore-scripts) …')
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'])
  writeFileSync(stamp, wanted)
}

function buildWhatIsStale() {
  const built = 'dist/.built'
  const sources = ['src', 'workers', 'native-free-bench', 'test', 'demo', 'scripts/cluster']
  const newest = Math.max(
    statSync('tsconfig.json').mtimeMs,
    statSync('package-lock.json').mtimeMs,
    statSync('scripts/bundle.mjs').mtimeMs,
    ...sources.filter((folder) => existsSync(folder)).map(newestIn),
  )
  if (existsSync(built) && statSync(built).mtimeMs >= newest) return
  console.error('millrace: building …')
  // Outputs of sources that are gone would still be found by the test runner.
  rmSync('dist', { recursive: true, force: true })
  mkdirSync('dist')
  run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.'])
  run(process.execPath, ['scripts/bundle.mjs'])
  writeFileSync(built, '')
}

function newestIn(folder) {
  let newest = statSync(folder).mtimeMs
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    newest = Math.max(newest, entry.isDirectory() ? newestIn(path) : statSync(path).mtimeMs)
  }
  return newest
}

function isNewer(path, than) {
  return statSync(path).mtimeMs >= statSync(than).mtimeMs
}

function run(program, args) {
  const result = spawnSync(program, args, {
    stdio: ['ignore', 'inherit', 'inherit'],
    shell: process.platform === 'win32',
  })
  if (result.status !== 0) {
    console.error(`millrace: '${program} ${args.join(' ')}' failed${result.error ? `: ${result.error.message}` : ''}`)
    process.exit(1)
  }
}
