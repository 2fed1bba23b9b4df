/** A log that is compacted again and again, against a list of what was written and a Map: what may go has gone, nothing else has. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { readCleanEnd } from '../../../src/log/cleaner-checkpoint.ts'
import { KEY_OFFSET_BYTES } from '../../../src/log/key-offsets.ts'
import { PartitionLog } from '../../../src/log/partition-log.ts'
import type { PlainRecord } from '../../../src/record/batch-reader.ts'
import { nodeCodecs } from '../../../src/record/node-codecs.ts'
import {
  batchesOf,
  compact,
  type KeyedRecord,
  keyedBatch,
  readAll,
  settle,
  tableOf,
  textOf,
} from '../../support/compaction-fixture.ts'
import { append, contextOver, ManualClock, TOPIC, topicConfig } from '../../support/log-fixture.ts'

const CODECS = nodeCodecs()
const DELETE_RETENTION_MS = 500
const BUDGET_MS = Number(process.env.MILLRACE_BUDGET_MS ?? 6000)
const SEED_OPTION = process.env.MILLRACE_SEED === undefined ? {} : { seed: Number(process.env.MILLRACE_SEED) }

type Command =
  | {
      readonly kind: 'append'
      readonly records: readonly KeyedRecord[]
      readonly codec: number
      readonly producerId: number
    }
  | { readonly kind: 'roll' }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'trim'; readonly share: number }
  | { readonly kind: 'compact'; readonly slots: number }

const record = fc.record({
  key: fc.oneof(
    { weight: 9, arbitrary: fc.integer({ min: 0, max: 6 }).map((n) => `k${n}`) },
    { weight: 1, arbitrary: fc.constant(null) },
  ),
  value: fc.option(fc.string({ maxLength: 40 }), { freq: 4 }),
  timestampMs: fc.integer({ min: 1, max: 2 ** 41 }),
})

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      records: fc.array(record, { minLength: 1, maxLength: 5 }),
      codec: fc.constantFrom(0, 0, 1, 3),
      producerId: fc.integer({ min: -1, max: 2 }),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: 'roll' as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 400 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('trim' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('compact' as const), slots: fc.constantFrom(2, 8, 1024) }) },
)

class Model {
  readonly clock = new ManualClock()
  readonly files = new MemoryFileSystem()
  readonly context = contextOver(this.files, this.clock)
  readonly log = PartitionLog.create(this.context, {
    ...{ topicId: TOPIC, partition: 0 },
    config: topicConfig({
      ...{ cleanupPolicy: 'compact', minCleanableDirtyRatio: 0, segmentBytes: 600 },
      deleteRetentionMs: DELETE_RETENTION_MS,
    }),
  })
  readonly written: KeyedRecord[] = []
  readonly #sequences = new Map<number, number>()
  /** Wall time of the first compaction past a tombstone, by offset. */
  readonly #passedMs = new Map<number, number>()

  run(step: Command): void {
    if (step.kind === 'append') this.#append(step)
    else if (step.kind === 'roll') this.log.roll()
    else if (step.kind === 'wait') this.clock.ms += step.ms
    else if (step.kind === 'trim') this.log.advanceLogStart(Math.floor(this.log.logEndOffset * step.share * 0.3))
    else this.#compact(step.slots)
  }

  #append(step: Command & { kind: 'append' }): void {
    const { records, codec, producerId } = step
    const baseSequence = this.#sequences.get(producerId) ?? 0
    const producer = { producerId, producerEpoch: 0, baseSequence }
    const options = { codec, codecs: CODECS, ...(producerId < 0 ? {} : { producer }) }
    append(this.log, keyedBatch(records, options))
    this.#sequences.set(producerId, baseSequence + records.length)
    this.written.push(...records)
  }

  #compact(slots: number): void {
    settle(this.context, this.log)
    const cleanEnd = readCleanEnd(this.files, this.log.folder)
    const result = compact(this.context, this.log, { codecs: CODECS, memoryBytesMax: slots * KEY_OFFSET_BYTES })
    if (result === undefined) return
    assert.ok(result.cleanEnd > cleanEnd, 'a run gets on')
    for (let offset = cleanEnd; offset < result.cleanEnd; offset++)
      if (this.written[offset]!.value === null) this.#passedMs.set(offset, this.clock.ms)
    const records = readAll(this.context, this.log, CODECS)
    this.#checkClean(records, result.cleanEnd)
    this.#checkKept(records)
  }

  /** Below the clean end no key has two records. */
  #checkClean(records: readonly PlainRecord[], cleanEnd: number): void {
    const seen = new Set<string>()
    for (const { key, offset } of records) {
      const text = textOf(key)
      if (text === null || offset >= cleanEnd) continue
      assert.ok(!seen.has(text), `two records of ${text} below ${cleanEnd}`)
      seen.add(text)
    }
  }

  /** Every record that nothing supersedes is there, but for tombstones whose time is up. */
  #checkKept(records: readonly PlainRecord[]): void {
    const offsets = new Set(records.map(({ offset }) => offset))
    const latest = new Map<string, number>()
    for (const [offset, { key }] of this.written.entries()) if (key !== null) latest.set(key, offset)
    for (const [offset, { key, value }] of this.written.entries()) {
      if (offset < this.log.logStartOffset || (key !== null && latest.get(key) !== offset)) continue
      const passedMs = this.#passedMs.get(offset) ?? Number.POSITIVE_INFINITY
      const mayBeGone = value === null && this.clock.ms >= passedMs + DELETE_RETENTION_MS
      assert.ok(mayBeGone || offsets.has(offset), `offset ${offset}, the last of ${key}`)
    }
  }

  check(): void {
    const records = readAll(this.context, this.log, CODECS)
    let last = -1
    for (const { offset, key, value, timestampMs } of records) {
      assert.ok(offset > last && offset >= this.log.logStartOffset)
      last = offset
      const { key: wantedKey, value: wantedValue, timestampMs: wantedMs } = this.written[offset]!
      assert.deepEqual(
        [textOf(key), textOf(value), timestampMs],
        [wantedKey, wantedValue, wantedMs],
        `offset ${offset}`,
      )
    }
    const start = this.log.logStartOffset
    const all = this.written.slice(start).map(({ key, value }, index) => ({
      ...{ offset: start + index, timestampMs: 0, headers: [] },
      key: key === null ? null : Buffer.from(key),
      value: value === null ? null : Buffer.from(value),
    }))
    assert.deepEqual(sorted(tableOf(records)), sorted(tableOf(all)))
    this.#checkProducers()
  }

  /** The last sequence of each producer is that of a replay of the log as it is now. */
  #checkProducers(): void {
    for (const [producerId, sequence] of this.#sequences)
      if (producerId >= 0 && this.log.logStartOffset === 0)
        assert.equal(this.#lastSequences().get(producerId), sequence - 1, `producer ${producerId}`)
  }

  #lastSequences(): Map<number, number> {
    const last = new Map<number, number>()
    for (const { producerId, lastSequence } of batchesOf(this.context, this.log))
      if (producerId >= 0) last.set(producerId, lastSequence)
    return last
  }
}

function sorted(table: ReadonlyMap<string, string>): [string, string][] {
  return [...table].sort(([left], [right]) => (left < right ? -1 : 1))
}

test('whatever is written, rolled, trimmed and compacted, the log says what a Map says', () => {
  fc.assert(
    fc.property(fc.array(command, { minLength: 5, maxLength: 60 }), (commands) => {
      const model = new Model()
      for (const step of commands) model.run(step)
      model.check()
      model.run({ kind: 'roll' })
      for (let round = 0; round < 3; round++) model.run({ kind: 'compact', slots: 1024 })
      model.check()
    }),
    { numRuns: 300, interruptAfterTimeLimit: BUDGET_MS, ...SEED_OPTION },
  )
})
