/** format.md of src/transaction: its table is the codec's; records come back as they were; bad bytes are told, not thrown. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { hexOf } from '../../../src/base/bytes.ts'
import { partitionSetOf } from '../../../src/model/partition-set.ts'
import {
  decodeTransaction,
  encodeTransaction,
  TRANSACTION_RECORD_VERSION,
  TRANSACTION_RECORDS,
} from '../../../src/transaction/transaction-records.ts'
import { State, type TransactionRecord } from '../../../src/transaction/transaction-state.ts'
import { topicIdOf } from '../../support/group-fixture.ts'

// Tests run from dist/; the document stays in src/.
const text = readFileSync(new URL('../../../../src/transaction/format.md', import.meta.url), 'utf8')

test('the table of format.md is the layout of the codec', () => {
  const { transaction } = TRANSACTION_RECORDS
  const section = text.split(/^## /m).find((part) => part.startsWith(`transaction (${transaction.number})`))
  assert.ok(section !== undefined)
  const rows = section
    .split('\n')
    .filter((line) => /^\| (key|value) /.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map(([, part, field, fieldType]) => [part, field, fieldType])
  assert.deepEqual(rows, [
    ...transaction.key.map(([field, fieldType]) => ['key', field, fieldType]),
    ...transaction.value.map(([field, fieldType]) => ['value', field, fieldType]),
  ])
  assert.match(text, new RegExp(`u16 \`version\`, ${TRANSACTION_RECORD_VERSION} `))
})

const idOrNone = fc.oneof(fc.maxSafeNat(), fc.constant(-1))
const record: fc.Arbitrary<TransactionRecord> = fc.record({
  transactionalId: fc.string({ unit: 'grapheme', maxLength: 40 }),
  value: fc.option(
    fc.record({
      state: fc.constantFrom(...Object.values(State)),
      isClassic: fc.boolean(),
      producerId: fc.maxSafeNat(),
      producerEpoch: fc.nat(0x7fff),
      previousProducerId: idOrNone,
      previousEpoch: fc.integer({ min: -1, max: 0x7fff }),
      nextProducerId: idOrNone,
      timeoutMs: fc.nat(0x7fff_ffff),
      startMs: idOrNone,
      updateMs: fc.maxSafeNat(),
      partitions: fc
        .array(fc.tuple(fc.nat(5), fc.array(fc.nat(1_000), { maxLength: 9 })))
        .map((lists) => partitionSetOf(lists.map(([topic, partitions]) => [topicIdOf(topic), partitions]))),
    }),
    { nil: null },
  ),
})

test('every record comes back as it was', () => {
  fc.assert(
    fc.property(record, (original) => {
      const { key, value } = encodeTransaction(original)
      assert.deepEqual(decodeTransaction(key, value), { kind: 'record', record: structuredClone(original) })
    }),
  )
})

test('bytes cut short or changed are told as unreadable or read as something, never thrown', () => {
  fc.assert(
    fc.property(record, fc.nat(), fc.nat(255), (original, place, byte) => {
      const { key, value } = encodeTransaction(original)
      for (const bytes of value === null ? [key] : [key, value]) {
        const cut = bytes.subarray(0, place % bytes.length)
        const asKey = bytes === key
        assert.notEqual(decodeTransaction(asKey ? cut : key, asKey ? value : cut).kind, 'record')
        const changed = bytes.slice()
        changed[place % bytes.length] = byte
        decodeTransaction(asKey ? changed : key, asKey ? value : changed)
      }
    }),
  )
})

const GOLDEN: TransactionRecord = {
  transactionalId: 'té',
  value: {
    ...{ state: State.PREPARE_COMMIT, isClassic: false, producerId: 1000, producerEpoch: 32767 },
    ...{ previousProducerId: 1000, previousEpoch: 32766, nextProducerId: 2 ** 40, timeoutMs: 60_000 },
    ...{ startMs: 258, updateMs: 259, partitions: new Map([[topicIdOf(1), [0, 2]]]) },
  },
}

test('golden bytes: on disk, they may not change with the code', () => {
  const { key, value } = encodeTransaction(GOLDEN)
  assert.equal(hexOf(key), '00010003' + '74c3a9')
  const expected = [
    ...['0001', '02', '00', '00000000000003e8', '00007fff', '00000000000003e8', '00007ffe', '0000010000000000'],
    ...['0000ea60', '0000000000000102', '0000000000000103'],
    ...['00000001', '00000000000000000000000000000001', '00000002', '00000000', '00000002'],
  ]
  assert.equal(hexOf(value!), expected.join(''))
})

test('later versions: kinds are stepped over, a version stops the reader, so does a state or a flag that is none', () => {
  const { key, value } = encodeTransaction(GOLDEN)
  const changed = (bytes: Uint8Array, at: number, byte: number): Uint8Array => {
    const copy = bytes.slice()
    copy[at] = byte
    return copy
  }
  assert.deepEqual(decodeTransaction(changed(key, 1, 9), value), { kind: 'unknown', number: 9 })
  for (const [at, byte, reason] of [
    [1, 2, 'transaction record of version 2, this broker reads 1'],
    [2, 6, 'a transaction record of state 6'],
    [3, 2, 'value of a transaction record: a byte that is neither 0 nor 1 before byte 4'],
  ] as const)
    assert.deepEqual(decodeTransaction(key, changed(value!, at, byte)), { kind: 'unreadable', reason })
})
