/** The transactional rules of ProducerState: 6 and 7 for batches, the table of decideMarker, and that replaying the log gives the same. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type AbortedEntry, type MarkerContent, OpenTransactions } from '../../../src/log/open-transactions.ts'
import { type MarkerWish, type ProducerBatch, ProducerState } from '../../../src/log/producer-state.ts'
import { PARTITION_OPEN_TRANSACTIONS_MAX } from '../../../src/model/limits.ts'

function data(changes: Partial<ProducerBatch> = {}): ProducerBatch {
  return {
    ...{ producerId: 1, producerEpoch: 0, baseSequence: 0, lastOffsetDelta: 0, baseOffset: 0, maxTimestamp: 0 },
    ...{ isControl: false, isTransactional: true },
    ...changes,
  }
}

function control(changes: Partial<ProducerBatch> = {}): ProducerBatch {
  return data({ isControl: true, baseSequence: -1, ...changes })
}

const ABORT: MarkerContent = { type: 'ABORT', coordinatorEpoch: 0 }
const COMMIT: MarkerContent = { type: 'COMMIT', coordinatorEpoch: 0 }

function kindOf(decision: { readonly kind: string; readonly code?: string }): string {
  return decision.code ?? decision.kind
}

function wish(changes: Partial<MarkerWish> = {}): MarkerWish {
  return { producerId: 1, producerEpoch: 1, coordinatorEpoch: 0, isClassic: false, ...changes }
}

describe('ProducerState: batches of transactions', () => {
  it('rule 7: a transaction begins only where its coordinator has registered it, with just that epoch', () => {
    const state = new ProducerState()
    const refused = state.decide(data())
    assert.equal(kindOf(refused), 'INVALID_TXN_STATE')
    assert.match(refused.kind === 'reject' ? refused.text : '', /add the partition to the transaction/)
    state.register(1, 1)
    assert.equal(kindOf(state.decide(data())), 'INVALID_TXN_STATE')
    assert.equal(kindOf(state.decide(data({ producerEpoch: 1 }))), 'append')
  })

  it('rule 7: once it is open the registration is not asked for any more; after the marker it is', () => {
    const state = new ProducerState()
    state.register(1, 0)
    state.replay(data(), 0)
    assert.equal(kindOf(state.decide(data({ baseSequence: 1 }))), 'append')
    state.replay(control({ producerEpoch: 1, baseOffset: 1 }), 0, COMMIT)
    assert.equal(kindOf(state.decide(data({ producerEpoch: 1 }))), 'INVALID_TXN_STATE')
    state.register(1, 0)
    assert.equal(kindOf(state.decide(data({ baseSequence: 1 }))), 'INVALID_PRODUCER_EPOCH')
    state.register(1, 1)
    assert.equal(kindOf(state.decide(data({ producerEpoch: 1 }))), 'append')
  })

  it('rule 6: a batch outside the transaction while one is open; a duplicate of the transaction is still one', () => {
    const state = new ProducerState()
    state.replay(data(), 0)
    assert.equal(kindOf(state.decide(data({ baseSequence: 1, isTransactional: false }))), 'INVALID_TXN_STATE')
    assert.equal(kindOf(state.decide(data({ isTransactional: false }))), 'duplicate')
    assert.equal(kindOf(state.decide(data({ producerId: 2, isTransactional: false }))), 'append')
    state.replay(control({ producerEpoch: 1 }), 0, ABORT)
    assert.equal(kindOf(state.decide(data({ producerEpoch: 1, isTransactional: false }))), 'append')
  })

  it('a newer epoch waits until the transaction of the older one is ended', () => {
    const state = new ProducerState()
    state.replay(data(), 0)
    state.register(1, 2)
    assert.equal(kindOf(state.decide(data({ producerEpoch: 2 }))), 'CONCURRENT_TRANSACTIONS')
  })

  it('the sequence is judged before the transaction', () => {
    const state = new ProducerState()
    state.replay(data(), 0)
    assert.equal(
      kindOf(state.decide(data({ baseSequence: 7, isTransactional: false }))),
      'OUT_OF_ORDER_SEQUENCE_NUMBER',
    )
  })

  it('after a marker that bumped the epoch the next batch begins with 0, also where the marker was the first of its producer', () => {
    const state = new ProducerState()
    state.replay(control({ producerEpoch: 3 }), 0, ABORT)
    state.register(1, 3)
    assert.equal(kindOf(state.decide(data({ producerEpoch: 3, baseSequence: 5 }))), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    assert.equal(kindOf(state.decide(data({ producerEpoch: 3 }))), 'append')
    assert.equal(kindOf(state.decide(data({ producerEpoch: 2 }))), 'INVALID_PRODUCER_EPOCH')
  })

  it('no more than PARTITION_OPEN_TRANSACTIONS_MAX are open', () => {
    const state = new ProducerState()
    for (let producerId = 2; producerId < 2 + PARTITION_OPEN_TRANSACTIONS_MAX; producerId++)
      state.replay(data({ producerId, baseOffset: producerId }), 0)
    state.register(1, 0)
    assert.equal(kindOf(state.decide(data())), 'OVERLOADED')
    assert.equal(kindOf(state.decide(data({ producerId: 2, baseSequence: 1 }))), 'append')
    state.replay(control({ producerId: 5, producerEpoch: 1 }), 0, COMMIT)
    assert.equal(kindOf(state.decide(data())), 'append')
  })

  it('P5: a producer with an open transaction is neither expired nor evicted', () => {
    const state = new ProducerState({ producersMax: 2 })
    state.replay(data(), 0)
    for (const producerId of [2, 3, 4]) state.replay(data({ producerId, isTransactional: false }), 1)
    assert.deepEqual(
      state.describe().map((one) => one.producerId),
      [1, 4],
    )
    assert.equal(state.expire(100), 1)
    assert.deepEqual(
      state.describe().map((one) => one.producerId),
      [1],
    )
    state.replay(control({ producerEpoch: 1 }), 2, COMMIT)
    assert.equal(state.expire(100), 1)
  })

  it('P5: more open ones than producers fit: all stay, the others go', () => {
    const state = new ProducerState({ producersMax: 1 })
    for (const producerId of [1, 2, 3]) state.replay(data({ producerId, isTransactional: producerId !== 2 }), 0)
    assert.deepEqual(
      state.describe().map((one) => one.producerId),
      [1, 3],
    )
  })
})

describe('ProducerState: the table of decideMarker', () => {
  const open = (): ProducerState => {
    const state = new ProducerState()
    state.register(1, 3)
    state.replay(data({ producerEpoch: 3 }), 0)
    return state
  }

  it('a bumped marker ends the transaction and fences its epoch; the same once more is written', () => {
    const state = open()
    assert.equal(kindOf(state.decideMarker(wish({ producerEpoch: 4 }))), 'append')
    state.replay(control({ producerEpoch: 4, baseOffset: 1 }), 0, COMMIT)
    assert.equal(kindOf(state.decideMarker(wish({ producerEpoch: 4 }))), 'written')
    assert.equal(kindOf(state.decide(data({ producerEpoch: 3, baseSequence: 1 }))), 'INVALID_PRODUCER_EPOCH')
  })

  it('X1: a late marker of an earlier transaction does not end the next one', () => {
    const state = open()
    state.replay(control({ producerEpoch: 4, baseOffset: 1 }), 0, COMMIT)
    state.register(1, 4)
    state.replay(data({ producerEpoch: 4, baseOffset: 2 }), 0)
    assert.equal(kindOf(state.decideMarker(wish({ producerEpoch: 4 }))), 'INVALID_PRODUCER_EPOCH')
    assert.equal(kindOf(state.decideMarker(wish({ producerEpoch: 5 }))), 'append')
  })

  it('below the epoch of the partition and open: fenced, classic or not', () => {
    for (const isClassic of [false, true])
      assert.equal(kindOf(open().decideMarker(wish({ producerEpoch: 2, isClassic }))), 'INVALID_PRODUCER_EPOCH')
  })

  it('below the epoch of the partition and nothing open: written, whoever raised the epoch; but not for an old coordinator', () => {
    const state = new ProducerState()
    state.register(7, 3)
    const stranger = data({ producerId: 7, producerEpoch: 32_767, isTransactional: false })
    assert.equal(kindOf(state.decide(stranger)), 'append')
    state.apply(stranger, 0)
    state.settle()
    for (const isClassic of [false, true])
      assert.equal(kindOf(state.decideMarker(wish({ producerId: 7, producerEpoch: 4, isClassic }))), 'written')
    const late = data({ producerId: 7, producerEpoch: 3, isTransactional: true, baseOffset: 1 })
    assert.equal(kindOf(state.decide(late)), 'INVALID_PRODUCER_EPOCH', 'nothing of it can begin any more')
  })

  it('X8: a classic marker of the same epoch ends the transaction, and sequences go on', () => {
    const state = open()
    assert.equal(kindOf(state.decideMarker(wish({ producerEpoch: 3, isClassic: true }))), 'append')
    state.replay(control({ producerEpoch: 3, baseOffset: 1 }), 0, ABORT)
    assert.equal(kindOf(state.decideMarker(wish({ producerEpoch: 3, isClassic: true }))), 'written')
    state.register(1, 3)
    assert.equal(kindOf(state.decide(data({ producerEpoch: 3, baseSequence: 0 }))), 'duplicate')
    assert.equal(kindOf(state.decide(data({ producerEpoch: 3, baseSequence: 1 }))), 'append')
  })

  it('X8: a classic transaction that wrote nothing here: its marker takes the registration along', () => {
    const state = open()
    state.replay(control({ producerEpoch: 3, baseOffset: 1 }), 0, COMMIT)
    state.register(1, 3)
    assert.equal(kindOf(state.decideMarker(wish({ producerEpoch: 3, isClassic: true }))), 'append')
    assert.equal(state.replay(control({ producerEpoch: 3, baseOffset: 2 }), 0, ABORT), undefined)
    assert.equal(kindOf(state.decide(data({ producerEpoch: 3, baseSequence: 1 }))), 'INVALID_TXN_STATE')
  })

  it('a partition that was added and never written to: the marker is appended, so that the old epoch is fenced', () => {
    const state = new ProducerState()
    state.register(1, 3)
    assert.equal(kindOf(state.decideMarker(wish({ producerEpoch: 4 }))), 'append')
    state.apply(control({ producerEpoch: 4 }), 0, ABORT)
    assert.equal(kindOf(state.decide(data({ producerEpoch: 3 }))), 'INVALID_PRODUCER_EPOCH')
  })

  it('X9: a coordinator of an older epoch is fenced', () => {
    const state = open()
    state.replay(control({ producerEpoch: 4, baseOffset: 1 }), 0, { type: 'COMMIT', coordinatorEpoch: 6 })
    const late = wish({ producerEpoch: 5, coordinatorEpoch: 5 })
    assert.equal(kindOf(state.decideMarker(late)), 'TRANSACTION_COORDINATOR_FENCED')
    assert.equal(kindOf(state.decideMarker({ ...late, coordinatorEpoch: 6 })), 'append')
    state.replay(data({ producerEpoch: 7 }), 0)
    assert.equal(kindOf(state.decideMarker({ ...late, producerEpoch: 8 })), 'TRANSACTION_COORDINATOR_FENCED')
  })
})

interface Step {
  readonly kind: 'data' | 'data-plain' | 'marker'
  readonly producerId: number
  readonly epochStep: number
  readonly isAbort: boolean
  readonly outcome: 'later' | 'settle' | 'rollback' | 'snapshot'
}

interface Logged {
  readonly batch: ProducerBatch
  readonly marker: MarkerContent | undefined
}

/** The aborted transactions of a list of batches, by the definition. */
function abortedOf(log: readonly Logged[]): AbortedEntry[] {
  const open = new Map<number, number>()
  const list: AbortedEntry[] = []
  for (const { batch, marker } of log) {
    const { producerId, baseOffset } = batch
    if (!batch.isControl && batch.isTransactional && !open.has(producerId)) open.set(producerId, baseOffset)
    const firstOffset = open.get(producerId)
    if (marker === undefined || firstOffset === undefined) continue
    open.delete(producerId)
    const lastStableOffset = Math.min(baseOffset + 1, ...open.values())
    if (marker.type === 'ABORT') list.push({ producerId, firstOffset, lastOffset: baseOffset, lastStableOffset })
  }
  return list
}

describe('ProducerState with transactions', () => {
  it('by decide and apply, with rollbacks and snapshots, as by replaying the log (I10, P3)', () => {
    const step: fc.Arbitrary<Step> = fc.record({
      kind: fc.constantFrom('data', 'data', 'data-plain', 'marker'),
      producerId: fc.integer({ min: 1, max: 3 }),
      epochStep: fc.constantFrom(0, 0, 1),
      isAbort: fc.boolean(),
      outcome: fc.constantFrom('later', 'later', 'settle', 'rollback', 'snapshot'),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let state = new ProducerState()
        let log: Logged[] = []
        let settled: Logged[] = []
        let staged: AbortedEntry[] = []
        const aborted: AbortedEntry[] = []
        let end = 0
        let settledEnd = 0
        for (const [index, { kind, producerId, epochStep, isAbort, outcome }] of steps.entries()) {
          const known = state.describe().find((one) => one.producerId === producerId)
          const producerEpoch = (known?.epoch ?? 0) + epochStep
          let batch: ProducerBatch
          let marker: MarkerContent | undefined
          let isTaken: boolean
          if (kind === 'marker') {
            batch = control({ producerId, producerEpoch, baseOffset: end })
            marker = { type: isAbort ? 'ABORT' : 'COMMIT', coordinatorEpoch: index }
            const decision = state.decideMarker({
              ...wish({ producerId, producerEpoch }),
              coordinatorEpoch: index,
              isClassic: epochStep === 0,
            })
            isTaken = decision.kind === 'append'
          } else {
            const last = known?.batches.at(-1)?.lastSequence ?? -1
            const baseSequence = epochStep === 0 ? last + 1 : 0
            state.register(producerId, producerEpoch)
            batch = data({ producerId, producerEpoch, baseSequence, baseOffset: end, isTransactional: kind === 'data' })
            isTaken = state.decide(batch).kind === 'append'
          }
          if (isTaken) {
            const entry = state.apply(batch, index, marker)
            if (entry !== undefined) staged.push(entry)
            log.push({ batch, marker })
            end += 1
          }
          if (outcome === 'settle' || outcome === 'snapshot') {
            state.settle()
            aborted.push(...staged)
            staged = []
            settled = log.slice()
            settledEnd = end
          } else if (outcome === 'rollback') {
            state.rollback()
            staged = []
            log = settled.slice()
            end = settledEnd
          }
          if (outcome === 'snapshot') {
            const decoded = ProducerState.decode(state.encode(end))
            assert.ok(decoded.kind === 'present')
            assert.deepEqual(decoded.value.state.describe(), state.describe())
            assert.deepEqual(decoded.value.open, state.transactions.toEntries())
            state = decoded.value.state
          }
        }
        state.rollback()
        const replayed = new ProducerState()
        const found: AbortedEntry[] = []
        for (const { batch, marker } of settled) {
          const entry = replayed.replay(batch, 0, marker)
          if (entry !== undefined) found.push(entry)
        }
        assert.deepEqual(state.describe(), replayed.describe())
        assert.deepEqual(state.transactions.toEntries(), replayed.transactions.toEntries())
        assert.deepEqual(aborted, found)
        assert.deepEqual(found, abortedOf(settled))
      }),
      { numRuns: 500 },
    )
  })

  it('a state that was forgotten and loaded again believes what the partition knows to be open', () => {
    const transactions = new OpenTransactions()
    const state = new ProducerState({ transactions })
    state.apply(data(), 0)
    state.settle()
    const image = state.encode(1)
    const again = ProducerState.decode(image, { transactions })
    assert.ok(again.kind === 'present')
    assert.deepEqual(again.value.open, [[1, 0]])
    assert.equal(kindOf(again.value.state.decide(data({ baseSequence: 1 }))), 'append')
    assert.equal(transactions.count, 1)
  })
})
