/** The shim reaches the calls that Node really makes: a child process is given faults and reports what it met. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { buildFsyncShim, type FsyncShim, type ShimFault } from './fsync-shim.ts'

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
    untrigger: () => rmSync(trigger),
  }
  const answers = steps.map((step) => {
    const [action, file = 'data'] = step.split('-')
    try { actions[action](fds[file]); return 'ok' } catch (error) { return error.name + ' ' + error.code }
  })
  console.log(JSON.stringify(answers))
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

  function shimTest(name: string, fault: Omit<ShimFault, 'path'>, expected: Readonly<Record<string, string>>): void {
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
      })
      writeFileSync(join(folder, 'data.log'), '')
      const child = spawnSync(process.execPath, ['--input-type=module', '-e', CHILD, MAKE, folder, trigger, ...steps], {
        env: { ...process.env, ...env },
        encoding: 'utf8',
        timeout: CHILD_MS_MAX,
      })
      assert.equal(child.status, 0, child.stderr)
      assert.deepEqual(JSON.parse(child.stdout), Object.values(expected))
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
})
