import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LeaderEpochCache } from '../../../src/log/leader-epoch-cache.ts'

const cache = () =>
  new LeaderEpochCache([
    [2, 10],
    [4, 20],
    [7, 35],
  ])

describe('LeaderEpochCache: where an epoch ended (KIP-101, KIP-279)', () => {
  for (const [epoch, expected, why] of [
    [7, { epoch: 7, endOffset: 50 }, 'the latest ends at the log end'],
    [8, { epoch: -1, endOffset: -1 }, 'a newer one is undefined'],
    [-1, { epoch: -1, endOffset: -1 }, 'no epoch is undefined'],
    [4, { epoch: 4, endOffset: 35 }, 'a known one ends where the next began'],
    [2, { epoch: 2, endOffset: 20 }, 'a known one ends where the next began'],
    [5, { epoch: 4, endOffset: 35 }, 'one in a gap: the largest below it'],
    [3, { epoch: 2, endOffset: 20 }, 'one in a gap: the largest below it'],
    [1, { epoch: 1, endOffset: 10 }, 'below all: where the first known began'],
  ] as const) {
    it(`epoch ${epoch}: ${why}`, () => assert.deepEqual(cache().endOffsetFor(epoch, 50), expected))
  }

  it('an empty cache knows none', () => {
    assert.deepEqual(new LeaderEpochCache().endOffsetFor(0, 0), { epoch: -1, endOffset: -1 })
    assert.equal(new LeaderEpochCache().epochAt(0), -1)
  })

  it('the epoch of an offset', () => {
    assert.deepEqual(
      [9, 10, 19, 20, 34, 35, 99].map((offset) => cache().epochAt(offset)),
      [-1, 2, 2, 4, 4, 7, 7],
    )
  })

  it('truncation drops epochs that begin in the suffix; the start moves into the epoch that holds it', () => {
    const epochs = cache()
    assert.equal(epochs.truncateTo(35), 1)
    assert.equal(epochs.latestEpoch, 4)
    epochs.advanceStart(25)
    assert.deepEqual(epochs.toEntries(), [[4, 25]])
    assert.equal(epochs.truncateTo(10), 1)
    assert.equal(epochs.count, 0)
  })

  it('a start at an epoch boundary drops what is before it', () => {
    const epochs = cache()
    epochs.advanceStart(20)
    assert.deepEqual(epochs.toEntries(), [
      [4, 20],
      [7, 35],
    ])
  })

  it('an older epoch than the latest is an invariant broken; rollback takes back what was staged', () => {
    const epochs = cache()
    assert.throws(() => epochs.add(6, 50), /below the latest/)
    epochs.add(9, 50)
    epochs.add(9, 60)
    epochs.add(10, 70)
    assert.equal(epochs.stagedCount, 2)
    epochs.rollback()
    assert.deepEqual(epochs.toEntries(), cache().toEntries())
  })
})
