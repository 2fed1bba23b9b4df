/** A file system in memory that tells of every operation behind it: where crash images are taken. */
import type { FileSystem } from '../../src/io/file-system.ts'
import type { MemoryFileSystem } from '../../src/io/memory-file-system.ts'

const CHANGING = new Set([
  'write',
  'fdatasync',
  'fsync',
  'truncate',
  'allocate',
  'syncFolder',
  'makeFolder',
  'rename',
  'remove',
  'removeFolder',
  'open',
])

/** Calls `after` behind every operation that may change the disk. */
export function hooked(files: MemoryFileSystem, after: (operation: string) => void): FileSystem {
  return new Proxy(files, {
    get(target, name) {
      const member = Reflect.get(target, name, target) as unknown
      if (typeof member !== 'function') return member
      const bound = member.bind(target) as (...args: unknown[]) => unknown
      if (!CHANGING.has(String(name))) return bound
      return (...args: unknown[]) => {
        const result = bound(...args)
        after(String(name))
        return result
      }
    },
  }) as FileSystem
}
