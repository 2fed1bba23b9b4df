/** Work that is asked for many times in a turn. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OnceATurn } from '../../../../src/broker/cluster/once-a-turn.ts'
import { ManualTimers } from '../../../support/manual-timers.ts'

test('asked for many times in a turn it is done once, in the next; asked for again later, again', () => {
  const timers = new ManualTimers()
  let done = 0
  const once = new OnceATurn(timers, () => done++)
  for (let asked = 0; asked < 1_000; asked++) once.ask()
  assert.equal(done, 0)
  timers.runSoon()
  assert.equal(done, 1)
  once.ask()
  timers.runSoon()
  assert.equal(done, 2)
})
