/** A fresh clone with nothing installed: `npm start` gets to ready, and a checkout built by hand runs through `bin`. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { findEtcd } from '../support/etcd-process.ts'
import { repositoryRoot } from '../support/repository.ts'

const START_TIMEOUT_MS = 300_000
const folder = mkdtempSync(join(tmpdir(), 'millrace-first-run-'))
const clone = join(folder, 'clone')

/** Runs until the output has `wanted` or the process ends; answers all output so far. */
function waitFor(child: ChildProcess, wanted: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = ''
    const timer = setTimeout(
      () => reject(new Error(`no ${wanted} within ${START_TIMEOUT_MS} ms:\n${output}`)),
      START_TIMEOUT_MS,
    )
    const onData = (chunk: Buffer) => {
      output += chunk.toString()
      if (!wanted.test(output)) return
      clearTimeout(timer)
      resolve(output)
    }
    child.stdout?.on('data', onData)
    child.stderr?.on('data', onData)
    child.once('close', (code) => {
      clearTimeout(timer)
      reject(new Error(`ended with ${code} before ${wanted}:\n${output}`))
    })
  })
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once('close', (code) => resolve(code)))
}

before(() => {
  execFileSync('git', ['clone', '--quiet', '--no-hardlinks', repositoryRoot, clone], { stdio: 'pipe' })
})

after(() => rmSync(folder, { recursive: true, force: true }))

test('npm start in a fresh clone installs, builds and reaches ready; SIGTERM ends it cleanly', async () => {
  // A process group of its own, so that nothing of it is left whatever happens here.
  const child = spawn('npm', ['start', '--', '--listen', '127.0.0.1:0', '--kafka', 'off'], {
    cwd: clone,
    env: { ...process.env, CI: '' },
    detached: true,
  })
  const exit = ended(child)
  try {
    const output = await waitFor(child, /ready in [\d.]+ m?s/)
    for (const fact of [/v20|v2[1-9]|Node 2\d/, /shards?/i, /uws|ws/, /profile/i, /ws:\/\/127\.0\.0\.1:\d+/])
      assert.match(output, fact)
    const { version } = JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8')) as { version: string }
    assert.ok(output.includes(version), `the version ${version} is printed`)
    const stopped = waitFor(child, /stopped/)
    child.kill('SIGTERM')
    await stopped
    await exit
  } finally {
    try {
      process.kill(-(child.pid as number), 'SIGKILL')
    } catch {
      // The group is gone, as it should be.
    }
  }
})

test('Ctrl-C at a terminal, which reaches every process of npm start, stops the broker in order', async (context) => {
  // util-linux's script gives it a terminal: what is written to its input is typed there.
  if (process.platform !== 'linux' || spawnSync('script', ['--version']).status !== 0) {
    context.skip('needs the command script of util-linux')
    return
  }
  const command = 'npm start -- --listen 127.0.0.1:0 --kafka off'
  const child = spawn('script', ['--quiet', '--flush', '--command', command, '/dev/null'], {
    cwd: clone,
    env: { ...process.env, CI: '' },
    detached: true,
  })
  try {
    await waitFor(child, /ready in [\d.]+ m?s/)
    const stopped = waitFor(child, /stopped/)
    child.stdin.write('\u0003')
    await stopped
  } finally {
    try {
      process.kill(-(child.pid as number), 'SIGKILL')
    } catch {
      // The group is gone, as it should be.
    }
  }
})

const etcd = findEtcd()
test('npm run cluster in the clone gets to ready; Ctrl-C stops brokers and etcd', {
  ...(etcd.kind === 'found' ? {} : { skip: etcd.reason }),
}, async () => {
  const flags = ['--brokers', '1', '--ports-from', String(20_000 + (process.pid % 20_000))]
  const child = spawn('npm', ['run', 'cluster', '--', ...flags], {
    cwd: clone,
    env: { ...process.env, CI: '' },
    detached: true,
  })
  try {
    await waitFor(child, /Ctrl-C stops all of it in order/)
    const stopped = waitFor(child, /stopping etcd\n[\s\S]*stopped/)
    // To the whole group, as a terminal does it.
    process.kill(-(child.pid as number), 'SIGINT')
    await stopped
  } finally {
    try {
      process.kill(-(child.pid as number), 'SIGKILL')
    } catch {
      // The group is gone, as it should be.
    }
  }
})

test('what is built runs as `npx millrace`, through the bin of package.json', () => {
  const help = execFileSync('npx', ['millrace', '--help'], { cwd: clone, encoding: 'utf8' })
  assert.match(help, /millrace/)
  assert.match(help, /produce/)
})
