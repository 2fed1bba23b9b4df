/**
 * Compaction: whether a partition's log is to be compacted now, and how far. Pure: it decides; CompactionRun (in the pool) rewrites,
 * LogCompaction (on the shard) swaps. compaction.md has the whole.
 *
 * Rules  segments that are closed, below the last stable offset, the recovery point and the checkpointed producer snapshot;
 *        none with a record younger than min.compaction.lag.ms. Worth it when the part that was never compacted is min.cleanable.dirty.ratio of all of that, or
 *        when it has waited for max.compaction.lag.ms; the active segment is rolled for the latter
 */
import type { TopicConfig } from '../model/topic-config.ts'

/** What compaction asks of a segment. */
export interface CompactionSegment {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly bytes: number
  readonly maxTimestampMs: number
  readonly createdMs: number
}

export interface CompactionInput {
  /** Ascending. */
  readonly segments: readonly CompactionSegment[]
  /** The last of them takes writes. */
  readonly lastIsActive: boolean
  /** Below it no key has two records. */
  readonly cleanEnd: number
  /** What is below is synced, checkpointed, decided and visible. */
  readonly endOffset: number
  readonly nowMs: number
  readonly config: Pick<
    TopicConfig,
    'cleanupPolicy' | 'minCleanableDirtyRatio' | 'minCompactionLagMs' | 'maxCompactionLagMs'
  >
}

export interface CompactionDecision {
  readonly isDue: boolean
  /** First and last offset of what is rewritten: [fromOffset, toOffset). */
  readonly fromOffset: number
  readonly toOffset: number
  /** Share of the bytes that were never compacted, of those that may be. */
  readonly dirtyRatio: number
  /** The active segment holds records that have waited too long: roll it. */
  readonly rollActive: boolean
}

export function isCompacted(config: Pick<TopicConfig, 'cleanupPolicy'>): boolean {
  return config.cleanupPolicy !== 'delete'
}

export function decideCompaction(input: CompactionInput): CompactionDecision {
  const { segments, config, nowMs, cleanEnd } = input
  const count = cleanableCount(input)
  let dirtyBytes = 0
  let bytes = 0
  let oldestDirtyMs = Number.POSITIVE_INFINITY
  for (let index = 0; index < count; index++) {
    const segment = segments[index]!
    bytes += segment.bytes
    if (segment.nextOffset <= cleanEnd) continue
    dirtyBytes += segment.bytes
    oldestDirtyMs = Math.min(oldestDirtyMs, segment.createdMs)
  }
  const dirtyRatio = bytes === 0 ? 0 : dirtyBytes / bytes
  const isOverdue = nowMs - oldestDirtyMs > config.maxCompactionLagMs
  const active = input.lastIsActive ? segments[segments.length - 1] : undefined
  return {
    isDue: isCompacted(config) && dirtyBytes > 0 && (isOverdue || dirtyRatio >= config.minCleanableDirtyRatio),
    fromOffset: segments[0]?.baseOffset ?? 0,
    toOffset: count === 0 ? (segments[0]?.baseOffset ?? 0) : segments[count - 1]!.nextOffset,
    dirtyRatio,
    rollActive:
      isCompacted(config) &&
      active !== undefined &&
      active.bytes > 0 &&
      nowMs - active.createdMs > config.maxCompactionLagMs,
  }
}

/** Segments from the first on that may be rewritten. */
function cleanableCount(input: CompactionInput): number {
  const { segments, config, nowMs, endOffset } = input
  let count = 0
  for (const segment of segments) {
    const isActive = input.lastIsActive && count === segments.length - 1
    if (isActive || segment.nextOffset > endOffset) break
    const isYoung = config.minCompactionLagMs > 0 && nowMs - segment.maxTimestampMs < config.minCompactionLagMs
    if (isYoung && segment.nextOffset > input.cleanEnd) break
    count++
  }
  return count
}
