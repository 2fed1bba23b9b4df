/** The shim reaches the calls that Node really makes: a child process is given faults and reports what it met. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { buildFsyncShim, type FsyncShim, type ShimFault } from '../../support/fsync-shim/fsync-shim.ts'

const CHILD_MS_MAX = 20_000
const MAKE = new URL('../../../src/io/node-file-system.js', import.meta.url).href

/** Runs each step on NodeFileSystem and prints what became of it: ok, or the error's code. */
const CHILD = `
  import { rmSync, writeFileSync } from 'node:fs'
  const { NodeFileSystem } = await import(process.argv[1])
  const [folder, trigger, ...steps] = process.argv.slice(2)
  const files = new NodeFileSystem()
  const fds = { data: files.open(folder + '/data.log', 'create'), other: files.open(folder + '/other', 'create') }
  const bytes = Buffer.alloc(10)
  const actions = {
    write: (fd) => files.write(fd, [bytes], 0),
    writev: (fd) => files.write(fd, [bytes, bytes], 0),
    fdatasync: (fd) => files.fdatasync(fd),
    fsync: (fd) => files.fsync(fd),
    truncate: (fd) => files.truncate(fd, 5),
    trigger: () => writeFileSync(trigger, ''),
    name: (_, file) => writeFileSync(trigger, 'nothing/like/this\\n/' + file + '\\n'),
    untrigger: () => rmSync(trigger),
  }
  const answers = steps.map((step) => {
    const [action, file = 'data'] = step.split('-')
    try { actions[action](fds[file], file); return 'ok' } catch (error) { return error.name + ' ' + error.code }
  })
  console.log(JSON.stringify(answers))
`

const SLOW_CHILD = `
  const { NodeFileSystem } = await import(process.argv[1])
  const files = new NodeFileSystem()
  const fd = files.open(process.argv[2] + '/slow.log', 'create')
  const startedMs = performance.now()
  for (let block = 0; block < 50; block++) files.write(fd, [Buffer.alloc(10_000)], block * 10_000)
  const writtenMs = performance.now()
  files.fdatasync(fd)
  console.log(JSON.stringify({ writesMs: writtenMs - startedMs, syncMs: performance.now() - writtenMs }))
`

describe('fsync-shim', () => {
  let shim: FsyncShim
  let folder: string
  before(() => {
    shim = buildFsyncShim()
    folder = mkdtempSync(join(tmpdir(), 'millrace-shim-test-'))
  })
  after(() => {
    rmSync(folder, { recursive: true, force: true })
    if (shim.kind === 'ready') shim.dispose()
  })

  /** `trigger` and `log` of the fault: any text, they lie in the test's folder. */
  function shimTest(
    name: string,
    fault: Partial<ShimFault>,
    expected: Readonly<Record<string, string>>,
    check: () => void = () => {},
  ): void {
    test(name, (context) => {
      if (shim.kind === 'unavailable') {
        context.skip(shim.reason)
        return
      }
      const steps = Object.keys(expected).map((step) => step.replace(/^\d+ /, ''))
      const trigger = join(folder, 'trigger')
      const env = shim.envFor({
        path: 'data.log',
        ...fault,
        ...(fault.trigger === undefined ? {} : { trigger }),
        ...(fault.log === undefined ? {} : { log: join(folder, 'log') }),
      })
      writeFileSync(join(folder, 'data.log'), '')
      const child = spawnSync(process.execPath, ['--input-type=module', '-e', CHILD, MAKE, folder, trigger, ...steps], {
        env: { ...process.env, ...env },
        encoding: 'utf8',
        timeout: CHILD_MS_MAX,
      })
      assert.equal(child.status, 0, child.stderr)
      assert.deepEqual(JSON.parse(child.stdout), Object.values(expected))
      check()
    })
  }

  shimTest(
    'fdatasync and fsync of the file fail, writes and other files do not',
    {},
    {
      '1 write': 'ok',
      '2 fdatasync': 'StorageError EIO',
      '3 fsync': 'StorageError EIO',
      '4 fdatasync-other': 'ok',
      '5 fsync-other': 'ok',
    },
  )
  shimTest(
    'fails after n calls, so many times: a retried fdatasync succeeds, as on Linux',
    { calls: ['fdatasync'], after: 2, times: 1 },
    {
      '1 fdatasync': 'ok',
      '2 fdatasync-other': 'ok',
      '3 fdatasync': 'ok',
      '4 fdatasync': 'StorageError EIO',
      '5 fdatasync': 'ok',
      '6 fsync': 'ok',
    },
  )
  shimTest(
    'writes of one buffer and of several run out of space',
    { calls: ['pwrite', 'pwritev'], errno: 'ENOSPC', after: 1 },
    {
      '1 write': 'ok',
      '2 write': 'StorageError ENOSPC',
      '3 writev': 'StorageError ENOSPC',
      '4 writev-other': 'ok',
      '5 fdatasync': 'ok',
    },
  )
  shimTest(
    'fails only while the trigger file is there',
    { trigger: 'yes', calls: ['fdatasync', 'ftruncate'] },
    {
      '1 fdatasync': 'ok',
      '2 trigger': 'ok',
      '3 fdatasync': 'StorageError EIO',
      '4 truncate': 'StorageError EIO',
      '5 untrigger': 'ok',
      '6 fdatasync': 'ok',
    },
  )
  shimTest(
    'fails only for what the trigger file names, and logs syncs and failures',
    { path: 'millrace-shim-test-', trigger: 'yes', calls: ['fdatasync'], log: 'yes' },
    {
      '1 fdatasync': 'ok',
      '2 name-other': 'ok',
      '3 fdatasync': 'ok',
      '4 fdatasync-other': 'StorageError EIO',
      '5 write-other': 'ok',
      '6 untrigger': 'ok',
      '7 fdatasync-other': 'ok',
    },
    () => {
      const log = readFileSync(join(folder, 'log'), 'utf8')
      assert.equal(log, `fdatasync ok ${folder}/data.log\nfdatasync failed ${folder}/other\n`)
    },
  )

  test('a slow device takes its time: writes run ahead of it as far as they may, syncs wait for it', (context) => {
    if (shim.kind === 'unavailable') {
      context.skip(shim.reason)
      return
    }
    const env = shim.slowEnvFor({ path: 'slow.log', bytesPerSecond: 1_000_000, dirtyBytesMax: 300_000 })
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', SLOW_CHILD, MAKE, folder], {
      env: { ...process.env, ...env },
      encoding: 'utf8',
      timeout: CHILD_MS_MAX,
    })
    assert.equal(child.status, 0, child.stderr)
    const { writesMs, syncMs } = JSON.parse(child.stdout) as { writesMs: number; syncMs: number }
    // 500 KB at 1 MB/s: writes wait for all but the 300 KB that may be dirty, the sync for the rest. Only lower bounds: a
    // machine may always be slower.
    assert.ok(writesMs >= 190, `writes took ${writesMs} ms`)
    assert.ok(writesMs + syncMs >= 490, `writes and sync took ${writesMs + syncMs} ms`)
  })
})
