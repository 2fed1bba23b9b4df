import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { InvariantError } from '../../../src/base/assert.ts'
import { type Fd, StorageError } from '../../../src/io/file-system.ts'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { OpenFileCache } from '../../../src/log/open-file-cache.ts'

/** A disk with files f0…f9 whose only byte is their number. */
function diskWithFiles(): MemoryFileSystem {
  const files = new MemoryFileSystem()
  for (let index = 0; index < 10; index++) {
    const fd = files.open(`/f${index}`, 'create-new')
    files.write(fd, [Uint8Array.of(index)], 0)
    files.close(fd)
  }
  return files
}

describe('OpenFileCache', () => {
  test('keeps a released file open and hands it out again', () => {
    const files = diskWithFiles()
    const cache = new OpenFileCache(files, { filesOpenMax: 2 })
    const fd = cache.acquire('/f1', 'read')
    cache.release(fd)
    assert.equal(cache.acquire('/f1', 'read'), fd)
    assert.deepEqual(cache.counters, { hits: 1, misses: 1, evictions: 0 })
  })

  test('closes the file that was used longest ago, before it opens another', () => {
    const files = diskWithFiles()
    const cache = new OpenFileCache(files, { filesOpenMax: 2 })
    const first = cache.acquire('/f1', 'read')
    cache.release(first)
    const second = cache.acquire('/f2', 'read')
    cache.release(second)
    cache.release(cache.acquire('/f1', 'read'))
    cache.release(cache.acquire('/f3', 'read'))
    assert.equal(cache.openCount, 2)
    assert.equal(files.sizeOf(first), 1)
    assert.throws(() => files.sizeOf(second), StorageError)
  })

  test('pins come on top of the bound, and cost the idle nothing', () => {
    const cache = new OpenFileCache(diskWithFiles(), { filesOpenMax: 2 })
    const fds = [0, 1, 2, 3].map((index) => cache.acquire(`/f${index}`, 'read'))
    assert.equal(cache.openCount, 4)
    const idle = cache.acquire('/f9', 'read')
    cache.release(idle)
    assert.equal(cache.acquire('/f9', 'read'), idle)
    cache.release(idle)
    for (const fd of fds) cache.release(fd)
    assert.equal(cache.openCount, 2)
  })

  test('evict closes now, or at the last release when pinned', () => {
    const files = diskWithFiles()
    const cache = new OpenFileCache(files, { filesOpenMax: 4 })
    const fd = cache.acquire('/f1', 'read')
    cache.acquire('/f1', 'read')
    cache.evict('/f1')
    cache.release(fd)
    assert.equal(files.sizeOf(fd), 1)
    const again = cache.acquire('/f1', 'read')
    assert.notEqual(again, fd)
    cache.release(fd)
    assert.throws(() => files.sizeOf(fd), StorageError)
    cache.release(again)
    cache.evict('/f1')
    assert.equal(cache.openCount, 0)
  })

  test('evictFolder takes the folder, not its namesakes', () => {
    const files = new MemoryFileSystem()
    for (const folder of ['/a', '/ab']) files.makeFolder(folder)
    const cache = new OpenFileCache(files, { filesOpenMax: 4 })
    for (const path of ['/a/x', '/ab/x']) cache.release(cache.acquire(path, 'create'))
    cache.evictFolder('/a')
    assert.equal(cache.openCount, 1)
  })

  test('a reader’s descriptor is replaced when a writer comes, also at the bound; a writer’s serves readers', () => {
    const files = diskWithFiles()
    const cache = new OpenFileCache(files, { filesOpenMax: 1 })
    const reader = cache.acquire('/f1', 'read')
    cache.release(reader)
    const writer = cache.acquire('/f1', 'write')
    assert.notEqual(writer, reader)
    assert.equal(files.write(writer, [Uint8Array.of(9)], 0), 1)
    assert.equal(cache.acquire('/f1', 'read'), writer)
    assert.equal(cache.openCount, 1)
  })

  test('a failed open leaves the cache as it was', () => {
    const cache = new OpenFileCache(diskWithFiles(), { filesOpenMax: 2 })
    assert.throws(() => cache.acquire('/none', 'read'), StorageError)
    assert.equal(cache.openCount, 0)
    cache.release(cache.acquire('/f1', 'read'))
  })

  test('releasing what is not pinned, and closing what is, are bugs', () => {
    const cache = new OpenFileCache(diskWithFiles(), { filesOpenMax: 2 })
    assert.throws(() => cache.release(12345), InvariantError)
    const fd = cache.acquire('/f1', 'read')
    assert.throws(() => cache.close(), InvariantError)
    cache.release(fd)
    assert.throws(() => cache.release(fd), InvariantError)
    cache.close()
    assert.equal(cache.openCount, 0)
  })

  test('property: pinned files stay readable, and the bound holds', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('acquire' as const), file: fc.nat(9), write: fc.boolean() }),
      fc.record({ kind: fc.constant('release' as const), pin: fc.nat(50) }),
      fc.record({ kind: fc.constant('evict' as const), file: fc.nat(9) }),
    )
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 60 }), (filesOpenMax, steps) => {
        const files = diskWithFiles()
        const cache = new OpenFileCache(files, { filesOpenMax })
        const pins: { fd: Fd; file: number }[] = []
        for (const action of steps) {
          if (action.kind === 'acquire')
            pins.push({ fd: cache.acquire(`/f${action.file}`, action.write ? 'write' : 'read'), file: action.file })
          else if (action.kind === 'evict') cache.evict(`/f${action.file}`)
          else if (pins.length > 0) cache.release(pins.splice(action.pin % pins.length, 1)[0]!.fd)
          const target = new Uint8Array(1)
          for (const pin of pins) {
            assert.equal(files.read(pin.fd, target, 0), 1)
            assert.equal(target[0], pin.file)
          }
          assert.ok(cache.openCount <= filesOpenMax + new Set(pins.map((pin) => pin.fd)).size)
        }
      }),
    )
  })
})
