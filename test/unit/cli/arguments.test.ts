/** Operands and flags into values, each fault a usage error that names the flag. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { headersOf, integerOf, pairsOf, partitionsOf, positionOf } from '../../../src/cli/arguments.ts'
import { UsageError } from '../../../src/cli/errors.ts'

const refused = (text: RegExp) => (error: unknown) => {
  assert.ok(error instanceof UsageError, String(error))
  assert.match(error.message, text)
  return true
}

test('positions', () => {
  assert.equal(positionOf('-o', 'start'), 'start')
  assert.equal(positionOf('-o', 'end'), 'end')
  assert.deepEqual(positionOf('-o', '0'), { offset: 0 })
  assert.deepEqual(positionOf('-o', '9007199254740991'), { offset: Number.MAX_SAFE_INTEGER })
  assert.deepEqual(positionOf('-o', '-5'), { last: 5 })
  assert.deepEqual(positionOf('-o', '+5'), { skip: 5 })
  assert.deepEqual(positionOf('-o', '@1700000000000'), { time: 1_700_000_000_000 })
  assert.deepEqual(positionOf('-o', '@2026-01-02T03:04:05Z'), { time: Date.UTC(2026, 0, 2, 3, 4, 5) })
  const before = positionOf('-o', '@-1h') as { time: number }
  const after = positionOf('-o', '@-1h') as { time: number }
  assert.ok(before.time <= after.time && after.time <= Date.now() - 3_600_000, 'a span is counted back from now')
  for (const bad of ['', 'beginning', '1.5', '--1', '@', '9007199254740992', '@yesterday', '@-1y'])
    assert.throws(() => positionOf('-o', bad), refused(/^-o: /), bad)
})

test('integers, lists, pairs and headers', () => {
  assert.equal(integerOf('-n', '12', 0), 12)
  assert.throws(() => integerOf('-n', '1e3', 0), refused(/^-n: expected an integer of at least 0, not '1e3'/))
  assert.throws(() => integerOf('-p', '9', 0, 8), refused(/^-p: expected an integer from 0 to 8, not '9'/))
  assert.deepEqual(partitionsOf('-p', '0, 2,1'), [0, 2, 1])
  assert.throws(() => partitionsOf('-p', '0,,1'), refused(/^-p: /))
  assert.deepEqual(pairsOf('--config', ['a=1', 'b=', 'c=x=y']), { a: '1', b: '', c: 'x=y' })
  assert.throws(() => pairsOf('--set', ['=1']), refused(/^--set: expected key=value, not '=1'/))
  assert.deepEqual(headersOf('-H', ['a:1:2', 'b:']), [
    { key: 'a', value: '1:2' },
    { key: 'b', value: '' },
  ])
  assert.throws(() => headersOf('-H', ['a']), refused(/^-H: expected name:value, not 'a'/))
})
