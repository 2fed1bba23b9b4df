/**
 * SmallDisk: a file system of its own with a fixed size, in memory, that a test may fill to the brim without harm to others.
 *
 * Owns     a mount and its folder, until dispose(); unmounted also when the process ends before
 * Failure  not Linux, not root, no mount: { kind: 'unavailable', reason }, for a visible skip
 */
import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const BLOCK = Buffer.alloc(1024 * 1024)
const COMMAND_MS_MAX = 10_000

export type SmallDisk =
  | {
      readonly kind: 'ready'
      readonly path: string
      freeBytes(): number
      /** Writes a ballast file until `leaveBytes` are free. */
      fill(leaveBytes: number): void
      /** Removes the ballast. */
      empty(): void
      dispose(): void
    }
  | { readonly kind: 'unavailable'; readonly reason: string }

export function makeSmallDisk(bytes: number): SmallDisk {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return { kind: 'unavailable', reason: 'mounting a tmpfs takes root on Linux' }
  const path = mkdtempSync(join(tmpdir(), 'millrace-small-disk-'))
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path], { timeout: COMMAND_MS_MAX })
  if (mount.status !== 0) {
    rmdirSync(path)
    return { kind: 'unavailable', reason: `no tmpfs can be mounted: ${mount.stderr.toString().trim()}` }
  }
  const ballast = join(path, 'ballast')
  let isMounted = true
  const dispose = (): void => {
    if (!isMounted) return
    isMounted = false
    process.off('exit', dispose)
    // Lazily: a process that is just being killed may still have files open.
    spawnSync('umount', ['-l', path], { timeout: COMMAND_MS_MAX })
    rmdirSync(path)
  }
  process.once('exit', dispose)
  const freeBytes = (): number => {
    const { bavail, bsize } = statfsSync(path)
    return bavail * bsize
  }
  return {
    kind: 'ready',
    path,
    freeBytes,
    fill: (leaveBytes) => fill(ballast, () => freeBytes() - leaveBytes),
    empty: () => rmSync(ballast, { force: true }),
    dispose,
  }
}

/** Appends to `file` while there are bytes to fill; stops where the disk says that it is full. */
function fill(file: string, bytesLeft: () => number): void {
  const fd = openSync(file, 'a')
  try {
    for (let left = bytesLeft(); left > 0; left = bytesLeft()) writeSync(fd, BLOCK, 0, Math.min(left, BLOCK.length))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  } finally {
    closeSync(fd)
  }
}
