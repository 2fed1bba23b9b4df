/** The single executable, as it is handed on: built, run where there is no Node, no checkout and a hostile working directory. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { probeUwsEngine } from '../../src/broker/listeners/uws-engine.ts'
import { VERSION } from '../../src/model/version.ts'
import { BrokerProcess, makeDataDir, removeDataDir } from '../support/broker-process.ts'
import { EtcdCluster, findEtcd } from '../support/etcd-process.ts'
import { repositoryRoot } from '../support/repository.ts'

const BUILD_TIMEOUT_MS = 300_000
const RUN_TIMEOUT_MS = 60_000
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const SMALL = ['--shards', '2', '--set', 'rings.requestBytes=4MiB', '--set', 'pages.poolBytes=8MiB']
const BUILD = join(repositoryRoot, 'scripts', 'build-binary.mjs')

const folder = mkdtempSync(join(tmpdir(), 'millrace-binary-test-'))
const built = join(folder, 'built', 'millrace')
/** Where it is run from: what Node would look for in a working directory is here, and ends the process. */
const elsewhere = join(folder, 'elsewhere')
const env = { PATH: '/nonexistent', HOME: join(folder, 'home') }

const check = spawnSync(process.execPath, [BUILD, '--check'], { encoding: 'utf8' })
const skip = check.status === 3 ? check.stderr.trim() : false

/** A first start's surroundings: the executable in a folder of its own. */
function install(name: string): string {
  mkdirSync(join(folder, name))
  const executable = join(folder, name, 'millrace')
  linkSync(built, executable)
  return executable
}

function run(
  executable: string,
  args: readonly string[],
  options: { input?: string; env?: Record<string, string> } = {},
) {
  const result = spawnSync(executable, args, {
    ...{ cwd: elsewhere, encoding: 'utf8', timeout: RUN_TIMEOUT_MS, input: options.input ?? '' },
    env: { ...env, ...options.env },
  })
  return { status: result.status, stdout: result.stdout, stderr: result.stderr }
}

function nativeFolders(parent: string): string[] {
  if (!existsSync(parent)) return []
  return readdirSync(parent).filter((name) => name.startsWith('millrace-native-'))
}

describe('the single executable', { skip }, () => {
  before(() => {
    execFileSync(process.execPath, [BUILD, '--out', built], { stdio: 'pipe', timeout: BUILD_TIMEOUT_MS })
    mkdirSync(join(elsewhere, 'node_modules', 'snappy'), { recursive: true })
    writeFileSync(join(elsewhere, 'node_modules', 'snappy', 'index.js'), 'process.exit(77)')
    for (const name of ['crc32', 'snappy', 'lz4-napi'])
      writeFileSync(join(elsewhere, `${name}.${process.platform}-${process.arch}-gnu.node`), 'not a library')
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  test('says its version and nothing else, and unpacks its native parts beside itself', () => {
    const executable = install('first')
    assert.deepEqual(run(executable, ['--version']), { status: 0, stdout: `${VERSION}\n`, stderr: '' })
    const [parts, ...more] = nativeFolders(join(folder, 'first'))
    assert.ok(parts !== undefined && more.length === 0)
    assert.deepEqual(
      readdirSync(join(folder, 'first', parts)).filter((name) => !name.endsWith('.node')),
      [],
    )
    assert.deepEqual(nativeFolders(join(folder, 'home', '.cache')), [])
    assert.equal(run(executable, ['no-such-command']).status, 2)
  })

  test('what was acknowledged is read again after a kill -9', async () => {
    const executable = install('broker')
    const dataDir = makeDataDir()
    const engine = (await probeUwsEngine()) === undefined ? 'ws' : 'uws'
    const args = [...SMALL, '--set', `listeners.ws.engine=${engine}`]
    const broker = await BrokerProcess.start({ dataDir, executable, cwd: elsewhere, env, args })
    try {
      const millrace = (args: string[], input?: string): string => {
        const result = run(executable, ['-s', broker.url, ...args], input === undefined ? {} : { input })
        assert.equal(result.status, 0, `millrace ${args.join(' ')}: ${result.stderr}${broker.talk}`)
        return result.stdout
      }
      millrace(['topic', 'create', 'orders', '--partitions', '3'])
      for (const codec of CODECS)
        millrace(['produce', 'orders', '-p', '1', '--compression', codec], `${codec} 1\n${codec} 2\n`)
      const consume = () => millrace(['consume', 'orders', '-o', 'start', '-e'])
      const records = CODECS.map((codec) => `${codec} 1\n${codec} 2\n`).join('')
      assert.equal(consume(), records)
      await broker.kill()
      await broker.start()
      assert.equal(consume(), records)
      assert.equal(await broker.stop(), 0)
      millrace(['verify', dataDir])
    } finally {
      await broker.kill()
      removeDataDir(dataDir)
    }
  })

  test('three of them and an etcd are a cluster: what was acknowledged is there when one is killed', async (context) => {
    const program = findEtcd()
    if (program.kind === 'absent') return context.skip(program.reason)
    const executable = install('cluster')
    const etcd = await EtcdCluster.start({ program: program.program })
    const dataDirs = [1, 2, 3].map(() => makeDataDir())
    const brokers: BrokerProcess[] = []
    try {
      for (const [index, dataDir] of dataDirs.entries()) {
        const args = ['--etcd', etcd.urls.join(), '--node-id', String(index + 1), '--shards', '1']
        brokers.push(await BrokerProcess.start({ dataDir, executable, cwd: elsewhere, env, args }))
      }
      const url = brokers.map((broker) => broker.url).join()
      const millrace = (args: string[], input = ''): string => {
        const result = run(executable, ['-s', url, ...args], { input })
        assert.equal(result.status, 0, `millrace ${args.join(' ')}: ${result.stderr}${brokers.map(({ talk }) => talk)}`)
        return result.stdout
      }
      millrace(['topic', 'create', 'orders', '--partitions', '1', '--replicas', '3'])
      millrace(['produce', 'orders', '--acks', 'all'], 'one\ntwo\n')
      await brokers[0]!.kill()
      millrace(['produce', 'orders', '--acks', 'all'], 'three\n')
      assert.equal(millrace(['consume', 'orders', '-o', 'start', '-e']), 'one\ntwo\nthree\n')
    } finally {
      await Promise.all(brokers.map((broker) => broker.kill()))
      await etcd.close()
      dataDirs.forEach(removeDataDir)
    }
  })

  test('two first starts at once both come up', async () => {
    const executable = install('twice')
    const dataDirs = [makeDataDir(), makeDataDir()]
    const starts = dataDirs.map((dataDir) =>
      BrokerProcess.start({ dataDir, executable, cwd: elsewhere, env, args: SMALL }),
    )
    try {
      for (const broker of await Promise.all(starts)) assert.equal((await broker.readiness()).ready, true)
      const [parts] = nativeFolders(join(folder, 'twice'))
      const first = join(folder, 'first', parts!)
      assert.deepEqual(readdirSync(join(folder, 'twice', parts!)).sort(), readdirSync(first).sort())
    } finally {
      for (const start of await Promise.allSettled(starts)) if (start.status === 'fulfilled') await start.value.kill()
      dataDirs.forEach(removeDataDir)
    }
  })

  test('a damaged part is put right at the next start', () => {
    const executable = install('damaged')
    run(executable, ['--version'])
    const parts = join(folder, 'damaged', nativeFolders(join(folder, 'damaged'))[0]!)
    const damaged = readdirSync(parts)[0]!
    const before = readFileSync(join(parts, damaged))
    writeFileSync(join(parts, damaged), 'cut short')
    assert.equal(run(executable, ['--version']).status, 0)
    assert.ok(readFileSync(join(parts, damaged)).equals(before))
  })

  test("where nothing can be written beside it, the user's cache takes the parts; without one it says what is wrong", () => {
    const executable = install('read-only')
    // A file of the folder's name stands in for a read-only folder, which would not hinder root.
    const [parts] = nativeFolders(join(folder, 'first'))
    writeFileSync(join(folder, 'read-only', parts!), '')
    const cache = join(folder, 'cache')
    assert.equal(run(executable, ['--version'], { env: { XDG_CACHE_HOME: cache } }).status, 0)
    assert.deepEqual(nativeFolders(cache), [parts])
    const lost = run(executable, ['--version'], { env: { XDG_CACHE_HOME: executable } })
    assert.equal(lost.status, 1)
    assert.match(lost.stderr, /^error: the native parts .* can be unpacked nowhere/)
    for (const place of [join(folder, 'read-only', parts!), join(executable, parts!)])
      assert.ok(lost.stderr.includes(place), lost.stderr)
  })
})
