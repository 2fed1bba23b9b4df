/** Compaction of a log with transactions: what was aborted goes and stands for nothing, markers go after it, readers of committed records see the same. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { readAbortedIndex } from '../../../src/log/aborted-index.ts'
import { batchesOf, readAll, textOf } from '../../support/compaction-fixture.ts'
import { TransactionFixture } from '../../support/transaction-fixture.ts'

const BUDGET_MS = Number(process.env.MILLRACE_BUDGET_MS ?? 6000)
const SEED_OPTION = process.env.MILLRACE_SEED === undefined ? {} : { seed: Number(process.env.MILLRACE_SEED) }
const DELETE_RETENTION_MS = 500
const CONFIG = { cleanupPolicy: 'compact', minCleanableDirtyRatio: 0, deleteRetentionMs: DELETE_RETENTION_MS } as const

function linesOf(fixture: TransactionFixture): string[] {
  const controls = new Set(
    batchesOf(fixture.context, fixture.log)
      .filter(({ isControl }) => isControl)
      .map(({ baseOffset }) => baseOffset as number),
  )
  return readAll(fixture.context, fixture.log)
    .filter(({ offset }) => !controls.has(offset))
    .map(({ offset, key, value }) => `${offset} ${textOf(key)}=${textOf(value)}`)
}

function markersOf(fixture: TransactionFixture): number[] {
  return batchesOf(fixture.context, fixture.log)
    .filter(({ isControl }) => isControl)
    .map(({ baseOffset }) => baseOffset)
}

test('records of an aborted transaction go and supersede nothing; those of a committed one do', () => {
  const fixture = new TransactionFixture({ ...CONFIG, segmentBytes: 1 << 20 })
  fixture.append(9, [{ key: 'a', value: 'before' }], false)
  fixture.append(9, [{ key: 'b', value: 'before' }], false)
  fixture.append(1, [{ key: 'a', value: 'aborted' }])
  fixture.append(2, [{ key: 'b', value: 'committed' }])
  fixture.end(1, 'ABORT')
  fixture.end(2, 'COMMIT')
  fixture.log.roll()
  assert.ok(fixture.compact())
  assert.deepEqual(linesOf(fixture), ['0 a=before', '3 b=committed'])
  assert.deepEqual(markersOf(fixture), [4, 5])
})

test('nothing at or past the first open transaction is compacted', () => {
  const fixture = new TransactionFixture({ ...CONFIG, segmentBytes: 1 << 20 })
  fixture.append(9, [{ key: 'a', value: '1' }], false)
  fixture.log.roll()
  fixture.append(9, [{ key: 'a', value: '2' }], false)
  fixture.append(1, [{ key: 'a', value: 'open' }])
  fixture.log.roll()
  fixture.compact()
  assert.deepEqual(linesOf(fixture), ['0 a=1', '1 a=2', '2 a=open'])
  fixture.end(1, 'COMMIT')
  assert.ok(fixture.compact())
  assert.deepEqual(linesOf(fixture), ['2 a=open'])
})

test('an aborted transaction whose marker lies past the compacted segments is known all the same', () => {
  const fixture = new TransactionFixture({ ...CONFIG, segmentBytes: 1 << 20 })
  fixture.append(9, [{ key: 'a', value: 'before' }], false)
  fixture.append(1, [{ key: 'a', value: 'aborted' }])
  fixture.log.roll()
  fixture.end(1, 'ABORT')
  assert.ok(fixture.compact())
  assert.deepEqual(linesOf(fixture), ['0 a=before'])
})

test('a marker goes once an earlier run left nothing of its transaction and delete.retention.ms have passed, the last of its producer never', () => {
  const fixture = new TransactionFixture({ ...CONFIG, segmentBytes: 1 << 20 })
  for (let round = 0; round < 3; round++) {
    fixture.append(1, [{ key: 'a', value: `${round}` }])
    fixture.end(1, round === 1 ? 'ABORT' : 'COMMIT')
  }
  fixture.log.roll()
  assert.ok(fixture.compact())
  assert.deepEqual(linesOf(fixture), ['4 a=2'])
  assert.deepEqual(markersOf(fixture), [1, 3, 5])
  const next = () => {
    fixture.append(9, [{ key: 'z', value: 'z' }], false)
    fixture.log.roll()
    assert.ok(fixture.compact())
  }
  fixture.clock.ms += DELETE_RETENTION_MS - 1
  next()
  assert.deepEqual(markersOf(fixture), [1, 3, 5], 'their time is not up')
  fixture.clock.ms += 1
  next()
  assert.deepEqual(markersOf(fixture), [5])
  const { baseOffset, nextOffset: coveredEnd, bytes: coveredBytes } = fixture.log.closedSegments()[0]!
  const index = readAbortedIndex(fixture.files, fixture.log.folder, { baseOffset, coveredEnd, coveredBytes })
  assert.ok(index.kind === 'present')
  assert.deepEqual(index.value.entries, [], 'the entry goes with the marker')
  fixture.append(1, [{ key: 'b', value: '1' }])
  assert.deepEqual(
    fixture.log.producers.describe()[0]?.batches.at(-1)?.lastSequence,
    0,
    'a marker that bumped the epoch',
  )
})

test('the last batch of a classic producer stays beside its last marker: its sequence goes on', () => {
  const fixture = new TransactionFixture({ ...CONFIG, segmentBytes: 1 << 20 })
  fixture.append(1, [{ key: 'a', value: '1' }])
  fixture.end(1, 'COMMIT', true)
  fixture.append(9, [{ key: 'a', value: '2' }], false)
  fixture.log.roll()
  fixture.clock.ms += DELETE_RETENTION_MS
  assert.ok(fixture.compact())
  fixture.restart({ withoutState: true })
  const { epoch, batches } = fixture.log.producers.describe()[0]!
  assert.equal(epoch, 0)
  assert.equal(batches.at(-1)?.lastSequence, 0)
  assert.equal(fixture.log.transactions.count, 0)
})

type Command =
  | {
      readonly kind: 'data'
      readonly producerId: number
      readonly keys: readonly number[]
      readonly isTombstone: boolean
    }
  | { readonly kind: 'marker'; readonly producerId: number; readonly isAbort: boolean; readonly isClassic: boolean }
  | { readonly kind: 'roll' | 'compact' | 'restart' | 'replay' | 'wait' }

const producerId = fc.integer({ min: 1, max: 3 })
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      ...{ kind: fc.constant('data' as const), producerId, isTombstone: fc.constantFrom(false, false, true) },
      keys: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      ...{ kind: fc.constant('marker' as const), producerId, isAbort: fc.boolean() },
      isClassic: fc.constantFrom(false, false, true),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom(...(['roll', 'compact', 'restart', 'replay', 'wait'] as const)) }),
  },
)

test('a reader of committed records sees the same values before and after, whatever is compacted and replayed', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      const fixture = new TransactionFixture(CONFIG)
      let count = 0
      for (const step of commands) {
        const { log } = fixture
        if (step.kind === 'data') {
          const records = step.keys.map((key) => ({ key: `k${key}`, value: step.isTombstone ? null : `${count++}` }))
          fixture.append(step.producerId, records, log.transactions.has(step.producerId) || count % 4 > 0)
        } else if (step.kind === 'marker')
          fixture.end(step.producerId, step.isAbort ? 'ABORT' : 'COMMIT', step.isClassic)
        else if (step.kind === 'roll') log.roll()
        else if (step.kind === 'wait') fixture.clock.ms += DELETE_RETENTION_MS
        else if (step.kind === 'compact') fixture.compact()
        else fixture.restart({ withoutState: step.kind === 'replay' })
        fixture.checkOpen(fixture.log.logEndOffset)
        const end = Math.min(fixture.log.logEndOffset, fixture.log.transactions.firstOpenOffset)
        assert.deepEqual(sorted(fixture.committedTable(end)), sorted(fixture.expectedTable(end)))
      }
    }),
    { numRuns: 1_000_000, interruptAfterTimeLimit: BUDGET_MS, ...SEED_OPTION },
  )
})

function sorted(table: ReadonlyMap<string, string>): [string, string][] {
  return [...table].sort()
}
