import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import { FaultyFileSystem } from '../../../src/io/faulty-file-system.ts'
import { StorageError } from '../../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { NodeFileSystem } from '../../../src/io/node-file-system.ts'
import { fileSystemContract } from '../../contract/file-system.contract.ts'

fileSystemContract('faulty without faults, on memory', () => {
  const files = new FaultyFileSystem(new MemoryFileSystem())
  return { files, folder: '', dispose: () => {} }
})

fileSystemContract('faulty without faults, on node', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-io-'))
  const files = new FaultyFileSystem(new NodeFileSystem())
  return { files, folder, dispose: () => rmSync(folder, { recursive: true, force: true }) }
})

const withCode = (code: string) => (error: unknown) => error instanceof StorageError && error.code === code
const TEN = new Uint8Array(10).fill(7)

function faultyOnMemory() {
  const disk = new MemoryFileSystem()
  const files = new FaultyFileSystem(disk)
  const fd = files.open('/a', 'create')
  disk.syncFolder('/')
  return { disk, files, fd }
}

describe('FaultyFileSystem', () => {
  test('fails the nth matching operation, once, and does nothing then', () => {
    const { disk, files, fd } = faultyOnMemory()
    files.inject({ on: 'write', path: '/a', skip: 1, effect: { kind: 'fail', code: 'EIO' } })
    const other = files.open('/b', 'create')
    assert.equal(files.write(fd, [TEN], 0), 10)
    assert.equal(files.write(other, [TEN], 0), 10)
    assert.throws(() => files.write(fd, [TEN], 10), withCode('EIO'))
    assert.equal(disk.sizeOf(fd), 10)
    assert.equal(files.write(fd, [TEN], 10), 10)
    assert.equal(files.faultCount, 1)
  })

  test('fails for ever, for several operations, until healed', () => {
    const { files, fd } = faultyOnMemory()
    files.inject({ on: ['read', 'rename'], times: Number.POSITIVE_INFINITY, effect: { kind: 'fail', code: 'EIO' } })
    for (let round = 0; round < 3; round++) assert.throws(() => files.read(fd, new Uint8Array(1), 0), withCode('EIO'))
    assert.throws(() => files.rename('/a', '/b'), withCode('EIO'))
    files.heal()
    files.rename('/a', '/b')
  })

  test('a short write answers the lower count and the error waits for the next write', () => {
    const { disk, files, fd } = faultyOnMemory()
    files.inject({ on: 'write', effect: { kind: 'short-write', bytes: 13, thenFail: 'ENOSPC' } })
    assert.equal(files.write(fd, [TEN, TEN], 0), 13)
    assert.equal(disk.sizeOf(fd), 13)
    assert.throws(() => files.write(fd, [TEN], 13), withCode('ENOSPC'))
    assert.equal(files.write(fd, [TEN], 13), 10)
  })

  test('after a failed fdatasync later ones succeed, and the bytes are lost all the same', () => {
    const { disk, files, fd } = faultyOnMemory()
    files.write(fd, [TEN], 0)
    files.inject({ on: 'fdatasync', effect: { kind: 'fail', code: 'EIO' } })
    assert.throws(() => files.fdatasync(fd), withCode('EIO'))
    files.fdatasync(fd)
    files.write(fd, [TEN], 10)
    files.fdatasync(fd)
    assert.deepEqual(disk.contentOf('/a'), new Uint8Array(20).fill(7))
    const left = disk.crash(new SeededPrng(1)).contentOf('/a')
    assert.deepEqual([...left], [...new Array(10).fill(0), ...new Array(10).fill(7)])
  })

  test('a failed sync of a folder, or through a descriptor for reading, is the injected error too', () => {
    const { disk, files, fd } = faultyOnMemory()
    files.write(fd, [TEN], 0)
    files.inject({ on: 'fdatasync', times: 2, effect: { kind: 'fail', code: 'EIO' } })
    assert.throws(() => files.fdatasync(files.open('/a', 'read')), withCode('EIO'))
    files.makeFolder('/f')
    assert.throws(() => files.fdatasync(files.open('/f', 'read')), withCode('EIO'))
    files.fdatasync(fd)
    assert.deepEqual(disk.crash(new SeededPrng(1)).contentOf('/a'), new Uint8Array(10))
  })

  test('a full disk: a write that does not fit is short, then ENOSPC; shrinking and removing give back', () => {
    const { files, fd } = faultyOnMemory()
    const other = files.open('/b', 'create')
    files.write(other, [TEN], 0)
    files.limitSpace(25)
    assert.equal(files.freeBytes('/'), 25)
    assert.equal(files.write(fd, [TEN], 0), 10)
    assert.equal(files.write(fd, [TEN], 5), 10)
    assert.equal(files.freeBytes('/'), 10)
    assert.equal(files.write(fd, [TEN, TEN], 15), 10)
    assert.throws(() => files.write(fd, [TEN], 25), withCode('ENOSPC'))
    assert.equal(files.write(fd, [TEN], 0), 10)
    files.truncate(fd, 20)
    assert.equal(files.freeBytes('/'), 5)
    files.remove('/b')
    assert.equal(files.freeBytes('/'), 15)
    assert.throws(() => files.allocate(fd, 100), withCode('ENOSPC'))
    assert.equal(files.freeBytes('/'), 0)
    files.heal()
    assert.equal(files.write(fd, [TEN], 100), 10)
  })

  test('a slow disk tells its delays', () => {
    const delays: unknown[] = []
    const files = new FaultyFileSystem(new MemoryFileSystem(), {
      onDelay: (delayMs, operation, path) => delays.push([delayMs, operation, path]),
    })
    const fd = files.open('/a', 'create')
    files.inject({ on: 'fdatasync', times: 2, effect: { kind: 'delay', delayMs: 250 } })
    for (let round = 0; round < 3; round++) files.fdatasync(fd)
    assert.deepEqual(delays, [
      [250, 'fdatasync', '/a'],
      [250, 'fdatasync', '/a'],
    ])
  })

  test('reads come back wrong once, the file stays right', () => {
    const { files, fd } = faultyOnMemory()
    files.write(fd, [new Uint8Array(1024).fill(255)], 0)
    files.inject({ on: 'read', effect: { kind: 'flip-bit', bit: 8 * 100 + 3 } })
    files.inject({ on: 'read', skip: 1, effect: { kind: 'zero-sector', at: 512 } })
    const target = new Uint8Array(1024)
    files.read(fd, target, 0)
    assert.deepEqual([target[99], target[100], target[101]], [255, 255 - 8, 255])
    files.read(fd, target, 0)
    assert.deepEqual([target[511], target[512], target[1023]], [255, 0, 0])
    files.read(fd, target, 0)
    assert.ok(target.every((byte) => byte === 255))
  })

  test('damage at rest survives a power cut and needs no sync', () => {
    const { disk, files, fd } = faultyOnMemory()
    files.write(fd, [new Uint8Array(1500).fill(255)], 0)
    files.fdatasync(fd)
    files.flipBitAtRest('/a', 10, 0)
    files.zeroSectorAtRest('/a', 1100)
    const left = disk.crash(new SeededPrng(1)).contentOf('/a')
    assert.deepEqual([left[9], left[10], left[11]], [255, 254, 255])
    assert.deepEqual([left[1023], left[1024], left[1499], left.length], [255, 0, 0, 1500])
    assert.deepEqual(disk.contentOf('/a'), left)
    assert.throws(() => files.flipBitAtRest('/a', 1500, 0), RangeError)
  })

  test('an effect on an operation it cannot apply to is refused', () => {
    const { files } = faultyOnMemory()
    assert.throws(() => files.inject({ on: 'read', effect: { kind: 'short-write', bytes: 1 } }), RangeError)
    assert.throws(() => files.inject({ on: 'write', effect: { kind: 'flip-bit', bit: 1 } }), RangeError)
  })
})
