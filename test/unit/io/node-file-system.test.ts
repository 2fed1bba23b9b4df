/** What only the real make can show; the rest is the contract suite. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { StorageError } from '../../../src/io/file-system.ts'
import { NodeFileSystem } from '../../../src/io/node-file-system.ts'

describe('NodeFileSystem', () => {
  const files = new NodeFileSystem()
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'millrace-io-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  test('a full device is ENOSPC, and isSpace says so', { skip: !existsSync('/dev/full') && 'no /dev/full' }, () => {
    const fd = files.open('/dev/full', 'write')
    for (const buffers of [[new Uint8Array(1)], [new Uint8Array(1), new Uint8Array(1)]])
      assert.throws(
        () => files.write(fd, buffers, 0),
        (error) => error instanceof StorageError && error.isSpace && error.path === '/dev/full',
      )
    files.close(fd)
  })

  test('errors of a descriptor that another instance opened name the number and keep the cause', () => {
    const path = join(folder, 'a')
    const fd = files.open(path, 'create-new')
    files.close(files.open(path, 'read'))
    const other = new NodeFileSystem()
    assert.equal(other.write(fd, [new Uint8Array(3)], 0), 3)
    other.close(fd)
    assert.throws(
      () => other.sizeOf(fd),
      (error) =>
        error instanceof StorageError && error.message.includes(`fd ${fd}`) && (error.cause as Error).message !== '',
    )
  })

  test('allocate leaves written blocks, not holes', () => {
    const path = join(folder, 'journal')
    const fd = files.open(path, 'create-new')
    files.allocate(fd, 3 * 1024 * 1024 + 5)
    files.fsync(fd)
    files.close(fd)
    assert.ok(statSync(path).blocks * 512 >= 3 * 1024 * 1024, 'the file is sparse')
  })

  test('a wrong argument is a bug, not a storage error', () => {
    assert.throws(() => files.close(-1), RangeError)
    assert.throws(() => files.write(0.5, [new Uint8Array(1)], 0), RangeError)
  })

  test('files and folders are closed to others', () => {
    files.makeFolder(join(folder, 'sub'))
    files.close(files.open(join(folder, 'sub', 'f'), 'create'))
    assert.equal(statSync(join(folder, 'sub')).mode & 0o007, 0)
    assert.equal(statSync(join(folder, 'sub', 'f')).mode & 0o007, 0)
  })
})
