/** docs/history.md: names every anomaly and every operation, and its example is a valid history. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ANOMALIES } from '../../src/tools/anomaly.ts'
import { checkHistory } from '../../src/tools/check-history.ts'
import { parseHistory } from '../../src/tools/history.ts'
import { repositoryRoot } from '../support/repository.ts'

const page = readFileSync(join(repositoryRoot, 'docs/history.md'), 'utf8')

test('the page of histories names every anomaly', () => {
  const rows = page.split('\n').filter((line) => line.startsWith('| `'))
  const named = new Set(rows.flatMap((row) => [...row.split('|')[1]!.matchAll(/`([^`]+)`/g)].map((match) => match[1])))
  assert.deepEqual(
    Object.keys(ANOMALIES).filter((kind) => !named.has(kind)),
    [],
  )
})

test('the example of the page of histories is valid', () => {
  const [, example = ''] = /```jsonl\n([^`]*)```/.exec(page) ?? []
  const { anomalies, transactions } = checkHistory(parseHistory(example))
  assert.deepEqual(anomalies, [])
  assert.equal(transactions.committed, 1)
})
