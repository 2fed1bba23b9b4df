/** promiseOf(): what is waited for of what the application's code answered. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { promiseOf } from '../../../src/client/promise-of.ts'

test('what has a then() is waited for: begun by it, as a query builder is, and settled by it', async () => {
  let begun = 0
  const then = (fulfil: (value: string) => void): void => {
    begun++
    fulfil('rows')
  }
  assert.equal(await promiseOf({ then }), 'rows')
  assert.equal(await promiseOf(Object.assign(() => {}, { then })), 'rows', 'a function')
  assert.equal(begun, 2)
  assert.equal(await promiseOf(runInNewContext('Promise.resolve(1)')), 1)
  const own = Promise.resolve()
  assert.equal(promiseOf(own), own, 'one of this realm is not wrapped')
})

test('all else is nothing to wait for', () => {
  // biome-ignore lint/suspicious/noThenProperty: no function
  for (const answer of [undefined, null, 0, 'then', true, {}, [], () => {}, { then: 1 }])
    assert.equal(promiseOf(answer), undefined)
})

test('what reading then throws comes out, as what the code itself throws', () => {
  const broken = Object.defineProperty({}, 'then', {
    get: () => {
      throw new Error('broken')
    },
  })
  assert.throws(() => promiseOf(broken), /broken/)
})
