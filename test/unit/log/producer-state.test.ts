import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type ProducerBatch, ProducerState } from '../../../src/log/producer-state.ts'

function batch(changes: Partial<ProducerBatch> & { records?: number } = {}): ProducerBatch {
  const { records = 1, ...rest } = changes
  return {
    producerId: 1,
    producerEpoch: 0,
    baseSequence: 0,
    lastOffsetDelta: records - 1,
    baseOffset: 0,
    maxTimestamp: 0,
    isControl: false,
    isTransactional: false,
    ...rest,
  }
}

function stateWith(...batches: ProducerBatch[]): ProducerState {
  const state = new ProducerState()
  for (const one of batches) state.replay(one, 0)
  return state
}

const kindOf = (state: ProducerState, one: ProducerBatch): string => {
  const decision = state.decide(one)
  return decision.kind === 'reject' ? decision.code : decision.kind
}

describe('ProducerState: the rules of docs/invariants.md in their order', () => {
  it('no producer id: always append, nothing remembered', () => {
    const state = new ProducerState()
    assert.equal(kindOf(state, batch({ producerId: -1, baseSequence: -1 })), 'append')
    state.apply(batch({ producerId: -1 }), 0)
    assert.equal(state.count, 0)
  })

  it('rule 1: each of the last five batches is a duplicate, with its own offsets and time; the sixth last is out of order', () => {
    const state = new ProducerState()
    for (let index = 0; index < 6; index++) {
      state.replay(batch({ baseSequence: index * 2, records: 2, baseOffset: index * 10, maxTimestamp: 100 + index }), 0)
    }
    for (let index = 1; index < 6; index++) {
      assert.deepEqual(state.decide(batch({ baseSequence: index * 2, records: 2 })), {
        kind: 'duplicate',
        baseOffset: index * 10,
        lastOffset: index * 10 + 1,
        timestampMs: 100 + index,
      })
    }
    assert.equal(kindOf(state, batch({ baseSequence: 0, records: 2 })), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
  })

  it('rule 1: only exactly the same range is a duplicate', () => {
    const state = stateWith(batch({ baseSequence: 0, records: 4 }))
    assert.equal(kindOf(state, batch({ baseSequence: 0, records: 4 })), 'duplicate')
    assert.equal(kindOf(state, batch({ baseSequence: 0, records: 3 })), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    assert.equal(kindOf(state, batch({ baseSequence: 1, records: 3 })), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
  })

  it('rule 2: an older epoch is fenced, even with a sequence that is remembered', () => {
    const state = stateWith(batch({ producerEpoch: 3 }))
    assert.equal(kindOf(state, batch({ producerEpoch: 2 })), 'INVALID_PRODUCER_EPOCH')
    assert.equal(kindOf(state, batch({ producerEpoch: 2, baseSequence: 1 })), 'INVALID_PRODUCER_EPOCH')
  })

  it('rule 3: a newer epoch begins at 0, and its sequences alone count from then on', () => {
    const state = stateWith(batch({ baseSequence: 7 }))
    assert.equal(kindOf(state, batch({ producerEpoch: 1, baseSequence: 8 })), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    assert.equal(kindOf(state, batch({ producerEpoch: 1 })), 'append')
    state.replay(batch({ producerEpoch: 1 }), 0)
    assert.equal(kindOf(state, batch({ producerEpoch: 1, baseSequence: 7 })), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    assert.equal(kindOf(state, batch({ producerEpoch: 1, baseSequence: 1 })), 'append')
  })

  it('rule 4: the next sequence, across the wrap at 2^31 - 1 too', () => {
    const state = stateWith(batch({ baseSequence: 2 ** 31 - 3, records: 2 }))
    assert.equal(kindOf(state, batch({ baseSequence: 2 ** 31 - 1 })), 'append')
    assert.equal(kindOf(state, batch({ baseSequence: 0 })), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    const across = batch({ baseSequence: 2 ** 31 - 1, records: 3 })
    state.replay(across, 0)
    assert.equal(kindOf(state, across), 'duplicate')
    assert.equal(kindOf(state, batch({ baseSequence: 2 })), 'append')
    assert.equal(kindOf(stateWith(batch({ baseSequence: 2 ** 31 - 1 })), batch({ baseSequence: 0 })), 'append')
  })

  it('rule 5: an unknown producer may begin anywhere', () => {
    assert.equal(kindOf(new ProducerState(), batch({ baseSequence: 41 })), 'append')
  })

  it('a marker fences by its epoch but has no sequence', () => {
    const state = stateWith(batch({ producerEpoch: 2, isControl: true, baseSequence: -1 }))
    assert.equal(kindOf(state, batch({ producerEpoch: 1 })), 'INVALID_PRODUCER_EPOCH')
    assert.equal(kindOf(state, batch({ producerEpoch: 2, baseSequence: 4 })), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    assert.equal(kindOf(state, batch({ producerEpoch: 2, baseSequence: 0 })), 'append')
  })

  it('what is staged counts at once, and is gone after rollback', () => {
    const state = stateWith(batch({ baseSequence: 0 }))
    state.apply(batch({ baseSequence: 1, baseOffset: 1 }), 5)
    assert.equal(kindOf(state, batch({ baseSequence: 1 })), 'duplicate')
    assert.equal(kindOf(state, batch({ baseSequence: 2 })), 'append')
    state.rollback()
    assert.equal(kindOf(state, batch({ baseSequence: 1 })), 'append')
  })

  it('the producer that wrote least recently goes when there is no room; expiry goes by the last append', () => {
    const state = new ProducerState({ producersMax: 3 })
    for (const producerId of [1, 2, 3]) state.replay(batch({ producerId }), 100 + producerId)
    state.replay(batch({ producerId: 1, baseSequence: 1 }), 104)
    state.replay(batch({ producerId: 4 }), 105)
    assert.deepEqual(
      state.describe().map((one) => one.producerId),
      [1, 3, 4],
    )
    assert.equal(state.expire(104), 1)
    assert.deepEqual(
      state.describe().map((one) => one.producerId),
      [1, 4],
    )
    assert.equal(state.expire(1000), 2)
    assert.equal(state.count, 0)
  })
})

interface Attempt {
  readonly producerId: number
  readonly producerEpoch: number
  readonly sequence: number
  readonly records: number
  readonly outcome: 'settle' | 'rollback' | 'later' | 'snapshot'
}

/** The rules once more, over the plain list of all batches in the log. */
function modelDecision(log: readonly ProducerBatch[], one: ProducerBatch): string {
  const own = log.filter((entry) => entry.producerId === one.producerId)
  const last = own.at(-1)
  if (last === undefined) return 'append'
  const sameEpoch: ProducerBatch[] = []
  for (const entry of own.toReversed()) {
    if (entry.producerEpoch !== last.producerEpoch) break
    sameEpoch.unshift(entry)
  }
  const isSame = (entry: ProducerBatch) =>
    entry.baseSequence === one.baseSequence && entry.lastOffsetDelta === one.lastOffsetDelta
  if (one.producerEpoch === last.producerEpoch && sameEpoch.slice(-5).some(isSame)) return 'duplicate'
  if (one.producerEpoch < last.producerEpoch) return 'INVALID_PRODUCER_EPOCH'
  if (one.producerEpoch > last.producerEpoch) return one.baseSequence === 0 ? 'append' : 'OUT_OF_ORDER_SEQUENCE_NUMBER'
  const expected = (last.baseSequence + last.lastOffsetDelta + 1) % 2 ** 31
  return one.baseSequence === expected ? 'append' : 'OUT_OF_ORDER_SEQUENCE_NUMBER'
}

describe('ProducerState against the plain rules', () => {
  it('decides, undoes, replays and reloads as the list of batches says (I10)', () => {
    const attempt: fc.Arbitrary<Attempt> = fc.record({
      producerId: fc.integer({ min: 1, max: 2 }),
      producerEpoch: fc.integer({ min: 0, max: 2 }),
      sequence: fc.oneof(fc.integer({ min: -4, max: 1 }), fc.constantFrom(0, 2 ** 31 - 1, 2 ** 31 - 2)),
      records: fc.integer({ min: 1, max: 3 }),
      outcome: fc.constantFrom('settle', 'settle', 'later', 'later', 'rollback', 'snapshot'),
    })
    fc.assert(
      fc.property(fc.array(attempt, { maxLength: 60 }), (attempts) => {
        let state = new ProducerState()
        let settled: ProducerBatch[] = []
        let log: ProducerBatch[] = []
        for (const [index, one] of attempts.entries()) {
          const last = log.findLast((entry) => entry.producerId === one.producerId)
          const next = last === undefined ? 0 : last.baseSequence + last.lastOffsetDelta + 1
          // Small numbers are meant relative to the producer's next sequence, so that retries and gaps are common.
          const baseSequence = one.sequence > 2 ? one.sequence : (next + one.sequence + 2 ** 31) % 2 ** 31
          const made = batch({ ...one, baseSequence, baseOffset: index * 10 })
          const expected = modelDecision(log, made)
          assert.equal(kindOf(state, made), expected)
          if (expected === 'append') {
            state.apply(made, index)
            log.push(made)
          }
          if (one.outcome === 'settle' || one.outcome === 'snapshot') {
            state.settle()
            settled = log.slice()
          }
          if (one.outcome === 'rollback') {
            state.rollback()
            log = settled.slice()
          }
          if (one.outcome === 'snapshot') {
            const decoded = ProducerState.decode(state.encode(index))
            assert.ok(decoded.kind === 'present')
            assert.equal(decoded.value.endOffset, index)
            assert.deepEqual(decoded.value.state.describe(), state.describe())
            state = decoded.value.state
          }
        }
        state.settle()
        assert.deepEqual(state.describe(), stateWith(...log).describe())
      }),
      { numRuns: 600, interruptAfterTimeLimit: 10_000, includeErrorInReport: true },
    )
  })
})
