/**
 * Retention: which segments go, by time and by size. Pure: it decides, PartitionLog acts.
 *
 * Rules  whole segments, oldest first, only what lies below the last stable offset; a topic that is only compacted keeps all.
 *        By time: a segment goes when its newest record is older than retention.ms; one without timestamps counts from when it
 *        was begun. By size: the oldest goes while the rest still holds at least retention.bytes (Kafka's rule).
 *        The active segment goes too when all its records are expired by time: it is rolled first.
 */
import type { TopicConfig } from '../model/topic-config.ts'

/** What retention asks of a segment. */
export interface RetentionSegment {
  readonly nextOffset: number
  readonly bytes: number
  readonly maxTimestampMs: number
  readonly createdMs: number
}

export interface RetentionInput {
  /** Ascending. */
  readonly segments: readonly RetentionSegment[]
  /** The last of them takes writes. */
  readonly lastIsActive: boolean
  readonly logStartOffset: number
  /** The last stable offset: what is open or not visible stays. */
  readonly stableEnd: number
  readonly nowMs: number
  readonly config: Pick<TopicConfig, 'retentionMs' | 'retentionBytes' | 'cleanupPolicy'>
}

export interface RetentionDecision {
  /** The log begins here afterwards; logStartOffset if nothing goes. */
  readonly newStartOffset: number
  /** The active segment goes as well: roll it first. */
  readonly rollActive: boolean
  readonly segments: number
  readonly reason: 'none' | 'time' | 'size' | 'time and size'
}

export function decideRetention(input: RetentionInput): RetentionDecision {
  const { segments, config } = input
  if (config.cleanupPolicy === 'compact') return keepAll(input)
  let bytes = 0
  for (const segment of segments) bytes += segment.bytes
  let count = 0
  let byTime = false
  let bySize = false
  for (const segment of segments) {
    const isActive = input.lastIsActive && count === segments.length - 1
    if (segment.nextOffset > input.stableEnd || segment.bytes === 0) break
    const expired = config.retentionMs >= 0 && input.nowMs - newestMs(segment) > config.retentionMs
    const surplus = config.retentionBytes >= 0 && bytes - segment.bytes >= config.retentionBytes
    if (!expired && (!surplus || isActive)) break
    byTime ||= expired
    bySize ||= !expired
    bytes -= segment.bytes
    count++
  }
  if (count === 0) return keepAll(input)
  return {
    newStartOffset: Math.max(input.logStartOffset, segments[count - 1]!.nextOffset),
    rollActive: input.lastIsActive && count === segments.length,
    segments: count,
    reason: byTime && bySize ? 'time and size' : byTime ? 'time' : 'size',
  }
}

function newestMs(segment: RetentionSegment): number {
  return segment.maxTimestampMs >= 0 ? segment.maxTimestampMs : segment.createdMs
}

function keepAll(input: RetentionInput): RetentionDecision {
  return { newStartOffset: input.logStartOffset, rollActive: false, segments: 0, reason: 'none' }
}
