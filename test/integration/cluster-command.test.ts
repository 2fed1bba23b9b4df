/**
 * `npm run cluster` as somebody runs it: an etcd and three brokers as processes, the flights through them with a leader killed in the
 * middle, and nothing left of it after Ctrl-C.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { findEtcd } from '../support/etcd-process.ts'
import { repositoryRoot } from '../support/repository.ts'
import { millrace } from '../support/run-millrace.ts'
import { until } from '../support/until.ts'

const BROKERS = 3
/** For each step; a busy machine may need it, a failure says what was printed so far. */
const STEP_MS_MAX = 120_000
const CLUSTER = join(repositoryRoot, 'dist', 'scripts', 'cluster', 'main.js')
const DEMO = join(repositoryRoot, 'dist', 'demo', 'cluster.js')

const etcd = findEtcd()
const options = etcd.kind === 'found' ? {} : { skip: etcd.reason }
const folder = makeDataDir()
after(() => removeDataDir(folder))

/** A program and what it has printed. */
class Run {
  readonly child: ChildProcess
  readonly closed: Promise<number | null>
  output = ''

  constructor(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const child = spawn(process.execPath, [program, ...args], {
      cwd: repositoryRoot,
      env: { ...process.env, NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child = child
    this.closed = new Promise((resolve) => child.once('close', (code) => resolve(code)))
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        this.output += chunk.toString()
      })
  }

  async says(wanted: RegExp): Promise<void> {
    let hasEnded = false
    void this.closed.then(() => {
      hasEnded = true
    })
    await until(`'${wanted}'`, STEP_MS_MAX, async () => {
      if (wanted.test(this.output)) return true
      assert.ok(!hasEnded, `ended before it said ${wanted}:\n${this.output}`)
      return false
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.output}`)
    })
  }

  async end(): Promise<number | null> {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STEP_MS_MAX)
    const code = await this.closed
    clearTimeout(timer)
    return code
  }
}

/** The first of so many ports in a row that are free now. */
async function freePortsInRow(count: number): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const first = 20_000 + Math.floor((process.pid * 31 + tries * 97) % 20_000)
    const taken = await Promise.all(Array.from({ length: count }, (_, index) => isTaken(first + index)))
    if (!taken.includes(true)) return first
  }
  throw new Error('no free ports')
}

function isTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(true))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(false)))
  })
}

/** Processes that have the folder of this test among their words; none where there is no /proc. */
function processesOf(path: string): string[] {
  if (!existsSync('/proc/self/cmdline')) return []
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => `${pid} ${wordsOf(pid)}`)
    .filter((line) => line.includes(path))
}

function wordsOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

async function noneIsLeft(path: string): Promise<void> {
  await until('end of all processes', STEP_MS_MAX, async () => processesOf(path).length === 0).catch(() => {
    assert.deepEqual(processesOf(path), [])
  })
}

test('a cluster starts, loses a leader without losing a flight, and stops in order', options, async () => {
  const dataDir = join(folder, 'whole')
  const port = await freePortsInRow(BROKERS)
  const cluster = new Run(CLUSTER, ['--ports-from', String(port), '--data-dir', dataDir])
  try {
    await cluster.says(/Ctrl-C stops all of it in order/)
    const server = /MILLRACE_SERVER=(\S+)/.exec(cluster.output)?.[1] ?? assert.fail(cluster.output)
    assert.equal(server.split(',').length, BROKERS)
    const brokers = await millrace(['cluster', 'brokers', '--json'], { url: server })
    assert.equal(brokers.stdout.trim().split('\n').length, BROKERS, brokers.stderr)

    const demo = new Run(DEMO, [dataDir], { MILLRACE_SERVER: server })
    assert.equal(await demo.end(), 0, demo.output)
    assert.match(demo.output, /^killed node \d \(pid \d+\), which led flights-\d+\/0$/m)
    assert.match(demo.output, /^20,000 acknowledged;/m)
    assert.match(demo.output, /^all flights are there, once each, those of an airport in order$/m)
    await cluster.says(
      /node-\d has ended \(signal SIGKILL\)\. In another terminal, this starts it again:\n.*npx millrace start/,
    )

    cluster.child.kill('SIGINT')
    assert.equal(await cluster.end(), 130, cluster.output)
    assert.match(cluster.output, /stopping etcd\n(etcd .*\n)*cluster \| stopped\n/)
    await noneIsLeft(dataDir)
  } finally {
    cluster.child.kill('SIGKILL')
    await cluster.closed
  }
})

test('what cannot start says why, and nothing of it is left', options, async () => {
  const dataDir = join(folder, 'refused')
  const port = await freePortsInRow(BROKERS)
  const holder = createServer()
  await new Promise<void>((resolve) => holder.listen(port + 1, '127.0.0.1', resolve))
  try {
    const taken = new Run(CLUSTER, ['--ports-from', String(port), '--data-dir', dataDir])
    assert.equal(await taken.end(), 1, taken.output)
    assert.match(taken.output, new RegExp(`error: port ${port + 1} is in use.*\n.*--ports-from`))
  } finally {
    holder.close()
  }
  const words = new Run(CLUSTER, ['--brokers', 'many'])
  assert.equal(await words.end(), 2, words.output)
  const absent = new Run(CLUSTER, ['--data-dir', dataDir], { MILLRACE_ETCD: join(folder, 'no-etcd') })
  assert.equal(await absent.end(), 1, absent.output)
  assert.match(absent.output, /MILLRACE_ETCD: '.*no-etcd --version' fails/)
  await noneIsLeft(dataDir)
})

test('a cluster whose program is killed (-9) leaves no process behind', options, async () => {
  const dataDir = join(folder, 'orphans')
  const port = await freePortsInRow(1)
  const cluster = new Run(CLUSTER, ['--brokers', '1', '--ports-from', String(port), '--data-dir', dataDir])
  try {
    await cluster.says(/Ctrl-C stops all of it in order/)
    // The program, etcd and the broker: where there is no /proc this shows nothing.
    if (existsSync('/proc/self/cmdline')) assert.equal(processesOf(dataDir).length, 3)
    cluster.child.kill('SIGKILL')
    await noneIsLeft(dataDir)
  } finally {
    cluster.child.kill('SIGKILL')
  }
})
