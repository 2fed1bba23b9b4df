/** What a coordinator tells of its transactional ids: filters, pages, partitions. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { partitionSetOf } from '../../../src/model/partition-set.ts'
import { isRefusal } from '../../../src/model/refusal.ts'
import type { TransactionFilter, TransactionPage, TransactionsPage } from '../../../src/model/transaction-query.ts'
import { topicIdOf } from '../../support/group-fixture.ts'
import { TransactionFixture } from '../../support/transaction-fixture.ts'

const ALL: TransactionFilter = { states: [], producerIds: [], longerThanMs: -1 }

function list(fixture: TransactionFixture, filter: Partial<TransactionFilter> = {}): string[] {
  const rows: string[] = []
  for (let after: string | null = ''; after !== null; ) {
    const query = { kind: 'list', filter: { ...ALL, ...filter }, after } as const
    const page = fixture.coordinator.query(query) as TransactionsPage
    rows.push(...page.transactions.map((each) => `${each.transactionalId} ${each.producerId} ${each.state}`))
    after = page.nextAfter
  }
  return rows
}

function describe(fixture: TransactionFixture, transactionalId = 't', from = 0): TransactionPage | string {
  const page = fixture.coordinator.query({ kind: 'describe', transactionalId, from })
  return isRefusal(page) ? page.error : (page as TransactionPage)
}

test('ids by state, by producer, by how long their transaction is open', () => {
  const fixture = new TransactionFixture()
  fixture.init()
  fixture.init({ transactionalId: 'u' })
  fixture.init({ transactionalId: 'a' })
  fixture.add('1000/0', 1)
  fixture.advance(500)
  assert.deepEqual(list(fixture), ['a 1002 Empty', 't 1000 Ongoing', 'u 1001 Empty'])
  assert.deepEqual(list(fixture, { states: ['Ongoing', 'Dead'] }), ['t 1000 Ongoing'])
  assert.deepEqual(list(fixture, { states: ['ongoing'] }), [], 'names are Kafka’s')
  assert.deepEqual(list(fixture, { producerIds: [1002, 7] }), ['a 1002 Empty'])
  assert.deepEqual(list(fixture, { longerThanMs: 499 }), ['t 1000 Ongoing'])
  assert.deepEqual(list(fixture, { longerThanMs: 500 }), [])
  assert.deepEqual(list(fixture, { longerThanMs: 0, producerIds: [1001] }), [], 'without a transaction none is open')
  fixture.commit('1000/0')
  assert.deepEqual(list(fixture, { states: ['PrepareCommit'] }), ['t 1000 PrepareCommit'])
  fixture.written()
  assert.deepEqual(list(fixture, { states: ['CompleteCommit'] }), ['t 1000 CompleteCommit'])
})

test('more ids than a page holds', () => {
  const fixture = new TransactionFixture()
  const ids = Array.from({ length: 1_203 }, (_, index) => `id-${index}`)
  for (const transactionalId of ids) fixture.init({ transactionalId })
  const rows = list(fixture).map((row) => row.split(' ')[0])
  assert.deepEqual(rows, ids.toSorted())
})

test('one id: who has it, since when, and its partitions in pages', () => {
  const fixture = new TransactionFixture()
  assert.equal(describe(fixture), 'TRANSACTIONAL_ID_NOT_FOUND')
  fixture.init({ timeoutMs: 5_000 })
  const empty = describe(fixture) as TransactionPage
  assert.deepEqual([empty.state, empty.timeoutMs, empty.startTimeMs, empty.partitions], ['Empty', 5_000, -1, []])
  const numbers = Array.from({ length: 700 }, (_, index) => index)
  const partitions = partitionSetOf([
    [topicIdOf(1), numbers],
    [topicIdOf(2), numbers],
  ])
  fixture.coordinator.addPartitions({ transactionalId: 't', producerId: 1000, producerEpoch: 0, partitions }, 1_000)
  const first = describe(fixture) as TransactionPage
  assert.deepEqual([first.producerId, first.producerEpoch, first.state], [1000, 0, 'Ongoing'])
  assert.deepEqual([first.startTimeMs, first.partitionCount], [fixture.wallStartMs + 1_000, 1_400])
  const second = describe(fixture, 't', first.partitions.length) as TransactionPage
  const all = [...first.partitions, ...second.partitions].map(({ topicId, partition }) => `${topicId}-${partition}`)
  assert.equal(new Set(all).size, 1_400)
  assert.equal(all.length, 1_400)
})
