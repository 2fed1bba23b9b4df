import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import { INDEX_INTERVAL_BYTES, OFFSET_INDEX_ENTRIES_MAX, OffsetIndex } from '../../../src/log/offset-index.ts'
import { RECENT_BATCHES_MAX, RecentBatches } from '../../../src/log/recent-batches.ts'
import { TIME_INDEX_ENTRIES_MAX, TimeIndex } from '../../../src/log/time-index.ts'

/** Batches of a segment: relative offset, position, largest timestamp so far, last relative offset. */
function* batchesUpTo(bytes: number, seed: number) {
  const prng = new SeededPrng(seed)
  let relative = 0
  let position = 0
  let maxTimestampMs = 0
  while (position < bytes) {
    const records = 1 + prng.below(100)
    maxTimestampMs = Math.max(maxTimestampMs, position / 100 + prng.below(10_000))
    yield { relative, position, maxTimestampMs, last: relative + records - 1 }
    relative += records
    position += 200 + prng.below(20_000)
  }
}

describe('OffsetIndex', () => {
  it('stays within its bound over a full segment, and a floor is never past the batch nor far before it', () => {
    const index = new OffsetIndex()
    const all = [...batchesUpTo(2 ** 30, 1)]
    for (const one of all) index.note(one.relative, one.position)
    assert.ok(index.count <= OFFSET_INDEX_ENTRIES_MAX)
    assert.ok(index.memoryBytes <= OFFSET_INDEX_ENTRIES_MAX * 8)
    let farthest = 0
    for (const one of all) {
      const entry = index.floor(one.relative)
      assert.ok(index.filePositionAt(entry) <= one.position)
      assert.ok(index.relativeOffsetAt(entry) <= one.relative)
      farthest = Math.max(farthest, one.position - index.filePositionAt(entry))
    }
    assert.ok(farthest <= 16 * INDEX_INTERVAL_BYTES, `a floor lies ${farthest} bytes before its batch`)
  })

  it('costs nothing before its first entry, and little after', () => {
    const index = new OffsetIndex()
    index.note(0, 0)
    index.note(5, INDEX_INTERVAL_BYTES - 1)
    assert.equal(index.memoryBytes, 0)
    index.note(9, INDEX_INTERVAL_BYTES)
    assert.equal(index.memoryBytes, 128)
  })

  it('decodes to what it was, and refuses entries past what it covers', () => {
    const index = new OffsetIndex()
    for (const one of batchesUpTo(2 ** 22, 2)) index.note(one.relative, one.position)
    const meta = { baseOffset: 5, coveredBytes: 2 ** 22 + 20_200, createdMs: 1 }
    const read = OffsetIndex.decode(index.encode(meta))
    assert.ok(read.kind === 'present')
    assert.deepEqual(read.value.index.encode(meta), index.encode(meta))
    assert.equal(OffsetIndex.decode(index.encode({ ...meta, coveredBytes: 20_000 })).kind, 'unreadable')
  })
})

describe('TimeIndex', () => {
  it('stays within its bound, and never starts past the first record of a time', () => {
    const index = new TimeIndex()
    const all = [...batchesUpTo(2 ** 30, 3)]
    for (const one of all) index.note(one.maxTimestampMs, one.last, one.position)
    assert.ok(index.count <= TIME_INDEX_ENTRIES_MAX)
    for (let at = 1; at < all.length; at += 7) {
      // The first batch that brings this maximum: nothing before it has such a timestamp.
      const one = all[at]!
      if (one.maxTimestampMs === all[at - 1]!.maxTimestampMs) continue
      assert.ok(index.startOf(one.maxTimestampMs) <= one.relative)
    }
    const end = all.at(-1)!
    assert.ok(end.last - index.startOf(end.maxTimestampMs + 1) < 10_000, 'a time past all starts near the end')
  })
})

describe('RecentBatches', () => {
  it('knows the last batches exactly, and says so of older ones, across growth, overflow and truncation', () => {
    const recent = new RecentBatches()
    assert.equal(recent.filePositionOf(0), -1)
    const count = RECENT_BATCHES_MAX * 2 + 17
    for (let index = 0; index < count; index++) recent.note(index * 3, index * 10)
    const oldest = count - RECENT_BATCHES_MAX
    assert.equal(recent.filePositionOf(oldest * 3 - 1), -1)
    for (let index = oldest; index < count; index++) {
      assert.equal(recent.filePositionOf(index * 3), index * 10)
      assert.equal(recent.filePositionOf(index * 3 + 2), index * 10)
    }
    recent.truncateTo((count - 5) * 3)
    recent.note((count - 5) * 3, 1)
    assert.equal(recent.filePositionOf((count - 5) * 3), 1)
    assert.equal(recent.filePositionOf((count - 6) * 3 + 1), (count - 6) * 10)
    recent.truncateTo(0)
    assert.equal(recent.filePositionOf(5), -1)
  })
})
