/**
 * What the machine can do without a broker, measured in the same run: the same bytes written to the same disk by a plain
 * loop, and the device's sync by itself. The second pass counts: memory never touched since boot is slow the first time.
 */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { percentile } from './statistics.ts'

const WRITE_BYTES = 1 << 20

/** MiB/s of 1 MiB writes; `group` syncs after each write, `interval` every second. Second pass. */
export function rawWriteMibPerSec(folder: string, bytes: number, fsync: 'group' | 'interval'): number {
  writePass(folder, bytes, fsync)
  return writePass(folder, bytes, fsync)
}

function writePass(folder: string, bytes: number, fsync: 'group' | 'interval'): number {
  const path = join(folder, 'raw-write.tmp')
  const chunk = Buffer.alloc(WRITE_BYTES, 0x5a)
  const fd = openSync(path, 'w')
  try {
    const startedMs = performance.now()
    let syncedMs = startedMs
    for (let position = 0; position < bytes; position += WRITE_BYTES) {
      writeSync(fd, chunk, 0, WRITE_BYTES, position)
      if (fsync === 'interval' && performance.now() - syncedMs < 1000) continue
      fdatasyncSync(fd)
      syncedMs = performance.now()
    }
    fdatasyncSync(fd)
    return bytes / WRITE_BYTES / ((performance.now() - startedMs) / 1000)
  } finally {
    closeSync(fd)
    rmSync(path)
  }
}

/** Milliseconds of `append writeBytes, fdatasync`, one at a time. */
export function rawSyncMs(folder: string, writeBytes: number, count: number): { p50: number; p99: number } {
  const path = join(folder, 'raw-sync.tmp')
  const chunk = Buffer.alloc(writeBytes, 0x5a)
  const samples = new Float64Array(count)
  const fd = openSync(path, 'w')
  try {
    for (let index = 0; index < count; index++) {
      const startedMs = performance.now()
      writeSync(fd, chunk, 0, writeBytes, index * writeBytes)
      fdatasyncSync(fd)
      samples[index] = performance.now() - startedMs
    }
    return { p50: percentile(samples, 0.5), p99: percentile(samples, 0.99) }
  } finally {
    closeSync(fd)
    rmSync(path)
  }
}
