#!/usr/bin/env node
/**
 * Runs benchmarks: `npm run bench` all of them in smoke size (does each work, never how fast), `npm run bench -- NAME [options]`
 * those whose path has NAME in full size, `npm run bench -- --full` all in full size. A bench that fails fails the run; its
 * speed never does.
 *
 *   --out FILE   writes what was found, with the machine, for native-free-bench/compare.ts
 *   other options go to the benches
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { arch, cpus, loadavg, platform, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'

const SMOKE_MS_MAX = 300_000
const FULL_MS_MAX = 4 * 3_600_000
const FOLDER = 'dist/native-free-bench'

const words = process.argv.slice(2)
const name = words[0]?.startsWith('--') === false ? words.shift() : ''
const isFull = take('--full') || (name !== '' && !words.includes('--smoke'))
const out = takeValue('--out')
const isSmoke = !isFull || words.includes('--smoke')
if (isSmoke && !words.includes('--smoke')) words.unshift('--smoke')

const benches = ['micro', 'macro']
  .flatMap((part) => readdirSync(join(FOLDER, part)).map((file) => join(part, file)))
  .filter((file) => file.endsWith('.js') && file.includes(name))
if (benches.length === 0) {
  console.error(`no bench's path has '${name}'. Known: ${known().join(', ')}`)
  process.exit(2)
}

const figuresFolder = mkdtempSync(join(tmpdir(), 'millrace-figures-'))
const figuresFile = join(figuresFolder, 'figures.jsonl')
const machine = describeMachine()
if (out !== undefined) writeFileSync(figuresFile, '')
const failed = benches.filter((bench) => !runs(bench))
if (out !== undefined) writeFileSync(out, `${JSON.stringify(document(), null, 2)}\n`)
rmSync(figuresFolder, { recursive: true })
if (failed.length > 0) console.error(`\n${failed.length} of ${benches.length} benches failed: ${failed.join(', ')}`)
process.exit(failed.length === 0 ? 0 : 1)

function runs(bench) {
  const startedMs = Date.now()
  const args = [...words, ...(out === undefined ? [] : ['--figures', figuresFile])]
  if (!words.includes('--json')) console.log(`\n== ${bench.replace(/\.js$/, '')} ${words.join(' ')}`)
  const result = spawnSync(process.execPath, ['--expose-gc', join(FOLDER, bench), ...args], {
    stdio: 'inherit',
    timeout: isSmoke ? SMOKE_MS_MAX : FULL_MS_MAX,
  })
  if (!words.includes('--json')) console.log(`   ${((Date.now() - startedMs) / 1000).toFixed(1)} s`)
  return result.status === 0
}

function document() {
  const lines = readFileSync(figuresFile, 'utf8').split('\n').filter(Boolean)
  const figures = lines.map((line) => JSON.parse(line))
  return { machine, isSmoke, arguments: [name, ...words].filter(Boolean), figures }
}

function describeMachine() {
  const folder = process.env.MILLRACE_BENCH_DIR ?? '/var/tmp'
  let fileSystem = 'unknown'
  try {
    fileSystem = `0x${statfsSync(folder).type.toString(16)}`
  } catch {
    // Said as unknown.
  }
  return {
    date: new Date().toISOString(),
    commit: spawnSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).stdout?.trim() ?? '',
    node: process.version,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    os: `${platform()} ${release()} ${arch()}`,
    fileSystem,
    loadBefore: loadavg().map((value) => Number(value.toFixed(2))),
  }
}

function known() {
  return ['micro', 'macro'].flatMap((part) =>
    readdirSync(join(FOLDER, part))
      .filter((file) => file.endsWith('.js'))
      .map((file) => `${part}/${file.replace(/\.js$/, '')}`),
  )
}

function take(flag) {
  const at = words.indexOf(flag)
  if (at >= 0) words.splice(at, 1)
  return at >= 0
}

function takeValue(flag) {
  const at = words.indexOf(flag)
  if (at < 0) return undefined
  const [, value] = words.splice(at, 2)
  if (value === undefined || value.startsWith('--')) {
    console.error(`${flag} needs a file`)
    process.exit(2)
  }
  return value
}
