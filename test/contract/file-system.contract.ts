/**
 * The contract of the FileSystem port: what every make must do alike. Run by test/unit/io/file-system.test.ts on each.
 */
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { type FileSystem, StorageError } from '../../src/io/file-system.ts'

export interface FileSystemMake {
  readonly files: FileSystem
  /** An existing folder, empty at the start, that the suite may fill. */
  readonly folder: string
  /** Removes what make() made. */
  dispose(): void
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

function hasCode(...codes: string[]) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof StorageError, `not a StorageError: ${String(error)}`)
    assert.ok(codes.includes(error.code), `code ${error.code}, wanted ${codes.join(' or ')}: ${error.message}`)
    return true
  }
}

export function fileSystemContract(name: string, make: () => FileSystemMake): void {
  describe(`FileSystem contract: ${name}`, () => {
    let made: FileSystemMake
    let files: FileSystem
    let folder: string
    let nextFolder = 0
    before(() => {
      made = make()
      files = made.files
    })
    after(() => made.dispose())
    beforeEach(() => {
      folder = `${made.folder}/t${nextFolder++}`
      files.makeFolder(folder)
    })

    const readAll = (path: string): string => {
      const fd = files.open(path, 'read')
      const target = new Uint8Array(files.sizeOf(fd) + 1)
      const count = files.read(fd, target, 0)
      files.close(fd)
      return textOf(target.subarray(0, count))
    }
    const put = (path: string, text: string): void => {
      const fd = files.open(path, 'create-new')
      assert.equal(files.write(fd, [bytesOf(text)], 0), text.length)
      files.close(fd)
    }

    describe('open', () => {
      test('read and write want an existing file', () => {
        assert.throws(() => files.open(`${folder}/none`, 'read'), hasCode('ENOENT'))
        assert.throws(() => files.open(`${folder}/none`, 'write'), hasCode('ENOENT'))
      })
      test('create makes a missing file and never truncates', () => {
        put(`${folder}/a`, 'hello')
        files.close(files.open(`${folder}/a`, 'create'))
        assert.equal(readAll(`${folder}/a`), 'hello')
        files.close(files.open(`${folder}/b`, 'create'))
        assert.equal(readAll(`${folder}/b`), '')
      })
      test('create-new refuses an existing file', () => {
        put(`${folder}/a`, 'x')
        assert.throws(() => files.open(`${folder}/a`, 'create-new'), hasCode('EEXIST'))
      })
      test('a missing folder, a file as a folder, and a folder as a file are errors that name the path', () => {
        put(`${folder}/file`, 'x')
        assert.throws(() => files.open(`${folder}/none/a`, 'create'), hasCode('ENOENT'))
        assert.throws(() => files.open(`${folder}/file/a`, 'create'), hasCode('ENOTDIR'))
        assert.throws(() => files.open(folder, 'write'), hasCode('EISDIR'))
        assert.throws(
          () => files.open(`${folder}/none`, 'read'),
          (error: StorageError) => error.message.includes(`${folder}/none`) && error.path === `${folder}/none`,
        )
      })
      test('a closed descriptor is EBADF, a descriptor for reading does not write', () => {
        put(`${folder}/a`, 'x')
        const fd = files.open(`${folder}/a`, 'read')
        assert.throws(() => files.write(fd, [bytesOf('y')], 0), hasCode('EBADF'))
        assert.throws(() => files.truncate(fd, 0), hasCode('EINVAL', 'EBADF'))
        files.close(fd)
        assert.throws(() => files.close(fd), hasCode('EBADF'))
      })
    })

    describe('bytes', () => {
      test('write puts all buffers one after the other at the position', () => {
        const fd = files.open(`${folder}/a`, 'create-new')
        assert.equal(files.write(fd, [bytesOf('abc'), new Uint8Array(0), bytesOf('de')], 2), 5)
        assert.equal(files.write(fd, [bytesOf('Z')], 3), 1)
        files.close(fd)
        assert.equal(readAll(`${folder}/a`), '\0\0aZcde')
      })
      test('write takes no buffers, and empty ones', () => {
        const fd = files.open(`${folder}/a`, 'create-new')
        assert.equal(files.write(fd, [], 5), 0)
        assert.equal(files.write(fd, [new Uint8Array(0)], 5), 0)
        assert.equal(files.sizeOf(fd), 0)
        files.close(fd)
      })
      test('write takes more buffers than one system call does (IOV_MAX)', () => {
        const fd = files.open(`${folder}/a`, 'create-new')
        const buffers = Array.from({ length: 2500 }, (_, index) => Uint8Array.from([index & 0xff, index >> 8]))
        assert.equal(files.write(fd, buffers, 3), 5000)
        const back = new Uint8Array(5000)
        assert.equal(files.read(fd, back, 3), 5000)
        assert.deepEqual(back, Uint8Array.from(buffers.flatMap((pair) => [...pair])))
        files.close(fd)
      })
      test('write copies: later changes of the caller do not show', () => {
        const fd = files.open(`${folder}/a`, 'create-new')
        const mine = bytesOf('before')
        files.write(fd, [mine], 0)
        mine.fill(0x78)
        files.close(fd)
        assert.equal(readAll(`${folder}/a`), 'before')
      })
      test('shared memory is written from and read into', () => {
        const fd = files.open(`${folder}/a`, 'create-new')
        const shared = new Uint8Array(new SharedArrayBuffer(64)).fill(7)
        assert.equal(files.write(fd, [shared.subarray(0, 10), shared.subarray(20, 30)], 0), 20)
        const target = new Uint8Array(new SharedArrayBuffer(32))
        assert.equal(files.read(fd, target, 0), 20)
        assert.deepEqual([...target], [...new Array(20).fill(7), ...new Array(12).fill(0)])
        files.close(fd)
      })
      test('read stops at the end of the file and answers 0 past it', () => {
        put(`${folder}/a`, 'hello')
        const fd = files.open(`${folder}/a`, 'read')
        const target = new Uint8Array(8).fill(1)
        assert.equal(files.read(fd, target, 3), 2)
        assert.deepEqual([...target], [108, 111, 1, 1, 1, 1, 1, 1])
        assert.equal(files.read(fd, target, 5), 0)
        assert.equal(files.read(fd, target, 500), 0)
        files.close(fd)
      })
      test('large writes across pages come back as they went', () => {
        const fd = files.open(`${folder}/a`, 'create-new')
        const big = Uint8Array.from({ length: 300_001 }, (_, index) => (index * 31) & 0xff)
        assert.equal(files.write(fd, [big], 4095), big.length)
        const back = new Uint8Array(big.length)
        assert.equal(files.read(fd, back, 4095), big.length)
        assert.deepEqual(back, big)
        files.close(fd)
      })
      test('truncate cuts, and what grows again is zeros', () => {
        put(`${folder}/a`, 'hello world')
        const fd = files.open(`${folder}/a`, 'write')
        files.truncate(fd, 4)
        assert.equal(files.sizeOf(fd), 4)
        files.truncate(fd, 8)
        files.close(fd)
        assert.equal(readAll(`${folder}/a`), 'hell\0\0\0\0')
      })
      test('allocate grows with zeros, keeps what is there, and never shrinks', () => {
        put(`${folder}/a`, 'head')
        const fd = files.open(`${folder}/a`, 'write')
        files.allocate(fd, 3_000_000)
        assert.equal(files.sizeOf(fd), 3_000_000)
        files.allocate(fd, 10)
        assert.equal(files.sizeOf(fd), 3_000_000)
        const target = new Uint8Array(8).fill(1)
        files.read(fd, target, 0)
        assert.equal(textOf(target), 'head\0\0\0\0')
        files.read(fd, target, 2_999_992)
        assert.equal(textOf(target), '\0\0\0\0\0\0\0\0')
        files.close(fd)
      })
      test('two descriptors of one file see the same bytes', () => {
        const writer = files.open(`${folder}/a`, 'create-new')
        const reader = files.open(`${folder}/a`, 'read')
        files.write(writer, [bytesOf('seen')], 0)
        const target = new Uint8Array(4)
        assert.equal(files.read(reader, target, 0), 4)
        assert.equal(textOf(target), 'seen')
        files.close(writer)
        files.close(reader)
      })
      test('sync answers; on a closed descriptor it is EBADF', () => {
        const fd = files.open(`${folder}/a`, 'create-new')
        files.write(fd, [bytesOf('x')], 0)
        files.fdatasync(fd)
        files.fsync(fd)
        files.close(fd)
        assert.throws(() => files.fdatasync(fd), hasCode('EBADF'))
        assert.throws(() => files.fsync(fd), hasCode('EBADF'))
        assert.throws(() => files.read(fd, new Uint8Array(1), 0), hasCode('EBADF'))
        assert.throws(() => files.sizeOf(fd), hasCode('EBADF'))
      })
    })

    describe('names', () => {
      test('makeFolder makes parents and accepts what is there', () => {
        files.makeFolder(`${folder}/x/y/z`)
        files.makeFolder(`${folder}/x/y/z`)
        assert.deepEqual(files.stat(`${folder}/x/y/z`), { kind: 'folder' })
        put(`${folder}/file`, '')
        assert.throws(() => files.makeFolder(`${folder}/file`), hasCode('EEXIST'))
        assert.throws(() => files.makeFolder(`${folder}/file/sub`), hasCode('ENOTDIR'))
      })
      test('list is sorted; a missing folder is ENOENT, a file ENOTDIR', () => {
        for (const name of ['b', 'a', 'C', 'a-1']) put(`${folder}/${name}`, '')
        files.makeFolder(`${folder}/B`)
        assert.deepEqual(files.list(folder), ['B', 'C', 'a', 'a-1', 'b'])
        assert.throws(() => files.list(`${folder}/none`), hasCode('ENOENT'))
        assert.throws(() => files.list(`${folder}/a`), hasCode('ENOTDIR'))
      })
      test('stat tells absent, file and folder apart', () => {
        put(`${folder}/a`, 'four')
        const found = files.stat(`${folder}/a`)
        assert.ok(found.kind === 'file')
        assert.equal(found.bytes, 4)
        assert.ok(Number.isInteger(found.modifiedMs))
        assert.deepEqual(files.stat(folder), { kind: 'folder' })
        assert.deepEqual(files.stat(`${folder}/none`), { kind: 'absent' })
        assert.deepEqual(files.stat(`${folder}/none/deeper`), { kind: 'absent' })
        assert.deepEqual(files.stat(`${folder}/a/deeper`), { kind: 'absent' })
      })
      test('rename replaces a file, keeps open descriptors, and moves between folders', () => {
        put(`${folder}/old`, 'old')
        put(`${folder}/new`, 'new')
        const fd = files.open(`${folder}/new`, 'write')
        files.rename(`${folder}/new`, `${folder}/old`)
        assert.equal(readAll(`${folder}/old`), 'new')
        assert.deepEqual(files.list(folder), ['old'])
        files.write(fd, [bytesOf('NEW!')], 0)
        files.close(fd)
        files.makeFolder(`${folder}/sub`)
        files.rename(`${folder}/old`, `${folder}/sub/moved`)
        assert.equal(readAll(`${folder}/sub/moved`), 'NEW!')
        assert.throws(() => files.rename(`${folder}/none`, `${folder}/x`), hasCode('ENOENT'))
      })
      test('rename moves a whole folder; onto a full one, onto a file, or into itself is refused', () => {
        files.makeFolder(`${folder}/a`)
        put(`${folder}/a/f`, 'f')
        files.rename(`${folder}/a`, `${folder}/b`)
        assert.equal(readAll(`${folder}/b/f`), 'f')
        files.makeFolder(`${folder}/c`)
        put(`${folder}/g`, 'g')
        assert.throws(() => files.rename(`${folder}/c`, `${folder}/b`), hasCode('ENOTEMPTY', 'EEXIST'))
        assert.throws(() => files.rename(`${folder}/c`, `${folder}/g`), hasCode('ENOTDIR'))
        assert.throws(() => files.rename(`${folder}/g`, `${folder}/c`), hasCode('EISDIR'))
        assert.throws(() => files.rename(`${folder}/b`, `${folder}/b/in`), hasCode('EINVAL'))
      })
      test('a removed file stays readable through an open descriptor', () => {
        put(`${folder}/a`, 'still')
        const fd = files.open(`${folder}/a`, 'read')
        files.remove(`${folder}/a`)
        assert.deepEqual(files.stat(`${folder}/a`), { kind: 'absent' })
        const target = new Uint8Array(5)
        assert.equal(files.read(fd, target, 0), 5)
        assert.equal(textOf(target), 'still')
        files.close(fd)
        assert.throws(() => files.remove(`${folder}/a`), hasCode('ENOENT'))
      })
      test('remove is for files, removeFolder for empty folders', () => {
        files.makeFolder(`${folder}/sub`)
        put(`${folder}/sub/a`, '')
        assert.throws(() => files.remove(`${folder}/sub`), hasCode('EISDIR', 'EPERM'))
        assert.throws(() => files.removeFolder(`${folder}/sub`), hasCode('ENOTEMPTY'))
        assert.throws(() => files.removeFolder(`${folder}/sub/a`), hasCode('ENOTDIR'))
        assert.throws(() => files.removeFolder(`${folder}/none`), hasCode('ENOENT'))
        files.remove(`${folder}/sub/a`)
        files.removeFolder(`${folder}/sub`)
        assert.deepEqual(files.stat(`${folder}/sub`), { kind: 'absent' })
      })
      test('syncFolder wants a folder', () => {
        files.syncFolder(folder)
        put(`${folder}/a`, '')
        assert.throws(() => files.syncFolder(`${folder}/a`), hasCode('ENOTDIR'))
        assert.throws(() => files.syncFolder(`${folder}/none`), hasCode('ENOENT'))
      })
      test('a folder opens for reading, to be synced by descriptor; it has no bytes', () => {
        const fd = files.open(folder, 'read')
        files.fsync(fd)
        files.fdatasync(fd)
        assert.throws(() => files.read(fd, new Uint8Array(1), 0), hasCode('EISDIR'))
        assert.throws(() => files.write(fd, [bytesOf('x')], 0), hasCode('EBADF'))
        files.close(fd)
        assert.throws(() => files.open(folder, 'create'), hasCode('EISDIR'))
      })
      test('freeBytes is a positive number', () => {
        const free = files.freeBytes(folder)
        assert.ok(Number.isSafeInteger(free) && free > 0, `free: ${free}`)
      })
    })
  })
}
