/** What docs/deploy.md hands out: Dockerfile, compose.yaml and systemd unit, checked as far as that goes without Docker or systemd. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { resolveConfig } from '../../src/config/index.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { repositoryRoot } from '../support/repository.ts'

const MILLRACE = join(repositoryRoot, 'dist', 'src', 'cli', 'main.js')
const UNIT = 'config/systemd/millrace.service'
/** Drain, shards, threads: the longest that src/broker/shutdown.ts lets a stop take. */
const STOP_SECONDS_MAX = 70
/** In the image as in the package. */
const ENTRY = 'dist/src/cli/main.js'

const textOf = (path: string): string => readFileSync(join(repositoryRoot, path), 'utf8')

interface Instruction {
  readonly word: string
  readonly rest: string
}

const instructions: readonly Instruction[] = textOf('Dockerfile')
  .replace(/^#.*\n/gm, '')
  .replace(/\\\n/g, ' ')
  .split('\n')
  .filter((line) => line.trim() !== '')
  .map((line) => /^\s*(\w+)\s+(.*)$/.exec(line))
  .map((match) => ({ word: match?.[1] ?? '', rest: match?.[2]?.trim() ?? '' }))

function last(word: string): string {
  return instructions.findLast((each) => each.word === word)?.rest ?? assert.fail(`the Dockerfile has no ${word}`)
}

/** The flags of `millrace start` in a list of words; their values are passed over. */
function assertStarts(words: readonly string[]): void {
  assert.equal(words[0], 'start')
  const help = execFileSync(process.execPath, [MILLRACE, 'start', '--help'], { encoding: 'utf8' })
  for (const flag of words.filter((word) => word.startsWith('--')))
    assert.match(help, new RegExp(`${flag}\\b`), `${flag} is a flag of millrace start`)
}

function wordAfter(words: readonly string[], flag: string): string {
  return words[words.indexOf(flag) + 1] ?? assert.fail(`${flag} has no value`)
}

test('the Dockerfile copies what is there and goes to the builder, and from stages that it has', () => {
  const stages = instructions.flatMap(({ word, rest }) => (word === 'FROM' ? (/ AS (\w+)$/.exec(rest)?.[1] ?? []) : []))
  const sent = textOf('.dockerignore')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1))
  for (const { word, rest } of instructions) {
    if (word !== 'COPY') continue
    const [, stage, paths = ''] = /^(?:--from=(\w+) )?(.*)$/.exec(rest) ?? []
    if (stage !== undefined) {
      assert.ok(stages.includes(stage), `${rest}: no stage is named ${stage}`)
      continue
    }
    for (const source of paths.split(/\s+/).slice(0, -1)) {
      assert.ok(existsSync(join(repositoryRoot, source)), `${source} is no file`)
      assert.ok(sent.includes(source), `.dockerignore keeps ${source} back`)
    }
  }
  for (const path of sent)
    assert.ok(existsSync(join(repositoryRoot, path)), `.dockerignore names ${path}, which is no file`)
})

test('the image runs what npm runs, as nobody special, with the port and the folder it tells of', () => {
  const { bin } = JSON.parse(textOf('package.json')) as { bin: { millrace: string } }
  assert.equal(bin.millrace, `./${ENTRY}`)
  assert.deepEqual(JSON.parse(last('ENTRYPOINT')), ['node', `/millrace/${ENTRY}`])
  const command = JSON.parse(last('CMD')) as string[]
  assertStarts(command)
  const [port, kafkaPort] = last('EXPOSE').split(' ')
  assert.equal(wordAfter(command, '--listen'), `0.0.0.0:${port}`)
  assert.equal(wordAfter(command, '--kafka'), `0.0.0.0:${kafkaPort}`)
  assert.ok(last('ENV').endsWith(`MILLRACE_SERVER=ws://127.0.0.1:${port}`))
  assert.equal(wordAfter(command, '--data-dir'), last('VOLUME'))
  assert.equal(last('USER'), 'node')
  assert.equal(last('STOPSIGNAL'), 'SIGTERM')
})

test('what the Dockerfile builds with is there: no script that does not go to the builder', () => {
  for (const { word, rest } of instructions) if (word === 'RUN') assert.doesNotMatch(rest, /npm run|scripts\//)
})

test('the Dockerfile installs the uWebSockets.js that the README and the broker tell users to install', () => {
  const wish = /uNetworking\/uWebSockets\.js#v[\d.]+\d/
  const [inDockerfile] = wish.exec(textOf('Dockerfile')) ?? []
  assert.ok(inDockerfile !== undefined)
  for (const path of ['README.md', 'src/broker/listeners/choose-engine.ts'])
    assert.equal(wish.exec(textOf(path))?.[0], inDockerfile, path)
})

test('the health check succeeds when the broker is ready, and fails when there is none', async () => {
  const [node, ...args] = JSON.parse(/CMD (\[.*\])$/.exec(last('HEALTHCHECK'))?.[1] ?? '[]') as string[]
  assert.equal(node, 'node')
  const check = (server: string) =>
    spawnSync(process.execPath, args, { env: { ...process.env, MILLRACE_SERVER: server }, timeout: 60_000 }).status
  const dataDir = makeDataDir()
  const broker = await BrokerProcess.start({ dataDir, args: ['--shards', '1'] })
  try {
    assert.equal(check(broker.url), 0)
    await broker.kill()
    assert.equal(check(broker.url), 1)
  } finally {
    await broker.kill()
    removeDataDir(dataDir)
  }
})

test('compose.yaml starts the same broker, open to this machine alone, and gives it time to stop', () => {
  const { services, volumes } = parse(textOf('compose.yaml')) as {
    services: { millrace: { command: string[]; ports: string[]; volumes: string[]; stop_grace_period: string } }
    volumes: Record<string, unknown>
  }
  const { command, ports, volumes: mounts, stop_grace_period: grace } = services.millrace
  assertStarts(command)
  const image = JSON.parse(last('CMD')) as string[]
  assert.deepEqual(command, [...image, '--insecure'])
  const published = last('EXPOSE').split(' ')
  assert.deepEqual(
    ports,
    published.map((port) => `127.0.0.1:${port}:${port}`),
  )
  assert.deepEqual(mounts, [`data:${last('VOLUME')}`])
  assert.ok('data' in volumes)
  assert.ok(Number(/^(\d+)s$/.exec(grace)?.[1]) > STOP_SECONDS_MAX)
})

test('compose of three machines: one file, an environment for each, a broker that takes it and finds all of etcd', () => {
  const example = Object.fromEntries(
    textOf('config/cluster-3/machine.env.example')
      .split('\n')
      .filter((line) => /^\w+=/.test(line))
      .map((line) => line.split('=', 2) as [string, string]),
  )
  // As Compose does it: a variable that is not set and has no default is an error.
  const filled = textOf('config/cluster-3/compose.yaml').replace(
    /\$\{(\w+)(:-|:\?[^}]*)?\}/g,
    (_, name: string) => example[name] ?? assert.fail(`machine.env.example has no ${name}`),
  )
  const { services, volumes } = parse(filled) as {
    services: {
      etcd: { command: string[]; volumes: string[] }
      broker: { command: string[]; environment: Record<string, string>; volumes: string[]; stop_grace_period: string }
    }
    volumes: Record<string, unknown>
  }
  const { etcd, broker } = services
  assertStarts(broker.command)
  assert.ok(Number(/^(\d+)s$/.exec(broker.stop_grace_period)?.[1]) > STOP_SECONDS_MAX)
  for (const mount of [...etcd.volumes, ...broker.volumes]) assert.ok(mount.split(':')[0]! in volumes, mount)
  const config = resolveConfig({
    env: broker.environment,
    flags: [{ path: 'listen', value: wordAfter(broker.command, '--listen'), source: '--listen' }],
  })
  const machines = [example.MACHINE_1, example.MACHINE_2, example.MACHINE_3]
  assert.equal(config.nodeId, 1)
  assert.deepEqual(
    config.cluster.etcdUrls,
    machines.map((host) => `http://${host}:2379`),
  )
  assert.deepEqual([config.cluster.rack, config.cluster.secret], [example.RACK, example.SECRET])
  const members = etcd.command.find((word) => word.startsWith('--initial-cluster='))
  for (const [index, host] of machines.entries())
    assert.ok(members?.includes(`machine-${index + 1}=http://${host}:2380`))
})

test('the systemd unit starts a broker on its state folder, and gives it time to stop', () => {
  const unit = textOf(UNIT)
  const setting = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1] ?? assert.fail(`no ${name}`)
  const [, ...words] = setting('ExecStart').split(' ')
  assertStarts(words)
  assert.equal(wordAfter(words, '--data-dir'), `/var/lib/${setting('StateDirectory')}`)
  assert.equal(setting('Environment'), `XDG_CACHE_HOME=/var/cache/${setting('CacheDirectory')}`)
  assert.ok(Number(/^(\d+)s$/.exec(setting('TimeoutStopSec'))?.[1]) > STOP_SECONDS_MAX)
})

test('systemd-analyze finds nothing wrong with the unit', (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-unit-'))
  context.after(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'millrace.service')
  // It looks for the executable; any will do.
  writeFileSync(path, textOf(UNIT).replace('/usr/local/bin/millrace', process.execPath))
  const result = spawnSync('systemd-analyze', ['verify', '--man=no', path], { encoding: 'utf8', timeout: 60_000 })
  // It reads the units of this machine too, and says what it thinks of those.
  const faults = (result.stderr ?? '').split('\n').filter((line) => line.includes('millrace'))
  assert.deepEqual(faults, [])
  if (result.status !== 0)
    context.skip(`systemd-analyze cannot run here: ${result.error?.message ?? result.stderr.trim()}`)
})
