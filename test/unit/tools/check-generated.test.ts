/** The checker on generated histories with transactions: no false alarm on clean ones, and every anomaly planted in one is found. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededPrng } from '../../../src/base/prng.ts'
import type { AnomalyKind } from '../../../src/tools/anomaly.ts'
import { checkHistory } from '../../../src/tools/check-history.ts'
import { type HistoryOperation, parseHistory } from '../../../src/tools/history.ts'
import { HistoryModel, type ModelRecord, type ModelTransaction, type Unnumbered } from '../../support/history-model.ts'

const CLEAN_COUNT = 1000
const PLANTED_COUNT = 200

function numbered(operations: readonly Unnumbered[]): HistoryOperation[] {
  return operations.map((operation, index) => ({ ...operation, line: index + 1 }))
}

test(`no false alarm on ${CLEAN_COUNT} clean histories`, () => {
  const reached = { committed: 0, aborted: 0, unknown: 0, open: 0 }
  for (let seed = 1; seed <= CLEAN_COUNT; seed++) {
    const { operations } = new HistoryModel(seed)
    const text = operations.map((operation) => JSON.stringify(operation)).join('\n')
    const { anomalies, transactions } = checkHistory(parseHistory(text))
    assert.deepEqual(anomalies, [], `seed ${seed}`)
    for (const fate of Object.keys(reached) as (keyof typeof reached)[]) reached[fate] += transactions[fate]
  }
  for (const [fate, count] of Object.entries(reached)) assert.ok(count > CLEAN_COUNT / 10, `${fate}: ${count}`)
})

// --- planting

type Operations = readonly Unnumbered[]

/** The history with one thing wrong, undefined where the seed has no place for it. */
type Plant = (model: HistoryModel, prng: SeededPrng) => Operations | undefined

function pick<Item>(prng: SeededPrng, items: readonly Item[]): Item | undefined {
  return items.length === 0 ? undefined : items[prng.below(items.length)]
}

function isStored({ offset }: ModelRecord): boolean {
  return offset >= 0
}

function pollOf({ topic, partition, value, offset }: ModelRecord): Unnumbered {
  const records = [{ topic, partition, value, offset }]
  return { process: 77, type: 'ok', f: 'poll', records, final: false }
}

function isOf(operation: Unnumbered, { f, txn }: { f: string; txn: string }): boolean {
  return operation.f === f && operation.type === 'invoke' && 'txn' in operation && operation.txn === txn
}

/** Nobody reads these. */
function unread(operations: Operations, values: readonly string[]): Operations {
  return operations.map((operation) => {
    if (operation.f !== 'poll') return operation
    return { ...operation, records: operation.records.filter(({ value }) => !values.includes(value)) }
  })
}

/** A record is sent as the result of another, or of none. */
function madeFrom(operations: Operations, made: ModelRecord, from: string | undefined): Operations {
  return operations.map((operation) => {
    if (operation.f !== 'send' || operation.type !== 'invoke') return operation
    return {
      ...operation,
      records: operation.records.map(({ from: old, ...record }) => {
        const origin = record.value === made.value ? from : old
        return origin === undefined ? record : { ...record, from: origin }
      }),
    }
  })
}

function committedOf({ transactions }: HistoryModel): ModelTransaction[] {
  return transactions.filter(({ state }) => state === 'committed')
}

const PLANTS: Readonly<Record<string, readonly [AnomalyKind, Plant]>> = {
  'a record of an aborted transaction is read': [
    'aborted-read',
    (model, prng) => {
      const told = ['abort ok', 'abort info', 'commit fail']
      const records = model.transactions.filter(({ ending }) => told.includes(ending)).flatMap(({ records }) => records)
      const record = pick(prng, records.filter(isStored))
      return record && [...model.operations, pollOf(record)]
    },
  ],
  'a record is read before its commit is asked for': [
    'precommitted-read',
    (model, prng) => {
      const transaction = pick(
        prng,
        committedOf(model).filter(({ records }) => records.some(isStored)),
      )
      if (transaction === undefined) return undefined
      const record = pick(prng, transaction.records.filter(isStored))!
      const { operations } = model
      const at = operations.findIndex((operation) => isOf(operation, { f: 'commit', txn: transaction.id }))
      return [...operations.slice(0, at), pollOf(record), ...operations.slice(at)]
    },
  ],
  'a committed transaction is lost': [
    'lost-write',
    (model, prng) => {
      const told = committedOf(model).filter(({ ending }) => ending === 'commit ok')
      const transaction = pick(
        prng,
        told.filter(({ records }) => records.some(({ outcome }) => outcome === 'ok')),
      )
      return (
        transaction &&
        unread(
          model.operations,
          transaction.records.map(({ value }) => value),
        )
      )
    },
  ],
  'a record of a committed transaction is lost': [
    'torn-transaction',
    (model, prng) => {
      const transaction = pick(
        prng,
        committedOf(model).filter(({ records }) => records.filter(isStored).length > 1),
      )
      const record = pick(prng, transaction?.records.filter(({ outcome }) => outcome === 'ok') ?? [])
      return record && unread(model.operations, [record.value])
    },
  ],
  'a record of a transaction in doubt is read, its others are not': [
    'torn-transaction',
    (model, prng) => {
      const doubted = model.transactions.filter(({ state, ending }) => state === 'aborted' && ending === 'commit info')
      const transaction = pick(
        prng,
        doubted.filter(({ records }) => records.filter(({ outcome }) => outcome === 'ok').length > 1),
      )
      const record = pick(prng, transaction?.records.filter(isStored) ?? [])
      return record && [...model.operations, pollOf(record)]
    },
  ],
  'two transactions are made of each other': [
    'write-read-cycle',
    (model, prng) => {
      const stored = committedOf(model).filter((each) => !each.readsUncommitted && each.records.some(isStored))
      const one = pick(prng, stored)
      const other = pick(
        prng,
        stored.filter((each) => each !== one),
      )
      if (one === undefined || other === undefined) return undefined
      const [ours, theirs] = [one.records.find(isStored)!, other.records.find(isStored)!]
      return madeFrom(madeFrom(model.operations, ours, theirs.value), theirs, ours.value)
    },
  ],
  'a record has a second result': [
    'duplicate-result',
    (model, prng) => {
      const results = committedOf(model).flatMap(({ records }) => records.filter((each) => each.from !== undefined))
      const from = pick(prng, results)?.from
      if (from === undefined) return undefined
      const [txn, process] = ['again', 78]
      const record = { topic: 'out', partition: 0, value: 'again', offset: 1e6 }
      const { offset: _, ...unplaced } = record
      const isTold = prng.below(2) === 0
      return [
        ...model.operations,
        { process, type: 'ok', f: 'begin', txn },
        { process, type: 'invoke', f: 'send', txn, records: [{ ...unplaced, from }] },
        { process, type: 'ok', f: 'send', records: [record] },
        { process, type: 'invoke', f: 'commit', txn },
        { process, type: isTold ? 'ok' : 'info', f: 'commit', txn },
        { process: 40, type: 'ok', f: 'poll', records: [record], final: true },
      ]
    },
  ],
  'a record has no result': [
    'missing-result',
    (model, prng) => {
      const results = committedOf(model).flatMap(({ records }) => records.filter((each) => each.from !== undefined))
      const result = pick(prng, results)
      return result && madeFrom(model.operations, result, undefined)
    },
  ],
  "a group's offset goes back": [
    'nonmonotonic-commit',
    (model, prng) => {
      const partition = pick(
        prng,
        [0, 1].filter((each) => model.toldOffsets[each]! > 0),
      )
      if (partition === undefined) return undefined
      const positions = [{ topic: 'in', partition, offset: prng.below(model.toldOffsets[partition]!) }]
      const base = { process: 79, f: 'commitOffsets', group: 'workers', seek: false } as const
      const [txn, process] = ['back', 79]
      if (prng.below(2) === 0)
        return [...model.operations, { ...base, type: 'invoke', positions }, { ...base, type: 'ok', positions }]
      return [
        ...model.operations,
        { process, type: 'ok', f: 'begin', txn },
        { ...base, type: 'invoke', txn, positions },
        { ...base, type: 'ok', txn, positions },
        { process, type: 'invoke', f: 'commit', txn },
        { process, type: 'ok', f: 'commit', txn },
      ]
    },
  ],
}

for (const [what, [kind, plant]] of Object.entries(PLANTS)) {
  test(`planted ${PLANTED_COUNT} times, always found: ${what} (${kind})`, () => {
    let planted = 0
    for (let seed = 1; planted < PLANTED_COUNT; seed++) {
      assert.ok(seed < PLANTED_COUNT * 20, `only ${planted} of ${seed} histories have a place for it`)
      const operations = plant(new HistoryModel(seed), new SeededPrng(seed))
      if (operations === undefined) continue
      planted++
      const { counts } = checkHistory(numbered(operations))
      assert.ok(counts[kind] !== undefined, `seed ${seed}: found ${JSON.stringify(counts)}`)
    }
  })
}
