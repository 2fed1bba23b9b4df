/**
 * What replicas hold, in the plainest form: a log is the list of the records' numbers. A data dir has a log per partition, and outlives the
 * process that writes it, but for what was not synced.
 */
import type { SeededPrng } from '../../../src/base/prng.ts'

export interface ModelLog {
  records: number[]
  syncedEnd: number
  highWatermark: number
  /** Found damaged, and not in sync again since. */
  isDamaged: boolean
}

export class ModelDirectory {
  readonly directoryId: string
  readonly logs = new Map<string, ModelLog>()
  isClean = true

  constructor(directoryId: string) {
    this.directoryId = directoryId
  }

  logOf(name: string): ModelLog {
    let log = this.logs.get(name)
    if (log === undefined)
      this.logs.set(name, (log = { records: [], syncedEnd: 0, highWatermark: 0, isDamaged: false }))
    return log
  }

  /** Everything written is on the device. */
  sync(): void {
    for (const log of this.logs.values()) log.syncedEnd = log.records.length
  }

  /** The process died, and with `isPowerCut` what was not synced may be gone. */
  crash(prng: SeededPrng): void {
    this.isClean = false
    for (const log of this.logs.values()) {
      const kept = log.syncedEnd + prng.below(log.records.length - log.syncedEnd + 1)
      cutTo(log, kept)
    }
  }
}

export function cutTo(log: ModelLog, end: number): void {
  if (end < log.records.length) log.records.length = end
  log.syncedEnd = Math.min(log.syncedEnd, end)
  log.highWatermark = Math.min(log.highWatermark, end)
}

/** Records that both logs begin with. */
export function commonEnd(left: readonly number[], right: readonly number[]): number {
  const end = Math.min(left.length, right.length)
  for (let offset = 0; offset < end; offset++) if (left[offset] !== right[offset]) return offset
  return end
}
