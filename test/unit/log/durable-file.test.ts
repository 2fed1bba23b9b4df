/** Small files: a write's count is checked (R1), and a replaced file is the old one or the new one after any crash (R4). */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import { FaultyFileSystem } from '../../../src/io/faulty-file-system.ts'
import { type FileSystem, StorageError } from '../../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { readWholeFile, replaceFile, writeFully } from '../../../src/log/durable-file.ts'

const OLD = new Uint8Array(3000).fill(1)
const NEW = [new Uint8Array(1000).fill(2), new Uint8Array(0), new Uint8Array(4000).fill(3)]
const NEW_WHOLE = new Uint8Array(Buffer.concat(NEW))

function diskWithOld(): MemoryFileSystem {
  const disk = new MemoryFileSystem()
  disk.makeFolder('/d')
  disk.syncFolder('/')
  replaceFile(disk, '/d/file', [OLD])
  return disk
}

describe('writeFully', () => {
  it('goes on after a short count, in the middle of a buffer or between two', () => {
    for (const bytes of [1, 999, 1000, 1001, 4999]) {
      const disk = new MemoryFileSystem()
      const files = new FaultyFileSystem(disk)
      const fd = files.open('/file', 'create')
      files.inject({ on: 'write', effect: { kind: 'short-write', bytes } })
      writeFully(files, fd, NEW, 7)
      assert.equal(files.faultCount, 1)
      assert.deepEqual(disk.contentOf('/file').subarray(7), NEW_WHOLE, `after ${bytes} bytes`)
    }
  })

  it('the error behind a short count comes out', () => {
    const files = new FaultyFileSystem(new MemoryFileSystem())
    const fd = files.open('/file', 'create')
    files.inject({ on: 'write', effect: { kind: 'short-write', bytes: 10, thenFail: 'ENOSPC' } })
    assert.throws(
      () => writeFully(files, fd, NEW, 0),
      (error) => error instanceof StorageError && error.isSpace,
    )
  })

  it('a write without progress is an error, not a loop', () => {
    const files = new FaultyFileSystem(new MemoryFileSystem())
    const fd = files.open('/file', 'create')
    files.inject({ on: 'write', times: Number.POSITIVE_INFINITY, effect: { kind: 'short-write', bytes: 0 } })
    assert.throws(() => writeFully(files, fd, NEW, 0), /answered 0/)
  })
})

describe('replaceFile', () => {
  class Stop extends Error {}

  /** Lets `count` operations through, then the process is gone. */
  function stoppingAfter(disk: MemoryFileSystem, count: number): FileSystem {
    let left = count
    return new Proxy(disk, {
      get(target, name) {
        const member = Reflect.get(target, name, target) as unknown
        if (typeof member !== 'function') return member
        return (...args: unknown[]) => {
          if (left-- <= 0) throw new Stop()
          return member.apply(target, args) as unknown
        }
      },
    }) as FileSystem
  }

  it('after a power cut at any step the old file or the new one is there, whole; once it returned, the new one', () => {
    let isDone = false
    for (let steps = 0; !isDone; steps++) {
      assert.ok(steps < 50, 'it never ends')
      for (let seed = 0; seed < 30; seed++) {
        const disk = diskWithOld()
        try {
          replaceFile(stoppingAfter(disk, steps), '/d/file', NEW)
          isDone = true
        } catch (error) {
          if (!(error instanceof Stop)) throw error
        }
        const found = readWholeFile(disk.crash(new SeededPrng(seed), { kind: 'power' }), '/d/file', 1 << 20)
        assert.ok(found.kind === 'present', `nothing there after ${steps} steps, seed ${seed}`)
        const isNew = Buffer.compare(found.bytes, NEW_WHOLE) === 0
        assert.ok(isNew || (!isDone && Buffer.compare(found.bytes, OLD) === 0), `${steps} steps, seed ${seed}`)
      }
    }
  })
})
