/**
 * What lies behind a place where a log stops being sound: whether the log goes on there, and putting a copy of it aside
 * before anything is cut (R5, R7).
 *
 * Thread      recovery and verify; blocks
 * Ordering    copy written -> synced -> folder quarantine/ synced -> only then may the caller cut
 */
import type { Fd, FileSystem } from '../io/file-system.ts'
import { findBatchAfter } from './batch-walk.ts'
import { QUARANTINE_FOLDER } from './data-dir.ts'
import { readFully, writeFully } from './durable-file.ts'
import type { FolderReplay } from './folder-replay.ts'
import { segmentFileName } from './segment.ts'

const COPY_BYTES = 1024 * 1024

export const AFTER_NOTHING = { text: 'nothing follows' } as const

/** Whether sound batches follow the place where `replay` stopped, in words. */
export function findSoundBatchBehind(
  files: FileSystem,
  replay: FolderReplay,
): typeof AFTER_NOTHING | { readonly text: string } {
  const offset = replay.nextOffset
  const leaderEpoch = replay.epochs.latestEpoch
  const last = replay.segments[replay.segments.length - 1]
  if (last !== undefined && replay.lastFileBytes > last.bytes) {
    const name = segmentFileName(last.baseOffset, '.log')
    const hit = findIn(files, `${replay.path}/${name}`, {
      ...{ filePosition: last.bytes, fileEnd: replay.lastFileBytes, offset, leaderEpoch },
    })
    if (hit !== 'none') return { text: `sound batches follow at ${hit} of ${name}` }
  }
  for (const segment of replay.later) {
    const name = segmentFileName(segment.baseOffset, '.log')
    const range = {
      filePosition: 0,
      fileEnd: segment.bytes,
      offset: Math.min(offset, segment.baseOffset - 1),
      leaderEpoch,
    }
    const hit = findIn(files, `${replay.path}/${name}`, range)
    if (hit !== 'none') return { text: `sound batches follow at ${hit} of ${name}` }
  }
  return AFTER_NOTHING
}

function findIn(
  files: FileSystem,
  path: string,
  range: { filePosition: number; fileEnd: number; offset: number; leaderEpoch: number },
): number | 'none' | 'unknown' {
  const fd = files.open(path, 'read')
  try {
    return findBatchAfter(files, { fd, ...range })
  } finally {
    files.close(fd)
  }
}

/** Copies what `replay.cut()` would remove into a folder of quarantine/, durably; returns its path below the data dir. */
export function setSuffixAside(
  files: FileSystem,
  options: {
    readonly dataDir: string
    readonly folder: string
    readonly incarnation: number
    readonly replay: FolderReplay
  },
): string {
  const { dataDir, folder, incarnation, replay } = options
  const target = `${QUARANTINE_FOLDER}/${folder}.${incarnation}.from-${replay.nextOffset}`
  files.makeFolder(`${dataDir}/${target}`)
  const last = replay.segments[replay.segments.length - 1]
  if (last !== undefined && replay.lastFileBytes > last.bytes) {
    const name = segmentFileName(last.baseOffset, '.log')
    const range = { from: last.bytes, to: replay.lastFileBytes }
    copyRange(files, `${replay.path}/${name}`, `${dataDir}/${target}/${name}.from-${last.bytes}`, range)
  }
  for (const segment of replay.later) {
    const name = segmentFileName(segment.baseOffset, '.log')
    copyRange(files, `${replay.path}/${name}`, `${dataDir}/${target}/${name}`, { from: 0, to: segment.bytes })
  }
  files.syncFolder(`${dataDir}/${target}`)
  files.syncFolder(`${dataDir}/${QUARANTINE_FOLDER}`)
  files.syncFolder(dataDir)
  return target
}

function copyRange(files: FileSystem, from: string, to: string, range: { from: number; to: number }): void {
  const source = files.open(from, 'read')
  let target: Fd | undefined
  try {
    target = files.open(to, 'create')
    files.truncate(target, 0)
    const buffer = new Uint8Array(Math.min(COPY_BYTES, range.to - range.from))
    for (let at = range.from; at < range.to; ) {
      const count = readFully(files, source, buffer.subarray(0, Math.min(buffer.length, range.to - at)), at)
      if (count === 0) break
      writeFully(files, target, [buffer.subarray(0, count)], at - range.from)
      at += count
    }
    files.fsync(target)
  } finally {
    files.close(source)
    if (target !== undefined) files.close(target)
  }
}
