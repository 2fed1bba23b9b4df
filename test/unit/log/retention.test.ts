import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { decideRetention, type RetentionInput, type RetentionSegment } from '../../../src/log/retention.ts'

const DAY_MS = 86_400_000
const NOW = 100 * DAY_MS

function segment(nextOffset: number, ageDays: number, bytes = 100): RetentionSegment {
  return { nextOffset, bytes, maxTimestampMs: NOW - ageDays * DAY_MS, createdMs: NOW - ageDays * DAY_MS }
}

function decide(segments: RetentionSegment[], changes: Partial<RetentionInput> & { ms?: number; bytes?: number } = {}) {
  const { ms = 14 * DAY_MS, bytes = -1, ...rest } = changes
  return decideRetention({
    segments,
    lastIsActive: true,
    logStartOffset: 0,
    stableEnd: 1000,
    nowMs: NOW,
    config: { retentionMs: ms, retentionBytes: bytes, cleanupPolicy: 'delete' },
    ...rest,
  })
}

describe('retention', () => {
  it('by time: closed segments whose newest record is older than retention.ms, oldest first', () => {
    const decision = decide([segment(10, 20), segment(20, 15), segment(30, 14), segment(40, 1)])
    assert.deepEqual(decision, { newStartOffset: 20, rollActive: false, segments: 2, reason: 'time' })
  })

  it('stops at the first segment that stays: never a hole', () => {
    assert.equal(decide([segment(10, 1), segment(20, 99), segment(30, 0)]).segments, 0)
  })

  it('the active segment goes too when all of it is expired, and is rolled first', () => {
    const decision = decide([segment(10, 20), segment(20, 15)])
    assert.deepEqual(decision, { newStartOffset: 20, rollActive: true, segments: 2, reason: 'time' })
  })

  it('an empty active segment stays', () => {
    const empty = { nextOffset: 20, bytes: 0, maxTimestampMs: -1, createdMs: 0 }
    assert.deepEqual(decide([segment(20, 20), empty]), {
      newStartOffset: 20,
      rollActive: false,
      segments: 1,
      reason: 'time',
    })
  })

  it('by size: the oldest goes while the rest still holds retention.bytes; never the active one', () => {
    const segments = [segment(10, 0), segment(20, 0), segment(30, 0), segment(40, 0)]
    assert.equal(decide(segments, { bytes: 301 }).segments, 0)
    assert.deepEqual(decide(segments, { bytes: 300 }), {
      newStartOffset: 10,
      rollActive: false,
      segments: 1,
      reason: 'size',
    })
    assert.equal(decide(segments, { bytes: 0 }).segments, 3)
  })

  it('both rules together', () => {
    const decision = decide([segment(10, 20), segment(20, 1), segment(30, 0)], { bytes: 100 })
    assert.deepEqual([decision.segments, decision.reason], [2, 'time and size'])
  })

  it('nothing at or past the high watermark goes', () => {
    assert.equal(decide([segment(10, 20), segment(20, 20), segment(30, 0)], { stableEnd: 19 }).segments, 1)
    assert.equal(decide([segment(10, 20), segment(30, 0)], { stableEnd: 9 }).segments, 0)
  })

  it('-1 keeps for ever, and a topic that is only compacted keeps all', () => {
    assert.equal(decide([segment(10, 9999), segment(20, 0)], { ms: -1 }).segments, 0)
    const config = { retentionMs: 1, retentionBytes: 0, cleanupPolicy: 'compact' as const }
    assert.equal(decide([segment(10, 20), segment(20, 0)], { config }).segments, 0)
  })

  it('a segment without timestamps counts from when it was begun', () => {
    const unknown = { nextOffset: 10, bytes: 1, maxTimestampMs: -1, createdMs: NOW - 15 * DAY_MS }
    assert.equal(decide([unknown, segment(20, 0)]).segments, 1)
    assert.equal(decide([{ ...unknown, createdMs: NOW }, segment(20, 0)]).segments, 0)
  })

  it('the log start never falls', () => {
    assert.equal(decide([segment(10, 20), segment(30, 0)], { logStartOffset: 12 }).newStartOffset, 12)
  })
})
