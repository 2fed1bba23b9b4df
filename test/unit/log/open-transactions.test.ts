/** OpenTransactions against a plain list of all transactions: what holds the last stable offset back. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { ALL_STABLE, OpenTransactions } from '../../../src/log/open-transactions.ts'

interface Transaction {
  readonly producerId: number
  readonly firstOffset: number
  /** -1 = open. */
  markerOffset: number
}

/** The definition: the smallest first offset of all that are open or whose marker is not below the high watermark. */
function firstUnstable(all: readonly Transaction[], highWatermark: number): number {
  const undecided = all.filter(({ markerOffset }) => markerOffset < 0 || markerOffset >= highWatermark)
  return Math.min(ALL_STABLE, ...undecided.map(({ firstOffset }) => firstOffset))
}

const step = fc.record({
  kind: fc.constantFrom('batch', 'batch', 'marker', 'settle', 'rollback', 'visible', 'ask', 'restore'),
  producerId: fc.integer({ min: 1, max: 4 }),
  share: fc.double({ min: 0, max: 1, noNaN: true }),
})

describe('OpenTransactions', () => {
  it('OT2, OT3: agrees with the list through appends, rollbacks, a high watermark that moves, and a truncation', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const transactions = new OpenTransactions()
        let all: Transaction[] = []
        let settled: Transaction[] = []
        let end = 0
        let settledEnd = 0
        let highWatermark = 0
        for (const { kind, producerId, share } of steps) {
          const open = all.find((one) => one.producerId === producerId && one.markerOffset < 0)
          if (kind === 'batch') {
            transactions.begin(producerId, end)
            if (open === undefined) all.push({ producerId, firstOffset: end, markerOffset: -1 })
            end += 3
          } else if (kind === 'marker') {
            const began = transactions.end({ producerId, producerEpoch: 1, offset: end })
            assert.equal(began, open?.firstOffset ?? -1)
            if (open !== undefined) open.markerOffset = end
            end += 1
          } else if (kind === 'settle' || kind === 'rollback') {
            if (kind === 'settle') transactions.settle()
            else transactions.rollback()
            if (kind === 'settle') settled = all.map((one) => ({ ...one }))
            else all = settled.map((one) => ({ ...one }))
            if (kind === 'settle') settledEnd = end
            else end = settledEnd
          } else if (kind === 'visible') {
            highWatermark = Math.max(highWatermark, Math.floor(settledEnd * share))
            transactions.decideBelow(highWatermark)
          } else if (kind === 'restore') {
            // A truncation: all from there on is gone.
            const cut = Math.max(highWatermark, Math.floor(settledEnd * share))
            all = settled.filter(({ firstOffset }) => firstOffset < cut).map((one) => ({ ...one }))
            for (const one of all) if (one.markerOffset >= cut) one.markerOffset = -1
            const openThen = all.filter(({ markerOffset }) => markerOffset < 0)
            transactions.restore(
              openThen.toReversed().map((one) => [one.producerId, one.firstOffset]),
              cut,
            )
            settled = all.map((one) => ({ ...one }))
            end = cut
            settledEnd = cut
          } else assert.equal(transactions.firstUnstableOffset(highWatermark), firstUnstable(all, highWatermark))
          assert.equal(transactions.count, all.filter(({ markerOffset }) => markerOffset < 0).length)
        }
        assert.equal(transactions.firstUnstableOffset(highWatermark), firstUnstable(all, highWatermark))
        const open = all.filter(({ markerOffset }) => markerOffset < 0)
        assert.deepEqual(
          transactions.toEntries(),
          open.map((one) => [one.producerId, one.firstOffset]).sort((left, right) => left[1]! - right[1]!),
        )
      }),
      { numRuns: 500 },
    )
  })

  it('registrations: the newest epoch counts, a marker takes them, a rolled back marker gives them back', () => {
    const transactions = new OpenTransactions()
    transactions.register(1, 3)
    transactions.register(1, 2)
    assert.equal(transactions.isRegistered(1, 2), false)
    assert.equal(transactions.isRegistered(1, 3), true)
    transactions.end({ producerId: 1, producerEpoch: 4, offset: 9 })
    assert.equal(transactions.isRegistered(1, 3), false)
    transactions.rollback()
    assert.equal(transactions.isRegistered(1, 3), true)
    transactions.end({ producerId: 1, producerEpoch: 4, offset: 9 })
    transactions.settle()
    assert.equal(transactions.isRegistered(1, 3), false)
  })

  it('registrations are bounded: the oldest goes', () => {
    const transactions = new OpenTransactions({ registrationsMax: 2 })
    for (const producerId of [1, 2, 1, 3]) transactions.register(producerId, 0)
    assert.deepEqual(
      [1, 2, 3].map((producerId) => transactions.isRegistered(producerId, 0)),
      [true, false, true],
    )
  })
})
