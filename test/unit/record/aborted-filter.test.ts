/** Aborted transactions as a reader passes over them, against a model that knows of each record what became of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { AbortedTransaction } from '../../../src/model/aborted-transaction.ts'
import { BatchReader } from '../../../src/record/batch-reader.ts'
import { BatchView } from '../../../src/record/batch-view.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'
import { type MarkerType, writeMarker } from '../../../src/record/control-batch.ts'
import { nodeCodecs } from '../../../src/record/node-codecs.ts'

const codecs = nodeCodecs()
const GZIP = 1

interface Transaction {
  readonly producerId: number
  readonly firstOffset: number
  outcome: MarkerType | undefined
  markerOffset: number
}

interface StoredBatch {
  readonly bytes: Uint8Array
  readonly baseOffset: number
  readonly nextOffset: number
  readonly isMarker: boolean
  readonly transaction: Transaction | undefined
}

/** A partition's log as producers with transactions fill it. */
class ModelLog {
  readonly batches: StoredBatch[] = []
  readonly transactions: Transaction[] = []
  readonly #open = new Map<number, Transaction>()
  endOffset = 0

  write(producerId: number, count: number, options: { transactional: boolean; codec?: number }): void {
    if (!options.transactional && this.#open.has(producerId)) return
    const writer = new BatchWriter({ codecs })
    for (let index = 0; index < count; index++)
      writer.append(null, `value ${this.endOffset + index}, again and again`, null, 1)
    const { transactional, codec = 0 } = options
    const bytes = writer.finish({ producerId, producerEpoch: 0, baseSequence: 0, transactional, codec }).slice()
    let transaction = this.#open.get(producerId)
    if (transactional && transaction === undefined) {
      transaction = { producerId, firstOffset: this.endOffset, outcome: undefined, markerOffset: -1 }
      this.#open.set(producerId, transaction)
      this.transactions.push(transaction)
    }
    this.#store(bytes, count, { isMarker: false, transaction })
  }

  end(producerId: number, type: MarkerType): void {
    const transaction = this.#open.get(producerId)
    this.#open.delete(producerId)
    if (transaction !== undefined) Object.assign(transaction, { outcome: type, markerOffset: this.endOffset })
    const bytes = writeMarker({ type, producerId, producerEpoch: 0, coordinatorEpoch: 0, timestampMs: 1 })
    this.#store(bytes, 1, { isMarker: true, transaction: undefined })
  }

  #store(bytes: Uint8Array, count: number, kind: Pick<StoredBatch, 'isMarker' | 'transaction'>): void {
    new BatchView().reset(bytes).stamp(this.endOffset, 1)
    this.batches.push({ bytes, baseOffset: this.endOffset, nextOffset: this.endOffset + count, ...kind })
    this.endOffset += count
  }

  /** Of the first batch that may not be read yet. */
  get lastStableOffset(): number {
    return Math.min(this.endOffset, ...[...this.#open.values()].map(({ firstOffset }) => firstOffset))
  }

  /** What a fetch of [from, end) tells. */
  aborted(from: number, end: number): AbortedTransaction[] {
    return this.transactions.filter(
      ({ outcome, firstOffset, markerOffset }) => outcome === 'ABORT' && markerOffset >= from && firstOffset < end,
    )
  }
}

function bodyOf(batches: readonly StoredBatch[]): Uint8Array {
  return new Uint8Array(Buffer.concat(batches.map(({ bytes }) => bytes)))
}

function read(body: Uint8Array, fromOffset: number, aborted: readonly AbortedTransaction[]): number[] {
  const reader = new BatchReader({ codecs }).reset(body, fromOffset, aborted)
  const offsets: number[] = []
  while (reader.next()) offsets.push(reader.offset)
  return offsets
}

const producer = fc.integer({ min: 1, max: 4 })
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      producer,
      count: fc.integer({ min: 1, max: 3 }),
      packed: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('plain' as const), producer, count: fc.integer({ min: 1, max: 2 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('ABORT' as const, 'COMMIT' as const), producer }) },
)

test('whatever part of a log is fetched, the records of committed transactions are delivered, and no others', () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 40 }),
      fc.nat(),
      fc.nat(),
      fc.boolean(),
      (steps, fromSeed, lengthSeed, isReversed) => {
        const log = new ModelLog()
        for (const each of steps) {
          if (each.kind === 'write')
            log.write(each.producer, each.count, { transactional: true, codec: each.packed ? GZIP : 0 })
          else if (each.kind === 'plain') log.write(each.producer, each.count, { transactional: false })
          else log.end(each.producer, each.kind)
        }
        const stable = log.batches.filter(({ nextOffset }) => nextOffset <= log.lastStableOffset)
        if (stable.length === 0) return
        const from = fromSeed % log.lastStableOffset
        const after = stable.filter(({ nextOffset }) => nextOffset > from)
        const fetched = after.slice(0, 1 + (lengthSeed % after.length))
        const aborted = log.aborted(from, fetched.at(-1)!.nextOffset)
        if (isReversed) aborted.reverse()
        const expected = fetched
          .filter(({ isMarker, transaction }) => !isMarker && transaction?.outcome !== 'ABORT')
          .flatMap(({ baseOffset, nextOffset }) =>
            Array.from({ length: nextOffset - baseOffset }, (_, index) => baseOffset + index),
          )
          .filter((offset) => offset >= from)
        assert.deepEqual(read(bodyOf(fetched), from, aborted), expected)
      },
    ),
    { numRuns: 500 },
  )
})

test('after an abort, the next transaction of the same producer is delivered', () => {
  const log = new ModelLog()
  log.write(7, 2, { transactional: true })
  log.end(7, 'ABORT')
  log.write(7, 2, { transactional: true })
  log.end(7, 'COMMIT')
  assert.deepEqual(read(bodyOf(log.batches), 0, log.aborted(0, 6)), [3, 4])
})

test('a batch without a transaction of a producer whose transaction is aborted is delivered', () => {
  const log = new ModelLog()
  log.write(7, 1, { transactional: true })
  log.write(8, 1, { transactional: false })
  log.end(7, 'ABORT')
  log.write(7, 1, { transactional: false })
  assert.deepEqual(read(bodyOf(log.batches), 0, log.aborted(0, 4)), [1, 3])
})

test('without a list all data is delivered and markers are not: read_uncommitted', () => {
  const log = new ModelLog()
  log.write(7, 2, { transactional: true })
  log.end(7, 'ABORT')
  log.write(7, 1, { transactional: true })
  const reader = new BatchReader({ codecs }).reset(bodyOf(log.batches))
  assert.deepEqual(read(bodyOf(log.batches), 0, []), [0, 1, 3])
  while (reader.next());
  assert.equal(reader.nextOffset, 4)
})

test('a reader that is used again forgets what it was told before', () => {
  const log = new ModelLog()
  log.write(7, 1, { transactional: true })
  const [first] = log.batches
  log.end(7, 'ABORT')
  const reader = new BatchReader().reset(first!.bytes, 0, log.aborted(0, 1))
  assert.equal(reader.next(), false)
  assert.equal(reader.nextOffset, 1, 'what was passed over is behind')
  assert.equal(reader.reset(first!.bytes, 0).next(), true)
})
