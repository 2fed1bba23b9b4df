/** deadline-heap and delayed-fetch against naive models. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { DeadlineHeap, type Timed } from '../../../src/base/deadline-heap.ts'
import { OpenTransactions } from '../../../src/log/open-transactions.ts'
import type { LeaderEpoch, Offset, PartitionRef } from '../../../src/model/ids.ts'
import { TOPIC_CONFIG_DEFAULTS } from '../../../src/model/topic-config.ts'
import { DelayedFetch, type WaitingFetch } from '../../../src/partition/delayed-fetch.ts'
import { leaderState } from '../../../src/partition/partition-state.ts'

const timed = (deadlineMs: number): Timed => ({ deadlineMs, heapIndex: -1 })

describe('deadline heap', () => {
  test('gives items in the order of their deadlines, whatever was taken out between', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ at: fc.nat(50), removes: fc.boolean(), index: fc.nat() })), (list) => {
        const heap = new DeadlineHeap<Timed>(1000)
        let model: Timed[] = []
        for (const { at, removes, index } of list) {
          if (removes && model.length > 0) {
            const item = model[index % model.length]!
            heap.remove(item)
            model = model.filter((other) => other !== item)
          } else {
            const item = timed(at)
            assert.ok(heap.offer(item))
            model.push(item)
          }
          assert.equal(heap.nextDeadlineMs, Math.min(Number.POSITIVE_INFINITY, ...model.map((item) => item.deadlineMs)))
        }
        const taken: number[] = []
        for (let item = heap.takeExpired(25); item !== undefined; item = heap.takeExpired(25))
          taken.push(item.deadlineMs)
        const expected = model.map((item) => item.deadlineMs).filter((deadlineMs) => deadlineMs <= 25)
        assert.deepEqual(
          taken,
          expected.sort((left, right) => left - right),
        )
      }),
    )
  })

  test('is bounded', () => {
    const heap = new DeadlineHeap<Timed>(1)
    assert.ok(heap.offer(timed(1)))
    assert.equal(heap.offer(timed(2)), false)
  })
})

describe('delayed fetch', () => {
  const state = (ref: number) =>
    leaderState({
      partitionRef: ref as PartitionRef,
      config: TOPIC_CONFIG_DEFAULTS,
      leaderEpoch: 0 as LeaderEpoch,
      logStartOffset: 0 as Offset,
      logEndOffset: 0 as Offset,
      transactions: new OpenTransactions(),
    })
  const fetchOf = (
    requestId: number,
    states: ReturnType<typeof state>[],
    minBytes: number,
    deadlineMs: number,
    isolation = 0,
  ): WaitingFetch => ({
    ...{ requestId, minBytes, maxBytes: 1000, isolation, availableBytes: 0, deadlineMs, heapIndex: -1 },
    parts: states.map((one) => ({
      ...{ partitionRef: one.partitionRef, leaderEpoch: -1 as LeaderEpoch, fetchOffset: 0 as Offset, maxBytes: 1000 },
      ...{ state: one, readableEndBefore: 0 as Offset, visibleBytesBefore: 0 },
    })),
  })

  test('wakes when its partitions together gained minBytes, once', () => {
    const delayed = new DelayedFetch(10)
    const [left, right] = [state(1), state(2)]
    left.visibleBytes = 5000
    delayed.park(fetchOf(1, [left, right], 100, 50))
    const ready: WaitingFetch[] = []
    left.visibleBytes += 60
    delayed.takeReady(left.partitionRef, ready)
    assert.equal(ready.length, 0)
    right.visibleBytes += 40
    delayed.takeReady(right.partitionRef, ready)
    assert.deepEqual(
      ready.map(({ requestId }) => requestId),
      [1],
    )
    delayed.takeReady(left.partitionRef, ready)
    assert.equal(ready.length, 1)
    assert.equal(delayed.size, 0)
    assert.equal(delayed.takeExpired(1000), undefined)
  })

  test('at a follower, which counts no visible bytes, wakes when the high watermark moves', () => {
    const delayed = new DelayedFetch(10)
    const one = { ...state(1), role: 'follower' as const, logEndOffset: 9 as Offset }
    delayed.park(fetchOf(1, [one], 100, 50))
    const ready: WaitingFetch[] = []
    delayed.takeReady(one.partitionRef, ready)
    assert.equal(ready.length, 0)
    one.highWatermark = 1 as Offset
    delayed.takeReady(one.partitionRef, ready)
    assert.equal(ready.length, 1)
  })

  test('with read_committed wakes when the last stable offset moves, and counts bytes where nothing is open', () => {
    const transactions = new OpenTransactions()
    const one = { ...state(1), transactions }
    const moveTo = (highWatermark: number, bytes: number): void => {
      one.logEndOffset = highWatermark as Offset
      one.highWatermark = highWatermark as Offset
      one.visibleBytes += bytes
    }
    const delayed = new DelayedFetch(10)
    const ready: WaitingFetch[] = []
    const readyAfter = (work: () => void): number[] => {
      work()
      delayed.takeReady(one.partitionRef, ready)
      return ready.splice(0).map(({ requestId }) => requestId)
    }
    const park = (requestId: number, minBytes: number): void => {
      assert.ok(delayed.park(fetchOf(requestId, [one], minBytes, 50, 1)))
    }
    transactions.begin(7, 0)
    park(1, 100)
    assert.deepEqual(
      readyAfter(() => moveTo(2, 500)),
      [],
      'bytes of an open transaction do not count',
    )
    transactions.end({ producerId: 7, producerEpoch: 0, offset: 2 })
    assert.deepEqual(
      readyAfter(() => {}),
      [],
      'nor does a marker that is not below the high watermark',
    )
    assert.deepEqual(
      readyAfter(() => moveTo(3, 78)),
      [1],
      'it is now: who knows how many bytes that makes',
    )
    park(2, 100)
    assert.deepEqual(
      readyAfter(() => moveTo(4, 99)),
      [],
      'nothing is open: bytes count',
    )
    assert.deepEqual(
      readyAfter(() => moveTo(5, 1)),
      [2],
    )
    park(3, 100)
    assert.deepEqual(
      readyAfter(() => moveTo(6, 60)),
      [],
    )
    transactions.begin(8, 6)
    assert.deepEqual(
      readyAfter(() => moveTo(7, 60)),
      [3],
      'the end moved and stands before a transaction: it looks for itself',
    )
  })

  test('ends by time, by word, or with its partition; and is bounded', () => {
    const delayed = new DelayedFetch(3)
    const one = state(1)
    for (const requestId of [1, 2, 3]) assert.ok(delayed.park(fetchOf(requestId, [one], 1, 10 * requestId)))
    assert.equal(delayed.park(fetchOf(4, [one], 1, 1)), false)
    assert.equal(delayed.takeExpired(9), undefined)
    assert.equal(delayed.takeExpired(10)?.requestId, 1)
    assert.equal(delayed.take(2)?.requestId, 2)
    assert.equal(delayed.take(2), undefined)
    const ready: WaitingFetch[] = []
    delayed.takeAllOf(one.partitionRef, ready)
    assert.deepEqual(
      ready.map(({ requestId }) => requestId),
      [3],
    )
    assert.equal(delayed.nextDeadlineMs, Number.POSITIVE_INFINITY)
  })
})
